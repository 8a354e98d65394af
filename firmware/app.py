"""The application: makes the parts of one pack's firmware and lists their tasks.

| task | period | what it does |
|---|---|---|
| measure | ``period_ms`` | reads the AFE, judges, opens or closes the switches: always first |
| balance | ``period_ms`` | chooses the cells to bleed |
| estimate | ``period_ms`` | SOC, SOH, resistance, lifetime |
| test | ``period_ms`` | a commanded test: what it asks of charger and load |
| image | ``period_ms`` | writes what is known into the register image |
| serve | whenever the loop wakes | answers Modbus on the UART |
| settings | 1 s | goes on with settings that were written over Modbus |
| store | 1 s | saves latches and commands when they change, estimates now and then |
| keep | ``period_ms`` | collects garbage, feeds the watchdog when every task has run |

    >>> app = App(board, settings)
    >>> app.run()
"""

import gc

from common import __version__, models
from common.codes import Command, CommandResult, Fault, Test
from common.mp import const
from firmware.afe import Afe
from firmware.afe.bq76952 import Bq76952
from firmware.balancing import Balancing
from firmware.board import Board
from firmware.cell_tests import CellTests
from firmware.estimators.estimators import Estimators
from firmware.executive import Executive
from firmware.image import Image
from firmware.measurement import Measurement
from firmware.modbus.pdu import Commands, PduServer
from firmware.modbus.rtu import RtuServer
from firmware.protection import Protection
from firmware.remote_settings import RemoteSettings, in_force
from firmware.settings import Settings
from firmware.snapshot import Snapshot
from firmware.storage import Storage

SAVE_EVERY_S = const(300)
STORE_MS = const(1000)
RETRY_S = const(10)  # after flash has refused
REFRESH_CYCLES = const(5)  # the chip forgets by itself which cells it bleeds

_CONFIGURATION = 1 << Fault.CONFIGURATION
_MISMATCH = 1 << Fault.SWITCH_MISMATCH
_STORAGE = 1 << Fault.STORAGE
_OVERRUN = 1 << Fault.LOOP_OVERRUN


class App(Commands):
    """One pack's firmware. ``step`` is one pass of the loop; ``run`` is the loop."""

    def __init__(self, board: Board, settings: Settings, afe: "Afe | None" = None) -> None:
        settings.check()
        self.storage = Storage(board.root)
        settings, source = in_force(settings, self.storage)
        self.board = board
        self.settings = settings
        self.afe = afe or Bq76952(board, settings.n_cells)
        self.snapshot = Snapshot(settings.n_cells)
        self.measurement = Measurement(self.afe, settings, board)
        self.protection = Protection(settings)
        self.balancing = Balancing(settings)
        self.estimators = Estimators(settings)
        self._boot_saved = False
        self._saved_latched = 0
        self._saved_connected = True
        self._saved_s = 0
        self._retry_s = 0
        self.boot = 1 + self._load_number("boot")
        self._restore()
        self.image = Image(
            settings, self.boot, board.reset_cause, __version__, board.name, self.afe.name
        )
        self.tests = CellTests(settings, self.image.map.block(models.TEST), self.boot)
        self.tests.restore(self.storage.load("test"))
        self._store()  # the boot before anybody reads its number
        self.pdu_server = PduServer(self.image.map, self)
        self.image.server = self.pdu_server
        self.remote = self.pdu_server.limits = RemoteSettings(
            source, self.storage, self.image, self.measurement, self.protection, self.snapshot
        )
        self._rtu: RtuServer | None = None
        self._bled = 0  # what the AFE was last told to bleed; -1: not known
        self._bled_cycles = 0
        self._said: str | None = None  # the measurement's problem, as last told on the console
        self._overruns = 0
        period_ms = settings.period_ms
        self.executive = Executive(
            board,
            (
                ("measure", period_ms, self._measure),
                ("balance", period_ms, self._balance),
                ("estimate", period_ms, self._estimate),
                ("test", period_ms, self._test),
                ("image", period_ms, self._publish),
                ("serve", 0, self._serve),
                ("settings", STORE_MS, self.remote.update),
                ("store", STORE_MS, self._store),
                ("keep", period_ms, self._keep),
            ),
        )
        if board.uart is not None:
            self._rtu = RtuServer(board, self.pdu_server, settings.address, settings.baudrate)
            self._rtu.free_ms = self._free_ms
            self.executive.wake = self._wake_ms

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
        self.protection.update(snapshot)
        allowed = self.protection.allowed
        if allowed != measurement.commanded or snapshot.faults & _MISMATCH:
            measurement.set_switches(allowed)

    def _balance(self) -> None:
        surplus_bp = self.estimators.differences.surplus_bp
        cells = self.balancing.choose(self.snapshot, self.protection.allowed, surplus_bp)
        if self.tests.running:
            cells = 0  # what is bled would be missing in the test's balance
        self._bled_cycles += 1
        if cells == self._bled and (not cells or self._bled_cycles < REFRESH_CYCLES):
            return
        self._bled = cells if self.measurement.set_balancing(cells) else -1
        self._bled_cycles = 0

    def _estimate(self) -> None:
        self.estimators.update(self.snapshot)

    def _test(self) -> None:
        tests = self.tests
        snapshot = self.snapshot
        if tests.update(snapshot, self.protection):
            tests.finish(self.image.utc_s(tests.ended_s or 0))
        tests.publish(snapshot.seq, self.estimators.soc_bp)
        self.image.testing = tests.running
        self.image.request_ma = tests.request_ma

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
        """How long until the next measurement."""
        board = self.board
        return board.ticks_diff(self.executive.tasks[0].due_ms, board.ticks_ms())

    def _store(self) -> None:
        now_s = self.snapshot.uptime_s
        if now_s < self._retry_s:
            return
        try:
            self._save_changes(now_s)
        except OSError:
            self._retry_s = now_s + RETRY_S
            self._report(_STORAGE, True)
            return
        self._report(_STORAGE, False)

    def _keep(self) -> None:
        gc.collect()
        overruns = self.executive.overruns
        self._report(_OVERRUN, overruns != self._overruns)
        self._overruns = overruns
        if self.executive.all_ran(self.settings.period_ms):
            self.board.feed_watchdog()

    # --- what survives power-off ----------------------------------------------------------

    def _save_changes(self, now_s: int) -> None:
        """Save what is not saved yet; ``OSError`` leaves the rest for the next time."""
        save = self.storage.save
        protection = self.protection
        latched = protection.latched
        if latched != self._saved_latched:
            save("latched", latched.to_bytes(4, "little"))
            self._saved_latched = latched
        connected = protection.connected
        if connected != self._saved_connected:
            save("connected", b"\x01" if connected else b"\x00")
            self._saved_connected = connected
        if not self._boot_saved:
            save("boot", self.boot.to_bytes(4, "little"))
            self._boot_saved = True
        if self.tests.changed:
            save("test", self.tests.state())
            self.tests.changed = False
        if now_s - self._saved_s >= SAVE_EVERY_S:
            save("estimates", self.estimators.state())
            self._saved_s = now_s

    def _load_number(self, name: str, absent: int = 0) -> int:
        data = self.storage.load(name)
        return int.from_bytes(data, "little") if data else absent

    def _restore(self) -> None:
        protection = self.protection
        self._saved_latched = self._load_number("latched")
        protection.restore_latched(self._saved_latched)
        # Whoever opened the switches to work on the pack must not find them closed by a restart.
        self._saved_connected = protection.connected = self._load_number("connected", 1) != 0
        data = self.storage.load("estimates")
        if data:
            self.estimators.restore(data)

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
        if code == Command.CLEAR_LATCHED:
            return self.protection.clear_latched()
        if code == Command.CONNECT:
            if self.remote.busy:  # the AFE is about to be configured
                return CommandResult.REFUSED_BUSY
            return self.protection.connect()
        if code == Command.DISCONNECT:
            self._stop_test()
            return self.protection.disconnect()
        if code == Command.START_QUICK_TEST:
            return self._start_test(Test.QUICK)
        if code == Command.START_FULL_TEST:
            return self._start_test(Test.FULL)
        if code == Command.STOP_TEST:
            self._stop_test()
            return CommandResult.DONE
        return CommandResult.REFUSED_UNKNOWN

    def _start_test(self, kind: int) -> int:
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
