"""The spool's thread: many ask, one commit answers them all.

Whoever stores waits until it is on disk; all who wait while a commit runs share the next one.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.history import Progress
    from gateway.history_packets import Chain
    from gateway.spool import Record, Row, Spool

log = logging.getLogger(__name__)

TICK_S = 1.0
T = TypeVar("T")


@dataclass
class _Batch:
    records: list[Record] = field(default_factory=list)
    progress: dict[str, Progress] = field(default_factory=dict)
    history: dict[str, Chain] = field(default_factory=dict)
    acknowledged: list[int] = field(default_factory=list)
    aside: list[tuple[int, str]] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


class SpoolWriter:
    """An asyncio face for ``Spool``; ``run`` must be running for anything to be stored."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._batch = _Batch()
        self._wanted = asyncio.Event()
        self.stored = asyncio.Event()  # set whenever new records are on disk

    async def store(
        self,
        records: Iterable[Record],
        progress: tuple[str, Progress] | None = None,
        history: tuple[str, Chain] | None = None,
    ) -> None:
        """Return when records and progress are on disk; ``sqlite3.Error`` when they are not."""
        batch = self._batch
        batch.records.extend(records)
        if progress is not None:
            batch.progress[progress[0]] = progress[1]
        if history is not None:
            batch.history[history[0]] = history[1]
        done = asyncio.get_running_loop().create_future()
        batch.waiting.append(done)
        self._wanted.set()
        await done

    def acknowledge(self, row_id: int) -> None:
        """Delete a row the broker has; soon, not at once."""
        self._batch.acknowledged.append(row_id)
        self._wanted.set()

    def set_aside(self, row_id: int, reason: str) -> None:
        """Take a row out of the queue that no broker takes; soon, not at once."""
        self._batch.aside.append((row_id, reason))
        self._wanted.set()

    async def fetch(self, after_id: int, limit: int) -> list[Row]:
        """See ``Spool.fetch``."""
        return await self._in_thread(lambda: self._spool.fetch(after_id, limit))

    async def progress(self, serial: str) -> Progress | None:
        """See ``Spool.progress``."""
        return await self._in_thread(lambda: self._spool.progress(serial))

    async def history(self, serial: str) -> Chain | None:
        """See ``Spool.history``."""
        return await self._in_thread(lambda: self._spool.history(serial))

    async def run(self, progressed: Callable[[], None]) -> None:
        """Commit what is asked for, until cancelled; then commit what is left."""
        try:
            while True:
                progressed()
                try:
                    async with asyncio.timeout(TICK_S):
                        await self._wanted.wait()
                except TimeoutError:
                    continue
                await self._flush()
        finally:
            await asyncio.shield(self._flush())
            self._thread.shutdown()

    async def _flush(self) -> None:
        batch, self._batch = self._batch, _Batch()
        self._wanted.clear()
        if not (batch.waiting or batch.acknowledged or batch.aside):
            return
        try:
            await self._in_thread(
                lambda: self._spool.commit(
                    batch.records,
                    batch.progress.items(),
                    batch.acknowledged,
                    batch.aside,
                    batch.history.items(),
                )
            )
        except sqlite3.Error as error:
            log.error("spool %s: %s", self._spool.path, error)  # noqa: TRY400 - the text says it
            self._batch.acknowledged.extend(batch.acknowledged)
            self._batch.aside.extend(batch.aside)
            for done in batch.waiting:
                if not done.done():
                    done.set_exception(error)
            return
        for done in batch.waiting:
            if not done.done():
                done.set_result(None)
        if batch.records:
            self.stored.set()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
