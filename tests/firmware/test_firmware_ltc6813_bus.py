"""Frames between driver and chain: PEC15 vectors, order of chips, retries, wake-ups; bounded."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_ltc6813 import ScriptedChain, pec

from firmware.afe import AfeError
from firmware.afe import ltc6813_registers as reg
from firmware.afe.ltc6813_bus import Ltc6813Bus, pec15

# Command and PEC, worked out by hand from the polynomial; ADI's own code gives the same.
VECTORS = {
    0x0001: 0x3D6E,
    0x0002: 0x2B0A,
    0x0004: 0x07C2,
    0x0006: 0x9A94,
    0x0024: 0xB19E,
    0x0360: 0xF46C,
    0x0368: 0x1C62,
    0x0328: 0xFBE8,
    0x0008: 0x5E52,
    0x000A: 0xC304,
    0x0009: 0xD560,
    0x000B: 0x4836,
    0x000C: 0xEFCC,
    0x000E: 0x729A,
}


class Wire(ScriptedChain):
    """Keeps the raw bytes that went out."""

    def __init__(self, n_chips: int = 1) -> None:
        super().__init__(n_chips)
        self.sent: list[bytes] = []

    def spi_transfer(self, out: bytearray, into: bytearray | None) -> None:
        assert into is None or len(out) == len(into)
        self.sent.append(bytes(out))
        super().spi_transfer(out, into)


@pytest.mark.parametrize("command", sorted(VECTORS))
def test_the_pec_of_commands_is_as_published(command: int) -> None:
    assert pec15(bytes([command >> 8, command & 0xFF]), 0, 2) == VECTORS[command]


@given(data=st.binary(max_size=8), before=st.binary(max_size=3))
def test_the_table_does_as_the_bits(data: bytes, before: bytes) -> None:
    assert pec15(before + data, len(before), len(data)) == pec(data)


def test_a_command_is_four_bytes() -> None:
    wire = Wire()
    Ltc6813Bus(wire, 1).command(reg.ADOW_UP)
    assert wire.sent == [bytes.fromhex("03 68 1C 62")]


def test_the_chip_next_to_the_host_answers_first_and_is_written_last() -> None:
    wire = Wire(3)
    bus = Ltc6813Bus(wire, 3)
    bus.write(reg.WRCFGA, bytes(range(18)))
    assert [wire.sent[0][4 + 8 * i : 10 + 8 * i] for i in range(3)] == [
        bytes(range(12, 18)),
        bytes(range(6, 12)),
        bytes(range(6)),
    ]
    for chip in wire.chips:
        chip.dten = bool(chip.groups[0x0002][0] & 0x02)
    bus.read(reg.RDCFGA)
    assert bytes(bus.data[bus.at(0) : bus.at(0) + 6]) == bytes(range(6))
    assert bus.word(2, 1) == 14 | 15 << 8
    assert wire.rejected == 0


def test_reading_sends_ones_even_after_writing() -> None:
    wire = Wire(2)
    bus = Ltc6813Bus(wire, 2)
    bus.write(reg.WRCFGA, bytes(12))
    bus.read(reg.RDCFGA)
    assert wire.sent[-1][4:] == b"\xff" * 16


@given(chip=st.integers(0, 1), bit=st.integers(0, 63))
def test_no_flipped_bit_of_an_answer_passes(chip: int, bit: int) -> None:
    class Flips(ScriptedChain):
        def spi_transfer(self, out: bytearray, into: bytearray | None) -> None:
            super().spi_transfer(out, into)
            if into:
                into[4 + 8 * chip + bit // 8] ^= 1 << bit % 8

    with pytest.raises(AfeError, match=rf"0x0004: bad PEC from chip {chip + 1} of 2, twice"):
        Ltc6813Bus(Flips(2), 2).read(reg.RDCV[0])


@pytest.mark.parametrize("level", [0x00, 0xFF])
def test_a_line_that_is_stuck_is_no_answer(level: int) -> None:
    class Stuck(ScriptedChain):
        def spi_transfer(self, out: bytearray, into: bytearray | None) -> None:
            for i in range(len(into or ())):
                into[i] = level

    with pytest.raises(AfeError, match="bad PEC from chip 1"):
        Ltc6813Bus(Stuck(), 1).read(reg.RDCV[0])


def test_a_bad_answer_is_asked_for_once_more_after_a_long_wake_up() -> None:
    chain = ScriptedChain(2)
    chain.faults = [1]
    bus = Ltc6813Bus(chain, 2)
    bus.read(reg.RDCV[0])
    assert (bus.errors, chain.wakes, chain.now_us) == (1, 2, 2 * reg.WAKE_US)


@pytest.mark.parametrize(
    ("fault", "words"), [(0, "bad PEC from chip 1 of 1"), ("nack", "the SPI fails")]
)
def test_a_dead_bus_ends_in_an_error_after_two_tries(fault: object, words: str) -> None:
    chain = ScriptedChain()
    chain.faults = [fault] * 9
    bus = Ltc6813Bus(chain, 1)
    with pytest.raises(AfeError, match=words):
        bus.read(reg.RDCV[0])
    assert (chain.transfers, bus.errors) == (2, 2)


def test_a_command_is_repeated_when_the_bus_fails() -> None:
    chain = ScriptedChain()
    chain.faults = ["nack"]
    bus = Ltc6813Bus(chain, 1)
    bus.command(reg.ADAX)
    assert (chain.log, bus.errors) == ([reg.ADAX], 1)
    chain.faults = ["nack"] * 2
    with pytest.raises(AfeError, match="0x0560: the SPI fails, twice"):
        bus.command(reg.ADAX)


def test_a_silent_chip_is_named() -> None:
    chain = ScriptedChain(4)
    chain.present = 2
    with pytest.raises(AfeError, match="chip 3 of 4"):
        Ltc6813Bus(chain, 4).read(reg.RDCV[0])


def test_waking_survives_a_dead_bus() -> None:
    class Dead(ScriptedChain):
        def spi_transfer(self, out: bytearray, into: bytearray | None) -> None:
            raise OSError(5)

    bus = Ltc6813Bus(Dead(2), 2)
    bus.wake(reg.READY_US)
    assert bus.errors == 2


def test_a_chip_too_many_is_seen() -> None:
    assert Ltc6813Bus(ScriptedChain(3), 2).goes_on()
    assert not Ltc6813Bus(ScriptedChain(2), 2).goes_on()


def test_cells_come_in_the_order_of_the_wires() -> None:
    chain = ScriptedChain(2)
    chain.chips[0].cells = list(range(100, 118))
    chain.chips[1].cells = list(range(200, 218))
    bus = Ltc6813Bus(chain, 2)
    bus.command(reg.ADCVSC)
    codes = array("H", bytes(2 * 23))
    assert bus.read_cells((18, 5), codes) == -1
    assert list(codes) == [*range(100, 118), *range(200, 205)]
    chain.chips[1].clear("cells")
    assert bus.read_cells((18, 5), codes) == 1
