"""The smallest heap in which a board with 16 cells works, with a board's 32 bits.

    python tests/benchmarks/board_heap.py [--chain] [--at KB]

The firmware is frozen into a MicroPython of 32 bits (``build/micropython32-frozen``, made when it
is not there or older than the firmware), as on a board with little memory: code is in flash, the
heap holds the rest. A pack is charged, rests, is discharged and rests again, 6.5 hours in
all, while a Modbus client reads all models; a heap does when the board neither starts anew nor
counts an error. ``--at`` tries one heap alone. The last line is the figure.
"""

import argparse
import contextlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from common import models
from common.crc import crc16_modbus
from common.registers import RegisterMap
from sim import parameters
from sim.bench import intake_program
from sim.firmware_process import FirmwareError
from sim.pack import PackSpec
from sim.world import Bus, World

ROOT = Path(__file__).parents[2]
BINARY = ROOT / "build" / "micropython32-frozen" / "micropython"
N_CELLS = 16
LONG_S = 6.5 * 3600
ENV = shutil.which("env") or "/usr/bin/env"
MOST_KB = 128
STEP_KB = 4


def build() -> None:
    """Freeze the firmware as it is now."""
    source = [path for name in ("firmware", "common") for path in (ROOT / name).rglob("*.py")]
    if BINARY.exists() and BINARY.stat().st_mtime > max(p.stat().st_mtime for p in source):
        return
    command = [str(ROOT / "tests" / "tools" / "micropython32" / "build.sh")]
    subprocess.run(command, env={**os.environ, "FROZEN": "1"}, check=True)


class Client:
    """A Modbus host on the pack's line; the world goes on while it waits."""

    def __init__(self, world: World, bus: Bus) -> None:
        self._world = world
        self._line = os.open(bus.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def read(self, address: int, count: int) -> bytes:
        """The registers' bytes; ``ValueError`` for anything but them."""
        request = struct.pack(">BBHH", 1, 3, address, count)
        os.write(self._line, request + crc16_modbus(request, 0, 6).to_bytes(2, "little"))
        self._world.run(until_s=self._world.time_s + 0.5)
        answer = b""
        with contextlib.suppress(BlockingIOError):
            answer = os.read(self._line, 512)
        end = len(answer) - 2
        if answer[:2] != b"\x01\x03" or len(answer) != 5 + 2 * count:
            raise ValueError(f"{count} registers from {address}: {answer[:8]!r}")
        if crc16_modbus(answer, 0, end).to_bytes(2, "little") != answer[end:]:
            raise ValueError("a wrong checksum")
        return answer[3:end]

    def device(self) -> dict[str, object]:
        """Every register of the map; the DEVICE model of it."""
        image = RegisterMap(N_CELLS)
        data = b"".join(
            self.read(models.BASE_ADDRESS + at, min(100, image.words - at))
            for at in range(0, image.words, 100)
        )
        block = image.block(models.DEVICE)
        return block.layout.decode(data[block.start : block.start + 2 * block.layout.words])


def works(kb: int, afe: str) -> str:
    """Empty when the board works in a heap of ``kb`` kB, else what happened."""

    def command(socket_path: Path, root: Path, _spec: PackSpec) -> list[str]:
        return [
            ENV, "-C", str(root), "MICROPYPATH=.frozen", str(BINARY), "-X", f"heapsize={kb}k",
            "-m", "firmware.boards.unix", str(socket_path), str(root),
        ]  # fmt: skip

    spec = PackSpec("HEAP", "nmc", N_CELLS, 50.0, soc=0.3, profile="nca", afe=afe)
    spec.program = intake_program(spec.rated_ah, N_CELLS, parameters.kind(spec.kind))
    seen: list[dict[str, object]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        World(seed=3, board_command=command, folder=Path(folder)) as world,
    ):
        pack = world.add_pack(spec)
        client = Client(world, world.add_bus("line", 115200, [pack]))
        try:
            world.start()
            for at_s in range(600, int(LONG_S), 600):
                world.run(until_s=at_s)
                seen.append(client.device())
        except (FirmwareError, ValueError) as error:
            return repr(error)[:300]
        if world.truth(pack)["boots"] != 1:
            return f"{world.truth(pack)['boots']} starts"
    return f"{seen[-1]['NErr']} errors" if seen[-1]["NErr"] else ""


def main() -> None:
    """Try heaps from 128 kB down until one does not do."""
    parser = argparse.ArgumentParser(description="the smallest heap of a board with 16 cells")
    parser.add_argument("--chain", action="store_true", help="a chain of LTC6813")
    parser.add_argument("--at", type=int, metavar="KB", help="this heap alone")
    arguments = parser.parse_args()
    build()
    afe = "ltc6813" if arguments.chain else "bq76952"
    smallest = None
    kb = arguments.at or MOST_KB
    while True:
        why = works(kb, afe)
        print(f"{kb} kB: {why or 'works'}", flush=True)
        if why:
            break
        smallest = kb
        if arguments.at:
            break
        kb -= STEP_KB
    if smallest is None:
        sys.exit(f"{kb} kB do not do: {why}")
    print(f"figure: {smallest} kB")


if __name__ == "__main__":
    main()
