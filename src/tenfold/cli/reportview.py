"""What `report` prints: a period as text for a person. Stage: report -> a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tenfold.cli.tables import table
from tenfold.proof.period.facts import AlertTold, Event, PeriodReport
from tenfold.proof.period.words import alert_text, cold_text, event_lists, event_text, figures
from tenfold.proof.words import moment, seconds

EVENTS_MAX = 8
"""So many of a kind are shown, the newest; --json has all."""
COLOURS = {"met": "green", "missed": "bold red", "not shown": "dim"}


def view(report: PeriodReport) -> RenderableType:
    """The whole report."""
    heading = Text.assemble((report.name, "bold"), f" ({report.environment})  ")
    heading.append(f"{moment(report.start)} to {moment(report.end)}, {seconds(report.end - report.start)}")
    heading.append("" if report.is_live else "; no control plane runs now", style="red")
    heading.append(f"\nseen for {seconds(report.seen_s)}", style="dim")
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


def _targets(report: PeriodReport) -> RenderableType:
    shown = table("target", "is to be", "was", "", "how", right=("is to be", "was"))
    for row in report.targets:
        shown.add_row(row.name, row.target, row.measured, Text(row.word, style=COLOURS[row.word]), row.how)
    return shown


def _pools(report: PeriodReport) -> RenderableType:
    numbers = ("instances", "most", "at its most", "cpu", "memory")
    shown = table("service", *numbers, right=numbers)
    for pool in report.pools:
        shown.add_row(
            pool.key,
            f"{pool.instances_mean:.1f}",
            f"{pool.instances_peak:.0f} of {pool.instances_max}",
            seconds(pool.minutes_at_most * 60.0) if pool.minutes_at_most else "-",
            f"{pool.cpu_ratio:.0%}" if pool.cpu_ratio is not None else "-",
            f"{pool.memory_ratio:.0%}" if pool.memory_ratio is not None else "-",
        )
    cold = (f"  {pool.key}: {text}" for pool in report.pools if (text := cold_text(pool)))
    return Group(shown, *map(Text, cold))


def _alert(alert: AlertTold) -> Text:
    colour = "bold red" if alert.severity == "critical" else "yellow"
    return Text.assemble(f"  {moment(alert.at)}  ", (alert.severity, colour), f"  {alert_text(alert)}")


def _event(event: Event) -> Text:
    return Text.assemble(f"  {moment(event.at)}  ", event_text(event), (f"  {event.id}", "dim"))
