"""A million hostile Modbus frames against the board's server, in a real MicroPython.

    python tests/benchmarks/hostile_frames.py [frames] [seed] [--interpreter MICROPYTHON]

What is sent and what must hold is said in ``tests/firmware/scripts/modbus_hostile.py``. It ends
at the first breach, with the frame. ``grown`` is by how many bytes the heap has grown.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "firmware"))

from interpreters import HERE, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", type=int, nargs="?", default=1_000_000)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--interpreter", default=str(Path(sys.executable).parent / "micropython"))
    arguments = parser.parse_args()
    done = run(
        arguments.interpreter,
        HERE / "scripts" / "modbus_hostile.py",
        str(arguments.frames),
        str(arguments.seed),
        timeout_s=3600,
    )
    sys.stdout.write(done.stdout + done.stderr)
    print(f"figure: {0 if done.returncode == 0 else 1} breaches")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
