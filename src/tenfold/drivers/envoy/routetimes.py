"""Feeds what the access log tells of answered requests to the estimator of route times. Stage: world -> estimators -> facts.

The time is that of the try that answered, counted from when its instance was asked: a hedge that had to wait for a
frozen instance says nothing about the route, and an honestly slow page is slow however often it was tried.
"""

from pathlib import Path

from tenfold.drivers.envoy.accesslog import Line, LogTail
from tenfold.estimators import RouteTimes
from tenfold.facts import RouteSeen
from tenfold.render.envoy import IDEMPOTENT_METHODS, SOCKETS_SUFFIX


class LoggedTimes:
    """One region's access log, read as it grows."""

    def __init__(self, region: str, log: Path) -> None:
        self._tail = LogTail(log)
        self._times = RouteTimes(region)

    def look(self, now: float) -> tuple[RouteSeen, ...]:
        """Take in what was logged since the last look; facts on the routes asked for most."""
        for line in self._tail.fresh():
            self._take_in(line)
        return self._times.facts(now)

    def _take_in(self, line: Line) -> None:
        if line.answered is None or line.asked is None or line.method not in IDEMPOTENT_METHODS:
            return
        if not line.pool or line.pool.endswith(SOCKETS_SUFFIX) or (line.code or 500) >= 500:
            return
        route = (line.route or "/").rpartition(" ")[2]
        self._times.take(line.pool, line.path or "/", (line.answered - line.asked) / 1000, route)
