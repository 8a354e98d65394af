"""What waits for the broker, on disk: SQLite, write-ahead log, every commit synchronous.

The spool owns the truth: a message leaves it only when the broker has acknowledged it. How far a
pack is collected is written in the same transaction as its readings, so that a gateway killed at
any moment fetches again exactly what had not reached the disk.

It is bounded: when the file is full the oldest messages go, and are counted. A file that SQLite
cannot read is set aside under another name, reported, and a new one begun.

    spool = Spool(Path("spool.db"), max_bytes=64 << 20)
    spool.commit([Record("EB-1", 3, 120, "state", b"{}")], [("EB-1", Progress(3, 120))], [])
    rows = spool.fetch(after_id=0, limit=20)
    spool.commit([], [], [rows[0].id])

``Spool`` blocks; ``spool_writer.SpoolWriter`` gives it a thread and groups commits.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from gateway.errors import UserError
from gateway.history import Progress
from gateway.history_packets import Chain

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

log = logging.getLogger(__name__)

SIDE_FILES = ("-wal", "-shm")
EVICT_SHARE = 20  # one in so many goes when the spool is full
EVICT_LEAST = 16
ASIDE_MOST = 100  # messages no broker takes that are kept to be looked at
WAL_MAX_BYTES = 4 << 20
_MALFORMED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True)
class Record:
    """One message that must reach the broker; the first four fields are its identity."""

    serial: str
    boot: int
    seq: int
    kind: str
    payload: bytes


@dataclass(frozen=True)
class Row:
    """A record in the spool, in the order it came."""

    id: int
    record: Record


def _is_malformed(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _MALFORMED


def _check(database: sqlite3.Connection) -> None:
    """``sqlite3.DatabaseError`` marked as corrupt when SQLite finds the file damaged."""
    verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        broken = sqlite3.DatabaseError(verdict)
        broken.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise broken


class Spool:
    """The file. Not for two threads at once."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._highest_id = 0  # of the rows that were handed out
        self._database = self._open()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def commit(
        self,
        records: Iterable[Record],
        progress: Iterable[tuple[str, Progress]],
        acknowledged: Iterable[int],
        aside: Iterable[tuple[int, str]] = (),
        history: Iterable[tuple[str, Chain]] = (),
    ) -> None:
        """Store, remember and delete in one transaction that is on disk on return.

        ``aside`` are rows that no broker takes, with the reason: they leave the queue.
        A record whose identity is already here is dropped. ``sqlite3.Error`` when nothing could
        be written; then nothing has changed.
        """
        records, progress, acknowledged = list(records), list(progress), list(acknowledged)
        history = list(history)
        try:
            self._commit(records, progress, acknowledged, list(aside), history)
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)
            self._commit(records, progress, [], [], history)

    def fetch(self, after_id: int, limit: int) -> list[Row]:
        """Up to ``limit`` records behind ``after_id``, oldest first."""
        try:
            rows = self._database.execute(
                "SELECT id, serial, boot, seq, kind, payload FROM outbox WHERE id > ? "
                "ORDER BY id LIMIT ?",
                (after_id, limit),
            ).fetchall()
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)
            return []
        if rows:
            self._highest_id = max(self._highest_id, rows[-1][0])
        return [Row(row[0], Record(*row[1:])) for row in rows]

    def progress(self, serial: str) -> Progress | None:
        """How far the pack is collected; ``None`` for one never seen."""
        row = self._database.execute(
            "SELECT boot, seq, ahead FROM progress WHERE serial = ?", (serial,)
        ).fetchone()
        return Progress(row[0], row[1], frozenset(json.loads(row[2]))) if row else None

    def history(self, serial: str) -> Chain | None:
        """How far the pack's history is collected; ``None`` for one never seen."""
        row = self._database.execute(
            "SELECT number, chain FROM history WHERE serial = ?", (serial,)
        ).fetchone()
        return Chain(*row) if row else None

    def waiting(self) -> int:
        """Messages that wait."""
        return int(self._database.execute("SELECT count(*) FROM outbox").fetchone()[0])

    def lost(self) -> int:
        """Messages that were dropped, ever, because the spool was full."""
        return self._counter("lost")

    def set_aside(self) -> int:
        """Messages that were set aside, ever, because no broker took them."""
        return self._counter("aside")

    def _counter(self, name: str) -> int:
        row = self._database.execute(
            "SELECT value FROM counter WHERE name = ?", (name,)
        ).fetchone()
        return int(row[0]) if row else 0

    def _count(self, name: str, count: int) -> None:
        self._database.execute(
            "INSERT INTO counter VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, count),
        )

    def used_bytes(self) -> int:
        """Bytes of the file that hold something."""
        pages, free, size = (
            int(self._database.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def _commit(
        self,
        records: list[Record],
        progress: list[tuple[str, Progress]],
        acknowledged: list[int],
        aside: list[tuple[int, str]],
        history: list[tuple[str, Chain]],
    ) -> None:
        database = self._database
        with database:
            database.execute("BEGIN IMMEDIATE")
            if aside:
                self._move_aside(aside)
            gone = [*acknowledged, *(row_id for row_id, _ in aside)]
            database.executemany("DELETE FROM outbox WHERE id = ?", [(n,) for n in gone])
            database.executemany(
                "INSERT OR IGNORE INTO outbox (serial, boot, seq, kind, payload) "
                "VALUES (?, ?, ?, ?, ?)",
                [(r.serial, r.boot, r.seq, r.kind, r.payload) for r in records],
            )
            database.executemany(
                "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?)",
                [(serial, p.boot, p.seq, json.dumps(sorted(p.ahead))) for serial, p in progress],
            )
            database.executemany(
                "INSERT OR REPLACE INTO history VALUES (?, ?, ?)",
                [(serial, chain.number, chain.value) for serial, chain in history],
            )
            if records:
                self._make_room()

    def _move_aside(self, aside: list[tuple[int, str]]) -> None:
        self._database.executemany(
            "INSERT OR IGNORE INTO aside "
            "SELECT id, serial, boot, seq, kind, payload, ? FROM outbox WHERE id = ?",
            [(reason, row_id) for row_id, reason in aside],
        )
        self._database.execute(
            "DELETE FROM aside WHERE id NOT IN (SELECT id FROM aside ORDER BY id DESC LIMIT ?)",
            (ASIDE_MOST,),
        )
        self._count("aside", len(aside))

    def _make_room(self) -> None:
        """Drop the oldest until the rest fits."""
        while self.used_bytes() > self.max_bytes:
            waiting = self.waiting()
            if waiting <= 1:
                return
            share = min(max(EVICT_LEAST, waiting // EVICT_SHARE), waiting - 1)
            self._database.execute(
                "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT ?)",
                (share,),
            )
            self._count("lost", share)
            log.error("spool full at %d bytes: %d oldest messages lost", self.max_bytes, share)

    def _open(self) -> sqlite3.Connection:
        try:
            return self._open_checked()
        except sqlite3.DatabaseError as error:
            if not _is_malformed(error):
                raise UserError(
                    f"spool {self.path}: {error} (is another gateway running on this folder, or "
                    "is it not writable?)"
                ) from error
            self._set_aside(str(error))
        return self._open_checked()

    def _open_checked(self) -> sqlite3.Connection:
        # transactions are begun by hand, in one place
        database = sqlite3.connect(
            self.path, timeout=2.0, isolation_level=None, check_same_thread=False
        )
        try:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute(f"PRAGMA journal_size_limit = {WAL_MAX_BYTES}")
            _check(database)
            self._migrate(database)
        except BaseException:
            database.close()
            raise
        return database

    def _migrate(self, database: sqlite3.Connection) -> None:
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        steps = migrations()
        if version > len(steps):
            raise UserError(
                f"spool {self.path}: written by a newer release (schema {version}, this one knows "
                f"{len(steps)}): install that release again or move the file away"
            )
        for number, script in enumerate(steps[version:], version + 1):
            database.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        """Replace a damaged file by a new one; any other ``error`` goes on its way."""
        if not _is_malformed(error):
            raise error
        self._database.close()
        self._set_aside(str(error))
        self._database = self._open()
        # no row may bear the number of one that was handed out and is still to be acknowledged
        self._database.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)", (self._highest_id,)
        )

    def _set_aside(self, reason: str) -> None:
        aside = self.path.with_name(f"{self.path.name}.corrupt-{int(time.time())}")
        log.error("spool %s cannot be read (%s): set aside as %s", self.path, reason, aside)
        self.path.rename(aside)
        for suffix in SIDE_FILES:
            side = self.path.with_name(self.path.name + suffix)
            if side.exists():
                side.rename(aside.with_name(aside.name + suffix))


def migrations() -> list[str]:
    """The SQL of every step, in order; step n takes the schema from n - 1 to n."""
    folder = resources.files("gateway") / "spool_schema"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [file.read_text() for file in files]
