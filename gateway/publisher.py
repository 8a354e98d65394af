"""From the spool to the broker: a window of messages under way, deleted when acknowledged.

Readings go through the spool. What is only ever true now, the status of gateway and packs and
the announcements to Home Assistant, is kept in memory, retained by the broker, and said again
after every connect, for a broker may have forgotten.

A message the broker will not take, because it refuses it or hangs up on it, is sent again later,
alone if need be. When that has happened ``STRIKES`` times, and the broker took others each time
between, the message is set aside: it would be in the way for ever.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway import discovery
from gateway.mqtt_link import MqttLink
from gateway.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.config import MqttTable
    from gateway.spool import Row
    from gateway.spool_writer import SpoolWriter

log = logging.getLogger(__name__)

TICK_S = 1.0
REFUSED_PAUSE_S = 10.0  # until a message that was not taken is sent again
STRIKES = 3
ONLINE = b"online"
OFFLINE = b"offline"
RETAINED_KINDS = {"detail", "faults"}


@dataclass
class _Suspect:
    """A message that the broker did not take."""

    strikes: int = 0
    is_proven: bool = True  # the broker took another one since the last strike
    resume_s: float = 0.0


class Publisher:
    """Publishes for one gateway. Make it inside the event loop."""

    def __init__(self, config: MqttTable, gateway_id: str, spool: SpoolWriter) -> None:
        self.topics = Topics(config.base_topic, gateway_id)
        self.acknowledged = 0
        self._config = config
        self._spool = spool
        self._retained: dict[str, bytes] = {self.topics.status: ONLINE}
        self._under_way: dict[int, int] = {}  # paho's number: row of the spool
        self._after_id = 0  # rows up to here are acknowledged or under way
        self._suspects: dict[int, _Suspect] = {}  # by row of the spool
        self._is_careful = False  # one message at a time, to see which one the broker hangs up on
        self._is_behind = True  # there may be messages that were not sent yet
        self._is_answered = False  # a message was acknowledged in this connection
        self._wanted = asyncio.Event()
        self._link = MqttLink(
            config,
            f"echelon-{gateway_id}",
            self.topics.status,
            self._on_up,
            self._on_acknowledged,
            self._on_down,
        )

    def set_status(self, serial: str, *, online: bool) -> None:
        """Say whether a pack answers."""
        self._retain(self.topics.pack(serial, "status"), ONLINE if online else OFFLINE)

    def announce(self, pack: discovery.Announced, expire_s: int) -> None:
        """Tell Home Assistant about a pack."""
        if not self._config.discovery:
            return
        prefix = self._config.discovery_prefix
        for topic, payload in discovery.messages(prefix, self.topics, pack, expire_s).items():
            self._retain(topic, payload)

    async def run(self, progressed: Callable[[], None]) -> None:
        """Publish until cancelled, then say goodbye."""
        keeping = asyncio.ensure_future(self._link.keep_up())
        try:
            while True:
                if keeping.done():
                    keeping.result()
                progressed()
                self._wanted.clear()
                self._spool.stored.clear()
                try:
                    sent = await self._fill_window()
                except sqlite3.Error as error:
                    log.error("spool cannot be read", extra={"reason": str(error)})  # noqa: TRY400
                    sent = False
                if not sent:
                    await self._wait()
        finally:
            await asyncio.shield(self._link.stop(OFFLINE))
            keeping.cancel()

    async def _wait(self) -> None:
        waits = [asyncio.ensure_future(e.wait()) for e in (self._wanted, self._spool.stored)]
        try:
            await asyncio.wait(waits, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _fill_window(self) -> bool:
        """Publish what the window has room for; whether anything went out."""
        window = 1 if self._is_careful else self._config.window
        room = window - len(self._under_way)
        if not self._link.is_up or room <= 0:
            return False
        busy = set(self._under_way.values())
        due = self._due_suspects() - busy
        resting = self._suspects.keys() - busy - due
        if due:
            self._after_id = min(self._after_id, min(due) - 1)
        sent = False
        for row in await self._spool.fetch(self._after_id, room + len(resting)):
            if room <= 0:
                break
            if row.id not in busy | resting:
                number = self._send(row)
                if number is None:
                    break
                self._under_way[number] = row.id
                sent = True
                room -= 1
            self._after_id = row.id
        self._is_behind = sent
        return sent

    def _due_suspects(self) -> set[int]:
        """Suspects whose turn has come: others go first, and one without proof waits for them."""
        now_s = asyncio.get_running_loop().time()
        rested = {n: s for n, s in self._suspects.items() if s.resume_s <= now_s}
        proven = {n for n, s in rested.items() if s.is_proven}
        if proven or self._under_way or not rested or self._is_behind:
            return proven
        return {min(rested)}

    def _send(self, row: Row) -> int | None:
        record = row.record
        topic = self.topics.pack(record.serial, record.kind)
        return self._link.publish(topic, record.payload, retain=record.kind in RETAINED_KINDS)

    def _retain(self, topic: str, payload: bytes) -> None:
        if self._retained.get(topic) != payload:
            self._retained[topic] = payload
            self._link.publish(topic, payload, retain=True)

    def _on_up(self) -> None:
        self._is_answered = False
        for topic, payload in self._retained.items():
            self._link.publish(topic, payload, retain=True)
        self._wanted.set()

    def _on_acknowledged(self, number: int, failure: str | None) -> None:
        row_id = self._under_way.pop(number, None)
        if row_id is None:
            return  # of something retained
        self._wanted.set()
        if failure is not None:
            log.error("broker refused a message", extra={"reason": failure})
            self._strike(row_id, failure)
            return
        self._is_answered = True
        self.acknowledged += 1
        self._spool.acknowledge(row_id)
        self._suspects.pop(row_id, None)
        for suspect in self._suspects.values():
            suspect.is_proven = True
        self._is_careful = self._is_careful and bool(self._suspects)

    def _on_down(self) -> None:
        lost = sorted(self._under_way.values())
        self._under_way.clear()
        self._after_id = 0
        self._is_behind = True
        if lost and (len(lost) == 1 or not self._is_answered):
            self._is_careful = True
        if len(lost) == 1:
            self._strike(lost[0], "the connection ended")

    def _strike(self, row_id: int, reason: str) -> None:
        """Count against a message that it was not taken; set it aside when that is enough."""
        suspect = self._suspects.setdefault(row_id, _Suspect())
        suspect.resume_s = asyncio.get_running_loop().time() + REFUSED_PAUSE_S
        if suspect.is_proven:
            suspect.strikes += 1
            suspect.is_proven = False
        if suspect.strikes >= STRIKES:
            del self._suspects[row_id]
            self._spool.set_aside(row_id, reason)
            log.error(
                "message set aside: the broker takes others, but not this one",
                extra={"row": row_id, "reason": reason},
            )
