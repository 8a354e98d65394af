"""TCP framing: requests cut anywhere, several in one segment, units, no Modbus at all."""

import contextlib
import errno
import itertools
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import types
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client import ModbusTcpClient

from common.registers import RegisterMap
from firmware.modbus.pdu import Commands, PduServer
from firmware.modbus.tcp import MbapStream, TcpServer

ADDRESS = 17
SCRIPT = Path(__file__).parent / "scripts" / "modbus_tcp_server.py"


def request(transaction: int, unit: int = ADDRESS, count: int = 2) -> bytes:
    return struct.pack(">HHHBBHH", transaction, 0, 6, unit, 3, 40000, count)


def answer(transaction: int, unit: int = ADDRESS) -> bytes:
    return struct.pack(">HHHBBB", transaction, 0, 7, unit, 3, 4) + b"SunS"


@pytest.fixture
def stream() -> MbapStream:
    return new_stream()


def new_stream() -> MbapStream:
    return MbapStream(PduServer(RegisterMap(4), Commands()), ADDRESS)


def answers(stream: MbapStream, data: bytes) -> list[bytes] | None:
    """All answers to ``data``, fed as room allows; ``None`` when the stream wants to close."""
    found = []
    while True:
        piece = data[: min(len(data), stream.room())]
        data = data[len(piece) :]
        stream.feed(piece, len(piece))
        while n := stream.answer():
            if n < 0:
                return None
            found.append(bytes(stream.response[:n]))
        if not data:
            return found


def test_a_request_is_answered_with_its_transaction(stream: MbapStream) -> None:
    assert answers(stream, request(0x1234)) == [answer(0x1234)]


def test_requests_in_one_segment_are_answered_in_order(stream: MbapStream) -> None:
    segment = b"".join(request(n) for n in range(100))
    assert answers(stream, segment) == [answer(n) for n in range(100)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 36), max_size=8))
def test_it_does_not_matter_where_the_network_cuts(cuts: list[int]) -> None:
    stream = new_stream()
    data = request(1) + request(2) + request(3)
    edges = [0, *sorted(cuts), len(data)]
    found = []
    for start, end in itertools.pairwise(edges):
        found += answers(stream, data[start:end]) or []
    assert found == [answer(1), answer(2), answer(3)]


@pytest.mark.parametrize("unit", [ADDRESS, 0, 255])
def test_the_board_is_its_address_and_both_that_mean_whoever_is_there(
    stream: MbapStream, unit: int
) -> None:
    assert answers(stream, request(5, unit)) == [answer(5, unit)]


def test_behind_another_unit_there_is_nobody(stream: MbapStream) -> None:
    assert answers(stream, request(5, 9)) == [struct.pack(">HHHBBB", 5, 0, 3, 9, 0x83, 0x0B)]


def test_an_exception_keeps_the_connection(stream: MbapStream) -> None:
    found = answers(stream, request(6, count=0) + request(7))
    assert found == [struct.pack(">HHHBBB", 6, 0, 3, ADDRESS, 0x83, 3), answer(7)]


@pytest.mark.parametrize(
    "header",
    [
        struct.pack(">HHHB", 1, 1, 6, ADDRESS),  # another protocol
        struct.pack(">HHHB", 1, 0, 1, ADDRESS),  # no PDU
        struct.pack(">HHHB", 1, 0, 255, ADDRESS),  # longer than any
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_a_header_that_is_not_modbus_closes(stream: MbapStream, header: bytes) -> None:
    assert answers(stream, header) is None


def test_more_than_fits_is_refused(stream: MbapStream) -> None:
    with pytest.raises(ValueError, match="bytes fed where"):
        stream.feed(bytes(1000), 1000)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_whatever_comes_the_stream_answers_waits_or_closes(data: bytes) -> None:
    for frame in answers(new_stream(), data) or []:
        transaction, protocol, length = struct.unpack_from(">HHH", frame)
        assert protocol == 0
        assert len(frame) == 6 + length
        assert transaction.to_bytes(2) in data


# --- on sockets ----------------------------------------------------------------------------


@pytest.fixture
def port() -> Generator[int]:
    """A served port; the server runs in a thread of the test."""
    poll = select.poll()
    server = TcpServer(PduServer(RegisterMap(4), Commands()), ADDRESS)
    number = free_port()
    server.listen("127.0.0.1", number, poll)
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            for key, _event in poll.poll(20):
                assert server.serve(key)

    thread = threading.Thread(target=serve)
    thread.start()
    yield number
    done.set()
    thread.join()
    server.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def exchange(sock: socket.socket, data: bytes, n: int) -> bytes:
    sock.sendall(data)
    found = b""
    while len(found) < n and (piece := sock.recv(n - len(found))):
        found += piece
    return found


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def test_clients_are_served_side_by_side(port: int) -> None:
    with connect(port) as one, connect(port) as two:
        assert exchange(one, request(1), 13) == answer(1)
        assert exchange(two, request(2), 13) == answer(2)
        assert exchange(one, request(3) + request(4), 26) == answer(3) + answer(4)


def test_a_client_that_is_not_modbus_is_put_off(port: int) -> None:
    with connect(port) as sock:
        assert exchange(sock, b"GET / HTTP/1.1\r\n\r\n", 1) == b""


def test_a_fifth_client_takes_the_place_of_the_one_silent_for_longest(port: int) -> None:
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(port)) for _ in range(4)]
        for n in (1, 0, 2, 3):
            assert exchange(socks[n], request(n), 13) == answer(n)
        fifth = stack.enter_context(connect(port))
        assert exchange(fifth, request(9), 13) == answer(9)
        assert socks[1].recv(1) == b""
        assert exchange(socks[0], request(8), 13) == answer(8)


def test_a_port_that_is_taken_is_named(port: int) -> None:
    server = TcpServer(PduServer(RegisterMap(4), Commands()), ADDRESS)
    with pytest.raises(OSError, match=f"Modbus TCP: cannot listen on 127.0.0.1:{port}"):
        server.listen("127.0.0.1", port, select.poll())


@pytest.mark.parametrize("interpreter", ["desk_micropython", "micropython32", "python"])
def test_an_independent_client_reads_from_either_interpreter(
    interpreter: str, request: pytest.FixtureRequest, root: Path
) -> None:
    program = sys.executable if interpreter == "python" else request.getfixturevalue(interpreter)
    number = free_port()
    environment = {**os.environ, "MICROPYPATH": str(root), "PYTHONPATH": str(root)}
    command = [program, str(SCRIPT), str(number)]
    with subprocess.Popen(
        command, env={**environment, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"listening\n"
            for _ in range(2):  # a second connection after the first has gone
                client = ModbusTcpClient("127.0.0.1", port=number, timeout=20, retries=0)
                assert client.connect()
                read = client.read_holding_registers(40000, count=4, device_id=1)
                assert read.registers == [0x5375, 0x6E53, 1, 66]
                assert client.read_holding_registers(1, count=1, device_id=1).exception_code == 2
                assert client.read_holding_registers(1, count=1, device_id=2).exception_code == 11
                client.close()
        finally:
            process.kill()


# --- what the network does ------------------------------------------------------------------


class Socket:
    """A connection that ends as told; ``sent`` bytes fit, and ``error`` is raised."""

    def __init__(self, data: bytes = b"", sent: int = 999, error: int = 0) -> None:
        self.data = data
        self.sent = sent
        self.error = error
        self.closed = False

    def recv_into(self, buffer: bytearray) -> int:
        if self.error and not self.data:
            raise OSError(self.error, "told to")
        buffer[: len(self.data)] = self.data
        n, self.data = len(self.data), b""
        return n

    def send(self, view: memoryview) -> int:
        if self.error:
            raise OSError(self.error, "told to")
        return min(len(view), self.sent)

    def close(self) -> None:
        self.closed = True

    def fileno(self) -> int:
        return 99


def served(sock: Socket) -> tuple[TcpServer, bool]:
    """A server with this one client, and whether the key was its; ``closed`` tells the rest."""
    server = TcpServer(PduServer(RegisterMap(4), Commands()), ADDRESS)
    server._poll = types.SimpleNamespace(unregister=lambda _sock: None)
    server._clients[0].socket = sock
    return server, server.serve(99)


def test_a_client_that_has_nothing_yet_stays() -> None:
    sock = Socket(error=errno.EAGAIN)
    assert served(sock)[1]
    assert not sock.closed


@pytest.mark.parametrize(
    "sock",
    [
        Socket(error=errno.ECONNRESET),
        Socket(),  # closed by the other side
        Socket(request(1), error=errno.EPIPE),
        Socket(request(1), sent=5),  # it has long stopped reading
    ],
)
def test_a_client_that_is_gone_or_reads_no_more_is_closed(sock: Socket) -> None:
    server, known = served(sock)
    assert known
    assert sock.closed
    assert not server.serve(99), "nobody any more"


def test_a_client_that_was_gone_before_it_was_accepted_takes_no_place() -> None:
    class Gone(Socket):
        def accept(self) -> None:
            raise OSError(errno.ECONNABORTED, "gone")

    server = TcpServer(PduServer(RegisterMap(4), Commands()), ADDRESS)
    server._listener = Gone()
    assert server.serve(99)
    assert all(client.socket is None for client in server._clients)


def test_a_server_that_never_listened_can_be_closed() -> None:
    TcpServer(PduServer(RegisterMap(4), Commands()), ADDRESS).close()
