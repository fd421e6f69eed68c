"""One pool's number, from what its triggers show and what is to come: any trigger adds, all must agree to let go.

A trigger's reading is a figure per instance. Above `up_above` in two looks in a row, the pool is given as many
instances as bring the figure to the middle of its band: `wanted = ceil(ready * reading / middle)`, with `middle =
(up_above + down_below) / 2` (the rule of Kubernetes' HorizontalPodAutoscaler, algorithm details, with a band in place
of its tolerance). Below `down_below` for the whole of its cooldown, in all triggers, it lets go of what it does not
need by the same rule. A reading that is missing or stale, or an outage a short while ago, means hold. While instances start, what
waits for them is no reason to ask for more of them.

Where `tenfold measure` has told what one instance holds, requests per second against it are one more trigger, `capacity`.
What was measured of another source or command than what serves says nothing, and then there is no such trigger.

With a forecast (see `ahead`) instances are there before the load is, and go once it will not be back soon, instead of after a cooldown.
Actions are few: what was added stays for eleven minutes; for so long after some were let go no more go, and none is added for what is only
expected; what goes must be worth it; and the forecasts of the last eight minutes have to agree.
"""

import math
from dataclasses import replace

from tenfold.deciders.memory import PoolScale
from tenfold.deciders.scale.ahead import Outlook, is_foreseen, outlook
from tenfold.deciders.scale.floors import starts_s
from tenfold.deciders.scale.needs import MINUTE_S
from tenfold.deciders.scale.triggers import (
    QUEUE_S,
    TRAFFIC_AGE_S_MAX,
    Reading,
    count,
    describe,
    duration,
    read,
    triggers_of,
    without_queue,
)
from tenfold.effects import Decision
from tenfold.facts import CapacitySeen, InstanceSeen, PoolSeen, Snapshot
from tenfold.model import Service

AFTER_OUTAGE_S = 120.0
"""No scale-down so soon after a pool could not serve: the users are coming back."""
STEP_GAP_S = 30.0
"""Response time does not tell how many instances are missing:
it adds a quarter, then waits this long to see the effect."""
STAYS_S = 660.0
"""What was added stays so long, and after some were let go nothing is added for so long for what is only expected: an action is never
taken back within ten minutes, but for what is seen."""
AGREED_S = 480.0
"""The forecasts of so long must agree before any instance goes."""
EXPECTED_RATIO_MAX = 0.99
"""What is only expected is never as sure as what is seen."""


def scale_pool(
    service: Service,
    region: str,
    ready: list[InstanceSeen],
    snapshot: Snapshot,
    before: PoolScale | None,
    holds: CapacitySeen | None = None,
    least: int | None = None,
) -> tuple[PoolScale, Decision | None]:
    """One pool, whose `ready` instances share its load (each `holds` so much, where that was measured): its new memory, and the decision
    when something changed that a person would ask about. It lets go down to `least` at this hour (None: the blueprint's minimum); that it
    has so many is another's business."""
    now, key = snapshot.taken_at, f"{service.name}@{region}"
    low, high = service.scaling.instances_min, service.scaling.instances_max
    if before is None:
        return PoolScale(low, f"{low} is the least the blueprint asks for", now), None
    clamped = service.scaling.clamp(before.wanted)
    if clamped != before.wanted:
        return _change(before, key, clamped, f"the blueprint now allows {low} to {high} instances", (), now)
    if not snapshot.fresh("process", TRAFFIC_AGE_S_MAX):
        return replace(before, high_since={}, low_since={}), None
    pool = snapshot.pools.get(key)
    triggers = triggers_of(service, holds)
    readings = tuple(read(t, service, region, snapshot, ready, holds) for t in triggers)
    added_s = starts_s(service, region, snapshot) + QUEUE_S
    if len(ready) < before.wanted or _is_within(before.raised_at, added_s, now):
        readings = tuple(without_queue(r, service, region, snapshot, ready) for r in readings)
    memory = _remember(before, readings, _troubled(pool, ready, before, now), now)
    stays = low if least is None else max(low, least)
    asked = max(
        (_to_bound(r, len(ready)) for r in readings if r.value is not None and is_foreseen(r.trigger)), default=1
    )
    coming = outlook(service, region, snapshot, triggers, holds, before.wanted, max(stays, asked))
    raised = _raise(memory, key, readings, len(ready), high, coming, now)
    if coming is None:
        # A forecast that is late takes back nothing that was added for it.
        is_young = service.scaling.forecast is not None and _is_within(memory.raised_at, STAYS_S, now)
        return raised or (_hold(memory, key, "") if is_young else _lower(memory, key, readings, len(ready), stays, now))
    memory = _agree(memory, coming)
    return (
        raised
        or _raise_ahead(memory, key, readings, coming, len(ready), high, now)
        or _lower_ahead(memory, key, readings, coming, len(ready), stays, now)
    )


def _troubled(pool: PoolSeen | None, ready: list[InstanceSeen], before: PoolScale, now: float) -> float | None:
    """The last time the pool could not serve: nobody was ready, or most answers were errors."""
    failing = pool is not None and pool.errors_per_s > 0.5 * pool.requests_per_s
    return now if not ready or failing else before.troubled_at


def _remember(before: PoolScale, readings: tuple[Reading, ...], troubled_at: float | None, now: float) -> PoolScale:
    """Carry the unbroken rows of high and low looks on; a missing look breaks a row of low ones."""
    high, low = {}, {}
    for reading in readings:
        name = reading.trigger.metric
        if reading.value is None:
            continue
        if reading.value > reading.trigger.up_above:
            high[name] = min(before.high_since.get(name, reading.seen_at), reading.seen_at)
        if reading.value < reading.trigger.down_below:
            low[name] = min(before.low_since.get(name, now), now)
    if (before.high_since, before.low_since, before.troubled_at) == (high, low, troubled_at):
        return before
    return replace(before, high_since=high, low_since=low, troubled_at=troubled_at)


def _raise(
    memory: PoolScale,
    key: str,
    readings: tuple[Reading, ...],
    ready: int,
    high: int,
    coming: Outlook | None,
    now: float,
) -> tuple[PoolScale, Decision | None] | None:
    """More instances, when a trigger was above its bound in two looks; None when none was."""
    loud = [r for r in readings if (since := memory.high_since.get(r.trigger.metric)) is not None and r.seen_at > since]
    # Starting instances will share the load soon: a step by response time waits until the last one showed its effect.
    if 0 <= now - memory.changed_at < STEP_GAP_S or ready < memory.wanted:
        loud = [r for r in loud if r.trigger.metric != "response_time"]
    if not loud:
        return None
    loudest = max(loud, key=lambda r: _asked(r, ready, coming))
    seen = _asked(loudest, ready, coming)
    needed = max(seen, coming.due, coming.enough) if coming is not None else seen
    if min(needed, high) <= memory.wanted:
        return None
    what = describe(loudest, "above")
    if coming is not None and needed > seen:
        what = f"{what}, and {coming.words}"
    return _more(memory, key, needed, high, "", what, readings, now)


def _asked(reading: Reading, ready: int, coming: Outlook | None) -> int:
    """How many instances a reading asks for: as many as bring it to the middle of its band; where a forecast keeps room for what is to
    come, no more than bring it to its bound."""
    is_covered = coming is not None and is_foreseen(reading.trigger)
    return _to_bound(reading, ready) if is_covered else reading.wanted(ready)


def _to_bound(reading: Reading, ready: int) -> int:
    """As many instances as bring the reading to its bound."""
    return math.ceil(ready * reading.asks / reading.trigger.up_above - 1e-9)


def _asked_now(readings: tuple[Reading, ...], ready: int) -> int:
    """How many instances what is seen asks for at least, of what can be foreseen."""
    return max((_to_bound(r, ready) for r in readings if r.value is not None and is_foreseen(r.trigger)), default=1)


def _more(
    memory: PoolScale, key: str, needed: int, high: int, when: str, what: str, readings: tuple[Reading, ...], now: float
) -> tuple[PoolScale, Decision]:
    """As many as are `needed`, or as the blueprint allows. `when` they are needed (empty: now) and `what` for goes into the reason."""
    wanted = min(needed, high)
    limit = f", the most the blueprint allows (it would take {needed})" if needed > high else ""
    need = "will need" if when else "needs"
    why = f"{key} {need} {count(wanted)} instead of {memory.wanted}{when}{limit}: {what}"
    memory, decision = _change(memory, key, wanted, why, readings, now)
    clamps = (f"maximum: {wanted} instead of {needed}: the most the blueprint allows",) if needed > high else ()
    return memory, replace(decision, clamps=clamps)


def _lower(
    memory: PoolScale, key: str, readings: tuple[Reading, ...], ready: int, low: int, now: float
) -> tuple[PoolScale, Decision | None]:
    """Fewer instances, when every trigger agrees and nothing says hold; otherwise the memory as it is."""
    lows = [r for r in readings if r.trigger.metric in memory.low_since]
    if memory.wanted <= low or not lows:
        return _hold(memory, key, "")
    missing = [r for r in readings if r.value is None]
    if len(lows) + len(missing) < len(readings):
        return _hold(memory, key, "")
    if not missing:
        if any(now - memory.low_since[r.trigger.metric] < r.trigger.cooldown_s for r in lows):
            return _hold(memory, key, "")
        if memory.troubled_at is None or now - memory.troubled_at >= AFTER_OUTAGE_S:
            # Never below what any trigger needs, and never more than halved at once: what is let go is slow to come back.
            wanted = max(low, (memory.wanted + 1) // 2 if ready else memory.wanted, *(r.wanted(ready) for r in lows))
            if wanted >= memory.wanted:
                return _hold(memory, key, "")
            quiet = max(lows, key=lambda r: r.wanted(ready))
            why = f"{key} needs only {count(wanted)} instead of {memory.wanted}: {describe(quiet, 'below')}"
            return _change(memory, key, wanted, why, readings, now)
        holding = f"{key} keeps {count(memory.wanted)} although they are idle: it could not serve a short while ago"
    else:
        alarming = next((r for r in missing if not r.is_awaited), None)
        holding = f"{key} keeps {count(memory.wanted)} although they seem idle: {alarming.why}" if alarming else ""
    return _hold(memory, key, holding)


def _agree(memory: PoolScale, coming: Outlook) -> PoolScale:
    """Remember the most that was to be kept since this forecast was made, beside what those of the last minutes said."""
    most = coming.kept
    if memory.steady and memory.steady[-1][0] == coming.known_at:
        most = max(most, memory.steady[-1][1])
        if most == memory.steady[-1][1]:
            return memory
    kept = tuple(each for each in memory.steady if coming.known_at - AGREED_S < each[0] < coming.known_at)
    return replace(memory, steady=(*kept, (coming.known_at, most)))


def _raise_ahead(
    memory: PoolScale, key: str, readings: tuple[Reading, ...], coming: Outlook, ready: int, high: int, now: float
) -> tuple[PoolScale, Decision] | None:
    """More instances, when what there is will not do by the time that others would be ready; None when it will. What a bound that is passed
    just now asks for is in it: nobody waits for a second look to add these too."""
    if coming.due <= memory.wanted or memory.wanted >= high or _is_within(memory.lowered_at, STAYS_S, now):
        return None
    loud = (r for r in readings if r.value is not None and r.value > r.trigger.up_above and is_foreseen(r.trigger))
    needed = max(coming.due, coming.enough, *(_asked(r, ready, coming) for r in loud))
    when = f" in {duration(coming.lead_s)}"
    memory, decision = _more(memory, key, needed, high, when, coming.words, readings, now)
    return memory, replace(decision, confidence_ratio=round(min(coming.chance_ratio, EXPECTED_RATIO_MAX), 4))


def _lower_ahead(
    memory: PoolScale, key: str, readings: tuple[Reading, ...], coming: Outlook, ready: int, low: int, now: float
) -> tuple[PoolScale, Decision | None]:
    """Fewer instances, when those that go will not be needed soon and nothing says hold; otherwise the memory as it is."""
    wanted = max(kept for _, kept in memory.steady)
    if wanted >= memory.wanted or not ready:
        return _hold(memory, key, "")
    missing = [r for r in readings if r.value is None]
    if missing:
        alarming = next((r for r in missing if not r.is_awaited), None)
        holding = f"{key} keeps {count(memory.wanted)} although they seem idle: {alarming.why}" if alarming else ""
        return _hold(memory, key, holding)
    others = [r.trigger for r in readings if not is_foreseen(r.trigger)]
    if any(now - memory.low_since.get(t.metric, now) < max(t.cooldown_s, 1e-9) for t in others):
        return _hold(memory, key, "")
    if _is_within(memory.troubled_at, AFTER_OUTAGE_S, now):
        why = f"{key} keeps {count(memory.wanted)} although fewer would do: it could not serve a short while ago"
        return _hold(memory, key, why)
    if _is_within(memory.raised_at, STAYS_S, now) or _is_within(memory.lowered_at, STAYS_S, now):
        return _hold(memory, key, "")
    if memory.steady[-1][0] - memory.steady[0][0] < AGREED_S - MINUTE_S:
        # A new pool, or forecasts that have only just come again.
        return _hold(memory, key, "")
    clamps = []
    if coming.kept > coming.fewest:
        by = "fewer would be needed again too soon to be worth it"
        by = "what is asked of them now" if coming.kept == _asked_now(readings, ready) else by
        by = "the least at this hour" if coming.kept == low else by
        clamps.append(f"{coming.kept} instead of {coming.fewest}: {by}")
    if wanted > coming.kept:
        clamps.append(
            f"damping: {wanted} instead of {coming.kept}: the forecasts of the last {duration(AGREED_S)} have to agree"
        )
    why = f"{key} will do with {count(wanted)} instead of {memory.wanted}: {coming.kept_words}"
    memory, decision = _change(memory, key, wanted, why, readings, now)
    return memory, replace(decision, clamps=tuple(clamps))


def _is_within(at: float | None, seconds: float, now: float) -> bool:
    """True for less than `seconds` after `at`; never before it, since then the clock was set back."""
    return at is not None and 0 <= now - at < seconds


def _hold(memory: PoolScale, key: str, holding: str) -> tuple[PoolScale, Decision | None]:
    """Let nothing go; say why once, where there is something to say."""
    if memory.holding == holding:
        return memory, None
    return replace(memory, holding=holding), Decision("", "scale", key, (), holding) if holding else None


def _change(
    memory: PoolScale, key: str, wanted: int, why: str, readings: tuple[Reading, ...], now: float
) -> tuple[PoolScale, Decision]:
    facts = tuple(describe(r, "bound") for r in readings)
    after = replace(memory, wanted=wanted, why=why, changed_at=now, high_since={}, low_since={}, holding="")
    if wanted > memory.wanted:
        after = replace(after, raised_at=now)
    elif wanted < memory.wanted:
        after = replace(after, lowered_at=now)
    return after, Decision("", "scale", key, (), why, facts)
