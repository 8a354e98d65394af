"""Compares the lifetime counters with the truth after random years with power cuts.

    python tests/benchmarks/random_year.py [--seed N] [--years N]

Runs ``tests/firmware/scripts/random_year.py``: a year of random charges, discharges, rests,
temperatures, deep discharges and overcharges in readings some 10 s apart, with 400 power cuts,
half of them in the middle of a save at a random byte; then six hours in which every save is cut at
every byte.
The truth is the script's own, of the readings up to the last save before each cut. What a register
says otherwise is printed, and ends the run with an error. Resolution: 0.1 Ah, 0.1 Wh (1 more where
the rounding at each reading, 5 nWh, carries over an edge), one minute, one event. A cut takes
the time since the last save: what it was at most is printed. The last line is the figure.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "firmware"))

from interpreters import run  # noqa: E402

CUTS = 400


def life(*arguments: object) -> tuple[int, int, int, int]:
    """``(steps, saves, cuts, lost_s)`` of one run; ``SystemExit`` when a counter was wrong."""
    script = ROOT / "tests" / "firmware" / "scripts" / "random_year.py"
    done = run(sys.executable, script, *map(str, arguments), timeout_s=7200)
    *wrong, last = done.stdout.splitlines() or [""]
    if done.returncode or wrong:
        raise SystemExit("\n".join([*wrong, last, done.stderr]))
    steps, saves, cuts, lost_s = map(int, last.split())
    return steps, saves, cuts, lost_s


def main() -> None:
    """Run the years and the six hours, print what they were and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--years", type=int, default=1)
    args = parser.parse_args()
    total = 0
    for year in range(args.years):
        steps, saves, cuts, lost_s = life(args.seed + year, 365, CUTS)
        print(f"year {year + 1}: {steps} readings, {saves} saves, {cuts} cuts, each took "
              f"{lost_s} s at most")  # fmt: skip
        total += cuts
    steps, saves, cuts, _ = life(args.seed, 0.25, 3, "--every")
    print(f"six hours: {steps} readings, {saves} saves, {cuts} cuts at every byte of them")
    print(f"figure: 0 counters off after {total + cuts} cuts")


if __name__ == "__main__":
    main()
