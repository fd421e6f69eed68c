"""`tenfold plan`: what would be done and why. The same deciders as always, over a simulated world: planning is deciding."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import click

from tenfold.blueprint import not_acted_on
from tenfold.cli.feed import COLOURS
from tenfold.cli.here import Fail, Here, WrongCall
from tenfold.cli.past import past_of
from tenfold.cli.phases import Told, as_data, tell, tell_advice
from tenfold.cli.ship import same_release
from tenfold.cli.users import asked_of, held_rps_of, pace_of
from tenfold.deciders import decide, settled
from tenfold.drivers.releases import source_digest
from tenfold.effects import Decision, StartEngine
from tenfold.estimators.allocated import too_small
from tenfold.estimators.allocation import WORKS
from tenfold.estimators.phases import outlook
from tenfold.facts import DeployRequest, UpRequest
from tenfold.loop import JournalMissing, JournalReader
from tenfold.model import Model, Release
from tenfold.ports import DriverError
from tenfold.sim import Simulation, World

SEED = 1
SETTLED_WITHIN_S = 1800.0


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal knows: releases so far, and the one that serves (None: nothing does)."""

    releases: dict[str, Release]
    serving: Release | None
    is_up: bool


@click.command("plan")
@click.option("--users", type=int, help="Instead: what so many users at once need, and what gives out first.")
@click.option("--scenario", help="What these users do: one of the blueprint's scenarios (default: the first).")
@click.option("--growth", help="How they grow: 10%/month, 5%/week, 500/month; then it is told when what breaks.")
@click.option(
    "--work",
    type=click.Choice(list(WORKS)),
    help="How heavy a request is (default: as measured; medium where nothing was).",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@click.pass_obj
def plan_command(
    here: Here, users: int | None, scenario: str | None, growth: str | None, work: str | None, as_json: bool
) -> None:
    """What `tenfold up` (or, when it is up, `tenfold deploy`) would do with this folder as it is now, and why.

    Nothing is touched: the deciders run over a simulated world in which builds, hooks and starts take typical times and
    succeed. The order and the reasons are real, the seconds are not.

    With --users: what each phase of growth takes (instances, database, memory, money), what breaks first in it, and a piece of
    blueprint to paste; by what `tenfold measure` found, or by a class of work where it found nothing.
    """
    model = here.model()
    for option, value in (("--scenario", scenario), ("--growth", growth), ("--work", work)):
        if value is not None and users is None:
            raise WrongCall(f"{option} is about users: say how many there are with --users")
    built = any(service.build for service in model.services.values())
    try:
        digest = source_digest(here.project(), model.keep, built)
    except DriverError as error:
        raise Fail(str(error)) from None
    if users is not None:
        told = _told(here, model, digest, users, scenario, growth, work)
        click.echo(json.dumps(as_data(told))) if as_json else tell(told)
        return
    known = _known(here)
    same = same_release(known.releases, model, digest)
    next_id = f"r{max((r.number for r in known.releases.values()), default=0) + 1}"
    wanted = same or Release(next_id, model.services, digest, time.time(), model.env, model.secrets)
    notes, advice = not_acted_on(model), past_of(here).advice(model, held_rps_of(here))
    if known.is_up and known.serving == wanted:
        steps: list[tuple[float, Decision]] = []
        summary = f"nothing to do: {wanted.id} serves, and neither folder nor blueprint has changed since"
    else:
        verb = "deploy" if known.is_up else "up"
        summary = f"`tenfold {verb}` would {'ship' if known.is_up else 'serve'} {wanted.id}{' again' if same else ''}:"
        steps = _dry_run(model, known, wanted)
    if as_json:
        rows = [
            {"at_s": at, "by": d.by, "subject": d.subject, "why": d.why, "effects": [e.key for e in d.effects]}
            for at, d in steps
        ]
        data: dict[str, object] = {"summary": summary, "steps": rows, "not_acted_on": notes}
        data["advice"] = [{**asdict(each), "text": each.text} for each in advice]
        if model.is_spread:
            data["regions"] = {name: asdict(each) for name, each in _regions(model, steps).items()}
        click.echo(json.dumps(data))
        return
    click.echo(summary)
    if model.is_spread:
        for name, each in _regions(model, steps).items():
            click.echo(f"  {click.style(name, bold=True)}  {each.told()}")
    for at_s, decision in steps:
        by = click.style(f"{decision.by:8}", fg=COLOURS.get(decision.by))
        click.echo(f"  +{at_s:4.0f} s  {by} {decision.why}")
    for sentence in notes:
        click.secho(f"note: {sentence}", dim=True)
    tell_advice(advice)


def _told(
    here: Here, model: Model, digest: str, users: int, scenario: str | None, growth: str | None, work: str | None
) -> Told:
    """What is to be told of so many users. Raises `WrongCall`."""
    pace = pace_of(growth) if growth is not None else None
    past = past_of(here)
    asked = asked_of(here, model, digest, users, scenario, work, past)
    seen_users = past.users
    return Told(
        model=model,
        outlook=outlook(asked.question, users),
        notes=(*asked.notes, *too_small(asked.question)),
        advice=past.advice(model, held_rps_of(here)),
        today=datetime.now(UTC).date(),
        is_chosen=work is not None,
        pace=pace,
        users_today=seen_users if seen_users is not None else float(users),
        basis="the most at once that the app told in the last week"
        if seen_users is not None
        else "the number you gave",
    )


@dataclass(frozen=True, slots=True)
class _RegionPlan:
    """What a region is for: where it lies, how many it is meant for, which part its stores begin with, which engines would start."""

    at: tuple[float, float] | None
    capacity_users: int | None
    residency: str | None
    has_entry: bool
    stores: Mapping[str, str]
    starts: tuple[str, ...]

    def told(self) -> str:
        """In a line."""
        parts = [f"at {self.at[0]:g},{self.at[1]:g}"] if self.at is not None else []
        parts += [f"for {self.capacity_users} users"] if self.capacity_users is not None else []
        parts += [f"residency {self.residency}"] if self.residency else []
        parts += ["the entry stands here"] if self.has_entry else []
        parts += [f"{kind} {role}" for kind, role in self.stores.items()]
        parts += [f"starts {', '.join(self.starts)}"] if self.starts else []
        return "; ".join(parts)


def _regions(model: Model, steps: list[tuple[float, Decision]]) -> dict[str, _RegionPlan]:
    starts = [effect for _, decision in steps for effect in decision.effects if isinstance(effect, StartEngine)]
    urls = {"postgres": model.data.url, "valkey": model.data.valkey_url} if model.data is not None else {}
    kinds = [kind for kind, url in urls.items() if url is None]
    roles = dict(zip(model.store_regions, ("primary", "standby"), strict=False))
    waits = " that writes wait for" if model.data is not None and model.data.is_synchronous else ""
    return {
        name: _RegionPlan(
            at=region.at,
            capacity_users=region.capacity_users,
            residency=region.residency,
            has_entry=name == model.entry_region and model.has_edge,
            stores={
                kind: f"{roles[name]}{waits if (kind, roles[name]) == ('postgres', 'standby') else ''}"
                for kind in kinds
                if name in roles
            },
            starts=tuple(dict.fromkeys(effect.kind for effect in starts if effect.region == name)),
        )
        for name, region in model.regions.items()
    }


def _known(here: Here) -> Known:
    is_up = here.control_plane() is not None
    try:
        with JournalReader(here.project().journal) as reader:
            releases, tick = reader.releases(), reader.latest()
    except JournalMissing:
        return Known({}, None, is_up)
    serving = tick.memory.release.serving if tick else None
    return Known(releases, releases.get(serving or ""), is_up)


def _dry_run(model: Model, known: Known, wanted: Release) -> list[tuple[float, Decision]]:
    """Decisions with the simulated second they were made at."""
    world = World(replace(model, releases={}), SEED)
    simulation = Simulation(world, decide)
    if known.is_up and known.serving is not None:
        simulation.ask(UpRequest("before", world.clock.now(), known.serving))
        simulation.run_until(lambda: "before" in simulation.answers and settled(simulation.memory), SETTLED_WITHIN_S)
        simulation.decided.clear()
        simulation.ask(DeployRequest("plan", world.clock.now(), wanted))
    else:
        simulation.ask(UpRequest("plan", world.clock.now(), wanted))
    from_s = world.clock.elapsed_s
    simulation.run_until(lambda: "plan" in simulation.answers and settled(simulation.memory), SETTLED_WITHIN_S)
    return [(at_s - from_s, decision) for at_s, decision in simulation.decided]
