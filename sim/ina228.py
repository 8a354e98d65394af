"""A Texas Instruments INA228 at register level: shunt, bus and die, charge and energy, alert.

Written from the maker's words, never from our driver. Five lines of use::

    monitor = Ina228(shunt_uohm=500, seed=1)
    monitor.write(bytes((0x02, 0x10, 0x00)))                      # SHUNT_CAL = 4096
    monitor.step(1.0, current_a=-2.0, bus_v=51.0, die_c=30.0)     # the world goes on for 1 s
    code = int.from_bytes(monitor.read(0x07, 3), signed=True) >> 4
    opens_the_switches = monitor.alert_low

IN+ is the terminals' side of a low-side shunt: a charging current reads positive.

Conformance: behaviour, and where it comes from. DS = SLYS021A or the same chapter of INA229
(SLYS023A) or INA228-Q1, E2E = TI's support forum, REC = recollection of the datasheet, not read
again, OWN = our reasoning, confirmed by nothing.

===================================================================================  ============
Registers, their addresses and sizes; most significant byte first                    DS table 7-3
The pointer stays for the next read                                                  DS 7.5.1.1
Full scale and step of VSHUNT, VBUS, DIETEMP; 20-bit results in bits 23:4            DS table 8-1
CURRENT = VSHUNT x 4096 / SHUNT_CAL, cut off (example: 311040 at 4050 gives 314572)  DS table 8-4
SHUNT_CAL = 13107.2e6 x CURRENT_LSB x R, four times that with ADCRANGE               DS 8.1.2
POWER 3.2, ENERGY 16 x 3.2, CHARGE 1 x CURRENT_LSB; only CHARGE has a sign           DS table 8-4
RST and RSTACC clear themselves                                                      DS table 7-5
DIAG_ALRT bit places; thresholds and their reset values                              DS, SparkFun
TEMP_LIMIT resets to 7FFFh, PWR_LIMIT to FFFFh (DS table 7-1 prints them swapped)    REC
ALATCH holds flags and pin until DIAG_ALRT is read; else they follow                 DS 7.3.7
With CNVR the pin tells conversions; without ALATCH too shortly to open a switch     E2E, OWN
CNVRF clears with a read of DIAG_ALRT or a write of ADC_CONFIG                       E2E, REC
ENERGYOF, CHARGEOF clear with a read of their register; the count rolls over         REC
MATHOF clears with the next conversion that fits                                     REC
ADC_CONFIG modes, conversion times 50 us to 4.12 ms, averages 1 to 1024              REC
Threshold steps 5 (1.25) uV, 3.125 mV, 7.8125 m degC, 256 POWER steps                REC
CONVDLY 2 ms a step before the first conversion; SHUNT_TEMPCO ppm/K from 25 degC     REC
Identities 5449h and 2281h; resets FB68h, 1000h, DIAG_ALRT 0001h                     REC
Offset 1 uV, gain 0.05 %, die 1 K at most; drawn at a third of that                  DS features
Time base 0.5 % at most, drawn at a third: charge and energy carry it                REC
Bus offset 2.5 mV, gain 0.05 % at most                                               REC
Noise 8.6 uV at 50 us (12.5 bits free of it), less with the root of time and average REC, OWN
SHUNT_CAL = 0 gives no current; a result that does not fit saturates and sets MATHOF OWN
A register read further than it is long, and one that is not there, are refused      OWN
===================================================================================  ============

Not modelled: the limits of SMBus timing and its alert response, the high-speed mode, drift with
temperature and common-mode voltage.
"""

import math
import random
from dataclasses import dataclass

from sim.bq76952 import Nack

ADDRESS = 0x40

CONFIG, ADC_CONFIG, SHUNT_CAL, SHUNT_TEMPCO = 0x00, 0x01, 0x02, 0x03
VSHUNT, VBUS, DIETEMP, CURRENT, POWER, ENERGY, CHARGE = range(0x04, 0x0B)
DIAG_ALRT, SOVL, SUVL, BOVL, BUVL, TEMP_LIMIT, PWR_LIMIT = range(0x0B, 0x12)
MANUFACTURER_ID, DEVICE_ID = 0x3E, 0x3F
_WIDTH = {VSHUNT: 3, VBUS: 3, CURRENT: 3, POWER: 3, ENERGY: 5, CHARGE: 5}
_RESET = {
    CONFIG: 0, ADC_CONFIG: 0xFB68, SHUNT_CAL: 0x1000, SHUNT_TEMPCO: 0,
    SOVL: 0x7FFF, SUVL: 0x8000, BOVL: 0x7FFF, BUVL: 0, TEMP_LIMIT: 0x7FFF, PWR_LIMIT: 0xFFFF,
}  # fmt: skip
_WRITABLE_BITS = {
    CONFIG: 0x3FF0, ADC_CONFIG: 0xFFFF, SHUNT_CAL: 0x7FFF, SHUNT_TEMPCO: 0x3FFF,
    SOVL: 0xFFFF, SUVL: 0xFFFF, BOVL: 0x7FFF, BUVL: 0x7FFF, TEMP_LIMIT: 0xFFFF,
    PWR_LIMIT: 0xFFFF,
}  # fmt: skip
_IDENTITY = {MANUFACTURER_ID: 0x5449, DEVICE_ID: 0x2281}
_RST, _RSTACC, _TEMPCOMP, _ADCRANGE = 0x8000, 0x4000, 0x20, 0x10

ALATCH, CNVR, SLOWALERT, APOL = 0x8000, 0x4000, 0x2000, 0x1000
ENERGYOF, CHARGEOF, MATHOF = 0x0800, 0x0400, 0x0200
TMPOL, SHNTOL, SHNTUL, BUSOL, BUSUL, POL = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04
CNVRF, MEMSTAT = 0x02, 0x01
_LIMITS = TMPOL | SHNTOL | SHNTUL | BUSOL | BUSUL | POL
_DIAG_WRITABLE = ALATCH | CNVR | SLOWALERT | APOL

_CONVERSION_US = (50, 84, 150, 280, 540, 1052, 2074, 4120)
_AVERAGES = (1, 4, 16, 64, 128, 256, 512, 1024)
_CONTINUOUS, _TEMP, _SHUNT, _BUS = 8, 4, 2, 1  # bits of MODE
_BUS_STEP_V, _DIE_STEP_C, _DIE_ERROR_C = 195.3125e-6, 7.8125e-3, 1.0
_MOST_BUS = 85 * 5120
_BYTE_US, _START_STOP_US = 22.5, 5.0
_NOISE_V, _BUS_NOISE_V = 8.6e-6, 2e-3  # of one conversion of 50 us


class UnknownRegisterError(Exception):
    """A register that does not exist, or more of one than it has: the driver's mistake."""


@dataclass
class InaFaults:
    """Counted down by the chip. It sends no check code, so a wrong bit stays unseen."""

    nack_next: int = 0  # so many transactions are not acknowledged
    corrupt_next: int = 0  # so many reads carry one wrong bit
    dead: bool = False


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


class Ina228:
    """One INA228 at ``address`` on a shunt of ``shunt_uohm`` microohm, with errors of ``seed``.

    ``offset_v``, ``gain`` and ``clock_gain`` replace what would be drawn.
    """

    def __init__(
        self,
        *,
        shunt_uohm: float,
        seed: int,
        address: int = ADDRESS,
        offset_v: float | None = None,
        gain: float | None = None,
        clock_gain: float | None = None,
    ) -> None:
        rng = random.Random(seed)  # noqa: S311 - a simulation's noise

        def within(most: float) -> float:
            return max(-most, min(most, rng.gauss(0.0, most / 3)))

        drawn = (within(1e-6), 1 + within(5e-4), 1 + within(5e-3))
        self._offset_v = drawn[0] if offset_v is None else offset_v
        self._gain = drawn[1] if gain is None else gain
        self._clock = drawn[2] if clock_gain is None else clock_gain
        self._bus_offset_v, self._bus_gain = within(2.5e-3), 1 + within(5e-4)
        self._die_error_c = within(_DIE_ERROR_C)
        self._rng = rng
        self._shunt_ohm = shunt_uohm * 1e-6
        self.address = address
        self.faults = InaFaults()
        self.ignored_writes = 0  # of registers that cannot be written, or not of two bytes
        self.now_us = 0.0
        self.last_bus_us = 0.0
        self._current_a = self._bus_v = 0.0
        self._die_c = 25.0
        self.power_on_reset()

    def power_on_reset(self) -> None:
        """Power came back, or RST."""
        self._registers = dict(_RESET)
        self._alert = 0  # the writable bits of DIAG_ALRT
        self._flags = 0
        self._pointer = 0
        self._results = dict.fromkeys((VSHUNT, VBUS, DIETEMP, CURRENT, POWER), 0)
        self._clear_accumulators()
        self._start()

    def _clear_accumulators(self) -> None:
        self._charge = self._energy = 0.0
        self._flags &= ~(ENERGYOF | CHARGEOF | MATHOF)

    def _start(self) -> None:
        """Begin to convert as ADC_CONFIG says."""
        value = self._registers[ADC_CONFIG]
        self._mode = value >> 12
        times = [_CONVERSION_US[value >> shift & 7] for shift in (9, 6, 3)]
        bits = (_BUS, _SHUNT, _TEMP)
        chosen = [t for t, bit in zip(times, bits, strict=True) if self._mode & bit]
        self._averages = _AVERAGES[value & 7]
        self._shunt_us, self._bus_us = times[1], times[0]
        self._cycle_us = sum(chosen) * self._averages / self._clock
        delay_us = (self._registers[CONFIG] >> 6 & 0xFF) * 2000.0
        self._due_us = self.now_us + delay_us + self._cycle_us if chosen else math.inf
        self._flags &= ~CNVRF

    # --- the world ------------------------------------------------------------------------

    def step(self, dt_s: float, current_a: float, bus_v: float, die_c: float) -> None:
        """The next ``dt_s``, with this current (+ = charge) and voltage at VBUS all along."""
        self._current_a, self._bus_v, self._die_c = current_a, bus_v, die_c
        self.advance(self.now_us + dt_s * 1e6)

    def advance(self, now_us: float) -> None:
        """Bring the chip to ``now_us`` with what is at its pins."""
        if now_us <= self.now_us:
            return
        if self._mode & _CONTINUOUS and self._mode & _SHUNT and not self.faults.dead:
            self._accumulate((now_us - self.now_us) / 1e6 * self._clock)
        self.now_us = now_us
        if now_us >= self._due_us and not self.faults.dead:
            if self._mode & _CONTINUOUS:
                cycles = (now_us - self._due_us) // self._cycle_us + 1
                self._due_us += cycles * self._cycle_us
            else:
                self._due_us = math.inf
            self._convert()

    def _shunt_v(self) -> float:
        return self._current_a * self._shunt_ohm * self._gain + self._offset_v

    def _measured_bus_v(self) -> float:
        return self._bus_v * self._bus_gain + self._bus_offset_v

    @property
    def _shunt_step_v(self) -> float:
        return 78.125e-9 if self._registers[CONFIG] & _ADCRANGE else 312.5e-9

    def _per_step(self) -> float:
        """CURRENT counts of one count of VSHUNT."""
        calibration = self._registers[SHUNT_CAL]
        if not calibration:
            return 0.0
        ratio = 4096 / calibration
        if self._registers[CONFIG] & _TEMPCOMP:
            ppm = self._registers[SHUNT_TEMPCO] * (self._die_c + self._die_error_c - 25.0)
            ratio /= 1 + ppm * 1e-6
        return ratio

    def _accumulate(self, dt_s: float) -> None:
        steps = max(-(1 << 19), min((1 << 19) - 1, self._shunt_v() / self._shunt_step_v))
        counts = steps * self._per_step()
        charge = self._charge + counts * dt_s
        half = 1 << 39
        if not -half <= charge < half:
            self._flags |= CHARGEOF
            charge = (charge + half) % (2 * half) - half
        self._charge = charge
        if self._mode & _BUS:
            # POWER = V x CURRENT / 3.2, ENERGY a sixteenth of it a second
            bus_v = max(0.0, self._measured_bus_v())
            energy = self._energy + abs(counts) * bus_v / (3.2 * 16) * dt_s
            if energy >= 2 * half:
                self._flags |= ENERGYOF
                energy %= 2 * half
            self._energy = energy

    def _convert(self) -> None:
        """Results of the last cycle, and what the limits say of them."""
        results, mode = self._results, self._mode
        self._flags = (self._flags & ~MATHOF) | CNVRF
        slow = self._alert & SLOWALERT
        fast_steps = results[VSHUNT]
        if mode & _BUS:
            noise_v = _BUS_NOISE_V * math.sqrt(50 / (self._bus_us * self._averages))
            volts = self._measured_bus_v() + self._rng.gauss(0.0, noise_v)
            results[VBUS] = max(0, min(_MOST_BUS, round(volts / _BUS_STEP_V)))
        if mode & _TEMP:
            code = round((self._die_c + self._die_error_c) / _DIE_STEP_C)
            results[DIETEMP] = max(-(1 << 15), min((1 << 15) - 1, code))
        if mode & _SHUNT:
            noise_v = _NOISE_V * math.sqrt(50 / self._shunt_us)
            volts, z = self._shunt_v(), self._rng.gauss(0.0, noise_v)
            results[VSHUNT] = self._steps(volts + z / math.sqrt(self._averages))
            fast_steps = results[VSHUNT] if slow else self._steps(volts + z)
        results[CURRENT] = self._fit(results[VSHUNT] * self._per_step(), -(1 << 19), (1 << 19) - 1)
        power = abs(results[CURRENT]) * results[VBUS] * _BUS_STEP_V / 3.2
        results[POWER] = self._fit(power, 0, (1 << 24) - 1)
        self._compare(fast_steps)

    def _steps(self, volts: float) -> int:
        return self._fit(round(volts / self._shunt_step_v), -(1 << 19), (1 << 19) - 1)

    def _fit(self, value: float, least: int, most: int) -> int:
        whole = int(value)
        if not least <= whole <= most:
            self._flags |= MATHOF
        return max(least, min(most, whole))

    def _compare(self, shunt_steps: int) -> None:
        registers, results = self._registers, self._results
        shunt = shunt_steps / 16  # 5 or 1.25 uV
        over = 0
        over |= SHNTOL if shunt > _signed(registers[SOVL], 16) else 0
        over |= SHNTUL if shunt < _signed(registers[SUVL], 16) else 0
        over |= BUSOL if results[VBUS] / 16 > registers[BOVL] else 0
        over |= BUSUL if results[VBUS] / 16 < registers[BUVL] else 0
        over |= TMPOL if results[DIETEMP] > _signed(registers[TEMP_LIMIT], 16) else 0
        over |= POL if results[POWER] / 256 > registers[PWR_LIMIT] else 0
        if self._alert & ALATCH:
            self._flags |= over
        else:
            self._flags = self._flags & ~_LIMITS | over

    @property
    def alert_low(self) -> bool:
        """The level of the ALERT pin: low with an alert, or without one if APOL turns it over."""
        if self.faults.dead:
            return False  # open drain, nobody pulls
        told = CNVRF if self._alert & CNVR and self._alert & ALATCH else 0
        alert = bool(self._flags & (_LIMITS | told))
        return alert != bool(self._alert & APOL)

    # --- the bus --------------------------------------------------------------------------

    def i2c(self, address: int, write: bytes, n_read: int) -> bytes:
        """One transaction: ``write``, then ``n_read`` bytes after a repeated start; ``Nack``."""
        busy_us = _START_STOP_US + _BYTE_US * (1 + len(write) + (1 + n_read if n_read else 0))
        self.last_bus_us = busy_us
        self.advance(self.now_us + busy_us)
        if address != self.address:
            raise Nack(f"no device at 0x{address:02X}")
        if self.faults.dead:
            raise Nack(f"0x{address:02X} is without power")
        if self.faults.nack_next > 0:
            self.faults.nack_next -= 1
            raise Nack(f"0x{address:02X} injected")
        if write:
            self.write(write)
        if not n_read:
            return b""
        data = self.read(self._pointer, n_read)
        if self.faults.corrupt_next > 0:
            self.faults.corrupt_next -= 1
            at = len(data) // 2
            data = data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :]
        return data

    def write(self, data: bytes) -> None:
        """The register, and two bytes for it if any; ``UnknownRegisterError``."""
        register, value = data[0], data[1:]
        if register not in _RESET and register not in self._results and register not in {
            *_IDENTITY, ENERGY, CHARGE, DIAG_ALRT,
        }:  # fmt: skip
            raise UnknownRegisterError(f"INA228: there is no register 0x{register:02X}")
        self._pointer = register
        if not value:
            return
        if len(value) != 2 or (register not in _RESET and register != DIAG_ALRT):
            self.ignored_writes += 1
            return
        word = int.from_bytes(value)
        if register == DIAG_ALRT:
            self._alert = word & _DIAG_WRITABLE
            return
        self._registers[register] = word & _WRITABLE_BITS[register]
        if register == CONFIG:
            if word & _RST:
                self.power_on_reset()
            elif word & _RSTACC:
                self._clear_accumulators()
        elif register == ADC_CONFIG:
            self._start()

    def read(self, register: int, count: int) -> bytes:
        """The first ``count`` bytes of ``register``; ``UnknownRegisterError`` beyond its end."""
        width = _WIDTH.get(register, 2)
        if count > width:
            raise UnknownRegisterError(
                f"INA228: register 0x{register:02X} has {width} bytes, {count} were read"
            )
        value = self._value(register)
        return (value & (1 << 8 * width) - 1).to_bytes(width)[:count]

    def _value(self, register: int) -> int:
        if register == DIAG_ALRT:
            value = self._alert | self._flags | MEMSTAT
            self._flags &= ~(CNVRF | (_LIMITS if self._alert & ALATCH else 0))
            return value
        if register == CHARGE:
            self._flags &= ~CHARGEOF
            return math.floor(self._charge)
        if register == ENERGY:
            self._flags &= ~ENERGYOF
            return math.floor(self._energy)
        if register in self._results:
            shift = 4 if register in {VSHUNT, VBUS, CURRENT} else 0
            return self._results[register] << shift
        if register in _IDENTITY:
            return _IDENTITY[register]
        return self._registers[register]
