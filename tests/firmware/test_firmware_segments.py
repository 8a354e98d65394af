"""Segments on flash: what is whole is found by its number, what is not is passed over."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_bench import Bench, batches

from common import history_records as hr
from firmware import history as history_module
from firmware import segments as segments_module
from firmware.segments import Folder, Reader, header

N_CELLS = 3


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Some small segments, written over three starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_module, "SEGMENT_BYTES", 2000)
        bench = Bench(tmp_path_factory.mktemp("recorded"), N_CELLS, history_every_s=20)
        bench.run(2500, 20)
        bench.boot()
        bench.run(700, 20)
        bench.history.command(3, 1)
        bench.run(2500, 20)
        bench.boot()
        bench.run(1000, 20)
    return bench


@pytest.fixture
def bench(recorded: Bench) -> Iterator[Bench]:
    """What was recorded, put back as it was behind the test."""
    contents = {path: path.read_bytes() for path in recorded.segments()}
    yield recorded
    for path, content in contents.items():
        path.write_bytes(content)


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """One that goes on."""
    monkeypatch.setattr(history_module, "SEGMENT_BYTES", 1400)
    bench = Bench(tmp_path, N_CELLS, history_every_s=20)
    bench.run(1200, 20)
    return bench


def reader(bench: Bench) -> Reader:
    folder = Folder(str(bench.root / "history"))
    folder.look()
    return Reader(folder, N_CELLS)


def sealed(batch: bytes) -> bytes:
    return batch + struct.pack("<L", zlib.crc32(batch))


def read(one: Reader, number: int) -> dict[int, bytes]:
    one.seek(number)
    found: dict[int, bytes] = {}
    while one.next():
        assert one.record.number > max(found, default=0)
        found[one.record.number] = one.record.canonical()
    return found


def test_the_files_are_those_of_the_documentation(bench: Bench) -> None:
    number = 1
    assert len(bench.segments()) >= 4
    for path in bench.segments():
        content = path.read_bytes()
        assert path.name == f"{number:08x}"
        head = b"EHS1" + struct.pack("<LBL", zlib.crc32(b"EB-1"), N_CELLS, number)
        assert content[:17] == head + struct.pack("<L", zlib.crc32(head))
        assert content[:17] == header(zlib.crc32(b"EB-1"), N_CELLS, number)
        since_key = 0
        for k, (_at, _length, flags, count, first) in enumerate(batches(content)):
            assert first == number
            assert flags in (0, 1)
            assert flags or k, "the first is a key"
            since_key = count if flags else since_key + count
            assert since_key <= 32 + 255
            number += count
        assert len(content) <= 2000
    assert number == bench.history.file.last + 1


@pytest.mark.parametrize("step", [61, pytest.param(7, marks=pytest.mark.slow)])
def test_from_any_number_all_that_follow_are_found(bench: Bench, step: int) -> None:
    one = reader(bench)
    last = bench.history.file.last
    everything = read(one, 1)
    assert everything == {n: bench.sent[n] for n in range(1, last + 1)}
    for number in range(1, last + 1, step):
        found = read(one, number)
        assert min(found) <= number
        assert number - min(found) < 60, "the key before it"
        assert found == {n: everything[n] for n in range(min(found), last + 1)}
    firsts = [int(path.name, 16) for path in bench.segments()]
    for first in firsts[1:]:
        assert min(read(one, first)) == first
        assert min(read(one, first - 1)) < first
    for path in bench.segments():
        for _at, _length, flags, _count, first in batches(path.read_bytes()):
            assert (min(read(one, first)) == first) == (flags == 1)


def test_the_last_number_and_the_end_of_each_segment(bench: Bench) -> None:
    one = reader(bench)
    firsts = [int(path.name, 16) for path in bench.segments()]
    lasts = [first - 1 for first in firsts[1:]] + [bench.history.file.last]
    for place, path in enumerate(bench.segments()):
        assert one.last_number(place) == lasts[place]
        assert one.end == len(path.read_bytes())
    assert one.last_number(len(lasts)) == one.last_number(-1) == 0
    assert one.end == 0


def test_a_value_of_the_chain_stands_before_each_key(bench: Bench) -> None:
    chain, one = hr.first_chain(b"EB-1"), reader(bench)
    values = {1: chain}
    for number in range(1, bench.history.file.last + 1):
        chain = hr.next_chain(chain, bench.sent[number])
        values[number + 1] = chain
    keys = [first for path in bench.segments() for _a, _l, flags, _c, first in
            batches(path.read_bytes()) if flags]  # fmt: skip
    assert len(keys) >= 8
    found = {}
    one.seek(1)
    while one.next():
        if one.at_key:
            found[one.record.number] = bytes(one.chain)
    assert found == {number: values[number] for number in keys}


def test_where_a_record_stands_as_it_is_coded(bench: Bench) -> None:
    one, coder = reader(bench), hr.Coder(N_CELLS)
    into = bytearray(400)
    one.seek(1)
    while one.next():
        if one.at_key:
            coder.begin()
        size = coder.encode(one.record, into, 0)
        assert bytes(one.view[one.coded_at : one.coded_end]) == into[:size]


@pytest.mark.parametrize("step", [701, pytest.param(61, marks=pytest.mark.slow)])
def test_a_wrong_bit_anywhere_takes_its_batch_and_those_coded_against_it(
    bench: Bench, step: int
) -> None:
    one = reader(bench)
    everything = read(one, 1)
    for path in bench.segments()[:2]:
        content = path.read_bytes()
        every = batches(content)
        for at in range(0, len(content), step):
            spoiled = bytearray(content)
            spoiled[at] ^= 1 << at % 8
            path.write_bytes(spoiled)
            one.forget()
            lost: set[int] = set()
            hit = [k for k, batch in enumerate(every) if batch[0] <= at < batch[0] + batch[1]]
            for k in hit:
                for n, (_at, _length, flags, count, first) in enumerate(every[k:]):
                    if n and flags:
                        break
                    lost |= set(range(first, first + count))
            found = read(one, 1)
            assert found == {n: everything[n] for n in everything if n not in lost}, at
        path.write_bytes(content)
    one.forget()
    assert read(one, 1) == everything


def test_rubbish_between_batches_is_passed_over_and_its_numbers_are_not_believed(
    bench: Bench,
) -> None:
    everything = read(reader(bench), 1)
    path = bench.segments()[1]
    content = path.read_bytes()
    every = batches(content)
    place = every[3][0]
    for rubbish in (
        b"\xec", b"\xec\x48", b"\xec\x48\xff\xff", b"\xec\x48" + bytes(20), b"\xec" * 1500,
        b"\xec\x48\x0f\x00" * 300, bytes(4) + b"\xec\x48" + bytes(20),
        sealed(b"\xed" + content[place + 1 : every[4][0] - 4]),
        content[every[0][0] : every[0][0] + 30], b"\x48\xec" * 7,
    ):  # fmt: skip
        path.write_bytes(content[:place] + rubbish + content[place:])
        assert read(reader(bench), 1) == everything, rubbish[:8]
        end = every[-1][0] + every[-1][1]
        path.write_bytes(content[:end] + rubbish)
        one = reader(bench)
        assert read(one, 1) == everything
        assert one.last_number(1) == every[-1][4] + every[-1][3] - 1
        assert one.end == end


def test_a_batch_that_is_missing_takes_those_coded_against_it(bench: Bench) -> None:
    everything = read(reader(bench), 1)
    path = bench.segments()[1]
    content = path.read_bytes()
    every = batches(content)
    gone = next(k for k in range(1, len(every) - 1) if not every[k][2] and not every[k + 1][2])
    at, length = every[gone][:2]
    path.write_bytes(content[:at] + content[at + length :])
    following = next(
        (batch[4] for batch in every[gone:] if batch[2]), int(bench.segments()[2].name, 16)
    )
    found = read(reader(bench), 1)
    assert found == {n: c for n, c in everything.items() if not every[gone][4] <= n < following}


def test_a_batch_that_is_there_twice_is_read_once(bench: Bench) -> None:
    everything = read(reader(bench), 1)
    path = bench.segments()[1]
    content = path.read_bytes()
    at, length = next(batch[:2] for batch in batches(content)[1:] if not batch[2])
    path.write_bytes(content[: at + length] + content[at:])
    found = read(reader(bench), 1)
    assert all(everything[n] == found[n] for n in found)


def test_a_batch_of_the_largest_and_of_the_smallest_size_is_whole(tmp_path: Path) -> None:
    """1024 bytes, a key; then one that holds a reading of nothing, at the end of the file."""
    coder, record = hr.Coder(N_CELLS), hr.Record(N_CELLS)
    record.kind, record.body = hr.LOST, bytes(4)
    largest, smallest = bytearray(1024), bytearray(17)
    at = 10 + 32
    for _ in range(163):
        at = coder.encode(record, largest, at)
    struct.pack_into("<HHBBL", largest, 0, 0x48EC, 1024, 1, 163, 1)
    struct.pack_into("<L", largest, 1020, zlib.crc32(largest[:1020]))
    record.kind = hr.READING
    assert (at, coder.encode(record, smallest, 10)) == (1020, 13)
    struct.pack_into("<HHBBL", smallest, 0, 0x48EC, 17, 0, 1, 164)
    struct.pack_into("<L", smallest, 13, zlib.crc32(smallest[:13]))
    bench = Bench(tmp_path, N_CELLS)
    path = tmp_path / "history" / "00000001"
    path.write_bytes(header(zlib.crc32(b"EB-1"), N_CELLS, 1) + largest + smallest)
    assert list(read(reader(bench), 1)) == list(range(1, 165))
    assert reader(bench).last_number(0) == 164
    larger = bytearray(largest[:-4] + bytes(1))
    struct.pack_into("<H", larger, 2, 1025)
    path.write_bytes(path.read_bytes()[:17] + sealed(larger))
    assert read(reader(bench), 1) == {}


def test_what_is_written_behind_the_last_record_is_found_by_going_on(live: Bench) -> None:
    one = live.history._reader
    last = live.history.file.last
    found = read(one, last)
    assert max(found) == last
    n_files = len(live.segments())
    live.run(2000, 20)
    one.forget()
    more = {}
    while one.next():
        more[one.record.number] = one.record.canonical()
    assert more == {n: live.sent[n] for n in range(last + 1, live.history.file.last + 1)}
    assert len(live.segments()) > n_files, "over the end of a segment"


def test_a_segment_that_is_deleted_while_it_is_read_ends_the_reading(live: Bench) -> None:
    one = live.history._reader
    one.seek(1)
    assert one.next()
    live.history._folder.remove(0)
    one.forget()
    assert not one.next()
    first = live.history._folder.firsts[0]
    assert min(read(one, 1)) == first


def test_a_number_is_read_from_one_segment_only(bench: Bench) -> None:
    """What a segment has from the next one's first number on was given up."""
    everything = read(reader(bench), 1)
    older, newer = bench.segments()[:2]
    content, more = older.read_bytes(), newer.read_bytes()
    every = batches(more)
    key = next(k for k in range(1, len(every)) if every[k][2])
    older.write_bytes(content + more[17 : every[key][0]])
    one = reader(bench)
    assert read(one, 1) == everything
    # The batch reaches beyond the number.
    older.write_bytes(content)
    newer.rename(newer.with_name(f"{every[0][4] - 3:08x}"))
    try:
        found = read(reader(bench), 1)
    finally:
        newer.with_name(f"{every[0][4] - 3:08x}").unlink()
    assert found == {n: c for n, c in everything.items() if not every[0][4] - 3 <= n < every[0][4]}


def test_a_file_that_is_shorter_than_it_was_ends_the_reading_there(bench: Bench) -> None:
    path = bench.segments()[-1]
    content = path.read_bytes()
    every = batches(content)
    for size in (every[2][0], every[2][0] + 1, every[2][0] + 9, every[2][0] + 10, every[3][0] - 1):
        one = reader(bench)
        path.write_bytes(content[:size])
        assert max(read(one, every[0][4])) == every[2][4] - 1, size
        assert one.last_number(len(bench.segments()) - 1) == every[2][4] - 1
        path.write_bytes(content)


def test_before_it_is_told_where_to_begin_nothing_is_read(bench: Bench) -> None:
    assert not reader(bench).next()


def test_files_that_change_between_any_two_records_lose_none(bench: Bench) -> None:
    one = reader(bench)
    everything = read(one, 1)
    one.seek(1)
    found = {}
    while one.next():
        found[one.record.number] = one.record.canonical()
        one.forget()
    assert found == everything


def test_what_becomes_broken_while_it_is_read_is_not_read(bench: Bench) -> None:
    one = reader(bench)
    path = bench.segments()[0]
    every = batches(path.read_bytes())
    at, _length, _flags, _count, first = next(b for b in every if b[3] > 2)
    key = next(b[4] for b in every if b[2] and b[4] > first)
    one.seek(first)
    while one.record.number != first + 1:
        assert one.next()
    content = bytearray(path.read_bytes())
    content[at + 12] ^= 1
    path.write_bytes(content)
    one.forget()
    assert one.next()
    assert one.record.number == key


def test_a_broken_end_of_a_segment_leads_to_the_next_one(bench: Bench) -> None:
    everything = read(reader(bench), 1)
    path = bench.segments()[1]
    content = path.read_bytes()
    last = batches(content)[-1]
    path.write_bytes(content[:-1])
    lost = set(range(last[4], last[4] + last[3]))
    assert read(reader(bench), 1) == {n: c for n, c in everything.items() if n not in lost}


def test_what_is_behind_the_bytes_that_count_is_not_read(bench: Bench) -> None:
    one = reader(bench)
    everything = read(one, 1)
    last = batches(bench.segments()[-1].read_bytes())[-1]
    one._folder.sizes[-1] -= 1
    assert read(one, 1) == {n: c for n, c in everything.items() if n < last[4]}


def test_a_segment_without_a_whole_batch_has_no_record_whatever_was_read_before(
    tmp_path: Path, bench: Bench
) -> None:
    content = bench.segments()[0].read_bytes()
    whole = content[: batches(content)[0][1] + 17]
    folder = Folder(str(tmp_path))
    for n_bytes in range(15, 60):
        (tmp_path / "00000001").write_bytes(whole[:17] + bytes(n_bytes) + whole[17:])
        (tmp_path / "00001000").write_bytes(bytes(17 + n_bytes))
        folder.look()
        one = Reader(folder, N_CELLS)
        assert read(one, 1)
        assert read(one, 0x1000) == {}


def test_a_batch_that_is_whole_but_has_no_room_for_what_it_tells_of(tmp_path: Path) -> None:
    """Nobody writes one; its CRC is none of what is in it."""
    head = header(7, N_CELLS, 1)
    key = sealed(
        struct.pack("<HHBBL", 0x48EC, 42 + 6 + 4, 1, 1, 1) + bytes(32) + b"\x08" + bytes(5)
    )
    cut = sealed(struct.pack("<HHBBL", 0x48EC, 10 + 2 + 4, 0, 1, 2) + b"\x08\x00")
    short = sealed(struct.pack("<HHBBL", 0x48EC, 10 + 26 + 4, 1, 9, 3) + bytes(26))
    path = tmp_path / "00000001"
    folder = Folder(str(tmp_path))
    for content, last, end in (
        (head + key + cut, 2, len(head + key + cut)), (head + key + short, 1, len(head + key)),
    ):  # fmt: skip
        path.write_bytes(content)
        folder.look()
        one = Reader(folder, N_CELLS)
        assert list(read(one, 1)) == [1]
        assert (one.last_number(0), one.end) == (last, end)


def test_flash_is_read_about_once_and_where_it_failed_reading_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = read(reader(bench), 1)
    path = bench.segments()[1]
    content = path.read_bytes()
    place = batches(content)[3][0]
    path.write_bytes(content[:place] + bytes(3000) + content[place:])
    reads = []
    failing: set[int] = set()

    def opened(name: str, mode: str) -> object:
        reads.append(name)
        if len(reads) in failing:
            raise OSError("flash")
        return Path(name).open(mode)

    monkeypatch.setattr(segments_module, "open", opened, raising=False)
    one = reader(bench)
    one.seek(1)
    reads.clear()
    while one.next():
        pass
    kilobytes = sum(path.stat().st_size for path in bench.segments()) / 1000
    assert len(reads) < 1.5 * kilobytes + len(bench.segments())
    failing.update(range(2, 20, 3))
    reads.clear()
    one = reader(bench)
    one.seek(1)
    found = {}
    going = True
    while going:
        try:
            going = one.next()
        except OSError:
            continue
        found[one.record.number] = one.record.canonical()
    assert found == everything
    assert len(reads) > 10
