"""Cuts the power everywhere while a board's history is written, and sees that nothing is lost.

    python tests/benchmarks/history_cuts.py

In MicroPython, on simulated NOR flash under littlefs: a history whose segments rotate is written
over two starts of a board; then a cut at every single operation of the flash, torn in nine ways.
After each the board starts: all that was acknowledged is there, nothing is wrong, the chain holds,
and it goes on (``tests/firmware/scripts/history_cuts.py``). The last line: how many cuts.
"""

import os
import subprocess
import sys
from pathlib import Path

from sim.firmware_process import find_micropython

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "firmware" / "scripts" / "history_cuts.py"


def main() -> None:
    """Run the script on every cut; what it finds wrong ends this."""
    run = subprocess.run(
        [find_micropython(), "-X", "heapsize=8m", str(SCRIPT)],
        env={**os.environ, "MICROPYPATH": f"{ROOT}:.frozen"},
        capture_output=True,
        text=True,
        check=False,
    )
    print(run.stdout[-2000:], end="")
    words = run.stdout.split()
    if run.returncode or words[-1] != "0":
        sys.exit(run.stderr or "a cut lost or spoiled records")
    print(f"figure: {words[words.index('cuts') + 1]} cuts")


if __name__ == "__main__":
    main()
