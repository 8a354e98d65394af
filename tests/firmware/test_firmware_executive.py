import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.boards.desk import DeskBoard
from firmware.executive import LONGEST_WAIT_MS, MAX_FAILURES, NEEDED, OPTIONAL, VITAL, Executive

WRAP = 1 << 30


class Bench:
    """Tasks that note when they ran, and may take their time."""

    def __init__(self, *periods_ms: int, start_ms: int = 0) -> None:
        self.board = DeskBoard(i2c=None, start_ms=start_ms)
        self.start_ms = start_ms
        self.ran: list[tuple[str, int]] = []
        self.takes_ms: dict[str, int] = {}
        tasks = tuple(
            (f"t{i}", period, self.task(f"t{i}"), VITAL) for i, period in enumerate(periods_ms)
        )
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


# --- tasks that fail --------------------------------------------------------------------------


class Failing(Bench):
    """Three tasks of all kinds; ``broken`` names those that raise."""

    def __init__(self) -> None:
        super().__init__(1000)
        self.broken: set[str] = set()
        self.told: list[tuple[str, int, bool]] = []
        kinds = (("vital", VITAL), ("needed", NEEDED), ("optional", OPTIONAL))
        self.executive = Executive(
            self.board, tuple((name, 1000, self.breaking(name), kind) for name, kind in kinds)
        )
        self.executive.failed = lambda task, error: self.told.append(
            (task.name, task.failures, task.off)
        )

    def breaking(self, name: str):
        run = self.task(name)

        def work() -> None:
            run()
            if name in self.broken:
                raise ValueError("broken")

        return work

    def cycle(self) -> bool:
        """One pass; whether the watchdog would be fed after it."""
        self.executive.run_once()
        self.board.advance(1000)
        return self.executive.all_ran(1000)


def test_a_vital_task_that_fails_ends_the_loop() -> None:
    bench = Failing()
    bench.broken = {"vital"}
    with pytest.raises(ValueError, match="broken"):
        bench.cycle()
    assert bench.executive.current.name == "vital"
    assert bench.told == []


def test_a_needed_task_that_fails_runs_again_and_the_watchdog_is_not_fed_meanwhile() -> None:
    bench = Failing()
    assert bench.cycle()
    bench.broken = {"needed"}
    assert [bench.cycle() for _ in range(10)] == [False] * 10
    assert bench.told == [("needed", n, False) for n in range(1, 11)]
    assert len(bench.times("optional")) == 11, "the others are served"
    bench.broken.clear()
    assert bench.cycle()


def test_an_optional_task_is_off_after_some_failures_and_nobody_waits_for_it() -> None:
    bench = Failing()
    bench.broken = {"optional"}
    assert all(bench.cycle() for _ in range(10))
    assert bench.told == [("optional", n, n == MAX_FAILURES) for n in range(1, MAX_FAILURES + 1)]
    assert len(bench.times("optional")) == MAX_FAILURES


def test_failures_that_pass_are_forgotten() -> None:
    bench = Failing()
    for _ in range(5):
        bench.broken = {"optional"}
        for _ in range(MAX_FAILURES - 1):
            bench.cycle()
        bench.broken.clear()
        assert bench.cycle()
    assert not bench.executive.tasks[2].off


def test_the_end_of_the_world_is_no_failure_of_a_task() -> None:
    """Ctrl-C, and on the desk the loss of the simulated world."""
    bench = Failing()

    def interrupted() -> None:
        raise KeyboardInterrupt

    bench.executive.tasks[2].function = interrupted
    with pytest.raises(KeyboardInterrupt):
        bench.cycle()


def test_the_longest_run_is_right_across_the_wrap_of_the_microseconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(1000)
    bench.takes_ms = {"t0": 40}
    monkeypatch.setattr(
        bench.board, "ticks_us", lambda: (bench.board.now_ms * 1000 - 20_000) % WRAP
    )
    bench.executive.run_once()
    assert bench.executive.longest_us("t0") == bench.executive.loop_us == 40_000


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


def test_a_failure_of_which_nobody_is_told_is_counted() -> None:
    def fail() -> None:
        raise ValueError

    executive = Executive(DeskBoard(i2c=None), (("t", 1000, fail, NEEDED),))
    executive.run_once()
    assert executive.tasks[0].failures == 1
    assert not executive.all_ran(1000)
