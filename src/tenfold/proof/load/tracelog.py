"""A trace from an access log: common or combined format (Apache, nginx, Caddy's and Envoy's look-alikes), or a JSON object a line.

Each line is a request, in the minute that it names. Lines come in the order in which requests ended, not in which they began.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.traceparts import Span, of_epoch, of_text

UNREADABLE_RATIO_MAX = 0.01
"""More lines than this share that are no requests, and it is another kind of file."""
LINE_CHARS_MAX = 1_000_000
TIME_FIELDS = (
    *("@timestamp", "timestamp", "time", "ts", "at", "start_time", "time_iso8601", "time_local", "datetime", "date"),
    *("StartUTC", "msec", "request_time_utc", "requestReceivedTimestamp"),
)
"""Under which names a line of JSON tells when it was: Logstash, nginx, Caddy (`ts`), Tenfold's gateways (`at`), Envoy, Traefik."""
_LINE = re.compile(r"^\S+ \S+ .{1,512}?\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d):\d\d(?:\.\d+)? ([+-]\d{4})\] \"")
_LOCAL = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Counted:
    """Requests by minute since the epoch; the log's own first and last minute, which kind of log it was, and what a reader should doubt."""

    by_minute: dict[int, int]
    ends: tuple[int, ...]
    kind: str
    notes: tuple[str, ...] = ()


def is_log(first: Sequence[str]) -> bool:
    """Whether a file that begins with these lines is an access log."""
    lines = [line for line in first if line.strip()]
    return any(_LINE.match(line) for line in lines) or bool(lines and _fields(lines[0]) is not None)


def count_log(lines: Iterable[str], name: str, span: Span) -> Counted:
    """Count the requests of each minute within `span`. Raises `LoadError`, which names the line, when more than one of a hundred lines is
    none."""
    by_minute: dict[int, int] = {}
    known: dict[tuple[str, str], int] = {}
    total, unreadable, first_bad, last_error = 0, 0, 0, ""
    kind = ""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        total += 1
        try:
            found = _LINE.match(line[:LINE_CHARS_MAX])
            if found is not None:
                kind = kind or "an access log"
                key = (found[1], found[2])
                if key not in known:
                    known[key] = _minute_of_local(*key)
                minute = known[key]
            else:
                minute = _minute_of_json(line)
                kind = kind or "an access log of JSON lines"
        except ValueError as error:
            unreadable, first_bad, last_error = unreadable + 1, first_bad or number, str(error)
            continue
        by_minute[minute] = by_minute.get(minute, 0) + 1
    if unreadable > UNREADABLE_RATIO_MAX * total:
        raise LoadError(
            f"{name}:{first_bad}: this is no line of an access log ({last_error}), and {unreadable:,} of {total:,} lines are none: "
            "give one in common or combined format, or of a JSON object a line"
        )
    notes = (f"{unreadable:,} of {total:,} lines are no requests, the first is line {first_bad}",) if unreadable else ()
    asked = {minute: count for minute, count in by_minute.items() if span.holds(of_epoch(minute * 60))}
    ends = (min(by_minute), max(by_minute)) if by_minute else ()
    return Counted(asked, ends, kind, notes)


def _minute_of_local(text: str, zone: str) -> int:
    """Of `05/Jan/2026:09:00`, `+0100`. Raises `ValueError`."""
    found = _LOCAL.fullmatch(text)
    if found is None or found[2] not in _MONTHS:
        raise ValueError(f"`{text[:40]}` is no time")
    day, _, year, hour, minute = found.groups()
    east = (1 if zone[0] == "+" else -1) * timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    at = datetime(int(year), _MONTHS.index(found[2]) + 1, int(day), int(hour), int(minute), tzinfo=timezone(east))
    return int(at.timestamp() // 60)


def _minute_of_json(line: str) -> int:
    fields = _fields(line)
    if fields is None:
        raise ValueError("no request and no time in it")
    value = next(fields[field] for field in TIME_FIELDS if field in fields)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(of_epoch(value).timestamp() // 60)
    text = str(value).strip()
    if _LOCAL.match(text):
        stamp, _, zone = text.strip("[]").partition(" ")
        return _minute_of_local(stamp.rpartition(":")[0], zone or "+0000")
    try:
        return int(of_text(text).timestamp() // 60)
    except (OverflowError, ValueError):
        raise ValueError(f"`{text[:40]}` is no time") from None


def _fields(line: str) -> dict[str, object] | None:
    """The fields of a line that is a JSON object with a time in it; None when it is none."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        fields = json.loads(line[:LINE_CHARS_MAX])
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and any(field in fields for field in TIME_FIELDS) else None
