"""HMAC-SHA256: what proves that settings come from the holder of a board's key.

Boards have ``hashlib`` without ``hmac``, and its SHA-256 without ``copy``. Source: RFC 2104.
"""

import hashlib

from common.mp import const

_BLOCK = const(64)


def hmac_sha256(key: bytes, *parts: "bytes | bytearray | memoryview") -> bytes:
    """The 32 bytes of HMAC-SHA256 over ``parts``, one behind the other."""
    if len(key) > _BLOCK:
        key = hashlib.sha256(key).digest()
    key = key + bytes(_BLOCK - len(key))
    inner = hashlib.sha256(bytes([byte ^ 0x36 for byte in key]))
    for part in parts:
        inner.update(part)
    outer = hashlib.sha256(bytes([byte ^ 0x5C for byte in key]))
    outer.update(inner.digest())
    digest: bytes = outer.digest()
    return digest


def same(one: "bytes | bytearray | memoryview", other: "bytes | bytearray | memoryview") -> bool:
    """Whether two strings of bytes are equal, in a time that does not tell where they differ."""
    if len(one) != len(other):
        return False
    different = 0
    for i in range(len(one)):
        different |= one[i] ^ other[i]
    return different == 0
