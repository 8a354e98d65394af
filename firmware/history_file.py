"""Answers function 20: history as a file of records, by number, as many as fit into an answer.

File ``1 + number // 10000``, record ``number % 10000`` ask for the records from ``number`` on.
What comes is a packet (``common.history_records.PACKET_HEAD``, docs/history.md): the number asked
for, the number of the first record in it, which is a later one where records are no longer kept
or cannot be read, and the records, coded against each other alone. The rest is zeros. A packet
ends before a record that the flash keeps the chain's value for, so that the next begins with it.

Records that come one after the other are read once; another number takes some 100 ms.
"""

import struct

from common.history_records import (
    CHAIN_BYTES,
    PACKET_HEAD,
    PACKET_HEAD_BYTES,
    PACKET_VERSION,
    READING,
    Coder,
    stored_bytes,
)
from common.mp import const
from firmware.segments import Reader

FILE_RECORDS = const(10000)

_ILLEGAL_ADDRESS = const(2)
_DEVICE_FAILURE = const(4)


class HistoryFile:
    """Answers from ``reader``; ``last`` is the number of the last record that is kept."""

    def __init__(self, reader: Reader, n_cells: int, sn_crc: int) -> None:
        self.last = 0
        self._reader = reader
        self._coder = Coder(n_cells)
        self._coded = bytearray(stored_bytes(n_cells))
        self._view = memoryview(self._coded)
        self._sn_crc = sn_crc
        self._held = False  # the reader's record was not sent yet
        self._next = 0  # what is asked for when all goes on in its order

    def changed(self) -> None:
        """Look at the files anew: something was written or deleted."""
        self._reader.forget()

    def read(
        self, file: int, record: int, words: int, into: "bytearray | memoryview", at: int
    ) -> int:
        """Fill ``words`` registers at ``into[at:]``; how many, or minus the exception."""
        asked = (file - 1) * FILE_RECORDS + record
        room = at + 2 * words
        if not 0 < asked <= self.last or 2 * words < PACKET_HEAD_BYTES:
            return -_ILLEGAL_ADDRESS
        try:
            in_order = asked == self._next
            self._next = 0  # until all went well
            if not in_order or not self._reach(asked):
                self._held = False
                self._reader.seek(asked)
                self._reach(asked)
            n = self._fill(asked, into, at, room)
        except OSError:
            self._held = False
            return -_DEVICE_FAILURE
        return n or -_ILLEGAL_ADDRESS

    def _reach(self, number: int) -> bool:
        """Go on to record ``number`` or the first there is behind it."""
        reader = self._reader
        while not self._held or reader.record.number < number:
            self._held = reader.next() and reader.record.number <= self.last
            if not self._held:
                return False
        return True

    def _fill(self, asked: int, into: "bytearray | memoryview", at: int, room: int) -> int:
        reader = self._reader
        record = reader.record
        first = record.number if self._held else self.last + 1
        head = at
        count = 0
        chained = self._held and reader.at_key
        at += PACKET_HEAD_BYTES
        if chained:
            if at + CHAIN_BYTES > room:
                return 0
            for i in range(CHAIN_BYTES):
                into[at + i] = reader.chain[i]
            at += CHAIN_BYTES
        self._coder.begin()
        alike = False  # the packet's records are coded against the same as those in flash
        while self._held:
            if record.number != first + count or (count and reader.at_key):
                break
            if alike:
                size = reader.coded_end - reader.coded_at
            else:
                size = self._coder.encode(record, self._coded, 0)
            if at + size > room:
                break
            if alike:
                into[at : at + size] = reader.view[reader.coded_at : reader.coded_end]
            else:
                into[at : at + size] = self._view[:size]
                # All that a record is coded against is told by a reading in full.
                alike = (
                    record.kind == READING
                    and record.values[0] is not None
                    and record.utc_s is not None
                )
            at += size
            count += 1
            self._held = reader.next() and record.number <= self.last
        if self._held and not count:
            return 0  # not one fits
        struct.pack_into(
            PACKET_HEAD, into, head, PACKET_VERSION, self._sn_crc, asked, first, count, chained
        )
        for i in range(at, room):
            into[i] = 0
        self._next = first + count
        return (room - head) // 2
