"""What a pool's triggers show: a figure per instance, or why there is none. Stage: snapshot -> readings."""

import math
from dataclasses import dataclass, replace

from tenfold.facts import CapacitySeen, InstanceSeen, InstanceState, MetricSeen, PoolSeen, Snapshot
from tenfold.model import Release, Service, Trigger

TRAFFIC_AGE_S_MAX = 5.0
"""Traffic figures older than this are stale: the gateway is asked each second."""
CAPACITY_AGE_S_MAX = 60.0
"""What was measured counts while its file can be read: one that is damaged is no reason for anything."""
CAPACITY = Trigger("capacity", up_above=0.8, down_below=0.5, cooldown_s=300.0)
"""Added where something was measured and the blueprint names no such trigger: at most 80% of what an instance holds is asked of it."""

TRAFFIC_TRIGGERS = ("concurrency", "response_time", "capacity")
"""Measured at the edge: they say nothing about a service that does not listen."""

QUEUE_S = 60.0
"""What waits for instances that start is to be done within so long once they serve."""
WELL_USED_RATIO = 0.7
"""So much of its processors an instance may use by what comes, where the blueprint does not say."""

UNITS = {"concurrency": "requests at hand", "response_time": "ms", "concurrent_users": "users"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What one trigger shows: `value` per instance (None: missing, and `why` says how come), seen at `seen_at`.

    `is_awaited` tells that it is missing only for a moment, as after every start. `words` say it better than value and unit do.
    Instances are counted by `counted`, where something of `value` only waits for those that were asked for already.
    """

    trigger: Trigger
    value: float | None
    seen_at: float
    why: str = ""
    is_awaited: bool = False
    words: str = ""
    counted: float | None = None

    @property
    def asks(self) -> float:
        """The figure per instance by which instances are counted."""
        assert self.value is not None
        return self.value if self.counted is None else min(self.value, self.counted)

    @property
    def middle(self) -> float:
        return (self.trigger.up_above + self.trigger.down_below) / 2

    def wanted(self, ready: int) -> int:
        """Instances that bring this trigger to the middle of its band, given `ready` that share the load now."""
        assert self.value is not None
        if self.trigger.metric == "response_time":
            return ready + max(1, ready // 4) if self.value > self.trigger.up_above else 1
        return math.ceil(ready * self.asks / self.middle - 1e-9)


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
        if (seen.service, seen.release, seen.command) == (service.base, release.source_digest, service.command)
    ]
    return min(measured, key=lambda seen: (seen.requests_per_s, seen.scenario), default=None)


def triggers_of(service: Service, holds: CapacitySeen | None) -> tuple[Trigger, ...]:
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
            return _read_metric(trigger, snapshot.metrics.get(f"{service.name}@{region}:{custom}"), ready, now)


def without_queue(
    reading: Reading, service: Service, region: str, snapshot: Snapshot, ready: list[InstanceSeen]
) -> Reading:
    """`reading` while instances start that will share what is at hand: most of it waits for just these, waits the more the longer they
    take, and keeps processors busy until it is done. So they are counted by what comes, as far as it is known what a request takes
    (Little's law; the utilisation law), and by what waits as far as it is to be done within a minute."""
    key, trigger = f"{service.name}@{region}", reading.trigger
    pool, work = snapshot.pools.get(key), snapshot.works.get(key)
    if reading.value is None or pool is None or work is None:
        return reading
    rate_per_s = (pool.requests_per_s + pool.in_flight / QUEUE_S) / len(ready)
    cores = None if work.cpu_s is None else rate_per_s * work.cpu_s / service.instance.cpu_cores
    if trigger.metric == "cpu":
        return replace(reading, counted=cores)
    if trigger.metric != "concurrency" or work.busy_s is None:
        return reading
    cpu_above = next((t.up_above for t in service.scaling.triggers if t.metric == "cpu"), WELL_USED_RATIO)
    return replace(reading, counted=max(rate_per_s * work.busy_s, (cores or 0.0) / cpu_above * trigger.up_above))


def _read_cpu(trigger: Trigger, service: Service, ready: list[InstanceSeen], now: float) -> Reading:
    warm = warm_cores(ready, now)
    if not warm:
        return Reading(trigger, None, now, "no instance is warm yet", is_awaited=True)
    return Reading(trigger, sum(warm) / len(warm) / service.instance.cpu_cores, ready[0].seen_at)


def warm_cores(ready: list[InstanceSeen], now: float) -> list[float]:
    """The cores in use of each that is past its start-up."""
    return [seen.cpu_cores for seen in ready if seen.cpu_cores is not None and seen.is_warm(now)]


def _read_traffic(
    trigger: Trigger, pool: PoolSeen | None, ready: int, now: float, holds: CapacitySeen | None
) -> Reading:
    if pool is None or not -1.0 <= now - pool.seen_at <= TRAFFIC_AGE_S_MAX:
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


def _read_metric(trigger: Trigger, metric: MetricSeen | None, ready: list[InstanceSeen], now: float) -> Reading:
    """What only some of those that serve have posted is the least that it is: it may add, and lets nothing go."""
    if metric is None:
        return Reading(trigger, None, now, f"the app has not posted {trigger.metric}")
    if not metric.is_fresh(now):
        when = f"{now - metric.seen_at:.0f} s ago" if metric.seen_at <= now else "before the clock was set back"
        return Reading(trigger, None, now, f"{trigger.metric} was last posted {when}")
    value, silent = metric.value / len(ready), sum(seen.id in metric.silent for seen in ready)
    if silent and value <= trigger.up_above:
        return Reading(
            trigger, None, now, f"{silent} of {count(len(ready))} posted {trigger.metric} before and no more"
        )
    return Reading(trigger, value, metric.seen_at)


def count(instances: int) -> str:
    """`1 instance`, `2 instances`."""
    return "1 instance" if instances == 1 else f"{instances} instances"


def describe(reading: Reading, side: str) -> str:
    """A reading in words: `92 requests at hand per instance, above 60`; with `bound` both bounds are named."""
    trigger = reading.trigger
    if reading.value is None:
        return f"{trigger.metric}: {reading.why}"
    is_ratio = trigger.metric in ("cpu", "memory", "capacity")
    value, asks, up, down = (
        f"{v:.0%}" if is_ratio else f"{v:.3g}" if v < 1000 else f"{v:.0f}"
        for v in (reading.value, reading.asks, trigger.up_above, trigger.down_below)
    )
    if is_ratio:
        text = reading.words or f"{value} of an instance's {'processor' if trigger.metric == 'cpu' else 'memory'}"
    else:
        unit = UNITS.get(trigger.metric, trigger.metric)
        text = (
            f"{value} {unit} mean response time"
            if trigger.metric == "response_time"
            else f"{value} {unit} per instance"
        )
    if asks != value:
        text = f"{text} ({asks} without what waits for instances that start)"
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
