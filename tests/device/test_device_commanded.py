"""Commanded tests over Modbus: the firmware in MicroPython, a follower at the pack's terminals."""

import copy
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient

from common import models
from common.codes import Command, CommandResult, Refusal, Test, TestPhase, TestStop
from common.registers import Layout, RegisterMap
from sim.follower import Follower
from sim.pack import Pack, PackSpec
from sim.world import World

N_CELLS = 4
RATED_AH = 10.0
MAP = RegisterMap(N_CELLS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Desk:
    """A pack, its follower, and a client that commands and reads between two moments."""

    def __init__(self, world: World, pack: Pack, follower: Follower) -> None:
        self.world = world
        self.follower = follower
        self.pack = pack
        self.moved_ah = [0.0, 0.0]  # truly, charged and discharged
        self.client = ModbusTcpClient("127.0.0.1", port=pack.spec.tcp_port, timeout=20)
        step = pack.step

        def counted(dt_s: float, *rest: object) -> None:
            step(dt_s, *rest)
            self.moved_ah[pack.current_a < 0] += abs(pack.current_a) * dt_s / 3600

        pack.step = counted

    def run(self, seconds: float) -> None:
        self.world.run(until_s=self.world.time_s + seconds)

    def ask(self, action: Callable[[], object]) -> object:
        """Do ``action`` while every board waits: it serves TCP then."""
        answers: list[object] = []
        self.world.at(self.world.time_s + 0.3, lambda: answers.append(action()))
        while not answers:
            self.run(0.1)
        return answers[0]

    def read(self, model_id: int) -> dict[str, object]:
        layout = Layout(model_id, N_CELLS)

        def action() -> object:
            answer = self.client.read_holding_registers(
                MAP.block(model_id).address, count=layout.words, device_id=1
            )
            assert not answer.isError(), answer
            return layout.decode(b"".join(r.to_bytes(2, "big") for r in answer.registers))

        return self.ask(action)

    def command(self, code: int) -> int:
        block = MAP.block(models.CONTROL)
        address = block.address + block.layout.offset("Cmd")
        self.ask(lambda: self.client.write_registers(address, [code], device_id=1))
        return self.read(models.CONTROL)["CmdRes"]

    def until(self, phase: int, most_s: float) -> dict[str, object]:
        end_s = self.world.time_s + most_s
        while self.world.time_s < end_s:
            test = self.read(models.TEST)
            if test["TstPh"] == phase:
                return test
            self.run(5.0)
        raise AssertionError(f"not in phase {phase} after {most_s} s, but: {test}")


def true_ohm(pack: Pack, width_s: int) -> list[float]:
    """What each cell's voltage does by a pulse of C/2, over its current."""
    cells = copy.deepcopy(pack.cells)
    cells.step(3600.0, 0.0)
    before_v = cells.voltage_v
    for _ in range(width_s):
        cells.step(1.0, RATED_AH / 2)
    return list((cells.voltage_v - before_v) / (RATED_AH / 2))


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    if request.config.getoption("port", None):
        pytest.skip("a real board: nobody follows what it asks for")
    request.getfixturevalue("desk_micropython")
    desks = []

    def make(period_s: float = 0.25, **spec: object) -> Desk:
        world = World(seed=5, folder=tmp_path / "boards", logs=tmp_path)
        pack = world.add_pack(
            PackSpec("T-1", n_cells=N_CELLS, rated_ah=RATED_AH, tcp_port=free_port(), **spec)
        )
        world.start()
        desk = Desk(world, pack, Follower(world, pack, period_s))
        desks.append(desk)
        desk.run(10.0)
        return desk

    yield make
    for made in desks:
        made.client.close()
        made.follower.stop()
        made.world.close()


def test_a_quick_test_tells_the_resistance_of_each_cell(desk: Callable[..., Desk]) -> None:
    desk = desk(soc=0.5, soh=0.8, resistance=(1.0, 1.2, 1.4, 2.0), resistance_spread=0.0)
    assert desk.read(models.PROTECTION)["ReqA"] == 0
    assert desk.command(Command.START_QUICK_TEST) == CommandResult.DONE
    assert desk.command(Command.START_QUICK_TEST) == CommandResult.REFUSED_BUSY
    assert desk.read(models.BATTERY)["ChaSt"] == 7
    test = desk.until(TestPhase.DONE, 1500.0)
    assert test["Seq"] == test["SeqEnd"]
    assert (test["Tst"], test["ResTst"], test["EndStop"]) == (Test.QUICK, Test.QUICK, 0)
    assert (test["NPul"], test["Wid1"], test["Wid2"]) == (5, 1000, 5000)
    assert test["ResRef"] == Refusal.NO_MODEL
    assert test["Soh"] is None
    width_s = test["Wid2"] // 1000
    # The board cannot see when in a cycle of 1 s a current came.
    ohms = zip(true_ohm(desk.pack, width_s), true_ohm(desk.pack, width_s + 1), strict=True)
    for cell, (ohm, longer_ohm) in zip(test["cells"], ohms, strict=True):
        assert 0.99 * ohm < cell["R"] < 1.01 * longer_ohm
        assert cell["RLo"] <= ohm <= cell["RHi"]
        assert cell["RHi"] - cell["RLo"] < 0.15 * ohm
        assert cell["Soh"] is None
    assert desk.read(models.PROTECTION)["ReqA"] == 0
    assert desk.pack.demand.current_a == 0
    charged_ah, discharged_ah = desk.moved_ah
    assert charged_ah == pytest.approx(discharged_ah, abs=0.01 * RATED_AH)


def test_a_stopped_test_asks_for_nothing_from_the_next_request_on(
    desk: Callable[..., Desk],
) -> None:
    desk = desk(soc=0.5)
    assert desk.command(Command.START_QUICK_TEST) == CommandResult.DONE
    while not desk.pack.current_a:
        desk.run(1.0)
    assert desk.command(Command.STOP_TEST) == CommandResult.DONE
    assert desk.read(models.PROTECTION)["ReqA"] == 0
    desk.run(1.5)
    assert desk.pack.current_a == 0
    test = desk.read(models.TEST)
    assert (test["TstPh"], test["EndStop"]) == (TestPhase.STOPPED, TestStop.BY_COMMAND)


def test_a_board_killed_in_a_pulse_says_so_and_its_source_stops(
    desk: Callable[..., Desk],
) -> None:
    desk = desk(soc=0.5)
    assert desk.command(Command.START_QUICK_TEST) == CommandResult.DONE
    boot = desk.read(models.DEVICE)["Boot"]
    while not desk.pack.current_a:
        desk.run(1.0)
    os.kill(desk.world._processes[0].pid, signal.SIGKILL)
    desk.client.close()
    desk.run(3.0)
    assert desk.pack.demand.current_a == 0
    assert desk.pack.current_a == 0
    desk.run(10.0)
    assert desk.read(models.PROTECTION)["ReqA"] == 0
    test = desk.read(models.TEST)
    assert desk.read(models.DEVICE)["Boot"] == boot + 1
    assert (test["Tst"], test["TstPh"]) == (Test.NONE, TestPhase.IDLE)
    assert (test["EndTst"], test["EndStop"]) == (Test.QUICK, TestStop.POWER_LOST)
    assert (test["EndBoot"], test["EndUpS"], test["Soh"]) == (boot, None, None)
    assert desk.command(Command.START_QUICK_TEST) == CommandResult.DONE


@pytest.mark.slow
def test_a_full_test_counts_what_the_pack_takes_and_gives(desk: Callable[..., Desk]) -> None:
    desk = desk(period_s=1.0, soc=0.8, soh=(0.62, 0.6, 0.58, 0.6), soh_spread=0.0)
    assert desk.command(Command.START_FULL_TEST) == CommandResult.DONE
    desk.until(TestPhase.RESTING, 5 * 3600.0)
    assert desk.pack.truth()["soc"] > 0.98
    desk.until(TestPhase.DISCHARGING, 2000.0)
    test = desk.until(TestPhase.DONE, 4 * 3600.0)
    charged_ah, discharged_ah = desk.moved_ah
    assert test["ChaAh"] == pytest.approx(charged_ah, rel=0.01)
    assert test["DisAh"] == pytest.approx(discharged_ah, rel=0.01)
    truth = desk.pack.truth()
    assert test["SohLo"] <= 100 * truth["soh"] <= test["SohHi"]
    assert test["Soh"] == pytest.approx(100 * truth["soh"], rel=0.01)
    for cell, soh in zip(test["cells"], truth["cell_soh"], strict=True):
        assert cell["SohLo"] <= 100 * soh <= cell["SohHi"]
    # It is kept: the board that starts anew still tells it.
    desk.run(5.0)
    desk.client.close()
    desk.world.power_cycle(desk.pack)
    desk.run(10.0)
    again = desk.read(models.TEST)
    assert again["Tst"] == Test.NONE
    kept = [name for name in test if name.startswith("Res")] + ["DisAh", "DisWh", "Soh", "cells"]
    assert {name: again[name] for name in kept} == {name: test[name] for name in kept}
