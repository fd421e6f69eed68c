"""One blow to a region of a project under load, from striking it until it serves as before: what the journal and the entry tell of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from bench.moves import Answer, answers, back_s, highest_p99_ms, moved_s, share
from bench.shop import Shop, Tell
from bench.simregions import Drilled
from bench.table import Figure, Unmeasured, at_most, told
from tenfold.deciders import RegionState
from tenfold.loop import Tick
from tenfold.proof.load import LoadResult

WARM_S = 4.0
CALM_S = 4.0
"""Before the blow, and after all is as it was."""
MOVED_S_MAX = 10.0
BACK_S_MAX = 60.0
BUMP_MS = 50.0
WAIT_S = BACK_S_MAX + 30.0
"""One that is not back by then is told not to come back."""
LOGGED_S = 1.5
"""The entry writes its log within a second."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A blow to a region; moments are seconds since the epoch. `left_s` is when the journal's ways left it after the blow (None: never);
    `returned_at` is when they first led to it again, and `why` what acted."""

    region: str
    struck_at: float
    mended_at: float
    over_at: float
    left_s: float | None
    returned_at: float
    why: str


async def strike(shop: Shop, tell: Tell, region: str, blow: Callable[[], Awaitable[None]], lasts_s: float) -> Strike:
    """Strike a region, and wait until it is mended and the journal leads everything there again."""
    await asyncio.sleep(WARM_S)
    struck_at = time.time()
    await blow()
    mended_at = struck_at + lasts_s
    # What is struck for a moment only must be seen to be struck before it is seen to be back.
    await asyncio.sleep(max(2.0, mended_at - time.time()))
    with suppress(Unmeasured):
        await shop.until(lambda: _is_home(shop.latest(), region), f"{region} is back", mended_at + WAIT_S - time.time())
    over_at = time.time()
    ticks = shop.ticks(struck_at)
    left = next((tick for tick in ticks if _ratio(tick, region) == 0.0), None)
    back = next((tick for tick in ticks if left and tick.at > left.at and _ratio(tick, region) > 0.0), None)
    why = left.memory.regions.regions[region].why if left else "nothing"
    left_s = left.at - struck_at if left else None
    tell(f"{region}: struck, left after {left_s or 0:.1f} s ({why}), back {over_at - mended_at:.0f} s after the mend")
    await asyncio.sleep(CALM_S)
    return Strike(region, struck_at, mended_at, over_at, left_s, back.at if back else over_at, why)


def _ratio(tick: Tick, region: str) -> float:
    return tick.memory.regions.ways.get(f"{region}|", {}).get(region, 0.0)


def _is_home(tick: Tick, region: str) -> bool:
    judged = tick.memory.regions.regions.get(region)
    return judged is not None and judged.state is RegionState.SERVING and _ratio(tick, region) > 0.99


async def logged(shop: Shop) -> list[Answer]:
    """All that the entry answered."""
    await asyncio.sleep(LOGGED_S)
    return answers(shop.requests("entry"))


def moves(found: Sequence[Answer], strikes: Sequence[Strike], sim: Drilled) -> list[Figure]:
    """When traffic left and returned, by the entry and by the journal; beside what the simulator says."""
    away = [moved_s(found, s.region, s.struck_at, s.returned_at) for s in strikes]
    back = [
        back_s(
            found, s.region, s.mended_at, s.over_at + CALM_S, share(found, s.region, s.struck_at - WARM_S, s.struck_at)
        )
        for s in strikes
    ]
    return [
        _worst("moved: nobody near it is held up after", away, MOVED_S_MAX, strikes),
        _worst("  and the journal's ways left it after", [s.left_s for s in strikes], MOVED_S_MAX, strikes),
        told("  what acted", "; ".join(dict.fromkeys(s.why for s in strikes))),
        _worst("back: it answers as before, after the mend", back, BACK_S_MAX, strikes),
        told(
            "in sim",
            f"{sim.failed_idempotent:.0f} of {sim.offered:,.0f} failed, moved {beside(sim.moved_s, away)}, "
            f"back {beside(sim.back_s, back)}",
        ),
    ]


def beside(sim_s: float | None, real_s: Sequence[float | None]) -> str:
    """What the simulator says, and how far the farthest of the real ones is from it."""
    if sim_s is None:
        return "never"
    apart_s = [abs(sim_s - s) for s in real_s if s is not None]
    return f"{sim_s:.1f} s (apart {max(apart_s):.1f} s)" if apart_s else f"{sim_s:.1f} s"


def bump(strikes: Sequence[Strike], results: Sequence[LoadResult]) -> Figure:
    """The worst second from the mend until all was back, beside the worst second of the time away: clients had the longer way then, so
    that nothing of the return need be worse."""
    excess: list[float] = []
    shown: list[str] = []
    for s, result in zip(strikes, results, strict=True):
        began = result.started_at_s
        away = highest_p99_ms(result.seconds, s.struck_at + MOVED_S_MAX - began, s.mended_at - began)
        back = highest_p99_ms(result.seconds, s.mended_at - began, s.over_at + CALM_S - began)
        if away is None or back is None:
            raise Unmeasured(f"the load itself was late in each second of {s.region}'s return: the machine is too busy")
        excess.append(back - away)
        shown.append(f"{s.region} {back:.0f} ms after {away:.0f} ms")
    what = "highest p99 of a second of the return, beyond that of a second away"
    return at_most(what, max(excess), BUMP_MS, "ms", ", ".join(shown))


def slowest(found: Sequence[Answer], results: Sequence[LoadResult]) -> str:
    """The slowest request as the entry saw it."""
    worst = max((s for r in results for s in r.slowest), key=lambda s: s.response_ms)
    at_entry = next((answer for answer in found if answer.id == worst.request_id), None)
    if at_entry is None:
        return f"{worst.response_ms:.0f} ms from when it was due; the entry did not log it"
    return (
        f"{worst.response_ms:.0f} ms from when it was due, {at_entry.total_ms:.0f} ms at the entry; near {at_entry.origin}, "
        f"answered by {at_entry.region} after {at_entry.tries} tries"
    )


def _worst(what: str, each_s: Sequence[float | None], limit_s: float, strikes: Sequence[Strike]) -> Figure:
    worst = None if None in each_s else max(s for s in each_s if s is not None)
    shown = ", ".join(
        f"{s.region} {'never' if at is None else f'{at:.1f} s'}" for s, at in zip(strikes, each_s, strict=True)
    )
    return at_most(what, worst, limit_s, "s", shown)
