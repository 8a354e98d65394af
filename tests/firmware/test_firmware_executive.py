import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.boards.desk import DeskBoard
from firmware.executive import LONGEST_WAIT_MS, Executive

WRAP = 1 << 30


class Bench:
    """Tasks that note when they ran, and may take their time."""

    def __init__(self, *periods_ms: int, start_ms: int = 0) -> None:
        self.board = DeskBoard(i2c=None, start_ms=start_ms)
        self.start_ms = start_ms
        self.ran: list[tuple[str, int]] = []
        self.takes_ms: dict[str, int] = {}
        tasks = tuple((f"t{i}", period, self.task(f"t{i}")) for i, period in enumerate(periods_ms))
        self.executive = Executive(self.board, tasks)

    def task(self, name: str):
        def run() -> None:
            self.ran.append((name, self.board.now_ms - self.start_ms))
            self.board.advance(self.takes_ms.get(name, 0))

        return run

    def run_until(self, end_ms: int) -> None:
        while self.board.now_ms - self.start_ms < end_ms:
            self.executive.run_once()
            self.board.wait(self.executive.next_due_ms())

    def times(self, name: str) -> list[int]:
        return [ms for task, ms in self.ran if task == name]


@pytest.mark.parametrize("start_ms", [0, WRAP - 1500, WRAP // 2 - 1500])
def test_tasks_run_in_their_period_also_across_the_wrap_of_the_clock(start_ms: int) -> None:
    bench = Bench(1000, 2500, start_ms=start_ms)
    bench.run_until(10000)
    assert bench.times("t0") == list(range(0, 10000, 1000))
    assert bench.times("t1") == [0, 2500, 5000, 7500]
    assert bench.executive.overruns == 0


def test_tasks_that_are_due_together_run_in_the_order_of_the_table() -> None:
    bench = Bench(1000, 0, 500)
    bench.run_until(1500)
    assert [name for name, ms in bench.ran if ms == 1000] == ["t0", "t1", "t2"]


def test_a_task_without_a_period_runs_whenever_the_loop_wakes() -> None:
    bench = Bench(1000, 0)
    for _ in range(5):
        bench.executive.run_once()
        bench.board.advance(10)
    assert bench.times("t1") == [0, 10, 20, 30, 40]
    assert bench.times("t0") == [0]


def test_a_slow_task_loses_cycles_that_are_counted_and_not_made_up_for() -> None:
    bench = Bench(1000, 4000)
    bench.takes_ms["t1"] = 2500
    bench.run_until(8000)
    assert bench.times("t0") == [0, 2500, 3000, 4000, 6500, 7000]
    assert bench.executive.overruns == 2
    assert bench.executive.tasks[0].overruns == 2


def test_the_loop_sleeps_no_longer_than_to_the_next_task_or_wish() -> None:
    bench = Bench(5000)
    bench.executive.run_once()
    assert bench.executive.next_due_ms() == LONGEST_WAIT_MS
    bench.executive.wake = lambda: 7
    assert bench.executive.next_due_ms() == 7
    bench.board.advance(20)
    assert bench.executive.next_due_ms() == 20, "a wish of the past is now"
    bench.executive.wake = lambda: None
    assert bench.executive.next_due_ms() == 20 + LONGEST_WAIT_MS


def test_the_longest_run_of_a_task_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(1000, 1000)
    bench.takes_ms = {"t0": 3, "t1": 5}
    monkeypatch.setattr(bench.board, "ticks_us", lambda: bench.board.now_ms * 1000 % WRAP)
    bench.executive.run_once()
    bench.takes_ms = {"t0": 1, "t1": 1}
    bench.board.advance(1000)
    bench.executive.run_once()
    assert bench.executive.longest_us("t0") == 3000
    assert bench.executive.longest_us("t1") == 5000
    assert bench.executive.loop_us == 8000
    with pytest.raises(KeyError):
        bench.executive.longest_us("none")


def test_a_task_that_did_not_run_is_missed() -> None:
    bench = Bench(1000, 3000)
    bench.executive.run_once()
    assert bench.executive.all_ran(1000)
    assert not bench.executive.all_ran(1000), "nothing ran since"
    bench.board.advance(1000)
    bench.executive.run_once()
    assert bench.executive.all_ran(1000)
    bench.board.advance(1000)
    bench.executive.run_once()
    assert not bench.executive.all_ran(3000), "the slower one is not due"


@given(
    start_ms=st.integers(0, WRAP - 1),
    periods=st.lists(st.integers(1, 5000), min_size=1, max_size=4),
)
def test_no_cycle_is_lost_by_a_loop_that_keeps_up(start_ms: int, periods: list[int]) -> None:
    bench = Bench(*periods, start_ms=start_ms)
    for _ in range(50):
        bench.executive.run_once()
        bench.board.wait(bench.executive.next_due_ms())
    for i, period in enumerate(periods):
        times = bench.times(f"t{i}")
        assert times == [period * n for n in range(len(times))]
    assert bench.executive.overruns == 0
