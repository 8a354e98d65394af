"""The permanent failures of a BQ76952, for one pack: beyond every other limit, and few of them on.

A permanent failure opens both FETs until the chip itself is reset. It says that the pack must not
be used again before somebody has looked at it, so it must never come of what only looks like that.
It is kept in the chip's RAM, not in its one-time memory, and blows no fuse. The way out is a hand
at the pack: reset the chip (pin RST_SHUT, or its supply off and on), then CLEAR_LATCHED, for the
firmware's own latch survives in flash (TI support forum, thread 1564406: any reset clears it).

| failure | on | why |
|---|---|---|
| SOV | yes | a cell above COV though CHG was opened: the ADC looks, not COV's comparator |
| SOCC, SOCD | yes | current far above its limit for 5 s: the FETs did not open |
| SOT, SOTF | yes | hotter than any limit lets it get: the cells or FETs are damaged |
| CFETF, DFETF | yes | current through a FET that is off: it is welded |
| OTPF, DRMF, IRMF, LFOF, VREF, VSSF, HWMX | yes | the chip's own memory, clock, reference, ADC |
| SUV, CUDEP | no | an open sense wire looks so; CUV and the firmware's latch already hold |
| VIMR, VIMA | no | used packs are uneven, an open wire looks so; the firmware tells the cells |
| TOSF | no | an open wire at the top looks so; the firmware compares the sums itself |
| 2LVL, CMDF, SCDL | no | no second protector is fitted; nobody may command one; SCDL latches |

SOV can come of an open wire too, for the cell above it reads high, and SOT of a shorted
thermistor. They stay on: a charger that cannot be switched off and a burning cell are worse, and
whoever mends the wire takes the chip's supply away, which ends it. What is off has thresholds all
the same, so that a flipped bit would not turn on those of a blank part.

Source: TI SLUUBY2B 5.3, SLUUCG7 for VIMR and TOS. What TI's pages at hand do not say and is taken
from its other gauges (SLUUBD3D): that SOT, SOCC and SOCD compare >=, and that CFETF and DFETF
look at the FET as it is driven.
"""

from common.mp import const
from firmware.afe import bq76952_registers as reg
from firmware.afe.bq76952_plan import Plan
from firmware.settings import Settings

SOV_MARGIN_MV = const(250)  # beyond COV
CELL_DELAY_S = const(10)
DEEP_MARGIN_MV = const(300)  # below the firmware's latched limit: SUV; CUDEP twice that
UNEVEN_MV = const(1000)  # VIMR, VIMA
CURRENT_DELAY_S = const(5)
TEMPERATURE_MARGIN_C = const(15)  # beyond OTD, OTF
TEMPERATURE_DELAY_S = const(10)
LEAKING_FET_MA = const(500)  # or a 50th of the highest charge current
FET_DELAY_S = const(5)

_SOV = const(0x02)  # PF A
_SOCC = const(0x04)
_SOCD = const(0x08)
_SOT = const(0x10)
_SOTF = const(0x40)
_CFETF = const(0x01)  # PF B
_DFETF = const(0x02)
_CHIP_ITSELF = const(0x7F)  # PF C: OTPF, DRMF, IRMF, LFOF, VREF, VSSF, HWMX; not CMDF


def add(plan: Plan, settings: Settings, fet_sensor: bool) -> None:
    """Put them all into ``plan``, which has its other protections already."""
    applied = plan.applied
    deep_mv = settings.profile.cell_deep_mv
    unit = plan.user_ma
    socc_ma = _beyond(settings.occ_ma, applied["occ_ma"])
    socd_ma = _beyond(settings.ocd_ma, applied["ocd1_ma"])
    sot_c = applied["otd_dc"] // 10 + TEMPERATURE_MARGIN_C
    sotf_c = applied["otf_dc"] // 10 + TEMPERATURE_MARGIN_C
    leak_ma = max(LEAKING_FET_MA, settings.occ_ma // 50)
    _put(plan, "suv_mv", reg.SUV, deep_mv - DEEP_MARGIN_MV, CELL_DELAY_S)
    _put(plan, "cudep_mv", reg.CUDEP, deep_mv - 2 * DEEP_MARGIN_MV, CELL_DELAY_S)
    _put(plan, "sov_mv", reg.SOV, applied["cov_mv"] + SOV_MARGIN_MV, CELL_DELAY_S)
    _put(plan, "socc_ma", reg.SOCC, socc_ma // unit, CURRENT_DELAY_S, unit)
    _put(plan, "socd_ma", reg.SOCD, -(socd_ma // unit), CURRENT_DELAY_S, unit)
    _put(plan, "sot_dc", reg.SOT, sot_c, TEMPERATURE_DELAY_S, 10)
    _put(plan, "sotf_dc", reg.SOTF, sotf_c, TEMPERATURE_DELAY_S, 10)
    _put(plan, "vimr_mv", reg.VIMR, UNEVEN_MV, CELL_DELAY_S)
    _put(plan, "vima_mv", reg.VIMA, UNEVEN_MV, CELL_DELAY_S)
    _put(plan, "cfetf_ma", reg.CFETF, leak_ma, FET_DELAY_S)
    _put(plan, "dfetf_ma", reg.DFETF, -leak_ma, FET_DELAY_S)
    sotf = _SOTF if fet_sensor else 0
    plan.put(reg.ENABLED_PF_A, _SOV | _SOCC | _SOCD | _SOT | sotf)
    plan.put(reg.ENABLED_PF_B, _CFETF | _DFETF)
    plan.put(reg.ENABLED_PF_C, _CHIP_ITSELF)
    plan.put(reg.ENABLED_PF_D, 0)


def _put(
    plan: Plan,
    name: str,
    register: "tuple",  # type: ignore[type-arg]
    value: int,
    delay_s: int,
    scale: int = 1,
) -> None:
    """One threshold and its delay; ``scale`` turns the register's unit into that of ``name``."""
    plan.applied[name] = abs(plan.put(register, value)) * scale
    plan.put_byte(register, 1 if register[2] in "bB" else 2, " Delay", delay_s)


def _beyond(limit_ma: int, applied_ma: int) -> int:
    """Clearly more than the setting and than what the chip's own limit became of it."""
    return max(limit_ma * 5 // 2, applied_ma * 3 // 2)
