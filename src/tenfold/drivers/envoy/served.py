"""Readings of an Envoy's statistics become exact counts of what it served and of what was late. Stage: world -> facts, without I/O.

Envoy keeps the times of answers, whole milliseconds, in bins of two significant digits. A target of two digits (500 ms, 75 ms) is the
edge of a bin, so that what was sooner is counted exactly; with any other, the bin that it falls into counts as late.
"""

from dataclasses import dataclass

from tenfold.drivers.envoy.stats import PoolReading, Reading
from tenfold.facts import ServedSeen
from tenfold.render.envoy import SOCKETS_SUFFIX

ROUNDING_MS = 1e-6
"""Edges of bins come as binary fractions."""


@dataclass(slots=True)
class Served:
    """Counts of one edge (`entry`, or a region) since it was first looked at. `within_ms` is the target for 95% of the answers."""

    edge: str
    within_ms: float | None = None
    requests: int = 0
    failed: int = 0
    timed: int = 0
    late: int = 0
    last: Reading | None = None

    def start_over(self) -> None:
        """Another process has taken its place: all that this one has counted is new."""
        if self.last is not None:
            self.last = Reading(0.0, None, {})

    def look(self, reading: Reading, at: float) -> ServedSeen:
        """Count what was served since the reading before. At the first one nothing is known of before."""
        if self.last is not None:
            self._take(self.last, reading)
        self.last = reading
        return ServedSeen(self.edge, at, self.requests, self.failed, self.timed, self.late)

    def _take(self, before: Reading, now: Reading) -> None:
        for name, last in now.pools.items():
            first = before.pools.get(name, PoolReading())
            if last.completed < first.completed:
                first = PoolReading()  # the pool was taken away and came again: it counts from nothing
            if last.completed < last.errors:
                continue  # an Envoy that was started by a Tenfold which did not have it count this
            self.requests += last.completed - first.completed
            self.failed += last.errors - first.errors
            if name.endswith(SOCKETS_SUFFIX) or last.bins == first.bins:
                continue  # a socket's time is how long it was open
            for bin_, count in last.bins.items():
                fresh = count - first.bins.get(bin_, 0)
                self.timed += fresh
                if self.within_ms is not None and bin_[0] + bin_[1] > self.within_ms + ROUNDING_MS:
                    self.late += fresh
