"""The two drawings of a report that are no line plots: what was done when with a pin for each decision, and a drill's bars. Pure."""

from collections.abc import Iterator, Sequence
from html import escape

from tenfold.proof.drills.result import DrillResult
from tenfold.proof.report.plot import Frame, count_axis
from tenfold.proof.report.report import Mark
from tenfold.proof.words import seconds

PIN_PX = 19
ROWS_MAX = 5
BAND_PX = 26


def lane(frame: Frame, marks: Sequence[Mark], name: str) -> str:
    """The stretches of the proof by name, and under them a numbered pin for each decision, which leads to its reason below.

    Pins that would cover one another go to the next row; what finds no room in the last row has none.
    """
    rows: list[float] = []
    pins: list[tuple[float, int, int, Mark]] = []
    for number, mark in enumerate(marks, 1):
        x = frame.x(mark.at_s)
        row = next((i for i, last in enumerate(rows) if x - last >= PIN_PX), len(rows))
        if row >= ROWS_MAX:
            continue
        rows[row : row + 1] = [x]
        pins.append((x, row, number, mark))
    height = BAND_PX + 8 + len(rows) * (PIN_PX + 2)
    parts = [
        f'<svg class="{name} lane" viewBox="0 0 {frame.width} {height}" role="img" aria-label="what was done when">'
    ]
    parts += _bands(frame)
    for x, row, number, mark in pins:
        y = BAND_PX + 14 + row * (PIN_PX + 2)
        parts.append(
            f'<a class="pin" href="#why-{number}"><title>{escape(f"{frame.moment(mark.at_s)}  {mark.by}: {mark.why}")}</title>'
            f'<circle cx="{x:.1f}" cy="{y}" r="9"/><text x="{x:.1f}" y="{y + 4}" text-anchor="middle">{number}</text></a>'
        )
    return "".join((*parts, "</svg>"))


def _bands(frame: Frame) -> Iterator[str]:
    """The stretches, and over all of them their names."""
    names = []
    for span in frame.spans:
        x1, x2 = frame.x(span.from_s), frame.x(span.to_s)
        yield (
            f'<rect class="span s-{span.kind}" x="{x1:.1f}" y="2" width="{max(x2 - x1, 1):.1f}" height="{BAND_PX - 4}" rx="3">'
            f"<title>{escape(span.name)}, {frame.moment(span.from_s)} to {frame.moment(span.to_s)}</title></rect>"
        )
        # About 6.5 px for a letter: what does not fit is in the title.
        if len(span.name) * 6.5 + 12 < x2 - x1 and span.kind != "harm":
            names.append(f'<text class="on" x="{x1 + 7:.1f}" y="17">{escape(span.name)}</text>')
    yield from names


def bars(drill: DrillResult, width: int, name: str) -> str:
    """From the harm: until it was noticed, until it was recovered, until the whole steady state held again."""
    whole_s = None if drill.whole_s is None else drill.whole_s + max(drill.mended_at - drill.struck_at, 0.0)
    rows = [
        (word, value, kind)
        for word, value, kind in (
            ("noticed", drill.detect_s, "detect"),
            ("recovered", drill.recover_s, "recover"),
            ("all as before", whole_s, "whole"),
        )
        if kind != "whole" or value is not None
    ]
    axis = count_axis(max((value for _, value, _ in rows if value is not None), default=1.0))
    left, right, row_px = 96, 74, 22
    height = len(rows) * row_px + 24
    told = ", ".join(f"{word} {'never' if value is None else 'after ' + seconds(value)}" for word, value, _ in rows)
    parts = [f'<svg class="{name}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(told)}">']
    room = width - left - right
    for value, label in axis.ticks:
        x = left + axis.place(value) * room
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{label} s</text>')
    for i, (word, reached_s, kind) in enumerate(rows):
        y = i * row_px
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{word}</text>')
        length = 0.0 if reached_s is None else axis.place(reached_s) * room
        parts.append(
            f'<rect class="bar-{kind}" x="{left}" y="{y + 4}" width="{max(length, 1.5):.1f}" height="14" rx="2"/>'
        )
        figure = "never" if reached_s is None else seconds(reached_s)
        parts.append(f'<text x="{left + length + 7:.1f}" y="{y + 15}">{figure}</text>')
    return "".join((*parts, "</svg>"))
