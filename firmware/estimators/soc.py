"""State of charge of the pack: counted charge, corrected by anchors, with its error.

The pack's SOC is that of the *mean cell*: the mean of the cells' SOC at an anchor, moved by the
charge since then over the mean capacity. In a pack out of balance it therefore need not reach
100 % when the first cell is full, nor 0 % when the first is empty.

Between anchors (``C`` capacity, ``q`` net charge, ``u`` charge in either direction)

    soc = ref + q / C
    var = var_ref + (GAIN u / C)^2 + (doubt / C)^2 + (sigma_C q / C^2)^2 - 2 tie q / C

``tie`` is the covariance of the errors of ``ref`` and of ``C`` (relative). A capacity that was
measured between two anchors at ``z_a`` and ``z_b`` is too small where ``z_a`` was told too high:
counting back from ``z_a`` one comes to ``z_b`` with the error of ``z_b``, not of both. Right after
the anchor ``a``, which weighed ``k`` in ``ref``, ``tie = -k var_a / (z_a - z_b)``.

An anchor of SOC ``z`` and variance ``r`` is weighed in. The table's errors repeat from rest to
rest: with ``c = 0.8 sqrt(var_rest r)``, ``var_rest`` being the part of ``var`` that came from
rests (``c = 0`` for the ends of charge and discharge),

    k = (var - c) / (var + r - 2 c)      0..1
    soc += k (z - soc)
    var = (1 - k)^2 var + k^2 r + 2 k (1 - k) c

On a plateau ``r`` is huge and the SOC hardly moves: it never snaps, and ten rests there tell
hardly more than one.

Before it was measured the capacity is that of used packs, 80 +- 16 % of rated.

Where the profile brings an equivalent circuit (``common.cells``), the first anchor starts
``SocFilter`` and every cycle's mean cell voltage, under load too, is weighed in. Anchors are then
weighed in for what they tell more: a rest is the same voltage again and only counts where it is
far surer than the filter. The filter has synchronised (``SocSync.MODEL``) when its variance has
halved without an anchor.

The charge comes without the current sensor's offset, as far as that is known (``offset.py``); what
it may still be off by is summed there as well: ``doubt`` above.

Basis points of charge; 95 % interval; ``None`` before the first evidence.
"""

import math

from common.cells import circuit
from common.codes import SocSync
from common.mp import const
from firmware.estimators.anchors import REST, Anchor
from firmware.estimators.charge import Charge
from firmware.estimators.offset import CurrentOffset
from firmware.estimators.soc_filter import SocFilter
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

GAIN = 0.005  # standard deviation of the current sensor's gain
UNKNOWN_CAPACITY = 0.8  # of a used pack before it was measured, against rated
UNKNOWN_SIGMA = 0.16
_FILTER_SIGMA = const(0.15)  # of the capacity that an equivalent circuit was fitted with
_MOST_TIED = const(0.95)  # correlation
_REPEATS = const(0.8)  # correlation of the errors of two rests
_SYNC_GAIN = const(0.5)  # an anchor that weighs less has not synchronised anything
_RESTORED_BP = const(300)  # what may have happened while the board was off
_FILTER_REST = const(0.25)  # an anchor at rest counts below this share of the filter's variance
_SYNC = (SocSync.NONE, SocSync.OCV_REST, SocSync.FULL_CHARGE, SocSync.EMPTY)


class Soc:
    """SOC of the mean cell; ask ``soc_bp``, ``lo_bp``, ``hi_bp`` (int or None) after update."""

    def __init__(self, settings: Settings, charge: Charge, offset: CurrentOffset) -> None:
        self._n = settings.n_cells
        self._rated_mah = settings.rated_mah
        self._charge = charge
        self._offset = offset
        self._moved = Charge()  # either direction
        self.known = False
        self.ref_bp = 0.0
        self.var_bp2 = 0.0
        self._rest_bp2 = 0.0  # part of it that came from rests
        self._tie_bp = 0.0  # covariance of it and the relative error of the capacity
        self._weight = 0.0  # of the open anchor in it
        self._at = [0, 0, 0, 0, 0, 0]  # mah, uah of charge, moved and doubt: at the reference
        # before the open anchor: known, soc, var, var of rests, tie, mah, uah
        self._base = (False, 0.0, 0.0, 0.0, 0.0, 0, 0)
        self.sync = SocSync.NONE
        self.sync_s = 0
        ecm = circuit(settings.profile.name)
        self.filter = None
        if ecm is not None:
            self.filter = SocFilter(ecm, settings.rated_mah, offset.sigma_ua / 1000)
            self.filter.use_capacity(settings.rated_mah, _FILTER_SIGMA)
        self._told_bp2 = 0.0  # variance of what the open anchor has told the filter; 0: nothing
        self._was_bp2 = 0.0  # the filter's variance when last synchronised
        self.capacity = UNKNOWN_CAPACITY  # of the mean cell, against rated
        self.capacity_sigma = UNKNOWN_SIGMA
        self.soc_bp: int | None = None
        self.lo_bp: int | None = None
        self.hi_bp: int | None = None

    def count(self, delta_uah: int) -> None:
        """Charge that passed, for the error that grows with it."""
        self._moved.add(delta_uah if delta_uah >= 0 else -delta_uah)

    def predict(self) -> "tuple[float, float]":
        """``(soc, variance)`` in basis points: by the filter, or by counting alone."""
        if self.filter is not None and self.known:
            return self.filter.z * 100, self.filter.pzz * 10000
        at = self._at
        mah_bp = 10000 / (self._rated_mah * self.capacity)
        moved = self._charge.since(at[0], at[1]) * mah_bp
        gain = self._moved.since(at[2], at[3]) * mah_bp * GAIN
        drift = self._offset.doubt.since(at[4], at[5]) * mah_bp
        size = self.capacity_sigma / self.capacity * moved
        var = self.var_bp2 + gain * gain + drift * drift + size * size
        if self._tie_bp:
            var -= 2 * self._tie_bp * moved
        return self.ref_bp + moved, var

    def anchor(self, anchor: Anchor, opened: bool, now_s: int) -> None:
        """Weigh in the open ``anchors.Anchor``, always against what was known before it."""
        charge = self._charge
        if opened:
            soc, var = self.predict()
            tie = self._tied_bp()
            self._base = (self.known, soc, var, self._rest_bp2, tie, charge.mah, charge.uah)
        if self.filter is not None and self.known:
            self._tell(self.filter, anchor, opened, now_s)
            return
        known, soc, var, rest, tie, mah, uah = self._base
        z = anchor.mean_bp
        r = anchor.sigma_bp * anchor.sigma_bp
        gain = 1.0
        rested = anchor.kind == REST
        if known:
            soc += charge.since(mah, uah) / (self._rated_mah * self.capacity) * 10000
            soc = min(10000.0, max(0.0, soc))
            common = _REPEATS * math.sqrt(rest * r) if rested else 0.0
            gain = min(1.0, max(0.0, (var - common) / (var + r - 2 * common + 1e-3)))
            kept = 1 - gain
            z = soc + gain * (z - soc)
            rest = kept * kept * rest
            more = 2 * kept * gain * common
            if rested:
                rest += gain * gain * r + more
            r = kept * kept * var + gain * gain * r + more
        else:
            rest = r if rested else 0.0
        self.known = True
        self._rest_bp2 = rest
        self._weight = gain
        self._set(z, r, (1 - gain) * tie)
        self._start(z, r, rested)
        self._told_bp2 = r
        if gain >= _SYNC_GAIN:
            self.sync = _SYNC[anchor.kind]
            self.sync_s = now_s

    def observe(self, s: Snapshot, now_s: int, plausible: bool) -> None:
        """A valid cycle: the mean cell's voltage under its load, to the filter if there is one.

        Voltages that are not plausible are not looked at; their charge counts.
        """
        model = self.filter
        if model is None:
            return
        dt_ms = s.dt_ms
        delta_uah = s.delta_uah
        ma = s.current_ma
        coldest = s.min_dc
        if not self.known or not plausible or coldest == UNKNOWN_DC:
            model.count(ma, delta_uah, dt_ms)
            return
        model.update(s.sum_mv / self._n, ma, (coldest + s.max_dc) // 2, delta_uah, dt_ms)
        var = model.pzz * 10000
        if var > self._was_bp2:
            self._was_bp2 = var
        elif var < (1 - _SYNC_GAIN) * self._was_bp2:
            self._was_bp2 = var
            self.sync = SocSync.MODEL
            self.sync_s = now_s

    def _tell(self, model: SocFilter, anchor: Anchor, opened: bool, now_s: int) -> None:
        """Weigh in what the open anchor tells the filter, or tells more than before."""
        r = anchor.sigma_bp * anchor.sigma_bp
        if opened:
            self._told_bp2 = 0.0
        if anchor.kind == REST and r > _FILTER_REST * model.pzz * 10000:
            return
        told = self._told_bp2
        if told:
            if r > 0.8 * told:
                return
            more = 1 / (1 / r - 1 / told)  # what is new in it
        else:
            more = r
        self._told_bp2 = r
        gain = model.anchor(anchor.mean_bp / 100, math.sqrt(more) / 100)
        if gain >= _SYNC_GAIN or told:
            self.sync = _SYNC[anchor.kind]
            self.sync_s = now_s
            self._was_bp2 = model.pzz * 10000

    def _start(self, soc: float, var: float, rested: bool) -> None:
        if self.filter is not None:
            self.filter.start(soc / 100, math.sqrt(var) / 100, rested)
            self._was_bp2 = var

    def _tied_bp(self) -> float:
        """``tie`` with the SOC of now."""
        at = self._at
        relative = self.capacity_sigma / self.capacity
        moved = self._charge.since(at[0], at[1]) / (self._rated_mah * self.capacity) * 10000
        return self._tie_bp - relative * relative * moved

    def _set(self, soc: float, var: float, tie: float) -> None:
        self.ref_bp = soc
        self.var_bp2 = var
        most = _MOST_TIED * math.sqrt(var) * self.capacity_sigma / self.capacity
        self._tie_bp = min(most, max(-most, tie))
        at = self._at
        at[0] = self._charge.mah
        at[1] = self._charge.uah
        at[2] = self._moved.mah
        at[3] = self._moved.uah
        at[4] = self._offset.doubt.mah
        at[5] = self._offset.doubt.uah

    def restore(self, soc: float, sigma: float, now_s: int) -> None:
        """Take up a SOC from before the board was off; its error grows by what may have been."""
        self.known = True
        var = sigma * sigma + _RESTORED_BP * _RESTORED_BP
        self._set(soc, var, 0.0)
        self._start(soc, var, False)
        self.sync = SocSync.RESTORED
        self.sync_s = now_s

    def update(self) -> None:
        """Bring the figures up to this moment."""
        if not self.known:
            return
        soc, var = self.predict()
        width = 2 * math.sqrt(var)
        self.soc_bp = _clip(soc)
        self.lo_bp = _clip(soc - width)
        self.hi_bp = _clip(soc + width)

    def use_capacity(
        self, fraction: float, sigma: float, end_bp: float = 0.0, share: float = 1.0
    ) -> None:
        """A capacity of the mean cell was measured, against rated.

        ``end_bp`` is the covariance of its newest part, which is ``share`` of it, with the open
        anchor's error.
        """
        soc, var = self.predict()
        tie = share * self._weight * end_bp + (1 - share) * self._tied_bp()
        self.capacity = fraction
        self.capacity_sigma = sigma
        if self.filter is not None:
            self.filter.use_capacity(self._rated_mah * fraction, sigma)
        if self.known:
            self._set(soc, var, tie)


def _clip(value: float) -> int:
    return int(min(10000.0, max(0.0, value)) + 0.5)
