"""`tenfold report`: what happened in the last hours, from the journal alone. Stage: journal -> a person, JSON, or a page."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from tenfold.blueprint import units
from tenfold.cli.here import NEVER_RUN, Fail, Here
from tenfold.cli.reportview import view
from tenfold.proof.period.facts import PeriodReport
from tenfold.proof.period.gather import gather
from tenfold.proof.period.page import page

SINCE = units.duration("24h")


class _Span(click.ParamType):  # type: ignore[type-arg]
    """A length of time as the blueprint writes it: `24h`, `90m`, `7d`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return float(SINCE.parse(str(value)))
        except ValueError as error:
            self.fail(f"{error}, found {value}; try {SINCE.example}", param, ctx)


@click.command("report")
@click.option(
    "--since", "since_s", type=_Span(), default="24h", show_default=True, help="How long a time: 90m, 24h, 7d."
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object, with every event.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write a page into this file as well.")
@click.pass_obj
def report_command(here: Here, since_s: float, as_json: bool, html_path: Path | None) -> None:
    """What happened: users, response, uptime, failures, alerts, targets, cost, and what could be better.

    From the journal alone, up to its newest moment: it also tells of a project that is stopped.
    """
    with here.reader() as reader:
        report = gather(reader, since_s, is_live=here.control_plane() is not None)
    if report is None:
        raise Fail(NEVER_RUN)
    if html_path is not None:
        _write(html_path, report)
    if as_json:
        click.echo(json.dumps(as_data(report)))
        return
    Console(highlight=False).print(view(report))
    if html_path is not None:
        click.echo(f"\nthe page is in {html_path}")


def as_data(report: PeriodReport) -> dict[str, object]:
    """The report for programs; times are seconds since the epoch."""
    return {**asdict(report), "availability_ratio": report.availability_ratio}


def _write(path: Path, report: PeriodReport) -> None:
    try:
        path.write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise Fail(f"{path} can't be written: {error.strerror}") from None
