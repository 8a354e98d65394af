"""An update in the whole firmware: what serves it, what is refused, and the start anew."""

import struct
import sys
from pathlib import Path

import pytest
from app_rig import Rig
from update_board import KEY, image, started

from common import models
from common.codes import Command, CommandResult
from firmware import loader
from firmware.app import RestartError
from gateway.update_image import public_bytes


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A pack whose board was started by the loader, and takes images of the fleet."""
    (tmp_path / "image.0").write_bytes(image((0, 1, 0), board="desk"))
    (tmp_path / "update.key").write_bytes(public_bytes(KEY))
    monkeypatch.setitem(sys.modules, "loader", started(loader.choose(str(tmp_path))))
    rig = Rig(tmp_path)
    rig.run(4)
    return rig


def send(rig: Rig, data: bytes) -> None:
    """With function 21, as a gateway does: again while the board is busy."""
    at = 0
    for _ in range(400):
        n = min(200, (512 if at < 512 else len(data)) - at)
        record = struct.pack(">BHHH", 6, 1 + at // 20000, at // 2 % 10000, n // 2)
        record += data[at : at + n]
        answer = rig.exchange(bytes([21, len(record)]) + record)
        if answer[0] == 21:
            at += n
        else:
            assert answer[1] == 6, answer
            rig.run(1)
        if at == len(data):
            return
    raise AssertionError("the board stays busy")


def test_an_image_is_started_by_command_when_the_switches_are_open(rig: Rig) -> None:
    assert rig.command(Command.START_UPDATE) == CommandResult.REFUSED_UNSAFE
    send(rig, image((0, 2, 0), board="desk"))
    rig.run(5)
    assert rig.closed == (True, True), "the pack works on meanwhile"
    assert rig.command(Command.DISCONNECT) == CommandResult.DONE
    rig.run(3)
    assert rig.command(Command.START_UPDATE) == CommandResult.DONE
    with pytest.raises(RestartError):
        rig.run(10)
    assert (Path(rig.root) / "image.1").exists()


def test_what_is_abandoned_is_not_started(rig: Rig) -> None:
    send(rig, image((0, 2, 0), board="desk"))
    rig.run(5)
    assert rig.command(Command.ABANDON_UPDATE) == CommandResult.DONE
    rig.command(Command.DISCONNECT)
    rig.run(3)
    assert rig.command(Command.START_UPDATE) == CommandResult.REFUSED_BUSY
    assert rig.read(models.UPDATE)["Have"] == 0
