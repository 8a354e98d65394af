"""RTU framing: silence ends a frame, foreign and broken ones are let pass, the bus stays alive."""

import os
import pty
import select
import struct
import threading
import time
import tty
from types import SimpleNamespace

import pytest
from core_fakes import Uart
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client import ModbusSerialClient

from common import models
from common.codes import CommandResult
from common.crc import crc16_modbus
from common.registers import RegisterMap
from firmware.board import Board
from firmware.modbus.pdu import Commands, PduServer
from firmware.modbus.rtu import RtuServer, silence_ms

ADDRESS = 17
SILENCE_MS = 3


class Line(Uart):
    """A UART whose other end is the test, train by train; hears itself when ``echo``."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.echo = False

    def write(self, buffer: bytes) -> int:
        self.sent.append(bytes(buffer))
        if self.echo:
            self.waiting += buffer
        return len(buffer)


class Clock(Board):
    """A board with a line and a clock that the test moves; its ticks wrap at 2**30."""

    def __init__(self, now_ms: int = 0) -> None:
        self.now_ms = now_ms
        self.uart = Line()

    def ticks_ms(self) -> int:
        return self.now_ms % 2**30

    def ticks_diff(self, later: int, earlier: int) -> int:
        return (later - earlier + 2**29) % 2**30 - 2**29

    def ticks_add(self, ticks: int, delta: int) -> int:
        return (ticks + delta) % 2**30


class Counter(Commands):
    """Counts how often each command came."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    def command(self, code: int) -> int:
        self.codes.append(code)
        return CommandResult.DONE

    def set_utc(self, utc_s: int) -> None:
        self.codes.append(utc_s)

    def recall(self, seq: int) -> bool:
        return False

    def tell_fault(self, number: int) -> None:
        self.codes.append(number)


class Bench:
    """A server on a line."""

    def __init__(self, now_ms: int = 0) -> None:
        self.board = Clock(now_ms)
        self.line = self.board.uart
        self.map = RegisterMap(4)
        self.commands = Counter()
        self.pdu = PduServer(self.map, self.commands)
        self.rtu = RtuServer(self.board, self.pdu, ADDRESS, 115200)
        control = self.map.block(models.CONTROL)
        self.command_at = control.address + control.layout.offset("Cmd")

    def pass_ms(self, ms: int) -> None:
        for _ in range(ms):
            self.board.now_ms += 1
            self.rtu.poll()

    def hear(self, data: bytes) -> None:
        self.line.waiting += data
        self.rtu.poll()

    def ask(self, data: bytes) -> list[bytes]:
        """What is sent in answer to ``data`` and the silence behind it."""
        self.line.sent.clear()
        self.hear(data)
        self.pass_ms(SILENCE_MS)
        return list(self.line.sent)


def frame(address: int, pdu: bytes) -> bytes:
    data = bytes([address]) + pdu
    return data + struct.pack("<H", crc16_modbus(data, 0, len(data)))


READ = frame(ADDRESS, struct.pack(">BHH", 3, 40000, 2))
ANSWER = frame(ADDRESS, b"\x03\x04SunS")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_request_is_answered_after_the_silence_and_not_before(bench: Bench) -> None:
    bench.hear(READ)
    bench.pass_ms(SILENCE_MS - 1)
    assert bench.line.sent == []
    bench.pass_ms(1)
    assert bench.line.sent == [ANSWER]


def test_an_answer_that_would_last_too_long_waits_until_there_is_time(bench: Bench) -> None:
    """9 characters of 11 bits at 115200 baud take just less than 1 ms."""
    free_ms = 0
    bench.rtu.free_ms = lambda: free_ms
    assert bench.ask(READ) == []
    bench.pass_ms(20)
    assert bench.line.sent == []
    assert not bench.rtu.pending(), "the loop is not woken for what waits for the loop"
    free_ms = 1
    bench.rtu.poll()
    assert bench.line.sent == [ANSWER]
    bench.pass_ms(20)
    assert bench.line.sent == [ANSWER]


def test_a_request_for_a_file_waits_until_there_is_time_to_read_it(bench: Bench) -> None:
    asked = frame(ADDRESS, struct.pack(">BBBHHH", 20, 7, 6, 1, 5, 10))
    reads = []

    def read(file: int, record: int, words: int, into: bytearray, at: int) -> int:
        reads.append((file, record, words))
        return -2

    bench.pdu.files = SimpleNamespace(read=read)
    bench.rtu.file_ms = 100
    free_ms = 99
    bench.rtu.free_ms = lambda: free_ms
    assert bench.ask(asked) == []
    bench.pass_ms(20)
    assert reads == []
    assert not bench.rtu.pending(), "the loop is not woken for what waits for the loop"
    assert bench.ask(READ) == [ANSWER], "anything else is answered"
    assert bench.ask(asked) == []
    free_ms = 100
    bench.rtu.poll()
    assert reads == [(1, 5, 10)]
    assert bench.line.sent == [frame(ADDRESS, b"\x94\x02")]
    assert not bench.rtu.pending()


def test_an_answer_whose_sender_speaks_again_before_it_was_sent_is_dropped(bench: Bench) -> None:
    free_ms = 0
    bench.rtu.free_ms = lambda: free_ms
    assert bench.ask(frame(ADDRESS, struct.pack(">BHH", 3, 40000, 1))) == []
    bench.hear(READ)
    free_ms = 1000
    bench.pass_ms(SILENCE_MS)
    assert bench.line.sent == [ANSWER]
    assert bench.pdu.no_responses == 1


def test_bytes_that_come_one_by_one_make_one_frame(bench: Bench) -> None:
    for byte in READ:
        bench.hear(bytes([byte]))
        bench.pass_ms(1)
    bench.pass_ms(SILENCE_MS - 1)
    assert bench.line.sent == [ANSWER]


def test_silence_cuts_a_frame_in_two_and_neither_half_is_answered(bench: Bench) -> None:
    assert bench.ask(READ[:4]) == []
    assert bench.ask(READ[4:]) == []
    assert bench.pdu.bus_errors == 2
    assert bench.ask(READ) == [ANSWER]


@pytest.mark.parametrize(
    ("baudrate", "least_us"), [(9600, 4010), (19200, 2005), (38400, 1750), (921600, 1750)]
)
def test_the_silence_is_never_shorter_than_three_and_a_half_characters(
    baudrate: int, least_us: int
) -> None:
    # two readings of a millisecond clock N apart can be just over N - 1 ms apart
    assert (silence_ms(baudrate) - 1) * 1000 >= least_us
    assert (silence_ms(baudrate) - 2) * 1000 < least_us


def test_the_loop_is_told_when_to_wake(bench: Bench) -> None:
    assert not bench.rtu.pending()
    bench.hear(READ)
    assert bench.rtu.pending()
    assert bench.rtu.due_ms() == SILENCE_MS
    bench.pass_ms(SILENCE_MS)
    assert not bench.rtu.pending()


def test_a_frame_across_the_wrap_of_the_clock_is_answered() -> None:
    # guards against comparing ticks with <: the clock jumps back to 0 within the silence
    bench = Bench(2**30 - 2)
    assert bench.ask(READ) == [ANSWER]


def test_frames_for_others_are_let_pass(bench: Bench) -> None:
    assert bench.ask(frame(ADDRESS + 1, b"\x03\x9c\x40\x00\x02")) == []
    assert bench.pdu.bus_messages == 1
    assert bench.pdu.server_messages == 0
    assert bench.pdu.bus_errors == 0


def test_a_frame_with_a_wrong_checksum_is_counted_and_not_answered(bench: Bench) -> None:
    for at in range(len(READ)):
        broken = bytearray(READ)
        broken[at] ^= 0x10
        assert bench.ask(bytes(broken)) == []
    assert bench.pdu.bus_errors == len(READ)
    assert bench.pdu.bus_messages == 0


def test_an_exception_is_framed_like_an_answer(bench: Bench) -> None:
    assert bench.ask(frame(ADDRESS, b"\x63")) == [frame(ADDRESS, b"\xe3\x01")]


def test_a_broadcast_write_is_carried_out_and_not_answered(bench: Bench) -> None:
    assert bench.ask(frame(0, struct.pack(">BHH", 6, bench.command_at, 2))) == []
    assert bench.commands.codes == [2]
    assert bench.pdu.no_responses == 1


def test_a_broadcast_read_is_ignored(bench: Bench) -> None:
    assert bench.ask(frame(0, READ[1:-2])) == []
    assert bench.pdu.exceptions == 0


def test_its_own_echo_is_not_taken_for_a_request(bench: Bench) -> None:
    # the answer to a write is the write itself: taken again, it would go round for ever
    bench.line.echo = True
    write = frame(ADDRESS, struct.pack(">BHH", 6, bench.command_at, 2))
    assert bench.ask(write) == [write]
    bench.pass_ms(50)
    assert bench.commands.codes == [2]
    assert bench.ask(write) == [write]
    assert bench.commands.codes == [2, 2]


def test_a_board_that_was_busy_answers_the_last_request_of_the_piece(bench: Bench) -> None:
    other = frame(9, struct.pack(">BHH", 3, 40000, 2)) + frame(9, b"\x03\x04" + b"\x11" * 4)
    assert bench.ask(other + READ) == [ANSWER]


def test_a_request_behind_which_the_bus_went_on_is_given_up(bench: Bench) -> None:
    assert bench.ask(READ + frame(9, struct.pack(">BHH", 3, 40000, 2))) == []


def test_a_request_inside_the_data_of_a_whole_frame_is_no_request(bench: Bench) -> None:
    inner = frame(ADDRESS, struct.pack(">BHH", 6, bench.command_at, 2))
    assert bench.ask(frame(9, b"\x03" + bytes([len(inner)]) + inner)) == []
    assert bench.commands.codes == []


@pytest.mark.parametrize("size", [257, 1023, 1024, 1025, 5000])
def test_a_flood_is_let_pass_and_the_next_request_answered(bench: Bench, size: int) -> None:
    assert bench.ask(b"\xa5" * size) == []
    bench.pass_ms(SILENCE_MS + 5)
    assert bench.pdu.bus_errors == 1
    assert bench.ask(READ) == [ANSWER]


def test_the_longest_request_is_taken(bench: Bench) -> None:
    data = bytes(250)
    assert bench.ask(frame(ADDRESS, b"\x08\x00\x00" + data)) == [
        frame(ADDRESS, b"\x08\x00\x00" + data)
    ]


def test_a_board_without_a_uart_says_so() -> None:
    bench = Bench()
    bench.board.uart = None
    with pytest.raises(ValueError, match="no UART"):
        RtuServer(bench.board, bench.pdu, ADDRESS, 115200)


class Terminal:
    """A UART whose other end is a pseudo-terminal."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def any(self) -> int:
        return 1 if select.select([self.fd], [], [], 0)[0] else 0

    def readinto(self, buffer: bytearray) -> int | None:
        data = os.read(self.fd, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, buffer: bytes) -> int:
        return os.write(self.fd, bytes(buffer))


class RealTime(Clock):
    """A board on a pseudo-terminal, with the machine's own clock."""

    def __init__(self, fd: int) -> None:
        self.uart = Terminal(fd)

    def ticks_ms(self) -> int:
        return int(time.monotonic() * 1000) % 2**30


def test_an_independent_client_is_answered_over_a_serial_line() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    board = RealTime(ours)
    rtu = RtuServer(board, PduServer(RegisterMap(16), Counter()), ADDRESS, 115200)
    done = threading.Event()

    def serve() -> None:
        while not done.wait(0.001):
            rtu.poll()

    thread = threading.Thread(target=serve)
    thread.start()
    client = ModbusSerialClient(os.ttyname(theirs), baudrate=115200, timeout=20, retries=0)
    try:
        assert client.connect()
        read = client.read_holding_registers(40000, count=4, device_id=ADDRESS)
        assert read.registers == [0x5375, 0x6E53, 1, 66]
        assert client.read_input_registers(40000, count=125, device_id=ADDRESS).registers[3] == 66
        assert client.read_holding_registers(0, count=1, device_id=ADDRESS).exception_code == 2
        assert client.write_register(40000, 1, device_id=ADDRESS).exception_code == 2
        assert client.diag_query_data(b"\x12\x34", device_id=ADDRESS).message == b"\x12\x34"
        identity = client.read_device_information(read_code=1, device_id=ADDRESS)
        assert identity.information.keys() == {0, 1, 2}
    finally:
        client.close()
        done.set()
        thread.join()
        os.close(ours)
        os.close(theirs)


PIECE = st.one_of(
    st.binary(max_size=40),
    st.builds(frame, st.integers(0, 255).filter(lambda a: a != ADDRESS), st.binary(max_size=20)),
    st.builds(frame, st.just(ADDRESS), st.binary(min_size=1, max_size=20)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(PIECE, st.integers(0, 5)), max_size=8))
def test_whatever_is_on_the_line_only_its_own_address_answers(
    traffic: list[tuple[bytes, int]],
) -> None:
    bench = Bench()
    for data, pause_ms in traffic:
        bench.hear(data)
        bench.pass_ms(pause_ms)
    for answer in bench.line.sent:
        assert answer[0] == ADDRESS
        assert crc16_modbus(answer, 0, len(answer)) == 0
    bench.pass_ms(SILENCE_MS)
    assert bench.ask(READ) == [ANSWER]


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=20).filter(lambda b: b[0] != ADDRESS), st.integers(0, 255))
def test_a_foreign_frame_alone_is_never_answered(pdu: bytes, address: int) -> None:
    bench = Bench()
    assert bench.ask(frame(address if address != ADDRESS else 0, pdu)) == []


def test_a_line_that_never_falls_silent_after_an_answer_does_not_hold_the_board(
    bench: Bench,
) -> None:
    def endless(buffer: bytes) -> int:
        bench.line.sent.append(bytes(buffer))
        bench.line.any = lambda: 7
        bench.line.readinto = len
        return len(buffer)

    bench.line.write = endless
    assert bench.ask(READ) == [ANSWER]
