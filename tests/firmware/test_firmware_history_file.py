"""What function 20 answers: the records from a number on, as many as fit, found once."""

import errno
import struct
from pathlib import Path

import pytest
from history_bench import UTC_S, Bench

from common import history_records as hr
from firmware import segments


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Readings with and without time and measurement, and events among them."""
    bench = Bench(tmp_path, 4, history_every_s=10)
    bench.utc_s = None
    bench.run(300, 10)
    bench.utc_s = UTC_S
    bench.run(300, 10)
    for _ in range(4):
        bench.snapshot.uptime_s += 10
        bench.snapshot.valid = False
        bench.history.cycle(
            bench.snapshot, bench.protection, bench.estimators, UTC_S + bench.snapshot.uptime_s
        )
        bench.run(20, 10)
        bench.history.command(3, 1)
    for _ in range(4):
        bench.utc_s = None
        bench.run(20, 10)
        bench.utc_s = UTC_S
        bench.run(30, 10)
    bench.utc_s += 7000
    bench.run(300, 10)
    bench.run(600, 10)
    return bench


def parts(packet: bytes) -> tuple[int, int, int, bytes | None, list[bytes]]:
    """Asked, first, count, the chain's value, and what each record is coded as."""
    _version, _crc, asked, first, count, chained = struct.unpack_from(hr.PACKET_HEAD, packet)
    at = hr.PACKET_HEAD_BYTES
    chain = None
    if chained:
        chain = packet[at : at + hr.CHAIN_BYTES]
        at += hr.CHAIN_BYTES
    coder, found = hr.Coder(4), []
    for _ in range(count):
        end = coder.decode(packet, at, len(packet), hr.Record(4))
        found.append(packet[at:end])
        at = end
    assert not any(packet[at:])
    return asked, first, count, chain, found


def canonical(bench: Bench, packet: bytes) -> dict[int, bytes]:
    _asked, first, count, chain, _found = parts(packet)
    at = hr.PACKET_HEAD_BYTES + (hr.CHAIN_BYTES if chain else 0)
    coder, record, found = hr.Coder(4), hr.Record(4), {}
    for number in range(first, first + count):
        at = coder.decode(packet, at, len(packet), record)
        record.number = number
        found[number] = record.canonical()
    return found


def test_from_any_number_on_come_those_records_coded_by_themselves(bench: Bench) -> None:
    last = bench.history.file.last
    assert last > 100
    for number in range(1, last + 1):
        found = canonical(bench, bench.packet(number))
        assert list(found) == list(range(number, number + len(found)))
        assert found == {n: bench.sent[n] for n in found}
        assert found


def test_an_answer_ends_where_it_is_full_or_a_value_of_the_chain_follows(bench: Bench) -> None:
    number, counts = 1, []
    while number <= bench.history.file.last:
        packet = bench.packet(number)
        count = parts(packet)[2]
        following = bench.packet(number + count)
        ends = number + count > bench.history.file.last or parts(following)[3] is not None
        used = len(packet.rstrip(b"\0"))
        assert ends or used + 60 > len(packet), (number, count, used)
        number += count
        counts.append(count)
    assert sum(counts) == bench.history.file.last
    assert max(counts) >= 8


def test_before_the_first_record_there_is_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 4)
    assert [bench.packet(n) for n in (0, 1, 2)] == [-2, -2, -2]
    bench.run(400, 10)
    assert [bench.packet(n) for n in (0, bench.history.file.last + 1)] == [-2, -2]


def test_one_after_the_other_they_are_found_once(bench: Bench) -> None:
    seeks = []
    seek = bench.history._reader.seek
    bench.history._reader.seek = lambda number: (seeks.append(number), seek(number))
    number, seen = 1, {}
    while number <= bench.history.file.last:
        found = canonical(bench, bench.packet(number))
        seen |= found
        number += len(found)
    assert seeks == [1]
    assert seen == {n: bench.sent[n] for n in range(1, bench.history.file.last + 1)}
    bench.run(600, 10)
    assert canonical(bench, bench.packet(number))[number] == bench.sent[number]
    assert seeks == [1], "what was written since goes on from there"
    bench.packet(number)
    assert seeks == [1, number], "an answer that was lost"


def test_as_many_come_as_there_is_room_for(bench: Bench) -> None:
    for number in (1, 20, 40, 66, 100):
        *_rest, chain, most = parts(bench.packet(number))
        head = hr.PACKET_HEAD_BYTES + (hr.CHAIN_BYTES if chain else 0)
        for words in range(1, 125):
            packet = bench.packet(number, words)
            fit = [
                n for n in range(1, len(most) + 1) if head + sum(map(len, most[:n])) <= 2 * words
            ]
            if not fit:
                assert packet == -2
                continue
            assert len(packet) == 2 * words
            assert parts(packet)[4] == most[: fit[-1]]


def test_the_answer_stands_where_it_is_wanted_and_nowhere_else(bench: Bench) -> None:
    into = bytearray(b"\xaa" * 300)
    assert bench.history.file.read(1, 1, 100, into, 20) == 100
    assert into[:20] == b"\xaa" * 20
    assert into[220:] == b"\xaa" * 80
    assert bytes(into[20:220]) == bench.packet(1, 100)


def test_a_packet_ends_before_a_value_of_the_chain(bench: Bench) -> None:
    number, firsts = 1, []
    while number <= bench.history.file.last:
        _asked, _first, count, chain, _found = parts(bench.packet(number))
        if chain is not None:
            firsts.append(number)
        number += count
    assert firsts[0] == 1
    assert len(firsts) >= 4
    for first in firsts[1:]:
        _asked, begin, count, chain, _found = parts(bench.packet(first - 1))
        assert (begin, count, chain) == (first - 1, 1, None)


@pytest.mark.parametrize("begin", [9_990, 19_990])
def test_ten_thousand_records_make_a_file(tmp_path: Path, begin: int) -> None:
    bench = Bench(tmp_path, 4, history_every_s=10)
    bench.history._number = begin
    bench.run(1500, 10)
    file, into = bench.history.file, bytearray(248)
    for number in (begin + 9, begin + 10, begin + 11):
        assert file.read(1 + number // 10000, number % 10000, 124, into, 0) == 124
        assert parts(bytes(into))[:2] == (number, number)


def test_records_that_cannot_be_read_at_the_end_are_said_to_be_none(bench: Bench) -> None:
    path = next((bench.root / "history").iterdir())
    content = bytearray(path.read_bytes())
    at = content.rindex(b"\xec\x48")
    first = struct.unpack_from("<L", content, at + 6)[0]
    content[at + 12] ^= 1
    path.write_bytes(content)
    bench.history.file.changed()
    last = bench.history.file.last
    assert parts(bench.packet(first)) == (first, last + 1, 0, None, [])
    assert parts(bench.packet(first, 8))[:3] == (first, last + 1, 0)
    assert bench.packet(first, 7) == -2
    asked, begin, count, _chain, _found = parts(bench.packet(first - 1))
    assert (asked, begin, count) == (first - 1, first - 1, 1)


def test_flash_that_cannot_be_read_is_a_failure_and_later_it_can(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {n: bench.packet(n) for n in (1, 50)}
    following = 50 + parts(before[50])[2]
    wanted = bench.packet(following)

    def broken(*_arguments: object) -> object:
        raise OSError(errno.EIO, "flash")

    bench.packet(50)
    with monkeypatch.context() as patch:
        patch.setattr(segments, "open", broken, raising=False)
        assert bench.packet(following) == -4
    assert bench.packet(1) == before[1]
    with monkeypatch.context() as patch:
        patch.setattr(segments, "open", broken, raising=False)
        assert bench.packet(following) == -4
    assert bench.packet(following) == wanted
    with monkeypatch.context() as patch:
        patch.setattr(segments, "open", broken, raising=False)
        assert bench.packet(following + 1) == -4
    assert bench.packet(following) == wanted
