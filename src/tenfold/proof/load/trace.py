"""Request-rate traces: what a real site was asked for, minute by minute, or a generated day.

Stage: a file (or a seed) becomes a `Trace`, and a trace, compressed in time, becomes the `RateCurve` that is played, or the demand of a
simulation. What a file is shows in its content: a CSV, a range of Prometheus, or an access log.
"""

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice, pairwise
from pathlib import Path
from random import Random
from typing import TextIO

from tenfold.proof.load.curve import RateCurve, Segment
from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.tracecsv import csv_rows
from tenfold.proof.load.tracelog import Counted, count_log, is_log
from tenfold.proof.load.traceparts import FIGURE_MAX, HELP, Row, Span, told
from tenfold.proof.load.tracerange import ADVICE, is_range, range_rows
from tenfold.proof.words import many

GAP_STEPS_MAX = 60
"""A longer hole in a trace is refused: bridging it would be inventing the trace."""
TEXT_BYTES_MAX = 1 << 30
"""What is read whole (all but access logs) may be so large."""
SILENT_MINUTES_MAX = 31 * 24 * 60
"""A log in which nobody asked for longer has lines whose clock was wrong, or is two logs."""
SNIFFED_LINES = 5
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests per step. `filled` is how many of the steps were missing in the file and were interpolated.

    `read_as` says what the file was taken for, and in which unit its figures are; `notes` are sentences about what a reader should doubt.
    """

    start: datetime
    step_s: float
    requests: tuple[float, ...]
    filled: int = 0
    read_as: str = ""
    notes: tuple[str, ...] = ()

    @property
    def peak_rps(self) -> float:
        """The highest rate of any step, in requests/s of the trace's own time."""
        return max(self.requests) / self.step_s

    def curve(self, speedup: float = 1.0, scale: float = 1.0, peak_rps: float | None = None) -> RateCurve:
        """Play the trace `speedup` times faster *at its own requests/s*: with 60, a minute of 420 requests becomes
        one second at 7 requests/s. `scale` multiplies the rate; `peak_rps` scales it so that the highest is that.

        Raises `LoadError` if speedup, scale or peak is not above zero, or a trace of zeros is to have a peak.
        """
        if not 0 < speedup < math.inf:
            raise LoadError(f"a speedup of {speedup:g} can't be played: give a number above zero")
        factor = self.factor(scale, peak_rps) / self.step_s
        return RateCurve(tuple(Segment(self.step_s / speedup, count * factor) for count in self.requests))

    def factor(self, scale: float = 1.0, peak_rps: float | None = None) -> float:
        """What the rate is multiplied by: `scale`, or what makes the highest rate `peak_rps`. Raises `LoadError` as `curve` does."""
        for name, value in (("scale", scale), ("peak", peak_rps)):
            if value is not None and not (0 < value < math.inf):
                raise LoadError(f"a {name} of {value:g} can't be played: give a number above zero")
        if peak_rps is not None and self.peak_rps == 0:
            raise LoadError("the trace has no requests at all, so it can't be scaled to a peak: give another one")
        found = scale if peak_rps is None else peak_rps / self.peak_rps
        if not found * self.peak_rps <= FIGURE_MAX:
            raise LoadError(f"{found * self.peak_rps:.3g} requests/s can't be played: give a smaller scale or peak")
        return found


def read_trace(path: Path, since: datetime | None = None, until: datetime | None = None) -> Trace:
    """Read a trace from a file, packed with gzip or not, from `since` up to but not including `until` (times without a zone are UTC).

    Raises `LoadError` with the file's name and the line.
    """
    try:
        with _opened(path) as file:
            return _read(file, str(path), Span.of(since, until))
    except UnicodeDecodeError as error:
        raise LoadError(
            f"{path} is not text in UTF-8: save it so, as CSV, JSON of Prometheus or an access log"
        ) from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise LoadError(f"{path} can't be unpacked ({error}): it is damaged, or cut off; pack it anew") from error
    except OSError as error:
        raise LoadError(f"{path} can't be read ({error.strerror or error}): give the path of a trace") from error


def parse_trace(text: str, name: str = "trace", since: datetime | None = None, until: datetime | None = None) -> Trace:
    """Read a trace from its text: a CSV (`tracecsv`), a range of Prometheus (`tracerange`) or an access log (`tracelog`).

    Steps that are missing are *interpolated* between their neighbours and counted in `filled`: a measurement that is not there is not
    a zero, and a zero would make an outage that nobody had. (In an access log it is one: nobody asked.)
    Raises `LoadError` with the line for a row that is not a time and a number of at least 0, for time that stands
    still or goes back, for an irregular step and for a gap of over 60 steps.
    """
    return _read(io.StringIO(text), name, Span.of(since, until))


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    with path.open("rb") as raw:
        # Not read and gone back: it may be a pipe.
        is_packed = raw.peek(2)[:2] == _GZIP
        with gzip.GzipFile(fileobj=raw) if is_packed else nullcontext(raw) as file:
            yield io.TextIOWrapper(file, "utf-8-sig", newline=None)


def _read(file: TextIO, name: str, span: Span) -> Trace:
    """Whatever it is, by its first lines."""
    first = list(islice(file, SNIFFED_LINES))
    if is_log(first):
        return _counted(count_log(chain(first, file), name, span), name, span)
    text = "".join(first) + file.read(TEXT_BYTES_MAX)
    if len(text) >= TEXT_BYTES_MAX:
        raise LoadError(f"{name} holds more than {TEXT_BYTES_MAX >> 30} GiB: cut out the days that matter")
    if is_range(text):
        rows, series = range_rows(text, name, span)
        of = f"{series} series added up" if series > 1 else "one series"
        _check_two(rows, name, span, ADVICE)
        return _even(rows, f"a range of Prometheus, {of}, in requests/s", is_rate=True)
    rows, unit = csv_rows(text, name, span)
    _check_two(rows, name, span, HELP)
    is_rate = unit == "requests/s"
    return _even(rows, f"CSV, in {unit}" if is_rate else "CSV, requests in each step", is_rate)


def _check_two(rows: list[Row], name: str, span: Span, advice: str) -> None:
    if len(rows) < 2:
        advice = "ask for a longer time" if span.words else advice
        raise LoadError(f"{name} has {many(len(rows), 'row')}{span.words}; a trace needs two or more: {advice}")


def _even(rows: list[Row], read_as: str, is_rate: bool) -> Trace:
    """Rows in rising time become steps of equal length, with what is missing between them interpolated."""
    step = min(later.at - earlier.at for earlier, later in pairwise(rows))
    values = [rows[0].value]
    for before, after in pairwise(rows):
        steps, rest = divmod(after.at - before.at, step)
        if rest:
            raise LoadError(
                f"{after.where}: {told(after.at)} does not lie on the trace's step of {step.total_seconds():g} s: "
                "make the rows evenly spaced"
            )
        if steps > GAP_STEPS_MAX:
            raise LoadError(
                f"{after.where}: {steps - 1} rows are missing before {told(after.at)}: "
                "play the part before or after the gap, with from and to"
            )
        values.extend(before.value + (after.value - before.value) * number / steps for number in range(1, steps))
        values.append(after.value)
    step_s = step.total_seconds()
    counts = tuple(value * step_s for value in values) if is_rate else tuple(values)
    return Trace(rows[0].at, step_s, counts, len(values) - len(rows), read_as)


def _counted(log: Counted, name: str, span: Span) -> Trace:
    """An access log's lines, by minute, but for its first and its last one, which are there only in part."""
    minutes = sorted(log.by_minute)
    if len(minutes) > 3:
        minutes = [minute for minute in minutes if minute not in log.ends]
    if len(minutes) < 2:
        raise LoadError(
            f"{name} has requests in {many(len(minutes), 'minute')}{span.words}; a trace needs two or more: "
            f"{'ask for a longer time' if span.words else 'give a longer log'}"
        )
    notes = list(log.notes)
    for before, after in pairwise(minutes):
        if after - before > GAP_STEPS_MAX:
            since = told(datetime.fromtimestamp((before + 1) * 60, UTC))
            if after - before > SILENT_MINUTES_MAX:
                raise LoadError(
                    f"{name}: nobody asked for anything for {(after - before) / 1440:,.0f} days from {since}: "
                    "give the part before or after, with from and to"
                )
            notes.append(
                f"nobody asked for anything for {after - before - 1} minutes from {since}, or the log lacks them"
            )
    counts = tuple(float(log.by_minute.get(minute, 0)) for minute in range(minutes[0], minutes[-1] + 1))
    return Trace(
        datetime.fromtimestamp(minutes[0] * 60, UTC),
        60.0,
        counts,
        0,
        f"{log.kind}, requests in each minute",
        tuple(notes),
    )


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
