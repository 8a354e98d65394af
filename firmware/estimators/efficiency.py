"""Round-trip efficiency: the voltage at which charge comes out over that at which it went in.

The charge counter is divided into bins of 1/20 of the rated charge. A bin that was crossed from
one edge to the other keeps the mean cell voltage of that crossing, for each direction. Over the
bins that were crossed both ways

    efficiency = sum of V_out / sum of V_in

which is the energy that comes back of what went in over a closed cycle of that range, as long as
charge itself is not lost (lithium-ion cells give back more than 99.5 % of it). Gain and offset of
the current sensor and the gain of the voltages cancel. It holds for the currents and temperatures
that were used. The interval is 0.6 points for what cancels imperfectly (charge that is lost,
polarisation left from before a turn), and 2 points more for what was not crossed.

    >>> efficiency = Efficiency(settings)
    >>> efficiency.update(snapshot, charge, now_s)
    >>> efficiency.figure()  # (efficiency, lo, hi) in basis points; None below a third of rated
"""

from array import array

from common.mp import const
from firmware.estimators.charge import Charge
from firmware.settings import Settings
from firmware.snapshot import Snapshot

_BINS = const(20)  # to the rated charge
_KEPT = const(32)  # bins kept: any 1.6 times the rated charge
_LEAST = const(7)  # bins crossed both ways that make a figure: a third of rated
_STRAIGHT = const(1.1)  # charge moved in a bin against charge gained: more is to and fro
_SLOWEST_S = const(14400)  # to cross a bin: C/80
_OUT = const(0)
_IN = const(1)
_ANY = const(2)
_FLOOR_BP = const(60.0)
_UNSEEN_BP = const(200.0)
_FADED_H = const(7 * 24)  # a crossing so much older than the other is of another time


class Efficiency:
    """Mean cell voltages by charge and direction: 10 bytes a bin, none a cell."""

    def __init__(self, settings: Settings) -> None:
        self._bin_mah = max(1, settings.rated_mah // _BINS)
        self._cells = settings.n_cells
        self._number = array("h", [-0x8000] * _KEPT)  # which bin stands at this place
        self._dmv = array("H", bytes(4 * _KEPT))  # by place: out, in, 0.1 mV; 0: not crossed
        self._at_h = array("H", bytes(4 * _KEPT))  # hours, which wrap after seven years
        self._bin = 0
        self._entry = _ANY  # direction in which this bin was entered
        self._first = True
        self._gained_uah = 0
        self._moved_uah = 0
        self._energy = 0  # of the mean cell, mV times mAh
        self._since_s = 0
        self._last_s = 0  # of the last crossing
        self._kept: tuple[float, float, float] | None = None  # from before the last start
        self.at_s = 0  # of the last crossing that is in the figure

    def update(self, s: Snapshot, charge: Charge, now_s: int) -> None:
        """Take a valid cycle, whose charge is in ``charge`` already."""
        delta_uah = s.delta_uah
        if not delta_uah:
            return
        moved_uah = delta_uah if delta_uah > 0 else -delta_uah
        energy = s.sum_mv // self._cells * moved_uah // 1000  # rounded alike in both directions
        self._gained_uah += delta_uah
        self._moved_uah += moved_uah
        self._energy += energy if delta_uah > 0 else -energy
        now_bin = charge.mah // self._bin_mah
        if now_bin != self._bin:
            self._cross(now_bin, now_s)

    def interrupt(self) -> None:
        """Voltages or charge of this bin are not to be trusted: its crossing does not count."""
        self._entry = _ANY

    def _cross(self, now_bin: int, now_s: int) -> None:
        way = _IN if now_bin > self._bin else _OUT
        single = now_bin - self._bin == (1 if way == _IN else -1)
        gained = abs(self._gained_uah)
        straight = self._moved_uah <= gained * _STRAIGHT
        quick = now_s - self._since_s <= _SLOWEST_S
        if self._entry == way and single and straight and quick and gained:
            place = self._bin % _KEPT
            if self._number[place] != self._bin:
                self._number[place] = self._bin
                self._dmv[2 * place] = self._dmv[2 * place + 1] = 0
            at = 2 * place + way
            mean_mv = abs(self._energy) / (gained * 0.001)
            self._dmv[at] = int(min(6553.0, mean_mv) * 10 + 0.5)
            self._at_h[at] = now_s // 3600 & 0xFFFF
            self._last_s = now_s
        self._entry = _ANY if self._first or not single else way
        self._first = False
        self._bin = now_bin
        self._gained_uah = self._moved_uah = 0
        self._energy = 0
        self._since_s = now_s

    def figure(self) -> "tuple[float, float, float] | None":
        """``(efficiency, lo, hi)`` in basis points; ``None`` before enough was crossed."""
        out_dmv = in_dmv = bins = 0
        for place in range(_KEPT):
            out = self._dmv[2 * place]
            into = self._dmv[2 * place + 1]
            if not out or not into or abs(self._bin - self._number[place]) > _KEPT:
                continue
            apart_h = (self._at_h[2 * place] - self._at_h[2 * place + 1]) & 0xFFFF
            if _FADED_H < apart_h < 0x10000 - _FADED_H:
                continue
            out_dmv += out
            in_dmv += into
            bins += 1
        if bins < _LEAST:
            return self._kept
        self._kept = None
        self.at_s = self._last_s
        value = 10000 * out_dmv / in_dmv
        half = _FLOOR_BP + _UNSEEN_BP * max(0, _BINS - 2 - bins) / _BINS
        return value, value - half, min(10000.0, value + half)

    def restore(self, figure: "tuple[float, float, float]", at_s: int) -> None:
        """Take up a figure of before the last start, until enough is crossed again."""
        self._kept = figure
        self.at_s = at_s
