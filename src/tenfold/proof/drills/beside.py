"""The load beside a drill: put on, asked about each second, ended. Stage: a plan -> what its clients counted."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial

from tenfold.model import Scenario
from tenfold.proof.drills.stage import DrillRefused
from tenfold.proof.load import (
    LoadError,
    LoadPlan,
    LoadResult,
    Mix,
    Progress,
    RateCurve,
    Request,
    Second,
    Target,
    UserCurve,
    UserPlan,
    run_apart,
    run_users,
)

_Play = Callable[[Callable[[Progress], None], asyncio.Event], Coroutine[None, None, LoadResult]]

LONGEST_S = 3600.0
BEGINS_WITHIN_S = 30.0
SETTLE_S = 3.0
COME_PER_S = 10.0
"""So many users come each second."""
CALM_S = 0.5
"""Between the end of what is watched and the end of the load: what is under way then is answered."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked for beside a drill: `users` who play `scenario`, or `rate_rps` of its actions a second; without a scenario, of `path`.

    `places` (latitude and longitude, as `x-tenfold-place` has them) are where clients are, as many at each; none: nobody says.
    """

    rate_rps: float = 50.0
    users: int | None = None
    scenario: Scenario | None = None
    path: str = "/"
    places: tuple[str, ...] = ()

    def times(self, factor: float) -> "Demand":
        """So many times as much."""
        users = None if self.users is None else max(1, round(self.users * factor))
        return replace(self, rate_rps=self.rate_rps * factor, users=users)

    @property
    def warm_up_s(self) -> float:
        """How long it takes until all have come and signed in: what is measured begins after that."""
        if self.scenario is None:
            return 0.0
        return SETTLE_S + (self.users / COME_PER_S if self.users is not None else 0.0)

    @property
    def said(self) -> str:
        """In words."""
        what = f"scenario {self.scenario.name}" if self.scenario else f"GET {self.path}"
        who = f"{self.users:,} users of {what}" if self.users else f"{self.rate_rps:g} requests/s of {what}"
        return who + (f", near {len(self.places)} places alike" if len(self.places) > 1 else "")


class Beside:
    """A load that goes on until `end`, or for `seconds`."""

    def __init__(self, target: Target, demand: Demand, seed: int, seconds: float = LONGEST_S) -> None:
        """Nothing is sent until `begin`. Raises `DrillRefused` when the demand can't be played."""
        self._stop = asyncio.Event()
        self._players = _players(target, demand, seed, seconds)
        self._tasks: list[asyncio.Task[LoadResult]] = []
        self._last: dict[int, Second] = {}

    @property
    def failed(self) -> int | None:
        """Requests of the newest second that failed; None before there was one."""
        return sum(second.failed for second in self._last.values()) if self._last else None

    @property
    def p99_ms(self) -> float | None:
        """Of the newest second, where clients wait longest; None without an answer."""
        return max((second.p99_ms for second in self._last.values() if second.p99_ms is not None), default=None)

    async def begin(self) -> None:
        """Send; returns after the first second. Raises `DrillRefused` when the load can't be made."""
        self._tasks = [
            asyncio.create_task(play(partial(self._heard, number), self._stop))
            for number, play in enumerate(self._players)
        ]
        until_s = asyncio.get_running_loop().time() + BEGINS_WITHIN_S
        while len(self._last) < len(self._tasks) and not any(task.done() for task in self._tasks):
            if asyncio.get_running_loop().time() > until_s:
                raise DrillRefused(f"the load did not begin within {BEGINS_WITHIN_S:g} s: this machine is too busy")
            await asyncio.sleep(0.05)
        if any(task.done() for task in self._tasks):
            await self.whole()

    async def whole(self) -> list[LoadResult]:
        """Wait until its time is over; what came of it, by place."""
        try:
            return list(await asyncio.gather(*(asyncio.shield(task) for task in self._tasks)))
        except LoadError as error:
            raise DrillRefused(f"the load can't be made: {error}") from None

    async def end(self) -> list[LoadResult]:
        """Stop sending, and tell what came of it, by place."""
        await asyncio.sleep(CALM_S)
        self._stop.set()
        return await self.whole()

    async def close(self) -> None:
        """End it, whatever it is at."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _heard(self, number: int, progress: Progress) -> None:
        self._last[number] = progress.second


def _players(target: Target, demand: Demand, seed: int, seconds: float) -> list[_Play]:
    """What plays a demand: one for each place where there is a scenario."""
    near: list[tuple[tuple[str, str], ...]] = [(("x-tenfold-place", place),) for place in demand.places]
    places = near or [()]
    try:
        if demand.scenario is None:
            mix = Mix(tuple(Request("GET", demand.path, headers) for headers in places))
            return [partial(run_apart, LoadPlan(target, RateCurve.steps((seconds, demand.rate_rps)), mix, seed=seed))]
        return [
            partial(run_users, _plan(target, demand.scenario, demand, 1 / len(places), seed + number, seconds, headers))
            for number, headers in enumerate(places)
        ]
    except LoadError as error:
        raise DrillRefused(f"the load can't be made: {error}") from None


def _plan(
    target: Target,
    scenario: Scenario,
    demand: Demand,
    share: float,
    seed: int,
    seconds: float,
    headers: tuple[tuple[str, str], ...],
) -> UserPlan:
    here = demand.times(share)
    if here.users is not None:
        # All at once they would sign in at once.
        curve = UserCurve.steps((seconds, here.users), ramp_s=demand.warm_up_s - SETTLE_S)
        return UserPlan(target, scenario, curve, seed=seed, headers=headers, warm_up_s=demand.warm_up_s)
    rate = RateCurve.steps((seconds, here.rate_rps))
    return UserPlan(target, scenario, arrivals=rate, seed=seed, headers=headers, warm_up_s=demand.warm_up_s)
