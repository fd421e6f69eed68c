"""The clairvoyant: it knows all that is to come, and wastes nothing. What others cost is told against what it costs.

    needed(t) = ceil(demand(t) / holds)               within the bounds
    wanted(t) = max of needed over [t, t + start]     an instance that is let go can't be back any sooner

`demand` are requests/s, `holds` the requests/s that one instance holds, `start` the seconds a start takes until the instance serves.
So there is always as much as is needed, a start is asked for just in time, and what is not needed goes at once.
"""

import math
from collections import deque

from tenfold.deciders.memory import ScaleMemory
from tenfold.deciders.scale.triggers import count
from tenfold.effects import Decision
from tenfold.facts import Snapshot
from tenfold.model import Model, Release
from tenfold.sim.policies.pools import Choice, Pool, Truth, each_pool
from tenfold.sim.rates import Rate


def needed(demand_per_s: float, holds_per_s: float, low: int, high: int) -> int:
    """The fewest instances that hold so much demand, within the bounds."""
    return min(max(math.ceil(demand_per_s / holds_per_s - 1e-9), low), high)


class Oracle:
    """Knows the demand on one pool. Times are seconds since the world began."""

    def __init__(
        self, demand_per_s: Rate, holds_per_s: float, start_s: float, low: int, high: int, step_s: float = 1.0
    ) -> None:
        """`demand_per_s` tells requests/s at any time; one instance holds `holds_per_s` of it and serves `start_s` after it was asked for;
        it is asked every `step_s`, and looks at the demand as often. Raises `ValueError` where an instance holds nothing, time does not
        pass, or the bounds leave no number."""
        if holds_per_s <= 0 or step_s <= 0 or start_s < 0 or high < low:
            raise ValueError(
                "an oracle needs instances that hold something, a step of time, and a number that is allowed"
            )
        self._demand_per_s, self._holds_per_s, self._step_s = demand_per_s, holds_per_s, step_s
        # What is decided now stands until the next decision, and that one takes a start to show.
        self._ahead = math.ceil(start_s / step_s - 1e-9) + 1
        self.low, self.high = low, high
        self._looked: int | None = None
        self._coming: deque[tuple[int, float]] = deque()

    def peak_per_s(self, now_s: float) -> float:
        """The most that is asked for, in requests/s, until a start that is asked for with the next decision would serve."""
        now = math.floor(now_s / self._step_s + 1e-9)
        if self._looked is None or now < self._looked - self._ahead or now > self._looked:
            # It begins, or the clock jumped.
            self._coming.clear()
            self._looked = now - 1
        while self._looked < now + self._ahead:
            self._looked += 1
            demand_per_s = self._demand_per_s(self._looked * self._step_s)
            while self._coming and self._coming[-1][1] <= demand_per_s:
                self._coming.pop()
            self._coming.append((self._looked, demand_per_s))
        while self._coming[0][0] < now:
            self._coming.popleft()
        return self._coming[0][1]

    def desired(self, now_s: float) -> int:
        """How many instances there should be, those that start included."""
        return needed(self.peak_per_s(now_s), self._holds_per_s, self.low, self.high)


class OracleScaler:
    """Chooses the numbers by what is to come on each pool. One whose demand or whose instances nobody knows keeps its minimum."""

    def __init__(self, truth: Truth) -> None:
        """`truth` is what the simulation knows: of each pool the demand, of each service what one instance holds and how long it takes to
        start."""
        self._truth = truth
        self._oracles: dict[str, tuple[float, Oracle]] = {}

    def __call__(
        self, model: Model, release: Release, snapshot: Snapshot, memory: ScaleMemory
    ) -> tuple[ScaleMemory, tuple[Decision, ...]]:
        """The wanted number of every pool."""
        return each_pool(model, release, snapshot, memory, self._choose, self._truth.holds_per_s)

    def _choose(self, pool: Pool) -> Choice:
        truth, scaling, holds = self._truth, pool.service.scaling, pool.holds_per_s
        demand_per_s = truth.demand_per_s.get(pool.key)
        if demand_per_s is None or holds is None or holds <= 0:
            return Choice(scaling.instances_min, "nothing is known to come")
        start_s = truth.start_s.get(pool.service.name, 0.0)
        known = self._oracles.get(pool.key)
        if known is None or known[0] != holds:
            oracle = Oracle(demand_per_s, holds, start_s, scaling.instances_min, scaling.instances_max, truth.step_s)
            known = self._oracles[pool.key] = (holds, oracle)
        oracle = known[1]
        oracle.low, oracle.high = scaling.instances_min, scaling.instances_max
        now_s = pool.now - truth.began_at
        wanted = oracle.desired(now_s)
        if wanted == pool.wanted:
            return Choice(wanted)
        figure = (
            f"at most {oracle.peak_per_s(now_s):.3g} requests/s come within the {start_s:g} s that a start takes, "
            f"and {count(1)} holds {holds:.3g}"
        )
        return Choice(wanted, figure, (figure,))
