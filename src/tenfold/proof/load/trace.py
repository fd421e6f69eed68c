"""Request-rate traces: what a real site was asked for, minute by minute, or a generated day.

Stage: a file (or a seed) becomes a `Trace`, and a trace, compressed in time, becomes the `RateCurve` that is played.
"""

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from random import Random

from tenfold.proof.load.curve import RateCurve, Segment
from tenfold.proof.load.errors import LoadError

GAP_STEPS_MAX = 60
"""A longer hole in a trace is refused: bridging it would be inventing the trace."""

_TIME_NAMES = ("timestamp", "time", "datetime", "date", "period", "minute", "ts")
_COUNT_NAMES = ("requests", "count", "value", "hits", "invocations")
_HELP = "write a header `timestamp,requests` and rows like `2026-01-05T09:00,420`"


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests per step. `filled` is how many of the steps were missing in the file and were interpolated."""

    start: datetime
    step_s: float
    requests: tuple[float, ...]
    filled: int = 0

    @property
    def peak_rps(self) -> float:
        """The highest rate of any step, in requests/s of the trace's own time."""
        return max(self.requests) / self.step_s

    def curve(self, speedup: float = 1.0, scale: float = 1.0, peak_rps: float | None = None) -> RateCurve:
        """Play the trace `speedup` times faster *at its own requests/s*: with 60, a minute of 420 requests becomes
        one second at 7 requests/s. `scale` multiplies the rate; `peak_rps` scales it so that the highest is that.

        Raises `LoadError` if speedup, scale or peak is not above zero, or a trace of zeros is to have a peak.
        """
        for name, value in (("speedup", speedup), ("scale", scale), ("peak", peak_rps)):
            if value is not None and not (0 < value < math.inf):
                raise LoadError(f"a {name} of {value:g} can't be played: give a number above zero")
        if peak_rps is not None:
            if self.peak_rps == 0:
                raise LoadError("the trace has no requests at all, so it can't be scaled to a peak: give another one")
            scale = peak_rps / self.peak_rps
        factor = scale / self.step_s
        return RateCurve(tuple(Segment(self.step_s / speedup, count * factor) for count in self.requests))


def read_trace(path: Path, since: datetime | None = None, until: datetime | None = None) -> Trace:
    """Read a CSV trace from a file, from `since` up to but not including `until` (times without a zone are UTC).

    Raises `LoadError` with the file's name and the line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise LoadError(f"{path} can't be read ({error.strerror}): give the path of a CSV trace") from error
    except UnicodeDecodeError as error:
        raise LoadError(f"{path} is not text: {_HELP}") from error
    return parse_trace(text, str(path), since, until)


def parse_trace(text: str, name: str = "trace", since: datetime | None = None, until: datetime | None = None) -> Trace:
    """Read a CSV trace: a header, then a time (ISO 8601) and a number of requests a row, at any regular step.

    Further columns are ignored. Steps that are missing are *interpolated* between their neighbours and counted in
    `filled`: a measurement that is not there is not a zero, and a zero would make an outage that nobody had.
    Raises `LoadError` with the line for a row that is not a time and a number of at least 0, for time that stands
    still or goes back, for an irregular step and for a gap of over 60 steps.
    """
    rows = _rows(text, name, _utc(since), _utc(until))
    if len(rows) < 2:
        raise LoadError(f"{name} has {len(rows)} rows in the time asked for; a trace needs two or more: {_HELP}")
    step = min(later[1] - earlier[1] for earlier, later in pairwise(rows))
    counts = [rows[0][2]]
    for (_, earlier, before), (line, later, after) in pairwise(rows):
        steps, rest = divmod(later - earlier, step)
        if rest:
            raise LoadError(
                f"{name}:{line}: {_text(later)} does not lie on the trace's step of {step.total_seconds():g} s: "
                "make the rows evenly spaced"
            )
        if steps > GAP_STEPS_MAX:
            raise LoadError(
                f"{name}:{line}: {steps - 1} rows are missing before {_text(later)}: "
                "play the part before or after the gap, with from and to"
            )
        counts.extend(before + (after - before) * number / steps for number in range(1, steps))
        counts.append(after)
    return Trace(rows[0][1], step.total_seconds(), tuple(counts), filled=len(counts) - len(rows))


def generated_day(seed: int = 1, peak_per_minute: float = 600.0) -> Trace:
    """A working day of a business app in minutes, made from a seed: quiet at night, a hump before and after lunch,
    and noise that lingers for some minutes, as people's load does. Its highest minute has `peak_per_minute` requests.
    """
    random = Random(seed)
    noise = 0.0
    shape: list[float] = []
    for minute in range(24 * 60):
        hour = minute / 60
        level = 0.08 + 0.85 * _hump(hour, 10.3, 1.4) + 0.92 * _hump(hour, 15.3, 1.6) + 0.22 * _hump(hour, 20.5, 1.4)
        noise = 0.9 * noise + random.gauss(0.0, 0.045)
        shape.append(level * math.exp(noise))
    factor = peak_per_minute / max(shape)
    return Trace(datetime(2026, 1, 5, tzinfo=UTC), 60.0, tuple(round(level * factor) for level in shape))


def _hump(hour: float, center_hour: float, width_hours: float) -> float:
    """A bell over the hours of a day: 1 at its center."""
    return math.exp(-(((hour - center_hour) / width_hours) ** 2) / 2)


def _utc(moment: datetime | None) -> datetime | None:
    """A time without a zone is taken as UTC, as almost every trace means it."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S").removesuffix(":00")


def _rows(text: str, name: str, since: datetime | None, until: datetime | None) -> list[tuple[int, datetime, float]]:
    """The rows within the time asked for, each as (line, time, requests), all checked, in rising time."""
    if "\0" in text:
        raise LoadError(f"{name} is not text: {_HELP}")
    reader = csv.reader(io.StringIO(text, newline=""))
    rows: list[tuple[int, datetime, float]] = []
    columns: tuple[int, int] | None = None
    previous: datetime | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{name}:{reader.line_num}"
            if columns is None:
                columns = _columns(cells, where)
                continue
            moment, count = _row(cells, columns, where)
            if previous is not None and moment <= previous:
                raise LoadError(f"{where}: {_text(moment)} does not come after {_text(previous)}: sort the rows")
            previous = moment
            if (since is None or moment >= since) and (until is None or moment < until):
                rows.append((reader.line_num, moment, count))
    except csv.Error as error:
        raise LoadError(f"{name}:{reader.line_num}: this is not CSV ({error}): {_HELP}") from error
    return rows


def _columns(cells: list[str], where: str) -> tuple[int, int]:
    """Where the time and the count stand, by the names in the header."""
    names = [cell.strip().lower() for cell in cells]

    def find(known: Iterable[str]) -> int | None:
        return next((names.index(name) for name in known if name in names), None)

    time_column, count_column = find(_TIME_NAMES), find(_COUNT_NAMES)
    if time_column is None or count_column is None:
        shown = ",".join(names)[:80]
        raise LoadError(f"{where}: the header `{shown}` names no time and no number of requests: {_HELP}")
    return time_column, count_column


def _row(cells: list[str], columns: tuple[int, int], where: str) -> tuple[datetime, float]:
    """The time and the count of one row."""
    if len(cells) <= max(columns):
        raise LoadError(f"{where}: the row has {len(cells)} of the columns that the header names: complete it")
    time_text, count_text = (cells[column].strip() for column in columns)
    try:
        moment = datetime.fromisoformat(time_text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise LoadError(f"{where}: `{time_text[:40]}` is not a time: write it like 2026-01-05T09:00") from error
    try:
        count = float(count_text.replace("_", "?"))
    except ValueError as error:
        raise LoadError(f"{where}: `{count_text[:40]}` is not a number of requests: write it like 420") from error
    if not (0 <= count < math.inf):
        raise LoadError(f"{where}: {count_text[:40]} requests can't be: give a number of 0 or more")
    return moment, count
