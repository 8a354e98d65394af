"""The smallest heap in which a board with 16 cells works, with a board's 32 bits.

    python tests/benchmarks/board_heap.py [--chain] [--at KB]

The firmware is frozen into a MicroPython of 32 bits (``build/micropython32-frozen``, made when it
is not there or older than the firmware), as on a board with little memory: code is in flash, the
heap holds the rest. A pack is charged, rests, is discharged and rests again, 6.5 hours in
all, while a Modbus client reads all models; a heap does when the board neither starts anew nor
counts an error. ``--at`` tries one heap alone. The last line is the figure.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from common import models
from common.registers import Layout, RegisterMap
from sim import parameters
from sim.bench import intake_program
from sim.firmware_process import FirmwareError
from sim.pack import PackSpec
from sim.world import World

ROOT = Path(__file__).parents[2]
BINARY = ROOT / "build" / "micropython32-frozen" / "micropython"
N_CELLS = 16
LONG_S = 6.5 * 3600
ENV = shutil.which("env") or "/usr/bin/env"
MOST_KB = 128
STEP_KB = 4
PORT = 15020


def build() -> None:
    """Freeze the firmware as it is now."""
    source = [path for name in ("firmware", "common") for path in (ROOT / name).rglob("*.py")]
    if BINARY.exists() and BINARY.stat().st_mtime > max(p.stat().st_mtime for p in source):
        return
    command = [str(ROOT / "tests" / "tools" / "micropython32" / "build.sh")]
    subprocess.run(command, env={**os.environ, "FROZEN": "1"}, check=True)


def read_all(client: ModbusTcpClient) -> dict[str, object]:
    """Every register of the map; the DEVICE model."""
    image = RegisterMap(N_CELLS)
    device = image.block(models.DEVICE)
    data = b""
    for at in range(0, image.words, 100):
        count = min(100, image.words - at)
        answer = client.read_holding_registers(models.BASE_ADDRESS + at, count=count, device_id=1)
        assert not answer.isError(), answer
        data += b"".join(word.to_bytes(2) for word in answer.registers)
    begin = device.start
    layout: Layout = device.layout
    return layout.decode(data[begin : begin + 2 * layout.words])


def works(kb: int, afe: str) -> str:
    """Empty when the board works in a heap of ``kb`` kB, else what happened."""

    def command(socket_path: Path, root: Path, spec: PackSpec) -> list[str]:
        return [
            ENV, "-C", str(root), "MICROPYPATH=.frozen", str(BINARY), "-X", f"heapsize={kb}k",
            "-m", "firmware.boards.unix", str(socket_path), str(root), "--tcp", str(spec.tcp_port),
        ]  # fmt: skip

    spec = PackSpec("HEAP", "nmc", N_CELLS, 50.0, soc=0.3, profile="nca", afe=afe, tcp_port=PORT)
    spec.settings = {"precharge_ms": 0}
    spec.program = intake_program(spec.rated_ah, N_CELLS, parameters.kind(spec.kind))
    seen: list[dict[str, object]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        World(seed=3, board_command=command, folder=Path(folder)) as world,
    ):
        pack = world.add_pack(spec)
        client = ModbusTcpClient("127.0.0.1", port=PORT)
        try:
            world.start()
            assert client.connect()
            for at_s in range(600, int(LONG_S), 600):
                world.run(until_s=at_s)
                seen.append(read_all(client))
        except (FirmwareError, ModbusException, AssertionError) as error:
            return str(error)[:200]
        finally:
            client.close()
        if world.truth(pack)["boots"] != 1:
            return f"{world.truth(pack)['boots']} starts"
    errors = [device["NErr"] for device in seen]
    return f"{errors[-1]} errors" if errors[-1] else ""


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
