"""What so many users need: requests per second and instances by service and region. Scenario, and measurements or a class of work, in.

Where a service was measured, a user asks of it what the users of the measurement did. Where it was not, a class of work (`allocation`) is
taken for what a request costs, on instances of the blueprint's size: that is a guess, and said so.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tenfold.estimators.allocation import USUAL, Holds, Work, connections_of, holds
from tenfold.estimators.portions import Portion
from tenfold.facts import CapacitySeen
from tenfold.model import InstanceSize, Model, Residency, Scenario, Service

HEADROOM_RATIO = 0.8
"""At most so much of what an instance holds is planned for: where the trigger `capacity` adds the next one."""
GENERATOR = "load generator"
"""The part of a measurement's cost that is not the app's."""
PROCESSOR_WORDS = "the processor of the instance"
"""How `tenfold measure` says that a faster or larger instance would hold more."""


@dataclass(frozen=True, slots=True)
class Times:
    """So many times the blueprint's instance: its CPU, and its memory."""

    cpu_times: float = 1.0
    memory_times: float = 1.0

    def of(self, size: InstanceSize) -> InstanceSize:
        """That size, larger."""
        return InstanceSize(
            size.cpu_cores * self.cpu_times, round(size.memory_bytes * self.memory_times), size.concurrency
        )


AS_IT_IS = Times()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: how many instances users of `scenario` take.

    `shares` (0..1) tell which part of the scenario's requests goes to each service, pools of tiers included, `capacities` by service what
    was measured of the source that is planned with. With `work` all is reckoned as such work, whatever was measured. `connections_max` is
    what the database allows (None: not known). `residents` tells which share (0..1) of the users is bound to each residency, `portions`
    which part of their service's requests pools get where tiers have some. Tiers are taken to be alike in all regions.
    """

    model: Model
    scenario: Scenario
    shares: Mapping[str, float]
    capacities: Mapping[str, CapacitySeen]
    connections_max: int | None = None
    work: Work | None = None
    residents: Mapping[Residency, float] = field(default_factory=dict)
    portions: Mapping[str, Portion] = field(default_factory=dict)

    @property
    def target_ms(self) -> float | None:
        return self.model.targets.latency.p95_ms

    def measured(self, service: str) -> CapacitySeen | None:
        """What was measured of a service (of all its pools alike), unless work is said to be of another kind."""
        return self.capacities.get(self.model.services[service].base) if self.work is None else None

    def portion_ratio(self, service: str) -> float:
        """Which part (0..1) of its users is served by a service or pool of a tier, as far as it is known."""
        portion = self.portions.get(service)
        return 1.0 if portion is None else portion.ratio or 0.0

    @property
    def assumed(self) -> Work:
        """The class of work of what was not measured."""
        return self.work or USUAL


@dataclass(frozen=True, slots=True)
class Need:
    """What one service needs in one region for `users` of its users: `requests_per_s` on so many `instances`, of at most `instances_max`.

    Of one instance `each_rps` requests/s are held; `limited_by` is what gives out first, in words. `connections` and `database_cores` are
    what they take of the database, None where that is not known. `users_max` is how many of all users the allowed instances would hold
    (None: nobody asks). `measured` is what it rests on, `work` the class that is taken instead; both are missing for a service that
    nobody asks over HTTP, which keeps its least. Where tiers have pools of it, `portion` tells which part comes here.
    """

    service: str
    region: str
    users: float
    requests_per_s: float
    instances: int
    instances_max: int
    users_max: float | None
    each_rps: float
    limited_by: str
    connections: float | None = None
    database_cores: float | None = None
    measured: CapacitySeen | None = None
    work: str | None = None
    portion: Portion | None = None

    @property
    def is_asked(self) -> bool:
        return self.requests_per_s > 0

    @property
    def untold(self) -> str:
        """Of a tier's pool, why it is not known what comes to it; empty where that is known."""
        return self.portion.why if self.portion is not None and self.portion.ratio is None else ""


def needs(question: Question, users: int, times: Times = AS_IT_IS) -> tuple[Need, ...]:
    """What `users` need on instances so many `times` as large as the blueprint's: every service that always runs, region by region."""
    parts = {region: sum(bound.values()) for region, bound in spread(question, users).items()}
    model = question.model
    return tuple(
        _asked(question, model.services[name], share, region, part, users, times)
        if (share := question.shares.get(name, 0.0)) > 0
        else _standing(question, model.services[name], region)
        for name in model.services
        if model.services[name].runs_always
        for region, part in parts.items()
    )


def spread(question: Question, users: float) -> dict[str, dict[Residency, float]]:
    """How many users each region has, by the residency that binds them (empty: none does).

    By the regions' capacities where all name one, else evenly. Who is bound is in the regions of that residency and nowhere else; the
    others fill up what is left of each region's part. A residency that no region has is nobody's: its users are counted to those who are
    free.
    """
    regions = question.model.regions
    told = [region.capacity_users for region in regions.values() if region.capacity_users is not None]
    is_told = len(told) == len(regions) and sum(told) > 0
    parts = {
        name: (region.capacity_users or 0) / sum(told) if is_told else 1 / len(regions)
        for name, region in regions.items()
    }
    found: dict[str, dict[Residency, float]] = {name: {} for name in regions}
    free = 1.0
    for residency, ratio in question.residents.items():
        own = [name for name, region in regions.items() if region.residency == residency]
        for name in own:
            room = sum(parts[each] for each in own)
            found[name][residency] = ratio * (parts[name] / room if room > 0 else 1 / len(own))
        free -= ratio if own else 0.0
    left = {name: max(0.0, parts[name] - sum(found[name].values())) for name in regions}
    room = sum(left.values())
    for name in regions:
        # With rounding nothing may be left where everybody is bound; nobody is free then either.
        found[name][""] = max(free, 0.0) * (left[name] / room if room > 0 else parts[name])
    return {name: {law: users * ratio for law, ratio in bound.items()} for name, bound in found.items()}


def _asked(
    question: Question,
    service: Service,
    share: float,
    region: str,
    users: float,
    of_all: int,
    times: Times,
) -> Need:
    measured, work = question.measured(service.name), question.assumed
    held = _held(question, service, times)
    if measured is not None:
        per_user_rps = question.portion_ratio(service.name) * measured.requests_per_s / max(measured.users, 1e-9)
        database_ms = measured.cpu_ms.get("postgres")
        each_connections = measured.connections or None
    else:
        scenario = question.scenario
        shares = sum(action.share for action in scenario.actions)
        steps = sum(action.share * len(action.steps) for action in scenario.actions) / shares
        # The interactive response time law. Who is answered sooner asks sooner: an idle instance's time is the safe side.
        per_user_rps = share * steps / (scenario.think_s + steps * (work.cpu_ms + work.wait_ms) / 1000)
        database_ms = work.database_ms
        each_connections = float(connections_of(work, held.requests_per_s))
    rps = users * per_user_rps
    planned_rps = HEADROOM_RATIO * held.requests_per_s
    low, high = service.scaling.instances_min, service.scaling.instances_max
    wanted = max(low, 1, math.ceil(rps / planned_rps - 1e-9)) if rps > 0 else low
    return Need(
        service=service.name,
        region=region,
        users=users * question.portion_ratio(service.name),
        requests_per_s=rps,
        instances=wanted,
        instances_max=high,
        users_max=high * planned_rps / max(per_user_rps, 1e-9) * of_all / max(users, 1e-9),
        each_rps=held.requests_per_s,
        limited_by=held.limited_by,
        connections=wanted * each_connections if each_connections is not None else None,
        database_cores=rps * database_ms / 1000 if database_ms is not None else None,
        measured=measured,
        work=work.name if measured is None else None,
        portion=question.portions.get(service.name),
    )


def _held(question: Question, service: Service, times: Times) -> Holds:
    """What an instance of the blueprint's size holds, or one that is so many times as large."""
    measured = question.measured(service.name)
    if measured is not None:
        # Of what was measured only a processor that was full tells what more of it gives; what waits, waits all the same.
        more = times.cpu_times if measured.limited_by == PROCESSOR_WORDS else 1.0
        return Holds(measured.requests_per_s * more, measured.latency_ms, measured.limited_by)
    return holds(question.assumed, times.of(service.instance), question.target_ms)


def _standing(question: Question, service: Service, region: str) -> Need:
    """A service that nobody asks over HTTP, or a pool of a tier of which nobody says how many are in it: how its work grows with users
    nothing here tells."""
    low, high = service.scaling.instances_min, service.scaling.instances_max
    return Need(service.name, region, 0.0, 0.0, low, high, None, 0.0, "", portion=question.portions.get(service.name))
