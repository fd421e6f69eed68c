"""How many instances each pool needs, from what its triggers show.
Reactive: any trigger adds, all must agree to let go.

A trigger's reading is a figure per instance. Above `up_above` in two looks in a row, the pool is given as many
instances as bring the figure to the middle of its band: `wanted = ceil(ready * reading / middle)`, with `middle =
(up_above + down_below) / 2` (the rule of Kubernetes' HorizontalPodAutoscaler, algorithm details, with a band in place
of its tolerance). Below `down_below` for the whole of its cooldown, in all triggers, it lets go of what it does not
need by the same rule. A reading that is missing or stale, or an outage a short while ago, means hold.

Where `tenfold measure` has told what one instance holds, requests per second against it are one more trigger, `capacity`.
What was measured of another source or command than what serves says nothing, and then there is no such trigger.
"""

import math
from dataclasses import dataclass, replace

from tenfold.deciders.memory import PoolScale, ScaleMemory
from tenfold.effects import Decision
from tenfold.facts import CapacitySeen, InstanceSeen, InstanceState, MetricSeen, PoolSeen, Snapshot
from tenfold.model import Release, Service, Trigger

TRAFFIC_AGE_S_MAX = 5.0
"""Traffic figures older than this are stale: the gateway is asked each second."""
METRIC_AGE_S_MAX = 90.0
"""A custom metric older than this is stale: apps post once a minute or more often."""
WARM_UP_S = 15.0
"""Processor time within this long of becoming ready is start-up, not load."""
AFTER_OUTAGE_S = 120.0
"""No scale-down so soon after a pool could not serve: the users are coming back."""
STEP_GAP_S = 30.0
"""Response time does not tell how many instances are missing:
it adds a quarter, then waits this long to see the effect."""

CAPACITY_AGE_S_MAX = 60.0
"""What was measured counts while its file can be read: one that is damaged is no reason for anything."""
CAPACITY = Trigger("capacity", up_above=0.8, down_below=0.5, cooldown_s=300.0)
"""Added where something was measured and the blueprint names no such trigger: at most 80% of what an instance holds is asked of it."""

TRAFFIC_TRIGGERS = ("concurrency", "response_time", "capacity")
"""Measured at the edge: they say nothing about a service that does not listen."""

UNITS = {"concurrency": "requests at hand", "response_time": "ms", "concurrent_users": "users"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What one trigger shows: `value` per instance (None: missing, and `why` says how come), seen at `seen_at`.

    `is_awaited` tells that it is missing only for a moment, as after every start. `words` say it better than value and unit do.
    """

    trigger: Trigger
    value: float | None
    seen_at: float
    why: str = ""
    is_awaited: bool = False
    words: str = ""

    @property
    def middle(self) -> float:
        return (self.trigger.up_above + self.trigger.down_below) / 2

    def wanted(self, ready: int) -> int:
        """Instances that bring this trigger to the middle of its band, given `ready` that share the load now."""
        assert self.value is not None
        if self.trigger.metric == "response_time":
            return ready + max(1, ready // 4) if self.value > self.trigger.up_above else 1
        return math.ceil(ready * self.value / self.middle - 1e-9)


def scale(
    release: Release, regions: tuple[str, ...], snapshot: Snapshot, memory: ScaleMemory
) -> tuple[ScaleMemory, tuple[Decision, ...]]:
    """The wanted number of every pool of the serving `release`. The decisions have no effects yet: whoever keeps the
    fleet fills them."""
    pools: dict[str, PoolScale] = {}
    decisions: list[Decision] = []
    ready = ready_by_pool(release.id, snapshot)
    for service in release.services.values():
        if not service.runs_always:
            continue
        holds = held_by_one(service, release, snapshot)
        for region in regions:
            key = f"{service.name}@{region}"
            pool, decision = scale_pool(service, region, ready.get(key, []), snapshot, memory.pools.get(key), holds)
            pools[key] = pool
            if decision is not None:
                decisions.append(decision)
    return ScaleMemory(pools), tuple(decisions)


def ready_by_pool(release: str, snapshot: Snapshot) -> dict[str, list[InstanceSeen]]:
    """The instances of `release` that can serve now, by pool."""
    ready: dict[str, list[InstanceSeen]] = {}
    for seen in snapshot.instances.values():
        if seen.release == release and seen.state is InstanceState.READY and not seen.frozen:
            ready.setdefault(f"{seen.service}@{seen.region}", []).append(seen)
    return ready


def held_by_one(service: Service, release: Release, snapshot: Snapshot) -> CapacitySeen | None:
    """What one instance was measured to hold, under the scenario of which it holds least; None when nothing was measured of this source
    and command."""
    if not snapshot.fresh("capacity", CAPACITY_AGE_S_MAX):
        return None
    measured = [
        seen
        for seen in snapshot.capacities.values()
        if (seen.service, seen.release, seen.command) == (service.name, release.source_digest, service.command)
    ]
    return min(measured, key=lambda seen: (seen.requests_per_s, seen.scenario), default=None)


def scale_pool(
    service: Service,
    region: str,
    ready: list[InstanceSeen],
    snapshot: Snapshot,
    before: PoolScale | None,
    holds: CapacitySeen | None = None,
) -> tuple[PoolScale, Decision | None]:
    """One pool, whose `ready` instances share its load (each `holds` so much, where that was measured): its new memory, and the decision
    when something changed that a person would ask about."""
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
    readings = tuple(read(t, service, region, snapshot, ready, holds) for t in _triggers(service, holds))
    memory = _remember(before, readings, _troubled(pool, ready, before, now), now)
    return _raise(memory, key, readings, len(ready), high, now) or _lower(memory, key, readings, len(ready), low, now)


def _triggers(service: Service, holds: CapacitySeen | None) -> tuple[Trigger, ...]:
    """The triggers that say something about `service`: the blueprint's, and `capacity` where something was measured and not otherwise."""
    named = tuple(t for t in service.scaling.triggers if service.http or t.metric not in TRAFFIC_TRIGGERS)
    if holds is None:
        return tuple(t for t in named if t.metric != CAPACITY.metric)
    return named if any(t.metric == CAPACITY.metric for t in named) else (*named, CAPACITY)


def read(
    trigger: Trigger,
    service: Service,
    region: str,
    snapshot: Snapshot,
    ready: list[InstanceSeen],
    holds: CapacitySeen | None = None,
) -> Reading:
    """What `trigger` shows per ready instance; missing when nobody is ready or the figure did not arrive in time."""
    now = snapshot.taken_at
    if not ready:
        return Reading(trigger, None, now, "no instance is ready")
    match trigger.metric:
        case "cpu":
            return _read_cpu(trigger, service, ready, now)
        case "memory":
            used = [seen.memory_bytes for seen in ready if seen.memory_bytes is not None]
            if not used:
                return Reading(trigger, None, now, "memory was not measured")
            return Reading(trigger, sum(used) / len(used) / service.instance.memory_bytes, ready[0].seen_at)
        case "concurrency" | "response_time" | "capacity":
            return _read_traffic(trigger, snapshot.pools.get(f"{service.name}@{region}"), len(ready), now, holds)
        case custom:
            return _read_metric(trigger, snapshot.metrics.get(f"{service.name}@{region}:{custom}"), len(ready), now)


def _read_cpu(trigger: Trigger, service: Service, ready: list[InstanceSeen], now: float) -> Reading:
    warm = [seen.cpu_cores for seen in ready if now - seen.since >= WARM_UP_S and seen.cpu_cores is not None]
    if not warm:
        return Reading(trigger, None, now, "no instance is warm yet", is_awaited=True)
    return Reading(trigger, sum(warm) / len(warm) / service.instance.cpu_cores, ready[0].seen_at)


def _read_traffic(
    trigger: Trigger, pool: PoolSeen | None, ready: int, now: float, holds: CapacitySeen | None
) -> Reading:
    if pool is None or now - pool.seen_at > TRAFFIC_AGE_S_MAX:
        return Reading(trigger, None, now, "the gateway's figures are missing or stale")
    if trigger.metric == "concurrency":
        return Reading(trigger, pool.in_flight / ready, pool.seen_at)
    if trigger.metric == CAPACITY.metric:
        assert holds is not None, "nobody asks for a capacity that was not measured"
        ratio = pool.requests_per_s / (ready * holds.requests_per_s)
        words = (
            f"{pool.requests_per_s:.3g} requests/s are {ratio:.2g} times what {count(ready)} hold{'s' * (ready == 1)} "
            f"(measured: {holds.requests_per_s:.3g} each)"
        )
        return Reading(trigger, ratio, pool.seen_at, words=words)
    # No request ended: nobody waited.
    return Reading(trigger, pool.response_ms_mean or 0.0, pool.seen_at)


def _read_metric(trigger: Trigger, metric: MetricSeen | None, ready: int, now: float) -> Reading:
    if metric is None:
        return Reading(trigger, None, now, f"the app has not posted {trigger.metric}")
    if now - metric.seen_at > METRIC_AGE_S_MAX:
        return Reading(trigger, None, now, f"{trigger.metric} was last posted {now - metric.seen_at:.0f} s ago")
    return Reading(trigger, metric.value / ready, metric.seen_at)


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
    memory: PoolScale, key: str, readings: tuple[Reading, ...], ready: int, high: int, now: float
) -> tuple[PoolScale, Decision | None] | None:
    """More instances, when a trigger was above its bound in two looks; None when none was."""
    loud = [r for r in readings if (since := memory.high_since.get(r.trigger.metric)) is not None and r.seen_at > since]
    # Starting instances will share the load soon: a step by response time waits until the last one showed its effect.
    if 0 <= now - memory.changed_at < STEP_GAP_S or ready < memory.wanted:
        loud = [r for r in loud if r.trigger.metric != "response_time"]
    if not loud:
        return None
    loudest = max(loud, key=lambda r: r.wanted(ready))
    wanted = min(loudest.wanted(ready), high)
    if wanted <= memory.wanted:
        return None
    limit = (
        f", the most the blueprint allows (it would take {loudest.wanted(ready)})"
        if loudest.wanted(ready) > high
        else ""
    )
    why = f"{key} needs {count(wanted)} instead of {memory.wanted}{limit}: {describe(loudest, 'above')}"
    return _change(memory, key, wanted, why, readings, now)


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
    return after, Decision("", "scale", key, (), why, facts)


def count(instances: int) -> str:
    """`1 instance`, `2 instances`."""
    return "1 instance" if instances == 1 else f"{instances} instances"


def describe(reading: Reading, side: str) -> str:
    """A reading in words: `92 requests at hand per instance, above 60`; with `bound` both bounds are named."""
    trigger = reading.trigger
    if reading.value is None:
        return f"{trigger.metric}: {reading.why}"
    if trigger.metric in ("cpu", "memory", "capacity"):
        value, up, down = (f"{v:.0%}" for v in (reading.value, trigger.up_above, trigger.down_below))
        text = reading.words or f"{value} of an instance's {'processor' if trigger.metric == 'cpu' else 'memory'}"
    else:
        value, up, down = (
            f"{v:.3g}" if v < 1000 else f"{v:.0f}" for v in (reading.value, trigger.up_above, trigger.down_below)
        )
        unit = UNITS.get(trigger.metric, trigger.metric)
        text = (
            f"{value} {unit} mean response time"
            if trigger.metric == "response_time"
            else f"{value} {unit} per instance"
        )
    match side:
        case "above":
            return f"{text}, above {up}"
        case "below":
            return f"{text}, below {down} for {duration(trigger.cooldown_s)}"
        case _:
            return f"{text} (adds above {up}, lets go below {down})"


def duration(seconds: float) -> str:
    """`45 s`, `5 min`, `2 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
