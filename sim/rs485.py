"""An RS-485 line in virtual time: one host, several boards, real character times.

Every talker's bytes occupy the line for ``len * bits / baudrate``. Two that overlap garble each
other. What is sent is heard by everyone but its sender once its last character has arrived. The
host sits at a pseudo terminal (``port``), so any program that opens a serial port is a host; its
bytes enter the line at the virtual time that the real moment of their arrival stands for, and one
``write`` of the host is one unbroken train of characters. A host at another baud rate than the
line's is garbled as it would be.

``tamper`` is called with every train before it is heard: it may change, drop, double or delay it.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import termios
import tty
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = -1
BITS_PER_CHARACTER = 10  # 8N1
_READ_BYTES = 4096
HOST_TURNAROUND_US = 100  # from the host's write to its first start bit


@dataclass(order=True)
class Train:
    """Characters without a gap between them; ``source`` is a board's index or ``HOST``."""

    end_us: int
    start_us: int
    source: int
    data: bytes
    garbled: bool = False


class Line:
    """The wire alone: who talks when, and what the others hear."""

    def __init__(self, baudrate: int, bits: int = BITS_PER_CHARACTER, seed: int = 0) -> None:
        self.baudrate = baudrate
        self.bits = bits
        self.tamper: Callable[[Train], list[Train]] | None = None
        self.collisions = 0
        self._random = random.Random(seed)  # noqa: S311 - noise, not secrets
        self._trains: list[Train] = []
        self._late: list[Train] = []  # tampered: no longer on the wire, not yet heard

    def duration_us(self, n_bytes: int) -> int:
        """How long ``n_bytes`` occupy the line."""
        return -(-n_bytes * self.bits * 1_000_000 // self.baudrate)

    def send(self, source: int, data: bytes, start_us: int) -> int:
        """Put ``data`` on the line at ``start_us``; returns when its last character has left."""
        train = Train(start_us + self.duration_us(len(data)), start_us, source, data)
        for other in self._trains:
            if other.start_us < train.end_us and train.start_us < other.end_us:
                other.garbled = train.garbled = True
                self.collisions += 1
        self._trains.append(train)
        return train.end_us

    def busy_until_us(self, source: int) -> int:
        """When ``source`` has sent all that it was given before."""
        return max((t.end_us for t in self._trains if t.source == source), default=0)

    def next_us(self) -> int | None:
        """When the next train ends; ``None`` when the line is quiet."""
        ends = [t.end_us for t in self._trains]
        ends += [t.end_us for t in self._late]
        return min(ends, default=None)

    def heard(self, now_us: int) -> list[Train]:
        """Take the trains that have ended by ``now_us``, in their order, as they are heard."""
        if not self._trains and not self._late:
            return []
        ended = sorted(t for t in self._trains if t.end_us <= now_us)
        self._trains = [t for t in self._trains if t.end_us > now_us]
        for train in ended:
            if train.garbled:
                train.data = self.garble(train.data)
            self._late += self.tamper(train) if self.tamper else [train]
        heard = sorted(t for t in self._late if t.end_us <= now_us)
        self._late = [t for t in self._late if t.end_us > now_us]
        return heard

    def garble(self, data: bytes) -> bytes:
        """``data`` as several talkers at once make it."""
        return bytes(byte ^ self._random.randrange(1, 256) for byte in data)


class HostPort:
    """A pseudo terminal: ``path`` is the serial port that a host opens."""

    def __init__(self, baudrate: int) -> None:
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        settings = termios.tcgetattr(self._slave)
        if baudrate in _BAUDRATES.values():  # what a host finds that sets none of its own
            settings[4] = settings[5] = getattr(termios, f"B{baudrate}")
            termios.tcsetattr(self._slave, termios.TCSANOW, settings)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self._slave)
        self.overruns = 0  # bytes that nobody fetched

    def read(self) -> bytes:
        """What the host has written since the last call."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self.master, _READ_BYTES)
        return b""

    def write(self, data: bytes) -> None:
        """Hand ``data`` to the host; what does not fit its buffer is lost, as in a real port."""
        try:
            sent = os.write(self.master, data)
        except BlockingIOError:
            sent = 0
        self.overruns += len(data) - sent

    def baudrate(self) -> int | None:
        """What the host has set, ``None`` where the system has no name for it."""
        speed = termios.tcgetattr(self._slave)[5]
        return _BAUDRATES.get(speed)

    def close(self) -> None:
        """Take the port away."""
        os.close(self.master)
        os.close(self._slave)


_BAUDRATES = {
    getattr(termios, name): int(name[1:])
    for name in dir(termios)
    if name[0] == "B" and name[1:].isdigit() and int(name[1:]) > 0
}


class HostPorts:
    """Waits for any of several hosts."""

    def __init__(self) -> None:
        self._poll = select.poll()

    def add(self, port: HostPort) -> None:
        """Listen to ``port`` too."""
        self._poll.register(port.master, select.POLLIN)

    def remove(self, port: HostPort) -> None:
        """Listen to ``port`` no longer."""
        self._poll.unregister(port.master)

    def wait(self, timeout_s: float) -> set[int]:
        """Descriptors (``HostPort.master``) with something to read, within ``timeout_s``."""
        return {fd for fd, events in self._poll.poll(timeout_s * 1000) if events & select.POLLIN}
