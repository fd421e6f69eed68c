"""Series over time for the page: a day by minutes, the last minutes by seconds. Stage: minute history or ticks -> contract.

Every figure is a sum or a weighted mean of what the journal holds; a step in which nothing was seen has none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from msgspec import Struct

from tenfold.console import parts
from tenfold.console.regions import traffic_of
from tenfold.facts import InstanceState, Window
from tenfold.loop import Tick

SECONDS_MAX = 900.0
"""By seconds up to this long; longer by minutes."""
POINTS_MAX = 2000
POINTS = 720
MINUTE_S = 60.0
PERCENTILES = ("p50", "p95", "p99")
SUMS = ("requests_per_s", "errors_per_s")

Figures = Mapping[str, float]
"""By series, at one moment."""


class History(Struct, frozen=True):
    """`series[name][i]` is the mean over step `start + i * step_s`; null where nothing was seen."""

    start: float
    step_s: float
    series: dict[str, list[float | None]]


@dataclass(frozen=True, slots=True)
class Span:
    """What was asked for: from `start` to `end` in `count` steps of `step_s`."""

    start: float
    end: float
    step_s: float

    @classmethod
    def of(cls, start: float, end: float, points: int) -> "Span":
        """Steps of whole seconds up to `SECONDS_MAX`, of whole minutes beyond; no more than `points` of them."""
        length_s = max(end - start, 1.0)
        grain_s = 1.0 if length_s <= SECONDS_MAX else MINUTE_S
        step_s = grain_s * max(1, -(-length_s // (grain_s * max(1, points))))
        return cls(start // step_s * step_s, end, step_s)

    @property
    def is_by_seconds(self) -> bool:
        return self.step_s < MINUTE_S

    @property
    def count(self) -> int:
        return max(1, -int(-(self.end - self.start) // self.step_s))


def history(span: Span, points: Iterable[tuple[float, Figures]]) -> History:
    """The means of `points` (their time, their figures) over each step of `span`."""
    count = span.count
    sums: dict[str, list[float]] = {}
    counts: dict[str, list[int]] = {}
    for at, figures in points:
        index = int((at - span.start) // span.step_s)
        if not 0 <= index < count:
            continue
        for name, value in figures.items():
            if name not in sums:
                sums[name], counts[name] = [0.0] * count, [0] * count
            sums[name][index] += value
            counts[name][index] += 1
    series = {
        name: [round(total / n, 3) if n else None for total, n in zip(sums[name], counts[name], strict=True)]
        for name in sorted(sums)
    }
    return History(span.start, span.step_s, series)


def figures(tick: Tick) -> Figures:
    """What one tick shows, by series."""
    snapshot = tick.snapshot
    pools = list(parts.fresh_pools(snapshot).values())
    found: dict[str, float | None] = {}
    if pools:
        traffic = traffic_of(pools)
        found |= {name: traffic[name] for name in SUMS}
        found |= {f"{p}_ms": traffic[f"response_ms_{p}"] for p in PERCENTILES}
        for region in {pool.region for pool in pools}:
            mine = traffic_of([pool for pool in pools if pool.region == region])
            found |= {f"region:{region}:{name}": mine[name] for name in SUMS}
    found["users"] = parts.users_of(parts.posted_users(snapshot), pools)
    if snapshot.fresh("process", MINUTE_S):
        found["instances"] = float(sum(i.state is InstanceState.READY for i in snapshot.instances.values()))
    spend = next(iter(snapshot.spend.values()), None)
    found["cost_per_hour"] = spend.per_hour if spend is not None else None
    return {name: value for name, value in found.items() if value is not None}


def minutes(window: Window) -> Iterable[tuple[float, Figures]]:
    """What each minute of `window` shows, by series: the same as `figures`, from the means that the journal keeps."""
    by_pool: dict[str, dict[str, tuple[float | None, ...]]] = {}
    for name, values in window.series.items():
        # A metric of the app (`web@local:concurrent_users`) is no figure of a pool; names have no dot.
        pool, _, figure = name.rpartition(":" if ":" in name else ".")
        by_pool.setdefault(pool, {})[figure] = values
    length = max((len(values) for values in window.series.values()), default=0)
    for index in range(length):
        now = {
            pool: {figure: value for figure, values in figures_.items() if (value := values[index]) is not None}
            for pool, figures_ in by_pool.items()
        }
        yield window.start + index * window.step_s, _minute({pool: f for pool, f in now.items() if f})


def _minute(pools: Mapping[str, Mapping[str, float]]) -> Figures:
    found: dict[str, float] = {}
    seen = [figures_ for figures_ in pools.values() if "requests_per_s" in figures_]
    for name in SUMS if seen else ():
        found[name] = sum(figures_.get(name, 0.0) for figures_ in seen)
    for p in PERCENTILES:
        told = [(f[f"response_ms_{p}"], f["requests_per_s"]) for f in seen if f"response_ms_{p}" in f]
        if (whole := sum(weight for _, weight in told)) > 0:
            found[f"{p}_ms"] = sum(value * weight for value, weight in told) / whole
    for pool, figures_ in pools.items():
        for name in SUMS if "requests_per_s" in figures_ else ():
            key = f"region:{pool.partition('@')[2]}:{name}"
            found[key] = found.get(key, 0.0) + figures_.get(name, 0.0)
    posted = [figures_[parts.USERS] for figures_ in pools.values() if parts.USERS in figures_]
    if posted or seen:
        sockets = sum(figures_.get("sockets", 0.0) for figures_ in seen)
        found["users"] = sum(posted) if posted else sockets or sum(f.get("in_flight", 0.0) for f in seen)
    if "per_hour" in (spend := pools.get("spend", {})):
        found["cost_per_hour"] = spend["per_hour"]
    ready = [figures_["instances"] for figures_ in pools.values() if "instances" in figures_]
    if ready:
        found["instances"] = sum(ready)
    return found
