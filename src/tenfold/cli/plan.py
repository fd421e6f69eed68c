"""`tenfold plan`: what would be done and why. The same deciders as always, over a simulated world: planning is deciding."""

import json
import time
from dataclasses import dataclass, replace

import click

from tenfold.blueprint import not_acted_on
from tenfold.cli.feed import COLOURS
from tenfold.cli.here import Fail, Here
from tenfold.cli.ship import same_release
from tenfold.deciders import decide, settled
from tenfold.drivers.releases import source_digest
from tenfold.effects import Decision
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
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@click.pass_obj
def plan_command(here: Here, as_json: bool) -> None:
    """What `tenfold up` (or, when it is up, `tenfold deploy`) would do with this folder as it is now, and why.

    Nothing is touched: the deciders run over a simulated world in which builds, hooks and starts take typical times and
    succeed. The order and the reasons are real, the seconds are not.
    """
    model = here.model()
    known = _known(here)
    built = any(service.build for service in model.services.values())
    try:
        digest = source_digest(here.project(), model.keep, built)
    except DriverError as error:
        raise Fail(str(error)) from None
    same = same_release(known.releases, model, digest)
    next_id = f"r{max((r.number for r in known.releases.values()), default=0) + 1}"
    wanted = same or Release(next_id, model.services, digest, time.time(), model.env, model.secrets)
    notes = not_acted_on(model)
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
        click.echo(json.dumps({"summary": summary, "steps": rows, "not_acted_on": notes}))
        return
    click.echo(summary)
    for at_s, decision in steps:
        by = click.style(f"{decision.by:8}", fg=COLOURS.get(decision.by))
        click.echo(f"  +{at_s:4.0f} s  {by} {decision.why}")
    for sentence in notes:
        click.secho(f"note: {sentence}", dim=True)


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
