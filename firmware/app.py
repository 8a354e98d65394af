"""The application: makes the parts of one pack's firmware and lists their tasks.

| task | period | what it does |
|---|---|---|
| measure | ``period_ms`` | reads the AFE, judges, opens or closes the switches: always first |
| balance | ``period_ms`` | chooses the cells to bleed |
| estimate | ``period_ms`` | SOC, SOH, resistance, lifetime |
| image | ``period_ms`` | writes what is known into the register image |
| serve | whenever the loop wakes | answers Modbus on the UART |
| store | 1 s | saves latches when they change, estimates every ``SAVE_EVERY_S`` |
| keep | ``period_ms`` | collects garbage, feeds the watchdog when every task has run |

    >>> app = App(board, settings)
    >>> app.run()
"""

import gc

from common import __version__
from common.codes import Command, CommandResult, Fault
from common.mp import const
from firmware.afe import Afe
from firmware.afe.bq76952 import Bq76952
from firmware.balancing import Balancing
from firmware.board import Board
from firmware.estimators.estimators import Estimators
from firmware.executive import Executive
from firmware.image import Image
from firmware.measurement import Measurement
from firmware.modbus.pdu import Commands, PduServer
from firmware.modbus.rtu import RtuServer
from firmware.protection import Protection
from firmware.settings import Settings
from firmware.snapshot import Snapshot
from firmware.storage import Storage

SAVE_EVERY_S = const(300)
STORE_MS = const(1000)
REFRESH_CYCLES = const(5)  # the chip forgets by itself which cells it bleeds

_CONFIGURATION = 1 << Fault.CONFIGURATION
_MISMATCH = 1 << Fault.SWITCH_MISMATCH
_STORAGE = 1 << Fault.STORAGE
_OVERRUN = 1 << Fault.LOOP_OVERRUN


class App(Commands):
    """One pack's firmware. ``step`` is one pass of the loop; ``run`` is the loop."""

    def __init__(self, board: Board, settings: Settings, afe: "Afe | None" = None) -> None:
        settings.check()
        self.board = board
        self.settings = settings
        self.afe = afe or Bq76952(board, settings.n_cells)
        self.snapshot = Snapshot(settings.n_cells)
        self.measurement = Measurement(self.afe, settings, board)
        self.protection = Protection(settings)
        self.balancing = Balancing(settings)
        self.estimators = Estimators(settings)
        self.storage = Storage(board.root)
        self.boot = self._next_boot()
        self._saved_latched = 0
        self._restore()
        self.image = Image(
            settings, self.boot, board.reset_cause, __version__, board.name, self.afe.name
        )
        self.pdu_server = PduServer(self.image.map, self)
        self.image.server = self.pdu_server
        self._rtu: RtuServer | None = None
        self._bled = 0  # what the AFE was last told to bleed; -1: not known
        self._bled_cycles = 0
        self._saved_s = 0
        self._said: str | None = None  # the measurement's problem, as last told on the console
        self._overruns = 0
        period_ms = settings.period_ms
        self.executive = Executive(
            board,
            (
                ("measure", period_ms, self._measure),
                ("balance", period_ms, self._balance),
                ("estimate", period_ms, self._estimate),
                ("image", period_ms, self._publish),
                ("serve", 0, self._serve),
                ("store", STORE_MS, self._store),
                ("keep", period_ms, self._keep),
            ),
        )
        if board.uart is not None:
            self._rtu = RtuServer(board, self.pdu_server, settings.address, settings.baudrate)
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
        cells = self.balancing.choose(self.snapshot, self.protection.allowed)
        self._bled_cycles += 1
        if cells == self._bled and (not cells or self._bled_cycles < REFRESH_CYCLES):
            return
        self._bled = cells if self.measurement.set_balancing(cells) else -1
        self._bled_cycles = 0

    def _estimate(self) -> None:
        self.estimators.update(self.snapshot)

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

    def _store(self) -> None:
        latched = self.protection.latched
        if latched != self._saved_latched:
            self._saved_latched = latched
            self._save("latched", latched.to_bytes(4, "little"))
        uptime_s = self.snapshot.uptime_s
        if uptime_s - self._saved_s >= SAVE_EVERY_S:
            self._saved_s = uptime_s
            self._save("estimates", self.estimators.state())

    def _keep(self) -> None:
        gc.collect()
        overruns = self.executive.overruns
        self._report(_OVERRUN, overruns != self._overruns)
        self._overruns = overruns
        if self.executive.all_ran(self.settings.period_ms):
            self.board.feed_watchdog()

    # --- what survives power-off ----------------------------------------------------------

    def _next_boot(self) -> int:
        data = self.storage.load("boot")
        boot = 1 + (int.from_bytes(data, "little") if data else 0)
        self._save("boot", boot.to_bytes(4, "little"))
        return boot

    def _restore(self) -> None:
        data = self.storage.load("latched")
        self._saved_latched = int.from_bytes(data, "little") if data else 0
        self.protection.restore_latched(self._saved_latched)
        data = self.storage.load("estimates")
        if data:
            self.estimators.restore(data)

    def _save(self, name: str, data: bytes) -> None:
        try:
            self.storage.save(name, data)
        except OSError:
            self._report(_STORAGE, True)
            return
        self._report(_STORAGE, False)

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
            return self.protection.connect()
        if code == Command.DISCONNECT:
            return self.protection.disconnect()
        return CommandResult.REFUSED_UNKNOWN

    def set_utc(self, utc_s: int) -> None:
        """Take the time: seconds since 1970-01-01 UTC."""
        self.image.set_utc(utc_s, self.snapshot.uptime_s)

    def recall(self, seq: int) -> bool:
        """Put the kept reading ``seq`` into the RECALL model; ``False`` when it is not kept."""
        return self.image.recall(seq)
