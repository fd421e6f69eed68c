"""A region is killed, frozen, cut off, lossy or slow: what clients near every region notice, when its traffic moves, how it returns."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from bench.blows import Strike, bump, logged, moves, slowest, strike
from bench.globe import PLACES, WAN, everywhere, globe, people
from bench.moves import Answer
from bench.shop import Shop, Tell
from bench.simregions import Drilled, frozen, killed, lossy, partitioned, slower
from bench.strikes import striking
from bench.table import Figure, at_most, told
from bench.traffic import failures, resent
from tenfold.effects.faults import Fault, Freeze, Kill, Lose, Partition, Slow
from tenfold.facts import InstanceState
from tenfold.ports import Harm
from tenfold.proof.load import LoadPlan, LoadResult, RateCurve, Target, run_apart

REQUESTS = 100_000
KILL_RPS = 600.0
KILLED_ONCE_S = 45.0
"""A kill and the return take about so long: none is begun when fewer requests are left to be sent."""
RPS = 300.0
NORMAL_S = 15.0
FREEZE_S = 10.0
HARM_S = 25.0
BEYOND_MS = 250.0
LOSS_RATIO = 0.05
SLOW_MS = 300.0
STRUCK = ("north", "west")
"""One without the control plane that leads, and the one with it."""


async def region_kill(tell: Tell) -> list[Figure]:
    """Kill -9 the gateway and the instances of one region after another, until 100,000 requests were sent."""
    strikes: list[Strike] = []
    async with globe(tell, None, *WAN) as shop, striking(shop) as harm:
        target = await shop.target()
        async with everywhere(target, tell, KILL_RPS) as load:
            while not strikes or load.sent < REQUESTS - KILL_RPS * KILLED_ONCE_S:
                region = list(PLACES)[len(strikes) % len(PLACES)]
                blow = _kill(harm, [f"gateway/{region}", *_instances(shop, region)])
                strikes.append(await strike(shop, tell, region, blow, 0.0))
            await shop.until(lambda: load.sent >= REQUESTS + KILL_RPS, "all requests are sent", 2 * KILLED_ONCE_S)
            result = await load.end()
        found = await logged(shop)
    return [
        failures(f"idempotent requests failed, {len(strikes)} kills", result),
        *moves(found, strikes, await killed()),
        told("slowest request", slowest(found, [result])),
        resent(result),
    ]


def _kill(harm: Harm, names: Sequence[str]) -> Callable[[], Awaitable[None]]:
    async def blow() -> None:
        await asyncio.gather(*(harm.inflict(Kill(name)) for name in names))

    return blow


def _instances(shop: Shop, region: str) -> list[str]:
    seen = shop.latest().snapshot.instances.values()
    return sorted(i.id for i in seen if i.region == region and i.state is InstanceState.READY)


async def region_freeze(tell: Tell) -> list[Figure]:
    """SIGSTOP everything in a region for 10 s."""
    drill = await _drill(tell, lambda region: Freeze(f"region/{region}", FREEZE_S), FREEZE_S)
    normal_ms = drill.normal.service.p999_ms or 0.0
    # From the sending on: how late a busy generator was is not the edge's doing, and is told by itself.
    late_ms = max(r.service.max_ms or 0.0 for r in drill.results) - normal_ms
    slow = at_most(f"slowest request beyond its normal p99.9 ({normal_ms:.0f} ms)", late_ms, BEYOND_MS, "ms")
    return drill.figures(await frozen(), slow)


async def region_partition(tell: Tell) -> list[Figure]:
    """Cut one region off from all others and from the entry."""
    drill = await _drill(tell, lambda region: Partition(region, HARM_S), HARM_S)
    return drill.figures(await partitioned(), bump(drill.strikes, drill.results))


async def region_loss(tell: Tell) -> list[Figure]:
    """Lose 5% of all packets to and from one region."""
    drill = await _drill(tell, lambda region: Lose(region, LOSS_RATIO, HARM_S), HARM_S)
    return drill.figures(await lossy(LOSS_RATIO), bump(drill.strikes, drill.results))


async def region_slow(tell: Tell) -> list[Figure]:
    """Make everything to one region 300 ms slower."""
    drill = await _drill(tell, lambda region: Slow(f"region/{region}", SLOW_MS, HARM_S), HARM_S)
    return drill.figures(await slower(SLOW_MS), bump(drill.strikes, drill.results))


class _Drill:
    """What came of harming one region after the other."""

    def __init__(self, normal: LoadResult) -> None:
        self.normal = normal
        self.strikes: list[Strike] = []
        self.results: list[LoadResult] = []
        self.found: list[Answer] = []

    def figures(self, sim: Drilled, more: Figure) -> list[Figure]:
        """All of it, `more` being what only this drill must show."""
        return [
            failures(f"idempotent requests failed, {len(self.strikes)} times", self.normal, *self.results),
            more,
            told("  slowest request", slowest(self.found, self.results)),
            *moves(self.found, self.strikes, sim),
            resent(self.normal, *self.results),
        ]


async def _drill(tell: Tell, fault: Callable[[str], Fault], lasts_s: float) -> _Drill:
    """Harm one region after the other under load near all, each until it serves as before."""
    async with globe(tell, None, *WAN) as shop, striking(shop) as harm:
        target = await shop.target()
        tell(f"what is normal, {NORMAL_S:.0f} s")
        drill = _Drill(await _normal(target))
        for region in STRUCK:
            async with everywhere(target, tell, RPS) as load:

                async def blow(region: str = region) -> None:
                    await harm.inflict(fault(region))

                drill.strikes.append(await strike(shop, tell, region, blow, lasts_s))
                drill.results.append(await load.end())
        drill.found = await logged(shop)
    return drill


async def _normal(target: Target) -> LoadResult:
    return await run_apart(LoadPlan(target, RateCurve.steps((NORMAL_S, RPS)), people(), seed=100))
