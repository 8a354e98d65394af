"""Runs a drawn pack through its day into a sink of snapshots, as the chip would report it.

Cycles are a second long while current flows and for a while after; in the rest of a rest they are
ten seconds, which no estimator notices: nothing is counted in cycles there.
"""

import math
from collections.abc import Callable

import numpy as np
from pack_draw import Draw, Step

from firmware.settings import Settings
from firmware.snapshot import Snapshot

ASK_EVERY_S = 2400.0  # mean time between two questions
_AFTER_STEP_S = 40
_REST_CYCLE_S = 10
_NOISE_MV = 0.5


def settings_of(draw: Draw) -> Settings:
    """What the pack's board is told."""
    name = draw.kind.name
    return Settings("RANDOM", draw.n_cells, name, round(1000 * draw.rated_ah))


class Run:
    """One pack's day.

    ``cycle(snapshot)`` is called after each measurement, ``ask(run)`` at random moments and once
    at the end.
    """

    def __init__(
        self,
        draw: Draw,
        rng: np.random.Generator,
        cycle: Callable[[Snapshot], object],
        ask: Callable[["Run"], object],
    ) -> None:
        self.draw = draw
        self.cells = draw.cells
        self.time_s = 0.0
        self._rng = rng
        self._cycle = cycle
        self._ask = ask
        self._ask_at_s = rng.exponential(ASK_EVERY_S)
        self._snapshot = Snapshot(draw.n_cells)
        self._offset_mv = 1e3 * draw.chip.cell_offset_v
        self._noise = _NOISE_MV * rng.standard_normal((1024, draw.n_cells))
        self._at = 0
        self._uah = 0.0
        self._seen_a = 0.0
        self._sensors = [0, draw.n_cells // 2, draw.n_cells - 1]
        profile = settings_of(draw).profile
        self._cov_mv = profile.cell_max_mv
        self._cuv_mv = profile.cell_empty_mv
        self._full_v = draw.charge_v * draw.n_cells

    def day(self) -> None:
        """All steps, then the last question."""
        for step in self.draw.steps:
            {
                "rest": self._rest,
                "charge": self._charge,
                "discharge": self._discharge,
                "load": self._load,
            }[step.what](step)
        self._ask(self)

    def _rest(self, step: Step) -> None:
        lasted = 0
        while lasted < step.most_s:
            dt_s = 1 if lasted < _AFTER_STEP_S else _REST_CYCLE_S
            self._step(0.0, dt_s)
            lasted += dt_s

    def _charge(self, step: Step) -> None:
        draw, cells, s = self.draw, self.cells, self._snapshot
        left_as = step.share * draw.rated_ah * 3600
        lasted = 0
        while lasted < step.most_s and left_as > 0 and s.max_mv < self._cov_mv:
            emf_v = cells.emf_v()
            if draw.by_cell:
                most_a = float(((draw.charge_v - emf_v) / cells.r0_ohm).min())
            else:
                most_a = float((self._full_v - emf_v.sum()) / cells.r0_ohm.sum())
            current_a = min(step.current_a, most_a)
            if current_a <= draw.taper_a:
                break
            self._step(current_a)
            left_as -= current_a
            lasted += 1

    def _discharge(self, step: Step) -> None:
        left_as = step.share * self.draw.rated_ah * 3600
        lasted = 0
        while lasted < step.most_s and left_as > 0:
            self._step(-step.current_a)
            if self._snapshot.min_mv <= self._cuv_mv:
                break
            left_as -= step.current_a
            lasted += 1

    def _load(self, step: Step) -> None:
        """Levels between pause, full load and a little recuperation, with ripple."""
        rng = self._rng
        lasted = 0
        while lasted < step.most_s:
            level_a = step.current_a * float(rng.choice([0.0, -0.3, -0.6, -1.0, -2.0, 0.4]))
            ripple_a = 0.01 * step.current_a * (rng.random() < 0.5)
            for noise in rng.standard_normal(int(rng.exponential(30)) + 3):
                s = self._snapshot
                if s.seq and s.min_mv <= self._cuv_mv:
                    return
                if level_a > 0 and s.max_mv >= 0.99 * 1e3 * self.draw.charge_v:
                    level_a = 0.0
                self._step(level_a + ripple_a * noise if level_a else 0.0)
                lasted += 1

    def _step(self, current_a: float, dt_s: int = 1) -> None:
        """One cycle. A change of the current happens somewhere within its second."""
        cells, draw = self.cells, self.draw
        before_a = self._seen_a
        passed_as = current_a * dt_s
        if abs(current_a - before_a) > draw.rated_ah / 50:
            early = 0.05 + 0.9 * self._rng.random()
            cells.step(early, before_a, ambient_c=draw.ambient_c)
            cells.step(dt_s - early, current_a, ambient_c=draw.ambient_c)
            passed_as = before_a * early + current_a * (dt_s - early)
        else:
            cells.step(dt_s, current_a, ambient_c=draw.ambient_c)
        self._seen_a = current_a
        self.time_s += dt_s
        self._read(current_a, passed_as, dt_s)
        self._cycle(self._snapshot)
        if self.time_s >= self._ask_at_s:
            self._ask_at_s = self.time_s + self._rng.exponential(ASK_EVERY_S)
            self._ask(self)

    def _read(self, current_a: float, passed_as: float, dt_s: int) -> None:
        s, chip = self._snapshot, self.draw.chip
        self._at = (self._at + 1) % len(self._noise)
        cell_mv = 1e3 * self.cells.voltage_v + self._offset_mv + self._noise[self._at] + 0.5
        mv = [max(0, math.floor(value)) for value in cell_mv.tolist()]
        for i in range(s.n_cells):
            s.cell_mv[i] = mv[i]
        s.min_mv, s.max_mv, s.sum_mv = min(mv), max(mv), sum(mv)
        s.min_cell, s.max_cell = mv.index(s.min_mv), mv.index(s.max_mv)
        s.stack_mv = s.sum_mv
        s.current_ma = round(1e3 * (current_a * chip.current_gain + chip.current_offset_a))
        self._uah += (passed_as * chip.current_gain + chip.current_offset_a * dt_s) / 3.6e-3
        s.delta_uah = round(self._uah)
        self._uah -= s.delta_uah
        s.dt_ms = 1000 * dt_s
        s.seq += 1
        s.valid = True
        if s.seq % 10 == 1:  # cells do not change faster
            warmth = self.cells.temperature_c[self._sensors]
            seen_c = warmth + chip.sensor_lag * (self.draw.ambient_c - warmth)
            seen = [round(10 * value) for value in (seen_c + chip.sensor_offset_c).tolist()]
            s.min_dc, s.max_dc = min(seen), max(seen)
