"""Reads the journal, while the loop writes it or after. Stage: what every command that looks back begins with.

Every answer is of one moment. Ticks are read chunk by chunk (a sealed segment, or a keyframe and its changes), so that
reading a week holds up nobody.
"""

import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tenfold.effects import Decision, Outcome, Receipt
from tenfold.estimators.minutes import MINUTE_S
from tenfold.facts import PersonRequest, Window
from tenfold.loop.codec import CodecError, unpack
from tenfold.loop.desk import Answer
from tenfold.loop.journal import Note
from tenfold.loop.store import damaged, open_to_read, told, transaction
from tenfold.loop.tick import DECISIONS, MODELS, NOTHING, REJECTIONS, RELEASES, REQUESTS, Row, State, Tick, read_row
from tenfold.model import Model, Release

NEWEST = 2**62
"""Beyond every tick."""
BATCH = 500
"""So many values are asked for at once."""


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A decision, and the tick that made it."""

    tick: int
    at: float
    decision: Decision


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """A receipt, the tick that saw it, and the decision whose order it ends."""

    tick: int
    decision: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request, and its answer once it has one."""

    request: PersonRequest
    answer: Answer | None


class JournalReader:
    """Reads the journal at `path`. Raises `JournalMissing` when there is none; every method raises `JournalError` when it can't be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = open_to_read(path)

    def __enter__(self) -> "JournalReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def span(self) -> tuple[int, int] | None:
        """The numbers of the first and the last tick that are kept; None when there is none yet."""
        with told(self._path, "read"):
            first, last = self._db.execute(
                "SELECT coalesce((SELECT min(first) FROM segments), (SELECT min(seq) FROM ticks)),"
                " coalesce((SELECT max(seq) FROM ticks), (SELECT max(last) FROM segments))"
            ).fetchone()
        return None if first is None else (first, last)

    def latest(self) -> Tick | None:
        """The newest tick; None when there is none yet."""
        span = self.span()
        return None if span is None else self.tick(span[1])

    def times(self) -> tuple[float, float] | None:
        """When the first and the last tick that are kept were taken (seconds since the epoch); None when there is none yet."""
        with told(self._path, "read"):
            first, last = self._db.execute(
                "SELECT coalesce((SELECT first_at FROM segments ORDER BY first LIMIT 1), (SELECT at FROM ticks ORDER BY seq LIMIT 1)),"
                " coalesce((SELECT at FROM ticks ORDER BY seq DESC LIMIT 1), (SELECT last_at FROM segments ORDER BY first DESC LIMIT 1))"
            ).fetchone()
        return None if first is None else (first, last)

    def tick(self, seq: int) -> Tick | None:
        """Tick number `seq`; None when it is not kept."""
        return next((t for t in self.ticks(seq, seq)), None)

    def at(self, moment: float) -> int | None:
        """The number of the last tick taken at or before `moment` (seconds since the epoch); None when none is kept."""
        with told(self._path, "read"), transaction(self._db, "BEGIN"):
            row = self._db.execute("SELECT max(seq) FROM ticks WHERE at <= ?", (moment,)).fetchone()
            if row[0] is not None:
                return int(row[0])
            row = self._db.execute(
                "SELECT first FROM segments WHERE first_at <= ? ORDER BY first DESC LIMIT 1", (moment,)
            ).fetchone()
            if row is None:
                return None
            body = self._db.execute("SELECT body FROM segments WHERE first = ?", row).fetchone()[0]
        return max(r.seq for r in self._unseal(body) if r.at <= moment)

    def ticks(self, first: int, last: int) -> Iterator[Tick]:
        """The ticks `first`..`last` that are kept, in order, each whole."""
        seq = first
        while seq <= last:
            rows, decisions = self._chunk(seq)
            if not rows or rows[-1].seq < seq:
                return
            state = NOTHING
            # Nothing before the last keyframe up to it is needed to read `seq`.
            begin = max((i for i, row in enumerate(rows) if row.is_keyframe and row.seq <= seq), default=0)
            try:
                for row in rows[begin:]:
                    tick = read_row(row, state, decisions)
                    state = State(tick.snapshot, tick.memory)
                    if first <= tick.seq <= last:
                        yield tick
            except CodecError as error:
                raise damaged(self._path, str(error)) from error
            seq = rows[-1].seq + 1

    def decisions(
        self, after_tick: int = 0, limit: int = 1000, up_to_tick: int = NEWEST, before: str = ""
    ) -> Sequence[DecisionRow]:
        """The newest `limit` decisions of ticks after `after_tick` up to `up_to_tick`, oldest first; with `before` only those made before
        the newest decision of that id."""
        where, values = "tick > ? AND tick <= ?", [after_tick, up_to_tick]
        if before:
            where += " AND n < (SELECT max(n) FROM decisions WHERE id = ?)"
        made = self._decisions(
            f"WHERE {where} ORDER BY n DESC LIMIT ?", (*values, *([before] if before else []), limit)
        )
        return made[::-1]

    def find_decision(self, decision: str) -> DecisionRow | None:
        """The newest decision of that id; None when it is not kept."""
        found = self._decisions("WHERE id = ? ORDER BY n DESC LIMIT 1", (decision,))
        return found[0] if found else None

    def receipts(self, decision: str) -> Sequence[ReceiptRow]:
        """How the orders of a decision ended, oldest first."""
        return self._receipts("WHERE decision = ? ORDER BY n", (decision,))

    def outcomes(self, decisions: Sequence[str], up_to_tick: int = NEWEST) -> Mapping[str, Mapping[str, str]]:
        """How the effects of each of these decisions had ended by tick `up_to_tick`: by decision and effect key, the outcome."""
        found: dict[str, dict[str, str]] = {}
        with told(self._path, "read"):
            for some in _batches(decisions):
                rows = self._db.execute(
                    f"SELECT decision, key, outcome FROM receipts WHERE decision IN ({_marks(some)}) AND tick <= ? ORDER BY n",
                    (*some, up_to_tick),
                )
                for decision, key, outcome in rows:
                    found.setdefault(decision, {})[key] = outcome
        return found

    def ordered_by(self, keys: Sequence[str]) -> Mapping[str, str]:
        """The decision whose order of that key ended first, by key; a key without a receipt is absent."""
        found: dict[str, str] = {}
        with told(self._path, "read"):
            for some in _batches(keys):
                rows = self._db.execute(
                    f"SELECT key, decision FROM receipts WHERE key IN ({_marks(some)}) ORDER BY n DESC", some
                )
                found.update(rows.fetchall())
        return found

    def rejections(self, ticks: Iterable[int]) -> Mapping[str, int]:
        """How many effects of each decision of these ticks another one came before; a decision without any is absent."""
        counts: Counter[str] = Counter()
        wanted = sorted(set(ticks))
        while wanted:
            rows, _ = self._chunk(wanted[0], with_decisions=False)
            if not rows:
                break
            here = {seq for seq in wanted if seq <= rows[-1].seq}
            try:
                for row in rows:
                    if row.seq in here and "r" in (plain := unpack(row.body)):
                        counts.update(rejection.decision for rejection in REJECTIONS.load(plain["r"]))
            except CodecError as error:
                raise damaged(self._path, str(error)) from error
            wanted = [seq for seq in wanted if seq > rows[-1].seq]
        return counts

    def receipts_since(self, after_tick: int, limit: int = 1000) -> Sequence[ReceiptRow]:
        """The newest `limit` receipts of ticks after `after_tick`, oldest first."""
        return self._receipts("WHERE tick > ? ORDER BY n DESC LIMIT ?", (after_tick, limit))[::-1]

    def notes(self, after_tick: int = 0, limit: int = 1000) -> Sequence[Note]:
        """What the loop had to tell after `after_tick` (holds, jumps of the clock, blind observers): the newest `limit`, oldest first."""
        with told(self._path, "read"):
            rows = self._db.execute(
                "SELECT at, text FROM notes WHERE tick > ? ORDER BY n DESC LIMIT ?", (after_tick, limit)
            ).fetchall()
        return [Note(*row) for row in reversed(rows)]

    def releases(self, with_removed: bool = False) -> dict[str, Release]:
        """The releases by id, oldest first; those whose files are gone only `with_removed`."""
        with told(self._path, "read"):
            rows = self._db.execute("SELECT id, removed_at, body FROM releases ORDER BY n").fetchall()
        try:
            return {name: RELEASES.decode(body) for name, gone, body in rows if with_removed or gone is None}
        except CodecError as error:
            raise damaged(self._path, str(error)) from error

    def requests(self, limit: int = 100) -> Sequence[RequestRow]:
        """The newest `limit` requests that can be read, with their answers, oldest first."""
        with told(self._path, "read"):
            rows = self._db.execute(
                "SELECT id, body, answered_at, ok, text FROM requests ORDER BY n DESC LIMIT ?", (limit,)
            ).fetchall()
        return [row for values in reversed(rows) if (row := _request(*values)) is not None]

    def request(self, request: str) -> RequestRow | None:
        """One request with its answer; None when there is none of that id, or it can't be read."""
        with told(self._path, "read"):
            row = self._db.execute(
                "SELECT id, body, answered_at, ok, text FROM requests WHERE id = ?", (request,)
            ).fetchone()
        return None if row is None else _request(*row)

    def answer(self, request: str) -> Answer | None:
        """The answer to a request; None while there is none."""
        with told(self._path, "read"):
            row = self._db.execute(
                "SELECT id, ok, text, answered_at FROM requests WHERE id = ? AND answered_at IS NOT NULL", (request,)
            ).fetchone()
        return None if row is None else Answer(row[0], bool(row[1]), row[2], row[3])

    def model(self, digest: str) -> Model | None:
        """The model of that digest; None when it is not kept."""
        with told(self._path, "read"):
            row = self._db.execute("SELECT body FROM models WHERE digest = ?", (digest,)).fetchone()
        try:
            return None if row is None else MODELS.decode(row[0])
        except CodecError as error:
            raise damaged(self._path, str(error)) from error

    def window(self, start: float, end: float, prefix: str = "") -> Window:
        """Minute history from the minute of `start` up to that of `end` (seconds since the epoch, `end` left out), of the series that
        begin with `prefix`."""
        first, last = int(start // MINUTE_S), int(end // MINUTE_S)
        with told(self._path, "read"):
            rows = self._db.execute(
                "SELECT minute, series, value FROM minutes WHERE minute >= ? AND minute < ? AND substr(series, 1, ?) = ?",
                (first, last, len(prefix), prefix),
            ).fetchall()
        series: dict[str, list[float | None]] = {}
        for minute, name, value in rows:
            # Not setdefault: it would make a list as long as the window for every value.
            if name not in series:
                series[name] = [None] * (last - first)
            series[name][minute - first] = value
        return Window(first * MINUTE_S, MINUTE_S, {name: tuple(values) for name, values in sorted(series.items())})

    def minutes(self, start: float, end: float, names: Sequence[str] = ()) -> Sequence[tuple[int, str, float]]:
        """Minute history as rows (minute, series, value), in order, from the minute of `start` up to that of `end` (left out); with
        `names` of these series alone, which is much less to read."""
        first, last = int(start // MINUTE_S), int(end // MINUTE_S) - 1
        with told(self._path, "read"):
            if not names:
                return self._db.execute(
                    "SELECT minute, series, value FROM minutes WHERE minute BETWEEN ? AND ? ORDER BY minute",
                    (first, last),
                ).fetchall()
            kept = self._db.execute("SELECT min(minute), max(minute) FROM minutes").fetchone()
            if kept[0] is None:
                return []
            # Each minute is looked up by itself: the table's order is by minute, and there may be hundreds of other series.
            return self._db.execute(
                "WITH RECURSIVE each(n) AS (SELECT ? UNION ALL SELECT n + 1 FROM each WHERE n < ?) SELECT minute, series, value"
                f" FROM each CROSS JOIN minutes ON minute = n AND series IN ({_marks(names)}) ORDER BY minute",
                (max(first, kept[0]), min(last, kept[1]), *names),
            ).fetchall()

    def _chunk(self, seq: int, with_decisions: bool = True) -> tuple[list[Row], dict[int, tuple[Decision, ...]]]:
        """The chunk that holds tick `seq`, or the next one after it, and the decisions of its ticks."""
        with told(self._path, "read"), transaction(self._db, "BEGIN"):
            sealed = self._db.execute(
                "SELECT body FROM segments WHERE last >= ? ORDER BY first LIMIT 1", (seq,)
            ).fetchone()
            rows = self._unseal(sealed[0]) if sealed else self._open_rows(seq)
            if not rows or not with_decisions:
                return rows, {}
            made = self._db.execute(
                "SELECT tick, body FROM decisions WHERE tick BETWEEN ? AND ? ORDER BY n", (rows[0].seq, rows[-1].seq)
            ).fetchall()
        decisions: dict[int, tuple[Decision, ...]] = {}
        try:
            for tick, body in made:
                decisions[tick] = (*decisions.get(tick, ()), DECISIONS.decode(body))
        except CodecError as error:
            raise damaged(self._path, str(error)) from error
        return rows, decisions

    def _open_rows(self, seq: int) -> list[Row]:
        """The keyframe at or before `seq` (or the first one after it) and its changes."""
        keyframe = self._db.execute(
            "SELECT coalesce((SELECT max(seq) FROM ticks WHERE is_keyframe AND seq <= ?),"
            " (SELECT min(seq) FROM ticks WHERE is_keyframe AND seq > ?))",
            (seq, seq),
        ).fetchone()[0]
        rows = self._db.execute(
            "SELECT seq, at, epoch, model, is_keyframe, body FROM ticks WHERE seq >= ?1"
            " AND seq < coalesce((SELECT min(seq) FROM ticks WHERE is_keyframe AND seq > ?1), 9e15) ORDER BY seq",
            (keyframe,),
        )
        return [Row(*values) for values in rows]

    def _unseal(self, body: bytes) -> list[Row]:
        try:
            return [Row(*values) for values in unpack(zlib.decompress(body))]
        except (zlib.error, CodecError, TypeError) as error:
            raise damaged(self._path, str(error)) from error

    def _decisions(self, where: str, values: tuple[object, ...]) -> list[DecisionRow]:
        with told(self._path, "read"):
            rows = self._db.execute(f"SELECT tick, at, body FROM decisions {where}", values).fetchall()
        try:
            return [DecisionRow(tick, at, DECISIONS.decode(body)) for tick, at, body in rows]
        except CodecError as error:
            raise damaged(self._path, str(error)) from error

    def _receipts(self, where: str, values: tuple[object, ...]) -> list[ReceiptRow]:
        with told(self._path, "read"):
            rows: list[sqlite3.Row] = self._db.execute(
                f"SELECT tick, decision, key, outcome, at, note FROM receipts {where}", values
            ).fetchall()
        return [ReceiptRow(tick, by, Receipt(key, Outcome(out), at, note)) for tick, by, key, out, at, note in rows]


def _batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[start : start + BATCH] for start in range(0, len(values), BATCH))


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _request(name: str, body: bytes, at: float | None, ok: int | None, text: str | None) -> RequestRow | None:
    try:
        return RequestRow(REQUESTS.decode(body), None if at is None else Answer(name, bool(ok), text or "", at))
    except CodecError:
        return None
