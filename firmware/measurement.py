"""The measurement cycle: read the AFE, stamp, derive, and say what cannot be true.

``snapshot.faults`` holds what was seen in this cycle alone; ``diagnosis`` debounces it. Only the
loss of the AFE is counted here, for its reaction must not wait for another cycle: after
``_COMMUNICATION_FAILURES`` failed cycles in a row the fault stands, and ``protection`` opens. What
the AFE's driver says of it stands in ``problem``. An AFE that answers but does not open when told
so ``_REFUSALS`` times is not spoken to any more: its own watchdog then opens, which every question
would put off. Only the command itself is given again, every ``_SILENCE`` cycles.

A cycle that could not be read in full may still bring voltages and temperatures (``looked``):
protection does not wait for the rest.

A temperature that no cell can have is taken as unknown. What is judged beyond that, and how, is
in ``plausibility``.
"""

from common.models import N_TEMPERATURES
from common.mp import const
from firmware.afe import SAFETY_SHORT_CIRCUIT, Afe, AfeError, AfeSettingsError
from firmware.board import Board
from firmware.calibration import Calibration
from firmware.plausibility import Plausibility
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

_COMMUNICATION_FAILURES = const(2)
_SENSOR_LOWEST_DC = const(-450)
_SENSOR_HIGHEST_DC = const(1250)
_STALE_PERIODS = const(4)  # without a valid cycle
_SETTLE_CYCLES = const(1)  # before the switches must be as commanded
_DIODE_MA = const(50)  # a current that makes the chip close a switch past its body diode
_LEAK_MA = const(500)  # through an open switch: more than the sensor can be wrong ...
_LEAK_PARTS = const(50)  # ... and more than this part of the rating
_REFUSALS = const(6)
_SILENCE = const(7)  # cycles: the chip's watchdog bites after five

_SENSOR = const(1 << 11)  # SENSOR_IMPLAUSIBLE
_CONFIGURATION = const(1 << 19)  # CONFIGURATION
_COMMUNICATION = const(1 << 13)  # AFE_COMMUNICATION
_RESET = const(1 << 14)  # AFE_RESET
_PROTECTION = const(1 << 15)  # AFE_PROTECTION
_PERMANENT = const(1 << 16)  # AFE_PERMANENT_FAIL
_STALE = const(1 << 17)  # MEASUREMENT_STALE
_SWITCH = const(1 << 18)  # SWITCH_MISMATCH
_WELDED = const(1 << 26)  # SWITCH_WELDED
_INSULATION = const(1 << 28)  # INSULATION
_SHORT = const(1 << 5)  # SHORT_CIRCUIT
_CHARGE = const(1)  # codes.Switch
_DISCHARGE = const(2)
_BOTH = const(3)
_PREDISCHARGE = const(8)


class Measurement:
    """Owns the AFE: configures it, reads it, and commands its switches and balancing."""

    def __init__(self, afe: Afe, settings: Settings, board: Board) -> None:
        self.afe = afe
        self.settings = settings
        self.board = board
        self.failures = 0  # failed cycles in a row
        self.problem: str | None = None  # why the AFE is of no use now, for people
        self.calibration: Calibration | None = None
        self.commanded: int | None = None  # switches the AFE was last told; None: not known
        self._configured = False
        self._cycle_ms = board.ticks_ms()
        self._age_ms = 0  # of the last valid cycle
        self._told: int | None = None  # the last command, taken or not
        self._settled = 0  # cycles since the switches were last told something new
        self._refused = 0  # commands to open that were not taken, in a row; then silent cycles
        self._sample_ms = self._cycle_ms  # of the last cycle or look
        self._leak_ma: int = max(_LEAK_MA, settings.rated_mah // _LEAK_PARTS)
        self._plausibility = Plausibility(settings)
        # Beside the switches of an AFE that drives its own.
        self._contactors: bool = bool(settings.contactors) and afe.drives_switches

    def cycle(self, snapshot: Snapshot) -> bool:
        """Measure once into ``snapshot``; whether its figures belong to this cycle."""
        snapshot.faults = 0
        snapshot.valid = snapshot.looked = False
        self._stamp(snapshot)
        try:
            read = self._read(snapshot)
            self.failures = 0
            self.problem = None
        except AfeError as error:
            read = False
            self._failed(snapshot, error)
        self._check_age(snapshot, read)
        if self.board.insulated() is False:
            snapshot.faults |= _INSULATION
        if not read:
            if self._configured:
                self._glance(snapshot)
            return False
        if self.calibration is not None:
            self.calibration.apply(snapshot, snapshot.dt_ms)
        self._derive(snapshot)
        snapshot.faults |= self._plausibility.cells(snapshot)
        self._check_sensors(snapshot)
        self._plausibility.temperatures(snapshot)
        self._check_chip(snapshot)
        snapshot.valid = snapshot.looked = True
        return True

    def look(self, seen: Snapshot) -> bool:
        """Measure voltages, current and temperatures between two cycles; whether that went."""
        self._stamp_sample(seen, self.board.ticks_ms())
        seen.valid = seen.looked = False
        if self._configured:
            self._glance(seen)
        return seen.looked

    def set_switches(self, allowed: int) -> bool:
        """Tell the AFE which switches may be closed; ``False`` when it did not take it.

        Contactors are told first: they need no bus. An AFE that does not open one switch is told
        to open all, which is the shortest of all commands.
        """
        # The same once more, to an AFE that did not obey, is nothing new.
        if allowed != self._told:
            self._settled = 0
            self._told = allowed
        self.commanded = None
        driven = not self._contactors or self._drive(allowed)
        if self._refused >= _REFUSALS:
            return False
        try:
            self.afe.set_switches(allowed if driven else 0)
        except AfeError:
            if not allowed or not self._opens():
                self._refused += 1
            return False
        self._refused = 0
        if driven:
            self.commanded = allowed
        return driven

    def _drive(self, contactors: int) -> bool:
        try:
            self.board.drive_switches(contactors)
        except OSError:
            return False
        return True

    def _opens(self) -> bool:
        """Tell the AFE to open all; whether it takes it."""
        try:
            self.afe.set_switches(0)
        except AfeError:
            return False
        return True

    def set_balancing(self, cells: int) -> bool:
        """Tell the AFE which cells to bleed; ``False`` when it did not take it."""
        if self._refused >= _REFUSALS:
            return False
        try:
            self.afe.set_balancing(cells)
        except AfeError:
            return False
        return True

    def recover(self) -> bool:
        """End what the AFE has latched by itself; ``False`` when it did not take it."""
        try:
            self.afe.recover()
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
        self._stamp_sample(s, now_ms)
        s.seq += 1
        s.uptime_ms += elapsed_ms
        s.uptime_s += s.uptime_ms // 1000
        s.uptime_ms %= 1000

    def _stamp_sample(self, s: Snapshot, now_ms: int) -> None:
        s.since_ms = self.board.ticks_diff(now_ms, self._sample_ms)
        self._sample_ms = now_ms

    def _glance(self, s: Snapshot) -> None:
        if self._refused >= _REFUSALS:
            return
        try:
            self.afe.look(s)
        except AfeError:
            return
        if self.calibration is not None:
            self.calibration.apply(s, 0)
        self._derive(s)
        self._check_sensors(s)
        s.looked = True

    def _read(self, s: Snapshot) -> bool:
        """Whether the AFE gave figures; it gives none in the cycle in which it is configured."""
        if self._refused >= _REFUSALS:
            self._refused += 1
            if self._refused >= _REFUSALS + _SILENCE:
                self._refused = 0 if self._opens() else _REFUSALS
            if self._refused:
                raise AfeError("AFE does not open: left to its watchdog")
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
        if self.failures < _COMMUNICATION_FAILURES:
            self.failures += 1
        if self.failures >= _COMMUNICATION_FAILURES:
            s.faults |= _COMMUNICATION
            self.problem = str(error)

    def _configure(self) -> None:
        self.commanded = self._told = None
        self._settled = 0
        self.afe.configure(self.settings)
        self._configured = True

    def _check_age(self, s: Snapshot, read: bool) -> None:
        # The first reading has no predecessor that could be too old.
        age_ms = self._age_ms
        if s.seq > _STALE_PERIODS and age_ms > _STALE_PERIODS * self.settings.period_ms:
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

    def _check_sensors(self, s: Snapshot) -> None:
        temperatures = s.temp_dc
        known = 0
        low = high = UNKNOWN_DC
        for i in range(N_TEMPERATURES):
            dc = temperatures[i]
            if dc == UNKNOWN_DC:
                continue
            if dc < _SENSOR_LOWEST_DC or dc > _SENSOR_HIGHEST_DC:
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
        commanded = self.commanded
        if commanded is None:
            return
        if self._settled < _SETTLE_CYCLES:
            self._settled += 1  # the chip may not have followed the last command yet
            return
        closed = self.board.switch_feedback() if self._contactors else -1
        if closed < 0:
            closed = s.switches
        missing = commanded & ~closed & _BOTH
        if safety or s.afe_failed:
            missing = 0  # the chip may open by itself, never close ...
        if commanded & _PREDISCHARGE:
            missing &= ~_DISCHARGE  # ... and waits for the voltage behind it
        welded = closed & ~commanded & _BOTH
        ma = s.current_ma
        if ma < -_DIODE_MA:
            welded &= ~_CHARGE  # ... but to spare its diode
        elif ma > _DIODE_MA:
            welded &= ~_DISCHARGE
        if ma > self._leak_ma:
            welded |= _CHARGE & ~commanded
        elif ma < -self._leak_ma:
            welded |= _DISCHARGE & ~commanded
        if missing:
            s.faults |= _SWITCH
        if welded:
            s.faults |= _WELDED
