"""What holds a limit down, and by how much; the table's levels stand inside what limits spare."""

import pytest
from core_fakes import healthy, nmc, set_cells, set_temperatures
from hypothesis import given
from hypothesis import strategies as st

from common.codes import LimitReason
from firmware.limits import Limits
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
