from array import array

import pytest
from core_fakes import BOTH, healthy, nmc, set_cells, set_temperatures
from hypothesis import given
from hypothesis import strategies as st

from firmware.balancing import _PAUSE_CYCLES, _PERIOD_CYCLES, Balancing
from firmware.settings import Settings
from firmware.snapshot import Snapshot

EVEN = array("h", bytes(144))


def period(
    balancing: Balancing, snapshot: Snapshot, allowed: int = BOTH, surplus_bp: "array[int]" = EVEN
) -> list[int]:
    return [balancing.choose(snapshot, allowed, surplus_bp) for _ in range(_PERIOD_CYCLES)]


def chosen(cells: list[int], **changes: int) -> int:
    snapshot = healthy(len(cells))
    set_cells(snapshot, cells)
    return max(period(Balancing(nmc(len(cells), **changes)), snapshot))


def test_the_highest_cells_are_bled() -> None:
    assert chosen([4100, 4050, 4100, 4050]) == 0b0101


def test_neighbours_are_never_bled_together_and_the_higher_one_comes_first() -> None:
    assert chosen([4050, 4100, 4110, 4100]) == 0b0100


def test_a_difference_below_the_start_threshold_is_left_alone() -> None:
    assert chosen([4100, 4086, 4086, 4086]) == 0
    assert chosen([4100, 4085, 4085, 4085]) == 1


def test_a_low_cell_is_never_bled() -> None:
    assert chosen([3799, 3700, 3700, 3700]) == 0
    assert chosen([3800, 3700, 3700, 3700]) == 1


def test_no_more_cells_than_allowed() -> None:
    cells = [4100, 4000] * 8
    assert chosen(cells) == 0b01010101
    assert chosen(cells, balance_max_cells=1) == 1
    assert chosen(cells, balance_max_cells=0) == 0


def test_an_lfp_plateau_tells_nothing_about_charge() -> None:
    snapshot = healthy(4)
    settings = Settings("P", 4, "lfp", 10000)
    set_cells(snapshot, [3350, 3300, 3300, 3300])
    assert max(period(Balancing(settings), snapshot)) == 0
    set_cells(snapshot, [3450, 3400, 3400, 3400])
    assert max(period(Balancing(settings), snapshot)) == 1


def by_charge(cells: list[int], *surplus_bp: int, profile: str = "lfp") -> int:
    snapshot = healthy(len(cells))
    set_cells(snapshot, cells)
    balancing = Balancing(Settings("P", len(cells), profile, 10000))
    return max(period(balancing, snapshot, BOTH, array("h", surplus_bp)))


def test_on_a_plateau_the_charge_chooses_and_not_the_voltage() -> None:
    assert by_charge([3350, 3300, 3300, 3300], 0, 0, 120, 0) == 0b0100
    assert by_charge([3300] * 4, 0, 49, 0, 50) == 0b1000
    assert by_charge([3300] * 4, 90, 100, 90, 0) == 0b0010  # no neighbours


def test_above_and_below_the_plateau_the_charge_does_not_choose() -> None:
    assert by_charge([3400, 3450, 3400, 3400], 300, 0, 0, 0) == 0b0010
    assert by_charge([3100, 3300, 3300, 3300], 0, 0, 300, 0) == 0


def test_where_there_is_no_plateau_the_charge_does_not_choose() -> None:
    assert by_charge([3600] * 4, 0, 0, 300, 0, profile="nmc") == 0


def test_on_a_plateau_bleeding_goes_on_while_the_pack_is_charged() -> None:
    snapshot = healthy(4)
    set_cells(snapshot, [3300] * 4)
    balancing = Balancing(Settings("P", 4, "lfp", 10000))
    surplus_bp = array("h", [0, 0, 120, 0])
    snapshot.current_ma = 5000
    assert max(period(balancing, snapshot, BOTH, surplus_bp)) == 0b0100
    snapshot.current_ma = -1001
    assert max(period(balancing, snapshot, BOTH, surplus_bp)) == 0
    snapshot.current_ma = 5000
    set_cells(snapshot, [3500, 3450, 3450, 3450])
    assert max(period(balancing, snapshot, BOTH, surplus_bp)) == 0, "now the voltage would choose"


def test_bleeding_pauses_so_that_cells_are_measured_at_rest() -> None:
    snapshot = healthy()
    set_cells(snapshot, [4100, 4000, 4000, 4000])
    balancing = Balancing(nmc())
    cycles = period(balancing, snapshot) + period(balancing, snapshot)
    assert cycles == ([0] * (_PAUSE_CYCLES - 1) + [1] * (_PERIOD_CYCLES - _PAUSE_CYCLES) + [0]) * 2


def test_a_reading_taken_while_bleeding_chooses_nothing() -> None:
    snapshot = healthy()
    set_cells(snapshot, [4100, 4000, 4000, 4000])
    snapshot.balancing = 1
    assert max(period(Balancing(nmc()), snapshot)) == 0


def broken(snapshot: Snapshot) -> None:
    snapshot.valid = False


def faulty(snapshot: Snapshot) -> None:
    snapshot.faults = 1


def hot(snapshot: Snapshot) -> None:
    set_temperatures(snapshot, 451)


def without_sensor(snapshot: Snapshot) -> None:
    set_temperatures(snapshot)


def hot_chip(snapshot: Snapshot) -> None:
    snapshot.afe_dc = 701


def charging(snapshot: Snapshot) -> None:
    snapshot.current_ma = 1001


def discharging(snapshot: Snapshot) -> None:
    snapshot.current_ma = -1001


@pytest.mark.parametrize(
    "doubt", [broken, faulty, hot, without_sensor, hot_chip, charging, discharging]
)
def test_in_doubt_nothing_is_bled_and_what_was_is_stopped(doubt) -> None:
    snapshot = healthy()
    set_cells(snapshot, [4100, 4000, 4000, 4000])
    balancing = Balancing(nmc())
    for _ in range(_PAUSE_CYCLES):
        balancing.choose(snapshot, BOTH, EVEN)
    assert balancing.choose(snapshot, BOTH, EVEN) == 1
    doubt(snapshot)
    assert balancing.choose(snapshot, BOTH, EVEN) == 0


def test_a_pack_that_is_switched_off_is_not_bled() -> None:
    snapshot = healthy()
    set_cells(snapshot, [4100, 4000, 4000, 4000])
    assert max(period(Balancing(nmc()), snapshot, allowed=0)) == 0


@given(st.lists(st.integers(2500, 4250), min_size=3, max_size=72))
def test_whatever_the_cells_are_the_rules_hold(cells: list[int]) -> None:
    settings = nmc(len(cells))
    mask = chosen(cells)
    bled = [mv for i, mv in enumerate(cells) if mask >> i & 1]
    assert mask & mask << 1 == 0
    assert mask >> len(cells) == 0
    assert len(bled) <= settings.balance_max_cells
    assert all(mv >= settings.balance_min_mv for mv in bled)
    assert all(mv - min(cells) >= settings.balance_start_mv for mv in bled)
