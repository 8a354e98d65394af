"""What a failing task does to the rest: the pack stays measured, protected and told of."""

from itertools import pairwise
from pathlib import Path

import pytest
from app_rig import Rig

from common import models
from common.codes import Cause, Command, CommandResult, Fault, State, Task
from firmware.app import App
from firmware.storage import Storage

pytestmark = pytest.mark.usefixtures("thaw")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def break_task(app: App, name: str, times: int = 10**9) -> None:
    task = next(task for task in app.executive.tasks if task.name == name)
    work = task.function
    left = [times]

    def mistaken() -> None:
        if left[0]:
            left[0] -= 1
            raise ZeroDivisionError("by zero")
        work()

    task.function = mistaken


@pytest.mark.parametrize("name", ["balance", "estimate", "test"])
def test_a_task_that_is_not_needed_is_switched_off_and_the_pack_stays_in_service(
    rig: Rig, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.run(12)
    assert rig.closed == (True, True)
    break_task(rig.app, name)
    rig.run(30)
    assert rig.closed == (True, True)
    assert rig.app.protection.n_faults == 0
    device = rig.read(models.DEVICE)
    assert device["TskOff"] == 1 << getattr(Task, name.upper())
    assert (device["NErr"], device["ErrWhy"]) == (3, Cause.PROGRAM)
    assert device["ErrTsk"] == getattr(Task, name.upper())
    assert max(b - a for a, b in pairwise(rig.fed_ms)) <= 1100
    out = capsys.readouterr().out
    assert out.count(f"{name}: ZeroDivisionError: by zero\n") == 1
    assert out.count(f"{name} is off until the next start\n") == 1
    if name == "test":
        assert rig.app.command(Command.START_QUICK_TEST) == CommandResult.REFUSED_SAFE_MODE


def test_figures_that_nobody_looks_after_any_more_are_withdrawn(rig: Rig) -> None:
    rig.run(1500)
    assert rig.snapshot()["Soc"] is not None
    assert rig.read(models.LIFETIME)["RunMin"] >= 24
    saved = Storage(rig.root).load("estimates")
    break_task(rig.app, "estimate")
    rig.run(400)
    assert rig.snapshot()["Soc"] is None
    assert rig.read(models.BATTERY)["SoC"] is None
    lifetime = rig.read(models.LIFETIME)
    assert lifetime["RunMin"] is None
    assert lifetime["SnCrc"] == rig.snapshot()["SnCrc"]
    assert rig.read(models.HEALTH)["NCell"] == rig.spec.n_cells
    assert Storage(rig.root).load("estimates") == saved


def test_estimates_begin_again_from_what_was_saved_after_one_failure(rig: Rig) -> None:
    """What a failed update has left half done is not gone on with."""
    rig.run(1500)
    known = rig.app.estimators.soc_bp
    before = rig.app.estimators
    break_task(rig.app, "estimate", 1)
    rig.run(3)
    assert rig.app.estimators is not before
    assert abs(rig.app.estimators.soc_bp - known) < 300
    rig.run(20)
    assert rig.read(models.LIFETIME)["RunMin"] >= 20
    device = rig.read(models.DEVICE)
    assert (device["NErr"], device["TskOff"]) == (1, 0)


@pytest.mark.parametrize("name", ["serve", "image"])
def test_a_task_that_others_need_is_tried_again_and_else_the_watchdog_bites(
    rig: Rig, name: str
) -> None:
    rig.run(6)
    break_task(rig.app, name, 3)
    rig.run(10)
    assert rig.snapshot()["St"] == State.ON
    assert rig.read(models.DEVICE)["TskOff"] == 0
    break_task(rig.app, name)
    rig.run(1.5)
    fed = len(rig.fed_ms)
    rig.run(10)
    assert len(rig.fed_ms) == fed
    assert rig.closed == (True, True), "until the reset"


def test_a_mistake_in_saving_is_a_storage_fault_and_is_tried_again(rig: Rig) -> None:
    rig.run(6)
    real = rig.app.tests.state

    def broken() -> bytes:
        raise IndexError("out of range")

    rig.app.tests.state = broken
    rig.app.tests.changed = True
    rig.run(30)
    assert rig.app.protection.active == 1 << Fault.STORAGE
    assert rig.closed == (True, True)
    assert max(b - a for a, b in pairwise(rig.fed_ms)) <= 2100
    rig.app.tests.state = real
    rig.run(15)
    assert rig.app.protection.active == 0


def test_a_request_that_the_server_cannot_bear_is_not_served_again(rig: Rig) -> None:
    rig.run(6)
    real = rig.app.pdu_server.handle

    def broken(*_arguments: object) -> int:
        raise IndexError("out of range")

    rig.app.pdu_server.handle = broken
    with pytest.raises(AssertionError, match="does not answer"):
        rig.snapshot()
    rig.app.pdu_server.handle = real
    assert rig.snapshot()["St"] == State.ON
    assert rig.read(models.DEVICE)["ErrTsk"] == Task.SERVE


@pytest.mark.parametrize("late", ["balance", "image", "serve", "store"])
def test_the_watchdog_is_not_fed_while_a_task_does_not_report(rig: Rig, late: str) -> None:
    rig.run(6)
    task = next(task for task in rig.app.executive.tasks if task.name == late)
    task.period_ms = 1000
    task.due_ms = rig.ticks_add(rig.ticks_ms(), 100_000)
    rig.run(2)
    fed = len(rig.fed_ms)
    rig.run(20)
    assert len(rig.fed_ms) == fed
