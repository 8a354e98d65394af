"""What a board answers to a read of its history: the records, checked, and the chain over them.

Every packet says whose it is and which number was asked for, so that an answer to another request
is seen. ``Chain`` follows the records: it knows the chain's value behind the last one, computes it
on from canonical bytes, and compares wherever the board tells its own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.history_records import (
    CHAIN_BYTES,
    PACKET_HEAD,
    PACKET_HEAD_BYTES,
    PACKET_VERSION,
    Coder,
    HistoryError,
    Record,
    first_chain,
    next_chain,
)
from gateway.blocks import TornBlockError, WrongBlockError, serial_crc

if TYPE_CHECKING:
    from gateway.blocks import Decoded

FILE_RECORDS = 10000
PACKET_WORDS = 124  # the most that one answer holds


@dataclass(frozen=True)
class Packet:
    """Records that follow each other from number ``first`` on; ``chain`` is the value before.

    Each comes with its canonical bytes.
    """

    first: int
    records: tuple[tuple[Record, bytes], ...]
    chain: bytes | None


def decode_packet(data: bytes, n_cells: int, serial: str, asked: int) -> Packet:
    """The packet that answers the question for ``asked``.

    ``WrongBlockError`` for bytes that are none of this pack, ``TornBlockError`` for the answer to
    another question.
    """
    version, owner, answered, first, count, is_chained = struct.unpack_from(PACKET_HEAD, data)
    if version != PACKET_VERSION:
        raise WrongBlockError(f"history: packets of version {version} are not known")
    if owner != serial_crc(serial):
        raise WrongBlockError(f"history: not of the pack {serial}")
    if answered != asked:
        raise TornBlockError(f"records from {answered} on came instead of {asked}")
    if first < asked:
        raise WrongBlockError(f"history: record {first} came where {asked} was asked for")
    at = PACKET_HEAD_BYTES
    chain = None
    if is_chained:
        chain = data[at : at + CHAIN_BYTES]
        at += CHAIN_BYTES
    coder = Coder(n_cells)
    records = []
    try:
        for number in range(first, first + count):
            record = Record(n_cells)
            at = coder.decode(data, at, len(data), record)
            record.number = number
            records.append((record, record.canonical()))
    except (HistoryError, struct.error) as error:
        raise WrongBlockError(f"history: record {first + len(records)}: {error}") from error
    return Packet(first, tuple(records), chain)


def told_head(block: Decoded) -> tuple[int, bytes]:
    """A number, and the chain's value behind it, of a HISTORY model."""
    return block["HeadN"], b"".join(block[f"Head{n}"].to_bytes(4, "big") for n in range(1, 9))


@dataclass(frozen=True)
class Chain:
    """The chain's ``value`` behind record ``number``; ``None`` while it is not known."""

    number: int
    value: bytes | None

    @classmethod
    def of(cls, serial: str) -> Chain:
        """Before the first record of a pack's life."""
        return cls(0, first_chain(serial.encode()))

    def agrees(self, value: bytes | None, number: int) -> bool | None:
        """Whether ``value`` is what the board says stands behind ``number``.

        ``None`` when that cannot be said: one of both is not known, or records are missing.
        """
        if value is None or self.value is None or number != self.number:
            return None
        return value == self.value

    def follows(self, record: Record, canonical: bytes, told: bytes | None) -> Chain:
        """Behind ``record``; ``told`` is what the board says stands before it."""
        before = told
        if before is None and record.number == self.number + 1:
            before = self.value
        value = None if before is None else next_chain(before, canonical)
        return Chain(record.number, value)
