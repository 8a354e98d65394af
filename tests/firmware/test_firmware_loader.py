"""Which image the loader starts, what it writes down first, and what it makes of damage."""

import os
import struct
import sys
import types
from pathlib import Path

import pytest
from fleet_key import fleet_key
from interpreters import lines

from firmware import loader
from gateway.update_image import pack


@pytest.fixture(scope="module")
def image():
    key = fleet_key()

    def make(files):
        return pack(files, (1, 2, 3), 0, key)

    return make


@pytest.fixture
def root(tmp_path, image):
    for n in (0, 1):
        (tmp_path / f"image.{n}").write_bytes(image({"n.py": b"%d" % n}))
    return str(tmp_path)


def record(root, **changes):
    found = loader.Record(root)
    for name, value in changes.items():
        setattr(found, name, value)
    found.save()


def state(root):
    found = loader.Record(root)
    return found.active, found.trial, found.started, found.result


def damage(root, n):
    path = Path(loader.image_path(root, n))
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def test_a_new_board_starts_its_first_image(root):
    assert loader.choose(root) == 0
    assert state(root) == (0, loader.NONE, 0, loader.RESULT_NONE)


def test_it_starts_the_active_image(root):
    record(root, active=1)
    assert loader.choose(root) == 1


def test_a_trial_is_written_down_and_ends_with_the_next_start(root):
    record(root, active=0, trial=1)
    assert loader.choose(root) == 1
    assert state(root) == (0, 1, 1, loader.RESULT_NONE)
    assert loader.choose(root) == 0
    assert state(root) == (0, loader.NONE, 1, loader.RESULT_NOT_HEALTHY)
    assert loader.choose(root) == 0


def test_a_trial_of_a_damaged_image_does_not_begin(root):
    damage(root, 1)
    record(root, active=0, trial=1)
    assert loader.choose(root) == 0
    assert state(root) == (0, loader.NONE, 0, loader.RESULT_DAMAGED)


def test_a_trial_that_cannot_be_written_down_does_not_begin(root, monkeypatch, capsys):
    record(root, active=0, trial=1)

    def fail(self):
        raise OSError(30)

    monkeypatch.setattr(loader.Record, "save", fail)
    assert loader.choose(root) == 0
    assert capsys.readouterr().out == "loader: boot record: 30\n"


def test_the_other_image_serves_when_the_active_one_is_damaged(root, capsys):
    damage(root, 0)
    assert loader.choose(root) == 1
    assert capsys.readouterr().out == "loader: image.0 is missing or damaged\n"
    Path(loader.image_path(root, 1)).unlink()
    assert loader.choose(root) == loader.NONE


def test_an_image_is_whole_or_it_is_not(root):
    path = loader.image_path(root, 0)
    data = Path(path).read_bytes()
    assert loader.is_whole(path)
    for bad in (
        b"", data[:100], data[:-1], data + b"\0", b"X" + data[1:],
        data[:8] + b"\2" + data[9:], data[:100] + b"\1" + data[101:][:411],
    ):  # fmt: skip
        Path(path).write_bytes(bad)
        assert not loader.is_whole(path), bad[:20]
    for at in (24, 30, 55, loader.FIRST_BYTES, len(data) - 1):
        Path(path).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert not loader.is_whole(path)
    assert not loader.is_whole(path + ".absent")


def test_a_table_longer_than_the_rest_is_no_header():
    fields = [loader.MAGIC, 1, 0, 0, 1, 0, 0, 1, 11, 10, b"", b"", b""]
    assert loader.read_header(struct.pack(loader.HEADER, *fields).ljust(128, b"\0")) is None
    fields[9] = 11
    assert loader.read_header(struct.pack(loader.HEADER, *fields).ljust(128, b"\0")) is not None
    assert loader.read_header(struct.pack(loader.HEADER, *fields)) is None, "too short"


def test_versions_are_ordered():
    def number(*version):
        return loader.version_number((None, None, None, None, *version))

    ordered = [(0, 0, 1), (0, 0, 65535), (0, 1, 0), (0, 255, 9), (1, 0, 0), (255, 255, 65535)]
    numbers = [number(*version) for version in ordered]
    assert numbers == sorted(set(numbers))
    assert number(1, 2, 3) == 0x01020003


def test_the_record_is_written_in_turn_and_survives_a_torn_one(root):
    record(root, active=0, lowest=5)
    record(root, active=1, lowest=6)
    record(root, active=0, trial=1, lowest=7)
    newest = [f"{root}/loader.{n}" for n in (0, 1)]
    sizes = {Path(path).stat().st_size for path in newest}
    assert sizes == {struct.calcsize("<4sBLBBBBL") + 8}
    data = Path(newest[1]).read_bytes()
    for torn in (b"", data[:-1], data + b"\0", data[:9] + b"\x09" + data[10:], b"\0" * len(data)):
        Path(newest[1]).write_bytes(torn)
        found = loader.Record(root)
        assert (found.sequence, found.active, found.trial, found.lowest) == (2, 1, loader.NONE, 6)
    found.save()
    assert loader.Record(root).sequence == 3


def test_a_record_of_another_layout_is_none(root):
    record(root, active=1)
    data = struct.pack("<4sBLBBBBL", b"ECHB", 2, 9, 1, 255, 0, 0, 0)
    Path(f"{root}/loader.0").write_bytes(data + loader._digest(data))
    assert loader.Record(root).sequence == 1
    data = struct.pack("<4sBLBBBBL", b"ECHX", 1, 9, 1, 255, 0, 0, 0)
    Path(f"{root}/loader.0").write_bytes(data + loader._digest(data))
    assert loader.Record(root).sequence == 1


def test_files_come_out_of_an_image_in_micropython(tmp_path, image, micropython):
    part = b"import package\ndef start(a=None): return package.X, __name__, a\n"
    files = {
        "package/__init__.py": b"X = 3\n",
        "package/part.py": part,
        "package/big.py": b"# long\n" * 1500,
    }
    (tmp_path / "image.0").write_bytes(image(files))
    assert lines(micropython, "loader_import.py", tmp_path) == [
        "(3, 'package.part', ['arguments'])",
        "0 /firmware.image",
        f"True {len(part)}",
        *["2"] * 3,
        *["30"] * 3,
        "20 b'import package\\ndef s'",
        "7 b'# long\\n'",
        "3 b'tar'",
        "10493 b'# long\\n# long\\n# long'",
    ]


# --- starting, on fakes: this interpreter mounts nothing ----------------------------------------


@pytest.fixture
def desk(monkeypatch):
    """A board's module and hardware; what was done with them."""
    done = []
    images = []

    def mount(image, at):
        images.append(image)
        done.append(at)

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(os, "mount", mount, raising=False)
    monkeypatch.setattr(loader, "slot", loader.NONE)
    monkeypatch.setattr(loader, "_watchdog", None)
    board = types.ModuleType("board_of_a_test")
    board.start = lambda *arguments: done.append(("start", *arguments))
    monkeypatch.setitem(sys.modules, "board_of_a_test", board)
    machine = types.ModuleType("machine")
    machine.reset = lambda: done.append("reset")
    machine.WDT = lambda timeout: done.append(timeout)  # noqa: PLW0108  by its name
    monkeypatch.setitem(sys.modules, "machine", machine)
    yield types.SimpleNamespace(done=done, board=board, machine=machine)
    for image in images:
        image.umount()


def test_an_image_on_trial_is_watched_from_its_first_line(root, desk):
    loader.start("board_of_a_test", root)
    assert desk.done == ["/firmware.image", ("start",)]
    desk.done.clear()
    record(root, trial=1)
    loader.start("board_of_a_test", root, ["--tcp"])
    assert desk.done == [8000, "/firmware.image", ("start", ["--tcp"])]
    assert (loader.slot, sys.path[0]) == (1, "/firmware.image")


def test_an_image_on_trial_that_does_not_start_resets_the_board(root, desk, capsys):
    def fail():
        raise ValueError("cannot")

    desk.board.start = fail
    with pytest.raises(ValueError, match="cannot"):
        loader.start("board_of_a_test", root)
    assert "reset" not in desk.done, "its own firmware sees to that"
    record(root, trial=1)
    with pytest.raises(ValueError, match="cannot"):
        loader.start("board_of_a_test", root)
    assert desk.done[-1] == "reset"
    assert capsys.readouterr().out == "loader: image.1: ValueError: cannot\n"


def test_without_an_image_the_files_beside_are_started(tmp_path, desk, capsys):
    loader.start("board_of_a_test", str(tmp_path))
    assert desk.done == [("start",)]
    assert loader.slot == loader.NONE


def test_an_interpreter_without_hardware_is_no_obstacle(root, desk, monkeypatch):
    monkeypatch.setitem(sys.modules, "machine", None)
    record(root, trial=1)
    desk.board.start = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        loader.start("board_of_a_test", root)
    assert desk.done == ["/firmware.image"]


def test_reading_an_image_feeds_the_watchdog(root, monkeypatch):
    fed = []
    monkeypatch.setattr(loader, "_watchdog", types.SimpleNamespace(feed=lambda: fed.append(1)))
    image = loader.Image(loader.image_path(root, 1))
    file = image.open("/n.py", "r")
    buffer = bytearray(8)
    assert (file.readinto(buffer), buffer[:1], fed) == (1, b"1", [1])
    assert file.readinto(buffer) == 0
    assert (file.ioctl(4, 0), file.ioctl(11, 0)) == (0, -1)
    image.mount(True, False)
    image.umount()
    with pytest.raises(OSError, match="22"):
        loader.Image(__file__)
