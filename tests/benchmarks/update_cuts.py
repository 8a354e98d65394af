"""Interrupts updates of a board everywhere, and sees that it always starts a good image.

    python tests/benchmarks/update_cuts.py [--quick]

On simulated NOR flash under littlefs, in MicroPython: first a cut at every single operation of the
flash, torn in nine ways, and a restart at every piece that is sent; then 1,000 cuts at random in
updates of images of full size, each of which has to end updated. Prints how many cuts were made.
"""

import random
import subprocess
import sys
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.update_image import EXPONENT, KEY_BITS, pack, public_bytes
from sim.firmware_process import find_micropython

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "firmware" / "scripts" / "update_cuts.py"
SEED = 1


def make_images(folder: Path, sizes: tuple[int, int, int]) -> None:
    """Three images of growing version, whose content does not matter here, and the board's key."""
    key = rsa.generate_private_key(public_exponent=EXPONENT, key_size=KEY_BITS)
    source = random.Random(SEED)
    for n, (name, size) in enumerate(zip(("old", "new", "newer"), sizes, strict=True)):
        files = {"firmware/app.mpy": source.randbytes(size), "common/__init__.mpy": name.encode()}
        (folder / name).write_bytes(pack(files, (0, n + 1, 0), 0, key))
    (folder / "update.key").write_bytes(public_bytes(key))


def cuts(interpreter: str, sizes: tuple[int, int, int], *arguments: object) -> int:
    """How many cuts the script made; it ends by an exception when a board does not start right."""
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder), sizes)
        mode, *rest = arguments
        command = [interpreter, "-X", "heapsize=32m", SCRIPT, mode, folder, *rest]
        run = subprocess.run(
            [str(part) for part in command],
            env={"MICROPYPATH": f"{ROOT}:.frozen"},
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode:
        sys.exit(run.stdout[-2000:] + run.stderr)
    last = run.stdout.splitlines()[-1].split()
    print(*last)
    return int(last[last.index("cuts") + 1])


def main() -> None:
    """Both campaigns, and the figure."""
    quick = "--quick" in sys.argv
    interpreter = find_micropython()
    small = (9000, 11000, 7000)
    full = small if quick else (157000, 160000, 155000)
    total = cuts(interpreter, small, "exhaustive", 5 if quick else 1)
    total += cuts(interpreter, full, "random", 100 if quick else 1000, SEED)
    print(f"figure: {total} cuts")


if __name__ == "__main__":
    main()
