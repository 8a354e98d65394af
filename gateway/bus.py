"""One bus: its packs take turns; one that fails is left alone for longer and longer.

A pack that fails ``breaker.FAILURES_TO_OPEN`` times in a row counts as offline and is only probed
now and then, without retries, so that it costs the others almost nothing. When the port itself
fails, the whole bus pauses and all its packs are offline.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.blocks import NotReadyError, TornBlockError, WrongBlockError
from gateway.breaker import Breaker
from gateway.collector import SameSerialError
from gateway.modbus.frames import DeviceError
from gateway.modbus.line import LineError
from gateway.modbus.master import NoAnswerError
from gateway.pack import NotAPackError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.collector import PackCollector
    from gateway.modbus.master import Master

log = logging.getLogger(__name__)

TICK_S = 1.0
# History is read where the bus is idle until the next poll, and takes at most this share of that.
HISTORY_SHARE = 0.8
HISTORY_LEAST_S = 0.06  # that an exchange may take; else as much as the last ones took, doubled
PORT_PAUSE_FIRST_S = 1.0
PORT_PAUSE_CAP_S = 30.0
PACK_ERRORS = (
    DeviceError,
    NoAnswerError,
    NotAPackError,
    NotReadyError,
    SameSerialError,
    TornBlockError,
    WrongBlockError,
)


@dataclass
class _Turn:
    collector: PackCollector
    due_s: float = 0.0
    breaker: Breaker = field(default_factory=Breaker)


class Bus:
    """Polls every pack of one port, for ever."""

    def __init__(self, name: str, master: Master, collectors: Sequence[PackCollector]) -> None:
        self.name = name
        self._master = master
        self._turns = [_Turn(collector) for collector in collectors]
        # a port that fails pauses at once
        self._port = Breaker(1, PORT_PAUSE_FIRST_S, PORT_PAUSE_CAP_S)
        self._history_s = 0.0  # that an exchange for history takes
        self._history_turn = 0

    async def run(self, progressed: Callable[[], None]) -> None:
        """Take turns until cancelled; ``progressed`` is called with all that is done."""
        loop = asyncio.get_running_loop()
        self._master.progressed = progressed  # a turn may take many exchanges
        try:
            while True:
                progressed()
                turn = min(self._turns, key=lambda each: each.due_s)
                left_s = turn.due_s - loop.time()
                if left_s > 0:
                    await self._use_idle_time(left_s)
                else:
                    await self._take(turn)
        finally:
            self._master.close()

    async def _use_idle_time(self, left_s: float) -> None:
        """Fetch history, if there is any and time enough; else sleep."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        behind = [
            turn
            for turn in self._turns
            if not turn.breaker.is_open and turn.collector.history.is_behind(began_s)
        ]
        if not behind or left_s < max(HISTORY_LEAST_S, 2 * self._history_s):
            self._history_s *= 0.9  # once was slow is not for ever
            await asyncio.sleep(min(left_s, TICK_S))
            return
        self._history_turn += 1
        history = behind[self._history_turn % len(behind)].collector.history
        try:
            await history.fetch()
        except LineError as error:
            self._port_failed(str(error))
            return
        except (*PACK_ERRORS, sqlite3.Error) as error:
            log.info("history not read", extra={"bus": self.name, "reason": str(error)})
            history.rest(loop.time())
            return
        except Exception:
            log.exception("history failed", extra={"bus": self.name})
            history.rest(loop.time())
            return
        took_s = loop.time() - began_s
        self._history_s = max(took_s, 0.9 * self._history_s)
        await asyncio.sleep(took_s * (1 / HISTORY_SHARE - 1))

    async def _take(self, turn: _Turn) -> None:
        loop = asyncio.get_running_loop()
        rate_s = turn.collector.rates.poll_s
        turn.collector.pack.retries = 0 if turn.breaker.is_open else None
        try:
            await turn.collector.poll(loop.time())
        except LineError as error:
            self._port_failed(str(error))
            return
        except PACK_ERRORS as error:
            self._pack_failed(turn, str(error))
        except sqlite3.Error:
            pass  # reported by the spool; the reading is fetched again from the board
        except Exception:
            # a fault of this program met by one pack's data must not stop the others
            log.exception("poll failed", extra={"address": turn.collector.pack.unit})
            self._pack_failed(turn, "a fault of the gateway, see above")
        else:
            if turn.breaker.is_open:
                self._log(logging.INFO, "pack answers again", turn)
            turn.breaker.succeeded()
        if self._port.is_open:
            log.info("port works again", extra={"bus": self.name})
        self._port.succeeded()
        # keep the beat, unless the bus is too slow for it
        turn.due_s = max(turn.due_s + rate_s, loop.time()) if turn.due_s else loop.time() + rate_s
        turn.due_s += turn.breaker.pause_s()

    def _port_failed(self, reason: str) -> None:
        first = not self._port.is_open
        self._port.failed()
        level = logging.ERROR if first else logging.DEBUG
        log.log(level, "port failed", extra={"bus": self.name, "reason": reason})
        resume_s = asyncio.get_running_loop().time() + self._port.pause_s()
        for turn in self._turns:
            turn.due_s = max(turn.due_s, resume_s)
            turn.collector.offline()

    def _pack_failed(self, turn: _Turn, reason: str) -> None:
        was_open = turn.breaker.is_open
        turn.breaker.failed()
        if turn.breaker.is_open and not was_open:
            self._log(logging.WARNING, "pack offline", turn, reason)
            turn.collector.offline()
        else:
            self._log(logging.DEBUG, "pack failed", turn, reason)

    def _log(self, level: int, text: str, turn: _Turn, reason: str | None = None) -> None:
        fields = {
            "bus": self.name,
            "address": turn.collector.pack.unit,
            "serial": turn.collector.serial,
            "reason": reason,
        }
        log.log(level, text, extra={k: v for k, v in fields.items() if v is not None})
