"""Lets an idle pool sleep, and wakes it. Stage: a pool's number -> none, or the first one again.

A pool whose blueprint allows no instance (`min: 0`) loses its last one after `scaling.idle` without a request, without an open socket and
with every posted metric at zero. It is woken at once by a request that waits for it, by a metric that rises, by a scheduled floor, and
before a start would be too late for the requests that the forecast's upper bound tells of. Nothing is put to sleep on facts that are
missing or stale, nor just after an outage: its users are coming back.

While a pool sleeps, and until its first instance is ready, its triggers have nothing to read: it is decided on here alone.
"""

from dataclasses import dataclass, replace

from tenfold.deciders.memory import PoolScale
from tenfold.deciders.scale.ahead import FORECAST_AGE_S_MAX
from tenfold.deciders.scale.floors import Least, starts_s
from tenfold.deciders.scale.needs import at_level
from tenfold.deciders.scale.pool import AFTER_OUTAGE_S
from tenfold.deciders.scale.triggers import TRAFFIC_AGE_S_MAX, count, duration, warm_cores
from tenfold.effects import Decision
from tenfold.facts import ForecastSeen, InstanceSeen, Snapshot
from tenfold.model import Service

DUE_PER_S = 1 / 60
"""Requests are due where at least one is expected within a minute."""
MARGIN_S = 60.0
"""A start is begun so much earlier than it takes: a forecast is by the minute, and of the minute before."""


@dataclass(frozen=True, slots=True)
class _Call:
    """Why a pool should be awake, in words. `confidence_ratio` as in `Decision`."""

    why: str
    confidence_ratio: float = 1.0


def first(snapshot: Snapshot, least: int = 0) -> PoolScale:
    """A pool that may sleep, at its beginning: awake, since the instance that proved its release is there."""
    return PoolScale(max(1, least), "it may sleep, and has one instance to begin with", snapshot.taken_at)


def is_zeros(service: Service, before: PoolScale | None, ready: list[InstanceSeen], now: float) -> bool:
    """True for a pool that sleeps or is just waking: `wake` decides on it. One that was woken and is not ready in the time that a start
    may take is no longer: then something is wrong with it."""
    if before is None or not service.may_sleep:
        return False
    if before.wanted == 0:
        return True
    waking_s = None if before.woken_at is None else now - before.woken_at
    return waking_s is not None and not ready and 0 <= waking_s <= service.health.starts_within_s


def wake(
    service: Service, region: str, snapshot: Snapshot, before: PoolScale, least: Least
) -> tuple[PoolScale, Decision | None]:
    """A pool that sleeps: woken when anything asks for it, `least` (what the clock asks for at this hour) included."""
    if before.wanted > 0:
        return before, None
    key, now = f"{service.name}@{region}", snapshot.taken_at
    call = _called(service, region, snapshot, before, least)
    if call is None:
        return before, None
    wanted = min(max(1, least.instances), service.scaling.instances_max)
    why = f"{key} wakes: {call.why}"
    slept_s = now - before.changed_at
    facts = (f"asleep for {duration(slept_s)}",) if slept_s >= 0 else ()
    after = PoolScale(wanted, why, now, troubled_at=before.troubled_at, woken_at=now)
    return after, Decision("", "scale", key, (), why, facts, confidence_ratio=call.confidence_ratio)


def doze(
    service: Service,
    region: str,
    ready: list[InstanceSeen],
    snapshot: Snapshot,
    before: PoolScale | None,
    scaled: tuple[PoolScale, Decision | None],
    least: int = 0,
) -> tuple[PoolScale, Decision | None]:
    """A pool that is awake, which had `before` and is now to have what `scaled` says: that, or none when it has been idle for long
    enough."""
    pool, decision = scaled
    key, now = f"{service.name}@{region}", snapshot.taken_at
    if ready and pool.woken_at is not None:
        pool = replace(pool, woken_at=None)
    is_quiet, unknown = _quiet(service, region, ready, snapshot)
    since = None
    if is_quiet:
        known = pool.quiet_since
        # Set back, the clock can't tell any more how long it has been.
        since = now if known is None or known > now else known
    if since != pool.quiet_since:
        pool = replace(pool, quiet_since=since)
    if pool.wanted > 1 or least > 0 or decision is not None:
        return pool, decision
    if since is None:
        return _keep(pool, key, before, unknown)
    if now - since < service.scaling.idle_s:
        return pool, None
    if keeps := _keeps(service, region, ready, snapshot, pool):
        return _keep(pool, key, before, keeps)
    why = f"{key} sleeps: {_idle(service)} for {duration(service.scaling.idle_s)}"
    asleep = PoolScale(0, why, now, troubled_at=pool.troubled_at)
    return asleep, Decision("", "scale", key, (), why, _seen(service, region, snapshot))


def _keep(pool: PoolScale, key: str, before: PoolScale | None, why: str) -> tuple[PoolScale, Decision | None]:
    """Awake although idle; say why once."""
    if not why:
        return pool, None
    holding = f"{key} stays awake: {why}"
    is_new = before is None or before.holding != holding
    return replace(pool, holding=holding), Decision("", "scale", key, (), holding) if is_new else None


# --- what asks for it -------------------------------------------------------------------------------------------------


def _called(service: Service, region: str, snapshot: Snapshot, before: PoolScale, least: Least) -> _Call | None:
    """What asks for a pool that sleeps, the surest first."""
    key, now = f"{service.name}@{region}", snapshot.taken_at
    cold = snapshot.cold_starts.get(key)
    if cold is not None and cold.waiting > 0 and -1.0 <= now - cold.seen_at <= TRAFFIC_AGE_S_MAX:
        return _Call("1 request waits for it" if cold.waiting == 1 else f"{cold.waiting} requests wait for it")
    if cold is not None and before.changed_at < cold.arrived_at <= now + 1.0:
        return _Call("a request came for it")
    pool = snapshot.pools.get(key)
    if pool is not None and before.changed_at < pool.seen_at <= now + 1.0 and pool.requests_per_s > 0:
        return _Call(f"{pool.requests_per_s:.3g} requests/s came for it")
    for trigger in service.scaling.triggers:
        metric = snapshot.metrics.get(f"{key}:{trigger.metric}") if trigger.is_posted else None
        if metric is not None and metric.value > 0 and metric.is_fresh(now):
            return _Call(f"{trigger.metric} is {metric.value:g}")
    if least.instances > 0:
        return _Call(f"{count(least.instances)} at least by {least.why or 'the blueprint'}")
    return _due(service, region, snapshot)


def _due(service: Service, region: str, snapshot: Snapshot) -> _Call | None:
    """Requests that may come before a start that began later would be ready; None where nothing tells of any."""
    key, asked = f"{service.name}@{region}", service.scaling.forecast
    seen = snapshot.forecasts.get(f"{key}.requests_per_s")
    if asked is None or seen is None or not -1.0 <= snapshot.taken_at - seen.seen_at <= FORECAST_AGE_S_MAX:
        return None
    until = snapshot.taken_at + starts_s(service, region, snapshot) + MARGIN_S
    bound = min(
        (level for level in seen.levels if level >= asked.confidence_ratio), default=max(seen.levels, default=0.0)
    )
    most = _most(seen, bound, snapshot.taken_at, until)
    if most < DUE_PER_S:
        return None
    due = [level for level in seen.levels if _most(seen, level, snapshot.taken_at, until) >= DUE_PER_S]
    within = duration(until - snapshot.taken_at)
    return _Call(f"up to {most:.3g} requests/s are expected within {within} ({bound:.0%} bound)", 1 - min(due))


def _most(seen: ForecastSeen, level: float, now: float, until: float) -> float:
    """The highest value of that quantile between now and then: horizons lie minutes apart, and what is due may lie between two."""
    within = (h for h in seen.horizons_s if now <= seen.seen_at + h <= until)
    return max(at_level(seen, ahead_s, level) for ahead_s in (*within, until - seen.seen_at))


# --- whether it is idle -----------------------------------------------------------------------------------------------


def _quiet(service: Service, region: str, ready: list[InstanceSeen], snapshot: Snapshot) -> tuple[bool, str]:
    """Whether nobody wants anything of the pool now; where that can't be told, no, and why where a person should know."""
    key, now = f"{service.name}@{region}", snapshot.taken_at
    if not ready or not snapshot.fresh("process", TRAFFIC_AGE_S_MAX):
        return False, ""
    if service.is_behind_edge:
        pool = snapshot.pools.get(key)
        is_fresh = pool is not None and -1.0 <= now - pool.seen_at <= TRAFFIC_AGE_S_MAX
        if pool is None or not is_fresh or not snapshot.fresh("gateway", TRAFFIC_AGE_S_MAX):
            return False, ""
        at_hand = sum(pool.in_flight_by_instance.values()) + sum(pool.sockets_by_instance.values()) + pool.sockets
        if pool.requests_per_s > 0 or pool.in_flight > 0 or at_hand > 0:
            return False, ""
    for trigger in service.scaling.triggers:
        if not trigger.is_posted:
            continue
        metric = snapshot.metrics.get(f"{key}:{trigger.metric}")
        if metric is None or not metric.is_fresh(now):
            return False, f"the app has not posted {trigger.metric} lately"
        if metric.value > 0:
            return False, ""
    return True, ""


def _keeps(service: Service, region: str, ready: list[InstanceSeen], snapshot: Snapshot, pool: PoolScale) -> str:
    """Why an idle pool stays awake all the same, in words; empty when it may sleep."""
    now = snapshot.taken_at
    if pool.troubled_at is not None and 0 <= now - pool.troubled_at < AFTER_OUTAGE_S:
        return "it could not serve a short while ago"
    cpu = next((t for t in service.scaling.triggers if t.metric == "cpu"), None)
    if cpu is not None:
        warm = warm_cores(ready, now)
        if warm and sum(warm) / len(warm) >= cpu.down_below * service.instance.cpu_cores:
            return "it is at work, although nobody asked for anything"
    due = _due(service, region, snapshot)
    return due.why if due is not None else ""


def _idle(service: Service) -> str:
    """What has been missing, in words."""
    posted = [trigger.metric for trigger in service.scaling.triggers if trigger.is_posted]
    parts = ["no request and no open socket"] if service.is_behind_edge else []
    return " and ".join([*parts, *(f"{name} at 0" for name in posted)])


def _seen(service: Service, region: str, snapshot: Snapshot) -> tuple[str, ...]:
    """The figures that a decision to sleep rests on."""
    facts = [f"idle: {_idle(service)}, for as long as scaling.idle asks for"]
    forecast = snapshot.forecasts.get(f"{service.name}@{region}.requests_per_s")
    if service.scaling.forecast is not None:
        facts.append("the forecast tells of no requests" if forecast is not None else "no forecast was seen")
    return tuple(facts)
