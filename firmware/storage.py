r"""Records that survive a power cut at any byte: two slots each, written in turn.

A record has a name and some bytes. A save writes the older slot, so the newer one stays whole
until the write is complete. A slot counts only when its magic, version, length and CRC-32 are
right; of two that are, the one with the higher sequence is the record.

    magic "ECHR", version u8, sequence u32, length u16, data, CRC-32 of all before (little-endian)

    >>> storage = Storage(board.root)
    >>> storage.save("boot", b"\x07")
    >>> storage.load("boot")
    b'\x07'

The slots are files: ``NAME.0`` in the folder ``root``, ``NAME.1`` in its folder ``second``.
littlefs keeps small files with their folder, in a log in two blocks; a bit that fails there takes
back all that was written to the folder since. In two folders it cannot take both slots.
``firmware.fram`` keeps them in a chip of its own. docs/journal.md says what is guaranteed.

Nothing here belongs in a cycle that protects: writing flash takes its time.
"""

import errno
import os
import struct

from common.crc import crc32
from common.mp import const

TYPE_CHECKING = False  # boards have no typing
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_BYTES = const(4096)
MAGIC = const(b"ECHR")
HEAD = const("<4sBLH")
HEAD_BYTES = const(11)
CRC_BYTES = const(4)

_VERSION = const(1)
_READS = const(3)  # of what does not seem whole: a bus may have spoiled it
_NOTHING = const((1, 0))  # as if slot 1 had been written: the first save goes to slot 0


class Storage:
    """Named records in the folder ``root``, which must exist.

    ``damaged`` tells that a slot was complete once and cannot be read, or is not the one that was
    saved last but one: the other slot serves where it can, with what was saved before.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.damaged = False
        # name: (slot, sequence) of the newest; None: there was none to be read
        self._newest: "dict[str, tuple[int, int] | None]" = {}
        self._old: "set[str]" = set()  # names whose second slot is where it was once

    def load(self, name: str) -> "bytes | None":
        """The record's bytes; ``None`` when no slot of it is whole."""
        found = newest = None
        for slot in (0, 1):
            judged = self._whole(name, slot)
            if judged is None:
                continue
            sequence, data = judged
            if newest is not None and abs(sequence - newest[1]) != 1:
                self._tell(name)
            if newest is None or sequence > newest[1]:
                newest = (slot, sequence)
                found = data
        self._newest[name] = newest
        return found

    def save(self, name: str, data: "bytes | bytearray") -> None:
        """Write the record; ``OSError`` when that fails, and the record is what it was.

        It fails as well when the record could not be read before, and can be now: whoever saves
        goes on without what it holds.
        """
        self.save_parts(name, len(data), (data,))

    def save_parts(self, name: str, length: int, parts: "Iterable[bytes | bytearray]") -> None:
        """``save`` of what comes in parts, ``length`` bytes in all: memory may lack for all."""
        if length > MAX_BYTES:
            raise ValueError("record %s: %d bytes, at most %d fit" % (name, length, MAX_BYTES))
        newest = self._newest.get(name)
        if newest is None:
            was_asked = name in self._newest
            if self.load(name) is not None and was_asked:
                self._newest[name] = None
                raise OSError(errno.EIO)
            newest = self._newest[name] or _NOTHING
        slot = 1 - newest[0]
        sequence = newest[1] + 1
        self.write(name, slot, _content(sequence, length, parts))
        self._newest[name] = (slot, sequence)

    # --- the medium -----------------------------------------------------------------------

    def read(self, name: str, slot: int) -> "bytes | bytearray | None":
        """What a slot holds, whole or not; ``None`` when nothing was ever completed there.

        ``OSError`` when it cannot be read.
        """
        content = _read(self._path(name, slot))
        if content is None and slot:
            content = _read(self._old_path(name))
            if content is not None:
                self._old.add(name)
        return content or None  # a cut may leave an empty file

    def write(self, name: str, slot: int, content: "Iterator[bytes | bytearray]") -> None:
        """Put ``content`` into a slot; back when it is there for good, else ``OSError``."""
        if slot:
            try:
                os.mkdir("%s/second" % self.root)
            except OSError:  # it is there; what else may be wrong shows below
                pass
        write_through(self._path(name, slot), "wb", 0, content)
        if slot and name in self._old:
            os.remove(self._old_path(name))
            self._old.discard(name)

    def _path(self, name: str, slot: int) -> str:
        return "%s/%s%s.%d" % (self.root, "second/" if slot else "", name, slot)

    def _old_path(self, name: str) -> str:
        """Where the second slot was before it had a folder."""
        return "%s/%s.1" % (self.root, name)

    # --- slots ----------------------------------------------------------------------------

    def _whole(self, name: str, slot: int) -> "tuple[int, bytes] | None":
        """``(sequence, data)`` of a slot, ``None`` when it is not whole."""
        for _ in range(_READS):
            try:
                content = self.read(name, slot)
            except OSError:
                continue
            if content is None:
                return None
            judged = _judge(content)
            if judged is not None:
                return judged
        self._tell(name)
        return None

    def _tell(self, name: str) -> None:
        self.damaged = True
        print("record %s: a copy of it cannot be read" % name)


def write_through(
    path: str, mode: str, at: int, parts: "Iterable[bytes | bytearray | memoryview]"
) -> None:
    """Write ``parts`` into a file from byte ``at`` on; back when they are there for good."""
    with open(path, mode) as file:
        file.seek(at)
        for part in parts:
            file.write(part)
        file.flush()
        if hasattr(os, "fsync"):
            os.fsync(file.fileno())
    # A board's file system writes when the file is closed, or when told to.
    if not hasattr(os, "fsync") and hasattr(os, "sync"):
        os.sync()


def _read(path: str) -> "bytes | None":
    """A file's content, as far as a slot may reach and a byte beyond; ``None``: there is none."""
    try:
        n_bytes = min(os.stat(path)[6], HEAD_BYTES + MAX_BYTES + CRC_BYTES + 1)
        with open(path, "rb") as file:
            content: bytes = file.read(n_bytes)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return content


def _content(
    sequence: int, length: int, parts: "Iterable[bytes | bytearray]"
) -> "Iterator[bytes | bytearray]":
    """What a slot is to hold, part by part."""
    head = struct.pack(HEAD, MAGIC, _VERSION, sequence, length)
    crc = crc32(head, 0, HEAD_BYTES)
    yield head
    for part in parts:
        yield part
        crc = crc32(part, 0, len(part), crc)
    yield struct.pack("<L", crc)


def _judge(content: "bytes | bytearray") -> "tuple[int, bytes] | None":
    """``(sequence, data)`` of a slot's content when it is whole."""
    end = len(content) - CRC_BYTES
    if end < HEAD_BYTES:
        return None
    magic, version, sequence, length = struct.unpack_from(HEAD, content, 0)
    if magic != MAGIC or version != _VERSION or length != end - HEAD_BYTES:
        return None
    if struct.unpack_from("<L", content, end)[0] != crc32(content, 0, end):
        return None
    return sequence, bytes(memoryview(content)[HEAD_BYTES:end])
