"""Checksums of the two buses: CRC-16/Modbus (RTU frames) and CRC-8 (BQ769x2 over I2C).

Both walk a buffer between two indices, so that a caller need not slice (a slice allocates).

    >>> crc16_modbus(b"123456789", 0, 9) == 0x4B37
    True
    >>> crc8(b"123456789", 0, 9) == 0xF4
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


def crc8(data: "bytes | bytearray | memoryview", start: int, end: int, crc: int = 0) -> int:
    """CRC-8 (0x07, no reflection) of ``data[start:end]``, continued from ``crc``."""
    table = _TABLE8
    for i in range(start, end):
        crc = table[crc ^ data[i]]
    return crc


def crc8_byte(crc: int, byte: int) -> int:
    """CRC-8 continued from ``crc`` by one byte."""
    return _TABLE8[crc ^ byte]


def crc32(data: "bytes | bytearray | memoryview", start: int, end: int) -> int:
    """CRC-32 (IEEE 802.3) of ``data[start:end]``, bit by bit: for storage, not for a hot path."""
    crc = 0xFFFFFFFF
    for i in range(start, end):
        crc ^= data[i]
        for _ in range(8):
            crc = (crc >> 1) ^ 0xEDB88320 if crc & 1 else crc >> 1
    return crc ^ 0xFFFFFFFF
