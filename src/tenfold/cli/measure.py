"""`tenfold measure`: what one instance holds at the target latency, found out on a copy. Stage: model -> proof.measure -> fact."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial

import click
from rich.console import Console, RenderableType

from tenfold.blueprint import units
from tenfold.cli.here import Fail, Here, WrongCall, make_state
from tenfold.cli.ship import check_secrets
from tenfold.cli.tables import table
from tenfold.cli.users import first_service, scenario_of
from tenfold.cli.wiring import PROGRAM
from tenfold.drivers.capacity import keep_capacities
from tenfold.drivers.releases import source_digest
from tenfold.model import Model, Scenario, Service
from tenfold.ports import DriverError
from tenfold.proof.load import LoadError
from tenfold.proof.measure import (
    Count,
    Goal,
    Measurement,
    NothingHeld,
    Point,
    Question,
    Standing,
    Told,
    cpu_ms,
    measure,
    share_of,
    shown,
    stores_of_ones_own,
)
from tenfold.proof.trial import TrialError

LATENCY_MS = 500.0
ERROR_RATIO = 0.001
"""What counts when the blueprint names no targets: those of its own example."""
INSTANCES_MAX = 64
HEADER = "  actions/s  requests/s    p95 ms   failed   others"
COLOURS = {Standing.HELD: "green", Standing.MISSED: "red", Standing.DOUBTFUL: "yellow"}
Say = Callable[..., None]
"""Prints a line where progress goes, with the styles of `click.style`."""


@click.command("measure")
@click.option("--service", help="Which service (default: web, or the only one that the scenario asks).")
@click.option("--scenario", "scenario_name", help="Which of the blueprint's scenarios (default: the first).")
@click.option("--latency", help="Within what 95 of 100 answers must come (default: targets.latency.p95, else 500ms).")
@click.option(
    "--instances", default="1", show_default=True, help="How many instances, one number after the other: 1,2,4."
)
@click.option("--with-own-database", is_flag=True, help="Let the copy use the database that the project itself uses.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object; progress goes to stderr.")
@click.pass_obj
def measure_command(
    here: Here,
    service: str | None,
    scenario_name: str | None,
    latency: str | None,
    instances: str,
    with_own_database: bool,
    as_json: bool,
) -> None:
    """Find out what one instance of this app holds at the target latency, and where it bends.

    A copy of the project runs in a temporary folder, with stores and a port of its own; what runs here is left alone. It gets more and more
    load until answers come too late. Takes about two minutes for each number of instances; Ctrl-C ends it and leaves nothing behind.
    """
    model, project = here.model(), here.project()
    scenario = scenario_of(model, scenario_name)
    question = Question(_service(model, scenario, service), scenario, _goal(model, latency), tuple(_counts(instances)))
    say = partial(click.secho, err=as_json)
    try:
        _check_stores(here, model, with_own_database)
        check_secrets(project, model)
        built = any(each.build for each in model.services.values())
        digest = source_digest(project, model.keep, built)
        _announce(model, question, say)
        found = asyncio.run(_measured(here, model, question, say))
        make_state(project)
        keep_capacities(project, [found.fact(digest, question.service.command, time.time())])
    except (TrialError, NothingHeld, LoadError, DriverError) as error:
        raise Fail(str(error)) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Fail("stopped: everything that was started for it is gone, and nothing was kept") from None
    if as_json:
        click.echo(json.dumps(shown(found)))
    else:
        console = Console(highlight=False)
        # A pipe has no width of its own: wide enough that nothing is cut.
        console.width = console.width if console.is_terminal else 160
        for part in _report(found):
            console.print(part)


async def _measured(here: Here, model: Model, question: Question, say: Say) -> Measurement:
    """The measurement; SIGTERM and a closed terminal end it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)

    def began(instances: int) -> None:
        say(f"\n{_instances(instances)} of {question.service.name}")
        say(HEADER, dim=True)

    def ended(count: Count) -> None:
        say(
            f"  {_instances(count.instances)} hold{'s' * (count.instances == 1)} {count.requests_per_s:,.0f} requests/s"
        )

    told = Told(partial(say, dim=True), began, lambda point, standing: say(_line(point, standing)), ended)
    text = here.read_blueprint()
    return await measure(here.project(), text, here.file_name, model, question, PROGRAM, told)


def _service(model: Model, scenario: Scenario, name: str | None) -> Service:
    services = tuple(model.services.values())
    listening = [each for each in services if each.http and each.runs_always]
    asked = [each for each in listening if share_of(each.name, scenario, services) > 0]
    if name is None:
        first = first_service(model)
        return first if first in asked or not asked else asked[0]
    if name not in model.services:
        raise WrongCall(f"there is no service {name}; there are: {', '.join(model.services)}")
    if model.services[name] not in asked:
        raise WrongCall(
            f"the scenario {scenario.name} asks nothing of {name}: choose among {', '.join(s.name for s in asked)}, or another --scenario"
        )
    return model.services[name]


def _goal(model: Model, latency: str | None) -> Goal:
    targets = model.targets
    latency_ms = targets.latency.p95_ms or LATENCY_MS
    if latency is not None:
        unit = units.duration("500ms", in_ms=True)
        try:
            latency_ms = float(unit.parse(latency))
        except ValueError as error:
            raise WrongCall(f"--latency {latency}: {error}; try {unit.example}") from None
    error_ratio = ERROR_RATIO if targets.error_ratio is None else targets.error_ratio
    return Goal(latency_ms, error_ratio)


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or not all(1 <= count <= INSTANCES_MAX for count in counts):
        raise WrongCall(
            f"--instances {text}: write numbers from 1 to {INSTANCES_MAX} with commas between them, as in 1,2,4"
        )
    return counts


def _check_stores(here: Here, model: Model, with_own_database: bool) -> None:
    """A load on a copy must not end in the database that people work with."""
    own = stores_of_ones_own(model, here.project(), os.environ)
    if own and not with_own_database:
        raise Fail(
            f"{', '.join(own)} leads to a database of your own, and the copy that is measured would fill it with what its load writes: "
            "name a scratch database in an environment of the blueprint (-e), or say --with-own-database"
        )


def _announce(model: Model, question: Question, say: Say) -> None:
    goal = question.goal
    say(
        f"{question.service.name} under the scenario {question.scenario.name}: the most load at which 95 of 100 answers come within "
        f"{goal.latency_ms:g} ms and at most {goal.error_ratio:.2%} fail"
    )
    if question.scenario not in model.scenarios.values():
        step = question.scenario.actions[0].steps[0]
        say(f"note: the blueprint names no scenarios, so all that is asked for is {step.name}", dim=True)
    if model.targets.latency.p95_ms is None and goal.latency_ms == LATENCY_MS:
        say("note: the blueprint names no targets.latency.p95", dim=True)


def _line(point: Point, standing: Standing) -> str:
    why = point.doubts[0].partition(":")[0] if standing is Standing.DOUBTFUL else ""
    p95 = "-" if point.p95_ms is None else f"{point.p95_ms:,.0f}"
    told = click.style(standing, fg=COLOURS[standing])
    return (
        f"  {point.rate:9,.1f}  {point.answered_rps:10,.1f}  {p95:>8}  {point.failed_ratio:7.2%}  {point.taken_cores:5.1f} c"
        f"  {told}{f': {why}' if why else ''}"
    )


def _report(found: Measurement) -> list[RenderableType]:
    rows = table(
        "instances",
        "requests/s",
        "predicted",
        "off",
        "users",
        "at hand",
        "p95",
        "bends at",
        "limited by",
        right=("instances", "requests/s", "predicted", "off", "users", "at hand", "p95", "bends at"),
    )
    for count, figures in zip(found.counts, shown(found)["instances"], strict=True):  # type: ignore[call-overload]
        predicted = count.predicted_rps
        bends = figures["bends_at_requests_per_s"]
        rows.add_row(
            str(count.instances),
            f"{count.requests_per_s:,.0f}",
            "-" if predicted is None else f"{predicted:,.0f}",
            "-" if predicted is None else f"{predicted / count.requests_per_s - 1:+.0%}",
            f"{figures['users']:,.0f}",
            f"{figures['concurrency']:,.1f}",
            f"{count.edge.p95_ms or 0:,.0f} ms",
            "above" if bends is None else f"{bends:,.0f}/s",
            count.limited_by,
        )
    costs = sorted(cpu_ms(found.one.edge).items(), key=lambda item: -item[1])
    told = ", ".join(f"{name} {ms:.2f}" for name, ms in costs if ms >= 0.005)
    parts: list[RenderableType] = ["", rows, f"a request costs {told} ms of processor time"]
    if any(count.is_lower_bound for count in found.counts):
        parts.append(
            "[yellow]above that the figures could not be trusted: it may hold more on a machine with more room[/yellow]"
        )
    parts.append("kept: scaling and `tenfold plan --users` use it from now on")
    return parts


def _instances(count: int) -> str:
    return "1 instance" if count == 1 else f"{count} instances"
