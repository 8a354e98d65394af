"""The commanded full test: what the pack really takes and gives, charge and energy counted.

    rest        REST_S without current
    charge      C/3 within the limits, until the highest cell is at its full voltage and the
                charger, at the voltage limit, has let the current fall below C/20
    rest        SETTLE_S; then the cells' rested voltages tell how full each one is
    discharge   C/3 within the limits, until the lowest cell is EMPTY_MARGIN_MV above its empty
                voltage (or above the protection's limit, if that is higher)
    rest        SETTLE_S; then the rested voltages tell what is left in each one

Charge and energy of each half are whole numbers: uAh from the chip's counter, and uWh = stack mV
times mAh, so that nothing is lost to rounding over hours. The pack's capacity is the charge that
the discharge gave, over the share of its charge that the lowest cell had given:

    SOH      = Q / rated / (1 - SOC_low)               pack: full is where the charge ended
    SOH_cell = Q / rated / (SOC_full - SOC_end)        each cell, both by its rested voltage

with SOC by the profile's table. The 95 % interval adds the squares of: the current's gain (0.5 %),
its offset (rated/1000 for the time of the discharge), the repeatability of an end of charge
(1 %, or 3 % where the full voltage is far above the table's end and the charge goes past it), the
table's error and 3 mV of settling at each end. The table is no help on a plateau: a
cell whose interval is wider than MOST_HALF_BP has no figure.

A lost measurement sets the request to 0 until the next one, for three seconds at most; charge is
counted by the chip meanwhile.
"""

import math
from array import array

from common.codes import Test, TestPhase, TestStop
from common.mp import const
from firmware.estimators import ocv
from firmware.estimators.charge import Charge
from firmware.procedure import ANSWER_MS, Procedure
from firmware.settings import Settings
from firmware.snapshot import Snapshot

REST_S = const(300)
SETTLE_S = const(1800)
EMPTY_MARGIN_MV = const(30)
MOST_HALF_BP = const(1000)
_REST_MOST_MS = const(3600000)  # to see a rest begin
_DRIVE_MOST_MS = const(28800000)  # of a charge or a discharge
_NO_ROOM_MS = const(600000)  # that the limits may forbid the current
_SLOW_MS = const(30000)  # for a current to come: a charger must match the voltage first
_FULL_MV = const(20)  # below the full voltage
_END_CYCLES = const(5)
_RATE_PARTS = const(3)
_TAPER_PARTS = const(20)
_GAIN = 0.005
_OFFSET_PARTS = 1000.0
_REPEAT_BP = 50.0
_PAST_BP = 150.0  # in place of it for cells that take charge beyond the table's end ...
_PAST_MV = const(50)  # ... because their full voltage is so far above it
_SETTLING_MV = 3.0


class FullTest(Procedure):
    """One pack's full test."""

    kind = Test.FULL
    cold_dc = 100
    hot_dc = 450
    most_s = 100000  # the phases' own limits end it earlier
    pauses = True

    def __init__(self, settings: Settings) -> None:
        self._full_mv = array("H", bytes(2 * settings.n_cells))
        self._end_mv = array("H", bytes(2 * settings.n_cells))
        super().__init__(settings)
        cells = settings.profile
        self.rate_ma = settings.rated_mah // _RATE_PARTS
        self._taper_ma = settings.rated_mah // _TAPER_PARTS
        self._high_mv = cells.cell_full_mv - _FULL_MV
        self._low_mv = max(cells.cell_empty_mv, settings.cuv_mv) + EMPTY_MARGIN_MV
        self.steps = 5
        past_mv = cells.cell_full_mv - cells.ocv_mv[len(cells.ocv_mv) - 1]
        self._repeat_bp = _PAST_BP if past_mv > _PAST_MV else _REPEAT_BP

    def _clear(self) -> None:
        super()._clear()
        self.charged = Charge()
        self.discharged = Charge()
        self.charged_wh = Charge()  # mWh and uWh
        self.discharged_wh = Charge()
        self.discharge_s = 0
        self._ended = 0  # cycles in a row that look like the end of the half
        self._idle_ms = 0  # a current is asked for and is not there
        self._over_ms = 0  # a current is there that was not asked for
        self._held_ms = 0  # the limits forbid the current
        self._still = False  # the current of the half before has ended

    @property
    def rate_bp(self) -> int:
        """The current of the test, of the rating."""
        return 10000 // _RATE_PARTS

    def left_s(self, soc_bp: "int | None") -> int:
        """Seconds it will still take, about; from an unknown charge on, at the most."""
        whole_s = 3600 * _RATE_PARTS
        phase = self.phase
        in_s = self._ms // 1000
        left_s = 0
        if phase == TestPhase.WAITING:
            left_s = max(0, REST_S - in_s)
        if phase in (TestPhase.RESTING, TestPhase.RECOVERING):
            left_s = max(0, SETTLE_S - in_s)
        if phase in (TestPhase.WAITING, TestPhase.CHARGING):
            room_bp = 10000 - (0 if soc_bp is None else soc_bp)
            left_s += whole_s // 10 + whole_s * room_bp // 10000 + SETTLE_S
        if phase == TestPhase.DISCHARGING:
            left_s += whole_s * (10000 if soc_bp is None else soc_bp) // 10000
        elif phase != TestPhase.RECOVERING:
            left_s += whole_s
        return left_s + (SETTLE_S if phase != TestPhase.RECOVERING else 0)

    # --- result ---------------------------------------------------------------------------

    def pack_soh(self) -> "tuple[int, int, int] | None":
        """``(SOH, lo, hi)`` of the pack in basis points of the rating; ``None`` if too wide."""
        lowest = 0
        for i in range(self._n):
            if self._end_mv[i] < self._end_mv[lowest]:
                lowest = i
        left, sigma = self._soc(self._end_mv[lowest])
        return self._soh(
            10000 - left, math.sqrt(sigma * sigma + self._repeat_bp * self._repeat_bp)
        )

    def cell_soh(self, cell: int) -> "tuple[int, int, int] | None":
        """``(SOH, lo, hi)`` of a cell (index) in basis points of the rating, or ``None``."""
        full, above = self._soc(self._full_mv[cell])
        left, below = self._soc(self._end_mv[cell])
        sigma = math.sqrt(above * above + below * below + self._repeat_bp * self._repeat_bp)
        return self._soh(full - left, sigma)

    def _soc(self, mv: int) -> "tuple[float, float]":
        profile = self._settings.profile
        table_mv = profile.ocv_sigma_mv
        sigma_mv = math.sqrt(table_mv * table_mv + _SETTLING_MV * _SETTLING_MV)
        return ocv.soc_bp(profile, mv), ocv.soc_sigma_bp(profile, mv, sigma_mv)

    def _soh(self, given: float, sigma: float) -> "tuple[int, int, int] | None":
        if self.phase != TestPhase.DONE or given < 1000:
            return None
        rated_mah = self._settings.rated_mah
        soh = -self.discharged.since(0, 0) / rated_mah * 10000 / given * 10000
        share = 2 * sigma / given
        offset = self.discharge_s / 3600 / _OFFSET_PARTS * 10000 / given
        half = soh * math.sqrt(share * share + _GAIN * _GAIN)
        half = math.sqrt(half * half + offset * offset * 1e8)
        if half > MOST_HALF_BP or soh <= 0:
            return None
        return int(soh + 0.5), max(0, int(soh - half)), int(soh + half) + 1

    # --- phases ---------------------------------------------------------------------------

    def _go(self, phase: int) -> None:
        super()._go(phase)
        self._ended = self._idle_ms = self._over_ms = self._held_ms = 0
        self._still = False

    def _count(self, s: Snapshot) -> None:
        phase = self.phase
        if phase == TestPhase.CHARGING or (phase == TestPhase.RESTING and not self._still):
            charge, energy = self.charged, self.charged_wh
        elif phase == TestPhase.DISCHARGING or (phase == TestPhase.RECOVERING and not self._still):
            charge, energy = self.discharged, self.discharged_wh
        else:
            return
        uah = s.delta_uah
        charge.add(uah)
        mah = uah // 1000
        energy.add(s.sum_mv * mah + s.sum_mv * (uah - 1000 * mah) // 1000)

    def _cycle(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        phase = self.phase
        if phase == TestPhase.WAITING:
            self._wait(s)
        elif phase == TestPhase.CHARGING:
            full = s.max_mv >= self._high_mv and abs(s.current_ma) <= self._taper_ma
            self._drive(s, min(self.rate_ma, ccl_ma), full, TestPhase.RESTING)
        elif phase == TestPhase.DISCHARGING:
            self.discharge_s = self._ms // 1000
            empty = s.min_mv <= self._low_mv
            self._drive(s, -min(self.rate_ma, dcl_ma), empty, TestPhase.RECOVERING)
        else:
            self._settle(s)

    def _wait(self, s: Snapshot) -> None:
        self._held_ms += s.dt_ms
        if abs(s.current_ma) >= self._none_ma:
            self._ms = 0
        if self._held_ms >= _REST_MOST_MS:
            self._end(TestStop.NOT_RESTED)
        elif self._ms >= REST_S * 1000:
            self.temp_dc = (s.min_dc + s.max_dc) // 2
            self.step = 2
            self._go(TestPhase.CHARGING)

    def _drive(self, s: Snapshot, ma: int, ended: bool, then: int) -> None:
        """Ask for ``ma``, watch that it comes, and go on when the half has ended."""
        self._ended = self._ended + 1 if ended else 0
        # nothing is taken below the empty voltage, while a charge has to stay at its end
        if self._ended >= (1 if ma < 0 or then == TestPhase.RECOVERING else _END_CYCLES):
            self.request_ma = 0
            self.step += 1
            self._go(then)
            return
        self._watch(s, ma)
        if self._ms >= _DRIVE_MOST_MS:
            self._end(TestStop.TOO_LONG)
        elif self._held_ms >= _NO_ROOM_MS:
            self._end(TestStop.NO_ROOM)
        elif self._idle_ms >= _SLOW_MS:
            self._end(TestStop.NO_CURRENT)
        elif self._over_ms >= ANSWER_MS:
            self._end(TestStop.WRONG_CURRENT)
        else:
            self.request_ma = ma

    def _watch(self, s: Snapshot, ma: int) -> None:
        """Add up for how long the current has not been what was asked for."""
        size_ma = abs(self.request_ma)
        flowing_ma = s.current_ma if self.request_ma >= 0 else -s.current_ma
        over = flowing_ma > size_ma + size_ma // 5 + self._none_ma or flowing_ma < -self._none_ma
        self._over_ms = self._over_ms + s.dt_ms if over else 0
        idle = size_ma > self._none_ma and flowing_ma < self._none_ma
        self._idle_ms = self._idle_ms + s.dt_ms if idle else 0
        self._held_ms = self._held_ms + s.dt_ms if abs(ma) <= self._none_ma else 0

    def _settle(self, s: Snapshot) -> None:
        flows = abs(s.current_ma) >= self._none_ma
        if not flows:
            self._still = True
        elif self._still:
            self._end(TestStop.WRONG_CURRENT)
            return
        elif self._ms >= ANSWER_MS:
            self._end(TestStop.CURRENT_STAYS)
            return
        if self._ms < SETTLE_S * 1000:
            return
        rested_mv = self._full_mv if self.phase == TestPhase.RESTING else self._end_mv
        for i in range(self._n):
            rested_mv[i] = s.cell_mv[i]
        if self.phase == TestPhase.RECOVERING:
            self._end(TestStop.NONE)
            return
        self.step = 4
        self._go(TestPhase.DISCHARGING)
