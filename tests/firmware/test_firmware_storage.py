"""Records survive a power cut: at every byte of a write either the old or the new one is there."""

import errno
import os
import struct
import sys
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreters import lines

from firmware.storage import MAX_BYTES, Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def test_what_was_never_saved_is_not_there(storage: Storage) -> None:
    assert storage.load("boot") is None


@pytest.mark.parametrize("data", [b"", b"\x07", bytes(range(256)) * 16])
def test_what_was_saved_is_loaded(storage: Storage, tmp_path: Path, data: bytes) -> None:
    storage.save("boot", data)
    assert storage.load("boot") == data
    assert Storage(str(tmp_path)).load("boot") == data


def test_the_newest_of_many_is_loaded(storage: Storage, tmp_path: Path) -> None:
    for n in range(10):
        storage.save("boot", bytes([n]))
        assert Storage(str(tmp_path)).load("boot") == bytes([n])


def test_saves_after_a_restart_go_on_from_the_newest(tmp_path: Path) -> None:
    for n in range(10):
        Storage(str(tmp_path)).save("boot", bytes([n]))
        assert Storage(str(tmp_path)).load("boot") == bytes([n])


def test_records_do_not_touch_each_other(storage: Storage) -> None:
    storage.save("one", b"1")
    storage.save("two", b"2")
    assert (storage.load("one"), storage.load("two")) == (b"1", b"2")


def test_a_write_cut_at_any_byte_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.save("boot", b"older")
    storage.save("boot", b"newer")
    slot = tmp_path / "boot.0"  # the next one to be written
    old = slot.read_bytes()
    storage.save("boot", b"newest")
    new = slot.read_bytes()
    for cut in range(len(new)):
        for left_over in (b"", old[cut:]):  # the file was emptied first, or was written over
            slot.write_bytes(new[:cut] + left_over)
            restarted = Storage(str(tmp_path))
            assert restarted.load("boot") == b"newer", cut
            # the next save must not destroy the only whole slot before it is complete itself
            restarted.save("boot", b"next")
            assert Storage(str(tmp_path)).load("boot") == b"next"
            assert (tmp_path / "second" / "boot.1").read_bytes()[11:16] == b"newer"


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_makes_a_slot_count_no_more(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: int
) -> None:
    root = tmp_path_factory.mktemp("flash")
    storage = Storage(str(root))
    storage.save("boot", b"old")
    storage.save("boot", b"new")
    slot = root / "second" / "boot.1"
    content = bytearray(slot.read_bytes())
    content[place % len(content)] ^= change
    slot.write_bytes(content)
    assert Storage(str(root)).load("boot") == b"old"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64))
def test_rubbish_in_a_slot_is_no_record(
    tmp_path_factory: pytest.TempPathFactory, rubbish: bytes
) -> None:
    root = tmp_path_factory.mktemp("flash")
    (root / "boot.0").write_bytes(rubbish)
    (root / "second").mkdir()
    (root / "second" / "boot.1").write_bytes(rubbish[::-1])
    assert Storage(str(root)).load("boot") is None


def test_a_save_that_fails_is_told_and_tried_again_in_the_same_slot(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "missing"))
    with pytest.raises(OSError, match="missing"):
        storage.save("boot", b"1")
    (tmp_path / "missing").mkdir()
    storage.save("boot", b"1")
    assert storage.load("boot") == b"1"


class Unread(Storage):
    """A medium that cannot be read for a while."""

    failing = 0
    n_reads = 0

    def read(self, name: str, slot: int) -> bytes | bytearray | None:
        self.n_reads += 1
        if self.failing:
            self.failing -= 1
            raise OSError(errno.EIO)
        return super().read(name, slot)


def test_what_could_not_be_read_is_not_overwritten_once_it_can_be(tmp_path: Path) -> None:
    for data in (b"1", b"2"):
        Storage(str(tmp_path)).save("lifetime", data)
    storage = Unread(str(tmp_path))
    storage.failing = 6
    assert storage.load("lifetime") is None
    assert (storage.damaged, storage.n_reads) == (True, 6)
    for _ in range(2):  # whoever saves now has begun at 0
        with pytest.raises(OSError, match="5"):
            storage.save("lifetime", b"0")
        assert Storage(str(tmp_path)).load("lifetime") == b"2"
    assert storage.load("lifetime") == b"2"  # and who has seen it may go on
    storage.save("lifetime", b"3")
    assert Storage(str(tmp_path)).load("lifetime") == b"3"


def test_what_can_never_be_read_is_written_anew(tmp_path: Path) -> None:
    Storage(str(tmp_path)).save("boot", b"1")
    storage = Unread(str(tmp_path))
    storage.failing = 12
    assert storage.load("boot") is None
    storage.save("boot", b"2")
    assert storage.load("boot") == b"2"
    assert Storage(str(tmp_path)).load("boot") == b"2"


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_slot_that_cannot_be_read_is_tried_three_times_and_the_other_serves(
    tmp_path: Path, failing: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for data in (b"1", b"2", b"3"):
        Storage(str(tmp_path)).save("boot", data)
    storage = Unread(str(tmp_path))
    storage.failing = failing
    assert storage.load("boot") == (b"2" if failing == 3 else b"3")
    assert storage.damaged == (failing == 3)
    told = "record boot: a copy of it cannot be read\n"
    assert capsys.readouterr().out == (told if failing == 3 else "")
    storage.save("boot", b"4")
    assert Storage(str(tmp_path)).load("boot") == b"4"


def test_the_first_save_is_number_1_in_slot_0(storage: Storage, tmp_path: Path) -> None:
    assert storage.load("boot") is None
    storage.save("boot", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["boot.0"]
    assert (tmp_path / "boot.0").read_bytes()[:11] == b"ECHR\x01\x01\0\0\0\0\0"


@pytest.mark.parametrize("head", [b"ECHS\x01", b"ECHR\x02"])
def test_a_slot_of_another_kind_or_version_is_no_record(tmp_path: Path, head: bytes) -> None:
    content = head + struct.pack("<LH", 1, 1) + b"1"
    (tmp_path / "boot.0").write_bytes(content + struct.pack("<L", crc32(content)))
    storage = Storage(str(tmp_path))
    assert (storage.load("boot"), storage.damaged) == (None, True)


def test_two_slots_of_one_number_are_damage_and_the_first_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Storage(str(tmp_path)).save("boot", b"1")
    (tmp_path / "second").mkdir()
    content = b"ECHR\x01" + struct.pack("<LH", 1, 1) + b"2"
    (tmp_path / "second" / "boot.1").write_bytes(content + struct.pack("<L", crc32(content)))
    storage = Storage(str(tmp_path))
    assert (storage.load("boot"), storage.damaged) == (b"1", True)
    assert capsys.readouterr().out == "record boot: a copy of it cannot be read\n"


def test_a_slot_that_was_set_back_is_told(tmp_path: Path) -> None:
    slots = []
    for n in range(5):
        Storage(str(tmp_path)).save("boot", bytes([n]))
        path = tmp_path / ("second/boot.1" if n % 2 else "boot.0")
        slots.append((path, path.read_bytes()))
    (path, content) = slots[1]
    path.write_bytes(content)  # of 0 to 4 the slots have 1 and 4
    storage = Storage(str(tmp_path))
    assert (storage.load("boot"), storage.damaged) == (b"\x04", True)
    storage.save("boot", b"5")
    storage = Storage(str(tmp_path))
    assert (storage.load("boot"), storage.damaged) == (b"5", False)


def test_a_record_that_is_too_long_is_refused(storage: Storage) -> None:
    with pytest.raises(ValueError, match=r"^record boot: 4097 bytes, at most 4096 fit$"):
        storage.save("boot", bytes(MAX_BYTES + 1))


def test_where_no_single_file_can_be_flushed_all_are(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MicroPython's ports have ``os.sync`` or neither."""
    synced: list[object] = []
    monkeypatch.setattr(os, "sync", lambda: synced.append("all"))
    monkeypatch.setattr(os, "fsync", synced.append)
    storage.save("boot", b"0")
    assert len(synced) == 1
    assert synced.pop() != "all"
    monkeypatch.delattr(os, "fsync")
    monkeypatch.setattr(os, "sync", lambda: synced.append((storage.root, storage.load("boot"))))
    storage.save("boot", b"1")
    assert synced == [(storage.root, b"1")], "when the file is whole"
    monkeypatch.delattr(os, "sync")
    storage.save("boot", b"2")
    assert storage.load("boot") == b"2"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_both_interpreters_read_each_other_s_records(
    micropython: str, tmp_path: Path, order: tuple[int, int]
) -> None:
    interpreters = (micropython, sys.executable)
    for n, which in enumerate(order):
        printed = lines(interpreters[which], "storage_turns.py", tmp_path)
        assert printed[0] == (repr(bytes(range(5))) if n else "None")
        assert printed[1:] == [repr(bytes(range(k + 1))) for k in range(5)]


def test_the_real_littlefs_runs_on_simulated_flash(micropython: str) -> None:
    printed = lines(micropython, "flash_littlefs.py")
    # What the collector says when it closes, on a dead chip, the file that the cut left open.
    assert [line for line in printed if line != "OSError: [Errno 5] EIO"] == [
        "32 erases True programs True",
        "cut",
        "256 erases True programs True",
        "cut",
    ]


def test_flash_that_cannot_be_read_is_damage_and_no_record(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.save("boot", b"\x07")

    def refuse(_path: str) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as broken:
        broken.setattr(os, "stat", refuse)
        again = Storage(storage.root)
        assert again.load("boot") is None
        assert again.damaged
    assert Storage(storage.root).load("boot") == b"\x07"
