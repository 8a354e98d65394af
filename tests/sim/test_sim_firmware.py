"""One pack with the real firmware in a real MicroPython: what a host reads is what is true."""

import shutil
import struct
import sys
import threading
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient

from common import models
from common.codes import State
from common.registers import RegisterMap
from sim.bench import Discharge, Rest
from sim.pack import PackSpec
from sim.world import World

N_CELLS = 14


def has_micropython() -> bool:
    beside = Path(sys.executable).with_name("micropython")
    return beside.exists() or shutil.which("micropython") is not None


pytestmark = pytest.mark.skipif(
    not has_micropython(), reason="micropython is neither beside this Python nor on PATH"
)


def read_model(client: ModbusSerialClient, model_id: int, unit: int) -> dict:
    block = RegisterMap(N_CELLS).block(model_id)
    words: list[int] = []
    while len(words) < block.layout.words:
        count = min(120, block.layout.words - len(words))
        answer = client.read_holding_registers(
            block.address + len(words), count=count, device_id=unit
        )
        assert not answer.isError(), answer
        words += answer.registers
    return block.layout.decode(struct.pack(f">{len(words)}H", *words))


@pytest.fixture
def desk(tmp_path):
    """A world at 30 times real time with one pack, discharging; its host's Modbus client."""
    with World(seed=3, speed=30.0, folder=tmp_path) as world:
        spec = PackSpec(
            "EC-42",
            n_cells=N_CELLS,
            soc=0.6,
            address=7,
            program=(Rest(30.0), Discharge(20.0, end_v=30.0)),
        )
        pack = world.add_pack(spec)
        bus = world.add_bus("bay", 115200, [pack])
        world.start()
        world.run(until_s=120.0)
        stop = threading.Event()
        runner = threading.Thread(target=world.run, kwargs={"stop": stop})
        runner.start()
        client = ModbusSerialClient(bus.port, baudrate=115200, timeout=20, retries=0)
        try:
            assert client.connect()
            yield world, pack, client
        finally:
            client.close()
            stop.set()
            runner.join()


def test_what_the_board_reports_is_what_is_true(desk):
    world, pack, client = desk
    snapshot = read_model(client, models.SNAPSHOT, 7)
    truth = world.truth(pack)
    assert snapshot["Seq"] == snapshot["SeqEnd"] > 100
    assert snapshot["St"] == State.ON
    # The cells fall by a few millivolts a minute; offset and noise of the chip are about 1 mV.
    measured_v = [cell["V"] for cell in snapshot["cells"]]
    assert measured_v == pytest.approx(truth["cell_v"], abs=0.008)
    assert snapshot["V"] == pytest.approx(truth["voltage_v"], abs=0.1)
    assert snapshot["A"] == pytest.approx(-20.0, abs=0.1)
    assert snapshot["Tmp1"] == pytest.approx(truth["cell_temperature_c"][0], abs=0.5)
    assert world.truth(pack)["boots"] == 1


def test_the_board_knows_who_it_is_and_answers_nobody_else(desk):
    _, _, client = desk
    common = read_model(client, models.COMMON, 7)
    assert common["SN"] == "EC-42"
    client.comm_params.timeout_connect = 0.3
    with pytest.raises(Exception, match=r"No response|Modbus Error"):
        client.read_holding_registers(models.BASE_ADDRESS, count=2, device_id=8)


def test_the_same_seed_gives_the_same_run_byte_for_byte_with_firmware(tmp_path):
    def run(folder: Path, seed: int) -> tuple[list[float], dict[str, bytes]]:
        with World(seed=seed, folder=folder) as world:
            program = (Rest(20.0), Discharge(20.0, end_v=30.0))
            pack = world.add_pack(PackSpec("EC-1", n_cells=6, program=program))
            world.start()
            world.run(until_s=120.0)
            root = folder / "EC-1"
            files = {p.name: p.read_bytes() for p in root.rglob("*") if p.is_file()}
            return [*world.truth(pack)["cell_v"], world.station(pack).transfers], files

    first = run(tmp_path / "a", 5)
    assert first == run(tmp_path / "b", 5)
    assert first[0] != run(tmp_path / "c", 6)[0]
