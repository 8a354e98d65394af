"""Which image the loader starts, what it writes down first, and what it makes of damage."""

import os
import struct
import sys
import types
from pathlib import Path

import pytest
from fleet_key import fleet_key
from interpreters import lines
from update_board import reads

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
    record(root, active=1)
    damage(root, 1)
    Path(loader.image_path(root, 0)).unlink()
    assert loader.choose(root) == loader.NONE


def test_the_first_image_serves_when_the_second_was_the_active_one(root, capsys):
    record(root, active=1)
    damage(root, 1)
    assert loader.choose(root) == 0
    assert capsys.readouterr().out == "loader: image.1 is missing or damaged\n"


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


def test_no_more_is_read_at_once_than_a_board_has_memory_for(root, image, monkeypatch):
    Path(loader.image_path(root, 0)).write_bytes(image({"n.py": b"x" * 5000}))
    record(root)
    sizes = reads(monkeypatch, loader)
    assert loader.choose(root) == 0
    assert None not in sizes
    assert max(sizes) <= 1024


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


def test_a_board_without_a_record_has_refused_no_version(tmp_path):
    found = loader.Record(str(tmp_path))
    assert (found.sequence, found.active, found.trial, found.started) == (0, 0, loader.NONE, 0)
    assert (found.result, found.lowest) == (loader.RESULT_NONE, 0)


def test_a_record_may_be_written_again_and_again(root, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "sync", lambda: synced.append(1), raising=False)
    found = loader.Record(root)
    for n in range(1, 6):
        found.lowest = n
        found.save()
        assert len(synced) == n, "it is safe before the image is started"
        again = loader.Record(root)
        assert (again.sequence, again.lowest) == (n, n)
        found_in = Path(f"{root}/loader.{n % 2}").read_bytes()
        assert struct.unpack_from("<L", found_in, 5) == (n,), "over the older of the two"


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


# --- an image as a file system --------------------------------------------------------------

LIKE_A_TABLE = b"\nghost.py 000000 000001\n"


@pytest.fixture
def mounted(tmp_path, image):
    files = {
        "a/first.py": bytes(range(1, 41)),
        "a/second.py": LIKE_A_TABLE + b"s" * 300,
        "X.py": b"x" * 20,
        "z.py": b"",
    }
    (tmp_path / "image").write_bytes(image(files))
    found = loader.Image(str(tmp_path / "image"))
    yield found
    found.umount()


def raised(act, *arguments):
    with pytest.raises(OSError) as caught:
        act(*arguments)
    return caught.value.args


def test_files_and_folders_are_told_apart(mounted):
    def found(path):
        kind, *others, size, _a, _m, _c = mounted.stat(path)
        assert others == [0] * 5
        assert (_a, _m, _c) == (0, 0, 0)
        return kind, size

    folder, file = 0x4000, 0x8000
    assert [found(path) for path in ("", "/", "/a", "/a/")] == [(folder, 0)] * 4
    assert found("/X.py") == (file, 20)
    assert found("/a/first.py") == (file, 40)
    assert found("/a/second.py") == (file, len(LIKE_A_TABLE) + 300)
    assert found("/z.py") == (file, 0)
    for path in ("/b", "/a/first", "/first.py", "/.py", "/a/first.py/x", "/ghost.py"):
        assert raised(mounted.stat, path) == (2,), path


def test_what_begins_the_table_is_found(tmp_path, image):
    for files in ({"X.py": b"x"}, {"a/b.py": b"x"}):
        (tmp_path / "image").write_bytes(image(files))
        found = loader.Image(str(tmp_path / "image"))
        (name,) = files
        folder = name.split("/")[0]
        assert found.stat("/" + name)[0] == 0x8000
        assert found.stat("/" + folder)[0] == (0x4000 if folder != name else 0x8000)
        found.umount()


def test_nothing_in_an_image_is_opened_for_writing(mounted):
    for mode in ("w", "wb", "a", "ab", "r+", "rb+", "w+"):
        for name in ("/X.py", "/a/first.py"):
            assert raised(mounted.open, name, mode) == (30,), mode
    for mode in ("r", "w", "a"):
        assert raised(mounted.open, "/absent.py", mode) == (2,)
    for mode in ("r", "rb"):
        mounted.open("/X.py", mode)


def test_files_are_read_side_by_side_each_in_its_own_place(mounted):
    one, two = mounted.open("/a/first.py", "r"), mounted.open("a/second.py", "rb")
    parts = {one: b"", two: b""}
    for file, n_bytes in ((one, 16), (two, 200), (one, 16), (two, 100), (one, 16), (two, 100)):
        buffer = bytearray(b"?" * n_bytes)
        n = file.readinto(buffer)
        parts[file] += buffer[:n]
        assert buffer[n:] == b"?" * (n_bytes - n)
    assert parts[one] == bytes(range(1, 41))
    assert parts[two] == LIKE_A_TABLE + b"s" * 300
    assert one.readinto(bytearray(1)) == two.readinto(bytearray(1)) == 0


def test_offsets_and_sizes_have_all_their_digits(tmp_path):
    table = b"\nlarge.py abcdef fedcba\n"
    fields = [loader.MAGIC, 1, 0, 0, 1, 0, 0, 1, len(table), len(table), b"", b"", b""]
    head = struct.pack(loader.HEADER, *fields).ljust(loader.FIRST_BYTES, b"\0")
    (tmp_path / "image").write_bytes(head + table)
    found = loader.Image(str(tmp_path / "image"))
    assert found._find(b"large.py") == (0xABCDEF, 0xFEDCBA)
    found.umount()


# --- starting, on fakes: this interpreter mounts nothing ----------------------------------------


BOARD = "boards_of_a_test.one"


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
    board = types.ModuleType(BOARD)
    board.start = lambda *arguments: done.append(("start", *arguments)) or "started"
    monkeypatch.setitem(sys.modules, "boards_of_a_test", types.ModuleType("boards_of_a_test"))
    monkeypatch.setitem(sys.modules, BOARD, board)
    machine = types.ModuleType("machine")
    machine.reset = lambda: done.append("reset")
    machine.WDT = lambda timeout: done.append(timeout)  # noqa: PLW0108  by its name
    monkeypatch.setitem(sys.modules, "machine", machine)
    yield types.SimpleNamespace(done=done, board=board, machine=machine)
    for image in images:
        image.umount()


def test_an_image_on_trial_is_watched_from_its_first_line(root, desk):
    assert loader.start(BOARD, root) == "started"
    assert desk.done == ["/firmware.image", ("start",)]
    desk.done.clear()
    record(root, trial=1)
    loader.start(BOARD, root, ["--tcp"])
    assert desk.done == [8000, "/firmware.image", ("start", ["--tcp"])]
    assert (loader.slot, sys.path[0]) == (1, "/firmware.image")


def test_an_image_on_trial_that_does_not_start_resets_the_board(root, desk, capsys):
    def fail():
        raise ValueError("cannot")

    desk.board.start = fail
    with pytest.raises(ValueError, match="cannot"):
        loader.start(BOARD, root)
    assert "reset" not in desk.done, "its own firmware sees to that"
    record(root, trial=1)
    with pytest.raises(ValueError, match="cannot"):
        loader.start(BOARD, root)
    assert desk.done[-1] == "reset"
    assert capsys.readouterr().out == "loader: image.1: ValueError: cannot\n"


def test_without_an_image_the_files_beside_are_started(tmp_path, desk, capsys):
    loader.start(BOARD, str(tmp_path))
    assert desk.done == [("start",)]
    assert loader.slot == loader.NONE
    desk.board.start = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        loader.start(BOARD, str(tmp_path))
    assert "reset" not in desk.done, "there is nothing to be taken back"


def test_images_and_records_are_looked_for_in_the_root(desk, monkeypatch):
    asked = []
    monkeypatch.setattr(loader, "choose", lambda root: asked.append(root) or loader.NONE)
    loader.start(BOARD)
    assert asked == [""]
    assert loader.image_path("", 1) == "/image.1"


def test_an_interpreter_without_hardware_is_no_obstacle(root, desk, monkeypatch):
    monkeypatch.setitem(sys.modules, "machine", None)
    record(root, trial=1)
    desk.board.start = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        loader.start(BOARD, root)
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


def test_a_port_without_sync_writes_its_record(root, monkeypatch):
    monkeypatch.delattr(os, "sync")
    found = loader.Record(root)
    found.lowest = 3
    found.save()
    assert loader.Record(root).lowest == 3
