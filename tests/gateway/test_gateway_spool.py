"""The spool keeps what was committed, in bounds, and survives a damaged file."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from gateway.errors import UserError
from gateway.history import Progress
from gateway.spool import Record, Spool, migrations
from gateway.spool_writer import SpoolWriter

ROOM = 1 << 20


def record(seq, kind="state", size=10):
    return Record("EB-1", 1, seq, kind, b"x" * size)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool.db"


def seqs(spool):
    return [row.record.seq for row in spool.fetch(0, 100_000)]


def test_what_was_committed_is_there_after_opening_again(path):
    spool = Spool(path, ROOM)
    spool.commit([record(1), record(2)], [("EB-1", Progress(1, 2, frozenset({9})))], [])
    spool.close()
    spool = Spool(path, ROOM)
    assert seqs(spool) == [1, 2]
    assert spool.progress("EB-1") == Progress(1, 2, frozenset({9}))
    assert spool.progress("EB-2") is None
    spool.close()


def test_only_what_is_acknowledged_leaves(path):
    spool = Spool(path, ROOM)
    spool.commit([record(1), record(2), record(3)], [], [])
    rows = spool.fetch(0, 2)
    assert [row.record.seq for row in rows] == [1, 2]
    spool.commit([], [], [rows[0].id])
    assert seqs(spool) == [2, 3]
    assert [row.record.seq for row in spool.fetch(rows[1].id, 5)] == [3]
    spool.close()


def test_one_identity_is_kept_once(path):
    spool = Spool(path, ROOM)
    spool.commit([record(1)], [], [])
    spool.commit([record(1, size=99), record(1, kind="detail")], [], [])
    assert [row.record.payload for row in spool.fetch(0, 9)] == [b"x" * 10, b"x" * 10]
    spool.close()


def test_a_full_spool_keeps_the_newest_and_counts_the_lost(path):
    spool = Spool(path, ROOM)
    for start in range(0, 3000, 100):
        spool.commit([record(seq, size=1000) for seq in range(start, start + 100)], [], [])
    kept = seqs(spool)
    assert kept == list(range(kept[0], 3000))
    assert spool.lost() == kept[0] > 0
    assert len(kept) > 600, "most of the room is used"
    assert spool.used_bytes() <= ROOM
    spool.close()


def test_the_file_does_not_grow_beyond_its_bound_for_long(path):
    spool = Spool(path, ROOM)
    for start in range(0, 6000, 100):
        spool.commit([record(seq, size=1000) for seq in range(start, start + 100)], [], [])
    spool.close()
    assert path.stat().st_size < 1.5 * ROOM


@pytest.mark.parametrize("damage", ["header", "pages"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(path, damage, caplog):
    spool = Spool(path, ROOM)
    spool.commit([record(seq, size=1000) for seq in range(100)], [], [])
    spool.close()
    content = bytearray(path.read_bytes())
    start = 0 if damage == "header" else 4096
    content[start : start + 20_000] = b"\xa5" * 20_000
    path.write_bytes(content)
    spool = Spool(path, ROOM)
    spool.commit([record(7)], [], [])
    assert seqs(spool) == [7]
    spool.close()
    assert [p.name.startswith("spool.db.corrupt-") for p in path.parent.glob("*corrupt*")] == [
        True
    ]
    assert "set aside" in caplog.text


def test_a_second_gateway_on_one_spool_is_refused(path):
    spool = Spool(path, ROOM)
    spool.commit([record(1)], [], [])
    with pytest.raises(UserError, match="another gateway"):
        Spool(path, ROOM)
    spool.close()


def test_a_spool_of_a_newer_release_is_refused_untouched(path):
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(UserError, match="newer release"):
        Spool(path, ROOM)
    assert len(migrations()) < 99


def test_those_who_wait_share_a_commit_and_all_of_it_is_on_disk(path):
    spool = Spool(path, ROOM)
    commits = []
    commit = spool.commit
    spool.commit = lambda *args: commits.append(1) or commit(*args)

    async def scenario():
        writer = SpoolWriter(spool)
        task = asyncio.create_task(writer.run(lambda: None))
        await asyncio.gather(*(writer.store([record(seq)]) for seq in range(200)))
        assert len(await writer.fetch(0, 1000)) == 200
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    assert len(commits) < 5
    spool.close()


def test_a_store_that_failed_tells_who_stored_and_keeps_the_acknowledgements(path):
    spool = Spool(path, ROOM)
    spool.commit([record(1)], [], [])
    commit = spool.commit

    def full(*args):
        raise sqlite3.OperationalError("database or disk is full")

    async def scenario():
        writer = SpoolWriter(spool)
        task = asyncio.create_task(writer.run(lambda: None))
        spool.commit = full
        writer.acknowledge(1)
        with pytest.raises(sqlite3.OperationalError):
            await writer.store([record(2)])
        spool.commit = commit
        await writer.store([record(3)])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    assert seqs(spool) == [3]
    spool.close()


def test_what_no_broker_takes_leaves_the_queue_and_only_the_newest_is_kept(tmp_path):
    with closing(Spool(tmp_path / "spool.db", 64 << 20)) as spool:
        spool.commit([Record("EB-1", 1, seq, "state", b"%d" % seq) for seq in range(130)], [], [])
        for row in spool.fetch(0, 120):
            spool.commit([], [], [], [(row.id, "Payload format invalid")])
        assert spool.waiting() == 10
        assert spool.set_aside() == 120
        kept = spool._database.execute("SELECT seq, reason FROM aside ORDER BY id").fetchall()
        assert kept == [(seq, "Payload format invalid") for seq in range(20, 120)]


def damage(spool):
    """Spoil every page but the first, as a dying flash card does."""
    spool._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spool._database.execute("PRAGMA shrink_memory")
    data = bytearray(spool.path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    spool.path.write_bytes(data)


@pytest.mark.parametrize("how", ["commit", "fetch"])
def test_a_file_that_breaks_while_it_is_used_is_replaced_and_no_row_number_comes_twice(path, how):
    with closing(Spool(path, ROOM)) as spool:
        spool.commit([record(seq) for seq in range(5)], [], [])
        under_way = [row.id for row in spool.fetch(0, 5)]
        damage(spool)
        if how == "fetch":
            assert spool.fetch(0, 5) == []
        spool.commit([record(7)], [], [])
        spool.commit([], [], under_way)  # acknowledgements of what was sent from the old file
        assert [row.record.seq for row in spool.fetch(max(under_way), 5)] == [7]
    assert len(list(path.parent.glob("spool.db.corrupt-*"))) >= 1


def test_a_full_disk_refuses_a_commit_whole_and_takes_it_when_there_is_room(path):
    with closing(Spool(path, ROOM)) as spool:
        pages = spool._database.execute("PRAGMA page_count").fetchone()[0]
        spool._database.execute(f"PRAGMA max_page_count = {pages}")
        many = [Record("EB-1", 1, seq, "state", b"x" * 3000) for seq in range(20)]
        progress = [("EB-1", Progress(1, 19))]
        with pytest.raises(sqlite3.OperationalError, match="full"):
            spool.commit(many, progress, [])
        assert spool.waiting() == 0
        assert spool.progress("EB-1") is None
        spool._database.execute("PRAGMA max_page_count = 100000")
        spool.commit(many, progress, [])
        assert spool.waiting() == 20
