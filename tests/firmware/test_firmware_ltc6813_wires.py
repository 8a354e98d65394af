"""Open wires from cells pulled up and down, and thermistors from shares of a reference."""

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.afe.ltc6813_wires import OpenWires
from firmware.afe.thermistor import Thermistor
from firmware.snapshot import UNKNOWN_DC


def judge(wires: OpenWires, up: list[int], down: list[int], tests: int = 2) -> list[int]:
    for _ in range(tests):
        for i in range(len(up)):
            wires.up[i], wires.down[i] = up[i], down[i]
        wires.judge()
    return list(wires.open)


def opened(n: int, wire: int, by: int = 8000) -> tuple[list[int], list[int]]:
    """Cells of 3.7 V with one wire open: its node follows the current."""
    up, down = [37000] * n, [37000] * n
    if wire == 0:
        up[0] = 0
    elif wire == n:
        down[n - 1] = 0
    else:
        up[wire - 1] += by
        up[wire] -= by
        down[wire - 1] -= by
        down[wire] += by
    return up, down


@pytest.mark.parametrize("n", [3, 4, 9, 12, 18])
def test_each_wire_is_found_and_none_else(n: int) -> None:
    for wire in range(n + 1):
        assert judge(OpenWires((n,)), *opened(n, wire)) == [1 << wire]


def test_each_chip_has_its_own_wires() -> None:
    up, down = opened(5, 2)
    more_up, more_down = opened(7, 7)
    wires = OpenWires((5, 7))
    assert judge(wires, up + more_up, down + more_down) == [1 << 2, 1 << 7]
    assert wires.n_open == 2


@given(
    step=st.integers(-12000, 12000),
    spread=st.lists(st.integers(-900, 900), min_size=12, max_size=12),
)
def test_a_load_that_comes_or_goes_is_no_open_wire(step: int, spread: list[int]) -> None:
    up = [30000 + s for s in spread]
    down = [30000 + s + step + step * s // 9000 for s in spread]  # 10 % of resistance
    assert judge(OpenWires((12,)), up, down) == [0]


@given(step=st.integers(-8000, 8000), wire=st.integers(1, 11))
def test_an_open_wire_shows_through_a_load_that_comes_or_goes(step: int, wire: int) -> None:
    up, down = opened(12, wire)
    assert judge(OpenWires((12,)), up, [code + step for code in down]) == [1 << wire]


def test_one_test_alone_accuses_nobody() -> None:
    wires = OpenWires((12,))
    assert judge(wires, *opened(12, 4), tests=1) == [0]
    assert judge(wires, *opened(12, 5), tests=1) == [0], "not the same wire"
    wires.forget()
    assert judge(wires, *opened(12, 5), tests=1) == [0]
    assert judge(wires, *opened(12, 5), tests=1) == [1 << 5]


# --- thermistors --------------------------------------------------------------------------------


def code_of(celsius: float, reference: int = 30000) -> int:
    ohm = 10000 * exp(3435 * (1 / (celsius + 273.15) - 1 / 298.15))
    return round(reference * ohm / (ohm + 10000))


@pytest.mark.parametrize("reference", [29800, 30000, 30200])
def test_the_thermistor_is_read_to_a_quarter_of_a_degree(reference: int) -> None:
    ntc = Thermistor(10000, 3435, 10000)
    worst = 0.0
    for tenth in range(-400, 1000):
        found = ntc.temperature_dc(code_of(tenth / 10, reference), reference)
        worst = max(worst, abs(found - tenth))
    assert worst <= 2.5


@pytest.mark.parametrize("code", [0, 1, 400, 29500, 30000, 31000, 65535])
def test_no_sensor_is_no_temperature(code: int) -> None:
    assert Thermistor(10000, 3435, 10000).temperature_dc(code, 30000) == UNKNOWN_DC
