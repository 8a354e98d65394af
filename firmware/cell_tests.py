"""Commanded tests of one pack: which one runs, what it asks for, and what the last one found.

    >>> tests = CellTests(settings, image.map.block(models.TEST), boot)
    >>> tests.restore(storage.load("test"))
    >>> tests.start(Test.QUICK, snapshot, protection, soc_bp)  # one of codes.CommandResult
    >>> if tests.update(snapshot, protection):                 # each cycle
    ...     tests.finish(snapshot.uptime_s, utc_s)
    >>> tests.request_ma                                       # to stand in ReqA
    >>> tests.publish(snapshot.seq, soc_bp)                    # each cycle

A test is refused while another one runs, and unless everything is known and well: no fault active
or latched, both switches closed, SOC and temperature within the test's range. It changes nothing
about protection, which goes on by itself.

The result is written into the TEST model when a test ends, whatever its end, and stands there
until the next one ends. ``state`` is those registers and whether a test runs; with ``changed`` it
wants to be saved. A board that starts and finds that a test was running records it as POWER_LOST.
"""

import struct

from common import models
from common.cells import pulse
from common.codes import CommandResult, Method, Refusal, Switch, Test, TestPhase, TestStop
from common.mp import const
from common.registers import Block
from firmware.estimators.estimators import profile_crc
from firmware.estimators.pulse import PulseModel, PulseSoh, PulseTest, Reason
from firmware.fulltest import FullTest
from firmware.procedure import Procedure
from firmware.protection import Protection
from firmware.quicktest import QuickTest
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

_VERSION = const(1)
_HEAD = "<BBHBLLL"  # version, map version, cells, running test, boot, rated mAh, profile CRC
_TURN = const(5)  # in which cycle of ``detail_every`` the model is written
_BOTH = Switch.CHARGE | Switch.DISCHARGE
_SOC_BP = (500, 9500)  # a pulse beyond would meet a cell's end

_STOPPED_BY = {
    TestStop.TEMPERATURE: Refusal.TEMPERATURE,
    TestStop.NOT_RESTED: Refusal.NOT_RESTED,
}
_REFUSALS = {
    Reason.NONE: Refusal.NONE,
    Reason.NOT_MEASURED: Refusal.NO_EVIDENCE,
    Reason.NO_STEP: Refusal.NO_EVIDENCE,
    Reason.OCV_OUTSIDE: Refusal.UNLIKE,
    Reason.UNLIKE: Refusal.UNLIKE,
}


class CellTests:
    """The tests of one pack and the TEST model ``block``; ``boot`` is this boot's number."""

    def __init__(self, settings: Settings, block: Block, boot: int) -> None:
        self._settings = settings
        self._block = block
        self._boot = boot
        names = [point[0] for point in block.layout.points]
        self._points = names[names.index("ResTst") :]
        self._cell_points = [point[0] for point in block.layout.group[1]]
        self._test: Procedure | None = None  # the running one, or the last since boot
        self._open = False  # it was started, and its result is not written yet
        self._model: PulseModel | None = None  # for the running quick test
        self._told = -1  # which step the TEST model tells
        self.request_ma = 0
        self.changed = False
        block.set("Boot", boot)
        block.set("ResTst", Test.NONE)

    @property
    def running(self) -> bool:
        """Whether a test is under way."""
        return self._test is not None and self._test.running

    def start(self, kind: int, s: Snapshot, protection: Protection, soc_bp: "int | None") -> int:
        """Begin a test of ``codes.Test``; one of ``codes.CommandResult``."""
        if self._open:
            return CommandResult.REFUSED_BUSY
        if not s.valid or s.faults or _unsafe(s, protection):
            return CommandResult.REFUSED_UNSAFE
        test: Procedure
        model = None
        if kind == Test.QUICK:
            low, high = _SOC_BP
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
        self._test = test
        self._open = True
        test.start()
        self._told = -1
        self.changed = True
        return CommandResult.DONE

    def stop(self, why: int = TestStop.BY_COMMAND) -> None:
        """End the running test, if any: from now on nothing is asked for."""
        if self._test is not None:
            self._test.abort(why)
        self.request_ma = 0

    def update(self, s: Snapshot, protection: Protection) -> bool:
        """Take one cycle; whether a test has ended that is not finished yet (``finish``)."""
        test = self._test
        if test is None or not self._open:
            return False
        test.update(s, protection.ccl_ma, protection.dcl_ma, _unsafe(s, protection))
        self.request_ma = test.request_ma
        return not test.running

    def finish(self, uptime_s: int, utc_s: "int | None") -> None:
        """Write the result of the test that has ended, at ``uptime_s`` and ``utc_s``."""
        test = self._test
        if test is None:
            return
        self._clear_result()
        put = self._block.set
        put("ResTst", test.kind)
        put("ResStop", test.stop)
        put("ResRef", _STOPPED_BY.get(test.stop, Refusal.NO_EVIDENCE))
        put("ResBoot", self._boot)
        put("ResUpS", uptime_s)
        put("ResUtc", utc_s)
        put("ResDur", test.took_s)
        put("ResTmp", None if test.temp_dc == UNKNOWN_DC else test.temp_dc)
        put("RteC", test.rate_bp)
        if isinstance(test, QuickTest):
            self._finish_quick(test)
        elif isinstance(test, FullTest):
            self._finish_full(test)
        self._model = None
        self._open = False
        self._told = -1
        self.changed = True

    # --- results --------------------------------------------------------------------------

    def _clear_result(self) -> None:
        block = self._block
        for name in self._points:
            block.set(name, None)
        for cell in range(self._settings.n_cells):
            for name in self._cell_points:
                block.set_cell(name, cell, None)
        block.set("ResMth", Method.NONE)

    def _finish_quick(self, test: QuickTest) -> None:
        block = self._block
        put = block.set
        put("NPul", test.pulses)
        put("Wid1", test.widths_ms[0])
        put("Wid2", test.widths_ms[1])
        done = test.phase == TestPhase.DONE
        model = self._model
        judge = None
        if model is not None:
            judge = PulseSoh(model)
            put("MdlCrc", model.crc)
        elif done:
            put("ResRef", Refusal.NO_MODEL)
        record = PulseTest(self._settings.rated_mah, (test.pulses + 1) // 2, test.pulses // 2)
        lowest = 0
        lowest_bp: int | None = None
        known = done and judge is not None
        for cell in range(self._settings.n_cells):
            figure = test.resistance(cell)
            if figure is not None:
                self._put_cell(cell, "R", "RLo", "RHi", figure, 10)
            if judge is None or not done:
                block.set_cell("Ref", cell, block.get("ResRef"))
                continue
            test.fill(cell, record)
            if not judge.estimate(record):
                known = False
                put("ResRef", _REFUSALS[judge.reason])
            soh_bp = judge.soh_bp
            block.set_cell("Ref", cell, _REFUSALS[judge.reason])
            if soh_bp is None:
                continue
            block.set_cell("Soh", cell, soh_bp)
            block.set_cell("SohLo", cell, judge.lo_bp)
            block.set_cell("SohHi", cell, judge.hi_bp)
            if lowest_bp is None or soh_bp < lowest_bp:
                lowest, lowest_bp = cell, soh_bp
        if known:
            for name in ("Soh", "SohLo", "SohHi"):
                put(name, block.get_cell(name, lowest))
            put("ResRef", Refusal.NONE)
            put("ResMth", Method.PULSE_TEST)

    def _finish_full(self, test: FullTest) -> None:
        block = self._block
        put = block.set
        put("ChaAh", test.charged.mah)
        put("DisAh", -test.discharged.mah)
        put("ChaWh", test.charged_wh.mah // 100)
        put("DisWh", -test.discharged_wh.mah // 100)
        done = test.phase == TestPhase.DONE
        why = Refusal.TOO_UNCERTAIN if done else block.get("ResRef")
        for cell in range(self._settings.n_cells):
            figure = test.cell_soh(cell)
            if figure is None:
                block.set_cell("Ref", cell, why)
                continue
            self._put_cell(cell, "Soh", "SohLo", "SohHi", figure, 1)
            block.set_cell("Ref", cell, Refusal.NONE)
        pack = test.pack_soh()
        if pack is not None:
            put("Soh", pack[0])
            put("SohLo", pack[1])
            put("SohHi", pack[2])
            put("ResRef", Refusal.NONE)
            put("ResMth", Method.FULL_CYCLE)
        else:
            put("ResRef", why)

    def _put_cell(
        self,
        cell: int,
        middle: str,
        low: str,
        high: str,
        figure: "tuple[float, float, float]",
        unit: int,
    ) -> None:
        put = self._block.set_cell
        put(middle, cell, int(figure[0] / unit + 0.5))
        put(low, cell, max(0, int(figure[1] / unit)))
        put(high, cell, int(figure[2] / unit) + 1)

    # --- register image -------------------------------------------------------------------

    def publish(self, seq: int, soc_bp: "int | None") -> None:
        """Write how far the test is: when its step changes, and in one cycle of detail_every.

        In between the model stands still, so that its two requests agree in ``Seq``.
        """
        test = self._test
        step = 0 if test is None else 2 * test.step + (1 if test.running else 0)
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
            block.set("Left", test.left_s(soc_bp) if test.running else 0)
        block.set("Seq", seq)
        block.set("SeqEnd", seq)

    # --- what survives power-off ----------------------------------------------------------

    def state(self) -> bytes:
        """What ``restore`` takes up again: some hundred bytes."""
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

        With another profile or rating what was measured stands, what was concluded does not.
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
        if kind != Test.NONE:
            self._clear_result()
            block.set("ResTst", kind)
            block.set("ResStop", TestStop.POWER_LOST)
            block.set("ResRef", Refusal.NO_EVIDENCE)
            block.set("ResBoot", boot)
            self.changed = True
            return
        block.put_bytes(self._first(), memoryview(data)[head:])
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
        return 2 * self._block.layout.offset("ResTst")

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
