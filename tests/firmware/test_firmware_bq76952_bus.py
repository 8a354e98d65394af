"""Bytes between driver and chip: TI's vectors, CRC, busy answers, broken buses; always bounded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_bq76952 import ScriptedBoard, ScriptedBq76952, crc8

from firmware.afe import AfeError
from firmware.afe.bq76952_bus import Bq76952Bus


class Wire:
    """An I2C that notes the raw bytes and answers with given ones."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.written: list[tuple[int, int, bytes]] = []
        self.read: list[tuple[int, int, int]] = []

    def writeto_mem(self, address: int, register: int, buffer: memoryview) -> None:
        self.written.append((address, register, bytes(buffer)))

    def readfrom_mem_into(self, address: int, register: int, buffer: memoryview) -> None:
        self.read.append((address, register, len(buffer)))
        buffer[:] = self.answer[: len(buffer)]


def bench(crc: bool = True) -> tuple[ScriptedBq76952, ScriptedBoard, Bq76952Bus]:
    chip = ScriptedBq76952(crc)
    board = ScriptedBoard(chip)
    return chip, board, Bq76952Bus(board, crc)


def test_fet_enable_goes_out_as_in_the_application_note() -> None:
    wire = Wire()
    Bq76952Bus(ScriptedBoard(wire), True).command(0x0022)
    assert wire.written == [(0x08, 0x3E, bytes.fromhex("22 63 00 00"))]


def test_cell_1_is_read_as_in_the_application_note() -> None:
    wire = Wire(bytes.fromhex("68 33 0B 31"))
    bus = Bq76952Bus(ScriptedBoard(wire), True)
    bus.read(0x14, 2)
    assert bytes(bus.data[:2]) == b"\x68\x0b"
    assert wire.read == [(0x08, 0x14, 4)]


def test_data_memory_is_written_as_in_the_reference_manual() -> None:
    wire = Wire()
    Bq76952Bus(ScriptedBoard(wire), False).send(0x9180, b"\x7a\x30", 2)
    assert wire.written == [
        (0x08, 0x3E, bytes.fromhex("80 91 7A 30")),
        (0x08, 0x60, bytes.fromhex("44 06")),  # checksum and length in one write
    ]


def test_the_sibling_s_vector_for_active_cells() -> None:
    wire = Wire()
    Bq76952Bus(ScriptedBoard(wire), False).send(0x0083, b"\x02", 1)
    assert wire.written[-1] == (0x08, 0x60, b"\x7a\x05")


@given(data=st.binary(min_size=1, max_size=32), code=st.integers(0x9180, 0x93FF))
@settings(max_examples=50)
def test_what_is_sent_with_crc_arrives(data: bytes, code: int) -> None:
    chip, _board, bus = bench()
    chip.direct[0x12] |= 0x01
    bus.send(code, data, len(data))
    assert bytes(chip.memory[code : code + len(data)]) == data
    assert chip.rejected == 0


@given(data=st.binary(min_size=0, max_size=32))
@settings(max_examples=50)
@pytest.mark.parametrize("crc", [True, False])
def test_an_answer_of_any_length_is_collected(crc: bool, data: bytes) -> None:
    chip, _board, bus = bench(crc)
    chip.answers[0x0077] = data
    assert bus.ask(0x0077) == len(data)
    assert bytes(bus.data[2 : 2 + len(data)]) == data


def test_a_flipped_bit_is_noticed_and_the_read_repeated() -> None:
    chip, _board, bus = bench()
    chip.set_word(0x14, 3777)
    chip.faults = ["crc", "crc"]
    bus.read(0x14, 2)
    assert bus.data[0] | bus.data[1] << 8 == 3777
    assert bus.errors == 2


@given(flips=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=1))
@settings(max_examples=64)
def test_no_single_flipped_bit_passes(flips: list[tuple[int, int]]) -> None:
    first = crc8(bytes([0x10, 0x14, 0x11, 0x68]))
    frame = bytearray([0x68, first, 0x0B, crc8(b"\x0b"), 0x22, crc8(b"\x22"), 0x01, crc8(b"\x01")])
    for byte, bit in flips:
        frame[byte] ^= 1 << bit
    with pytest.raises(AfeError, match="0x14: bad CRC, 3 times"):
        Bq76952Bus(ScriptedBoard(Wire(bytes(frame))), True).read(0x14, 4)


def test_a_dead_bus_ends_in_an_error_after_three_tries() -> None:
    chip, board, bus = bench()
    chip.deaf = True
    with pytest.raises(AfeError, match=r"register 0x14: no answer, 3 times"):
        bus.read(0x14, 40)
    assert chip.transactions == 3
    assert bus.errors == 3
    assert board.recoveries == 1
    with pytest.raises(AfeError, match=r"0x3E: not acknowledged, 3 times"):
        bus.command(0x0095)
    assert chip.transactions == 6


def test_a_board_without_recovery_is_no_obstacle() -> None:
    class Bare:
        i2c = ScriptedBq76952()

    Bare.i2c.faults = ["nack"]
    Bare.i2c.set_word(0x14, 3500)
    bus = Bq76952Bus(Bare(), True)
    bus.read(0x14, 2)
    assert bus.data[0] | bus.data[1] << 8 == 3500


def test_a_write_that_was_not_acknowledged_is_repeated() -> None:
    chip, _board, bus = bench()
    chip.faults = ["nack"]
    bus.command(0x0095)
    assert chip.log == [(0x3E, b"\x95\x00")]


def test_a_toggling_command_is_never_repeated() -> None:
    chip, _board, bus = bench()
    chip.faults = ["nack"]
    with pytest.raises(AfeError):
        bus.command(0x0022, tries=1)
    assert chip.log == []
    assert chip.transactions == 1


def test_a_busy_chip_is_waited_for() -> None:
    chip, _board, bus = bench()
    chip.busy_reads = 5
    assert bus.ask(0x0001) == 2
    assert bus.data[2] | bus.data[3] << 8 == 0x7695


def test_a_chip_that_stays_busy_is_given_up() -> None:
    chip, board, bus = bench()
    chip.busy_reads = 10**6
    with pytest.raises(AfeError, match="busy"):
        bus.ask(0x0001)
    assert chip.transactions < 50
    assert board.now_ms < 50


def test_an_answer_to_another_question_is_not_taken() -> None:
    chip, _board, bus = bench()
    bus.command(0x0001)
    chip.direct[0x3E] = 0x02  # somebody else asked something in between
    with pytest.raises(AfeError, match="0x0001"):
        bus.collect(0x0001)


def test_a_wrong_checksum_is_not_taken() -> None:
    chip, _board, bus = bench()
    bus.command(0x0001)
    chip.direct[0x41] ^= 0x01
    with pytest.raises(AfeError, match="0x0001"):
        bus.collect(0x0001)
    assert bus.errors > 0


@pytest.mark.parametrize("length", [0, 3, 37, 255])
def test_an_impossible_length_is_not_taken(length: int) -> None:
    chip, _board, bus = bench()
    bus.command(0x0001)
    chip.direct[0x61] = length
    with pytest.raises(AfeError):
        bus.collect(0x0001)


def test_a_command_waits_for_the_one_before_it() -> None:
    chip, _board, bus = bench()
    chip.busy_reads = 3
    bus.send(0x0083, b"\x01\x00", 2)
    assert chip.busy == 3
    bus.command(0x0001)
    assert chip.log[-1] == (0x3E, b"\x01\x00")
    assert chip.transactions == 2 + 4 + 1


def test_the_urgent_command_does_not_wait_but_is_made_sure() -> None:
    chip, _board, bus = bench()
    chip.busy_reads = 3
    bus.send(0x0083, b"\x01\x00", 2)
    before = chip.transactions
    bus.command_at_once(0x0095)
    assert chip.log[2:] == [(0x3E, b"\x95\x00"), (0x3E, b"\x95\x00")]
    assert chip.transactions > before + 1


@pytest.mark.parametrize("speaks", [True, False])
@pytest.mark.parametrize("assumed", [True, False])
def test_the_chip_s_crc_is_found_by_reading_only(speaks: bool, assumed: bool) -> None:
    chip, _board, bus = bench(speaks)
    bus.crc = assumed
    bus.detect_crc()
    assert bus.crc is speaks
    assert chip.log == []


def test_no_chip_is_told_as_such() -> None:
    chip, _board, bus = bench()
    chip.deaf = True
    with pytest.raises(AfeError, match="no answer at I2C address 0x08"):
        bus.detect_crc()
