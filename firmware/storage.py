r"""Records that survive a power cut at any byte: two slots each, written in turn.

A record has a name and some bytes. It lives in two files, ``NAME.0`` and ``NAME.1``; a save
writes the older one, so the newer one stays whole until the write is complete. A slot counts only
when its magic, version, length and CRC-32 are right; of two that are, the one with the higher
sequence is the record.

    magic "ECHR", version u8, sequence u32, length u16, data, CRC-32 of all before (little-endian)

    >>> storage = Storage(board.root)
    >>> storage.save("boot", b"\x07")
    >>> storage.load("boot")
    b'\x07'

Nothing here belongs in a cycle that protects: writing flash takes its time.
"""

import os
import struct

from common.crc import crc32
from common.mp import const

TYPE_CHECKING = False  # boards have no typing
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES = const(4096)

_MAGIC = const(b"ECHR")
_VERSION = const(1)
_HEAD = const("<4sBLH")
_HEAD_BYTES = const(11)
_CRC_BYTES = const(4)


class Storage:
    """Named records in the folder ``root``, which must exist."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._newest: "dict[str, tuple[int, int]]" = {}  # name: (slot, sequence)

    def load(self, name: str) -> "bytes | None":
        """The record's bytes; ``None`` when no slot of it is whole."""
        found = None
        newest = (1, 0)  # as if slot 1 had been written: the first save goes to slot 0
        for slot in (0, 1):
            read = self._read(name, slot)
            if read is not None and (found is None or read[0] > newest[1]):
                newest = (slot, read[0])
                found = read[1]
        self._newest[name] = newest
        return found

    def save(self, name: str, data: "bytes | bytearray") -> None:
        """Write the record; ``OSError`` when that fails, and the record is what it was."""
        self.save_parts(name, len(data), (data,))

    def save_parts(self, name: str, length: int, parts: "Iterable[bytes | bytearray]") -> None:
        """``save`` of what comes in parts, ``length`` bytes in all: memory may lack for all."""
        if length > MAX_BYTES:
            raise ValueError("record %s: %d bytes, at most %d fit" % (name, length, MAX_BYTES))
        if name not in self._newest:
            self.load(name)
        slot, sequence = self._newest[name]
        slot = 1 - slot
        sequence += 1
        head = struct.pack(_HEAD, _MAGIC, _VERSION, sequence, length)
        crc = crc32(head, 0, _HEAD_BYTES)
        with open(self._path(name, slot), "wb") as file:
            file.write(head)
            for part in parts:
                file.write(part)
                crc = crc32(part, 0, len(part), crc)
            file.write(struct.pack("<L", crc))
            file.flush()
            if hasattr(os, "fsync"):
                os.fsync(file.fileno())
        # A board's file system writes when the file is closed, or when told to.
        if not hasattr(os, "fsync") and hasattr(os, "sync"):
            os.sync()
        self._newest[name] = (slot, sequence)

    def _path(self, name: str, slot: int) -> str:
        return "%s/%s.%d" % (self.root, name, slot)

    def _read(self, name: str, slot: int) -> "tuple[int, bytes] | None":
        """``(sequence, data)`` of a slot, ``None`` when it is not whole."""
        try:
            path = self._path(name, slot)
            n_bytes = os.stat(path)[6]
            if not _HEAD_BYTES + _CRC_BYTES <= n_bytes <= _HEAD_BYTES + MAX_BYTES + _CRC_BYTES:
                return None
            with open(path, "rb") as file:
                content = file.read(n_bytes)
        except OSError:
            return None
        end = n_bytes - _CRC_BYTES
        if len(content) != n_bytes:
            return None
        magic, version, sequence, length = struct.unpack_from(_HEAD, content, 0)
        if magic != _MAGIC or version != _VERSION or length != end - _HEAD_BYTES:
            return None
        if struct.unpack_from("<L", content, end)[0] != crc32(content, 0, end):
            return None
        return sequence, content[_HEAD_BYTES:end]
