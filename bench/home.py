"""The region with the control plane that leads and with the primary of the database is lost, under writes near every region."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise

from bench.blows import beside
from bench.globe import PLACES, WAN, near
from bench.shop import Blueprint, Shop, Tell, crewboard
from bench.simregions import TakenOver, taken_over
from bench.strikes import striking
from bench.table import Figure, Unmeasured, at_most, holds, told
from bench.traffic import Writes, failures, resent, sign_in, steady, writes_kept, writing
from tenfold.effects import Promote
from tenfold.effects.faults import Kill
from tenfold.facts import ReplicaRole
from tenfold.proof.load import LoadResult, Mix, Request

WARM_S = 6.0
LOST_S = 25.0
BACK_S_MAX = 60.0
WITHIN_S = 10.0
READS_RPS = 60.0
WRITES_RPS = 8.0
"""Near each region."""
ASYNCHRONOUS_RPO_S = 5.0


def blueprint(is_synchronous: bool) -> Blueprint:
    """Crewboard in three regions with a standby of the database in the second."""
    data: Blueprint = {"replicas": 1, "synchronous": is_synchronous, "rto": "10s"}
    data["rpo"] = "0s" if is_synchronous else f"{ASYNCHRONOUS_RPO_S:.0f}s"
    two, one = {"scaling": {"instances": {"min": 2, "max": 2}}}, {"scaling": {"instances": {"min": 1, "max": 1}}}
    return {
        "services": {"web": two, "worker": one, "reports": None},
        "regions": {name: {"at": list(at)} for name, at in PLACES.items()},
        "edge": {"trust": ["127.0.0.0/8"]},
        "data": data,
    }


@dataclass(frozen=True, slots=True)
class Lost:
    """One loss: seconds until another control plane led, until its first promotion was decided, the longest pause between two
    acknowledged writes; whether the old primary followed the new one again and how long after its region was back."""

    leads_s: float | None
    promoted_s: Mapping[str, float]
    pause_s: float
    follows_s: float | None
    writes: Sequence[Writes]
    result: LoadResult


async def home_lost(tell: Tell) -> list[Figure]:
    """Lose it where writes wait for the standby, and where they do not."""
    figures: list[Figure] = []
    for is_synchronous in (True, False):
        what = "synchronous" if is_synchronous else "asynchronous"
        tell(what)
        async with crewboard(tell, blueprint(is_synchronous), *WAN) as shop:
            lost = await _lose(shop, tell)
        figures += _figures(what, is_synchronous, lost, await taken_over(is_synchronous))
    return figures


async def _lose(shop: Shop, tell: Tell) -> Lost:
    target = await shop.target()
    cookie = await sign_in(target)
    home = shop.home
    await shop.until(lambda: _follows(shop, home), "the standby follows the primary", 30.0)
    async with striking(shop) as harm, AsyncExitStack() as writing_all:
        writers = [
            await writing_all.enter_async_context(writing(target, cookie, WRITES_RPS, dict(near(region)), within_s=3.0))
            for region in PLACES
        ]
        mix = Mix(tuple(Request("GET", "/api/wait?ms=20", near(region)) for region in PLACES))
        async with steady(target, mix, tell, READS_RPS) as load:
            await asyncio.sleep(WARM_S)
            epoch = shop.latest().epoch
            struck_at = time.time()
            tell(f"{home} is killed and kept dead for {LOST_S:.0f} s")
            await harm.inflict(Kill(f"region/{home}", LOST_S))
            await asyncio.sleep(max(0.0, struck_at + LOST_S - time.time()))
            await harm.undo()
            follows_s: float | None = None
            try:
                await shop.until(lambda: _follows(shop, _primary(shop), home), f"{home} follows", BACK_S_MAX)
                follows_s = time.time() - struck_at - LOST_S
            except Unmeasured as error:
                tell(str(error))
            await asyncio.sleep(2.0)
            result = await load.end()
    pause_s = max(_pause_s(w.acknowledged_at, struck_at) for w in writers)
    ticks = shop.ticks(struck_at)
    leads_s = next((tick.at - struck_at for tick in ticks if tick.epoch > epoch), None)
    promoted = {
        effect.kind: row.at - struck_at
        for row in reversed(shop.decisions(struck_at))
        for effect in row.decision.effects
        if isinstance(effect, Promote)
    }
    tell(
        f"led again after {leads_s or 0:.1f} s, longest pause {pause_s:.1f} s, followed {follows_s or 0:.0f} s after the mend"
    )
    return Lost(leads_s, promoted, pause_s, follows_s, writers, result)


def _primary(shop: Shop) -> str:
    seen = shop.latest().snapshot.replicas.values()
    return next((r.region for r in seen if r.kind == "postgres" and r.role is ReplicaRole.PRIMARY), "")


def _follows(shop: Shop, primary: str, by: str = "") -> bool:
    """Whether a standby (in `by`, if it is named) follows the PostgreSQL in `primary` now."""
    snapshot = shop.latest().snapshot
    seen = snapshot.replicas.get(f"postgres/{primary}")
    if seen is None or seen.role is not ReplicaRole.PRIMARY:
        return False
    return by in seen.standbys if by else bool(seen.standbys)


def _pause_s(acknowledged_at: Sequence[float], struck_at: float) -> float:
    """The longest time without an acknowledged write since shortly before the blow, up to the last one."""
    late = [at for at in acknowledged_at if at >= struck_at - 1.0]
    return max((b - a for a, b in pairwise(late)), default=float("inf"))


def _figures(what: str, is_synchronous: bool, lost: Lost, sim: TakenOver) -> list[Figure]:
    acknowledged = sum(len(w.acknowledged) for w in lost.writes)
    gone = sum(w.lost for w in lost.writes)
    kept, twice, repeated = writes_kept(*lost.writes)
    promoted = ", ".join(f"{kind} {at:.2f} s" for kind, at in lost.promoted_s.items())
    return [
        at_most(f"{what}: the standby leads after", lost.leads_s, WITHIN_S, "s"),
        at_most(f"{what}: longest pause between acknowledged writes", lost.pause_s, WITHIN_S, "s"),
        kept
        if is_synchronous
        else told(
            "acknowledged writes lost",
            f"{gone:,} of {acknowledged:,}; declared: {ASYNCHRONOUS_RPO_S:.0f} s of them",
            gone,
        ),
        twice,
        repeated,
        holds(
            f"{what}: the old primary follows the new one",
            lost.follows_s is not None,
            "never" if lost.follows_s is None else f"{lost.follows_s:.1f} s after its region is back",
            "yes",
        ),
        failures(f"{what}: idempotent requests failed", lost.result),
        told(
            "  in sim",
            f"leads {beside(sim.leads_s, [lost.leads_s])}, writes {beside(sim.writes_s, [lost.pause_s])}, {sim.lost:.0f} lost",
        ),
        told("  promoted after", promoted),
        resent(lost.result),
    ]
