"""The board's history: what is acknowledged stays, in order, and what is lost is seen."""

import contextlib
import errno
import itertools
import random
import struct
from pathlib import Path

import pytest
from history_bench import UTC_S, Bench
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from interpreters import HERE, run

from common import history_records as hr
from common.history_records import BODIES, COMMAND, FAULT, LOST, READING, TIME
from firmware import history as history_module
from firmware import storage
from firmware.segments import HEADER_BYTES, SEGMENT_BYTES


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def segments(bench: Bench) -> list[Path]:
    return sorted((bench.root / "history").iterdir())


def body(canonical: bytes) -> tuple:
    return struct.unpack("<" + BODIES[canonical[4]], canonical[18:])


def test_a_reading_a_minute_is_kept_and_comes_back_as_it_was(bench: Bench) -> None:
    bench.run(3500)
    kept = bench.read()
    assert list(kept.records) == list(range(1, 57))
    assert kept.records == {n: bench.sent[n] for n in kept.records}
    assert kept.broken == []
    assert max(bench.sent) == 60, "those of the last minutes wait in memory"


def test_the_head_of_the_chain_is_told_with_its_number(bench: Bench) -> None:
    bench.run(3600)
    model, kept = bench.model(), bench.read()
    head = b"".join(struct.pack(">L", model[f"Head{n}"]) for n in range(1, 9))
    assert (model["HeadN"], head) == (kept.chain.number, kept.chain.value)
    assert (model["First"], model["Last"], model["Every"], model["Lost"]) == (1, 62, 60, 0)


def test_the_charge_of_the_readings_adds_up(bench: Bench) -> None:
    bench.run(3600)
    kept = bench.read()
    charge = sum(charge_uah(kept.records[n]) for n in kept.readings())
    assert charge == -400 * kept_seconds(kept)


def test_what_happened_is_kept_at_once(bench: Bench) -> None:
    bench.run(10)
    bench.protection.active = 1 << 3 | 1 << 7
    bench.protection.last_fault, bench.protection.last_fault_value = 7, -61
    bench.cycle()
    bench.protection.active = 1 << 7
    bench.cycle()
    bench.history.command(3, 1)
    bench.cycle()
    kept = bench.read()
    s = bench.snapshot
    assert [kept.kinds[n] for n in kept.records] == [
        TIME, READING, FAULT, FAULT, FAULT, COMMAND,
    ]  # fmt: skip
    faults = [body(kept.records[n])[:2] for n in (3, 4, 5)]
    assert faults == [(3, 1), (7, 1), (3, 0)]
    assert body(kept.records[4])[5:] == (s.min_dc - s.seq % 3 + 11 % 3, 251 + 1, 5000, -61)
    assert body(kept.records[6]) == (3, 1)


def times(bench: Bench) -> list[tuple]:
    """Record's UTC, old UTC, new UTC, less what it was at the start."""
    kept = bench.read()
    told = [kept.records[n] for n, kind in kept.kinds.items() if kind == TIME]
    return [
        tuple(s - UTC_S if s != 0xFFFFFFFF else None for s in (utc_s(c), *body(c))) for c in told
    ]


def utc_s(canonical: bytes) -> int:
    return struct.unpack_from("<L", canonical, 14)[0]


def test_a_jump_of_the_clock_is_recorded_and_what_stands_is_left_as_it_was(bench: Bench) -> None:
    bench.utc_s = None
    bench.run(100)
    before = dict(bench.read().records)
    bench.utc_s = UTC_S
    bench.run(100)
    bench.utc_s += 3600
    bench.run(100)
    bench.utc_s -= 7200
    bench.run(100)
    bench.utc_s = None
    bench.run(100)
    bench.utc_s = UTC_S - 3600
    bench.run(100)
    assert times(bench) == [
        (101, None, 101), (3801, 201, 3801), (-3299, 3901, -3299), (-3099, None, -3099),
    ]  # fmt: skip
    kept = bench.read()
    assert {n: kept.records[n] for n in before} == before
    assert kept.records == {n: bench.sent[n] for n in kept.records}
    assert kept.broken == []


@pytest.mark.parametrize(("by_s", "is_told"), [(1, False), (-1, False), (2, True), (-2, True)])
def test_a_second_of_rounding_is_no_jump(bench: Bench, by_s: int, is_told: bool) -> None:
    bench.run(10)
    bench.utc_s += by_s
    bench.run(10)
    assert times(bench)[1:] == [(11 + by_s, 11, 11 + by_s)][: 1 if is_told else 0]


def test_evidence_is_kept_when_it_is_new(bench: Bench) -> None:
    bench.estimators.soh_age_s = 5000  # restored
    bench.run(3)
    bench.estimators.soh_age_s = 0
    bench.cycle()
    for age_s in (1, 2):
        bench.estimators.soh_age_s = age_s
        bench.cycle()
    kept = bench.read()
    found = [n for n, kind in kept.kinds.items() if kind == hr.EVIDENCE]
    assert [body(kept.records[n]) for n in found] == [
        (9000, 8800, 9200, 2, 45000, 44000, 46000),
    ]


def test_numbers_and_chain_go_on_after_a_restart(bench: Bench) -> None:
    for _ in range(5):
        bench.run(1000)
        last = bench.history.file.last
        bench.boot()
        assert bench.history.file.last == last
    bench.run(400)
    kept = bench.read()
    assert list(kept.records) == list(range(1, bench.history.file.last + 1))
    assert kept.records == {n: bench.sent[n] for n in kept.records}
    assert kept.broken == []
    assert len(segments(bench)) == 1


@pytest.mark.slow
def test_the_oldest_segment_goes_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path, history_every_s=10, history_kb=64)
    bench.run(40000, 10)
    model = bench.model()
    assert 1 < model["First"] < model["Last"]
    assert model["Used"] <= 64 * 1024
    assert sum(path.stat().st_size for path in segments(bench)) > 48000
    assert all(path.stat().st_size <= SEGMENT_BYTES for path in segments(bench))
    kept = bench.read()
    assert list(kept.records) == list(range(model["First"], model["Last"] + 1))
    assert kept.records == {n: bench.sent[n] for n in kept.records}
    assert kept.broken == []


@pytest.mark.slow
def test_a_gateway_that_was_away_is_sent_to_the_oldest_there_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path, history_every_s=10, history_kb=64)
    bench.run(40000, 10)
    first = bench.model()["First"]
    assert next(iter(bench.read(5).records)) == first


@pytest.mark.slow
def test_any_number_can_be_asked_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, history_every_s=10)
    bench.run(12000, 10)
    bench.boot()
    bench.run(3000)
    last = bench.history.file.last
    numbers = [*range(1, last + 1, 13), last]
    random.Random(1).shuffle(numbers)
    for number in numbers:
        packet = bench.packet(number)
        coder, record = hr.Coder(16), hr.Record(16)
        _v, _crc, asked, first, count, chained = struct.unpack_from(hr.PACKET_HEAD, packet)
        assert (asked, first) == (number, number)
        at = hr.PACKET_HEAD_BYTES + (hr.CHAIN_BYTES if chained else 0)
        for n in range(number, number + count):
            at = coder.decode(packet, at, len(packet), record)
            record.number = n
            assert record.canonical() == bench.sent[n]
        assert not any(packet[at:])


def test_what_is_not_there_cannot_be_asked_for(bench: Bench) -> None:
    assert bench.packet(1) == -2
    bench.run(400)
    last = bench.history.file.last
    assert bench.packet(0) == bench.packet(last + 1) == -2
    assert bench.packet(1, 7) == -2, "no head fits"
    assert bench.packet(1, 12) == -2, "no record fits"
    assert isinstance(bench.packet(1, 124), bytes)


def test_a_lost_answer_can_be_asked_for_again(bench: Bench) -> None:
    bench.run(7200)
    first = bench.packet(1)
    second = bench.packet(7)
    assert bench.packet(7) == second
    assert bench.packet(1) == first


@pytest.mark.parametrize("n_cells", [3, 16, 72])
def test_the_largest_record_fits_into_an_answer(tmp_path: Path, n_cells: int) -> None:
    bench = Bench(tmp_path, n_cells, rated_mah=1000000)
    s = bench.snapshot
    s.valid, s.current_ma, s.delta_uah, s.switches = True, -300000, 83000000, 15
    for i in range(n_cells):
        s.cell_mv[i] = 6500 * (i % 2)
    s.temp_dc[:] = s.temp_dc.__class__("h", [-399, 1000, -399, 1000])
    s.fet_dc, s.afe_dc = 1200, -399
    bench.protection.active = (1 << 30) - 1
    bench.boot_number = 1 << 30
    bench.boot()
    s.uptime_s = 1 << 30
    bench.history.cycle(s, bench.protection, bench.estimators, 0xFFFFFFFE)
    bench.history.store(s.uptime_s)
    while bench.history._used:
        s.uptime_s += 60
        bench.history.store(s.uptime_s)
    assert len(bench.read().readings()) == 1


# --- what goes wrong ----------------------------------------------------------------------------


def failing_open(bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Let every opening for writing fail while the list that is returned is not empty."""
    failing = [1]
    real = open

    def opened(path: str, mode: str = "r", **more: object) -> object:
        if failing and mode in ("wb", "r+b"):
            raise OSError(number, "flash")
        return real(path, mode, **more)

    monkeypatch.setattr(storage, "open", opened, raising=False)
    return failing


def cycles(bench: Bench, n: int) -> None:
    for _ in range(n):
        bench.cycle(store=False)
        with contextlib.suppress(OSError):
            bench.history.store(bench.snapshot.uptime_s)


def test_flash_that_refuses_for_a_while_loses_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(300)
    failing = failing_open(bench, monkeypatch, errno.EIO)
    bench.history._tries = -(10**9)  # what it is when it is tried every ten seconds
    cycles(bench, 300)
    failing.clear()
    bench.run(600)
    kept = bench.read()
    assert list(kept.records) == list(range(1, bench.history.file.last + 1))
    assert LOST not in kept.kinds.values()


@pytest.mark.slow
def test_records_that_found_no_room_are_counted_in_a_record(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = failing_open(bench, monkeypatch, errno.EIO)
    cycles(bench, 10000)
    failing.clear()
    bench.run(1000)
    kept = bench.read()
    lost = [n for n, kind in kept.kinds.items() if kind == LOST]
    (untold,) = body(kept.records[lost[0]])
    assert len(lost) == 1
    assert untold > 100
    assert untold == bench.model()["Lost"]
    assert len(kept.readings()) + untold == kept_seconds(kept) // 60 + 1
    assert kept.broken == []
    charge = sum(charge_uah(kept.records[n]) for n in kept.readings())
    assert charge == -400 * kept_seconds(kept), "what was counted is not lost with a reading"


def charge_uah(canonical: bytes) -> int:
    """Of a reading."""
    return struct.unpack_from("<l", canonical, 18 + 1 + 2 * canonical[18] + 2)[0]


def kept_seconds(kept: object) -> int:
    """Run time of the last reading."""
    return struct.unpack("<L", kept.records[kept.readings()[-1]][9:13])[0]


def test_a_segment_that_takes_no_more_is_left_and_the_numbers_jump(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(700)
    last = bench.history.file.last
    failing = failing_open(bench, monkeypatch, errno.EIO)
    cycles(bench, 400)
    failing.clear()
    bench.run(1000)
    kept = bench.read()
    numbers = list(kept.records)
    jump = numbers.index(last) + 1
    assert numbers[:jump] == list(range(1, last + 1))
    assert numbers[jump] > last + 1
    assert numbers[jump:] == list(range(numbers[jump], bench.history.file.last + 1))
    assert kept.records == {n: bench.sent[n] for n in kept.records}
    assert len(segments(bench)) == 2
    assert bench.model()["Lost"] == numbers[jump] - last - 1


@pytest.mark.slow
def test_a_full_disk_makes_room_of_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, history_every_s=10)
    bench.run(15000, 10)
    n_segments = len(segments(bench))
    assert n_segments >= 3
    failing = failing_open(bench, monkeypatch, errno.ENOSPC)
    for n in itertools.count():
        cycles(bench, 1)
        if len(segments(bench)) < n_segments or n > 1000:
            break
    failing.clear()
    bench.run(600)
    kept = bench.read()
    assert bench.model()["First"] > 1
    assert list(kept.records) == list(range(bench.model()["First"], bench.model()["Last"] + 1))
    assert kept.broken == []


@pytest.mark.slow
def test_room_is_left_for_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, history_every_s=10)
    monkeypatch.setattr(
        history_module.os, "statvfs", lambda _path: (4096, 4096, 256, 19, 19, 0, 0, 0, 0, 255)
    )
    bench.run(30000, 10)
    assert len(segments(bench)) <= 2


def test_a_folder_that_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.run(400)
    last = bench.history.file.last
    (tmp_path / "history").rename(tmp_path / "away")
    (tmp_path / "history").write_text("in the way")
    bench.boot()
    cycles(bench, 400)
    (tmp_path / "history").unlink()
    (tmp_path / "away").rename(tmp_path / "history")
    bench.run(400)
    kept = bench.read()
    assert list(kept.records) == list(range(1, bench.history.file.last + 1))
    assert bench.history.file.last > last
    assert LOST in kept.kinds.values()


@pytest.mark.slow
def test_somebody_who_repeats_commands_does_not_wear_out_the_flash(bench: Bench) -> None:
    writes = []
    write = bench.history._write
    bench.history._write = lambda: (writes.append(bench.snapshot.uptime_s), write())
    for _ in range(3600):
        bench.history.command(2, 1)
        bench.cycle()
    assert len(writes) < 20 + 2 * 60 + 20
    assert len(bench.read().records) > 3000


def test_the_history_of_another_pack_is_not_this_one_s(tmp_path: Path) -> None:
    one = Bench(tmp_path)
    one.run(700)
    last = one.history.file.last
    other = Bench(tmp_path, serial="EB-2")
    assert other.packet(1) == -2
    other.run(700)
    kept = other.read()
    assert min(kept.records) == last + 1, "a number is never given twice"
    assert kept.records == {n: other.sent[n] for n in kept.records}
    assert len(segments(other)) == 1


# --- power cuts and bit errors ------------------------------------------------------------------


@pytest.mark.slow
def test_a_write_cut_at_any_byte_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    bench = Bench(tmp_path, history_every_s=10)
    bench.run(905)
    path = segments(bench)[0]
    old = path.read_bytes()
    acknowledged = bench.history.file.last
    bench.run(300)
    new = path.read_bytes()
    assert new.startswith(old)
    assert len(new) > len(old)
    for cut in range(len(old), len(new)):
        path.write_bytes(new[:cut])
        bench.boot()
        kept = bench.read()
        assert [n for n in kept.records if n <= acknowledged] == list(range(1, acknowledged + 1))
        assert kept.records == {n: bench.sent[n] for n in kept.records}
        assert kept.broken == []
        if cut % 160 == 0:  # and it goes on
            sent = dict(bench.sent)
            bench.run(400)
            again = bench.read()
            assert again.records == {n: bench.sent[n] for n in again.records}
            assert len(again.records) > len(kept.records)
            bench.sent = sent
            for other in segments(bench)[1:]:
                other.unlink()


@pytest.mark.slow
def test_a_segment_whose_first_write_was_cut_is_no_segment(tmp_path: Path) -> None:
    bench = Bench(tmp_path, history_every_s=10)
    bench.run(9000, 10)
    last = bench.history.file.last
    whole = segments(bench)[-1].read_bytes()
    for cut in range(HEADER_BYTES + 200):
        path = bench.root / "history" / f"{last + 1:08x}"
        path.write_bytes(whole[:cut])
        bench.boot()
        assert not path.exists()
        assert bench.history.file.last == last


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(tmp_path_factory.mktemp("recorded"), 8, history_every_s=10)
    bench.run(15000, 10)
    bench.chain = bench.read().chain.value
    return bench


@hypothesis_settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 7)), min_size=1, max_size=6),
    st.booleans(),
)
def test_wrong_bits_never_make_a_wrong_record(
    recorded: Bench, errors: list[tuple[int, int]], restarted: bool
) -> None:
    paths = segments(recorded)
    contents = [path.read_bytes() for path in paths]
    total = sum(map(len, contents))
    spoiled = bytearray(b"".join(contents))
    for place, bit in errors:
        spoiled[place % total] ^= 1 << bit
    at = 0
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(spoiled[at : at + len(content)])
        at += len(content)
    last = recorded.history.file.last
    try:
        if restarted:
            recorded.boot()
            assert recorded.history.file.last >= last, "no number is given twice"
        else:
            recorded.history.file.changed()
            recorded.history.file._next = 0
        kept = recorded.read()
    finally:
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        for path in segments(recorded):
            if path not in paths:
                path.unlink()
        if restarted:
            recorded.boot()
    assert kept.records == {n: recorded.sent[n] for n in kept.records}
    assert list(kept.records) == sorted(kept.records)
    assert len(kept.records) >= last - 130 * len(errors), "what lies between two key batches"
    if not restarted:
        assert kept.broken == []


@pytest.mark.slow
def test_a_power_cut_at_any_operation_of_littlefs_loses_nothing(board_micropython: str) -> None:
    """One in nine of all cuts, each in another way; all of them: ``history_cuts.py``."""
    script = HERE / "scripts" / "history_cuts.py"
    done = run(board_micropython, "-X", "heapsize=8m", script, "10")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    printed = done.stdout.splitlines()
    operations, cuts = (line.split() for line in printed[-2:])
    assert int(operations[1]) > 250
    assert int(operations[4]) > 1, "segments rotate"
    assert int(cuts[1]) > 250
    assert cuts[-1] == "0"
