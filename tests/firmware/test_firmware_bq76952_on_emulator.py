"""Driver against emulator: written apart from each other, from the same facts.

What passes here is not that two halves agree on a constant but that volts, amperes, degrees and
switches come through: the world's on one side, the driver's on the other.
"""

import pytest
from bq76952_world import BOTH, World
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from common.codes import Switch
from firmware.afe import AfeError
from firmware.afe.bq76952 import Bq76952
from firmware.snapshot import UNKNOWN_DC
from sim.bq76952 import Nack


@pytest.mark.parametrize("n_cells", [3, 4, 9, 14, 15, 16])
@pytest.mark.parametrize("rated_mah", [2000, 50000, 280000])
def test_every_setting_is_taken_and_nothing_is_refused(n_cells: int, rated_mah: int) -> None:
    world = World(n_cells, rated_mah).configured()
    assert world.chip.rejected.total == 0
    assert world.afe.errors == 0
    assert not world.chip.charge_fet
    assert not world.chip.discharge_fet
    assert not world.read().afe_lost_settings
    assert not world.chip.unknown_accesses


@pytest.mark.parametrize(
    ("crc", "part_crc", "spoken"),
    [(True, True, True), (True, False, True), (False, False, False), (False, True, True)],
)
def test_driver_and_part_come_to_terms_about_crc(crc: bool, part_crc: bool, spoken: bool) -> None:
    world = World(crc=crc, part_crc=part_crc).configured()
    assert world.afe.bus.crc is spoken
    assert list(world.read().cell_mv) == [3600 + 10 * i for i in range(16)]


@pytest.mark.parametrize("n_cells", [3, 8, 13, 16])
def test_cells_stack_and_temperatures_come_through(n_cells: int) -> None:
    world = World(n_cells).configured()
    snapshot = world.read()
    assert list(snapshot.cell_mv) == [3600 + 10 * i for i in range(n_cells)]
    assert snapshot.stack_mv == pytest.approx(1000 * sum(world.cell_v), abs=25)
    assert list(snapshot.temp_dc[:3]) == pytest.approx([250, 200, 150], abs=2)
    assert snapshot.temp_dc[3] == UNKNOWN_DC
    assert snapshot.fet_dc == pytest.approx(400, abs=2)
    assert snapshot.afe_dc == pytest.approx(350, abs=2)
    assert snapshot.afe_safety == 0
    assert snapshot.afe_failed == 0


def test_a_missing_sensor_is_unknown_and_trips_nothing() -> None:
    world = World()
    world.temperatures_c = [25.0]
    world.configured(closed=True)
    world.cycles(6)
    snapshot = world.read()
    assert list(snapshot.temp_dc[1:]) == [UNKNOWN_DC] * 3
    assert snapshot.switches == BOTH


@pytest.mark.parametrize(
    ("rated_mah", "current_a", "resolution_ma"),
    [(5000, -4.0, 20), (5000, 3.0, 20), (50000, -60.0, 25), (280000, 150.0, 110)],
)
def test_current_and_charge_come_through(
    rated_mah: int, current_a: float, resolution_ma: int
) -> None:
    world = World(rated_mah=rated_mah)
    world.configured(closed=True)
    world.current_a = current_a
    world.cycles(3)
    counted_uah = world.cycles(100)
    assert world.snapshot.current_ma == pytest.approx(1000 * current_a, abs=resolution_ma)
    assert counted_uah == pytest.approx(current_a * 1e6 * 100 / 3600, rel=0.005)


def test_charge_of_failed_readings_is_not_lost() -> None:
    world = World().configured(closed=True)
    world.current_a = -4.0
    world.cycles(3)
    total = 0
    for second in range(60):
        world.run(1.0)
        world.chip.faults.nack_next = 3 if second % 3 else 0
        try:
            total += world.read().delta_uah
        except AfeError:
            continue
    world.chip.faults.nack_next = 0
    total += world.read().delta_uah
    assert total == pytest.approx(-4.0e6 * 60 / 3600, rel=0.005)


@pytest.mark.parametrize(
    ("allowed", "charge", "discharge"),
    [
        (BOTH, True, True),
        (Switch.CHARGE, True, False),
        (Switch.DISCHARGE, False, True),
        (0, False, False),
    ],
)
def test_switches_follow_and_are_read_back(allowed: int, charge: bool, discharge: bool) -> None:
    world = World().configured()
    for before in (0, BOTH, Switch.CHARGE, Switch.DISCHARGE):
        world.afe.set_switches(before)
        world.run(0.1)
        world.afe.set_switches(allowed)
        world.run(0.1)
        assert (world.chip.charge_fet, world.chip.discharge_fet) == (charge, discharge)
        assert world.read().switches == allowed


@pytest.mark.parametrize("n_cells", [4, 16])
def test_balancing_bleeds_the_cells_meant_and_ends_by_itself(n_cells: int) -> None:
    world = World(n_cells).configured(closed=True)
    cells = 1 | 1 << (n_cells - 1)
    world.afe.set_balancing(cells)
    world.cycles(1)
    assert world.chip.balance_mask == cells
    assert world.snapshot.balancing == cells
    world.cycles(world.afe.applied["balancing_s"] + 1)
    assert world.chip.balance_mask == 0
    assert world.snapshot.balancing == 0
    world.afe.set_balancing(cells)
    world.afe.set_balancing(0)
    world.cycles(1)
    assert world.chip.balance_mask == 0


def test_a_board_that_is_fed_by_the_chip_says_which_regulators_it_needs() -> None:
    world = World()
    world.afe_regulators = 0x0D  # REG1 with 3.3 V
    world.afe = Bq76952(world, 16)
    world.configured()
    assert world.chip.memory.integer("reg12_config") == 0x0D
    assert world.chip.memory.integer("reg0_config") == 0x01


# --- the last line of defence -----------------------------------------------------------------


@pytest.mark.parametrize("cell", [0, 5, 15])
@pytest.mark.parametrize(
    ("limit", "side", "open_switch", "bit"),
    [("cov_mv", 1, Switch.CHARGE, 0x08), ("cuv_mv", -1, Switch.DISCHARGE, 0x04)],
)
def test_a_cell_beyond_the_chip_s_limit_opens_one_direction(
    cell: int, limit: str, side: int, open_switch: int, bit: int
) -> None:
    world = World().configured(closed=True)
    limit_v = world.afe.applied[limit] / 1000
    world.cell_v[cell] = limit_v - side * 0.01
    world.cycles(8)
    assert world.snapshot.switches == BOTH
    world.cell_v[cell] = limit_v + side * 0.01
    world.cycles(3)
    assert world.snapshot.switches == BOTH  # its delay is 4 s
    world.cycles(3)
    assert world.snapshot.switches == BOTH & ~open_switch
    assert world.snapshot.afe_safety & bit


@pytest.mark.parametrize(
    ("limit", "sign", "delay", "bit"),
    [
        ("occ_ma", 1, "occ_delay_ms", 0x10),
        ("ocd1_ma", -1, "ocd1_delay_ms", 0x20),
        ("ocd2_ma", -1, "ocd2_delay_ms", 0x40),
        ("ocd3_ma", -1, "ocd3_delay_ms", 0x800000),
        ("scd_ma", -1, None, 0x80),
    ],
)
def test_over_current_opens(limit: str, sign: int, delay: str | None, bit: int) -> None:
    world = World().configured(closed=True)
    limit_a = world.afe.applied[limit] / 1000
    world.current_a = sign * limit_a * 1.03
    seen = 0
    for _ in range(150):
        world.run(0.1, step_s=0.01)
        seen |= world.read().afe_safety
    assert seen & bit
    after_s = 0.0 if delay is None else world.afe.applied[delay] / 1000
    world = World().configured(closed=True)
    world.current_a = sign * limit_a * 1.03
    world.run(after_s + 1.0, step_s=0.01)
    assert not (world.chip.charge_fet if sign > 0 else world.chip.discharge_fet)


@pytest.mark.parametrize("sign", [1, -1])
def test_currents_inside_the_firmware_s_limits_do_not_trip_the_chip(sign: int) -> None:
    world = World(rated_mah=50000).configured(closed=True)
    limit_ma = world.settings.occ_ma if sign > 0 else world.settings.ocd_ma
    world.current_a = sign * limit_ma / 1000
    world.cycles(30)
    assert world.snapshot.afe_safety == 0
    assert world.snapshot.switches & (Switch.CHARGE if sign > 0 else Switch.DISCHARGE)


@pytest.mark.parametrize(
    ("cell_c", "fet_c", "left"),
    [
        (48.0, 40.0, BOTH),
        (53.0, 40.0, Switch.DISCHARGE),
        (68.0, 40.0, 0),
        (-8.0, 40.0, Switch.DISCHARGE),
        (-28.0, 40.0, 0),
        (25.0, 98.0, 0),
    ],
)
def test_temperatures_open(cell_c: float, fet_c: float, left: int) -> None:
    world = World().configured(closed=True)
    world.temperatures_c[0] = cell_c
    world.fet_c = fet_c
    world.cycles(8)
    assert world.snapshot.switches == left


def test_a_hung_board_cannot_keep_the_switches_closed() -> None:
    world = World().configured(closed=True)
    world.cycles(3)
    world.run(world.afe.applied["hwd_s"] - 1)
    assert world.chip.charge_fet
    world.run(2)
    assert not world.chip.charge_fet
    assert not world.chip.discharge_fet


# --- resets and broken buses ------------------------------------------------------------------


@pytest.mark.parametrize("reset", ["power_on_reset", "watchdog_reset"])
@pytest.mark.parametrize("part_crc", [True, False])
def test_a_chip_that_was_reset_is_noticed_and_set_up_again(reset: str, part_crc: bool) -> None:
    world = World(part_crc=part_crc).configured(closed=True)
    signature = world.afe.signature
    world.cycles(3)
    getattr(world.chip, reset)()
    lost = False
    for _ in range(4):
        world.run(1.0)
        try:
            lost = lost or world.read().afe_lost_settings
        except AfeError:  # it speaks without CRC now
            continue
    assert lost
    world.configured()
    assert world.afe.signature == signature
    snapshot = world.read()
    assert not snapshot.afe_lost_settings
    assert snapshot.delta_uah == 0
    assert snapshot.switches == 0


def test_a_stuck_chip_is_given_up_in_bounded_time() -> None:
    world = World().configured(closed=True)
    world.chip.faults.stuck_busy = True
    for _ in range(3):
        before, started_us = world.transactions, world.chip.now_us
        with pytest.raises(AfeError):
            world.read()
        assert world.transactions - before < 60
        assert world.chip.now_us - started_us < 250_000


def test_a_dead_chip_is_given_up_at_once_and_comes_back() -> None:
    world = World().configured(closed=True)
    world.chip.faults.dead = True
    before = world.transactions
    with pytest.raises(AfeError):
        world.read()
    assert world.transactions - before == 3
    world.chip.faults.dead = False
    world.chip.power_on_reset()
    world.run(1.0)
    assert world.read().afe_lost_settings


@given(failing=st.sets(st.integers(0, 400), max_size=40), burst=st.integers(1, 4))
@hypothesis_settings(max_examples=25, deadline=None)
def test_setting_up_over_a_bad_bus_is_complete_or_refused_and_closes_nothing(
    failing: set[int], burst: int
) -> None:
    world = World()
    taken = world.chip.i2c
    count = 0

    def disturbed(address: int, write: bytes, n_read: int) -> bytes:
        nonlocal count
        count += 1
        assert not world.chip.charge_fet
        assert not world.chip.discharge_fet
        if any(count - i in failing for i in range(burst)):
            raise Nack("disturbed")
        return taken(address, write, n_read)

    world.chip.i2c = disturbed  # type: ignore[method-assign]
    try:
        world.afe.configure(world.settings)
    except AfeError:
        with pytest.raises(AfeError):
            world.afe.set_switches(BOTH)
    failing.clear()
    world.afe.configure(world.settings)
    assert world.chip.rejected.total == 0
    world.run(0.5)
    assert world.read().switches == 0
    assert world.afe.signature == World().configured().afe.signature


@given(
    faults=st.lists(
        st.sampled_from(["nack_next", "corrupt_crc_next", None]), min_size=1, max_size=12
    ),
    allowed=st.sampled_from([0, 1, 2, 3]),
)
@hypothesis_settings(max_examples=30, deadline=None)
def test_under_any_faults_figures_are_right_or_refused_and_opening_works(
    faults: list[str | None], allowed: int
) -> None:
    world = World().configured(closed=True)
    for fault in faults:
        if fault:
            setattr(world.chip.faults, fault, 1 + len(faults) % 4)
        world.run(1.0)
        try:
            snapshot = world.read()
        except AfeError:
            continue
        assert not snapshot.afe_lost_settings
        assert list(snapshot.cell_mv) == [3600 + 10 * i for i in range(16)]
    world.chip.faults.nack_next = world.chip.faults.corrupt_crc_next = 0
    world.afe.set_switches(allowed)
    world.afe.set_switches(0)
    world.run(0.1)
    assert not world.chip.charge_fet
    assert not world.chip.discharge_fet
