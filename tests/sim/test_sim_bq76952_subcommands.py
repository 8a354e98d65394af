"""The subcommand port and the data memory."""

import struct

import pytest
from bq76952_host import ADDRESS, World, u8, u16
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.bq76952 import Nack


def test_device_number_and_firmware_version() -> None:
    world = World()
    assert world.host.ask(0x0001) == b"\x95\x76"
    assert world.host.ask(0x0002)[:2] == b"\x76\x95"
    assert world.host.read(0x61, 1)[0] == 10


def test_busy_reads_ffff_then_echoes() -> None:
    world = World()
    world.host.write(0x3E, 0x01, 0x00)
    assert world.host.word(0x3E) == 0xFFFF
    world.run(0.002, 0.002)
    assert world.host.word(0x3E) == 0x0001


def test_busy_ends_by_bus_time_alone() -> None:
    world = World()
    world.host.write(0x3E, 0x01, 0x00)
    started_us = world.chip.now_us
    world.host.wait_ready(0x0001)
    assert 400 <= world.chip.now_us - started_us < 1000


def test_a_write_while_busy_stretches_the_clock_and_loses_nothing() -> None:
    world = World()
    world.host.write(0x3E, 0x22, 0x00)
    world.host.write(0x3E, 0x57, 0x00)
    assert world.chip.last_bus_us >= 500
    world.host.wait_ready(0x0057)
    assert world.host.read(0x40, 1)[0] & 0x10


def test_a_stuck_chip_never_answers() -> None:
    world = World()
    world.chip.faults.stuck_busy = True
    world.host.write(0x3E, 0x01, 0x00)
    world.run(5)
    assert world.host.word(0x3E) == 0xFFFF
    with pytest.raises(Nack, match="held"):
        world.host.write(0x3E, 0x01, 0x00)
    world.chip.faults.stuck_busy = False
    world.host.wait_ready(0x0001)


def test_a_word_to_control_status_reads_back_ffa5_once() -> None:
    world = World()
    world.host.write(0x00, 0x01, 0x00)
    assert world.host.word(0x00) == 0xFFA5
    assert world.host.word(0x00) != 0xFFA5
    world.host.wait_ready(0x0001)


def test_data_memory_reads_as_a_block_of_32() -> None:
    world = World()
    world.host.command(0x9261)
    assert world.host.read(0x61, 1)[0] == 0x24
    block = world.host.ask(0x9261)
    assert block[:3] == b"\x88\x00\x00"
    assert block[0x9275 - 0x9261] == 50


def test_tis_example_writes_the_gain_of_cell_1() -> None:
    world = World()
    world.host.enter_config()
    world.host.write(0x3E, 0x80, 0x91)
    world.host.write(0x40, 0x7A, 0x30)
    world.host.write(0x60, 0x44, 0x06)
    world.host.wait_ready(0x9180)
    assert world.host.ask(0x9180)[:2] == b"\x7a\x30"
    assert world.chip.rejected.total == 0


def test_data_memory_outside_config_update_is_refused_and_counted() -> None:
    world = World()
    world.host.send(0x9261, b"\xfc")
    assert world.host.ask(0x9261)[0] == 0x88
    assert world.chip.rejected.not_in_config_update == 1


@given(data=st.binary(min_size=1, max_size=32), checksum=st.integers(0, 255), extra=st.booleans())
@settings(max_examples=80, deadline=None)
def test_only_the_right_checksum_and_length_count(data: bytes, checksum: int, extra: bool) -> None:
    world = World()
    world.host.enter_config()
    before = world.host.ask(0x9275)
    right = ~(0x75 + 0x92 + sum(data)) & 0xFF
    length = len(data) + 4 + (40 if extra else 0)
    world.host.write(0x3E, 0x75, 0x92, *data)
    world.host.write(0x60, checksum, length)
    after = world.host.ask(0x9275)
    if checksum == right and not extra:
        assert after == data + before[len(data) :]
    else:
        assert after == before
        assert world.chip.rejected.checksum + world.chip.rejected.length == 1


def test_checksum_and_length_in_two_writes_do_nothing() -> None:
    world = World()
    world.host.enter_config()
    world.host.write(0x3E, 0x61, 0x92, 0xFC)
    world.host.write(0x60, ~(0x61 + 0x92 + 0xFC) & 0xFF)
    world.host.write(0x61, 5)
    assert world.host.ask(0x9261)[0] == 0x88
    assert world.chip.rejected.length == 2


def test_a_write_past_the_window_is_refused() -> None:
    world = World()
    world.host.enter_config()
    world.host.send(0x93FE, bytes(8))
    assert world.chip.rejected.out_of_range == 1


def test_settings_take_effect_when_config_update_ends() -> None:
    world = World()
    world.host.enter_config()
    world.host.send(0x9303, b"\x06")
    world.host.exit_config()
    world.current_a = 100.0
    world.run(1)
    assert world.host.word(0x3A, signed=True) == 10_000  # 10 mA


def test_config_update_opens_the_fets_and_stops_the_counter() -> None:
    world = World()
    world.fets_on()
    assert world.chip.charge_fet
    assert world.chip.discharge_fet
    world.host.enter_config()
    assert not world.chip.charge_fet
    assert not world.chip.discharge_fet
    world.current_a = 10.0
    world.cells = [3.0] * 16
    charge = world.chip.coulomb.passq
    world.run(60)
    assert world.chip.coulomb.passq == charge
    assert world.host.word(0x14) == 3700
    world.host.exit_config()
    world.run(1)
    assert world.chip.charge_fet
    assert world.host.word(0x14) == 3000


def test_config_update_starts_only_after_its_busy_time() -> None:
    world = World()
    world.host.write(0x3E, 0x90, 0x00)
    assert not world.host.word(0x12) & 1
    world.run(0.002, 0.002)
    assert world.host.word(0x12) & 1


def test_the_signature_follows_the_settings_and_not_the_calibration() -> None:
    world = World()
    blank = world.host.ask(0x0005)
    world.host.configure((0x9180, u16(12410)))
    assert world.host.ask(0x0005) == blank
    world.host.configure((0x9275, u8(60)))
    assert world.host.ask(0x0005) != blank


def test_reset_restores_the_defaults_and_sets_por() -> None:
    world = World()
    world.host.configure((0x9275, u8(60)))
    world.host.write(0x3E, 0x12, 0x00)
    world.run(0.02, 0.01)
    assert world.host.word(0x12) & 0x08
    assert world.host.ask(0x9275)[0] == 50


def test_dastatus6_reads_as_tis_forum_prints_it() -> None:
    world = World()
    world.current_a = 3.0
    world.run(10)
    world.host.command(0x0082)
    assert world.host.ask(0x0076)[:8] == bytes.fromhex("00000000FFFFFF7F")
    world.chip.coulomb.passq = int.from_bytes(bytes.fromhex("E0C2C1D3FFFFFFFF"), "little") - (
        1 << 64
    )
    whole, fraction = struct.unpack_from("<iI", world.host.ask(0x0076))
    assert world.host.ask(0x0076)[:8] == bytes.fromhex("FFFFFFFFE0C2C1D3")
    assert whole + fraction / 2**32 == pytest.approx(-0.17283, abs=1e-5)


def test_a_sealed_chip_refuses_until_both_keys_came() -> None:
    world = World()
    world.host.command(0x0030)
    world.host.command(0x0090)
    assert world.host.word(0x12) & 0x0301 == 0x0300
    assert world.chip.rejected.sealed == 1
    world.host.command(0x0414)
    world.host.command(0x3672)
    assert world.host.word(0x12) >> 8 & 3 == 2
    for _ in range(2):
        world.host.write(0x3E, 0xFF, 0xFF)  # its echo looks like busy
        world.run(0.001, 0.001)
    assert world.host.word(0x12) >> 8 & 3 == 1
    assert not world.chip.unknown_accesses


def test_shutdown_needs_to_be_asked_twice() -> None:
    world = World()
    world.host.command(0x0010)
    assert world.host.ask(0x0001)
    world.host.write(0x3E, 0x10, 0x00)
    world.run(0.01, 0.01)
    with pytest.raises(Nack):
        world.host.read(0x12, 2)
    world.chip.power_on_reset()
    world.run(0.01, 0.01)
    assert world.host.word(0x12) & 0x08


_WRITES = st.tuples(
    st.integers(0, 0x7F) | st.sampled_from((0x3E, 0x40, 0x60)), st.binary(max_size=36)
)
_STEPS = st.floats(0.0, 5.0)


@given(
    st.lists(_WRITES | _STEPS | st.sampled_from((0x90, 0x92, 0x22, 0x95, 0x96)), max_size=30),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_nothing_the_host_sends_breaks_the_chip(doings: list[object], crc: bool) -> None:
    world = World(crc=crc, strict=False)
    for doing in doings:
        try:
            if isinstance(doing, float):
                world.run(doing, max(doing, 0.001))
            elif isinstance(doing, int):
                world.host.write(0x3E, doing, 0)
            else:
                register, data = doing  # type: ignore[misc]
                world.chip.i2c(ADDRESS, world.host.framed(register, data), 0)
        except Nack:
            world.run(0.01, 0.01)
        if world.chip.config_update:
            assert not world.chip.charge_fet
            assert not world.chip.discharge_fet
    world.run(10, 1.0)
    if world.chip.powered:
        assert len(world.chip.i2c(ADDRESS, b"\x00", 64)) == 64
