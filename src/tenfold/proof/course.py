"""The course of a proof as the journal tells it: instances, regions, decisions, the database, what ran out.

Stage: ticks -> report, evidence. Pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tenfold.effects import AnswerRequest, Decision
from tenfold.facts import InstanceState, PoolSeen, Snapshot
from tenfold.loop import Tick
from tenfold.model import Model
from tenfold.proof.evidence import Timed
from tenfold.proof.report.plot import Point
from tenfold.proof.report.report import Mark, Series

FRESH_S = 5.0
GAP_S = 3.0
"""Ticks come each second; a longer silence is a gap."""
BUSY_RATIO = 0.85
"""So much of the machine's cores in use, in the mean, is all of it."""


@dataclass(frozen=True, slots=True)
class Course:
    """What the journal shows, in seconds from `started_at`."""

    instances: tuple[Series, ...] = ()
    regions: tuple[Series, ...] = ()
    marks: tuple[Mark, ...] = ()


def course_of(ticks: Iterable[Tick], started_at: float) -> Course:
    """Ready instances by service and region, requests/s by region, and every decision but answers to commands."""
    ready: dict[str, list[Point]] = {}
    traffic: dict[str, list[Point]] = {}
    marks: list[Mark] = []
    last_s: float | None = None
    for tick in ticks:
        at_s = tick.at - started_at
        if last_s is not None and at_s - last_s > GAP_S:
            for points in (*ready.values(), *traffic.values()):
                points.append((last_s + GAP_S / 2, None))
        last_s = at_s
        for series, values in ((ready, _ready(tick.snapshot)), (traffic, _traffic(tick.snapshot))):
            for name in series.keys() | values.keys():
                series.setdefault(name, []).append((at_s, values.get(name)))
        marks += [Mark(max(at_s, 0.0), d.id, d.by, d.why, d.facts) for d in tick.decisions if _is_told(d)]
    return Course(_series(ready), _series(traffic), tuple(marks))


def _series(by_name: dict[str, list[Point]]) -> tuple[Series, ...]:
    return tuple(Series(name, tuple(points)) for name, points in sorted(by_name.items()))


def _is_told(decision: Decision) -> bool:
    return not decision.effects or not all(isinstance(effect, AnswerRequest) for effect in decision.effects)


def _ready(snapshot: Snapshot) -> dict[str, float]:
    """By pool, how many instances are ready; nothing while processes were not looked at."""
    if not snapshot.fresh("process", FRESH_S):
        return {}
    found: dict[str, float] = {}
    for seen in snapshot.instances.values():
        pool = f"{seen.service}@{seen.region}"
        found[pool] = found.get(pool, 0.0) + (seen.state is InstanceState.READY and not seen.frozen)
    return found


def _traffic(snapshot: Snapshot) -> dict[str, float]:
    """By region, requests answered each second; nothing while its gateway was not looked at."""
    if not snapshot.fresh("gateway", FRESH_S):
        return {}
    found: dict[str, float] = defaultdict(float)
    for pool in _seen_lately(snapshot):
        found[pool.region] += pool.requests_per_s
    return found


def _seen_lately(snapshot: Snapshot) -> Iterable[PoolSeen]:
    return (pool for pool in snapshot.pools.values() if snapshot.taken_at - pool.seen_at <= FRESH_S)


def database_of(ticks: Iterable[Tick]) -> Timed:
    """What transactions took in the mean, each look of each PostgreSQL counted once and by how many ended in it."""
    count, busy_ms, looks = 0.0, 0.0, set()
    before: dict[str, float] = {}
    for tick in ticks:
        for key, store in tick.snapshot.stores.items():
            if store.kind != "postgres" or (key, store.seen_at) in looks:
                continue
            looks.add((key, store.seen_at))
            # The look covers the time since the one before it.
            lasted_s = min(store.seen_at - before.get(key, store.seen_at - 1.0), GAP_S)
            before[key] = store.seen_at
            if store.busy_ms_mean is not None:
                ended = store.transactions_per_s * lasted_s
                count, busy_ms = count + ended, busy_ms + ended * store.busy_ms_mean
    return Timed(round(count), busy_ms / count) if count >= 1 else Timed(0)


def limit_of(ticks: Sequence[Tick], model: Model, cores: int) -> str:
    """What ran out first, as a sentence that says what to do; empty when nothing was seen to.

    `cores` are the machine's. A machine that is full comes first: more instances would not help it.
    """
    if not ticks:
        return ""
    used = sum(_cores_used(tick.snapshot) for tick in ticks) / len(ticks)
    if used >= cores * BUSY_RATIO:
        return (
            f"this machine was full ({used:.1f} of {cores} cores in use by what Tenfold runs, and the load needs some too): "
            "prove it on more cores, or promise less"
        )
    for service in model.services.values():
        most = service.scaling.instances_max
        for region in model.regions:
            pool = f"{service.name}@{region}"
            if service.runs_always and sum(_ready(t.snapshot).get(pool, 0) >= most for t in ticks) > len(ticks) / 2:
                full = [t.snapshot.pools[pool].in_flight for t in ticks if pool in t.snapshot.pools]
                if full and sum(full) / len(full) > most:
                    return f"{pool} had all its {most} instances: raise {service.scaling_at}.instances.max"
    return ""


def _cores_used(snapshot: Snapshot) -> float:
    instances = [each.cpu_cores for each in snapshot.instances.values()]
    engines = [each.cpu_cores for each in snapshot.engines.values()]
    return sum(cores for cores in (*instances, *engines) if cores is not None)


def replaced_s(ticks: Sequence[Tick], subject: str, struck_at: float) -> float | None:
    """Seconds from the death of instance `subject` until as many of its pool were ready as before, or as are wanted by then; None: never.

    `ticks` begin before it died.
    """
    before = [tick.snapshot for tick in ticks if tick.at <= struck_at and subject in tick.snapshot.instances]
    if not before:
        return None
    dead = before[-1].instances[subject]
    pool = f"{dead.service}@{dead.region}"
    needed = _ready(before[-1]).get(pool, 0.0)
    for tick in ticks:
        seen = tick.snapshot.instances.get(subject)
        # One that was restarted in its place has the same name, and another start.
        is_it = seen is not None and seen.state is InstanceState.READY and seen.started_at <= dead.started_at
        if tick.at <= struck_at or is_it:
            continue
        scale = tick.memory.scale.pools.get(pool)
        wanted = needed if scale is None else min(needed, scale.wanted)
        if _ready(tick.snapshot).get(pool, 0.0) >= wanted:
            return tick.at - struck_at
    return None
