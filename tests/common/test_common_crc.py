"""The checksums agree with published vectors and with others' implementations."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU

from common.crc import crc8_byte, crc16_modbus, crc16_modbus_of, crc32

CHECK = b"123456789"  # the input all CRC catalogues use


def crc8(data):
    crc = 0
    for byte in data:
        crc = crc8_byte(crc, byte)
    return crc


def test_the_check_values_of_the_catalogues():
    assert crc16_modbus(CHECK, 0, 9) == 0x4B37
    assert crc8(CHECK) == 0xF4
    assert crc32(CHECK, 0, 9) == 0xCBF43926


@pytest.mark.parametrize(
    ("frame", "on_the_wire"),
    [
        ("0103 0000 000a", "c5cd"),
        ("1103 006b 0003", "7687"),  # Modicon PI-MBUS-300, read holding registers
        ("0207", "4112"),  # Modbus over Serial Line V1.02, appendix B
    ],
)
def test_published_modbus_frames(frame, on_the_wire):
    data = bytes.fromhex(frame.replace(" ", ""))
    assert crc16_modbus(data, 0, len(data)).to_bytes(2, "little").hex() == on_the_wire


def long_division_crc8(data: bytes) -> int:
    """The remainder of data * x^8 by x^8 + x^2 + x + 1, as in a textbook."""
    remainder = int.from_bytes(data, "big") << 8
    while remainder.bit_length() > 8:
        remainder ^= 0x107 << (remainder.bit_length() - 9)
    return remainder


@given(st.binary(max_size=64))
def test_they_agree_with_other_implementations(data):
    n = len(data)
    # pymodbus returns the number whose big-endian bytes are those on the wire
    assert crc16_modbus(data, 0, n).to_bytes(2, "little") == FramerRTU.compute_CRC(data).to_bytes(
        2, "big"
    )
    assert crc16_modbus_of(memoryview(data)) == crc16_modbus(data, 0, n)
    assert crc8(data) == long_division_crc8(data)
    assert crc32(data, 0, n) == zlib.crc32(data)


@given(st.binary(min_size=1, max_size=64), st.data())
def test_a_part_of_a_buffer_counts_as_that_part_alone(data, draw):
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, len(data)))
    part = data[start:end]
    for crc in (crc16_modbus, crc32):
        assert crc(data, start, end) == crc(part, 0, len(part))


@given(st.binary(min_size=1, max_size=250), st.data())
def test_one_or_two_flipped_bits_never_pass_crc16(data, draw):
    bits = draw.draw(st.sets(st.integers(0, 8 * len(data) - 1), min_size=1, max_size=2))
    damaged = bytearray(data)
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    assert crc16_modbus(damaged, 0, len(data)) != crc16_modbus(data, 0, len(data))
