"""Byte sequences that TI has published, and what the driver makes of them."""

import pytest
from scripted_bq76952 import ScriptedBoard

from common.crc import crc8_byte
from firmware.afe.bq76952_bus import Bq76952Bus
from firmware.afe.bq76952_charge import PassedCharge


class Wire:
    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.sent: list[bytes] = []

    def writeto_mem(self, address: int, register: int, buffer: memoryview) -> None:
        self.sent.append(bytes((address << 1, register)) + bytes(buffer))

    def readfrom_mem_into(self, address: int, register: int, buffer: memoryview) -> None:
        assert (address, register) == (0x08, 0x14)
        buffer[:] = self.answer


@pytest.mark.parametrize(
    ("covered", "crc"),
    [("10 3E 22", 0x63), ("00", 0x00), ("10 14 11 68", 0x33), ("0B", 0x31)],  # SLUAA11B chapter 4
)
def test_crc_8(covered: str, crc: int) -> None:
    value = 0
    for byte in bytes.fromhex(covered):
        value = crc8_byte(value, byte)
    assert value == crc


def test_a_command_and_a_reading_with_crc() -> None:
    wire = Wire(bytes.fromhex("68 33 0B 31"))
    bus = Bq76952Bus(ScriptedBoard(wire), True)
    bus.command(0x0022)
    assert wire.sent == [bytes.fromhex("10 3E 22 63 00 00")]
    bus.read(0x14, 2)
    assert int.from_bytes(bus.data[:2], "little") == 2920


@pytest.mark.parametrize(
    ("code", "data", "sent"),
    [
        (0x9180, "7A 30", ("10 3E 80 91 7A 30", "10 60 44 06")),  # SLUUBY2B 13.1
        (0x0083, "02", ("10 3E 83 00 02", "10 60 7A 05")),  # BQ7690x, the same protocol
    ],
)
def test_checksum_and_length(code: int, data: str, sent: tuple[str, str]) -> None:
    wire = Wire()
    payload = bytes.fromhex(data)
    Bq76952Bus(ScriptedBoard(wire), False).send(code, payload, len(payload))
    assert wire.sent == [bytes.fromhex(each) for each in sent]


@pytest.mark.parametrize(
    ("answer", "uah"),
    [
        ("00 00 00 00 FF FF FF 7F", 500),  # after RESET_PASSQ: half a user Ah (thread 970294)
        ("FF FF FF FF E0 C2 C1 D3", -173),  # -1 + 0.82717: the fraction is always added
    ],
)
def test_passed_charge(answer: str, uah: int) -> None:
    charge = PassedCharge()
    charge.restart(1)
    charge.take(bytes(12), 0)
    charge.count()
    charge.take(bytes.fromhex(answer) + b"\x01\0\0\0", 0)
    assert charge.count() == pytest.approx(uah, abs=1)
