"""The cyclic executive: a fixed table of tasks, one loop, no threads.

Tasks run in the order of the table, so the first one (measure and protect) never waits behind
another that is due at the same time. A period of 0 means: whenever the loop wakes. A task that
starts a whole period late has lost cycles; they are counted, not made up for.

What becomes of a task that raises an exception stands in the table:

| kind | an exception |
|---|---|
| ``VITAL`` | ends the loop: the switches open, the board starts anew |
| ``NEEDED`` | lets it try again at its next turn; for ``all_ran`` it has not run, so that the \
watchdog bites when it never gets through |
| ``OPTIONAL`` | lets it try again; after ``MAX_FAILURES`` in a row it is off for good |

    >>> tasks = (("measure", 1000, measure, VITAL), ("serve", 0, serve, NEEDED))
    >>> executive = Executive(board, tasks)
    >>> executive.failed = tell_of_it  # (task, error)
    >>> executive.run()
"""

from common.mp import const
from firmware.board import Board

LONGEST_WAIT_MS = const(1000)
_FAR_MS = const(1 << 28)  # further off than any task may be due
MAX_FAILURES = const(3)

VITAL = const(0)
NEEDED = const(1)
OPTIONAL = const(2)


class Task:
    """One line of the table, with what was seen of it."""

    def __init__(
        self, name: str, period_ms: int, function: "object", kind: int, due_ms: int
    ) -> None:
        self.name = name
        self.period_ms = period_ms
        self.function = function
        self.kind = kind
        self.due_ms = due_ms
        self.off = False
        self.failures = 0  # in a row
        self.ran = False  # since ``Executive.all_ran`` was last asked
        self.longest_us = 0
        self.overruns = 0  # cycles lost


class Executive:
    """Runs ``tasks``, a sequence of (name, period_ms, function, kind)."""

    def __init__(self, board: Board, tasks: "tuple[tuple[str, int, object, int], ...]") -> None:
        self.board = board
        now_ms = board.ticks_ms()
        self.tasks = [Task(name, period, run, kind, now_ms) for name, period, run, kind in tasks]
        self.due_ms = now_ms  # the earliest of all tasks with a period
        self.current: Task | None = None  # that runs, or ran last
        self.loop_us = 0  # the longest pass over all tasks that were due together
        self.overruns = 0  # cycles lost, of all tasks
        # Asked for the tick at which the loop must wake though no task is due, or None.
        self.wake: "object | None" = None
        # Told of the task and the exception that did not end the loop.
        self.failed: "object | None" = None

    def run_once(self) -> None:
        """Run every task that is due, once."""
        board = self.board
        began_us = board.ticks_us()
        now_ms = board.ticks_ms()
        is_due = board.ticks_diff(now_ms, self.due_ms) >= 0
        for task in self.tasks:
            if task.period_ms:
                if not is_due:
                    continue
                late_ms = board.ticks_diff(now_ms, task.due_ms)
                if late_ms < 0:
                    continue
                self._schedule(task, late_ms)
            if task.off:
                continue
            start_us = board.ticks_us()
            self.current = task
            if task.kind == VITAL:
                task.function()  # type: ignore[operator]
                task.ran = True
            else:
                self._try(task)
            took_us = board.ticks_diff(board.ticks_us(), start_us)
            task.longest_us = max(task.longest_us, took_us)
            now_ms = board.ticks_ms()
        if is_due:
            self._find_due()
        took_us = board.ticks_diff(board.ticks_us(), began_us)
        self.loop_us = max(self.loop_us, took_us)

    def next_due_ms(self) -> int:
        """The tick at which the loop must wake."""
        board = self.board
        now_ms = board.ticks_ms()
        sleep_ms = min(LONGEST_WAIT_MS, board.ticks_diff(self.due_ms, now_ms))
        if self.wake is not None:
            wake_ms = self.wake()  # type: ignore[operator]
            if wake_ms is not None:
                sleep_ms = min(sleep_ms, board.ticks_diff(wake_ms, now_ms))
        return board.ticks_add(now_ms, max(sleep_ms, 0))

    def run(self) -> None:
        """Work for ever."""
        while True:
            self.run_once()
            self.board.wait(self.next_due_ms())

    def all_ran(self, period_ms: int) -> bool:
        """Whether every task of at most ``period_ms`` that is on ran since this was last asked."""
        all_did = True
        for task in self.tasks:
            if task.period_ms <= period_ms and not (task.ran or task.off):
                all_did = False
            task.ran = False
        return all_did

    def longest_us(self, name: str) -> int:
        """Longest run of the task called ``name``; ``KeyError`` when there is none."""
        for task in self.tasks:
            if task.name == name:
                return task.longest_us
        raise KeyError(name)

    def _find_due(self) -> None:
        """Tasks may choose when they are due, while they run."""
        board = self.board
        now_ms = board.ticks_ms()
        soonest_ms: int = _FAR_MS
        for task in self.tasks:
            if task.period_ms:
                soonest_ms = min(soonest_ms, board.ticks_diff(task.due_ms, now_ms))
        self.due_ms = board.ticks_add(now_ms, soonest_ms)

    def _try(self, task: Task) -> None:
        try:
            task.function()  # type: ignore[operator]
        except Exception as error:  # whatever it is, the pack must be protected
            task.failures += 1
            if task.kind == OPTIONAL:
                task.ran = True  # it does not hang
                task.off = task.failures >= MAX_FAILURES
            if self.failed is not None:
                self.failed(task, error)  # type: ignore[operator]
            return
        task.failures = 0
        task.ran = True

    def _schedule(self, task: Task, late_ms: int) -> None:
        missed = late_ms // task.period_ms
        if missed:
            task.overruns += missed
            self.overruns += missed
        task.due_ms = self.board.ticks_add(task.due_ms, (missed + 1) * task.period_ms)
