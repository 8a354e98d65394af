"""How much current the pack may carry now, and up to which voltage it may be charged.

A limit is the pack's rating times the smaller of two ramps, one over the extreme cell's voltage,
one over temperature, both in permille:

    charge     1000 up to TAPER_MV below full, 50 at full, 0 at the over-voltage limit;
               0 at the temperature limits, 1000 from 10 K inside (cold) or 5 K inside (hot)
    discharge  1000 from SAG_MV above empty, 0 at the under-voltage limit; temperature alike

A limit falls at once and rises by at most 1/20 of the rating a cycle, so that charger and pack do
not hunt. The charge voltage is that of a full stack; near the end of charge it is the one at
which the highest cell would be full if all cells rose by the same amount. Integers only.
"""

from common.codes import LimitReason, Switch
from common.mp import const
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

TAPER_MV = const(150)
SAG_MV = const(300)
COLD_DC = const(100)
HOT_DC = const(50)
FULL_PERMILLE = const(50)  # left at the end of charge: a CV phase ends by C/20
RISE_PARTS = const(20)


class Limits:
    """``ccl_ma``, ``dcl_ma``, ``cvl_mv`` and what holds each current down (``LimitReason``)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ccl_ma = 0
        self.dcl_ma = 0
        self.cvl_mv = settings.n_cells * settings.profile.cell_full_mv
        self.ccl_why = LimitReason.NOT_READY
        self.dcl_why = LimitReason.NOT_READY

    def update(self, s: Snapshot, known: bool, ready: bool, forbidden: int) -> None:
        """Follow a snapshot; ``forbidden`` are the switches that a fault keeps open."""
        if not ready:
            self._stop(LimitReason.NOT_READY)
            return
        settings = self.settings
        cells = settings.profile
        if known:
            full_mv = cells.cell_full_mv
            self.cvl_mv = s.n_cells * full_mv
            if s.max_mv > full_mv - TAPER_MV:
                room_mv = s.sum_mv + s.n_cells * (full_mv - s.max_mv)
                self.cvl_mv = min(room_mv, self.cvl_mv)
            voltage = min(
                ramp(full_mv - s.max_mv, 0, TAPER_MV, FULL_PERMILLE, 1000),
                ramp(settings.cov_mv - s.max_mv, 0, settings.cov_mv - full_mv, 0, 1000),
            )
            heat = min(
                ramp(s.min_dc - settings.utc_dc, 0, COLD_DC, 0, 1000),
                ramp(settings.otc_dc - s.max_dc, 0, HOT_DC, 0, 1000),
            )
            self._charge(voltage, heat)
            voltage = ramp(s.min_mv - settings.cuv_mv, 0, SAG_MV, 0, 1000)
            heat = min(
                ramp(s.min_dc - settings.utd_dc, 0, COLD_DC, 0, 1000),
                ramp(settings.otd_dc - s.max_dc, 0, HOT_DC, 0, 1000),
            )
            self._discharge(voltage, heat)
        elif s.valid and s.max_dc == UNKNOWN_DC:
            self._stop(LimitReason.TEMPERATURE)
        if forbidden & Switch.CHARGE:
            self.ccl_ma = 0
            self.ccl_why = LimitReason.FAULT
        if forbidden & Switch.DISCHARGE:
            self.dcl_ma = 0
            self.dcl_why = LimitReason.FAULT

    def _stop(self, why: int) -> None:
        self.ccl_ma = 0
        self.dcl_ma = 0
        self.ccl_why = why
        self.dcl_why = why

    def _charge(self, voltage: int, heat: int) -> None:
        rated_ma = self.settings.occ_ma
        self.ccl_ma = _follow(self.ccl_ma, rated_ma * min(voltage, heat) // 1000, rated_ma)
        self.ccl_why = _reason(voltage, heat)

    def _discharge(self, voltage: int, heat: int) -> None:
        rated_ma = self.settings.ocd_ma
        self.dcl_ma = _follow(self.dcl_ma, rated_ma * min(voltage, heat) // 1000, rated_ma)
        self.dcl_why = _reason(voltage, heat)


def ramp(x: int, x0: int, x1: int, y0: int, y1: int) -> int:
    """The straight line from (x0, y0) to (x1, y1), level outside; a step where x0 >= x1."""
    if x <= x0:
        return y0
    if x >= x1:
        return y1
    return y0 + (y1 - y0) * (x - x0) // (x1 - x0)


def _follow(now_ma: int, target_ma: int, rated_ma: int) -> int:
    step_ma: int = max(rated_ma // RISE_PARTS, 1)
    return min(target_ma, now_ma + step_ma)


def _reason(voltage: int, heat: int) -> int:
    if voltage >= 1000 and heat >= 1000:
        return LimitReason.NONE
    return LimitReason.CELL_VOLTAGE if voltage <= heat else LimitReason.TEMPERATURE
