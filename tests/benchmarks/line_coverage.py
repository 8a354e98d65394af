"""Which lines and branches of ``firmware/`` and ``common/`` no test runs.

    .venv/bin/python tests/benchmarks/line_coverage.py [--all]

Runs the tests of CPython in two processes, and what they start as processes of CPython. Left out
are those that need the measured cells or MicroPython and, without ``--all``, those in ``SLOW`` or
marked so: half of the time, for 46 lines that no other runs. What is not counted, and why, stands
in ``pyproject.toml``. Prints what is missing of each file, and lines and branches of each folder.
The last line is the figure: lines and branches together, as coverage.py counts them.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "coverage"
FOLDERS = ("tests/common", "tests/firmware")
PROCESSES = 2
SLOW = (
    "test_firmware_app.py::test_whatever_the_bus_does_the_pack_is_safe_and_comes_back",
    "test_firmware_bq76952_on_emulator.py::test_setting_up_over_a_bad_bus",
    "test_firmware_bq76952_on_emulator.py::test_under_any_faults",
    "test_firmware_bq76952_single_faults.py",
    "test_firmware_cell_tests.py::TestAnyTest",
    "test_firmware_commanded.py::test_who_disconnects_the_pack_ends_its_test",
    "test_firmware_energy.py::test_the_remaining_energy_is_what_comes_out",
    "test_firmware_estimators.py::test_an_evenly_aged_nmc_pack_is_known_within_three_points",
    "test_firmware_estimators.py::test_the_interval_widens_with_age",
    "test_firmware_failing_tasks.py::test_estimates_begin_again",
    "test_firmware_hostile_pack.py",
    "test_firmware_ltc6813.py::test_whatever_the_buses_do",
    "test_firmware_modbus_pdu.py::test_no_request_breaks_the_server",
    "test_firmware_modbus_rtu.py::test_a_foreign_frame_alone_is_never_answered",
    "test_firmware_modbus_rtu.py::test_whatever_is_on_the_line",
    "test_firmware_modbus_tcp.py::test_whatever_comes",
    "test_firmware_protection.py::TestAnyPack",
    "test_firmware_selfdischarge.py::test_several_rests",
    "test_firmware_selfdischarge.py::test_what_is_known_survives",
    "test_firmware_soc_filter.py::test_32_bits",
    "test_firmware_soc_filter.py::test_five_milliampere",
    "test_firmware_thirty_two_bits.py",
    "test_firmware_tools_plots.py::test_each_kind",
)


def run_tests(every: bool) -> None:
    """Run them in ``PROCESSES`` at once; ends this program when one fails."""
    for old in BUILD.glob("data*"):
        old.unlink()
    BUILD.mkdir(parents=True, exist_ok=True)
    files = sorted(file for folder in FOLDERS for file in (ROOT / folder).glob("test_*.py"))
    plugins = ("embedded", "pytest_embedded", "cacheprovider")
    options = ["-q", "--hypothesis-seed=0", *(f"-pno:{name}" for name in plugins)]
    options += ["-k", "not micropython"]
    options += ["-m", "not shared" if every else "not shared and not slow"]
    if not every:
        options += [f"--deselect=tests/firmware/{test}" for test in SLOW]
    running = []
    for k in range(PROCESSES):
        part = [str(file.relative_to(ROOT)) for file in files[k::PROCESSES]]
        command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", *options, *part]
        log = BUILD / f"tests-{k}.log"
        with log.open("w", encoding="utf-8") as out:
            running.append((log, subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)))
    failed = [log for log, process in running if process.wait()]
    for log in failed:
        sys.stdout.write(log.read_text(encoding="utf-8"))
    if failed:
        sys.exit("the tests must pass first")


def coverage(*arguments: str) -> str:
    """What coverage.py says."""
    command = [sys.executable, "-m", "coverage", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def share(covered: int, of: int) -> str:
    """In per cent, never rounded up to all."""
    return "100" if covered == of else f"{min(99.99, 100 * covered / of):.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="the slow tests too")
    began_s = time.monotonic()
    run_tests(parser.parse_args().all)
    coverage("combine", "-q")
    coverage("json", "-q", "-o", str(BUILD / "found.json"))
    found = json.loads((BUILD / "found.json").read_text(encoding="utf-8"))
    print(coverage("report"))
    keys = ("covered_lines", "num_statements", "covered_branches", "num_branches")
    folders: dict[str, list[int]] = defaultdict(lambda: [0] * 4)
    for name, file in found["files"].items():
        for k, key in enumerate(keys):
            folders[str(Path(name).parent)][k] += file["summary"][key]
    for name, (lines, n_lines, branches, n_branches) in sorted(folders.items()):
        print(
            f"{name:20} lines {share(lines, n_lines)} % of {n_lines}, "
            f"branches {share(branches, n_branches)} % of {n_branches}"
        )
    total = [sum(folder[k] for folder in folders.values()) for k in range(4)]
    print(f"took {time.monotonic() - began_s:.0f} s")
    print(f"figure: {share(total[0] + total[2], total[1] + total[3])} %")


if __name__ == "__main__":
    main()
