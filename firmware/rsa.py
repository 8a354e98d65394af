"""An RSA signature (PKCS1-v1_5, SHA-256, 3072 bits), checked in steps that a board can afford.

Of the public-key signatures it is the one whose check is least work: with the exponent 65537
seventeen products modulo the key, of some ten milliseconds each on an RP2040, and no code but
this. An elliptic curve takes thousands, and SHA-512, which MicroPython has not. The message that
was signed is not parsed but made and compared, so that there is nothing to be forged in parsing.

    >>> check = Check(key, signature, sha256)
    >>> while check.step():
    ...     pass
    >>> check.good
    True

Source: RFC 8017, sections 8.2.2 and 9.2.
"""

from common.mp import const

KEY_BYTES = const(384)
_SQUARES = const(16)  # the exponent is 2 ** 16 + 1
_DIGEST_INFO = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"


class Check:
    """Whether ``signature`` is that of ``digest`` (SHA-256) by ``key``, a big-endian modulus."""

    def __init__(self, key: bytes, signature: bytes, digest: bytes) -> None:
        self.good = False
        self._modulus = int.from_bytes(key, "big")
        self._signature = self._power = int.from_bytes(signature, "big")
        self._digest = digest
        sized = len(key) == KEY_BYTES == len(signature) and key[0] >= 0x80
        self._left = _SQUARES if sized and self._signature < self._modulus else -1

    def step(self) -> bool:
        """Do one product; whether more are left."""
        if self._left < 0:
            return False
        if self._left:
            self._power = self._power * self._power % self._modulus
            self._left -= 1
            return True
        self._left = -1
        power = self._power * self._signature % self._modulus
        tail = b"\x00" + _DIGEST_INFO + self._digest
        message = b"\x00\x01" + b"\xff" * (KEY_BYTES - 2 - len(tail)) + tail
        self.good = power.to_bytes(KEY_BYTES, "big") == message
        return False
