"""A pack whose cells do what they like, on a bus that fails, and what must hold all the same.

The whole firmware runs on the desk's board with the emulated chip; the bus takes its time, and
the world goes on in steps of ``STEP_MS`` while it does. Nothing here looks into the firmware to
judge it but for latches: the limits are said once more, and the switches are the chip's.
"""

import gc
import tempfile

from core_fakes import Uart, nmc
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from common.codes import Command, Switch
from firmware.app import App
from firmware.boards.desk import DeskBoard
from sim.bq76952 import Bq76952 as Chip
from sim.bq76952 import Faults, Nack
from sim.ltc6813 import FrontEnd

STEP_MS = 21
N_CELLS = 6
CHAIN = (3, 3)  # cells of each chip
STACK_V = 3.7 * N_CELLS
PERIOD_MS = 1000
BOUND_MS = PERIOD_MS + 20
STUCK_MS = 50  # what a board's I2C waits for a line that is held down
SINGLE_MS = 100  # as long a single fault of the bus may last
CHARGE, DISCHARGE = Switch.CHARGE, Switch.DISCHARGE

# What opens which switch: a name, the switch, and whether the world is beyond it. Beyond by more
# than the emulated chip's noise, so that it cannot be of another opinion.
HARD = (
    ("over-voltage", CHARGE, lambda w: max(w.cells_v) > 4.253),
    ("under-voltage", DISCHARGE, lambda w: min(w.cells_v) < 2.797),
    ("deep discharge", CHARGE, lambda w: min(w.cells_v) < 1.497),
    ("hot in charge", CHARGE, lambda w: max(w.sensors_c) > 45.3),
    ("cold in charge", CHARGE, lambda w: min(w.sensors_c) < -0.3),
    ("hot in discharge", DISCHARGE, lambda w: max(w.sensors_c) > 60.3),
    ("cold in discharge", DISCHARGE, lambda w: min(w.sensors_c) < -20.3),
    ("hot switches", CHARGE | DISCHARGE, lambda w: w.fet_c > 90.3),
)


class HostilePack(DeskBoard):
    """Board, chip and world; ``worst_ms`` is the longest that a switch stayed closed, by name."""

    bus_faults = (
        "nack_next", "corrupt_crc_next", "stuck", "deaf_until_ms", "noisy_until_ms", "busy",
    )  # fmt: skip

    def __init__(self, root: str, start_ms: int = 0) -> None:
        self.chip = self.make_chip()
        own = self.chip if isinstance(self.chip, FrontEnd) else None
        super().__init__(self, Uart(), root, start_ms, front_end=own)
        self.cells_v = [3.7] * N_CELLS
        self.sensors_c = [25.0]
        self.fet_c = 25.0
        self.current_a = 0.0
        self.stuck = False  # a chip holds the bus down until it is clocked
        self.deaf_until_ms = 0  # nothing is acknowledged
        self.noisy_until_ms = 0  # every CRC is wrong
        self.busy_until_ms = 0
        self.lag_us = 0.0
        self.since_ms: dict[str, int] = {}
        self.worst_ms = dict.fromkeys([name for name, _switch, _is in HARD], 0)
        self.closed = 0
        self.watched = True
        self.complaints: list[str] = []
        self.pass_ms(500)
        self.boot()

    def make_chip(self) -> "Chip | FrontEnd":
        return Chip(N_CELLS, shunt_uohm=500, seed=1, cell_offset_mv=[0.0] * N_CELLS)

    def boot(self) -> None:
        self.app = App(self, nmc(N_CELLS, period_ms=PERIOD_MS))

    def disturb(self, kind: str, n: int) -> None:
        """One fault of the bus."""
        if kind == "stuck":
            self.stuck = True
        elif kind == "busy":
            self.busy_until_ms = self.now_ms + n
            self.chip.faults.stuck_busy = True
        elif kind.endswith("next"):
            setattr(self.chip.faults, kind, 1 + n % 2)
        else:
            setattr(self, kind, self.now_ms + n)

    def mend(self) -> None:
        """The bus works again."""
        self.chip.faults = Faults()
        self.stuck = False

    def reset_chip(self) -> None:
        self.chip.power_on_reset()

    # --- the bus -----------------------------------------------------------------------------

    def readfrom_mem_into(self, address: int, register: int, buffer: memoryview) -> None:
        buffer[:] = self._transact(address, bytes([register]), len(buffer))

    def writeto_mem(self, address: int, register: int, buffer: memoryview) -> None:
        self._transact(address, bytes([register]) + bytes(buffer), 0)

    def _transact(self, address: int, write: bytes, n_read: int) -> bytes:
        if self.stuck:
            self.pass_ms(STUCK_MS)
            raise OSError(110, "the bus is held down")
        if self.now_ms < self.deaf_until_ms:
            self.chip.faults.nack_next = 1
        if self.now_ms < self.noisy_until_ms:
            self.chip.faults.corrupt_crc_next = 1
        try:
            return self.chip.i2c(address, write, n_read)
        except Nack as nack:
            raise OSError(5, str(nack)) from nack
        finally:
            self.lag_us += self.chip.last_bus_us
            self.pass_ms(int(self.lag_us // 1000))
            self.lag_us %= 1000

    def recover_i2c(self) -> None:
        self.stuck = False

    # --- the world ---------------------------------------------------------------------------

    def advance(self, ms: int) -> None:
        self.pass_ms(ms)

    def pass_ms(self, ms: int) -> None:
        while ms > 0:
            dt_ms = min(ms, STEP_MS)
            ms -= dt_ms
            self.now_ms += dt_ms
            self.end_faults()
            closed = self.now_closed()
            amps = self.current_a
            if (amps > 0 and not closed & CHARGE) or (amps < 0 and not closed & DISCHARGE):
                amps = 0.0
            sensors = self.all_sensors()
            self.chip.step(dt_ms / 1000, self.cells_v, amps, sensors, 30.0, self.fet_c, STACK_V)
            if self.watched:
                self.watch()

    def end_faults(self) -> None:
        if self.chip.faults.stuck_busy and self.now_ms >= self.busy_until_ms:
            self.chip.faults.stuck_busy = False

    def all_sensors(self) -> list[float]:
        return [*self.sensors_c, float("nan"), float("nan")]

    def now_closed(self) -> int:
        chip = self.chip
        return (CHARGE if chip.charge_fet else 0) | (DISCHARGE if chip.discharge_fet else 0)

    def watch(self) -> None:
        """What must hold at every moment."""
        closed = self.now_closed()
        newly = closed & ~self.closed
        self.closed = closed
        for name, switch, is_beyond in HARD:
            if not is_beyond(self):
                self.since_ms.pop(name, None)
                continue
            lasted_ms = self.now_ms - self.since_ms.setdefault(name, self.now_ms)
            if closed & switch:
                self.worst_ms[name] = max(self.worst_ms[name], lasted_ms)
                if lasted_ms > BOUND_MS:
                    self.complaints.append(f"{name}: closed for {lasted_ms} ms")
            if newly & switch and lasted_ms > 2 * STEP_MS + 63:
                self.complaints.append(f"{name}: closed onto it after {lasted_ms} ms")
        if newly:
            self.judge_closing(newly)

    def judge_closing(self, newly: int) -> None:
        p = self.app.protection
        for i, row in enumerate(p.table):
            if p._latched[i] and newly & row[5]:
                self.complaints.append(f"fault {row[0]}: latched, and closed")
        if p.service or p.shut_down or not p.connected:
            self.complaints.append("closed against a command")

    def work(self, ms: int) -> None:
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.app.step()
        p = self.app.protection
        for i, row in enumerate(p.table):
            if p.allowed & row[5] and (p._latched[i] or (p._active[i] and not row[9])):
                self.complaints.append(f"fault {row[0]}: there, and permitted")


class HostileChain(HostilePack):
    """The same with two LTC6813, an INA228 and switches that the board drives."""

    bus_faults = (
        "corrupt_answer_next", "corrupt_request_next", "dead_from", "stuck", "deaf_until_ms",
        "silent", "nack_next",
    )  # fmt: skip

    def make_chip(self) -> FrontEnd:
        self.silent_until_ms = 0  # the SPI brings nothing
        return FrontEnd(N_CELLS, shunt_uohm=500, seed=1, cells_per_chip=CHAIN)

    def boot(self) -> None:
        settings = nmc(N_CELLS, period_ms=PERIOD_MS)
        settings.afe, settings.chip_cells = "ltc6813", CHAIN
        self.app = App(self, settings)

    def disturb(self, kind: str, n: int) -> None:
        chain = self.chip.chain.faults
        if kind == "stuck":
            self.stuck = True
        elif kind == "nack_next":
            self.chip.monitor.faults.nack_next = 1 + n % 2
        elif kind.endswith("next"):
            setattr(chain, kind, 1)
        elif kind == "deaf_until_ms":
            self.deaf_until_ms = self.now_ms + n
        else:
            self.silent_until_ms = self.now_ms + n
            if kind == "dead_from":
                chain.dead_from = n % len(CHAIN)
            else:
                chain.miso_stuck = 0xFF * (n % 2)

    def end_faults(self) -> None:
        if self.now_ms >= self.silent_until_ms:
            self.chip.chain.faults.dead_from = self.chip.chain.faults.miso_stuck = None
        if self.now_ms >= self.deaf_until_ms:
            self.chip.monitor.faults.nack_next = min(self.chip.monitor.faults.nack_next, 2)

    def mend(self) -> None:
        self.silent_until_ms = self.deaf_until_ms = 0
        self.chip.chain.faults.__init__()  # type: ignore[misc]
        self.chip.monitor.faults.__init__()  # type: ignore[misc]
        self.stuck = False

    def reset_chip(self) -> None:
        chips = [*self.chip.chain.chips, self.chip.monitor]
        chips[self.now_ms % len(chips)].power_on_reset()

    def all_sensors(self) -> list[float]:
        return self.sensors_c * 3 * len(CHAIN)

    def _transact(self, address: int, write: bytes, n_read: int) -> bytes:
        if self.now_ms < self.deaf_until_ms:
            self.pass_ms(1)
            raise OSError(5, "nobody answers")
        return super()._transact(address, write, n_read)


CELL_V = st.sampled_from([3.7, 3.7, 3.7, 4.26, 4.3, 2.79, 2.6, 1.45, 4.19, 2.85]) | st.floats(
    0.1, 4.9
)
SENSOR_C = st.sampled_from([25.0, 25.0, 46.0, 61.0, -1.0, -21.0, 44.0]) | st.floats(-40.0, 110.0)

COMMANDS = (
    Command.CONNECT,
    Command.CONNECT,
    Command.CLEAR_LATCHED,
    Command.CLEAR_LATCHED,
    Command.DISCONNECT,
    Command.SERVICE,
    Command.START_QUICK_TEST,
)


class HostileMachine(RuleBasedStateMachine):
    """Faults of the cells, single faults of the bus, commands and restarts, in any order."""

    steps = 0
    worst_ms: dict[str, int] = {}
    pack_class = HostilePack

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.quiet_ms = 0

    @initialize(phase_ms=st.integers(0, 999), wraps=st.booleans())
    def begin(self, phase_ms: int, wraps: bool) -> None:
        start_ms = (1 << 30) - 20_000 if wraps else 0
        self.pack = self.pack_class(self.folder.name, start_ms)
        self.pack.work(6000 + phase_ms)
        assert self.pack.closed == CHARGE | DISCHARGE

    def teardown(self) -> None:
        cls = type(self)
        if hasattr(self, "pack"):
            for name, ms in self.pack.worst_ms.items():
                cls.worst_ms[name] = max(ms, cls.worst_ms.get(name, 0))
        self.folder.cleanup()

    @rule(cell=st.integers(0, N_CELLS - 1), volts=CELL_V)
    def move_cell(self, cell: int, volts: float) -> None:
        self.pack.cells_v[cell] = volts

    @rule(volts=CELL_V)
    def move_all(self, volts: float) -> None:
        self.pack.cells_v = [volts] * N_CELLS

    @rule(sensor=SENSOR_C, fet=SENSOR_C)
    def warm(self, sensor: float, fet: float) -> None:
        self.pack.sensors_c = [sensor]
        self.pack.fet_c = fet

    @rule(amps=st.sampled_from([0.0, 0.0, 5.0, -5.0, 12.0, -25.0, -80.0]))
    def load(self, amps: float) -> None:
        self.pack.current_a = amps

    @rule()
    def heal(self) -> None:
        pack = self.pack
        pack.cells_v = [3.7] * N_CELLS
        pack.sensors_c = [25.0]
        pack.fet_c = 25.0
        pack.current_a = 0.0

    @rule(
        kind=st.integers(0, 1000),
        n=st.integers(1, SINGLE_MS),
        wait_ms=st.integers(0, 1100),
    )
    def disturb(self, kind: int, n: int, wait_ms: int) -> None:
        """One fault of the bus, at any moment, and no other for two periods."""
        pack = self.pack
        if pack.now_ms < self.quiet_ms:
            return
        pack.work(wait_ms)
        self.quiet_ms = pack.now_ms + 2 * PERIOD_MS
        pack.disturb(pack.bus_faults[kind % len(pack.bus_faults)], n)

    @rule(code=st.sampled_from(COMMANDS))
    def command(self, code: int) -> None:
        self.pack.app.command(code)

    @rule(what=st.sampled_from(["board", "chip"]))
    def restart(self, what: str) -> None:
        pack = self.pack
        pack.mend()
        if what == "board":
            before = pack.app.protection
            while pack.app._save(pack.app.snapshot.uptime_s):
                pass
            pack.boot()
            after = pack.app.protection
            assert after.latched == before.latched
            assert (after.connected, after.service) == (before.connected, before.service)
        else:
            pack.reset_chip()

    @rule(ms=st.sampled_from([70, 250, 500, 1000, 1000, 3000, 10000]) | st.integers(1, 2000))
    def pass_time(self, ms: int) -> None:
        self.pack.work(ms)

    @invariant()
    def is_safe(self) -> None:
        if hasattr(self, "pack"):
            type(self).steps += 1
            assert self.pack.complaints == []


class HostileChainMachine(HostileMachine):
    """The second front end."""

    steps = 0
    worst_ms: dict[str, int] = {}
    pack_class = HostileChain


def spare_the_collector() -> None:
    """The firmware collects garbage every cycle: its own, not that of the whole process."""
    gc.collect()
    gc.freeze()
