"""Crashes are counted over restarts; after some in a row the firmware does only what it must."""

import gc
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from app_rig import Rig
from interpreters import lines

from common import models
from common.codes import Cause, Command, CommandResult, Fault, Mode, ResetCause, State, Task
from firmware import main
from firmware.app import App
from firmware.crashes import IN_A_ROW, SAFE_S, SETTLED_S, Crashes
from firmware.storage import Storage

POWER_ON = ResetCause.POWER_ON
WATCHDOG = ResetCause.WATCHDOG


def start(root: Path, reset_cause: int = POWER_ON) -> Crashes:
    return Crashes(Storage(str(root)), reset_cause)


def crash(root: Path, reset_cause: int = ResetCause.SOFT) -> Crashes:
    """A run that ends with an exception."""
    crashes = start(root, reset_cause)
    crashes.record(MemoryError("none left"), Task.MEASURE)
    return crashes


# --- the count over restarts ----------------------------------------------------------------


def test_a_new_board_has_no_crashes(tmp_path: Path) -> None:
    crashes = start(tmp_path)
    assert (crashes.total, crashes.in_a_row, crashes.safe) == (0, 0, False)
    assert (crashes.cause, crashes.task) == (Cause.NONE, None)
    assert list(tmp_path.iterdir()) == [], "nothing to be written"


def test_some_crashes_in_a_row_are_followed_by_safe_mode(tmp_path: Path) -> None:
    for n in range(IN_A_ROW):
        assert not crash(tmp_path).safe, n
    crashes = start(tmp_path, ResetCause.SOFT)
    assert crashes.safe
    assert (crashes.total, crashes.in_a_row) == (IN_A_ROW, IN_A_ROW)
    assert (crashes.cause, crashes.task) == (Cause.MEMORY, Task.MEASURE)


def test_a_crash_is_counted_once_though_it_was_followed_by_a_watchdog_reset(
    tmp_path: Path,
) -> None:
    crash(tmp_path, POWER_ON)
    crash(tmp_path, WATCHDOG)
    assert start(tmp_path, WATCHDOG).total == 2


def test_resets_by_the_watchdog_are_crashes(tmp_path: Path) -> None:
    start(tmp_path, POWER_ON)
    safe = [start(tmp_path, WATCHDOG).safe for _ in range(IN_A_ROW)]
    assert safe == [False] * (IN_A_ROW - 1) + [True]
    crashes = start(tmp_path, POWER_ON)
    assert (crashes.cause, crashes.task) == (Cause.WATCHDOG, None)


def test_a_run_that_is_ended_from_outside_ends_the_row(tmp_path: Path) -> None:
    for _ in range(3):
        start(tmp_path, WATCHDOG)
        assert start(tmp_path, WATCHDOG).in_a_row == 2
        assert start(tmp_path, POWER_ON).in_a_row == 0
    assert start(tmp_path, WATCHDOG).total == 7


def test_a_run_that_lasted_ends_the_row(tmp_path: Path) -> None:
    for _ in range(5):
        crashes = start(tmp_path, WATCHDOG)
        assert not crashes.safe
        crashes.settle(SETTLED_S - 1)
        assert not crashes.changed
        crashes.settle(SETTLED_S)
        assert crashes.changed
        crashes.save()
        crashes.settle(SETTLED_S + 1)
        assert not crashes.changed, "flash is written once"


def safe_board(root: Path) -> Crashes:
    for _ in range(IN_A_ROW):
        start(root, WATCHDOG)
    crashes = start(root, POWER_ON)
    assert crashes.safe, "off and on again does not end it"
    return crashes


def test_a_stable_hour_ends_safe_mode_with_the_next_start(tmp_path: Path) -> None:
    crashes = safe_board(tmp_path)
    crashes.settle(SAFE_S - 1)
    assert crashes.try_save()
    assert start(tmp_path, POWER_ON).safe
    crashes = safe_board(tmp_path)
    crashes.settle(SAFE_S)
    assert crashes.try_save()
    assert crashes.safe, "this run stays as it is"
    assert not start(tmp_path, POWER_ON).safe


def test_a_command_ends_safe_mode_with_the_next_start(tmp_path: Path) -> None:
    crashes = safe_board(tmp_path)
    crashes.leave()
    crashes.save()
    after = start(tmp_path, ResetCause.SOFT)
    assert (after.safe, after.in_a_row, after.total) == (False, 0, IN_A_ROW)


def test_crashes_in_safe_mode_leave_the_pack_disconnected(tmp_path: Path) -> None:
    safe_board(tmp_path)
    hopeless = [start(tmp_path, WATCHDOG).hopeless for _ in range(IN_A_ROW)]
    assert hopeless == [False] * (IN_A_ROW - 1) + [True]


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x09" * 7])
def test_a_record_that_cannot_be_read_counts_as_no_crash(tmp_path: Path, content: bytes) -> None:
    Storage(str(tmp_path)).save("crash", content)
    assert not start(tmp_path, POWER_ON).safe
    for slot in (0, 1):
        (tmp_path / f"crash.{slot}").write_bytes(content)
    assert not start(tmp_path, WATCHDOG).safe


def test_flash_that_takes_nothing_stops_nothing_and_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    for _ in range(2 * IN_A_ROW):
        crashes = start(gone, WATCHDOG)
        assert not crashes.safe
        assert crashes.changed, "to be tried again"
        crashes.record(ValueError("x"), Task.KEEP)
    assert "crash record: " in capsys.readouterr().out


# --- the firmware as a whole ------------------------------------------------------------------


pytestmark = pytest.mark.usefixtures("thaw")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    (tmp_path / "settings.json").write_text(json.dumps(rig.spec.board_settings()))
    rig.resets = 0

    def reset() -> None:
        rig.resets += 1

    rig.reset = reset
    return rig


class Stopped(BaseException):
    """The test has seen enough."""


def run_main(rig: Rig, work: Callable[[App], None]) -> None:
    """Start the board with ``main.run``; ``work(app)`` uses it, and then its power goes."""

    def ready(app: App) -> None:
        rig.app = app
        work(app)
        raise Stopped

    rig.uart.waiting.clear()
    with pytest.raises(Stopped):
        main.run(lambda _settings: rig, f"{rig.root}/settings.json", ready)


def crash_in(rig: Rig, task: int, error: Exception) -> App:
    """Start the board and let one of its tasks raise once the switches are closed."""

    def ready(app: App) -> None:
        rig.app = app
        rig.run(8)
        if not app.crashes.hopeless:
            assert rig.closed == (True, True)

        def mistaken() -> None:
            raise error

        app.executive.tasks[task].function = mistaken

    rig.reset_cause = ResetCause.SOFT
    with pytest.raises(type(error)):
        main.run(lambda _settings: rig, f"{rig.root}/settings.json", ready)
    return rig.app


def test_a_crash_opens_the_switches_then_resets_and_is_told_at_the_next_start(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    seen_open = []
    count = rig.reset

    def reset() -> None:
        rig.advance(300)
        seen_open.append(rig.closed)
        count()

    rig.reset = reset
    crash_in(rig, 0, ZeroDivisionError("by zero"))
    assert seen_open == [(False, False)]
    assert rig.resets == 1
    assert "measure: ZeroDivisionError: by zero\n" in capsys.readouterr().out

    def look(app: App) -> None:
        rig.run(8)
        assert rig.closed == (True, True)
        device = rig.read(models.DEVICE)
        assert device["Mode"] == Mode.NORMAL
        assert device["NCrash"] == 1
        assert device["CrashTsk"] == Task.MEASURE
        assert device["CrashWhy"] == Cause.PROGRAM

    run_main(rig, look)


def test_a_start_that_fails_is_a_crash(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("firmware.app.Protection", broken)
        with pytest.raises(MemoryError):
            main.run(lambda _settings: rig, f"{rig.root}/settings.json")
    assert rig.resets == 1
    crashes = start(Path(rig.root), ResetCause.SOFT)
    assert (crashes.total, crashes.task, crashes.cause) == (1, Task.START, Cause.MEMORY)


def make_safe(rig: Rig) -> None:
    for _ in range(IN_A_ROW):
        crash_in(rig, 0, RuntimeError("again"))


def test_in_safe_mode_the_pack_is_measured_protected_and_served(rig: Rig) -> None:
    rig.run(400)  # estimates are saved
    make_safe(rig)
    saved = Storage(rig.root).load("estimates")
    assert saved

    def look(app: App) -> None:
        rig.run(20)
        assert rig.closed == (True, True)
        device = rig.read(models.DEVICE)
        assert device["Mode"] == Mode.SAFE
        assert device["NCrash"] == IN_A_ROW
        seen = rig.snapshot()
        assert [cell["V"] for cell in seen["cells"]] == pytest.approx(rig.pack.cell_v, abs=0.006)
        assert seen["St"] == State.ON
        assert seen["Soc"] is seen["Soh"] is None
        for model_id in (models.HEALTH, models.LIFETIME, models.ENERGY):
            model = rig.read(model_id)
            told = {name for name, value in model.items() if value not in (None, "")}
            assert told <= {"ID", "L", "SnCrc", "SnEnd", "NCell", "cells"}, model_id
        assert rig.app.image.map.block(models.DEVICE).get("EstUs") is None
        for test in (Command.START_QUICK_TEST, Command.START_FULL_TEST):
            assert app.command(test) == CommandResult.REFUSED_SAFE_MODE
        # Protection works with the profile's limits.
        rig.pack.cells.soc[:] = 0.97
        rig.demand(9.0)
        for _ in range(900):
            rig.run(1)
            if not rig.closed[0]:
                break
        assert rig.closed[0] is False
        assert 4.0 < rig.pack.cell_v.max() < 4.30
        rig.run(2)
        assert app.protection.active & 1 << Fault.CELL_OVER_VOLTAGE
        assert app.executive.overruns == 0
        rig.run(400)
        assert Storage(rig.root).load("estimates") == saved, "what was known stays known"

    run_main(rig, look)


def test_the_watchdog_is_fed_in_safe_mode(rig: Rig) -> None:
    make_safe(rig)

    def look(app: App) -> None:
        rig.fed_ms.clear()
        rig.run(20)
        assert len(rig.fed_ms) >= 18

    run_main(rig, look)


def test_safe_mode_is_left_by_command(rig: Rig) -> None:
    make_safe(rig)
    resets = rig.resets

    def ready(app: App) -> None:
        rig.app = app
        rig.run(8)
        rig.write(models.CONTROL, "Cmd", Command.LEAVE_SAFE_MODE)
        assert rig.read(models.CONTROL)["CmdRes"] == CommandResult.DONE

    main.run(lambda _settings: rig, f"{rig.root}/settings.json", ready)
    assert rig.resets == resets + 1
    rig.advance(300)
    assert rig.closed == (False, False)

    def look(app: App) -> None:
        rig.run(12)
        assert rig.closed == (True, True)
        assert rig.read(models.DEVICE)["Mode"] == Mode.NORMAL
        assert app.command(Command.LEAVE_SAFE_MODE) == CommandResult.DONE
        rig.run(5)  # in normal mode there is nothing to be left: it goes on

    run_main(rig, look)


def test_a_stable_hour_in_safe_mode_makes_the_next_start_a_normal_one(rig: Rig) -> None:
    make_safe(rig)

    def wait(app: App) -> None:
        app.snapshot.uptime_s += SAFE_S  # an hour has passed
        rig.run(5)
        assert app.safe

    run_main(rig, wait)
    rig.reset_cause = POWER_ON
    run_main(rig, lambda app: pytest.fail("still safe") if app.safe else None)


def test_a_board_that_crashes_in_safe_mode_too_waits_for_somebody(rig: Rig) -> None:
    for _ in range(2 * IN_A_ROW):
        crash_in(rig, 0, RuntimeError("again"))

    def look(app: App) -> None:
        rig.run(12)
        assert rig.closed == (False, False)
        seen = rig.snapshot()
        assert seen["St"] == State.STANDBY
        assert seen["cells"][0]["V"] is not None
        assert Storage(rig.root).load("connected") is None, "nobody has disconnected it"
        assert app.command(Command.CONNECT) == CommandResult.DONE
        rig.run(3)
        assert rig.closed == (True, True)

    run_main(rig, look)


# --- on both interpreters ---------------------------------------------------------------------


def test_restarts_on_micropython_go_the_same_way_and_safe_mode_allocates_nothing(
    tmp_path: Path, micropython: str
) -> None:
    printed = lines(micropython, "safe_mode.py", tmp_path)
    assert printed[-1] == "0 bytes in 100 cycles"
    told = [line for line in printed if line.startswith(("mode", "safe mode:"))]
    assert told == [
        "mode 1 crashes 0",
        "mode 1 crashes 1",
        "mode 1 crashes 2",
        "safe mode: 3 crashes in a row",
        "mode 2 crashes 3",
        "mode 1 crashes 3",
    ]
    assert printed.count("measure: ValueError: broken") == IN_A_ROW + 1
    assert "estimate is off until the next start" in printed


def test_a_board_in_a_simulated_world_keeps_its_pack_in_service_in_safe_mode(
    tmp_path: Path, desk_micropython: str
) -> None:
    """The real MicroPython, with a chip that answers register by register."""
    from sim.bench import Discharge  # noqa: PLC0415
    from sim.pack import PackSpec  # noqa: PLC0415
    from sim.world import World  # noqa: PLC0415

    root = tmp_path / "boards" / "P1"
    root.mkdir(parents=True)
    safe_board(root)
    with World(seed=1, folder=tmp_path / "boards", logs=tmp_path) as world:
        program = (Discharge(20.0, end_v=30.0),)
        pack = world.add_pack(PackSpec("P1", n_cells=14, rated_ah=50.0, program=program))
        world.start()
        world.run(until_s=60.0)
        truth = world.truth(pack)
        assert truth["boots"] == 1
        assert truth["charge_fet"]
        assert truth["discharge_fet"]
        assert truth["current_a"] == pytest.approx(-20.0, abs=0.1)
    assert "safe mode: 3 crashes in a row\n" in (tmp_path / "P1.log").read_text()
    assert not list(root.rglob("estimates.*"))


def test_garbage_is_collected_when_the_interpreter_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[int] = []
    monkeypatch.setattr(gc, "threshold", told.append, raising=False)
    main._collect_every(-1)
    assert told == [-1]
