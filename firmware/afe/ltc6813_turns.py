"""What a chain of LTC6813 converts besides its cells: thermistors, open wires, its temperature.

Thermistors are converted in each reading. Between two readings, in turn: all inputs pulled up, all
inputs pulled down (with which the test for open wires is complete), the chips' own temperature.
Each is started at the end of a reading and fetched at the beginning of the next, so that it costs
no waiting; the temperature of a chip is at most three readings old.

What could not be fetched is unknown until its next turn.

    >>> turns.finish()
    >>> turns.convert_sensors()
    >>> turns.give_temperatures(snapshot)
    >>> turns.start()

Source: LTC6813-1 data sheet (ADAX, ADSTAT, ADOW).
"""

from array import array

from common.models import N_TEMPERATURES
from common.mp import const
from firmware.afe import ltc6813_registers as reg
from firmware.afe.ltc6813_bus import Ltc6813Bus
from firmware.afe.ltc6813_wires import OpenWires
from firmware.afe.thermistor import Thermistor
from firmware.snapshot import UNKNOWN_DC, Snapshot

_NOTHING = const(0)
_PULL_UP = const(1)
_PULL_DOWN = const(2)
_DIE = const(3)
_FET_SENSOR = const(0)  # word of the group: GPIO4 of the first chip
_REFERENCE = const(2)  # word of the same group


class Turns:
    """Of chips with ``cells`` cells and ``sensors`` thermistors each."""

    def __init__(
        self,
        board: "object",
        bus: Ltc6813Bus,
        cells: "tuple[int, ...]",
        sensors: int,
        fet_sensor: bool,
        open_wire_runs: int,
    ) -> None:
        self.wires = OpenWires(cells)
        self.sensor_dc = array("h", [UNKNOWN_DC] * (len(cells) * sensors))  # chip by chip
        self.bad_references = 0  # times on end that a chip's second reference was far off
        self._board = board
        self._bus = bus
        self._cells = cells
        self._sensors = sensors
        self._has_fet_sensor = fet_sensor
        self._runs = open_wire_runs
        self._ntc = Thermistor(10000, 3435, 10000)
        self._reference = array("H", bytes(2 * len(cells)))  # 0: not to be used
        self._fet_dc = UNKNOWN_DC
        self._die_dc = UNKNOWN_DC
        self._turn = 0
        self._converting = _NOTHING

    def restart(self) -> None:
        """What was measured before belongs to a time before a reset."""
        self._forget_sensors()
        self._die_dc = UNKNOWN_DC
        self.bad_references = 0
        self._turn = 0
        self.wires.forget()

    def start(self) -> None:
        """Start what is in turn. Results are cleared: a chip that misses it shows no old ones."""
        bus = self._bus
        bus.wake(reg.READY_US)
        turn = self._turn = self._turn % _DIE + 1
        if turn == _DIE:
            bus.command(reg.CLRSTAT)
            bus.command(reg.ADSTAT)
        else:
            pull = reg.ADOW_UP if turn == _PULL_UP else reg.ADOW_DOWN
            bus.command(reg.CLRCELL)
            for _ in range(self._runs - 1):  # until the inputs' capacitors have followed
                bus.command(pull)
                self._board.sleep_us(reg.ADOW_US)  # type: ignore[attr-defined]
            bus.command(pull)
        self._converting = turn

    def finish(self) -> None:
        """Fetch what was started."""
        turn = self._converting
        self._converting = _NOTHING
        wires = self.wires
        if turn == _DIE:
            self._fetch_die()
        elif turn == _PULL_UP:
            wires.pulled_up = self._bus.read_cells(self._cells, wires.up) < 0
        elif (
            turn == _PULL_DOWN
            and self._bus.read_cells(self._cells, wires.down) < 0
            and wires.pulled_up
        ):
            wires.judge()

    def convert_sensors(self) -> None:
        """Convert and fetch the thermistors, with the reference they hang on."""
        bus = self._bus
        self._forget_sensors()
        bus.command(reg.CLRAUX)
        bus.command(reg.ADAX)
        self._board.sleep_us(reg.ADAX_US)  # type: ignore[attr-defined]
        bus.wake(reg.READY_US)
        self._fetch_sensors()

    def give_temperatures(self, s: Snapshot) -> None:
        """All sensors where they fit; else coldest, mean (none when one is missing), hottest."""
        sensors = self.sensor_dc
        n = len(sensors)
        given = s.temp_dc
        for i in range(N_TEMPERATURES):
            given[i] = sensors[i] if i < n else UNKNOWN_DC
        s.fet_dc = self._fet_dc
        s.afe_dc = self._die_dc
        if n <= N_TEMPERATURES:
            return
        known = total = 0
        low = high = UNKNOWN_DC
        for i in range(n):
            dc = sensors[i]
            if dc == UNKNOWN_DC:
                continue
            if not known or dc < low:
                low = dc
            if not known or dc > high:
                high = dc
            known += 1
            total += dc
        given[0] = low
        given[1] = total // n if known == n else UNKNOWN_DC
        given[2] = high
        given[3] = UNKNOWN_DC

    def _forget_sensors(self) -> None:
        for i in range(len(self.sensor_dc)):
            self.sensor_dc[i] = UNKNOWN_DC
        self._fet_dc = UNKNOWN_DC

    def _fetch_sensors(self) -> None:
        bus = self._bus
        bus.read(reg.RDAUXB)
        bad = False
        for chip in range(bus.n_chips):
            reference = bus.word(chip, _REFERENCE)
            if not reg.REFERENCE_LOWEST <= reference <= reg.REFERENCE_HIGHEST:
                bad = bad or reference != reg.CLEARED
                reference = 0
            self._reference[chip] = reference
        self.bad_references = self.bad_references + 1 if bad else 0
        if self._has_fet_sensor:
            self._fet_dc = self._sensor(0, _FET_SENSOR)
        bus.read(reg.RDAUXA)
        for chip in range(bus.n_chips):
            for i in range(self._sensors):
                self.sensor_dc[chip * self._sensors + i] = self._sensor(chip, i)

    def _sensor(self, chip: int, i: int) -> int:
        reference = self._reference[chip]
        if not reference:
            return UNKNOWN_DC
        return self._ntc.temperature_dc(self._bus.word(chip, i), reference)

    def _fetch_die(self) -> None:
        bus = self._bus
        self._die_dc = UNKNOWN_DC
        bus.read(reg.RDSTATA)
        hottest = UNKNOWN_DC
        for chip in range(bus.n_chips):
            code = bus.word(chip, 1)
            if code == reg.CLEARED:
                return
            hottest = max(hottest, reg.die_dc(code))
        self._die_dc = hottest
