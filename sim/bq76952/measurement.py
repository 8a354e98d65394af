"""Voltages and temperatures: sampled by scans, quantised to 1 mV and 0.1 K when they are read.

Inputs. A pack with fewer cells than inputs uses VC1.. for the lower cells and the topmost input
for the top cell: physical cell i (from 0) is on input i for i < n - 1, the top one on input 15.
The inputs between are shorted and read about 0 mV.

One ADC scan takes about 63 ms, three give the full set; between scans the registers hold.
"""

import math
import random
import struct
from collections.abc import Sequence

from . import registers as reg
from .memory import PIN_NAMES, DataMemory

INPUTS = 16
ADSCAN_S = 0.063
FULLSCAN_S = 3 * ADSCAN_S
TEMPERATURE_NOISE_K = 0.03
STACK_NOISE_MV = 5.0
OPEN_WIRE_STEP_V = 55e-6 * 0.003 / 220e-9  # 55 uA for one 3 ms slot out of a 220 nF input filter
NOMINAL_CELL_GAIN = 12120  # 5 x 1.212 V over 32768 counts, in mV per 65536 counts
OPEN_THERMISTOR_C = -50.0  # an input configured for a thermistor that is not there reads very cold
BALANCE_ERROR_MV = 3.0  # what the input filter has not recovered from when its cell is read
_NOISE_COUNT = 4099  # prime, so that sixteen cells do not meet the same draws again

_FIXED_SENSORS = {"TS1": 0, "TS2": 1, "TS3": 2, "HDQ": 3}
_THERMISTOR = 0x03
_CELL_SENSOR, _FET_SENSOR = 1, 3


def input_of_cell(cell: int, n_cells: int) -> int:
    """The input of physical cell ``cell`` (from 0)."""
    return INPUTS - 1 if cell == n_cells - 1 else cell


class Noise:
    """Standard normal draws from a table: cheap, and the same for the same seed."""

    def __init__(self, rng: random.Random) -> None:
        self._table = [rng.gauss(0.0, 1.0) for _ in range(_NOISE_COUNT)]
        self._at = 0

    def one(self) -> float:
        """The next draw."""
        self._at += 1
        if self._at >= _NOISE_COUNT:
            self._at = 0
        return self._table[self._at]

    def many(self, count: int) -> list[float]:
        """The next ``count`` draws."""
        at = self._at
        if at + count > _NOISE_COUNT:
            at = 0
        self._at = at + count
        return self._table[at : at + count]


class Measurement:
    """Holds what the last scan saw and writes it into the register file when asked.

    Public after each scan: ``cell_min_v``, ``cell_max_v`` (what the comparators see, over the
    cells that VCell Mode protects), ``cell_max_c``, ``cell_min_c``, ``fet_c`` (NaN: no sensor).
    """

    def __init__(
        self, n_cells: int, noise: Noise, noise_mv: float, cell_offset_mv: Sequence[float]
    ) -> None:
        self._n = n_cells
        self._noise = noise
        self._noise_mv = noise_mv
        self._offset_mv = list(cell_offset_mv)
        self.inputs = [input_of_cell(cell, n_cells) for cell in range(n_cells)]
        self.reset()

    def reset(self) -> None:
        """Forget everything measured: the registers read 0 until the first scan."""
        self._scan_s = 0.0
        self._full_s = 0.0
        self._open_wire_s = 0.0
        self._open_wire_v = 0.0
        self.valid = False
        self.stale = True
        self.cells_v = [0.0] * self._n
        self._sensors_c: list[float] = []
        self._die_c = self._board_fet_c = 25.0
        self.stack_v = self.pack_v = 0.0
        self.cell_min_v = self.cell_max_v = math.nan
        self.cell_max_c = self.cell_min_c = self.cell_avg_c = self.fet_c = math.nan
        self.die_c = math.nan
        self.balance_inputs = 0
        self.cells_mv = [0] * INPUTS

    def configure(self, memory: DataMemory) -> None:
        """Take over VCell Mode, units, pins and gains."""
        mode = memory.integer("vcell_mode") or 0xFFFF
        self.enabled_inputs = mode
        self._protected = [c for c, at in enumerate(self.inputs) if mode >> at & 1]
        self._all_protected = len(self._protected) == self._n
        unused = 0xFFFF
        for at in self.inputs:
            unused &= ~(1 << at)
        self._shorted_input_enabled = bool(mode & unused)
        da = memory.integer("da_configuration")
        self._mv_per_user_v = 10.0 if da & 0x04 else 1.0
        self._die_is_cell, self._die_is_fet = bool(da & 0x08), bool(da & 0x10)
        self._pins = memory.pin_configurations()
        self._die_offset_dk = memory.integer("internal_temperature_offset_dk")
        gains = memory.cell_gains()
        self._scales = [gains[at] / NOMINAL_CELL_GAIN if gains[at] else 1.0 for at in self.inputs]
        self._scaled = any(scale != 1.0 for scale in self._scales)
        self._open_wire_interval_s = memory.integer("open_wire_interval_s")
        self.stale = True

    def step(
        self,
        dt_s: float,
        cells_v: list[float],
        temperatures_c: Sequence[float],
        die_c: float,
        fet_c: float,
        pack_v: float,
        open_wire_above: int | None,
    ) -> bool:
        """One step of the world; True when a scan ended in it and the registers have changed."""
        if open_wire_above is None:
            self._open_wire_v = 0.0
        else:
            cells_v = self._with_open_wire(dt_s, cells_v, open_wire_above)
        if self._all_protected:
            low, high = min(cells_v), max(cells_v)
        else:
            chosen = [cells_v[c] for c in self._protected] or [math.nan]
            low, high = min(chosen), max(chosen)
        self.cell_min_v = 0.0 if self._shorted_input_enabled else low
        self.cell_max_v = high
        self._scan_s += dt_s
        self._full_s += dt_s
        if self.valid and self._scan_s < ADSCAN_S:
            return False
        self._scan_s = 0.0
        self.valid = self.stale = True
        self.cells_v = cells_v
        self.stack_v = sum(cells_v)
        self.pack_v = pack_v
        self._sensors_c = list(temperatures_c)
        self._die_c, self._board_fet_c = die_c, fet_c
        self.die_c = die_c
        self._classify_temperatures()
        return True

    def take_full_scan(self) -> bool:
        """True once for every full set of scans."""
        if self._full_s < FULLSCAN_S:
            return False
        self._full_s = 0.0
        return True

    def _with_open_wire(self, dt_s: float, cells_v: list[float], below: int) -> list[float]:
        """The pair's common tap sinks a little with every open-wire check; their sum stays."""
        self._open_wire_s += dt_s
        if self._open_wire_interval_s and self._open_wire_s >= self._open_wire_interval_s:
            checks = int(self._open_wire_s / self._open_wire_interval_s)
            self._open_wire_s -= checks * self._open_wire_interval_s
            self._open_wire_v += checks * OPEN_WIRE_STEP_V
        shift = min(self._open_wire_v, cells_v[below])
        cells_v = list(cells_v)
        cells_v[below] -= shift
        cells_v[below + 1] += shift
        return cells_v

    def _pin_c(self, name: str, option: int) -> float:
        if option == _FET_SENSOR:
            return self._board_fet_c
        at = _FIXED_SENSORS.get(name)
        if at is None or at >= len(self._sensors_c) or math.isnan(self._sensors_c[at]):
            return OPEN_THERMISTOR_C
        return self._sensors_c[at]

    def _classify_temperatures(self) -> None:
        cells, fets = [], []
        for name, configuration in zip(PIN_NAMES, self._pins, strict=True):
            if configuration & 0x03 == _THERMISTOR:
                option = configuration >> 2 & 0x03
                if option == _CELL_SENSOR:
                    cells.append(self._pin_c(name, option))
                elif option == _FET_SENSOR:
                    fets.append(self._pin_c(name, option))
        if self._die_is_cell:
            cells.append(self._die_c)
        if self._die_is_fet:
            fets.append(self._die_c)
        self.cell_max_c = max(cells, default=math.nan)
        self.cell_min_c = min(cells, default=math.nan)
        self.cell_avg_c = sum(cells) / len(cells) if cells else math.nan
        self.fet_c = max(fets, default=math.nan)

    def decikelvin(self, celsius: float) -> int:
        """0.1 K as the chip reports it; 0 where there is no sensor."""
        if math.isnan(celsius):
            return 0
        return max(0, round((celsius + 273.15) * 10))

    def encode(self, file: bytearray) -> None:
        """Write voltages and temperatures into the register file ``file``."""
        self.stale = False
        if not self.valid:
            file[reg.CELL_1_VOLTAGE : reg.CC2_CURRENT] = bytes(
                reg.CC2_CURRENT - reg.CELL_1_VOLTAGE
            )
            return
        noise_mv = self._noise_mv
        draws = self._noise.many(INPUTS)
        n = self._n
        values = [
            v * 1000.0 + offset + noise_mv * z
            for v, offset, z in zip(self.cells_v, self._offset_mv, draws, strict=False)
        ]
        if self._scaled:
            values = [v * scale for v, scale in zip(values, self._scales, strict=True)]
        if self.balance_inputs:
            self._add_balance_error(values)
        cells_mv = [round(v) for v in values[: n - 1]]
        cells_mv += [round(noise_mv * z) for z in draws[n:]]
        cells_mv.append(round(values[n - 1]))
        self.cells_mv = cells_mv
        struct.pack_into("<16h", file, reg.CELL_1_VOLTAGE, *cells_mv)
        a, b, c = self._noise.many(3)
        per_unit = self._mv_per_user_v
        pack = round((self.pack_v * 1000 + STACK_NOISE_MV * b) / per_unit)
        stack = round((self.stack_v * 1000 + STACK_NOISE_MV * a) / per_unit)
        load = round((self.pack_v * 1000 + STACK_NOISE_MV * c) / per_unit)
        struct.pack_into(
            "<3h", file, reg.STACK_VOLTAGE, min(stack, 32767), min(pack, 32767), min(load, 32767)
        )
        self._encode_temperatures(file)

    def _add_balance_error(self, values: list[float]) -> None:
        for cell, at in enumerate(self.inputs):
            if self.balance_inputs >> at & 1:
                values[cell] -= BALANCE_ERROR_MV
                for neighbour in (cell - 1, cell + 1):
                    if 0 <= neighbour < self._n:
                        values[neighbour] += BALANCE_ERROR_MV / 2

    def _encode_temperatures(self, file: bytearray) -> None:
        draws = self._noise.many(1 + len(PIN_NAMES))
        die = self.decikelvin(self._die_c + TEMPERATURE_NOISE_K * draws[0])
        words = [max(0, die + self._die_offset_dk)]
        for name, configuration, z in zip(PIN_NAMES, self._pins, draws[1:], strict=True):
            option = configuration >> 2 & 0x03
            if configuration & 0x03 == _THERMISTOR and option:
                words.append(self.decikelvin(self._pin_c(name, option) + TEMPERATURE_NOISE_K * z))
            else:
                words.append(0)
        struct.pack_into("<10H", file, reg.INTERNAL_TEMPERATURE, *words)
