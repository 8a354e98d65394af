"""What makes a board a pack's: its settings, its key, and the line that says who did it when.

All of the desk, none of the board: settings from a command line, judged by the firmware's own
rules; a cell profile in a file; the key and the audit file in a folder.

The audit file ``provision.jsonl`` has one JSON object a line, with these keys: ``utc``, ``by``,
``serial``, ``former`` (the board's serial before, or null), ``board`` (``machine.unique_id`` in
hex, or null), ``settings_crc`` (the CRC-32 that the board says in ``CfgCrc``), ``key_sha256`` (of
the key's 32 bytes), ``firmware_sha256`` (of the image, as its header has it, or null).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.profiles import NAMES, CellProfile, module_name
from gateway.board_parts import board_part
from gateway.device_key import KEY_BYTES, read_key
from gateway.errors import UserError, read_file, reason

if TYPE_CHECKING:
    from collections.abc import Iterator

AUDIT = "provision.jsonl"
OPTIONS = {
    "serial": "--serial", "n_cells": "--cells", "profile": "--profile", "rated_mah": "--rated-mah"
}  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """A cell profile, and the modules that the board needs for it: path on the board, content."""

    name: str
    files: dict[str, bytes]


def parse_settings(texts: list[str]) -> dict[str, object]:
    """``["address=3", "afe=ltc6813", "chip_cells=12,12"]`` as ``settings.json`` has them."""
    values: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise UserError(f"echelon: {text!r} is no setting (try address=3)")
        if name in OPTIONS:
            raise UserError(f"echelon: {name} is given by {OPTIONS[name]}")
        if name in values:
            raise UserError(f"echelon: {name} is set twice")
        values[name] = _value(value)
        if name == "chip_cells" and isinstance(values[name], int):
            values[name] = [values[name]]
    return values


def _value(text: str) -> object:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        return text
    return numbers if len(numbers) > 1 else numbers[0]


def find_profile(text: str) -> Profile:
    """A shipped profile by its name, or one in a module made by ``echelon calibrate``."""
    if text in NAMES:
        return Profile(text, {})
    path = Path(text)
    if path.suffix != ".py":
        way = "--out NAME.py makes a module" if path.suffix == ".json" else "or the path of a .py"
        raise UserError(f"echelon: profile {text!r} is not one of {', '.join(NAMES)} ({way})")
    files = {f"cells/{path.name}": read_file(path)}
    beside = path.with_name(f"pulse_{path.name}")
    if beside.exists():
        files[f"cells/{beside.name}"] = read_file(beside)
    with _modules(files):
        try:
            found = importlib.import_module(f"cells.{path.stem}").PROFILE
            if getattr(found, "pulse", None):
                importlib.import_module(found.pulse)
        except Exception as error:  # whatever is in it
            raise UserError(f"echelon: {path}: no cell profile: {error}") from error
    if not isinstance(found, CellProfile) or found.name in NAMES:
        raise UserError(f"echelon: {path}: has no PROFILE, or one with the name of a shipped one")
    if module_name(found.name) != path.stem:
        raise UserError(
            f"echelon: {path}: {found.name} is looked for in {module_name(found.name)}.py"
        )
    return Profile(found.name, files)


@contextmanager
def _modules(files: dict[str, bytes]) -> Iterator[None]:
    """Let the package ``cells`` be what a board has of it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(folder)
            for name in [name for name in sys.modules if name.partition(".")[0] == "cells"]:
                del sys.modules[name]


def settings_text(values: dict[str, object], profile: Profile) -> bytes:
    """``settings.json``; ``UserError`` when the firmware would refuse the settings."""
    settings = board_part("settings")
    serial = str(values["serial"])
    if "/" in serial or serial.startswith(".") or not serial.isprintable():
        raise UserError(f"echelon: serial {serial!r} names a file here: no slash, no dot in front")
    with _modules(profile.files):
        try:
            settings.Settings.from_dict(values)
        except settings.SettingsError as error:
            raise UserError(f"echelon: {error}") from error
    return json.dumps(values, indent=1).encode() + b"\n"


class Desk:
    """The folder with the keys of boards and the audit file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (folder / AUDIT).open("a", encoding="utf-8"):
                pass
        except OSError as error:
            raise UserError(f"echelon: {folder}: {reason(error)} (--out DIR)") from error

    def key_path(self, serial: str) -> Path:
        """Where a board's key is."""
        return self.folder / f"{serial}.key"

    def key(self, serial: str) -> bytes:
        """The board's key: the one that is here, or a new one, which is then on disk."""
        path = self.key_path(serial)
        if path.exists():
            return read_key(str(path))
        key = os.urandom(KEY_BYTES)
        new = path.with_name(f".{path.name}.new")
        try:
            new.unlink(missing_ok=True)
            new.touch(mode=0o600, exist_ok=False)
            with new.open("wb") as file:
                file.write(key.hex().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            new.rename(path)
        except OSError as error:
            raise UserError(f"echelon: {path}: {reason(error)}") from error
        return key

    def last(self, serial: str) -> dict[str, Any] | None:
        """The last line of a serial number in the audit file."""
        path = self.folder / AUDIT
        found = None
        for n, line in enumerate(read_file(path).splitlines(), 1):
            try:
                entry = json.loads(line)
                if entry["serial"] == serial:
                    found = entry
            except (ValueError, TypeError, KeyError) as error:
                raise UserError(
                    f"echelon: {path}: line {n} is no audit line (correct it)"
                ) from error
        return found

    def append(self, line: bytes) -> None:
        """Add a line to the audit file, and have it on disk."""
        path = self.folder / AUDIT
        try:
            with path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"echelon: {path}: {reason(error)}: add what the board has in provision.json"
            ) from error
