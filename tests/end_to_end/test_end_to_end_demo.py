"""The demo as a newcomer runs it: four packs, four grades, nothing left behind."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ECHELON = Path(sys.executable).with_name("echelon")
MARK = "ECHELON_TEST_MARK"


def demo(mark: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [ECHELON, "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", MARK: mark},
    )


def left_over(mark: str) -> list[str]:
    """Processes that carry the mark in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                environment = (process / "environ").read_bytes()
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if f"{MARK}={mark}".encode() in environment:
                found.append(command)
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)  # on a machine that does much else; alone it is a quarter
def test_four_packs_get_the_grades_they_deserve(desk_micropython: str) -> None:
    process = demo("graded", "--json", "--exit-when-graded")
    output, errors = process.communicate(timeout=1180)
    assert process.returncode == 0, errors
    assert left_over("graded") == []
    lines = [json.loads(line) for line in output.splitlines()]
    grades = lines[-4:]
    assert [line["kind"] for line in grades] == ["grade"] * 4
    healthy, aged, weak, lfp = grades
    assert healthy["class"] == "A"
    assert aged["class"] in ("B", "C")
    assert aged["soh_pct"] == pytest.approx(aged["truth"]["soh_pct"], abs=3.0)
    assert weak["weak_cells"] == [weak["truth"]["weakest_cell"]] == [5]
    assert lfp["class"] or lfp["reason"].startswith("Hold: ")
    for grade in grades:
        assert grade["reason"]
        if grade["soh_pct"] is not None:
            assert grade["soh_low_pct"] <= grade["truth"]["soh_pct"] <= grade["soh_high_pct"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_every_process_it_started(
    desk_micropython: str, ending: signal.Signals
) -> None:
    mark = f"ended by {ending.name}"
    process = demo(mark, "--json")
    assert process.stdout is not None
    process.stdout.readline()  # it runs
    assert any("micropython" in command for command in left_over(mark))
    process.send_signal(ending)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert left_over(mark) == []


def test_a_killed_demo_takes_its_processes_with_it(desk_micropython: str) -> None:
    process = demo("killed", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=60)
    end = time.monotonic() + 60
    while left_over("killed") and time.monotonic() < end:
        time.sleep(0.1)
    assert left_over("killed") == []


def test_a_recording_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    nothing = tmp_path / "cell.csv"
    nothing.write_text("t_s,voltage_v\n0,3.7\n1,3.7\n2,3.7\n")
    process = demo("bad", "--replay", str(nothing))
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert "cell.csv" in errors
    assert "current_a" in errors
