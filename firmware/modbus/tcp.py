"""Modbus TCP for boards with a network and for the desk: MBAP frames around the same PDUs.

``MbapStream`` is the framing alone: bytes in, answers out, no socket. ``TcpServer`` puts it on
sockets that never block. Requests that come in one segment are answered one by one, in order.

    poll = select.poll()
    server = TcpServer(pdu_server, settings.address)
    server.listen("0.0.0.0", 502, poll)
    while True:
        for key, _event in poll.poll(10):
            server.serve(key)

Every unit that is not this board's (its address, 0 or 255) gets exception 0x0B, as from a
gateway behind which nobody answers. A header that is not Modbus closes the connection.

Source: Modbus Messaging on TCP/IP Implementation Guide V1.0b.
"""

import errno
import select
import socket

from common.mp import const
from firmware.modbus.pdu import MAX_PDU, PduServer

_HEADER = const(7)  # transaction, protocol, length, unit
_MAX_FRAME = const(260)
_BUFFER = const(520)
_NO_TARGET = const(0x0B)  # gateway target device failed to respond

_MAX_CLIENTS = const(4)
_RECEIVE_BYTES = const(256)


class MbapStream:
    """The framing of one connection.

    ``feed`` bytes, then call ``answer`` until it gives 0 (no whole request left) or -1 (close the
    connection); each positive result is how many bytes of ``response`` to send.
    """

    def __init__(self, pdu_server: PduServer, address: int) -> None:
        self._pdu = pdu_server
        self.address = address
        self._buffer = bytearray(_BUFFER)
        self._start = 0  # of the first byte not yet used
        self._end = 0
        self._request = bytearray(MAX_PDU)
        self.response = bytearray(_MAX_FRAME)
        self._response_pdu = memoryview(self.response)[_HEADER:]

    def reset(self) -> None:
        """Forget what was fed: a new connection begins."""
        self._start = 0
        self._end = 0

    def room(self) -> int:
        """How many bytes ``feed`` takes now; never 0 when ``answer`` gave 0."""
        return _BUFFER - (self._end - self._start)

    def feed(self, data: "bytes | bytearray | memoryview", length: int) -> None:
        """Take ``data[:length]``; ``ValueError`` when that is more than ``room()``."""
        if length > self.room():
            raise ValueError("%d bytes fed where %d fit" % (length, self.room()))
        buffer = self._buffer
        if self._start:
            for i in range(self._end - self._start):
                buffer[i] = buffer[self._start + i]
            self._end -= self._start
            self._start = 0
        for i in range(length):
            buffer[self._end + i] = data[i]
        self._end += length

    def answer(self) -> int:
        """Answer the next request; bytes in ``response``, 0: none is whole, -1: close."""
        available = self._end - self._start
        if available < _HEADER:
            return 0
        buffer = self._buffer
        at = self._start
        length = buffer[at + 4] << 8 | buffer[at + 5]  # of unit and PDU
        if buffer[at + 2] or buffer[at + 3] or not 2 <= length <= 1 + MAX_PDU:
            return -1
        if available < 6 + length:
            return 0
        self._start += 6 + length
        response = self.response
        for i in range(_HEADER):
            response[i] = buffer[at + i]
        unit = buffer[at + 6]
        if unit in (0, 255) or unit == self.address:
            for i in range(length - 1):
                self._request[i] = buffer[at + _HEADER + i]
            self._pdu.bus_messages += 1
            self._pdu.server_messages += 1
            n = self._pdu.handle(self._request, length - 1, self._response_pdu)
        else:
            response[_HEADER] = buffer[at + _HEADER] | 0x80
            response[_HEADER + 1] = _NO_TARGET
            n = 2
        response[4] = (n + 1) >> 8
        response[5] = (n + 1) & 0xFF
        return _HEADER + n


class _Client:
    """A place for one connection; made once, used for one connection after another."""

    def __init__(self, pdu_server: PduServer, address: int) -> None:
        self.socket: "socket.socket | None" = None
        self.served = 0  # number of the server's last call that was for it
        self.stream = MbapStream(pdu_server, address)
        # A slice of a memoryview is an object: one for each length, made when first needed.
        self._views: "list[memoryview | None]" = [None] * (_MAX_FRAME + 1)

    def receive(self, buffer: bytearray) -> bool:
        """Answer what has come; ``False`` when the connection is to be closed."""
        n = _read_into(self.socket, buffer)
        if n <= 0:
            return n < 0
        stream = self.stream
        stream.feed(buffer, n)
        while True:
            n = stream.answer()
            if n == 0:
                return True
            if n < 0 or not self._send(n):
                return False

    def _send(self, length: int) -> bool:
        view = self._views[length]
        if view is None:
            view = memoryview(self.stream.response)[:length]
            self._views[length] = view
        try:
            # It does not fit only when the client has long stopped reading.
            return self.socket.send(view) == length  # type: ignore[union-attr]
        except OSError:
            return False


class TcpServer:
    """Listens, and serves 4 clients; a fifth takes the place of the one silent for longest."""

    def __init__(self, pdu_server: PduServer, address: int) -> None:
        self._clients = [_Client(pdu_server, address) for _ in range(_MAX_CLIENTS)]
        self._listener: "socket.socket | None" = None
        self._poll: "select.poll | None" = None
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._calls = 0

    def listen(self, host: str, port: int, poll: "select.poll") -> None:
        """Accept connections on ``host:port``; ``poll`` then tells when to call ``serve``."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(socket.getaddrinfo(host, port)[0][-1])
        except OSError as error:
            listener.close()
            raise OSError("Modbus TCP: cannot listen on %s:%d (%s)" % (host, port, error))  # noqa: B904
        listener.listen(_MAX_CLIENTS)
        listener.setblocking(False)
        poll.register(listener, select.POLLIN)
        self._listener = listener
        self._poll = poll

    def serve(self, key: "object") -> bool:
        """Handle what ``poll`` reported for ``key``; ``False`` when that is not one of ours."""
        if self._is(self._listener, key):
            self._accept()
            return True
        for client in self._clients:
            if self._is(client.socket, key):
                self._calls += 1
                client.served = self._calls
                if not client.receive(self._buffer):
                    self._close(client)
                return True
        return False

    def close(self) -> None:
        """Close every connection and stop listening."""
        for client in self._clients:
            self._close(client)
        if self._listener is not None and self._poll is not None:
            self._poll.unregister(self._listener)
            self._listener.close()
            self._listener = None

    @staticmethod
    def _is(sock: "socket.socket | None", key: "object") -> bool:
        # MicroPython's poll gives back the object that was registered, CPython's its number.
        if sock is None:
            return False
        return key is sock or (isinstance(key, int) and key == sock.fileno())

    def _accept(self) -> None:
        try:
            sock = self._listener.accept()[0]  # type: ignore[union-attr]
        except OSError:
            return  # it was gone before we came
        client = self._clients[0]
        for other in self._clients:
            if other.socket is None:
                client = other
                break
            if other.served < client.served:
                client = other
        self._close(client)
        sock.setblocking(False)
        self._calls += 1
        client.served = self._calls
        client.socket = sock
        client.stream.reset()
        self._poll.register(sock, select.POLLIN)  # type: ignore[union-attr]

    def _close(self, client: _Client) -> None:
        if client.socket is not None:
            self._poll.unregister(client.socket)  # type: ignore[union-attr]
            client.socket.close()
            client.socket = None


def _read_into(sock: "socket.socket | None", buffer: bytearray) -> int:
    """Bytes read; 0: the other side has closed, -1: there is nothing to read."""
    try:
        if hasattr(sock, "readinto"):  # MicroPython: None when there is nothing
            n = sock.readinto(buffer)  # type: ignore[union-attr]
            return -1 if n is None else n
        return sock.recv_into(buffer)  # type: ignore[union-attr]
    except OSError as error:
        return -1 if error.errno == errno.EAGAIN else 0
