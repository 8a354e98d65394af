"""How far the estimators in 32 bits lie from the same in 64: SOH, SOC and resistance.

    .venv/bin/python tests/benchmarks/thirty_two_bits.py [soh|soc] [--cycles N] [--days N]
                                                         [--profile NAME ...] [--quick]

A pack of each profile is cycled N times while it fades, with steps of 1 to 60 s; then it loses
5 mA for N days, in steps of 10 s. The streams (tests/firmware/cycling.py) are written once and
run through the firmware's estimators on CPython with every float of 64 bits (the reference),
CPython with every one of 32, MicroPython with a board's 32 bits (``make micropython32``) and
MicroPython's 64; --quick leaves out the last. Prints the worst difference of each, and the worst
of all 32-bit runs as the figure.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "firmware"))

import agreement
import cycling

DAY_S = 86400
STEP_S = 10
TRICKLE = ("nmc", "nca")  # counting alone, and the filter


def interpreters(quick: bool) -> dict[str, list]:
    board = agreement.ROOT / "build" / "micropython32" / "micropython"
    if not board.exists():
        sys.exit(f"{board} is missing: make micropython32")
    beside = Path(sys.executable).with_name("micropython")
    desk = str(beside) if beside.exists() else shutil.which("micropython")
    return agreement.commands(None if quick else desk, str(board))


def judge(title: str, path: Path, name: str, commands: dict[str, list]) -> list:
    """Run one stream everywhere; the differences of the runs in 32 bits."""
    rated_mah = cycling.RATED_MAH[name]
    reference: list[str] = []
    found = []
    for label, command in commands.items():
        start_s = time.monotonic()
        printed = agreement.run(command, path, name, rated_mah)
        took_s = time.monotonic() - start_s
        reference = reference or printed
        worst = agreement.compare(reference, printed)
        if "32" in label:
            found.append(worst)
        print(
            f"{title:22} {label:21} SOC {worst.soc_pct:.5f} %  SOH {worst.soh_points:.5f} points"
            f"  R {worst.ohm_pct:.5f} %  of {worst.compared}  {took_s:.0f} s",
            flush=True,
        )
        for line in worst.unlike[:5]:
            print("   unlike:", line)
        if worst.unlike:
            sys.exit(f"{len(worst.unlike)} figures known to one alone")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", nargs="?", choices=("soh", "soc"), default="soh")
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--profile", nargs="*", default=list(cycling.RATED_MAH))
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    commands = interpreters(args.quick)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream"
        for name in args.profile:
            if args.cycles:
                count = cycling.cycling(path, name, args.cycles)
                print(f"{name}: {args.cycles} cycles, {count} snapshots", flush=True)
                found += judge(f"{name} cycles", path, name, commands)
            if args.days and name in TRICKLE:
                count = cycling.trickle(path, name, args.days * DAY_S, STEP_S)
                print(f"{name}: {args.days} days at 5 mA, {count} snapshots", flush=True)
                found += judge(f"{name} 5 mA", path, name, commands)
    if args.figure == "soh":
        print(f"figure: {max(worst.soh_points for worst in found):.4f} SOH points")
    else:
        print(f"figure: {max(worst.soc_pct for worst in found):.4f} % SOC")


if __name__ == "__main__":
    main()
