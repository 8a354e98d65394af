"""Crashes: how often the firmware ended by itself, and whether it must start in safe mode.

A crash is an exception that ended the loop or the start, or a reset by the watchdog. ``IN_A_ROW``
starts in a row that each ended in a crash within ``SETTLED_S`` make the next one a start in safe
mode: it measures, protects and serves Modbus, and leaves out all that it can do without. A run in
safe mode that lasts for ``SAFE_S``, or a command, makes the next start a normal one. A board that
crashes as often again in safe mode starts with the pack disconnected, until it is connected by
command: switches that open and close with every start are no protection.

    >>> crashes = Crashes(Storage(board.root), board.reset_cause)
    >>> crashes.safe
    False
    >>> crashes.settle(uptime_s)             # now and then; crashes.changed wants crashes.save()
    >>> crashes.record(error, Task.MEASURE)  # the last thing before a reset

Storage that cannot be read counts as no crash: a board whose flash is broken starts normally.
"""

import struct

from common.codes import Cause, ResetCause
from common.mp import const
from firmware.storage import Storage

IN_A_ROW = const(3)
SETTLED_S = const(600)
SAFE_S = const(3600)

_NAME = const("crash")
_FORMAT = const("<BBBBBH")  # version, crashes in a row, flags, cause, task, crashes in all
_VERSION = const(1)
_SAFE = const(1)
_RECORDED = const(2)  # the crash was counted before the reset
_MOST = const(0xFFFE)
_UNKNOWN = const(0xFF)


def cause_of(error: BaseException) -> int:
    """The ``codes.Cause`` of an exception."""
    if isinstance(error, MemoryError):
        return Cause.MEMORY
    return Cause.BUS if isinstance(error, OSError) else Cause.PROGRAM


def tell(where: str, error: BaseException) -> None:
    """Say on the console what went wrong."""
    print("%s: %s: %s" % (where, type(error).__name__, error))


class Crashes:
    """What is known of earlier runs; ``safe`` is how this one is to go."""

    def __init__(self, storage: Storage, reset_cause: int) -> None:
        self.storage = storage
        self.in_a_row = 0
        self.total = 0
        self.cause = Cause.NONE  # of the last one
        self.task: int | None = None  # codes.Task, where that is known
        self.changed = False
        self._recorded = False
        flags = self._load()
        self._safe = bool(flags & _SAFE)  # of the next start
        if flags & _RECORDED:
            self.changed = True  # so that it is not taken for counted again
        elif reset_cause == ResetCause.WATCHDOG:
            self._count(Cause.WATCHDOG, None)
        elif self.in_a_row and not self._safe:
            self.in_a_row = 0  # that run was ended from outside
            self.changed = True
        self.safe = self._safe = self._safe or self.in_a_row >= IN_A_ROW
        self.hopeless = self.in_a_row >= 2 * IN_A_ROW
        self.try_save()

    def record(self, error: BaseException, task: "int | None") -> None:
        """Count what is about to end this run."""
        self._count(cause_of(error), task)
        self._recorded = True
        self.try_save()

    def settle(self, uptime_s: int) -> None:
        """Forget the row when this run has lasted."""
        if uptime_s < (SAFE_S if self.safe else SETTLED_S) or not (self.in_a_row or self._safe):
            return
        self.leave()

    def leave(self) -> None:
        """Let the next start be a normal one."""
        self.in_a_row = 0
        self._safe = False
        self.changed = True

    def save(self) -> None:
        """Write what has changed; ``OSError`` when flash does not take it."""
        flags = (_SAFE if self._safe else 0) | (_RECORDED if self._recorded else 0)
        task = _UNKNOWN if self.task is None else self.task
        data = struct.pack(_FORMAT, _VERSION, self.in_a_row, flags, self.cause, task, self.total)
        self.storage.save(_NAME, data)
        self.changed = False

    def try_save(self) -> bool:
        """``save``, and whether flash took it; what it did not stays ``changed``."""
        try:
            if self.changed:
                self.save()
        except OSError as error:
            tell("crash record", error)
            return False
        return True

    def _count(self, cause: int, task: "int | None") -> None:
        self.cause = cause
        self.task = task
        self.in_a_row = min(self.in_a_row + 1, 255)
        self.total = min(self.total + 1, _MOST)
        self.changed = True

    def _load(self) -> int:
        """Take what was saved; its flags."""
        data = self.storage.load(_NAME)
        if data is None or len(data) != struct.calcsize(_FORMAT) or data[0] != _VERSION:
            return 0
        _, self.in_a_row, flags, self.cause, task, self.total = struct.unpack(_FORMAT, data)
        self.task = None if task == _UNKNOWN else task
        return int(flags)
