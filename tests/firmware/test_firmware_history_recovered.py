"""What a start makes of the segments that are there: where numbers and chain go on."""

import errno
from pathlib import Path

import pytest
from history_bench import Bench, batches

from common import history_records as hr
from firmware import segments, storage

N_CELLS = 3


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, N_CELLS)


def kept(bench: Bench, n: int) -> Path:
    """``n`` records in one segment, written by a start that is over."""
    for k in range(n):
        bench.happens(60 * k)
        bench.history.store(60 * k)
    return bench.segments()[-1]


def broken(*_arguments: object) -> object:
    raise OSError(errno.EIO, "flash")


def goes_on(bench: Bench) -> dict[int, bytes]:
    """The records after one more."""
    bench.happens(1)
    bench.history.store(1)
    found = bench.read()
    assert found.records == {n: bench.sent[n] for n in found.records}
    assert found.broken == []
    return found.records


def test_the_next_start_goes_on_behind_the_last_record(bench: Bench) -> None:
    path = kept(bench, 5)
    chain = bench.chain_behind(5)
    bench.boot()
    model = bench.model()
    assert (model["First"], model["Last"], model["Boot"], model["Lost"]) == (1, 5, 2, 0)
    assert bench.head() == (5, chain)
    assert list(goes_on(bench)) == [1, 2, 3, 4, 5, 6]
    assert batches(path.read_bytes())[-1][2] == 1, "coded by itself"


def test_behind_what_is_broken_at_the_end_numbers_and_chain_begin_anew(bench: Bench) -> None:
    path = kept(bench, 5)
    chain = bench.chain_behind(5)
    path.write_bytes(path.read_bytes() + b"\xec")
    bench.boot()
    assert (bench.model()["First"], bench.model()["Last"]) == (1, 5 + 256)
    assert bench.head() == (5 + 256, hr.next_chain(chain, b""))
    assert list(goes_on(bench)) == [1, 2, 3, 4, 5, 5 + 257]
    assert [other.name for other in bench.segments()] == ["00000001", f"{5 + 257:08x}"]


def test_a_chain_that_cannot_be_computed_goes_on_from_zeros(bench: Bench) -> None:
    path = kept(bench, 5)
    content = bytearray(path.read_bytes())
    content[17 + 20] ^= 1  # in the only key
    path.write_bytes(content)
    bench.boot()
    assert bench.head() == (5, hr.next_chain(bytes(32), b""))
    assert list(goes_on(bench)) == [6]
    content += b"\xec"
    path.write_bytes(content)
    bench.boot()
    assert bench.head() == (5 + 256, hr.next_chain(bytes(32), b""))


def test_a_chain_goes_on_from_the_key_behind_a_hole(bench: Bench) -> None:
    path = kept(bench, 40)
    chain = bench.chain_behind(40)
    content = bytearray(path.read_bytes())
    content[batches(content)[10][0] + 12] ^= 1
    path.write_bytes(content)
    bench.boot()
    assert bench.head() == (40, chain)
    assert list(goes_on(bench)) == [*range(1, 11), *range(33, 42)]


@pytest.mark.parametrize(("size", "stays"), [(1024, False), (1025, True)])
def test_a_segment_without_a_record_is_kept_when_there_was_more_than_a_first_batch(
    bench: Bench, size: int, stays: bool
) -> None:
    first = kept(bench, 5)
    path = bench.root / "history" / "00000064"
    path.write_bytes(bytes(size))
    bench.boot()
    if stays:
        assert bench.model()["Last"] == 100 + 2000 + 256
        assert bench.head() == (100 + 2000 + 256, hr.next_chain(bytes(32), b""))
        assert list(goes_on(bench)) == [*range(1, 6), 100 + 2000 + 257]
        assert len(bench.segments()) == 3
    else:
        assert bench.model()["Last"] == 5
        assert bench.segments() == [first]
        assert list(goes_on(bench)) == [1, 2, 3, 4, 5, 6]


def test_where_nothing_can_be_read_numbers_go_on_behind_all_that_may_have_been(
    bench: Bench,
) -> None:
    (bench.root / "history" / "00000064").write_bytes(bytes(2000))
    bench.boot()
    assert bench.head() == (100 + 2000 + 256, hr.next_chain(bytes(32), b""))


def test_after_a_start_a_segment_has_three_tries(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(bench, 5)
    bench.boot()
    bench.happens(1)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "open", broken, raising=False)
        for now_s in (1, 2):
            with pytest.raises(OSError, match="flash"):
                bench.history.store(now_s)
    bench.history.store(3)
    assert list(bench.read().records) == [1, 2, 3, 4, 5, 6]


def test_all_segments_that_were_begun_in_vain_are_deleted(bench: Bench) -> None:
    kept(bench, 1).unlink()
    for name in ("00000001", "00000005", "00000009"):
        (bench.root / "history" / name).write_bytes(b"EHS1")
    bench.boot()
    assert bench.segments() == []
    assert (bench.model()["First"], bench.model()["Last"]) == (None, None)
    bench.sent.clear()
    assert list(goes_on(bench)) == [1]


def test_segments_of_another_pack_are_deleted_one_at_a_time_before_anything_is_written(
    bench: Bench,
) -> None:
    bench.fill([100, 100, 100])
    other = Bench(bench.root, N_CELLS, serial="EB-2")
    assert (other.model()["First"], other.model()["Last"], other.model()["Used"]) == (
        None,
        None,
        0,
    )
    other.happens(1)
    for n in (2, 1, 0):
        other.history.store(1)
        assert len(other.segments()) == n
    other.history.store(2)
    assert list(other.read().records) == [4], "a number is never given twice"


def test_a_pack_of_another_number_of_cells_is_another_one(bench: Bench) -> None:
    kept(bench, 5)
    other = Bench(bench.root, N_CELLS + 1)
    assert other.model()["Last"] is None
    other.history.store(0)
    assert other.segments() == []
    other.happens(1)
    other.history.store(1)
    assert list(other.read().records) == [6]
    assert other.head()[1] == hr.next_chain(hr.first_chain(b"EB-1"), other.sent[6])


def test_flash_that_cannot_be_read_is_said_and_tried_again(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(bench, 5)
    folder, away = bench.root / "history", bench.root / "away"
    folder.rename(away)
    folder.write_text("in the way")
    bench.boot()
    printed = capsys.readouterr().out
    assert printed.startswith("history: [Errno ")
    assert bench.model()["Last"] is None
    assert bench.model()["Boot"] == 2
    bench.happens(1)
    bench.happens(2)
    with pytest.raises(OSError, match="history"):
        bench.history.store(3)
    folder.unlink()
    away.rename(folder)
    bench.history.store(4)
    assert (bench.model()["Last"], bench.model()["Lost"]) == (5, 2)
    bench.happens(5)
    bench.history.store(5)
    assert bench.told()[-1] == (hr.LOST, (2,))
    assert list(bench.read().records) == [1, 2, 3, 4, 5, 6]


def test_of_segments_that_cannot_be_read_none_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(bench, 5)
    with monkeypatch.context() as patch:
        patch.setattr(segments, "open", broken, raising=False)
        bench.boot()
    assert (bench.model()["First"], bench.model()["Last"]) == (None, None)
    bench.history.store(1)
    assert (bench.model()["First"], bench.model()["Last"]) == (1, 5)
