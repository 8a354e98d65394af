"""The TI BQ76952: 3 to 16 cells, coulomb counter, FET drivers, protections of its own.

A reading is nine transactions. Subcommands are asked for first and fetched after other reads,
so that the chip's working time costs nothing. In steady state nothing is allocated. Now and then
one more question tells whether the settings still stand: a bit may flip, a supply may dip.

Charge comes from the chip's own integral, never from polling the current. A failed reading leaves
the reference where it was: its charge is in the next one.

    >>> afe = Bq76952(board, n_cells=16)
    >>> afe.configure(settings)
    >>> afe.read(snapshot)
    >>> afe.set_switches(Switch.CHARGE | Switch.DISCHARGE)

Source: TI SLUUBY2B; cells beyond the lowest n-1 stand on input 16 as its chapter 2 asks.
"""

from common.codes import Switch
from common.models import N_TEMPERATURES
from common.mp import const
from firmware.afe import Afe, AfeError, AfeSettingsError
from firmware.afe import bq76952_charge as charge
from firmware.afe import bq76952_registers as reg
from firmware.afe.bq76952_bus import Bq76952Bus
from firmware.afe.bq76952_config import cells_of, inputs_of, plan_for
from firmware.afe.bq76952_setup import WATCHED, Setup
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

_FAILURES_BEFORE_LOOK = const(2)  # readings; then look whether the chip still speaks with CRC
_FAILURES_BEFORE_QUIET = const(3)
_QUIET_MS = const(12000)  # longer than any host watchdog; doubles each time, up to ...
_LONGEST_QUIET_MS = const(960000)
_STALL_MS = const(4000)  # the chip counts seconds
_ZERO_CELSIUS_DK = const(2731)
_THERMISTOR_LOWEST_DC = const(-450)  # beyond: broken or shorted wire, or no sensor
_THERMISTOR_HIGHEST_DC = const(1300)
_DATA = const(2)  # where a subcommand's answer begins in the bus buffer
_LOST = reg.POR | reg.WD | reg.CFGUPDATE  # in CONFIG_UPDATE the measurement stands still
_ALL_SWITCHES = Switch.CHARGE | Switch.DISCHARGE | Switch.PRECHARGE | Switch.PREDISCHARGE


class Bq76952(Afe):
    """One BQ76952 on ``n_cells`` cells, the lowest ones on inputs 1.. and the top one on 16.

    ``sensors`` are the pins with cell thermistors (at most four), the ones that must be there
    first; ``fet_sensor`` is the pin of the thermistor at the FETs, or ``None``. A board that is
    fed by the chip has ``afe_regulators``, the REG12 Config it needs.
    """

    name = "BQ76952"

    def __init__(
        self,
        board: "object",
        n_cells: int,
        crc: bool = True,
        sensors: "tuple[str, ...]" = ("TS1", "TS2", "TS3"),
        fet_sensor: "str | None" = "DCHG",
    ) -> None:
        if len(sensors) > N_TEMPERATURES:
            raise ValueError("BQ76952: %d sensors: at most %d" % (len(sensors), N_TEMPERATURES))
        self._board = board
        self.bus = Bq76952Bus(board, crc)
        self.n_cells = n_cells
        self.applied: "dict[str, int]" = {}  # the chip's limits as they truly are, in our units
        self._crc = crc
        self._sensors = sensors
        self._fet_sensor = fet_sensor
        self._sensor_at = bytes([self._temperature_offset(pin) for pin in sensors])
        self._fet_at = -1 if fet_sensor is None else self._temperature_offset(fet_sensor)
        self._regulators = getattr(board, "afe_regulators", None)
        self._setup = Setup(self.bus, crc)
        self._watch_every = 1
        self._unwatched = 0  # readings since the settings were last looked at
        self._small = bytearray(2)
        self._configured = False
        self._failures = 0  # failed readings in a row
        self._quiet_ms = _QUIET_MS
        self._quiet_until: int | None = None  # the chip is left alone
        self._user_ma = 1
        self._charge = charge.PassedCharge()
        self._moved_ms = 0  # when the chip's seconds were last seen to go on

    @staticmethod
    def _temperature_offset(pin: str) -> int:
        if pin not in reg.THERMISTOR_PINS:
            raise ValueError(
                "BQ76952: %r is no pin for a thermistor (there are: %s)"
                % (pin, ", ".join(sorted(reg.THERMISTOR_PINS)))
            )
        return reg.THERMISTOR_PINS[pin][1] - reg.INT_TEMPERATURE

    @property
    def errors(self) -> int:  # type: ignore[override]
        """Failed bus accesses since boot."""
        return self.bus.errors

    # --- settings -------------------------------------------------------------------------

    def configure(self, settings: Settings) -> None:  # type: ignore[override]
        """See ``Afe.configure``. The chip's measurement pauses for some tenths of a second."""
        if not 3 <= settings.n_cells <= 16:
            raise AfeSettingsError(
                "BQ76952: n_cells %d: it measures 3 to 16 (correct it, or take an LTC6813)"
                % settings.n_cells
            )
        if settings.n_cells != self.n_cells:
            raise AfeSettingsError(
                "BQ76952: settings are for %d cells, the board has %d: correct n_cells"
                % (settings.n_cells, self.n_cells)
            )
        self._begin()
        self._configured = False
        plan = plan_for(settings, self._sensors, self._fet_sensor, self._crc, self._regulators)
        try:
            self.signature = self._setup.run(plan)
        except AfeError:
            self._failed()
            raise
        self.applied = plan.applied
        self._user_ma = plan.user_ma
        self._charge.restart(plan.user_ma)
        self._moved_ms = self._board.ticks_ms()  # type: ignore[attr-defined]
        self._succeeded()
        self._watch_every = max(settings.detail_every // WATCHED, 1)
        self._unwatched = 0
        self._configured = True

    def _word(self, n: int) -> int:
        if n < 2:
            raise AfeError("BQ76952: answer of %d bytes where 2 are expected" % n)
        return self.bus.data[_DATA] | self.bus.data[_DATA + 1] << 8

    # --- measurement ----------------------------------------------------------------------

    def read(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """See ``Afe.read``. With ``afe_lost_settings`` the figures are not to be used."""
        if not self._configured:
            raise AfeError("BQ76952: not configured: call configure() first")
        self._begin()
        try:
            self._read(snapshot)
        except AfeError:
            self._failed()
            raise
        self._succeeded()

    def _begin(self) -> None:
        """``AfeError`` while the chip is left alone."""
        self.bus.hung = False  # it is asked anew
        if self._quiet_until is None:
            return
        board = self._board
        if board.ticks_diff(self._quiet_until, board.ticks_ms()) > 0:  # type: ignore[attr-defined]
            raise AfeError("BQ76952: hangs: left alone, so that its host watchdog opens")
        self._quiet_until = None
        self.bus.command_at_once(reg.ALL_FETS_OFF)

    def _failed(self) -> None:
        """Count a failure. A chip that answers but takes no command cannot be told to open.

        Its host watchdog can open, but not while it is spoken to, and closes again when it is. So
        it is told once more, and then left alone for longer and longer.
        """
        self._failures += 1
        if self.bus.hung and self._failures >= _FAILURES_BEFORE_QUIET:
            try:
                self.bus.command_at_once(reg.ALL_FETS_OFF)
            except AfeError:
                pass
            board = self._board
            now_ms = board.ticks_ms()  # type: ignore[attr-defined]
            self._quiet_until = board.ticks_add(now_ms, self._quiet_ms)  # type: ignore[attr-defined]
            self._quiet_ms = min(2 * self._quiet_ms, _LONGEST_QUIET_MS)

    def _succeeded(self) -> None:
        self._failures = 0
        self._quiet_ms = _QUIET_MS

    def _read(self, s: Snapshot) -> None:
        bus = self.bus
        if self._failures >= _FAILURES_BEFORE_LOOK:
            spoken = bus.crc
            bus.detect_crc()
            if bus.crc != spoken:
                if self._answers():  # a chip that was reset may have forgotten CRC
                    s.afe_lost_settings = True
                    return
                bus.crc = spoken  # no: the bus is disturbed
        bus.command(reg.DASTATUS6)
        bus.read_words(reg.CELL_1, reg.VOLTAGE_BYTES)
        self._take_voltages(s)
        if bus.collect(reg.DASTATUS6) < charge.BYTES:
            raise AfeError("BQ76952: DASTATUS6 is too short")
        self._charge.take(bus.data, _DATA)
        self._check_clock()
        bus.command(reg.CB_ACTIVE_CELLS)
        bus.read(reg.SAFETY_ALERT_A, reg.STATUS_BYTES)
        self._take_status(s)
        bus.read_words(reg.INT_TEMPERATURE, reg.TEMPERATURE_BYTES)
        self._take_temperatures(s)
        s.balancing = cells_of(self._word(bus.collect(reg.CB_ACTIVE_CELLS)), self.n_cells)
        self._unwatched += 1
        if self._unwatched >= self._watch_every:
            if not self._setup.kept():
                s.afe_lost_settings = True
            self._unwatched = 0
        # Last: a reading that fails must not use its charge up.
        s.delta_uah = 0 if s.afe_lost_settings else self._charge.count()

    def look(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """See ``Afe.look``: direct commands only, so that a busy chip answers as well."""
        if not self._configured:
            raise AfeError("BQ76952: not configured: call configure() first")
        bus = self.bus
        bus.read_words(reg.CELL_1, reg.VOLTAGE_BYTES)
        self._take_voltages(snapshot)
        bus.read(reg.SAFETY_ALERT_A, reg.STATUS_BYTES)
        self._take_status(snapshot)
        bus.read_words(reg.INT_TEMPERATURE, reg.TEMPERATURE_BYTES)
        self._take_temperatures(snapshot)
        if snapshot.afe_lost_settings:
            raise AfeError("BQ76952: the chip was reset and counts in other units")

    def _check_clock(self) -> None:
        """A chip that stands still answers with what it measured last, as if all were well."""
        board = self._board
        now_ms = board.ticks_ms()  # type: ignore[attr-defined]
        if self._charge.moved():
            self._moved_ms = now_ms
        elif board.ticks_diff(now_ms, self._moved_ms) > _STALL_MS:  # type: ignore[attr-defined]
            raise AfeError("BQ76952: the chip's measurement stands still: reset the chip")

    def _answers(self) -> bool:
        """Whether the chip understands what it is asked, spoken to as now."""
        try:
            return self._word(self.bus.ask(reg.DEVICE_NUMBER)) in reg.DEVICES
        except AfeError:
            return False

    def _take_voltages(self, s: Snapshot) -> None:
        data = self.bus.data
        cells = s.cell_mv
        last = self.n_cells - 1
        for i in range(self.n_cells):
            at = 2 * i if i < last else 30
            mv = data[at] | data[at + 1] << 8
            cells[i] = mv if mv < 0x8000 else 0
        raw = data[32] | data[33] << 8
        s.stack_mv = raw * 10 if raw < 0x8000 else 0
        raw = data[36] | data[37] << 8
        s.load_mv = raw * 10 if raw < 0x8000 else 0
        raw = data[38] | data[39] << 8
        s.current_ma = (raw if raw < 0x8000 else raw - 0x10000) * self._user_ma

    def _take_status(self, s: Snapshot) -> None:
        data = self.bus.data
        first = reg.SAFETY_ALERT_A
        s.afe_safety = (
            data[reg.SAFETY_STATUS_A - first]
            | data[reg.SAFETY_STATUS_B - first] << 8
            | data[reg.SAFETY_STATUS_C - first] << 16
        )
        s.afe_failed = (
            data[reg.PF_STATUS_A - first]
            | data[reg.PF_STATUS_B - first] << 8
            | data[reg.PF_STATUS_C - first] << 16
            | data[reg.PF_STATUS_D - first] << 24
        )
        at = reg.BATTERY_STATUS - first
        s.afe_lost_settings = bool((data[at] | data[at + 1] << 8) & _LOST)

    def _take_temperatures(self, s: Snapshot) -> None:
        for i in range(N_TEMPERATURES):
            known = i < len(self._sensor_at)
            s.temp_dc[i] = self._temperature(self._sensor_at[i]) if known else UNKNOWN_DC
        s.fet_dc = self._temperature(self._fet_at) if self._fet_at >= 0 else UNKNOWN_DC
        s.afe_dc = self._temperature(0)
        on = self.bus.data[reg.FET_STATUS - reg.INT_TEMPERATURE]
        s.switches = (
            (Switch.CHARGE if on & reg.FET_CHG else 0)
            | (Switch.DISCHARGE if on & reg.FET_DSG else 0)
            | (Switch.PRECHARGE if on & reg.FET_PCHG else 0)
            | (Switch.PREDISCHARGE if on & reg.FET_PDSG else 0)
        )

    def _temperature(self, at: int) -> int:
        data = self.bus.data
        dc = (data[at] | data[at + 1] << 8) - _ZERO_CELSIUS_DK
        if dc < _THERMISTOR_LOWEST_DC or dc > _THERMISTOR_HIGHEST_DC:
            return UNKNOWN_DC
        return dc

    def recover(self) -> None:
        """See ``Afe.recover``: ends OCDL and SCDL. A permanent failure has no command."""
        self._begin()
        for code in (reg.OCDL_RECOVER, reg.SCDL_RECOVER):
            self.bus.command(code)

    # --- switches and balancing -----------------------------------------------------------

    def set_switches(self, allowed: int) -> None:
        """See ``Afe.set_switches``. Opening all is one write, whatever state the chip is in."""
        bus = self.bus
        if not allowed & _ALL_SWITCHES:
            bus.command_at_once(reg.ALL_FETS_OFF)
            return
        if not self._configured:
            raise AfeError("BQ76952: switches stay open until configure() has succeeded")
        self._begin()
        self._small[0] = (
            (0 if allowed & Switch.CHARGE else reg.CHG_OFF)
            | (0 if allowed & Switch.DISCHARGE else reg.DSG_OFF)
            | (0 if allowed & Switch.PRECHARGE else reg.PCHG_OFF)
            | (0 if allowed & Switch.PREDISCHARGE else reg.PDSG_OFF)
        )
        bus.send(reg.FET_CONTROL, self._small, 1)

    def set_balancing(self, cells: int) -> None:
        """See ``Afe.set_balancing``; ``AfeError`` for neighbours or for cells that are not there.

        The chip forgets after ``applied["balancing_s"]``: repeat before.
        """
        if cells >> self.n_cells:
            raise AfeError("BQ76952: balancing 0x%X: there are %d cells" % (cells, self.n_cells))
        if cells & cells >> 1:
            raise AfeError(
                "BQ76952: balancing 0x%X: neighbours heat one resistor, bleed one at a time"
                % cells
            )
        self._begin()
        inputs = inputs_of(cells, self.n_cells)
        self._small[0] = inputs & 0xFF
        self._small[1] = inputs >> 8
        self.bus.send(reg.CB_ACTIVE_CELLS, self._small, 2)
