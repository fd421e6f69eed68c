"""Keeps the journal small: seals old ticks into compressed segments, forgets what is too old or too much. Stage: beside
the loop, once a minute.

It works on a connection of its own, in short transactions, so that no tick waits for it. A segment begins with a
keyframe and can be read alone.
"""

import sqlite3
import zlib
from dataclasses import dataclass
from pathlib import Path

from tenfold.estimators.minutes import MINUTE_S
from tenfold.loop.codec import pack
from tenfold.loop.store import open_to_write, told, transaction

SEGMENT_TICKS = 300
"""Five minutes of ticks in a segment: large enough to compress seven times, small enough to unpack in a few milliseconds."""
COMPRESSION = 6
EXPIRED_SEGMENTS_MAX = 4
"""At most so many segments expire by age in one go: a clock that is wrong for a minute does not cost a week of history."""
FILL_RATIO = 0.9
"""Beyond this share of the bound the oldest ticks go, so that the file stays below it between two looks."""
DAY_S = 86_400.0
LONG_KEPT = ("%.requests_per_s", "%@%:%", "levels.%")
"""What forecasts look at for two weeks (traffic, what apps post) and error budgets for thirty days, as SQL patterns of series."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept: `age_s` seconds and `size_bytes` of file, whichever is less. Seven days and 1 GB unless said otherwise. The few
    series that forecasts and service levels rest on are kept for `long_s`."""

    age_s: float = 7 * DAY_S
    long_s: float = 30 * DAY_S
    size_bytes: int = 1_000_000_000


RETENTION = Retention()


@dataclass(frozen=True, slots=True)
class Tidied:
    """What one look did: segments sealed and dropped, and the bytes in use after it (those of the write-ahead log included)."""

    sealed: int
    dropped: int
    used_bytes: int


def tidy(path: Path, retention: Retention = RETENTION, busy_s: float = 2.0) -> Tidied:
    """Bring the journal at `path` within `retention`. Raises `JournalError`; then nothing is lost and the next look goes on."""
    db = open_to_write(path, busy_s)
    try:
        with told(path, "tidied"):
            sealed = 0
            while _seal(db):
                sealed += 1
            dropped = _expire(db, retention) + _shrink(db, path, retention)
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            _give_back(db)
            return Tidied(sealed, dropped, _used_bytes(db, path))
    finally:
        db.close()


def _seal(db: sqlite3.Connection) -> bool:
    """Seal the oldest ticks up to a keyframe; False when there are too few. The last keyframe and what follows stay open."""
    first = db.execute("SELECT min(seq) FROM ticks").fetchone()[0]
    if first is None:
        return False
    end = db.execute("SELECT min(seq) FROM ticks WHERE is_keyframe AND seq >= ?", (first + SEGMENT_TICKS,)).fetchone()[
        0
    ]
    if end is None:
        return False
    rows = db.execute(
        "SELECT seq, at, epoch, model, is_keyframe, body FROM ticks WHERE seq < ? ORDER BY seq", (end,)
    ).fetchall()
    body = zlib.compress(pack(rows), COMPRESSION)
    with transaction(db):
        db.execute(
            "INSERT INTO segments VALUES (?, ?, ?, ?, ?)", (rows[0][0], rows[-1][0], rows[0][1], rows[-1][1], body)
        )
        db.execute("DELETE FROM ticks WHERE seq < ?", (end,))
    return True


def _expire(db: sqlite3.Connection, retention: Retention) -> int:
    newest = db.execute("SELECT at FROM ticks ORDER BY seq DESC LIMIT 1").fetchone()
    if newest is None:
        return 0
    oldest_at = newest[0] - retention.age_s
    old = db.execute(
        "SELECT first, last FROM segments WHERE last_at < ? ORDER BY first LIMIT ?", (oldest_at, EXPIRED_SEGMENTS_MAX)
    ).fetchall()
    for first, last in old:
        _drop(db, first, last)
    if old:
        with transaction(db):
            db.execute("DELETE FROM requests WHERE answered_at < ?", (oldest_at,))
            _expire_minutes(db, int(oldest_at // MINUTE_S), int((newest[0] - retention.long_s) // MINUTE_S))
    return len(old)


def _expire_minutes(db: sqlite3.Connection, oldest: int, oldest_long: int) -> None:
    """Forget minutes before `oldest`, and of the series that are kept for long those before `oldest_long`."""
    is_long = " OR ".join("series LIKE ?" for _ in LONG_KEPT)
    db.execute(f"DELETE FROM minutes WHERE minute < ? AND NOT ({is_long})", (oldest, *LONG_KEPT))
    db.execute("DELETE FROM minutes WHERE minute < ?", (oldest_long,))


def _shrink(db: sqlite3.Connection, path: Path, retention: Retention) -> int:
    dropped = 0
    while _used_bytes(db, path) > retention.size_bytes * FILL_RATIO:
        oldest = db.execute("SELECT first, last FROM segments ORDER BY first LIMIT 1").fetchone()
        if oldest is None:
            break
        _drop(db, *oldest)
        dropped += 1
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return dropped


def _drop(db: sqlite3.Connection, first: int, last: int) -> None:
    """Forget a segment and all that its ticks, and those before, have left in other tables."""
    with transaction(db):
        db.execute("DELETE FROM segments WHERE first = ?", (first,))
        for table in ("decisions", "receipts", "notes"):
            db.execute(f"DELETE FROM {table} WHERE tick <= ?", (last,))
        db.execute("DELETE FROM models WHERE last_tick <= ?", (last,))


def _used_bytes(db: sqlite3.Connection, path: Path) -> int:
    """Pages in use and the write-ahead log. Free pages are used again before the file grows."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    try:
        wal_bytes = path.with_name(path.name + "-wal").stat().st_size
    except FileNotFoundError:
        wal_bytes = 0
    return int((pages - free) * size) + wal_bytes


def _give_back(db: sqlite3.Connection) -> None:
    """Give pages back to the file system when more than a quarter of the file is free."""
    pages, free = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    if free > pages // 4 and free > 1000:
        db.execute(f"PRAGMA incremental_vacuum({free // 2})").fetchall()
