"""How many years a board's flash lasts at default intervals, from erases measured on littlefs.

    python tests/benchmarks/flash_life.py [--days 14] [--batch-s 300] [--batch-bytes 200]

Runs ``tests/firmware/scripts/flash_life.py`` for both sizes in which ports program: records as the
application saves them and batches of history, on 1 MB of simulated NOR flash under the real
littlefs. Years are until a block has had 100,000 erases: the most worn one, as if it went on to be
the most worn, which is the least that it can be; and all together, as if littlefs levelled
perfectly. The last line is the figure: the least of the former.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "firmware"))

from interpreters import lines  # noqa: E402

CYCLES = 100_000
BLOCKS = 256
DAYS_PER_YEAR = 365.25


def years(micropython: str, progsize: int, days: int, batch_s: int, batch_bytes: int) -> float:
    """Of the most worn block; prints what was measured."""
    (line,) = lines(
        micropython, "flash_life.py",
        *map(str, (progsize, BLOCKS, 24 * days, batch_s, batch_bytes)), timeout_s=7200, heap="16m",
    )  # fmt: skip
    erases, most, programs, used = map(int, line.split())
    worst = CYCLES * days / most / DAYS_PER_YEAR
    level = CYCLES * days * BLOCKS / erases / DAYS_PER_YEAR
    print(
        f"{progsize} bytes at once, {days} days: {erases} erases of {used} of {BLOCKS} blocks, "
        f"{most} of one; {programs} programs; {worst:.0f} years, {level:.0f} if levelled"
    )
    return worst


def main() -> None:
    """Measure, print, give the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--batch-s", type=int, default=300)
    parser.add_argument("--batch-bytes", type=int, default=200)
    args = parser.parse_args()
    micropython = str(Path(sys.executable).with_name("micropython"))
    figures = [
        years(micropython, progsize, args.days, args.batch_s, args.batch_bytes)
        for progsize in (256, 32)
    ]
    print(f"figure: {min(figures):.0f} years")


if __name__ == "__main__":
    try:
        main()
    except subprocess.TimeoutExpired as error:
        sys.exit(str(error))
