"""The fault memory: what is remembered, for the life of the board, of every fault that ever came.

Of each: how often; when it came first and last, as boot count, cycle, and UTC with its quality
where known; and what was measured when it came last. It is kept as the FAULTS model has it, from
``FltN`` to before ``SeqEnd``, so that telling it is copying it. Nothing erases it.

A trip is taken down after the switches were told, in memory that is there. The ``store`` task
saves it within a second; a fault that comes again and again is saved once a minute. Until then
``Unsvd`` says so. The record ``faults``:

    version u8 = 1, n u8 = bytes of an entry; of each fault that ever came: its number u8, n bytes

A later version may only append points; an entry that is shorter or longer is taken up as far as
both reach.

    >>> faults = FaultMemory(image, boot)
    >>> faults.take(snapshot, protection)  # when ``protection.tripped``
    >>> if faults.due(now_s): faults.save(storage)
    >>> faults.tell(Fault.CELL_OVER_VOLTAGE, snapshot.seq)  # it now stands in the model
"""

from struct import pack_into

from common.mp import const
from firmware.diagnosis import N_FAULTS
from firmware.image import Image
from firmware.image_sunspec import u16
from firmware.protection import Protection
from firmware.snapshot import Snapshot
from firmware.storage import Storage

TYPE_CHECKING = False  # boards have no typing
if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = const(1)
_EVERY_S = const(60)
_MOST = const(0xFFFE)
_FIRST = const(2)  # where in an entry ...
_LAST = const(16)
_UTC = const(8)  # ... and where in each of these two
_VALUES = const(30)


class FaultMemory:
    """``ever`` and ``unsaved`` are bits of ``codes.Fault``."""

    def __init__(self, image: Image, boot: int) -> None:
        self._image = image
        self._block = block = image.faults
        self._boot = boot
        offset = block.layout.offset
        self._at = 2 * offset("FltN")
        self._size = 2 * offset("SeqEnd") - self._at
        block.set("FltN", 0)
        # One more, of which nothing is known, for numbers that no fault has.
        self._entries = bytearray(self._blank() * (N_FAULTS + 1))
        self.ever = self.unsaved = 0
        self._n = 0  # trips in all
        self._saved = 0  # faults saved since ...
        self._since_s = 0
        self._told = 0
        block.set("Boot", boot)
        self.tell(0, 0)

    def _blank(self) -> bytes:
        return self._block.bytes()[self._at : self._at + self._size]

    def take(self, s: Snapshot, p: Protection) -> None:
        """Take down what has tripped in this cycle or look."""
        tripped = p.tripped
        p.tripped = 0
        self.ever |= tripped
        self.unsaved |= tripped
        for fault in range(N_FAULTS):
            if tripped >> fault & 1:
                self._take(fault, s, p)
        self.tell(self._told, s.seq)

    def _take(self, fault: int, s: Snapshot, p: Protection) -> None:
        entries = self._entries
        at = fault * self._size
        n = entries[at] << 8 | entries[at + 1]
        self._n += 1
        if n < _MOST:
            pack_into(">H", entries, at, n + 1)
        self._stamp(at + _LAST, s)
        if not n:
            self._stamp(at + _FIRST, s)
        at += _VALUES
        nothing = N_FAULTS * self._size + _VALUES
        for i in range(self._size - _VALUES):
            entries[at + i] = p.trips[8 * fault + i] if i < 8 else entries[nothing + i]
        pack_into(">HHL", entries, at + 32, u16(p.limits.soc_bp), p.state, p.active)
        if s.valid or s.looked:
            switches = s.switches
            pack_into(
                ">LlHHHHhhHH", entries, at + 8,
                s.sum_mv, s.current_ma, s.max_mv, s.max_cell + 1, s.min_mv, s.min_cell + 1,
                s.max_dc, s.min_dc, switches, switches & ~p.allowed,
            )  # fmt: skip

    def _stamp(self, at: int, s: Snapshot) -> None:
        pack_into(">LL", self._entries, at, self._boot, s.seq)
        self._image.write_utc(self._entries, at + _UTC, s.uptime_s)

    # --- the model --------------------------------------------------------------------------

    def tell(self, fault: int, seq: int) -> None:
        """Put what is remembered of ``fault`` into the FAULTS model."""
        self._told = fault
        block = self._block
        block.set("NFlt", self._n)
        block.set("Ever", self.ever)
        block.set("Unsvd", self.unsaved)
        block.set("FltNo", fault)
        entries = self._entries
        source = min(fault, N_FAULTS) * self._size
        image = self._image.map.image
        target = block.start + self._at
        for i in range(self._size):
            image[target + i] = entries[source + i]
        block.set("Seq", seq)
        block.set("SeqEnd", seq)

    # --- what survives power-off --------------------------------------------------------------

    def due(self, now_s: int) -> bool:
        """Whether there is something to be saved now."""
        if now_s - self._since_s >= _EVERY_S:
            self._since_s = now_s
            self._saved = 0
        return self.unsaved & ~self._saved != 0

    def save(self, storage: Storage, seq: int) -> None:
        """Save everything; ``OSError`` when that fails, and all is still to be saved."""
        n = 0
        for fault in range(N_FAULTS):
            n += self.ever >> fault & 1
        storage.save_parts("faults", 2 + n * (1 + self._size), self._parts())
        self._saved |= self.unsaved
        self.unsaved = 0
        self.tell(self._told, seq)

    def _parts(self) -> "Iterator[bytes]":
        yield bytes((_VERSION, self._size))
        for fault in range(N_FAULTS):
            if self.ever >> fault & 1:
                at = fault * self._size
                yield bytes((fault,))
                yield bytes(self._entries[at : at + self._size])

    def restore(self, data: bytes) -> bool:
        """Take up what was saved; ``False`` leaves all as it is: it is of another version."""
        if len(data) < 2 or data[0] != _VERSION or (len(data) - 2) % (1 + data[1]):
            return False
        size = data[1]
        for at in range(2, len(data), 1 + size):
            fault = data[at]
            if fault < N_FAULTS:
                target = fault * self._size
                for i in range(min(size, self._size)):
                    self._entries[target + i] = data[at + 1 + i]
                self.ever |= 1 << fault
                self._n += data[at + 1] << 8 | data[at + 2]
        self.tell(0, 0)
        return True
