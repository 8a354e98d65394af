"""How far the estimators on narrower floats lie from the same in 64 bits, on one stream."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from interpreters import HERE, ROOT

SCRIPT = HERE / "scripts" / "estimators_stream.py"
WIDTH = HERE / "float_width.py"
REFERENCE = "CPython, 64 bits"
NARROW = "CPython, 32 bits"


def commands(micropython: str | None = None, micropython32: str | None = None) -> dict[str, list]:
    """How each interpreter is started, the reference first."""
    found = {
        REFERENCE: [sys.executable, WIDTH, "64"],
        NARROW: [sys.executable, WIDTH, "32"],
    }
    if micropython32:
        found["MicroPython, 32 bits"] = [micropython32]
    if micropython:
        found["MicroPython, 64 bits"] = [micropython]
    return found


def run(command: list, stream: Path, name: str, rated_mah: int) -> list[str]:
    """What the estimators print for the stream; they must complain of nothing."""
    done = subprocess.run(
        [*map(str, command), str(SCRIPT), str(stream), name, str(rated_mah)],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}", "MICROPYPATH": f"{ROOT}:.frozen"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


@dataclass
class Worst:
    """Largest differences from the reference; of SOC and SOH the interval's ends as well."""

    soc_pct: float = 0.0
    soh_points: float = 0.0
    ohm_pct: float = 0.0
    compared: dict[str, int] = field(default_factory=lambda: {"soc": 0, "soh": 0, "ohm": 0})
    unlike: list[str] = field(default_factory=list)  # known to one only, or another charge

    def take(self, at: int, kind: str, wide: list[str], narrow: list[str]) -> None:
        """Compare one line's figures."""
        if kind == "charge" or "-" in (wide[0], narrow[0]):
            if wide != narrow:
                self.unlike.append(f"line {at}: {kind} {wide} {narrow}")
            return
        self.compared[kind] += 1
        a, b = [float(x) for x in wide], [float(x) for x in narrow]
        if kind == "soc":  # of the level and its deviation, the interval's ends
            a, b = [[z, z - 2 * sigma, z + 2 * sigma] for z, sigma in (a, b)]
        apart = max(abs(x - y) for x, y in zip(a, b, strict=True))
        if kind == "soc":
            self.soc_pct = max(self.soc_pct, apart / 100)
        elif kind == "soh":
            self.soh_points = max(self.soh_points, apart / 100)
        else:
            self.ohm_pct = max(self.ohm_pct, apart / a[0] * 100)


def compare(reference: list[str], other: list[str]) -> Worst:
    """The largest differences between two runs."""
    worst = Worst()
    for at, (wide, narrow) in enumerate(zip(reference, other, strict=True)):
        kind, *a = wide.split()
        same, *b = narrow.split()
        assert kind == same
        worst.take(at, kind, a, b)
    return worst
