"""Settings made data memory, for tests: a pack, its plan, and what stands in a register."""

import struct
from copy import copy

from firmware.afe.bq76952_config import plan_for
from firmware.afe.bq76952_plan import Plan
from firmware.settings import Settings

SENSORS = ("TS1", "TS2", "TS3")


def pack(**changes: int) -> Settings:
    settings = Settings("P1", changes.pop("n_cells", 16), "nmc", 50000)
    settings.profile = copy(settings.profile)  # some tests change it
    for name, value in changes.items():
        assert hasattr(settings, name)
        setattr(settings, name, value)
    return settings


def raw(plan: Plan, address: int) -> int:
    for (_name, at, code, _low, _high), data in plan.items:
        if at == address:
            return struct.unpack("<" + code, data)[0]
    raise KeyError(hex(address))


def plan(settings: Settings | None = None, **options: object) -> Plan:
    settings = settings or pack()
    return plan_for(
        settings,
        options.get("sensors", SENSORS),
        options.get("fet_sensor", "DCHG"),
        options.get("crc", True),
        options.get("regulators"),
    )
