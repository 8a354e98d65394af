"""Checksums of the two buses: CRC-16/Modbus (RTU frames) and CRC-8 (BQ769x2 over I2C).

A buffer is walked between two indices, so that a caller need not slice (a slice allocates).

    >>> crc16_modbus(b"123456789", 0, 9) == 0x4B37
    True
    >>> crc8_byte(0, 0x01) == 0x07
    True

Source: Modbus over Serial Line V1.02, 6.2.2; TI SLUAA11B (polynomial x^8 + x^2 + x + 1, start 0).
"""

from array import array


def _table16() -> array:  # type: ignore[type-arg]  # MicroPython's array has no parameters
    table = array("H", bytes(512))
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table[byte] = crc
    return table


def _table8() -> bytes:
    table = bytearray(256)
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
        table[byte] = crc
    return bytes(table)


_TABLE16 = _table16()
_TABLE8 = _table8()


def crc16_modbus(data: "bytes | bytearray | memoryview", start: int, end: int) -> int:
    """CRC-16/Modbus of ``data[start:end]``; on the wire the low byte goes first."""
    table = _TABLE16
    crc = 0xFFFF
    for i in range(start, end):
        crc = (crc >> 8) ^ table[(crc ^ data[i]) & 0xFF]
    return crc


def crc16_modbus_of(data: memoryview) -> int:
    """The same of all of ``data``, a quarter faster."""
    table = _TABLE16
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ table[crc & 0xFF ^ byte]
    return crc


def crc8_byte(crc: int, byte: int) -> int:
    """CRC-8 (0x07, no reflection) continued from ``crc``, 0 at first, by one byte."""
    return _TABLE8[crc ^ byte]


# CRC-32 of the sixteen nibbles, in halves: all of it is no small integer on a board.
_LOW = array("H", (
    0x0000, 0x1064, 0x20C8, 0x30AC, 0x4190, 0x51F4, 0x6158, 0x713C,
    0x8320, 0x9344, 0xA3E8, 0xB38C, 0xC2B0, 0xD2D4, 0xE278, 0xF21C,
))  # fmt: skip
_HIGH = array("H", (
    0x0000, 0x1DB7, 0x3B6E, 0x26D9, 0x76DC, 0x6B6B, 0x4DB2, 0x5005,
    0xEDB8, 0xF00F, 0xD6D6, 0xCB61, 0x9B64, 0x86D3, 0xA00A, 0xBDBD,
))  # fmt: skip


def crc32(data: "bytes | bytearray | memoryview", start: int, end: int, before: int = 0) -> int:
    """CRC-32 (IEEE 802.3) of ``data[start:end]``, behind what gave the CRC ``before``.

    Only CRCs as such are long integers.
    """
    low_of = _LOW
    high_of = _HIGH
    low = before & 0xFFFF ^ 0xFFFF
    high = before >> 16 ^ 0xFFFF
    for i in range(start, end):
        byte = data[i]
        for _ in range(2):
            k = (low ^ byte) & 15
            low = (low >> 4 | (high & 15) << 12) ^ low_of[k]
            high = high >> 4 ^ high_of[k]
            byte >>= 4
    return (high ^ 0xFFFF) << 16 | low ^ 0xFFFF
