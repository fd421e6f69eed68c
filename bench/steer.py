"""Traffic is steered: how soon when the network changes, and how exactly when there is more of it than room."""

import asyncio
import time
from collections.abc import Sequence

from bench.blows import beside
from bench.globe import PLACES, WAN, everywhere, globe, people
from bench.moves import answers, shares
from bench.shop import Shop, Tell
from bench.simregions import full_load, further
from bench.strikes import striking
from bench.table import Figure, Unmeasured, at_most, told
from bench.traffic import failures, resent
from tenfold.effects.faults import Slow
from tenfold.proof.load import LoadPlan, LoadResult, RateCurve, run_apart

REGION = "north"
EXTRA_MS = 100.0
CHANGES = 3
RIGHT_S_MAX = 10.0
CHANGE_RPS = 150.0
CALM_S = 8.0
CAPACITIES = {"west": 4000, "east": 3000, "north": 3000}
THROUGHPUT_RPS = 400.0
OFFERED_RPS = 520.0
SETTLE_S = 30.0
COUNTED_S = 60.0
OFF_RATIO_MAX = 0.02


async def latency_change(tell: Tell) -> list[Figure]:
    """Make all ways of one region 100 ms longer under load, and mend them again: when the ways are right each time.

    The region's own clients come over the same network, so that the next region is nearer to them meanwhile: 80 ms beside 101.
    """
    longer: list[float | None] = []
    mended: list[float | None] = []
    async with globe(tell, None, *WAN) as shop, striking(shop) as harm:
        target = await shop.target()
        async with everywhere(target, tell, CHANGE_RPS) as load:
            await asyncio.sleep(CALM_S)
            for number in range(CHANGES):
                tell(f"change {number + 1} of {CHANGES}")
                at = time.time()
                await harm.inflict(Slow(f"region/{REGION}", EXTRA_MS, 120.0))
                longer.append(await _right_s(shop, at, is_home=False))
                await asyncio.sleep(CALM_S)
                at = time.time()
                await harm.undo()
                mended.append(await _right_s(shop, at, is_home=True))
                await asyncio.sleep(CALM_S)
            result = await load.end()
    sim_s = await further(EXTRA_MS)
    return [
        _times("the ways are right after the change", longer),
        told("  in sim", beside(sim_s, longer), sim_s),
        _times("the ways are right after it is mended", mended),
        failures("idempotent requests failed", result),
        told(
            "how",
            f"{CHANGES} times {EXTRA_MS:.0f} ms more, under {CHANGE_RPS:.0f} requests/s; right is when the journal leads 99% where it "
            "then stays",
        ),
        resent(result),
    ]


async def _right_s(shop: Shop, since: float, *, is_home: bool) -> float | None:
    """Seconds until the ways of the region's clients lead home, or away; None when they don't within three times the limit."""

    def is_right() -> bool:
        ratio = shop.latest().memory.regions.ways.get(f"{REGION}|", {}).get(REGION, 0.0)
        return ratio >= 0.99 if is_home else ratio <= 0.01

    try:
        await shop.until(is_right, "the ways are right", 3 * RIGHT_S_MAX)
    except Unmeasured:
        return None
    # What was seen may be a way through to somewhere else: it counts when it stays.
    await asyncio.sleep(CALM_S / 2)
    ratios = [(tick.at, tick.memory.regions.ways.get(f"{REGION}|", {}).get(REGION, 0.0)) for tick in shop.ticks(since)]
    wrong = [at for at, ratio in ratios if (ratio < 0.99 if is_home else ratio > 0.01)]
    right = [at for at, _ in ratios if not wrong or at > wrong[-1]]
    return right[0] - since if right else None


def _times(what: str, each_s: list[float | None]) -> Figure:
    worst = None if None in each_s else max(s for s in each_s if s is not None)
    shown = ", ".join("never" if s is None else f"{s:.1f} s" for s in each_s)
    return at_most(what, worst, RIGHT_S_MAX, "s", shown)


async def capacity_shares(tell: Tell) -> list[Figure]:
    """Offer more than there is room for, from clients near one region, and then near all: who answers which share."""
    changes = {
        "regions": {name: {"capacity": capacity} for name, capacity in CAPACITIES.items()},
        "targets": {"concurrent_users": 10_000, "throughput": f"{THROUGHPUT_RPS:.0f}/s"},
    }
    figures: list[Figure] = []
    results: list[LoadResult] = []
    async with globe(tell, changes, *WAN) as shop:
        target = await shop.target()
        for what, near in (("all near west", {"west": 1.0}), ("near all", dict.fromkeys(PLACES, 1.0))):
            tell(f"{OFFERED_RPS:.0f} requests/s, {what}")
            curve = RateCurve.steps((SETTLE_S + COUNTED_S, OFFERED_RPS))
            result = await run_apart(LoadPlan(target, curve, people(weights=near), seed=7))
            results.append(result)
            await asyncio.sleep(1.5)
            until = result.started_at_s + SETTLE_S + COUNTED_S
            found = shares(answers(shop.requests("entry")), until - COUNTED_S, until)
            meant = {name: capacity / sum(CAPACITIES.values()) for name, capacity in CAPACITIES.items()}
            off = max(abs(found.get(name, 0.0) - ratio) for name, ratio in meant.items())
            shown = ", ".join(f"{name} {found.get(name, 0.0):.2%}" for name in CAPACITIES)
            figures.append(
                at_most(
                    f"shares answered, {what}: off by",
                    100 * off,
                    100 * OFF_RATIO_MAX,
                    "%",
                    f"{100 * off:.2f}% ({shown})",
                )
            )
    sim = await full_load()
    in_sim = ", ".join(f"{name} {sim.shares.get(name, 0.0):.2%}" for name in CAPACITIES)
    return [
        *figures,
        told(
            "in sim", f"off by {100 * sim.off_ratio:.2f}% ({in_sim}), apart {_apart(figures, 100 * sim.off_ratio):.2f}%"
        ),
        failures("idempotent requests failed", *results),
        told(
            "how",
            f"10,000 users make {THROUGHPUT_RPS:.0f} requests/s, {OFFERED_RPS:.0f} are offered; the entry's log of {COUNTED_S:.0f} s",
        ),
        resent(*results),
    ]


def _apart(figures: Sequence[Figure], sim_percent: float) -> float:
    """How far the farthest of the real ones is from the simulated."""
    return max(abs(figure.value - sim_percent) for figure in figures if figure.value is not None)
