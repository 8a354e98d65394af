"""One LTC6813-1: registers, converter, timers. The wire it hangs on is ``chain.Chain``.

States of the core: asleep (everything forgotten), standby, with the reference up, converting, or
balancing on after the watchdog has run out. Timers are on the caller's clock, in microseconds;
``advance`` brings the chip there.
"""

import math
import random
import struct

from .adc import DIAGN_US, conversion_us, rate_of, self_test_code
from .commands import CONVERT, READ, WRITE, Command, NotModelledError
from .faults import Faults, Ignored
from .inputs import CELLS, GPIOS, Inputs

WAKE_US = 400.0  # the longest that the core takes from sleep
REFUP_US = 4400.0  # the longest that the reference takes
SLEEP_US = 2e6  # the watchdog
PWM_US = 30e6
DISCHARGE_MINUTES = (0.0, 0.5, 1, 2, 3, 4, 5, 10, 15, 20, 30, 40, 60, 75, 90, 120)  # by DCTO
THERMAL_SHUTDOWN_C = 150.0
_LOGIC_HIGH_V = 2.0
_NEVER = math.inf
_ALL_CELLS = (1 << CELLS) - 1
_NOT_CONVERTED = 0xFFFF
_CFGA_DEFAULT = bytes((0xF8, 0, 0, 0, 0, 0))
_CFGB_DEFAULT = bytes((0x0F, 0, 0, 0, 0, 0))
_REFON, _DTEN, _ADCOPT = 0x04, 0x02, 0x01
_FDRF_PS_DTMEN = 0x78  # in CFGBR1
_CELL_GROUPS = {"CVA": 0, "CVB": 3, "CVC": 6, "CVD": 9, "CVE": 12, "CVF": 15}
_AUX_GROUPS = {"AUXA": (0, 1, 2), "AUXB": (3, 4, 9), "AUXC": (5, 6, 7)}
_VREF2, _GPIO9 = 9, 8  # places among the auxiliary results
_DIAGN = Command("DIAGN", CONVERT)


def _flags(under: int, over: int, first: int, count: int) -> int:
    """Two bits a cell, under-voltage first, from cell ``first`` (from 0)."""
    bits = 0
    for k in range(count):
        bits |= (under >> (first + k) & 1) << 2 * k | (over >> (first + k) & 1) << (2 * k + 1)
    return bits


class Ltc6813:
    """Chip ``index`` (0 at the host) with ``n_cells`` cells; ``dten``: its DTEN pin is high."""

    def __init__(
        self, index: int, n_cells: int, faults: Faults, rng: random.Random, *, dten: bool = True
    ) -> None:
        if not 1 <= n_cells <= CELLS:
            raise ValueError(f"n_cells: {n_cells} is not between 1 and {CELLS}")
        self.inputs = Inputs(index, n_cells, faults, rng)
        self.ignored = Ignored()
        self.now_us = 0.0
        self.ready_us = 0.0  # when its port and core listen, after a wake-up
        self.active_us = 0.0  # when something last came over its port
        self._index, self._n, self._faults, self._dten = index, n_cells, faults, dten
        self._readers = {
            "AUXD": self._read_auxd,
            "STATA": self._read_stata,
            "STATB": self._read_statb,
            "CFGA": self._read_cfga,
            "CFGB": self._read_cfgb,
        }
        self.power_on_reset()

    # --- life -----------------------------------------------------------------------------

    def power_on_reset(self) -> None:
        """Supply came back, or the chip fell asleep: nothing is known any more."""
        self.asleep = True
        self.expired = False  # the watchdog has run out, the discharge timer has not
        self._cfga, self._cfgb = bytearray(_CFGA_DEFAULT), bytearray(_CFGB_DEFAULT)
        self.muted = False
        self.cells = [_NOT_CONVERTED] * CELLS
        self.aux = [_NOT_CONVERTED] * (GPIOS + 1)
        self.status = [_NOT_CONVERTED] * 4
        self._under = self._over = 0
        self._mux_fail, self._thermal = True, False
        self._memory = {"PWM": b"\xff" * 6, "PSB": b"\xff\xff\xff\0\0\0"}
        self._memory |= {"SCTRL": bytes(6), "COMM": bytes(6)}
        self._converting: Command | None = None
        self._rate = "7kHz"
        self._done_us = self._watchdog_us = self._discharge_us = self._reference_us = _NEVER

    def wake(self, at_us: float) -> None:
        """A wake-up signal: the core is in standby from ``at_us`` on."""
        if self.asleep or self.expired:
            self.asleep = self.expired = False
            self._watchdog_us = at_us + SLEEP_US

    def advance(self, now_us: float) -> None:
        """Let everything happen that is due by ``now_us``."""
        while (
            now_us >= self._watchdog_us or now_us >= self._done_us or now_us >= self._discharge_us
        ):
            due_us = self.now_us = min(self._done_us, self._watchdog_us, self._discharge_us)
            if due_us == self._done_us:
                self._finish()
            elif due_us == self._watchdog_us:
                self._watchdog_expires()
            else:
                self._discharge_ends()
        self.now_us = max(self.now_us, now_us)

    def _watchdog_expires(self) -> None:
        if self._discharge_us == _NEVER:
            self.power_on_reset()
            return
        self.expired = True
        self._watchdog_us = self._done_us = self._reference_us = _NEVER
        self._converting = None
        self._cfga[:4] = _CFGA_DEFAULT[:4]
        self._cfgb[0] |= 0x0F

    def _discharge_ends(self) -> None:
        if self.expired:
            self.power_on_reset()
            return
        self._discharge_us = _NEVER
        self._cfga[4:] = bytes(2)
        self._cfgb[0] &= 0x0F
        self._cfgb[1] = 0
        self._memory["SCTRL"] = bytes(6)

    def sense(self, cells_v: list[float], gpio_c: list[float | None], die_c: float) -> None:
        """What is at the pins from now on."""
        inputs = self.inputs
        inputs.cells_v, inputs.gpio_c, inputs.die_c = cells_v, gpio_c, die_c
        if die_c > THERMAL_SHUTDOWN_C and not self.asleep:
            self._cfga[:], self._cfgb[:] = _CFGA_DEFAULT, _CFGB_DEFAULT
            self._discharge_us = self._reference_us = _NEVER
            self._thermal = True

    # --- balancing ------------------------------------------------------------------------

    def discharging(self) -> int:
        """The discharge switches that are on; bit 0 is cell 1."""
        if self.asleep or self.muted:
            return 0
        a, b = self._cfga, self._cfgb
        mask = a[4] | (a[5] & 0x0F) << 8 | (b[0] >> 4) << 12 | (b[1] & 0x03) << 16
        mask &= (1 << self._n) - 1
        if mask and self.expired:
            duties = self._memory["PWM"] + self._memory["PSB"][:3]
            phase = self.now_us % PWM_US / PWM_US * 15
            for cell in range(self._n):
                if phase >= duties[cell // 2] >> 4 * (cell % 2) & 0x0F:
                    mask &= ~(1 << cell)
        return mask

    def balance_mask(self) -> int:
        """The cells that lose charge; bit 0 is cell 1."""
        return self.inputs.bled(self.discharging())

    # --- commands -------------------------------------------------------------------------

    def heard(self, at_us: float) -> None:
        """A command with a good PEC: the watchdog starts again."""
        self._watchdog_us = at_us + SLEEP_US

    def busy(self, at_us: float) -> bool:
        """Whether a conversion is under way at ``at_us``."""
        return at_us < self._done_us < _NEVER

    def convert(self, command: Command, at_us: float) -> None:
        """Start a conversion; one under way is given up."""
        self._rate = rate_of(command.md, self._cfga[0] & _ADCOPT)
        if self._reference_us == _NEVER:
            self._reference_us = at_us + REFUP_US
        takes_us = DIAGN_US if command is _DIAGN else conversion_us(command, self._rate)
        self._done_us = max(at_us, self._reference_us) + takes_us
        self._converting = command

    def do(self, name: str, at_us: float) -> None:
        """A command without data. ``NotModelledError`` for what only the chip can do."""
        if name == "CLRCELL":
            self.cells = [_NOT_CONVERTED] * CELLS
        elif name == "CLRAUX":
            self.aux = [_NOT_CONVERTED] * (GPIOS + 1)
        elif name == "CLRSTAT":
            self.status = [_NOT_CONVERTED] * 4
            self._under = self._over = _ALL_CELLS
            self._mux_fail = self._thermal = True
        elif name == "DIAGN":
            self.convert(_DIAGN, at_us)
        elif name in {"MUTE", "UNMUTE"}:
            self.muted = name == "MUTE"
        elif name == "CLRSCTRL":
            self._memory["SCTRL"] = bytes(6)
            self._memory["PSB"] = self._memory["PSB"][:3] + bytes(3)
        elif name == "STCOMM":
            raise NotModelledError("LTC6813: STCOMM; nothing hangs on GPIO3 to GPIO5 as a bus")
        elif name == "STSCTRL" and any(self._memory["SCTRL"] + self._memory["PSB"][3:]):
            raise NotModelledError("LTC6813: STSCTRL with pulses for the S pins")

    def write(self, name: str, data: bytes, at_us: float) -> None:
        """Six bytes with a good PEC. ``NotModelledError`` for some bits of CFGB."""
        if name == "CFGA":
            self._cfga[:] = data
            minutes = DISCHARGE_MINUTES[data[5] >> 4] if self._dten else 0.0
            self._discharge_us = at_us + minutes * 60e6 if minutes else _NEVER
            if not data[0] & _REFON:
                if not self.busy(at_us):
                    self._reference_us = _NEVER
            elif self._reference_us == _NEVER:
                self._reference_us = at_us + REFUP_US
        elif name == "CFGB":
            if data[1] & _FDRF_PS_DTMEN:
                raise NotModelledError("LTC6813: FDRF, PS or DTMEN in configuration group B")
            self._cfgb[:2] = data[:2]
        else:
            self._memory[name] = bytes(data)

    def read(self, name: str) -> bytes:
        """The six bytes of a register group."""
        if name in _CELL_GROUPS:
            first = _CELL_GROUPS[name]
            return struct.pack("<3H", *self.cells[first : first + 3])
        if name in _AUX_GROUPS:
            return struct.pack("<3H", *(self.aux[k] for k in _AUX_GROUPS[name]))
        reader = self._readers.get(name)
        return reader() if reader else self._memory[name]

    def _read_auxd(self) -> bytes:
        low = _flags(self._under, self._over, 12, 4)
        high = _flags(self._under, self._over, 16, 2)
        return struct.pack("<HHBB", self.aux[_GPIO9], 0xFFFF, low, 0xF0 | high)

    def _read_stata(self) -> bytes:
        return struct.pack("<3H", *self.status[:3])

    def _read_statb(self) -> bytes:
        flags = _flags(self._under, self._over, 0, 12)
        data = struct.pack("<HI", self.status[3], flags)[:5]
        data += bytes((self._mux_fail << 1 | self._thermal,))
        self._thermal = False
        return data

    def _read_cfgb(self) -> bytes:
        low = self._cfgb[0] & 0xF0 | self._levels() >> 5
        return bytes((low, self.muted << 7 | self._cfgb[1] & 0x7F, 0, 0, 0, 0))

    def _levels(self) -> int:
        """What the GPIO pins are, bit 0 = GPIO1: low where the chip or a thermistor pulls."""
        reference = self.now_us >= self._reference_us
        released = self._cfga[0] >> 3 | (self._cfgb[0] & 0x0F) << 5
        levels = 0
        for n in range(GPIOS):
            if released >> n & 1 and reference and self.inputs.gpio_v(n + 1) > _LOGIC_HIGH_V:
                levels |= 1 << n
        return levels

    def _read_cfga(self) -> bytes:
        data = bytearray(self._cfga)
        data[0] = (self._levels() & 0x1F) << 3 | data[0] & (_REFON | _ADCOPT)
        data[0] |= _DTEN if self._dten else 0
        left = 0
        if self._discharge_us < _NEVER:
            minutes = (self._discharge_us - self.now_us) / 60e6
            left = next(k for k in range(1, 16) if minutes <= DISCHARGE_MINUTES[k] + 1e-9)
        data[5] = data[5] & 0x0F | left << 4
        return bytes(data)

    # --- results --------------------------------------------------------------------------

    def _finish(self) -> None:
        command, rate = self._converting, self._rate
        self._done_us = _NEVER
        self._converting = None
        if not self._cfga[0] & _REFON:
            self._reference_us = _NEVER
        if command is None:
            return
        name = command.name
        if name == "DIAGN":
            self._mux_fail = self._index in self._faults.mux_fails
        if name in {"ADCV", "ADOW", "ADOL", "ADCVAX", "ADCVSC"}:
            self._take_cells(command, rate)
        if name == "CVST":
            self.cells = [self_test_code(rate, command.self_test)] * CELLS
        if name in {"ADAX", "ADAXD", "AXOW", "ADCVAX"}:
            self._take_gpios(command, rate)
        if name == "AXST":
            self.aux = [self_test_code(rate, command.self_test)] * (GPIOS + 1)
        if name in {"ADSTAT", "ADSTATD", "ADCVSC"}:
            codes = self.inputs.status_codes(rate)
            wanted = 1 if name == "ADCVSC" else command.channel
            for k in range(4) if not wanted else (wanted - 1,):
                self.status[k] = codes[k]
        if name == "STATST":
            self.status = [self_test_code(rate, command.self_test)] * 4

    def _take_cells(self, command: Command, rate: str) -> None:
        bleeding = self.discharging() if command.discharge_permitted else 0
        codes = self.inputs.cell_codes(bleeding, command.pull, rate, self.now_us)
        if command.name == "ADOL":  # cells 7 and 13, each by two converters
            self.cells[6] = self.cells[7] = codes[6]
            self.cells[12] = self.cells[13] = codes[12]
            return
        under = ((self._cfga[2] & 0x0F) << 8 | self._cfga[1]) * 16 + 16
        over = (self._cfga[3] << 4 | self._cfga[2] >> 4) * 16
        channel = command.channel
        for cell in range(CELLS) if not channel else (channel - 1, channel + 5, channel + 11):
            code = self.cells[cell] = codes[cell]
            bit = 1 << cell
            self._under = self._under | bit if code < under else self._under & ~bit
            self._over = self._over | bit if code > over else self._over & ~bit

    def _take_gpios(self, command: Command, rate: str) -> None:
        pulled_down = ~(self._cfga[0] >> 3 | (self._cfgb[0] & 0x0F) << 5)
        codes = self.inputs.gpio_codes(pulled_down, command.pull, rate)
        channel = command.channel
        if command.name == "ADCVAX":
            places: tuple[int, ...] = (0, 1)
        elif not channel:
            places = tuple(range(GPIOS + 1))
        elif channel == 6:
            places = (_VREF2,)
        else:
            places = (channel - 1,) if channel == 5 else (channel - 1, channel + 4)
        for k in places:
            self.aux[k] = codes[k]

    def execute(self, command: Command, at_us: float) -> None:
        """A command that neither reads nor writes."""
        if command.kind == CONVERT:
            self.convert(command, at_us)
        elif command.kind not in {READ, WRITE}:
            self.do(command.name, at_us)
