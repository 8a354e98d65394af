"""State of health: the capacity of each cell against rated, from the charge between two anchors.

For two anchors with the cell's SOC ``z1``, ``z2`` (deviations ``s1``, ``s2``) and the charge ``q``
that passed between them in ``t``:

    C = q / (z2 - z1)
    (sigma_C / C)^2 = (s1^2 + s2^2) / (z2 - z1)^2 + GAIN^2 + CYCLE^2 + (doubt / q)^2

``doubt`` is by how much the current sensor's offset may have miscounted meanwhile (``offset.py``).
``C`` is thereby the charge between full and empty *at rest*; where an end was reached under load
it is corrected to rest by the resistance. ``CYCLE`` is by how much the capacity of measured cells
differs from one cycle to the next: rate, warmth, recovery in pauses. Evidence is refused unless
``|z2 - z1| >= 37 %``, the temperature was within 10..45 degC at both ends and ``sigma_C / C <=
12 %``: the gates of TI's Impedance Track (SLUUC54C) in terms of variance. It allows 40 degC, which
a cell passes at the end of an ordinary 1C discharge.

Evidence is fused by variance, in basis points of rated. Two things keep the interval honest and
the estimate moving: the table's errors are common to all evidence, so the fused variance stays
above 0.6 of the best single one (Plett's AWTLS, J. Power Sources 196 (2011) 2319, has no such
floor and is over-confident); and cells fade, so the deviation grows by 3 bp a full cycle and
0.04 bp an hour. Evidence more than three deviations off replaces what was known.

A refined open anchor replaces its own earlier evidence: it is always fused with what was known
before that anchor opened.

A commanded pulse test (``pulse.py``) is evidence of another kind. Its error is the cell's own and
comes again with the next one, at the same charge wholly: of two pulse tests, or of one and a
fused figure that may hold one already, the surer stands (the covariance intersection of two
numbers whose correlation is unknown; S. Julier, J. Uhlmann, Proc. ACC 1997, p. 2369).

The pack's capacity is that of its weakest cell: what a balanced series string can give. The
lowest of n intervals' upper ends lies below the weakest cell more often than each one alone:
where an error is the cells' own, it counts by ``2 + LEAST ln n`` deviations instead of two, after
Bonferroni.

Between cells of one string most errors are the same: they share the current and its sensor, the
table and the moment. Only half of the ends' deviations is taken as each cell's own (its channel's
offset, its own polarisation); the spread's upper end stands on that part alone.
"""

import math
from array import array

from common.codes import Method, NextTest, Refusal
from common.mp import const
from firmware.estimators import anchors as kinds
from firmware.estimators.anchors import Anchor, Health
from firmware.estimators.soc import GAIN, UNKNOWN_CAPACITY, UNKNOWN_SIGMA
from firmware.settings import Settings

_SWING_BP = const(3700)
_CYCLE = const(0.008)
_BOUND = const(0.98)  # of a charge that was seen to pass, after errors of the sensor
_REL_MAX = const(0.12)
_FADE_BP_PER_FEC = const(3.0)
_FADE_BP_PER_H = const(0.04)
_COMMON = const(0.6)  # of a single evidence's variance that more of the same cannot average out
_OWN = const(0.25)  # of the ends' variance that is the cell's own
_ODD = const(16.0)  # squared deviations: what lies further off counts as if it did not
_SPREAD_FLOOR_BP = const(50.0)  # spread of cells that is no sign of weakness
_ABOVE_ANY = const(1e6)
# 2 + LEAST ln n is the normal quantile of 0.025 / n, 0.1 wide at 72 cells
_LEAST = const(0.35)
_UNSURE_BP = const(400)  # a pack half-width that asks for a better test


class Soh(Health):
    """Capacity of each cell in basis points of rated, with variance, method and age."""

    def __init__(self, settings: Settings) -> None:
        n = settings.n_cells
        self._n = n
        self._profile = settings.profile
        self._rated_mah = settings.rated_mah
        self.soh = array("f", bytes(4 * n))
        self.var = array("f", bytes(4 * n))
        self.best = array("f", bytes(4 * n))  # variance of the best single evidence
        self.own = array("f", bytes(4 * n))  # part of the variance that other cells do not share
        self.method = array("B", bytes(n))
        self.at_s = array("i", bytes(4 * n))
        self.count = 0
        self.end_bp = 0.0  # covariance of the last evidence and the error of its open anchor
        self.single_var = 0.0  # ... and its relative variance
        self.swing_bp = 0.0  # most charge lately seen to fit between full and empty, of rated
        self._base_soh = array("f", bytes(4 * n))
        self._base_var = array("f", bytes(4 * n))
        self._base_best = array("f", bytes(4 * n))
        self._base_method = array("B", bytes(n))
        self._base_count = 0
        self._window_common = array(
            "f", bytes(4 * n)
        )  # of the last window's variance, what the next repeats
        self._window_centi = array("i", bytes(4 * n))  # full cycles when it was
        self.refusal = Refusal.NO_EVIDENCE
        self.fec_centi = 0  # as of the last update
        self._at_centi = 0  # ... and when the base was taken
        self._at_base_s = 0

    # --- evidence -------------------------------------------------------------------------

    def opened(self, now_s: int) -> None:
        """A new anchor opened: what is known now is what its evidence will be weighed against."""
        grown = self._fade_bp(now_s)
        for i in range(self._n):
            self._base_soh[i] = self.soh[i]
            self._base_var[i] = self.var[i] = var = _grown(self.var[i], grown)
            self._base_best[i] = self.best[i] = max(self.best[i], var * _COMMON)
            self._base_method[i] = self.method[i]
        self._base_count = self.count
        self._now_is_base(now_s)

    def restored(self, now_s: int) -> None:
        """The figures were taken up as they were at ``now_s``."""
        self._now_is_base(now_s)
        self.opened(now_s)

    def _now_is_base(self, now_s: int) -> None:
        self._at_centi = self.fec_centi
        self._at_base_s = now_s

    def variance(self, cell: int, now_s: int) -> float:
        """Variance of a cell's figure now, with what the cell may have faded meanwhile."""
        return _grown(self.var[cell], self._fade_bp(now_s))

    def _fade_bp(self, now_s: int) -> float:
        cycles = (self.fec_centi - self._at_centi) / 100
        hours = (now_s - self._at_base_s) / 3600
        return _FADE_BP_PER_FEC * cycles + _FADE_BP_PER_H * hours

    def evidence(self, anchor: Anchor, slots: "list[Anchor]", now_s: int) -> bool:
        """Pair the open anchor with the kept one that tells most; whether any cell gained."""
        partner = None
        best = 1.0
        charge_mah = shared = 0.0
        why = Refusal.SWING_TOO_SMALL if self._any(slots) else Refusal.NO_EVIDENCE
        for slot in slots:
            if slot.kind == kinds.NONE:
                continue
            swing = abs(anchor.mean_bp - slot.mean_bp)
            if swing < _SWING_BP:
                continue
            passed_mah = self._charge_mah(anchor, slot)
            common = self._shared(anchor, slot, passed_mah)
            sigma = _relative(common, swing, anchor.sigma_bp, slot.sigma_bp)
            if partner is None or sigma < best:
                partner = slot
                best = sigma
                charge_mah = passed_mah
                shared = common
        if partner is None:
            self.refusal = why
            return False
        if not (anchor.warm and partner.warm):
            self.refusal = Refusal.TEMPERATURE
            return False
        gained = False
        for i in range(self._n):
            why = self._cell(i, anchor, partner, charge_mah, shared, now_s)
            if why == Refusal.NONE:
                gained = True
        if gained:
            self.refusal = Refusal.NONE
            self.end_bp = -anchor.sigma_bp * anchor.sigma_bp / (anchor.mean_bp - partner.mean_bp)
            self.single_var = best * best
            self.count = self._base_count + 1
            self.swing_bp = abs(charge_mah) / self._rated_mah * 10000
        else:
            self.refusal = why
        return gained

    @staticmethod
    def _any(slots: "list[Anchor]") -> bool:
        return any(slot.kind != kinds.NONE for slot in slots)

    @staticmethod
    def _charge_mah(a: Anchor, b: Anchor) -> float:
        return (a.mah - b.mah) + (a.uah - b.uah) / 1000

    @staticmethod
    def _shared(a: Anchor, b: Anchor, charge_mah: float) -> float:
        """The relative variance that all cells of the string have in common; 1.0 when useless."""
        if abs(charge_mah) < 1.0:
            return 1.0
        drift = (a.doubt_mah - b.doubt_mah) / charge_mah
        return GAIN * GAIN + _CYCLE * _CYCLE + drift * drift

    def _cell(
        self, i: int, a: Anchor, b: Anchor, charge_mah: float, shared: float, now_s: int
    ) -> int:
        """Fuse what two anchors say of cell ``i``; ``Refusal.NONE`` or why not.

        ``charge_mah`` passed between them, of which ``shared`` is the relative variance.
        """
        swing = a.soc[i] - b.soc[i]
        if abs(swing) < _SWING_BP:
            return Refusal.SWING_TOO_SMALL
        capacity = charge_mah / swing * 10000 / self._rated_mah * 10000
        if not 1000 < capacity < 15000:
            return Refusal.SOC_JUMP
        relative = _relative(shared, abs(swing), a.sigma[i], b.sigma[i])
        if relative > _REL_MAX:
            low, high = self._profile.flat_bp
            flat = low < a.soc[i] < high or low < b.soc[i] < high
            return Refusal.FLAT_REGION if flat else Refusal.TOO_UNCERTAIN
        var = capacity * relative
        var *= var
        pair = (a.kinds[i], b.kinds[i])
        method = (
            Method.FULL_CYCLE if kinds.FULL in pair and kinds.EMPTY in pair else Method.OCV_SWING
        )
        known = (
            self._base_soh[i], self._base_var[i], self._base_best[i], self._base_method[i]
        )  # fmt: skip
        floor = _COMMON if self._window_common[i] == 0.0 else 1.0
        capacity, var, best, method = _merge(known, capacity, var, method, floor)
        self.soh[i] = capacity
        self.var[i] = var
        self.best[i] = best
        ends = relative * relative - shared
        self.own[i] = var * _OWN * ends / (relative * relative)
        self.method[i] = method
        self.at_s[i] = now_s
        return Refusal.NONE

    def window(
        self, i: int, found: "tuple[float, float, float]", walk_bp: float, now_s: int
    ) -> None:
        """Fuse what a charge window says of cell ``i``: capacity, variance, what is not common.

        Windows of one cell share most of their error: only the rest is averaged, by a Kalman
        filter of a capacity that walks by ``walk_bp`` for the root of a cycle. Its memory is
        therefore as long as fade allows: charges a hundred cycles apart are hardly averaged. An
        innovation beyond four deviations counts as what four would allow.
        """
        cycles = (self.fec_centi - self._window_centi[i]) / 100
        walk = walk_bp * walk_bp * max(cycles, 0.0)
        fade = self._fade_bp(now_s)
        common = self._window_common[i]
        known = (self.soh[i], self.var[i], self.best[i], self.method[i])
        value, var, best, method = _with_window(known, found, common, walk, fade)
        self.soh[i], self.var[i], self.best[i], self.method[i] = value, var, best, method
        # the anchor that is open now may yet be refined: weigh it against this as well
        known = (self._base_soh[i], self._base_var[i], self._base_best[i], self._base_method[i])
        value, var, best, method = _with_window(known, found, common, walk, fade)
        self._base_soh[i], self._base_var[i] = value, var
        self._base_best[i], self._base_method[i] = best, method
        self._window_common[i] = found[1] - found[2]
        self._window_centi[i] = self.fec_centi
        self.own[i] = found[2]
        self.at_s[i] = now_s

    def windows_done(self, now_s: int) -> None:
        """All cells have had the charge's windows."""
        self.count += 1
        self._base_count = self.count
        self._at_centi = self.fec_centi
        self._at_base_s = now_s
        self.refusal = Refusal.NONE

    def pulses(self, found: "list[tuple[int, int, int] | None]", now_s: int) -> None:
        """Fuse what a pulse test says of each cell: ``(soh, lo, hi)`` in basis points."""
        grown = self._fade_bp(now_s)
        for i in range(self._n):
            self.var[i] = _grown(self.var[i], grown)
            self._base_var[i] = _grown(self._base_var[i], grown)
            figure = found[i]
            if figure is None:
                continue
            value = float(figure[0])
            half = figure[2] - value
            var = half * half / 4
            known = (self.soh[i], self.var[i], self.best[i], self.method[i])
            fused = _with_pulse(known, value, var)
            if fused is not known:
                part = self.var[i] / (self.var[i] + var)
                self.own[i] = (1 - part) * (1 - part) * self.own[i] + part * part * var
                if fused[3] == Method.PULSE_TEST:
                    self.own[i] = fused[1]
                self.at_s[i] = now_s
            self.soh[i], self.var[i], self.best[i], self.method[i] = fused
            # the anchor that is open now may yet be refined: weigh it against this as well
            known = (
                self._base_soh[i],
                self._base_var[i],
                self._base_best[i],
                self._base_method[i],
            )
            fused = _with_pulse(known, value, var)
            self._base_soh[i], self._base_var[i] = fused[0], fused[1]
            self._base_best[i], self._base_method[i] = fused[2], fused[3]
        self.count += 1
        self._base_count = self.count
        self._now_is_base(now_s)
        self.refusal = Refusal.NONE

    # --- figures --------------------------------------------------------------------------

    def known(self, cell: int) -> bool:
        """Whether there is a figure for the cell with index ``cell``."""
        return self.method[cell] != Method.NONE

    def fraction(self, cell: int) -> "tuple[float, float]":
        """SOH of a cell and its deviation, as fractions; of any used cell before it is known."""
        if self.method[cell] == Method.NONE:
            return UNKNOWN_CAPACITY, UNKNOWN_SIGMA
        return self.soh[cell] / 10000, math.sqrt(self.var[cell]) / 10000

    def interval(self, cell: int, now_s: int) -> "tuple[float, float, float]":
        """``(soh, lo, hi)`` of a known cell in basis points, 95 %.

        No cell holds less than the charge that fitted between full and empty: that bounds ``lo``
        where the voltage alone says little.
        """
        return self._interval(cell, self._fade_bp(now_s))

    def _interval(self, cell: int, grown: float) -> "tuple[float, float, float]":
        soh = self.soh[cell]
        width = 2 * (math.sqrt(self.var[cell]) + grown)
        lo = soh - width
        bound = min(self.swing_bp * _BOUND - 2 * grown, soh)
        return soh, max(lo, bound, 0.0), soh + width

    def weakest(self) -> int:
        """Index of the known cell with the smallest capacity; -1 when none is known."""
        weak = -1
        for i in range(self._n):
            if self.method[i] != Method.NONE and (weak < 0 or self.soh[i] < self.soh[weak]):
                weak = i
        return weak

    def pack(self, now_s: int) -> "tuple[float, float, float] | None":
        """``(soh, lo, hi)`` of the pack in basis points: its weakest cell.

        ``None`` unless every cell is known, or those unknown are bounded from below by the charge
        that passed through them as well.
        """
        weak = self.weakest()
        if weak < 0:
            return None
        grown = self._fade_bp(now_s)
        soh, lo, _hi = self._interval(weak, grown)
        bound = max(self.swing_bp * _BOUND - 2 * grown, 0.0)
        z = least_z(self._n)
        more = z * z - 4
        hi = _ABOVE_ANY
        for i in range(self._n):
            if self.method[i] != Method.NONE:
                cell = self.soh[i]
                half = 2 * (math.sqrt(self.var[i]) + grown)
                if cell - half < lo and bound < lo:  # else it cannot be lower
                    lo = self._interval(i, grown)[1]
                hi = min(hi, cell + math.sqrt(half * half + more * self.own[i]))
            elif self.swing_bp < 0.9 * soh:
                return None
            else:
                lo = min(lo, self.swing_bp * _BOUND)
        return soh, lo, max(hi, soh)

    def youngest_s(self) -> int:
        """Time of the youngest evidence of any cell."""
        at = 0
        for i in range(self._n):
            if self.method[i] != Method.NONE:
                at = max(at, self.at_s[i])
        return at

    def mean(self) -> "tuple[float, float] | None":
        """``(mean, sigma)`` of the known cells as a fraction of rated; errors are common.

        ``None`` unless most cells are known: a lone weak one says little of the others.
        """
        total = deviation = 0.0
        n = 0
        for i in range(self._n):
            if self.method[i] != Method.NONE:
                total += self.soh[i]
                deviation += math.sqrt(self.var[i])
                n += 1
        if 2 * n <= self._n:
            return None
        return total / n / 10000, deviation / n / 10000

    def weak_z(self) -> "float | None":
        """How far the weakest cell lies below the median, in robust standard deviations.

        The deviation is 1.4826 times the median distance from the median, at least 0.5 % of
        rated; ``None`` below three known cells.
        """
        known = sorted([self.soh[i] for i in range(self._n) if self.method[i] != Method.NONE])
        if len(known) < 3:
            return None
        middle = _median(known)
        apart = _median(sorted([abs(value - middle) for value in known]))
        return (middle - known[0]) / max(1.4826 * apart, _SPREAD_FLOOR_BP)

    def spread(self) -> "tuple[float, float] | None":
        """``(spread, upper end)`` in basis points: (largest - smallest) / mean."""
        smallest = largest = self.weakest()
        total = 0.0
        for i in range(self._n):
            if self.method[i] == Method.NONE:
                return None
            total += self.soh[i]
            if self.soh[i] > self.soh[largest]:
                largest = i
        mean = total / self._n
        apart = self.soh[largest] - self.soh[smallest]
        width = 2 * math.sqrt(self.own[largest] + self.own[smallest])
        return apart / mean * 10000, (apart + width) / mean * 10000

    def next_test(self, anchor: Anchor, now_s: int, quick: bool) -> int:
        """The cheapest step that would give evidence, or better evidence (``NextTest``).

        ``quick``: whether a quick test can be judged as the pack is now.
        """
        figure = self.pack(now_s)
        if figure is not None and figure[2] - figure[1] <= 2 * _UNSURE_BP:
            return NextTest.NONE
        if self.refusal == Refusal.TEMPERATURE:
            return NextTest.WARM_UP
        if figure is None and quick:
            return NextTest.QUICK_TEST
        if figure is not None or self.refusal == Refusal.FLAT_REGION:
            return NextTest.FULL_CYCLE
        if anchor.kind == kinds.NONE:
            return NextTest.REST
        mean = anchor.mean_bp
        return NextTest.DISCHARGE_THEN_REST if mean > 6000 else NextTest.CHARGE_TO_FULL


def least_z(cells: int) -> float:
    """Deviations that the upper end of the least of so many cells stands off, each by its own."""
    return 2 + _LEAST * math.log(cells)


def _with_pulse(
    known: "tuple[float, float, float, int]", value: float, var: float
) -> "tuple[float, float, float, int]":
    """``known`` and what a pulse test says."""
    old, old_var, _best, method = known
    off = value - old
    if off * off > 9 * (var + old_var):
        return value, var, var, Method.PULSE_TEST
    if method in (Method.PULSE_TEST, Method.FUSED):
        return known if old_var < var else (value, var, var, method)
    return _merge(known, value, var, Method.PULSE_TEST, _COMMON)


def _grown(var: float, fade: float) -> float:
    more = math.sqrt(var) + fade
    return more * more


def _relative(shared: float, swing: float, s1: float, s2: float) -> float:
    """Relative standard deviation of a capacity from two ends ``swing`` apart."""
    return math.sqrt((s1 * s1 + s2 * s2) / (swing * swing) + shared)


def _merge(
    known: "tuple[float, float, float, int]",
    capacity: float,
    var: float,
    method: int,
    floor: float,
) -> "tuple[float, float, float, int]":
    """``known`` and new evidence of another kind: ``(value, variance, best variance, method)``.

    ``floor`` is the part of the best single variance that remains.
    """
    old, old_var, old_best, old_method = known
    if old_method == Method.NONE:
        return capacity, var, var, method
    best = var
    off = capacity - old
    if off * off > 9 * (var + old_var):
        old_var += off * off
    else:
        best = min(var, old_best)
    gain = old_var / (old_var + var)
    var = max(gain * var, floor * best)
    return old + gain * off, var, best, method if method == old_method else Method.FUSED


def _with_window(
    known: "tuple[float, float, float, int]",
    found: "tuple[float, float, float]",
    common: float,
    walk: float,
    fade: float,
) -> "tuple[float, float, float, int]":
    """``known`` and what a window says; ``walk`` is a variance, ``fade`` a deviation."""
    old, old_var, best, method = known
    value, var, alone = found
    if method != Method.CHARGE_WINDOW:
        old_var = (math.sqrt(old_var) + fade) ** 2
        # what the next window repeats must not be averaged away by it: no less than the best one
        return _merge((old, old_var, best, method), value, var, Method.CHARGE_WINDOW, 1.0)
    old_var = max(old_var - common, 0.0) + walk
    off = value - old
    gain = old_var / max(old_var + alone, off * off / _ODD)
    return old + gain * off, (1 - gain) * old_var + var - alone, var, method


def _median(ordered: "list[float]") -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
