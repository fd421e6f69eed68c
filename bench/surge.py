"""The load grows to five times at once, and goes away again: how soon more instances are decided, why, and when they go."""

import asyncio

from bench.shop import Blueprint, Shop, Tell, crewboard
from bench.table import Figure, Unmeasured, at_most, holds, none_of, told
from bench.traffic import Load, failures, resent
from tenfold.facts import InstanceState
from tenfold.loop import DecisionRow, Tick
from tenfold.proof.load import LoadPlan, LoadResult, Mix, RateCurve, Request, Target

LOW_RPS = 40.0
HIGH_RPS = 5 * LOW_RPS
WAIT_MS = 200
COOLDOWN_S = 10.0
LOW_S = 8.0
HIGH_S = 14.0
GONE_S = 40.0
TICKS = 2
UP_ABOVE, DOWN_BELOW = 15, 6
MIN = 2
CHANGES: Blueprint = {
    "services": {
        "web": {
            "scaling": {
                "instances": {"min": MIN, "max": 6},
                "triggers": {
                    "concurrency": {"up_above": UP_ABOVE, "down_below": DOWN_BELOW, "cooldown": f"{COOLDOWN_S:.0f}s"},
                    "cpu": None,
                    "response_time": None,
                },
            }
        }
    }
}
WORDS = (
    f"GET /api/wait?ms={WAIT_MS} at {LOW_RPS:.0f}, then {HIGH_RPS:.0f} requests/s; concurrency trigger alone, "
    f"{UP_ABOVE} up, {DOWN_BELOW} down, cooldown {COOLDOWN_S:.0f} s"
)


async def load_x5(tell: Tell) -> list[Figure]:
    """Step the load up by five, and find the decision in the journal."""
    async with crewboard(tell, CHANGES) as shop:
        stepped_at, _, result = await _surge(shop, await shop.target(), tell, gone_s=1.0)
        ticks = shop.ticks(stepped_at)
        decision = _scaled(shop, stepped_at, "instead of")
        needed = decision.tick - ticks[0].seq + 1
        shown = [t for t in ticks if t.seq <= decision.tick and _in_flight(t) > UP_ABOVE * MIN]
        ready_s = _more_ready(ticks, stepped_at)
    return [
        at_most(
            "ticks from the first that shows the load until more instances are decided",
            float(len(shown)),
            TICKS,
            "",
            f"{len(shown)} (the {_ordinal(needed)} after the step, {decision.at - stepped_at:.2f} s after it)",
        ),
        at_most("step until more instances are decided", decision.at - stepped_at, 10.0, "s"),
        holds("the reason", "above" in decision.decision.why, decision.decision.why, "a sentence with the figures"),
        told("step until one more is ready", "never" if ready_s is None else f"{ready_s:.1f} s", ready_s),
        failures("requests failed", result),
        resent(result),
        told("how", WORDS),
    ]


async def load_gone(tell: Tell) -> list[Figure]:
    """Step the load up, let it go, and wait for the last instance that is too many."""
    async with crewboard(tell, CHANGES) as shop:
        stepped_at, gone_at, result = await _surge(shop, await shop.target(), tell, gone_s=GONE_S)
        most = max(_ready(t) for t in shop.ticks(stepped_at))
        if most <= MIN:
            raise Unmeasured("the load did not add an instance, so none could be let go")
        decision = _scaled(shop, gone_at, "needs only")
        back_s = next((t.at - gone_at for t in shop.ticks(decision.at) if _alive(t) == MIN), None)
        reasons = [r.decision.why for r in shop.decisions(gone_at) if "it ends" in r.decision.why]
        hurried = [why for why in reasons if "finished its requests" not in why]
    return [
        holds(
            f"back to min ({MIN}) from {most}",
            back_s is not None,
            "never" if back_s is None else f"{back_s:.1f} s after the load went",
            "yes",
        ),
        at_most(
            "and not sooner than the cooldown",
            COOLDOWN_S - (decision.at - gone_at),
            0.5,
            "s",
            f"decided after {decision.at - gone_at:.1f} s",
        ),
        none_of("let go before their requests were finished", len(hurried), f"{len(reasons)}", hurried),
        holds("the reason", "below" in decision.decision.why, decision.decision.why, "a sentence with the figures"),
        failures("requests failed", result),
        resent(result),
        told("how", WORDS),
    ]


async def _surge(shop: Shop, target: Target, tell: Tell, gone_s: float) -> tuple[float, float, LoadResult]:
    """Low, high, low; when it stepped up and when it was gone (seconds since the epoch)."""
    curve = RateCurve.steps((LOW_S, LOW_RPS), (HIGH_S, HIGH_RPS), (gone_s, LOW_RPS / 2))
    plan = LoadPlan(target, curve, Mix((Request("GET", f"/api/wait?ms={WAIT_MS}"),)))
    async with Load(plan, tell) as load:
        result = await load.whole()
    await asyncio.sleep(1.0)
    began_at = result.started_at_s
    return began_at + LOW_S, began_at + LOW_S + HIGH_S, result


def _scaled(shop: Shop, since: float, words: str) -> DecisionRow:
    found = [r for r in shop.decisions(since) if r.decision.by == "scale" and words in r.decision.why]
    if not found:
        said = [r.decision.why for r in shop.decisions(since)]
        raise Unmeasured(f"nothing was scaled; decided was: {'; '.join(said) or 'nothing'}")
    return found[0]


def _in_flight(tick: Tick) -> float:
    pool = tick.snapshot.pools.get("web@local")
    return pool.in_flight if pool else 0.0


def _ready(tick: Tick) -> int:
    seen = tick.snapshot.instances.values()
    return sum(i.service == "web" and i.state is InstanceState.READY for i in seen)


def _alive(tick: Tick) -> int:
    seen = tick.snapshot.instances.values()
    return sum(i.service == "web" and i.state is not InstanceState.EXITED for i in seen)


def _more_ready(ticks: list[Tick], since: float) -> float | None:
    return next((t.at - since for t in ticks if _ready(t) > MIN), None)


def _ordinal(number: int) -> str:
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number, 'th') }"
