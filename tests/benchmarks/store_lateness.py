"""How much longer the pack is unwatched while the board writes flash than while it does not.

    python tests/benchmarks/store_lateness.py

Runs ``tests/firmware/scripts/store_lateness.py``: the application's own tasks and timetable, each
task as long as it may be on an RP2040, records on littlefs on simulated flash. Compared is the
longest time between two looks at the pack (``measure`` or ``guard``), with every record due all
the time and with none: once with the erase time that the flash's data sheet calls typical, once
with thrice that, once with its maximum for every erase. The last line is the figure, of the first.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "firmware"))

from interpreters import lines  # noqa: E402

from sim.flash import ERASE_US, LONGEST_ERASE_US, LONGEST_PROGRAM_US, PROGRAM_US  # noqa: E402

TIMES_US = ((ERASE_US, PROGRAM_US), (3 * ERASE_US, LONGEST_PROGRAM_US),
            (LONGEST_ERASE_US, LONGEST_PROGRAM_US))  # fmt: skip


def gap_ms(micropython: str, erase_us: int, program_us: int, *, saves: bool, seconds: int) -> int:
    """The longest between two looks; prints what was measured."""
    (line,) = lines(
        micropython, "store_lateness.py", str(erase_us), str(program_us), str(int(saves)),
        str(seconds), timeout_s=600, heap="8m",
    )  # fmt: skip
    n_saves, n_erases, measure_ms, guard_ms, longest_ms = map(int, line.split())
    print(
        f"erase {erase_us // 1000} ms: {n_saves} saves, {n_erases} erases; measure {measure_ms} "
        f"ms late, guard {guard_ms} ms, {longest_ms} ms between two looks"
    )
    return longest_ms


def longer_pct(micropython: str, seconds: int = 4000) -> "list[float]":
    """In percent, for each of ``TIMES_US``."""
    idle_ms = gap_ms(micropython, *TIMES_US[0], saves=False, seconds=seconds)
    gaps_ms = [gap_ms(micropython, *times, saves=True, seconds=seconds) for times in TIMES_US]
    return [100 * each_ms / idle_ms - 100 for each_ms in gaps_ms]


if __name__ == "__main__":
    print(f"figure: {longer_pct(str(Path(sys.executable).with_name('micropython')))[0]:.1f} %")
