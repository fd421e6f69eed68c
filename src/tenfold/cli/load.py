"""`tenfold load`: a load on the edge, with live progress. Stage: trace, rate or users -> proof.load -> a person."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec
from click.core import ParameterSource

from tenfold.cli.here import Fail, Here, WrongCall
from tenfold.cli.loadview import HEADER, HEADER_OF_USERS, progress_line, report
from tenfold.cli.status import look
from tenfold.model import Scenario
from tenfold.proof.load import (
    LoadError,
    LoadPlan,
    LoadResult,
    Mix,
    Progress,
    RateCurve,
    Target,
    Trace,
    UserCurve,
    UserPlan,
    generated_day,
    read_trace,
    run_apart,
    run_users,
)

_DURATION_S = 60.0
_RAMP_S = 30.0


_UNITS_S = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """A time: `30`, `30s`, `500ms`, `2m` or `1h`."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?(ms|s|m|h)?", text)
    if found is None or not float(found[1]):
        raise click.BadParameter(f"{text!r} is not a time: write 30s, 2m or 1h")
    return float(found[1]) * _UNITS_S[found[2] or ""]


def moment(text: str) -> datetime:
    """A time as ISO 8601 writes it: `2026-01-05`, `2026-01-05T09:30`, `2026-01-05T09:30:00+01:00`."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a time: write 2026-01-05 or 2026-01-05T09:30") from None


@click.command("load")
@click.option("--users", type=click.IntRange(min=1), help="So many users at once play a scenario (closed model).")
@click.option(
    "--scenario", "scenario_name", help="Of the blueprint's scenarios, this one (default with --users: the first)."
)
@click.option(
    "--ramp", "ramp_s", type=seconds, help="How long the users take to come (default: 30s, or half of a shorter run)."
)
@click.option(
    "--http", type=click.Choice(["1.1", "2"]), default="1.1", show_default=True, help="What a scenario's requests use."
)
@click.option(
    "--processes", type=click.IntRange(1, 256), help="Share a scenario among so many (default: as many as it takes)."
)
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(path_type=Path),
    help="CSV of timestamp,requests, a range of Prometheus, or an access log (default: a generated day).",
)
@click.option(
    "--rate", type=float, help="Instead of a trace: this many requests (with --scenario: actions) each second."
)
@click.option(
    "--speedup",
    type=float,
    default=60.0,
    show_default=True,
    help="Play the trace this much faster, at its own requests/s.",
)
@click.option("--scale", type=float, default=1.0, help="Multiply the trace's rate.")
@click.option("--peak", "peak_rps", type=float, help="Scale the trace so that its highest rate is this (requests/s).")
@click.option("--from", "since", type=moment, help="Begin at this time of the trace.")
@click.option("--to", "until", type=moment, help="End at this time of the trace.")
@click.option("--duration", "duration_s", type=seconds, help="End after this much real time (60s where no trace says).")
@click.option(
    "--mix", default="GET / 100%", show_default=True, help="What is asked for: `GET /api/wait?ms=20 60%, GET / 40%`."
)
@click.option(
    "--header", "headers", multiple=True, help="Send this with each request (`cookie: session=...`); may be repeated."
)
@click.option("--target", help="Base URL (default: this project's edge).")
@click.option("--i-own-this", "owned", is_flag=True, help="Needed for a target that is not on this machine.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same arrivals and choices.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object; progress goes to stderr.")
@click.pass_context
def load_command(
    context: click.Context,
    users: int | None,
    scenario_name: str | None,
    ramp_s: float | None,
    http: str,
    processes: int | None,
    trace_file: Path | None,
    rate: float | None,
    speedup: float,
    scale: float,
    peak_rps: float | None,
    since: datetime | None,
    until: datetime | None,
    duration_s: float | None,
    mix: str,
    headers: tuple[str, ...],
    target: str | None,
    owned: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Put a load on the edge and measure it honestly.

    With --users so many people play a scenario of the blueprint: each acts, waits for the answer, pauses and acts again.
    Otherwise requests (with --scenario: actions) become due by the clock, whether or not earlier ones were answered. Response
    time counts from when a request was due. Exits with 1 when requests failed, or when the figures can't be trusted (and
    says why).
    """
    here: Here = context.obj
    _check_together(context, is_scenario=users is not None or scenario_name is not None)
    curve: RateCurve | UserCurve
    try:
        if users is not None:
            curve, what = _users(users, duration_s or _DURATION_S, ramp_s)
        elif rate is not None:
            if rate == 0:
                raise WrongCall("--rate 0 is no load: give how many requests a second to send")
            curve, what = RateCurve.steps((duration_s or _DURATION_S, rate)), f"{rate:g} requests/s"
        else:
            trace = read_trace(trace_file, since, until) if trace_file else generated_day(seed)
            whole, what = trace.curve(speedup, scale, peak_rps), _describe(trace, trace_file, speedup)
            curve = whole if duration_s is None else whole.limited(duration_s)
        at = _target(here, target, owned)
        pairs = _pairs(headers)
        plan: LoadPlan | UserPlan
        if isinstance(curve, RateCurve) and scenario_name is None:
            plan = LoadPlan(at, curve, _with_headers(Mix.parse(mix), pairs), seed=seed)
        else:
            scenario = _scenario(here, scenario_name)
            what = f"{what.replace('requests/s', 'actions/s')} of the scenario {scenario.name}"
            plan = UserPlan(
                at,
                scenario,
                curve if isinstance(curve, UserCurve) else None,
                curve if isinstance(curve, RateCurve) else None,
                seed=seed,
                http="2" if http == "2" else "1.1",
                processes=processes or 0,
                headers=pairs,
            )
    except LoadError as error:
        raise WrongCall(str(error)) from None
    _play(plan, curve, what, as_json)


_OF_CURVES = ("rate", "trace_file", "speedup", "scale", "peak_rps", "since", "until")
_OF_TRACES = ("trace_file", "speedup", "scale", "peak_rps", "since", "until")
_OF_SCENARIOS = ("http", "processes")
_OPTIONS = {"trace_file": "--trace", "peak_rps": "--peak", "since": "--from", "until": "--to", "ramp_s": "--ramp"}


def _check_together(context: click.Context, *, is_scenario: bool) -> None:
    """Refuse options that say two different things, or that would say nothing."""

    def given(*names: str) -> list[str]:
        sources = {name: context.get_parameter_source(name) for name in names}
        return [_OPTIONS.get(name, f"--{name}") for name in names if sources[name] is ParameterSource.COMMANDLINE]

    if given("users") and (others := given(*_OF_CURVES)):
        raise WrongCall(f"--users and {others[0]} are two different loads: give one")
    if given("rate") and (others := given(*_OF_TRACES)):
        raise WrongCall(f"--rate and {others[0]} are two different loads: give one")
    if is_scenario and given("mix"):
        raise WrongCall(
            "--mix and a scenario are two different things to ask for: leave --mix out, or play no scenario"
        )
    if not is_scenario and (others := given(*_OF_SCENARIOS)):
        raise WrongCall(f"{others[0]} is for scenarios: give --users or --scenario too, or leave it out")
    if not given("users") and given("ramp_s"):
        raise WrongCall("--ramp is for --users: say how many, or leave it out")


def _users(users: int, duration_s: float, ramp_s: float | None) -> tuple[UserCurve, str]:
    """So many users, who come within the ramp and stay to the end."""
    if ramp_s is None:
        ramp_s = min(_RAMP_S, duration_s / 2)
    if ramp_s > duration_s:
        raise WrongCall(
            f"the users would still be coming at the end: make --ramp less than --duration ({duration_s:g} s)"
        )
    return UserCurve.steps((duration_s, users), ramp_s=ramp_s), f"{users:,} users, who come within {ramp_s:g} s,"


def _scenario(here: Here, name: str | None) -> Scenario:
    """The scenario of this name, or the blueprint's first."""
    scenarios = here.model().scenarios
    if not scenarios:
        raise WrongCall(
            "no service of this blueprint is asked over HTTP, so there is no scenario: write one under `scenarios`"
        )
    if name is None:
        return next(iter(scenarios.values()))
    if name not in scenarios:
        raise WrongCall(f"there is no scenario {name}: known are {', '.join(scenarios)}")
    return scenarios[name]


def _target(here: Here, target: str | None, owned: bool) -> Target:
    """Where the load goes: this project's edge, or what is named. The project's own addresses are one's own."""
    if target is None:
        with here.reader() as reader:
            view = look(here, reader)
        if view is None or not view.address or view.control_plane is None:
            raise Fail("this project's edge does not run: `tenfold up` first, or name a --target")
        return Target.parse(view.address, owned=True)
    return Target.parse(target, owned=owned or urlsplit(target).hostname in _own_hosts(here))


def _own_hosts(here: Here) -> set[str]:
    """Where this project's own edge and gateways listen, if any ever did."""
    try:
        with here.reader() as reader:
            view = look(here, reader)
    except Fail:
        return set()
    engines = view.tick.snapshot.engines.values() if view is not None else ()
    return {engine.address.rpartition(":")[0] for engine in engines if engine.address}


def _describe(trace: Trace, file: Path | None, speedup: float) -> str:
    name = file.name if file else "a generated day"
    filled = f" ({trace.filled} missing steps interpolated)" if trace.filled else ""
    return f"{name} from {trace.start:%Y-%m-%d %H:%M} UTC, {speedup:g} times faster{filled}"


def _pairs(headers: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise WrongCall(f"--header {header!r} is none: write `name: value`")
        pairs.append((name.strip(), value.strip()))
    return tuple(pairs)


def _with_headers(mix: Mix, pairs: tuple[tuple[str, str], ...]) -> Mix:
    return Mix(tuple(replace(request, headers=(*request.headers, *pairs)) for request in mix.requests))


def _play(plan: LoadPlan | UserPlan, curve: RateCurve | UserCurve, what: str, as_json: bool) -> None:
    """Make the load, show it, and end as it went."""
    screen = sys.stderr if as_json else sys.stdout
    of_users = isinstance(curve, UserCurve)
    lasts = f"{curve.duration_s:.0f} s"
    if isinstance(curve, RateCurve):
        lasts += f", about {curve.expected:,.0f} times, at most {curve.peak_rps:,.1f}/s"
    click.echo(f"{what} at {plan.target.authority}: {lasts}. Ctrl-C ends it early.", file=screen)
    click.echo(HEADER_OF_USERS if of_users else HEADER, file=screen)

    def tell(progress: Progress) -> None:
        click.echo(progress_line(progress, of_users=of_users), file=screen)

    try:
        result = asyncio.run(_run(plan, tell))
    except LoadError as error:
        raise Fail(str(error)) from None
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(result)))
    else:
        report(result)
    if result.failed or result.invalid:
        raise SystemExit(1)


async def _run(plan: LoadPlan | UserPlan, on_progress: Callable[[Progress], None]) -> LoadResult:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    if isinstance(plan, LoadPlan):
        return await run_apart(plan, on_progress, stop)
    return await run_users(plan, on_progress, stop)
