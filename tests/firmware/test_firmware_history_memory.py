"""How records wait in memory, and what is told of them meanwhile."""

from pathlib import Path

import pytest
from history_bench import Bench, batches

from common import history_records as hr

N_CELLS = 3
EVENT_BYTES = 6  # kind, seconds, body of LOST
KEY_HEAD_BYTES = 10 + 32
ROOM_BYTES = 1024 - 4 - (66 + 3 * N_CELLS)  # of a batch, before its last record


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, N_CELLS)


def test_a_batch_takes_records_until_the_largest_might_not_fit(bench: Bench) -> None:
    while bench.history._lost == 0:
        bench.happens(0)
    # The first one tells the start of the board as well.
    assert len(bench.sent) == (ROOM_BYTES - KEY_HEAD_BYTES - 1) // EVENT_BYTES + 1
    bench.happens(0)
    bench.history.store(1)
    assert bench.told()[-1] == (hr.LOST, (2,)), "in one record, of how many"
    assert bench.model()["Lost"] == 2
    bench.happens(0)
    bench.history.store(2)
    assert bench.told()[-1] == (hr.LOST, (0,)), "it is told once"
    while bench.history._lost == 2:
        bench.happens(0)
    bench.history.store(3)
    assert bench.told()[-1] == (hr.LOST, (1,)), "the next time it counts anew"
    assert bench.model()["Lost"] == 3


def test_a_batch_that_has_just_the_room_takes_one_more(tmp_path: Path) -> None:
    """A command has 5 bytes, the first one the start as well; 7 cells: 178 fill it exactly."""
    bench = Bench(tmp_path, 7)
    while bench.history._lost == 0:
        bench.history.event(hr.COMMAND, 0, None, 1, 1)
    assert KEY_HEAD_BYTES + 1 + 5 * 178 == 1024 - 4 - (66 + 3 * 7)
    assert len(bench.sent) == 178 + 1


def test_the_charge_of_a_reading_that_had_no_room_is_in_the_next_one(bench: Bench) -> None:
    while bench.history._lost == 0:
        bench.happens(0)
    bench.step(1, valid=True, delta_uah=500)
    bench.history.store(2)
    bench.step(61, valid=True, delta_uah=70)
    assert [values[5] for kind, values in bench.told() if kind == hr.READING] == [570]


def test_a_batch_has_255_records_at_most(bench: Bench) -> None:
    for n in range(400):
        bench.step(2 + 60 * n)
    assert len(bench.sent) == 255
    bench.history.store(30000)
    assert batches(bench.segments()[0].read_bytes())[0][2:] == (1, 255, 1)
    assert len(bench.read().records) == 255
    assert bench.told()[-1] == (hr.LOST, (145,))


def test_the_head_of_the_chain_is_told_only_when_nothing_waits(bench: Bench) -> None:
    first = hr.first_chain(b"EB-1")
    assert bench.head() == (0, first)
    bench.happens(1)
    bench.history.store(1)
    assert bench.head() == (1, bench.chain_behind(1))
    bench.history._lost = 3
    bench.happens(2)
    bench.history._tell()
    assert bench.head() == (1, bench.chain_behind(1))
    assert bench.model()["Lost"] == 3


def test_the_model_tells_what_is_kept(bench: Bench) -> None:
    model = bench.model()
    assert [model[name] for name in ("Seq", "SeqEnd", "Boot", "Every", "Used", "Lost")] == [
        0, 0, 1, 60, 0, 0,
    ]  # fmt: skip
    assert (model["First"], model["Last"]) == (None, None)
    bench.snapshot.seq = 76
    bench.step(1)
    bench.history.store(301)
    model = bench.model()
    assert [
        model[name] for name in ("Seq", "SeqEnd", "Boot", "First", "Last", "Used", "HeadN")
    ] == [77, 77, 1, 1, 1, 4096, 1]  # fmt: skip
