"""The board's history: what is recorded, and how it gets into flash.

Each cycle ``cycle`` sees what is new. A record gets its number, its place in the chain and in the
batch at once, in memory. ``store`` writes the batch, in the task of that name: readings every
``_BATCH_S``, what happened (a fault, a command, ...) at its next turn. From then on a record is
acknowledged: it is served, its number is never given again, and no power cut takes it.

    >>> history = History(board.root, settings, image.map.block(models.HISTORY), boot)
    >>> history.event(RESTART, 0, None, reset_cause, crash_cause, version)
    >>> history.cycle(snapshot, protection, estimators, utc_s)  # each cycle
    >>> history.command(code, result)
    >>> history.store(snapshot.uptime_s)  # now and then; OSError, and it is tried again
    >>> server.files = history.file

Where flash refuses, records wait in memory while there is room, then they are counted, and a
record LOST tells how many were not made. A segment that cannot be written any more is left alone
after some tries; what waited is given up, and the numbers jump.
"""

import os
import struct
from array import array

from common.crc import crc32 as serial_crc
from common.history_records import (
    BODIES,
    CHAIN_BYTES,
    COMMAND,
    EVIDENCE,
    FAULT,
    LOST,
    READING,
    TIME,
    Coder,
    Record,
    first_chain,
    next_chain,
    pack,
    stored_bytes,
)
from common.mp import const
from common.registers import Block
from firmware.diagnosis import N_FAULTS
from firmware.estimators.estimators import Estimators
from firmware.history_file import HistoryFile
from firmware.protection import Protection
from firmware.segments import (
    BATCH_BYTES,
    BATCH_HEAD,
    BATCH_HEAD_BYTES,
    BATCH_MAGIC,
    BATCH_RECORDS,
    CRC_BYTES,
    KEY,
    SEGMENT_BYTES,
    Folder,
    Reader,
    crc32,
    header,
)
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot
from firmware.storage import write_through

_ENOSPC = const(28)  # not in every port's errno
_BATCH_S = const(300)
_MEASURED = const(7)  # current and temperatures of a reading
_COMMANDS = const(8)  # in one cycle
_KEY_RECORDS = const(32)
_TRIES = const(3)  # to write to a segment
_RESERVE_BYTES = const(65536)  # of the file system, for all else that must be saved
# Writes for the sake of events: so many at once, then one in so many seconds, for a master that
# repeats commands must not wear out the flash.
_EVENT_WRITES = const(20)
_EVENT_WRITE_S = const(60)
_GIVEN_UP = const(256)  # numbers, behind what cannot be read any more
_JUMP_S = const(2)  # of UTC: less is the rounding of whole seconds
_SEGMENT_RECORDS = const(2000)  # no segment has more


class History:
    """One pack's history."""

    def __init__(self, root: str, settings: Settings, block: Block, boot: int) -> None:
        self.settings = settings
        n_cells = settings.n_cells
        serial = settings.serial.encode()
        self._sn_crc = serial_crc(serial, 0, len(serial))
        self._block = block
        self._boot = boot
        self._folder = Folder(root + "/history")
        self._reader = Reader(self._folder, n_cells)
        self.file = HistoryFile(self._reader, n_cells, self._sn_crc)
        self._record = Record(n_cells)
        self._coder = Coder(n_cells)
        self._batch = bytearray(BATCH_BYTES)
        self._room = BATCH_BYTES - CRC_BYTES - stored_bytes(n_cells)
        self._used = 0  # bytes of the batch; 0: it is not begun
        self._count = 0  # records in it
        self._first = 0
        self._is_key = False
        self._is_new = True  # it begins a segment
        self._since_key = 0  # records
        self._begun_s = 0
        self._urgent = False
        self._writes = _EVENT_WRITES
        self._write_s = 0
        self._tries = 0
        self._crowded = False  # flash was full
        self._others: "list[int]" = []  # segments of another pack, to be deleted
        self._found = False  # what was there before
        self._untold = 0  # records that were not made
        self._lost = 0  # all of them, since the start
        self._number = 0  # of the last record
        self._chain = first_chain(serial)
        # what is compared
        self._charge_uah = 0
        self._faults = 0
        self._age_s: int | None = None
        self._base_s: int | None = None  # UTC at the start
        self._due_s = 0
        self._seq = 0
        self._commands = array("H", bytes(4 * _COMMANDS))
        self._n_commands = 0
        try:
            self._recover()
        except OSError as error:  # records wait until flash can be read
            print("history: %s" % error)
            self._tell()

    # --- what is recorded -------------------------------------------------------------------

    def cycle(self, s: Snapshot, p: Protection, e: Estimators, utc_s: "int | None") -> None:
        """See what is new in this cycle."""
        self._seq = s.seq
        if s.valid:
            self._charge_uah += s.delta_uah
        for i in range(self._n_commands):
            code, result = self._commands[2 * i], self._commands[2 * i + 1]
            self.event(COMMAND, s.uptime_s, utc_s, code, result)
        self._n_commands = 0
        base_s = None if utc_s is None else utc_s - s.uptime_s
        if base_s != self._base_s:
            self._tell_time(base_s, s.uptime_s)
        if p.active != self._faults:
            self._tell_faults(s, p, e, utc_s)
        age_s = e.soh_age_s
        if age_s is not None and (age_s == 0 if self._age_s is None else age_s < self._age_s):
            self.event(
                EVIDENCE, s.uptime_s, utc_s, e.soh_bp, e.soh_lo_bp, e.soh_hi_bp, e.soh_method,
                self._mah(e.soh_bp), self._mah(e.soh_lo_bp), self._mah(e.soh_hi_bp),
            )  # fmt: skip
        self._age_s = age_s
        if s.uptime_s >= self._due_s:
            self._due_s += self.settings.history_every_s
            if self._due_s <= s.uptime_s:  # the first, or cycles were lost
                self._due_s = s.uptime_s + self.settings.history_every_s
            self._read(s, p, e, utc_s)

    def command(self, code: int, result: int) -> None:
        """Record a command and what became of it, with the next cycle: nothing is allocated."""
        if self._n_commands < _COMMANDS:
            self._commands[2 * self._n_commands] = code
            self._commands[2 * self._n_commands + 1] = result
            self._n_commands += 1
        else:
            self._untold += 1
            self._lost += 1

    def event(
        self, kind: int, run_s: int, utc_s: "int | None", *values: "int | bytes | None"
    ) -> None:
        """Record what happened; see ``common.history_records.BODIES``."""
        self._record.kind = kind
        self._record.body = pack(BODIES[kind], *values)
        self._urgent = True
        self._add(run_s, utc_s)

    def _tell_time(self, base_s: "int | None", run_s: int) -> None:
        old_s = self._base_s
        self._base_s = base_s
        if base_s is not None and (old_s is None or not -_JUMP_S < base_s - old_s < _JUMP_S):
            utc_s = base_s + run_s
            self.event(TIME, run_s, utc_s, None if old_s is None else old_s + run_s, utc_s)

    def _tell_faults(self, s: Snapshot, p: Protection, e: Estimators, utc_s: "int | None") -> None:
        known = s.valid or s.looked
        changed = p.active ^ self._faults
        for fault in range(N_FAULTS):
            if changed >> fault & 1:
                self.event(
                    FAULT, s.uptime_s, utc_s, fault, p.active >> fault & 1,
                    s.min_mv if known else None, s.max_mv if known else None,
                    s.current_ma if known else None,
                    _known_dc(s.min_dc) if known else None,
                    _known_dc(s.max_dc) if known else None,
                    e.soc_bp,
                    p.last_fault_value if p.last_fault == fault else None,
                )  # fmt: skip
        self._faults = p.active

    def _read(self, s: Snapshot, p: Protection, e: Estimators, utc_s: "int | None") -> None:
        values: "list[int | None]" = [None] * s.n_cells
        measured: "list[int | None]" = [None] * _MEASURED
        if s.valid:
            values = list(s.cell_mv)
            measured = [s.current_ma, _known_dc(s.fet_dc), _known_dc(s.afe_dc)]
            measured.extend([_known_dc(value) for value in s.temp_dc])
        values.extend((e.soc_bp, self._charge_uah))
        values.extend(measured)
        values.extend((e.soh_bp, s.switches if s.valid else None, p.active))
        self._record.kind = READING
        self._record.values = values
        if self._add(s.uptime_s, utc_s):
            self._charge_uah = 0

    def _mah(self, soh_bp: "int | None") -> "int | None":
        return None if soh_bp is None else self.settings.rated_mah * soh_bp // 10000

    def _add(self, run_s: int, utc_s: "int | None") -> bool:
        """Give the record its number, and put it into chain and batch; whether it had room."""
        if not self._found or self._used > self._room or self._count >= BATCH_RECORDS:
            self._untold += 1
            self._lost += 1
            return False
        record = self._record
        if not self._used:
            self._begin_batch(run_s)
        record.boot = self._boot
        record.run_s = run_s
        record.utc_s = utc_s
        record.quality = 0 if utc_s is None else 1
        self._number += 1
        record.number = self._number
        self._chain = next_chain(self._chain, record.canonical())
        self._used = self._coder.encode(record, self._batch, self._used)
        self._count += 1
        self._since_key += 1
        return True

    def _begin_batch(self, run_s: int) -> None:
        sizes = self._folder.sizes
        self._is_new = self._is_new or sizes[-1] + BATCH_BYTES > SEGMENT_BYTES
        self._is_key = self._is_new or self._since_key >= _KEY_RECORDS
        self._first = self._number + 1
        self._begun_s = run_s
        self._used = BATCH_HEAD_BYTES
        if self._is_key:
            self._coder.begin()
            self._since_key = 0
            self._batch[self._used : self._used + CHAIN_BYTES] = self._chain
            self._used += CHAIN_BYTES

    # --- how it gets into flash -------------------------------------------------------------

    def store(self, now_s: int, utc_s: "int | None" = None) -> None:
        """Do one thing that is due in flash, if there is one; ``OSError``, and try again."""
        folder = self._folder
        if not self._found:
            self._recover()
        elif self._others:
            os.remove(folder.name(self._others[0]))
            self._others.pop(0)
            return
        if not self._due(now_s):
            return
        if self._crowded or (self._is_new and self._must_make_room()):
            self._crowded = False
            if len(folder.firsts) > 1:
                folder.remove(0)
                self.file.changed()
                self._tell()
                return
        try:
            self._write()
        except OSError as error:
            self._crowded = error.errno == _ENOSPC
            self._tries += 1
            if not self._crowded and not self._is_new and self._tries >= _TRIES:
                self._give_up()
            raise
        self._tries = 0
        if self._untold:
            untold = self._untold
            self._untold = 0
            self.event(LOST, now_s, utc_s, untold)

    def _due(self, now_s: int) -> bool:
        while self._writes < _EVENT_WRITES and now_s - self._write_s >= _EVENT_WRITE_S:
            self._writes += 1
            self._write_s += _EVENT_WRITE_S
        if not self._count:
            return False
        if self._urgent and self._writes:
            if self._writes == _EVENT_WRITES:
                self._write_s = now_s
            self._writes -= 1
            return True
        return now_s - self._begun_s >= _BATCH_S or self._used > BATCH_BYTES // 2

    def _must_make_room(self) -> bool:
        folder = self._folder
        if folder.used_bytes() + SEGMENT_BYTES > self.settings.history_kb * 1024:
            return True
        status = os.statvfs(folder.path)
        return status[1] * status[3] < _RESERVE_BYTES + SEGMENT_BYTES

    def _write(self) -> None:
        batch = self._batch
        folder = self._folder
        length = self._used + CRC_BYTES
        struct.pack_into(
            BATCH_HEAD, batch, 0, BATCH_MAGIC, length, KEY if self._is_key else 0, self._count,
            self._first,
        )  # fmt: skip
        struct.pack_into("<L", batch, self._used, crc32(batch, 0, self._used))
        head = b""
        tail = 0
        if self._is_new:
            path = folder.name(self._first)
            head = header(self._sn_crc, self.settings.n_cells, self._first)
        else:
            path = folder.name(folder.firsts[-1])
            tail = folder.sizes[-1]
        # What an earlier try left behind the tail is written over.
        parts = (head, memoryview(batch)[:length])
        write_through(path, "wb" if self._is_new else "r+b", tail, parts)
        if self._is_new:
            folder.firsts.append(self._first)
            folder.sizes.append(0)
        folder.sizes[-1] = tail + len(head) + length
        self._is_new = self._urgent = False
        self._used = self._count = 0
        self.file.last = self._number
        self.file.changed()
        self._tell()

    def _give_up(self) -> None:
        """Begin a segment of its own; what waited is coded against what is in the other one."""
        self._lost += self._count
        self._used = self._count = 0
        self._is_new = True

    # --- what was there before --------------------------------------------------------------

    def _recover(self) -> None:
        """Find the number and the chain's value that go on from here."""
        folder = self._folder
        reader = self._reader
        folder.look()
        newest = len(folder.firsts) - 1
        while newest >= 0:
            number = reader.last_number(newest)
            if number or folder.sizes[newest] > BATCH_BYTES:
                break
            # A segment whose first batch was not written: nothing in it was acknowledged.
            folder.remove(newest)
            newest -= 1
        if newest >= 0:
            self._go_on(newest, number)
        self._found = True
        self._tell()

    def _go_on(self, newest: int, number: int) -> None:
        folder = self._folder
        broken = self._reader.end != folder.sizes[newest]
        self._number = number or folder.firsts[newest] + _SEGMENT_RECORDS
        if not folder.is_of(newest, self._sn_crc, self.settings.n_cells):
            self._others = folder.firsts
            folder.firsts = []
            folder.sizes = []
            return
        self._is_new = broken
        self._since_key = _KEY_RECORDS  # the next batch is coded by itself
        chain = self._last_chain(number)
        if broken:
            self._number += _GIVEN_UP
        if broken or not chain:
            chain = next_chain(chain or bytes(CHAIN_BYTES), b"")
        self._chain = chain
        self.file.last = self._number

    def _last_chain(self, number: int) -> bytes:
        """The chain's value behind record ``number``; nothing when it cannot be computed."""
        reader = self._reader
        reader.seek(number)
        chain = b""
        seen = 0
        while reader.next():  # the first is of a key, and so is the one behind a hole
            if reader.at_key:
                chain = bytes(reader.chain)
            chain = next_chain(chain, reader.record.canonical())
            seen = reader.record.number
        return chain if seen == number else b""

    def _tell(self) -> None:
        """Put into the HISTORY model what is kept."""
        put = self._block.set
        folder = self._folder
        last = self.file.last
        put("Seq", self._seq)
        put("Boot", self._boot)
        kept = last and folder.firsts
        put("First", folder.firsts[0] if kept else None)
        put("Last", last if kept else None)
        put("Every", self.settings.history_every_s)
        put("Used", folder.used_bytes())
        put("Lost", self._lost)
        if not self._count:  # else the chain is ahead of what is kept
            put("HeadN", self._number)
            self._block.put_bytes(2 * self._block.layout.offset("Head1"), bytearray(self._chain))
        put("SeqEnd", self._seq)


def _known_dc(value: int) -> "int | None":
    return None if value == UNKNOWN_DC else value
