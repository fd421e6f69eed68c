"""What `tenfold plan --users` asks: who the users are, what was measured, how they grow. Stage: a call -> a question of users."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tenfold.cli.here import Here, WrongCall
from tenfold.cli.past import Past
from tenfold.drivers.capacity import read_capacities
from tenfold.drivers.postgres_data import CONNECTIONS_MAX
from tenfold.estimators.allocation import WORKS
from tenfold.estimators.growth import DAYS, Pace
from tenfold.estimators.portions import Portion, portions, shared_out
from tenfold.estimators.users import Question
from tenfold.facts import CapacitySeen
from tenfold.model import Model, Residency, Scenario, Service
from tenfold.ports import Permanent
from tenfold.proof.measure import default_scenario, share_of
from tenfold.proof.words import percent

USERS_MAX = 1_000_000_000
_PACE = re.compile(rf"(\d{{1,12}}(?:\.\d{{1,9}})?) ?(%?) ?/ ?({'|'.join(DAYS)})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and what must be said about what it rests on."""

    question: Question
    notes: tuple[str, ...]


def asked_of(
    here: Here, model: Model, digest: str, users: int, scenario_name: str | None, work: str | None, past: Past
) -> Asked:
    """What is asked with the folder as it is (`digest`), knowing its `past`. Raises `WrongCall`."""
    if not 1 <= users <= USERS_MAX:
        raise WrongCall(f"--users {users}: give a number of people from 1 to {USERS_MAX:,}")
    scenario = scenario_of(model, scenario_name)
    services = tuple(model.services.values())
    shares = {each.name: share_of(each.name, scenario, services) for each in services}
    parts = portions(model, past.window)
    current, notes = _current(here, model, digest, scenario)
    if work is not None and current:
        notes = (*notes, f"{', '.join(current)} was measured; --work {work} is reckoned with instead")
    own = model.data is not None and model.data.url is not None
    allowed = None if own else CONNECTIONS_MAX
    chosen = WORKS[work] if work is not None else None
    question = Question(
        model,
        scenario,
        shared_out(shares, model, parts),
        current,
        allowed,
        chosen,
        residents=residents_of(model, scenario),
        portions=parts,
    )
    return Asked(question, notes)


def scenario_of(model: Model, name: str | None) -> Scenario:
    """The scenario called `name`, or the blueprint's first, or what is asked when it names none. Raises `WrongCall`."""
    if name is not None and name not in model.scenarios:
        known = ", ".join(model.scenarios)
        there_are = f"there are: {known}" if known else "the blueprint names none: write it under `scenarios`"
        raise WrongCall(f"there is no scenario {name}; {there_are}")
    if name is not None:
        return model.scenarios[name]
    return next(iter(model.scenarios.values()), None) or default_scenario(first_service(model))


def first_service(model: Model) -> Service:
    """The service that people meet: web, or the first that listens. Raises `WrongCall` when none does."""
    listening = [each for each in model.services.values() if each.http and each.runs_always]
    if not listening:
        raise WrongCall(
            "none of this project's services speaks HTTP, and what an instance holds is told by its answers"
        )
    return model.services["web"] if model.services.get("web") in listening else listening[0]


def part_words(portion: Portion | None, program: str) -> str:
    """Which part of the requests to a program comes to one of its pools, and how that is known; empty where all of them do, or nobody
    knows."""
    if portion is None or portion.ratio is None or not portion.why:
        return ""
    return f"{percent(round(portion.ratio, 4))} of those to {program}, {portion.why}"


def held_rps_of(here: Here) -> Mapping[str, float]:
    """What one instance of a service was measured to hold, in requests/s, under the scenario of which it holds least; a file that can't be
    read tells nothing here."""
    found: dict[str, float] = {}
    try:
        for seen in read_capacities(here.project()):
            found[seen.service] = min(seen.requests_per_s, found.get(seen.service, seen.requests_per_s))
    except Permanent:
        return {}
    return found


def pace_of(text: str) -> Pace:
    """How users grow: `10%/month`, `5%/week`, `500/month`. Raises `WrongCall`."""
    found = _PACE.fullmatch(text.strip())
    if found is None:
        raise WrongCall(
            f"--growth {text}: expected a share or a number of users by {', '.join(DAYS)}; try 10%/month or 500/month"
        )
    amount, percent, period = float(found[1]), found[2], found[3]
    if amount <= 0:
        raise WrongCall(f"--growth {text}: nothing grows; leave it out, or try 10%/month")
    return Pace(period, ratio=amount / 100) if percent else Pace(period, users=amount)


def residents_of(model: Model, scenario: Scenario) -> Mapping[Residency, float]:
    """Which share (0..1) of the users is bound to each residency, by the scenario's own rows: those that name one of its tenants."""
    rows = scenario.users
    found: dict[Residency, float] = {}
    for name, rule in model.residency.items():
        bound = sum(any(value in rule.tenants for value in row.values()) for row in rows)
        if bound:
            found[name] = bound / len(rows)
    total = sum(found.values())
    # A row that names tenants of two residencies is counted once in all.
    return {name: ratio / max(total, 1.0) for name, ratio in found.items()}


def _current(
    here: Here, model: Model, digest: str, scenario: Scenario
) -> tuple[dict[str, CapacitySeen], tuple[str, ...]]:
    """What was measured under this scenario, by service, and what to say of figures that are old or can't be read."""
    try:
        capacities = read_capacities(here.project())
    except Permanent as error:
        return {}, (str(error),)
    found = {
        seen.service: seen for seen in capacities if seen.scenario == scenario.name and seen.service in model.services
    }
    notes = tuple(
        f"{name} was measured with another source or command than the folder has now: `tenfold measure` brings it up to date"
        for name, seen in found.items()
        if (seen.release, seen.command) != (digest, model.services[name].command)
    )
    return found, notes
