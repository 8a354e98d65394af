"""Weeks of a pack of simulated cells, one of them leaky, before the estimators; for tests.

The cells are ``sim.cell``'s: what they truly lose and differ by is known there. Steps are coarse,
up to minutes: no resistance is measured then (it wants steps of a second), and the averages that
``anchors`` keeps over a number of cycles reach back for longer.
"""

import numpy as np

from common import models
from common.codes import Switch
from common.registers import RegisterMap
from firmware.estimators.estimators import Estimators
from firmware.settings import Settings
from firmware.snapshot import Snapshot
from sim import parameters
from sim.cell import Cells

RATED_AH = 50.0
LEAKY = 3
CLOSED = Switch.CHARGE | Switch.DISCHARGE
_ENDS_V = {"nmc": (4.2, 2.8), "lfp": (3.6, 2.6)}


class Pack:
    """``n`` cells in series: 85 % of their capacity left, cell 4 leaks ``leaky`` times as much."""

    def __init__(self, kind, n=6, seed=1, leaky=5.0, dt_s=60.0, offset_ma=4.0, soc=0.5):
        draw = np.random.default_rng(seed)
        soh = 0.85 * (1 + 0.01 * draw.standard_normal(n))
        share = draw.lognormal(0.0, 0.2, n)
        share[LEAKY] = leaky
        self.n = n
        self.dt_s = dt_s
        self.cells = Cells(
            parameters.kind(kind),
            np.full(n, RATED_AH),
            soc=soc + 0.005 * draw.standard_normal(n),
            soh=soh,
            resistance=(1 + 1.5 * (1 - soh)) * (1 + 0.03 * draw.standard_normal(n)),
            self_discharge=share,
        )
        self._leak_a = (
            self.cells.capacity_ah * self.cells.kind.self_discharge_per_month * share / 720
        )
        self.full_v, self.empty_v = _ENDS_V[kind]
        self.settings = Settings("T", n, kind, round(1000 * RATED_AH))
        self.estimators = Estimators(self.settings)
        self.switches = CLOSED
        self.bled = 0  # bit per cell
        self.offset_ma = offset_ma
        self._channel_mv = draw.normal(0.0, 1.0, n)
        self._draw = draw
        self._uah = 0.0
        self.snapshot = Snapshot(n)
        self.snapshot.valid = True
        self.snapshot.afe_dc = 300

    def step(self, current_a=0.0):
        s = self.snapshot
        bits = np.array([self.bled >> i & 1 for i in range(self.n)])
        self.cells.step(self.dt_s, current_a, bits * self.cells.voltage_v * 0.7 / 68)
        s.switches = self.switches
        s.balancing = self.bled
        s.dt_ms = round(self.dt_s * 1000)
        seen_ma = current_a * 1000 + self.offset_ma
        s.current_ma = round(seen_ma)
        self._uah += seen_ma * self.dt_s / 3.6
        s.delta_uah = round(self._uah)
        self._uah -= s.delta_uah
        noise_mv = self._draw.normal(0.0, 0.3, self.n)
        seen_mv = np.rint(self.cells.voltage_v * 1000 + self._channel_mv + noise_mv)
        for i in range(self.n):
            s.cell_mv[i] = int(seen_mv[i])
        s.min_mv, s.max_mv, s.sum_mv = int(min(seen_mv)), int(max(seen_mv)), int(sum(seen_mv))
        s.min_dc = round(10 * float(self.cells.temperature_c.min()))
        s.max_dc = round(10 * float(self.cells.temperature_c.max()))
        self.estimators.update(s)

    def rest(self, hours):
        for _ in range(round(hours * 3600 / self.dt_s)):
            self.step()

    def charge(self, rate=0.4):
        """CC, then the highest cell held at full voltage down to C/25."""
        current_a = rate * RATED_AH
        while current_a > 0.04 * RATED_AH:
            self.step(current_a)
            over_v = float(self.cells.voltage_v.max()) - self.full_v
            if over_v > 0:
                current_a *= max(0.8, 1 - 20 * over_v)

    def discharge(self, rate=0.4, hours=24.0):
        """To the first empty cell, or for ``hours``."""
        for _ in range(round(hours * 3600 / self.dt_s)):
            if self.cells.voltage_v.min() <= self.empty_v:
                return
            self.step(-rate * RATED_AH)

    # --- the truth, in basis points of rated -----------------------------------------------

    def differences_bp(self):
        room = (1 - self.cells.soc) * self.cells.capacity_ah / RATED_AH * 10000
        return room.mean() - room

    def losses_bp_month(self):
        """``(of the mean cell, of each beyond it)``."""
        loss = self._leak_a * 720 / RATED_AH * 10000
        return float(loss.mean()), loss - loss.mean()

    def wrong(self):
        """What stands outside its interval now."""
        found = []
        e = self.estimators
        mean, leaks = self.losses_bp_month()
        truth = self.differences_bp()
        for i in range(self.n):
            if e.differences.known:
                _d, lo, hi = e.differences.interval(i)
                if not lo <= truth[i] <= hi:
                    found.append(("difference", i, truth[i], lo, hi))
            leak = e.differences.leak_interval(i)
            if leak is not None and not leak[1] <= leaks[i] <= leak[2]:
                found.append(("leak", i, leaks[i], leak[1], leak[2]))
        figure = e.self_discharge.figure()
        if figure is not None and not figure[1] <= mean <= figure[2]:
            found.append(("self-discharge", None, mean, *figure))
        return found

    def energy(self):
        """The energy model as a client reads it."""
        block = RegisterMap(self.n).block(models.ENERGY)
        self.estimators.publish_energy(block)
        return block.layout.decode(block.bytes())
