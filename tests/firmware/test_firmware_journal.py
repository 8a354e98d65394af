"""Records on littlefs and FRAM: power cuts, bit errors, worn flash, and what writing delays.

Short forms of the benchmarks, in one MicroPython; docs/journal.md says what they hold.
"""

import runpy
from collections import Counter
from pathlib import Path

import pytest
from interpreters import lines


@pytest.fixture(scope="module")
def benchmark(root: Path):
    return lambda name: runpy.run_path(str(root / "tests" / "benchmarks" / f"{name}.py"))


@pytest.mark.parametrize(
    ("medium", "campaign", "size", "least"),
    [
        ("32", "names", 1, 2000),
        ("fram", "names", 1, 10000),
        ("256", "old", 0, 500),
        ("256", "long", 40, 500),
        ("256", "application", 37, 100),
        ("32", "application", 41, 100),
        ("fram", "application", 700, 80),
        ("256", "flicker", 20, 20),
        ("fram", "flicker", 20, 20),
    ],
)
def test_a_power_cut_loses_nothing_that_was_acknowledged_and_the_board_starts(
    board_micropython: str, medium: str, campaign: str, size: int, least: int
) -> None:
    printed = lines(board_micropython, "power_cuts.py", medium, campaign, str(size), heap="16m")
    assert int(printed[-1]) >= least


@pytest.mark.parametrize(("medium", "stride"), [("256", 293), ("32", 293), ("fram", 61)])
def test_a_wrong_bit_takes_no_more_than_the_last_save(
    desk_micropython: str, medium: str, stride: int
) -> None:
    printed = lines(desk_micropython, "bit_errors.py", medium, str(stride), heap="32m")
    told = [line for line in printed if line.startswith("record ")]
    n, *rest = printed[len(told) :]
    counts = Counter(
        {what: int(number) for what, number in (line.rsplit(" ", 1) for line in rest)}
    )
    assert int(n) > 200
    unmountable = counts.pop("unmountable", 0)  # what littlefs knows itself by, in one place only
    assert unmountable <= int(n) // 100
    assert set(counts) <= {"newest", "one before", "one before, told"}
    assert counts.total() == 5 * (int(n) - unmountable)  # of five records each
    assert counts["newest"] > 0.95 * counts.total()


@pytest.mark.parametrize("progsize", ["32", "256"])
def test_worn_full_or_missing_flash_stops_no_pack(board_micropython: str, progsize: str) -> None:
    printed = lines(board_micropython, "worn_flash.py", progsize)
    told = dict(line.split(": told ") for line in printed if ": told " in line)
    assert told["program fails in all"] == told["bit stuck in all"] == told["gone"] == "True"
    assert told["full"] == "False"
    assert len(told) == 8


def test_writing_flash_puts_no_look_at_the_pack_off(desk_micropython: str, benchmark) -> None:
    usual, aged, longest = benchmark("store_lateness")["longer_pct"](desk_micropython, 400)
    assert usual == aged == 0
    assert longest < 100


def test_flash_lasts_for_ten_years(desk_micropython: str, benchmark) -> None:
    assert benchmark("flash_life")["years"](desk_micropython, 256, 1, 300, 200) > 10
