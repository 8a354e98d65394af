"""The world with stand-in boards: lock-step, lines, restarts, and that nothing is left behind."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import serial

from common import link
from common.codes import ResetCause
from sim import parameters
from sim.bench import Charge, Rest, intake_program
from sim.firmware_process import FirmwareError
from sim.link import LinkServer
from sim.pack import PackSpec
from sim.recording import Recording
from sim.world import World

STAND_IN = Path(__file__).with_name("stand_in_board.py")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _stand_in_finds_common(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def world_of(tmp_path, mode="cycle", **values) -> World:
    def command(socket_path: Path, root: Path, _spec: PackSpec) -> list[str]:
        return [sys.executable, str(STAND_IN), str(socket_path), str(root), mode]

    return World(board_command=command, folder=tmp_path, **values)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_boards_and_cells_go_on_together(tmp_path):
    with world_of(tmp_path) as world:
        packs = [world.add_pack(PackSpec(f"P{n}", n_cells=8, soc=0.5)) for n in range(3)]
        world.start()
        world.run(until_s=60.0)
        assert world.time_s == 60.0
        for pack in packs:
            assert pack.time_s == pytest.approx(60.0, abs=1.0)
            assert world.station(pack).transfers in (
                8 * 59,
                8 * 60,
            )  # the first 0.2 s are the boot


def record(tmp_path, seed: int) -> dict[str, list[str]]:
    with world_of(tmp_path, "record", seed=seed) as world:
        packs = []
        for n in range(2):
            program = intake_program(50.0, 6, parameters.NMC)
            packs.append(world.add_pack(PackSpec(f"P{n}", n_cells=6, program=program)))
        world.add_bus("bay", 9600, packs)
        world.start()
        world.run(until_s=30.0)
    return {f"P{n}": before_the_end(tmp_path / f"P{n}.log") for n in range(2)}


def before_the_end(log: Path) -> list[str]:
    """What a board printed up to a second before the world ended, and with it the board."""
    lines = log.read_text().splitlines()[1:]
    return [line for line in lines if int(line.split()[0]) < 29_000_000]


def test_the_same_seed_gives_the_same_run_byte_for_byte(tmp_path):
    first = record(tmp_path / "a", seed=7)
    assert first == record(tmp_path / "b", seed=7)
    assert len(first["P0"]) > 200
    assert first["P0"] != first["P1"]
    assert first != record(tmp_path / "c", seed=8)


def test_a_host_and_its_boards_talk_over_the_line(tmp_path):
    with world_of(tmp_path, "echo", speed=20.0) as world:
        packs = [world.add_pack(PackSpec(name, n_cells=4)) for name in ("P0", "Q1")]
        bus = world.add_bus("bay", 115200, packs[:1])
        other = world.add_bus("far bay", 115200, packs[1:])
        world.start()
        stop = threading.Event()
        runner = threading.Thread(target=world.run, kwargs={"stop": stop})
        runner.start()
        try:
            with (
                serial.Serial(bus.port, 115200, timeout=20) as host,
                serial.Serial(other.port, 115200, timeout=20) as far_host,
            ):
                for text in (b"one", b"two"):
                    host.write(text)
                    assert host.read(6) == b"P0:" + text
                far_host.write(b"three")
                assert far_host.read(8) == b"Q1:three"
                host.timeout = 0.2
                assert host.read(1) == b""  # what is said on one line is not heard on the other
        finally:
            stop.set()
            runner.join()


def test_two_boards_that_answer_at_once_garble_each_other(tmp_path):
    with world_of(tmp_path, "echo", speed=50.0) as world:
        bus = world.add_bus(
            "bay", 115200, [world.add_pack(PackSpec(n, n_cells=4)) for n in ("P0", "P1")]
        )
        world.start()
        with serial.Serial(bus.port, 115200, timeout=0) as host:
            host.write(b"who is there")
            heard = b""
            for _ in range(30):
                world.step()
                heard += host.read(100)
        assert bus.line.collisions > 0
        assert b"P0:" not in heard
        assert b"P1:" not in heard


def test_a_host_at_another_baud_rate_is_not_understood(tmp_path):
    with world_of(tmp_path, "echo", speed=50.0) as world:
        bus = world.add_bus("bay", 115200, [world.add_pack(PackSpec("P0", n_cells=4))])
        world.start()
        with serial.Serial(bus.port, 9600, timeout=0) as host:
            host.write(b"hello")
            heard = b""
            for _ in range(20):
                world.step()
                heard += host.read(100)
        assert heard.startswith(b"P0:")  # it heard a train of characters, but not these
        assert b"hello" not in heard


def test_a_board_whose_watchdog_runs_out_starts_again(tmp_path):
    with world_of(tmp_path, "hang") as world:
        pack = world.add_pack(PackSpec("P0", n_cells=4))
        world.start()
        world.run(until_s=20.0)
        assert world.truth(pack)["boots"] == 2
        assert world.station(pack).reset_cause == ResetCause.WATCHDOG
        assert [text for _, text in world.notes] == ["P0 restarts: its watchdog ran out"]
        assert world.notes[0][0] == pytest.approx(3.2, abs=0.2)
    log = (tmp_path / "P0.log").read_text()
    assert log.split() == ["reset", "cause", "1", "reset", "cause", "2"]


def test_a_power_cut_in_the_middle_starts_the_board_again(tmp_path):
    with world_of(tmp_path) as world:
        pack = world.add_pack(PackSpec("P0", n_cells=4))
        world.start()
        first_pid = world._processes[0].pid
        world.at(5.0, lambda: world.power_cycle(pack))
        world.run(until_s=10.0)
        assert world.truth(pack)["boots"] == 2
        assert world.station(pack).reset_cause == ResetCause.POWER_ON
        assert not is_running(first_pid)


def test_an_unplugged_pack_is_without_supply_and_tester_until_it_is_back(tmp_path):
    seen = []
    with world_of(tmp_path, "hang") as world:
        steps = (Rest(0.5), Charge(10.0, 16.8, 0.1, most_s=20.0), Rest(1.0))
        pack = world.add_pack(PackSpec("P0", n_cells=4, program=steps))
        other = world.add_pack(PackSpec("P1", n_cells=4))
        world.station(pack).conducting = lambda: (True, True, False, False)
        world.start()

        def look():
            seen.append((pack.activity, pack.current_a, pack.plugged, world.truth(pack)["boots"]))

        world.at(2.5, lambda: world.unplug(pack, 100.0))
        for at_s in (2.4, 5.0, 101.0, 104.0, 130.0):
            world.at(at_s, look)
        world.run(until_s=130.0)
        assert world.truth(other)["boots"] == 2, "another restarts meanwhile"
    assert seen == [
        ("charge", 10.0, True, 1),
        ("charge", 0.0, False, 1),
        ("charge", 0.0, False, 1),
        ("charge", 10.0, True, 2),
        ("done", 0.0, True, 3),  # a stand-in hangs after each cut
    ]
    assert (102.5, "P0 restarts: it was unplugged") in [(round(t, 1), n) for t, n in world.notes]


def test_a_recorded_pack_cannot_be_unplugged(tmp_path):
    with world_of(tmp_path) as world:
        recording = Recording("cell", np.arange(3.0), np.zeros(3), np.full(3, 3.7))
        pack = world.add_pack(PackSpec("P0", n_cells=4, recording=recording))
        with pytest.raises(ValueError, match='pack "P0" is recorded'):
            world.unplug(pack, 10.0)


def test_scheduled_actions_happen_in_their_order_and_at_their_time(tmp_path):
    seen = []
    with world_of(tmp_path) as world:
        world.add_pack(PackSpec("P0", n_cells=4))
        world.start()
        for at_s in (3.5, 1.25, 3.5):
            world.at(at_s, lambda: seen.append(world.time_s))
        world.run(until_s=5.0)
    assert seen == [1.25, 3.5, 3.5]


def test_a_speed_limit_holds(tmp_path):
    with world_of(tmp_path, speed=20.0) as world:
        world.add_pack(PackSpec("P0", n_cells=4))
        world.start()
        began_s = time.monotonic()
        world.run(until_s=10.0)
        assert time.monotonic() - began_s >= 0.49
        assert world.speed_achieved() <= 20.5


def test_a_firmware_that_ends_at_once_is_named_with_its_last_words(tmp_path):
    def command(*_: object) -> list[str]:
        return [sys.executable, "-c", "import sys; sys.exit('settings.json: n_cells: 99')"]

    with World(board_command=command, folder=tmp_path) as world:
        world.add_pack(PackSpec("P0", n_cells=4))
        with pytest.raises(FirmwareError, match=re.escape('board "P0"')) as error:
            world.start()
    assert str(error.value).endswith("settings.json: n_cells: 99")
    assert "\n" not in str(error.value)


def test_nothing_is_left_after_close(tmp_path):
    world = world_of(tmp_path)
    world.add_bus("bay", 9600, [world.add_pack(PackSpec("P0", n_cells=4))])
    world.start()
    world.run(until_s=3.0)
    pid, socket_path = world._processes[0].pid, world._server.path
    assert is_running(pid)
    world.close()
    world.close()
    assert not is_running(pid)
    assert not socket_path.parent.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the leash is Linux's")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_boards_end_with_their_simulator(tmp_path, how):
    script = f"""
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background ignores it
from sim.pack import PackSpec
from sim.recording import Recording
from sim.world import World
def command(socket, root, spec):
    return [sys.executable, {str(STAND_IN)!r}, str(socket), str(root), "cycle"]
with World(board_command=command, folder=Path({str(tmp_path)!r}), speed=5.0) as world:
    world.add_pack(PackSpec("P0", n_cells=4))
    world.start()
    print(world._processes[0].pid, flush=True)
    world.run()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # what SIGKILL leaves goes with the test
    )
    assert parent.stdout is not None
    with parent.stdout:
        board = int(parent.stdout.readline())
    assert is_running(board)
    parent.send_signal(how)
    try:
        parent.wait(30)
    finally:
        parent.kill()
    end_s = time.monotonic() + 30
    while is_running(board) and time.monotonic() < end_s:
        time.sleep(0.02)
    assert not is_running(board)


def test_a_serial_number_and_a_place_on_a_bus_are_given_once(tmp_path):
    with world_of(tmp_path) as world:
        pack = world.add_pack(PackSpec("P0", n_cells=4))
        with pytest.raises(ValueError, match='pack "P0": two packs'):
            world.add_pack(PackSpec("P0", n_cells=4))
        world.add_bus("a", 9600, [pack])
        with pytest.raises(ValueError, match='bus "b": pack "P0" is on a bus already'):
            world.add_bus("b", 9600, [pack])


def test_who_does_not_say_hello_is_sent_away(tmp_path):
    server = LinkServer(tmp_path / "s")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as board:
            board.connect(str(server.path))
            board.sendall(struct.pack(link.REQUEST_HEADER, link.NOW, 0, 0))
            assert server.accept(1.0) is None
            assert board.recv(100)[0] == link.REJECTED
            assert board.recv(100) == b""
    finally:
        server.close()
    assert not server.path.exists()
