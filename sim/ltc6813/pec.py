"""PEC15: x^15 + x^14 + x^10 + x^8 + x^7 + x^4 + x^3 + 1, start 0x0010, sent with a 0 behind.

>>> pec15(bytes((0x00, 0x01))).hex()
'3d6e'
"""

_POLYNOMIAL = 0x4599
_START = 0x0010


def _make_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        remainder = value << 7
        for _ in range(8):
            remainder <<= 1
            if remainder & 0x8000:
                remainder ^= 0x8000 | _POLYNOMIAL
        table.append(remainder)
    return tuple(table)


_TABLE = _make_table()


def pec15(data: bytes) -> bytes:
    """The two bytes that follow ``data``."""
    remainder = _START
    for byte in data:
        remainder = (remainder << 8 & 0x7FFF) ^ _TABLE[remainder >> 7 ^ byte]
    return (remainder << 1).to_bytes(2)


def framed(data: bytes) -> bytes:
    """``data`` with its PEC."""
    return data + pec15(data)
