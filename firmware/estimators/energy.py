"""What the pack can still give: energy until its first cell is empty, and power.

With ``z`` the SOC of the weakest cell, ``C`` its capacity, ``R`` its 1 s resistance at 25 degC and
``z0`` the SOC at which it is empty under the stated current ``I``,

    OCV(z0) = V_empty + 2 I R                  (2: what a long discharge adds to the first second)
    q = C (z - z0)
    E = n q (mean of OCV between z0 and z - 2 I R)

for ``n`` cells that share the string's mean curve. One standard deviation of ``E`` adds, as they
are not independent, those of SOC and of capacity; and, squared, those of the OCV table, of the
resistance (as far as it moves ``z0`` and the voltage) and of the current sensor's gain.

Power for ``POWER_S`` at SOC ``z``: the largest current that keeps every cell above its empty
voltage and is below the over-current limit, times the voltage at its end:

    I = min(I_max, (OCV(z) - V_empty) / R10),    P = n I (OCV(z) - I R10)

``R10``, the resistance after ten seconds, is that of one second times a factor: measured where a
step of the current stays for ten seconds, 1.3 before (pulse tests of recorded cells give 1.1 to
1.5). Resistance towards empty is higher than at mid SOC: 8 % +- 8 % at 20 %.

Without a measured capacity there is no energy, without a measured resistance no power.
"""

import math
from array import array

from common.codes import Refusal
from common.mp import const
from firmware.estimators import ocv
from firmware.estimators.resistance import Resistance
from firmware.estimators.soc import GAIN
from firmware.settings import Settings
from firmware.snapshot import Snapshot

POWER_S = const(10)
_RATE_PARTS = const(3)  # the stated current: C/3
_LONG = const(2.0)  # resistance of a long discharge, in that of a second
_LONG_SIGMA = const(0.35)
_FACTOR = const(1.3)  # R10 over R1 before it was measured ...
_FACTOR_SIGMA = const(0.13)
_MEASURED_SIGMA = const(0.04)  # ... and after
_MEMORY = const(8)
_STEADY = const(20)  # parts of the step by which the current may move in ten seconds
_STEP_PARTS = const(5)  # a step is C/5 at least ...
_BEFORE_S = const(30)  # ... after so long without one
_HIGH_BP = const(8000)
_LOW_BP = const(2000)
_LOW_MORE = const(0.08)


class Energy:
    """Remaining energy and power of one pack; figures are computed when asked for."""

    def __init__(self, settings: Settings, resistance: Resistance) -> None:
        self._settings = settings
        self._profile = settings.profile
        self._n = settings.n_cells
        self._resistance = resistance
        self.current_ma = settings.rated_mah // _RATE_PARTS
        self._least_ma = max(1, settings.rated_mah // _STEP_PARTS)
        self.factor = _FACTOR
        self.factor_sigma = _FACTOR_SIGMA
        self._back = array("i", bytes(8))  # mA and mV of the cycle before ...
        self._base = array("i", bytes(8))  # ... and before the step that is watched
        self._step_ma = 0
        self._step_mv = 0  # at the step ...
        self._second_mv = 0  # ... and in the middle of the second after it
        self._seconds = -1  # since the step; -1: none is watched
        self._still_s = 0  # since the last one

    # --- the answer after ten seconds -----------------------------------------------------

    def update(self, s: Snapshot) -> None:
        """Take a plausible cycle of about a second."""
        ma = s.current_ma
        if self._seconds >= 0:
            self._watch(s, ma)
        step_ma = ma - self._back[0]
        if not self._back[1] or abs(step_ma) < self._least_ma:
            self._still_s += 1
        else:
            if self._still_s >= _BEFORE_S:
                self._base[0], self._base[1] = self._back[0], self._back[1]
                self._step_mv = s.sum_mv
                self._seconds = 0
            self._still_s = 0
        self._back[0] = ma
        self._back[1] = s.sum_mv

    def interrupt(self) -> None:
        """A cycle was lost or was not a second long."""
        self._seconds = -1
        self._still_s = 0
        self._back[1] = 0

    def _watch(self, s: Snapshot, ma: int) -> None:
        self._seconds += 1
        if self._seconds == 1:
            self._step_ma = ma - self._base[0]
            self._second_mv = (self._step_mv + s.sum_mv) // 2
        elif abs(ma - self._base[0] - self._step_ma) > abs(self._step_ma) // _STEADY:
            self._seconds = -1
        elif self._seconds == POWER_S:
            self._seconds = -1
            self._measured(s.sum_mv)

    def _measured(self, tenth_mv: int) -> None:
        first_mv = self._second_mv - self._base[1]
        rise_mv = tenth_mv - self._base[1]
        # a reading in whole mV a cell must resolve the ratio
        if abs(first_mv) < 8 * self._n or first_mv * self._step_ma <= 0:
            return
        ratio = rise_mv / first_mv
        if not 1.0 <= ratio <= 2.0:
            return  # the charge of ten seconds has moved the OCV, or it was no single step
        new = self.factor_sigma > _MEASURED_SIGMA
        self.factor += (ratio - self.factor) * (1.0 if new else 1 / _MEMORY)
        self.factor_sigma = _MEASURED_SIGMA

    # --- figures --------------------------------------------------------------------------

    def remaining(
        self,
        soc_bp: float,
        soc_sigma_bp: float,
        capacity_mah: float,
        capacity_sigma_mah: float,
        cell: int,
    ) -> "tuple[float, float, float]":
        """``(Wh, lo, hi)`` until ``cell`` (index; the one that is empty first) is empty."""
        profile = self._profile
        ohm, sigma = self._ohm(cell)
        drop_mv = self._drop_mv(ohm)
        drop_sigma = drop_mv * math.sqrt((_LONG_SIGMA / _LONG) ** 2 + (sigma / ohm) ** 2)
        empty_bp = self.empty_bp(cell)
        empty_sigma = ocv.soc_sigma_bp(profile, profile.cell_empty_mv + drop_mv, drop_sigma)
        left_bp = max(0.0, soc_bp - empty_bp)
        mv = ocv.mean_mv(profile, empty_bp, max(soc_bp, empty_bp + 1)) - drop_mv
        volts = self._n * mv / 1000
        wh = capacity_mah / 1000 * left_bp / 10000 * volts
        end_bp = math.sqrt(soc_sigma_bp * soc_sigma_bp + empty_sigma * empty_sigma)
        by_soc = capacity_mah / 1000 * end_bp / 10000 * volts
        by_capacity = wh * capacity_sigma_mah / capacity_mah
        by_volts = wh * math.sqrt(profile.ocv_sigma_mv**2 + drop_sigma * drop_sigma) / mv
        by_gain = wh * GAIN
        both = by_soc + by_capacity
        width = 2 * math.sqrt(both * both + by_volts * by_volts + by_gain * by_gain)
        return wh, max(0.0, wh - width), wh + width

    def empty_bp(self, cell: int) -> float:
        """SOC in basis points at which ``cell`` is empty under the stated current."""
        profile = self._profile
        return ocv.soc_bp(profile, profile.cell_empty_mv + self._drop_mv(self._ohm(cell)[0]))

    def _drop_mv(self, ohm: float) -> float:
        return _LONG * self.current_ma * ohm

    def power(self, soc_bp: int) -> "tuple[float, float, float] | None":
        """``(W, lo, hi)`` for ``POWER_S`` at this SOC; ``None`` before a step was measured."""
        if self._resistance.interval(0) is None:
            return None
        profile = self._profile
        worst = 0
        total = 0.0
        for i in range(self._n):
            total += self._resistance.r[i]
            if self._resistance.r[i] > self._resistance.r[worst]:
                worst = i
        mean = total / self._n / 1000000
        ohm, sigma = self._ohm(worst)
        more = self.factor * (1 + (_LOW_MORE if soc_bp <= _LOW_BP else 0.0))
        unsure = _LOW_MORE if soc_bp <= _LOW_BP else _LOW_MORE / 2
        relative = math.sqrt(
            (sigma / ohm) ** 2 + (self.factor_sigma / self.factor) ** 2 + unsure * unsure
        )
        rested_mv = ocv.rested_mv(profile, soc_bp)
        found = [0.0, 0.0, 0.0]
        ends = ((0.0, 0.0), (2.0, -2.0), (-2.0, 2.0))  # value, low, high
        for k in range(3):
            scale = more * max(0.2, 1 + ends[k][0] * relative)
            mv = rested_mv + ends[k][1] * profile.ocv_sigma_mv
            room_mv = max(0.0, mv - profile.cell_empty_mv)
            current = min(self._settings.ocd_ma / 1000, room_mv / 1000 / (ohm * scale))
            found[k] = self._n * current * (mv / 1000 - current * mean * scale)
        return found[0], found[1], found[2]

    def _ohm(self, cell: int) -> "tuple[float, float]":
        """1 s resistance of a cell at 25 degC and its deviation; a new one's when unmeasured."""
        found = self._resistance.interval(cell)
        if found is None:
            ohm = self._resistance.ref_uohm / 1000000
            return ohm, ohm / 2
        return found[0] / 1000000, (found[2] - found[0]) / 2000000

    @staticmethod
    def refusal(soc_known: bool, soh_refusal: int, have_power: bool) -> int:
        """Why energy or power is missing (``codes.Refusal``)."""
        if not soc_known:
            return Refusal.SOC_UNKNOWN
        if soh_refusal:
            return soh_refusal
        return Refusal.NONE if have_power else Refusal.NO_EVIDENCE
