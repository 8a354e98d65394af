"""A healthy pack as the gateway publishes it, to be made worse by the grading tests."""

import copy

from common import codes, models
from common.registers import RegisterMap
from gateway import reading
from gateway.grading.evidence import Evidence

SERIAL = "P-0001"
N_CELLS = 8
CHECKED = {"visual": True, "insulation": True, "calendar_expiry": True}
GATEWAY_TIME_S = 1_790_000_000.0


def healthy_blocks(n_cells=N_CELLS):
    """Register blocks of a healthy NMC pack, decoded as the gateway decodes them."""
    pack = RegisterMap(n_cells)
    numbers = {
        models.SNAPSHOT: {
            "Seq": 90000, "Boot": 3, "UpS": 90000, "UpMs": 5, "Utc": 1_790_000_000,
            "TQual": codes.TimeQuality.GATEWAY, "St": codes.State.ON, "Sw": 3, "Flt": 0, "Ltc": 0,
            "Bal": 0, "Bal2": 0, "Bal3": 0,
            "V": 29600, "A": 0, "Soc": 5000, "Soh": 9100, "SohLo": 8950, "SohHi": 9250,
        },
        models.HEALTH: {
            "Seq": 90000, "Boot": 3, "Soh": 9100, "SohLo": 8950, "SohHi": 9250,
            "Mth": codes.Method.FUSED, "Ref": 0, "Next": 0, "SohAge": 7200, "SohN": 6,
            "R": 21000, "RLo": 20000, "RHi": 22000, "RRef": 20000, "Spread": 120, "SpreadHi": 180,
            "Weak": 4, "WeakZ": 11, "RestDv": 6,
            "Chem": codes.Chemistry.NMC, "ProfCrc": 0x1A2B3C4D,
        },
        models.LIFETIME: {
            "RunMin": 60 * 24 * 60, "NDeep": 0, "NOver": 0, "ColdChaMin": 0, "VMinEver": 2950,
            "VMaxEver": 4201, "TMinEver": 40, "TMaxEver": 412,
            **dict.fromkeys([f"Tmp{n}" for n in range(8)], 0), "Tmp3": 86000, "Tmp5": 400,
        },
        models.DEVICE: {"Seq": 90000, "Boot": 3, "TQual": codes.TimeQuality.GATEWAY},
        models.PROTECTION: {"Seq": 90000, "Flt": 0, "Ltc": 0},
        models.ENERGY: {
            "Seq": 90000, "Boot": 3, "Rte": 9700, "RteLo": 9650, "RteHi": 9750,
            "SelfDis": 60, "SelfDisLo": 40, "SelfDisHi": 80,
        },
        models.TEST: {"Seq": 90000, "Boot": 3},
        models.SETTINGS: {"Seq": 90000, "SetSrc": 1, "SetSt": 1, "SetRes": 0, "NFail": 0},
        models.HISTORY: {"Seq": 90000, "Boot": 3, "Every": 60, "Used": 0, "Lost": 0},
    }  # fmt: skip
    for model_id, values in numbers.items():
        for name, value in values.items():
            pack.block(model_id).set(name, value)
    for cell in range(n_cells):
        soh = 9100 + 10 * (cell % 4)
        for name, value in (("Soh", soh), ("SohLo", soh - 150), ("SohHi", soh + 150)):
            pack.block(models.HEALTH).set_cell(name, cell, value)
        for name, value in (("Leak", 0), ("LeakLo", -30), ("LeakHi", 30)):
            pack.block(models.ENERGY).set_cell(name, cell, value)
    pack.block(models.HEALTH).set_text("Prof", "nmc")
    pack.block(models.DEVICE).set_text("Fw", "0.1.0")
    found = {}
    for model_id in numbers:
        block = pack.block(model_id)
        found[model_id] = block.layout.decode(block.bytes())
    return found


_BLOCKS = healthy_blocks()
STATE = reading.state_message(SERIAL, _BLOCKS[models.SNAPSHOT], GATEWAY_TIME_S, recalled=False)
DETAIL = reading.detail_message(SERIAL, _BLOCKS, GATEWAY_TIME_S)


def messages(state=None, health=None, lifetime=None, energy=None, result=None):
    """``(state, detail)`` of the healthy pack with some keys changed; ``result``: a test's."""
    detail = copy.deepcopy(DETAIL)
    detail["health"].update(health or {})
    detail["lifetime"].update(lifetime or {})
    detail["energy"].update(energy or {})
    detail["test"]["result"].update(result or {})
    return STATE | (state or {}), detail


def soh(low, high=None):
    """The keys of a state of health whose interval is ``low .. high`` (3 points by default)."""
    high = low + 3 if high is None else high
    return {"soh_low_pct": low, "soh_pct": round((low + high) / 2, 2), "soh_high_pct": high}


def self_discharge(low, high):
    """The keys of ENERGY where the worst cell's self-discharge is ``low .. high``."""
    cells = [
        {"number": n, "leak_low_pct_per_month": 0.0, "leak_high_pct_per_month": 0.5}
        for n in range(1, N_CELLS + 1)
    ]
    return {
        "self_discharge_pct_per_month": (low + high) / 2,
        "self_discharge_low_pct_per_month": low,
        "self_discharge_high_pct_per_month": high - 0.5,
        "cells": cells,
    }


def evidence(checks=CHECKED, **changes):
    """Evidence of the healthy pack with some keys of ``messages`` changed."""
    return Evidence.from_messages(*messages(**changes), checks)


def cells(*lows):
    """``cells`` with these lower bounds, each interval 3 points wide."""
    return [{"number": n} | soh(low) for n, low in enumerate(lows, 1)]
