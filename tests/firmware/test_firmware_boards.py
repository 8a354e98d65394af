import contextlib
import json
import socket
import struct
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from interpreters import run

from common import __version__, link
from common.codes import ResetCause
from common.registers import RegisterMap
from firmware.board import Board
from firmware.boards import unix
from firmware.boards.desk import DeskBoard
from firmware.modbus.pdu import Commands, PduServer
from firmware.modbus.tcp import TcpServer

WRAP = 1 << 30


class SmallWorld(threading.Thread):
    """The other end of the link: a memory at address 8, a line that echoes, nothing at 9 and 10.

    An access to address 11 ends the world. SPI answers with every bit turned over; the switches
    follow their lines.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.memory = bytearray(256)
        self.line = b""
        self.now_us = 5000
        self.watchdog_ms = 0
        self.lines = 0

    def run(self) -> None:
        try:
            sock, _ = self.listener.accept()
        except OSError:  # it was ended before anybody came
            return
        with contextlib.suppress(OSError, EOFError), sock, sock.makefile("rb") as stream:
            while True:
                head = stream.read(link.REQUEST_HEADER_BYTES)
                if len(head) < link.REQUEST_HEADER_BYTES:
                    return
                op, length, slept_us = struct.unpack(link.REQUEST_HEADER, head)
                self.now_us += slept_us
                status, payload = self.answer(op, stream.read(length))
                if op in {link.SPI_WRITE, link.WATCHDOG}:
                    continue
                status |= link.RECEIVED if self.line else 0
                now = divmod(self.now_us, 1000)
                sock.sendall(struct.pack(link.ANSWER_HEADER, status, *now, len(payload)) + payload)

    def end(self) -> None:
        """Wait for the thread, so that what it dies of is told of the test that used it."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake it
        self.join(30)
        self.listener.close()
        assert not self.is_alive()

    def answer(self, op: int, payload: bytes) -> tuple[int, bytes]:
        if op == link.HELLO:
            assert payload == b"P1"
            return link.OK, bytes([ResetCause.POWER_ON])
        if op == link.I2C:
            address, n_read, register = struct.unpack_from("<BHB", payload)
            if address == 11:
                raise EOFError
            if address != 8:
                return (link.NACK if address == 9 else link.TIMEOUT), b""
            data = payload[4:]
            self.memory[register : register + len(data)] = data
            return link.OK, bytes(self.memory[register : register + n_read])
        if op == link.WAIT:
            (until_us,) = struct.unpack("<Q", payload)
            assert until_us >= self.now_us
            self.now_us = until_us
            return link.OK, b""
        if op == link.UART_WRITE:
            self.line += payload
        if op == link.UART_READ:
            (most,) = struct.unpack("<H", payload)
            data, self.line = self.line[:most], self.line[most:]
            return link.OK, data
        if op == link.SPI:
            return link.OK, bytes(byte ^ 0xFF for byte in payload)
        if op == link.DRIVE:
            (self.lines,) = payload
        if op == link.FEEDBACK:
            return link.OK, bytes([self.lines])
        if op == link.WATCHDOG:
            (self.watchdog_ms,) = struct.unpack("<I", payload)
        return link.OK, b""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[SmallWorld, Path]]:
    path = tmp_path / "world"
    world = SmallWorld(path)
    world.start()
    yield world, path
    world.end()


GREETING = f"echelon {__version__} unix P1 boot 1\n"
SCRIPT = "tests/firmware/scripts/unix_board.py"


def test_the_desk_board_speaks_the_link_on_cpython(world) -> None:
    small, path = world
    done = run(sys.executable, SCRIPT, str(path))
    assert done.stdout.split() == ["0", "bytes", "ok"], done.stdout + done.stderr
    assert small.watchdog_ms == 8000


def test_the_desk_board_speaks_the_link_on_micropython_without_allocating(
    world, micropython: str
) -> None:
    small, path = world
    done = run(micropython, SCRIPT, str(path))
    assert done.stdout.split() == ["0", "bytes", "ok"], done.stdout + done.stderr
    assert small.watchdog_ms == 8000


@pytest.fixture(params=["cpython", "desk_micropython", "micropython32"])
def interpreter(request: pytest.FixtureRequest) -> str:
    if request.param == "cpython":
        return sys.executable
    found: str = request.getfixturevalue(request.param)
    return found


def test_wrong_settings_end_a_board_with_one_line(tmp_path: Path, interpreter: str) -> None:
    pack = {"serial": "P1", "n_cells": 2, "profile": "nmc", "rated_mah": 1000}
    (tmp_path / "settings.json").write_text(json.dumps(pack))
    done = run(interpreter, "-m", "firmware.boards.unix", "none", str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == f"{tmp_path}/settings.json: n_cells 2 is out of range (3 to 72)\n"
    assert done.stderr == ""


def test_a_wrong_command_line_says_what_is_right(interpreter: str) -> None:
    done = run(interpreter, "-m", "firmware.boards.unix", "only-one")
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("usage: firmware.boards.unix SOCKET ROOT")


def test_a_board_without_a_world_says_so(tmp_path: Path, interpreter: str) -> None:
    pack = {"serial": "P1", "n_cells": 3, "profile": "nmc", "rated_mah": 1000}
    (tmp_path / "settings.json").write_text(json.dumps(pack))
    done = run(interpreter, "-m", "firmware.boards.unix", f"{tmp_path}/none", str(tmp_path))
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith(f"{tmp_path}/none: no simulated world there (")


def test_a_tcp_port_that_is_taken_is_named(world, tmp_path: Path, interpreter: str) -> None:
    pack = {"serial": "P1", "n_cells": 3, "profile": "nmc", "rated_mah": 1000}
    (tmp_path / "settings.json").write_text(json.dumps(pack))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run(
            interpreter, "-m", "firmware.boards.unix",
            str(world[1]), str(tmp_path), "--tcp", str(port),
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith(
        f"{GREETING}--tcp: Modbus TCP: cannot listen on 127.0.0.1:{port} ("
    )


def test_a_board_whose_world_goes_away_ends_quietly(tmp_path: Path, interpreter: str) -> None:
    """The first bus access after HELLO goes to nobody: the power is off."""
    pack = {"serial": "P1", "n_cells": 3, "profile": "nmc", "rated_mah": 1000}
    (tmp_path / "settings.json").write_text(json.dumps(pack))
    path = tmp_path / "world"
    world = SmallWorld(path)
    real = world.answer

    def answer(op: int, payload: bytes) -> tuple[int, bytes]:
        if op == link.I2C:
            raise EOFError
        return real(op, payload)

    world.answer = answer  # type: ignore[method-assign]
    world.start()
    done = run(interpreter, "-m", "firmware.boards.unix", str(path), str(tmp_path))
    world.end()
    assert (done.returncode, done.stdout, done.stderr) == (0, GREETING, "")


# --- the desk's link, from within -------------------------------------------------------------


ADDRESS = 17
REQUEST = struct.pack(">HHHBBHH", 1, 0, 6, ADDRESS, 3, 40000, 2)
ANSWER = struct.pack(">HHHBBB", 1, 0, 7, ADDRESS, 3, 4) + b"SunS"


@pytest.fixture
def board(world) -> Iterator[unix.UnixBoard]:
    made = unix.UnixBoard(str(world[1]), ".", "P1")
    yield made
    made.link._sock.close()


def test_whoever_asks_over_tcp_is_answered_while_the_board_waits(world, board) -> None:
    small, _path = world
    server = TcpServer(PduServer(RegisterMap(4), Commands()), ADDRESS)
    heard = []
    real = small.answer

    def answer(op: int, payload: bytes) -> tuple[int, bytes]:
        if op == link.WAIT:
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.sendall(REQUEST)
                heard.append(client.recv(100))
        return real(op, payload)

    small.answer = answer
    port = board.listen(server, 0)
    try:
        before = board.ticks_ms()
        board.wait(board.ticks_add(before, 100))
        assert board.ticks_diff(board.ticks_ms(), before) == 100
        assert heard == [ANSWER]
    finally:
        server.close()


def test_a_port_that_is_taken_is_not_taken_for_another(board, monkeypatch) -> None:
    server = TcpServer(PduServer(RegisterMap(4), Commands()), ADDRESS)
    with socket.socket() as other, socket.socket() as free:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        free.bind(("127.0.0.1", 0))
        ports = [taken, free.getsockname()[1]]
        free.close()
        monkeypatch.setattr(unix, "_FIRST_PORT", 0)
        monkeypatch.setattr(unix, "_N_PORTS", 1 << 16)
        drawn = [struct.pack("<I", port) for port in ports]
        monkeypatch.setattr(unix.os, "urandom", lambda _n: drawn.pop(0))
        try:
            assert board.listen(server, 0) == ports[1]
        finally:
            server.close()
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{taken}"):
            board.listen(server, taken)


def test_what_has_no_answer_goes_in_its_order_with_the_next_request(world, board) -> None:
    small, _path = world
    heard = []
    real = small.answer

    def answer(op: int, payload: bytes) -> tuple[int, bytes]:
        heard.append((op, payload, small.now_us))
        return real(op, payload)

    small.answer = answer
    board.spi_transfer(b"a", None)
    board.sleep_us(400)
    board.spi_transfer(b"bc", None)
    board.feed_watchdog()
    board.sleep_us(700)
    assert (board.link.now_ms, board.link.now_us) == (6, 100)
    assert heard == []
    board.drive_switches(1)
    eight_seconds = (8000).to_bytes(4, "little")
    assert heard == [
        (link.SPI_WRITE, b"a", 5000),
        (link.SPI_WRITE, b"bc", 5400),
        (link.WATCHDOG, eight_seconds, 5400),
        (link.DRIVE, b"\x01", 6100),
    ]
    assert (board.link.now_ms, board.link.now_us) == (6, 100)
    for _ in range(100):
        board.spi_transfer(bytes(60), None)
    assert board.switch_feedback() == 1
    assert len(heard) == 105


def test_a_long_sleep_passes_at_once_and_one_too_long_is_refused(world, board) -> None:
    small, _path = world
    board.sleep_us(9000)
    assert small.now_us == 5000
    board.sleep_us(1_000_000)
    assert small.now_us == 1_014_000
    with pytest.raises(OSError, match="too long a sleep"):
        board.sleep_us(1_000_001)


@pytest.mark.parametrize(("free", "times"), [(2_000_000, 2), (100_000, 2 * unix.COLLECT_EVERY)])
def test_garbage_of_a_large_heap_is_collected_once_in_some_cycles(
    world, monkeypatch, free: int, times: int
) -> None:
    monkeypatch.setattr(unix.gc, "mem_free", lambda: free, raising=False)
    monkeypatch.setattr(unix.gc, "mem_alloc", lambda: 30_000, raising=False)
    board = unix.UnixBoard(str(world[1]), ".", "P1")
    collected = []
    monkeypatch.setattr(unix.gc, "collect", lambda: collected.append(1))
    for _ in range(2 * unix.COLLECT_EVERY):
        board.collect_garbage()
    board.link._sock.close()
    assert len(collected) == times


def test_an_answer_that_is_too_short_is_an_error_of_the_bus(world, board) -> None:
    small, _path = world
    small.answer = lambda _op, _payload: (link.OK, b"\x01")
    with pytest.raises(OSError, match="short answer"):
        board.i2c.readfrom_mem_into(8, 0x20, bytearray(2))
    with pytest.raises(OSError, match="short answer"):
        board.spi_transfer(b"ab", bytearray(2))
    board.recover_i2c()


def test_an_answer_beyond_all_bounds_ends_the_board(world, board) -> None:
    small, _path = world
    small.answer = lambda _op, _payload: (link.OK, bytes(2000))
    with pytest.raises(unix.LinkLostError, match="answer of 2000 bytes"):
        board.switch_feedback()


def test_a_world_that_goes_away_is_the_power_going_off(board) -> None:
    with pytest.raises(unix.LinkLostError, match="closed"):
        board.i2c.readfrom_mem_into(11, 0, bytearray(1))
    with pytest.raises(unix.LinkLostError, match="cannot send"):
        board.switch_feedback()


def test_a_world_that_breaks_off_in_a_request_is_the_power_going_off(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "world"))
        listener.listen()
        made = unix.Link(str(tmp_path / "world"))
        sock, _ = listener.accept()
        made.keep(link.NOW, 0)
        made._send()
        sock.close()  # with bytes unread: the other side is reset
        with pytest.raises(unix.LinkLostError, match="cannot receive"):
            made._receive(bytearray(4), 4)
        made._sock.close()


# --- desk --------------------------------------------------------------------------------------


def test_the_desk_clock_wraps_and_its_distances_do_not() -> None:
    board = DeskBoard(i2c=None, start_ms=WRAP - 10)
    before = board.ticks_ms()
    board.advance(25)
    assert board.ticks_ms() == 15
    assert board.ticks_diff(board.ticks_ms(), before) == 25
    assert board.ticks_diff(before, board.ticks_ms()) == -25


def test_the_desk_board_wakes_for_the_uart() -> None:
    uart = types.SimpleNamespace(any=lambda: 0)
    board = DeskBoard(i2c=None, uart=uart)
    board.wait(100)
    assert board.now_ms == 100
    uart.any = lambda: 3
    board.wait(200)
    assert board.now_ms == 100


class FrontEnd:
    """SPI that turns bits over, switches that follow their lines, time that is added up."""

    def __init__(self) -> None:
        self.lines = 0
        self.us = 0

    def spi(self, out: bytes) -> bytes:
        return bytes(byte ^ 0xFF for byte in out)

    def drive(self, bits: int) -> None:
        self.lines = bits

    def feedback(self) -> int:
        return self.lines

    def wait(self, us: int) -> None:
        self.us += us


def test_the_desk_board_has_what_hangs_on_spi_and_switch_lines() -> None:
    front_end = FrontEnd()
    board = DeskBoard(i2c=None, front_end=front_end)
    into = bytearray(3)
    board.spi_transfer(b"\x00\x0f\xff", into)
    assert into == b"\xff\xf0\x00"
    board.drive_switches(5)
    assert board.switch_feedback() == 5
    for _ in range(3):
        board.sleep_us(400)
    assert (board.now_ms, front_end.us) == (1, 1200)
    alone = DeskBoard(i2c=None)
    alone.sleep_us(2500)
    assert alone.now_ms == 2


def test_a_board_without_more_than_it_must_have_tells_so() -> None:
    board = Board()
    assert board.switch_feedback() == -1
    assert board.insulated() is None
    began_s = time.monotonic()
    board.sleep_us(2000)
    assert time.monotonic() - began_s >= 0.002


def test_virtual_time_goes_on_beyond_32_bits(world, board) -> None:
    small, _path = world
    small.now_us = (1 << 32) * 1000 + 7000
    board.spi_transfer(b"a", bytearray(1))
    assert board.link.now_ms == small.now_us // 1000 > 1 << 32
