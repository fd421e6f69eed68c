"""How a project grows: what each phase takes, what it costs, what breaks first in it. Stage: a question of users -> phases.

A phase is told for as many users as it goes up to, at their busiest: what all of it costs a month is the most, not the mean.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tenfold.estimators.allocated import Allotment, allotted
from tenfold.estimators.allocation import cache_bytes_of
from tenfold.estimators.database import Database, database_for
from tenfold.estimators.limits import Limit, limits
from tenfold.estimators.spend import HOURS_A_MONTH
from tenfold.estimators.users import AS_IT_IS, Need, Question, Times, needs

PHASES = (1_000, 5_000, 50_000, 100_000)
WAYS = (
    ("more instances", AS_IT_IS),
    ("twice the CPU each", Times(cpu_times=2.0)),
    ("twice the memory each", Times(memory_times=2.0)),
    ("twice both", Times(cpu_times=2.0, memory_times=2.0)),
)
REGIONS_RATIO = 0.9995
"""One region can't promise more: the large clouds promise 99.95% to 99.99% for one, and the app's own failures come on top."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a month of 730 hours costs, in whole units of `currency`: instances, database machines, cache. Traffic, disks and the edge are
    not in it.

    `budget_ratio` is the share of the month's budget; None without one, or with one in another currency. `tiers` tells what of
    `instances` are pools of tiers, by tier.
    """

    currency: str
    instances: float
    database: float
    cache: float
    budget_ratio: float | None
    tiers: Mapping[str, float]

    @property
    def monthly(self) -> float:
        return self.instances + self.database + self.cache


@dataclass(frozen=True, slots=True)
class Way:
    """One way to have room: so many `instances` in all, so large each, what they cost a month, and what that risks."""

    name: str
    instances: int
    monthly: float
    risk: str


@dataclass(frozen=True, slots=True)
class Phase:
    """What it takes to have up to `users` users.

    `regions_min` regions should serve, for the reason `regions_why` (empty: those of the blueprint do). `connections` are to the
    database, None where not known. `breaks` are the limits that lie within this phase, `next_break` the first beyond. `is_next` tells
    that the phase lies beyond what was asked about, `is_asked` that it is what was asked about.
    """

    users: int
    needs: tuple[Need, ...]
    requests_per_s: float
    regions_min: int
    regions_why: str
    database: Database | None
    cache_bytes: int
    connections: int | None
    memory_bytes: int
    cost: Cost
    ways: tuple[Way, ...]
    breaks: tuple[Limit, ...]
    next_break: Limit | None
    is_asked: bool
    is_next: bool

    @property
    def instances(self) -> int:
        return sum(need.instances for need in self.needs)


@dataclass(frozen=True, slots=True)
class Outlook:
    """All phases for a project that was asked about with `users`. `limits` are what gives out, first things first, `unknown` what could not
    be told. `work` is the class of work that stands for what was not measured (None: all was). `allotments` are what to give each service
    that is asked."""

    users: int
    scenario: str
    work: str | None
    phases: tuple[Phase, ...]
    limits: tuple[Limit, ...]
    unknown: tuple[str, ...]
    allotments: tuple[Allotment, ...]

    @property
    def asked(self) -> Phase:
        """The phase that was asked about."""
        return next(phase for phase in self.phases if phase.is_asked)

    @property
    def breaks(self) -> tuple[Limit, ...]:
        """The limits that so many users pass."""
        return tuple(limit for limit in self.limits if limit.users < self.users)


def outlook(question: Question, users: int) -> Outlook:
    """What `users` take, and every phase on the way there and after it."""
    found, unknown = limits(
        question,
        lambda count: _cost(question, count, needs(question, count), _database(question, count)).monthly,
        lambda count: _database(question, count),
    )
    if question.model.budget is None:
        unknown = (*unknown, "whether it can be paid: the blueprint names no budget.monthly")
    if question.work is None and question.model.data is not None:
        unknown = (*unknown, f"what a user keeps in cache and database: that of {question.assumed.name} work is taken")
    sizes = sorted({*PHASES, users})
    phases = tuple(
        _phase(question, size, before, users, found) for before, size in zip((0, *sizes), sizes, strict=False)
    )
    is_guessed = any(need.work is not None for need in phases[0].needs)
    return Outlook(
        users=users,
        scenario=question.scenario.name,
        work=question.assumed.name if is_guessed else None,
        phases=phases,
        limits=found,
        unknown=unknown,
        allotments=allotted(question, users),
    )


def _phase(question: Question, users: int, before: int, asked: int, found: Sequence[Limit]) -> Phase:
    wanted, database = needs(question, users), _database(question, users)
    regions, why = _regions(question, users)
    cache_bytes = _cache_bytes(question, users)
    services = question.model.services
    memory_bytes = sum(need.instances * services[need.service].instance.memory_bytes for need in wanted) + cache_bytes
    if database is not None:
        memory_bytes += database.machines * database.memory_bytes
    return Phase(
        users=users,
        needs=wanted,
        requests_per_s=sum(need.requests_per_s for need in wanted),
        regions_min=regions,
        regions_why=why,
        database=database,
        cache_bytes=cache_bytes,
        connections=_connections(wanted),
        memory_bytes=memory_bytes,
        cost=_cost(question, users, wanted, database),
        ways=_ways(question, users),
        breaks=tuple(limit for limit in found if before <= limit.users < users),
        next_break=next((limit for limit in found if limit.users >= users), None),
        is_asked=users == asked,
        is_next=users > asked,
    )


def _connections(wanted: Sequence[Need]) -> int | None:
    told = [need.connections for need in wanted if need.is_asked]
    return round(sum(each or 0.0 for each in told)) if all(each is not None for each in told) else None


def _database(question: Question, users: int) -> Database | None:
    """None where the project has no database of Tenfold's, or what it has to do was not measured."""
    wanted = [need for need in needs(question, users) if need.is_asked]
    cores = [need.database_cores for need in wanted]
    if question.model.data is None or any(each is None for each in cores):
        return None
    hot_bytes = users * question.assumed.data_bytes
    return database_for(question.model, users, sum(each or 0.0 for each in cores), hot_bytes, _connections(wanted) or 0)


def _cache_bytes(question: Question, users: int) -> int:
    """Nothing where the project has no stores of Tenfold's."""
    return cache_bytes_of(question.assumed, users) if question.model.data is not None else 0


def _cost(question: Question, users: int, wanted: Sequence[Need], database: Database | None) -> Cost:
    model, prices = question.model, question.model.prices
    instances = _instances_per_hour(question, wanted)
    machine = database.machines * prices.per_hour(database.cores, database.memory_bytes) if database is not None else 0
    cache = prices.per_hour(0, _cache_bytes(question, users))
    a_month = [float(each) * HOURS_A_MONTH for each in (instances, machine, cache)]
    budget = model.budget
    is_same = budget is not None and budget.monthly.currency == prices.currency
    ratio = sum(a_month) / float(budget.monthly.amount) if budget is not None and is_same else None
    tiers = dict.fromkeys(service.tier for service in model.services.values() if service.tier is not None)
    of_tiers = {tier: [need for need in wanted if model.services[need.service].tier == tier] for tier in tiers}
    return Cost(
        currency=prices.currency,
        instances=a_month[0],
        database=a_month[1],
        cache=a_month[2],
        budget_ratio=ratio,
        tiers={tier: float(_instances_per_hour(question, own)) * HOURS_A_MONTH for tier, own in of_tiers.items()},
    )


def _instances_per_hour(question: Question, wanted: Iterable[Need], times: Times = AS_IT_IS) -> Decimal:
    """What all of these cost, on instances so many `times` as large."""
    prices, services = question.model.prices, question.model.services
    sizes = ((need.instances, times.of(services[need.service].instance)) for need in wanted)
    return sum((count * prices.per_hour(size.cpu_cores, size.memory_bytes) for count, size in sizes), Decimal(0))


def _regions(question: Question, users: int) -> tuple[int, str]:
    """How many regions should serve so many users, and why more than there are."""
    regions = question.model.regions
    told = [region.capacity_users for region in regions.values()]
    meant = sum(capacity or 0 for capacity in told) if all(capacity is not None for capacity in told) else None
    promised = question.model.targets.availability_ratio or 0.0
    if meant is not None and users > meant:
        each = meant / len(regions)
        return -(-users // max(int(each), 1)), f"those of the blueprint are meant for {meant:,} users"
    if promised > REGIONS_RATIO and len(regions) == 1:
        return 2, f"{promised * 100:.6g}% can't be promised from one region"
    return len(regions), ""


# --- horizontal and vertical --------------------------------------------------------------------------------------------


def _ways(question: Question, users: int) -> tuple[Way, ...]:
    """The same users on more instances, or on larger ones."""
    found: list[Way] = []
    for name, times in WAYS:
        asked = [need for need in needs(question, users, times) if need.is_asked]
        per_hour = _instances_per_hour(question, asked, times)
        count = sum(need.instances for need in asked)
        risk = _risk(question, times, asked, found[0].instances if found else None)
        found.append(Way(name, count, float(per_hour) * HOURS_A_MONTH, risk))
    return tuple(found)


def _risk(question: Question, times: Times, asked: Sequence[Need], plain: int | None) -> str:
    count = sum(need.instances for need in asked)
    if plain is None:
        over = sorted({need.service for need in asked if need.instances > need.instances_max})
        parts = [f"scaling.instances.max of {', '.join(over)} must be raised"] if over else []
        connections = _connections(asked)
        parts += [f"{connections:,} database connections"] if connections and question.model.data is not None else []
        return "; ".join([*parts, _loss(asked)])
    if count == plain:
        limits = sorted({need.limited_by for need in asked})
        return f"nothing is gained: what limits is {', '.join(limits)}"
    parts = [_loss(asked), "each start takes longer to pay off"]
    services = question.model.services
    if times.cpu_times > 1 and any(times.of(services[need.service].instance).cpu_cores > 1 for need in asked):
        parts.append("a program of one process uses one core: start as many workers")
    return "; ".join(parts)


def _loss(asked: Sequence[Need]) -> str:
    """What the loss of one instance takes from the pool that it hurts most."""
    fewest = min((need.instances for need in asked), default=0)
    if fewest <= 1:
        return "where one instance serves, its loss is an outage until the next is ready"
    return f"the loss of one takes {1 / fewest:.0%} of a pool"
