"""The commanded pulse test: a state machine that asks for current and records what comes.

What it shares with other tests is in ``procedure.py``. Order:

    rest      at least REST_S without current, cells steady to STEADY_MV a minute, 15..35 degC
    train     for each width of the plan, and each pulse: + rate, rest 15 widths, - rate, rest

    >>> quick = QuickTest(settings, charges=3, discharges=2, widths_ms=(1000, 5000))
    >>> quick.start()
    >>> quick.update(snapshot, limits.ccl_ma, limits.dcl_ma, faulty)  # each cycle
    >>> quick.request_ma
    10000
    >>> quick.fill(cell, pulse_test)  # once quick.phase is TestPhase.DONE

A current that does not come, is another, or stays ends the test, as does one lost measurement
while a current is asked for: a pulse that is not watched is not driven.

A pulse is never asked for above the limits of the moment, and ends early when a cell comes within
MARGIN_MV of its own or the limit falls below it: such a pulse is left out of the judgement, as
are those of the same direction that would be larger.

A pulse's time runs from the first reading that shows its current. Its begin is that reading, its
end the last one before the request ends, so a cycle of 1 s serves ``MODEL_SLOW`` only: models that
use instants want readings within 10 ms of an edge. Readings take 2 bytes a cell and turning
point, held from ``start`` to ``forget``. Charge drawn or given is below 1 % of the rating.
"""

import math
from array import array

from common.codes import Test, TestPhase, TestStop
from common.mp import const
from firmware.estimators.pulse import MAIN, SHORT, PulseTest
from firmware.procedure import ANSWER_MS, Procedure
from firmware.settings import Settings
from firmware.snapshot import Snapshot

REST_S = const(600)
STEADY_MV = const(2)
MARGIN_MV = const(30)
_REST_WIDTHS = const(15)
_WAIT_MS = const(3600000)
_MINUTE_MS = const(60000)
_TOLERANCE = const(5)  # a current may be off by one part in this many
_NOISE_MV2 = const(0.5)  # variance of a difference of two readings in steps of 1 mV, at the least
_GAIN = const(0.005)  # of the current measurement, 95 %
# Student's t, two-sided 95 %, by degrees of freedom from 1; the last for more.
_T = const((12.7, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26))


class QuickTest(Procedure):
    """One pack's pulse test."""

    kind = Test.QUICK
    cold_dc = 150
    hot_dc = 350
    most_s = 7200  # the phases' own limits end it earlier

    def __init__(
        self,
        settings: Settings,
        charges: int = 3,
        discharges: int = 2,
        widths_ms: "tuple[int, ...]" = (1000, 5000),
    ) -> None:
        """Train after train of ``widths_ms``; the last is the main one, one before it the short.

        ``charges`` is ``discharges`` or one more; the rates rise by C/2.
        """
        if not 0 <= charges - discharges <= 1 or not 2 <= discharges <= 5:
            raise ValueError("quick test: %d charges, %d discharges" % (charges, discharges))
        if not 1 <= len(widths_ms) <= 2:
            raise ValueError("quick test: %d trains, not 1 or 2" % len(widths_ms))
        self.pulses = charges + discharges
        self._turns = 1 + 4 * self.pulses
        self.widths_ms = widths_ms
        self._u_mv = array("H", bytes(0))
        self._step_ma = array("i", bytes(4 * self.pulses * len(widths_ms)))
        self._last_mv = array("H", bytes(2 * settings.n_cells))
        super().__init__(settings)
        self.steps = 1 + self.pulses * len(widths_ms)

    def _clear(self) -> None:
        super()._clear()
        self.train = 0  # index of the running one in ``widths_ms``
        self.pulse = 0  # index of the running one in its train
        self._steady_ms = 0
        self._rest_ma = 0  # what the sensor shows at rest
        self._end_ma = 0
        self._capped = [0, 0]  # largest rate, in half C, that the limits allow; 0: not yet capped
        for i in range(len(self._step_ma)):
            self._step_ma[i] = 0
        self._last_mv[0] = 0

    def start(self) -> None:
        """Begin anew; what an earlier test recorded is forgotten."""
        size = self._turns * self._n * len(self.widths_ms)
        if len(self._u_mv) != size:
            self._u_mv = array("H", bytes(2 * size))
        super().start()

    def forget(self) -> None:
        """Give back the memory of the readings."""
        self._u_mv = array("H", bytes(0))

    def left_s(self, soc_bp: "int | None") -> int:  # noqa: ARG002 - a train takes what it takes
        """Seconds it will still take, about."""
        left_ms = 0
        if self.phase == TestPhase.WAITING:
            left_ms = max(0, REST_S * 1000 - self._steady_ms)
        for train in range(self.train, len(self.widths_ms)):
            pulses = self.pulses - (self.pulse if train == self.train else 0)
            left_ms += pulses * (_REST_WIDTHS + 1) * self.widths_ms[train]
        return left_ms // 1000

    @property
    def rate_bp(self) -> int:
        """The largest current step of the test, of the rating."""
        largest = 0
        for i in range(len(self._step_ma)):
            largest = max(largest, abs(self._step_ma[i]))
        return largest * 10000 // self._settings.rated_mah

    def resistance(self, cell: int) -> "tuple[float, float, float] | None":
        """``(R, lo, hi)`` of one cell (index) at the end of the longest pulses, in micro-ohms.

        Least squares of the voltage's rise over the current's step, from the reading before each
        pulse to its last; 95 % interval from the scatter about it, at least that of the 1 mV
        steps, and the gain. A current that came right after a reading is a cycle older than it
        was seen to be: the lower end is lower by what a cycle adds, by the mean rise in the pulse.
        ``None`` when there were not two whole pulses.
        """
        fit = self._fit(cell)
        if fit is None:
            return None
        r, half, late = fit
        return 1000 * r, 1000 * (r - half - late), 1000 * (r + half)

    def late(self, cell: int) -> float:
        """What a cycle more of the longest pulses adds to a cell's resistance, as a share."""
        fit = self._fit(cell)
        return fit[2] / fit[0] if fit is not None and fit[0] > 0 else 0.0

    def _fit(self, cell: int) -> "tuple[float, float, float] | None":
        """Resistance in milli-ohms, half of its interval, and what a cycle adds to it."""
        if self.phase != TestPhase.DONE:
            return None
        train = len(self.widths_ms) - 1
        product = squares = rises = begins = 0.0
        n = 0
        for pulse in range(self.pulses):
            step_a = self._step_ma[train * self.pulses + pulse] / 1000
            if step_a:
                rise_mv = self._rise_mv(train, pulse, 2, cell)
                begins += self._rise_mv(train, pulse, 1, cell) * step_a
                product += rise_mv * step_a
                squares += step_a * step_a
                rises += rise_mv * rise_mv
                n += 1
        if n < 2:
            return None
        r = product / squares
        scatter = max(_NOISE_MV2, (rises - r * product) / (n - 1))
        half = _T[min(n - 1, len(_T)) - 1] * math.sqrt(scatter / squares) + _GAIN * abs(r)
        late = max(0.0, r - begins / squares) * self._settings.period_ms / self.widths_ms[train]
        return r, half, late

    def _rise_mv(self, train: int, pulse: int, turn: int, cell: int) -> int:
        before = self._u_mv[self._at(train, 4 * pulse) + cell]
        return self._u_mv[self._at(train, 4 * pulse + turn) + cell] - before

    def fill(self, cell: int, test: PulseTest, factor: float = 1.0) -> None:
        """Copy what was recorded of one cell (index) into ``test``, trains that are complete.

        What a current makes of the voltage is ``factor`` times what was measured, as at another
        temperature; where the cell comes to rest stays.
        """
        test.clear()
        last = len(self.widths_ms) - 1
        for train in range(last + 1):
            if self.phase != TestPhase.DONE:
                return
            to = MAIN if train == last else SHORT
            for pulse in range(self.pulses):
                test.put_step(to, pulse, self._step_ma[train * self.pulses + pulse])
            for turn in range(self._turns):
                # a pulse's begin and end against the rest before it, then its fall, after it
                rest = turn + 1 if turn % 4 == 3 else turn - turn % 4
                rest_mv = self._u_mv[self._at(train, rest) + cell]
                rise_mv = self._u_mv[self._at(train, turn) + cell] - rest_mv
                test.put(to, turn, rest_mv + factor * rise_mv)

    # --- phases ---------------------------------------------------------------------------

    def _cycle(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        if self.phase == TestPhase.WAITING:
            self._wait(s, ccl_ma, dcl_ma)
        elif self.phase == TestPhase.RISING:
            self._rise(s, ccl_ma, dcl_ma)
        elif self.phase == TestPhase.PULSE:
            self._drive(s, ccl_ma, dcl_ma)
        elif self.phase == TestPhase.FALLING:
            self._fall(s)
        else:
            self._relax(s, ccl_ma, dcl_ma)

    def _at(self, train: int, turn: int) -> int:
        return (train * self._turns + turn) * self._n

    def _read(self, s: Snapshot, turn: int) -> None:
        at = self._at(self.train, turn)
        for i in range(self._n):
            self._u_mv[at + i] = s.cell_mv[i]

    def _wait(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        if self._ms > _WAIT_MS:
            self._end(TestStop.NOT_RESTED)
            return
        if abs(s.current_ma) >= self._none_ma:
            self._steady_ms = 0
            self._last_mv[0] = 0
            return
        if not self._last_mv[0] or self._steady_ms % _MINUTE_MS + s.dt_ms >= _MINUTE_MS:
            moved = not self._last_mv[0]
            for i in range(self._n):
                if abs(s.cell_mv[i] - self._last_mv[i]) > STEADY_MV:
                    moved = True
                self._last_mv[i] = s.cell_mv[i]
            if moved and self._steady_ms + s.dt_ms >= REST_S * 1000:
                self._steady_ms -= _MINUTE_MS  # still settling: another minute
        self._steady_ms += s.dt_ms
        if self._steady_ms >= REST_S * 1000:
            self.temp_dc = (s.min_dc + s.max_dc) // 2
            self._read(s, 0)
            self._next(s, ccl_ma, dcl_ma)

    def _asked_ma(self) -> int:
        rate = 1 + self.pulse // 2
        ma = self._settings.rated_mah * rate // 2
        return ma if self.pulse % 2 == 0 else -ma

    def _next(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        """Ask for the next pulse, or pass over it when there is no room for it."""
        self.step = 2 + self.train * self.pulses + self.pulse
        self._rest_ma = s.current_ma
        way = self.pulse % 2
        half_c = 1 + self.pulse // 2
        asked_ma = self._asked_ma()
        if not self._room(s, asked_ma, ccl_ma, dcl_ma):
            self._cap(way, half_c)
        if self._capped[way] and half_c >= self._capped[way]:
            if half_c == 1:
                self._end(TestStop.NO_ROOM)
                return
            turn = 1 + 4 * self.pulse
            for k in range(4):  # passed over: rest all through
                self._read(s, turn + k)
            self._advance(s, ccl_ma, dcl_ma)
            return
        self.request_ma = asked_ma
        self._go(TestPhase.RISING)

    def _cap(self, way: int, half_c: int) -> None:
        if not self._capped[way] or half_c < self._capped[way]:
            self._capped[way] = half_c

    def _room(self, s: Snapshot, asked_ma: int, ccl_ma: int, dcl_ma: int) -> bool:
        settings = self._settings
        if asked_ma > 0:
            return asked_ma <= ccl_ma and s.max_mv <= settings.cov_mv - MARGIN_MV
        return -asked_ma <= dcl_ma and s.min_mv >= settings.cuv_mv + MARGIN_MV

    def _rise(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        asked_ma = self.request_ma
        if not self._room(s, asked_ma, ccl_ma, dcl_ma):
            self._cut(s)
        elif self._is(s.current_ma, asked_ma):
            turn = 1 + 4 * self.pulse
            self._read(s, turn)
            self._read(s, turn + 1)  # should it be cut short at once
            self._end_ma = s.current_ma
            self._go(TestPhase.PULSE)
        elif self._ms >= ANSWER_MS:
            self._end(TestStop.NO_CURRENT)
        elif abs(s.current_ma - self._rest_ma) > abs(asked_ma) * (_TOLERANCE + 1) // _TOLERANCE:
            self._end(TestStop.WRONG_CURRENT)

    def _is(self, current_ma: int, asked_ma: int) -> bool:
        return abs(current_ma - asked_ma) * _TOLERANCE <= abs(asked_ma)

    def _drive(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        asked_ma = self.request_ma
        if not self._room(s, asked_ma, ccl_ma, dcl_ma):
            self._cut(s)
            return
        if not self._is(s.current_ma, asked_ma):
            self._end(TestStop.WRONG_CURRENT)
            return
        self._read(s, 2 + 4 * self.pulse)
        self._end_ma = s.current_ma
        # the next cycle would be later than half a cycle past the end: this is the last reading
        if self._ms + s.dt_ms // 2 >= self.widths_ms[self.train]:
            place = self.train * self.pulses + self.pulse
            self._step_ma[place] = self._end_ma - self._rest_ma
            self.request_ma = 0
            self._go(TestPhase.FALLING)

    def _cut(self, s: Snapshot) -> None:
        """End a pulse early: its step stays 0, and it is left out."""
        self._cap(self.pulse % 2, 1 + self.pulse // 2)
        self.request_ma = 0
        if self._capped[self.pulse % 2] == 1:
            self._end(TestStop.NO_ROOM)
            return
        turn = 1 + 4 * self.pulse
        self._read(s, turn)
        self._read(s, turn + 1)
        self._go(TestPhase.FALLING)

    def _fall(self, s: Snapshot) -> None:
        if abs(s.current_ma - self._rest_ma) < self._none_ma:
            self._read(s, 3 + 4 * self.pulse)
            self._go(TestPhase.RELAXING)
        elif self._ms >= ANSWER_MS:
            self._end(TestStop.CURRENT_STAYS)

    def _relax(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        if abs(s.current_ma - self._rest_ma) >= self._none_ma:
            self._end(TestStop.WRONG_CURRENT)
            return
        if self._ms + s.dt_ms // 2 < _REST_WIDTHS * self.widths_ms[self.train]:
            return
        self._read(s, 4 + 4 * self.pulse)
        self._advance(s, ccl_ma, dcl_ma)

    def _advance(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        self.pulse += 1
        if self.pulse == self.pulses:
            self.pulse = 0
            self.train += 1
            if self.train == len(self.widths_ms):
                self.train -= 1
                self._end(TestStop.NONE)
                return
            self._read(s, 0)
        self._next(s, ccl_ma, dcl_ma)
