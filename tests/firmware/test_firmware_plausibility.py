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
