"""What a BQ76952 is to be told for one pack: settings in our units become data-memory values.

One small function per subject, always the same steps: convert, clamp to what the register holds,
note the bytes to write, note in ``applied`` the value that truly results. Here stand measurement,
pins, FETs and balancing; ``bq76952_protections`` and ``bq76952_permanent`` add the rest.

The board's own offset and the coulomb counter's (Board Offset, the cell gains) are not written:
they belong to the calibration of one board, kept in the chip's own memory. SLEEP is off: in it
the chip opens the CHG FET, scans every 5 s only, and wakes too late to see a pulse. The ALERT pin
is off: the firmware reads the status in every cycle, and an interrupt could only be lost.

    >>> plan = plan_for(settings, ("TS1", "TS2", "TS3"), "DCHG", True)
    >>> plan.applied["cov_mv"]
    4301

Source: TI SLUUBY2B chapters 4 to 8 (units, ranges, meaning of the bits).
"""

from common.mp import const
from firmware.afe import bq76952_permanent, bq76952_protections
from firmware.afe import bq76952_registers as reg
from firmware.afe.bq76952_plan import Plan
from firmware.settings import Settings

BALANCING_INTERVAL_S = const(20)
OPEN_WIRE_INTERVAL_S = const(5)
_BALANCING_MIN_C = const(0)
_BALANCING_CHIP_C = const(70)
_BALANCING_MARGIN_C = const(5)  # the firmware stops first

_COMM_FAST_CRC = const(0x12)  # I2C above 100 kHz with CRC (SLUUCG7, Comm Type)
_POWER_NO_SLEEP = const(0x2882)  # the default (SLUUBY2B) without SLEEP
_POWER_SHUT_TS2 = const(0x1000)  # a thermistor at TS2 would wake the chip out of SHUTDOWN
_PRE_REGULATOR = const(0x01)  # REG1 and REG2 are fed by it
_FET_SERIES = const(0x01)  # bits of FET Options (SLUUBY2B)
_FET_HOST = const(0x04)  # the host may hold FETs off
_FET_CONTROL = const(0x08)
_FET_PREDISCHARGE = const(0x10)
_FET_INIT_OFF = const(0x20)  # ... and holds them off until told otherwise
# DA Configuration (SLUUBY1B): bits 1:0 the unit of current, 2: the stack in units of 10 mV, for
# 16 cells do not fit 16 bits in mV
_DA_CONFIGURATION = {1: 0x05, 10: 0x06, 100: 0x07}


def user_current_ma(highest_ma: int) -> int:
    """The unit of current (1, 10 or 100 mA) in which twice ``highest_ma`` fits 16 bits."""
    for unit in (1, 10):
        if 2 * highest_ma <= 0x7FFF * unit:
            return unit
    return 100


def plan_for(
    settings: Settings,
    sensors: "tuple[str, ...]",
    fet_sensor: "str | None",
    crc: bool,
    regulators: "int | None" = None,
) -> Plan:
    """Everything for the pack of ``settings``.

    ``sensors`` and ``fet_sensor`` are pins with thermistors; every other pin is off.
    ``regulators`` is what REG12 Config is to hold where the board is fed by REG1 or REG2; ``None``
    leaves the chip's regulators as they are.
    """
    plan = Plan(user_current_ma(max(settings.occ_ma, settings.ocd_ma)))
    if crc:
        plan.put(reg.COMM_TYPE, _COMM_FAST_CRC)
    if regulators is not None:
        plan.put(reg.REG12_CONFIG, regulators)
        plan.put(reg.REG0_CONFIG, _PRE_REGULATOR)
    _measurement(plan, settings)
    _pins(plan, settings, sensors, fet_sensor)
    _fets(plan, settings)
    _balancing(plan, settings)
    bq76952_protections.add(plan, settings, fet_sensor is not None)
    bq76952_permanent.add(plan, settings, fet_sensor is not None)
    return plan


def _measurement(plan: Plan, settings: Settings) -> None:
    gain = 7568.4 / settings.shunt_uohm
    plan.put(reg.CC_GAIN, gain)
    plan.put(reg.CAPACITY_GAIN, gain * 298261.6178)
    plan.put(reg.DA_CONFIGURATION, _DA_CONFIGURATION[plan.user_ma])
    plan.put(reg.VCELL_MODE, inputs_of((1 << settings.n_cells) - 1, settings.n_cells))
    plan.put(reg.DSG_CURRENT_THRESHOLD, max(100 // plan.user_ma, 1))
    plan.put(reg.CHG_CURRENT_THRESHOLD, max(50 // plan.user_ma, 1))
    plan.put(reg.OPEN_WIRE_INTERVAL, OPEN_WIRE_INTERVAL_S)


def _pins(
    plan: Plan, settings: Settings, sensors: "tuple[str, ...]", fet_sensor: "str | None"
) -> None:
    for pin, (address, _command) in reg.THERMISTOR_PINS.items():
        use = reg.PIN_UNUSED
        if pin in sensors:
            # An open thermistor reads as deep frost: only one that must be there may trip.
            must = sensors.index(pin) < settings.n_sensors
            use = reg.PIN_CELL if must else reg.PIN_REPORT
        elif pin == fet_sensor:
            use = reg.PIN_FET
        plan.put((pin + " Config", address, "B", 0, 255), use)
    plan.put(reg.POWER_CONFIG, _POWER_NO_SLEEP | (_POWER_SHUT_TS2 if "TS2" in sensors else 0))


def _fets(plan: Plan, settings: Settings) -> None:
    options = _FET_SERIES | _FET_HOST | _FET_CONTROL | _FET_INIT_OFF
    if settings.precharge_ms and not settings.contactors:
        options |= _FET_PREDISCHARGE
        plan.put(reg.PREDISCHARGE_TIMEOUT, 0)  # by voltage alone: the firmware minds the time
        plan.put(reg.PREDISCHARGE_DELTA, settings.precharge_mv // 10)
    plan.put(reg.FET_OPTIONS, options)
    plan.put(reg.MFG_STATUS_INIT, reg.FET_EN | reg.PF_EN)


def _balancing(plan: Plan, settings: Settings) -> None:
    plan.put(reg.BALANCING_CONFIGURATION, 0)  # nothing by itself: the firmware says which
    plan.put(reg.BALANCING_MIN_TEMPERATURE, _BALANCING_MIN_C)
    highest_c = (settings.balance_max_dc + 9) // 10 + _BALANCING_MARGIN_C
    plan.applied["balancing_max_dc"] = 10 * plan.put(reg.BALANCING_MAX_TEMPERATURE, highest_c)
    plan.put(reg.BALANCING_MAX_INTERNAL, _BALANCING_CHIP_C)
    plan.applied["balancing_s"] = plan.put(reg.BALANCING_INTERVAL, BALANCING_INTERVAL_S)
    plan.applied["balancing_cells"] = plan.put(reg.BALANCING_MAX_CELLS, settings.balance_max_cells)


def inputs_of(cells: int, n_cells: int) -> int:
    """A bit per cell as a bit per input: the topmost cell always stands on input 16."""
    top = 1 << (n_cells - 1)
    return cells & (top - 1) | (0x8000 if cells & top else 0)


def cells_of(inputs: int, n_cells: int) -> int:
    """A bit per input as a bit per cell; inputs that carry no cell are dropped."""
    top = 1 << (n_cells - 1)
    return inputs & (top - 1) | (top if inputs & 0x8000 else 0)
