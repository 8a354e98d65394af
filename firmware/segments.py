r"""The files of a board's history: segments of batches of records, and reading them by number.

A segment is a file named by the number of its first record in eight hex digits. It is a header and
batches one behind the other (little-endian; docs/history.md):

    header  "EHS1", SnCrc u32, cells u8, first number u32, CRC-32
    batch   0x48EC u16, length u16, flags u8, records u8, first number u32,
            flags & 1 (key): the chain's value before it, 32 bytes
            records, CRC-32; length counts all of it

A key batch is coded without anything before it; the first of a segment is one, and one of 32
records at most. What a batch's CRC does not confirm is not there: reading goes on with the next
key batch, and the numbers between are a hole, which the numbers of the records show.

    >>> reader = Reader(folder, n_cells)
    >>> reader.seek(120)  # decodes at most what lies between two key batches
    >>> while reader.next():
    ...     reader.record
"""

import binascii
import os
import struct

from common.history_records import CHAIN_BYTES, Coder, HistoryError, Record
from common.mp import const

SEGMENT_BYTES = const(16320)  # four blocks of littlefs, its own pointers included
BATCH_BYTES = const(1024)
BATCH_RECORDS = const(255)
KEY = const(1)
BATCH_HEAD = const("<HHBBL")
BATCH_HEAD_BYTES = const(10)
BATCH_MAGIC = const(0x48EC)
CRC_BYTES = const(4)
HEADER_BYTES = const(17)

_HEADER = const("<4sLBL")
_OWNED_BYTES = const(13)  # of the header, before its CRC
_SEGMENT_MAGIC = const(b"EHS1")
_BLOCK = const(4096)
_LEAST_BATCH = const(15)


def crc32(data: "bytes | bytearray", start: int, end: int) -> int:
    """CRC-32 of ``data[start:end]``, by the port's own code, which is quick."""
    crc: int = binascii.crc32(memoryview(data)[start:end])
    return crc


def header(sn_crc: int, n_cells: int, first: int) -> bytes:
    """What a segment begins with."""
    data = struct.pack(_HEADER, _SEGMENT_MAGIC, sn_crc, n_cells, first)
    return data + struct.pack("<L", crc32(data, 0, len(data)))


class Folder:
    """The segments there are: the number each begins with, and how many of its bytes count."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.firsts: "list[int]" = []
        self.sizes: "list[int]" = []

    def look(self) -> None:
        """Find the segments; make the folder when it is not there. ``OSError``."""
        try:
            names = os.listdir(self.path)
        except OSError:
            os.mkdir(self.path)
            names = []
        self.firsts = []
        for name in names:
            try:
                if len(name) == 8:
                    self.firsts.append(int(name, 16))
            except ValueError:
                pass  # not ours
        self.firsts.sort()
        self.sizes = [os.stat(self.name(first))[6] for first in self.firsts]

    def name(self, first: int) -> str:
        """The file of the segment that begins with record ``first``."""
        return "%s/%08x" % (self.path, first)

    def remove(self, place: int) -> None:
        """Delete a segment; ``OSError``."""
        os.remove(self.name(self.firsts[place]))
        self.firsts.pop(place)
        self.sizes.pop(place)

    def is_of(self, place: int, sn_crc: int, n_cells: int) -> bool:
        """Whether a segment is of this pack; one whose header is broken is, for all we know."""
        with open(self.name(self.firsts[place]), "rb") as file:
            data = file.read(HEADER_BYTES)
        if struct.pack("<L", crc32(data, 0, _OWNED_BYTES)) != data[_OWNED_BYTES:]:
            return True
        owner: bytes = data[4:9]
        return owner == struct.pack("<LB", sn_crc, n_cells)

    def used_bytes(self) -> int:
        """What all segments take of the flash, in whole blocks."""
        used = 0
        for size in self.sizes:
            used += (size + _BLOCK - 1) // _BLOCK * _BLOCK
        return used


class Reader:
    """Reads records in their order; ``record`` is the last one that ``next`` found."""

    def __init__(self, folder: Folder, n_cells: int) -> None:
        self.record = Record(n_cells)
        self.at_key = False  # the record is the first of a key batch ...
        self.chain = bytearray(CHAIN_BYTES)  # ... and this the chain's value before it
        self.coded_at = 0  # where in ``view`` the record stands as it is coded ...
        self.coded_end = 0  # ... behind the one before it
        self._folder = folder
        self._coder = Coder(n_cells)
        self._scratch = bytearray(BATCH_BYTES)
        self.view = memoryview(self._scratch)
        self._at = 0  # where the next record begins in the batch
        self._key = False  # the batch is a key, and none of it was decoded yet
        self._open(-1)

    def _open(self, place: int) -> None:
        """Begin with a segment; where there is none of that place nothing is found."""
        firsts = self._folder.firsts
        self._segment = firsts[place] if 0 <= place < len(firsts) else 0  # its name; 0: none
        self.end = 0  # of the last whole batch that was passed in it
        self._batch = 0  # where the batch begins in the segment; 0: before the first
        self._length = 0
        self._left = 0  # records of the batch to come
        self._number = 0  # of the next record; 0: one that cannot be decoded
        self.forget()

    def forget(self) -> None:
        """Trust no byte that was read before: the files have changed."""
        self._from = 0  # what the scratch holds: from this byte of the segment ...
        self._held = 0  # ... so many
        self._checked = -1  # the batch in it whose CRC was found right
        self._bound()

    def seek(self, number: int) -> None:
        """Let ``next`` go on at the last key batch that may hold record ``number``."""
        firsts = self._folder.firsts
        place = len(firsts) - 1
        while place > 0 and firsts[place] > number:
            place -= 1
        self._open(place)
        at = self._find(HEADER_BYTES)
        key_at = at
        while at < self._limit:
            head = struct.unpack_from(BATCH_HEAD, self._scratch, at - self._from)
            if head[4] > number:
                break
            if head[2] & KEY:
                key_at = at
            at = self._find(at + head[1])
        at = self._find(key_at)
        if at < self._limit:
            self._enter(at)

    def last_number(self, place: int) -> int:
        """The last record of a segment, from the heads of its batches; 0: there is none.

        ``end`` is where the last whole batch ends.
        """
        self._open(place)
        number = 0
        at = self._find(HEADER_BYTES)
        while at < self._limit:
            head = struct.unpack_from(BATCH_HEAD, self._scratch, at - self._from)
            number = head[4] + head[3] - 1
            self.end = at + head[1]
            at = self._find(self.end)
        return number

    def next(self) -> bool:
        """Decode the next record there is; ``False`` behind the last one."""
        while self._segment:
            if self._stop and self._number >= self._stop:
                self._open(self._folder.firsts.index(self._stop))
            elif not self._left:
                at = self._find(self._batch + self._length or HEADER_BYTES)
                if at < self._limit:
                    self._enter(at)
                elif self._stop:
                    self._open(self._folder.firsts.index(self._stop))
                else:
                    return False  # until more is written behind it
            elif self._decode():
                return True
            else:
                self._left = self._number = 0
        return False

    def _decode(self) -> bool:
        batch = self._batch
        if self._checked != batch and not self._whole(batch):
            return False
        start = batch - self._from
        end = start + self._length - CRC_BYTES
        record = self.record
        self.coded_at = start + self._at
        try:
            at = self._coder.decode(self._scratch, self.coded_at, end, record)
        except HistoryError:
            return False
        self.coded_end = at
        self._at = at - start
        record.number = self._number
        self._number += 1
        self._left -= 1
        self.at_key = self._key
        self._key = False
        return True

    # --- batches --------------------------------------------------------------------------

    def _bound(self) -> None:
        firsts = self._folder.firsts
        self._limit = 0  # how many of the segment's bytes count
        self._stop = 0  # what the next segment begins with; 0: there is none
        if self._segment not in firsts:
            self._segment = 0
            return
        place = firsts.index(self._segment)
        self._limit = self._folder.sizes[place]
        if place + 1 < len(firsts):
            self._stop = firsts[place + 1]

    def _enter(self, at: int) -> None:
        """Make the batch at ``at`` the one to be decoded."""
        start = at - self._from
        _magic, self._length, flags, count, first = struct.unpack_from(
            BATCH_HEAD, self._scratch, start
        )
        self._batch = self._checked = at
        self._at = BATCH_HEAD_BYTES
        self._left = 0
        self._key = flags & KEY != 0
        if self._key:
            for i in range(CHAIN_BYTES):
                self.chain[i] = self._scratch[start + BATCH_HEAD_BYTES + i]
            self._at += CHAIN_BYTES
            self._coder.begin()
        elif first != self._number or not self._number:
            self._number = 0  # what it is coded against is missing
            return
        self._left = count
        self._number = first

    def _find(self, at: int) -> int:
        """Where the next whole batch begins, from ``at`` on; the limit when there is none.

        What is not whole is passed over byte by byte.
        """
        last = self._limit - _LEAST_BATCH
        while at <= last and not self._whole(at):
            at += 1
            while at <= last:
                if not self._from <= at < self._from + self._held - 1:
                    self._load(at)
                    if self._held < 2:
                        return self._limit
                k = at - self._from
                if self._scratch[k] | self._scratch[k + 1] << 8 == BATCH_MAGIC:
                    break
                at += 1
        return at if at <= last else self._limit

    def _whole(self, at: int) -> bool:
        """Whether a batch with its right CRC is at ``at``; then the scratch holds all of it."""
        scratch = self._scratch
        if not self._from <= at <= self._from + self._held - BATCH_HEAD_BYTES:
            self._load(at)
        start = at - self._from
        magic, length, flags, _count, _first = struct.unpack_from(BATCH_HEAD, scratch, start)
        least = _LEAST_BATCH + (CHAIN_BYTES if flags & KEY else 0)
        if magic != BATCH_MAGIC or not least <= length <= BATCH_BYTES or at + length > self._limit:
            return False
        if start + length > self._held:
            self._load(at)
            start = 0
            if length > self._held:
                return False
        end = start + length - CRC_BYTES
        right: int = struct.unpack_from("<L", scratch, end)[0]
        return crc32(scratch, start, end) == right

    def _load(self, at: int) -> None:
        self._from = at
        self._held = 0
        with open(self._folder.name(self._segment), "rb") as file:
            file.seek(at)
            self._held = file.readinto(self._scratch) or 0
