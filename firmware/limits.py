"""How much current the pack may carry now, up to which voltage it may be charged, and why.

A current limit is the pack's rating times the smallest of these, in permille, each a straight
line between two points:

    cell voltage      charge 1000 up to _TAPER_MV below full, 50 at full, 0 at the over-voltage
                      limit; discharge 1000 from _SAG_MV above the under-voltage limit, 0 at it
    temperature       0 at the limits, 1000 from _COLD_DC inside (cold) or _HOT_DC inside (hot)
    switches          0 at their limit, 1000 from _FET_DC below
    state of charge   charge _END_PERMILLE at 100 %, 1000 from _END_BP below; discharge likewise
    state of health   500 up to 40 %, 1000 from 60 % on: such a cell is not what it is rated for

The reason is the one that holds it down most. What is not known holds nothing down, but without
temperatures there is no current at all. A limit falls at once and rises by at most 1/20 of the
rating a cycle, so that charger and pack do not hunt; while it still rises its reason is RECOVERY.

The charge voltage is that of a full stack; near the end of charge it is the one at which the
highest cell would be full if all cells rose by the same amount; a hot pack gets up to _HOT_MV a
cell less. Integers only.
"""

from common.codes import LimitReason
from common.mp import const
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

_TAPER_MV = const(150)
_SAG_MV = const(300)
_COLD_DC = const(100)
_HOT_DC = const(50)
_HOT_MV = const(50)
_FET_DC = const(150)
_FULL_PERMILLE = const(50)  # left at the end of charge: a CV phase ends by C/20
_END_BP = const(300)
_END_PERMILLE = const(300)  # the voltage ends a charge or discharge, not what is believed of it
_RISE_PARTS = const(20)
_CHARGE = const(1)  # codes.Switch
_DISCHARGE = const(2)


class Limits:
    """``ccl_ma``, ``dcl_ma``, ``cvl_mv`` and what holds each of them down (``LimitReason``)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ccl_ma = 0
        self.dcl_ma = 0
        self.cvl_mv = settings.n_cells * settings.profile.cell_full_mv
        self.ccl_why = LimitReason.NOT_READY
        self.dcl_why = LimitReason.NOT_READY
        self.cvl_why = LimitReason.NONE
        # What the estimators know, in 0.01 %; None: nothing.
        self.soc_bp: int | None = None
        self.soh_bp: int | None = None
        self._permille = 1000
        self._why = LimitReason.NONE

    def update(self, s: Snapshot, known: bool, stopped: int, forbidden: int) -> None:
        """Follow a snapshot; ``forbidden`` are the switches that a fault keeps open.

        ``stopped`` is the reason why the pack offers no current at all, or NONE.
        """
        if known:
            self._voltage(s)
        elif s.valid and s.max_dc == UNKNOWN_DC:
            stopped = stopped or LimitReason.TEMPERATURE
        if stopped:
            self.ccl_ma = self.dcl_ma = 0
            self.ccl_why = self.dcl_why = stopped
        elif known:
            settings = self.settings
            self._charge(s)
            self.ccl_ma = self._follow(self.ccl_ma, settings.occ_ma)
            self.ccl_why = self._why
            self._discharge(s)
            self.dcl_ma = self._follow(self.dcl_ma, settings.ocd_ma)
            self.dcl_why = self._why
        if forbidden & _CHARGE:
            self.ccl_ma = 0
            self.ccl_why = LimitReason.FAULT
        if forbidden & _DISCHARGE:
            self.dcl_ma = 0
            self.dcl_why = LimitReason.FAULT

    def _voltage(self, s: Snapshot) -> None:
        n = s.n_cells
        full_mv = self.settings.profile.cell_full_mv
        self.cvl_mv = n * full_mv
        self.cvl_why = LimitReason.NONE
        spared_mv = n * ramp(self.settings.otc_dc - s.max_dc, 0, _HOT_DC, _HOT_MV, 0)
        if spared_mv:
            self.cvl_mv -= spared_mv
            self.cvl_why = LimitReason.TEMPERATURE
        if s.max_mv > full_mv - _TAPER_MV:
            room_mv = s.sum_mv + n * (full_mv - s.max_mv)
            if room_mv < self.cvl_mv:
                self.cvl_mv = room_mv
                self.cvl_why = LimitReason.CELL_VOLTAGE

    def _charge(self, s: Snapshot) -> None:
        settings = self.settings
        full_mv = settings.profile.cell_full_mv
        self._permille = 1000
        self._why = LimitReason.NONE
        self._hold(full_mv - s.max_mv, _TAPER_MV, _FULL_PERMILLE, LimitReason.CELL_VOLTAGE)
        self._hold(
            settings.cov_mv - s.max_mv, settings.cov_mv - full_mv, 0, LimitReason.CELL_VOLTAGE
        )
        self._heat(s, settings.utc_dc, settings.otc_dc)
        if self.soc_bp is not None:
            self._hold(10000 - self.soc_bp, _END_BP, _END_PERMILLE, LimitReason.STATE_OF_CHARGE)

    def _discharge(self, s: Snapshot) -> None:
        settings = self.settings
        self._permille = 1000
        self._why = LimitReason.NONE
        self._hold(s.min_mv - settings.cuv_mv, _SAG_MV, 0, LimitReason.CELL_VOLTAGE)
        self._heat(s, settings.utd_dc, settings.otd_dc)
        if self.soc_bp is not None:
            self._hold(self.soc_bp, _END_BP, _END_PERMILLE, LimitReason.STATE_OF_CHARGE)

    def _heat(self, s: Snapshot, cold_dc: int, hot_dc: int) -> None:
        """What both directions have in common."""
        self._hold(s.min_dc - cold_dc, _COLD_DC, 0, LimitReason.TEMPERATURE)
        self._hold(hot_dc - s.max_dc, _HOT_DC, 0, LimitReason.TEMPERATURE)
        if s.fet_dc != UNKNOWN_DC:
            self._hold(self.settings.otf_dc - s.fet_dc, _FET_DC, 0, LimitReason.SWITCH_TEMPERATURE)
        if self.soh_bp is not None:
            self._hold(self.soh_bp - 4000, 2000, 500, LimitReason.STATE_OF_HEALTH)

    def _hold(self, room: int, ample: int, least: int, why: int) -> None:
        """Hold the limit down to ``least`` permille where there is no ``room`` left."""
        permille = ramp(room, 0, ample, least, 1000)
        if permille < self._permille:
            self._permille = permille
            self._why = why

    def _follow(self, now_ma: int, rated_ma: int) -> int:
        target_ma = rated_ma * self._permille // 1000
        now_ma += max(rated_ma // _RISE_PARTS, 1)
        if now_ma >= target_ma:
            return target_ma
        self._why = LimitReason.RECOVERY
        return now_ma


def ramp(x: int, x0: int, x1: int, y0: int, y1: int) -> int:
    """The straight line from (x0, y0) to (x1, y1), level outside; a step where x0 >= x1."""
    if x <= x0:
        return y0
    if x >= x1:
        return y1
    return y0 + (y1 - y0) * (x - x0) // (x1 - x0)
