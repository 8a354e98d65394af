"""The fault memory: what is remembered, for the life of the board, of every fault that ever came.

Of each: how often; when it came first and last, as boot count, cycle, and UTC with its quality
where known; and what was measured when it came last. It is kept as the FAULTS model has it, from
``FltN`` to before ``SeqEnd``, so that telling it is copying it. Nothing erases it.

A trip is taken down after the switches were told, in memory that is there: for some faults that
never came before it is kept ready, for all thirty it would be 2 kB. The ``store`` task
saves it within a second; a fault that comes again and again is saved once a minute. Until then
``Unsvd`` says so. The record ``faults``:

    version u8 = 1, n u8 = bytes of an entry; of each fault that ever came: its number u8, n bytes

A later version may only append points; an entry that is shorter or longer is taken up as far as
both reach.

    >>> faults = FaultMemory(storage.load("faults"))
    >>> faults.begin(image, boot)
    >>> faults.take(snapshot, protection)  # when ``protection.tripped``
    >>> if faults.due(now_s): faults.save(storage)
    >>> faults.tell(Fault.CELL_OVER_VOLTAGE, snapshot.seq)  # it now stands in the model
"""

from struct import pack_into

from common.mp import const
from firmware.diagnosis import N_FAULTS
from firmware.image import NO_FAULT, Image
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
_SIZE = const(70)
_SPARE = const(4)


class FaultMemory:
    """``ever`` and ``unsaved`` are bits of ``codes.Fault``."""

    def __init__(self, data: "bytes | None") -> None:
        """``data``: what ``save`` saved; early, while there is room for all of it."""
        self._entries: "list[bytearray | None]" = [None] * N_FAULTS
        self._spare: "list[bytearray]" = []
        self.ever = self.unsaved = 0
        self._n = 0  # trips in all
        self._saved = 0  # faults saved since ...
        self._since_s = 0
        self._told = 0
        self._restore(data or b"")

    def begin(self, image: Image, boot: int) -> None:
        """Know the time, and tell what is remembered in the FAULTS model."""
        self._image = image
        self._block = block = image.faults
        self._boot = boot
        block.set("Boot", boot)
        self._at = 2 * block.layout.offset("FltN")
        for entry in self._entries:
            if entry is not None and len(entry) < _SIZE:
                entry.extend(NO_FAULT[len(entry) :])
        self._refill()
        self.tell(0, 0)

    def _refill(self) -> None:
        while len(self._spare) < _SPARE:
            self._spare.append(bytearray(NO_FAULT))

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
        entry = self._entries[fault]
        if entry is None:
            entry = self._spare.pop() if self._spare else bytearray(NO_FAULT)
            self._entries[fault] = entry
        n = entry[0] << 8 | entry[1]
        self._n += 1
        if n < _MOST:
            pack_into(">H", entry, 0, n + 1)
        self._stamp(entry, _LAST, s)
        if not n:
            self._stamp(entry, _FIRST, s)
        for i in range(_VALUES, _SIZE):
            entry[i] = NO_FAULT[i]
        for i in range(8):
            entry[_VALUES + i] = p.trips[8 * fault + i]
        pack_into(">HHL", entry, _VALUES + 32, u16(p.limits.soc_bp), p.state, p.active)
        if s.valid or s.looked:
            switches = s.switches
            pack_into(
                ">LlHHHHhhHH", entry, _VALUES + 8,
                s.sum_mv, s.current_ma, s.max_mv, s.max_cell + 1, s.min_mv, s.min_cell + 1,
                s.max_dc, s.min_dc, switches, switches & ~p.allowed,
            )  # fmt: skip

    def _stamp(self, entry: bytearray, at: int, s: Snapshot) -> None:
        pack_into(">LL", entry, at, self._boot, s.seq)
        self._image.write_utc(entry, at + _UTC, s.uptime_s)

    # --- the model --------------------------------------------------------------------------

    def tell(self, fault: int, seq: int) -> None:
        """Put what is remembered of ``fault`` into the FAULTS model."""
        self._told = fault
        block = self._block
        block.set("NFlt", self._n)
        block.set("Ever", self.ever)
        block.set("Unsvd", self.unsaved)
        block.set("FltNo", fault)
        entry = (self._entries[fault] if fault < N_FAULTS else None) or NO_FAULT
        image = self._image.map.image
        target = block.start + self._at
        for i in range(_SIZE):
            image[target + i] = entry[i]
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
        n = N_FAULTS - self._entries.count(None)
        storage.save_parts("faults", 2 + n * (1 + _SIZE), self._parts())
        self._saved |= self.unsaved
        self.unsaved = 0
        self.tell(self._told, seq)
        self._refill()

    def _parts(self) -> "Iterator[bytes | bytearray]":
        yield bytes((_VERSION, _SIZE))
        for fault in range(N_FAULTS):
            entry = self._entries[fault]
            if entry is not None:
                yield bytes((fault,))
                yield entry

    def _restore(self, data: bytes) -> None:
        """Take up what was saved; of another version it is left alone."""
        if len(data) < 2 or data[0] != _VERSION or (len(data) - 2) % (1 + data[1]):
            return
        size = data[1]
        for at in range(2, len(data), 1 + size):
            fault = data[at]
            if fault < N_FAULTS:
                self._entries[fault] = bytearray(data[at + 1 : at + 1 + min(size, _SIZE)])
                self.ever |= 1 << fault
                self._n += data[at + 1] << 8 | data[at + 2]
