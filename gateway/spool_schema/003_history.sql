-- The last record of each pack's history that is stored, and the chain's value behind it.
CREATE TABLE history (
    serial TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    chain BLOB
) WITHOUT ROWID;
