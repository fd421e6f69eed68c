"""Metrics that apps post, as facts: the shares of a service's instances added up. An observer whose world is what was posted."""

from collections.abc import Callable
from dataclasses import replace

from tenfold.facts import Fact, MetricSeen
from tenfold.ports import Clock
from tenfold.wire import MetricPost

SHARE_AGE_S_MAX = 90.0
"""A share older than this no longer counts: its instance has ended or stopped posting."""
SILENT_S_MAX = 600.0
"""So long it is told that a share is missing; later its instance is taken for one that posts no more by design."""
SHARES_MAX = 10_000
"""Shares kept at the most, so that a broken app cannot fill the memory."""


class PostedMetrics:
    """Keeps the last share of each instance; observed, it answers with totals by service, region and name."""

    source = "metrics"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shares: dict[tuple[str, str, str, str], tuple[float, float]] = {}

    def post(self, post: MetricPost) -> None:
        """Take in one share; raises ValueError when too many different ones are kept already."""
        key = (post.service, post.region, post.name, post.instance)
        if key not in self._shares and len(self._shares) >= SHARES_MAX:
            raise ValueError(f"more than {SHARES_MAX} different metrics are being posted: this one is not kept")
        self._shares[key] = (post.value, self._clock.now())

    async def observe(self) -> tuple[Fact, ...]:
        """Totals of shares that are young enough; a metric nobody posts any more is absent, not zero."""
        now = self._clock.now()
        # A share from the future was posted before the clock was set back: how old it is can't be told any more.
        self._shares = {k: v for k, v in self._shares.items() if 0 <= now - v[1] <= SILENT_S_MAX}
        totals: dict[tuple[str, str, str], MetricSeen] = {}
        silent: dict[tuple[str, str, str], list[str]] = {}
        for (service, region, name, instance), (value, at) in self._shares.items():
            key = service, region, name
            if now - at > SHARE_AGE_S_MAX:
                silent.setdefault(key, []).append(instance)
                continue
            before = totals.get(key)
            total, seen_at = (before.value + value, max(before.seen_at, at)) if before else (value, at)
            totals[key] = MetricSeen(*key, total, seen_at)
        return tuple(replace(seen, silent=tuple(sorted(silent.get(key, ())))) for key, seen in totals.items())

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Metrics can wait for the next tick."""
