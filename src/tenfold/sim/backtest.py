"""A policy against a recorded load, one pool, minute by minute: what it costs and where it is short. Stage: trace + policy -> figures.

The smallest world in which scaling can be compared: in each minute the pool has so many instances that serve, and is short where the load
is more than these hold. What is asked for serves a start time later, what is let go is gone at once, and figures arrive when their minute
has ended: a minute late. Queues, regions and failures are `World`'s; this one plays three days in a second.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tenfold.deciders.memory import PoolScale
from tenfold.deciders.scale.pool import scale_pool
from tenfold.estimators.forecast import Forecaster
from tenfold.facts import (
    CapacitySeen,
    ForecastSeen,
    InstanceSeen,
    InstanceState,
    PoolSeen,
    Snapshot,
    WorkSeen,
)
from tenfold.model import Forecast, Scaling, Service, Trigger

MINUTE_S = 60.0
REVERSED_MINUTES = 10
"""An action the other way within so long takes back the one before."""
POOL = "web@local"
SERIES = f"{POOL}.requests_per_s"
HELD_PER_S = 1.0
"""What one instance holds: the load is given in instances."""
INSTANCES_MAX = 1000
HELD = Trigger("capacity", up_above=1.0, down_below=0.8)
"""An instance is asked for what it holds, and for no more."""

Policy = Callable[[int, float, int, int], int]
"""(minute, load of the minute before, instances asked for, of these ready) -> instances to have from now on."""


@dataclass(frozen=True, slots=True)
class Backtest:
    """What came of it. `needed` is what a clairvoyant has, each minute just enough; instances and load are by minute; `actions` are the
    minutes in which the number changed, with by how much."""

    load: tuple[float, ...]
    instances: tuple[int, ...]
    actions: tuple[tuple[int, int], ...]

    @property
    def needed(self) -> int:
        """Instance-minutes of the clairvoyant."""
        return sum(max(1, math.ceil(load - 1e-9)) for load in self.load)

    @property
    def cost_ratio(self) -> float:
        """Instance-minutes over the clairvoyant's."""
        return sum(self.instances) / self.needed

    @property
    def short_ratio(self) -> float:
        """The share of minutes (0..1) in which the load was more than the instances held."""
        short = sum(load > there + 1e-9 for load, there in zip(self.load, self.instances, strict=True))
        return short / len(self.load)

    @property
    def actions_a_day(self) -> float:
        return len(self.actions) * 1440 / len(self.load)

    @property
    def reversals_a_day(self) -> float:
        """Actions a day that took back another within ten minutes."""
        pairs = zip(self.actions, self.actions[1:], strict=False)
        back = sum(by * was < 0 and at - before <= REVERSED_MINUTES for (before, was), (at, by) in pairs)
        return back * 1440 / len(self.load)


def backtest(load: Sequence[float], policy: Policy, start_minutes: int, before: float | None = None) -> Backtest:
    """Play `load` (in instances, by minute) under `policy`. It begins with what the load of the minute `before` the first needs."""
    known = load[0] if before is None else before
    wanted = ready = max(1, math.ceil(known))
    starting: list[int] = []
    had: list[int] = []
    actions: list[tuple[int, int]] = []
    for minute, asked in enumerate(load):
        while starting and starting[0] <= minute:
            ready += 1
            starting.pop(0)
        chosen = max(1, policy(minute, known, wanted, ready))
        if chosen != wanted:
            actions.append((minute, chosen - wanted))
        starting += [minute + start_minutes] * max(0, chosen - wanted)
        for _ in range(max(0, wanted - chosen)):
            # Whoever is only starting goes first.
            if starting:
                starting.pop()
            else:
                ready -= 1
        wanted = chosen
        had.append(ready)
        known = asked
    return Backtest(tuple(load), tuple(had), tuple(actions))


@dataclass
class Tenfold:
    """Our own policy: `deciders.scale.pool`, as it always is, over a snapshot of what this world shows.

    `forecasts[i]` is what was forecast when minute i began (None: nothing). The pool's one `trigger` is about what an instance holds, and
    its forecast asks for `confidence_ratio`.
    """

    forecasts: Sequence[ForecastSeen | None]
    start_minutes: int
    confidence_ratio: float = 0.95
    began_at: float = 0.0
    trigger: Trigger = HELD
    decisions: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        scaling = Scaling(1, INSTANCES_MAX, (self.trigger,), Forecast(confidence_ratio=self.confidence_ratio))
        self._service = Service("web", "serve", scaling=scaling)
        self._memory: PoolScale | None = None

    def __call__(self, minute: int, known: float, wanted: int, ready: int) -> int:
        now = self.began_at + minute * MINUTE_S
        if self._memory is None:
            self._memory = PoolScale(wanted, "as it began", now - 2 * 900.0)
        forecast = self.forecasts[minute]
        holds = CapacitySeen("web", "trace", "", HELD_PER_S, 1.0, 1.0, 100.0, 0.0, now, now)
        there = [
            InstanceSeen(f"web-{i}", "web", "local", "r1", InstanceState.READY, 0.0, 0.0, now) for i in range(ready)
        ]
        snapshot = Snapshot(
            taken_at=now,
            observed={"process": now, "gateway": now, "capacity": now},
            pools={POOL: PoolSeen("web", "local", now, requests_per_s=known)},
            forecasts={forecast.series: forecast} if forecast is not None else {},
            works={POOL: WorkSeen("web", "local", now, start_s=self.start_minutes * MINUTE_S)},
        )
        self._memory, decision = scale_pool(self._service, "local", there, snapshot, self._memory, holds)
        if decision is not None:
            self.decisions.append((minute, decision.why))
        return self._memory.wanted


def foretold(
    values: Sequence[float | None], first_minute: int, from_index: int, refit_every: int = 30
) -> Iterator[ForecastSeen | None]:
    """What was forecast as each minute of `values` from `from_index` on began, knowing all minutes before it; the first has number
    `first_minute` since the epoch."""
    forecaster = Forecaster(SERIES, refit_every)
    forecaster.load([(first_minute + i, v) for i, v in enumerate(values[: from_index - 1]) if v is not None])
    for index in range(from_index, len(values)):
        forecaster.observe(first_minute + index - 1, values[index - 1])
        yield forecaster.fact
