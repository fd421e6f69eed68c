"""What gives out first, and at how many users, whatever number was asked about. Stage: a question of users -> limits, and what is not
known."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tenfold.estimators.database import Database
from tenfold.estimators.users import GENERATOR, Need, Question, needs

USERS_MAX = 1_000_000_000
"""More than that nobody has."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that gives out beyond `users` users, and what it is in words."""

    users: float
    what: str


def limits(
    question: Question, cost: Callable[[int], float], database: Callable[[int], Database | None]
) -> tuple[tuple[Limit, ...], tuple[str, ...]]:
    """The limits, first things first, and what could not be told. `cost` is what so many users cost a month in the budget's currency,
    `database` what they need; both grow with the users."""
    unknown: list[str] = []
    at_most = needs(question, 1)
    found = [
        *(_of_blueprint(question, need) for need in at_most if need.users_max is not None),
        *_of_machine(question, unknown),
        *_of_regions(question),
        *_of_budget(question, cost),
        *(_of_database(question, database, unknown) if question.model.data is not None else ()),
    ]
    guessed = sorted({question.model.services[need.service].base for need in at_most if need.work is not None})
    if guessed and question.work is None:
        unknown.append(f"what {', '.join(guessed)} really holds: `tenfold measure` finds it out")
    unknown += _of_standing([need for need in at_most if not need.is_asked])
    return tuple(sorted(found, key=lambda limit: limit.users)), tuple(unknown)


def last_held(bound: float, of: Callable[[int], float]) -> int | None:
    """The most users, up to a billion, with which `of` (which never falls) is not above `bound`; 0 when one user is too many, None when a
    billion are not."""
    if of(USERS_MAX) <= bound:
        return None
    held, broken = 0, USERS_MAX
    while broken - held > 1:
        middle = (held + broken) // 2
        held, broken = (middle, broken) if of(middle) <= bound else (held, middle)
    return held


def _of_standing(standing: Iterable[Need]) -> Iterable[str]:
    """Of services that nobody asks, and of tiers' pools of which nobody says how many are in them."""
    untold = {need.service: need.untold for need in standing if need.untold}
    for name, why in sorted(untold.items()):
        yield f"how many instances {name} will need: {why}, so its least stays as it is and the pool of all is planned for all"
    idle = sorted({need.service for need in standing} - untold.keys())
    if idle:
        yield f"how many instances {', '.join(idle)} will need: no request of the scenario goes there, so the least stays as it is"


def _of_blueprint(question: Question, need: Need) -> Limit:
    assert need.users_max is not None, "only services that are asked have one"
    return Limit(
        need.users_max,
        f"{need.instances_max} instances of {need.service} are the most the blueprint allows in {need.region}: "
        f"raise {question.model.services[need.service].scaling_at}.instances.max",
    )


def _of_machine(question: Question, unknown: list[str]) -> Iterable[Limit]:
    """When the cores of the machine that was measured on are full, everything on it: app, edge and stores."""
    among = 1_000_000
    measured = [(need, need.measured) for need in needs(question, among) if need.measured is not None]
    if not measured:
        unknown.append("what a request costs this machine: `tenfold measure` finds it out")
        return
    needed_cores = sum(
        need.requests_per_s * sum(ms for part, ms in seen.cpu_ms.items() if part != GENERATOR) / 1000
        for need, seen in measured
    )
    cores = min(seen.cores for _, seen in measured)
    if needed_cores > 0 and cores > 0:
        what = f"the {cores} cores of the machine that was measured on are full: it takes a larger one, or more of them"
        yield Limit(among * cores / needed_cores, what)


def _of_regions(question: Question) -> Iterable[Limit]:
    regions = question.model.regions
    told = [region.capacity_users for region in regions.values()]
    if all(capacity is not None for capacity in told):
        for law, ratio in question.residents.items():
            own = sum(region.capacity_users or 0 for region in regions.values() if region.residency == law)
            if own and ratio > 0:
                # Only what is sooner than for all: those who are not bound go where there is room.
                what = f"the regions of {law} are meant for {own:,} users, who may be nowhere else: raise their capacity, or add one there"
                if own / ratio < sum(capacity or 0 for capacity in told):
                    yield Limit(own / ratio, what)
        among = sum(capacity or 0 for capacity in told)
        where = "the regions are" if len(told) > 1 else f"{question.model.home} is"
        yield Limit(
            among, f"{where} meant for {among:,} users: raise regions.*.capacity where there is room, or add a region"
        )


def _of_budget(question: Question, cost: Callable[[int], float]) -> Iterable[Limit]:
    budget = question.model.budget
    # Nothing is converted: what is reckoned in another currency says nothing of this budget.
    if budget is not None and budget.monthly.currency == question.model.prices.currency:
        held = last_held(float(budget.monthly.amount), cost)
        if held is not None:
            least = f", where {cost(1):,.2f} {budget.monthly.currency} is the least that it takes" if held == 0 else ""
            what = f"the month costs more than its budget of {budget.monthly}{least}: raise it, or see what could cost less"
            yield Limit(held, what)


def _of_database(question: Question, database: Callable[[int], Database | None], unknown: list[str]) -> Iterable[Limit]:
    now, allowed = database(1), question.connections_max
    if any(need.connections is None for need in needs(question, 1) if need.is_asked) or allowed is None:
        unknown.append(
            "how many database connections it takes"
            if allowed is not None
            else "how many connections your database allows"
        )
    else:
        held = last_held(allowed, lambda users: sum(need.connections or 0.0 for need in needs(question, users)))
        if held is not None:
            most = f"{allowed} connections are the most the embedded database allows"
            what = f"{most}: let each instance keep fewer open, or put a pooler before it"
            yield Limit(held, what)
    if now is not None:
        held = last_held(now.shards, lambda users: found.shards if (found := database(users)) else math.inf)
        if held is not None:
            one = "one database" if now.shards == 1 else f"{now.shards} databases"
            yield Limit(held, f"{one} of the largest usual size will be full: spread tenants over more, data.shards")
