"""The world: packs, boards and lines in lock-step on one virtual clock.

A round: every board that owes a request is served until all of them sleep or send; then time moves
to the next thing that happens (a board wakes, a train of characters ends, a scheduled action),
cells and chips follow, and the boards concerned run on. The boards are separate processes and
compute at the same time. Each has its own chip, which answers at once; what another board could
notice takes effect in a fixed order, when all have come to such a request. So the same seed gives
the same run, byte for byte, as long as no host talks on a line.

    >>> with World(seed=1) as world:                                 # doctest: +SKIP
    ...     pack = world.add_pack(PackSpec("P1", n_cells=14))
    ...     bus = world.add_bus("bay-1", 115200, [pack])             # a host opens bus.port
    ...     world.start()
    ...     world.run(until_s=3600.0)
    ...     world.truth(pack)["soc"]
"""

from __future__ import annotations

import heapq
import itertools
import select
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from common.codes import ResetCause
from sim import station as st
from sim.afe import afe
from sim.bench import Bench
from sim.clock import US_PER_S, Clock
from sim.firmware_process import FirmwareError, FirmwareProcess, unix_board_command
from sim.link import PATIENCE_S, LinkServer
from sim.pack import ModelledPack, Pack, PackSpec
from sim.replay import RecordedPack
from sim.rs485 import HOST, HOST_TURNAROUND_US, HostPort, HostPorts, Line
from sim.station import Station

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    BoardCommand = Callable[[Path, Path, PackSpec], list[str]]

_LONGEST_ROUND_US = US_PER_S
_BOOT_US = 200_000  # from reset to the firmware's first line
_HELLO_S = 30.0  # real time a board may take to come to the link
_FAST_RESTART_US = 10 * US_PER_S  # a firmware that ends sooner after its start will not do
_IDLE_EVERY_S = 0.05  # real time between two calls of ``idle``


@dataclass
class Bus:
    """An RS-485 line with its packs; ``port`` is the serial port a host opens."""

    name: str
    baudrate: int
    packs: list[Pack]
    line: Line
    host: HostPort
    stations: list[Station] = field(default_factory=list)

    @property
    def port(self) -> str:
        """Path of the host's serial port."""
        return self.host.path


class World:
    """Everything simulated. ``speed``: virtual seconds a real second at most; ``None``: no limit.

    ``folder`` keeps the boards' files (a temporary one, removed at the end, if left out), ``logs``
    what they print. ``board_command(socket, root, spec)`` gives the command line of a board; left
    out, it is the firmware under MicroPython.
    """

    def __init__(
        self,
        seed: int = 1,
        speed: float | None = None,
        *,
        folder: Path | None = None,
        logs: Path | None = None,
        board_command: BoardCommand | None = None,
    ) -> None:
        self.seed = seed
        self.clock = Clock(speed)
        self.buses: list[Bus] = []
        self.packs: list[Pack] = []
        self.stations: list[Station] = []
        self.notes: list[tuple[float, str]] = []  # virtual time, what happened to a board
        self._processes: list[FirmwareProcess] = []
        self._command = board_command or _firmware_command
        self._temporary = folder is None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="echelon-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        # The socket's path has to be short; it lives apart from a folder that may be deep.
        self._socket_folder = Path(tempfile.mkdtemp(prefix="echelon-link-"))
        self._server = LinkServer(self._socket_folder / "s")
        self._hosts = HostPorts()
        self._actions: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._started_s = time.monotonic()
        self._closed = False

    # --- building -----------------------------------------------------------------------

    @property
    def time_s(self) -> float:
        """Virtual seconds since the beginning."""
        return self.clock.seconds

    def add_pack(self, spec: PackSpec) -> Pack:
        """Put a pack with its board on the desk; ``ValueError`` for a serial number used twice."""
        if any(pack.spec.serial == spec.serial for pack in self.packs):
            raise ValueError(f'pack "{spec.serial}": two packs with this serial number')
        index = len(self.packs)
        pack: Pack
        if spec.recording is not None:
            pack = RecordedPack(spec)
            bench = None
        else:
            pack = ModelledPack(spec, np.random.default_rng((self.seed, index)))
            bench = Bench(pack, tuple(spec.program)) if spec.program else None
        seed = self.seed * 1000 + index
        chip = afe(spec).build(spec, seed)
        self.packs.append(pack)
        self.stations.append(Station(index, pack, chip, bench))
        log_folder = self._logs or self._folder
        log_folder.mkdir(parents=True, exist_ok=True)
        root = self._folder / spec.serial
        self._processes.append(
            FirmwareProcess(
                spec.serial,
                root,
                log_folder / f"{spec.serial}.log",
                lambda: self._command(self._server.path, root, spec),
            )
        )
        return pack

    def add_bus(self, name: str, baudrate: int, packs: Sequence[Pack]) -> Bus:
        """Lay a line to ``packs``, whose boards take its baud rate."""
        bus = Bus(name, baudrate, list(packs), Line(baudrate, seed=self.seed), HostPort(baudrate))
        for pack in packs:
            station = self.station(pack)
            if station.line is not None:
                raise ValueError(f'bus "{name}": pack "{pack.spec.serial}" is on a bus already')
            pack.spec.baudrate = baudrate
            station.line = bus.line
            bus.stations.append(station)
        self._hosts.add(bus.host)
        self.buses.append(bus)
        return bus

    def station(self, pack: Pack) -> Station:
        """The board of ``pack``."""
        return self.stations[self.packs.index(pack)]

    def bench(self, pack: Pack) -> Bench | None:
        """The tester at ``pack``; ``None`` where there is none."""
        return self.station(pack).bench

    def truth(self, pack: Pack) -> dict[str, Any]:
        """What is true of ``pack``, and what its chip really does."""
        station = self.station(pack)
        return {
            **pack.truth(),
            "charge_fet": station.conducting()[0],
            "discharge_fet": station.conducting()[1],
            "balance_mask": station.chip.balance_mask,
            "boots": station.boots,
        }

    # --- running ------------------------------------------------------------------------

    def start(self) -> None:
        """Switch every board on; returns when all of them have come to the link.

        ``FirmwareError`` when one ends or does not come. The boards end with the thread that
        calls this, so let it be one that lasts.
        """
        for pack, process in zip(self.packs, self._processes, strict=True):
            process.write_settings(pack.spec.board_settings())
            process.start()
        self._await_links(_BOOT_US)
        self.clock.anchor()
        self._started_s = time.monotonic()

    def run(
        self,
        until_s: float | None = None,
        idle: Callable[[], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Let time pass until ``until_s`` or ``stop``; ``idle`` is called now and then."""
        end_us = None if until_s is None else int(until_s * US_PER_S)
        last_s = time.monotonic()
        while not (stop is not None and stop.is_set()):
            if end_us is not None and self.clock.now_us >= end_us:
                return
            self.step(end_us)
            if idle is not None and time.monotonic() - last_s >= _IDLE_EVERY_S:
                last_s = time.monotonic()
                idle()

    def step(self, end_us: int | None = None) -> None:
        """One round; time moves by a second at most, and not past ``end_us``."""
        clock = self.clock
        self._serve()
        self._take_host_bytes(0.0)
        next_us = self._next_us(end_us)
        ahead_s = clock.ahead_s(next_us)
        if ahead_s > 0:
            self._take_host_bytes(ahead_s)
            next_us = self._next_us(end_us)
            if clock.ahead_s(next_us) > 0:
                return  # woken before its time: the caller may look around, then come again
        clock.now_us = max(clock.now_us, next_us)
        self._arrive(clock.now_us)

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        """Call ``action`` when virtual time reaches ``time_s``: for faults and scenarios."""
        heapq.heappush(self._actions, (int(time_s * US_PER_S), next(self._order), action))

    def power_cycle(self, pack: Pack) -> None:
        """Cut the board's supply and give it back; its files stay, the chip keeps running."""
        station = self.station(pack)
        station.detach("its supply was cut", ResetCause.POWER_ON)
        self._boot(station)

    def unplug(self, pack: Pack, for_s: float) -> None:
        """Pull the pack out of its bay, and put it back after ``for_s``.

        Meanwhile its board has no supply and nothing is at its terminals; its files stay, and the
        chip, which the cells supply, keeps running. ``ValueError`` for a recorded pack, whose
        current nothing can stop.
        """
        if pack.spec.recording is not None:
            raise ValueError(f'pack "{pack.spec.serial}" is recorded and cannot be unplugged')
        station = self.station(pack)
        station.detach("it was unplugged", ResetCause.POWER_ON)
        self.kill_board(pack)
        pack.plugged = False

        def plug() -> None:
            pack.plugged = True
            station.dead = False

        self.at(self.time_s + for_s, plug)

    def kill_board(self, pack: Pack) -> None:
        """Kill the board's interpreter, and start it no more; chip and cells go on."""
        station = self.station(pack)
        station.dead = True
        self._processes[station.index].stop()

    def speed_achieved(self) -> float:
        """Virtual seconds a real second since the start."""
        return self.time_s / max(1e-9, time.monotonic() - self._started_s)

    def _serve(self) -> None:
        running = [s for s in self.stations if s.state == st.RUNNING]
        while running:
            _serve_alone(running)
            for station in running:
                station.do_asked()
            running = [s for s in running if s.state == st.RUNNING]

    def _next_us(self, end_us: int | None) -> int:
        next_us = self.clock.now_us + _LONGEST_ROUND_US
        if end_us is not None and end_us < next_us:
            next_us = end_us
        for station in self.stations:
            due_us = station.due_us()
            if due_us is not None and due_us < next_us:
                next_us = due_us
        for bus in self.buses:
            due_us = bus.line.next_us()
            if due_us is not None and due_us < next_us:
                next_us = due_us
        if self._actions and self._actions[0][0] < next_us:
            next_us = self._actions[0][0]
        return next_us

    def _arrive(self, now_us: int) -> None:
        """Bring everything to ``now_us``, then let the boards concerned run on."""
        while self._actions and self._actions[0][0] <= now_us:
            heapq.heappop(self._actions)[2]()
        for station in self.stations:
            station.advance(now_us)
        for bus in self.buses:
            for train in bus.line.heard(now_us):
                if train.source != HOST:
                    bus.host.write(train.data)
                for station in bus.stations:
                    if station.index != train.source:
                        station.hear(train.data)
        for station in self.stations:
            if station.bitten(now_us) or station.state == st.OFF:
                if not station.dead:
                    self._boot(station)
            else:
                station.wake(now_us)

    def _take_host_bytes(self, timeout_s: float) -> None:
        if not self.buses:
            if timeout_s:
                time.sleep(timeout_s)
            return
        ready = self._hosts.wait(timeout_s)
        for bus in self.buses if ready else ():
            if bus.host.master not in ready:
                continue
            data = bus.host.read()
            if not data:
                continue
            line = bus.line
            if bus.host.baudrate() not in (None, bus.baudrate):
                data = line.garble(data)
            start_us = self.clock.wall_us() + HOST_TURNAROUND_US
            line.send(HOST, data, max(start_us, line.busy_until_us(HOST)))

    # --- boards come and go -------------------------------------------------------------

    def _boot(self, station: Station) -> None:
        """Start the firmware of a board that has no link; its boot takes its time."""
        process = self._processes[station.index]
        now_us = self.clock.now_us
        self.notes.append((self.time_s, f"{process.name} restarts: {station.lost}"))
        if station.ended_by_itself:
            if station.boots and now_us - station.booted_us < _FAST_RESTART_US:
                raise FirmwareError(
                    f'board "{process.name}": {station.lost}; its log {process.log} ends: '
                    f"{process.last_words()}"
                )
            station.reset_cause = ResetCause.SOFT
        process.start()
        self._await_links(now_us + _BOOT_US)

    def _await_links(self, at_us: int) -> None:
        missing = {
            s.pack.spec.serial: s for s in self.stations if s.state == st.OFF and not s.dead
        }
        end_s = time.monotonic() + _HELLO_S
        while missing:
            came = self._server.accept(0.1)
            if came is not None:
                serial, connection = came
                station = missing.pop(serial, None)
                if station is None:
                    connection.close()
                else:
                    station.attach(connection, at_us)
                continue
            for serial, station in missing.items():
                process = self._processes[station.index]
                if not process.running or time.monotonic() > end_s:
                    what = "does not come to the link" if process.running else "ended at once"
                    raise FirmwareError(
                        f'board "{serial}": its firmware {what}; its log {process.log} ends: '
                        f"{process.last_words()}"
                    )

    def close(self) -> None:
        """End every process, and remove sockets and temporary files. May be called again."""
        if self._closed:
            return
        self._closed = True
        for station in self.stations:
            station.detach("the world ended")
        for process in self._processes:
            process.stop()
        self._server.close()
        for bus in self.buses:
            self._hosts.remove(bus.host)
            bus.host.close()
        shutil.rmtree(self._socket_folder, ignore_errors=True)
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve_alone(stations: Sequence[Station]) -> None:
    """Serve each of ``stations``, whichever asks first, until it asks for what others notice."""
    left = {s.connection.descriptor: s for s in stations if s.connection is not None}
    poll = select.poll()
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    while left:
        # The last one is waited for in the request itself; so are those that say nothing at all.
        ready = poll.poll(PATIENCE_S * 1000) if len(left) > 1 else ()
        for descriptor in [fd for fd, _ in ready] or list(left):
            station = left[descriptor]
            station.take()
            if station.asked is not None or station.state != st.RUNNING:
                poll.unregister(descriptor)
                del left[descriptor]


def _firmware_command(socket_path: Path, root: Path, spec: PackSpec) -> list[str]:
    return unix_board_command(socket_path, root, spec.tcp_port)
