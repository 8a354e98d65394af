"""What the whole firmware records, read back with function 20 as a gateway does."""

from pathlib import Path

import pytest
from app_rig import Rig

from common import models
from common.codes import Command, CommandResult, Fault, Test, TestStop
from common.history_records import COMMAND, FAULT, READING, RESTART, TEST, TIME
from firmware.crashes import IN_A_ROW, Crashes
from firmware.history import History
from firmware.storage import Storage

UTC_S = 1_800_000_000


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def of_kind(rig: Rig, kind: int) -> list[tuple]:
    return [values for each, values in rig.records() if each == kind]


def command(rig: Rig, code: int) -> None:
    rig.write(models.CONTROL, "Cmd", code)


def test_it_begins_with_the_start_and_its_cause(rig: Rig) -> None:
    rig.run(10)
    kind, (_cause, crash, version) = rig.records()[0]
    assert (kind, crash) == (RESTART, 0)
    assert version.rstrip(b"\0") == b"0.1.0"
    rig.boot()
    rig.run(10)
    assert len(of_kind(rig, RESTART)) == 2
    assert rig.records()[0][0] == RESTART


def test_readings_are_what_the_cells_were(rig: Rig) -> None:
    rig.run(400)
    readings = of_kind(rig, READING)
    assert len(readings) >= 5
    for cell_mv, cell_v in zip(readings[-1], rig.pack.cell_v, strict=True):
        assert cell_mv == pytest.approx(1000 * cell_v, abs=20)


def test_commands_and_what_became_of_them(rig: Rig) -> None:
    rig.run(10)
    command(rig, Command.DISCONNECT)
    command(rig, 77)
    rig.run(5)
    assert of_kind(rig, COMMAND) == [
        (Command.DISCONNECT, CommandResult.DONE),
        (77, CommandResult.REFUSED_UNKNOWN),
    ]


def test_a_fault_that_comes_and_goes(rig: Rig) -> None:
    rig.run(10)
    rig.app.storage.root += "/gone"
    command(rig, Command.DISCONNECT)  # which is to be saved
    rig.run(5)
    rig.app.storage.root = rig.root
    rig.run(40)
    faults = of_kind(rig, FAULT)
    assert [values[:2] for values in faults] == [(Fault.STORAGE, 1), (Fault.STORAGE, 0)]
    low_mv, high_mv = faults[0][2:4]
    assert 3000 < low_mv <= high_mv < 4300


def test_the_first_time_and_every_jump_of_it(rig: Rig) -> None:
    rig.run(10)
    for utc_s in (UTC_S, UTC_S, UTC_S + 5000):
        rig.write(models.CONTROL, "SetUtc", utc_s >> 16, utc_s & 0xFFFF)
        rig.run(1)
    rig.run(3)
    (none, first), (old, new) = of_kind(rig, TIME)
    assert none == 0xFFFFFFFF
    assert first == pytest.approx(UTC_S, abs=2)
    assert old == pytest.approx(UTC_S + 1, abs=3)
    assert new == pytest.approx(UTC_S + 5000, abs=2)


def test_a_test_that_was_stopped(rig: Rig) -> None:
    rig.run(30)
    command(rig, Command.START_QUICK_TEST)
    rig.run(5)
    command(rig, Command.STOP_TEST)
    rig.run(10)
    assert of_kind(rig, TEST) == [(Test.QUICK, TestStop.BY_COMMAND, 0xFF, 0xFFFF, 0xFFFF, 0xFFFF)]


def test_in_safe_mode_what_there_is_is_served_and_nothing_recorded(rig: Rig) -> None:
    rig.run(10)
    before = rig.records()
    crashes = Crashes(Storage(rig.root), 0)
    for _ in range(IN_A_ROW):
        crashes.record(MemoryError("none left"), 1)
    rig.boot()
    assert rig.app.safe
    rig.run(10)
    command(rig, Command.DISCONNECT)
    rig.run(100)
    assert rig.records() == before


def test_a_history_that_cannot_be_made_does_not_keep_the_pack_from_service(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_history: History) -> None:
        raise ValueError("rubbish")

    monkeypatch.setattr(History, "_recover", broken)
    rig.boot()
    rig.run(60)
    assert rig.closed == (True, True)


def test_a_test_that_ends_before_the_history_begins_is_not_in_it(rig: Rig) -> None:
    rig.run(10)
    history, rig.app.history = rig.app.history, None
    rig.app._record_test()
    rig.app.history = history
    rig.run(3)
    assert of_kind(rig, TEST) == []
