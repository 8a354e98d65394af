"""Runs firmware in an interpreter of its own: CPython or MicroPython, the same way."""

import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def run(
    interpreter: str, *arguments: str | Path, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """``interpreter ARGUMENTS`` in the project's folder, with what these tests share in reach."""
    path = f"{ROOT}:{HERE}"
    return subprocess.run(
        [interpreter, *map(str, arguments)],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "MICROPYPATH": f"{path}:.frozen"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def lines(
    interpreter: str, script: str, *arguments: str | Path, timeout_s: float = 120, heap: str = ""
) -> list[str]:
    """What ``scripts/SCRIPT`` prints; it must succeed and complain of nothing.

    ``heap`` is MicroPython's, like ``32m``.
    """
    options = ("-X", f"heapsize={heap}") if heap else ()
    done = run(interpreter, *options, HERE / "scripts" / script, *arguments, timeout_s=timeout_s)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout.splitlines()
