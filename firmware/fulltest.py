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

    SOH      = (Q - past) / rated / (1 - SOC_low)           pack: full as its fullest cell
    SOH_cell = (Q - past) / rated / (SOC_full - SOC_end)    each cell, by its rested voltage

with SOC by the profile's table. Where the full voltage is far above the table's end, as for LFP
in general, the charge goes ``past`` it: what the discharge takes until the cell is back, which is
when

    v + dU |i| / (C/3) <= end of the table

dU being what C/3 makes of the voltage when it comes, by the least of the readings from a quarter
of the current on, of charge and discharge: a current that rises slowly moves the rested voltage as
well, near full and near empty. What polarises more slowly is left out: past the table the rested
voltage falls by 10 mV or more in a thousandth of the charge, so too small a dU matters little,
while too large a one is met on the plateau. No more than 1/PAST_PARTS of the rating is left out.

The 95 % interval adds the squares of: the current's gain (0.5 %), its offset (rated/1000 for the
time of the discharge), the repeatability of an end of charge (1 %), ``past`` as a whole (who takes
a charged cell for full has it in), the table's error and 3 mV of settling at each end. The table
is no help on a plateau: a cell whose interval is wider than MOST_HALF_BP has no figure.

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
_GAIN = const(0.005)
_OFFSET_PARTS = const(1000.0)
_REPEAT_BP = const(50.0)
_PAST_MV = const(50)  # a full voltage so far above the table's end is past it
_MOST_MV = const(1000)
_PAST_PARTS = const(40)
_SETTLING_MV = const(3.0)


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
        self._drop_mv = array("H", bytes(2 * settings.n_cells))  # that C/3 makes at once
        self._past_mah = array("i", bytes(4 * settings.n_cells))  # -1: still past the table
        super().__init__(settings)
        cells = settings.profile
        self.rate_ma = settings.rated_mah // _RATE_PARTS
        self._taper_ma = settings.rated_mah // _TAPER_PARTS
        self._high_mv = cells.cell_full_mv - _FULL_MV
        self._low_mv = max(cells.cell_empty_mv, settings.cuv_mv) + EMPTY_MARGIN_MV
        self.steps = 5
        self._table_mv = cells.ocv_mv[len(cells.ocv_mv) - 1]
        self._goes_past = cells.cell_full_mv - self._table_mv > _PAST_MV

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
        self._stepped = False  # the current of this half has come
        for i in range(self._n):
            self._drop_mv[i] = self._past_mah[i] = 0

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
        return self._soh(max(self._past_mah), 10000 - left, sigma)

    def cell_soh(self, cell: int) -> "tuple[int, int, int] | None":
        """``(SOH, lo, hi)`` of a cell (index) in basis points of the rating, or ``None``."""
        full, above = self._soc(self._full_mv[cell])
        left, below = self._soc(self._end_mv[cell])
        return self._soh(
            self._past_mah[cell], full - left, math.sqrt(above * above + below * below)
        )

    def _soc(self, mv: int) -> "tuple[float, float]":
        profile = self._settings.profile
        table_mv = profile.ocv_sigma_mv
        sigma_mv = math.sqrt(table_mv * table_mv + _SETTLING_MV * _SETTLING_MV)
        return ocv.soc_bp(profile, mv), ocv.soc_sigma_bp(profile, mv, sigma_mv)

    def _soh(self, past_mah: int, given: float, sigma: float) -> "tuple[int, int, int] | None":
        """Of what gave ``past_mah``, and then ``given`` bp of its charge."""
        if self.phase != TestPhase.DONE or given < 1000 or past_mah < 0:
            return None
        scale = 1e8 / given / self._settings.rated_mah
        soh = (-self.discharged.since(0, 0) - past_mah) * scale
        share = 2 * math.sqrt(sigma * sigma + _REPEAT_BP * _REPEAT_BP) / given
        offset = self.discharge_s / 3600 / _OFFSET_PARTS * 1e8 / given
        past = past_mah * scale
        half = soh * math.sqrt(share * share + _GAIN * _GAIN)
        half = math.sqrt(half * half + offset * offset + past * past)
        if half > MOST_HALF_BP or soh <= 0:
            return None
        return int(soh + 0.5), max(0, int(soh - half)), int(soh + half) + 1

    # --- phases ---------------------------------------------------------------------------

    def _go(self, phase: int) -> None:
        super()._go(phase)
        self._ended = self._idle_ms = self._over_ms = self._held_ms = 0
        self._still = False
        self._stepped = False

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
            self._step(s, self._end_mv)
            self._drive(s, min(self.rate_ma, ccl_ma), full, TestPhase.RESTING)
        elif phase == TestPhase.DISCHARGING:
            self.discharge_s = self._ms // 1000
            empty = s.min_mv <= self._low_mv
            self._step(s, self._full_mv)
            self._come_back(s)
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
            for i in range(self._n):
                self._end_mv[i] = s.cell_mv[i]  # before the charge, for as long as it is needed
            self.step = 2
            self._go(TestPhase.CHARGING)

    def _step(self, s: Snapshot, before_mv: "array[int]") -> None:
        """Take what the current makes of the cells' voltages while it rises, of C/3."""
        size_ma = abs(s.current_ma)
        if self._stepped or 4 * size_ma < self.rate_ma:
            return
        self._stepped = 5 * size_ma >= 4 * self.rate_ma or self._ms >= _SLOW_MS
        for i in range(self._n):
            drop_mv = abs(s.cell_mv[i] - before_mv[i]) * self.rate_ma // size_ma + 1
            if not self._drop_mv[i] or drop_mv < self._drop_mv[i]:
                self._drop_mv[i] = min(drop_mv, _MOST_MV)

    def _come_back(self, s: Snapshot) -> None:
        """Note for each cell past its table's end what was discharged until it was back."""
        size_ma = abs(s.current_ma)
        past_mah = -self.discharged.mah
        most_mah = self._settings.rated_mah // _PAST_PARTS
        for i in range(self._n):
            if self._past_mah[i] < 0:
                drop_mv = self._drop_mv[i] * size_ma // self.rate_ma
                if s.cell_mv[i] + drop_mv <= self._table_mv or past_mah >= most_mah:
                    self._past_mah[i] = past_mah

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
        for i in range(self._n):
            past = self._goes_past and self._full_mv[i] > self._table_mv
            self._past_mah[i] = -1 if past else 0
        self.step = 4
        self._go(TestPhase.DISCHARGING)
