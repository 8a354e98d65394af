"""A small cell for testing estimators on both interpreters: half-cell potentials and two RC pairs.

Shares nothing with firmware, common or sim. Potentials: graphite and NMC811 of C.-H. Chen et al.,
J. Electrochem. Soc. 167 (2020) 080534; graphite of M. Safari and C. Delacourt, J. Electrochem.
Soc. 158 (2011) A562, with LFP of A. Afshar, arXiv:1709.03970. Capacity is the charge between 0
and 100 % at rest.
"""

import math

from common.codes import Switch
from firmware.estimators.estimators import Estimators
from firmware.settings import Settings
from firmware.snapshot import Snapshot


def _graphite(x):
    return (
        1.9793 * math.exp(-39.3631 * x)
        + 0.2482
        - 0.0909 * math.tanh(29.8538 * (x - 0.1234))
        - 0.04478 * math.tanh(14.9159 * (x - 0.2769))
        - 0.0205 * math.tanh(30.4444 * (x - 0.6103))
    )


def _nmc(y):
    return (
        -0.8090 * y
        + 4.4875
        - 0.0428 * math.tanh(18.5138 * (y - 0.5542))
        - 17.7326 * math.tanh(15.7890 * (y - 0.3117))
        + 17.5842 * math.tanh(15.9308 * (y - 0.3120))
    )


def _graphite_plain(x):
    return (
        0.6379
        + 0.5416 * math.exp(-305.5309 * x)
        - 0.044 * math.tanh((x - 0.1958) / 0.1088)
        - 0.1978 * math.tanh((x - 1.0571) / 0.0854)
        - 0.6875 * math.tanh((x + 0.0117) / 0.0529)
        - 0.0175 * math.tanh((x - 0.5692) / 0.0875)
    )


def _lfp(y):
    return 3.4077 - 0.020269 * y + 0.5 * math.exp(-150 * y) - 0.9 * math.exp(-30 * (1 - y))


def ocv_nmc(z):
    """Volts at rest at SOC ``z`` (0..1)."""
    z = min(1.02, max(-0.01, z))
    return _nmc(0.9084 - 0.6423 * z) - _graphite(0.0279 + 0.8735 * z)


def ocv_lfp(z):
    """Volts at rest at SOC ``z`` (0..1)."""
    z = min(1.02, max(-0.01, z))
    return _lfp(0.9596 - 0.9397 * z) - _graphite_plain(0.0118 + 0.7976 * z)


def aged(ocv, wave_v):
    """The same curve bent by up to ``wave_v``, as no table is right for a used cell."""
    return lambda z: ocv(z) + wave_v * math.sin(8 * z + 1) * min(1.0, max(0.0, 5 * (1 - z)))


class Cell:
    """Capacity in Ah, resistances in ohm; ``step`` moves it by seconds and gives its voltage."""

    def __init__(self, ocv, capacity_ah, soc, r0, hysteresis_v=0.0):
        self.ocv = ocv
        self.capacity_ah = capacity_ah
        self.soc = soc
        self.r0 = r0
        self.pairs = [[0.5 * r0, 25.0, 0.0], [0.7 * r0, 600.0, 0.0]]  # ohm, s, V now
        self.hysteresis_v = hysteresis_v
        self.h = 0.0  # hysteresis now, V

    def step(self, current_a, seconds=1.0):
        moved = current_a * seconds / 3600 / self.capacity_ah
        self.soc += moved
        volts = self.ocv(self.soc) + current_a * self.r0
        for pair in self.pairs:
            r, tau, u = pair
            pair[2] = u + (current_a * r - u) * (1 - math.exp(-seconds / tau))
            volts += pair[2]
        if moved:
            target = self.hysteresis_v if moved > 0 else -self.hysteresis_v
            self.h += (target - self.h) * (1 - math.exp(-abs(moved) / 0.03))
        return volts + self.h


class Feeder:
    """Stands where AFE and measurement stand: 1 mV, 1 mA, passed charge in whole uAh."""

    def __init__(self, n_cells, profile, rated_mah, offset_ma=0.0, gain=1.0):
        self.settings = Settings("TEST", n_cells, profile, rated_mah)
        self.estimators = Estimators(self.settings)
        self.snapshot = Snapshot(n_cells)
        self.snapshot.switches = Switch.CHARGE | Switch.DISCHARGE
        self.n_cells = n_cells
        self.offset_ma = offset_ma
        self.gain = gain
        self._uah = 0.0

    def step(self, current_a, cells_v, temp_c=25.0, dt_ms=1000):
        s = self.snapshot
        s.seq += 1
        s.dt_ms = dt_ms
        s.valid = True
        seen_ma = current_a * 1000 * self.gain + self.offset_ma
        s.current_ma = round(seen_ma)
        self._uah += seen_ma * dt_ms / 3600
        s.delta_uah = round(self._uah)
        self._uah -= s.delta_uah
        low = high = 0
        for i in range(self.n_cells):
            s.cell_mv[i] = round(cells_v[i] * 1000)
            if s.cell_mv[i] < s.cell_mv[low]:
                low = i
            if s.cell_mv[i] > s.cell_mv[high]:
                high = i
        s.min_cell, s.max_cell = low, high
        s.min_mv, s.max_mv = s.cell_mv[low], s.cell_mv[high]
        s.sum_mv = sum(s.cell_mv)
        s.min_dc = s.max_dc = round(temp_c * 10)
        self.estimators.update(s)


class Bench:
    """Charges, rests and discharges a string of cells into a ``Feeder``, a second at a time."""

    def __init__(self, cells, feeder, full_v, empty_v, rated_ah):
        self.cells = cells
        self.feeder = feeder
        self.full_v = full_v
        self.empty_v = empty_v
        self.rated_ah = rated_ah

    def _step(self, current_a):
        volts = [cell.step(current_a) for cell in self.cells]
        self.feeder.step(current_a, volts)
        return volts

    def rest(self, seconds):
        for _ in range(seconds):
            self._step(0.0)

    def run(self, rate, seconds):
        for _ in range(seconds):
            self._step(rate * self.rated_ah)

    def charge(self, rate, taper=0.05):
        """CC to the first full cell, then that cell held at full voltage down to ``taper``."""
        current = rate * self.rated_ah
        while current > taper * self.rated_ah:
            over = max(self._step(current)) - self.full_v
            if over > 0:
                current *= max(0.9, 1 - 20 * over)

    def charge_to_trip(self, rate, trip_v):
        """Constant current until a cell is so high that the pack switches off."""
        while max(self._step(rate * self.rated_ah)) < trip_v:
            pass

    def discharge(self, rate):
        """To the first empty cell, under load."""
        while min(self._step(-rate * self.rated_ah)) > self.empty_v:
            pass

    def intake(self, rate=0.5, rest_s=1800):
        """The guided charge and discharge of a pack on arrival."""
        self.rest(600)
        self.charge(rate)
        self.rest(rest_s)
        self.discharge(rate)
        self.rest(rest_s)
