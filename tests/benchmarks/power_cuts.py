"""Cuts the power in every operation of flash and FRAM that saving records takes; counts the cuts.

    python tests/benchmarks/power_cuts.py [--quick]

Runs the campaigns of ``tests/firmware/scripts/power_cuts.py`` in MicroPython: on littlefs, where
ports program 32 and 256 bytes at once, and on an FRAM. An operation is recorded once; then each is
cut before it, at some or all of its bytes, and with random halves of its bits, and the board
starts on what is left. NOR flash and FRAM carry out one operation after the other: nothing is
reordered. An operation done twice leaves what it leaves when done once (``test_sim_flash``). A cut
that loses what was acknowledged, or gives what never was, ends the run with an error. The last
line is the figure.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "firmware"))

from interpreters import lines  # noqa: E402

# Medium, campaign, size (what it is says the script); all, then those of a quick run.
CAMPAIGNS = [
    *((medium, "names", 3) for medium in ("256", "32", "fram")),
    *((medium, "old", 0) for medium in ("256", "32")),
    ("256", "long", 2000),
    ("32", "long", 2000),
    ("fram", "long", 100),
    ("256", "application", 1),
    ("32", "application", 1),
    ("fram", "application", 5),
    *((medium, "flicker", 500) for medium in ("256", "32", "fram")),
]
QUICK = [
    ("256", "names", 1),
    ("32", "old", 0),
    ("256", "long", 60),
    ("256", "application", 7),
    ("32", "application", 11),
    ("fram", "application", 211),
    *((medium, "flicker", 20) for medium in ("256", "32", "fram")),
]  # fmt: skip


def cuts(micropython: str, campaigns: "list[tuple[str, str, int]]") -> int:
    """Make them all; how many cuts that were."""
    total = 0
    for medium, campaign, size in campaigns:
        printed = lines(micropython, "power_cuts.py", medium, campaign, str(size), timeout_s=7200)
        n = int(printed[-1])
        total += n
        name = "FRAM" if medium == "fram" else f"littlefs, {medium} bytes at once"
        print(f"{name}: {campaign}: {n} cuts", flush=True)
    return total


if __name__ == "__main__":
    interpreter = str(Path(sys.executable).with_name("micropython"))
    total = cuts(interpreter, QUICK if "--quick" in sys.argv else CAMPAIGNS)
    print(f"figure: {total} cuts")
