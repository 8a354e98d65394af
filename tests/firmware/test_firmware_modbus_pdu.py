"""The Modbus server's function codes: what is read, what is written, what is refused."""

import struct
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreters import lines

from common import models
from common.codes import Command, CommandResult
from common.registers import Block, RegisterMap
from firmware.modbus.pdu import Commands, PduServer

N_CELLS = 16
SCRIPT = "modbus_exchange.py"


class Recorder(Commands):
    """Remembers what it was asked, and answers as told."""

    def __init__(self, register_map: RegisterMap) -> None:
        self.asked: list[tuple[str, int]] = []
        self.result = CommandResult.DONE
        self._recall = register_map.block(models.RECALL)

    def command(self, code: int) -> int:
        self.asked.append(("command", code))
        return self.result

    def set_utc(self, utc_s: int) -> None:
        self.asked.append(("utc", utc_s))

    def recall(self, seq: int) -> bool:
        self.asked.append(("recall", seq))
        self._recall.set("Seq", seq)
        return True

    def tell_fault(self, number: int) -> None:
        self.asked.append(("tell_fault", number))


class Bench:
    """A server on a map, and a way to ask it."""

    def __init__(self) -> None:
        self.map = RegisterMap(N_CELLS)
        self.map.block(models.BATTERY).set("AlmRst", 0)
        self.commands = Recorder(self.map)
        self.server = PduServer(self.map, self.commands)

    def ask(self, pdu: bytes) -> bytes:
        response = bytearray(253)
        n = self.server.handle(bytearray(pdu), len(pdu), response)
        return bytes(response[:n])

    def read(self, address: int, count: int, function: int = 3) -> bytes:
        return self.ask(struct.pack(">BHH", function, address, count))

    def write(self, address: int, *words: int) -> bytes:
        n = len(words)
        return self.ask(struct.pack(f">BHHB{n}H", 16, address, n, 2 * n, *words))

    def block(self, model_id: int) -> Block:
        return self.map.block(model_id)

    def address(self, model_id: int, name: str) -> int:
        block = self.map.block(model_id)
        return block.address + block.layout.offset(name)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- reading -----------------------------------------------------------------------------


def test_every_part_is_read_as_it_stands_now_however_many_were_asked_for(bench: Bench) -> None:
    first = bench.map.block(models.SNAPSHOT).address - 40000
    parts = [(first + i, count) for count in (1, 2, 50) for i in range(20)]
    for filled in (0x11, 0xA5):
        start, end = 2 * first, 2 * (first + 70)
        for at in range(start, end):
            bench.map.image[at] = filled ^ (at & 0xFF)
        for at, count in parts:
            answer = bench.read(40000 + at, count)
            assert answer[2:] == bench.map.image[2 * at : 2 * (at + count)]
            assert answer[1] == 2 * count == len(answer) - 2


@pytest.mark.parametrize("function", [3, 4])
def test_the_map_begins_with_suns_at_40000(bench: Bench, function: int) -> None:
    assert bench.read(40000, 2, function) == bytes([function, 4]) + b"SunS"


def test_the_whole_map_is_read_piece_by_piece(bench: Bench) -> None:
    image = b""
    for at in range(0, bench.map.words, 125):
        count = min(125, bench.map.words - at)
        image += bench.read(40000 + at, count)[2:]
    assert image == bytes(bench.map.image)


@pytest.mark.parametrize("count", [0, 126, 65535])
def test_a_read_of_no_or_too_many_registers_is_an_illegal_value(bench: Bench, count: int) -> None:
    assert bench.read(40000, count) == b"\x83\x03"


@pytest.mark.parametrize("address", [0, 39999, 50000, 65535])
def test_a_read_outside_the_map_is_an_illegal_address(bench: Bench, address: int) -> None:
    assert bench.read(address, 1) == b"\x83\x02"


def test_a_read_that_reaches_past_the_end_is_an_illegal_address(bench: Bench) -> None:
    last = 40000 + bench.map.words - 1
    assert bench.read(last, 1)[0] == 3
    assert bench.read(last, 2) == b"\x83\x02"


@pytest.mark.parametrize("pdu", [b"\x03", b"\x03\x9c\x40\x00", b"\x03\x9c\x40\x00\x01\x00"])
def test_a_read_of_the_wrong_length_is_an_illegal_value(bench: Bench, pdu: bytes) -> None:
    assert bench.ask(pdu) == b"\x83\x03"


@pytest.mark.parametrize("function", [0, 1, 2, 5, 7, 15, 17, 22, 24, 42, 100, 131, 255])
def test_functions_that_are_not_served_are_said_to_be_illegal(bench: Bench, function: int) -> None:
    assert bench.ask(bytes([function, 0, 0])) == bytes([function | 0x80, 1])


# --- writing -----------------------------------------------------------------------------


def test_a_command_is_carried_out_and_its_result_stands_beside_it(bench: Bench) -> None:
    at = bench.address(models.CONTROL, "Cmd")
    bench.commands.result = CommandResult.REFUSED_UNSAFE
    request = struct.pack(">BHH", 6, at, Command.CONNECT)
    assert bench.ask(request) == request
    assert bench.commands.asked == [("command", Command.CONNECT)]
    assert bench.block(models.CONTROL).get("Cmd") == Command.CONNECT
    assert bench.block(models.CONTROL).get("CmdRes") == CommandResult.REFUSED_UNSAFE


def test_the_time_is_set_by_both_registers_in_one_write(bench: Bench) -> None:
    at = bench.address(models.CONTROL, "SetUtc")
    utc_s = 1_800_000_000
    assert bench.write(at, utc_s >> 16, utc_s & 0xFFFF)[0] == 16
    assert bench.commands.asked == [("utc", utc_s)]
    assert bench.block(models.CONTROL).get("SetUtc") == utc_s


@pytest.mark.parametrize("utc_s", [0, 86400, 0xFFFFFFFF])
def test_a_time_that_no_set_clock_tells_is_an_illegal_value(bench: Bench, utc_s: int) -> None:
    at = bench.address(models.CONTROL, "SetUtc")
    assert bench.write(at, utc_s >> 16, utc_s & 0xFFFF) == b"\x90\x03"
    assert bench.commands.asked == []


@pytest.mark.parametrize("offset", [0, 1])
def test_half_a_point_of_two_registers_cannot_be_written(bench: Bench, offset: int) -> None:
    at = bench.address(models.CONTROL, "SetUtc") + offset
    assert bench.write(at, 0x6B49) == b"\x90\x02"
    assert bench.ask(struct.pack(">BHH", 6, at, 0x6B49)) == b"\x86\x02"
    assert bench.commands.asked == []


def test_a_write_that_touches_a_register_not_writable_changes_nothing(bench: Bench) -> None:
    before = bytes(bench.map.image)
    at = bench.address(models.CONTROL, "Cmd")  # CmdRes, which follows, is for reading
    assert bench.write(at, Command.CONNECT, 0) == b"\x90\x02"
    assert bench.commands.asked == []
    assert bytes(bench.map.image) == before


def test_a_write_with_one_illegal_value_changes_nothing(bench: Bench) -> None:
    before = bytes(bench.map.image)
    at = bench.address(models.BATTERY, "SetOp")  # SetInvState follows: there is no inverter
    assert bench.write(at, 2, 1) == b"\x90\x03"
    assert bench.commands.asked == []
    assert bytes(bench.map.image) == before


def test_alarm_reset_clears_the_latched_faults(bench: Bench) -> None:
    at = bench.address(models.BATTERY, "AlmRst")
    assert bench.write(at, 1)[0] == 16
    assert bench.commands.asked == [("command", Command.CLEAR_LATCHED)]
    assert bench.block(models.BATTERY).get("AlmRst") == 0
    bench.commands.result = CommandResult.REFUSED_UNSAFE
    assert bench.write(at, 1) == b"\x90\x04"


@pytest.mark.parametrize(("value", "code"), [(1, Command.CONNECT), (2, Command.DISCONNECT)])
def test_set_op_connects_and_disconnects(bench: Bench, value: int, code: int) -> None:
    at = bench.address(models.BATTERY, "SetOp")
    assert bench.write(at, value)[0] == 16
    assert bench.commands.asked == [("command", code)]
    bench.commands.result = CommandResult.REFUSED_UNSAFE
    assert bench.write(at, value) == b"\x90\x04"


@pytest.mark.parametrize("value", [0, 3, 65535])
def test_set_op_knows_no_other_value(bench: Bench, value: int) -> None:
    assert bench.write(bench.address(models.BATTERY, "SetOp"), value) == b"\x90\x03"


def test_the_address_cannot_be_changed_over_the_bus(bench: Bench) -> None:
    bench.block(models.COMMON).set("DA", 5)
    at = bench.address(models.COMMON, "DA")
    assert bench.write(at, 6) == b"\x90\x03"
    assert bench.write(at, 5)[0] == 16
    assert bench.block(models.COMMON).get("DA") == 5


def test_a_reading_is_chosen_and_read_in_one_transaction(bench: Bench) -> None:
    recall = bench.block(models.RECALL)
    at = bench.address(models.CONTROL, "RecSel")
    count = recall.layout.words
    answer = bench.ask(struct.pack(">BHHHHBHH", 23, recall.address, count, at, 2, 4, 1, 0x2345))
    assert answer[:2] == bytes([23, 2 * count])
    assert recall.layout.decode(answer[2:])["Seq"] == 0x12345


def test_a_fault_is_asked_about(bench: Bench) -> None:
    assert bench.write(bench.address(models.CONTROL, "FltSel"), 3)[0] == 16
    assert bench.commands.asked == [("tell_fault", 3)]


def test_function_23_that_may_not_read_does_not_write(bench: Bench) -> None:
    at = bench.address(models.CONTROL, "RecSel")
    assert bench.ask(struct.pack(">BHHHHBHH", 23, 1, 1, at, 2, 4, 0, 1)) == b"\x97\x02"
    assert bench.ask(struct.pack(">BHHHHBHH", 23, 40000, 126, at, 2, 4, 0, 1)) == b"\x97\x03"
    assert bench.commands.asked == []


@pytest.mark.parametrize(
    "pdu",
    [
        b"\x10",
        struct.pack(">BHHB", 16, 40000, 0, 0),
        struct.pack(">BHHBH", 16, 40000, 1, 4, 1),
        struct.pack(">BHHBHH", 16, 40000, 1, 2, 1, 1),
        struct.pack(">BHHB248s", 16, 40000, 124, 248, b""),
        struct.pack(">BH", 6, 40000),
        b"\x17\x9c\x40",
        struct.pack(">BHHHHBH", 23, 40000, 1, 40000, 1, 4, 1),
    ],
)
def test_a_write_whose_lengths_disagree_is_an_illegal_value(bench: Bench, pdu: bytes) -> None:
    assert bench.ask(pdu) == bytes([pdu[0] | 0x80, 3])


# --- diagnostics and identification --------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\x12\x34", bytes(range(200))])
def test_query_data_is_returned(bench: Bench, data: bytes) -> None:
    assert bench.ask(b"\x08\x00\x00" + data) == b"\x08\x00\x00" + data


def test_counters_are_told_and_cleared(bench: Bench) -> None:
    server = bench.server
    server.bus_messages, server.bus_errors, server.exceptions = 11, 12, 13
    server.server_messages, server.no_responses, server.overruns = 14, 15, 0x10018
    told = [bench.ask(struct.pack(">BHH", 8, sub, 0))[3:] for sub in (*range(11, 16), 18)]
    assert [int.from_bytes(value) for value in told] == [11, 12, 13, 14, 15, 0x18]
    assert bench.ask(b"\x08\x00\x0a\x00\x00") == b"\x08\x00\x0a\x00\x00"
    assert server.bus_messages == server.bus_errors == server.overruns == 0


def test_exceptions_are_counted(bench: Bench) -> None:
    bench.read(0, 1)
    bench.ask(b"\x63")
    assert bench.ask(b"\x08\x00\x0d\x00\x00") == b"\x08\x00\x0d\x00\x02"


def test_listen_only_mode_is_not_offered(bench: Bench) -> None:
    assert bench.ask(b"\x08\x00\x04\x00\x00") == b"\x88\x01"


def objects(answer: bytes) -> dict[int, str]:
    found = {}
    at = 7
    for _ in range(answer[6]):
        number, size = answer[at], answer[at + 1]
        found[number] = answer[at + 2 : at + 2 + size].decode()
        at += 2 + size
    assert at == len(answer)
    return found


def test_the_device_identifies_itself(bench: Bench) -> None:
    common = bench.block(models.COMMON)
    for name, text in (("Mn", "Echelon"), ("Md", "Pack 16S"), ("Vr", "1.2.3"), ("SN", "P-7")):
        common.set_text(name, text)
    basic = bench.ask(b"\x2b\x0e\x01\x00")
    assert basic[:6] == b"\x2b\x0e\x01\x83\x00\x00"
    assert objects(basic) == {0: "Echelon", 1: "Pack 16S", 2: "1.2.3"}
    assert objects(bench.ask(b"\x2b\x0e\x02\x00")).keys() == {0, 1, 2, 4, 5}
    assert objects(bench.ask(b"\x2b\x0e\x03\x00"))[0x80] == "P-7"
    assert objects(bench.ask(b"\x2b\x0e\x04\x80")) == {0x80: "P-7"}
    assert objects(bench.ask(b"\x2b\x0e\x03\x82")).keys() == {0x82}


def test_the_longest_identification_fits_one_answer(bench: Bench) -> None:
    for name in ("Mn", "Md", "Vr", "SN"):
        bench.block(models.COMMON).set_text(name, 40 * "x")
    for name in ("Brd", "Afe"):
        bench.block(models.DEVICE).set_text(name, 40 * "x")
    answer = bench.ask(b"\x2b\x0e\x03\x00")
    assert objects(answer).keys() == {0, 1, 2, 4, 5, 0x80, 0x81, 0x82}
    assert len(answer) == 222


def test_identification_refuses_what_it_does_not_have(bench: Bench) -> None:
    assert bench.ask(b"\x2b\x0e\x04\x33") == b"\xab\x02"
    assert bench.ask(b"\x2b\x0e\x05\x00") == b"\xab\x03"
    assert bench.ask(b"\x2b\x0d\x00\x00") == b"\xab\x01"
    assert bench.ask(b"\x2b") == b"\xab\x01"


# --- whatever comes ------------------------------------------------------------------------


def writable_bytes(register_map: RegisterMap) -> set[int]:
    found = set()
    for block in register_map.blocks:
        for offset, words, writable in map(block.layout.place, block.layout.index):
            if writable:
                start = block.start + 2 * offset
                found |= set(range(start, start + 2 * words))
    return found


FUNCTION = st.sampled_from([3, 4, 6, 8, 16, 23, 43]) | st.integers(0, 255)
ADDRESS = st.integers(40000, 40800) | st.integers(0, 65535)


@st.composite
def writes(draw: st.DrawFn) -> bytes:
    """Well-formed writes anywhere near the map, so that more than the length check is tried."""
    words = draw(st.lists(st.integers(0, 3) | st.integers(0, 65535), min_size=1, max_size=8))
    n = len(words)
    address = draw(ADDRESS)
    if draw(st.booleans()):
        return struct.pack(f">BHHB{n}H", 16, address, n, 2 * n, *words)
    head = struct.pack(">BHHHHB", 23, draw(ADDRESS), draw(st.integers(0, 130)), address, n, 2 * n)
    return head + struct.pack(f">{n}H", *words)


@settings(max_examples=400, deadline=None)
@given(st.one_of(writes(), st.builds(lambda f, b: bytes([f]) + b, FUNCTION, st.binary())))
def test_no_request_breaks_the_server_or_writes_what_is_for_reading(pdu: bytes) -> None:
    bench = Bench()
    allowed = writable_bytes(bench.map)
    control = bench.block(models.CONTROL)
    recall = bench.block(models.RECALL)
    allowed |= {control.start + 2 * control.layout.offset("CmdRes") + i for i in (0, 1)}
    allowed |= set(range(recall.start + 4, recall.start + 2 * recall.layout.words))
    before = bytes(bench.map.image)
    answer = bench.ask(pdu[:253])
    assert 2 <= len(answer) <= 253 or answer == pdu
    assert answer[0] in (pdu[0], pdu[0] | 0x80)
    changed = {i for i in range(len(before)) if before[i] != bench.map.image[i]}
    assert changed <= allowed
    if answer[0] & 0x80 and answer[1] != 4:
        assert not changed
        assert not bench.commands.asked


def test_micropython_answers_alike_and_allocates_nothing(micropython: str) -> None:
    *answers, allocated, clock = lines(micropython, SCRIPT)
    assert answers == lines(sys.executable, SCRIPT)
    assert len(answers) == 20
    assert allocated == "allocated 0"
    assert int(clock.removeprefix("setting the clock ")) < 100 * 512


def test_bounds_that_nobody_tells_cannot_be_asked_for(bench: Bench) -> None:
    assert bench.server.limits is None
    assert bench.write(bench.address(models.SETTINGS, "Sel"), 1) == b"\x90\x04"


class Taker:
    """Takes pieces of an image, and answers as told."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.answer = 0

    def receive(self, offset: int, data: bytearray, at: int, n_bytes: int) -> int:
        self.pieces.append((offset, bytes(data[at : at + n_bytes])))
        return self.answer


def file_write(*groups: tuple[int, int, bytes], kind: int = 6) -> bytes:
    body = b"".join(
        struct.pack(">BHHH", kind, file, record, len(data) // 2) + data
        for file, record, data in groups
    )
    return bytes([21, len(body)]) + body


@pytest.fixture
def taker(bench: Bench) -> Taker:
    bench.server.update = Taker()
    return bench.server.update


def test_a_piece_of_a_file_is_taken_and_comes_back_as_the_answer(
    bench: Bench, taker: Taker
) -> None:
    piece = bytes(range(240))
    request = file_write((1, 0, piece))
    assert bench.ask(request) == request
    request = file_write((1, 9999, b"ab"), (3, 7, b"cdef"))
    assert bench.ask(request) == request
    assert taker.pieces == [(0, piece), (19998, b"ab"), (40014, b"cdef")]


@pytest.mark.parametrize("code", [2, 3, 4, 6])
def test_what_the_update_refuses_is_an_exception(bench: Bench, taker: Taker, code: int) -> None:
    taker.answer = -code
    assert bench.ask(file_write((1, 0, b"ab"), (1, 1, b"cd"))) == bytes([0x95, code])
    assert len(taker.pieces) == 1


@pytest.mark.parametrize(
    "pdu",
    [
        b"\x15",
        b"\x15\x00",
        file_write((1, 0, b"ab"))[:-1],
        file_write((1, 0, b"ab")) + b"\0",
        b"\x15\x09" + file_write((1, 0, b"abcd"))[2:-2],
        file_write((1, 0, b"")),
        file_write((1, 0, b"ab"), kind=5),
        file_write((1, 0, b"ab"), (1, 1, b"")),
        b"\x15\x0a" + file_write((1, 0, b"ab"))[2:] + b"\x06",
    ],
)
def test_a_file_write_of_the_wrong_lengths_is_an_illegal_value(
    bench: Bench, taker: Taker, pdu: bytes
) -> None:
    assert bench.ask(pdu) == b"\x95\x03"
    assert not taker.pieces


@pytest.mark.parametrize("group", [(0, 0), (1, 10000), (1, 0xFFFF)])
def test_a_record_that_no_file_has_is_an_illegal_address(
    bench: Bench, taker: Taker, group: tuple[int, int]
) -> None:
    assert bench.ask(file_write((1, 0, b"ab"), (*group, b"cd"))) == b"\x95\x02"
    assert not taker.pieces, "all or nothing"


def test_without_anybody_who_takes_images_the_function_is_illegal(bench: Bench) -> None:
    assert bench.ask(file_write((1, 0, b"ab"))) == b"\x95\x01"


# --- files -------------------------------------------------------------------------------


class Files:
    """Records of which each register tells its file, record and place."""

    def __init__(self) -> None:
        self.refuse = 0
        self.asked: list[tuple[int, int, int]] = []

    def read(self, file: int, record: int, words: int, into: bytearray, at: int) -> int:
        self.asked.append((file, record, words))
        if self.refuse:
            return -self.refuse
        for i in range(words):
            struct.pack_into(">H", into, at + 2 * i, file * 1000 + record * 10 + i)
        return words


@pytest.fixture
def files(bench: Bench) -> Files:
    bench.server.files = files = Files()
    return files


def file_request(*parts: tuple[int, int, int], kind: int = 6) -> bytes:
    body = b"".join(struct.pack(">BHHH", kind, *part) for part in parts)
    return bytes([20, len(body)]) + body


def test_records_of_files_are_read_several_at_once(bench: Bench, files: Files) -> None:
    answer = bench.ask(file_request((4, 1, 2), (3, 9, 2)))
    assert answer.hex(" ") == "14 0c 05 06 0f aa 0f ab 05 06 0c 12 0c 13"
    assert files.asked == [(4, 1, 2), (3, 9, 2)]


def test_the_longest_answer_of_a_file_fits(bench: Bench, files: Files) -> None:
    answer = bench.ask(file_request((1, 1, 124)))
    assert (len(answer), answer[1], answer[2]) == (252, 250, 249)
    assert bench.ask(file_request((1, 1, 125))) == b"\x94\x03"
    assert bench.ask(file_request((1, 1, 60), (1, 1, 64))) == b"\x94\x03"
    assert len(bench.ask(file_request(*[(1, 1, 1)] * 35))) == 2 + 35 * 4


@pytest.mark.parametrize(
    ("pdu", "code"),
    [
        (b"\x14", 3),
        (b"\x14\x00", 3),
        (file_request((1, 1, 2))[:-1], 3),
        (file_request((1, 1, 2)) + b"\x00", 3),
        (b"\x14\x06" + file_request((1, 1, 2))[2:-1], 3),
        (file_request((1, 1, 2), kind=5), 2),
        (file_request((0, 1, 2)), 2),
        (file_request((1, 10000, 2)), 2),
        (file_request((1, 1, 0)), 2),
    ],
)
def test_a_wrong_request_for_a_file_has_the_exception_of_the_specification(
    bench: Bench, files: Files, pdu: bytes, code: int
) -> None:
    assert bench.ask(pdu) == bytes([0x94, code])
    assert not files.asked


@pytest.mark.parametrize("code", [2, 4])
def test_what_a_file_refuses_is_refused(bench: Bench, files: Files, code: int) -> None:
    files.refuse = code
    assert bench.ask(file_request((1, 1, 2))) == bytes([0x94, code])


def test_a_board_without_files_does_not_know_the_function(bench: Bench) -> None:
    assert bench.ask(file_request((1, 1, 2))) == b"\x94\x01"
