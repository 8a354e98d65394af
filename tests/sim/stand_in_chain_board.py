"""A board without firmware on a chain of two LTC6813-1: ``stand_in_chain_board.py SOCKET ROOT``.

It closes the switches and then prints, twice a second, a JSON line with all cells.
"""

import contextlib
import json
import struct
import sys
from pathlib import Path

from common.codes import Switch
from firmware.boards.unix import LinkLostError, UnixBoard

CHIPS = 2
ADCV, RDCV = b"\x03\x60\xf4\x6c", (0x004, 0x006, 0x008, 0x00A, 0x009, 0x00B)


def pec15(data: bytes) -> bytes:
    register = 0x10
    for byte in data:
        register ^= byte << 7
        for _ in range(8):
            register <<= 1
            if register & 0x8000:
                register ^= 0x8000 | 0x4599
    return (register << 1).to_bytes(2)


def main() -> None:
    path, root = sys.argv[1:3]
    serial = json.loads((Path(root) / "settings.json").read_text())["serial"]
    board = UnixBoard(path, root, serial)
    board.i2c.writeto_mem(0x40, 0x0B, b"\x90\x00")  # ALERT is low while all is well
    board.drive_switches(Switch.CHARGE | Switch.DISCHARGE)
    one, four = bytearray(1), bytearray(4)
    answer = bytearray(4 + 8 * CHIPS)
    while True:
        board.spi_transfer(b"\xff", one)
        board.sleep_us(400 * CHIPS)
        board.spi_transfer(ADCV, four)
        board.sleep_us(7000)
        board.spi_transfer(b"\xff", one)
        board.sleep_us(10 * CHIPS)
        cells: list[list[int]] = [[] for _ in range(CHIPS)]
        for code in RDCV:
            command = code.to_bytes(2)
            board.spi_transfer(command + pec15(command) + bytes(8 * CHIPS), answer)
            for chip in range(CHIPS):
                frame = bytes(answer[4 + 8 * chip : 12 + 8 * chip])
                assert pec15(frame[:6]) == frame[6:]
                cells[chip] += struct.unpack("<3H", frame[:6])
        record = {
            "ms": board.link.now_ms,
            "cells": cells[0][:10] + cells[1][:10],
            "feedback": board.switch_feedback(),
        }
        print(json.dumps(record), flush=True)
        board.wait(board.ticks_add(board.ticks_ms(), 500))


with contextlib.suppress(LinkLostError):
    main()
