"""The journal's file: its tables, how it is opened, and its errors as sentences. Stage: under writer, readers and
upkeep of the journal.

One SQLite file in WAL mode: one writer and any number of readers never wait for one another. `synchronous=NORMAL`: a
commit survives the death of every process; only a loss of power can take the last commits with it, and that takes the
processes they speak of too. In return a tick costs no wait for the disk.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCHEMA_VERSION = 1
APPLICATION_ID = 0x54464A31
"""What marks the file as Tenfold's journal (`TFJ1`)."""

LOG_PAGES_MAX = 4000
"""A write-ahead log of 16 MB is written back by the tick that finds it; the upkeep does it long before, where no tick waits."""

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE ticks (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, epoch INTEGER NOT NULL, model TEXT NOT NULL,
    is_keyframe INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE segments (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, first_at REAL NOT NULL, last_at REAL NOT NULL, body BLOB NOT NULL);
CREATE TABLE decisions (n INTEGER PRIMARY KEY, tick INTEGER NOT NULL, at REAL NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX decisions_by_id ON decisions (id);
CREATE INDEX decisions_by_tick ON decisions (tick);
CREATE TABLE receipts (
    n INTEGER PRIMARY KEY, tick INTEGER NOT NULL, key TEXT NOT NULL, decision TEXT NOT NULL,
    outcome TEXT NOT NULL, at REAL NOT NULL, note TEXT NOT NULL);
CREATE INDEX receipts_by_key ON receipts (key);
CREATE INDEX receipts_by_decision ON receipts (decision);
CREATE TABLE requests (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at REAL NOT NULL, body BLOB NOT NULL,
    answered_at REAL, ok INTEGER, text TEXT);
CREATE INDEX requests_open ON requests (n) WHERE answered_at IS NULL;
CREATE TABLE releases (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body BLOB NOT NULL, removed_at REAL);
CREATE TABLE models (digest TEXT PRIMARY KEY, body BLOB NOT NULL, last_tick INTEGER) WITHOUT ROWID;
CREATE TABLE notes (n INTEGER PRIMARY KEY, tick INTEGER NOT NULL, at REAL NOT NULL, text TEXT NOT NULL);
CREATE TABLE minutes (minute INTEGER NOT NULL, series TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (minute, series)) WITHOUT ROWID;
"""


class JournalError(Exception):
    """The journal can't be read or written now. Its text is one sentence that says what to do next."""


class JournalMissing(JournalError):
    """There is no journal: nothing has run here yet."""


_NEXT = {
    "SQLITE_FULL": "the disk is full: free some space and it goes on by itself",
    "SQLITE_READONLY": "it may only be read: give this user the right to write it and its folder",
    "SQLITE_CANTOPEN": "it can't be opened: check that its folder exists and that this user may write there",
    "SQLITE_PERM": "this user may not open it: check the rights of the file and its folder",
    "SQLITE_AUTH": "this user may not open it: check the rights of the file and its folder",
    "SQLITE_BUSY": "another program keeps it locked: close what has it open (sqlite3, a backup) and it goes on by itself",
    "SQLITE_LOCKED": "another program keeps it locked: close what has it open (sqlite3, a backup) and it goes on by itself",
    "SQLITE_CORRUPT": "it is damaged: move it away and run `tenfold up`, which takes over what runs and begins a new one",
    "SQLITE_NOTADB": "it is not a journal: move it away and run `tenfold up`, which takes over what runs and begins a new one",
    "SQLITE_IOERR": "the disk gives errors: check its space, its limits (ulimit -f) and the system's log",
}


def sentence(path: Path, doing: str, error: sqlite3.Error) -> str:
    """What went wrong with the journal at `path` while `doing` (`written`, `read`), and what to do next."""
    name = getattr(error, "sqlite_errorname", "") or ""
    for prefix, advice in _NEXT.items():
        if name.startswith(prefix):
            return f"the journal {path} can't be {doing}: {advice}"
    return f"the journal {path} can't be {doing}: {error}; move it away and run `tenfold up` to begin a new one"


def damaged(path: Path, detail: str) -> JournalError:
    """The error for content that can't be understood; `detail` says what."""
    return JournalError(
        f"the journal {path} is damaged ({detail}): move it away and run `tenfold up`, which takes over what runs and begins a new one"
    )


@contextmanager
def told(path: Path, doing: str) -> Iterator[None]:
    """Turn SQLite's errors of the block into a `JournalError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(sentence(path, doing, error)) from error


@contextmanager
def transaction(db: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """All of the block or nothing. `BEGIN` alone makes several reads see one moment."""
    db.execute(begin)
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.rollback()
        raise
    try:
        db.execute("COMMIT")
    except sqlite3.Error:
        if db.in_transaction:
            db.rollback()
        raise


def open_to_write(path: Path, busy_s: float) -> sqlite3.Connection:
    """Open the journal, made if it is absent, waiting for another's lock `busy_s` at the most. Raises `JournalError`."""
    with told(path, "opened"):
        db = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
        try:
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                _create(db, path)
            check_version(db, path)
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES_MAX}")
            db.execute(f"PRAGMA journal_size_limit={LOG_PAGES_MAX * 4096}")
        except (sqlite3.Error, JournalError):
            db.close()
            raise
        return db


def _create(db: sqlite3.Connection, path: Path) -> None:
    # Both of one moment: another process may be making it.
    with transaction(db, "BEGIN"):
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version:
        return
    if tables:
        raise JournalError(f"{path} is another program's database: move it away and run `tenfold up` again")
    db.execute("PRAGMA auto_vacuum=INCREMENTAL")
    db.execute("PRAGMA journal_mode=WAL")
    with transaction(db):
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def open_to_read(path: Path, busy_s: float = 5.0) -> sqlite3.Connection:
    """Open the journal to read it. Raises `JournalMissing` when there is none, `JournalError` otherwise."""
    if not path.exists():
        raise JournalMissing(f"nothing has run here yet ({path} is absent): start with `tenfold up`")
    with told(path, "read"):
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=busy_s, isolation_level=None)
        try:
            _check_begun(db, path)
            check_version(db, path)
        except (sqlite3.Error, JournalError):
            db.close()
            raise
        return db


def _check_begun(db: sqlite3.Connection, path: Path) -> None:
    """Raise `JournalMissing` while the file is there and empty: its writer is about to fill it, in one transaction."""
    if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise JournalMissing(f"nothing has run here yet ({path} is empty): start with `tenfold up`")


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """Raise `JournalError` unless this program can read the journal."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"the journal {path} was written by a newer Tenfold (format {version}, this one knows {SCHEMA_VERSION}): upgrade tenfold"
        )
    if version != SCHEMA_VERSION or db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise JournalError(f"{path} is not Tenfold's journal: move it away and run `tenfold up` again")
