"""What the estimators of a 16-cell pack cost: state, memory and time of an update.

    python tests/benchmarks/estimators_cost.py [--figure state|bytes|us|share] [--profile NAME]
        [--micropython INTERPRETER] [--source DIR]

state: bytes that a further cell adds; what a pack of 16 cells has in all is printed beside it.
Every object that ``Estimators`` reaches is counted once: an array with its items, any other number
with 4 bytes, as boards have them. Left out is what does not change (settings, cell profile,
models) and what the interpreter adds to an object.

bytes, us: the most that one ``Estimators.update`` of a short day takes (``estimators_cycles.py``:
rests, charges to full, discharges to empty, current steps), of the heap with collection off and of
time, in the interpreter named. Each cycle's time is the least of five runs of the same day.

share: of a 1 s cycle, in percent, on an RP2040: the most instructions that an update takes, times
``CPI`` cycles each, at 125 MHz. Instructions are counted exactly: MicroPython, compiled for the
RP2040's own core (Cortex-M0+) with the firmware frozen into it, runs the day in QEMU, of which
``-icount`` lets the time, and so the guest's timer, pass by instructions. ``--source`` names an
unpacked MicroPython to compile (see ``tests/tools/micropython_m0/build.sh``); later runs take what
was compiled.

CPI: ``core_cycles.py`` traces updates and finds 1.54 cycles an instruction by Arm's table for the
core, and 2.19 when all code and data of flash are read through the RP2040's cache (16 kB, two
ways, lines of 8 bytes: its data sheet), cold at first, and a miss costs 50 cycles. 2.3 leaves some
room; of a whole cycle of the firmware, most of it loops, it is 1.72.

Without ``--profile`` the figure is the largest of the profiles with most to do: one with a circuit
(``nca``: the SOC filter), one with charge windows (``lco-cs2``).
"""

import argparse
import os
import statistics
import subprocess
import sys
from array import array
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "firmware"))

from microbit import Repl

from common.ecm import Ecm
from common.profiles import CellProfile
from firmware.estimators.estimators import Estimators
from firmware.estimators.window import WindowModel
from firmware.settings import Settings

ROOT = Path(__file__).parents[2]
PROFILES = ("nca", "lco-cs2")
N_CELLS = 16
RUNS = 5
UNITS = {"state": "bytes a cell", "bytes": "bytes", "us": "us", "share": "% of a 1 s cycle"}
CLOCK_HZ = 125_000_000
CPI = 2.3
TICKS = (
    16.384  # of the guest's 16 MHz timer an instruction, each of which takes 1.024 us of its time
)
IMAGE = ROOT / "build" / "micropython_m0" / "firmware.elf"
Costs = dict[str, list[int]]  # what the cycle was: what each took


def state_bytes(estimators: Estimators) -> int:
    """Bytes of all that changes in ``estimators``."""
    fixed = (Settings, CellProfile, Ecm, WindowModel)
    seen: set[int] = set()

    def size(value: Any) -> int:
        if value is None or isinstance(value, (int, float)):
            return 4
        if isinstance(value, fixed) or id(value) in seen:
            return 0
        seen.add(id(value))
        if isinstance(value, array):
            return len(value) * value.itemsize
        if isinstance(value, (list, tuple)):
            return sum(map(size, value))
        return sum(map(size, vars(value).values()))

    return size(estimators)


def on_desk(micropython: str, mode: str, profile: str) -> Costs:
    """The day in an interpreter of this machine."""
    code = f"import estimators_cycles; estimators_cycles.main({mode!r}, {profile!r})"
    path = f"{ROOT}:{Path(__file__).parent}:.frozen"
    run = subprocess.run(
        [micropython, "-X", "heapsize=8M", "-c", code],
        env={**os.environ, "MICROPYPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        sys.exit(f"{micropython}: {run.stderr.strip()}")
    return _costs(run.stdout)


def core(*arguments: str) -> Repl:
    """The emulated Cortex-M0+."""
    return Repl(
        *arguments, "-semihosting", "-kernel", str(IMAGE),
        "-global", "nrf51-soc.flash-size=1048576", "-global", "nrf51-soc.sram-size=262144",
    )  # fmt: skip


def on_core(mode: str, profile: str) -> Costs:
    """The day on the emulated core; "ticks" as instructions."""
    with core("-icount", "shift=10,sleep=off", "-monitor", "none") as board:
        code = f"import estimators_cycles\nestimators_cycles.main({mode!r}, {profile!r})"
        costs = _costs(board.run(code, seconds=300))
    if mode == "ticks":
        costs = {what: [round(n / TICKS) for n in values] for what, values in costs.items()}
    return costs


def _costs(printed: str) -> Costs:
    costs: Costs = {}
    for line in printed.splitlines():
        what, value = line.split()[:2]
        costs.setdefault(what, []).append(int(value))
    if not costs.pop("known")[0]:
        sys.exit("the day gave no SOH: its cycles are not what they should be")
    return costs


def quietest(runs: "list[Costs]") -> Costs:
    """Each cycle at the least it took in any run."""
    return {
        what: [min(values) for values in zip(*[run[what] for run in runs], strict=True)]
        for what in runs[0]
    }


def summary(costs: Costs) -> "tuple[int, int]":
    """``(of a usual cycle, of the dearest)``; a usual one is a second of steady discharge."""
    dearest = max(max(values) for what, values in costs.items() if what != "object")
    return round(statistics.median(costs["steady"])), dearest


def figure(what: str, profile: str, micropython: str) -> float:
    """One figure for one profile, after a line that explains it."""
    if what == "state":
        half, size = (
            state_bytes(Estimators(Settings("P", n, profile, 100_000)))
            for n in (N_CELLS // 2, N_CELLS)
        )
        print(f"{profile}: {size} bytes of state for {N_CELLS} cells")
        return 2 * (size - half) / N_CELLS
    if what == "share":
        usual, dearest = summary(on_core("ticks", profile))
        costs = on_core("bytes", profile)
        share = [n * CPI / CLOCK_HZ * 100 for n in (usual, dearest)]
        print(
            f"{profile}: {usual} instructions ({share[0]:.2f} %) in a usual cycle, {dearest} "
            f"({share[1]:.2f} %) in the dearest; on this core {costs['object'][0]} bytes of heap "
            "hold the estimators, {} and {} are taken by those cycles".format(*summary(costs))
        )
        return share[1]
    runs = [on_desk(micropython, what, profile) for _ in range(RUNS if what == "us" else 1)]
    usual, dearest = summary(quietest(runs))
    print(f"{profile}: {usual} {UNITS[what]} in a usual cycle, {dearest} in the dearest")
    return dearest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--figure", choices=list(UNITS), default="state")
    parser.add_argument("--profile", action="append")
    parser.add_argument(
        "--micropython", default=str(Path(sys.executable).with_name("micropython"))
    )
    parser.add_argument("--source", metavar="DIR", help="an unpacked MicroPython, for share")
    args = parser.parse_args()
    if args.figure == "share":
        if args.source:
            build = ROOT / "tests" / "tools" / "micropython_m0" / "build.sh"
            subprocess.run([build, args.source], check=True)
        elif not IMAGE.exists():
            parser.error(f"{IMAGE.relative_to(ROOT)} is not there: give --source")
    values = [figure(args.figure, name, args.micropython) for name in args.profile or PROFILES]
    print(f"figure: {max(values):.4g} {UNITS[args.figure]}")


if __name__ == "__main__":
    main()
