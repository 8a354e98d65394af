"""The whole firmware on a recorded chip, and what each task takes of a cycle; runs on MicroPython.

``main(session)`` prints a line a cycle: its number, what all took, what collecting garbage took of
that, what each task took, microseconds of I2C and characters sent. On the emulated core the unit
is a tick of a 16 MHz timer of the nRF51, which QEMU drives by counted instructions.

A session is what ``cycle_share.py`` recorded on the desk: ``SETTINGS`` of the pack as JSON,
``START_MS``, the number of ``CYCLES``, ``READS``, all answers of the chip as register, length and
bytes, and ``ASKS``, the gateway's frames and when they come. The firmware must ask the same
questions in the same order, else the run ends.
"""

import gc
import json
import time

from estimators_cycles import mem32, reader

from firmware import storage
from firmware.app import App
from firmware.boards.desk import DeskBoard
from firmware.settings import Settings

SAVES_AT = 45  # the cycle in which the estimates are saved, as once in 300 s
_BUS_US = 22.5  # a byte and its acknowledge at 400 kHz
_CLOCK = 0x40009000
_ADDRESSING = 3  # bytes that go before what is read; one fewer when written


class StrayedError(BaseException):
    """A read that was not recorded here: register, bytes, place in the recording."""


class RecordedChip:
    """An I2C bus on which the chip says what it said before."""

    def __init__(self, reads: bytes) -> None:
        self._reads = memoryview(reads)
        self._at = 0
        self.bytes = 0

    def readfrom_mem_into(self, address: int, register: int, buffer: memoryview) -> None:
        reads = self._reads
        n = len(buffer)
        at = self._at
        if at >= len(reads) or reads[at] != register or reads[at + 1] != n:
            raise StrayedError(register, n, at)
        self._at = at + 2 + n
        buffer[:] = reads[at + 2 : at + 2 + n]
        self.bytes += n + _ADDRESSING

    def writeto_mem(self, address: int, register: int, buffer: memoryview) -> None:
        self.bytes += len(buffer) + _ADDRESSING - 1

    def left(self) -> int:
        """Bytes nobody has asked for."""
        return len(self._reads) - self._at


class Line:
    """A UART behind which a gateway asks at its times; each frame comes in one piece."""

    def __init__(self, asks: "tuple[tuple[int, bytes], ...]") -> None:
        self._asks = asks
        self._next = 0
        self._frame = b""
        self.answers = 0
        self.refused = 0
        self.bytes = 0

    def next_ms(self, never_ms: int) -> int:
        """When the next frame comes."""
        return self._asks[self._next][0] if self._next < len(self._asks) else never_ms

    def arrive(self, now_ms: int) -> None:
        if now_ms >= self.next_ms(now_ms + 1):
            self._frame = self._asks[self._next][1]
            self._next += 1

    def any(self) -> int:
        return len(self._frame)

    def readinto(self, buffer: bytearray) -> int:
        n = len(self._frame)
        buffer[:n] = self._frame
        self._frame = b""
        return n

    def write(self, buffer: memoryview) -> int:
        self.answers += 1
        self.refused += buffer[1] >> 7
        self.bytes += len(buffer)
        return len(buffer)


def wait(board, until_ms: int) -> None:
    """``Board.wait`` with a ``Line``: be at ``until_ms`` at once, or when the next frame comes."""
    line = board.uart
    if line.any():
        return
    wait_ms = board.ticks_diff(until_ms, board.ticks_ms())
    wait_ms = min(wait_ms, line.next_ms(board.now_ms + wait_ms) - board.now_ms)
    board.advance(max(wait_ms, 0))
    line.arrive(board.now_ms)


class ReplayBoard(DeskBoard):
    """A board on which the session happens again."""

    if mem32:  # as every board with ``machine`` has them
        ticks_ms = staticmethod(time.ticks_ms)
        ticks_us = staticmethod(time.ticks_us)
        ticks_diff = staticmethod(time.ticks_diff)
        ticks_add = staticmethod(time.ticks_add)

    def __init__(self, session) -> None:
        super().__init__(RecordedChip(session.READS), Line(session.ASKS), "", session.START_MS)
        if mem32:
            mem32[_CLOCK + 0x508] = 3  # 32 bits
        self.advance(0)

    def advance(self, ms: int) -> None:
        self.now_ms += ms
        if mem32:
            mem32[_CLOCK + 0x540] = self.now_ms  # see micropython_m0/mpconfig_m0.h

    def wait(self, until_ms: int) -> None:
        wait(self, until_ms)

    def feed_watchdog(self) -> None:
        pass


class Files:
    """Files in memory: ``os`` and ``open`` of ``firmware.storage``."""

    def __init__(self) -> None:
        self._files = {}

    def stat(self, path: str) -> "tuple[int, ...]":
        if path not in self._files:
            raise OSError(2, path)
        return (0,) * 6 + (len(self._files[path]),)

    def mkdir(self, path: str) -> None:
        pass

    def open(self, path: str, mode: str) -> "File":
        if "w" in mode:
            self._files[path] = bytearray()
        return File(self._files[path])


class File:
    def __init__(self, data: bytearray) -> None:
        self._data = data
        self._at = 0

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *error) -> None:
        pass

    def seek(self, at: int) -> None:
        self._at = at

    def write(self, data: bytes) -> None:
        end = self._at + len(data)
        self._data[self._at : end] = data
        self._at = end

    def read(self, n: int) -> bytes:
        return bytes(self._data[self._at : self._at + n])

    def flush(self) -> None:
        pass


class Counted:
    """A function that counts what it takes."""

    def __init__(self, read, function) -> None:
        self._read = read
        self._function = function
        self.ticks = 0
        self.calls = 0

    def run(self) -> None:
        read = self._read
        self.calls += 1
        before = read()
        self._function()
        self.ticks += read() - before & 0xFFFFFFFF

    def take(self) -> "tuple[int, int]":
        """Ticks and calls since this was last asked."""
        taken = (self.ticks, self.calls)
        self.ticks = self.calls = 0
        return taken


def costs_of_counting(read) -> "tuple[int, int]":
    """What ``Counted.run`` adds to its own ticks, and to those of whoever calls it."""
    inner = Counted(read, _nothing)
    outer = Counted(read, inner.run)
    least = outside = None
    for _ in range(10):
        outer.run()
        own = inner.take()[0]
        all_of_it = outer.take()[0]
        if least is None or own < least:
            least = own
        if outside is None or all_of_it - least < outside:
            outside = all_of_it - least
    return least, outside


def _nothing() -> None:
    pass


def main(session, read=None) -> None:
    """Replay ``session``; ``read`` is the clock, else the emulated core's timer."""
    read = read or reader("ticks")
    own, outside = costs_of_counting(read)
    board = ReplayBoard(session)
    files = Files()
    kept = storage.os
    collector = Counted(read, gc.collect)
    board.collect_garbage = collector.run
    storage.os = files
    storage.open = files.open
    try:
        _replay(session, board, read, collector, own, outside)
    finally:
        storage.os = kept
        del storage.open


def _replay(session, board, read, collector, own, outside) -> None:
    app = App(board, Settings.from_dict(json.loads(session.SETTINGS)))
    counted = []
    for task in app.executive.tasks:
        counter = Counted(read, task.function)
        task.function = counter.run
        counted.append(counter)
    whole = Counted(read, app.step)
    names = [task.name for task in app.executive.tasks]
    keep = names.index("keep")
    print("tasks", " ".join(names))
    seq = 0
    row = [0] * (2 + len(names))
    while True:
        whole.run()
        if app.snapshot.seq != seq:
            if seq:
                bus_us = round(board.i2c.bytes * _BUS_US)
                print("cycle", seq, " ".join([str(n) for n in row]), bus_us, board.uart.bytes)
            board.i2c.bytes = board.uart.bytes = 0
            seq = app.snapshot.seq
            if seq > session.CYCLES:
                break
            if seq + 1 == SAVES_AT:
                app._saved_s = -(1 << 20)
            for i in range(len(row)):
                row[i] = 0
        total = whole.take()[0] - own
        collecting, collections = collector.take()
        collecting -= collections * own
        row[1] += collecting
        total -= collections * (own + outside)
        for i in range(len(counted)):
            ticks, calls = counted[i].take()
            ticks -= calls * own
            if i == keep:
                ticks -= collecting + collections * (own + outside)
            row[2 + i] += ticks
            total -= calls * (own + outside)
        row[0] += total
    line = board.uart
    print("end", board.i2c.left(), line.answers, line.refused)
