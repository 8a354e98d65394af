"""The measurement cycle: read the AFE, stamp, derive, and say what cannot be true.

``snapshot.faults`` holds what was seen in this cycle alone; ``protection`` debounces it. Only the
loss of the AFE is counted here, for its reaction must not wait for another cycle: after
``COMMUNICATION_FAILURES`` failed cycles in a row the fault stands, and ``protection`` opens. What
the AFE's driver says of it stands in ``problem``.

A cell that jumps by more than ``JUMP_MV`` from one cycle to the next is not believed until it has
stayed there for ``JUMP_CYCLES``; cells cannot, but a loose sense wire can. A temperature that no
cell can have is taken as unknown.
"""

from array import array

from common.codes import Fault, Switch
from common.models import N_TEMPERATURES
from common.mp import const
from firmware.afe import SAFETY_SHORT_CIRCUIT, Afe, AfeError, AfeSettingsError
from firmware.board import Board
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

COMMUNICATION_FAILURES = const(2)
CELL_LOWEST_MV = const(200)  # below it is a wire or a dead cell, not a reading
CELL_HIGHEST_MV = const(5000)
JUMP_MV = const(1000)
JUMP_CYCLES = const(5)
SENSOR_LOWEST_DC = const(-450)
SENSOR_HIGHEST_DC = const(1250)
STALE_PERIODS = const(4)  # without a valid cycle
SETTLE_CYCLES = const(1)  # before the switches must be as commanded
DIODE_MA = const(50)  # a current that makes the chip close a switch past its body diode

_SENSOR = 1 << Fault.SENSOR_IMPLAUSIBLE
_STACK = 1 << Fault.STACK_MISMATCH
_CONFIGURATION = 1 << Fault.CONFIGURATION
_COMMUNICATION = 1 << Fault.AFE_COMMUNICATION
_RESET = 1 << Fault.AFE_RESET
_PROTECTION = 1 << Fault.AFE_PROTECTION
_PERMANENT = 1 << Fault.AFE_PERMANENT_FAIL
_STALE = 1 << Fault.MEASUREMENT_STALE
_SWITCH = 1 << Fault.SWITCH_MISMATCH
_SHORT = 1 << Fault.SHORT_CIRCUIT
_MAIN_SWITCHES = Switch.CHARGE | Switch.DISCHARGE


class Measurement:
    """Owns the AFE: configures it, reads it, and commands its switches and balancing."""

    def __init__(self, afe: Afe, settings: Settings, board: Board) -> None:
        self.afe = afe
        self.settings = settings
        self.board = board
        self.failures = 0  # failed cycles in a row
        self.problem: str | None = None  # why the AFE is of no use now, for people
        self.commanded: int | None = None  # switches the AFE was last told; None: not known
        self._configured = False
        self._cycle_ms = board.ticks_ms()
        self._age_ms = 0  # of the last valid cycle
        self._settled = 0  # cycles since the switches were last told something new
        n_cells = settings.n_cells
        self._believed_mv = array("H", bytes(2 * n_cells))  # 0: nothing believed yet
        self._jumped = bytearray(n_cells)  # cycles for which a cell has not been believed

    def cycle(self, snapshot: Snapshot) -> bool:
        """Measure once into ``snapshot``; whether its figures belong to this cycle."""
        snapshot.faults = 0
        snapshot.valid = False
        self._stamp(snapshot)
        try:
            read = self._read(snapshot)
            self.failures = 0
            self.problem = None
        except AfeError as error:
            read = False
            self._failed(snapshot, error)
        self._check_age(snapshot, read)
        if not read:
            return False
        self._derive(snapshot)
        self._check_cells(snapshot)
        self._check_sensors(snapshot)
        self._check_chip(snapshot)
        snapshot.valid = True
        return True

    def set_switches(self, allowed: int) -> bool:
        """Tell the AFE which switches may be closed; ``False`` when it did not take it."""
        if self.commanded != allowed:
            self._settled = 0
        self.commanded = None
        try:
            self.afe.set_switches(allowed)
        except AfeError:
            return False
        self.commanded = allowed
        return True

    def set_balancing(self, cells: int) -> bool:
        """Tell the AFE which cells to bleed; ``False`` when it did not take it."""
        try:
            self.afe.set_balancing(cells)
        except AfeError:
            return False
        return True

    @property
    def configured(self) -> bool:
        """Whether the AFE works with these settings."""
        return self._configured

    def use_settings(self, settings: Settings) -> None:
        """Configure the AFE for other settings of this pack in the next cycle."""
        self.settings = settings
        self.problem = None
        self._configured = False

    # --- one cycle ------------------------------------------------------------------------

    def _stamp(self, s: Snapshot) -> None:
        board = self.board
        now_ms = board.ticks_ms()
        elapsed_ms = board.ticks_diff(now_ms, self._cycle_ms)
        self._cycle_ms = now_ms
        # Added up: ticks of more than six days ago would seem to lie ahead.
        self._age_ms += elapsed_ms
        s.seq += 1
        s.uptime_ms += elapsed_ms
        s.uptime_s += s.uptime_ms // 1000
        s.uptime_ms %= 1000

    def _read(self, s: Snapshot) -> bool:
        """Whether the AFE gave figures; it gives none in the cycle in which it is configured."""
        if not self._configured:
            self._configure()
            return False
        self.afe.read(s)
        if s.afe_lost_settings:
            # Without its settings the chip counts in other units: nothing it says is usable.
            s.faults |= _RESET
            self._configured = False
            self._configure()
            return False
        return True

    def _failed(self, s: Snapshot, error: AfeError) -> None:
        self._settled = 0
        if isinstance(error, AfeSettingsError):
            self.failures = 0  # it was there to refuse
            s.faults |= _CONFIGURATION
            self.problem = str(error)
            return
        if self.failures < COMMUNICATION_FAILURES:
            self.failures += 1
        if self.failures >= COMMUNICATION_FAILURES:
            s.faults |= _COMMUNICATION
            self.problem = str(error)

    def _configure(self) -> None:
        self.commanded = None
        self._settled = 0
        self.afe.configure(self.settings)
        self._configured = True

    def _check_age(self, s: Snapshot, read: bool) -> None:
        # The first reading has no predecessor that could be too old.
        age_ms = self._age_ms
        if s.seq > STALE_PERIODS and age_ms > STALE_PERIODS * self.settings.period_ms:
            s.faults |= _STALE
        if read:
            s.dt_ms = age_ms
            self._age_ms = 0

    def _derive(self, s: Snapshot) -> None:
        cells = s.cell_mv
        total = 0
        low = high = cells[0]
        low_at = high_at = 0
        for i in range(s.n_cells):
            mv = cells[i]
            total += mv
            if mv < low:
                low = mv
                low_at = i
            if mv > high:
                high = mv
                high_at = i
        s.sum_mv = total
        s.min_mv = low
        s.max_mv = high
        s.min_cell = low_at
        s.max_cell = high_at

    def _check_cells(self, s: Snapshot) -> None:
        cells = s.cell_mv
        believed = self._believed_mv
        jumped = self._jumped
        for i in range(s.n_cells):
            mv = cells[i]
            if mv < CELL_LOWEST_MV or mv > CELL_HIGHEST_MV:
                s.faults |= _SENSOR
            step = mv - believed[i]
            if believed[i] and (step > JUMP_MV or step < -JUMP_MV) and jumped[i] < JUMP_CYCLES:
                jumped[i] += 1
                s.faults |= _SENSOR
            else:
                jumped[i] = 0
                believed[i] = mv
        difference = s.sum_mv - s.stack_mv
        tolerance = self.settings.stack_tolerance_mv
        if s.open_wires:
            s.faults |= _SENSOR  # the cells beside an open wire are not measured
        if difference > tolerance or difference < -tolerance:
            s.faults |= _STACK

    def _check_sensors(self, s: Snapshot) -> None:
        temperatures = s.temp_dc
        known = 0
        low = high = UNKNOWN_DC
        for i in range(N_TEMPERATURES):
            dc = temperatures[i]
            if dc == UNKNOWN_DC:
                continue
            if dc < SENSOR_LOWEST_DC or dc > SENSOR_HIGHEST_DC:
                temperatures[i] = UNKNOWN_DC
                s.faults |= _SENSOR
                continue
            if not known or dc < low:
                low = dc
            if not known or dc > high:
                high = dc
            known += 1
        if known < self.settings.n_sensors:
            s.faults |= _SENSOR
        s.min_dc = low
        s.max_dc = high

    def _check_chip(self, s: Snapshot) -> None:
        safety = s.afe_safety
        if safety & SAFETY_SHORT_CIRCUIT:
            s.faults |= _SHORT
        if safety & ~SAFETY_SHORT_CIRCUIT:
            s.faults |= _PROTECTION
        if s.afe_failed:
            s.faults |= _PERMANENT
        if self.commanded is None:
            return
        if self._settled < SETTLE_CYCLES:
            self._settled += 1  # the chip may not have followed the last command yet
            return
        wrong = (s.switches ^ self.commanded) & _MAIN_SWITCHES
        if safety or s.afe_failed:
            wrong &= s.switches  # the chip may open by itself, never close ...
        if s.current_ma < -DIODE_MA:
            wrong &= ~(s.switches & Switch.CHARGE)  # ... but to spare its diode
        elif s.current_ma > DIODE_MA:
            wrong &= ~(s.switches & Switch.DISCHARGE)
        if wrong:
            s.faults |= _SWITCH
