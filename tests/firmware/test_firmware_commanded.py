"""Commanded tests in the whole application, over Modbus, with the emulated chip and cells."""

from pathlib import Path

import pytest
from app_rig import Rig

from common import models
from common.codes import (
    Command,
    CommandResult,
    Method,
    NextTest,
    Refusal,
    Test,
    TestPhase,
    TestStop,
)
from firmware.afe import AfeError
from sim.pack import OPEN, Demand


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.run(8)
    return rig


def asked_a(rig: Rig) -> float:
    return rig.read(models.PROTECTION)["ReqA"]


def follow(rig: Rig) -> None:
    """A second with a source that does what the register says."""
    ma = rig.app.image.map.block(models.PROTECTION).get("ReqA")
    cvl_mv = rig.app.image.map.block(models.PROTECTION).get("Cvl")
    rig.pack.demand = Demand(ma / 1000, cvl_mv / 1000) if ma else OPEN
    rig.run(1)


def unreadable(_: object) -> None:
    raise AfeError("no answer")


def until_current(rig: Rig) -> None:
    assert rig.command(Command.START_QUICK_TEST) == CommandResult.DONE
    for _ in range(700):
        follow(rig)
        if rig.pack.current_a:
            return
    raise AssertionError("no current was asked for")


def test_a_board_that_has_not_measured_yet_starts_no_test(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    assert rig.command(Command.START_QUICK_TEST) == CommandResult.REFUSED_UNSAFE
    rig.run(8)
    assert rig.command(Command.START_FULL_TEST) == CommandResult.DONE
    assert rig.command(Command.START_QUICK_TEST) == CommandResult.REFUSED_BUSY
    assert rig.read(models.BATTERY)["ChaSt"] == 7


def test_the_request_stands_in_its_register_and_ends_with_the_stop_itself(rig: Rig) -> None:
    until_current(rig)
    assert asked_a(rig) == 5.0
    # The next request may come before the next cycle.
    assert rig.app.command(Command.STOP_TEST) == CommandResult.DONE
    assert rig.app.image.map.block(models.PROTECTION).get("ReqA") == 0
    rig.run(2)
    assert asked_a(rig) == 0
    result = rig.read(models.TEST)
    assert (result["Tst"], result["TstPh"]) == (Test.QUICK, TestPhase.STOPPED)
    assert (result["EndTst"], result["EndStop"]) == (Test.QUICK, TestStop.BY_COMMAND)
    assert result["ResTst"] == Test.NONE
    assert rig.command(Command.STOP_TEST) == CommandResult.DONE, "when none runs, too"


@pytest.mark.parametrize(
    ("model", "point", "value"),
    [(models.CONTROL, "Cmd", Command.DISCONNECT), (models.BATTERY, "SetOp", 2)],
    ids=["Cmd", "SetOp"],
)
def test_who_disconnects_the_pack_ends_its_test(
    rig: Rig, model: int, point: str, value: int
) -> None:
    until_current(rig)
    rig.write(model, point, value)
    assert asked_a(rig) == 0
    rig.run(2)
    assert rig.closed == (True, True), "the source may still go by itself"
    rig.demand(0.0)
    rig.run(2)
    assert rig.closed == (False, False)
    assert rig.read(models.TEST)["EndStop"] == TestStop.BY_COMMAND
    assert rig.command(Command.START_QUICK_TEST) == CommandResult.REFUSED_UNSAFE


def test_a_chip_that_says_nothing_ends_the_request_in_the_same_cycle(rig: Rig) -> None:
    until_current(rig)
    rig.app.afe.read = unreadable
    executive = rig.app.executive
    executive.due_ms = executive.tasks[0].due_ms = rig.ticks_ms()
    rig.app.step()
    assert rig.app.image.map.block(models.PROTECTION).get("ReqA") == 0
    rig.run(2)
    assert rig.read(models.TEST)["EndStop"] == TestStop.NOT_MEASURED


def test_nothing_is_bled_while_a_test_runs(tmp_path: Path) -> None:
    rig = Rig(tmp_path, soc=0.95, soc_spread=0.02)
    rig.run(30)
    assert rig.app.snapshot.balancing
    assert rig.command(Command.START_FULL_TEST) == CommandResult.DONE
    rig.run(3)
    for _ in range(40):
        rig.run(1)
        assert not rig.app.snapshot.balancing
    rig.command(Command.STOP_TEST)
    rig.run(40)
    assert rig.app.snapshot.balancing


def test_a_result_is_stamped_and_outlives_the_board(rig: Rig) -> None:
    rig.write(models.CONTROL, "SetUtc", 1_800_000_000 >> 16, 1_800_000_000 & 0xFFFF)
    set_s = rig.app.snapshot.uptime_s
    assert rig.command(Command.START_QUICK_TEST) == CommandResult.DONE
    while rig.app.tests.busy:
        follow(rig)
    rig.run(3)
    result = rig.read(models.TEST)
    assert (result["EndTst"], result["EndStop"]) == (Test.QUICK, TestStop.NONE)
    assert (result["EndUpS"], result["EndUtc"]) == (result["ResUpS"], result["ResUtc"])
    assert 0 <= rig.app.snapshot.uptime_s - result["ResUpS"] < 10
    assert result["ResUtc"] - 1_800_000_000 == pytest.approx(result["ResUpS"] - set_s, abs=2)
    for cell, ohm in zip(result["cells"], rig.pack.cells.resistance_ohm(5.5), strict=True):
        assert cell["R"] == pytest.approx(ohm, rel=0.08)
    rig.boot()
    rig.run(5)
    again = rig.read(models.TEST)
    assert again["Tst"] == Test.NONE
    names = [name for name in result if name.startswith("Res")] + ["NPul", "RteC", "cells"]
    assert {name: again[name] for name in names} == {name: result[name] for name in names}
    assert again["ResBoot"] == 1


def test_what_the_pulses_tell_stands_in_the_health_model_and_outlives_the_board(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, profile="lmo-10ah", soc=0.6)
    rig.run(8)
    rig.app.estimators.soc.restore(6000.0, 300.0, 0)
    rig.run(6)
    advised = rig.read(models.HEALTH)
    assert (advised["Soh"], advised["Next"]) == (None, NextTest.QUICK_TEST)
    assert rig.command(Command.START_QUICK_TEST) == CommandResult.DONE
    while rig.app.tests.busy:
        follow(rig)
    rig.run(8)
    result, health = rig.read(models.TEST), rig.read(models.HEALTH)
    assert (result["ResRef"], result["ResMth"]) == (Refusal.NONE, Method.PULSE_TEST)
    assert (health["Ref"], health["Mth"], health["SohN"]) == (0, Method.PULSE_TEST, 1)
    assert health["SohAge"] < 30
    for name in ("Soh", "SohLo", "SohHi"):
        assert health[name] == pytest.approx(result[name], abs=0.1), name
        for cell, tested in zip(health["cells"], result["cells"], strict=True):
            assert cell[name] == pytest.approx(tested[name], abs=0.1), name
    assert health["Next"] == NextTest.FULL_CYCLE
    rig.boot()
    rig.run(8)
    again = rig.read(models.HEALTH)
    assert (again["Mth"], again["SohN"]) == (Method.PULSE_TEST, 1)
    assert again["Soh"] == pytest.approx(health["Soh"], abs=0.1)


def test_a_power_cut_in_a_test_is_told_after_every_start(rig: Rig) -> None:
    until_current(rig)
    for boot in (2, 3):
        rig.pack.demand = OPEN
        rig.boot()
        assert rig.app.image.map.block(models.PROTECTION).get("ReqA") in {0, None}
        rig.run(5)
        assert asked_a(rig) == 0
        result = rig.read(models.TEST)
        assert (result["EndStop"], result["EndBoot"]) == (TestStop.POWER_LOST, 1)
        assert result["Boot"] == boot
