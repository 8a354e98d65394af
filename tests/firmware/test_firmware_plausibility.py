import random

import pytest
from core_fakes import healthy, nmc, set_cells, set_temperatures

from common.codes import fault_names
from firmware.plausibility import _FOLLOW_CYCLES, Plausibility


class Readings:
    """What a pack of four cells reads, with a millivolt of noise."""

    def __init__(self, n_cells: int = 4) -> None:
        self.plausibility = Plausibility(nmc(n_cells))
        self.snapshot = healthy(n_cells)
        self.random = random.Random(1)

    def read(self, cells: list[int], times: int = 1, still: int | None = None) -> list[str]:
        for _ in range(times):
            noisy = [mv + self.random.choice([-1, 0, 1]) for mv in cells]
            if still is not None:
                noisy[still] = cells[still]
            set_cells(self.snapshot, noisy)
            faults = self.plausibility.cells(self.snapshot)
        return fault_names(faults)

    def warm(self, *temperatures_dc: int) -> int:
        self.snapshot.uptime_s += 1
        set_temperatures(self.snapshot, *temperatures_dc)
        self.plausibility.temperatures(self.snapshot)
        return self.snapshot.rise_dc


# --- open wires ------------------------------------------------------------------------------


@pytest.mark.parametrize("below", [0, 1, 2])
def test_a_cell_that_falls_by_what_its_neighbour_rises_has_an_open_wire(below: int) -> None:
    readings = Readings()
    cells = [3700, 3650, 3720, 3700]
    assert readings.read(cells, 5) == []
    cells[below] -= 320
    cells[below + 1] += 320
    assert readings.read(cells) == ["OPEN_WIRE"]
    assert readings.read(cells, 5000) == ["OPEN_WIRE"], "it does not become usual"


def test_a_weak_cell_that_falls_alone_is_no_open_wire() -> None:
    readings = Readings()
    for down_mv in range(0, 900, 5):
        assert readings.read([3700, 3700 - down_mv, 3700, 3700]) == []


def test_an_uneven_pack_is_no_open_wire() -> None:
    readings = Readings()
    assert readings.read([3300, 3700, 3300, 3700], 100) == []


def test_cells_that_drift_apart_slowly_are_followed() -> None:
    readings = Readings()
    for off_mv in range(300):
        cells = [3700 - off_mv, 3700 + off_mv, 3700, 3700]
        assert readings.read(cells, 2 * _FOLLOW_CYCLES) == []


# --- stuck cells -----------------------------------------------------------------------------


def test_a_cell_that_stands_still_while_the_others_move_is_implausible() -> None:
    readings = Readings()
    assert readings.read([3700] * 4, 3, still=2) == []
    assert readings.read([3650, 3650, 3700, 3650], still=2) == ["SENSOR_IMPLAUSIBLE"]
    assert readings.read([3660, 3640, 3700, 3650], 10, still=2) == ["SENSOR_IMPLAUSIBLE"]
    assert readings.read([3650, 3650, 3652, 3650], still=2) == []


def test_a_pack_at_rest_may_stand_still() -> None:
    readings = Readings()
    for still in range(4):
        assert readings.read([3700] * 4, 100, still=still) == []


def test_one_cell_that_moves_alone_makes_no_other_implausible() -> None:
    readings = Readings()
    assert readings.read([3700] * 4, 3, still=2) == []
    assert readings.read([3500, 3700, 3700, 3700], still=2) == []


# --- warming ---------------------------------------------------------------------------------


def test_the_rise_is_of_the_last_minute_and_of_the_fastest_sensor() -> None:
    readings = Readings()
    for _ in range(100):
        assert readings.warm(250, 250) == 0
    for second in range(1, 21):
        rise_dc = readings.warm(250, 250 + 10 * second)
    assert rise_dc == 200
    for _ in range(120):
        rise_dc = readings.warm(250, 450)
    assert rise_dc == 0


def test_a_sun_that_warms_a_degree_a_minute_is_told_as_that() -> None:
    readings = Readings()
    rises_dc = [readings.warm(200 + second // 6) for second in range(600)]
    assert 4 <= min(rises_dc[100:]) <= max(rises_dc[100:]) <= 11


def test_a_sensor_that_comes_back_has_not_warmed() -> None:
    readings = Readings()
    for _ in range(100):
        readings.warm(250)
    for _ in range(100):
        assert readings.warm(250, 400) == 0


# --- levels and steps ------------------------------------------------------------------------


class Exact:
    """Readings without noise; every cell turns a millivolt now and then, as real ones do."""

    def __init__(self, n_cells: int = 4, **changes: int) -> None:
        self.plausibility = Plausibility(nmc(n_cells, **changes))
        self.snapshot = healthy(n_cells)

    def read(self, *cells: int, stack_mv: int | None = None) -> list[str]:
        set_cells(self.snapshot, list(cells))
        if stack_mv is not None:
            self.snapshot.stack_mv = stack_mv
        return fault_names(self.plausibility.cells(self.snapshot))


@pytest.mark.parametrize("n", range(4))
@pytest.mark.parametrize(
    ("mv", "is_one"), [(199, False), (200, True), (3700, True), (5000, True), (5001, False)]
)
def test_a_cell_is_between_200_and_5000_mv(n: int, mv: int, is_one: bool) -> None:
    cells = [3700] * 4
    cells[n] = mv
    readings = Exact()
    for _ in range(20):
        assert readings.read(*cells) == ([] if is_one else ["SENSOR_IMPLAUSIBLE"])


@pytest.mark.parametrize("n", range(4))
@pytest.mark.parametrize("step_mv", [1000, -1000])
def test_a_step_of_a_volt_is_believed(step_mv: int, n: int) -> None:
    readings = Exact()
    cells = [3500] * 4
    assert readings.read(*cells) == []
    cells[n] += step_mv
    assert readings.read(*cells) == []


@pytest.mark.parametrize("n", range(4))
@pytest.mark.parametrize("step_mv", [1001, -1001])
def test_a_larger_step_is_believed_after_five_cycles(step_mv: int, n: int) -> None:
    readings = Exact()
    before = [3500] * 4
    after = [3500] * 4
    after[n] += step_mv
    assert readings.read(*before) == []
    for _ in range(2):
        for _ in range(5):
            assert readings.read(*after) == ["SENSOR_IMPLAUSIBLE"]
        assert readings.read(*after) == []
        assert readings.read(*after) == []
        before, after = after, before


def test_a_cell_that_comes_back_in_time_was_never_believed_to_have_left() -> None:
    readings = Exact()
    for _ in range(3):
        assert readings.read(3500, 3500, 3500, 3500) == []
        for _ in range(5):
            assert readings.read(3500, 2000, 3500, 3500) == ["SENSOR_IMPLAUSIBLE"]


@pytest.mark.parametrize(
    ("difference_mv", "is_off"), [(180, False), (181, True), (-180, False), (-181, True)]
)
def test_the_stack_is_the_sum_of_its_cells_within_the_tolerance(
    difference_mv: int, is_off: bool
) -> None:
    readings = Exact()
    found = readings.read(*[3700] * 4, stack_mv=14800 + difference_mv)
    assert found == (["STACK_MISMATCH"] if is_off else [])
    readings = Exact(stack_tolerance_mv=60)
    assert readings.read(*[3700] * 4, stack_mv=14860) == []
    assert readings.read(*[3700] * 4, stack_mv=14861) == ["STACK_MISMATCH"]


def test_one_thing_that_is_wrong_does_not_hide_another() -> None:
    readings = Exact()
    readings.snapshot.open_wires = 1
    found = readings.read(3700, 3700, 3700, 100, stack_mv=15000)
    assert found == ["SENSOR_IMPLAUSIBLE", "STACK_MISMATCH", "OPEN_WIRE"]


def test_wires_that_the_chip_finds_open_are_told() -> None:
    readings = Exact()
    readings.snapshot.open_wires = 1
    assert readings.read(*[3700] * 4) == ["OPEN_WIRE"]
    readings.snapshot.open_wires = 0
    assert readings.read(*[3700] * 4) == []


# --- stuck cells, to the millivolt -----------------------------------------------------------


@pytest.mark.parametrize("stuck", range(4))
@pytest.mark.parametrize("move_mv", [30, -30])
def test_a_cell_is_stuck_when_the_others_have_moved_by_more_than_30_mv(
    move_mv: int, stuck: int
) -> None:
    readings = Exact()
    readings.read(*[3700] * 4)
    readings.read(*[3700] * 4)
    moved = [3700 + move_mv] * 4
    moved[stuck] = 3700
    assert readings.read(*moved) == []
    further = [mv + (1 if move_mv > 0 else -1) for mv in moved]
    further[stuck] = 3700
    assert readings.read(*further) == ["SENSOR_IMPLAUSIBLE"]


def test_two_cells_that_stand_still_do_not_prove_a_stuck_one() -> None:
    readings = Exact()
    readings.read(*[3700] * 4)
    for _ in range(5):
        assert readings.read(3700, 3600, 3600, 3700) == []


def test_a_cell_that_moved_once_since_all_stood_is_not_stuck() -> None:
    readings = Exact()
    readings.read(*[3700] * 4)
    readings.read(3700, 3700, 3701, 3700)
    assert readings.read(3600, 3600, 3700, 3600) == [], "it has left and come back"
    assert readings.read(3500, 3500, 3700, 3500) == ["SENSOR_IMPLAUSIBLE"], "from there on anew"


# --- open wires, to the millivolt ------------------------------------------------------------


def wire(fall_mv: int, rise_mv: int, usual: tuple[int, ...] = (3700,) * 4) -> list[str]:
    readings = Exact()
    readings.read(*usual)
    return readings.read(usual[0], usual[1] - fall_mv, usual[2] + rise_mv, usual[3])


@pytest.mark.parametrize(
    ("fall_mv", "rise_mv", "is_open"),
    [
        (201, 201, True), (200, 201, False), (201, 200, False), (200, 200, False),
        # The sum stays, within 50 mV of what the mean cell does not take.
        (400, 497, True), (400, 498, False), (499, 400, True), (500, 400, False),
    ],
)  # fmt: skip
def test_a_wire_is_open_from_200_mv_on_and_while_the_sum_stays(
    fall_mv: int, rise_mv: int, is_open: bool
) -> None:
    assert wire(fall_mv, rise_mv) == (["OPEN_WIRE"] if is_open else [])
    assert wire(fall_mv, rise_mv, (3650, 3720, 3690, 3740)) == (["OPEN_WIRE"] if is_open else [])


@pytest.mark.parametrize(
    ("below_mv", "above_mv", "is_open"),
    [(3499, 3901, True), (3500, 3901, False), (3499, 3900, False)],
)
def test_each_of_the_two_cells_must_be_200_mv_off(
    below_mv: int, above_mv: int, is_open: bool
) -> None:
    readings = Exact()
    readings.read(*[3700] * 4)
    rest_mv = 14800 - 3700 - below_mv - above_mv  # the mean cell stays
    found = readings.read(3700, below_mv, above_mv, rest_mv)
    assert found == (["OPEN_WIRE"] if is_open else [])


def test_a_cell_that_rises_below_one_that_falls_is_no_open_wire() -> None:
    assert wire(-400, -400) == []


def test_two_cells_apart_from_each_other_are_no_open_wire() -> None:
    readings = Exact()
    readings.read(*[3700] * 4)
    assert readings.read(3300, 3700, 4100, 3700) == []


def test_what_is_usual_follows_until_it_is_there() -> None:
    readings = Exact()
    readings.read(*[3700] * 4)
    for _ in range(1600):
        assert readings.read(3700, 3550, 3850, 3700) == []
    assert readings.read(3700, 3350, 4050, 3700) == []
    assert readings.read(3700, 3349, 4050, 3701) == []
    assert readings.read(3700, 3350, 4051, 3699) == []
    assert readings.read(3700, 3349, 4051, 3700) == ["OPEN_WIRE"]


@pytest.mark.parametrize("cycles", [9, 10, 19, 20, 99, 100])
def test_what_is_usual_follows_by_a_millivolt_every_ten_cycles(cycles: int) -> None:
    for beyond_mv in (0, 1):
        readings = Exact()
        readings.read(*[3700] * 4)
        for _ in range(cycles):
            assert readings.read(3700, 3600, 3800, 3700) == []
        off_mv = 200 + cycles // 10 + beyond_mv
        found = readings.read(3700, 3700 - off_mv, 3700 + off_mv, 3700)
        assert found == (["OPEN_WIRE"] if beyond_mv else [])


# --- warming, to the second ------------------------------------------------------------------


def test_a_rise_is_against_where_the_sensor_was_30_to_60_s_ago() -> None:
    readings = Readings()
    for _ in range(60):
        readings.warm(250)
    rises = [readings.warm(260) for _ in range(62)]
    assert rises == [10] * rises.index(0) + [0] * (62 - rises.index(0))
    assert 30 <= rises.index(0) <= 60
    assert [readings.warm(250) for _ in range(5)] == [0] * 5, "cooling is no rise"


@pytest.mark.parametrize("n", range(4))
def test_every_sensor_is_watched(n: int) -> None:
    readings = Readings()
    cool, warm = [250] * 4, [250] * 4
    warm[n] = 320
    for _ in range(60):
        assert readings.warm(*cool) == 0
    assert readings.warm(*warm) == 70


def test_nothing_has_risen_before_it_was_known_for_half_a_minute() -> None:
    readings = Readings()
    rises = [readings.warm(250 + second) for second in range(1, 92)]
    assert rises[:60] == [0] * 60
    assert rises[60] == 31, "at 61 s, against where it was at 30 s"
    assert rises[89:] == [60, 31], "and from 91 s on against where it was at 60 s"
