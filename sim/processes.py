"""Child processes that end with their parent, however that ends.

Linux kills the child with its parent (PR_SET_PDEATHSIG); each child has a session of its own, so
that Ctrl-C reaches the parent alone, which then ends the children in its own order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_END_WAIT_S = 5.0
_LOG_TAIL = 4096

# 1 is PR_SET_PDEATHSIG, 9 is SIGKILL. The parent may be gone before prctl took hold.
_LEASH = (
    "import ctypes, os, sys\n"
    "parent = int(sys.argv[1])\n"
    "try:\n    ctypes.CDLL(None).prctl(1, 9)\n"
    "except (OSError, AttributeError):\n    pass\n"
    "if os.getppid() != parent:\n    sys.exit(0)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


class Child:
    """A command that runs, with what it prints in ``log``."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        leash = [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid())]
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                [*leash, *command],
                cwd=folder,
                env=None if environment is None else {**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code, ``None`` while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self.exit_code is None:
            self._process.kill()
        self._process.wait(_END_WAIT_S)

    def end(self) -> None:
        """Ask it to end, and kill it when it does not within its time."""
        if self.exit_code is None:
            self._process.terminate()
            try:
                self._process.wait(_END_WAIT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        # What it started itself shares its session.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """The last line of the log, ``nothing`` when it is empty."""
        return last_line(self.log)


def last_line(log: Path) -> str:
    """The last line of a log file, ``nothing`` when it is empty or missing."""
    data = log.read_bytes()[-_LOG_TAIL:] if log.exists() else b""
    lines = data.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"
