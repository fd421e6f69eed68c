"""What would have been decided, had one thing not been there, and what would have followed. Stage: after the fact, from the journal.

The tick is decided again with one thing taken away (`Without`). Where another number of instances comes out, the scaler goes on without
that thing over what was really seen afterwards: the same requests, other instances. An instance more serves `start_s` after it was
asked for, one less at once; that instances end by themselves is left out. What is reckoned is for how long a trigger would have been above
its `up_above` per instance, `total / ready > up_above`, and what would have been paid. The total is as it was seen, so where it would have
been too much the time is a lower bound: who waits longer is at hand longer.

It ends when what the next change of that pool asked for can serve: from then on others have decided. An hour at the most.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from statistics import median_low

from tenfold.deciders.decide import Scaler
from tenfold.deciders.memory import Intent, MemberState, PoolScale
from tenfold.deciders.scale import scale
from tenfold.deciders.scale.triggers import TRAFFIC_AGE_S_MAX, held_by_one, read, ready_by_pool, triggers_of, warm_cores
from tenfold.facts import InstanceSeen, InstanceState, Snapshot
from tenfold.loop.reader import NEWEST, JournalReader
from tenfold.loop.replay import Again
from tenfold.loop.tick import Decide, Tick
from tenfold.model import Model, Release, Scaling, Service

HORIZON_S = 3600.0
"""What follows is looked at for so long at the most."""
STEP_S_MAX = 5.0
"""A tick tells of the time up to the next one, when that comes within so long: in a longer gap nobody looked."""
MORE_MAX = 10
"""Without its maximum a pool gets so many times as many at the most: a wild forecast asks for what nobody has."""
UNSHARED = ("response_time", "memory")
"""What these triggers show does not fall in proportion when there are more instances: nothing is said of them."""


class EndedBy(StrEnum):
    """Why nothing is told of what came later: what the NEXT change asked for serves, an HOUR is over, the pool is GONE (another
    release serves, or the project went down), or the JOURNAL does not reach further."""

    NEXT = "next"
    HOUR = "hour"
    GONE = "gone"
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class Without:
    """A thing that a decision may rest on, and how it is taken away. `name` fits after "without"."""

    name: str
    of_scaling: Callable[[Scaling], Scaling] = lambda scaling: scaling
    of_model: Callable[[Model], Model] = lambda model: model
    of_snapshot: Callable[[Snapshot], Snapshot] = lambda snapshot: snapshot

    def model(self, model: Model) -> Model:
        """`model` without it, in what the blueprint says now and in every release."""
        releases = {id_: replace(r, services=self._services(r.services)) for id_, r in model.releases.items()}
        return self.of_model(replace(model, services=self._services(model.services), releases=releases))

    def _services(self, services: Mapping[str, Service]) -> dict[str, Service]:
        return {name: replace(s, scaling=self.of_scaling(s.scaling)) for name, s in services.items()}


FORECAST = Without(
    "the forecast",
    of_scaling=lambda scaling: replace(scaling, forecast=None),
    of_snapshot=lambda snapshot: replace(snapshot, forecasts={}),
)
FLOORS = Without("the scheduled floors", of_scaling=lambda scaling: replace(scaling, floors=()))
BUDGET = Without("the budget", of_model=lambda model: replace(model, budget=None))
MEASURED = Without("what was measured", of_snapshot=lambda snapshot: replace(snapshot, capacities={}))
MAXIMUM = Without(
    "the blueprint's maximum",
    of_scaling=lambda scaling: replace(scaling, instances_max=MORE_MAX * scaling.instances_max),
)
MINIMUM = Without(
    "the blueprint's minimum",
    of_scaling=lambda scaling: replace(scaling, instances_min=min(scaling.instances_min, 1)),
)
SLEEP = Without("its sleep", of_scaling=lambda scaling: replace(scaling, instances_min=max(scaling.instances_min, 1)))
THINGS = (FORECAST, FLOORS, BUDGET, MEASURED, MAXIMUM, MINIMUM, SLEEP)
BESIDE_TRIGGERS = (FORECAST, FLOORS, BUDGET, MEASURED)
TRIGGERS_ALONE = Without(
    "anything but its triggers",
    of_scaling=lambda scaling: FLOORS.of_scaling(FORECAST.of_scaling(scaling)),
    of_model=BUDGET.of_model,
    of_snapshot=lambda snapshot: MEASURED.of_snapshot(FORECAST.of_snapshot(snapshot)),
)
"""All of `BESIDE_TRIGGERS` at once, where several of them are there."""


@dataclass(frozen=True, slots=True)
class Course:
    """What followed, or would have: `wanted` instances at first, at most `most`, `last` at the end.

    Over `seen_s` seconds a trigger was above its bound for `above_s` seconds, most of them `metric`, whose bound is `bound` per
    instance (empty: none was). `paid_s` are seconds of one instance, summed over those that were wanted.
    """

    wanted: int
    most: int
    last: int
    above_s: float
    metric: str
    bound: float
    seen_s: float
    paid_s: float


@dataclass(frozen=True, slots=True)
class WhatIf:
    """`course` is what would have followed without the thing that `without` names."""

    without: str
    course: Course


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What followed a decision about `pool` between `since` and `until`, as it was `decided`, and in the `others` that would have come
    out otherwise; `indifferent` names what was there and could be taken away without any difference.

    For `unseen_s` seconds of that time nobody saw what the pool did. `has_measure` tells that the pool has a trigger that falls with more
    instances: without one nothing is above anything. `start_s` is after how long an instance more was taken to serve, and `per_hour`
    what one costs for an hour in `currency`.
    """

    pool: str
    since: float
    until: float
    ended_by: EndedBy
    unseen_s: float
    has_measure: bool
    start_s: float
    per_hour: Decimal
    currency: str
    decided: Course
    others: tuple[WhatIf, ...]
    indifferent: tuple[str, ...]


def counterfactual(
    reader: JournalReader, again: Again, pool: str, decide: Decide, scaler: Scaler = scale
) -> Counterfactual | None:
    """What would have been, had the tick of `again` decided about `pool` (`web@local`) without one of the things that it may rest on.

    None when no number was chosen for that pool in it. Raises `JournalError` when the journal can't be read.
    """
    tick, model = again.tick, again.model
    serving = model.releases.get(tick.memory.release.serving or "")
    service = serving.services.get(pool.rpartition("@")[0]) if serving is not None else None
    chosen = tick.memory.scale.pools.get(pool)
    if serving is None or service is None or chosen is None:
        return None
    start_s = _start_s(tick.snapshot, service, pool)
    worlds, indifferent = [], []
    for thing in _there(model, tick.snapshot):
        decided = decide(thing.model(model), thing.of_snapshot(tick.snapshot), tick.memory_before)
        other = decided.memory.scale.pools.get(pool)
        if other is None or other.wanted == chosen.wanted:
            indifferent.append(thing.name)
        else:
            worlds.append(_World(thing, pool, start_s, other, _members(tick, pool, serving)))
    followed = _Followed(reader, pool, start_s, again)
    real = _Tally()
    for step in followed.steps():
        real.add(step.tick.memory.scale.pools[pool].wanted, step.length_s, step.above)
        for world in worlds:
            world.live(step, scaler)
    return Counterfactual(
        pool=pool,
        since=tick.at,
        until=followed.until,
        ended_by=followed.ended_by,
        unseen_s=followed.unseen_s,
        has_measure=_has_measure(service, serving, tick.snapshot),
        start_s=start_s,
        per_hour=model.prices.per_hour(service.instance.cpu_cores, service.instance.memory_bytes),
        currency=model.prices.currency,
        decided=real.course(chosen.wanted),
        others=_told(worlds),
        indifferent=tuple(indifferent),
    )


def _told(worlds: "list[_World]") -> tuple[WhatIf, ...]:
    """What came of each; of all together only where no thing alone explains it."""
    told = [WhatIf(world.thing.name, world.tally.course(world.first)) for world in worlds]
    alone = [what.course for what in told if what.without != TRIGGERS_ALONE.name]
    return tuple(what for what in told if what.without != TRIGGERS_ALONE.name or what.course not in alone)


def _there(model: Model, snapshot: Snapshot) -> list[Without]:
    """What can be taken away at all."""
    there = [each for each in THINGS if (each.model(model), each.of_snapshot(snapshot)) != (model, snapshot)]
    return [*there, TRIGGERS_ALONE] if sum(each in BESIDE_TRIGGERS for each in there) > 1 else there


@dataclass(frozen=True, slots=True)
class _Step:
    """A `tick` that was seen afterwards, how long it lasted (`length_s`), and by metric the bound of each trigger that was `above` it; None
    where that was not seen. `usual` is an instance of the pool as it was last seen ready (None: never yet)."""

    tick: Tick
    model: Model
    serving: Release
    service: Service
    length_s: float
    above: Mapping[str, float] | None
    usual: InstanceSeen | None


@dataclass(slots=True)
class _Followed:
    """The ticks that tell what followed `again`, and why they end where they end."""

    reader: JournalReader
    pool: str
    start_s: float
    again: Again
    until: float = 0.0
    ended_by: EndedBy = EndedBy.JOURNAL
    unseen_s: float = 0.0
    _models: dict[str, Model] = field(default_factory=dict)

    def steps(self) -> Iterator[_Step]:
        """The tick of the decision and those after it, each with how long it lasted."""
        first = self.again.tick
        self._models[first.model] = self.again.model
        self.until, end = first.at, first.at + HORIZON_S
        self.ended_by = EndedBy.JOURNAL
        before, usual = first, None
        for tick in self.reader.ticks(first.seq + 1, NEWEST):
            step = self._step(before, min(tick.at, end) - before.at, usual)
            if step is None:
                self.ended_by = EndedBy.GONE
                return
            usual = step.usual
            self.until = min(tick.at, end)
            yield step
            if tick.at >= end:
                self.ended_by = EndedBy.HOUR if end == first.at + HORIZON_S else EndedBy.NEXT
                return
            if self._changed(before, tick):
                end = min(end, tick.at + self.start_s)
            before = tick

    def _changed(self, before: Tick, tick: Tick) -> bool:
        was, is_ = before.memory.scale.pools.get(self.pool), tick.memory.scale.pools.get(self.pool)
        return was is not None and is_ is not None and was.wanted != is_.wanted

    def _step(self, tick: Tick, length_s: float, usual: InstanceSeen | None) -> _Step | None:
        """None when the pool that was decided about is no more."""
        serving_id = tick.memory.release.serving or ""
        if serving_id != self.again.tick.memory.release.serving or tick.memory.release.intent is not Intent.UP:
            return None
        model = self._models.get(tick.model) or self.reader.model(tick.model)
        serving = model.releases.get(serving_id) if model is not None else None
        service = serving.services.get(self.pool.rpartition("@")[0]) if serving is not None else None
        if model is None or serving is None or service is None or self.pool not in tick.memory.scale.pools:
            return None
        self._models[tick.model] = model
        ready = ready_by_pool(serving_id, tick.snapshot).get(self.pool, [])
        usual = ready[0] if ready else usual
        seen_s = max(min(length_s, STEP_S_MAX), 0.0)
        above = _above(service, serving, tick.snapshot, self.pool, ready, usual)
        self.unseen_s += max(length_s, 0.0) - (seen_s if above is not None else 0.0)
        return _Step(tick, model, serving, service, seen_s, above, usual)


@dataclass(slots=True)
class _Tally:
    """Adds up what a course is."""

    most: int = 0
    last: int = 0
    seen_s: float = 0.0
    paid_s: float = 0.0
    above_s: float = 0.0
    by_metric: dict[tuple[str, float], float] = field(default_factory=dict)

    def add(self, wanted: int, length_s: float, above: Mapping[str, float] | None) -> None:
        """`wanted` instances for `length_s`; while nobody saw whether a trigger was `above`, nothing is told of that time."""
        self.most, self.last = max(self.most, wanted), wanted
        if above is None:
            return
        self.seen_s += length_s
        self.paid_s += wanted * length_s
        self.above_s += length_s * bool(above)
        for each in above.items():
            self.by_metric[each] = self.by_metric.get(each, 0.0) + length_s

    def course(self, wanted: int) -> Course:
        """What was added, of a decision for `wanted` instances."""
        metric, bound = max(self.by_metric, key=lambda each: self.by_metric[each], default=("", 0.0))
        return Course(
            wanted=wanted,
            most=max(self.most, wanted),
            last=self.last if self.most else wanted,
            above_s=round(self.above_s, 3),
            metric=metric,
            bound=bound,
            seen_s=round(self.seen_s, 3),
            paid_s=round(self.paid_s, 3),
        )


@dataclass(slots=True)
class _Seat:
    """An instance of a world that did not come to be; `ready_at` is None until it serves."""

    id: str
    asked_at: float
    ready_at: float | None = None


class _World:
    """The pool as it would have been without `thing`: how many instances were wanted, and which of them served."""

    def __init__(self, thing: Without, pool: str, start_s: float, memory: PoolScale, seats: list[_Seat]) -> None:
        self.thing, self.first, self.tally = thing, memory.wanted, _Tally()
        self._pool, self._start_s, self._memory, self._seats = pool, start_s, memory, seats
        self._made = 0
        self._is_first = True
        self._without: tuple[Model, Model] | None = None

    def live(self, step: _Step, scaler: Scaler) -> None:
        """Go on by what was seen at `step`. The first one is the tick of the decision, which has been decided."""
        now = step.tick.at
        self._look(step.tick.snapshot, now)
        if not self._is_first:
            self._decide(step, scaler)
        self._is_first = False
        while len(self._seats) < self._memory.wanted:
            self._made += 1
            self._seats.append(_Seat(f"{step.service.name}-without-{self._made}", now))
        # Who serves stays, as far as there is a choice.
        self._seats.sort(key=lambda seat: (seat.ready_at is None, seat.asked_at))
        del self._seats[self._memory.wanted :]
        shown = self._shown(step)
        ready = ready_by_pool(step.serving.id, shown).get(self._pool, [])
        above = _above(step.service, step.serving, shown, self._pool, ready, step.usual)
        self.tally.add(self._memory.wanted, step.length_s, above if step.above is not None else None)

    def _look(self, snapshot: Snapshot, now: float) -> None:
        """Who serves by now: those that are there in truth as they were seen, the others after the usual time."""
        for seat in self._seats:
            seen = snapshot.instances.get(seat.id)
            if seat.ready_at is not None:
                continue
            if seen is not None and seen.state is InstanceState.READY:
                seat.ready_at = seen.since
            elif seen is None and now - seat.asked_at >= self._start_s:
                seat.ready_at = now

    def _decide(self, step: _Step, scaler: Scaler) -> None:
        if self._without is None or self._without[0] is not step.model:
            self._without = (step.model, self.thing.model(step.model))
        model = self._without[1]
        others = step.tick.memory_before.scale
        before = replace(others, pools={**others.pools, self._pool: self._memory})
        snapshot = self.thing.of_snapshot(self._shown(step))
        self._memory = scaler(model, model.releases[step.serving.id], snapshot, before)[0].pools[self._pool]

    def _shown(self, step: _Step) -> Snapshot:
        """What was seen, with this world's instances in place of the real ones. They share the same load."""
        snapshot, usual = step.tick.snapshot, step.usual
        if usual is None:
            return snapshot
        real = ready_by_pool(step.serving.id, snapshot).get(self._pool, [])
        warm = warm_cores(real, snapshot.taken_at)
        serving = sum(seat.ready_at is not None for seat in self._seats)
        cpu_cores = sum(warm) / len(warm) * len(real) / serving if warm and serving else None
        is_ours = (step.serving.id, self._pool)
        others = {
            id_: seen
            for id_, seen in snapshot.instances.items()
            if (seen.release, f"{seen.service}@{seen.region}") != is_ours
        }
        state = {True: InstanceState.READY, False: InstanceState.STARTING}
        ours = {
            seat.id: replace(
                usual,
                id=seat.id,
                state=state[seat.ready_at is not None],
                since=seat.ready_at if seat.ready_at is not None else seat.asked_at,
                started_at=seat.asked_at,
                seen_at=snapshot.observed.get("process", usual.seen_at),
                cpu_cores=cpu_cores if seat.ready_at is not None else None,
            )
            for seat in self._seats
        }
        return replace(snapshot, instances={**others, **ours})


def _members(tick: Tick, pool: str, serving: Release) -> list[_Seat]:
    """The instances that were wanted before the tick decided: they are there in every world."""
    seats = []
    for id_, member in tick.memory_before.heal.members.items():
        if (member.pool, member.release, member.state) != (pool, serving.id, MemberState.WANTED):
            continue
        seen = tick.snapshot.instances.get(id_)
        is_ready = seen is not None and seen.state is InstanceState.READY
        seats.append(_Seat(id_, member.asked_at, seen.since if seen is not None and is_ready else None))
    return seats


def _start_s(snapshot: Snapshot, service: Service, pool: str) -> float:
    """After how long an instance serves: as it was reckoned, or else as those took that serve, or else as long as it may take."""
    work = snapshot.works.get(pool)
    if work is not None and work.start_s is not None:
        return work.start_s
    took = [
        seen.since - seen.started_at
        for seen in snapshot.instances.values()
        if f"{seen.service}@{seen.region}" == pool and seen.state is InstanceState.READY
    ]
    return max(median_low(took), 0.0) if took else service.health.starts_within_s


def _has_measure(service: Service, serving: Release, snapshot: Snapshot) -> bool:
    """True when a trigger of the pool falls in proportion when there are more instances."""
    return any(t.metric not in UNSHARED for t in triggers_of(service, held_by_one(service, serving, snapshot)))


def _above(
    service: Service,
    serving: Release,
    snapshot: Snapshot,
    pool: str,
    ready: list[InstanceSeen],
    usual: InstanceSeen | None,
) -> Mapping[str, float] | None:
    """By metric, the bounds of the triggers that are above theirs; None when nothing was seen that could be. Where no instance is
    ready any load is too much, and `usual` stands for one to read it by."""
    if not snapshot.fresh("process", TRAFFIC_AGE_S_MAX) or (not ready and usual is None):
        return None
    shown = ready or ([usual] if usual is not None else [])
    holds, above, is_seen = held_by_one(service, serving, snapshot), {}, False
    for trigger in triggers_of(service, holds):
        if trigger.metric in UNSHARED or (trigger.metric == "cpu" and not ready):
            continue
        reading = read(trigger, service, pool.rpartition("@")[2], snapshot, shown, holds)
        if reading.value is None:
            continue
        is_seen = True
        if reading.value > (trigger.up_above if ready else 0.0):
            above[trigger.metric] = trigger.up_above
    return above if is_seen else None
