"""Resistance of each cell over one second, from steps of the current.

A step is a change of at least C/5 between two consecutive cycles with the current steady before
and after it. The chip reads at some moment of the second in which it happens: the mean of the
two readings after the step is therefore one second old on average, and

    R = ((v[k] + v[k+1]) / 2 - v[k-1]) / (i[k+1] - i[k-1])

is taken at 10..45 degC and referred to 25 degC:

    R25 = R / (1 + COLD c (25 - T))    c = 0.35 + 0.65 (25 - T) / 15    T < 25
    R25 = R (1 + HOT (T - 25))                                          T > 25

``c`` bends the way to 10 degC as a reaction does whose rate follows Arrhenius (80 kJ/mol) beside a
part that warmth does not change: half way there only a third of the rise has come.
COLD and HOT are means of two cells, which differ: 0.043 and 0.002 per K of a 33 Ah LMO/LNO pouch
(pulses at 10, 25 and 40 degC; G. Wiggins et al., doi 10.5281/zenodo.2580327), 0.013 to 0.027 cold
and about 0 hot of a 2.9 Ah NCA 18650 (drive cycles at 12..28 degC; P. Kollmeyer, doi
10.17632/wykht8y7tg.1). Half their difference, times the distance from 25 degC, is an error that
no average removes: the variance does not fall below it until a reading nearer to 25 degC comes.

Over SOC the same cells stay within 6 % of mid SOC from 20 to 95 %, and rise by 20 to 120 % below
and above: steps there are not taken when the SOC is known.

Each reading has the deviation of the chip's 1 mV steps over the current step, and 5 % of itself
for everything else; readings are averaged by variance with a memory of sixteen, and one more than
four deviations off is clipped to four. Micro-ohms, 95 % interval.
"""

import math
from array import array

from common.mp import const
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

PULSE_MS = const(1000)
_MEMORY = const(16)
_QUANTUM_MV = const(0.6)
_SCATTER = const(0.05)
_COMMON = const(0.03)  # SOC and gain: not averaged away
_STEADY = const(20)  # parts of the step the current may move by on either side
_COLD_DC = const(100)
_HOT_DC = const(450)
_REF_DC = const(250)
_COLD_SLOPE = const(0.003)  # per 0.1 K
_COLD_SIGMA = const(0.37)  # of the rise
_COLD_START = const(0.35)  # of the slope; it is whole at ...
_COLD_WHOLE_DC = const(150)  # ... this far from 25 degC
_HOT_SLOPE = const(0.0003)
_HOT_SIGMA = const(0.0006)
_LOW_BP = const(2000)
_HIGH_BP = const(9500)


def at_25(dc: float) -> "tuple[float, float]":
    """What a resistance at ``dc`` is times at 25 degC, and that factor's relative deviation."""
    away = dc - _REF_DC
    if away < 0:
        bent = _COLD_START - (1 - _COLD_START) * away / _COLD_WHOLE_DC
        rise = -_COLD_SLOPE * away * bent
        return 1 / (1 + rise), _COLD_SIGMA * rise
    return 1 + _HOT_SLOPE * away, _HOT_SIGMA * away


class Resistance:
    """1 s resistance of each cell at 25 degC."""

    def __init__(self, settings: Settings) -> None:
        n = settings.n_cells
        self._n = n
        rated_mah = settings.rated_mah
        self.ref_uohm = settings.profile.r_ref_uohm_ah * 1000 / rated_mah
        self._step_ma = rated_mah // 5
        self.r = array("f", bytes(4 * n))
        self.var = array("f", bytes(4 * n))
        self.count = 0
        self.at_s = 0
        self._back = array("H", bytes(2 * n))  # cycle k - 1 ...
        self._step = array("H", bytes(2 * n))  # ... and k
        self._back_ma = self._step_now_ma = self._older_ma = 0
        self._cycles = 0  # consecutive ones seen

    def interrupt(self) -> None:
        """A cycle was lost, or was not a second long."""
        self._cycles = 0

    def update(self, s: Snapshot, now_s: int, soc_bp: "int | None" = None) -> bool:
        """Look at a valid snapshot; whether a step was measured."""
        current_ma = s.current_ma
        measured = False
        if self._cycles >= 3:
            step_ma = current_ma - self._back_ma
            size_ma = abs(step_ma)
            if size_ma >= self._step_ma and size_ma:
                slack_ma = size_ma // _STEADY + 1
                before = abs(self._back_ma - self._older_ma) <= slack_ma
                after = abs(current_ma - self._step_now_ma) <= slack_ma
                middle = soc_bp is None or _LOW_BP <= soc_bp <= _HIGH_BP
                if before and after and middle:
                    measured = self._measure(s, step_ma, now_s)
        spare = self._back
        self._back = self._step
        self._step = spare
        cell_mv = s.cell_mv
        i = 0
        while i < self._n:
            spare[i] = cell_mv[i]
            i += 1
        self._older_ma = self._back_ma
        self._back_ma = self._step_now_ma
        self._step_now_ma = current_ma
        if self._cycles < 3:
            self._cycles += 1
        return measured

    def _measure(self, s: Snapshot, step_ma: int, now_s: int) -> bool:
        coldest_dc = s.min_dc
        hottest_dc = s.max_dc
        if coldest_dc == UNKNOWN_DC or coldest_dc < _COLD_DC or hottest_dc > _HOT_DC:
            return False
        factor, doubt = at_25((coldest_dc + hottest_dc) / 2)
        cell_mv = s.cell_mv
        quantum = _QUANTUM_MV / abs(step_ma) * 1000000
        for i in range(self._n):
            rise_mv = (self._step[i] + cell_mv[i]) / 2 - self._back[i]
            self._fuse(i, rise_mv / step_ma * 1000000 * factor, quantum, doubt)
        self.count += 1
        self.at_s = now_s
        return True

    def _fuse(self, i: int, r: float, quantum: float, doubt: float) -> None:
        scatter = _SCATTER * abs(r)
        common = doubt * r
        var = quantum * quantum + scatter * scatter + common * common
        if self.count == 0:
            self.r[i] = r
            self.var[i] = var
            return
        old = self.r[i]
        grown = self.var[i] * (1 + 1 / _MEMORY)
        limit = 4 * math.sqrt(grown + var)
        off = min(limit, max(-limit, r - old))
        gain = max(grown / (grown + var), 1 / _MEMORY)
        self.r[i] = old + gain * off
        fused = (1 - gain) * grown + gain * gain * max(0.0, off * off - grown - var)
        self.var[i] = max(fused, common * common)

    def typical_uohm(self, cell: int) -> float:
        """The measured resistance of a cell, or a new one's where none was measured."""
        return self.r[cell] if self.count and self.r[cell] > 0 else self.ref_uohm

    def interval(self, cell: int) -> "tuple[float, float, float] | None":
        """``(R, lo, hi)`` of the cell with index ``cell`` in micro-ohms; None before a step."""
        if not self.count or self.r[cell] <= 0:
            return None
        r = self.r[cell]
        common = _COMMON * r
        width = 2 * math.sqrt(self.var[cell] + common * common)
        return r, max(0.0, r - width), r + width

    def pack(self) -> "tuple[float, float, float] | None":
        """``(R, lo, hi)`` of all cells in series, in micro-ohms."""
        total = var = 0.0
        for i in range(self._n):
            if self.interval(i) is None:
                return None
            total += self.r[i]
            var += self.var[i]
        common = _COMMON * total
        width = 2 * math.sqrt(var + common * common)
        return total, max(0.0, total - width), total + width
