"""From the spool to the broker: a window of messages under way, deleted when acknowledged.

Readings go through the spool. What is only ever true now, the status of gateway and packs and
the announcements to Home Assistant, is kept in memory, retained by the broker, and said again
after every connect, for a broker may have forgotten.
"""

from __future__ import annotations

import asyncio
import logging
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
REFUSED_PAUSE_S = 10.0
ONLINE = b"online"
OFFLINE = b"offline"
RETAINED_KINDS = {"detail"}


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
        self._resume_s = 0.0
        self._wanted = asyncio.Event()
        self._link = MqttLink(
            config,
            f"echelon-{gateway_id}",
            self.topics.status,
            self._on_up,
            self._on_acknowledged,
            self._on_reset,
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
        self._link.start()
        try:
            while True:
                progressed()
                self._wanted.clear()
                self._spool.stored.clear()
                if not await self._fill_window():
                    await self._wait()
        finally:
            await asyncio.shield(self._link.stop(OFFLINE))

    async def _wait(self) -> None:
        waits = [asyncio.ensure_future(e.wait()) for e in (self._wanted, self._spool.stored)]
        try:
            await asyncio.wait(waits, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _fill_window(self) -> bool:
        """Publish what the window has room for; whether anything went out."""
        room = self._config.window - len(self._under_way)
        if not self._link.is_up or room <= 0:
            return False
        if asyncio.get_running_loop().time() < self._resume_s:
            return False
        rows = await self._spool.fetch(self._after_id, room)
        busy = set(self._under_way.values())
        sent = False
        for row in rows:
            if row.id not in busy:
                number = self._send(row)
                if number is None:
                    break
                self._under_way[number] = row.id
                sent = True
            self._after_id = row.id
        return sent

    def _send(self, row: Row) -> int | None:
        record = row.record
        topic = self.topics.pack(record.serial, record.kind)
        return self._link.publish(topic, record.payload, retain=record.kind in RETAINED_KINDS)

    def _retain(self, topic: str, payload: bytes) -> None:
        if self._retained.get(topic) != payload:
            self._retained[topic] = payload
            self._link.publish(topic, payload, retain=True)

    def _on_up(self) -> None:
        for topic, payload in self._retained.items():
            self._link.publish(topic, payload, retain=True)
        self._wanted.set()

    def _on_acknowledged(self, number: int, failure: str | None) -> None:
        row_id = self._under_way.pop(number, None)
        if row_id is None:
            return  # of something retained
        self._wanted.set()
        if failure is None:
            self.acknowledged += 1
            self._spool.acknowledge(row_id)
            return
        log.error("broker refused a message", extra={"reason": failure})
        self._after_id = min(self._after_id, row_id - 1)
        self._resume_s = asyncio.get_running_loop().time() + REFUSED_PAUSE_S

    def _on_reset(self) -> None:
        self._under_way.clear()
        self._after_id = 0
