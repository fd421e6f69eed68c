"""Learns from the access log what each path prefix of a service normally takes. Stage: world -> facts.

The time is that of the try that answered, counted from when its instance was asked: a hedge that had to wait for a
frozen instance says nothing about the route, and an honestly slow page is slow however often it was tried.
"""

import math
import re
from collections import Counter
from pathlib import Path

from tenfold.drivers.envoy.accesslog import Line, decode
from tenfold.facts import RouteSeen
from tenfold.render.envoy import IDEMPOTENT_METHODS, SOCKETS_SUFFIX

WINDOW_S = 600.0
"""Answers count for one to two of these."""

READ_BYTES_MAX = 512 * 1024
"""So much of the log is read at a look, its newest part: about a thousand requests, which is sample enough."""

REQUESTS_MIN = 20
ROUTES_MAX = 50
DEPTH_MAX = 3

_STEP = 1.05
"""Each bin of the histogram reaches 5% further than the one before."""

_VARIABLE = re.compile(r"\d+|[0-9a-fA-F-]{8,}|.*\d.{14,}|.{33,}")
"""A segment that names one thing among many: a number, a hash, a UUID, a long slug."""

Key = tuple[str, str]


class RouteTimes:
    """What is known of one region's routes."""

    def __init__(self, region: str, log: Path) -> None:
        self._region = region
        self._log = log
        self._offset: int | None = None
        self._file_id: tuple[int, int] | None = None
        self._window_since = 0.0
        self._recent: dict[Key, Counter[int]] = {}
        self._older: dict[Key, Counter[int]] = {}

    def look(self, now: float) -> tuple[RouteSeen, ...]:
        """Take in what was logged since the last look; facts on the routes asked for most."""
        if now - self._window_since > WINDOW_S:
            self._older, self._recent, self._window_since = self._recent, {}, now
        for line in self._fresh_lines():
            self._take_in(line)
        counts = {
            key: self._recent.get(key, Counter()) + self._older.get(key, Counter())
            for key in self._recent.keys() | self._older.keys()
        }
        busiest = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))[:ROUTES_MAX]
        return tuple(
            RouteSeen(
                service=service,
                region=self._region,
                prefix=prefix,
                requests=bins.total(),
                response_ms_p50=_percentile(bins, 0.50),
                response_ms_p99=_percentile(bins, 0.99),
                seen_at=now,
            )
            for (service, prefix), bins in busiest
            if bins.total() >= REQUESTS_MIN
        )

    def _fresh_lines(self) -> list[Line]:
        try:
            with self._log.open("rb") as file:
                found = self._log.stat()
                size = file.seek(0, 2)
                same = self._file_id == (found.st_dev, found.st_ino) and self._offset is not None
                since = self._offset if same and self._offset is not None and self._offset <= size else 0
                start = max(since, size - READ_BYTES_MAX)
                file.seek(start)
                data = file.read(size - start)
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self._file_id, self._offset = (found.st_dev, found.st_ino), start + end
        lines = data[:end].splitlines()
        decoded = (decode(line) for line in (lines[1:] if start > since else lines))
        return [line for line in decoded if line is not None]

    def _take_in(self, line: Line) -> None:
        if line.answered is None or line.asked is None or line.method not in IDEMPOTENT_METHODS:
            return
        if not line.pool or line.pool.endswith(SOCKETS_SUFFIX) or (line.code or 500) >= 500:
            return
        key = (line.pool, prefix_of(line.path or "/", (line.route or "/").rpartition(" ")[2]))
        if key not in self._recent and len(self._recent) >= 4 * ROUTES_MAX:
            return
        took_ms = max(1.0, (line.answered - line.asked) / 1000)
        self._recent.setdefault(key, Counter())[math.ceil(math.log(took_ms, _STEP))] += 1


def prefix_of(path: str, route: str) -> str:
    """The part of `path` that many requests share: up to the first segment that names one thing, at most three
    segments, at least `route`."""
    segments = [segment for segment in path.partition("?")[0].split("/") if segment]
    shared: list[str] = []
    for segment in segments[:DEPTH_MAX]:
        if _VARIABLE.fullmatch(segment):
            break
        shared.append(segment)
    prefix = "/" + "/".join(shared)
    return prefix if len(prefix) >= len(route) else route


def _percentile(bins: Counter[int], ratio: float) -> float:
    """In milliseconds, at most 5% too high; two digits, so that it does not differ at each look."""
    left = ratio * bins.total()
    for bin_ in sorted(bins):
        left -= bins[bin_]
        if left <= 0:
            return float(f"{_STEP**bin_:.2g}")
    return float(f"{_STEP ** max(bins):.2g}")
