"""The gateway as one process: a task a bus, the spool, the publisher, the watchdog.

``serve`` runs until SIGTERM or SIGINT. A task that ends by itself is a fault of the program: the
others are stopped in order (buses, publisher, spool) and the error goes up.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Any

from gateway.bus import Bus
from gateway.collector import PackCollector, Rates
from gateway.discovery import Announced
from gateway.errors import UserError
from gateway.modbus.line import Line, Port, open_line
from gateway.modbus.master import Master, Timing
from gateway.pack import Pack
from gateway.publisher import Publisher
from gateway.spool import Spool
from gateway.spool_writer import SpoolWriter
from gateway.watchdog import Heartbeats, Systemd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.config import BusTable, Config
    from gateway.history import Progress
    from gateway.history_packets import Chain
    from gateway.pack import Identity
    from gateway.spool import Record

log = logging.getLogger(__name__)

EXPIRE_LEAST_S = 60
EXPIRE_POLLS = 5


class Outlet:
    """Where a bus's collectors hand over: readings to the spool, presence to the publisher."""

    def __init__(
        self,
        bus: str,
        spool: SpoolWriter,
        publisher: Publisher,
        poll_s: float,
        holders: dict[str, str],
    ) -> None:
        """``holders``: where each serial number is collected; one for all buses."""
        self._bus = bus
        self._spool = spool
        self._publisher = publisher
        self._holders = holders
        self._expire_s = max(EXPIRE_LEAST_S, round(EXPIRE_POLLS * poll_s))
        self._announced: dict[str, Identity] = {}

    async def store(
        self,
        records: Iterable[Record],
        progress: tuple[str, Progress] | None = None,
        history: tuple[str, Chain] | None = None,
    ) -> None:
        """See ``collector.Sink``."""
        await self._spool.store(records, progress, history)

    async def progress(self, serial: str) -> Progress | None:
        """See ``collector.Sink``."""
        return await self._spool.progress(serial)

    async def history(self, serial: str) -> Chain | None:
        """See ``collector.Sink``."""
        return await self._spool.history(serial)

    def online(self, identity: Identity, name: str | None) -> None:
        """See ``collector.Sink``."""
        if self._announced.get(identity.serial) is not identity:
            self._announced[identity.serial] = identity
            pack = Announced(
                identity.serial,
                name,
                identity.manufacturer,
                identity.model,
                identity.firmware,
                identity.n_cells,
            )
            self._publisher.announce(pack, self._expire_s)
        self._publisher.set_status(identity.serial, online=True)

    def offline(self, serial: str) -> None:
        """See ``collector.Sink``."""
        self._holders.pop(serial, None)
        self._publisher.set_status(serial, online=False)

    def claim(self, serial: str, unit: int) -> str | None:
        """See ``collector.Sink``."""
        if serial in self._holders:
            return self._holders[serial]
        self._holders[serial] = f'bus "{self._bus}" address {unit}'
        return None


def make_master(port: Port, baudrate: int, timing: Timing) -> Master:
    """The master of one port."""

    async def opener() -> Line:
        return await open_line(port, baudrate)

    return Master(opener, port.framing(), timing)


def make_bus(
    table: BusTable,
    spool: SpoolWriter,
    publisher: Publisher,
    holders: dict[str, str],
    *,
    set_time: bool,
) -> Bus:
    """One bus with its packs, from its table of the configuration."""
    timing = Timing.at(table.baudrate, table.timeout_ms / 1000, table.drain_ms / 1000)
    master = make_master(Port.parse(table.port), table.baudrate, timing)
    outlet = Outlet(table.name, spool, publisher, table.poll_s, holders)
    rates = Rates(table.poll_s, table.detail_s, table.recall_per_poll, set_time)
    collectors = [
        PackCollector(Pack(master, pack.address), rates, outlet, pack.name) for pack in table.pack
    ]
    return Bus(table.name, master, collectors)


def open_spool(config: Config) -> Spool:
    """The spool in the state directory; ``UserError`` when it cannot be there."""
    folder = config.gateway.state_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"state_dir {folder}: cannot be made: {error.strerror} (choose a folder that "
            "this user may write)"
        ) from error
    return Spool(folder / "spool.db", config.spool.max_mb << 20)


async def serve(config: Config) -> int:
    """Run until told to stop; the exit code."""
    loop = asyncio.get_running_loop()
    spool_file = open_spool(config)
    systemd = Systemd()
    heartbeats = Heartbeats(loop.time)
    spool = SpoolWriter(spool_file)
    publisher = Publisher(config.mqtt, config.gateway.id, spool)
    holders: dict[str, str] = {}
    buses = [
        make_bus(table, spool, publisher, holders, set_time=config.gateway.set_time)
        for table in config.bus
    ]
    stopped: asyncio.Future[signal.Signals] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stopped, number)
    spool_task = loop.create_task(spool.run(heartbeats.source("spool")), name="spool")
    publish_task = loop.create_task(publisher.run(heartbeats.source("mqtt")), name="publisher")
    bus_tasks = [
        loop.create_task(bus.run(heartbeats.source(bus.name)), name=f"bus {bus.name}")
        for bus in buses
    ]
    watch_task = loop.create_task(systemd.feed(heartbeats), name="watchdog")
    tasks = [spool_task, publish_task, *bus_tasks, watch_task]
    log.info("gateway started", extra={"gateway": config.gateway.id, "buses": len(buses)})
    systemd.notify("READY=1")
    waited: list[asyncio.Future[Any]] = [stopped, *tasks]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    systemd.notify("STOPPING=1")
    failed = [task for task in tasks if task.done()]
    for group in ([watch_task, *bus_tasks], [publish_task], [spool_task]):
        await _end(group)
    spool_file.close()
    for task in failed:
        log.error("task ended by itself", extra={"task": task.get_name()})
        task.result()
    log.info("gateway stopped")
    return 0 if stopped.result() is signal.SIGTERM else 128 + int(signal.SIGINT)


def _stop(stopped: asyncio.Future[signal.Signals], number: signal.Signals) -> None:
    if not stopped.done():
        stopped.set_result(number)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
