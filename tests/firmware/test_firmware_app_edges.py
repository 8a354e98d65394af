"""The whole firmware where something is rare: commands seldom given, a chip with a will."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_rig import Rig
from settings_client import Client, provide

from common import models
from common.codes import Command, CommandResult
from common.settings_codes import SettingsResult
from firmware import main
from firmware.app import App
from firmware.storage import Storage

ALL_FETS_OFF = 0x0095


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    provide(tmp_path)
    rig = Rig(tmp_path)
    rig.run(8)
    assert rig.closed == (True, True)
    yield rig
    gc.unfreeze()  # what the rig has frozen


def test_a_switch_that_somebody_else_opened_is_told_again_to_close(rig: Rig) -> None:
    rig.app.afe.bus.command_at_once(ALL_FETS_OFF)
    rig.advance(300)
    assert rig.closed == (False, False)
    rig.run(2)
    assert rig.closed == (True, True)


def test_a_pack_that_is_shut_down_opens_and_stays_open(rig: Rig) -> None:
    rig.write(models.CONTROL, "Cmd", Command.SHUTDOWN)
    assert rig.read(models.CONTROL)["CmdRes"] == CommandResult.DONE
    rig.run(10)
    assert rig.closed == (False, False)


def test_a_kept_reading_is_given_again_and_one_that_is_not_is_unknown(rig: Rig) -> None:
    rig.run(30)
    device = rig.read(models.DEVICE)
    assert device["RecFirst"] < device["RecLast"]
    for seq in (device["RecFirst"], device["RecLast"]):
        assert rig.app.recall(seq)
        assert rig.read(models.RECALL)["Seq"] == seq
    assert not rig.app.recall(1 << 30)
    recalled = rig.read(models.RECALL)
    assert (recalled["Seq"], recalled["UpS"], recalled["V"]) == (1 << 30, None, None)


def test_the_memory_that_is_free_is_told_where_the_interpreter_knows(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rig.read(models.DEVICE)["MemFree"] is None
    monkeypatch.setattr(gc, "mem_free", lambda: 54321, raising=False)
    rig.run(70)
    assert rig.read(models.DEVICE)["MemFree"] == 54321


def test_a_board_without_a_line_measures_and_protects(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.uart = None
    rig.app = App(rig, rig.settings)
    rig.run(8)
    assert rig.closed == (True, True)
    assert rig.app.executive.wake is None


def test_whatever_ends_the_loop_of_a_board_that_nobody_looks_at_opens_the_switches(
    rig: Rig,
) -> None:
    path = Path(rig.root) / "settings.json"
    path.write_text(json.dumps(rig.spec.board_settings()))
    end_ms = rig.now_ms + 8000
    sleep = rig.wait

    def wait(until_ms: int) -> None:
        if rig.now_ms > end_ms:
            assert rig.closed == (True, True)
            raise KeyboardInterrupt
        sleep(until_ms)

    rig.wait = wait
    with pytest.raises(KeyboardInterrupt):
        main.run(lambda _settings: rig, str(path))
    rig.advance(300)
    assert rig.closed == (False, False)


def test_settings_that_can_neither_be_saved_nor_put_back_are_refused_and_not_in_force(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.write(models.CONTROL, "Cmd", Command.DISCONNECT)
    rig.run(2)
    client = Client(rig)
    before = client.values()
    save = Storage.save
    tries = []

    def full(self: Storage, name: str, data: bytes) -> None:
        if name == "limits":
            tries.append(data)
            raise OSError(28, "no space left")
        save(self, name, data)

    monkeypatch.setattr(Storage, "save", full)
    assert client.set(cov_mv=4180) == SettingsResult.REFUSED_STORAGE
    assert len(tries) == 2
    assert tries[1] == b"", "there were none before"
    rig.run(3)
    assert client.values() == before
