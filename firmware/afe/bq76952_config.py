"""What a BQ76952 is to be told for one pack: settings in our units become data-memory values.

One small function per protection, always the same steps: convert, clamp to what the register
holds, note the bytes to write, note in ``applied`` the value that truly results.

The chip is the last line of defence. Its limits stand outside the firmware's, so that the firmware
acts first and can say why, and act alone when the firmware does not. Where a register's range or
step does not reach the wanted limit, the nearest one it can hold applies.

    >>> plan = Plan(settings, ("TS1", "TS2", "TS3"), "DCHG", True)
    >>> plan.applied["cov_mv"]
    4301

Source: TI SLUUBY2B chapters 4 to 8 (units, ranges, meaning of the bits).
"""

import struct

from common.mp import const
from firmware.afe import bq76952_registers as reg
from firmware.settings import Settings

CELL_MARGIN_MV = const(25)  # beyond the profile's hard limits; a step of 50.6 mV comes on top
CELL_DELAY_MS = const(4000)  # the firmware debounces faster than this
TEMPERATURE_MARGIN_C = const(5)
TEMPERATURE_HYSTERESIS_C = const(5)
CURRENT_DELAY_MS = const(400)  # OCC, OCD1
STRONG_CURRENT_DELAY_MS = const(50)  # OCD2
SLOW_CURRENT_DELAY_S = const(10)  # OCD3
SHORT_DELAY_US = const(150)  # SCD: lets the inrush of small capacitors pass
WATCHDOG_PERIODS = const(5)  # measurement cycles missed before the chip opens by itself
BALANCING_INTERVAL_S = const(20)
_BALANCING_C = (0, 50, 70)  # lowest and highest cell, highest chip temperature

_COMM_FAST_CRC = const(0x12)
_POWER_NO_SLEEP = const(0x2882)  # the default without SLEEP, in which the CHG FET may open
_POWER_SHUT_TS2 = const(0x1000)  # a thermistor at TS2 would wake the chip out of SHUTDOWN
_PF_FETS = const(0x0002)  # a permanent failure opens the FETs
_FET_SERIES = const(0x01)
_FET_HOST = const(0x04)  # the host may hold FETs off
_FET_CONTROL = const(0x08)
_FET_PREDISCHARGE = const(0x10)
_FET_INIT_OFF = const(0x20)  # ... and holds them off until told otherwise
_CURRENT_RECOVERY_MA = const(50)  # over-current ends without needing current the other way


def user_current_ma(highest_ma: int) -> int:
    """The unit of current (1, 10 or 100 mA) in which twice ``highest_ma`` fits 16 bits."""
    for unit in (1, 10):
        if 2 * highest_ma <= 0x7FFF * unit:
            return unit
    return 100


class Plan:
    """Every data-memory value for one pack.

    ``items`` is a list of (register, bytes), ascending by address; ``applied`` tells in our units
    what results; ``user_ma`` is the unit of current the chip will count in.
    """

    def __init__(
        self,
        settings: Settings,
        sensors: "tuple[str, ...]",
        fet_sensor: "str | None",
        crc: bool,
    ) -> None:
        self.items: "list[tuple[tuple, bytes]]" = []  # type: ignore[type-arg]
        self.applied: "dict[str, int]" = {}
        self.user_ma = user_current_ma(max(settings.occ_ma, settings.ocd_ma))
        self.applied["user_ma"] = self.user_ma
        if crc:
            self.put(reg.COMM_TYPE, _COMM_FAST_CRC)
        self._measurement(settings)
        self._sensors(settings, sensors, fet_sensor)
        self._cell_voltage(settings)
        self._current(settings)
        self._temperature(settings)
        self._host_watchdog(settings)
        self._actions(fet_sensor is not None)
        self._fets(settings)
        self._balancing()
        self.items.sort(key=lambda item: item[0][1])

    def put(self, register: "tuple", value: int) -> int:  # type: ignore[type-arg]
        """Note ``value``, clamped to what ``register`` holds; return what it became."""
        _name, _address, code, lowest, highest = register
        value = min(max(value, lowest), highest)
        self.items.append((register, struct.pack("<" + code, value)))
        return value

    def put_float(self, register: "tuple", value: float) -> None:  # type: ignore[type-arg]
        """Note a floating point ``value``, clamped."""
        _name, _address, code, lowest, highest = register
        self.items.append((register, struct.pack("<" + code, min(max(value, lowest), highest))))

    def _measurement(self, settings: Settings) -> None:
        gain = 7568.4 / settings.shunt_uohm
        self.put_float(reg.CC_GAIN, gain)
        self.put_float(reg.CAPACITY_GAIN, gain * 298261.6178)
        # stack in units of 10 mV: 16 cells do not fit 16 bits in mV
        self.put(reg.DA_CONFIGURATION, {1: 0x05, 10: 0x06, 100: 0x07}[self.user_ma])
        self.put(reg.VCELL_MODE, inputs_of((1 << settings.n_cells) - 1, settings.n_cells))
        self.put(reg.DSG_CURRENT_THRESHOLD, max(100 // self.user_ma, 1))
        self.put(reg.CHG_CURRENT_THRESHOLD, max(50 // self.user_ma, 1))

    def _sensors(
        self, settings: Settings, sensors: "tuple[str, ...]", fet_sensor: "str | None"
    ) -> None:
        # An open thermistor reads as deep frost: only those that must be there may trip anything.
        for i, pin in enumerate(sensors):
            self._pin(pin, reg.PIN_CELL if i < settings.n_sensors else reg.PIN_REPORT)
        if fet_sensor is not None:
            self._pin(fet_sensor, reg.PIN_FET)
        self.put(reg.POWER_CONFIG, _POWER_NO_SLEEP | (_POWER_SHUT_TS2 if "TS2" in sensors else 0))

    def _pin(self, pin: str, use: int) -> None:
        self.put((pin + " Config", reg.THERMISTOR_PINS[pin][0], "B", 0, 255), use)

    def _cell_voltage(self, settings: Settings) -> None:
        over_mv = settings.profile.cell_max_mv + CELL_MARGIN_MV
        raw = self.put(reg.COV_THRESHOLD, (over_mv * 10 + 505) // 506)
        self.applied["cov_mv"] = raw * 506 // 10
        self.put(reg.COV_HYSTERESIS, 2)
        under_mv = settings.profile.cell_min_mv - CELL_MARGIN_MV
        raw = self.put(reg.CUV_THRESHOLD, under_mv * 10 // 506)
        self.applied["cuv_mv"] = raw * 506 // 10
        self.put(reg.CUV_HYSTERESIS, 2)
        for register, name in ((reg.COV_DELAY, "cov_delay_ms"), (reg.CUV_DELAY, "cuv_delay_ms")):
            raw = self.put(register, CELL_DELAY_MS * 10 // 33 - 2)  # the chip adds 2
            self.applied[name] = (raw + 2) * 33 // 10

    def _current(self, settings: Settings) -> None:
        shunt = settings.shunt_uohm
        occ = settings.occ_ma * 3 // 2
        ocd = settings.ocd_ma * 3 // 2
        self._over_current(reg.OCC_THRESHOLD, reg.OCC_DELAY, "occ", occ, CURRENT_DELAY_MS, shunt)
        self._over_current(
            reg.OCD1_THRESHOLD, reg.OCD1_DELAY, "ocd1", ocd, CURRENT_DELAY_MS, shunt
        )
        self._over_current(
            reg.OCD2_THRESHOLD,
            reg.OCD2_DELAY,
            "ocd2",
            settings.ocd_ma * 2,
            STRONG_CURRENT_DELAY_MS,
            shunt,
        )
        raw = self.put(reg.OCD3_THRESHOLD, -(settings.ocd_ma * 5 // 4 // self.user_ma))
        self.applied["ocd3_ma"] = -raw * self.user_ma
        self.applied["ocd3_delay_ms"] = 1000 * self.put(reg.OCD3_DELAY, SLOW_CURRENT_DELAY_S)
        self.put(reg.OCC_RECOVERY, _CURRENT_RECOVERY_MA)
        self.put(reg.OCD_RECOVERY, -_CURRENT_RECOVERY_MA)
        self._short_circuit(settings.ocd_ma * 3, shunt)

    def _over_current(
        self,
        threshold: "tuple",  # type: ignore[type-arg]
        delay: "tuple",  # type: ignore[type-arg]
        name: str,
        ma: int,
        delay_ms: int,
        shunt: int,
    ) -> None:
        step_nv = 2000000  # mA x micro-ohm is nV
        raw = self.put(threshold, (ma * shunt + step_nv - 1) // step_nv)
        self.applied[name + "_ma"] = raw * step_nv // shunt
        raw = self.put(delay, (delay_ms * 10 - 66) // 33)
        self.applied[name + "_delay_ms"] = (66 + 33 * raw) // 10

    def _short_circuit(self, ma: int, shunt: int) -> None:
        index = len(reg.SCD_MV) - 1
        while index and reg.SCD_MV[index - 1] * 1000000 >= ma * shunt:
            index -= 1
        self.put(reg.SCD_THRESHOLD, index)
        self.applied["scd_ma"] = reg.SCD_MV[index] * 1000000 // shunt
        raw = self.put(reg.SCD_DELAY, SHORT_DELAY_US // 15 + 1)
        self.applied["scd_delay_us"] = (raw - 1) * 15

    def _temperature(self, settings: Settings) -> None:
        cells = settings.profile
        self._hot(reg.OTC_THRESHOLD, reg.OTC_RECOVERY, "otc_dc", cells.charge_max_dc)
        self._hot(reg.OTD_THRESHOLD, reg.OTD_RECOVERY, "otd_dc", cells.discharge_max_dc)
        self._hot(reg.OTF_THRESHOLD, reg.OTF_RECOVERY, "otf_dc", settings.otf_dc)
        self._cold(reg.UTC_THRESHOLD, reg.UTC_RECOVERY, "utc_dc", cells.charge_min_dc)
        self._cold(reg.UTD_THRESHOLD, reg.UTD_RECOVERY, "utd_dc", cells.discharge_min_dc)

    def _hot(self, threshold: "tuple", recovery: "tuple", name: str, dc: int) -> None:  # type: ignore[type-arg]
        raw = self.put(threshold, (dc + 9) // 10 + TEMPERATURE_MARGIN_C)
        self.put(recovery, raw - TEMPERATURE_HYSTERESIS_C)
        self.applied[name] = raw * 10

    def _cold(self, threshold: "tuple", recovery: "tuple", name: str, dc: int) -> None:  # type: ignore[type-arg]
        raw = self.put(threshold, dc // 10 - TEMPERATURE_MARGIN_C)
        self.put(recovery, raw + TEMPERATURE_HYSTERESIS_C)
        self.applied[name] = raw * 10

    def _host_watchdog(self, settings: Settings) -> None:
        seconds = max((WATCHDOG_PERIODS * settings.period_ms + 999) // 1000, WATCHDOG_PERIODS)
        self.applied["hwd_s"] = self.put(reg.HWD_DELAY, seconds)

    def _actions(self, fet_sensor: bool) -> None:
        """Which protections are on, and which FET each of them opens."""
        otf = reg.OTF if fet_sensor else 0
        discharge_current = reg.OCD1 | reg.OCD2 | reg.SCD
        self.put(reg.ENABLED_PROTECTIONS_A, reg.CUV | reg.COV | reg.OCC | discharge_current)
        self.put(
            reg.ENABLED_PROTECTIONS_B, reg.UTC | reg.UTD | reg.OTC | reg.OTD | reg.OTINT | otf
        )
        self.put(reg.ENABLED_PROTECTIONS_C, reg.HWDF | reg.OCD3)
        # Only this value lets the CHG FET open at once rather than up to 250 ms later.
        self.put(reg.CHG_FET_PROTECTIONS_A, reg.COV | reg.OCC | reg.SCD)
        self.put(reg.CHG_FET_PROTECTIONS_B, reg.UTC | reg.UTINT | reg.OTC | reg.OTINT | reg.OTF)
        self.put(reg.CHG_FET_PROTECTIONS_C, reg.HWDF | reg.PTO | reg.COVL | reg.SCDL)
        self.put(reg.DSG_FET_PROTECTIONS_A, reg.CUV | discharge_current)
        self.put(reg.DSG_FET_PROTECTIONS_B, reg.UTD | reg.UTINT | reg.OTD | reg.OTINT | reg.OTF)
        self.put(reg.DSG_FET_PROTECTIONS_C, reg.HWDF | reg.OCDL | reg.SCDL | reg.OCD3)
        self.put(reg.PROTECTION_CONFIGURATION, _PF_FETS)

    def _fets(self, settings: Settings) -> None:
        options = _FET_SERIES | _FET_HOST | _FET_CONTROL | _FET_INIT_OFF
        if settings.precharge_ms and not settings.contactors:
            options |= _FET_PREDISCHARGE
            self.put(reg.PREDISCHARGE_TIMEOUT, 0)  # by voltage alone: the firmware minds the time
            self.put(reg.PREDISCHARGE_DELTA, settings.precharge_mv // 10)
        self.put(reg.FET_OPTIONS, options)
        self.put(reg.MFG_STATUS_INIT, reg.FET_EN | reg.PF_EN)

    def _balancing(self) -> None:
        self.put(reg.BALANCING_CONFIGURATION, 0)  # nothing by itself: the firmware says which
        self.put(reg.BALANCING_MIN_TEMPERATURE, _BALANCING_C[0])
        self.put(reg.BALANCING_MAX_TEMPERATURE, _BALANCING_C[1])
        self.put(reg.BALANCING_MAX_INTERNAL, _BALANCING_C[2])
        self.applied["balancing_s"] = self.put(reg.BALANCING_INTERVAL, BALANCING_INTERVAL_S)


def inputs_of(cells: int, n_cells: int) -> int:
    """A bit per cell as a bit per input: the topmost cell always stands on input 16."""
    top = 1 << (n_cells - 1)
    return cells & (top - 1) | (0x8000 if cells & top else 0)


def cells_of(inputs: int, n_cells: int) -> int:
    """A bit per input as a bit per cell; inputs that carry no cell are dropped."""
    top = 1 << (n_cells - 1)
    return inputs & (top - 1) | (top if inputs & 0x8000 else 0)
