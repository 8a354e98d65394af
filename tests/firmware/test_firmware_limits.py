"""What holds a limit down, and by how much; the table's levels stand inside what limits spare."""

import pytest
from core_fakes import healthy, nmc, set_cells, set_temperatures
from hypothesis import given
from hypothesis import strategies as st

from common.codes import LimitReason
from firmware.limits import Limits, ramp
from firmware.snapshot import UNKNOWN_DC, Snapshot

OCC_MA, OCD_MA = 10000, 20000


def settled(snapshot: Snapshot, **known: int) -> Limits:
    limits = Limits(nmc())
    for name, value in known.items():
        setattr(limits, name, value)
    for _ in range(25):
        limits.update(snapshot, True, LimitReason.NONE, 0)
    return limits


@pytest.mark.parametrize(
    ("soc_bp", "ccl_ma", "dcl_ma"),
    [
        (5000, OCC_MA, OCD_MA),
        (9700, OCC_MA, OCD_MA),
        (9850, 6500, OCD_MA),
        (10000, 3000, OCD_MA),
        (300, OCC_MA, OCD_MA),
        (150, OCC_MA, 13000),
        (0, OCC_MA, 6000),
    ],
)
def test_the_state_of_charge_slows_down_at_its_ends_and_stops_nothing(
    soc_bp: int, ccl_ma: int, dcl_ma: int
) -> None:
    limits = settled(healthy(), soc_bp=soc_bp)
    assert (limits.ccl_ma, limits.dcl_ma) == (ccl_ma, dcl_ma)
    reason = LimitReason.STATE_OF_CHARGE
    assert limits.ccl_why == (reason if ccl_ma < OCC_MA else LimitReason.NONE)
    assert limits.dcl_why == (reason if dcl_ma < OCD_MA else LimitReason.NONE)


@pytest.mark.parametrize(
    ("soh_bp", "permille"), [(10000, 1000), (6000, 1000), (5000, 750), (4000, 500), (1000, 500)]
)
def test_a_pack_that_has_aged_far_carries_less(soh_bp: int, permille: int) -> None:
    limits = settled(healthy(), soh_bp=soh_bp)
    assert (limits.ccl_ma, limits.dcl_ma) == (10 * permille, 20 * permille)
    if permille < 1000:
        assert limits.ccl_why == limits.dcl_why == LimitReason.STATE_OF_HEALTH


def test_hot_switches_hold_both_down() -> None:
    snapshot = healthy()
    snapshot.fet_dc = 825
    limits = settled(snapshot)
    assert (limits.ccl_ma, limits.dcl_ma) == (5000, 10000)
    assert limits.ccl_why == limits.dcl_why == LimitReason.SWITCH_TEMPERATURE
    snapshot.fet_dc = UNKNOWN_DC
    assert settled(snapshot).ccl_ma == OCC_MA


def test_the_reason_is_the_one_that_weighs_most() -> None:
    snapshot = healthy()
    set_cells(snapshot, [4100] * 4)
    set_temperatures(snapshot, 30)
    assert settled(snapshot).ccl_why == LimitReason.TEMPERATURE
    set_cells(snapshot, [4190] * 4)
    assert settled(snapshot).ccl_why == LimitReason.CELL_VOLTAGE
    assert settled(snapshot, soh_bp=4000).ccl_why == LimitReason.CELL_VOLTAGE


def test_a_limit_that_still_rises_says_so() -> None:
    limits = Limits(nmc())
    limits.update(healthy(), True, LimitReason.NONE, 0)
    assert (limits.ccl_ma, limits.ccl_why) == (500, LimitReason.RECOVERY)
    for _ in range(19):
        limits.update(healthy(), True, LimitReason.NONE, 0)
    assert (limits.ccl_ma, limits.ccl_why) == (OCC_MA, LimitReason.NONE)


def test_the_charge_voltage_says_what_holds_it_down() -> None:
    snapshot = healthy()
    limits = settled(snapshot)
    assert (limits.cvl_mv, limits.cvl_why) == (16800, LimitReason.NONE)
    set_temperatures(snapshot, 425)
    limits = settled(snapshot)
    assert (limits.cvl_mv, limits.cvl_why) == (16700, LimitReason.TEMPERATURE)
    set_cells(snapshot, [4150, 4100, 4100, 4100])
    limits = settled(snapshot)
    assert (limits.cvl_mv, limits.cvl_why) == (16650, LimitReason.CELL_VOLTAGE)


@given(
    cells=st.lists(st.integers(1000, 4600), min_size=4, max_size=4),
    temperature_dc=st.integers(-400, 900),
    fet_dc=st.integers(-400, 1200),
    soc_bp=st.none() | st.integers(0, 10000),
    soh_bp=st.none() | st.integers(0, 12000),
)
def test_beyond_every_hard_limit_there_is_no_current_whatever_is_believed(
    cells: list[int], temperature_dc: int, fet_dc: int, soc_bp: int | None, soh_bp: int | None
) -> None:
    snapshot = healthy()
    set_cells(snapshot, cells)
    set_temperatures(snapshot, temperature_dc)
    snapshot.fet_dc = fet_dc
    limits = settled(snapshot, soc_bp=soc_bp, soh_bp=soh_bp)
    assert 0 <= limits.ccl_ma <= OCC_MA
    assert 0 <= limits.dcl_ma <= OCD_MA
    if max(cells) >= 4250 or not 0 < temperature_dc < 450 or fet_dc >= 900:
        assert limits.ccl_ma == 0
    if min(cells) <= 2800 or not -200 < temperature_dc < 600 or fet_dc >= 900:
        assert limits.dcl_ma == 0
    assert (limits.ccl_ma < OCC_MA) == (limits.ccl_why != LimitReason.NONE)
    assert (limits.dcl_ma < OCD_MA) == (limits.dcl_why != LimitReason.NONE)
    assert limits.cvl_mv <= 16800


# --- lines, to the millivolt, the tenth of a degree and the permille -----------------------------


@pytest.mark.parametrize(
    ("x", "expected"),
    [(-1, 50), (0, 50), (1, 59), (50, 525), (99, 990), (100, 1000), (101, 1000)],
)
def test_a_ramp_is_level_outside_and_straight_between(x: int, expected: int) -> None:
    assert ramp(x, 0, 100, 50, 1000) == expected


def test_a_ramp_may_stand_anywhere_and_fall() -> None:
    assert [ramp(x, 10, 20, 5, -5) for x in (9, 10, 11, 15, 20, 21)] == [5, 5, 4, 0, -5, -5]


def test_a_ramp_without_width_is_a_step() -> None:
    assert [ramp(x, 5, 5, 0, 1000) for x in (4, 5, 6)] == [0, 0, 1000]


def at(cell_mv: int = 3700, dc: int = 250, fet_dc: int = 300, **known: int) -> Limits:
    snapshot = healthy(cell_mv=cell_mv)
    set_temperatures(snapshot, dc)
    snapshot.fet_dc = fet_dc
    return settled(snapshot, **known)


VOLTAGE, HEAT = LimitReason.CELL_VOLTAGE, LimitReason.TEMPERATURE


@pytest.mark.parametrize(
    ("cell_mv", "ccl_ma"),
    [
        (4049, 10000), (4050, 10000), (4051, 9930), (4125, 5250), (4199, 560), (4200, 500),
        (4248, 400), (4249, 200), (4250, 0), (4251, 0),
    ],
)  # fmt: skip
def test_charging_slows_down_over_the_last_150_mv_and_ends_at_the_hard_limit(
    cell_mv: int, ccl_ma: int
) -> None:
    limits = at(cell_mv)
    assert (limits.ccl_ma, limits.dcl_ma) == (ccl_ma, OCD_MA)
    assert limits.ccl_why == (VOLTAGE if ccl_ma < OCC_MA else LimitReason.NONE)


@pytest.mark.parametrize(
    ("cell_mv", "dcl_ma"),
    [(3101, 20000), (3100, 20000), (3099, 19920), (2950, 10000), (2801, 60), (2800, 0), (2799, 0)],
)
def test_discharging_slows_down_over_the_last_300_mv(cell_mv: int, dcl_ma: int) -> None:
    limits = at(cell_mv)
    assert (limits.ccl_ma, limits.dcl_ma) == (OCC_MA, dcl_ma)
    assert limits.dcl_why == (VOLTAGE if dcl_ma < OCD_MA else LimitReason.NONE)


@pytest.mark.parametrize(
    ("dc", "ccl_ma", "dcl_ma"),
    [
        (101, 10000, 20000), (100, 10000, 20000), (99, 9900, 20000), (50, 5000, 20000),
        (1, 100, 20000), (0, 0, 20000), (-100, 0, 20000), (-101, 0, 19800), (-199, 0, 200),
        (-200, 0, 0), (399, 10000, 20000), (400, 10000, 20000), (401, 9800, 20000),
        (449, 200, 20000), (450, 0, 20000), (550, 0, 20000), (551, 0, 19600), (599, 0, 400),
        (600, 0, 0),
    ],
)  # fmt: skip
def test_each_direction_has_its_cold_and_its_hot_end(dc: int, ccl_ma: int, dcl_ma: int) -> None:
    limits = at(dc=dc)
    assert (limits.ccl_ma, limits.dcl_ma) == (ccl_ma, dcl_ma)
    assert limits.ccl_why == (HEAT if ccl_ma < OCC_MA else LimitReason.NONE)
    assert limits.dcl_why == (HEAT if dcl_ma < OCD_MA else LimitReason.NONE)


def test_the_coldest_sensor_counts_for_cold_and_the_hottest_for_heat() -> None:
    snapshot = healthy()
    set_temperatures(snapshot, 50, 425)
    assert settled(snapshot).ccl_ma == 5000
    set_temperatures(snapshot, 60, 425)
    assert settled(snapshot).ccl_ma == 5000
    set_temperatures(snapshot, 60, 420)
    assert settled(snapshot).ccl_ma == 6000


@pytest.mark.parametrize(
    ("fet_dc", "permille"), [(749, 1000), (750, 1000), (751, 993), (825, 500), (899, 6), (900, 0)]
)
def test_switches_slow_down_over_the_last_15_degrees(fet_dc: int, permille: int) -> None:
    limits = at(fet_dc=fet_dc)
    assert (limits.ccl_ma, limits.dcl_ma) == (10 * permille, 20 * permille)


@pytest.mark.parametrize(
    ("soc_bp", "ccl_ma", "dcl_ma"),
    [(9701, 9970, OCD_MA), (9999, 3020, OCD_MA), (299, OCC_MA, 19940), (1, OCC_MA, 6040)],
)
def test_the_state_of_charge_slows_down_over_its_last_3_percent(
    soc_bp: int, ccl_ma: int, dcl_ma: int
) -> None:
    limits = at(soc_bp=soc_bp)
    assert (limits.ccl_ma, limits.dcl_ma) == (ccl_ma, dcl_ma)


@pytest.mark.parametrize(("soh_bp", "permille"), [(5999, 999), (4001, 500), (4004, 501), (0, 500)])
def test_the_state_of_health_slows_down_between_60_and_40_percent(
    soh_bp: int, permille: int
) -> None:
    limits = at(soh_bp=soh_bp)
    assert (limits.ccl_ma, limits.dcl_ma) == (10 * permille, 20 * permille)


def test_of_two_reasons_that_weigh_the_same_the_first_is_told() -> None:
    """The cells' voltage, then temperature, switches, health, charge."""
    limits = at(cell_mv=2950, dc=-150, fet_dc=825, soh_bp=4000)
    assert (limits.dcl_ma, limits.dcl_why) == (10000, VOLTAGE)
    limits = at(dc=-150, fet_dc=825, soh_bp=4000)
    assert (limits.dcl_ma, limits.dcl_why) == (10000, HEAT)
    limits = at(fet_dc=825, soh_bp=4000)
    assert (limits.dcl_ma, limits.dcl_why) == (10000, LimitReason.SWITCH_TEMPERATURE)


# --- the charge voltage -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dc", "cvl_mv"),
    [
        (399, 16800),
        (400, 16800),
        (401, 16796),
        (425, 16700),
        (449, 16604),
        (450, 16600),
        (460, 16600),
    ],
)
def test_a_hot_pack_is_spared_up_to_50_mv_a_cell(dc: int, cvl_mv: int) -> None:
    limits = at(dc=dc)
    assert limits.cvl_mv == cvl_mv
    assert limits.cvl_why == (HEAT if cvl_mv < 16800 else LimitReason.NONE)


def cvl(*cells: int) -> tuple[int, int]:
    snapshot = healthy()
    set_cells(snapshot, list(cells))
    limits = settled(snapshot)
    return limits.cvl_mv, limits.cvl_why


def test_near_the_end_the_charge_voltage_is_where_the_highest_cell_is_full() -> None:
    assert cvl(4050, 4000, 4000, 4000) == (16800, LimitReason.NONE)
    assert cvl(4051, 4000, 4000, 4000) == (4200 + 3 * 4149, VOLTAGE)
    assert cvl(4200, 4199, 4200, 4200) == (16799, VOLTAGE)
    assert cvl(4200, 4200, 4200, 4200) == (16800, LimitReason.NONE)
    assert cvl(4240, 4000, 4000, 4000) == (4200 + 3 * 3960, VOLTAGE)


def test_of_both_the_lower_charge_voltage_holds() -> None:
    snapshot = healthy()
    set_temperatures(snapshot, 425)
    set_cells(snapshot, [4100, 4075, 4075, 4050])
    limits = settled(snapshot)
    assert (limits.cvl_mv, limits.cvl_why) == (16700, HEAT)
    set_cells(snapshot, [4100, 4075, 4075, 4049])
    limits = settled(snapshot)
    assert (limits.cvl_mv, limits.cvl_why) == (16699, VOLTAGE)


def test_what_held_the_charge_voltage_down_is_forgotten() -> None:
    limits = Limits(nmc())
    assert (limits.cvl_mv, limits.cvl_why) == (16800, LimitReason.NONE)
    snapshot = healthy()
    set_temperatures(snapshot, 425)
    limits.update(snapshot, True, LimitReason.NONE, 0)
    assert limits.cvl_mv == 16700
    limits.update(healthy(), False, LimitReason.NONE, 0)
    assert (limits.cvl_mv, limits.cvl_why) == (16700, HEAT), "nothing new is known"
    limits.update(healthy(), True, LimitReason.NONE, 0)
    assert (limits.cvl_mv, limits.cvl_why) == (16800, LimitReason.NONE)


# --- reasons for no current at all ------------------------------------------------------------


def test_at_first_nothing_is_offered() -> None:
    limits = Limits(nmc())
    assert (limits.ccl_ma, limits.dcl_ma) == (0, 0)
    assert limits.ccl_why == limits.dcl_why == LimitReason.NOT_READY
    assert limits.soc_bp is None
    assert limits.soh_bp is None


def test_without_temperatures_there_is_no_current() -> None:
    limits = settled(healthy())
    cold = healthy()
    set_temperatures(cold)
    limits.update(cold, False, LimitReason.NONE, 0)
    assert (limits.ccl_ma, limits.dcl_ma) == (0, 0)
    assert limits.ccl_why == limits.dcl_why == HEAT
    limits.update(cold, False, LimitReason.PRECHARGE, 0)
    assert limits.ccl_why == limits.dcl_why == LimitReason.PRECHARGE


@pytest.mark.parametrize("temperatures_dc", [(), (250,)])
def test_a_cycle_that_was_not_read_changes_no_limit(temperatures_dc: tuple[int, ...]) -> None:
    limits = settled(healthy())
    unread = healthy()
    unread.valid = False
    set_temperatures(unread, *temperatures_dc)
    limits.update(unread, False, LimitReason.NONE, 0)
    assert (limits.ccl_ma, limits.dcl_ma) == (OCC_MA, OCD_MA)
    assert limits.ccl_why == limits.dcl_why == LimitReason.NONE


def test_a_complete_cycle_that_closes_nothing_changes_no_limit() -> None:
    limits = settled(healthy())
    limits.update(healthy(cell_mv=4125), False, LimitReason.NONE, 0)
    assert (limits.ccl_ma, limits.ccl_why) == (OCC_MA, LimitReason.NONE)


def test_a_pack_that_is_stopped_says_why_and_rises_again_from_nothing() -> None:
    limits = settled(healthy())
    limits.update(healthy(), True, LimitReason.DISCONNECTED, 0)
    assert (limits.ccl_ma, limits.dcl_ma) == (0, 0)
    assert limits.ccl_why == limits.dcl_why == LimitReason.DISCONNECTED
    limits.update(healthy(), True, LimitReason.NONE, 0)
    assert (limits.ccl_ma, limits.dcl_ma) == (500, 1000)
    assert limits.ccl_why == limits.dcl_why == LimitReason.RECOVERY


@pytest.mark.parametrize("stopped", [LimitReason.NONE, LimitReason.DISCONNECTED])
@pytest.mark.parametrize("known", [True, False])
def test_a_direction_that_a_fault_forbids_has_no_current(known: bool, stopped: int) -> None:
    for forbidden in (1, 2, 3):
        limits = settled(healthy())
        limits.update(healthy(), known, stopped, forbidden)
        of_charge = (0, LimitReason.FAULT) if forbidden & 1 else None
        of_discharge = (0, LimitReason.FAULT) if forbidden & 2 else None
        rest = (0, stopped) if stopped else None
        assert (limits.ccl_ma, limits.ccl_why) == (of_charge or rest or (OCC_MA, 0))
        assert (limits.dcl_ma, limits.dcl_why) == (of_discharge or rest or (OCD_MA, 0))


def test_a_limit_rises_by_a_twentieth_and_at_least_by_a_milliampere() -> None:
    settings = nmc(occ_ma=119, ocd_ma=120)
    settings.occ_ma = 15  # as no pack has it
    limits = Limits(settings)
    seen = []
    for _ in range(21):
        limits.update(healthy(), True, LimitReason.NONE, 0)
        seen.append((limits.ccl_ma, limits.dcl_ma))
    assert [ccl for ccl, _dcl in seen] == [*range(1, 16), *[15] * 6]
    assert [dcl for _ccl, dcl in seen] == [*range(6, 121, 6), 120]
    assert limits.ccl_why == limits.dcl_why == LimitReason.NONE


def test_a_limit_that_falls_falls_at_once_and_rises_to_what_holds_it() -> None:
    limits = settled(healthy())
    limits.update(healthy(cell_mv=4125), True, LimitReason.NONE, 0)
    assert (limits.ccl_ma, limits.ccl_why) == (5250, VOLTAGE)
    limits.update(healthy(cell_mv=4117), True, LimitReason.NONE, 0)
    assert (limits.ccl_ma, limits.ccl_why) == (5750, VOLTAGE), "just there"
    limits.update(healthy(cell_mv=4100), True, LimitReason.NONE, 0)
    assert (limits.ccl_ma, limits.ccl_why) == (6250, LimitReason.RECOVERY)
    limits.update(healthy(cell_mv=4100), True, LimitReason.NONE, 0)
    assert (limits.ccl_ma, limits.ccl_why) == (6750, LimitReason.RECOVERY)
    limits.update(healthy(cell_mv=4100), True, LimitReason.NONE, 0)
    assert (limits.ccl_ma, limits.ccl_why) == (6830, VOLTAGE)


def test_limits_are_whole_milliamperes() -> None:
    limits = Limits(nmc(occ_ma=9999, ocd_ma=19999))
    limits.update(healthy(), True, LimitReason.NONE, 0)
    assert (limits.ccl_ma, limits.dcl_ma) == (499, 999)
    for _ in range(25):
        limits.update(healthy(cell_mv=4051), True, LimitReason.NONE, 0)
    assert limits.ccl_ma == 9929, "993 permille"
