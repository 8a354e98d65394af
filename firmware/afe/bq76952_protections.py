"""The protections of a BQ76952 that end by themselves or by command, for one pack.

The chip is the last line of defence. Its limits stand outside the firmware's, so that the firmware
acts first and can say why, and act alone when the firmware does not. Where a register's range or
step does not reach the wanted limit, the nearest one it can hold applies.

A trip that keeps coming back latches: COVL, OCDL, SCDL. Each forgets one trip in a time longer
than a trip takes to recover, else repeated ones would not add up, and COVL forgets faster than it
recovers, else it would latch again at once (SLUUCG7, COVL Counter Dec Delay). OCDL and SCDL do not
recover by a charge current: only ``Afe.recover`` ends them. COVL has no such command.

Source: TI SLUUBY2B chapter 5 (protections), SLUUBY1B and SLUUCG7 for its single settings.
"""

from common.mp import const
from firmware.afe import bq76952_registers as reg
from firmware.afe.bq76952_plan import Plan
from firmware.settings import Settings

CELL_MARGIN_MV = const(25)  # beyond the profile's hard limits; a step of 50.6 mV comes on top
CELL_DELAY_MS = const(4000)  # the firmware debounces faster than this
CELL_HYSTERESIS = const(2)  # steps of 50.6 mV
TEMPERATURE_MARGIN_C = const(5)
TEMPERATURE_HYSTERESIS_C = const(5)
TEMPERATURE_DELAY_S = const(2)
CHIP_C = (-40, 85)  # within which the chip's own figures are good
CURRENT_DELAY_MS = const(400)  # OCC, OCD1
STRONG_CURRENT_DELAY_MS = const(50)  # OCD2
SLOW_CURRENT_DELAY_S = const(10)  # OCD3
SHORT_DELAY_US = const(150)  # SCD: lets the inrush of small capacitors pass
SHORT_RECOVERY_S = const(10)  # the longest cycle sees the bit several times
RECOVERY_S = const(3)
WATCHDOG_PERIODS = const(5)  # measurement cycles missed before the chip opens by itself
_LATCHES = (  # trips to latch, s to forget one, s to recover
    ("covl", reg.COVL, 3, 30, 60),
    ("ocdl", reg.OCDL, 3, 60, 120),
    ("scdl", reg.SCDL, 2, 60, 120),
)
_CURRENT_RECOVERY_MA = const(50)  # over-current ends without needing current the other way
_STEP_NV = const(2000000)  # of OCC, OCD1, OCD2; mA x micro-ohm is nV
# A permanent failure opens the FETs. It is kept in RAM only (no PF_OTP), blows no fuse and leaves
# the regulators on; neither OCDL nor SCDL recovers by a charge current.
_PROTECTION_CONFIGURATION = const(0x0002)

# Bits of the three protection bytes, the same in Safety Status, Enabled and CHG/DSG FET ...: A as
# in SLUUCG7, B in SLUUBY2B, C in SLUUBY1B.
_CUV = const(0x04)  # A
_COV = const(0x08)
_OCC = const(0x10)
_OCD1 = const(0x20)
_OCD2 = const(0x40)
_SCD = const(0x80)
_UTC = const(0x01)  # B
_UTD = const(0x02)
_UTINT = const(0x04)
_OTC = const(0x10)
_OTD = const(0x20)
_OTINT = const(0x40)
_OTF = const(0x80)
_HWDF = const(0x02)  # C
_PTO = const(0x04)
_COVL = const(0x10)
_OCDL = const(0x20)
_SCDL = const(0x40)
_OCD3 = const(0x80)


def add(plan: Plan, settings: Settings, fet_sensor: bool) -> None:
    """Put them all into ``plan``."""
    _cell_voltage(plan, settings)
    _current(plan, settings)
    _latches(plan)
    _temperature(plan, settings)
    _host_watchdog(plan, settings)
    _actions(plan, fet_sensor)


def _cell_voltage(plan: Plan, settings: Settings) -> None:
    applied = plan.applied
    over_mv = settings.profile.cell_max_mv + CELL_MARGIN_MV
    raw = plan.put(reg.COV_THRESHOLD, (over_mv * 10 + 505) // 506)
    applied["cov_mv"] = raw * 506 // 10
    applied["cov_release_mv"] = (raw - plan.put(reg.COV_HYSTERESIS, CELL_HYSTERESIS)) * 506 // 10
    under_mv = settings.profile.cell_min_mv - CELL_MARGIN_MV
    raw = plan.put(reg.CUV_THRESHOLD, under_mv * 10 // 506)
    applied["cuv_mv"] = raw * 506 // 10
    applied["cuv_release_mv"] = (raw + plan.put(reg.CUV_HYSTERESIS, CELL_HYSTERESIS)) * 506 // 10
    for register, name in ((reg.COV_DELAY, "cov_delay_ms"), (reg.CUV_DELAY, "cuv_delay_ms")):
        raw = plan.put(register, CELL_DELAY_MS * 10 // 33 - 2)  # the chip adds 2
        applied[name] = (raw + 2) * 33 // 10
    plan.put(reg.RECOVERY_TIME, RECOVERY_S)


def _current(plan: Plan, settings: Settings) -> None:
    applied = plan.applied
    shunt = settings.shunt_uohm
    ocd_ma = settings.ocd_ma
    for threshold, delay, name, ma, ms in (
        (reg.OCC_THRESHOLD, reg.OCC_DELAY, "occ", settings.occ_ma * 3 // 2, CURRENT_DELAY_MS),
        (reg.OCD1_THRESHOLD, reg.OCD1_DELAY, "ocd1", ocd_ma * 3 // 2, CURRENT_DELAY_MS),
        (reg.OCD2_THRESHOLD, reg.OCD2_DELAY, "ocd2", ocd_ma * 2, STRONG_CURRENT_DELAY_MS),
    ):
        raw = plan.put(threshold, (ma * shunt + _STEP_NV - 1) // _STEP_NV)
        applied[name + "_ma"] = raw * _STEP_NV // shunt
        raw = plan.put(delay, (ms * 10 - 66) // 33)  # the chip adds 6.6 ms
        applied[name + "_delay_ms"] = (66 + 33 * raw) // 10
    unit = plan.user_ma
    applied["ocd3_ma"] = -unit * plan.put(reg.OCD3_THRESHOLD, -(ocd_ma * 5 // 4 // unit))
    applied["ocd3_delay_ms"] = 1000 * plan.put(reg.OCD3_DELAY, SLOW_CURRENT_DELAY_S)
    plan.put(reg.OCC_RECOVERY, _CURRENT_RECOVERY_MA)
    plan.put(reg.OCD_RECOVERY, -_CURRENT_RECOVERY_MA)
    index = len(reg.SCD_MV) - 1
    while index and reg.SCD_MV[index - 1] * 1000000 >= ocd_ma * 3 * shunt:
        index -= 1
    plan.put(reg.SCD_THRESHOLD, index)
    applied["scd_ma"] = reg.SCD_MV[index] * 1000000 // shunt
    applied["scd_delay_us"] = (plan.put(reg.SCD_DELAY, SHORT_DELAY_US // 15 + 1) - 1) * 15
    applied["scd_recovery_s"] = plan.put(reg.SCD_RECOVERY, SHORT_RECOVERY_S)


def _latches(plan: Plan) -> None:
    for name, register, limit, forget_s, recovery_s in _LATCHES:
        plan.applied[name + "_trips"] = plan.put(register, limit)
        plan.put_byte(register, 1, " Counter Dec Delay", forget_s)
        plan.put_byte(register, 2, " Recovery Time", recovery_s)


def _temperature(plan: Plan, settings: Settings) -> None:
    cells = settings.profile
    for name, register, dc in (
        ("otc_dc", reg.OTC, cells.charge_max_dc),
        ("otd_dc", reg.OTD, cells.discharge_max_dc),
        ("otf_dc", reg.OTF, settings.otf_dc),
    ):
        _limit(plan, name, register, (dc + 9) // 10 + TEMPERATURE_MARGIN_C, 1)
    for name, register, dc in (
        ("utc_dc", reg.UTC, cells.charge_min_dc),
        ("utd_dc", reg.UTD, cells.discharge_min_dc),
    ):
        _limit(plan, name, register, dc // 10 - TEMPERATURE_MARGIN_C, -1)
    _limit(plan, "utint_dc", reg.UTINT, CHIP_C[0], -1)
    _limit(plan, "otint_dc", reg.OTINT, CHIP_C[1], 1)


def _limit(plan: Plan, name: str, register: "tuple", celsius: int, side: int) -> None:  # type: ignore[type-arg]
    what, address, code, lowest, highest = register
    raw = plan.put(register, celsius)
    plan.applied[name] = raw * 10
    plan.put_byte(register, 1, " Delay", TEMPERATURE_DELAY_S)
    recovery = (what + " Recovery", address + 2, code, lowest, highest)
    plan.put(recovery, raw - side * TEMPERATURE_HYSTERESIS_C)


def _host_watchdog(plan: Plan, settings: Settings) -> None:
    seconds = max((WATCHDOG_PERIODS * settings.period_ms + 999) // 1000, WATCHDOG_PERIODS)
    plan.applied["hwd_s"] = plan.put(reg.HWD_DELAY, seconds)
    plan.put(reg.HWD_REGULATOR, 0)  # it opens the FETs; the board has a watchdog of its own


def _actions(plan: Plan, fet_sensor: bool) -> None:
    """Which protections are on, and which FET each of them opens."""
    put = plan.put
    otf = _OTF if fet_sensor else 0
    discharge_current = _OCD1 | _OCD2 | _SCD
    both_ways = _UTINT | _OTINT | _OTF
    put(reg.ENABLED_PROTECTIONS_A, _CUV | _COV | _OCC | discharge_current)
    put(reg.ENABLED_PROTECTIONS_B, _UTC | _UTD | _UTINT | _OTC | _OTD | _OTINT | otf)
    put(reg.ENABLED_PROTECTIONS_C, _HWDF | _COVL | _OCDL | _SCDL | _OCD3)
    # Only this value lets the CHG FET open at once rather than up to 250 ms later.
    put(reg.CHG_FET_PROTECTIONS_A, _COV | _OCC | _SCD)
    put(reg.CHG_FET_PROTECTIONS_B, _UTC | _OTC | both_ways)
    put(reg.CHG_FET_PROTECTIONS_C, _HWDF | _PTO | _COVL | _SCDL)
    put(reg.DSG_FET_PROTECTIONS_A, _CUV | discharge_current)
    put(reg.DSG_FET_PROTECTIONS_B, _UTD | _OTD | both_ways)
    put(reg.DSG_FET_PROTECTIONS_C, _HWDF | _OCDL | _SCDL | _OCD3)
    put(reg.PROTECTION_CONFIGURATION, _PROTECTION_CONFIGURATION)
