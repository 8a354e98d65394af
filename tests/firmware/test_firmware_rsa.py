"""A signature is taken when the fleet's key made it over this digest, and in no other case."""

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from fleet_key import fleet_key

from firmware.rsa import KEY_BYTES, Check
from gateway.update_image import public_bytes

KEY = fleet_key()
MODULUS = public_bytes(KEY)
HEADER = b"what is signed"
DIGEST = hashlib.sha256(HEADER).digest()
SIGNATURE = KEY.sign(HEADER, padding.PKCS1v15(), hashes.SHA256())
INFO = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017, section 9.2, note 1


def finished(check):
    steps = 1
    while check.step():
        steps += 1
    return check.good, steps


def signed(block):
    """What the fleet's key makes of a padded block."""
    numbers = KEY.private_numbers()
    power = pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n)
    return power.to_bytes(KEY_BYTES, "big")


def test_a_signature_takes_seventeen_steps():
    assert finished(Check(MODULUS, SIGNATURE, DIGEST)) == (True, 17)
    assert finished(Check(MODULUS, SIGNATURE, DIGEST[::-1])) == (False, 17)
    for at in (0, 100, 383):
        changed = bytearray(SIGNATURE)
        changed[at] ^= 1
        assert not finished(Check(MODULUS, bytes(changed), DIGEST))[0]


def test_it_is_not_good_before_its_last_step_and_stays_so_behind_it():
    check = Check(MODULUS, SIGNATURE, DIGEST)
    for _ in range(16):
        assert check.step() is True
        assert check.good is False
    for _ in range(2):
        assert check.step() is False
        assert check.good is True


def test_a_key_or_signature_of_another_size_is_none():
    assert len(MODULUS) == KEY_BYTES == 384
    assert finished(Check(MODULUS[:-1], SIGNATURE, DIGEST)) == (False, 1)
    assert finished(Check(MODULUS + b"\0", SIGNATURE, DIGEST)) == (False, 1)
    assert finished(Check(MODULUS, SIGNATURE + b"\0", DIGEST)) == (False, 1)
    assert finished(Check(MODULUS, b"\0" + SIGNATURE, DIGEST)) == (False, 1)
    assert finished(Check(MODULUS, SIGNATURE[:-1], DIGEST)) == (False, 1)
    assert finished(Check(b"", b"", DIGEST)) == (False, 1)
    assert finished(Check(MODULUS, MODULUS, DIGEST)) == (False, 1), "no less than the modulus"


def test_a_key_has_all_its_bits():
    one = b"\1".rjust(KEY_BYTES, b"\0")
    assert finished(Check(b"\x7f" + MODULUS[1:], one, DIGEST)) == (False, 1)
    assert finished(Check(b"\x80" + MODULUS[1:], one, DIGEST)) == (False, 17)


BLOCK = b"\0\1" + b"\xff" * (KEY_BYTES - 54) + b"\0" + INFO + DIGEST


@pytest.mark.parametrize(
    "block",
    [
        b"\0\2" + BLOCK[2:],
        b"\0\0" + BLOCK[2:],
        BLOCK[:2] + b"\xfe" + BLOCK[3:],
        BLOCK[:9] + BLOCK[-52:] + b"\1" * (KEY_BYTES - 61),  # behind a short padding, what fits
        BLOCK[:-52] + b"\xff" + INFO + DIGEST,  # nothing between padding and digest
        BLOCK[:-51] + b"\x30\x51" + BLOCK[-49:],  # a digest of another length
        BLOCK[:-33] + b"\x14" + DIGEST,
        DIGEST.rjust(KEY_BYTES, b"\0"),
    ],
)
def test_no_other_block_around_the_digest_is_a_signature(block):
    assert len(block) == KEY_BYTES
    assert finished(Check(MODULUS, signed(BLOCK), DIGEST)) == (True, 17)
    assert finished(Check(MODULUS, signed(block), DIGEST)) == (False, 17)


@pytest.mark.parametrize("n", [0, 1])
def test_a_number_that_is_its_own_power_signs_nothing(n):
    assert finished(Check(MODULUS, n.to_bytes(KEY_BYTES, "big"), DIGEST)) == (False, 17)
