"""The TI INA228: current, charge and an over-current line over a shunt, on I2C.

SHUNT_CAL stays at its natural 4096, for which the chip's unit of current is that of its shunt
voltage, 312.5 nV, over the shunt. So nothing is rounded inside the chip, and

    current   raw * 625 / (2 * shunt_uohm) mA
    charge    raw * 3125 / (36 * shunt_uohm) micro-Ah    (raw counts units of current x 1 s)

Charge is taken as the difference of successive readings of the chip's 40-bit sum, modulo 2^40, and
the remainder of the division is carried: no micro-Ah is lost. On this bus nothing is protected by
a CRC; the sum is read twice and must agree within what can flow in between.

ALERT trips when one conversion (0.54 ms) exceeds the limits, and is latched until DIAG_ALRT is
read. Its polarity is "inverted": the open-drain pin is pulled low only while all is well, so that
a broken wire, a chip without supply and one that was reset all disable the gate drivers.

    >>> ina = Ina228(board)
    >>> ina.configure(settings)
    >>> ina.read_alert()  # the flags; clears them and frees ALERT
    >>> ina.read_current()
    >>> ina.count()  # micro-Ah since the last count
    0

Number format: all integers of a step up to 2^30 / 3125 raw counts (at 0.5 mOhm: 1000 times that)
fit the 31 bits of boards; greater steps are right as well.

Source: TI SLYS021A (INA228 data sheet): register map, equations 2 to 4, bits of DIAG_ALRT.
"""

from common.mp import const
from firmware.afe import AfeError, AfeSettingsError
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_MV

ADDRESS = const(0x40)  # A0 and A1 to ground
CHARGE_FLAG = const(0x40)  # SHNTOL in DIAG_ALRT
DISCHARGE_FLAG = const(0x20)  # SHNTUL
CONVERSION_US = const(540)
BUS_US = const(50)

_CONFIG = const(0x00)
_ADC_CONFIG = const(0x01)
_SHUNT_CAL = const(0x02)
_BUS = const(0x05)
_CURRENT = const(0x07)
_CHARGE = const(0x0A)
_DIAG_ALRT = const(0x0B)
_SOVL = const(0x0C)
_SUVL = const(0x0D)
_MANUFACTURER_ID = const(0x3E)
_DEVICE_ID = const(0x3F)

_RANGE_163_MV = const(0x0000)  # CONFIG: ADCRANGE 0, no delay, no temperature compensation
# MODE 0xA: the shunt alone, continuously; 0.54 ms a conversion, 4 of them averaged: 2.16 ms, about
# the time in which the LTC6813 measures its cells. MODE 0xB: VBUS as well, 0.05 ms between them.
_SHUNT_ALONE = const(0xA921)
_SHUNT_AND_BUS = const(0xB121)
_NATURAL = const(0x1000)
_ALATCH = const(0x8000)
_APOL = const(0x1000)
_ALERT_SET = const(0xF000)  # ALATCH, CNVR, SLOWALERT, APOL: what stands as written
_CNVRF = const(0x02)  # a conversion ended since the last look
_MEMSTAT = const(0x01)  # 0: the chip's trim is corrupt
_LIMIT_NV = const(5000)  # of SOVL and SUVL
_LIMIT_HIGHEST = const(32000)  # 160 mV, below the end of the range at 163.84 mV
_DISAGREE = const(1 << 14)  # raw charge: more than full scale for 30 ms
_TRIES = const(2)


class Ina228:
    """One INA228. ``current_ma``, ``lost``, ``corrupt`` as read last; ``flags`` are kept."""

    def __init__(self, board: "object", address: int = ADDRESS) -> None:
        self._board = board
        self._address = address
        self.errors = 0
        self.applied: "dict[str, int]" = {}
        self.image = b""  # what is set, for a signature
        self.current_ma = 0  # positive when charging: IN+ towards the pack
        self.bus_mv = UNKNOWN_MV  # at VBUS: only measured for a precharge
        self.flags = 0  # CHARGE_FLAG, DISCHARGE_FLAG
        self.lost = False  # the chip was reset and wants its settings again
        self.corrupt = False  # says so of its trim
        self._bus = False
        self._two = bytearray(2)
        self._three = bytearray(3)
        self._five = bytearray(5)
        self._settings: "tuple[tuple[int, int], ...]" = ()
        self._next = 0  # which setting is looked at next
        self._still = False  # no conversion was seen to end
        self._shunt_uohm = 1
        self._n = 1
        self._d = 1
        self._remainder = 0  # 0 .. _d - 1
        self._counting = False
        self._high = self._low = 0  # of the sum: 16 and 24 bits
        self._last_high = self._last_low = 0

    # --- settings -------------------------------------------------------------------------

    def configure(self, settings: Settings) -> None:
        """Set range, averaging, limits and ALERT; read all back."""
        manufacturer = self._read_word(_MANUFACTURER_ID)
        device = self._read_word(_DEVICE_ID)
        if manufacturer != 0x5449 or device >> 4 != 0x228:  # "TI"; the revision may be any
            raise AfeSettingsError(
                "INA228: manufacturer 0x%04X, device 0x%04X at 0x%02X: another chip is fitted"
                % (manufacturer, device, self._address)
            )
        shunt = settings.shunt_uohm
        over = self._limit("occ", settings.occ_ma, 3, 2, shunt)
        under = self._limit("scd", settings.ocd_ma, 3, 1, shunt)
        self._bus = settings.precharge_ms > 0
        # A whole conversion may have to pass.
        self.applied["alert_us"] = 2 * (CONVERSION_US + (BUS_US if self._bus else 0))
        wanted = (
            (_CONFIG, _RANGE_163_MV),
            (_ADC_CONFIG, _SHUNT_AND_BUS if self._bus else _SHUNT_ALONE),
            (_SHUNT_CAL, _NATURAL),
            (_SOVL, over),
            (_SUVL, 0x10000 - under),
            (_DIAG_ALRT, _ALATCH | _APOL),
        )
        kept = self._counting and wanted == self._settings and shunt == self._shunt_uohm
        self._settings = wanted
        for register, value in wanted:
            if self._holds(register, value):
                continue
            kept = False
            self._write_word(register, value)
            if not self._holds(register, value):
                raise AfeSettingsError(
                    "INA228: register 0x%02X: wrote 0x%04X, read 0x%04X: it does not keep its "
                    "settings" % (register, value, self._read_word(register))
                )
        if not kept:  # else the sum went on, and its difference is still to be counted
            self._restart(shunt)
        self.lost = self._still = False
        self.image = bytes([part for _, value in wanted for part in (value >> 8, value & 0xFF)])

    def _limit(self, name: str, ma: int, times: int, over: int, shunt: int) -> int:
        """The limit at ``times / over`` the firmware's own, at most the range's end; 5 uV each."""
        raw = min(-(-ma * times * shunt // (over * _LIMIT_NV)), _LIMIT_HIGHEST)
        applied_ma = raw * _LIMIT_NV // shunt
        if applied_ma * 4 < ma * 5:
            raise AfeSettingsError(
                "INA228: %d mA with shunt_uohm %d: it sees up to %d mA, and must see a quarter "
                "more than the limit: fit a smaller shunt" % (ma, shunt, applied_ma)
            )
        self.applied[name + "_ma"] = applied_ma
        return raw

    def _holds(self, register: int, value: int) -> bool:
        mask = _ALERT_SET if register == _DIAG_ALRT else 0xFFFF
        for _ in range(_TRIES):
            word = self._look() if register == _DIAG_ALRT else self._read_word(register)
            if word & mask == value:
                return True
        return False

    # --- measurement ----------------------------------------------------------------------

    def read_alert(self) -> None:
        """Take the flags, which frees ALERT, and see whether the settings still stand."""
        word = self._look()
        self.lost = word & _ALERT_SET != _ALATCH | _APOL and not self._holds(
            _DIAG_ALRT, _ALATCH | _APOL
        )
        register, value = self._settings[self._next]
        self._next = (self._next + 1) % (len(self._settings) - 1)  # the last is DIAG_ALRT
        if not self._holds(register, value):
            self.lost = True
        if self.lost:
            return
        still = not word & _CNVRF
        if still and self._still:  # once may be a look that failed on its way here
            raise AfeError("INA228: no conversion between two readings: reset the chip")
        self._still = still
        # Nothing protects this bit on the bus, and it condemns the chip: only when seen twice.
        self.corrupt = not word & _MEMSTAT and not self._look() & _MEMSTAT

    def read_current(self) -> None:
        """Take ``current_ma``, ``bus_mv`` and the sum; the sum counts only with ``count``."""
        raw = self._read_20_bits(_CURRENT)
        if raw & 0x80000:
            raw -= 0x100000
        shunt = self._shunt_uohm
        self.current_ma = (raw * 625 + shunt) // (2 * shunt)
        if self._bus:
            self.bus_mv = (self._read_20_bits(_BUS) * 25 + 64) >> 7  # 195.3125 uV each
        self._read_sum()
        for _ in range(_TRIES):
            high, low = self._high, self._low
            self._read_sum()
            if -_DISAGREE < self._step(high, low) < _DISAGREE:
                return
            self.errors += 1
        raise AfeError(
            "INA228: its sum of charge reads differently each time: check the I2C wiring"
        )

    def count(self) -> int:
        """Micro-Ah since the last ``count``, positive when charging; 0 at first."""
        uah = 0
        if self._counting:
            d = self._d
            raw = self._step(self._last_high, self._last_low)
            whole = raw // d
            total = (raw - whole * d) * self._n + self._remainder
            part = total // d
            self._remainder = total - part * d
            uah = whole * self._n + part
        self._counting = True
        self._last_high = self._high
        self._last_low = self._low
        return uah

    # --- helpers --------------------------------------------------------------------------

    def _restart(self, shunt_uohm: int) -> None:
        n, d = 3125, 36 * shunt_uohm
        while n % 5 == 0 and d % 5 == 0:
            n //= 5
            d //= 5
        self._n = n
        self._d = d
        self._shunt_uohm = shunt_uohm
        self._remainder = 0
        self._counting = False

    def _look(self) -> int:
        """DIAG_ALRT; its flags are gone from the chip by that, so they are kept."""
        word = self._read_word(_DIAG_ALRT)
        self.flags |= word & (CHARGE_FLAG | DISCHARGE_FLAG)
        return word

    def _read_sum(self) -> None:
        data = self._five
        self._read(_CHARGE, data)
        self._high = data[0] << 8 | data[1]
        self._low = data[2] << 16 | data[3] << 8 | data[4]

    def _step(self, high: int, low: int) -> int:
        """From there to the sum as read last: it counts modulo 2^40."""
        turns = ((self._high - high + 0x8000) & 0xFFFF) - 0x8000
        return (turns << 24) + self._low - low

    def _read_20_bits(self, register: int) -> int:
        data = self._three
        self._read(register, data)
        return (data[0] << 16 | data[1] << 8 | data[2]) >> 4

    def _read_word(self, register: int) -> int:
        self._read(register, self._two)
        return self._two[0] << 8 | self._two[1]

    def _read(self, register: int, data: "bytearray") -> None:
        for _ in range(_TRIES):
            try:
                self._board.i2c.readfrom_mem_into(self._address, register, data)  # type: ignore[attr-defined]
            except OSError:
                self._failed()
                continue
            return
        raise self._silent(register)

    def _write_word(self, register: int, value: int) -> None:
        data = self._two
        data[0] = value >> 8
        data[1] = value & 0xFF
        for _ in range(_TRIES):
            try:
                self._board.i2c.writeto_mem(self._address, register, data)  # type: ignore[attr-defined]
            except OSError:
                self._failed()
                continue
            return
        raise self._silent(register)

    def _silent(self, register: int) -> AfeError:
        return AfeError(
            "INA228: register 0x%02X: no answer at 0x%02X, %d times: check the I2C wiring and the "
            "chip's supply" % (register, self._address, _TRIES)
        )

    def _failed(self) -> None:
        self.errors += 1
        recover = getattr(self._board, "recover_i2c", None)
        if recover is not None:
            recover()
