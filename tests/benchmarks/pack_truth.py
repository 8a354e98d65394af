"""What a pack in the simulator can truly still give: tried out on a copy of its cells."""

import copy

import numpy as np

from sim.cell import Cells

_STRIDE = 10
_STEP_S = 5.0
_HALVINGS = 14


def remaining_wh(cells: Cells, current_a: float, empty_v: float, ambient_c: float) -> float:
    """Wh from now on at ``current_a`` until the first cell is at ``empty_v``."""
    cells = copy.deepcopy(cells)
    strain_a = np.full(_STRIDE, -current_a)
    energy_ws = 0.0
    while True:
        voltage_v = cells.steps(_STEP_S, strain_a, ambient_c)
        above = voltage_v.min(axis=1) > empty_v
        lasting = _STRIDE if above.all() else int(above.argmin())
        energy_ws += current_a * _STEP_S * float(voltage_v[:lasting].sum())
        if lasting < _STRIDE:
            return energy_ws / 3600


def power_w(cells: Cells, soc: float, seconds: int, empty_v: float, most_a: float) -> float:
    """Largest power at the end of some seconds, all cells rested at ``soc`` and 25 degC."""
    cells = copy.deepcopy(cells)
    cells.soc = np.full(cells.n, soc)
    cells.temperature_c = np.full(cells.n, 25.0)
    cells.hysteresis = np.zeros(cells.n)
    cells.settle()
    low_a, high_a = 0.0, most_a
    if float(_after(cells, high_a, seconds).min()) >= empty_v:
        low_a = high_a
    for _ in range(_HALVINGS):
        middle_a = (low_a + high_a) / 2
        if float(_after(cells, middle_a, seconds).min()) >= empty_v:
            low_a = middle_a
        else:
            high_a = middle_a
    return low_a * float(_after(cells, low_a, seconds).sum())


def _after(cells: Cells, current_a: float, seconds: int) -> np.ndarray:
    tried = copy.copy(cells)  # ``steps`` replaces the arrays it changes
    return tried.steps(1.0, np.full(seconds, -current_a), 25.0)[-1:]
