"""The device under test: the firmware in a real MicroPython against the simulator, or a board.

``pytest --port /dev/ttyUSB0`` runs the same tests against a board behind an RS-485 adapter; what
needs the simulator's knowledge says so and skips there. ``dut`` is pytest-embedded's: it hears
what the firmware prints.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient

from sim.bench import Rest
from sim.pack import PackSpec
from sim.world import World

ADDRESS = 1
BAUDRATE = 115200


@dataclass
class Device:
    """Where the device answers; ``world`` and ``pack`` are ``None`` for a real board."""

    port: str
    address: int
    log: Path | None = None
    tcp_port: int | None = None
    world: World | None = None
    pack: object | None = None

    def truth(self) -> dict:
        if self.world is None:
            pytest.skip("a real board: nobody knows the truth")
        return self.world.truth(self.pack)

    def client(self) -> ModbusSerialClient:
        client = ModbusSerialClient(self.port, baudrate=BAUDRATE, timeout=10.0, retries=1)
        assert client.connect()
        return client


@pytest.fixture(scope="session")
def device(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Device]:
    board_port = request.config.getoption("port", None)
    if board_port:
        yield Device(board_port, ADDRESS)
        return
    request.getfixturevalue("desk_micropython")
    folder = tmp_path_factory.mktemp("device")
    world = World(seed=3, speed=20.0, folder=folder / "boards", logs=folder)
    spec = PackSpec(
        "DUT-1",
        n_cells=14,
        rated_ah=50.0,
        soc=0.6,
        program=[Rest(1e7)],
        record_every=5,
        tcp_port=0,
    )
    pack = world.add_pack(spec)
    bus = world.add_bus("dut", BAUDRATE, [pack])
    stop = threading.Event()
    thread = threading.Thread(target=lambda: world.run(stop=stop), daemon=True)
    try:
        world.start()
        thread.start()
        log = folder / "DUT-1.log"
        yield Device(bus.port, ADDRESS, log, _tcp_port(log), world, pack)
    finally:
        stop.set()
        if thread.is_alive():
            thread.join(10)
        world.close()


def _tcp_port(log: Path) -> int:
    """The port that the firmware printed."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for line in log.read_text().splitlines():
            if line.startswith("tcp "):
                return int(line.split()[1])
        time.sleep(0.05)
    raise AssertionError(f"the firmware printed no TCP port, but: {log.read_text()!r}")


@pytest.fixture
def spoken(device: Device, request: pytest.FixtureRequest) -> object:
    """``dut`` with what the desk firmware has printed so far; on a board it listens itself."""
    dut = request.getfixturevalue("dut")
    if device.log is not None:
        dut.write(device.log.read_bytes())
    return dut
