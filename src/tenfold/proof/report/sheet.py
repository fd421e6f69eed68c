"""What every page of ours is made of: the document, a sentence, a table of verdicts, a plot for each width. Pure.

Stage: below `page` and the page of a period. Whatever an app, a blueprint or an engine has said is escaped; a content security policy in
the page itself forbids all else.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from tenfold.proof.report.lane import lane
from tenfold.proof.report.plot import Frame, Panel, Span, draw
from tenfold.proof.report.report import Mark
from tenfold.proof.report.style import STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
WIDE_PX, NARROW_PX = 980, 400

Frames = tuple[tuple[str, Frame], ...]
"""The same frame in each width that the style knows, by its class."""


@dataclass(frozen=True, slots=True)
class Row:
    """A target, what was asked and measured, the sentences below that, and the verdict's word; `weight` where there is a score."""

    name: str
    asked: str
    measured: str
    notes: tuple[str, ...]
    word: str
    weight: int | None = None


def document(title: str, body: str) -> str:
    """The whole page: it asks no other host for anything and runs nothing."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<style>{STYLE}</style></head>\n<body><main>\n{body}</main></body></html>\n"
    )


def said(text: str) -> str:
    """A sentence, with what stands in `backticks` as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def verdicts(rows: Sequence[Row]) -> Iterator[str]:
    """The table of how each target stands; weights have a column if there are any."""
    has_weights = any(row.weight is not None for row in rows)
    yield '<table class="verdicts"><thead><tr><th>target</th><th>asked</th><th>measured</th><th></th>'
    yield '<th class="num">weight</th></tr></thead><tbody>\n' if has_weights else "</tr></thead><tbody>\n"
    for row in rows:
        kind, sign = {"met": ("met", "✓"), "missed": ("missed", "✕")}.get(row.word, ("open", "?"))
        yield f'<tr class="{kind}"><td class="name">{escape(row.name)}</td>'
        yield f'<td class="asked">{escape(row.asked)}</td><td class="seen">{escape(row.measured)}'
        for text in filter(None, row.notes):
            yield f'<div class="small">{said(text)}</div>'
        yield f'</td><td class="word"><span class="badge">{sign} {row.word}</span></td>'
        weight = f'<td class="num weight soft">{row.weight}</td>' if has_weights else ""
        yield f"{weight}</tr>\n"
    yield "</tbody></table>\n"


def frames(to_s: float, spans: tuple[Span, ...], marks: Iterable[Mark], started_at: float | None = None) -> Frames:
    """From 0 to `to_s`, with these stretches and marks; with `started_at` (seconds since the epoch) times are those of the clock."""
    marks_s = tuple(mark.at_s for mark in marks)
    return tuple(
        (name, Frame(width, height, 0.0, max(to_s, 1.0), spans, marks_s, started_at, left=left))
        for name, width, height, left in (("wide", WIDE_PX, 190, 58), ("narrow", NARROW_PX, 170, 50))
    )


def done(framed: Frames, marks: Sequence[Mark], key: str, kinds: Iterable[tuple[str, str]]) -> Iterator[str]:
    """What was done when; `key` says what the numbers are, `kinds` what the colours of stretches are."""
    yield "<figure><figcaption><b>What was done</b>"
    if marks:
        yield f'<span class="key">{escape(key)}</span>'
    yield "".join(f'<span class="key"><i class="block b-{kind}"></i>{escape(name)}</span>' for kind, name in kinds)
    yield "</figcaption>"
    for name, frame in framed:
        yield lane(frame, marks, name)
    yield "</figure>\n"


def plot(panel: Panel, framed: Frames) -> Iterator[str]:
    """A panel with its title, its unit, and a legend where it has more than one line."""
    yield f'<figure><figcaption><b>{escape(panel.title)}</b><span class="small">{escape(panel.unit)}</span>'
    if len(panel.curves) > 1:
        for curve in panel.curves:
            yield f'<span class="key"><i class="b{curve.colour}"></i>{escape(curve.name)}</span>'
    yield "</figcaption>"
    for name, frame in framed:
        yield draw(panel, frame, name)
    yield "</figure>\n"
