"""A board without firmware, for tests of the world: ``stand_in_board.py SOCKET ROOT MODE``.

``cycle``  reads the chip eight times a second, 32 bytes each, and nothing else.
``echo``   as ``cycle``, and answers every byte train on its line with ``ROOT``'s serial number and
           what it heard.
``record`` as ``cycle``, and prints every answer to its log.
``hang``   sets a watchdog of a second after three cycles and then sleeps for ever.
"""

import json
import socket
import struct
import sys
from pathlib import Path

from common import link

CHIP = 0x08


class Board:
    def __init__(self, path: str, serial: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.now_us = 0
        self.received = False
        self.reset_cause = self.ask(link.HELLO, serial.encode())[1][0]

    def ask(self, op: int, payload: bytes = b"") -> tuple[int, bytes]:
        self.tell(op, payload)
        header = self._take(link.ANSWER_HEADER_BYTES)
        status, ms, us, length = struct.unpack(link.ANSWER_HEADER, header)
        self.now_us = 1000 * ms + us
        self.received = bool(status & link.RECEIVED)
        return status & ~link.RECEIVED, self._take(length)

    def tell(self, op: int, payload: bytes) -> None:
        self.socket.sendall(struct.pack(link.REQUEST_HEADER, op, len(payload), 0) + payload)

    def _take(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more:
                sys.exit(0)
            data += more
        return data

    def i2c(self, address: int, write: bytes, n_read: int) -> tuple[int, bytes]:
        return self.ask(link.I2C, struct.pack("<BH", address, n_read) + write)

    def wait(self, until_us: int) -> bool:
        self.ask(link.WAIT, struct.pack("<Q", until_us))
        return self.received


def main() -> None:
    path, root, mode = sys.argv[1:4]
    serial = json.loads((Path(root) / "settings.json").read_text())["serial"]
    board = Board(path, serial)
    print("reset cause", board.reset_cause, flush=True)
    next_us = board.now_us
    cycles = 0
    while True:
        for k in range(8):
            status, data = board.i2c(CHIP, bytes((0x14 + 4 * k,)), 64)
            if mode == "record":
                print(board.now_us, status, data.hex(), flush=True)
        cycles += 1
        next_us += 1_000_000
        if mode == "hang" and cycles == 3 and board.reset_cause == 1:
            board.tell(link.WATCHDOG, struct.pack("<I", 1000))
            board.wait(1 << 50)
        while board.now_us < next_us:
            if board.wait(next_us):
                heard = board.ask(link.UART_READ, struct.pack("<H", 256))[1]
                if mode == "echo":
                    board.wait(board.now_us + 2000)
                    board.ask(link.UART_WRITE, serial.encode() + b":" + heard)


main()
