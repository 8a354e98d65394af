"""The board on the desk: MicroPython's unix port in a simulated world (``common.link``).

    micropython -m firmware.boards.unix SOCKET ROOT [--tcp PORT]

SOCKET is the world's UNIX socket, ROOT the folder that survives power-off and holds
``settings.json``. With ``--tcp`` Modbus TCP is served on 127.0.0.1 beside the UART; PORT 0 takes
any, and ``tcp PORT`` is printed. When the world goes away the process ends with 0; when it cannot
start it says why in one line and ends with 2. Runs under CPython as well.
"""

import errno
import gc
import os
import select
import socket
import sys
import time

from common import link
from common.mp import const
from firmware import main
from firmware.board import Board
from firmware.modbus.tcp import TcpServer
from firmware.settings import Settings, SettingsError

WATCHDOG_MS = const(8000)
COLLECT_EVERY = const(10)  # cycles, with the desk's heap, which holds the compiled source too
_LARGE_HEAP = const(524288)  # bytes: a smaller one stands for a board's

_TICKS_MASK = const(0x3FFFFFFF)  # ticks wrap at 2**30, as on most boards
_TICKS_HALF = const(0x20000000)
_DATA_BYTES = const(1024)
_UART_BYTES = const(256)
_FIRST_PORT = const(20000)
_N_PORTS = const(20000)
_MOST_SLEEP_US = const(1000000)
_SHORT_SLEEP_US = const(10000)
_MOST_KEPT = const(256)  # bytes of requests without an answer that wait for the next one


class LinkLostError(BaseException):
    """The simulated world has closed the link: the power is off, and no crash to be counted."""


class Link:
    """Requests to the world and its answers; keeps the virtual time of the last answer.

    Times are taken apart and put together byte by byte, so that small integers of 31 bits suffice
    for twelve days.
    """

    def __init__(self, path: str) -> None:
        self.now_ms = 0
        self.now_us = 0  # 0..999 on top
        self.received = 0  # not 0: UART bytes wait to be read
        self.data = bytearray(_DATA_BYTES)  # payload of the last answer
        self.poll: "select.poll | None" = None  # with what is served while the world thinks
        self.tcp: TcpServer | None = None
        self._out = bytearray(_MOST_KEPT + link.REQUEST_HEADER_BYTES + _DATA_BYTES)
        self._kept = 0  # bytes that wait in it: the next request is laid out behind them
        self._head = bytearray(link.ANSWER_HEADER_BYTES)
        self._slept_us = 0  # since the last answer: goes with the next request
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._micropython = hasattr(self._sock, "readinto")
        # MicroPython wants the raw sockaddr_un
        place = b"\x01\x00" + path.encode() + b"\x00" if self._micropython else path
        try:
            self._sock.connect(place)
        except OSError as error:
            raise SettingsError("%s: no simulated world there (%s)" % (path, error))  # noqa: B904

    def serve_while_waiting(self, server: TcpServer, poll: "select.poll") -> None:
        """Answer Modbus TCP whenever the board waits."""
        poll.register(self._sock, select.POLLIN)
        self.poll = poll
        self.tcp = server

    def request(self, op: int, length: int) -> int:
        """Send ``op`` with the ``length`` bytes that are laid out; bytes of the answer.

        ``OSError`` when the device did not answer, ``LinkLostError`` when the world is gone.
        """
        self._lay_out(op, length)
        self._send()
        if op == link.WAIT and self.poll is not None:
            self._serve_tcp()
        head = self._head
        self._receive(head, link.ANSWER_HEADER_BYTES)
        self.now_ms = head[1] | head[2] << 8 | head[3] << 16 | head[4] << 24
        if head[5]:
            self.now_ms += head[5] << 32
        self.now_us = head[9] | head[10] << 8
        length = head[11] | head[12] << 8
        if length > _DATA_BYTES:
            raise LinkLostError("answer of %d bytes" % length)
        if length:
            self._receive(self.data, length)
        status = head[0]
        self.received = status & link.RECEIVED
        status ^= self.received
        if status != link.OK:
            code = errno.ETIMEDOUT if status == link.TIMEOUT else errno.EIO
            raise OSError(code, "refused by the world")
        return length

    def keep(self, op: int, length: int) -> None:
        """As ``request``, for an ``op`` without an answer: it goes with the next request."""
        self._lay_out(op, length)
        if self._kept > _MOST_KEPT:
            self._send()

    def _lay_out(self, op: int, length: int) -> None:
        out = self._out
        at = self._kept
        out[at] = op
        out[at + 1] = length & 0xFF
        out[at + 2] = length >> 8
        slept_us = self._slept_us
        out[at + 3] = slept_us & 0xFF
        out[at + 4] = slept_us >> 8 & 0xFF
        out[at + 5] = slept_us >> 16 & 0xFF
        out[at + 6] = 0
        self._slept_us = 0
        self._kept = at + link.REQUEST_HEADER_BYTES + length

    def sleep(self, us: int) -> None:
        """Let ``us`` pass. ``OSError`` for more than a second."""
        if us > _MOST_SLEEP_US:
            raise OSError(errno.EINVAL, "too long a sleep")
        self._slept_us += us
        if self._slept_us > _SHORT_SLEEP_US:  # a watchdog may bite
            self.request(link.NOW, 0)
            return
        us += self.now_us
        self.now_ms += us // 1000
        self.now_us = us % 1000

    def put(self, at: int, value: int, size: int) -> None:
        """Lay an unsigned number out in the payload, little-endian."""
        at += self._kept + link.REQUEST_HEADER_BYTES
        for i in range(size):
            self._out[at + i] = value >> 8 * i & 0xFF

    def put_time(self, at: int, ms: int, us: int) -> None:
        """Lay a time out in the payload: eight bytes of microseconds."""
        at += self._kept + link.REQUEST_HEADER_BYTES
        for i in range(8):
            us += (ms & 0xFF) * 1000
            self._out[at + i] = us & 0xFF
            us >>= 8
            ms >>= 8

    def put_bytes(self, at: int, data: "bytes | bytearray | memoryview") -> int:
        """Lay bytes out in the payload; where the next ones go."""
        out = self._out
        start = self._kept + link.REQUEST_HEADER_BYTES + at
        for i in range(len(data)):
            out[start + i] = data[i]
        return at + len(data)

    def _send(self) -> None:
        length = self._kept
        self._kept = 0
        try:
            if self._micropython:
                self._sock.write(self._out, length)  # type: ignore[attr-defined]
            else:
                self._sock.sendall(memoryview(self._out)[:length])
        except OSError:
            raise LinkLostError("cannot send")  # noqa: B904  MicroPython has no "from"

    def _receive(self, buffer: bytearray, length: int) -> None:
        try:
            if self._micropython:
                done = self._sock.readinto(buffer, length)  # type: ignore[attr-defined]
            else:
                view = memoryview(buffer)
                done = 0
                while done < length:
                    n = self._sock.recv_into(view[done:length])
                    if not n:
                        break
                    done += n
        except OSError:
            raise LinkLostError("cannot receive")  # noqa: B904
        if done != length:
            raise LinkLostError("closed")

    def _serve_tcp(self) -> None:
        """Serve clients until the world has answered."""
        answered = False
        while not answered:
            for key, _event in self.poll.poll():  # type: ignore[union-attr]
                if not self.tcp.serve(key):  # type: ignore[union-attr]
                    answered = True


class LinkI2C:
    """``machine.I2C``, as far as a driver uses it."""

    def __init__(self, world: Link) -> None:
        self._link = world

    def readfrom_mem_into(self, address: int, register: int, buffer: bytearray) -> None:
        """Read from ``register`` on into ``buffer``; ``OSError`` when that fails."""
        world = self._link
        n = len(buffer)
        world.put(0, address, 1)
        world.put(1, n, 2)
        world.put(3, register, 1)
        if world.request(link.I2C, 4) != n:
            raise OSError(errno.EIO, "short answer")
        data = world.data
        for i in range(n):
            buffer[i] = data[i]

    def writeto_mem(
        self, address: int, register: int, buffer: "bytes | bytearray | memoryview"
    ) -> None:
        """Write ``buffer`` from ``register`` on; ``OSError`` when that fails."""
        world = self._link
        world.put(0, address, 1)
        world.put(1, 0, 2)
        world.put(3, register, 1)
        world.request(link.I2C, world.put_bytes(4, buffer))


class LinkUart:
    """The board's side of the RS-485 line."""

    def __init__(self, world: Link) -> None:
        self._link = world
        self._received = bytearray(_UART_BYTES)
        self._start = 0
        self._end = 0

    def any(self) -> int:
        """How many bytes can be read at once."""
        world = self._link
        if self._start == self._end and world.received:
            world.put(0, _UART_BYTES, 2)
            n = world.request(link.UART_READ, 2)
            for i in range(n):
                self._received[i] = world.data[i]
            self._start = 0
            self._end = n
        return self._end - self._start

    def readinto(self, buffer: bytearray) -> "int | None":
        """Bytes read into ``buffer``, ``None`` when there are none."""
        n = min(self.any(), len(buffer))
        for i in range(n):
            buffer[i] = self._received[self._start + i]
        self._start += n
        return n or None

    def write(self, buffer: "bytes | bytearray | memoryview") -> int:
        """Send ``buffer``; back when its last character has left."""
        world = self._link
        world.request(link.UART_WRITE, world.put_bytes(0, buffer))
        return len(buffer)


class UnixBoard(Board):
    """Clock, buses and watchdog of the simulated world."""

    name = "unix"

    def __init__(self, socket_path: str, root: str, serial: str) -> None:
        self.root = root
        self.link = Link(socket_path)
        self.i2c = LinkI2C(self.link)
        self.uart = LinkUart(self.link)
        self.link.request(link.HELLO, self.link.put_bytes(0, serial.encode()))
        self.reset_cause = self.link.data[0]
        self._collect_every = COLLECT_EVERY if _heap_bytes() >= _LARGE_HEAP else 1
        self._uncollected = 0

    def ticks_ms(self) -> int:
        """Virtual milliseconds, wrapping."""
        return self.link.now_ms & _TICKS_MASK

    def ticks_us(self) -> int:
        """The interpreter's own microseconds, wrapping."""
        return _real_us() & _TICKS_MASK

    def ticks_diff(self, later: int, earlier: int) -> int:
        """Signed distance between two ticks."""
        return ((later - earlier + _TICKS_HALF) & _TICKS_MASK) - _TICKS_HALF

    def ticks_add(self, ticks: int, delta: int) -> int:
        """Ticks moved by ``delta``."""
        return (ticks + delta) & _TICKS_MASK

    def wait(self, until_ms: int) -> None:
        """Let virtual time pass, to ``until_ms`` or until the UART has received."""
        world = self.link
        ahead_ms = self.ticks_diff(until_ms, world.now_ms & _TICKS_MASK)
        if ahead_ms > 0:
            world.put_time(0, world.now_ms + ahead_ms, 0)
        else:
            world.put_time(0, world.now_ms, world.now_us)
        world.request(link.WAIT, 8)

    def sleep_us(self, us: int) -> None:
        """Let a short virtual time pass, at most a second, whatever the UART receives."""
        self.link.sleep(us)

    def spi_transfer(
        self, out: "bytes | bytearray | memoryview", into: "bytearray | None"
    ) -> None:
        """One transfer with chip select low; ``into`` is as long as ``out``. ``OSError``."""
        world = self.link
        if into is None:
            world.keep(link.SPI_WRITE, world.put_bytes(0, out))
            return
        n = len(into)
        if world.request(link.SPI, world.put_bytes(0, out)) != n:
            raise OSError(errno.EIO, "short answer")
        data = world.data
        for i in range(n):
            into[i] = data[i]

    def drive_switches(self, bits: int) -> None:
        """Set the lines of the switches (``codes.Switch``)."""
        self.link.put(0, bits, 1)
        self.link.request(link.DRIVE, 1)

    def switch_feedback(self) -> int:
        """The switches that truly conduct (``codes.Switch``)."""
        self.link.request(link.FEEDBACK, 0)
        return self.link.data[0]

    def collect_garbage(self) -> None:
        """Once in some cycles where the heap is large: looking through all of it is dear."""
        self._uncollected = (self._uncollected + 1) % self._collect_every
        if not self._uncollected:
            gc.collect()

    def recover_i2c(self) -> None:
        """Nine clocks and a stop: frees a bus that the chip holds in the middle of a byte."""
        self.link.request(link.I2C_CLOCKS, 0)

    def feed_watchdog(self) -> None:
        """Put the watchdog off by ``WATCHDOG_MS``."""
        self.link.put(0, WATCHDOG_MS, 4)
        self.link.keep(link.WATCHDOG, 4)

    def listen(self, server: TcpServer, port: int) -> int:
        """Serve Modbus TCP on 127.0.0.1 while waiting; the port, chosen when 0."""
        poll = select.poll()
        left = 1 if port else 50  # tries
        while True:
            # MicroPython cannot ask a socket for its port, so it cannot let the system choose.
            number = port or _FIRST_PORT + int.from_bytes(os.urandom(4), "little") % _N_PORTS
            try:
                server.listen("127.0.0.1", number, poll)
                break
            except OSError:
                left -= 1
                if not left:
                    raise
        self.link.serve_while_waiting(server, poll)
        return number


def _heap_bytes() -> int:
    if not hasattr(gc, "mem_free"):
        return _LARGE_HEAP
    return gc.mem_free() + gc.mem_alloc()  # type: ignore[attr-defined,no-any-return]


def _real_us() -> int:
    if hasattr(time, "ticks_us"):
        return time.ticks_us()  # type: ignore[no-any-return]
    return time.perf_counter_ns() // 1000


def _arguments(argv: "list[str]") -> "tuple[str, str, int | None]":
    tcp = None
    rest = []
    i = 0
    while i < len(argv):
        if argv[i] == "--tcp" and i + 1 < len(argv):
            i += 1
            tcp = int(argv[i])
        else:
            rest.append(argv[i])
        i += 1
    if len(rest) != 2:
        raise ValueError("usage: firmware.boards.unix SOCKET ROOT [--tcp PORT]")
    return rest[0], rest[1], tcp


def start(argv: "list[str]") -> int:
    """Be a board until the world ends; the exit code."""
    try:
        socket_path, root, tcp = _arguments(argv)
    except ValueError as error:
        print(error)
        return 2

    def make_board(settings: Settings) -> Board:
        return UnixBoard(socket_path, root, settings.serial)

    def listen(app: "object") -> None:
        if tcp is None:
            return
        server = TcpServer(app.pdu_server, app.settings.address)  # type: ignore[attr-defined]
        try:
            print("tcp", app.board.listen(server, tcp))  # type: ignore[attr-defined]
        except OSError as error:
            raise SettingsError("--tcp: %s" % error)  # noqa: B904

    try:
        main.run(make_board, root + "/settings.json", listen)
    except SettingsError as error:
        print(error)
        return 2
    except LinkLostError:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(start(sys.argv[1:]))
