"""Progress through a pack's kept readings leaves no hole and takes nothing twice."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.history import Progress


def test_a_live_reading_that_follows_on_moves_progress():
    assert Progress(1, 20).with_live(30, 10) == Progress(1, 30)


def test_a_live_reading_past_a_hole_waits_ahead():
    progress = Progress(1, 20).with_live(50, 10)
    assert progress == Progress(1, 20, frozenset({50}))
    assert list(progress.missing(50, 10)) == [30, 40, 50]
    assert progress.advanced_to(30, 10).advanced_to(40, 10) == Progress(1, 50)


def test_a_live_reading_between_the_kept_ones_changes_nothing():
    assert Progress(1, 20).with_live(25, 10) == Progress(1, 20)


@settings(max_examples=200)
@given(
    every=st.integers(1, 12),
    steps=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 4)), max_size=30),
)
def test_whatever_the_order_everything_is_taken_once(every, steps):
    progress, seq, taken = Progress(1), 0, []
    for cycles, fetched in [*steps, (1, 10_000)]:
        seq += cycles
        if seq % every == 0 and not progress.has(seq):
            taken.append(seq)
            progress = progress.with_live(seq, every)
        for number in list(progress.missing(seq, every))[:fetched]:
            if not progress.has(number):
                taken.append(number)
            progress = progress.advanced_to(number, every)
    assert sorted(taken) == list(range(every, seq + 1, every))
    assert progress.ahead == frozenset()
