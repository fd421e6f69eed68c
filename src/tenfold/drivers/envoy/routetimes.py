"""Feeds what the access log tells of answered requests to the estimator of route times. Stage: world -> estimators -> facts.

The time is that of the try that answered, counted from when its instance was asked: a hedge that had to wait for a
frozen instance says nothing about the route, and an honestly slow page is slow however often it was tried.
"""

from pathlib import Path

from tenfold.drivers.envoy.accesslog import Line, decode
from tenfold.estimators import RouteTimes
from tenfold.facts import RouteSeen
from tenfold.render.envoy import IDEMPOTENT_METHODS, SOCKETS_SUFFIX

READ_BYTES_MAX = 512 * 1024
"""So much of the log is read at a look, its newest part: about a thousand requests, which is sample enough."""


class LoggedTimes:
    """One region's access log, read as it grows."""

    def __init__(self, region: str, log: Path) -> None:
        self._log = log
        self._times = RouteTimes(region)
        self._offset: int | None = None
        self._file_id: tuple[int, int] | None = None

    def look(self, now: float) -> tuple[RouteSeen, ...]:
        """Take in what was logged since the last look; facts on the routes asked for most."""
        for line in self._fresh_lines():
            self._take_in(line)
        return self._times.facts(now)

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
        route = (line.route or "/").rpartition(" ")[2]
        self._times.take(line.pool, line.path or "/", (line.answered - line.asked) / 1000, route)
