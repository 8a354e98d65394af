"""Voltages, temperatures, current and charge: what the registers say of the true world."""

import struct

import pytest
from bq76952_host import ADDRESS, World, u8, u16
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.bq76952 import Bq76952

AN_HOUR_S = 3600


def cells_mv(world: World) -> list[int]:
    return list(struct.unpack("<16h", world.host.read(0x14, 32)))


def charge_userah(world: World) -> float:
    whole, fraction, _ = struct.unpack_from("<iII", world.host.ask(0x0076))
    return whole + fraction / 2**32


@given(st.lists(st.floats(0.5, 5.0), min_size=16, max_size=16))
@settings(max_examples=50, deadline=None)
def test_cells_read_to_the_nearest_millivolt(voltages: list[float]) -> None:
    world = World()
    world.cells = voltages
    world.run(1)
    assert all(
        abs(mv - 1000 * v) <= 0.5 + 1e-6 for mv, v in zip(cells_mv(world), voltages, strict=True)
    )


@pytest.mark.parametrize("n_cells", [3, 10, 15])
def test_the_top_cell_is_on_the_last_input_and_the_rest_are_shorted(n_cells: int) -> None:
    world = World(n_cells)
    world.cells = [3.5 + 0.01 * n for n in range(n_cells)]
    world.run(1)
    readings = cells_mv(world)
    assert readings[: n_cells - 1] == [3500 + 10 * n for n in range(n_cells - 1)]
    assert readings[n_cells - 1 : 15] == [0] * (16 - n_cells)
    assert readings[15] == 3500 + 10 * (n_cells - 1)


def test_registers_read_zero_until_the_first_scan_and_hold_between_scans() -> None:
    world = World()
    assert cells_mv(world) == [0] * 16
    world.run(0.02, 0.02)
    assert cells_mv(world)[0] == 3700
    world.cells = [3.9] * 16
    world.run(0.02, 0.02)
    assert cells_mv(world)[0] == 3700
    world.run(0.1, 0.02)
    assert cells_mv(world)[0] == 3900


def test_noise_offset_and_gain_come_from_the_seed() -> None:
    def readings(seed: int) -> tuple[bytes, bytes]:
        chip = Bq76952(16, shunt_uohm=1000, seed=seed, crc=False)
        cells = b""
        for _ in range(20):
            chip.step(1.0, [3.7] * 16, -5.0, [25.0], 30.0, 30.0)
            cells += chip.i2c(ADDRESS, b"\x14", 40)
        return cells, chip.i2c(ADDRESS, b"\x68", 20)

    assert readings(1) == readings(1)
    assert readings(1) != readings(2)


def test_reading_twice_between_scans_gives_the_same_values() -> None:
    chip = Bq76952(16, shunt_uohm=1000, seed=1, crc=False, noise_mv=5.0)
    chip.step(1.0, [3.7] * 16, 0.0, [25.0], 30.0, 30.0)
    first = chip.i2c(ADDRESS, b"\x14", 32)
    assert chip.i2c(ADDRESS, b"\x14", 32) == first
    chip.step(1.0, [3.7] * 16, 0.0, [25.0], 30.0, 30.0)
    assert chip.i2c(ADDRESS, b"\x14", 32) != first


def test_noise_has_the_size_that_was_asked_for() -> None:
    chip = Bq76952(16, shunt_uohm=1000, seed=1, crc=False, noise_mv=4.0, cell_offset_mv=[0.0] * 16)
    seen: list[int] = []
    for _ in range(200):
        chip.step(0.1, [3.7] * 16, 0.0, [25.0], 30.0, 30.0)
        seen += struct.unpack("<16h", chip.i2c(ADDRESS, b"\x14", 32))
    mean = sum(seen) / len(seen)
    deviation = (sum((mv - mean) ** 2 for mv in seen) / len(seen)) ** 0.5
    assert mean == pytest.approx(3700, abs=0.3)
    assert deviation == pytest.approx(4.0, rel=0.1)


def test_a_cell_keeps_its_offset() -> None:
    chip = Bq76952(
        4, shunt_uohm=1000, seed=1, crc=False, noise_mv=0.0, cell_offset_mv=[2.0, -3.0, 0.0, 7.0]
    )
    chip.step(1.0, [3.7] * 4, 0.0, [25.0], 30.0, 30.0)
    readings = struct.unpack("<16h", chip.i2c(ADDRESS, b"\x14", 32))
    assert (readings[0], readings[1], readings[15]) == (3702, 3697, 3707)


def test_stack_and_pack_are_in_the_users_volts() -> None:
    world = World()
    world.cells = [3.0] * 8 + [0.0] * 8
    world.pack_v = 22.0
    world.run(1)
    assert world.host.word(0x34) == pytest.approx(2400, abs=3)
    assert world.host.word(0x36) == pytest.approx(2200, abs=3)
    world.host.configure((0x9303, b"\x01"))
    world.run(1)
    assert world.host.word(0x34) == pytest.approx(24000, abs=25)


def test_temperatures_are_tenths_of_kelvin_where_a_pin_is_configured() -> None:
    world = World()
    world.temperatures_c = [25.0, -10.0, 40.0]
    world.fet_c = 61.0
    world.run(1)
    assert world.host.word(0x68) == pytest.approx(3031.5, abs=2)
    assert world.host.word(0x70) == pytest.approx(2981.5, abs=2)
    assert world.host.word(0x72) == 0
    world.host.configure((0x92FE, b"\x07"), (0x92FF, b"\x0f"), (0x9300, b"\x07"))
    world.run(1)
    assert world.host.word(0x72) == pytest.approx(2631.5, abs=2)
    assert world.host.word(0x74) == pytest.approx(3341.5, abs=2)  # a FET sensor sees the FET
    assert world.host.word(0x76) == pytest.approx(2231.5, abs=2)  # nothing fitted: very cold


@pytest.mark.parametrize(
    ("setting", "usera_ma"), [(0x04, 0.1), (0x05, 1.0), (0x06, 10.0), (0x07, 100.0)]
)
def test_current_is_signed_and_in_usera(setting: int, usera_ma: float) -> None:
    world = World()
    world.host.configure((0x9303, u8(setting)))
    for current_a in (2.5, -2.5):
        world.current_a = current_a
        world.run(1)
        reading_ma = world.host.word(0x3A, signed=True) * usera_ma
        assert reading_ma == pytest.approx(1000 * current_a, abs=max(usera_ma, 8.0))


def test_current_saturates_at_sixteen_bits() -> None:
    world = World()
    world.current_a = -100.0
    world.run(1)
    assert world.host.word(0x3A, signed=True) == -32768
    world.current_a = 100.0
    world.run(1)
    assert world.host.word(0x3A, signed=True) == 32767


def test_a_chip_that_is_not_told_its_shunt_reads_the_wrong_current() -> None:
    world = World(shunt_uohm=500.0)
    world.current_a = 10.0
    world.run(1)
    assert world.host.word(0x3A, signed=True) == pytest.approx(5000, abs=10)
    gain = 7.5684 / 0.5
    world.host.configure((0x91A8, struct.pack("<f", gain)))
    world.run(1)
    assert world.host.word(0x3A, signed=True) == pytest.approx(10_000, abs=20)


def test_the_charge_follows_capacity_gain_and_not_cc_gain() -> None:
    world = World(shunt_uohm=500.0)
    gain = 7.5684 / 0.5
    world.host.configure((0x91A8, struct.pack("<f", gain)))
    world.host.command(0x0082)
    world.current_a = 10.0
    world.run(AN_HOUR_S, 10.0)
    assert charge_userah(world) - 0.5 == pytest.approx(5000, rel=1e-4)
    world.host.configure((0x91AC, struct.pack("<f", gain * 298261.6178)))
    world.host.command(0x0082)
    world.run(AN_HOUR_S, 10.0)
    assert charge_userah(world) - 0.5 == pytest.approx(10_000, rel=1e-4)


@given(st.lists(st.tuples(st.floats(-30.0, 30.0), st.floats(0.01, 60.0)), max_size=20))
@settings(max_examples=40, deadline=None)
def test_charge_and_time_add_up_over_any_profile(profile: list[tuple[float, float]]) -> None:
    world = World()
    world.host.command(0x0082)
    for current_a, seconds in profile:
        world.current_a = current_a
        world.run(seconds, seconds)
    expected_mah = sum(a * s for a, s in profile) / 3.6
    whole, fraction, seconds = struct.unpack_from("<iII", world.host.ask(0x0076))
    assert whole + fraction / 2**32 - 0.5 == pytest.approx(expected_mah, rel=1e-5, abs=1e-3)
    assert seconds == pytest.approx(sum(s for _, s in profile), abs=1.0)


def test_charge_is_counted_in_the_users_amperes() -> None:
    world = World()
    world.host.configure((0x9303, b"\x06"))
    world.host.command(0x0082)
    world.current_a = -20.0
    world.run(AN_HOUR_S, 10.0)
    assert charge_userah(world) - 0.5 == pytest.approx(-2000, rel=1e-4)


def test_offset_and_gain_show_in_current_and_charge_and_the_board_offset_cancels() -> None:
    world = World(current_offset_ma=40.0, current_gain=1.01)
    world.host.command(0x0082)
    world.current_a = 10.0
    world.run(AN_HOUR_S, 10.0)
    assert world.host.word(0x3A, signed=True) == pytest.approx(10_140, abs=10)
    assert charge_userah(world) - 0.5 == pytest.approx(10_140, rel=1e-4)
    counts = 40e-6 / (1.24 / (5 * 2**23))  # 40 mA over 1 mOhm in 29.56 nV counts
    world.host.configure((0x91C6, u16(16)), (0x91C8, u16(round(counts * 16))))
    world.run(1)
    assert world.host.word(0x3A, signed=True) == pytest.approx(10_100, abs=10)


def test_dastatus5_agrees_with_the_direct_registers() -> None:
    world = World(14)
    world.host.configure((0x9304, u16(0x9FFF)), (0x92FE, b"\x07"))
    world.cells = [3.6 + 0.01 * n for n in range(14)]
    world.temperatures_c = [20.0, 30.0]
    world.current_a = -4.0
    world.run(5)
    fields = struct.unpack("<hhhhhHHHHHhhii", world.host.ask(0x0075))
    _, vss, highest, lowest, total, _, fet, hot, cold, middle, cc3, cc1, cc2_counts, _ = fields
    assert (vss, highest, lowest, fet) == (0, 3730, 3600, 0)
    assert total == round(sum(1000 * v for v in world.cells) / 10)
    assert (hot, cold, middle) == (3032, 2932, 2982)
    assert cc1 == pytest.approx(-4000, abs=2)
    assert cc3 == pytest.approx(-4000, abs=2)
    assert cc2_counts * 29.56e-9 / 1e-3 == pytest.approx(-4.0, abs=0.02)


def test_dastatus1_pairs_voltage_and_current_counts() -> None:
    world = World()
    world.run(1)
    counts = struct.unpack("<8i", world.host.ask(0x0071))
    assert counts[0] * 5 * 1212 / 2**23 == pytest.approx(3700, abs=1)


def test_an_open_sense_wire_moves_two_cells_apart_and_keeps_their_sum() -> None:
    world = World()
    world.run(1)
    world.chip.faults.open_wire_above = 6
    world.run(11)
    readings = cells_mv(world)
    assert readings[6] < 3000 < 4000 < readings[7]
    assert readings[6] + readings[7] == pytest.approx(7400, abs=1)
    assert readings[5] == readings[8] == 3700
    world.chip.faults.open_wire_above = None
    world.run(1)
    assert cells_mv(world)[6] == 3700


def test_the_world_may_be_a_numpy_array() -> None:
    numpy = pytest.importorskip("numpy")
    world = World()
    world.cells = numpy.full(16, 3.456)
    world.run(1)
    assert cells_mv(world) == [3456] * 16
