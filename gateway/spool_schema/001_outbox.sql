-- What waits for the broker's acknowledgement, oldest first.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    serial TEXT NOT NULL,
    boot INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE (serial, boot, seq, kind)
);

-- How far each pack is collected; ahead is a JSON list of sequence numbers.
CREATE TABLE progress (
    serial TEXT PRIMARY KEY,
    boot INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    ahead TEXT NOT NULL
) WITHOUT ROWID;

-- What was lost because there was no room.
CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
