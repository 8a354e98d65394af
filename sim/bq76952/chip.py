"""The chip as a whole: one I2C transaction in, bytes out; one step of the world in, FETs out."""

import logging
import random
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from . import commands
from . import registers as reg
from .alarm import Alarm
from .balancing import Balancing
from .coulomb import CoulombCounter
from .faults import Faults, RejectedWrites, UnknownAccess
from .fets import Fets
from .host_port import HostPort
from .measurement import INPUTS, Measurement, Noise
from .memory import DataMemory
from .permanent import PermanentFails
from .protections import Conditions, Protections
from .sleep import Sleep

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

STARTUP_US = 4300.0
TWICE_WITHIN_US = 4e6
OTP_WRITABLE_V = (10.0, 12.0)
_CELL_OFFSET_SD_MV = 1.0
_CURRENT_OFFSET_SD_UV = 1.0
_CURRENT_GAIN_SD = 0.0015


class Bq76952:
    """One BQ76952 with ``n_cells`` cells (3 to 16) and a shunt of ``shunt_uohm`` microohm.

    ``cell_offset_mv`` (one per cell), ``current_offset_ma`` and ``current_gain`` are the analogue
    errors, drawn from ``seed`` where not given. ``crc`` builds the variant that talks with CRC
    from the start. ``address`` has seven bits. ``current_is_recorded``: it flows whatever the
    switches do, so they are not found to have failed. Public counters: ``rejected``,
    ``unknown_accesses`` (what was asked for: how often). With ``strict`` such an access raises
    ``UnknownAccess``: on the chip it reads zeros, and nobody would notice. ``faults`` injects;
    after ``faults.dead`` power comes back with ``power_on_reset``.
    """

    fets: Fets
    coulomb: CoulombCounter
    protections: Protections
    permanent: PermanentFails
    balancing: Balancing
    sleep: Sleep
    manufacturer_data: bytearray
    cuv_snapshot: list[int]
    cov_snapshot: list[int]

    def __init__(
        self,
        n_cells: int,
        *,
        shunt_uohm: float,
        seed: int,
        crc: bool = True,
        noise_mv: float = 0.3,
        cell_offset_mv: Sequence[float] | None = None,
        current_offset_ma: float | None = None,
        current_gain: float | None = None,
        address: int = 0x08,
        current_is_recorded: bool = False,
        strict: bool = True,
    ) -> None:
        if not 3 <= n_cells <= INPUTS:
            raise ValueError(f"n_cells: {n_cells} is not between 3 and {INPUTS}")
        rng = random.Random(seed)  # noqa: S311 - a simulation's noise
        drawn_mv = [rng.gauss(0.0, _CELL_OFFSET_SD_MV) for _ in range(n_cells)]
        drawn_uv = rng.gauss(0.0, _CURRENT_OFFSET_SD_UV)
        drawn_gain = 1.0 + rng.gauss(0.0, _CURRENT_GAIN_SD)
        if cell_offset_mv is not None and len(cell_offset_mv) != n_cells:
            raise ValueError(f"cell_offset_mv: {len(cell_offset_mv)} values for {n_cells} cells")
        offset_uv = (
            drawn_uv if current_offset_ma is None else current_offset_ma * shunt_uohm / 1000
        )
        self.n_cells = n_cells
        self.faults = Faults()
        self.rejected = RejectedWrites()
        self.unknown_accesses: Counter[str] = Counter()
        self.now_us = 0.0
        self.file = bytearray(reg.REGISTER_COUNT)
        self.memory = DataMemory(crc)
        self.noise = Noise(rng)
        self.measurement = Measurement(
            n_cells, self.noise, noise_mv, drawn_mv if cell_offset_mv is None else cell_offset_mv
        )
        self.coulomb = CoulombCounter(
            shunt_uohm, offset_uv, drawn_gain if current_gain is None else current_gain
        )
        self.protections = Protections()
        self.permanent = PermanentFails(checks_fets=not current_is_recorded)
        self._strict = strict
        self.fets = Fets()
        self.balancing = Balancing()
        self.manufacturer_data = bytearray(32)
        self.alarm = Alarm()
        self.sleep = Sleep()
        self._conditions = Conditions()
        self._host = HostPort(self, address)
        self.power_on_reset()
        self._ready_us = 0.0  # it has had power for long

    # --- life ---------------------------------------------------------------------------------

    def power_on_reset(self) -> None:
        """Power came back, or RESET: defaults, POR set, silent for the start-up time."""
        self._restart()
        self._por = True

    def watchdog_reset(self) -> None:
        """The chip's own processor hung and was reset: as power-on, but WD is set."""
        self._restart()
        self._watchdog = True

    def _restart(self) -> None:
        self._por = self._watchdog = False
        self._ready_us = self.now_us + STARTUP_US
        self.file[:] = bytes(reg.REGISTER_COUNT)
        self.memory.restore_defaults()
        self._asked_twice: tuple[int, float] = (0, 0.0)
        self._shut_down = self._deep_sleep = False
        self._current_ma = 0.0
        self._stack_v = 0.0
        self.config_update = False
        self.security = reg.FULL_ACCESS
        self.key_words = 0
        self.cuv_snapshot = [0] * INPUTS
        self.cov_snapshot = [0] * INPUTS
        self._host.reset()
        self.alarm.reset()
        self.protections.reset()
        self.permanent.reset()
        self.measurement.reset()
        self.balancing.reset()
        self.fets.reset(self.memory)
        self._configure()
        self.coulomb.reset()

    def _configure(self) -> None:
        memory = self.memory
        self.measurement.configure(memory)
        self.coulomb.configure(memory)
        self.protections.configure(memory)
        self.permanent.configure(memory)
        self.fets.configure(memory)
        self.balancing.configure(memory)
        self.sleep.configure(memory)
        self.alarm.enable = memory.integer("default_alarm_mask")

    def enter_config_update(self) -> None:
        """SET_CFGUPDATE: FETs off, balancing off, measurement and protections stand still."""
        self.config_update = True
        self.balancing.stop()
        self.measurement.balance_inputs = 0
        self.fets.off()

    def exit_config_update(self) -> None:
        """EXIT_CFGUPDATE: the settings take effect; POR and WD clear."""
        self._por = self._watchdog = False
        if self.config_update:
            self.config_update = False
            self._configure()

    def deep_sleep(self, *, enter: bool) -> None:
        """DEEPSLEEP: FETs off, nothing measured, nothing protected; or out of it."""
        self._deep_sleep = enter
        if enter:
            self.fets.off()
            self.balancing.stop()

    def shut_down(self) -> None:
        """SHUTDOWN: silent and open until the next power-on."""
        self._shut_down = True
        self.fets.off()
        self.balancing.stop()

    def twice(self, command: int, action: Callable[[], None]) -> None:
        """Run ``action`` if ``command`` came for the second time within 4 s."""
        last, when = self._asked_twice
        if last == command and self.now_us - when <= TWICE_WITHIN_US:
            self._asked_twice = (0, 0.0)
            action()
        else:
            self._asked_twice = (command, self.now_us)

    def swap_comm_mode(self) -> None:
        """SWAP_COMM_MODE: Comm Type and the address from the data memory take effect."""
        self._host.swap_mode()

    # --- the world ----------------------------------------------------------------------------

    @property
    def charge_fet(self) -> bool:
        """The CHG FET lets charge current pass."""
        return self.fets.charge and not self.faults.dead

    @property
    def discharge_fet(self) -> bool:
        """The DSG FET lets discharge current pass."""
        return self.fets.discharge and not self.faults.dead

    @property
    def precharge_fet(self) -> bool:
        """There is none on this board."""
        return False

    @property
    def predischarge_fet(self) -> bool:
        """The PDSG FET lets discharge current pass, through its resistor."""
        return self.fets.predischarge and not self.faults.dead

    @property
    def balance_mask(self) -> int:
        """The cells bled now; bit 0 = the lowest cell."""
        active = self.balancing.active
        if not active or self.faults.dead:
            return 0
        return sum((active >> at & 1) << cell for cell, at in enumerate(self.measurement.inputs))

    @property
    def regulator_on(self) -> bool:
        """REG1 and REG2 feed the host: false while the host watchdog has turned them off."""
        option = self.memory.integer("hwd_regulator_options")
        if self.faults.dead or self._shut_down:
            return False
        if not (self.protections.status[2] & reg.HWDF and option & 0x30):
            return True
        off_s = option & 0x0F
        silent_s = self.protections.host_silent_s - self.memory.integer("hwd_delay_s")
        return option & 0x30 == 0x20 and off_s > 0 and silent_s >= off_s

    def step(
        self,
        dt_s: float,
        cell_v: "Sequence[float] | NDArray[np.float64]",
        current_a: float,
        temperatures_c: Sequence[float],
        die_c: float,
        fet_c: float,
        pack_v: float | None = None,
    ) -> None:
        """The world of the next ``dt_s``: true voltages (lowest cell first), current (+ = charge).

        ``temperatures_c`` are the thermistors at TS1, TS2, TS3 and HDQ; NaN or a missing one is an
        open input. ``pack_v`` is the terminal voltage; None: the stack's while a FET is on.
        """
        self.now_us += dt_s * 1e6
        if self._host.subcommands.busy:
            self._host.subcommands.advance()
        if self.faults.dead or self._shut_down or self.config_update or self._deep_sleep:
            self.fets.off()
            return
        cells: list[float] = cell_v.tolist() if hasattr(cell_v, "tolist") else list(cell_v)
        self._stack_v = stack_v = sum(cells)
        if pack_v is None:
            pack_v = stack_v if self.fets.discharge or self.fets.charge else 0.0
            above_v = 0.0
        else:
            above_v = pack_v - stack_v
        coulomb, m = self.coulomb, self.measurement
        coulomb.step(dt_s, current_a, self.noise.one())
        self._current_ma = current_ma = coulomb.current_ma(coulomb.counts)
        struct.pack_into("<h", self.file, reg.CC2_CURRENT, coulomb.user_a(coulomb.counts))
        scanned = m.step(
            dt_s, cells, temperatures_c, die_c, fet_c, pack_v, self.faults.open_wire_above
        )
        now = self._conditions
        now.cell_max_v, now.cell_min_v = m.cell_max_v, m.cell_min_v
        now.shunt_uv = coulomb.shunt_uv(current_a)
        now.current_ma, now.cc1_usera = current_ma, coulomb.user_a(coulomb.cc1_counts)
        now.cell_max_c, now.cell_min_c = m.cell_max_c, m.cell_min_c
        now.fet_c, now.die_c = m.fet_c, m.die_c
        now.pack_above_stack_v = above_v
        now.stack_off_v, now.cells = m.stack_v - sum(m.cells_v), self.n_cells
        now.charge_gate, now.discharge_gate = self.fets.charge_gate, self.fets.discharge_gate
        before = self.protections.status[0]
        self.protections.step(dt_s, now)
        if self.fets.manufacturing & reg.MS_PF_EN:
            failing = self.faults.chip_failure
            self.permanent.step(dt_s, now, self.protections.status[2], failing)
        tripped = self.protections.status[0] & ~before
        if tripped & (reg.CUV | reg.COV):
            self._take_snapshots(tripped)
        self.sleep.step(dt_s, current_ma, above_v, bool(self.balancing.active))
        self.balancing.step(dt_s, m, self.sleep.asleep)
        m.balance_inputs = self.balancing.active
        self.fets.pass_time(dt_s, stack_v - pack_v)
        self._update_fets()
        full = scanned and m.take_full_scan()
        balancing = bool(m.balance_inputs)
        self.alarm.step(self.protections, self.permanent, self.fets, balancing, scanned, full)

    def _take_snapshots(self, tripped: int) -> None:
        self.measurement.encode(self.file)
        if tripped & reg.CUV:
            self.cuv_snapshot = list(self.measurement.cells_mv)
        if tripped & reg.COV:
            self.cov_snapshot = list(self.measurement.cells_mv)

    def _update_fets(self) -> None:
        if self.config_update or self._deep_sleep or self._shut_down:
            self.fets.off()
            return
        failed = any(self.permanent.status)
        self.fets.update(self.protections.status, failed, self.sleep.asleep, self._current_ma)

    # --- the bus ------------------------------------------------------------------------------

    def i2c(self, address: int, write: bytes, n_read: int) -> bytes:
        """One transaction: ``write``, then ``n_read`` bytes after a repeated start.

        With CRC on, ``write`` and the answer carry a CRC after every data byte, and ``n_read``
        counts them too. Raises ``Nack``.
        """
        return self._host.transact(address, write, n_read)

    def clock_bus(self) -> None:
        """Nine clocks and a stop from the host: frees SDA when the chip is held in a byte."""
        self._host.clock_bus()

    def flip_bit(self, address: int, bit: int) -> None:
        """A bit of the data memory turns over by itself, and has its effect at once."""
        self.memory.flip(address, bit)
        self._configure()

    @property
    def last_bus_us(self) -> float:
        """How long the last transaction held the bus, clock stretching included."""
        return self._host.last_bus_us

    @property
    def powered(self) -> bool:
        """Has power, is not shut down, and the start-up time is over."""
        return not (self.faults.dead or self._shut_down or self.now_us < self._ready_us)

    def refresh(self) -> None:
        """Bring voltages and temperatures in the register file up to the last scan."""
        if self.measurement.stale:
            self.measurement.encode(self.file)

    def battery_status(self) -> int:
        """The word at 0x12."""
        p, sleep = self.protections, self.sleep
        status = self.security << reg.BS_SECURITY_SHIFT
        status |= reg.BS_CFGUPDATE if self.config_update else 0
        status |= reg.BS_SLEEP_EN if sleep.enabled else 0
        status |= reg.BS_POR if self._por else 0
        status |= reg.BS_WD if self._watchdog else 0
        status |= 0 if OTP_WRITABLE_V[0] <= self._stack_v <= OTP_WRITABLE_V[1] else reg.BS_OTPB
        status |= reg.BS_SS if any(p.status) else 0
        status |= reg.BS_PF if any(self.permanent.status) else 0
        status |= reg.BS_SLEEP if sleep.asleep else 0
        return status

    # --- subcommands --------------------------------------------------------------------------

    def run_subcommand(self, command: int) -> bytes | None:
        """Run or answer ``command``; None where there is no data."""
        if self.security == reg.SEALED and command in commands.NEEDS_UNSEALED:
            self.rejected.sealed += 1
            return None
        handler = commands.HANDLERS.get(command)
        if handler is None:
            if not commands.unlock(self, command):
                self.unknown("subcommand", command)
                return bytes(32)
            return None
        answer = handler(self)
        if answer is None:
            self._update_fets()
        return answer

    def take_data(self, command: int, data: bytes) -> bool:
        """A subcommand's data has been accepted; False where the chip has none such."""
        known = commands.take_data(self, command, data)
        self.measurement.balance_inputs = self.balancing.active
        self._update_fets()
        return known

    def unknown(self, kind: str, code: int) -> None:
        """Count an access to something that is not here; log the first, or raise."""
        key = f"{kind} 0x{code:04X}"
        if key not in self.unknown_accesses:
            _log.warning("BQ76952: %s does not exist here; it reads as zeros", key)
        self.unknown_accesses[key] += 1
        if self._strict:
            raise UnknownAccess(f"BQ76952: {key} is not modelled")
