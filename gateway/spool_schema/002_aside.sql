-- What no broker would take, the newest only; the counter "aside" has them all.
CREATE TABLE aside (
    id INTEGER PRIMARY KEY,
    serial TEXT NOT NULL,
    boot INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    payload BLOB NOT NULL,
    reason TEXT NOT NULL
);
