"""A trace as CSV: a header, then a time (ISO 8601, or seconds since the epoch) and a number a row, at any regular step.

The number is of the requests in a step, unless its column's name says that it is a rate (`rps`). Further columns are ignored.
"""

import csv
import io
from collections.abc import Iterable
from datetime import datetime

from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.traceparts import BOUNDS, FIGURE_MAX, HELP, Row, Span, of_text, told

_TIME_NAMES = ("timestamp", "time", "datetime", "date", "period", "minute", "ts")
_RATE_NAMES = ("rps", "qps", "rate", "requests_per_s", "requests_per_second", "requests/s", "req/s")
_COUNT_NAMES = ("requests", "count", "value", "hits", "invocations")


def csv_rows(text: str, name: str, span: Span) -> tuple[list[Row], str]:
    """The rows within `span`, all checked, in rising time, and the unit of their figures. Raises `LoadError` with the line."""
    if "\0" in text:
        raise LoadError(f"{name} is not text: {HELP}")
    reader = csv.reader(io.StringIO(text, newline=""))
    rows: list[Row] = []
    columns: tuple[int, int] | None = None
    unit = "requests"
    previous: datetime | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{name}:{reader.line_num}"
            if columns is None:
                columns, unit = _columns(cells, where)
                continue
            moment, count = _row(cells, columns, where)
            if moment == previous:
                raise LoadError(f"{where}: {told(moment)} is there twice: keep one row of each time")
            if previous is not None and moment < previous:
                raise LoadError(f"{where}: {told(moment)} does not come after {told(previous)}: sort the rows")
            previous = moment
            if span.holds(moment):
                rows.append(Row(where, moment, count))
    except csv.Error as error:
        raise LoadError(f"{name}:{reader.line_num}: this is not CSV ({error}): {HELP}") from error
    return rows, unit


def _columns(cells: list[str], where: str) -> tuple[tuple[int, int], str]:
    """Where the time and the count stand, by the names in the header, and what is counted."""
    names = [cell.strip().lower() for cell in cells]

    def find(known: Iterable[str]) -> int | None:
        return next((names.index(name) for name in known if name in names), None)

    time_column, count_column, rate_column = find(_TIME_NAMES), find(_COUNT_NAMES), find(_RATE_NAMES)
    if time_column is not None and count_column is not None:
        return (time_column, count_column), "requests"
    if time_column is not None and rate_column is not None:
        return (time_column, rate_column), "requests/s"
    shown = ",".join(names)[:80]
    raise LoadError(f"{where}: the header `{shown}` names no time and no number of requests: {HELP}")


def _row(cells: list[str], columns: tuple[int, int], where: str) -> tuple[datetime, float]:
    """The time and the count of one row."""
    if len(cells) <= max(columns):
        raise LoadError(f"{where}: the row has {len(cells)} of the columns that the header names: complete it")
    time_text, count_text = (cells[column].strip() for column in columns)
    try:
        moment = of_text(time_text)
    except ValueError as error:
        raise LoadError(f"{where}: `{time_text[:40]}` is not a time: write it like 2026-01-05T09:00") from error
    try:
        count = float(count_text.replace("_", "?"))
    except ValueError as error:
        raise LoadError(f"{where}: `{count_text[:40]}` is not a number of requests: write it like 420") from error
    if not (0 <= count <= FIGURE_MAX):
        raise LoadError(f"{where}: {count_text[:40]} requests can't be: {BOUNDS}")
    return moment, count
