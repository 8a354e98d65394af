"""The offset of the current sensor: learnt where it can be told, taken out of the charge once.

While no switch is closed nothing can flow, and what the chip counts is its offset ``o`` alone.
The mean over a minute weighs as ``_READ_NV``; a scalar Kalman filter keeps ``o`` and its variance:

    k = v / (v + r)        o += k (seen - o)        v = max(v - k v, FLOOR^2)        v' = WALK^2
    sigma^2 = v + (DRIFT (T - T0))^2

``FLOOR`` is resolution and supply, ``WALK`` ageing, ``T - T0`` how far the chip's warmth is from
where it last learnt. The data sheet allows 7.6 uV (1 LSB) uncalibrated and 0.03 LSB/K of drift:
three deviations each. A mean of more than four of the first's is a current, not an offset. With
closed switches a small current may well flow: then
only a long rest teaches, in which the cells' own voltage says what has truly passed
(``selfdischarge.py``), with the variance that has.

Number format: ``bias_ua`` is whole micro-amperes; charge is ``bias_ua * dt_ms`` with the remainder
of the division by 3,600,000 kept, so that nothing is lost to rounding. What may still be wrong
(over time, always in the same direction) is summed in ``doubt``: the difference of two of its
readings is the deviation of the charge between them. It holds ``sigma_ua`` and, since no sensor
sees it, an ordinary self-discharge of 2 % a month.

    >>> offset = CurrentOffset(settings)
    >>> offset.watch(snapshot, now_s)  # each valid cycle, with the charge as counted
    >>> counted_uah = snapshot.delta_uah - offset.uah(snapshot.dt_ms)

Source: TI, BQ769142 data sheet, 7.15 (the family's coulomb counter).
"""

import math

from common.codes import Switch
from common.mp import const
from common.registers import Block
from firmware.estimators.charge import Charge
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

OFFSET_NV = 2500  # standard deviation across the shunt, before anything was learnt
CURRENT_PATHS = Switch.CHARGE | Switch.DISCHARGE | Switch.PRECHARGE | Switch.PREDISCHARGE

_RATED_PARTS = const(1700)  # until then the charge is as unsure as by this part of rated:
# boards that were never calibrated
_FLOOR_NV = const(250)
_READ_NV = const(250)
_WALK_NV = const(50)  # in a day
_DRIFT_NV_DC = const(7.6)  # per 0.1 K
_UNSURE_DC = const(100)  # between two moments of which one's warmth is not known
_IDLE_MS = const(60000)
_UA_MS = const(3600000)  # in a micro-ampere-hour
_DAY_S = const(86400)
_LOSS_PERMILLE_MONTH = const(20)
_MONTH_H = const(720)


class CurrentOffset:
    """``bias_ua``, its deviation ``sigma_ua``, ``at_s`` (run time of the last evidence or -1)."""

    def __init__(self, settings: Settings) -> None:
        one_ua = 1000 / settings.shunt_uohm  # a nanovolt across the shunt
        self._prior_ua = int(OFFSET_NV * one_ua)
        self._unlearnt_ua = max(self._prior_ua, settings.rated_mah * 1000 // _RATED_PARTS)
        self._floor_var = (_FLOOR_NV * one_ua) ** 2
        self._read_var = (_READ_NV * one_ua) ** 2
        self._walk_var = (_WALK_NV * one_ua) ** 2
        self._drift_ua_dc = _DRIFT_NV_DC * one_ua
        self.var_ua2 = float(self._prior_ua) ** 2  # where it last learnt
        self.bias_ua = 0
        self.sigma_ua = self._prior_ua  # here and now
        self._loss_ua = settings.rated_mah * _LOSS_PERMILLE_MONTH // _MONTH_H
        self.at_s = -1
        self._doubt_ua = self._doubtful_ua()
        self.doubt = Charge()
        self._at_dc = UNKNOWN_DC
        self._aged_s = 0
        self._part = 0  # of a micro-ampere-hour, not yet taken out
        self._doubt_part = 0
        self._open = False  # in the last cycle no switch was closed
        self._idle_ms = 0
        self._idle_uah = 0

    @property
    def bias_ma(self) -> int:
        """The offset in whole milliamperes."""
        return (self.bias_ua + 500) // 1000

    def uah(self, dt_ms: int) -> int:
        """Charge of the last ``dt_ms`` that is offset. To be asked once a cycle."""
        total = self._doubt_part + self._doubt_ua * dt_ms
        whole = total // _UA_MS
        self._doubt_part = total - whole * _UA_MS
        if whole:
            self.doubt.add(whole)
        total = self._part + self.bias_ua * dt_ms
        whole = total // _UA_MS
        self._part = total - whole * _UA_MS
        return whole

    def watch(self, s: Snapshot, now_s: int) -> None:
        """A valid cycle with the charge as the chip counted it."""
        if s.switches & CURRENT_PATHS:
            self._open = False
            self._idle_ms = self._idle_uah = 0
            return
        if not self._open:  # this cycle's charge may be of before they opened
            self._open = True
            return
        self._idle_ms += s.dt_ms
        self._idle_uah += s.delta_uah
        if self._idle_ms < _IDLE_MS:
            return
        seen_ua = self._idle_uah * _UA_MS // self._idle_ms
        self._idle_ms = self._idle_uah = 0
        self.learn(seen_ua, self._read_var, 0.0, s.afe_dc, now_s)

    def learn(self, seen_ua: int, var: float, common: float, afe_dc: int, now_s: int) -> bool:
        """Weigh in an offset seen with variance ``var`` (uA^2) at ``afe_dc``; whether believed.

        By ``common`` of it the next evidence of this kind will be off as well.
        """
        limit_ua = 4 * self._prior_ua
        if not -limit_ua < seen_ua < limit_ua:
            return False
        self.age(afe_dc, now_s)
        old = float(self.sigma_ua) * self.sigma_ua
        gain = old / (old + var)
        self.bias_ua += int(gain * (seen_ua - self.bias_ua))
        self.var_ua2 = max((1 - gain) * old, self._floor_var, min(old, common))
        self.at_s = self._aged_s = now_s
        self._at_dc = afe_dc
        self.age(afe_dc, now_s)
        return True

    def age(self, afe_dc: int, now_s: int) -> None:
        """What was learnt is less sure as time goes by and the chip warms; now and then."""
        if self.at_s < 0:
            return
        self.var_ua2 += self._walk_var * (now_s - self._aged_s) / _DAY_S
        self._aged_s = now_s
        away_dc = _UNSURE_DC
        if UNKNOWN_DC not in (afe_dc, self._at_dc):
            away_dc = abs(afe_dc - self._at_dc)
        drift_ua = self._drift_ua_dc * away_dc
        sigma_ua = math.sqrt(self.var_ua2 + drift_ua * drift_ua)
        self.sigma_ua = min(self._prior_ua, int(sigma_ua + 0.5))
        self._doubt_ua = self._doubtful_ua()

    def _doubtful_ua(self) -> int:
        sigma_ua = float(self.sigma_ua if self.at_s >= 0 else self._unlearnt_ua)
        loss_ua = float(self._loss_ua)
        return int(math.sqrt(sigma_ua * sigma_ua + loss_ua * loss_ua) + 0.5)

    def restore(self, bias_ua: int, sigma_ua: int, age_s: int, now_s: int) -> None:
        """Take up what was learnt before the board was off; ``age_s`` is -1 for nothing."""
        self._aged_s = now_s
        if age_s >= 0:
            self.bias_ua = bias_ua
            self.var_ua2 = float(sigma_ua) * sigma_ua
            self.sigma_ua = min(self._prior_ua, sigma_ua)
            self.at_s = now_s - age_s
            self._doubt_ua = self._doubtful_ua()

    def publish(self, block: Block, now_s: int) -> None:
        """Write the offset with its interval and age into the energy model."""
        known = self.at_s >= 0
        width_ua = 2 * self.sigma_ua
        block.set("IOff", self.bias_ua if known else None)
        block.set("IOffLo", self.bias_ua - width_ua if known else None)
        block.set("IOffHi", self.bias_ua + width_ua if known else None)
        block.set("IOffAge", now_s - self.at_s if known else None)
