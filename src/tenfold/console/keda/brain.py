"""The brain of one pool that another keeps: a project's own estimators and decider, over figures that were read elsewhere. Stage: figures
-> snapshot -> decision -> answer.

It reads no clock and waits for nothing. What it does not know it does not make up: who calls it calls it only with a load that was read.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tenfold.console.keda.asked import Asked
from tenfold.deciders.memory import PoolScale, ScaleMemory
from tenfold.deciders.scale import scale
from tenfold.deciders.scale.triggers import CAPACITY, count
from tenfold.estimators.forecast import Forecaster
from tenfold.estimators.minutes import MINUTE_S
from tenfold.facts import CapacitySeen, InstanceSeen, InstanceState, PoolSeen, Snapshot, WorkSeen
from tenfold.model import Model, Region, Release

RECENT_S = CAPACITY.cooldown_s
"""What was needed so short a while ago would not have been let go of yet."""
SERVED_S = 3600.0
"""For so long, as far as we are told, every instance that is ready has been."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a pool is to have: `wanted` instances, and why. `is_active` is False while it may have none; it was thought at `seen_at`."""

    wanted: int
    is_active: bool
    why: str
    seen_at: float


class Brain:
    """Thinks for the pool of `asked`, which is called `region` where a project has regions."""

    def __init__(self, asked: Asked, region: str) -> None:
        self._asked, self._region = asked, region
        service = asked.service
        self.key = f"{service.name}@{region}"
        self.series = f"{self.key}.requests_per_s"
        release = Release("r1", {service.name: service}, "", 0.0)
        self._release = release
        self._model = Model(
            service.name, {service.name: service}, {region: Region(region)}, releases={release.id: release}
        )
        self._forecaster = Forecaster(self.series)
        self._memory: ScaleMemory | None = None
        self._peak = 0.0

    def begin(self, peak: float) -> None:
        """The highest load of the last `RECENT_S`: where what runs is not told, the pool begins with what that needed."""
        self._peak = peak

    def remember(self, minutes: Sequence[tuple[int, float]]) -> None:
        """Take up what was long before: minutes (since the epoch) with their load, oldest first. What is known already is passed over."""
        self._forecaster.load(list(minutes))

    def learn(self, minutes: Sequence[tuple[int, float]]) -> None:
        """The same with minutes that have just ended: each is held against what was foretold of it."""
        for minute, load in minutes:
            self._forecaster.observe(minute, load)

    def think(self, now: float, load: float, ready: int | None) -> Answer:
        """What the pool is to have at `now`, with `load` on it and `ready` instances that serve (None: as many as it was last to have)."""
        memory = self._memory or self._first(now, max(load, self._peak), ready)
        pool = memory.pools[self.key]
        if pool.changed_at >= now:
            # The clock was set back: what was seen just now is news all the same.
            memory = ScaleMemory({self.key: replace(pool, changed_at=now - MINUTE_S)})
        seen = self._snapshot(now, load, pool.wanted if ready is None else ready)
        self._memory, _ = scale(self._model, self._release, seen, memory)
        pool = self._memory.pools[self.key]
        why = "; ".join(filter(None, (pool.why, pool.holding)))
        return Answer(pool.wanted, pool.wanted > 0, why, now)

    def _first(self, now: float, peak: float, ready: int | None) -> ScaleMemory:
        """Where to begin: with what runs, or else with what the last minutes needed. Beginning with the minimum would be a scale-down on
        nothing but our own start."""
        scaling = self._asked.service.scaling
        trigger = next(iter(scaling.triggers), CAPACITY)
        middle = (trigger.up_above + trigger.down_below) / 2
        needed = math.ceil(peak / (self._asked.holds * middle) - 1e-9)
        why = f"it begins with what the last {RECENT_S / 60:.0f} minutes needed: up to {peak:.3g} requests/s, {self._asked.holds:.3g} each"
        if ready:
            needed, why = ready, f"it begins with what ran when the scaler began to look: {count(ready)}"
        # What is asked to sleep falls asleep by the decider's rule, not by our start.
        wanted = scaling.clamp(max(needed, 1))
        if wanted != needed:
            why += f"; {'at most' if wanted < needed else 'at least'} {count(wanted)}"
        # As if they had been added just now: none goes before the forecasts of some minutes agree.
        return ScaleMemory({self.key: PoolScale(wanted, why, now, raised_at=now)})

    def _snapshot(self, now: float, load: float, ready: int) -> Snapshot:
        """The figures as facts. Nobody saw single instances: those that are ready stand for themselves."""
        name, release = self._asked.service.name, self._release.id
        instances = {
            f"{name}-{n}": InstanceSeen(
                f"{name}-{n}", name, self._region, release, InstanceState.READY, now - SERVED_S, now - SERVED_S, now
            )
            for n in range(1, ready + 1)
        }
        pool = PoolSeen(name, self._region, now, requests_per_s=load)
        holds = CapacitySeen(name, "", "", self._asked.holds, 0.0, 0.0, 1.0, 0.0, now, now)
        work = WorkSeen(name, self._region, now, start_s=self._asked.start_s)
        forecast = self._forecaster.fact
        return Snapshot(
            taken_at=now,
            observed=dict.fromkeys(("process", "gateway", "capacity", "levels"), now),
            instances=instances,
            pools={pool.key: pool},
            capacities={holds.key: holds},
            forecasts={} if forecast is None else {forecast.key: forecast},
            works={work.key: work},
        )
