"""The commanded pulse test: a state machine that asks for current and records what comes.

The board has no current source. It *asks*, in ``request_ma`` (positive: charge), and a charger
and load that follow that register drive the pack; the board watches that they do. Order:

    rest      at least REST_S without current, cells steady to STEADY_MV a minute, 15..35 degC
    train     for each width of the plan, and each pulse: + rate, rest 15 widths, - rate, rest

    >>> quick = QuickTest(settings, charges=3, discharges=2, widths_ms=(1000, 5000))
    >>> quick.start()
    >>> quick.update(snapshot, limits.ccl_ma, limits.dcl_ma, faulty)  # each cycle
    >>> quick.request_ma
    10000
    >>> quick.fill(cell, pulse_test)  # once quick.phase is Phase.DONE

Safe to interrupt: ``abort`` or anything unexpected (a fault, a lost measurement, a current that
does not come, is another, or stays) sets the request to 0 in the same cycle, for good; protection
acts by itself and is not asked. The source must stop by itself when it can no longer read the
request: a board that hangs clears nothing.

A pulse is never asked for above the limits of the moment, and ends early when a cell comes within
MARGIN_MV of its own or the limit falls below it: such a pulse is left out of the judgement, as
are those of the same direction that would be larger.

A pulse's time runs from the first reading that shows its current. Its begin is that reading, its
end the last one before the request ends, so a cycle of 1 s serves ``MODEL_SLOW`` only: models that
use instants want readings within 10 ms of an edge. Readings take 2 bytes a cell and turning
point, held from ``start`` to the next one. Charge drawn or given is below 1 % of the rating.
"""

from array import array

from common.mp import const
from firmware.estimators.pulse import MAIN, SHORT, PulseTest
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

REST_S = const(600)
STEADY_MV = const(2)
MARGIN_MV = const(30)
_REST_WIDTHS = const(15)
_COLD_DC = const(150)
_HOT_DC = const(350)
_ANSWER_MS = const(10000)  # for a current to come, or to end
_LOST_MS = const(3000)  # without a valid snapshot
_MINUTE_MS = const(60000)
_FAULTY_LIMIT = const(50)  # a current this many times below the rating is none
_TOLERANCE = const(5)  # a current may be off by one part in this many


class Phase:
    """What the test is doing."""

    IDLE = 0
    WAITING = 1  # for the cells to rest
    RISING = 2  # a pulse was asked for, its current is not there yet
    PULSE = 3
    FALLING = 4  # the pulse is over, its current still there
    RELAXING = 5
    DONE = 6
    STOPPED = 7  # see ``Stop``


class Stop:
    """Why a test ended without a result."""

    NONE = 0
    ABORTED = 1  # by a command
    FAULT = 2
    NOT_MEASURED = 3
    TEMPERATURE = 4
    NO_CURRENT = 5  # nothing follows the request
    WRONG_CURRENT = 6
    CURRENT_STAYS = 7
    NO_ROOM = 8  # limits allow no pulse in one of the directions
    NOT_RESTED = 9  # not within an hour


class QuickTest:
    """One pack's pulse test. Pure: it is fed snapshots and limits, and asks for a current."""

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
        self._settings = settings
        self._n = settings.n_cells
        self._pulses = charges + discharges
        self._turns = 1 + 4 * self._pulses
        self.widths_ms = widths_ms
        self._none_ma = max(1, settings.rated_mah // _FAULTY_LIMIT)
        self._u_mv = array("H", bytes(0))
        self._step_ma = array("i", bytes(4 * self._pulses * len(widths_ms)))
        self._last_mv = array("H", bytes(2 * self._n))
        self.phase = Phase.IDLE
        self.stop = Stop.NONE
        self.request_ma = 0
        self.train = 0  # index of the running one in ``widths_ms``
        self.pulse = 0  # index of the running one in its train
        self.temp_dc = UNKNOWN_DC  # at the begin of the first pulse
        self.took_s = 0
        self._ms = 0  # in this phase
        self._total_ms = 0
        self._steady_ms = 0
        self._lost_ms = 0
        self._rest_ma = 0  # what the sensor shows at rest
        self._end_ma = 0
        self._capped = [0, 0]  # largest rate, in half C, that the limits allow; 0: not yet capped

    @property
    def running(self) -> bool:
        """Whether a test is under way."""
        return Phase.IDLE < self.phase < Phase.DONE

    def start(self) -> None:
        """Begin anew; what an earlier test recorded is forgotten."""
        size = self._turns * self._n * len(self.widths_ms)
        if len(self._u_mv) != size:
            self._u_mv = array("H", bytes(2 * size))
        for i in range(len(self._step_ma)):
            self._step_ma[i] = 0
        self._capped[0] = self._capped[1] = 0
        self.stop = Stop.NONE
        self.request_ma = self.train = self.pulse = 0
        self.temp_dc = UNKNOWN_DC
        self.took_s = self._total_ms = self._steady_ms = self._lost_ms = 0
        self._last_mv[0] = 0
        self._go(Phase.WAITING)

    def abort(self) -> None:
        """End the test now; nothing happens when none runs."""
        if self.running:
            self._end(Stop.ABORTED)

    def update(self, s: Snapshot, ccl_ma: int, dcl_ma: int, faulty: bool) -> None:
        """Take one cycle, its limits, and whether a fault is active or a switch is held open."""
        if not self.running:
            return
        if faulty:
            self._end(Stop.FAULT)
            return
        self._ms += s.dt_ms if s.valid else 0
        self._total_ms += s.dt_ms if s.valid else 0
        self.took_s = self._total_ms // 1000
        if not s.valid:
            self._lost_ms += self._settings.period_ms
            # a pulse that is not watched is not driven
            if self._lost_ms >= _LOST_MS or self.request_ma:
                self._end(Stop.NOT_MEASURED)
            return
        self._lost_ms = 0
        if s.min_dc == UNKNOWN_DC or s.min_dc < _COLD_DC or s.max_dc > _HOT_DC:
            self._end(Stop.TEMPERATURE)
        elif self.phase == Phase.WAITING:
            self._wait(s, ccl_ma, dcl_ma)
        elif self.phase == Phase.RISING:
            self._rise(s, ccl_ma, dcl_ma)
        elif self.phase == Phase.PULSE:
            self._drive(s, ccl_ma, dcl_ma)
        elif self.phase == Phase.FALLING:
            self._fall(s)
        else:
            self._relax(s, ccl_ma, dcl_ma)

    def fill(self, cell: int, test: PulseTest) -> None:
        """Copy what was recorded of one cell (index) into ``test``, trains that are complete."""
        test.clear()
        last = len(self.widths_ms) - 1
        for train in range(last + 1):
            if self.phase != Phase.DONE:
                return
            to = MAIN if train == last else SHORT
            for pulse in range(self._pulses):
                test.put_step(to, pulse, self._step_ma[train * self._pulses + pulse])
            for turn in range(self._turns):
                test.put(to, turn, self._u_mv[self._at(train, turn) + cell])

    # --- phases ---------------------------------------------------------------------------

    def _go(self, phase: int) -> None:
        self.phase = phase
        self._ms = 0

    def _end(self, why: int) -> None:
        self.request_ma = 0
        self.stop = why
        self._go(Phase.STOPPED if why else Phase.DONE)

    def _at(self, train: int, turn: int) -> int:
        return (train * self._turns + turn) * self._n

    def _read(self, s: Snapshot, turn: int) -> None:
        at = self._at(self.train, turn)
        for i in range(self._n):
            self._u_mv[at + i] = s.cell_mv[i]

    def _wait(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        if self._ms > 3600000:
            self._end(Stop.NOT_RESTED)
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
        self._rest_ma = s.current_ma
        way = self.pulse % 2
        half_c = 1 + self.pulse // 2
        asked_ma = self._asked_ma()
        if not self._room(s, asked_ma, ccl_ma, dcl_ma):
            self._cap(way, half_c)
        if self._capped[way] and half_c >= self._capped[way]:
            if half_c == 1:
                self._end(Stop.NO_ROOM)
                return
            turn = 1 + 4 * self.pulse
            for k in range(4):  # passed over: rest all through
                self._read(s, turn + k)
            self._advance(s, ccl_ma, dcl_ma)
            return
        self.request_ma = asked_ma
        self._go(Phase.RISING)

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
            self._go(Phase.PULSE)
        elif self._ms >= _ANSWER_MS:
            self._end(Stop.NO_CURRENT)
        elif abs(s.current_ma - self._rest_ma) > abs(asked_ma) * (_TOLERANCE + 1) // _TOLERANCE:
            self._end(Stop.WRONG_CURRENT)

    def _is(self, current_ma: int, asked_ma: int) -> bool:
        return abs(current_ma - asked_ma) * _TOLERANCE <= abs(asked_ma)

    def _drive(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        asked_ma = self.request_ma
        if not self._room(s, asked_ma, ccl_ma, dcl_ma):
            self._cut(s)
            return
        if not self._is(s.current_ma, asked_ma):
            self._end(Stop.WRONG_CURRENT)
            return
        self._read(s, 2 + 4 * self.pulse)
        self._end_ma = s.current_ma
        # the next cycle would be later than half a cycle past the end: this is the last reading
        if self._ms + s.dt_ms // 2 >= self.widths_ms[self.train]:
            place = self.train * self._pulses + self.pulse
            self._step_ma[place] = self._end_ma - self._rest_ma
            self.request_ma = 0
            self._go(Phase.FALLING)

    def _cut(self, s: Snapshot) -> None:
        """End a pulse early: its step stays 0, and it is left out."""
        self._cap(self.pulse % 2, 1 + self.pulse // 2)
        self.request_ma = 0
        if self._capped[self.pulse % 2] == 1:
            self._end(Stop.NO_ROOM)
            return
        turn = 1 + 4 * self.pulse
        self._read(s, turn)
        self._read(s, turn + 1)
        self._go(Phase.FALLING)

    def _fall(self, s: Snapshot) -> None:
        if abs(s.current_ma - self._rest_ma) < self._none_ma:
            self._read(s, 3 + 4 * self.pulse)
            self._go(Phase.RELAXING)
        elif self._ms >= _ANSWER_MS:
            self._end(Stop.CURRENT_STAYS)

    def _relax(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        if abs(s.current_ma - self._rest_ma) >= self._none_ma:
            self._end(Stop.WRONG_CURRENT)
            return
        if self._ms + s.dt_ms // 2 < _REST_WIDTHS * self.widths_ms[self.train]:
            return
        self._read(s, 4 + 4 * self.pulse)
        self._advance(s, ccl_ma, dcl_ma)

    def _advance(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        self.pulse += 1
        if self.pulse == self._pulses:
            self.pulse = 0
            self.train += 1
            if self.train == len(self.widths_ms):
                self.train -= 1
                self._end(Stop.NONE)
                return
            self._read(s, 0)
        self._next(s, ccl_ma, dcl_ma)
