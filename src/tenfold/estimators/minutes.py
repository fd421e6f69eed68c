"""Minute history: what pools showed, as means over each minute.
Stage: from snapshots to minutes, for the journal, estimators and reports.

Series are named by subject and figure: `web@local.requests_per_s`, `web@local.in_flight_max`, `postgres/local.busy_ms_mean`; what the app
posts by the metric's key: `web@local:concurrent_users`. `web@local.cold_starts` is how many there were in the minute, `web@local.start_s`
how long the slowest start took that ended in it.
"""

from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from tenfold.facts import InstanceSeen, InstanceState, MetricSeen, Snapshot

MINUTE_S = 60.0
SEEN_MINUTES_MIN = 20 * 60
"""Less than most of a day says little about what a day needs."""
FIGURES = (
    "requests_per_s",
    "errors_per_s",
    "in_flight",
    "sockets",
    "response_ms_mean",
    "response_ms_p50",
    "response_ms_p95",
    "response_ms_p99",
)
STORE_FIGURES = ("transactions_per_s", "busy_ms_mean", "connections")
FRESH_S = 5.0
METRICS_MAX = 200
"""So many metrics of apps are kept: a program that makes up names does not fill the journal."""


def _lacks(metric: MetricSeen, snapshot: Snapshot) -> bool:
    """Whether the share of one that serves is missing: what the others posted is not the metric's total."""
    serving = (snapshot.instances.get(id_) for id_ in metric.silent)
    return any(seen is not None and seen.state is InstanceState.READY for seen in serving)


_OF_POOL = attrgetter(*FIGURES)


class _Names(NamedTuple):
    """The series of a pool that are counted each tick."""

    figures: tuple[str, ...]
    in_flight_max: str
    instances: str
    cpu_cores_each: str
    memory_bytes_each: str


@lru_cache(maxsize=4096)
def _names(pool: str) -> _Names:
    """Of the pool with that key; asked each tick, and always the same."""
    figures = tuple(f"{pool}.{name}" for name in FIGURES)
    return _Names(figures, *(f"{pool}.{name}" for name in _Names._fields[1:]))


class Minutes:
    """Adds up ticks until their minute is over. A minute that the loop saw only in part has the mean of that part; figures that
    were not fresh are left out, never counted as zero."""

    def __init__(self) -> None:
        self._minute = 0
        # The sum of each series' values, and how many there were.
        self._sums: dict[str, list[float]] = {}
        self._peaks: dict[str, float] = {}
        self._totals: dict[str, float] = {}
        self._cold: dict[str, int] = {}
        self._starting: set[str] = set()
        self._due: dict[tuple[int, str], float] = {}

    @property
    def due(self) -> dict[tuple[int, str], float]:
        """Finished minutes that are not written yet, by minute and series."""
        return self._due

    def written(self) -> None:
        """`due` is in the journal now."""
        self._due = {}

    def add(self, snapshot: Snapshot) -> None:
        """Count `snapshot` in."""
        minute = int(snapshot.taken_at // MINUTE_S)
        if minute != self._minute:
            self._finish()
            self._minute = minute
        if snapshot.fresh("gateway", FRESH_S):
            for key, pool in snapshot.pools.items():
                names = _names(key)
                for name, value in zip(names.figures, _OF_POOL(pool), strict=True):
                    if value is not None:
                        self._count(name, value)
                if pool.in_flight > self._peaks.setdefault(names.in_flight_max, 0.0):
                    self._peaks[names.in_flight_max] = pool.in_flight
        for key, cold in snapshot.cold_starts.items():
            before = self._cold.get(key, 0)
            self._cold[key] = cold.starts
            # Who counts may have begun anew.
            if (fresh := cold.starts - before if cold.starts >= before else cold.starts) > 0:
                self._totals[f"{key}.cold_starts"] = self._totals.get(f"{key}.cold_starts", 0.0) + fresh
                self._peaks[f"{key}.cold_wait_ms_max"] = cold.wait_ms_max or 0.0
        for key in sorted(snapshot.metrics)[:METRICS_MAX]:
            metric = snapshot.metrics[key]
            if metric.is_fresh(snapshot.taken_at) and not _lacks(metric, snapshot):
                self._count(key, metric.value)
        for key, store in snapshot.stores.items():
            if -1.0 <= snapshot.taken_at - store.seen_at <= FRESH_S:
                for name in STORE_FIGURES:
                    if (value := getattr(store, name)) is not None:
                        self._count(f"{key}.{name}", value)
        for spend in snapshot.spend.values():
            self._count("spend.per_hour", spend.per_hour)
        if snapshot.fresh("process", FRESH_S):
            ready: dict[str, int] = {}
            self._starting &= snapshot.instances.keys()
            for instance in snapshot.instances.values():
                pool_key = f"{instance.service}@{instance.region}"
                names = _names(pool_key)
                ready[names.instances] = ready.get(names.instances, 0) + (instance.state is InstanceState.READY)
                self._count_start(instance, pool_key)
                if instance.cpu_cores is not None and instance.is_warm(snapshot.taken_at):
                    self._count(names.cpu_cores_each, instance.cpu_cores)
                if instance.memory_bytes is not None:
                    self._count(names.memory_bytes_each, instance.memory_bytes)
            for name, count in ready.items():
                self._count(name, count)

    def _count_start(self, instance: InstanceSeen, pool_key: str) -> None:
        """How long a start took that was seen to begin, and now to end."""
        if instance.state is InstanceState.STARTING:
            self._starting.add(instance.id)
        elif instance.id in self._starting:
            self._starting.discard(instance.id)
            if instance.state is InstanceState.READY:
                series, took_s = f"{pool_key}.start_s", instance.since - instance.started_at
                self._peaks[series] = max(self._peaks.get(series, 0.0), took_s)

    def _count(self, series: str, value: float) -> None:
        counted = self._sums.get(series)
        if counted is None:
            self._sums[series] = [value, 1]
        else:
            counted[0] += value
            counted[1] += 1

    def _finish(self) -> None:
        for series, (total, count) in self._sums.items():
            self._due[self._minute, series] = total / count
        for series, peak in self._peaks.items():
            self._due[self._minute, series] = peak
        for series, total in self._totals.items():
            self._due[self._minute, series] = total
        self._sums, self._peaks, self._totals = {}, {}, {}
