"""What could cost less: what to change, what that saves, what it risks. Stage: blueprint + minutes of the journal -> advice with figures.

A saving is what the pool would have cost less in the minutes that were seen, taken for a month: the same minutes with fewer or smaller
instances. Each is for itself; two that save at the same hours do not add up. What was not seen advises nothing.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tenfold.estimators.advice_hours import hours_advised
from tenfold.estimators.allocation import CAREFUL_RATIO
from tenfold.estimators.minutes import MINUTE_S, SEEN_MINUTES_MIN
from tenfold.estimators.spend import HOURS_A_MONTH
from tenfold.estimators.users import HEADROOM_RATIO
from tenfold.facts import Window
from tenfold.model import InstanceSize, Model, Service, Trigger

SAVES_RATIO_MIN = 0.05
"""What saves less of a pool's cost is not worth a change."""
USED_RATIO = 0.6
"""After the advice at most so much of its CPU is used in 99 of 100 minutes: below the usual trigger."""
FILLED_RATIO = 0.7
SMALLER_RATIO = 0.75
MIB = 1024**2
CPU_STEP_CORES = 0.25
MEMORY_STEP_BYTES = 64 * MIB
QUIET_MINUTES = 30
QUIET_RATIO = 0.2
EASY_RATIO = 0.5
"""Answers that take no more of their target leave room for a higher bound."""
LEADS_RATIO = 0.8
"""In so many of the minutes a trigger must be the one that asks for most."""
CPU_BOUND, CONCURRENCY_RATIO = 0.8, 0.75
"""The bounds of the blueprint's own defaults, as a share of an instance's cores and of its `concurrency`."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Advice:
    """`what` to change for `pool` (with the figures behind it), what it `saves_monthly` in `currency`, and what it risks."""

    pool: str
    what: str
    saves_monthly: float
    currency: str
    risk: str

    @property
    def text(self) -> str:
        """In a sentence."""
        return f"{self.what} saves about {self.saves_monthly:.2f} {self.currency} a month; the risk: {self.risk}"


@dataclass(frozen=True, slots=True)
class _Pool:
    """A pool's minutes, NaN where nothing was seen: instances, and how many its triggers asked for at the busiest second."""

    key: str
    region: str
    service: Service
    window: Window
    instances: Values
    asked: Values
    asked_by: Mapping[str, Values]
    per_hour: float
    is_careful: bool

    @property
    def known(self) -> NDArray[np.bool_]:
        """The minutes of which both are known."""
        return ~np.isnan(self.instances) & ~np.isnan(self.asked)

    @property
    def minutes(self) -> int:
        return int(self.known.sum())

    @property
    def least(self) -> int:
        """Fewer instances are never advised."""
        return 2 if self.is_careful else 1

    def figure(self, name: str) -> Values:
        """A series of the pool, by minute."""
        return _values(self.window, f"{self.key}.{name}", self.instances.size)

    def monthly(self, fewer: Values) -> float:
        """What so many fewer instances, minute by minute, save a month."""
        return float(fewer[self.known].sum()) / self.minutes * self.per_hour * HOURS_A_MONTH

    def span(self) -> str:
        """`3.2 days`, of what was seen."""
        hours = self.minutes / 60
        return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.0f} hours"


def advise_spend(
    model: Model, window: Window, held_rps: Mapping[str, float], starts_s: Mapping[str, float]
) -> tuple[Advice, ...]:
    """What would save, the most first.

    `held_rps` tells by service what one instance was measured to hold, in requests/s, `starts_s` by pool how long a start takes.
    """
    found: list[Advice] = []
    for service in model.services.values():
        for region in model.regions if service.runs_always else ():
            pool = _pool(model, service, region, window, held_rps.get(service.base))
            if pool is not None and pool.minutes >= SEEN_MINUTES_MIN:
                costs = pool.monthly(pool.instances)
                given = _of_pool(model, pool, starts_s.get(pool.key))
                found += [each for each in given if each.saves_monthly >= SAVES_RATIO_MIN * max(costs, 1e-9)]
    return tuple(sorted(found, key=lambda each: (-each.saves_monthly, each.pool, each.what)))


def _of_pool(model: Model, pool: _Pool, start_s: float | None) -> Iterator[Advice]:
    lower = _lower_minimum(model, pool)
    if lower is not None:
        yield lower
    else:
        floors = _floors(model, pool)
        if floors is not None:
            yield floors
    yield from _sleep(model, pool, start_s)
    yield from _size(model, pool)
    yield from _bounds(model, pool)


def _pool(model: Model, service: Service, region: str, window: Window, held_rps: float | None) -> _Pool | None:
    """The pool's minutes; None where it has none, or no trigger tells how many instances it took."""
    key = f"{service.name}@{region}"
    counts = window.series.get(f"{key}.instances")
    if counts is None:
        return None
    instances = _values(window, f"{key}.instances", len(counts))
    by: dict[str, Values] = {}
    triggers = service.scaling.triggers
    if held_rps and service.http and all(trigger.metric != "capacity" for trigger in triggers):
        # Scaling adds it where something was measured.
        triggers = (*triggers, Trigger("capacity", HEADROOM_RATIO, HEADROOM_RATIO / 2))
    for trigger in triggers:
        total = _total(trigger, service, key, window, instances, held_rps)
        if total is not None and trigger.up_above > 0:
            by[trigger.metric] = total / trigger.up_above
    if not by:
        return None
    # One that is not known in a minute makes the minute unknown: it may have been the one that needed most.
    asked = np.ceil(np.max(np.stack(list(by.values())), axis=0) - 1e-9)
    careful = (model.targets.availability_ratio or 0.0) >= CAREFUL_RATIO
    per_hour = float(model.prices.per_hour(service.instance.cpu_cores, service.instance.memory_bytes))
    return _Pool(key, region, service, window, instances, asked, by, per_hour, careful)


def _values(window: Window, name: str, count: int) -> Values:
    found = window.series.get(name)
    return np.array([math.nan] * count if found is None else [math.nan if v is None else v for v in found], dtype=float)


def _total(
    trigger: Trigger, service: Service, key: str, window: Window, instances: Values, held_rps: float | None
) -> Values | None:
    """What all instances together showed of a trigger's figure; None of one that does not tell how many instances are needed."""
    count = instances.size
    match trigger.metric:
        case "cpu":
            return _values(window, f"{key}.cpu_cores_each", count) / service.instance.cpu_cores * instances
        case "concurrency":
            return _values(window, f"{key}.in_flight_max", count) if service.http else None
        case "capacity":
            return _values(window, f"{key}.requests_per_s", count) / held_rps if held_rps else None
        case "memory" | "response_time":
            # More instances leave both as they are when each is idle.
            return None
        case custom:
            return _values(window, f"{key}:{custom}", count)


# --- how many -----------------------------------------------------------------------------------------------------------


def _lower_minimum(model: Model, pool: _Pool) -> Advice | None:
    """The minimum was never needed."""
    low = pool.service.scaling.instances_min
    most = int(np.nanmax(pool.asked[pool.known]))
    enough = max(pool.least, most)
    if enough >= low:
        return None
    at_least = pool.instances <= low
    fewer = np.where(at_least, np.maximum(0.0, pool.instances - enough), 0.0)
    return Advice(
        pool.key,
        f"{pool.key} never needed more than {most} of its at least {low} instances in {pool.span()}: "
        f"{pool.service.scaling_at}.instances.min {enough}",
        pool.monthly(fewer),
        model.prices.currency,
        f"a surge finds {enough} instead of {low} ready, until others have started",
    )


def _floors(model: Model, pool: _Pool) -> Advice | None:
    """The minimum is needed, but only at some hours."""
    found = hours_advised(pool.service.scaling, pool.window.start, pool.instances, pool.asked, pool.least)
    if found is None:
        return None
    floors = ", ".join(f'"{floor}"' for floor in found.floors)
    return Advice(
        pool.key,
        f"{pool.key} needed more than {found.low} of its at least {pool.service.scaling.instances_min} instances only at some hours in "
        f"{pool.span()}: {pool.service.scaling_at}.instances.min {found.low} and floors [{floors}]",
        pool.monthly(found.fewer),
        model.prices.currency,
        f"a surge at another hour finds {found.low} ready",
    )


def _sleep(model: Model, pool: _Pool, start_s: float | None) -> Iterator[Advice]:
    """Nobody asks for long stretches of time."""
    scaling = pool.service.scaling
    if not pool.service.http or scaling.instances_min == 0:
        return
    quiet = (pool.figure("requests_per_s") == 0) & pool.known
    if f"{pool.key}.sockets" in pool.window.series:
        quiet &= pool.figure("sockets") == 0
    asleep = _after(
        quiet, max(QUIET_MINUTES, math.ceil(scaling.idle_s / MINUTE_S)), math.ceil(scaling.idle_s / MINUTE_S)
    )
    ratio = float(asleep.sum()) / pool.minutes
    if ratio < QUIET_RATIO:
        return
    waits = f"for a start, {start_s:.0f} s" if start_s is not None else "until an instance has started"
    yield Advice(
        pool.key,
        f"nobody asked {pool.key} for {ratio:.0%} of {pool.span()}: {pool.service.scaling_at}.instances.min 0",
        pool.monthly(np.where(asleep, pool.instances, 0.0)),
        model.prices.currency,
        f"the first request after a quiet time waits {waits}",
    )


def _after(quiet: NDArray[np.bool_], run_min: int, idle: int) -> NDArray[np.bool_]:
    """The minutes of runs of at least `run_min`, without the first `idle` of each."""
    found = np.zeros_like(quiet)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], quiet.astype(int), [0]))))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin >= run_min:
            found[begin + idle : end] = True
    return found


# --- how large ----------------------------------------------------------------------------------------------------------


def _size(model: Model, pool: _Pool) -> Iterator[Advice]:
    """Instances are larger than what they use."""
    size = pool.service.instance
    cpu, memory = (values[~np.isnan(values)] for values in map(pool.figure, ("cpu_cores_each", "memory_bytes_each")))
    if cpu.size >= SEEN_MINUTES_MIN:
        used = float(np.percentile(cpu, 99))
        cores = _stepped(used / USED_RATIO, CPU_STEP_CORES)
        said = f"{used:.2g} of its {size.cpu_cores:g} cores in 99 of 100 minutes of"
        risk = "starts and single dear requests take longer; one instance may have used more than the mean of all"
        yield from _smaller(model, pool, replace(size, cpu_cores=cores), said, f"cpu {cores:g}", risk)
    if memory.size >= SEEN_MINUTES_MIN:
        peak = float(memory.max())
        wanted_bytes = int(_stepped(peak / FILLED_RATIO, MEMORY_STEP_BYTES))
        said = f"{peak / MIB:.0f} of its {size.memory_bytes / MIB:.0f} MiB in"
        risk = "one that needs more than ever before is ended by the kernel"
        smaller = replace(size, memory_bytes=wanted_bytes)
        yield from _smaller(model, pool, smaller, said, f"memory {wanted_bytes // MIB}MiB", risk)


def _stepped(wanted: float, step: float) -> float:
    """The next whole number of steps, at least one."""
    return max(1, math.ceil(wanted / step)) * step


def _smaller(model: Model, pool: _Pool, size: InstanceSize, said: str, key: str, risk: str) -> Iterator[Advice]:
    """Instances of that `size`, where it is enough smaller: `said` is what one used at most, and `key` what to write for it."""
    own = pool.service.instance
    if size.cpu_cores > SMALLER_RATIO * own.cpu_cores and size.memory_bytes > SMALLER_RATIO * own.memory_bytes:
        return
    less = pool.per_hour - float(model.prices.per_hour(size.cpu_cores, size.memory_bytes))
    yield Advice(
        pool.key,
        f"an instance of {pool.key} used at most {said} {pool.span()}: services.{pool.service.base}.instance.{key}",
        pool.monthly(pool.instances) / pool.per_hour * less if pool.per_hour > 0 else 0.0,
        model.prices.currency,
        risk,
    )


# --- when more are added ------------------------------------------------------------------------------------------------


def _bounds(model: Model, pool: _Pool) -> Iterator[Advice]:
    """Instances are added sooner than the answers' times ask for."""
    target_ms, scaling = model.targets.latency.p95_ms, pool.service.scaling
    late = pool.figure("response_ms_p95")[pool.known]
    late = late[~np.isnan(late)]
    if target_ms is None or late.size == 0 or late.max() > EASY_RATIO * target_ms:
        return
    above = pool.known & (pool.instances > scaling.instances_min)
    bounds = {"cpu": CPU_BOUND, "concurrency": CONCURRENCY_RATIO * pool.service.instance.concurrency}
    for trigger in scaling.triggers:
        bound, asked = bounds.get(trigger.metric), pool.asked_by.get(trigger.metric)
        if bound is None or asked is None or trigger.up_above >= SMALLER_RATIO * bound or not above.any():
            continue
        # Another trigger that asks for as many would hold the instances where they are.
        if np.mean(np.ceil(asked - 1e-9)[above] >= pool.asked[above]) < LEADS_RATIO:
            continue
        instead = np.ceil(pool.instances * trigger.up_above / bound - 1e-9)
        fewer = np.where(above, np.maximum(0.0, pool.instances - np.maximum(instead, scaling.instances_min)), 0.0)
        was, new = (f"{each:.0%}" if trigger.metric == "cpu" else f"{each:g}" for each in (trigger.up_above, bound))
        yield Advice(
            pool.key,
            f"{pool.key} adds instances above {was} of {trigger.metric}, and 95 of 100 answers took at most {late.max():.0f} of "
            f"{target_ms:g} ms in {pool.span()}: {pool.service.scaling_at}.triggers.{trigger.metric}.up_above {new}",
            pool.monthly(fewer),
            model.prices.currency,
            "answers take longer at the busiest times, and a surge has less room before others have started",
        )
