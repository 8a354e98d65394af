"""The simulated FRAM answers on I2C as the chip does, and dies where it is told to."""

import pytest

from sim.fram import ADDRESS, I2C, N_BYTES, FramChip, PowerCut


def test_bytes_are_in_place_when_they_are_acknowledged_and_a_read_goes_on() -> None:
    chip = FramChip()
    chip.i2c(ADDRESS, b"\x12\x34abc", 0)
    assert chip.i2c(ADDRESS, b"\x12\x34", 2) == b"ab"
    assert chip.i2c(ADDRESS, b"", 1) == b"c"


def test_behind_the_last_byte_comes_the_first_and_the_upper_address_bit_counts_not() -> None:
    chip = FramChip()
    chip.i2c(ADDRESS, b"\xff\xffxy", 0)
    assert (chip.image[N_BYTES - 1], chip.image[0]) == tuple(b"xy")
    assert chip.i2c(ADDRESS, b"\x7f\xff", 2) == b"xy"


def test_another_address_and_a_deaf_chip_do_not_acknowledge() -> None:
    chip = FramChip()
    with pytest.raises(OSError, match="19"):
        chip.i2c(ADDRESS + 1, b"\0\0", 1)
    chip.deaf = 1
    with pytest.raises(OSError, match="19"):
        chip.i2c(ADDRESS, b"\0\0", 1)
    assert chip.i2c(ADDRESS, b"\0\0", 1) == b"\0"


def test_a_cut_within_a_byte_leaves_bits_of_both() -> None:
    chip = FramChip(bytearray(b"\xf0" * N_BYTES))
    chip.log = []
    chip.cut_at, chip.cut_bits = 2, 0x3C
    with pytest.raises(PowerCut):
        chip.i2c(ADDRESS, b"\0\1\x0f\x0f\x0f\x0f", 0)
    assert chip.image[:6] == b"\xf0\x0f\x0f\xcc\xf0\xf0"
    assert chip.log == [(1, 0x0F), (2, 0x0F)]
    with pytest.raises(PowerCut):
        chip.i2c(ADDRESS, b"\0\0", 1)


def test_a_stuck_bit_stays_0() -> None:
    chip = FramChip()
    chip.stuck = {1: 0x01}
    chip.i2c(ADDRESS, b"\0\0\xff\xff\xff", 0)
    assert chip.image[:3] == b"\xff\xfe\xff"


def test_a_master_as_boards_have_it() -> None:
    bus = I2C(FramChip())
    bus.writeto_mem(ADDRESS, 0x1234, b"abc", addrsize=16)
    buffer = bytearray(2)
    bus.readfrom_mem_into(ADDRESS, 0x1235, buffer, addrsize=16)
    assert buffer == b"bc"
