"""Runs the demo to its grades and says how long it took and how right it was.

    python tests/benchmarks/demo_run.py [time | cpu | error | speed] [-- arguments of the demo]

time: seconds from the command to the last grade. cpu: those that all its processes computed, which
other work on the machine disturbs less. error: the largest distance of a pack's SOH from the
simulator's, in points. speed: simulated seconds per second. With ``--replay`` among the demo's
arguments the truth is the recorded capacity.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

UNITS = {"time": "s", "cpu": "s", "error": "points", "speed": "times real time"}


def run(arguments: list[str], timeout_s: float = 1200.0) -> tuple[float, list[dict]]:
    """Seconds it took, and every line it printed."""
    echelon = [str(Path(sys.executable).with_name("echelon")), "demo", "--json"]
    began = time.monotonic()
    done = subprocess.run(
        [*echelon, "--exit-when-graded", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=timeout_s,
    )
    return time.monotonic() - began, [json.loads(line) for line in done.stdout.splitlines()]


def main() -> None:
    what, _, arguments = sys.argv[1] if len(sys.argv) > 1 else "time", None, sys.argv[2:]
    took_s, lines = run([a for a in arguments if a != "--"])
    grades = [line for line in lines if line["kind"] == "grade"]
    worst = 0.0
    for grade in grades:
        true_pct = grade["truth"]["soh_pct"]
        error = grade["soh_pct"] - true_pct
        worst = max(worst, abs(error))
        inside = grade["soh_low_pct"] <= true_pct <= grade["soh_high_pct"]
        print(
            f"{grade['pack']:20} SOH {grade['soh_pct']:6.2f} "
            f"({grade['soh_low_pct']:.2f} to {grade['soh_high_pct']:.2f}), true {true_pct:6.2f}, "
            f"{'inside' if inside else 'OUTSIDE'}; {grade['class'] or 'hold'}: {grade['reason']}"
        )
    simulated_s = max(line["simulated_s"] for line in lines if line["kind"] == "pack")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {
        "time": took_s,
        "cpu": used.ru_utime + used.ru_stime,
        "error": worst,
        "speed": simulated_s / took_s,
    }
    print(f"figure: {figures[what]:.2f} {UNITS[what]}")


if __name__ == "__main__":
    main()
