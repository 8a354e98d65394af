"""From a record of a board's history to the JSON that is published: flat, SI, the unit in the key.

The same record gives the same bytes, whenever it is fetched: nothing in them is of the gateway's
own, and who gets one twice knows it by ``serial`` and ``number``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from common import codes, history_records, models
from common.history_records import BODIES, N_VALUES, SENTINELS
from gateway.reading import fault_names, iso_time, switch_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.history_records import Record
    from gateway.history_packets import Chain, Packet

Message = dict[str, Any]

_SET = {
    models.SETTINGS: "settings",
    models.CALIBRATION: "calibration",
    models.IDENTITY: "identity",
}
KINDS = {
    history_records.READING: "reading",
    history_records.FAULT: "fault",
    history_records.COMMAND: "command",
    history_records.EVIDENCE: "evidence",
    history_records.TEST: "test",
    history_records.RESTART: "restart",
    history_records.TIME: "time",
    history_records.LOST: "lost",
    history_records.SETTING: "setting",
}


def history_message(
    serial: str, record: Record, canonical: bytes, before: Chain, after: Chain, agrees: bool | None
) -> Message:
    """One record; ``before`` and ``after`` are the chain around it.

    ``chain_ok``: whether what the board told of the chain at this record agrees with what was
    fetched before it; ``None`` where the board tells nothing here or records are missing.
    """
    return {
        "serial": serial,
        "number": record.number,
        "kind": KINDS[record.kind],
        "boot": record.boot,
        "run_s": record.run_s,
        "utc": iso_time(record.utc_s),
        "time_quality": _name(codes.TimeQuality, record.quality),
        "missing_before": record.number - before.number - 1,
        "chain": None if after.value is None else after.value.hex(),
        "chain_ok": agrees,
        "record": canonical.hex(),
    } | _figures(record)


def follow(serial: str, packet: Packet, chain: Chain) -> Iterator[tuple[Message, Chain]]:
    """The message of each record of ``packet`` behind ``chain``, and the chain behind it."""
    told = packet.chain
    for record, content in packet.records:
        agrees = chain.agrees(told, record.number - 1)
        after = chain.follows(record, content, told)
        yield history_message(serial, record, content, chain, after, agrees), after
        chain, told = after, None


def _figures(record: Record) -> Message:
    if record.kind == history_records.READING:
        return _reading(record)
    values = [
        None if value == SENTINELS.get(code) else value
        for code, value in zip(
            BODIES[record.kind].replace("16s", "s"),
            struct.unpack("<" + BODIES[record.kind], record.body),
            strict=True,
        )
    ]
    return _EVENTS[record.kind](*values)


def _reading(record: Record) -> Message:
    values = record.values
    n = len(values) - N_VALUES
    at = n + history_records.TEMPERATURES
    temperatures = [_scaled(value, 10) for value in values[at : at + 6]]
    cells = [_scaled(value, 1000) for value in values[:n]]
    return {
        "pack_voltage_v": _scaled(sum(values[:n]), 1000) if cells[0] is not None else None,  # type: ignore[arg-type]
        "current_a": _scaled(values[n + history_records.CURRENT], 1000),
        "cell_voltages_v": cells,
        "temperatures_c": temperatures[2:],
        "fet_temperature_c": temperatures[0],
        "afe_temperature_c": temperatures[1],
        "soc_pct": _scaled(values[n + history_records.SOC], 100),
        "soh_pct": _scaled(values[n + history_records.SOH], 100),
        "switches": switch_names(values[n + history_records.SWITCHES]),
        "faults": fault_names(values[n + history_records.FAULTS] or 0),
        "charge_ah": _scaled(values[n + history_records.CHARGE], 1_000_000),
    }


def _fault(
    number: int,
    came: int,
    low_mv: int | None,
    high_mv: int | None,
    current_ma: int | None,
    cold_dc: int | None,
    hot_dc: int | None,
    soc_bp: int | None,
    value: int | None,
) -> Message:
    return {
        "fault": _name(codes.Fault, number),
        "came": bool(came),
        "cell_min_v": _scaled(low_mv, 1000),
        "cell_max_v": _scaled(high_mv, 1000),
        "current_a": _scaled(current_ma, 1000),
        "temperature_min_c": _scaled(cold_dc, 10),
        "temperature_max_c": _scaled(hot_dc, 10),
        "soc_pct": _scaled(soc_bp, 100),
        "value": value,
    }


def _command(code: int, result: int) -> Message:
    return {
        "command": _name(codes.Command, code),
        "result": _name(codes.CommandResult, result),
    }


def _evidence(
    soh: int | None,
    low: int | None,
    high: int | None,
    method: int | None,
    capacity_mah: int | None,
    capacity_low_mah: int | None,
    capacity_high_mah: int | None,
) -> Message:
    return _soh(soh, low, high, method) | {
        "capacity_ah": _scaled(capacity_mah, 1000),
        "capacity_low_ah": _scaled(capacity_low_mah, 1000),
        "capacity_high_ah": _scaled(capacity_high_mah, 1000),
    }


def _test(
    kind: int | None,
    stop: int | None,
    method: int | None,
    soh: int | None,
    low: int | None,
    high: int | None,
) -> Message:
    return {
        "test": _name(codes.Test, kind),
        "stop_reason": _name(codes.TestStop, stop),
    } | _soh(soh, low, high, method)


def _soh(soh: int | None, low: int | None, high: int | None, method: int | None) -> Message:
    return {
        "soh_pct": _scaled(soh, 100),
        "soh_low_pct": _scaled(low, 100),
        "soh_high_pct": _scaled(high, 100),
        "soh_method": _name(codes.Method, method),
    }


def _restart(cause: int | None, crash: int | None, firmware: bytes) -> Message:
    return {
        "reset_cause": _name(codes.ResetCause, cause),
        "crash_cause": _name(codes.Cause, crash),
        "firmware": firmware.rstrip(b"\0").decode(errors="replace"),
    }


def _time(old_s: int | None, new_s: int | None) -> Message:
    jump_s = None if old_s is None or new_s is None else new_s - old_s
    return {"old_utc": iso_time(old_s), "new_utc": iso_time(new_s), "jump_s": jump_s}


def _setting(model: int | None) -> Message:
    return {"set": None if model is None else _SET.get(model, str(model))}


def _lost(count: int | None) -> Message:
    return {"lost_count": count}


_EVENTS: dict[int, Callable[..., Message]] = {
    history_records.FAULT: _fault,
    history_records.COMMAND: _command,
    history_records.EVIDENCE: _evidence,
    history_records.TEST: _test,
    history_records.RESTART: _restart,
    history_records.TIME: _time,
    history_records.LOST: _lost,
    history_records.SETTING: _setting,
}


def _scaled(value: int | None, parts: int) -> float | None:
    return None if value is None else value / parts


def _name(of: type, number: int | None) -> str | None:
    if number is None:
        return None
    return str(codes.names(of).get(number, f"unknown_{number}")).lower()
