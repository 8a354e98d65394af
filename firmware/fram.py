"""Records in an FRAM on the board's I2C, instead of in files: MB85RC256V and its like.

An FRAM takes a byte the moment it is acknowledged, as often as anybody likes: no erasing, no wear,
no waiting. It has 32 kB behind addresses of 16 bits, and nothing that checks them: what is written
is read back. A board file whose maker wired one says so in one line::

    def make_storage(self) -> Storage:
        return Fram(self.root, self)

Each record has two slots of fixed places, as ``firmware.storage`` has files, and the same bytes in
them. A save first takes the magic away, then writes what follows it, reads that back, and writes
the magic last: a slot without one was never completed, one with it that is not whole is damaged.

Source: Fujitsu/RAMXEED MB85RC256V data sheet (I2C address 50h to 57h by three pins, two address
bytes, sequential write and read).
"""

import errno
import struct

from common.crc import crc32
from common.mp import const
from firmware.board import Board
from firmware.storage import CRC_BYTES, HEAD, HEAD_BYTES, MAGIC, Storage

TYPE_CHECKING = False  # boards have no typing
if TYPE_CHECKING:
    from collections.abc import Iterator

# Name and longest data. Places follow from it: append only, change nothing.
RECORDS = const((
    ("boot", 4), ("latched", 4), ("connected", 1), ("service", 1), ("crash", 16), ("tries", 64),
    ("test", 1280), ("limits", 1280), ("lifetime", 512), ("estimates", 4096),
    ("calibration", 256), ("identity", 256),
    ("faults", 2304),
))  # fmt: skip

_MAGIC_BYTES = const(4)
_CHUNK = const(64)  # read back at a time


class Fram(Storage):
    """``Storage`` in an FRAM on ``board.i2c``; keys and settings stay files in ``root``.

    ``address`` is the chip's: 0x50 to 0x57.
    """

    def __init__(self, root: str, board: Board, address: int = 0x50) -> None:
        super().__init__(root)
        self._board = board
        self._address = address

    def read(self, name: str, slot: int) -> "bytes | bytearray | None":
        """See ``Storage.read``."""
        at, most = self._place(name, slot)
        head = bytearray(HEAD_BYTES)
        self._get(at, head)
        if _unfinished(head):
            return None
        length = struct.unpack_from(HEAD, head, 0)[3]
        if length > most:
            return head
        content = bytearray(HEAD_BYTES + length + CRC_BYTES)
        self._get(at, content)
        return content

    def write(self, name: str, slot: int, content: "Iterator[bytes | bytearray]") -> None:
        """See ``Storage.write``; ``ValueError`` when the record has no place for that much."""
        at, most = self._place(name, slot)
        self._put(at, bytes(_MAGIC_BYTES))
        end = at + HEAD_BYTES + most + CRC_BYTES
        start = at
        crc = 0
        for part in content:
            if at + len(part) > end:
                raise ValueError("record %s: more than its %d bytes" % (name, most))
            crc = crc32(part, 0, len(part), crc)
            skip = _MAGIC_BYTES if at == start else 0
            self._put(at + skip, memoryview(part)[skip:])
            at += len(part)
        if self._crc(start, at) != crc:
            raise OSError(errno.EIO)
        self._put(start, MAGIC)
        magic = bytearray(_MAGIC_BYTES)
        self._get(start, magic)
        if magic != MAGIC:
            raise OSError(errno.EIO)

    def _crc(self, at: int, end: int) -> int:
        """CRC-32 of what is there, with the magic that is to come."""
        crc = crc32(MAGIC, 0, _MAGIC_BYTES)
        at += _MAGIC_BYTES
        chunk = bytearray(_CHUNK)
        while at < end:
            n = min(end - at, _CHUNK)
            self._get(at, memoryview(chunk)[:n])
            crc = crc32(chunk, 0, n, crc)
            at += n
        return crc

    def _place(self, name: str, slot: int) -> "tuple[int, int]":
        """Where a slot begins, and how much data it holds."""
        at = 0
        for known, most in RECORDS:
            n_bytes = HEAD_BYTES + most + CRC_BYTES
            if known == name:
                return at + slot * n_bytes, most
            at += 2 * n_bytes
        raise ValueError("record %s: the FRAM has no place for it" % name)

    def _get(self, at: int, into: "bytearray | memoryview") -> None:
        self._board.i2c.readfrom_mem_into(  # type: ignore[attr-defined]
            self._address, at, into, addrsize=16
        )

    def _put(self, at: int, data: "bytes | memoryview") -> None:
        self._board.i2c.writeto_mem(  # type: ignore[attr-defined]
            self._address, at, data, addrsize=16
        )


def _unfinished(head: bytearray) -> bool:
    """Whether no save ever came to its end there: the chip is new, or the power was cut."""
    magic = head[:_MAGIC_BYTES]
    if magic == MAGIC:
        return False
    for i in range(_MAGIC_BYTES):
        if magic[i] & ~MAGIC[i]:
            return magic == b"\xff\xff\xff\xff"
    return True
