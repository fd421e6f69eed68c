"""A pool that looks ahead, over time: forecasts of a calm load, and a story that remembers. For tests of scaling ahead."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tenfold.deciders.memory import PoolScale
from tenfold.deciders.scale.pool import scale_pool
from tenfold.effects import Decision
from tenfold.facts import (
    CapacitySeen,
    ForecastSeen,
    InstanceSeen,
    InstanceState,
    MetricSeen,
    PoolSeen,
    Snapshot,
    WorkSeen,
)
from tenfold.model import Forecast, Scaling, Service, Trigger

START = 29_000_000 * 60.0
POOL = "web@local"
TRAFFIC = f"{POOL}.requests_per_s"
HORIZONS_S = (60.0, 180.0, 360.0, 600.0, 1200.0, 2400.0, 3600.0)
LEVELS = (0.05, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998)
ABOVE = (0.9, 1.0, 1.04, 1.06, 1.08, 1.1, 1.12, 1.14, 1.16)
"""The quantiles of a calm series, over its median."""
ASKED = Forecast()
CONCURRENCY = Trigger("concurrency", 10, 5, 60)
"""With requests that take 0.1 s an instance bears 100 requests/s."""


def forecast(at: float, now: float, *expected: float, series: str = TRAFFIC) -> ForecastSeen:
    """A forecast made at `at`, whose medians by horizon are `expected`; the last of them stands for all that follow."""
    medians = [*expected, *[expected[-1]] * (len(HORIZONS_S) - len(expected))]
    return ForecastSeen(
        series,
        at,
        now,
        HORIZONS_S,
        LEVELS,
        tuple(tuple(over * m for m in medians) for over in ABOVE),
        86_400.0,
        "x",
        now,
    )


@dataclass
class Story:
    """One pool over time: `look` decides on what is now, and remembers. Instances are ready as soon as they are wanted."""

    service: Service = field(default_factory=lambda: web())
    memory: PoolScale | None = None
    now: float = START
    per_s: float = 100.0
    said: list[tuple[float, Decision]] = field(default_factory=list)
    stale: set[str] = field(default_factory=set)
    metrics: Mapping[str, float] = field(default_factory=dict)
    work: WorkSeen | None = field(default_factory=lambda: WorkSeen("web", "local", START, 0.1, 0.05, 55.0))
    holds: CapacitySeen | None = None

    @property
    def wanted(self) -> int:
        assert self.memory is not None
        return self.memory.wanted

    @property
    def sizes(self) -> list[str]:
        """`from>to` of every change."""
        found = [re.search(r"(\d+) instances? instead of (\d+)", decision.why) for _, decision in self.said]
        return [f"{match[2]}>{match[1]}" for match in found if match is not None]

    def look(
        self, *seen: ForecastSeen, seconds: float = 10.0, ready: int | None = None, errors_per_s: float = 0.0
    ) -> Decision | None:
        """A look so many seconds after the last one."""
        self.now += seconds
        count = ready if ready is not None else self.memory.wanted if self.memory is not None else 1
        there = [
            InstanceSeen(
                f"web-{i}", "web", "local", "r1", InstanceState.READY, 0.0, 0.0, self.now, memory_bytes=200_000_000
            )
            for i in range(count)
        ]
        fresh = {source: self.now for source in ("process", "gateway", "metrics") if source not in self.stale}
        pool = PoolSeen("web", "local", fresh.get("gateway", 0.0), self.per_s, errors_per_s, in_flight=self.per_s * 0.1)
        snapshot = Snapshot(
            taken_at=self.now,
            observed=fresh,
            pools={POOL: pool},
            metrics={f"{POOL}:{n}": MetricSeen("web", "local", n, v, self.now) for n, v in self.metrics.items()},
            forecasts={each.key: each for each in seen},
            works={POOL: self.work} if self.work is not None else {},
        )
        self.memory, decision = scale_pool(self.service, "local", there, snapshot, self.memory, self.holds)
        if decision is not None:
            self.said.append((self.now, decision))
        return decision

    def live(self, minutes: float, *expected: float, seconds: float = 10.0) -> None:
        """So many minutes of looks, with a new forecast each minute."""
        for _ in range(round(minutes * 60 / seconds)):
            at = (self.now + seconds) // 60 * 60
            self.look(forecast(at, self.per_s, *expected), seconds=seconds)


def web(low: int = 1, high: int = 20, *triggers: Trigger, asked: Forecast | None = ASKED) -> Service:
    """A service that looks ahead."""
    return Service("web", "serve", scaling=Scaling(low, high, triggers or (CONCURRENCY,), asked))


def running(count: int, at: float = START - 10_000, **changes: object) -> PoolScale:
    """A pool that has had so many for hours."""
    return replace(PoolScale(count, "so it was", at), **changes)  # type: ignore[arg-type]
