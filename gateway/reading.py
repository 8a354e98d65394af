"""From decoded blocks to the JSON that is published: flat, SI, the unit in the key.

``state_message``, ``detail_message`` and ``faults_message`` take what ``Layout.decode`` returned
and give a plain dictionary. Unknown is ``None`` (``null`` on the wire), whatever the reason; names
of codes are in lower case; cells count from 1. ``encode`` gives the same bytes for the same
dictionary.

    >>> encode({"soc_pct": None})
    b'{"soc_pct":null}'
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from common import codes, models
from gateway import reading_keys as keys

Decoded = dict[str, Any]
Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """Compact JSON in UTF-8; a value that JSON does not know (NaN) is a ``ValueError``."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode()


def iso_time(unix_s: float | None) -> str | None:
    """``2026-11-22T21:05:00.250Z``, or ``None`` where the time is not known."""
    if unix_s is None:
        return None
    text = datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _symbol(key: str, number: int | None) -> str | None:
    if number is None:
        return None
    return codes.names(keys.SYMBOLS[key]).get(number, f"unknown_{number}").lower()


def _named(block: Decoded, table: dict[str, str]) -> Message:
    return {
        key: _symbol(key, block[point]) if key in keys.SYMBOLS else block[point]
        for point, key in table.items()
    }


def switch_names(bits: int | None) -> list[str] | None:
    """Names of switches by their bits, ``None`` where they are not known."""
    if bits is None:
        return None
    return [name.lower() for bit, name in sorted(codes.names(codes.Switch).items()) if bits & bit]


def fault_names(bits: int | None) -> list[str] | None:
    """Names of faults by their bits, ``None`` where they are not known."""
    return None if bits is None else [name.lower() for name in codes.fault_names(bits)]


def _stamp(serial: str, block: Decoded, boot: int | None, gateway_time_s: float) -> Message:
    return {
        "serial": serial,
        "boot": boot,
        "seq": block["Seq"],
        "gateway_time": iso_time(gateway_time_s),
    }


def _utc(block: Decoded) -> str | None:
    return iso_time(block["Utc"]) if block["TQual"] == codes.TimeQuality.GATEWAY else None


def _bled(block: Decoded, n_cells: int) -> list[int] | None:
    """Numbers of the cells that are bled: of 32 each in ``Bal``, ``Bal2`` and ``Bal3``."""
    parts = [block[name] for name in ("Bal", "Bal2", "Bal3")]
    if None in parts:
        return None
    return [n + 1 for n in range(n_cells) if parts[n // 32] >> n % 32 & 1]


def _extremes(cells_v: list[float | None]) -> Message:
    """Lowest and highest cell; unknown as soon as one cell is, for it could be the one."""
    known = [v for v in cells_v if v is not None]
    if not known or len(known) != len(cells_v):
        return dict.fromkeys(
            ("cell_min_v", "cell_max_v", "cell_min_number", "cell_max_number"), None
        )
    low, high = min(known), max(known)
    return {
        "cell_min_v": low,
        "cell_max_v": high,
        "cell_min_number": cells_v.index(low) + 1,
        "cell_max_number": cells_v.index(high) + 1,
    }


def state_message(
    serial: str, block: Decoded, gateway_time_s: float, *, recalled: bool
) -> Message:
    """The ``state`` of one pack at one moment, from a SNAPSHOT or RECALL block."""
    cells_v = [cell["V"] for cell in block["cells"]]
    voltage, current = block["V"], block["A"]
    message = _stamp(serial, block, block["Boot"], gateway_time_s)
    uptime_s = block["UpS"]
    message["uptime_s"] = uptime_s and round(uptime_s + (block["UpMs"] or 0) / 1000, 3)
    message["utc"] = _utc(block)
    message["recalled"] = recalled
    message |= _named(block, keys.STATE)
    message["power_w"] = (
        None if voltage is None or current is None else round(voltage * current, 3)
    )
    message["cell_voltages_v"] = cells_v
    message |= _extremes(cells_v)
    message["temperatures_c"] = [block[f"Tmp{n + 1}"] for n in range(models.N_TEMPERATURES)]
    message["switches"] = switch_names(block["Sw"])
    message["faults"] = fault_names(block["Flt"])
    message["latched"] = fault_names(block["Ltc"])
    message["balancing"] = _bled(block, len(cells_v))
    return message


def _lifetime(block: Decoded) -> Message:
    message = _named(block, keys.LIFETIME)
    message["soc_histogram_min"] = [block[f"Soc{n}"] for n in range(models.N_SOC_BINS)]
    message["temperature_histogram_min"] = [
        block[f"Tmp{n}"] for n in range(models.N_TEMPERATURE_BINS)
    ]
    message["current_histogram_min"] = [block[f"Cur{n}"] for n in range(models.N_CURRENT_BINS)]
    return message


def _with_cells(block: Decoded, table: dict[str, str], cell_table: dict[str, str]) -> Message:
    message = _named(block, table)
    message["cells"] = [
        {"number": n} | _named(cell, cell_table) for n, cell in enumerate(block["cells"], 1)
    ]
    return message


def commanded_test(block: Decoded) -> Message:
    """The commanded test of a TEST block: how far it is, and what is recorded.

    ``ended`` is the last test that ended, ``result`` that of the last one that was completed.
    """
    message = _named(block, keys.TEST)
    message["ended"] = {"utc": iso_time(block["EndUtc"])} | _named(block, keys.TEST_ENDED)
    result = _with_cells(block, keys.TEST_RESULT, keys.TEST_CELL)
    message["result"] = {"utc": iso_time(block["ResUtc"])} | result
    return message


def _fault(block: Decoded) -> Message:
    number = block["FltNo"]
    unit, divisor = keys.FAULT_VALUES.get(number, (None, 1))
    # None comes of None alone.
    message: Message = {"fault": fault_names(1 << number)[0]}  # type: ignore[index]
    message["count"] = block["FltN"]
    message["saved"] = not block["Unsvd"] >> number & 1
    for when, point in (("first", "Fst"), ("last", "Lst")):
        quality = block[point + "TQ"]
        is_known = quality == codes.TimeQuality.GATEWAY
        message[f"{when}_boot"] = block[point + "Boot"]
        message[f"{when}_seq"] = block[point + "Seq"]
        message[f"{when}_utc"] = iso_time(block[point + "Utc"]) if is_known else None
        message[f"{when}_time_quality"] = _symbol("time_quality", quality)
    for key, point in (("value", "Val"), ("limit", "Lim")):
        raw = block[point]
        message[key] = raw if raw is None or unit is None else raw / divisor
    message["unit"] = unit
    message |= _named(block, keys.FAULT)
    message["switches"] = switch_names(block["Sw"])
    message["switches_opened"] = switch_names(block["SwOff"])
    message["faults"] = fault_names(block["Flt"])
    return message


def faults_message(serial: str, blocks: list[Decoded], gateway_time_s: float) -> Message:
    """The ``faults`` of one pack: all it remembers, from ``Pack.faults``."""
    head = blocks[0]
    message = _stamp(serial, head, head["Boot"], gateway_time_s)
    message["event_count"] = head["NFlt"]
    message["faults"] = [_fault(block) for block in blocks if block["FltN"]]
    return message


def _protection(block: Decoded) -> Message:
    message = _named(block, keys.PROTECTION)
    message["switches"] = switch_names(block["Sw"])
    message["faults"] = fault_names(block["Flt"])
    message["latched"] = fault_names(block["Ltc"])
    message["warnings"] = fault_names(block["Wrn"])
    return message


def _device(block: Decoded) -> Message:
    message = _named(block, keys.DEVICE)
    bits, tasks = block["TskOff"], codes.names(codes.Task)
    message["tasks_off"] = (
        None if bits is None else [tasks[n].lower() for n in sorted(tasks) if bits >> n & 1]
    )
    return message


def detail_message(serial: str, blocks: dict[int, Decoded], gateway_time_s: float) -> Message:
    """The ``detail`` of one pack, from its ``planner.DETAIL_BLOCKS`` by model id."""
    health, device = blocks[models.HEALTH], blocks[models.DEVICE]
    message = _stamp(serial, health, health["Boot"], gateway_time_s)
    message["utc"] = _utc(device)
    message["health"] = _with_cells(health, keys.HEALTH, keys.HEALTH_CELL)
    message["energy"] = _with_cells(blocks[models.ENERGY], keys.ENERGY, keys.ENERGY_CELL)
    message["test"] = commanded_test(blocks[models.TEST])
    message["lifetime"] = _lifetime(blocks[models.LIFETIME])
    message["protection"] = _protection(blocks[models.PROTECTION])
    message["device"] = _device(device)
    settings = blocks[models.SETTINGS]
    message["settings"] = _named(settings, keys.SETTINGS)
    message["settings"]["last_failed_try_utc"] = iso_time(settings["FailUtc"])
    message["history"] = _named(blocks[models.HISTORY], keys.HISTORY)
    return message
