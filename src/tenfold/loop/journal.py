"""Writes the journal: one tick, all of it or nothing, before anything is done about it.
Stage: between deciding and acting.

What a tick decides on is first passed through `seen` and `remembered`, so that a reader of the journal gets exactly
what the decider had. After any failure the file is opened anew and the next tick is a keyframe: nothing depends on what
the failed write may have left.
"""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.deciders.decide import Decided
from tenfold.deciders.memory import Memory
from tenfold.effects import AnswerRequest, Outcome, Receipt
from tenfold.facts import PersonRequest, Snapshot
from tenfold.loop.codec import CodecError
from tenfold.loop.store import JournalError, damaged, open_to_write, told, transaction
from tenfold.loop.tick import (
    DECISIONS,
    MODELS,
    NOTHING,
    RELEASES,
    REQUESTS,
    Row,
    State,
    Tick,
    read_row,
)
from tenfold.model import Model, Release

KEYFRAME_TICKS = 60
"""A keyframe each minute: a reader patches at most this many changes, and a keyframe of 20 instances costs as much as 4 ticks."""
BUSY_S = 0.25
"""How long a tick waits for another program's lock before it holds."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something the loop itself has to tell: a hold, a clock that jumped, an observer that fails. `text` is a sentence."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Everything one tick adds to the journal.

    `receipts` come with the decision that sent their order; `removed` are releases whose files are gone; `minutes` is history by minute
    (seconds since the epoch / 60) and series.
    """

    model: Model
    snapshot: Snapshot
    decided: Decided
    receipts: Sequence[tuple[Receipt, str]] = ()
    notes: Sequence[Note] = ()
    removed: Sequence[str] = ()
    minutes: Mapping[tuple[int, str], float] = field(default_factory=dict)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


class Journal:
    """The journal at `path`, for the one process that holds the lease."""

    def __init__(self, path: Path) -> None:
        """Opens nothing yet; see `open`."""
        self.path = path
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._state = NOTHING
        self._seq = 0
        self._ticks_since_keyframe = KEYFRAME_TICKS
        self._digest: tuple[Model, str] | None = None
        self._version = -1
        self._requests: dict[str, PersonRequest] = {}
        self._releases: dict[str, Release] = {}
        self._unreadable: tuple[str, ...] = ()

    def open(self) -> None:
        """Open the journal, made if absent, and find the last memory. Raises `JournalError`."""
        self._connect()
        self._recover()

    def close(self) -> None:
        """Let go of the file; safe to call twice."""
        if self._db is not None:
            self._db.close()
            self._db = None

    @property
    def memory(self) -> Memory:
        """The memory of the last tick that was written; empty when there is none."""
        return self._state.memory

    @property
    def seq(self) -> int:
        """The number of the last tick that was written; 0 when there is none."""
        return self._seq

    def epoch(self) -> int:
        """The newest lease epoch that wrote here: a new lease begins above it. Raises `JournalError`."""
        with told(self.path, "read"):
            row = self._connect().execute("SELECT epoch FROM ticks ORDER BY seq DESC LIMIT 1").fetchone()
        return 0 if row is None else int(row[0])

    def seen(self, snapshot: Snapshot) -> Snapshot:
        """`snapshot` as the journal will give it back: what to decide on."""
        return self._state.seen(snapshot)

    def changed(self) -> bool:
        """True when another process wrote to the journal since the last look: there may be a request. Raises `JournalError`."""
        with told(self.path, "read"):
            return self._data_version(self._connect()) != self._version

    def requests(self) -> Mapping[str, PersonRequest]:
        """The requests that wait for an answer, by id, oldest first. Raises `JournalError`."""
        self._look()
        return self._requests

    def releases(self) -> Mapping[str, Release]:
        """The releases whose files are kept, by id, oldest first. Raises `JournalError`."""
        self._look()
        return self._releases

    def append(self, entry: Entry) -> Tick:
        """Write one tick. Raises `JournalError` when it can't be: then nothing of it is there, and nothing may be done about it."""
        memory = self._state.remembered(entry.decided.memory)
        is_keyframe = self._ticks_since_keyframe >= KEYFRAME_TICKS
        body = self._state.body(entry.snapshot, memory, entry.decided.rejected, is_keyframe)
        try:
            db = self._connect()
            self._check_file()
            with told(self.path, "written"), transaction(db):
                digest = self._write_model(db, entry.model)
                at, epoch = entry.snapshot.taken_at, entry.snapshot.epoch
                row = Row(self._seq + 1, at, epoch, digest, is_keyframe, body)
                db.execute(
                    "INSERT INTO ticks VALUES (?, ?, ?, ?, ?, ?)", (row.seq, at, epoch, digest, row.is_keyframe, body)
                )
                self._write_rest(db, row, entry)
        except JournalError:
            self._fail()
            raise
        before, self._state = self._state, State(entry.snapshot, memory)
        self._seq = row.seq
        self._ticks_since_keyframe = 1 if is_keyframe else self._ticks_since_keyframe + 1
        return Tick(
            seq=row.seq,
            at=at,
            epoch=epoch,
            model=digest,
            snapshot=entry.snapshot,
            memory_before=before.memory,
            memory=memory,
            decisions=entry.decided.decisions,
            rejected=entry.decided.rejected,
        )

    def _connect(self) -> sqlite3.Connection:
        if self._db is None:
            db = open_to_write(self.path, BUSY_S)
            with told(self.path, "opened"):
                newest = "SELECT max(coalesce((SELECT max(seq) FROM ticks), 0), coalesce((SELECT max(last) FROM segments), 0))"
                self._seq = max(self._seq, db.execute(newest).fetchone()[0])
                self._carry_over(db)
            self._db, self._file = db, _identity(self.path)
            self._version = -1
            self._ticks_since_keyframe = KEYFRAME_TICKS
        return self._db

    def _carry_over(self, db: sqlite3.Connection) -> None:
        """Give a file that took another's place the releases that are known: instances of one it lacks would be let go."""
        there = {id_ for (id_,) in db.execute("SELECT id FROM releases")}
        lacking = [(id_, RELEASES.encode(release)) for id_, release in self._releases.items() if id_ not in there]
        if lacking:
            with transaction(db):
                db.executemany("INSERT OR IGNORE INTO releases (id, body) VALUES (?, ?)", lacking)

    def _fail(self) -> None:
        """Begin afresh with the next tick."""
        self.close()
        self._version = -1
        self._ticks_since_keyframe = KEYFRAME_TICKS

    def _check_file(self) -> None:
        """A file that was removed goes on taking writes which nobody will ever read."""
        if _identity(self.path) != self._file:
            raise JournalError(
                f"the journal {self.path} was removed or replaced while Tenfold was running: put it back, or a new one is begun"
            )

    def _recover(self) -> None:
        db = self._connect()
        state = NOTHING
        try:
            with told(self.path, "read"):
                rows = db.execute(
                    "SELECT seq, at, epoch, model, is_keyframe, body FROM ticks"
                    " WHERE seq >= (SELECT max(seq) FROM ticks WHERE is_keyframe) ORDER BY seq"
                ).fetchall()
            for values in rows:
                tick = read_row(Row(*values), state, {})
                state = State(tick.snapshot, tick.memory)
        except CodecError as error:
            self.close()
            raise damaged(self.path, str(error)) from error
        self._state = state

    @staticmethod
    def _data_version(db: sqlite3.Connection) -> int:
        return int(db.execute("PRAGMA data_version").fetchone()[0])

    def _look(self) -> None:
        """Read requests and releases again when they may have changed."""
        try:
            with told(self.path, "read"):
                db = self._connect()
                version = self._data_version(db)
                if version == self._version:
                    return
                waiting = db.execute("SELECT id, body FROM requests WHERE answered_at IS NULL ORDER BY n").fetchall()
                kept = db.execute("SELECT id, body FROM releases WHERE removed_at IS NULL ORDER BY n").fetchall()
        except JournalError:
            self._fail()
            raise
        requests, unreadable = {}, []
        for request, body in waiting:
            try:
                requests[request] = self._requests.get(request) or REQUESTS.decode(body)
            except CodecError:
                unreadable.append(request)
        try:
            releases = {release: self._releases.get(release) or RELEASES.decode(body) for release, body in kept}
        except CodecError as error:
            raise damaged(self.path, str(error)) from error
        self._requests, self._unreadable = requests, tuple(unreadable)
        self._releases = self._releases if releases == self._releases else releases
        self._version = version

    def _write_model(self, db: sqlite3.Connection, model: Model) -> str:
        if self._digest is not None and self._digest[0] is model and self._ticks_since_keyframe < KEYFRAME_TICKS:
            return self._digest[1]
        body = MODELS.encode(model)
        digest = hashlib.sha256(body).hexdigest()[:16]
        db.execute("UPDATE models SET last_tick = ? WHERE last_tick IS NULL AND digest != ?", (self._seq, digest))
        db.execute(
            "INSERT INTO models VALUES (?, ?, NULL) ON CONFLICT (digest) DO UPDATE SET last_tick = NULL", (digest, body)
        )
        self._digest = (model, digest)
        return digest

    def _write_rest(self, db: sqlite3.Connection, row: Row, entry: Entry) -> None:
        decisions = entry.decided.decisions
        if decisions:
            db.executemany(
                "INSERT INTO decisions (tick, at, id, body) VALUES (?, ?, ?, ?)",
                [(row.seq, row.at, d.id, DECISIONS.encode(d)) for d in decisions],
            )
        if entry.receipts:
            db.executemany(
                "INSERT INTO receipts (tick, key, decision, outcome, at, note) VALUES (?, ?, ?, ?, ?, ?)",
                [(row.seq, r.key, decision, Outcome(r.outcome).value, r.at, r.note) for r, decision in entry.receipts],
            )
        if entry.notes:
            db.executemany(
                "INSERT INTO notes (tick, at, text) VALUES (?, ?, ?)", [(row.seq, n.at, n.text) for n in entry.notes]
            )
        if entry.minutes:
            db.executemany(
                "INSERT OR REPLACE INTO minutes VALUES (?, ?, ?)",
                [(minute, series, value) for (minute, series), value in entry.minutes.items()],
            )
        answers = [e for d in decisions for e in d.effects if isinstance(e, AnswerRequest)]
        told_off = "this program can't read the request: make it again with the tenfold that runs the app"
        answers += [AnswerRequest(request, False, told_off) for request in self._unreadable]
        for answer in answers:
            db.execute(
                "UPDATE requests SET answered_at = ?, ok = ?, text = ? WHERE id = ? AND answered_at IS NULL",
                (row.at, answer.ok, answer.text, answer.request),
            )
        for release in entry.removed:
            db.execute("UPDATE releases SET removed_at = ? WHERE id = ?", (row.at, release))
        if answers or entry.removed:
            self._version = -1
