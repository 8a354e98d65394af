"""What every commanded test has in common: a current it asks for, and reasons to ask for none.

The board has no current source. A test *asks*, in ``request_ma`` (positive: charge), and a charger
and load that follow the register ``ReqA`` drive the pack; the board watches that they do.

Safe to interrupt: ``abort``, a fault, a lost measurement, a temperature outside the test's range
sets the request to 0 in the same cycle, for good. Protection acts by itself and is not asked. The
source must stop by itself when it can no longer read the request: a board that hangs clears
nothing. A test that lasts longer than ``most_s`` ends.

    >>> test.start()
    >>> test.update(snapshot, limits.ccl_ma, limits.dcl_ma, faulty)  # each cycle
    >>> test.request_ma
    10000
"""

from common.codes import Fault, Test, TestPhase, TestStop
from common.mp import const
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

ANSWER_MS = const(10000)  # for a current to come, or to end
_LOST_MS = const(3000)  # without a measurement that can be believed
_FAULTY_LIMIT = const(50)  # a current this many times below the rating is none
_DOUBTFUL = 1 << Fault.SENSOR_IMPLAUSIBLE | 1 << Fault.STACK_MISMATCH


class Procedure:
    """One pack's test. Pure: it is fed snapshots and limits, and asks for a current.

    ``step`` of ``steps`` and ``left_s`` say how far it is; ``temp_dc`` is the temperature at its
    begin.
    """

    kind = Test.NONE
    cold_dc = 0
    hot_dc = 0
    most_s = 0
    pauses = False  # whether a current that is not watched for a moment may come back

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._n = settings.n_cells
        self._none_ma = max(1, settings.rated_mah // _FAULTY_LIMIT)
        self.steps = 1
        self._clear()

    def _clear(self) -> None:
        self.phase = TestPhase.IDLE
        self.stop = TestStop.NONE
        self.request_ma = 0
        self.step = 1
        self.temp_dc = UNKNOWN_DC
        self.took_s = 0
        self._ms = 0  # in this phase
        self._total_ms = 0
        self._lost_ms = 0

    @property
    def running(self) -> bool:
        """Whether a test is under way."""
        phase = self.phase
        return phase not in (TestPhase.IDLE, TestPhase.DONE, TestPhase.STOPPED)

    def start(self) -> None:
        """Begin anew; what an earlier test recorded is forgotten."""
        self._clear()
        self._go(TestPhase.WAITING)

    def abort(self, why: int = TestStop.BY_COMMAND) -> None:
        """End the test now; nothing happens when none runs."""
        if self.running:
            self._end(why)

    def update(self, s: Snapshot, ccl_ma: int, dcl_ma: int, faulty: bool) -> None:
        """Take one cycle, its limits, and whether a fault is active or a switch is held open."""
        if not self.running:
            return
        if s.valid:
            self._count(s)
        if faulty:
            self._end(TestStop.FAULT)
            return
        if s.valid:
            self._ms += s.dt_ms
            self._total_ms += s.dt_ms
            self.took_s = self._total_ms // 1000
        if not s.valid or s.faults & _DOUBTFUL:
            self._lost(s)
            return
        self._lost_ms = 0
        if s.min_dc == UNKNOWN_DC or s.min_dc < self.cold_dc or s.max_dc > self.hot_dc:
            self._end(TestStop.TEMPERATURE)
        elif self.took_s > self.most_s:
            self._end(TestStop.TOO_LONG)
        else:
            self._cycle(s, ccl_ma, dcl_ma)

    @property
    def rate_bp(self) -> int:
        """The largest current of the test, of the rating."""
        raise NotImplementedError

    def forget(self) -> None:
        """Give back the memory of what was recorded; how the test ended stays."""

    def left_s(self, soc_bp: "int | None") -> int:
        """Seconds it will still take, about, with the pack at ``soc_bp`` now."""
        raise NotImplementedError

    # --- what a test is made of -----------------------------------------------------------

    def _count(self, s: Snapshot) -> None:
        """Count what flowed in a measured cycle, whatever becomes of it."""

    def _cycle(self, s: Snapshot, ccl_ma: int, dcl_ma: int) -> None:
        """One cycle whose measurement is whole, within the temperatures."""
        raise NotImplementedError

    def _lost(self, s: Snapshot) -> None:
        self._lost_ms += s.dt_ms if s.valid else self._settings.period_ms
        if self._lost_ms >= _LOST_MS or (self.request_ma and not self.pauses):
            self._end(TestStop.NOT_MEASURED)
        self.request_ma = 0

    def _go(self, phase: int) -> None:
        self.phase = phase
        self._ms = 0

    def _end(self, why: int) -> None:
        self.request_ma = 0
        self.stop = why
        self._go(TestPhase.STOPPED if why else TestPhase.DONE)
