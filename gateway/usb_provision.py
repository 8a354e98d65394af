"""Makes a board on USB a pack's: key, cell profile and settings, each read back.

``settings.json`` is written last: until then the board is what it was, and the command may be
repeated. What was written is judged by the firmware on the board itself before it counts.

    provision(board, request, desk) -> the audit line, as a dictionary
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.usb_install import Slots, firmware_digest, judge_settings, read_slots

if TYPE_CHECKING:
    from gateway.provisioning import Desk
    from gateway.usb_board import UsbBoard

SETTINGS = "settings.json"
KEEP = "keep"
ERASE = "erase"
# What stands beside the records and is none: of the firmware and its loader.
NOT_RECORDS = ("image", "loader")
# A record's slots (``firmware.storage``): the second one has a folder, and had none once.
SECOND = "second"
REMOTE_LIMITS = ("limits.0", f"{SECOND}/limits.1", "limits.1")


@dataclass(frozen=True)
class Request:
    """What is to be provisioned. ``files``: of the cell profile."""

    serial: str
    settings: bytes
    files: dict[str, bytes]
    by: str
    again: str | None  # the serial that the board, or another with this one, has had
    records: str | None  # KEEP or ERASE, where the board gets another serial


def former_serial(board: UsbBoard) -> str | None:
    """Whose board it is by now; ``UserError`` when that cannot be read."""
    data = board.read(SETTINGS)
    if data is None:
        return None
    try:
        return str(json.loads(data)["serial"])
    except (ValueError, KeyError, TypeError) as error:
        raise board.error(
            f"{SETTINGS} on it cannot be read (look at it, then mpremote fs rm :{SETTINGS})"
        ) from error


def records_of(board: UsbBoard) -> list[str]:
    """The records on the board: estimates, counts, faults, limits."""
    found = []
    for folder in ("", SECOND):
        for name in board.names(folder):
            stem, _dot, slot = name.rpartition(".")
            if slot in ("0", "1") and stem not in NOT_RECORDS:
                found.append(f"{folder}/{name}" if folder else name)
    return sorted(found)


def check(board: UsbBoard, request: Request, desk: Desk) -> str | None:
    """The board's former serial; ``UserError`` when it must not be provisioned like that."""
    board.check_interpreter()
    serial = request.serial
    former = former_serial(board)
    given = desk.last(serial)
    elsewhere = None
    if given is not None and given.get("board") != board.unique_id:
        elsewhere = f"the board {given.get('board')} at {given.get('utc')}"
    if former is not None and request.again != former:
        raise board.error(
            f"it is provisioned already, as {former} (--again {former} if that is to end)"
        )
    if elsewhere and serial not in (former, request.again):
        raise board.error(
            f"serial {serial} was given to {elsewhere} (another --serial; --again {serial} if "
            "that board is no more)"
        )
    if former is None and request.again is not None and not elsewhere:
        raise board.error("it is not provisioned (leave --again away)")
    if former not in (None, serial) and request.records is None and records_of(board):
        raise board.error(
            f"it has estimates and counts of {former} (--records {KEEP}: the same cells under "
            f"another serial; --records {ERASE}: other cells)"
        )
    return former


def provision(board: UsbBoard, request: Request, desk: Desk, former: str | None) -> dict[str, Any]:
    """Do what ``check`` found good; the audit line."""
    board.hold()
    slots = read_slots(board) if board.size("loader.py") >= 0 else None
    running = None if slots is None else slots.running
    for name, data in request.files.items():
        board.put(name, data)
    beside = board.stage(SETTINGS, request.settings)
    judged = judge_settings(board, running, beside)
    if judged is None or judged.fault:
        board.remove(beside)
    if judged is None:
        raise board.error("no firmware is on it (echelon flash usb installs one)")
    if judged.fault:
        raise board.error(f"the firmware on it refuses: {judged.fault}")
    key = desk.key(request.serial)
    board.put("device.key", key)
    line = audit_line(board, request, former, slots, judged.config_crc, key)
    board.put("provision.json", line)
    if former not in (None, request.serial) and request.records == ERASE:
        board.remove(*records_of(board))
    if former is not None:
        board.remove(*REMOTE_LIMITS)  # they would go before the file
    board.commit(SETTINGS)
    wanted = {SETTINGS: request.settings, "device.key": key, "provision.json": line}
    for name, data in (wanted | request.files).items():
        if not board.has(name, data):
            raise board.error(f"{name} reads back otherwise than it was written: bad flash?")
    desk.append(line)
    entry: dict[str, Any] = json.loads(line)
    return entry


def audit_line(
    board: UsbBoard,
    request: Request,
    former: str | None,
    slots: Slots | None,
    settings_crc: int,
    key: bytes,
) -> bytes:
    """What ``provisioning`` says an audit line has; no secret is in it."""
    entry = {
        "utc": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "by": request.by,
        "serial": request.serial,
        "former": former,
        "board": board.unique_id,
        "settings_crc": f"{settings_crc & 0xFFFFFFFF:08x}",
        "key_sha256": hashlib.sha256(key).hexdigest(),
        "firmware_sha256": None if slots is None else firmware_digest(slots),
    }
    return json.dumps(entry).encode() + b"\n"
