"""The way to a bus: a serial port or a TCP connection, as bytes out and bytes in.

A port is written ``/dev/ttyUSB0`` (or ``COM3``), ``tcp://host:502`` (Modbus TCP) or
``rtu+tcp://host:port`` (RTU frames through a serial server).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import serial
from pymodbus.transport.serialtransport import create_serial_connection

from gateway.errors import reason
from gateway.modbus.frames import RtuFraming, TcpFraming

if TYPE_CHECKING:
    from gateway.modbus.frames import Framing

MODBUS_TCP_PORT = 502
_NETWORK_SCHEMES = ("tcp", "rtu+tcp")


class LineError(Exception):
    """The way to the bus does not exist or broke."""


@dataclass(frozen=True)
class Port:
    """A port as the configuration writes it, taken apart."""

    text: str
    host: str | None = None  # None: a serial port
    tcp_port: int = MODBUS_TCP_PORT
    framed_as_rtu: bool = True

    @classmethod
    def parse(cls, text: str) -> Port:
        """Take ``text`` apart; ``ValueError`` says what is wrong with it."""
        if not text.isprintable():
            raise ValueError("holds characters that no port has (try /dev/ttyUSB0)")
        if "://" not in text:
            if not text:
                raise ValueError("is empty (try /dev/ttyUSB0 or tcp://host:502)")
            return cls(text)
        parts = urlsplit(text)
        if parts.scheme not in _NETWORK_SCHEMES:
            raise ValueError(
                f"{parts.scheme}:// is not a way to a bus (try tcp://host:502 for Modbus TCP, "
                "rtu+tcp://host:port for a serial server)"
            )
        try:
            number = parts.port
        except ValueError:
            raise ValueError("the TCP port is not a number from 1 to 65535") from None
        if not parts.hostname:
            raise ValueError(f"names no host (try {parts.scheme}://host:502)")
        is_rtu = parts.scheme == "rtu+tcp"
        if number is None and is_rtu:
            raise ValueError(f"names no TCP port (try {text}:8899)")
        return cls(text, parts.hostname, number or MODBUS_TCP_PORT, is_rtu)

    def framing(self) -> Framing:
        """How frames look on this port."""
        return RtuFraming() if self.framed_as_rtu else TcpFraming()


class Line(asyncio.Protocol):
    """Bytes that have come and not been taken, and an alarm for more."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.last_heard_s = 0.0  # time of the event loop
        self.lost: str | None = None
        self._more = asyncio.Event()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self.received += data
        self.last_heard_s = asyncio.get_running_loop().time()
        self._more.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self.lost = str(exc) if exc else "closed by the other side"
        self._more.set()

    def eof_received(self) -> bool:
        """Called by the event loop: the other side will send no more."""
        self.connection_lost(None)
        return False

    def write(self, data: bytes) -> None:
        """Send; ``LineError`` when the line is lost."""
        if self.lost is not None or self._transport is None:
            raise LineError(self.lost or "not open")
        self._transport.write(data)

    def clear(self) -> None:
        """Throw away what has come."""
        self.received.clear()
        self._more.clear()

    async def more(self, timeout_s: float) -> bool:
        """Wait for bytes beyond those here; ``False`` when none came in time."""
        self._more.clear()
        if self.lost is not None:
            raise LineError(self.lost)
        try:
            async with asyncio.timeout(timeout_s):
                await self._more.wait()
        except TimeoutError:
            return False
        if self.lost is not None:
            raise LineError(self.lost)
        return True

    def close(self) -> None:
        """Close the port; may be called twice."""
        if self._transport is not None:
            with contextlib.suppress(OSError, serial.SerialException):
                self._transport.close()
            self._transport = None
        self.lost = self.lost or "closed"


async def open_line(port: Port, baudrate: int, timeout_s: float = 5.0) -> Line:
    """Open ``port`` (8N1); ``LineError`` names it and says why it cannot be opened."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            if port.host is not None:
                _, line = await loop.create_connection(Line, port.host, port.tcp_port)
                return line
            transport, made = await create_serial_connection(
                loop, Line, port.text, baudrate, 8, "N", 1, 0
            )
            assert isinstance(made, Line)
            made.connection_made(transport)
            await asyncio.sleep(0)  # the transport sets itself up in the loop's next pass
            return made
    except TimeoutError:
        raise LineError(f"{port.text} does not answer within {timeout_s:g} s") from None
    except (OSError, serial.SerialException, ValueError) as error:
        raise LineError(f"{port.text} cannot be opened: {_why(error)}") from error


def _why(error: Exception) -> str:
    """What stopped a port from being opened, without pyserial's words around it."""
    cause = error.__context__ if isinstance(error, serial.SerialException) else error
    if not isinstance(cause, OSError):
        return reason(error)
    if cause.errno == errno.EAGAIN:  # the port is locked
        return "another program has it open"
    return reason(cause)
