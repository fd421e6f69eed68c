"""`tenfold simulate`: a policy tried on days of traffic before it is switched on. Stage: a trace or users -> policies compared."""

import json
import os
import sys
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console

from tenfold.cli.here import Fail, Here, WrongCall
from tenfold.cli.load import moment, seconds
from tenfold.cli.simulateblows import HOW
from tenfold.cli.simulateplay import play
from tenfold.cli.simulatesetting import Called, setting_of
from tenfold.cli.simulateview import as_data, decision_view, view
from tenfold.proof.report.compared import Compared, compared_page
from tenfold.proof.words import many
from tenfold.sim.policies import POLICIES, policy

WIDTH = 120


@click.command("simulate")
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    help="Days of a real site: CSV of timestamp,requests, a range of Prometheus (JSON), or an access log; packed or not.",
)
@click.option("--users", type=click.IntRange(min=1), help="Instead: a day of so many users at its busiest moment.")
@click.option("--scenario", help="What they ask for: one of the blueprint's scenarios (default: the first).")
@click.option(
    "--policy",
    "policies",
    default=",".join(POLICIES),
    show_default=True,
    help="Which policies, side by side; the first is the one whose decisions are shown.",
)
@click.option("--from", "since", type=moment, help="Begin at this time of the trace (default: its last 3 days).")
@click.option("--to", "until", type=moment, help="End at this time of the trace.")
@click.option("--scale", type=float, default=1.0, help="Multiply the trace's rate.")
@click.option("--peak", "peak_rps", type=float, help="Scale the trace so that its highest rate is this (requests/s).")
@click.option(
    "--peak-instances",
    type=click.IntRange(min=1),
    help="Scale the demand so that its 99th percentile needs so many instances.",
)
@click.option("--fault", "faults", multiple=True, help=f"A drill while it is played; may be repeated; {HOW}.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same story.")
@click.option(
    "--step", "step_s", type=seconds, default="10s", show_default=True, help="How finely time passes (1s to 30s)."
)
@click.option(
    "--start-time",
    "start_s",
    type=seconds,
    help="What a start takes until the instance serves (default: as measured, else 2m).",
)
@click.option("--decision", help="Show one decision whole: d12 of the first policy, hpa:d12 of another.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write all figures and decisions into this file; - is standard output.",
)
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write a page with plots into this file.")
@click.pass_obj
def simulate_command(
    here: Here,
    trace: Path | None,
    users: int | None,
    scenario: str | None,
    policies: str,
    since: datetime | None,
    until: datetime | None,
    scale: float,
    peak_rps: float | None,
    peak_instances: int | None,
    faults: tuple[str, ...],
    seed: int,
    step_s: float,
    start_s: float | None,
    decision: str | None,
    json_path: Path | None,
    html_path: Path | None,
) -> None:
    """Try a policy on your own traffic before switching it on.

    Days of a trace, or a day of users, are played over this folder's blueprint in virtual time: the same deciders as always over a
    simulated world with start times, queues, regions, faults and prices. Each policy chooses the number of instances in the same story:
    `tenfold` (with its forecast), `reactive` (without), Kubernetes' `hpa` (`hpa-80` aims at 80%), Knative's `kpa`, and `oracle`, which
    knows what is to come. Nothing that runs is touched. The same call gives the same figures.
    """
    names = _policies(policies)
    asked = Called(
        trace, users, scenario, since, until, scale, peak_rps, peak_instances, names, faults, seed, step_s, start_s
    )
    _check(asked)
    _check_outcome(names, decision, json_path, html_path)
    model = here.model()
    setting, told = setting_of(here, model, asked)
    played = play(setting, names)
    if played.outcomes:
        programs = {service.base for service in model.services.values() if service.tier is not None}
        apart = tuple(name for name, service in model.services.items() if service.base in programs)
        about = (model.name, model.environment.name, setting.began_at, told)
        _tell(Compared(*about, played.outcomes, _command(), apart), decision, json_path, html_path)
    if played.stopped:
        ends = "was not played to its end" if len(played.stopped) == 1 else "were not played to their end"
        click.secho(f"stopped: {', '.join(played.stopped)} {ends}", fg="yellow", err=True)
        raise SystemExit(130)


def _policies(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise WrongCall(f"--policy names none: there are {', '.join(POLICIES)}")
    for name in names:
        if name == "oracle":
            continue
        try:
            policy(name)
        except ValueError as error:
            raise WrongCall(f"--policy: {error}") from None
    return names


def _check(asked: Called) -> None:
    """Refuse what says two different things, or nothing."""
    if (asked.trace is None) == (asked.users is None):
        raise WrongCall("what is to be played: give --trace FILE, or --users N" + (", not both" if asked.trace else ""))
    if asked.trace is None:
        for name, value in (("--from", asked.since), ("--to", asked.until), ("--peak", asked.peak_rps)):
            if value is not None:
                raise WrongCall(f"{name} is for traces: give --trace FILE, or leave it out")
        if asked.scale != 1.0 or asked.peak_instances is not None:
            raise WrongCall(
                "so many --users ask for what they ask for: leave --scale and --peak-instances out, or change --users"
            )
    given = [
        name
        for name, is_given in (
            ("--scale", asked.scale != 1.0),
            ("--peak", asked.peak_rps is not None),
            ("--peak-instances", asked.peak_instances is not None),
        )
        if is_given
    ]
    if len(given) > 1:
        raise WrongCall(f"{given[0]} and {given[1]} are two different scales: give one")
    if not 1 <= asked.step_s <= 30:
        raise WrongCall(f"--step {asked.step_s:g}: give 1s to 30s; above it nothing is decided in time")


def _check_outcome(
    names: tuple[str, ...], decision: str | None, json_path: Path | None, html_path: Path | None
) -> None:
    """What can't be shown or written is found out before it is played, not after."""
    of = decision.rpartition(":")[0] if decision is not None else ""
    if of and of not in names:
        raise WrongCall(f"--decision {decision}: {of} is not among the policies; there are {', '.join(names)}")
    for path in filter(None, (json_path, html_path)):
        if path.is_dir() or not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise Fail(f"{path} can't be written: name a file in a folder that is there and may be written to")


def _tell(compared: Compared, decision: str | None, json_path: Path | None, html_path: Path | None) -> None:
    """What was played took minutes: a disk that is full does not cost what is shown, nor a decision that there is none of the files."""
    try:
        if str(json_path) == "-":
            click.echo(json.dumps(as_data(compared)))
        else:
            _show(compared, decision)
    finally:
        if html_path is not None:
            _write(html_path, compared_page(compared))
        if json_path is not None and str(json_path) != "-":
            _write(json_path, json.dumps(as_data(compared)) + "\n")


def _show(compared: Compared, decision: str | None) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        # Whoever reads this from a file has room.
        console.width = WIDTH
    if decision is not None:
        console.print(decision_view(compared, decision))
        return
    console.print(view(compared))
    first = compared.outcomes[0]
    about = [made.decision.id for made in first.made if made.decision.by == "scale"]
    if about:
        told = f"{many(len(about), 'decision')} of {first.policy} about numbers, from {about[0]} to {about[-1]}"
        console.print(f"  {told}: --decision {about[0]} shows one whole", style="dim")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Fail(f"{path} can't be written: {error.strerror}") from None


def _command() -> str:
    return " ".join(["tenfold", *sys.argv[1:]])
