"""Host-controlled balancing: which inputs are bled, for how long, and how long each has been."""

import math

from .measurement import INPUTS, Measurement
from .memory import DataMemory


class Balancing:
    """CB_ACTIVE_CELLS and CB_SET_LVL; a command expires after the cell balance interval."""

    active: int  # bit = input
    level_mv: int
    since_s: float

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Power-on: nothing bled, the times at 0."""
        self.active = 0
        self.level_mv = 0
        self.since_s = 0.0
        self._left_s = 0.0
        self.seconds = [0.0] * INPUTS

    def configure(self, memory: DataMemory) -> None:
        """Take over interval, limits and which inputs are cells."""
        item = memory.integer
        self._interval_s = item("balance_interval_s")
        self._max_cells = item("balance_max_cells")
        self._cell_c = (item("balance_min_cell_c"), item("balance_max_cell_c"))
        self._die_c = item("balance_max_die_c")
        configuration = item("balancing_configuration")
        self.commands_allowed = not configuration & 0x10
        self._in_sleep = bool(configuration & 0x04)
        self._cells = item("vcell_mode") or 0xFFFF

    def stop(self) -> None:
        """Nothing is bled any more."""
        self.active = 0
        self.since_s = 0.0

    def command(self, inputs: int, measurement: Measurement) -> None:
        """CB_ACTIVE_CELLS: bleed these inputs for one interval (0 stops)."""
        self.active = inputs & self._cells if self._allowed(measurement, False) else 0
        self.since_s = 0.0
        self._left_s = self._interval_s

    def command_level(self, level_mv: int, measurement: Measurement) -> None:
        """CB_SET_LVL: bleed the highest cells above the level, no two of them adjacent."""
        self.level_mv = level_mv
        chosen = 0
        count = 0
        by_voltage = sorted(
            ((v, at) for v, at in zip(measurement.cells_v, measurement.inputs, strict=True)),
            reverse=True,
        )
        for v, at in by_voltage:
            neighbours = 1 << (at + 1) | (1 << (at - 1) if at else 0)
            if v * 1000 > level_mv and not chosen & neighbours and count < self._max_cells:
                chosen |= 1 << at
                count += 1
        self.command(chosen, measurement)

    def step(self, dt_s: float, measurement: Measurement, asleep: bool) -> None:
        """Count the times; stop when the interval is over or it is too hot or too cold."""
        if not self.active:
            return
        bled_s = min(dt_s, self._left_s)
        for at in range(INPUTS):
            if self.active >> at & 1:
                self.seconds[at] += bled_s
        self.since_s += bled_s
        self._left_s -= dt_s
        if self._left_s <= 1e-9 or not self._allowed(measurement, asleep):
            self.stop()

    def _allowed(self, measurement: Measurement, asleep: bool) -> bool:
        cold, hot = self._cell_c
        if asleep and not self._in_sleep:
            return False
        if measurement.die_c > self._die_c:
            return False
        cells_known = not math.isnan(measurement.cell_max_c)
        return not cells_known or (
            measurement.cell_max_c <= hot and measurement.cell_min_c >= cold
        )
