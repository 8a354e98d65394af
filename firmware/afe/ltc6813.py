"""One to four LTC6813-1 in a chain, an INA228 at the shunt, and switches that the board drives.

The LTC6813 measures up to 18 cells each and bleeds them; it protects nothing. The firmware's own
loop and the INA228's ALERT line are all that opens the switches: see docs/afe-ltc6813.md.

A reading starts the cells of all chips and their sums at once; while they convert it checks the
chips' configuration and takes current and charge. What changes slowly is converted between two
readings (``ltc6813_turns.py``). Results are cleared before each conversion, and those of cells are
seen to be: a chip that missed a command never gives old figures. In steady state nothing is
allocated.

    >>> afe = Ltc6813(board, (12, 12))
    >>> afe.configure(settings)
    >>> afe.read(snapshot)
    >>> afe.turns.wires.open[1]  # bit n: the wire at C(n) of the second chip
    0

Source: LTC6813-1 data sheet.
"""

from array import array

from common.codes import Switch
from common.crc import crc32
from common.mp import const
from firmware.afe import (
    FAILED_MEMORY,
    FAILED_REFERENCE,
    SAFETY_OCC,
    SAFETY_SCD,
    Afe,
    AfeError,
    AfeSettingsError,
    ina228,
)
from firmware.afe import ltc6813_registers as reg
from firmware.afe.ltc6813_bus import Ltc6813Bus
from firmware.afe.ltc6813_config import ChainConfig
from firmware.afe.ltc6813_turns import Turns
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_MV, Snapshot

_CHIPS = const(4)
_UNDIVIDED = const(20)  # cells whose voltage VBUS takes as it is
_CONVERSIONS = const(2)  # tries, when a chip missed the command
_PERIOD_MOST_MS = const(1000)  # else the chips' watchdog ends between two readings
_SETTLE_READS = const(2)  # before the switches must be as driven
_BAD_REFERENCES = const(2)  # on end, before the chip is given up
_MAIN_SWITCHES = Switch.CHARGE | Switch.DISCHARGE
_ALL_SWITCHES = _MAIN_SWITCHES | Switch.PRECHARGE | Switch.PREDISCHARGE


class Ltc6813(Afe):
    """A chain; ``cells`` of each chip, the one next to the host and to the negative pole first.

    A chip's cells are on its lowest inputs, the inputs above shorted to the top one. Each chip has
    ``sensors`` thermistors (on GPIO1 to 3), the first one also ``fet_sensor`` at the switches
    (GPIO4). ``most_bled`` is how many cells of a chip may be bled at once without heating it up.
    ``open_wire_runs`` is 2 with at most 10 nF at the inputs, 10 with 100 nF (2.6 ms each).
    ``divider`` is what the terminals' voltage is divided by before the INA228's VBUS, which takes
    85 V: ``None`` for 4 with more than 20 cells, else 1.
    """

    name = "LTC6813"
    drives_switches = False

    def __init__(
        self,
        board: "object",
        cells: "tuple[int, ...]" = (18,),
        sensors: int = 3,
        fet_sensor: bool = True,
        most_bled: int = 6,
        open_wire_runs: int = 2,
        divider: "int | None" = None,
    ) -> None:
        if not 1 <= len(cells) <= _CHIPS:
            raise ValueError("LTC6813: %d chips: a chain has 1 to %d" % (len(cells), _CHIPS))
        for n in cells:
            if not 3 <= n <= reg.CELLS:
                raise ValueError("LTC6813: %d cells: a chip measures 3 to %d" % (n, reg.CELLS))
        if not 0 <= sensors <= 3:
            raise ValueError("LTC6813: %d sensors: a chip has GPIO1 to 3 for them" % sensors)
        n_chips = len(cells)
        self._board = board
        self.bus = Ltc6813Bus(board, n_chips)
        self.ina = ina228.Ina228(board)
        self.n_cells = sum(cells)
        self.applied: "dict[str, int]" = {}  # limits as they truly are, in our units
        self.config = ChainConfig(self.bus, cells)
        self.turns = Turns(board, self.bus, cells, sensors, fet_sensor, open_wire_runs)
        self._cells = cells
        self._most_bled = most_bled
        if divider is None:
            divider = 4 if self.n_cells > _UNDIVIDED else 1
        self._divider = divider
        self._codes = array("H", bytes(2 * self.n_cells))
        self._configured = False
        self._safety = 0  # seen, and not reported yet
        self._driven = 0
        self._reads = 0  # since the switches were driven
        self._bled_ms = 0

    @property
    def errors(self) -> int:  # type: ignore[override]
        """Failed bus accesses since boot, of both buses."""
        return self.bus.errors + self.ina.errors

    # --- settings -------------------------------------------------------------------------

    def configure(self, settings: Settings) -> None:  # type: ignore[override]
        """See ``Afe.configure``. Takes some 20 ms."""
        self._configured = False
        self._drive(0)
        if settings.n_cells != self.n_cells:
            raise AfeSettingsError(
                "LTC6813: settings are for %d cells, the board has %d: correct n_cells"
                % (settings.n_cells, self.n_cells)
            )
        if settings.balance_max_cells > self._most_bled:
            raise AfeSettingsError(
                "LTC6813: balance_max_cells %d: one chip may bleed %d at once (lower it)"
                % (settings.balance_max_cells, self._most_bled)
            )
        if settings.period_ms > _PERIOD_MOST_MS:
            raise AfeSettingsError(
                "LTC6813: period_ms %d: the chips forget their configuration after %d ms (at "
                "most %d)" % (settings.period_ms, reg.WATCHDOG_MS, _PERIOD_MOST_MS)
            )
        bus = self.bus
        bus.wake(reg.WAKE_US)
        self.config.lay_out(0)
        if not self.config.write():
            raise AfeSettingsError(
                "LTC6813: a chip does not keep its configuration: check the chain and its supply"
            )
        if bus.goes_on():
            raise AfeSettingsError(
                "LTC6813: more than %d chips answer: name the cells of each" % bus.n_chips
            )
        self.ina.configure(settings)
        self.applied = dict(self.ina.applied)
        self.applied["balancing_s"] = reg.DCTO_S
        self.applied["discharge_timer"] = 1 if self.config.timers else 0
        image = bytes(self.config.a) + bytes(self.config.b) + self.ina.image
        self.signature = crc32(image, 0, len(image))
        self.turns.restart()
        self.turns.start()
        self._configured = True

    # --- measurement ----------------------------------------------------------------------

    def read(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """See ``Afe.read``. With ``afe_lost_settings`` the figures are not to be used."""
        self._measure(snapshot)
        if snapshot.afe_lost_settings:
            return
        # Last: a reading that fails must use up neither charge nor alarm.
        self._safety = 0
        snapshot.delta_uah = self.ina.count()

    def look(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """See ``Afe.look``: a reading that uses up neither charge nor alarm."""
        self._measure(snapshot)
        if snapshot.afe_lost_settings:
            raise AfeError("LTC6813: a chip was reset: its settings are lost")

    def _measure(self, s: Snapshot) -> None:
        if not self._configured:
            raise AfeError("LTC6813: not configured: call configure() first")
        self.bus.wake(reg.READY_US)
        self.turns.finish()
        s.afe_lost_settings = not self._convert(s)
        if s.afe_lost_settings:
            return
        self.turns.convert_sensors()
        self.turns.give_temperatures(s)
        self._give_state(s)
        self.turns.start()
        s.afe_safety = self._safety

    def _convert(self, s: Snapshot) -> bool:
        """Cells, sums and current of one moment; ``False`` when a chip was reset."""
        bus = self.bus
        missed = -1
        for _ in range(_CONVERSIONS):
            bus.wake(reg.READY_US)
            bus.command(reg.CLRCELL)
            missed = self._uncleared()
            if missed >= 0:
                bus.errors += 1
                continue
            bus.command(reg.ADCVSC)
            if not self.config.stands():
                return False
            self._watch_alert()
            if self.ina.lost:
                return False
            self.ina.read_current()
            self._board.sleep_us(reg.ADCVSC_US)  # type: ignore[attr-defined]
            bus.wake(reg.READY_US)  # the ports may have gone idle meanwhile
            missed = bus.read_cells(self._cells, self._codes)
            if missed < 0:
                self._give_cells(s)
                return True
            bus.errors += 1
        raise AfeError("LTC6813: chip %d of %d does not convert" % (missed + 1, bus.n_chips))

    def _uncleared(self) -> int:
        """The first chip that still shows old codes of cells, -1: none does."""
        bus = self.bus
        bus.read(reg.RDCV[0])
        for chip in range(bus.n_chips):
            if bus.word(chip, 0) != reg.CLEARED:
                return chip
        return -1

    def _give_cells(self, s: Snapshot) -> None:
        bus = self.bus
        bus.read(reg.RDSTATA)
        s.stack_mv = 0
        for chip in range(bus.n_chips):
            code = bus.word(chip, 0)
            if code == reg.CLEARED:
                raise AfeError("LTC6813: chip %d does not sum its cells" % (chip + 1))
            s.stack_mv += code * reg.SUM_MV
        codes = self._codes
        for i in range(self.n_cells):
            s.cell_mv[i] = (codes[i] + reg.CODES_PER_MV // 2) // reg.CODES_PER_MV
        s.current_ma = self.ina.current_ma
        s.load_mv = self.ina.bus_mv * self._divider if self.ina.bus_mv >= 0 else UNKNOWN_MV

    def _watch_alert(self) -> None:
        """Look for alarms of the INA228, with the switches open before its ALERT lets go."""
        ina = self.ina
        if self._reads < _SETTLE_READS:
            self._reads += 1
        else:
            closed = self._board.switch_feedback()  # type: ignore[attr-defined]
            if closed >= 0 and self._driven & ~closed & _MAIN_SWITCHES:
                self._drive(0)  # ALERT may be what holds them open
        ina.read_alert()
        if ina.flags:
            self._drive(0)
            if ina.flags & ina228.CHARGE_FLAG:
                self._safety |= SAFETY_OCC
            if ina.flags & ina228.DISCHARGE_FLAG:
                self._safety |= SAFETY_SCD
            ina.flags = 0

    def _give_state(self, s: Snapshot) -> None:
        closed = self._board.switch_feedback()  # type: ignore[attr-defined]
        s.switches = closed if closed >= 0 else self._driven
        s.open_wires = self.turns.wires.n_open
        s.afe_failed = FAILED_MEMORY if self.ina.corrupt else 0
        if self.turns.bad_references >= _BAD_REFERENCES:
            s.afe_failed |= FAILED_REFERENCE
        if self.config.bled and self._since_bled_ms() > 1000 * reg.DCTO_S:
            self.set_balancing(0)  # where DTEN is low nothing else ends it while we read
        s.balancing = self.config.bleeding()

    def _since_bled_ms(self) -> int:
        board = self._board
        return board.ticks_diff(board.ticks_ms(), self._bled_ms)  # type: ignore[attr-defined,no-any-return]

    # --- switches and balancing -----------------------------------------------------------

    def set_switches(self, allowed: int) -> None:
        """See ``Afe.set_switches``; ``AfeError`` when the board cannot drive them."""
        allowed &= _ALL_SWITCHES
        if allowed and not self._configured:
            raise AfeError("LTC6813: switches stay open until configure() has succeeded")
        self._drive(allowed)

    def _drive(self, bits: int) -> None:
        try:
            self._board.drive_switches(bits)  # type: ignore[attr-defined]
        except OSError:
            raise AfeError("LTC6813: the board cannot drive its switches")  # noqa: B904
        self._driven = bits
        self._reads = 0

    def set_balancing(self, cells: int) -> None:
        """See ``Afe.set_balancing``; ``AfeError`` for too many of one chip or cells not there.

        The chips forget after ``applied["balancing_s"]``: repeat before.
        """
        if cells >> self.n_cells:
            raise AfeError("LTC6813: balancing 0x%X: there are %d cells" % (cells, self.n_cells))
        if not self._configured:
            raise AfeError("LTC6813: nothing is bled until configure() has succeeded")
        rest = cells
        for chip in range(self.bus.n_chips):
            n = self._cells[chip]
            if _ones(rest & (1 << n) - 1) > self._most_bled:
                raise AfeError(
                    "LTC6813: balancing 0x%X: chip %d may bleed %d cells at once"
                    % (cells, chip + 1, self._most_bled)
                )
            rest >>= n
        self.bus.wake(reg.READY_US)
        if not self.config.stands():  # writing it would hide that from the next reading
            raise AfeError("LTC6813: a chip has lost its configuration")
        self.config.lay_out(cells)
        self._bled_ms = self._board.ticks_ms()  # type: ignore[attr-defined]
        if not self.config.write():
            raise AfeError("LTC6813: a chip does not take which cells to bleed")


def cells_of_chips(n_cells: int) -> "tuple[int, ...]":
    """The fewest chips for ``n_cells``, each with as many as the next or one more."""
    n_chips = -(-n_cells // reg.CELLS)
    return tuple([(n_cells + n_chips - 1 - chip) // n_chips for chip in range(n_chips)])


def _ones(bits: int) -> int:
    n = 0
    while bits:
        bits &= bits - 1
        n += 1
    return n
