"""What a row says: figures beside what they must show, as a table for people and as JSON for programs."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenfold.proof.trial import TrialError

Unmeasured = TrialError
"""A row could not be measured; the message is one sentence that says why. Exit status 2."""


class Verdict(StrEnum):
    """MET and MISSED are about a goal; TOLD is a figure without one."""

    MET = "met"
    MISSED = "missed"
    TOLD = "told"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing: what it is, what was measured, what it must show (empty: it is only told), and the plain value."""

    what: str
    measured: str
    must_show: str = ""
    met: bool | None = None
    value: float | None = None

    @property
    def verdict(self) -> Verdict:
        """How it stands against its goal."""
        return Verdict.TOLD if self.met is None else Verdict.MET if self.met else Verdict.MISSED


def at_most(what: str, value: float | None, limit: float, unit: str, measured: str | None = None) -> Figure:
    """A figure that must not be above `limit`; one that is missing (None) missed its goal."""
    shown = measured or ("never" if value is None else f"{value:,.4g} {unit}".rstrip())
    return Figure(what, shown, f"at most {limit:,.4g} {unit}".rstrip(), value is not None and value <= limit, value)


def none_of(what: str, count: int, of: str = "", why: Sequence[str] = ()) -> Figure:
    """A count that must be zero; `of` says among how many, `why` gives examples of what was counted."""
    examples = f": {'; '.join(why[:3])}" if count and why else ""
    return Figure(what, f"{count:,}{f' of {of}' if of else ''}{examples}", "0", count == 0, count)


def holds(what: str, is_so: bool, measured: str, must_show: str) -> Figure:
    """A figure that is right or wrong."""
    return Figure(what, measured, must_show, is_so)


def told(what: str, measured: str, value: float | None = None) -> Figure:
    """A figure without a goal."""
    return Figure(what, measured, value=value)


@dataclass(slots=True)
class Measured:
    """One row: its drill, what came of it, and `error` when it could not be measured."""

    row: str
    drill: str
    figures: tuple[Figure, ...] = ()
    error: str = ""
    took_s: float = 0.0

    @property
    def missed(self) -> bool:
        """True when a figure is worse than it must be."""
        return any(f.verdict is Verdict.MISSED for f in self.figures)


def status(rows: Iterable[Measured]) -> int:
    """The exit status: 2 when a row could not be measured, 1 when one missed its goal, else 0."""
    rows = tuple(rows)
    return 2 if any(r.error for r in rows) else 1 if any(r.missed for r in rows) else 0


COLOURS = {Verdict.MET: "green", Verdict.MISSED: "bold red", Verdict.TOLD: "dim"}


def show(rows: Sequence[Measured]) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("row", no_wrap=True)
    table.add_column("figure", ratio=2)
    table.add_column("measured", ratio=3)
    table.add_column("must show", ratio=2)
    table.add_column("", no_wrap=True)
    for row in rows:
        name = Text(row.row, style="bold")
        if row.error:
            table.add_row(
                name, row.drill, Text(row.error, style="bold red"), "", Text("not measured", style="bold red")
            )
        for figure in row.figures:
            verdict = Text("" if figure.verdict is Verdict.TOLD else figure.verdict, style=COLOURS[figure.verdict])
            table.add_row(name, figure.what, figure.measured, figure.must_show, verdict)
            name = Text("")
    console = Console(highlight=False)
    console.print(table if console.is_terminal else _plain(table, console))
    missed = sum(f.verdict is Verdict.MISSED for r in rows for f in r.figures)
    met = sum(f.verdict is Verdict.MET for r in rows for f in r.figures)
    unmeasured = sum(bool(r.error) for r in rows)
    took_s = sum(r.took_s for r in rows)
    console.print(
        f"\n{met} met, {missed} missed, {unmeasured} rows not measured, in {took_s / 60:.1f} min; {machine()}"
    )


def _plain(table: Table, console: Console) -> Table:
    """A pipe has no width of its own: wide enough that no sentence is cut into syllables."""
    console.width = 200
    return table


def machine() -> str:
    """What it was measured on."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, load average {load}"
    )


def as_data(rows: Sequence[Measured], at: float) -> dict[str, object]:
    """The table for programs; `at` is seconds since the epoch."""
    return {
        "at": at,
        "machine": machine(),
        "status": status(rows),
        "rows": [
            {
                "row": r.row,
                "drill": r.drill,
                "error": r.error or None,
                "took_s": round(r.took_s, 1),
                "figures": [{**asdict(f), "verdict": str(f.verdict)} for f in r.figures],
            }
            for r in rows
        ],
    }
