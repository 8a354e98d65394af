"""Runs a drawn pack through its day into a sink of snapshots, as the chip would report it.

Cycles are a second long while current flows and for a while after; in the rest of a rest they are
ten seconds, which no estimator notices: nothing is counted in cycles there. Where nothing is about
to happen the cells are moved by up to ten cycles at once; a question is put after such a stride.
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
_CYCLES = 10  # at most, that the cells are moved by at once
_NEAR_MV = 120  # above the limit of a discharge they are moved by single cycles ...
_STEEP_V = 0.003  # ... and where a charge has raised the highest cell so much since the last look
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
            cycles = min(_CYCLES, math.ceil((step.most_s - lasted) / dt_s))
            lasted += dt_s * self._steps([0.0] * cycles, dt_s)

    def _charge(self, step: Step) -> None:
        draw, cells, s = self.draw, self.cells, self._snapshot
        left_as = step.share * draw.rated_ah * 3600
        lasted = 0
        top_v = 0.0
        while lasted < step.most_s and left_as > 0 and s.max_mv < self._cov_mv:
            emf_v = cells.emf_v()
            if draw.by_cell:
                most_a = float(((draw.charge_v - emf_v) / cells.r0_ohm).min())
            else:
                most_a = float((self._full_v - emf_v.sum()) / cells.r0_ohm.sum())
            current_a = min(step.current_a, most_a)
            if current_a <= draw.taper_a:
                break
            steep = float(emf_v.max()) - top_v > _STEEP_V
            top_v = float(emf_v.max())
            cycles = self._steps([current_a] * (1 if steep else _CYCLES))
            left_as -= current_a * cycles
            lasted += cycles

    def _discharge(self, step: Step) -> None:
        left_as = step.share * self.draw.rated_ah * 3600
        lasted = 0
        while lasted < step.most_s and left_as > 0:
            cycles = self._steps([-step.current_a] * (1 if self._near_empty() else _CYCLES))
            if self._snapshot.min_mv <= self._cuv_mv:
                break
            left_as -= step.current_a * cycles
            lasted += cycles

    def _near_empty(self) -> bool:
        """Whether the voltage may fall to the limit within a stride."""
        return self._snapshot.min_mv <= self._cuv_mv + _NEAR_MV

    def _load(self, step: Step) -> None:
        """Levels between pause, full load and a little recuperation, with ripple."""
        rng, s = self._rng, self._snapshot
        lasted = 0
        while lasted < step.most_s:
            level_a = step.current_a * float(rng.choice([0.0, -0.3, -0.6, -1.0, -2.0, 0.4]))
            ripple = 0.01 * (rng.random() < 0.5)
            noise = rng.standard_normal(int(rng.exponential(30)) + 3)
            level = (level_a + ripple * step.current_a * noise).tolist()
            at = 0
            while at < len(level):
                if s.seq and s.min_mv <= self._cuv_mv:
                    return
                if level_a > 0 and s.max_mv >= 0.99 * 1e3 * self.draw.charge_v:
                    level_a = 0.0
                cycles = 1 if self._near_empty() else _CYCLES
                part = level[at : at + cycles] if level_a else [0.0] * min(cycles, len(level) - at)
                at += self._steps(part)
            lasted += at

    def _steps(self, current_a: list[float], dt_s: int = 1) -> int:
        """Some cycles; how many. A change of the current happens somewhere within its second."""
        cells, draw = self.cells, self.draw
        before_a = self._seen_a
        passed_as = current_a[0] * dt_s
        if abs(current_a[0] - before_a) > draw.rated_ah / 50:
            current_a = current_a[:1]
            early = 0.05 + 0.9 * self._rng.random()
            cells.step(early, before_a, ambient_c=draw.ambient_c)
            cells.step(dt_s - early, current_a[0], ambient_c=draw.ambient_c)
            passed_as = before_a * early + current_a[0] * (dt_s - early)
            voltage_v = cells.voltage_v[np.newaxis]
        else:
            voltage_v = cells.steps(dt_s, np.array(current_a), draw.ambient_c)
        self._seen_a = current_a[-1]
        self._read(current_a, voltage_v, passed_as, dt_s)
        if self.time_s >= self._ask_at_s:
            self._ask_at_s = self.time_s + self._rng.exponential(ASK_EVERY_S)
            self._ask(self)
        return len(current_a)

    def _read(
        self, current_a: list[float], voltage_v: np.ndarray, first_as: float, dt_s: int
    ) -> None:
        """What the chip shows after each cycle; in the first ``first_as`` has passed."""
        s, chip = self._snapshot, self.draw.chip
        k = len(current_a)
        if self._at + k > len(self._noise):
            self._at = 0
        noise_mv = self._noise[self._at : self._at + k]
        self._at += k
        cell_mv = np.floor(1e3 * voltage_v + self._offset_mv + noise_mv + 0.5).clip(0)
        rows = cell_mv.astype(int).tolist()
        for j in range(k):
            mv = rows[j]
            for i in range(s.n_cells):
                s.cell_mv[i] = mv[i]
            s.min_mv, s.max_mv, s.sum_mv = min(mv), max(mv), sum(mv)
            s.min_cell, s.max_cell = mv.index(s.min_mv), mv.index(s.max_mv)
            s.stack_mv = s.sum_mv
            s.current_ma = round(1e3 * (current_a[j] * chip.current_gain + chip.current_offset_a))
            passed_as = current_a[j] * dt_s if j else first_as
            self._uah += (passed_as * chip.current_gain + chip.current_offset_a * dt_s) / 3.6e-3
            s.delta_uah = round(self._uah)
            self._uah -= s.delta_uah
            s.dt_ms = 1000 * dt_s
            s.seq += 1
            s.valid = True
            if s.seq % 10 == 1:  # cells do not change faster
                self._feel()
            self.time_s += dt_s
            self._cycle(s)

    def _feel(self) -> None:
        """The thermistors."""
        chip = self.draw.chip
        warmth = self.cells.temperature_c[self._sensors]
        seen_c = warmth + chip.sensor_lag * (self.draw.ambient_c - warmth)
        seen = [round(10 * value) for value in (seen_c + chip.sensor_offset_c).tolist()]
        self._snapshot.min_dc, self._snapshot.max_dc = min(seen), max(seen)
