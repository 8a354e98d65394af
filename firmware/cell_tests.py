"""Commanded tests of one pack: which one runs, what it asks for, and what the last one found.

    >>> tests = CellTests(settings, image.map.block(models.TEST), boot)
    >>> tests.restore(storage.load("test"))
    >>> tests.start(Test.QUICK, snapshot, protection, soc_bp)  # one of codes.CommandResult
    >>> if tests.update(snapshot, protection):                 # each cycle
    ...     tests.finish(image.utc_s(tests.ended_s))
    >>> tests.request_ma                                       # to stand in ReqA
    >>> tests.publish(snapshot.seq, soc_bp)                    # each cycle

A test is refused while another one runs, and unless everything is known and well: no fault active
or latched, both switches closed, SOC and temperature within the test's range. It changes nothing
about protection, which goes on by itself.

When a test is through, one cell is judged a cycle, for a pulse model takes its time. Then the
result is written into the TEST model and stands there until the next test is completed. How the
last one ended is told beside it: a test that was stopped leaves the result of an earlier one.
``state`` is those registers and whether a test runs; with ``changed`` it wants to be saved. A
board that starts and finds that a test was running records its end as POWER_LOST.
"""

import math
import struct
from array import array

from common import models
from common.cells import pulse
from common.codes import CommandResult, Method, Refusal, Switch, Test, TestPhase, TestStop
from common.mp import const
from common.profiles import profile_crc
from common.registers import Block
from firmware.estimators.pulse import PULSES_BP, PulseModel, PulseSoh, PulseTest, Reason
from firmware.estimators.resistance import at_25
from firmware.estimators.soh import least_z
from firmware.fulltest import FullTest
from firmware.protection import Protection
from firmware.quicktest import QuickTest
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

_VERSION = const(2)
# version, map version, cells, running test, boot, rated mAh, profile CRC
_HEAD = const("<BBHBLLL")
_TURN = const(5)  # in which cycle of ``detail_every`` the model is written
_BOTH = Switch.CHARGE | Switch.DISCHARGE
_ABOVE_ANY = const(65535)
_SOH = const(0)  # places of a cell's points
_REF = const(3)
_R = const(4)

_REFUSALS = {
    Reason.NONE: Refusal.NONE,
    Reason.NOT_MEASURED: Refusal.NO_EVIDENCE,
    Reason.NO_STEP: Refusal.NO_EVIDENCE,
    Reason.OCV_OUTSIDE: Refusal.SOC_OUTSIDE,
    Reason.UNLIKE: Refusal.UNLIKE,
}


class CellTests:
    """The tests of one pack and the TEST model ``block``; ``boot`` is this boot's number."""

    def __init__(self, settings: Settings, block: Block, boot: int) -> None:
        self._settings = settings
        self._block = block
        self._boot = boot
        _id, _name, _label, points, group, _tail = models.model(models.TEST)
        names = [point[0] for point in points]
        self._points = names[names.index("ResTst") :]
        self._cell_points = [point[0] for point in group[1]]
        self._test: QuickTest | FullTest | None = None  # the running one, or the last since boot
        self.running = False
        self._open = False  # it was started, and its result is not written yet
        self._model: PulseModel | None = None  # for the running quick test ...
        self._soh: PulseSoh | None = None  # ... and what it needs to judge
        self._record: PulseTest | None = None
        self._judged = 0  # cells
        # Figures of each cell in the order of the model's points; -1: none. Held while needed.
        self._figures = array("i", bytes(0))
        # What pulses said of each cell, (soh, lo, hi) in bp, and why a cell has nothing. Empty
        # after any test but a quick one that was completed.
        self.found: list[tuple[int, int, int] | None] = []
        self.refusal = Refusal.NONE
        # Rested voltages that the profile's pulse model can judge
        model = _model(settings.profile.name)
        self.model_mv = None if model is None else (int(model.limits[0]), int(model.limits[1]))
        self.ended_s: int | None = None  # uptime
        self._told = -1  # which step the TEST model tells
        self.request_ma = 0
        self.changed = False
        block.set("Boot", boot)
        block.set("EndTst", Test.NONE)
        block.set("ResTst", Test.NONE)

    @property
    def busy(self) -> bool:
        """Whether a test is under way, or its result is not written yet."""
        return self._open

    def start(self, kind: int, s: Snapshot, protection: Protection, soc_bp: "int | None") -> int:
        """Begin a test of ``codes.Test``; one of ``codes.CommandResult``."""
        if self.busy:
            return CommandResult.REFUSED_BUSY
        if not s.valid or s.faults or _unsafe(s, protection):
            return CommandResult.REFUSED_UNSAFE
        test: QuickTest | FullTest
        model = None
        if kind == Test.QUICK:
            low, high = PULSES_BP
            if soc_bp is not None and not low <= soc_bp <= high:
                return CommandResult.REFUSED_UNSAFE
            model = _model(self._settings.profile.name)
            if model is None:
                test = QuickTest(self._settings)
            else:
                test = QuickTest(self._settings, model.charges, model.discharges)
        else:
            test = FullTest(self._settings)
        if s.min_dc == UNKNOWN_DC or s.min_dc < test.cold_dc or s.max_dc > test.hot_dc:
            return CommandResult.REFUSED_UNSAFE
        self._model = model
        self._soh = None if model is None else PulseSoh(model)
        self._record = None
        if isinstance(test, QuickTest) and model is not None:
            self._record = PulseTest(self._settings.rated_mah, model.charges, model.discharges)
        self._figures = array("i", bytes(4 * self._settings.n_cells * len(self._cell_points)))
        self._judged = 0
        self.ended_s = None
        self._test = test
        self._open = True
        test.start()
        self.running = True
        self._told = -1
        self.changed = True
        return CommandResult.DONE

    def stop(self, why: int = TestStop.BY_COMMAND) -> None:
        """End the running test, if any: from now on nothing is asked for."""
        if self._test is not None:
            self._test.abort(why)
        self.running = False
        self.request_ma = 0

    def update(self, s: Snapshot, protection: Protection) -> bool:
        """Take one cycle; whether a test has ended and is judged (then ``finish`` it)."""
        test = self._test
        if test is None or not self._open:
            return False
        test.update(s, protection.ccl_ma, protection.dcl_ma, _unsafe(s, protection))
        self.request_ma = test.request_ma
        self.running = test.running
        if self.running:
            return False
        if self.ended_s is None:
            self.ended_s = s.uptime_s
        if test.phase != TestPhase.DONE:
            return True
        self._judge(test, self._judged)
        self._judged += 1
        return self._judged == self._settings.n_cells

    def finish(self, utc_s: "int | None") -> None:
        """Write how the test ended, at ``ended_s``, which was ``utc_s``, and what it found."""
        test = self._test
        if test is None:
            return
        self.found = []
        self._put_end(test.kind, test.stop, self._boot, self.ended_s, utc_s)
        if test.phase == TestPhase.DONE:
            self._put_result(test, utc_s)
        self._model = None
        self._soh = None
        self._record = None
        self._figures = array("i", bytes(0))
        test.forget()
        self._open = False
        self._told = -1
        self.changed = True

    # --- results --------------------------------------------------------------------------

    def _put_end(
        self, kind: int, stop: int, boot: int, ended_s: "int | None", utc_s: "int | None"
    ) -> None:
        put = self._block.set
        put("EndTst", kind)
        put("EndStop", stop)
        put("EndBoot", boot)
        put("EndUpS", ended_s)
        put("EndUtc", utc_s)

    def _put_result(self, test: "QuickTest | FullTest", utc_s: "int | None") -> None:
        self._clear_result()
        put = self._block.set
        put("ResTst", test.kind)
        put("ResBoot", self._boot)
        put("ResUpS", self.ended_s)
        put("ResUtc", utc_s)
        put("ResDur", test.took_s)
        put("ResTmp", None if test.temp_dc == UNKNOWN_DC else test.temp_dc)
        put("RteC", test.rate_bp)
        self._put_cells()
        if isinstance(test, QuickTest):
            self._find()
            self._finish_quick(test)
        else:
            self._finish_full(test)

    def _clear_result(self) -> None:
        block = self._block
        for name in self._points:
            block.set(name, None)
        for cell in range(self._settings.n_cells):
            for name in self._cell_points:
                block.set_cell(name, cell, None)
        block.set("ResMth", Method.NONE)

    def _judge(self, test: "QuickTest | FullTest", cell: int) -> None:
        """Find the figures of one cell (index)."""
        figures = self._figures
        at = cell * len(self._cell_points)
        for k in range(len(self._cell_points)):
            figures[at + k] = -1
        if isinstance(test, FullTest):
            soh = test.cell_soh(cell)
            figures[at + _REF] = Refusal.TOO_UNCERTAIN
            if soh is not None:
                figures[at + _SOH], figures[at + _SOH + 1], figures[at + _SOH + 2] = soh
                figures[at + _REF] = Refusal.NONE
            return
        ohm = test.resistance(cell)
        if ohm is not None:
            figures[at + _R] = int(ohm[0] / 10 + 0.5)
            figures[at + _R + 1] = max(0, int(ohm[1] / 10))
            figures[at + _R + 2] = int(ohm[2] / 10) + 1
        figures[at + _REF] = Refusal.NO_MODEL
        judge, record = self._soh, self._record
        if judge is None or record is None:
            return
        figures[at + _REF] = self._judge_pulses(test, cell, judge, record, at + _SOH)

    def _judge_pulses(
        self, test: QuickTest, cell: int, judge: PulseSoh, record: PulseTest, at: int
    ) -> int:
        """Put the state of health by the pulses of one cell at ``at``; the ``Refusal`` if none.

        The models were made at 25 degC: rises are referred to it as resistances are. By what that
        may be wrong, and by what a cycle of a pulse adds, the interval is wider.
        """
        factor, doubt = at_25(test.temp_dc)
        doubt = math.sqrt(doubt * doubt + test.late(cell) ** 2 / 4)
        test.fill(cell, record, factor)
        if not judge.estimate(record):
            return _REFUSALS[judge.reason]
        soh = judge.soh
        half = judge.half
        off = 0.0
        for deviations in (-2, 2) if doubt else ():
            test.fill(cell, record, factor * (1 + deviations * doubt))
            if not judge.estimate(record):
                return Refusal.TEMPERATURE
            off = max(off, abs(judge.soh - soh))
        half = math.sqrt(half * half + off * off)
        self._figures[at] = int(100 * soh + 0.5)
        self._figures[at + 1] = max(0, int(100 * (soh - half)))
        self._figures[at + 2] = int(100 * (soh + half)) + 1
        return Refusal.NONE

    def _find(self) -> None:
        """What the pulses say of each cell, for others to take up."""
        figures = self._figures
        self.refusal = Refusal.NONE
        for at in range(0, len(figures), len(self._cell_points)):
            if figures[at + _REF]:
                self.found.append(None)
                self.refusal = figures[at + _REF]
            else:
                self.found.append((figures[at], figures[at + 1], figures[at + 2]))

    def _put_cells(self) -> None:
        n_points = len(self._cell_points)
        for cell in range(self._settings.n_cells):
            for k in range(n_points):
                value = self._figures[cell * n_points + k]
                self._block.set_cell(self._cell_points[k], cell, None if value < 0 else value)

    def _finish_quick(self, test: QuickTest) -> None:
        put = self._block.set
        put("NPul", test.pulses)
        put("Wid1", test.widths_ms[0])
        put("Wid2", test.widths_ms[1])
        if self._model is not None:
            put("MdlCrc", self._model.crc)
        soh = lo = hi = _ABOVE_ANY
        wider = least_z(self._settings.n_cells) / 2
        for figure in self.found:
            if figure is not None:
                soh = min(soh, figure[0])
                lo = min(lo, figure[1])
                hi = min(hi, figure[0] + int(wider * (figure[2] - figure[0])) + 1)
        put("ResRef", self.refusal)
        if not self.refusal:
            put("Soh", soh)
            put("SohLo", lo)
            put("SohHi", max(hi, soh))
            put("ResMth", Method.PULSE_TEST)

    def _finish_full(self, test: FullTest) -> None:
        put = self._block.set
        put("ChaAh", test.charged.mah)
        put("DisAh", -test.discharged.mah)
        put("ChaWh", test.charged_wh.mah // 100)
        put("DisWh", -test.discharged_wh.mah // 100)
        pack = test.pack_soh()
        if pack is None:
            put("ResRef", Refusal.TOO_UNCERTAIN)
            return
        put("Soh", pack[0])
        put("SohLo", pack[1])
        put("SohHi", pack[2])
        put("ResRef", Refusal.NONE)
        put("ResMth", Method.FULL_CYCLE)

    # --- register image -------------------------------------------------------------------

    def publish(self, seq: int, soc_bp: "int | None") -> None:
        """Write how far the test is: when its step changes, and in one cycle of detail_every.

        In between the model stands still, so that its requests agree in ``Seq``.
        """
        test = self._test
        if self._open and not self.running:
            return  # it is being judged: its end is told with its result
        step = 0 if test is None else 2 * test.step + (1 if self.running else 0)
        if step == self._told and seq % self._settings.detail_every != _TURN:
            return
        self._told = step
        block = self._block
        if test is None:
            block.set("Tst", Test.NONE)
            block.set("TstPh", TestPhase.IDLE)
            block.set("TstStop", TestStop.NONE)
        else:
            block.set("Tst", test.kind)
            block.set("TstPh", test.phase)
            block.set("TstStop", test.stop)
            block.set("Stp", test.step)
            block.set("NStp", test.steps)
            block.set("Elap", test.took_s)
            block.set("Left", test.left_s(soc_bp) if self.running else 0)
        block.set("Seq", seq)
        block.set("SeqEnd", seq)

    # --- what survives power-off ----------------------------------------------------------

    def state(self) -> bytes:
        """What ``restore`` takes up again: some 100 bytes, and 14 a cell."""
        settings = self._settings
        head = struct.pack(
            _HEAD, _VERSION, models.MAP_VERSION, settings.n_cells,
            self._test.kind if self._test is not None and self._open else Test.NONE,
            self._boot, settings.rated_mah, profile_crc(settings.profile),
        )  # fmt: skip
        data = self._block.bytes()
        return head + data[self._first() : self._last()]

    def restore(self, data: "bytes | None") -> None:
        """Take up ``state()`` of before; a record of another pack or map is left alone.

        A test that ran when it was saved ended with the board's power. With another profile or
        rating what was measured stands, what was concluded does not.
        """
        head = struct.calcsize(_HEAD)
        size = self._last() - self._first()
        if data is None or len(data) != head + size:
            return
        settings = self._settings
        version, map_version, n, kind, boot, rated_mah, crc = struct.unpack_from(_HEAD, data, 0)
        if (version, map_version, n) != (_VERSION, models.MAP_VERSION, settings.n_cells):
            return
        block = self._block
        block.put_bytes(self._first(), memoryview(data)[head:])
        if kind != Test.NONE:
            self._put_end(kind, TestStop.POWER_LOST, boot, None, None)
            self.changed = True
        if rated_mah == settings.rated_mah and crc == profile_crc(settings.profile):
            return
        if block.get("ResTst") == Test.NONE:
            return
        block.set("ResRef", Refusal.PROFILE_CHANGED)
        block.set("ResMth", Method.NONE)
        for name in ("Soh", "SohLo", "SohHi"):
            block.set(name, None)
            for cell in range(n):
                block.set_cell(name, cell, None)
                block.set_cell("Ref", cell, Refusal.PROFILE_CHANGED)

    def _first(self) -> int:
        return 2 * self._block.layout.offset("EndTst")

    def _last(self) -> int:
        return 2 * self._block.layout.offset("SeqEnd")


def _model(name: str) -> "PulseModel | None":
    try:
        data = pulse(name)
    except ImportError:  # a board has the models that were put on it
        return None
    return None if data is None else PulseModel(data)


def _unsafe(s: Snapshot, protection: Protection) -> bool:
    """Whether anything is wrong, or a switch is not closed or about to open."""
    if protection.active or protection.latched or not protection.connected:
        return True
    if protection.allowed != _BOTH:
        return True
    return s.valid and s.switches & _BOTH != _BOTH
