"""The bus side of the BQ76952: addresses, CRC, auto-increment, injected faults."""

from collections.abc import Callable

import pytest
from bq76952_host import ADDRESS, Host, World, crc8_bitwise
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.bq76952 import Bq76952, Nack, UnknownAccess
from sim.bq76952.bus import crc8, data_of_write, frame_of_read


@pytest.mark.parametrize(
    ("data", "crc"),
    [("103E22", 0x63), ("00", 0x00), ("10141168", 0x33), ("0B", 0x31)],
)
def test_crc_matches_the_vectors_ti_prints(data: str, crc: int) -> None:
    assert crc8(bytes.fromhex(data)) == crc


@given(st.binary(max_size=40))
def test_crc_equals_the_definition_bit_by_bit(data: bytes) -> None:
    assert crc8(data) == crc8_bitwise(data)


def test_the_frames_of_tis_figures_come_out_whole() -> None:
    assert frame_of_read(ADDRESS, 0x14, bytes.fromhex("680B")) == bytes.fromhex("68330B31")
    fet_enable = bytes.fromhex("3E22630000")
    assert data_of_write(ADDRESS, fet_enable) == (b"\x22\x00", True)


def test_a_read_without_repeated_start_continues_and_covers_its_own_address() -> None:
    world = World()
    world.run(1)
    world.chip.i2c(ADDRESS, b"\x14", 0)
    frame = world.chip.i2c(ADDRESS, b"", 4)
    assert frame[0] | frame[2] << 8 == 3700
    assert frame[1] == crc8_bitwise(bytes((0x11, frame[0])))


@given(register=st.integers(0, 0x7F), count=st.integers(1, 48))
@settings(max_examples=60, deadline=None)
def test_crc_changes_the_frame_and_never_the_data(register: int, count: int) -> None:
    plain, coded = World(crc=False, strict=False), World(crc=True, strict=False)
    for world in (plain, coded):
        world.run(1)
    assert plain.host.read(register, count)[:0x20] == coded.host.read(register, count)[:0x20]


def test_the_pointer_moves_on_by_itself() -> None:
    world = World(crc=False)
    world.cells = [3.0 + 0.01 * n for n in range(16)]
    world.run(1)
    whole = world.host.read(0x14, 32)
    world.chip.i2c(ADDRESS, b"\x14", 0)
    assert b"".join(world.chip.i2c(ADDRESS, b"", 2) for _ in range(16)) == whole


def test_a_foreign_address_is_not_acknowledged() -> None:
    with pytest.raises(Nack, match="0x09"):
        World().chip.i2c(0x09, b"\x12", 4)


@given(bit=st.integers(0, 4 * 8 - 1))
@settings(max_examples=32, deadline=None)
def test_one_wrong_bit_in_a_write_never_takes_effect(bit: int) -> None:
    world = World()
    frame = bytearray(world.host.framed(0x66, b"\x34\x12"))
    frame[1 + bit // 8] ^= 1 << bit % 8
    before = world.host.word(0x66)
    with pytest.raises(Nack):
        world.chip.i2c(ADDRESS, bytes(frame), 0)
    assert world.chip.rejected.crc == 1
    accepted_low = bit >= 16  # the first byte was good when only the second pair is hit
    assert world.host.word(0x66) == (before & 0xFF00 | 0x34 if accepted_low else before)


def test_a_missing_crc_is_a_wrong_one() -> None:
    world = World()
    with pytest.raises(Nack):
        world.chip.i2c(ADDRESS, b"\x66\x34", 0)
    assert world.chip.rejected.crc == 1


def test_read_only_registers_keep_their_value_and_count_the_attempt() -> None:
    world = World()
    world.run(1)
    world.host.write(0x14, 1, 2)
    assert world.host.word(0x14) == 3700
    assert world.chip.rejected.read_only == 2


def test_injected_faults_hit_so_many_transactions_and_no_more() -> None:
    world = World()
    world.run(1)
    world.chip.faults.nack_next = 2
    for _ in range(2):
        with pytest.raises(Nack, match="injected"):
            world.host.read(0x14, 2)
    assert world.host.word(0x14) == 3700
    world.chip.faults.corrupt_crc_next = 1
    with pytest.raises(AssertionError):
        world.host.read(0x14, 2)
    assert world.host.word(0x14) == 3700


def test_a_dead_chip_is_silent_and_open() -> None:
    world = World()
    world.fets_on()
    assert world.chip.discharge_fet
    world.chip.faults.dead = True
    assert not world.chip.discharge_fet
    assert not world.chip.charge_fet
    with pytest.raises(Nack, match="power"):
        world.host.read(0x12, 2)


def test_power_on_takes_its_time_and_forgets_the_settings() -> None:
    world = World()
    world.host.configure((0x9261, b"\xfc"))
    assert not world.host.word(0x12) & 0x08
    world.chip.power_on_reset()
    with pytest.raises(Nack):
        world.host.read(0x12, 2)
    world.run(0.005, 0.005)
    assert world.host.word(0x12) & 0x08  # POR
    assert world.host.ask(0x9261)[0] == 0x88
    world.chip.watchdog_reset()
    world.run(0.005, 0.005)
    assert world.host.word(0x12) & 0x18 == 0x10  # WD


def test_what_is_not_there_reads_zero_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    world = World(strict=False)
    assert world.host.read(0x08, 2) == b"\0\0"
    assert world.host.read(0x08, 2) == b"\0\0"
    assert world.chip.unknown_accesses["register 0x0008"] == 2
    assert sum("0x0008" in record.message for record in caplog.records) == 1
    assert world.host.ask(0x0077) == bytes(32)
    assert world.chip.unknown_accesses["subcommand 0x0077"] == 1


@pytest.mark.parametrize(
    ("what", "access"),
    [
        ("register 0x0008", lambda host: host.read(0x08, 1)),
        ("subcommand 0x0077", lambda host: host.ask(0x0077)),
        ("data memory read 0x9306", lambda host: host.ask(0x9306)),
        ("data memory write 0x9306", lambda host: host.configure((0x9304, bytes(3)))),
    ],
)
def test_what_is_not_modelled_is_told_loudly(what: str, access: Callable[[Host], object]) -> None:
    with pytest.raises(UnknownAccess, match=what):
        access(World().host)


def test_a_block_read_may_pass_over_gaps_but_not_past_the_end() -> None:
    world = World(strict=False)
    world.host.read(0x02, 18)
    assert not world.chip.unknown_accesses
    world.host.read(0x7F, 2)
    assert set(world.chip.unknown_accesses) == {"register 0x0080"}


def test_comm_type_takes_effect_with_swap_comm_mode() -> None:
    world = World(crc=False)
    world.host.configure((0x9239, b"\x12"))
    world.chip.i2c(ADDRESS, b"\x3e\xbc\x29", 0)
    world.run(0.01, 0.01)
    coded = Host(world.chip, crc=True)
    assert coded.ask(0x0001) == b"\x95\x76"


def test_impossible_chips_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="n_cells: 17"):
        Bq76952(17, shunt_uohm=1000, seed=1)
    with pytest.raises(ValueError, match="cell_offset_mv"):
        Bq76952(16, shunt_uohm=1000, seed=1, cell_offset_mv=[0.0])


def predischarging(timeout: int, delta: int) -> World:
    world = World()
    world.host.configure((0x9308, b"\x1d"), (0x930E, bytes((timeout,))), (0x930F, bytes((delta,))))
    world.pack_v = 0.0
    world.fets_on()
    return world


def test_predischarge_comes_before_discharge_and_ends_with_the_voltage() -> None:
    world = predischarging(timeout=0, delta=50)
    world.run(10.0)
    assert (world.chip.predischarge_fet, world.chip.discharge_fet) == (True, False)
    assert world.host.read(0x7F, 1)[0] & 0x0C == 0x08
    world.pack_v = 16 * 3.7 - 0.51
    world.run(1.0)
    assert not world.chip.discharge_fet
    world.pack_v = 16 * 3.7 - 0.49
    world.run(0.25)
    assert (world.chip.predischarge_fet, world.chip.discharge_fet) == (False, True)
    assert world.host.read(0x7F, 1)[0] & 0x0C == 0x04
    world.pack_v = 0.0
    world.run(1.0)
    assert world.chip.discharge_fet, "it is only asked before it closes"


def test_predischarge_ends_with_its_time_where_it_has_one() -> None:
    world = predischarging(timeout=200, delta=0)
    world.run(1.5)
    assert world.chip.predischarge_fet
    world.run(1.0)
    assert (world.chip.predischarge_fet, world.chip.discharge_fet) == (False, True)


def test_what_opens_discharge_opens_predischarge_too() -> None:
    world = predischarging(timeout=0, delta=50)
    world.host.command(0x0095)
    assert not world.chip.predischarge_fet
    world.host.command(0x0096)
    assert world.chip.predischarge_fet
    world.host.enter_config()
    assert not world.chip.predischarge_fet
