"""How `tenfold load` shows a run: a line each second, and tables at the end. Stage: proof.load's figures -> a person."""

import click
from rich.console import Console
from rich.table import Table

from tenfold.proof.load import Latency, LoadResult, Part, Progress

HEADER = "    time     planned   answered   at hand   failed   p50 ms   p95 ms   p99 ms   left"
HEADER_OF_USERS = "    time       users   answered   at hand   failed   p50 ms   p95 ms   p99 ms   left"


def progress_line(progress: Progress, *, of_users: bool = False) -> str:
    """One second of the run as a line under `HEADER`, or `HEADER_OF_USERS`."""
    second = progress.second
    failed = click.style(f"{progress.failed:8}", fg="red" if progress.failed else None)
    times = "".join(_cell(ms) for ms in (second.p50_ms, second.p95_ms, second.p99_ms))
    planned = f"{second.users:11,}" if of_users else f"{second.planned_rps:11,.1f}"
    return (
        f"{progress.elapsed_s:7.0f}s {planned} {second.answered:10,} {progress.in_flight:9,} {failed}"
        f"{times} {progress.eta_s:5.0f}s"
    )


def report(result: LoadResult) -> None:
    """The whole result as tables and sentences on standard output."""
    console = Console(highlight=False, soft_wrap=True)
    table = _table("", "mean", "p50", "p90", "p95", "p99", "p99.9", "max ms")
    for name, latency in (
        ("from due to answer", result.response),
        ("from sent to answer", result.service),
    ):
        table.add_row(name, *(_number(ms) for ms in _percentiles(latency)))
    console.print()
    console.print(table)
    if result.actions:
        _parts(console, "action", result.actions)
        _parts(console, "request", result.steps)
    _sockets(console, result)
    took = f"{result.duration_s:.0f} s{', interrupted' if result.interrupted else ''}"
    users = f"{result.users:,} users at most, " if result.actions else ""
    console.print(
        f"{users}{result.sent:,} sent, {result.answered:,} answered, {result.failed:,} failed, "
        f"{result.refused:,} refused (4xx) in {took}"
    )
    _failures(console, result)
    own = f"{result.processes} processes, " if result.processes > 1 else ""
    console.print(
        f"load generator: {own}lag p99 {_ms(result.lag.p99_ms)}, {result.cpu_percent:.0f}% of a core", style="dim"
    )
    for reason in result.invalid:
        console.print(f"INVALID: {reason}", style="bold red")


def _failures(console: Console, result: LoadResult) -> None:
    for outcome in result.outcomes:
        if outcome.failed or outcome.kind == "4xx":
            ids = ", ".join(s.request_id for s in outcome.examples[:3] if s.request_id)
            first = outcome.examples[0] if outcome.examples else None
            what = f"{first.request}{f' {first.status}' if first.status else ''}" if first is not None else ""
            more = f", tenfold explain {ids.partition(',')[0]}" if ids else ""
            detail = f": {first.detail}" if first is not None and first.detail else ""
            style = "red" if outcome.failed else "yellow"
            console.print(
                f"  {outcome.count:,} {outcome.kind} (the first: {what}{detail}{more})", style=style, markup=False
            )
    slowest = next((s for s in result.slowest if s.request_id), None)
    if slowest is not None:
        console.print(
            f"slowest: {slowest.request}, {slowest.response_ms:,.0f} ms (tenfold explain {slowest.request_id})",
            markup=False,
        )


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _parts(console: Console, what: str, parts: tuple[Part, ...]) -> None:
    refused = any(part.refused for part in parts)
    table = _table(what, "count", "failed", *(("refused",) if refused else ()), "p50", "p95", "p99", "max ms")
    for part in parts:
        took = part.response
        times = (took.p50_ms, took.p95_ms, took.p99_ms, took.max_ms)
        failed = f"[red]{part.failed:,}[/red]" if part.failed else "0"
        counts = (f"{part.count:,}", failed, *((f"{part.refused:,}",) if refused else ()))
        table.add_row(part.name.replace("[", "\\["), *counts, *(_number(ms) for ms in times))
    console.print()
    console.print(table)


def _sockets(console: Console, result: LoadResult) -> None:
    console.print()
    part = result.sockets
    if part is None:
        return
    trip, gap = part.round_trip, part.gap
    console.print(
        f"WebSockets: {part.users:,} held, {part.down:,} down at the end, {part.opened:,} opened, "
        f"{part.closed:,} closed by the server, {part.refused:,} refused"
    )
    console.print(
        f"  messages: {part.sent:,} sent, {part.unanswered:,} unanswered, {part.messages:,} came; "
        f"round trip p50 {_ms(trip.p50_ms)}, p95 {_ms(trip.p95_ms)}, p99 {_ms(trip.p99_ms)}"
    )
    if gap.count:
        console.print(f"  without one: {gap.count:,} times, p50 {_ms(gap.p50_ms)}, at most {_ms(gap.max_ms)}")


def _cell(ms: float | None) -> str:
    return "        -" if ms is None else f"{ms:9,.1f}"


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


def _number(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:,.1f}"


def _ms(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:,.1f} ms"
