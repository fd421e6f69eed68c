"""Reads a Prometheus, or what speaks its HTTP API (Thanos, Mimir, VictoriaMetrics): one number now, or a row of them over time.
Stage: world -> figures.

API: https://prometheus.io/docs/prometheus/latest/querying/api/ (`/api/v1/query`, `/api/v1/query_range`).
"""

import asyncio
import math
import os
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from tenfold.ports import Permanent, Retryable

ANSWER_WITHIN_S = 10.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024
POINTS_MAX = 10_000
"""Prometheus refuses to answer with more than 11,000 values of a series at once."""
UNREADABLE = "Prometheus gave an answer that can't be read"
TOLD_LENGTH_MAX = 300


class Prometheus:
    """One server at `url` (`http://prometheus.monitoring:9090`, with `user:password@` where it asks for one; a path before `/api/v1` is
    kept). Raises `Permanent` for what is no such URL."""

    def __init__(self, url: str) -> None:
        try:
            parsed = URL(url)
            port = parsed.port
        except ValueError:
            parsed, port = URL(), None
        if parsed.scheme not in ("http", "https") or not parsed.host or not port:
            raise Permanent("this is no address of a Prometheus: write it as http://HOST:9090")
        self._url = parsed.with_query(None).with_fragment(None)
        self.name = str(self._url.with_user(None)).rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def value(self, query: str, at: float) -> float | None:
        """The one number that `query` gives at `at` (seconds since the epoch); None when it gives none, or one that is not finite. Raises
        `Permanent` for a query that is refused or gives several, `Retryable` when no answer came."""
        data = await self._ask("query", {"query": query, "time": f"{at:.3f}"})
        if data.get("resultType") == "scalar":
            return _number(_pair(data.get("result")))
        series = _one_of(_rows(data), "vector", data)
        return None if series is None else _number(_pair(series.get("value")))

    async def values(self, query: str, start: float, end: float, step_s: float) -> tuple[tuple[float, float], ...]:
        """When and what, at every `step_s` from `start` to `end` (both included) where the query gives a finite number. Raises as
        `value` does. At most `POINTS_MAX` steps."""
        assert 0 <= (end - start) / step_s < POINTS_MAX, "the caller asks in parts"
        asked = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_s:.3f}"}
        data = await self._ask("query_range", asked)
        series = _one_of(_rows(data), "matrix", data)
        found = []
        entries = series.get("values", []) if series is not None else []
        if not isinstance(entries, list):
            raise Retryable(UNREADABLE)
        for entry in entries:
            pair = _pair(entry)
            number = _number(pair)
            if number is not None:
                found.append((float(pair[0]), number))
        return tuple(found)

    async def _ask(self, what: str, form: Mapping[str, str]) -> Mapping[str, Any]:
        """The `data` of an answer."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_S))
        try:
            url = self._url / "api" / "v1" / what
            # A query may be longer than a URL may be.
            async with self._session.post(url, data=form, allow_redirects=False) as answer:
                body = await answer.content.read(ANSWER_BYTES_MAX + 1)
                while len(body) <= ANSWER_BYTES_MAX and (more := await answer.content.read(ANSWER_BYTES_MAX)):
                    body += more
                status = answer.status
        except (TimeoutError, asyncio.IncompleteReadError):
            raise Retryable(f"Prometheus ({self.name}) did not answer within {ANSWER_WITHIN_S:.0f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            cause = getattr(error, "os_error", error)
            number, words = getattr(cause, "errno", None) or 0, getattr(cause, "strerror", None)
            # asyncio tells a refused connection by a call and an address; a name that is not known has a negative number.
            why = os.strerror(number) if number > 0 else words or type(error).__name__
            raise Retryable(f"Prometheus ({self.name}) can't be reached: {why}") from None
        if len(body) > ANSWER_BYTES_MAX:
            raise Permanent(f"the query gives more than {ANSWER_BYTES_MAX // 1024**2} MB: let it sum up to one number")
        return self._data(status, body)

    def _data(self, status: int, body: bytes) -> Mapping[str, Any]:
        try:
            answer = msgspec.json.decode(body)
        except msgspec.DecodeError:
            answer = None
        if not isinstance(answer, dict):
            answer = {}
        if status == 200 and answer.get("status") == "success" and isinstance(answer.get("data"), dict):
            return dict(answer["data"])
        said = str(answer.get("error") or f"status {status}")[:TOLD_LENGTH_MAX]
        if status in (400, 422):
            raise Permanent(f"Prometheus refuses the query: {said}")
        if status in (401, 403):
            raise Permanent(
                f"Prometheus ({self.name}) does not let us read (status {status}): give http://USER:PASSWORD@HOST"
            )
        if status in (301, 302, 307, 308, 404, 405):
            raise Permanent(f"there is no Prometheus at {self.name} (status {status}): give the address before /api/v1")
        raise Retryable(f"Prometheus ({self.name}) could not answer: {said}")


def _rows(data: Mapping[str, Any]) -> list[Any]:
    result = data.get("result")
    return result if isinstance(result, list) else []


def _one_of(rows: list[Any], kind: str, data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The only series of an answer; None when there is none."""
    if data.get("resultType") != kind:
        raise Permanent(f"the query gives a {data.get('resultType') or 'riddle'}, not a number")
    if len(rows) > 1:
        raise Permanent(f"the query gives {len(rows)} series, not one number: wrap it in sum(...)")
    if rows and not isinstance(rows[0], dict):
        raise Retryable(UNREADABLE)
    return rows[0] if rows else None


def _pair(entry: Any) -> tuple[Any, Any]:
    if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], int | float):
        return entry[0], entry[1]
    raise Retryable(UNREADABLE)


def _number(pair: tuple[Any, Any]) -> float | None:
    """A sample's value, which is text (`"NaN"` and `"+Inf"` too); None where it is not finite."""
    try:
        value = float(pair[1])
    except (TypeError, ValueError):
        raise Retryable(UNREADABLE) from None
    return value if math.isfinite(value) else None
