"""Collects one pack: its current reading, those it missed, its details, its clock.

Every poll reads the snapshot in one exchange. Readings the board has kept since the last one
collected are fetched from its ring, oldest first, some a poll; how far that has come is stored
with them. So neither a silent bus nor a gateway that was away leaves a hole, as long as the ring
reaches back; what it no longer holds is counted and logged.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from common import models
from gateway.blocks import NotReadyError, TornBlockError, WrongBlockError
from gateway.history import Progress
from gateway.history_collector import HistoryCollector
from gateway.modbus.frames import DeviceError
from gateway.planner import DETAIL_BLOCKS
from gateway.reading import detail_message, encode, faults_message, state_message
from gateway.spool import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.blocks import Decoded
    from gateway.history_packets import Chain
    from gateway.pack import Identity, Pack

log = logging.getLogger(__name__)

SET_UTC_EVERY_S = 3600.0
FAULTS_EVERY_S = 600.0  # when nothing tells that there is a new one
TORN_DETAILS = 5  # polls in a row that ask again for details that changed while they were read


class SameSerialError(Exception):
    """Another pack with this serial number is being collected; their readings must not mix."""


class Sink(Protocol):
    """Where readings go, and who is told which packs are there."""

    async def store(
        self,
        records: Iterable[Record],
        progress: tuple[str, Progress] | None = None,
        history: tuple[str, Chain] | None = None,
    ) -> None:
        """Return when all of it is on disk."""

    async def progress(self, serial: str) -> Progress | None:
        """How far a pack is collected."""

    async def history(self, serial: str) -> Chain | None:
        """How far a pack's history is collected."""

    def online(self, identity: Identity, name: str | None) -> None:
        """The pack answers."""

    def offline(self, serial: str) -> None:
        """The pack no longer answers; its serial number is free again."""

    def claim(self, serial: str, unit: int) -> str | None:
        """Take the serial number for the pack at ``unit``; who has it when it is not free."""


@dataclass(frozen=True)
class Rates:
    """How often what is asked, in seconds, and how many missed readings a poll fetches."""

    poll_s: float
    detail_s: float
    recall_per_poll: int = 32
    set_time: bool = True


class PackCollector:
    """Collects the pack at one address."""

    def __init__(
        self,
        pack: Pack,
        rates: Rates,
        sink: Sink,
        name: str | None = None,
        utc: Callable[[], float] = time.time,
    ) -> None:
        self.pack = pack
        self.rates = rates
        self.name = name
        self.lost_readings = 0  # no longer kept by the board when it was asked
        self.serial: str | None = None
        self.history = HistoryCollector(pack, sink)
        self._sink = sink
        self._utc = utc
        self._progress: Progress | None = None
        self._is_new = True  # what it measured before we met is not missed
        self._live: tuple[int, int] | None = None  # boot and seq of the last reading
        self._every: int | None = None  # cycles between kept readings; None: not asked yet
        self._detail_due_s = 0.0
        self._torn_details = 0
        self._utc_due_s = 0.0
        self._faults_due_s = 0.0
        self._active: int | None = None  # faults when the memory of them was last read
        self._told: list[Decoded] | None = None  # what it told then
        self._told_at: tuple[int, int] | None = None

    async def poll(self, now_s: float) -> None:
        """Ask once for everything that is due; ``now_s`` is any clock that only grows."""
        identity = await self.pack.identify()
        if identity.serial != self.serial:
            await self._meet(identity, now_s)
        try:
            snapshot = await self.pack.block(models.SNAPSHOT)
        except NotReadyError:
            self._sink.online(identity, self.name)
            return  # it has just started
        boot, seq = snapshot["Boot"], snapshot["Seq"]
        if self._live is not None and boot != self._live[0]:
            self.pack.forget()  # it may have started again with other firmware
            identity = await self.pack.identify()
        if self._live is None or boot != self._live[0]:
            self._utc_due_s = self._faults_due_s = now_s
            self._told = None  # what was not saved it has forgotten
            self._every = (await self._device())["RecEvery"] or 0
        self._sink.online(identity, self.name)
        await self._collect_live(snapshot)
        if self.rates.set_time and now_s >= self._utc_due_s:
            await self._set_time()
            self._utc_due_s = now_s + SET_UTC_EVERY_S
        if self._every:
            await self._collect_missed(boot, seq, self._every)
        if now_s >= self._detail_due_s:
            await self._collect_detail(now_s)
        if now_s >= self._faults_due_s or snapshot["Flt"] != self._active:
            await self._collect_faults(now_s)
            self._active = snapshot["Flt"]

    def offline(self) -> None:
        """The pack does not answer any more: say so, and meet it anew when it does."""
        if self.serial is not None:
            self._sink.offline(self.serial)
            self.serial = None
        self.history.end()
        self.pack.forget()

    async def _meet(self, identity: Identity, now_s: float) -> None:
        if self.serial is not None:
            self._sink.offline(self.serial)
            self.serial = None
            self.history.end()
        holder = self._sink.claim(identity.serial, identity.unit)
        if holder is not None:
            self.pack.forget()
            raise SameSerialError(
                f"serial number {identity.serial} is that of the pack at {holder} (each board "
                "needs its own)"
            )
        self.serial = identity.serial
        self._progress = await self._sink.progress(identity.serial)
        self._is_new = self._progress is None
        await self.history.begin(identity.serial)
        self._live = None
        self._detail_due_s = self._faults_due_s = now_s
        self._told = None
        log.info(
            "pack found",
            extra={
                "serial": identity.serial,
                "address": identity.unit,
                "cells": identity.n_cells,
                "firmware": identity.firmware,
            },
        )

    async def _device(self) -> Decoded:
        return await self.pack.block(models.DEVICE)

    async def _set_time(self) -> None:
        try:
            await self.pack.set_utc(int(self._utc()))
        except DeviceError as error:
            # a board refuses an absurd time: this machine's clock has not been set yet
            log.warning("time refused", extra={"serial": self.serial, "reason": str(error)})

    def _progress_of(self, boot: int) -> Progress:
        """How far this boot is collected; the ring begins anew with each."""
        if self._progress is None or self._progress.boot != boot:
            return Progress(boot)
        return self._progress

    def _record(self, block: Decoded, *, recalled: bool) -> Record:
        assert self.serial is not None
        message = state_message(self.serial, block, self._utc(), recalled=recalled)
        return Record(self.serial, block["Boot"], block["Seq"], "state", encode(message))

    async def _store(self, records: list[Record], progress: Progress) -> None:
        assert self.serial is not None
        changed = progress != self._progress
        if records or changed:
            await self._sink.store(records, (self.serial, progress) if changed else None)
            self._progress = progress

    async def _collect_live(self, snapshot: Decoded) -> None:
        boot, seq = snapshot["Boot"], snapshot["Seq"]
        if self._live == (boot, seq):
            return  # the board has not measured since
        progress = self._progress_of(boot)
        is_kept = bool(self._every) and seq % self._every == 0
        if not (is_kept and progress.has(seq)):
            after = progress.with_live(seq, self._every) if self._every else progress
            await self._store([self._record(snapshot, recalled=False)], after)
        self._live = (boot, seq)

    async def _collect_missed(self, boot: int, seq: int, every: int) -> None:
        progress = self._progress_of(boot)
        if not progress.missing(seq, every):
            return
        device = await self._device()
        first, last = device["RecFirst"], device["RecLast"]
        if device["Boot"] != boot or first is None or last is None:
            return  # started again meanwhile, or nothing kept yet
        gone = progress.missing(min(first - 1, seq), every)
        if gone:
            lost = len(gone) - sum(number in gone for number in progress.ahead)
            if lost and not self._is_new:
                self._count_lost(boot, gone[0], lost)
            progress = progress.advanced_to(gone[-1], every)
        self._is_new = False
        records: list[Record] = []
        try:
            for number in progress.missing(last, every):
                if len(records) >= self.rates.recall_per_poll:
                    break
                if not progress.has(number):
                    try:
                        block = await self.pack.recall(number)
                    except DeviceError as error:
                        log.info("recall refused", extra={"serial": self.serial, "reason": error})
                        break
                    if block is None:
                        self._count_lost(boot, number, 1)
                    elif block["Boot"] != boot:
                        break
                    else:
                        records.append(self._record(block, recalled=True))
                progress = progress.advanced_to(number, every)
        finally:
            # what was fetched before an error is kept
            await self._store(records, progress)

    def _count_lost(self, boot: int, first: int, count: int) -> None:
        self.lost_readings += count
        log.warning(
            "readings lost: the board no longer keeps them",
            extra={"serial": self.serial, "boot": boot, "first_seq": first, "count": count},
        )

    async def _collect_detail(self, now_s: float) -> None:
        try:
            blocks = {model_id: await self.pack.block(model_id) for model_id in DETAIL_BLOCKS}
        except TornBlockError as error:
            log.info("details left out", extra={"serial": self.serial, "reason": str(error)})
            self._torn_details += 1
            if self._torn_details < TORN_DETAILS:
                return  # with the next poll
        except NotReadyError as error:
            log.info("details left out", extra={"serial": self.serial, "reason": str(error)})
        else:
            await self._store_detail(blocks)
        self._torn_details = 0
        self._detail_due_s = now_s + self.rates.detail_s

    async def _collect_faults(self, now_s: float) -> None:
        """Everything remembered of faults, when any of it is new."""
        assert self.serial is not None
        self._faults_due_s = now_s  # until it is collected
        try:
            blocks = await self.pack.faults()
        except (TornBlockError, NotReadyError, DeviceError) as error:
            log.info("faults left out", extra={"serial": self.serial, "reason": str(error)})
            return
        head = blocks[0]
        at = (head["Boot"], max(block["Seq"] for block in blocks))
        told = [block | dict.fromkeys(("Boot", "Seq", "SeqEnd")) for block in blocks]
        if told != self._told:
            if at == self._told_at:
                return  # two messages of one cycle would be taken for the same
            message = faults_message(self.serial, blocks, self._utc())
            await self._sink.store([Record(self.serial, *at, "faults", encode(message))])
            self._told, self._told_at = told, at
        if not head["Unsvd"]:
            self._faults_due_s = now_s + FAULTS_EVERY_S

    async def _store_detail(self, blocks: dict[int, Decoded]) -> None:
        assert self.serial is not None
        health = blocks[models.HEALTH]
        if len({block["Boot"] for block in blocks.values() if "Boot" in block}) > 1:
            raise WrongBlockError("the board started again while its details were read")
        message = detail_message(self.serial, blocks, self._utc())
        record = Record(self.serial, health["Boot"], health["Seq"], "detail", encode(message))
        await self._sink.store([record])
        self.history.learn(blocks[models.HISTORY])
