"""Fetches a pack's history, record by record in its order, where the bus has nothing else to do.

How far it is, and the chain's value there, is stored with the records: a gateway that was away,
or was killed, goes on with the next record, and the chain shows whether anything before it has
been changed meanwhile. A hole, or a chain that does not agree, is logged and stands in the
message of the record behind it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway.history_messages import follow
from gateway.history_packets import Chain, told_head
from gateway.reading import encode
from gateway.spool import Record as SpoolRecord

if TYPE_CHECKING:
    from gateway.blocks import Decoded
    from gateway.collector import Sink
    from gateway.history_packets import Packet
    from gateway.pack import Pack

log = logging.getLogger(__name__)

STORE_RECORDS = 50  # at once
RETRY_S = 10.0  # after an error


class HistoryCollector:
    """The history of the pack at one address, as far as it is collected."""

    def __init__(self, pack: Pack, sink: Sink) -> None:
        self._pack = pack
        self._sink = sink
        self._serial: str | None = None
        self._chain = Chain(0, None)  # behind the last record that was fetched
        self._last = 0  # that the board has
        self._head: tuple[int, bytes] | None = None  # a number and the chain behind it
        self._waiting: list[SpoolRecord] = []  # fetched, and not stored yet
        self._resume_s = 0.0

    async def begin(self, serial: str) -> None:
        """Go on with the pack that is met now."""
        self._serial = serial
        self._waiting = []
        self._chain = await self._sink.history(serial) or Chain.of(serial)
        self._last, self._head = 0, None

    def end(self) -> None:
        """The pack does not answer any more; what was not stored is fetched again."""
        self._serial = None

    def learn(self, block: Decoded) -> None:
        """Take what the board's HISTORY model says."""
        last = block["Last"]
        if last is None:
            return
        if last < self._chain.number and self._serial is not None:
            log.error(
                "history begins anew: the board has fewer records than were collected",
                extra={"serial": self._serial, "collected": self._chain.number, "last": last},
            )
            self._waiting = []
            self._chain = Chain.of(self._serial)
        self._last = last
        self._head = told_head(block)
        if self._chain.number == last:
            self._check_head()

    def is_behind(self, now_s: float) -> bool:
        """Whether a record is to be fetched now."""
        if self._serial is None or now_s < self._resume_s:
            return False
        return self._chain.number < self._last or bool(self._waiting)

    def rest(self, now_s: float) -> None:
        """After an error: leave the bus alone for some seconds."""
        self._resume_s = now_s + RETRY_S

    async def fetch(self) -> None:
        """One exchange, for as many records as it brings; stored now and then."""
        if self._chain.number < self._last:
            asked = self._chain.number + 1
            self._take(await self._pack.history(asked), asked)
        if len(self._waiting) >= STORE_RECORDS or self._chain.number >= self._last:
            assert self._serial is not None
            waiting, self._waiting = self._waiting, []
            try:
                await self._sink.store(waiting, history=(self._serial, self._chain))
            except BaseException:
                self._waiting = waiting + self._waiting
                raise

    def _take(self, packet: Packet, asked: int) -> None:
        assert self._serial is not None
        if packet.first > asked:
            self._warn("records are missing", asked, packet.first - 1)
        for message, chain in follow(self._serial, packet, self._chain):
            number = message["number"]
            if message["chain_ok"] is False:
                self._warn("chain broken: records before were changed", 0, number - 1)
            self._waiting.append(
                SpoolRecord(self._serial, message["boot"], number, "history", encode(message))
            )
            self._chain = chain
        if not packet.records:  # nothing that could be read up to the last one
            self._chain = Chain(packet.first - 1, None)
        if self._chain.number >= self._last:
            self._check_head()

    def _check_head(self) -> None:
        """Compare where the board told the chain's value behind its last record."""
        if self._head is not None:
            number, value = self._head
            if self._chain.agrees(value, number) is False:
                self._warn("chain broken: it does not end as the board says", 0, number)
                self._chain = Chain(number, value)

    def _warn(self, text: str, first: int, last: int) -> None:
        fields = {"serial": self._serial, "first": first, "last": last}
        log.error("history: %s", text, extra=fields)
