"""A fault in the real firmware reaches the broker, and is known after the board was killed."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from desk_rig import has_micropython
from mqtt_rig import Broker, Subscriber, free_port, wait_for

from sim.bench import Charge, Rest
from sim.demo_service import gateway_toml
from sim.pack import PackSpec
from sim.world import World

pytestmark = pytest.mark.skipif(
    not has_micropython(), reason="micropython is neither beside this Python nor on PATH"
)

SPEED = 10.0
N_CELLS = 8
CUT_V = 4.25  # of NMC


@contextmanager
def running(world):
    """The world goes on by itself."""
    stop = threading.Event()
    runner = threading.Thread(target=world.run, kwargs={"stop": stop})
    runner.start()
    try:
        yield
    finally:
        stop.set()
        runner.join()


def faults(subscriber, boot):
    """What was last published of the pack since its boot number ``boot``, by fault."""
    for topic, payload in reversed(list(subscriber.messages)):
        if topic.endswith("/OVER/faults"):
            message = json.loads(payload)
            if message["boot"] == boot:
                return {entry["fault"]: entry for entry in message["faults"]}
    return {}


@pytest.mark.slow
def test_an_over_voltage_is_published_with_what_was_measured_and_outlives_the_board(tmp_path):
    broker = Broker(free_port())
    subscriber = Subscriber(broker.port)
    log = tmp_path / "gateway.log"
    # A charger that knows no end, on a pack that is nearly full.
    program = (Rest(40.0), Charge(40.0, N_CELLS * 4.5, 0.1))
    spec = PackSpec("OVER", n_cells=N_CELLS, soc=0.97, program=program)
    try:
        with World(seed=4, speed=SPEED, folder=tmp_path / "boards") as world:
            pack = world.add_pack(spec)
            world.add_bus("bay", 115200, [pack])
            world.start()
            world.clock.set_speed(None)
            world.run(until_s=20.0)
            world.clock.set_speed(SPEED)
            config = tmp_path / "gateway.toml"
            config.write_text(gateway_toml(world, subscriber.port, tmp_path / "state"))
            command = [sys.executable, "-m", "gateway.cli", "gateway", "--config", str(config)]
            with log.open("wb") as stderr:
                gateway = subprocess.Popen(command, stderr=stderr)
            try:
                with running(world):
                    came = wait_for(
                        lambda: faults(subscriber, 1).get("cell_over_voltage", {}).get("saved"),
                        180.0,
                    )
                    assert came, log.read_text()
                before = faults(subscriber, 1)["cell_over_voltage"]
                world.power_cycle(pack)  # SIGKILL: nobody says goodbye to the flash
                with running(world):
                    came = wait_for(lambda: faults(subscriber, 2))
                    assert came, log.read_text()
                after = faults(subscriber, 2)["cell_over_voltage"]
            finally:
                gateway.kill()
                gateway.wait()
            weakest = int(pack.cell_v.argmax()) + 1
    finally:
        subscriber.close()
        broker.stop()
    assert before["count"] >= 1
    assert before["first_boot"] == before["last_boot"] == 1
    assert before["last_seq"] >= before["first_seq"] > 20
    assert (before["unit"], before["limit"]) == ("V", CUT_V)
    assert CUT_V < before["value"] < CUT_V + 0.2
    assert before["cell_max_v"] == before["value"]
    assert before["cell_max_number"] == weakest
    assert before["cell_min_v"] < before["cell_max_v"]
    assert before["pack_voltage_v"] > N_CELLS * before["cell_min_v"]
    assert before["current_a"] == pytest.approx(40.0, abs=0.5)
    assert 20.0 < before["temperature_min_c"] <= before["temperature_max_c"] < 40.0
    assert before["switches"] == ["charge", "discharge"]
    assert before["switches_opened"] == ["charge"]
    assert before["state"] == "discharge_only"
    assert "cell_over_voltage" in before["faults"]
    assert before["last_time_quality"] == "gateway"
    assert before["last_utc"]
    first = [key for key in before if key.startswith("first_")]
    assert [after[key] for key in first] == [before[key] for key in first]
    assert after["count"] >= before["count"], "the charger went on"
    assert after == before or after["count"] > before["count"]
