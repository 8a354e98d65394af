"""Self-discharge of the mean cell, from what its rested voltage loses over days.

In a rest that has lasted six hours, between two looks at least a day apart,

    lost = -C k (v2 - v1) + q          rate = lost / days

``v`` is the mean cell's voltage, ``k`` the slope of the SOC by it (the profile's table, a secant
over the place), ``C`` the mean capacity over rated, ``q`` the charge that the sensor saw come in:
0 when no switch was closed meanwhile, and else what was counted, with the doubt that the sensor's
offset leaves (``offset.py``). Deviations, each in mV or bp of rated:

    voltage        0.4 mV a look
    relaxation     0.7 of the change from 3 h to 6 h, going on with the logarithm of time, + 0.3 mV
    warmth         0.2 mV per K between the looks; beyond 5 K nothing is told
    slope          20 % of what the voltage says
    sensor         its doubt

Looks of one rest refine one figure; figures of several rests are fused by variance, not below
what the slope's error leaves. The rate wanders by 1 bp a day from rest to rest: it depends on SOC
and warmth. On a plateau the voltage tells nothing (``FLAT_REGION``).

With closed switches the same equation holds a sensor's offset and a loss, of which one must be
known: when the doubt about the offset is the larger, the rest teaches the offset, the loss being
taken as what was measured before, or 2 % a month and as much again for its deviation.

Basis points of rated a day; published in 0.01 % a month once known to 2 % a month, or clearly
not 0.

    >>> loss.update(snapshot, anchors.rest_s(now_s), now_s)
    >>> loss.figure()
    (210.0, 120.0, 300.0)
"""

import math

from common.codes import Refusal
from common.mp import const
from common.registers import Block
from firmware.estimators import ocv
from firmware.estimators.charge import Charge
from firmware.estimators.offset import CURRENT_PATHS, CurrentOffset
from firmware.estimators.soc import Soc
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

_EARLY_S = const(10800)
_RESTED_S = const(21600)
_SPAN_S = const(86400)  # between first and second look
_EVERY_S = const(21600)
_DAY_S = const(86400)
_MONTH = const(30)  # days
_AWAY_DC = const(50)
_READ_MV = const(0.4)
_RELAX_MV = const(0.3)
_RELAX = const(0.7)
_THERMAL_MV_DC = const(0.02)
_SLOPE = const(0.2)
_SECANT_MV = const(10.0)
_USUAL = 200.0 / _MONTH  # bp a day, and its deviation, before any was measured
_WALK = const(1.0)
_SURE = 200.0 / 2 / _MONTH  # deviation at which it is told
_CLEAR = const(9.0)  # squared deviations from 0 at which a less sure one is told
_LEAST = const(0.6)  # of the slope's variance: what more rests cannot average out


class SelfDischarge:
    """``rate`` in bp of rated a day with variance ``var``; ``at_s`` -1 before any evidence."""

    def __init__(
        self, settings: Settings, charge: Charge, offset: CurrentOffset, soc: Soc
    ) -> None:
        self._profile = settings.profile
        self._n = settings.n_cells
        self._rated_mah = settings.rated_mah
        self._day_ua = settings.rated_mah * 1000 / 10000 / 24  # current of a basis point a day
        self._charge = charge
        self._offset = offset
        self._soc = soc
        self.rate = 0.0
        self.var = 0.0
        self.at_s = -1
        self.refusal = Refusal.NO_EVIDENCE
        self._base = (0.0, 0.0, -1)  # before this rest: rate, var, at_s
        self._due_s = _EARLY_S  # of the rest
        self._early_mv = 0.0
        self._first_mv = -1.0  # of the look at six hours; -1: not yet
        self._first_s = self._first_rest_s = 0
        self._first_dc = UNKNOWN_DC
        self._relaxed_mv = 0.0
        self._at = [0, 0]  # charge at the first look
        self._sigma_ua = 0  # deviation of the sensor's offset then
        self._open = True  # no switch was closed since then

    def update(self, s: Snapshot, rest_s: int, now_s: int) -> None:
        """A plausible cycle; ``rest_s`` since there was a current, -1 when there is one."""
        if s.switches & CURRENT_PATHS:
            self._open = False
        if rest_s < self._due_s:
            if rest_s < _EARLY_S and self._due_s != _EARLY_S:
                self._due_s = _EARLY_S
                self._first_mv = -1.0
            return
        if s.balancing:
            return
        mv = s.sum_mv / self._n
        if self._due_s == _EARLY_S:
            self._early_mv = mv
            self._due_s = _RESTED_S
        elif self._first_mv < 0:
            self._relaxed_mv = abs(mv - self._early_mv)
            self._base = (self.rate, self.var + _WALK * _WALK, self.at_s)
            self._begin(s, mv, rest_s, now_s)
        else:
            self._due_s = rest_s + _EVERY_S
            self._look(s, mv, rest_s, now_s)

    def _begin(self, s: Snapshot, mv: float, rest_s: int, now_s: int) -> None:
        self._first_mv = mv
        self._first_s = now_s
        self._first_rest_s = rest_s
        self._first_dc = s.min_dc
        self._at = [self._charge.mah, self._charge.uah]
        self._sigma_ua = self._offset.sigma_ua
        self._open = not s.switches & CURRENT_PATHS
        self._due_s = rest_s + _SPAN_S

    def _look(self, s: Snapshot, mv: float, rest_s: int, now_s: int) -> None:
        if UNKNOWN_DC in (s.min_dc, self._first_dc):
            self._refuse(Refusal.TEMPERATURE)
            return
        warmer_dc = abs(s.min_dc - self._first_dc)
        if warmer_dc > _AWAY_DC:
            self._refuse(Refusal.TEMPERATURE)
            return
        profile = self._profile
        middle_mv = (mv + self._first_mv) / 2
        low, high = profile.flat_bp
        if low < ocv.soc_bp(profile, middle_mv) < high:
            self._refuse(Refusal.FLAT_REGION)
            return
        above = ocv.soc_bp(profile, middle_mv + _SECANT_MV)
        k = (above - ocv.soc_bp(profile, middle_mv - _SECANT_MV)) / (2 * _SECANT_MV)
        if k <= 0:
            self._refuse(Refusal.TOO_UNCERTAIN)
            return
        k *= self._soc.capacity
        lost = k * (self._first_mv - mv)
        relax_mv = _RELAX_MV + _RELAX * self._relaxed_mv * (
            math.log(rest_s / self._first_rest_s) / math.log(_RESTED_S / _EARLY_S)
        )
        warm_mv = _THERMAL_MV_DC * warmer_dc
        var = k * k * (2 * _READ_MV * _READ_MV + relax_mv * relax_mv + warm_mv * warm_mv)
        self._take(s, lost, var, (now_s - self._first_s) / _DAY_S, now_s)

    def _take(self, s: Snapshot, lost: float, var: float, days: float, now_s: int) -> None:
        """``lost`` by the voltage, variance ``var``: what it tells of the loss, or the offset."""
        slope = _SLOPE * lost / days
        doubt = 0.0
        if not self._open:
            at = self._at
            lost += self._charge.since(at[0], at[1]) * 10000 / self._rated_mah
            doubt = max(self._sigma_ua, self._offset.sigma_ua) / self._day_ua
        rate = lost / days
        var = var / (days * days) + slope * slope
        if doubt > _SURE:
            self._refuse(Refusal.OFFSET)
            self._teach(s, rate, var, now_s)
            return
        var += doubt * doubt
        base, base_var, base_s = self._base
        if base_s >= 0:
            gain = base_var / (base_var + var)
            rate = base + gain * (rate - base)
            var = max(gain * var, _LEAST * slope * slope)
        self.rate = rate
        self.var = var
        self.at_s = now_s
        self.refusal = Refusal.NONE if self._known() else Refusal.TOO_SHORT

    def _teach(self, s: Snapshot, rate: float, var: float, now_s: int) -> None:
        """What went missing beyond the usual loss is the sensor's offset."""
        usual, usual_var = _USUAL, _USUAL * _USUAL
        if self.at_s >= 0 and self.var < usual_var:
            usual, usual_var = self.rate, self.var
        ua = self._day_ua
        over_ua = int((rate - usual) * ua)
        own, common = var * ua * ua, usual_var * ua * ua
        offset = self._offset
        offset.learn(offset.bias_ua + over_ua, own + common, common, s.afe_dc, now_s)
        self._first_mv = -1.0  # the next look begins anew, with what was learnt

    def _refuse(self, why: int) -> None:
        if not self._known():
            self.refusal = why

    def _known(self) -> bool:
        sure = self.var <= _SURE * _SURE or self.rate * self.rate >= _CLEAR * self.var
        return self.at_s >= 0 and sure

    # --- figures --------------------------------------------------------------------------

    def figure(self) -> "tuple[float, float, float] | None":
        """``(loss, lo, hi)`` of the mean cell in bp of rated a month, 95 %; ``None`` if unsure."""
        if not self._known():
            return None
        width = 2 * math.sqrt(self.var)
        lo = max(0.0, self.rate - width)
        hi = max(0.0, self.rate + width)
        return _MONTH * max(0.0, self.rate), _MONTH * lo, _MONTH * hi

    def publish(self, block: Block, leaks_known: bool, leaks_s: int, now_s: int) -> None:
        """Write the pack's self-discharge and why it, or a cell's against it, is missing.

        ``leaks_s``: when a cell's difference was last measured, -1 for never.
        """
        figure = self.figure()
        for k in range(3):
            name = ("SelfDis", "SelfDisLo", "SelfDisHi")[k]
            block.set(name, None if figure is None else int(figure[k] + 0.5))
        refusal = self.refusal
        if figure is not None:
            refusal = Refusal.NONE if leaks_known else Refusal.TOO_SHORT
        block.set("SelfRef", refusal)
        at_s = max(self.at_s, leaks_s)
        block.set("SelfAge", now_s - at_s if at_s >= 0 else None)

    def restore(self, rate: float, var: float, age_s: int, now_s: int) -> None:
        """Take up what was known before the board was off; ``age_s`` is -1 for nothing."""
        if age_s < 0:
            return
        self.rate = rate
        self.var = var
        self.at_s = now_s - age_s
        self.refusal = Refusal.NONE if self._known() else Refusal.TOO_SHORT
