"""What `tenfold plan --users` prints: instances by service and region, what gives out first. Stage: model + measurements -> person."""

from collections.abc import Iterator
from dataclasses import asdict

import click

from tenfold.cli.here import Here, WrongCall
from tenfold.drivers.capacity import read_capacities
from tenfold.drivers.postgres_data import CONNECTIONS_MAX
from tenfold.estimators.users import HEADROOM_RATIO, Growth, Need, needed
from tenfold.facts import CapacitySeen
from tenfold.model import Model, Scenario, Service
from tenfold.ports import Permanent
from tenfold.proof.measure import default_scenario, share_of

USERS_MAX = 1_000_000_000


def growth_of(
    here: Here, model: Model, digest: str, users: int, scenario_name: str | None
) -> tuple[Growth, tuple[str, ...]]:
    """What `users` need with the folder as it is (`digest`), and what must be said about it. Raises `WrongCall`."""
    if not 1 <= users <= USERS_MAX:
        raise WrongCall(f"--users {users}: give a number of people from 1 to {USERS_MAX:,}")
    scenario = scenario_of(model, scenario_name)
    services = tuple(model.services.values())
    shares = {each.name: share_of(each.name, scenario, services) for each in services}
    current, notes = _current(here, model, digest, scenario)
    own = model.data is not None and model.data.url is not None
    return needed(model, scenario, shares, users, current, None if own else CONNECTIONS_MAX), notes


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


def growth_lines(growth: Growth, notes: tuple[str, ...]) -> Iterator[str]:
    """For people."""
    rps = sum(need.requests_per_s for need in growth.needs)
    yield f"{growth.users:,} users under the scenario {growth.scenario} ask for {rps:,.0f} requests/s:"
    for need in growth.needs:
        of = (
            f", of at most {need.instances_max}"
            if need.instances <= need.instances_max
            else f", but {need.instances_max} are allowed"
        )
        count = "1 instance" if need.instances == 1 else f"{need.instances:,} instances"
        yield f"  {need.service}@{need.region}  {count}{of}: {need.requests_per_s:,.0f} requests/s, {_basis(need)}"
    if growth.limits:
        first = growth.limits[0]
        what = "breaks first" if first.users < growth.users else "would break first"
        yield f"{what}, at {first.users:,.0f} users: {first.what}"
        yield from (f"then, at {limit.users:,.0f} users: {limit.what}" for limit in growth.limits[1:])
    yield from (f"not known: {what}" for what in growth.unknown)
    yield from (f"note: {note}" for note in notes)


def _basis(need: Need) -> str:
    seen = need.measured
    if seen is None:
        return "from the blueprint's instance.concurrency, not measured"
    return f"at most {HEADROOM_RATIO:.0%} of the {seen.requests_per_s:,.4g} that one was measured to hold within {seen.latency_ms:g} ms"


def growth_data(growth: Growth, notes: tuple[str, ...]) -> dict[str, object]:
    """For programs."""
    return {**asdict(growth), "breaks": [asdict(limit) for limit in growth.breaks], "notes": list(notes)}


def tell_growth(growth: Growth, notes: tuple[str, ...]) -> None:
    """Print it."""
    for line in growth_lines(growth, notes):
        dim = line.startswith(("not known", "note"))
        click.secho(line, dim=dim, fg="red" if line.startswith("breaks first") else None)
