"""`tenfold load`: an open-model load on the edge, with live progress. Stage: trace or rate -> proof.load -> a person."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from tenfold.cli.here import Fail, Here, WrongCall
from tenfold.cli.status import look
from tenfold.proof.load import (
    Latency,
    LoadError,
    LoadPlan,
    LoadResult,
    Mix,
    Progress,
    RateCurve,
    Target,
    Trace,
    generated_day,
    read_trace,
    run_apart,
)

HEADER = "    time     planned   answered   at hand   failed   p50 ms   p95 ms   p99 ms   left"


@click.command("load")
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(path_type=Path),
    help="CSV of timestamp,requests (default: a generated day).",
)
@click.option("--rate", type=float, help="Instead of a trace: this many requests each second.")
@click.option(
    "--speedup",
    type=float,
    default=60.0,
    show_default=True,
    help="Play the trace this much faster, at its own requests/s.",
)
@click.option("--scale", type=float, default=1.0, help="Multiply the trace's rate.")
@click.option("--peak", "peak_rps", type=float, help="Scale the trace so that its highest rate is this (requests/s).")
@click.option("--from", "since", type=click.DateTime(), help="Begin at this time of the trace.")
@click.option("--to", "until", type=click.DateTime(), help="End at this time of the trace.")
@click.option("--duration", "duration_s", type=float, help="End after this many seconds of real time.")
@click.option(
    "--mix", default="GET / 100%", show_default=True, help="What is asked for: `GET /api/wait?ms=20 60%, GET / 40%`."
)
@click.option(
    "--header", "headers", multiple=True, help="Send this with each request (`cookie: session=...`); may be repeated."
)
@click.option("--target", help="Base URL (default: this project's edge).")
@click.option("--i-own-this", "owned", is_flag=True, help="Needed for a target that is not on this machine.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same arrivals.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object; progress goes to stderr.")
@click.pass_obj
def load_command(
    here: Here,
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

    Open model: requests become due by the trace's clock whether or not earlier ones were answered, and response time counts
    from when a request was due. Exits with 1 when requests failed, or when the figures can't be trusted (and says why).
    """
    try:
        if rate is not None:
            if trace_file is not None:
                raise WrongCall("--rate and --trace are two different loads: give one")
            if rate == 0:
                raise WrongCall("--rate 0 is no load: give how many requests a second to send")
            curve, what = RateCurve.steps((duration_s or 60.0, rate)), f"{rate:g} requests/s"
        else:
            trace = read_trace(trace_file, since, until) if trace_file else generated_day(seed)
            curve = trace.curve(speedup, scale, peak_rps)
            what = _describe(trace, trace_file, speedup)
            if duration_s is not None:
                curve = curve.limited(duration_s)
        asked = _with_headers(Mix.parse(mix), headers)
        plan = LoadPlan(Target.parse(target or _edge(here), owned=owned), curve, asked, seed=seed)
    except LoadError as error:
        raise WrongCall(str(error)) from None
    screen = sys.stderr if as_json else sys.stdout
    lasts = f"{curve.duration_s:.0f} s, about {curve.expected:,.0f} requests, at most {curve.peak_rps:,.1f}/s"
    click.echo(f"{what} at {plan.target.authority}: {lasts}. Ctrl-C ends it early.\n{HEADER}", file=screen)
    try:
        result = asyncio.run(_run(plan, lambda progress: click.echo(progress_line(progress), file=screen)))
    except LoadError as error:
        raise Fail(str(error)) from None
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(result)))
    else:
        _report(result)
    if result.failed or result.invalid:
        raise SystemExit(1)


def _edge(here: Here) -> str:
    with here.reader() as reader:
        view = look(here, reader)
    if view is None or not view.address or view.control_plane is None:
        raise Fail("this project's edge does not run: `tenfold up` first, or name a --target")
    return view.address


def _describe(trace: Trace, file: Path | None, speedup: float) -> str:
    name = file.name if file else "a generated day"
    filled = f" ({trace.filled} missing steps interpolated)" if trace.filled else ""
    return f"{name} from {trace.start:%Y-%m-%d %H:%M}, {speedup:g} times faster{filled}"


def _with_headers(mix: Mix, headers: tuple[str, ...]) -> Mix:
    if not headers:
        return mix
    pairs = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise WrongCall(f"--header {header!r} is none: write `name: value`")
        pairs.append((name.strip(), value.strip()))
    return Mix(tuple(replace(request, headers=(*request.headers, *pairs)) for request in mix.requests))


async def _run(plan: LoadPlan, on_progress: Callable[[Progress], None]) -> LoadResult:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    return await run_apart(plan, on_progress, stop)


def progress_line(progress: Progress) -> str:
    """One second of the run as a line under `HEADER`."""
    second = progress.second
    failed = click.style(f"{progress.failed:8}", fg="red" if progress.failed else None)
    times = "".join(_cell(ms) for ms in (second.p50_ms, second.p95_ms, second.p99_ms))
    return (
        f"{progress.elapsed_s:7.0f}s {second.planned_rps:11,.1f} {second.answered:10,} {progress.in_flight:9,} {failed}"
        f"{times} {progress.eta_s:5.0f}s"
    )


def _cell(ms: float | None) -> str:
    return "        -" if ms is None else f"{ms:9,.1f}"


def _report(result: LoadResult) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"):
        table.add_column(name, justify="right" if name else "left")
    for name, latency in (
        ("from due to answer", result.response),
        ("from sent to answer", result.service),
    ):
        table.add_row(name, *(_ms(ms) for ms in _percentiles(latency)))
    console.print()
    console.print(table)
    took = f"{result.duration_s:.0f} s{', interrupted' if result.interrupted else ''}"
    console.print(
        f"{result.sent:,} sent, {result.answered:,} answered, {result.failed:,} failed, {result.refused:,} refused (4xx) in {took}"
    )
    for outcome in result.outcomes:
        if outcome.failed:
            ids = ", ".join(s.request_id for s in outcome.examples[:3] if s.request_id)
            more = (
                f" (tenfold explain {ids.partition(',')[0]})"
                if ids
                else f" ({outcome.examples[0].detail})"
                if outcome.examples
                else ""
            )
            console.print(f"  {outcome.count:,} {outcome.kind}{more}", style="red")
    slowest = next((s for s in result.slowest if s.request_id), None)
    if slowest is not None:
        console.print(
            f"slowest: {slowest.request}, {slowest.response_ms:,.0f} ms (tenfold explain {slowest.request_id})"
        )
    console.print(f"load generator: lag p99 {_ms(result.lag.p99_ms)}, {result.cpu_percent:.0f}% of a core", style="dim")
    for reason in result.invalid:
        console.print(f"INVALID: {reason}", style="bold red")


def _percentiles(latency: Latency) -> tuple[float | None, ...]:
    return (
        latency.mean_ms,
        latency.p50_ms,
        latency.p90_ms,
        latency.p95_ms,
        latency.p99_ms,
        latency.p999_ms,
        latency.max_ms,
    )


def _ms(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:,.1f} ms"
