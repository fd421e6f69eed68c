"""A report as text for a person. Stage: report -> a terminal."""

import time
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tenfold.cli.levels import left_text
from tenfold.cli.reports.facts import AlertTold, Event, Report
from tenfold.cli.reports.targets import percent
from tenfold.cli.tables import table

EVENTS_MAX = 8
"""So many of a kind are shown, the newest; --json has all."""
MET = {True: ("met", "green"), False: ("missed", "bold red"), None: ("not shown", "dim")}


def moment_text(at: float) -> str:
    """`28 Nov 14:03`, local time."""
    return time.strftime("%d %b %H:%M", time.localtime(at))


def span_text(seconds: float) -> str:
    """`42 min`, `24.0 h`, `6 s`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def figures(report: Report) -> Iterable[tuple[str, str]]:
    """What there is to say in a line each, by name."""
    if report.users is not None:
        most, at, how = report.users
        yield "peak users", f"{most:.0f} at {moment_text(at)} ({how})"
    peak = (
        f", {report.peak_rps[0]:.1f}/s in the busiest minute ({moment_text(report.peak_rps[1])})"
        if report.peak_rps
        else ""
    )
    yield "requests", f"{report.requests}{peak}"
    good = report.availability_ratio
    if good is not None:
        failed = f"{report.failed} failed, in {report.failing_minutes} min" if report.failed else "none failed"
        yield (
            "uptime",
            f"{percent(good)} of the requests succeeded; {failed}",
        )
    if report.mean_ms is not None:
        p95 = report.p95_ms
        by_minute = (
            f"; p95 {p95[0]:.0f} ms in most minutes, {p95[1]:.0f} ms in the worst ({moment_text(p95[2])})"
            if p95
            else ""
        )
        yield "response", f"mean {report.mean_ms:.0f} ms{by_minute}"
    if report.within is not None:
        bound_ms, timed, late = report.within
        yield "in time", f"{1 - late / timed:.3%} within {bound_ms:g} ms ({late} of {timed} late)"
    for seen in report.objectives:
        covered = span_text(seen.covered_s)
        yield (
            f"budget, {seen.objective}",
            f"{left_text(seen.budget_left_ratio)} at {percent(seen.good_ratio)}, by the {covered} of {seen.window_days} days seen so far",
        )
    yield from _costs(report)


def _costs(report: Report) -> Iterable[tuple[str, str]]:
    spend = report.spend
    if spend is None:
        return
    spent = f"{report.cost:.2f} {spend.currency} in this time, " if report.cost is not None else ""
    budget = f"; the budget is {report.budget}" if report.budget else ""
    prices = f"; list prices of {spend.prices_as_of}" if spend.prices_as_of else ""
    yield (
        "cost",
        f"{spent}{spend.per_hour:.3f} an hour now, {spend.month_so_far:.2f} so far this month, {spend.month_forecast:.2f} by its end"
        f"{budget}{prices}",
    )


def page(report: Report) -> RenderableType:
    """The whole report."""
    heading = Text.assemble((report.name, "bold"), f" ({report.environment})  ")
    heading.append(f"{moment_text(report.start)} to {moment_text(report.end)}, {span_text(report.end - report.start)}")
    heading.append("" if report.is_live else "; no control plane runs now", style="red")
    heading.append(f"\nseen for {span_text(report.seen_s)}", style="dim")
    lines = Table.grid(padding=(0, 2))
    for name, text in figures(report):
        lines.add_row(Text(name, style="dim"), text)
    parts: list[RenderableType] = [heading, Text(), lines]
    if report.targets:
        parts += [Text(), _targets(report)]
    if report.pools:
        parts += [Text(), _pools(report)]
    if report.alerts:
        parts += [Text(), Text("alerts", style="bold"), *map(_alert, report.alerts[-EVENTS_MAX:])]
    for name, events in event_lists(report):
        parts += [Text(), Text(f"{name}: {len(events)}", style="bold"), *map(_event, events[-EVENTS_MAX:])]
    parts += [Text(), Text("what could be better", style="bold")]
    parts += [Text(f"  - {advice}") for advice in report.advice] or [Text("  nothing that these figures tell of")]
    return Group(*parts)


def event_lists(report: Report) -> Iterable[tuple[str, tuple[Event, ...]]]:
    """The kinds of events that happened, by name."""
    kinds = (
        ("scaling", report.scalings),
        ("failures and healings", report.failures),
        ("failovers", report.failovers),
        ("deploys", report.deploys),
    )
    return ((name, events) for name, events in kinds if events)


def _targets(report: Report) -> RenderableType:
    shown = table("target", "is to be", "was", "", "how", right=("is to be", "was"))
    for row in report.targets:
        word, colour = MET[row.is_met]
        shown.add_row(row.name, row.target, row.measured, Text(word, style=colour), row.how)
    return shown


def _pools(report: Report) -> RenderableType:
    numbers = ("instances", "most", "at its most", "cpu", "memory")
    shown = table("service", *numbers, right=numbers)
    for pool in report.pools:
        shown.add_row(
            pool.key,
            f"{pool.instances_mean:.1f}",
            f"{pool.instances_peak:.0f} of {pool.instances_max}",
            span_text(pool.minutes_at_most * 60.0) if pool.minutes_at_most else "-",
            f"{pool.cpu_ratio:.0%}" if pool.cpu_ratio is not None else "-",
            f"{pool.memory_ratio:.0%}" if pool.memory_ratio is not None else "-",
        )
    return shown


def alert_text(alert: AlertTold) -> str:
    """What it was about, how long it lasted, and what answered it."""
    lasted = f"for {span_text(alert.ended_at - alert.at)}" if alert.ended_at is not None else "still fires"
    answers = f"; answered by {', '.join(alert.answered_by)}" if alert.answered_by else ""
    return f"{alert.text} ({lasted}{answers})"


def _alert(alert: AlertTold) -> Text:
    colour = "bold red" if alert.severity == "critical" else "yellow"
    return Text.assemble(f"  {moment_text(alert.at)}  ", (alert.severity, colour), f"  {alert_text(alert)}")


def event_text(event: Event) -> str:
    """What happened, and how long it took until all was as before."""
    return event.what + (f" (as before after {event.took_s:.1f} s)" if event.took_s is not None else "")


def _event(event: Event) -> Text:
    return Text.assemble(f"  {moment_text(event.at)}  ", event_text(event), (f"  {event.id}", "dim"))
