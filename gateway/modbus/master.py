"""One exchange after the other on one bus, and nothing accepted that is not the answer.

The rules:

* one request is under way at a time; the line has been silent for 3.5 characters before it;
* an answer is judged by ``frames`` to the byte, against this request alone;
* after a timeout, or bytes that do not belong to the answer, nothing is sent before the line has
  been quiet for ``drain_s``: longer than any unit's latest answer may take, so that a late
  answer falls into the silence and not into the next exchange;
* a retry is a new exchange, after the drain.

    master = Master(lambda: open_line(port, 115200), port.framing(), timing)
    data = await master.exchange(read_request(unit=1, address=40000, count=70))
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.modbus.frames import (
    BadAnswerError,
    DeviceError,
    Framing,
    Request,
)
from gateway.modbus.line import LineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.modbus.line import Line


class NoAnswerError(Exception):
    """No acceptable answer came, retries included; the message says what came instead."""


@dataclass(frozen=True)
class Timing:
    """How long things may take on one bus, in seconds."""

    timeout_s: float = 0.3
    drain_s: float = 0.5  # >= the latest a unit may answer, less the timeout
    gap_s: float = 0.00175  # silence between frames: 3.5 characters, 1.75 ms above 19200 baud
    retries: int = 1
    babble_s: float = 5.0  # a line that does not fall silent for this long is reopened

    @classmethod
    def at(cls, baudrate: int, timeout_s: float, drain_s: float, retries: int = 1) -> Timing:
        """The timing for a serial line of ``baudrate``, 8N1 counted as 11 bits a character."""
        gap_s = max(0.00175, 3.5 * 11 / baudrate)
        return cls(timeout_s, drain_s, gap_s, retries)


@dataclass
class Counters:
    """What happened on the bus since the start."""

    exchanges: int = 0
    timeouts: int = 0
    bad_answers: int = 0
    drains: int = 0
    reopened: int = 0


class Master:
    """The only one who talks on its bus."""

    def __init__(
        self, opener: Callable[[], Awaitable[Line]], framing: Framing, timing: Timing
    ) -> None:
        self.counters = Counters()
        self.timing = timing
        self.progressed: Callable[[], None] = lambda: None  # called with every try
        self._opener = opener
        self._framing = framing
        self._line: Line | None = None
        self._lock = asyncio.Lock()
        self._number = 0
        self._dirty = False  # something may still be on its way

    async def exchange(self, request: Request, retries: int | None = None) -> bytes:
        """The answer's data; ``NoAnswerError``, ``DeviceError`` or ``LineError`` otherwise."""
        async with self._lock:
            reason = ""
            for _ in range((self.timing.retries if retries is None else retries) + 1):
                self.progressed()
                try:
                    return await self._once(request)
                except BadAnswerError as error:
                    self.counters.bad_answers += 1
                    reason = str(error)
                except TimeoutError:
                    self.counters.timeouts += 1
                    reason = f"no answer within {self.timing.timeout_s:g} s"
            raise NoAnswerError(f"unit {request.unit}: {reason}")

    def close(self) -> None:
        """Close the line; the next exchange opens it again."""
        if self._line is not None:
            self._line.close()
            self._line = None

    async def _once(self, request: Request) -> bytes:
        try:
            line = await self._ready_line()
            self._number = self._number % 0xFFFF + 1
            self._dirty = True  # until the answer is here, also when this task is cancelled
            self.counters.exchanges += 1
            line.write(self._framing.encode(request, self._number))
            return await self._answer(line, request)
        except LineError:
            self.close()
            raise
        except BadAnswerError:
            if self._framing.numbered:
                self.close()  # a stream out of step is not to be mended
            raise

    async def _ready_line(self) -> Line:
        if self._line is not None and self._line.lost is not None:
            self.close()  # servers hang up on quiet connections; that is no failure
        if self._line is None:
            self._line = await self._opener()
            self.counters.reopened += 1
            self._dirty = self._dirty and not self._framing.numbered
        line = self._line
        if self._framing.numbered:
            line.clear()  # left-overs are answers to older numbers
            return line
        if self._dirty or line.received:
            await self._drain(line)
        now = asyncio.get_running_loop().time()
        gap_left_s = line.last_heard_s + self.timing.gap_s - now
        if gap_left_s > 0 and await line.more(gap_left_s):
            await self._drain(line)  # the last frame was longer than it had a right to be
        return line

    async def _answer(self, line: Line, request: Request) -> bytes:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self.timing.timeout_s
        while True:
            try:
                data = self._framing.judge(request, self._number, bytes(line.received))
            except DeviceError:
                line.clear()  # a proper exception answer ends the exchange as well as data does
                self._dirty = False
                raise
            if data is not None:
                line.clear()
                self._dirty = False
                return data
            left_s = deadline_s - loop.time()
            if left_s <= 0 or not await line.more(left_s):
                raise TimeoutError

    async def _drain(self, line: Line) -> None:
        """Wait until nothing has come for ``drain_s``."""
        self.counters.drains += 1
        line.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.timing.babble_s + self.timing.drain_s):
                while await line.more(self.timing.drain_s):
                    line.clear()
                line.clear()
                self._dirty = False
                return
        raise LineError(f"the bus does not fall silent within {self.timing.babble_s:g} s")
