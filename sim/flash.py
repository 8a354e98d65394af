"""A serial NOR flash as a block device, under the real littlefs; runs in MicroPython too.

Rules of the chip (Winbond W25Q16JV, datasheet rev. H, chapters 8.2.13 and 8.2.15, 9.6): an erase
sets all bits of a block of 4 kB, a program clears bits in a page of 256 bytes, one operation runs
at a time, and none is begun before the last one is complete: NOR does not reorder. A program that
asks for a bit to be set again is a mistake of whoever asks and raises ``RuleError``. Not
modelled: bits that read differently each time after a torn operation, and read disturb.

``log`` takes every operation, ``tear`` makes of an image what a cut in the midst of one leaves::

    flash = NorFlash(32)
    os.VfsLfs2.mkfs(flash, progsize=256)
    before, flash.log = bytearray(flash.image), []
    ...                                         # mount, write, close
    for operation in flash.log:                 # each cut there is, one after the other
        for how in TEARS:
            torn = bytearray(before)
            tear(torn, operation, how)
            ...                                 # mount NorFlash(image=torn), and look
        apply(before, operation)
"""

import errno
from array import array

BLOCK_BYTES = 4096
PAGE_BYTES = 256
ERASE = 0
PROGRAM = 1
# How an operation may be torn: before it began, after some sixteenths of its bytes, all but its
# last byte, or with a random half of its bits done (0, 1, 2: another half each).
TEARS = ("before", "first", 4, 8, 12, "last", "bits0", "bits1", "bits2")
# Of the datasheet: typical and longest, microseconds.
ERASE_US, LONGEST_ERASE_US = 45000, 400000
PROGRAM_US, LONGEST_PROGRAM_US = 400, 3000

_COUNT, _SIZE, _ERASE = 4, 5, 6  # of ioctl
_RANDOM = bytearray(3 * BLOCK_BYTES)


class RuleError(Exception):
    """Somebody programs what is not erased, or beyond the chip."""


class PowerCut(BaseException):
    """The supply fails here."""


class NorFlash:
    """``n_blocks`` erased blocks, or a chip with the content ``image``.

    ``worn`` names blocks that fail: ``"erase"`` and ``"program"`` give an error back, a number
    is the mask of the bits that stay 0 in each of their bytes. ``spend(us)``, where given, is told
    what each operation takes (``erase_us``, ``program_us`` a page). With ``cut_at`` the operation
    of that number, from 0, is torn by ``cut_how`` and raises ``PowerCut``, as does all that
    follows. A chip with bit errors is not ``strict``: what was erased may not be any more.
    """

    def __init__(self, n_blocks: int = 0, image: "bytearray | None" = None) -> None:
        self.image = image or bytearray(b"\xff" * (n_blocks * BLOCK_BYTES))
        self.n_blocks = len(self.image) // BLOCK_BYTES
        self.erases = array("L", [0] * self.n_blocks)
        self.programs = array("L", self.erases)
        self.n_operations = 0
        self.log: "list[tuple[int, int, bytes]] | None" = None
        self.worn: "dict[int, str | int]" = {}
        self.spend: "object | None" = None
        self.erase_us = ERASE_US
        self.program_us = PROGRAM_US
        self.cut_at = -1
        self.cut_how: "str | int" = "before"
        self.dead = False
        self.strict = True

    def readblocks(self, block: int, buffer: bytearray, offset: int = 0) -> int:
        """Fill ``buffer`` from the block."""
        if self.dead:
            return self._refuse()
        at = self._place(block, offset, len(buffer))
        try:
            buffer[:] = memoryview(self.image)[at : at + len(buffer)]
        except MemoryError:  # as in _refuse
            return -errno.EIO
        return 0

    def writeblocks(self, block: int, buffer: "bytes | bytearray", offset: int = 0) -> int:
        """Program ``buffer``, page by page."""
        if self.dead:
            return self._refuse()
        at = self._place(block, offset, len(buffer))
        done = 0
        while done < len(buffer):
            n = min(len(buffer) - done, PAGE_BYTES - (at + done) % PAGE_BYTES)
            if self._do((PROGRAM, at + done, bytes(buffer[done : done + n]))):
                return -errno.EIO
            done += n
        return 0

    def ioctl(self, op: int, block: int) -> int:
        """What ``vfs`` asks of a block device."""
        if self.dead:
            return self._refuse()
        if op == _COUNT:
            return self.n_blocks
        if op == _SIZE:
            return BLOCK_BYTES
        if op == _ERASE:
            return self._do((ERASE, self._place(block, 0, BLOCK_BYTES), b""))
        return 0

    def _place(self, block: int, offset: int, n_bytes: int) -> int:
        if not (0 <= block < self.n_blocks and 0 <= offset <= BLOCK_BYTES - n_bytes):
            raise RuleError("block %d, byte %d, %d bytes" % (block, offset, n_bytes))
        return block * BLOCK_BYTES + offset

    def _refuse(self) -> int:
        try:
            bytearray(1)
        except MemoryError:  # MicroPython's collector closes a file that was left open
            return -errno.EIO
        raise PowerCut

    def _do(self, operation: "tuple[int, int, bytes]") -> int:
        """Carry it out; what a block device answers."""
        kind, at, _ = operation
        block = at // BLOCK_BYTES
        worn = self.worn.get(block, 0)
        if worn == ("erase" if kind == ERASE else "program"):
            return -errno.EIO
        if self.n_operations == self.cut_at:
            self.dead = True
            tear(self.image, operation, self.cut_how)
            raise PowerCut
        self.n_operations += 1
        if self.log is not None:
            self.log.append(operation)
        (self.erases if kind == ERASE else self.programs)[block] += 1
        apply(self.image, operation, worn if isinstance(worn, int) else 0, self.strict)
        if self.spend is not None:
            self.spend(self.erase_us if kind == ERASE else self.program_us)  # type: ignore[operator]
        return 0


def apply(
    image: bytearray, operation: "tuple[int, int, bytes]", stuck: int = 0, strict: bool = True
) -> None:
    """Carry out a whole operation; ``stuck`` are bits of each byte that stay 0."""
    kind, at, data = operation
    if kind == ERASE:
        image[at : at + BLOCK_BYTES] = bytes([0xFF & ~stuck]) * BLOCK_BYTES
        return
    old = int.from_bytes(image[at : at + len(data)], "little")
    new = int.from_bytes(data, "little")
    if new & old != new and strict and not stuck:
        raise RuleError("program of what is not erased at byte %d" % at)
    new &= old
    if stuck:
        new &= int.from_bytes(bytes([0xFF & ~stuck]) * len(data), "little")
    image[at : at + len(data)] = new.to_bytes(len(data), "little")


def tear(
    image: bytearray, operation: "tuple[int, int, bytes]", how: "str | int | tuple[int]"
) -> None:
    """What a cut within the operation leaves; ``how`` is one of ``TEARS``, or (bytes,) done."""
    kind, at, data = operation
    n = BLOCK_BYTES if kind == ERASE else len(data)
    whole = bytearray(image[at : at + n])
    apply(whole, (kind, 0, data))
    done = n
    if how == "before":
        done = 0
    elif how == "first":
        done = 1
    elif how == "last":
        done = n - 1
    elif isinstance(how, int):
        done = n * how // 16
    elif isinstance(how, tuple):
        done = how[0]
    else:
        some = mixed(image[at : at + n], whole, int(how[-1]))
        image[at : at + n] = some
        return
    image[at : at + done] = whole[:done]


def mixed(old: bytearray, new: bytearray, seed: int) -> bytes:
    """Bits at random of ``old`` and ``new``, in equal parts."""
    if not _RANDOM[0] and not _RANDOM[1]:
        state = 12345
        for i in range(len(_RANDOM)):
            state = (state * 75 + 74) % 65537  # ZX81's generator: within 31 bits
            _RANDOM[i] = state & 0xFF
    n = len(old)
    at = seed * BLOCK_BYTES
    mask = int.from_bytes(_RANDOM[at : at + n], "little")
    before = int.from_bytes(old, "little")
    changed = before ^ int.from_bytes(new, "little")
    return (before ^ changed & mask).to_bytes(n, "little")
