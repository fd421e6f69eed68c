"""What each route of an app normally takes, learned from answered requests. Requests in, `RouteSeen` facts out.

Routes are named nowhere, so they are told by their paths: the part that many requests share. Times are kept in bins that
grow by 5%, for the last one to two windows, so that a route that has changed is soon known as it is now.
"""

import math
import re
from collections import Counter

from tenfold.facts import RouteSeen

WINDOW_S = 600.0
"""Answers count for one to two of these."""
REQUESTS_MIN = 20
"""Fewer answers than this say little about the slowest percent."""
ROUTES_MAX = 50
"""The busiest routes are told; four times as many are counted, so that no client can fill the memory with paths."""
DEPTH_MAX = 3
STEP = 1.05
"""Each bin reaches 5% further than the one before."""

_VARIABLE = re.compile(r"\d+|[0-9a-fA-F-]{8,}|.*\d.{14,}|.{33,}")
"""A segment that names one thing among many: a number, a hash, a UUID, a long slug."""

Key = tuple[str, str]


class RouteTimes:
    """What is known of one region's routes, by service and path prefix."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._window_since = 0.0
        self._recent: dict[Key, Counter[int]] = {}
        self._older: dict[Key, Counter[int]] = {}

    def take(self, service: str, path: str, took_ms: float, route: str = "/") -> None:
        """Count one answer of a healthy instance. `route` is the least that its prefix holds."""
        key = (service, prefix_of(path, route))
        if key in self._recent or len(self._recent) < 4 * ROUTES_MAX:
            bin_ = math.ceil(math.log(max(1.0, took_ms), STEP))
            self._recent.setdefault(key, Counter())[bin_] += 1

    def facts(self, now: float) -> tuple[RouteSeen, ...]:
        """The routes asked for most, busiest first."""
        if now - self._window_since > WINDOW_S:
            self._older, self._recent, self._window_since = self._recent, {}, now
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


def prefix_of(path: str, route: str) -> str:
    """The part of `path` that many requests share: up to the first segment that names one thing, at most three
    segments, at least `route`. `/api/projects/17/tasks?done=1` -> `/api/projects`."""
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
            return float(f"{STEP**bin_:.2g}")
    return float(f"{STEP ** max(bins):.2g}")
