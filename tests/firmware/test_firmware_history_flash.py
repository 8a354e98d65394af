"""When records are written, what makes room for them, and what happens when flash refuses."""

import errno
import struct
import zlib
from pathlib import Path

import pytest
from history_bench import Bench, batches

from common import history_records as hr
from firmware import history as history_module
from firmware import storage

N_CELLS = 3
EVENT_BYTES = 6  # kind, seconds, body of LOST


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, N_CELLS)


# --- when it is written -------------------------------------------------------------------------


def test_the_first_batches_are_those_of_the_documentation(bench: Bench) -> None:
    bench.happens(1)
    bench.history.store(1)
    bench.happens(2)
    bench.history.store(2)
    (path,) = bench.segments()
    content = path.read_bytes()
    assert path.name == "00000001"
    start = b"EHS1" + struct.pack("<LBL", zlib.crc32(b"EB-1"), N_CELLS, 1)
    start += struct.pack("<L", zlib.crc32(start))
    key = struct.pack("<HHBBL", 0x48EC, 42 + 7 + 4, 1, 1, 1) + hr.first_chain(b"EB-1")
    key += b"\x18\x02\x02" + bytes(4)  # LOST and a start, which is 1; second 1
    key += struct.pack("<L", zlib.crc32(key))
    more = struct.pack("<HHBBL", 0x48EC, 10 + 6 + 4, 0, 1, 2) + b"\x08\x02" + bytes(4)
    more += struct.pack("<L", zlib.crc32(more))
    assert content == start + key + more
    assert bench.packet(1)[1:5] == struct.pack("<L", zlib.crc32(b"EB-1"))


def written_s(bench: Bench, times: range, every: bool) -> list[int]:
    """At which of these times something was written, when things happen (at each of them)."""
    found = []
    for now_s in times:
        if every:
            bench.happens(now_s)
        kept = bench.history.file.last
        bench.history.store(now_s)
        if bench.history.file.last != kept:
            found.append(now_s)
    return found


def test_what_happens_again_and_again_is_written_twenty_times_and_then_once_a_minute(
    bench: Bench,
) -> None:
    assert written_s(bench, range(1000, 1300), every=True) == [
        *range(1000, 1020), 1060, 1120, 1180, 1240,
    ]  # fmt: skip
    # It rests: each minute gives one of the twenty back, and no more.
    bench.history.store(1301)
    assert written_s(bench, range(1302, 1900), every=False) == []
    assert written_s(bench, range(1900, 1990), every=True) == [*range(1900, 1910), 1960]
    assert written_s(bench, range(9000, 9030), every=True) == list(range(9000, 9020))


def test_readings_wait_for_five_minutes(bench: Bench) -> None:
    bench.step(7)
    bench.happens(7)
    bench.history.store(7)
    bench.step(67)
    assert written_s(bench, range(67, 800), every=False) == [367]
    bench.happens(801)
    assert written_s(bench, range(801, 803), every=False) == [801]


def test_the_first_readings_wait_as_well(bench: Bench) -> None:
    bench.step(7)
    assert written_s(bench, range(8, 400), every=False) == [307]


def test_readings_are_written_when_more_than_half_a_batch_is_full(bench: Bench) -> None:
    bench.happens(0)
    bench.history.store(0)
    bench.history._writes = 0  # so that what happens waits as readings do
    for _ in range(82):
        bench.happens(0)
    for _ in range(2):
        bench.history.event(hr.COMMAND, 0, None, 1, 1)
    assert 10 + 82 * EVENT_BYTES + 2 * 5 == 512
    bench.history.store(1)
    assert bench.history.file.last == 1
    bench.happens(0)
    bench.history.store(2)
    assert bench.history.file.last == len(bench.sent) == 86


def test_every_32_records_are_coded_by_themselves(bench: Bench) -> None:
    for n in range(100):
        bench.happens(60 * n)
        bench.history.store(60 * n)
    flags = [batch[2] for batch in batches(bench.segments()[0].read_bytes())]
    assert [n + 1 for n, flag in enumerate(flags) if flag] == [1, 33, 65, 97]
    content = bench.segments()[0].read_bytes()
    at = batches(content)[32][0]
    assert content[at + 10 : at + 42] == bench.chain_behind(32)


@pytest.mark.parametrize(("more", "n_segments"), [(0, 1), (1, 2)])
def test_a_segment_is_left_when_the_largest_batch_might_not_fit(
    bench: Bench, more: int, n_segments: int
) -> None:
    bench.happens(0)
    bench.history.store(0)
    path = bench.segments()[0]
    content = path.read_bytes()
    path.write_bytes(content + bytes(16320 - 1024 + more - len(content)))
    bench.history._folder.sizes[-1] = 16320 - 1024 + more
    bench.happens(1)
    bench.history.store(1)
    assert len(bench.segments()) == n_segments
    assert list(bench.read().records) == [1, 2]
    bench.happens(2)
    bench.history.store(2)
    assert len(bench.segments()) == 2
    assert batches(bench.segments()[1].read_bytes())[0][2] == 1, "it begins with a key"
    assert bench.read().broken == []


# --- room ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "kept"), [(8192, 4), (8193, 3)])
def test_the_oldest_goes_when_history_would_be_larger_than_it_may(
    bench: Bench, last: int, kept: int
) -> None:
    bench.settings.history_kb = 64
    # 65536 less a segment of 16320 is 49216: twelve blocks are 49152.
    bench.fill([16384, 16384, 8192, last])
    bench.happens(1)
    bench.history.store(1)
    # One thing at a time: either the oldest goes or it is written.
    assert len(bench.segments()) == kept + (kept == 4)
    assert (bench.model()["First"], bench.model()["Last"]) == ((1, 5) if kept == 4 else (2, 4))
    bench.history.store(2)
    assert [path.name for path in bench.segments()][-1] == "00000005"
    assert list(bench.read().records) == list(range(1 if kept == 4 else 2, 6))


@pytest.mark.parametrize(("blocks", "goes"), [(4092, False), (4093, True)])
def test_as_much_of_a_large_flash_is_used_as_may_be(bench: Bench, blocks: int, goes: bool) -> None:
    bench.settings.history_kb = 16384
    bench.fill([100, 100])
    bench.history._folder.sizes[0] = (blocks - 1) * 4096
    bench.happens(1)
    bench.history.store(1)
    assert (bench.model()["First"] == 2) == goes


@pytest.mark.parametrize(("free", "goes"), [(65536 + 16320, False), (65536 + 16319, True)])
def test_the_oldest_goes_when_the_file_system_is_nearly_full(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, free: int, goes: bool
) -> None:
    bench.fill([100, 100])
    asked = []

    def statvfs(path: str) -> tuple[int, ...]:
        asked.append(path)
        return (3, 1, 5, free, 7, 11, 13, 17, 19, 255)

    monkeypatch.setattr(history_module.os, "statvfs", statvfs)
    bench.happens(1)
    bench.history.store(1)
    assert asked == [str(bench.root / "history")]
    assert (bench.model()["First"] == 2) == goes
    bench.history.store(2)
    bench.history.store(3)
    assert bench.model()["Last"] == 3
    assert len(bench.segments()) == (2 if goes else 3)
    bench.happens(3)
    bench.history.store(4)
    assert bench.model()["First"] == (2 if goes else 1), "only a new segment needs room"


def test_the_last_segment_never_goes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.fill([100])
    monkeypatch.setattr(history_module.os, "statvfs", lambda _path: (4096, 4096, 9, 0, 0, 0))
    bench.happens(1)
    bench.history.store(1)
    assert list(bench.read().records) == [1, 2]


# --- flash that refuses -------------------------------------------------------------------------


class Flash:
    """Refuses to be written while ``number`` is not 0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        self.tries: list[str] = []
        self.real = open
        monkeypatch.setattr(storage, "open", self.open, raising=False)

    def open(self, path: str, mode: str = "r") -> object:
        self.tries.append(mode)
        if self.number:
            raise OSError(self.number, "flash")
        return self.real(path, mode)


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> Flash:
    return Flash(monkeypatch)


def refused(bench: Bench, now_s: int) -> None:
    with pytest.raises(OSError, match="flash"):
        bench.history.store(now_s)


def test_a_segment_has_three_tries(bench: Bench, flash: Flash) -> None:
    bench.happens(0)
    bench.history.store(0)
    bench.happens(1)
    bench.happens(1)
    flash.number = errno.EIO
    refused(bench, 1)
    refused(bench, 2)
    flash.number = 0
    bench.history.store(3)
    assert list(bench.read().records) == [1, 2, 3], "with the third it went well"
    bench.happens(4)
    bench.happens(4)
    flash.number = errno.EIO
    refused(bench, 4)
    refused(bench, 5)
    assert bench.history._count == 2
    refused(bench, 6)
    assert bench.history._count == 0, "given up"
    flash.number = 0
    bench.history.store(7)
    bench.happens(8)
    bench.history.store(8)
    assert [path.name for path in bench.segments()] == ["00000001", "00000006"]
    assert list(bench.read().records) == [1, 2, 3, 6]
    assert bench.model()["Lost"] == 2
    bench.happens(9)
    flash.number = errno.EIO
    refused(bench, 9)
    refused(bench, 10)
    assert bench.history._count == 1, "the new one has three again"
    flash.number = 0
    bench.history.store(11)
    assert list(bench.read().records) == [1, 2, 3, 6, 7]


def test_what_was_lost_with_segments_adds_up(bench: Bench, flash: Flash) -> None:
    now_s = 0
    for lost in (1, 2, 4):
        bench.happens(now_s)
        bench.history.store(now_s)
        for _ in range(lost):
            bench.happens(now_s)
        flash.number = errno.EIO
        for _ in range(3):
            now_s += 60
            refused(bench, now_s)
        flash.number = 0
    bench.happens(now_s)
    bench.history.store(now_s)
    assert bench.model()["Lost"] == 7


def test_a_segment_that_was_never_written_is_tried_for_ever(bench: Bench, flash: Flash) -> None:
    bench.happens(0)
    flash.number = errno.EIO
    for n in range(10):
        refused(bench, 60 * n)
    flash.number = 0
    bench.history.store(600)
    assert list(bench.read().records) == [1]
    assert set(flash.tries) == {"wb"}
    bench.happens(601)
    flash.number = errno.EIO
    refused(bench, 601)
    flash.number = 0
    bench.history.store(602)
    assert list(bench.read().records) == [1, 2], "those tries are not counted against it"


def test_a_full_disk_takes_the_oldest_and_is_tried_again(bench: Bench, flash: Flash) -> None:
    bench.fill([100, 100])
    bench.happens(1)
    bench.history.store(1)
    bench.happens(2)
    flash.number = errno.ENOSPC
    refused(bench, 2)
    tries = len(flash.tries)
    bench.history.store(3)
    assert len(flash.tries) == tries, "one thing at a time"
    assert bench.model()["First"] == 2
    flash.number = 0
    bench.history.store(4)
    assert list(bench.read().records) == [2, 3, 4]
    bench.happens(5)
    bench.history.store(5)
    assert bench.model()["First"] == 2, "then there is room"


def test_a_full_disk_with_one_segment_is_no_reason_to_give_it_up(
    bench: Bench, flash: Flash
) -> None:
    bench.happens(0)
    bench.history.store(0)
    bench.happens(1)
    flash.number = errno.ENOSPC
    for n in range(10):
        refused(bench, 60 * n)
    flash.number = 0
    bench.history.store(601)
    assert list(bench.read().records) == [1, 2]
    assert len(bench.segments()) == 1


def test_what_an_earlier_try_left_behind_is_written_over(bench: Bench) -> None:
    bench.happens(0)
    bench.history.store(0)
    path = bench.segments()[0]
    path.write_bytes(path.read_bytes() + b"\x55" * 10)
    bench.happens(1)
    bench.history.store(1)
    assert [batch[4] for batch in batches(path.read_bytes())] == [1, 2]
