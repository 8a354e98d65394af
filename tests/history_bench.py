"""A board's history without the board: snapshots by hand, and all that is kept read back."""

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from common import models
from common.history_records import BODIES, LOST, READING, first_chain, next_chain
from common.registers import RegisterMap
from firmware.history import History
from firmware.settings import Settings
from firmware.snapshot import Snapshot
from gateway.history_packets import Chain, decode_packet

UTC_S = 1_790_000_000


def batches(content: bytes) -> list[tuple[int, int, int, int, int]]:
    """``(at, length, flags, records, first)`` of each batch of a segment."""
    at, found = 17, []
    while at < len(content):
        magic, length, flags, count, first = struct.unpack_from("<HHBBL", content, at)
        assert magic == 0x48EC
        assert zlib.crc32(content[at : at + length - 4]) == struct.unpack_from(
            "<L", content, at + length - 4
        )[0]  # fmt: skip
        found.append((at, length, flags, count, first))
        at += length
    assert at == len(content)
    return found


@dataclass
class Kept:
    """What ``History`` serves: canonical bytes by number, and where the chain does not agree."""

    records: dict[int, bytes] = field(default_factory=dict)
    kinds: dict[int, int] = field(default_factory=dict)
    broken: list[int] = field(default_factory=list)
    chain: Chain | None = None

    def readings(self) -> list[int]:
        return [number for number, kind in self.kinds.items() if kind == READING]


class Bench:
    """One pack's history in ``root``, told what happens."""

    def __init__(self, root: Path, n_cells: int = 16, serial: str = "EB-1", **values: int) -> None:
        self.root = root
        self.settings = Settings.from_dict(
            {"serial": serial, "n_cells": n_cells, "profile": "nmc", "rated_mah": 50000, **values}
        )
        self.map = RegisterMap(n_cells)
        self.snapshot = Snapshot(n_cells)
        self.protection = SimpleNamespace(active=0, last_fault=None, last_fault_value=None)
        self.estimators = SimpleNamespace(
            soc_bp=5000, soh_bp=9000, soh_lo_bp=8800, soh_hi_bp=9200, soh_method=2, soh_age_s=None
        )
        self.boot_number = 0
        self.utc_s: int | None = UTC_S  # at the start of the board
        self.sent: dict[int, bytes] = {}  # what was recorded, by number
        self.boot()

    def boot(self) -> History:
        self.boot_number += 1
        s = self.snapshot
        s.uptime_s = s.seq = 0
        block = self.map.block(models.HISTORY)
        self.history = History(str(self.root), self.settings, block, self.boot_number)
        add = self.history._add

        def noted(*arguments: object) -> bool:
            added = add(*arguments)
            if added:
                record = self.history._record
                self.sent[record.number] = record.canonical()
            return added

        self.history._add = noted
        return self.history

    def cycle(self, store: bool = True, step_s: int = 1) -> None:
        """One second, or some."""
        s = self.snapshot
        s.seq += 1
        s.uptime_s += step_s
        s.valid = True
        s.delta_uah = -400
        s.current_ma = -1440 - s.seq % 7
        for i in range(s.n_cells):
            s.cell_mv[i] = 3700 - s.uptime_s // 60 % 900 + (s.seq * 31 + i * 17) % 5
        s.min_mv, s.max_mv = min(s.cell_mv), max(s.cell_mv)
        s.temp_dc[0] = s.min_dc = s.max_dc = 250 + s.seq % 3
        utc_s = None if self.utc_s is None else self.utc_s + s.uptime_s
        self.history.cycle(s, self.protection, self.estimators, utc_s)
        if store:
            self.history.store(s.uptime_s, utc_s)

    def minute(self) -> None:
        """A minute at once, with all that flash is asked for in it."""
        s = self.snapshot
        s.uptime_s += 59
        s.seq += 59
        for _ in range(3):
            self.cycle()
            s.uptime_s -= 1
            s.seq -= 1
        s.uptime_s += 1
        s.seq += 1

    def step(self, at_s: int, utc_s: int | None = None, **snapshot: object) -> None:
        """One cycle with a snapshot of one's own; nothing is stored."""
        s = self.snapshot
        s.seq += 1
        s.uptime_s = at_s
        for name, value in snapshot.items():
            setattr(s, name, value)
        self.history.cycle(s, self.protection, self.estimators, utc_s)

    def happens(self, at_s: int) -> None:
        """Something that is worth a write, and nothing else."""
        self.history.event(LOST, at_s, None, 0)

    def run(self, seconds: int, step_s: int = 1) -> None:
        for _ in range(0, seconds, step_s):
            self.cycle(step_s=step_s)

    def model(self) -> dict[str, object]:
        block = self.map.block(models.HISTORY)
        return block.layout.decode(block.bytes())

    def head(self) -> tuple[int, bytes]:
        """The chain's value that the model tells, and behind which number."""
        model = self.model()
        return model["HeadN"], b"".join(struct.pack(">L", model[f"Head{n}"]) for n in range(1, 9))

    def chain_behind(self, last: int) -> bytes:
        """The chain's value behind record ``last``, of all that was recorded from 1 on."""
        chain = first_chain(self.settings.serial.encode())
        for number in range(1, last + 1):
            chain = next_chain(chain, self.sent[number])
        return chain

    def segments(self) -> list[Path]:
        return sorted((self.root / "history").iterdir())

    def told(self) -> list[tuple[int, tuple]]:
        """``(kind, body)`` of all that was recorded."""
        found = []
        for data in self.sent.values():
            codes = BODIES[data[4]] or f"B{self.settings.n_cells}HHllhhhhhhHBL"
            found.append((data[4], struct.unpack("<" + codes, data[18:])))
        return found

    def fill(self, sizes: list[int]) -> None:
        """Segments of such sizes, each with one record; the next record begins one more."""
        for size in sizes:
            self.happens(0)
            self.history.store(0)
            path = self.segments()[-1]
            content = path.read_bytes()
            path.write_bytes(content + bytes(size - len(content)))
            self.history._folder.sizes[-1] = size
            self.history._is_new = True
        self.history._writes = 20

    def packet(self, number: int, words: int = 124) -> bytes | int:
        into = bytearray(4 + 2 * words)
        file, record = 1 + number // 10000, number % 10000
        n = self.history.file.read(file, record, words, into, 4)
        return n if n < 0 else bytes(into[4 : 4 + 2 * n])

    def read(self, first: int = 1) -> Kept:
        """Everything, as a gateway fetches it."""
        kept = Kept()
        serial, n_cells = self.settings.serial, self.settings.n_cells
        chain = Chain.of(serial)
        asked, last = first, self.history.file.last
        while asked <= last:
            data = self.packet(asked)
            assert isinstance(data, bytes), (asked, data)
            packet = decode_packet(data, n_cells, serial, asked)
            if chain.agrees(packet.chain, packet.first - 1) is False:
                kept.broken.append(packet.first)
            told = packet.chain
            for record, data in packet.records:
                kept.records[record.number] = data
                kept.kinds[record.number] = record.kind
                chain = chain.follows(record, data, told)
                told = None
            assert packet.first + len(packet.records) > asked
            asked = packet.first + len(packet.records)
        kept.chain = chain
        return kept
