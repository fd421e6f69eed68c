"""A trace from Prometheus: the JSON that `/api/v1/query_range` answers, a matrix of requests/s. Several series are added up.

As `sum()` does there: at each moment what is there is added, and a series that has not begun yet, or is NaN, adds nothing.
"""

import json
import math
import re
from typing import Any

from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.traceparts import BOUNDS, FIGURE_MAX, Row, Span, of_epoch

ADVICE = "export a rate, as of `sum(rate(http_requests_total[1m]))`, from /api/v1/query_range"
_OF_COUNTERS = re.compile(r".+_(total|count|sum|created)")


def is_range(text: str) -> bool:
    """Whether a file is JSON at all: no other kind of trace is."""
    return text.lstrip()[:1] in ("{", "[")


def range_rows(text: str, name: str, span: Span) -> tuple[list[Row], int]:
    """The sum of all series within `span`, in rising time, and of how many series. Raises `LoadError`, which names the series and the
    value, or the line where the text is no JSON."""
    by_time: dict[float, float] = {}
    series = _series(text, name)
    for number, one in enumerate(series, 1):
        labels = one.get("metric", {}) if isinstance(one, dict) else None
        values = one.get("values") if isinstance(one, dict) else None
        if not isinstance(labels, dict) or not isinstance(values, list):
            raise LoadError(f"{name}: series {number} has no `values`: {ADVICE}")
        called = str(labels.get("__name__", ""))
        if _OF_COUNTERS.fullmatch(called):
            raise LoadError(
                f"{name}: series {number} is {called}, a counter that only grows, where requests/s are needed: {ADVICE}"
            )
        for place, pair in enumerate(values, 1):
            at, value = _pair(pair, f"{name}: series {number}, value {place}")
            if not math.isnan(value):
                by_time[at] = by_time.get(at, 0.0) + value
    rows = [Row(f"{name} at {at:.15g}", of_epoch(at), value) for at, value in sorted(by_time.items())]
    return [row for row in rows if span.holds(row.at)], len(series)


def _series(text: str, name: str) -> list[Any]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise LoadError(f"{name}{line}: this is no JSON ({getattr(error, 'msg', error)}): {ADVICE}") from error
    if not isinstance(answer, dict):
        raise LoadError(f"{name} is JSON, but no answer of Prometheus: {ADVICE}")
    if answer.get("status") == "error":
        raise LoadError(
            f"{name}: Prometheus answered with an error ({answer.get('error')}): mend the query, then {ADVICE}"
        )
    data = answer.get("data", answer)
    kind = data.get("resultType", "matrix") if isinstance(data, dict) else None
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(result, list):
        raise LoadError(f"{name} is JSON, but no answer of Prometheus: {ADVICE}")
    if kind != "matrix":
        raise LoadError(f"{name} holds a {kind} of a single moment, where a matrix is needed: {ADVICE}")
    if not result:
        raise LoadError(f"{name} holds no series: does the query match anything in that time?")
    return result


def _pair(pair: Any, where: str) -> tuple[float, float]:
    """A moment in seconds since the epoch, and its value."""
    try:
        first, second = pair
        at, value = float(first), float(second)
        of_epoch(at)
    except (OverflowError, TypeError, ValueError) as error:
        raise LoadError(f"{where}: {str(pair)[:60]} is not a time and a number") from error
    if value < 0 or value > FIGURE_MAX:
        raise LoadError(f"{where}: {value:g} requests/s can't be: {BOUNDS}")
    return at, value
