"""The world's end of the desk link: takes boards in, reads their requests, answers.

The protocol is ``common.link``. A board that says nothing for ``patience_s`` of real time (it
hangs in a loop of its own) counts as lost, as does one whose process has ended.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from common import link

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 20.0
_RECEIVE_BYTES = 65536
_REQUEST = struct.Struct(link.REQUEST_HEADER)
_HEADER_BYTES = link.REQUEST_HEADER_BYTES
_ANSWER = struct.Struct(link.ANSWER_HEADER)
_TIMEVAL = struct.Struct("@ll")


class LinkLost(Exception):  # noqa: N818 - what happened, not whose mistake it is
    """The board is gone; the message says how it showed."""


class LinkSilent(LinkLost):
    """The board is there and says nothing."""


class Connection:
    """One board's link."""

    def __init__(self, sock: socket.socket, patience_s: float = PATIENCE_S) -> None:
        self._socket = sock
        self.descriptor = sock.fileno()
        self._pending = b""
        sock.setblocking(True)
        # A kernel timeout costs no system call of its own, a Python timeout costs one a read.
        seconds = int(patience_s)
        limit = _TIMEVAL.pack(seconds, int((patience_s - seconds) * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    def request(self) -> tuple[int, int, bytes]:
        """The next request as ``(op, slept_us, payload)``; waits for it. ``LinkLost``."""
        data = self._pending
        while True:
            if len(data) >= _HEADER_BYTES:
                op, length, slept_us = _REQUEST.unpack_from(data)
                end = _HEADER_BYTES + length
                if len(data) >= end:
                    self._pending = data[end:]
                    return op, slept_us, data[_HEADER_BYTES:end]
            try:
                more = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                raise LinkSilent("the firmware hangs: no request for too long") from None
            except OSError as error:
                raise LinkLost(f"the link broke: {error}") from None
            if not more:
                raise LinkLost("the firmware closed its link")
            data += more

    def answer(self, status: int, time_us: int, payload: bytes = b"") -> None:
        """Answer the request that was read last. ``LinkLost``."""
        try:
            head = _ANSWER.pack(status, *divmod(time_us, 1000), len(payload))
            self._socket.sendall(head + payload)
        except OSError as error:
            raise LinkLost(f"the link broke: {error}") from None

    def close(self) -> None:
        """End the link; the board finds its socket closed."""
        self._socket.close()


class LinkServer:
    """The socket that boards come to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)

    def accept(self, timeout_s: float) -> tuple[str, Connection] | None:
        """The next board as ``(serial number, link)`` with its HELLO still to be answered.

        ``None`` when nobody came in time; one that does not begin with HELLO is sent away.
        """
        self._listener.settimeout(timeout_s)
        try:
            sock, _ = self._listener.accept()
        except TimeoutError:
            return None
        connection = Connection(sock)
        try:
            op, _, payload = connection.request()
            if op == link.HELLO:
                return payload.decode(), connection
            connection.answer(link.REJECTED, 0)
        except (LinkLost, UnicodeDecodeError):
            pass
        connection.close()
        return None

    def close(self) -> None:
        """Take the socket away."""
        self._listener.close()
        self.path.unlink(missing_ok=True)
