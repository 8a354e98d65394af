"""The application: makes the parts of one pack's firmware and lists their tasks.

| task | period | what it does |
|---|---|---|
| measure | ``period_ms`` | reads the AFE, judges, opens or closes the switches: always first |
| guard | ``period_ms`` | looks between two measurements, and again soon after it saw something |
| balance | ``period_ms`` | chooses the cells to bleed |
| estimate | ``period_ms`` | SOC, SOH, resistance, lifetime |
| test | ``period_ms`` | a commanded test: what it asks of charger and load |
| history | ``period_ms`` | records what is new |
| image | ``period_ms`` | writes what is known into the register image |
| serve | whenever the loop wakes | answers Modbus on the UART |
| settings | 1 s | goes on with settings that were written over Modbus |
| update | 1 s; 50 ms | takes another image of the firmware, and tries it |
| store | 1 s | saves faults, latches and commands when they change, estimates now and then |
| keep | ``period_ms`` | collects garbage, feeds the watchdog when every task has run |

In safe mode (``firmware.crashes``) there is no balance, estimate or test, one reading is kept, and
nothing is recorded.

    >>> app = App(board, settings)
    >>> app.run()
"""

import gc
import sys

from common import __version__, history_records, models
from common.codes import Command, CommandResult, Refusal, Task, Test
from common.mp import const
from firmware.afe import Afe
from firmware.balancing import Balancing
from firmware.board import Board
from firmware.calibration import Calibration
from firmware.cell_tests import CellTests
from firmware.crashes import Crashes, cause_of, tell
from firmware.estimators import estimators_state
from firmware.estimators.estimators import Estimators
from firmware.executive import NEEDED, OPTIONAL, VITAL, Executive
from firmware.executive import Task as Entry
from firmware.fault_memory import FaultMemory
from firmware.history import History
from firmware.image import RECORD_DEPTH, Image
from firmware.measurement import Measurement
from firmware.modbus.pdu import Commands, PduServer
from firmware.modbus.rtu import RtuServer
from firmware.protection import Protection
from firmware.provision import Provision
from firmware.remote_settings import RemoteSettings, in_force
from firmware.settings import Settings
from firmware.snapshot import Snapshot
from firmware.update import Update

_SAVE_EVERY_S = const(300)
_STORE_MS = const(1000)
_UPDATE_MS = const(50)  # while an image is received or checked
_RETRY_S = const(10)  # after flash has refused
_WRITE_MS = const(150)  # some erases of flash in the usual case
_MOST_PUT_OFF = const(30)  # turns, then it is written at any time
_LOOK_MS = const(80)  # after something was seen: the chip has measured anew by then
_MOST_LOOKS = const(3)  # in a row, after one that failed
_REFRESH_CYCLES = const(5)  # the chip forgets by itself which cells it bleeds
_FLASH_MS = const(200)  # a sector's erase and more, before the next measurement
_FILE_MS = const(100)  # to find records of the history; 30 where one follows on another
_RESTART_CYCLES = const(2)  # until the command's answer has surely gone

_CONFIGURATION = const(1 << 19)  # CONFIGURATION
_WRONG_SWITCH = const(1 << 18 | 1 << 26)  # SWITCH_MISMATCH, SWITCH_WELDED
_STORAGE = const(1 << 20)  # STORAGE
_OVERRUN = const(1 << 21)  # LOOP_OVERRUN
_OFFSET = const(1 << 25)  # CURRENT_OFFSET
_CLOCK = const(1 << 29)  # CLOCK_INVALID


class RestartError(Exception):
    """The board is to start anew, by command."""


def task_number(name: str) -> int:
    """The ``codes.Task`` of a task of the executive, or of ``start``."""
    number: int = getattr(Task, name.upper())
    return number


class App(Commands):
    """One pack's firmware. ``step`` is one pass of the loop; ``run`` is the loop.

    ``crashes`` says whether it is to be safe mode.
    """

    def __init__(
        self,
        board: Board,
        settings: Settings,
        afe: "Afe | None" = None,
        crashes: "Crashes | None" = None,
    ) -> None:
        settings.check()
        self.crashes = crashes or Crashes(board.make_storage(), board.reset_cause)
        self.storage = self.crashes.storage
        safe = self.safe = self.crashes.safe
        self.faults = FaultMemory(self.storage.load("faults"))
        settings, source = in_force(settings, self.storage)
        self.board = board
        self.settings = settings
        self.afe = afe or board.make_afe(settings)
        self.snapshot = Snapshot(settings.n_cells)
        self._seen = Snapshot(settings.n_cells)  # what a look between two cycles brought
        self._looks = 0  # in a row that brought nothing
        self.measurement = Measurement(self.afe, settings, board)
        self.protection = Protection(settings)
        self.balancing = Balancing(settings)
        self.estimators = Estimators(settings)
        self.history: History | None = None  # until there is time for it
        self._may_record = False
        self._restored = False  # the estimators know what was saved
        self._boot_saved = False
        self._saved_latched = 0
        self._saved_connected = True
        self._saved_service = False
        self._saved_s = 0
        self._counters_saved = False  # since the estimates
        self._retry_s = 0
        self._put_off = 0  # turns in which there was no time to write
        self.boot = 1 + self._load_number("boot")
        self._restore()
        self.image = Image(
            settings, self.boot, board.reset_cause, __version__, board.name, self.afe.name,
            1 if safe else RECORD_DEPTH,
        )  # fmt: skip
        self.image.figures = not safe
        self.faults.begin(self.image, self.boot)
        self.image.tell_crashes(self.crashes)
        self.tests = CellTests(settings, self.image.map.block(models.TEST), self.boot)
        self._may_test = not safe
        if not safe:
            self.tests.restore(self.storage.load("test"))
        self.estimators.quick_mv = self.tests.model_mv
        while self._save(0):  # the boot before anybody reads its number
            pass
        self.pdu_server = PduServer(self.image.map, self)
        self.image.server = self.pdu_server
        self.remote = self.pdu_server.limits = RemoteSettings(
            source, self.storage, self.image, self.measurement, self.protection, self.snapshot
        )
        sealed = (self.remote, self.storage, self.image, self.protection)
        self.calibration = Provision(
            models.CALIBRATION, "calibration", *sealed,
            wrong=lambda values: Calibration(values, settings.n_cells).wrong,
        )  # fmt: skip
        self.identity = Provision(models.IDENTITY, "identity", *sealed)
        self.pdu_server.provisions = {
            models.CALIBRATION: self.calibration, models.IDENTITY: self.identity
        }  # fmt: skip
        if self.calibration.values:
            self._calibrate()
        update = Update(
            self.image.map.block(models.UPDATE), board.root, board.name, self.afe.name,
            sys.modules.get("loader"),
        )  # fmt: skip
        self.update = self.pdu_server.update = update
        self._well_s = 0  # uptime since which nothing has failed
        self._rtu: RtuServer | None = None
        self._bled = 0  # what the AFE was last told to bleed; -1: not known
        self._bled_cycles = 0
        self._said: str | None = None  # the measurement's problem, as last told on the console
        self._overruns = 0
        self._restart = 0  # cycles until the board starts anew; 0: it does not
        period_ms = settings.period_ms
        tasks = (
            ("measure", period_ms, self._measure, VITAL),
            ("guard", period_ms, self._guard, VITAL),
            ("balance", period_ms, self._balance, OPTIONAL),
            ("estimate", period_ms, self._estimate, OPTIONAL),
            ("test", period_ms, self._test, OPTIONAL),
            ("history", period_ms, self._record, OPTIONAL),
            ("image", period_ms, self._publish, NEEDED),
            ("serve", 0, self._serve, NEEDED),
            ("settings", _STORE_MS, self._settings, NEEDED),
            ("update", _STORE_MS, self._update, NEEDED),
            ("store", _STORE_MS, self._store, NEEDED),
            ("keep", period_ms, self._keep, VITAL),
        )
        if safe:
            tasks = tuple(task for task in tasks if task[3] != OPTIONAL)  # type: ignore[assignment]
        self.executive = Executive(board, tasks)
        self.executive.failed = self._task_failed
        if board.uart is not None:
            self._rtu = RtuServer(board, self.pdu_server, settings.address, settings.baudrate)
            self._rtu.free_ms = self._free_ms
            self._rtu.file_ms = min(_FILE_MS, period_ms // 2)
            self.executive.wake = self._wake_ms
        self._may_record = True

    def run(self) -> None:
        """Work for ever."""
        self.executive.run()

    def step(self) -> None:
        """One pass of the loop: what is due now, then sleep until something is."""
        self.executive.run_once()
        self.board.wait(self.executive.next_due_ms())

    def distrust_settings(self) -> None:
        """Measure and serve, but close no switch until the next start."""
        self._report(_CONFIGURATION, True)

    def open_switches(self) -> None:
        """The last thing to do."""
        self.measurement.set_switches(0)

    # --- tasks ----------------------------------------------------------------------------

    def _measure(self) -> None:
        snapshot = self.snapshot
        measurement = self.measurement
        measurement.cycle(snapshot)
        if measurement.problem != self._said:
            self._said = measurement.problem
            print(self._said or "measures again")
        protection = self.protection
        protection.limits.soc_bp = self.estimators.soc_bp
        protection.limits.soh_bp = self.estimators.soh_bp
        protection.update(snapshot)
        if snapshot.faults & _WRONG_SWITCH:
            measurement.commanded = None
        self._looks = 0
        self._command(snapshot.looked)
        if protection.tripped:
            self.faults.take(snapshot, protection)

    def _guard(self) -> None:
        looked = self.measurement.look(self._seen)
        seen = self._seen
        seen.uptime_s = self.snapshot.uptime_s
        seen.seq = self.snapshot.seq
        protection = self.protection
        protection.look(seen, looked)
        self._command(looked)
        if protection.tripped:
            self.faults.take(seen, protection)

    def _command(self, looked: bool) -> None:
        """Tell the AFE what is new, and choose when to look again."""
        measurement = self.measurement
        allowed = self.protection.allowed
        done = allowed == measurement.commanded or measurement.set_switches(allowed)
        self._looks = 0 if looked and done else self._looks + 1
        board = self.board
        now_ms = board.ticks_ms()
        measure, guard = self.executive.tasks[0], self.executive.tasks[1]
        period_ms: int = self.settings.period_ms
        # In the middle between two measurements, or soon.
        wait_ms = board.ticks_diff(measure.due_ms, now_ms) - period_ms // 2
        if wait_ms <= 0:
            wait_ms += period_ms
        if self.protection.hurry or 0 < self._looks < _MOST_LOOKS:
            wait_ms = _LOOK_MS
        guard.due_ms = board.ticks_add(now_ms, wait_ms)

    def _balance(self) -> None:
        surplus_bp = self.estimators.differences.surplus_bp
        cells = self.balancing.choose(self.snapshot, self.protection.allowed, surplus_bp)
        if self.tests.running:
            cells = 0  # what is bled would be missing in the test's balance
        self._bled_cycles += 1
        if cells == self._bled and (not cells or self._bled_cycles < _REFRESH_CYCLES):
            return
        self._bled = cells if self.measurement.set_balancing(cells) else -1
        self._bled_cycles = 0

    def _estimate(self) -> None:
        if not self._restored:
            load = self.storage.load
            self.estimators.restore(load("estimates") or b"", load("lifetime"))
            self._restored = True
        self.estimators.update(self.snapshot)

    def _test(self) -> None:
        tests = self.tests
        snapshot = self.snapshot
        if tests.update(snapshot, self.protection):
            tests.finish(self.image.utc_s(tests.ended_s or 0))
            self._record_test()
            if tests.found and tests.refusal != Refusal.NO_MODEL:
                self.estimators.pulses(tests.found, tests.refusal)
                self._saved_s = snapshot.uptime_s - _SAVE_EVERY_S  # whoever tested may switch off
        tests.publish(snapshot.seq, self.estimators.soc_bp)
        self.image.testing = tests.running
        self.image.request_ma = tests.request_ma

    def _record(self) -> None:
        s = self.snapshot
        if self.history is not None:
            utc_s = self.image.utc_s(s.uptime_s)
            self.history.cycle(s, self.protection, self.estimators, utc_s)

    def _begin_history(self) -> None:
        """Only now, for the AFE has its settings: both at once would take more memory."""
        board = self.board
        block = self.image.map.block(models.HISTORY)
        history = self.history = History(board.root, self.settings, block, self.boot)
        self.pdu_server.files = history.file
        if not self.safe:
            history.event(
                history_records.RESTART, 0, None, board.reset_cause, self.crashes.cause,
                __version__.encode(),
            )  # fmt: skip

    def _record_test(self) -> None:
        get = self.image.map.block(models.TEST).get
        stop = get("EndStop")
        found = [None if stop else get(name) for name in ("ResMth", "Soh", "SohLo", "SohHi")]
        now_s = self.snapshot.uptime_s
        if self.history is not None:
            self.history.event(
                history_records.TEST, now_s, self.image.utc_s(now_s), get("EndTst"), stop, *found
            )

    def _record_set(self, model_id: int) -> None:
        now_s = self.snapshot.uptime_s
        if self.history is not None and not self.safe:
            self.history.event(history_records.SETTING, now_s, self.image.utc_s(now_s), model_id)

    def _publish(self) -> None:
        self.image.update(
            self.snapshot, self.protection, self.estimators, self.executive, self.afe
        )

    def _serve(self) -> None:
        if self._rtu is not None:
            self._rtu.poll()

    def _wake_ms(self) -> "int | None":
        """When a Modbus frame that has begun wants to be looked at again."""
        rtu = self._rtu
        return rtu.due_ms() if rtu is not None and rtu.pending() else None

    def _free_ms(self) -> int:
        """How long until the next measurement, or the next look that cannot wait."""
        return self._until_ms(1 if self.protection.hurry else 0)

    def _until_ms(self, task: int) -> int:
        board = self.board
        return board.ticks_diff(self.executive.tasks[task].due_ms, board.ticks_ms())

    def _settings(self) -> None:
        if self.remote.update():
            self._record_set(models.SETTINGS)
        if self.identity.update(self.snapshot):
            self._record_set(models.IDENTITY)
        if self.calibration.update(self.snapshot):
            self._record_set(models.CALIBRATION)
            # What the sensor shows without current is another now.
            self.estimators.offset.bias_ua += 1000 * self._calibrate()

    def _calibrate(self) -> int:
        """Read with the calibration in force; by how many mA the current's offset is another."""
        before = self.measurement.calibration
        new = Calibration(self.calibration.values, self.settings.n_cells)
        self.measurement.calibration = new
        before_ma: int = before.offset_ma if before else 0
        offset_ma: int = new.offset_ma
        return offset_ma - before_ma

    def _update(self) -> None:
        update = self.update
        snapshot = self.snapshot
        now_s = snapshot.uptime_s
        if not snapshot.valid or not self.pdu_server.server_messages:
            self._well_s = now_s
        update.step(self._free_ms(), now_s - self._well_s)
        update.supervise(snapshot)
        if update.busy:
            board = self.board
            task = self.executive.current
            task.due_ms = board.ticks_add(board.ticks_ms(), _UPDATE_MS)  # type: ignore[union-attr]
        if update.restart and not self._restart:
            self._restart = _RESTART_CYCLES

    def _store(self) -> None:
        """Save one record that has changed, when neither measurement nor look is near.

        What holds the switches open does not wait for that.
        """
        protection = self.protection
        free_ms = min(self._until_ms(0), self._until_ms(1))
        self._put_off += 1
        if (
            free_ms < min(_WRITE_MS, self.settings.period_ms // 4)
            and self._put_off < _MOST_PUT_OFF
            and protection.latched == self._saved_latched
            and protection.connected == self._saved_connected
        ):
            return
        self._put_off = 0
        now_s = self.snapshot.uptime_s
        self.crashes.settle(now_s)
        self._save(now_s)

    def _save(self, now_s: int) -> bool:
        """Do one job of saving; whether there was one, and flash took it."""
        if now_s < self._retry_s:
            return False
        self._retry_s = now_s + _RETRY_S
        self._report(_STORAGE, True)
        try:
            saved = self._save_change(now_s)
        except OSError:
            return False
        self._retry_s = 0
        self._report(_STORAGE, self.storage.damaged)
        return saved

    def _keep(self) -> None:
        self.board.collect_garbage()
        overruns = self.executive.overruns
        self._report(_OVERRUN, overruns != self._overruns)
        self._overruns = overruns
        self._report(_CLOCK, self.image.utc_s(0) is None)
        bias_ua = self.estimators.offset.bias_ua
        worth_ua = self.settings.rated_mah  # a thousandth of the rating
        self._report(_OFFSET, bias_ua > worth_ua or bias_ua < -worth_ua)
        if self.executive.all_ran(self.settings.period_ms):
            self.board.feed_watchdog()
        if self._restart:
            self._restart -= 1
            if not self._restart:
                raise RestartError

    # --- tasks that fail ------------------------------------------------------------------

    def _task_failed(self, entry: Entry, error: Exception) -> None:
        """Whatever a failed task has left half done must not be taken for true."""
        gc.collect()  # memory may be what it lacked
        self._well_s = self.snapshot.uptime_s
        if entry.failures == 1:
            tell(entry.name, error)
        number = task_number(entry.name)
        self.image.tell_error(number, cause_of(error), entry.off)
        if entry.off:
            print("%s is off until the next start" % entry.name)
        if number == Task.ESTIMATE:
            self.estimators = Estimators(self.settings)
            self._restored = False
            self.image.figures = not entry.off
        elif number == Task.TEST and entry.off:
            self._may_test = self.tests.running = self.image.testing = False
            self.image.ask_nothing()

    # --- what survives power-off ----------------------------------------------------------

    def _save_change(self, now_s: int) -> bool:
        """Save the most urgent of what is not saved yet; ``False`` when all is."""
        storage = self.storage
        protection = self.protection
        latched = protection.latched
        connected = protection.connected
        if latched != self._saved_latched:
            storage.save("latched", latched.to_bytes(4, "little"))
            self._saved_latched = latched
        elif self.faults.due(now_s):
            self.faults.save(storage, self.snapshot.seq)
        elif connected != self._saved_connected:
            storage.save("connected", b"\x01" if connected else b"\x00")
            self._saved_connected = connected
        elif protection.service != self._saved_service:
            storage.save("service", b"\x01" if protection.service else b"\x00")
            self._saved_service = protection.service
        elif not self._boot_saved:
            storage.save("boot", self.boot.to_bytes(4, "little"))
            self._boot_saved = True
        elif self.crashes.changed:
            self.crashes.save()
        elif self.tests.changed:
            storage.save("test", self.tests.state())
            self.tests.changed = False
        elif self.estimators.lifetime.urgent and self._restored:
            storage.save("lifetime", self.estimators.counters())
            self.estimators.lifetime.urgent = False
        elif now_s - self._saved_s < _SAVE_EVERY_S or not self._restored:
            self._store_history(now_s)
            return False
        elif not self._counters_saved:  # first: figures of before had them among them
            storage.save("lifetime", self.estimators.counters())
            self._counters_saved = True
        else:
            e = self.estimators
            storage.save_parts("estimates", estimators_state.size(e), estimators_state.parts(e))
            self._saved_s = now_s
            self._counters_saved = False
        return True

    def _store_history(self, now_s: int) -> None:
        if self._may_record and self._free_ms() >= min(_FLASH_MS, self.settings.period_ms // 2):
            if self.history is None:
                self._begin_history()
            else:
                self.history.store(now_s, self.image.utc_s(now_s))

    def _load_number(self, name: str, absent: int = 0) -> int:
        data = self.storage.load(name)
        return int.from_bytes(data, "little") if data else absent

    def _restore(self) -> None:
        protection = self.protection
        self._saved_latched = self._load_number("latched")
        protection.restore_latched(self._saved_latched)
        # Whoever opened the switches to work on the pack must not find them closed by a restart.
        connected = self._load_number("connected", 1) != 0 and not self.crashes.hopeless
        self._saved_connected = protection.connected = connected
        self._saved_service = protection.service = self._load_number("service") != 0

    def _report(self, fault: int, present: bool) -> None:
        if present:
            self.protection.reported |= fault
        else:
            self.protection.reported &= ~fault

    # --- commands -------------------------------------------------------------------------

    def command(self, code: int) -> int:
        """Carry out one of ``codes.Command``; one of ``codes.CommandResult``."""
        if code == Command.NONE:
            return CommandResult.NONE
        result = self._carry_out(code)
        if self.history is not None and not self.safe:
            self.history.command(code, result)
        return result

    def _carry_out(self, code: int) -> int:
        if code == Command.CLEAR_LATCHED:
            self.measurement.recover()  # first: what the chip holds keeps the firmware's latch
            return self.protection.clear_latched()
        if code == Command.CONNECT:
            if self.remote.busy:  # the AFE is about to be configured
                return CommandResult.REFUSED_BUSY
            return self.protection.connect()
        if code == Command.DISCONNECT:
            self._stop_test()
            return self.protection.disconnect()
        if code == Command.SERVICE:
            self._stop_test()
            return self.protection.enter_service()
        if code == Command.SHUTDOWN:
            self._stop_test()
            return self.protection.shutdown()
        if code == Command.START_QUICK_TEST:
            return self._start_test(Test.QUICK)
        if code == Command.START_FULL_TEST:
            return self._start_test(Test.FULL)
        if code == Command.STOP_TEST:
            self._stop_test()
            return CommandResult.DONE
        if code == Command.LEAVE_SAFE_MODE:
            if self.safe:
                self.crashes.leave()
                self._restart = _RESTART_CYCLES
            return CommandResult.DONE
        if code == Command.START_UPDATE:
            if self.protection.connected or self.protection.allowed:
                return CommandResult.REFUSED_UNSAFE
            return CommandResult.DONE if self.update.start() else CommandResult.REFUSED_BUSY
        if code == Command.ABANDON_UPDATE:
            return CommandResult.DONE if self.update.abandon() else CommandResult.REFUSED_BUSY
        return CommandResult.REFUSED_UNKNOWN

    def _start_test(self, kind: int) -> int:
        if not self._may_test:
            return CommandResult.REFUSED_SAFE_MODE
        return self.tests.start(kind, self.snapshot, self.protection, self.estimators.soc_bp)

    def _stop_test(self) -> None:
        self.tests.stop()
        self.image.ask_nothing()

    def set_utc(self, utc_s: int) -> None:
        """Take the time: seconds since 1970-01-01 UTC."""
        self.image.set_utc(utc_s, self.snapshot.uptime_s)

    def recall(self, seq: int) -> bool:
        """Put the kept reading ``seq`` into the RECALL model; ``False`` when it is not kept."""
        return self.image.recall(seq)

    def tell_fault(self, number: int) -> None:
        """Put what is remembered of a fault into the FAULTS model."""
        self.faults.tell(number, self.snapshot.seq)
