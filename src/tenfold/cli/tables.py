"""The look of what `status` prints: its tables, the colours of states, lengths of time. Stage: journal -> a person."""

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

STATE_COLOURS = {
    "ready": "green",
    "serving": "green",
    "starting": "yellow",
    "returning": "yellow",
    "draining": "cyan",
    "drained": "cyan",
    "stopping": "cyan",
    "unhealthy": "red",
    "exited": "red",
    "frozen": "red",
    "out": "red",
}
"""By the first word of a state."""
FOLDING = ("why", "how", "serves clients near", "instances", "postgres", "valkey", "version")
"""Columns that go on in a second line rather than being cut off."""


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines; the columns of `right` are figures."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=column not in FOLDING)
    return made


def notes(rows: Iterable[tuple[str, str]]) -> Iterator[RenderableType]:
    """What there is to say about some rows, below their table: a column for it would squeeze the others."""
    for name, note in rows:
        if note:
            yield Text.assemble((f"  {name}: ", "dim"), note)


def coloured(state: str) -> Text:
    """A state in its colour."""
    return Text(state, style=STATE_COLOURS.get(state.partition(" ")[0], ""))


def figure(value: float | None, form: str = ".0f", unit: str = "") -> str:
    """A number as a cell, `-` where there is none."""
    return "-" if value is None else f"{value:{form}}{unit}"


def ago(seconds: float) -> str:
    """`12s`, `5m`, `3h`, `2d`."""
    for size_s, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"
