"""One chip's analogue side: sense wires, bleeders, thermistors, and the converter's errors.

Wire n (0 to 18) goes from tap n of the stack, through its own resistance, to pin C(n). A bled
cell draws its current out of the wire above it and gives it back into the wire below, so it reads
low and its neighbours high. A broken wire leaves C(n) with its filter capacitor alone: leakage
takes it to the middle of its neighbours; in an open-wire conversion 100 uA move it until a
clamping diode of a neighbour takes them over.

A thermistor lies between a GPIO and the chip's ground, its pull-up at VREF2.
"""

import math
import random

from .adc import CELL_US, NOISE_V
from .faults import Faults

CELLS = 18
GPIOS = 9
VREF2_V = 3.0
PULL_UP_OHM = 10_000.0
NTC_OHM = 10_000.0  # at 25 degC
NTC_B_K = 3435.0
_25C_K = 298.15

SWITCH_OHM = 4.0  # the chip's discharge switch
RESISTOR_OHM = 33.0  # beside the chip
WIRE_OHM = 1.0  # each sense wire with its plug and trace
BLEED_OHM = SWITCH_OHM + RESISTOR_OHM + 2 * WIRE_OHM

_PULL_A = 100e-6
_FILTER_F = 10e-9
_LEAK_S = 0.05  # a floating pin's way to the middle
_CLAMP_V = 0.6
_MOST_CODE = 57_341  # the converter's range ends at 5.73 V; 0xFFFF means "not converted"
_SUM_SHARE = 30  # SC is a thirtieth of the stack
_ITMP_V_PER_K, _ITMP_ZERO_K = 7.6e-3, 276.0
_OFFSET_SD_V, _GAIN_SD = 0.1e-3, 1.5e-4
_MOST_ERROR_V = 2.2e-3  # total measurement error at 3.3 V
_MOST_GAIN, _MOST_OFFSET_V = 5e-4, 0.4e-3  # together within it


def ntc_ohm(celsius: float) -> float:
    """Resistance of the thermistor."""
    return NTC_OHM * math.exp(NTC_B_K * (1 / (celsius + 273.15) - 1 / _25C_K))


def _drawn(rng: random.Random, sd: float, most: float) -> float:
    return max(-most, min(most, rng.gauss(0.0, sd)))


def _code(volts: float) -> int:
    return max(0, min(_MOST_CODE, round(volts / 100e-6)))


class Inputs:
    """What chip ``index`` of a chain sees; ``n_cells`` cells on its lowest inputs.

    Pins above the top cell are wired to it and read 0. GPIO5 to GPIO9 are tied to ground, and so
    is every GPIO without a thermistor.
    """

    def __init__(self, index: int, n_cells: int, faults: Faults, rng: random.Random) -> None:
        self.n_cells = n_cells
        self.cells_v = [0.0] * n_cells
        self.gpio_c: list[float | None] = [None] * GPIOS  # the thermistor at each, if any
        self.die_c = 25.0
        self._index = index
        self._faults = faults
        self._rng = rng
        self._gain = [1 + _drawn(rng, _GAIN_SD, _MOST_GAIN) for _ in range(CELLS)]
        self._offset_v = [_drawn(rng, _OFFSET_SD_V, _MOST_OFFSET_V) for _ in range(CELLS)]
        self._gpio_gain = 1 + _drawn(rng, _GAIN_SD, _MOST_GAIN)
        self.vref2_v = VREF2_V + _drawn(rng, 2e-3, 10e-3)
        self._vreg_v = 5.0 + _drawn(rng, 0.05, 0.3)
        self._vregd_v = 3.0 + _drawn(rng, 0.05, 0.25)
        self._die_error_k = _drawn(rng, 2.0, 5.0)
        self._floating: dict[int, tuple[float, float]] = {}  # pin: volts, when

    # --- cells ----------------------------------------------------------------------------

    def broken(self, pin: int) -> bool:
        """Whether the wire to C(``pin``) is broken."""
        return (self._index, pin) in self._faults.open_wires

    def bled(self, mask: int) -> int:
        """The cells of ``mask`` that really lose charge: those with both wires."""
        if not self._faults.open_wires:
            return mask
        for cell in range(self.n_cells):
            if self.broken(cell) or self.broken(cell + 1):
                mask &= ~(1 << cell)
        return mask

    def cell_codes(self, bleeding: int, pull: int, rate: str, now_us: float) -> list[int]:
        """A conversion of all 18 inputs, with the cells of ``bleeding`` bled meanwhile."""
        pins = self._pins(self.bled(bleeding), pull, rate, now_us)
        noise_v = NOISE_V[rate]
        gauss = self._rng.gauss
        codes = []
        for cell in range(CELLS):
            volts = pins[cell + 1] - pins[cell]
            codes.append(
                _code(volts * self._gain[cell] + self._offset_v[cell] + gauss(0.0, noise_v))
                if cell < self.n_cells and volts > 0
                else 0
            )
        return codes

    def _pins(self, bleeding: int, pull: int, rate: str, now_us: float) -> list[float]:
        taps = [0.0]
        for volts in self.cells_v:
            taps.append(taps[-1] + volts)
        pins = list(taps)
        if bleeding:
            drawn_a = [0.0] * (self.n_cells + 2)
            for cell, volts in enumerate(self.cells_v):
                if bleeding >> cell & 1:
                    drawn_a[cell + 1] = volts / BLEED_OHM
            for n in range(self.n_cells + 1):
                pins[n] -= WIRE_OHM * (drawn_a[n] - drawn_a[n + 1])
        if self._faults.open_wires:
            for n in range(self.n_cells + 1):
                if self.broken(n):
                    pins[n] = self._float(n, taps, pull * CELL_US[rate], now_us)
                else:
                    self._floating.pop(n, None)
        return pins + [pins[-1]] * (CELLS - self.n_cells)

    def _float(self, pin: int, taps: list[float], pulled_us: float, now_us: float) -> float:
        """Where a floating pin is after ``pulled_us`` (< 0: down) at each cell that has it."""
        top = self.n_cells
        low, high = taps[max(0, pin - 1)], taps[min(top, pin + 1)]
        middle = (low + high) / 2
        volts, since_us = self._floating.get(pin, (middle, now_us))
        volts = middle + (volts - middle) * math.exp((since_us - now_us) / 1e6 / _LEAK_S)
        times = 1 if pin in (0, top) else 2  # both cells that it borders are measured
        volts += times * pulled_us * 1e-6 * _PULL_A / _FILTER_F
        volts = max(low - _CLAMP_V, min(high + _CLAMP_V, volts))
        self._floating[pin] = (volts, now_us)
        return volts

    # --- everything else ------------------------------------------------------------------

    def gpio_v(self, n: int, pull: int = 0) -> float:
        """Voltage at GPIO ``n`` (from 1) while the reference is on."""
        celsius = self.gpio_c[n - 1]
        fault = self._faults.thermistors.get((self._index, n))
        if fault == "open":
            return self.vref2_v + pull * _PULL_A * PULL_UP_OHM
        if celsius is None or fault == "short":
            return 0.0
        ohm = ntc_ohm(celsius)
        open_v = self.vref2_v * ohm / (ohm + PULL_UP_OHM)
        return open_v + pull * _PULL_A * ohm * PULL_UP_OHM / (ohm + PULL_UP_OHM)

    def gpio_codes(self, pulled_down: int, pull: int, rate: str) -> list[int]:
        """GPIO1 to GPIO9, then VREF2; ``pulled_down`` bit n - 1: GPIO n's own switch is on."""
        noise_v = NOISE_V[rate]
        volts = [0.0 if pulled_down >> n & 1 else self.gpio_v(n + 1, pull) for n in range(GPIOS)]
        volts.append(self.vref2_v)
        return [
            _code(v * self._gpio_gain + self._rng.gauss(0.0, noise_v)) if v > 0 else 0
            for v in volts
        ]

    def status_codes(self, rate: str) -> list[int]:
        """SC, ITMP, VA and VD."""
        sum_v = sum(self.cells_v) / _SUM_SHARE * self._gpio_gain
        itmp_v = (self.die_c + self._die_error_k + _ITMP_ZERO_K) * _ITMP_V_PER_K
        gauss, noise_v = self._rng.gauss, NOISE_V[rate]
        return [
            _code(v + gauss(0.0, noise_v)) for v in (sum_v, itmp_v, self._vreg_v, self._vregd_v)
        ]
