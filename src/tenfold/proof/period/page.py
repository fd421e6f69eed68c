"""The report of a period as one HTML file that asks no other host for anything and needs no script. Stage: report -> a page for people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from tenfold.proof.period.facts import PeriodReport
from tenfold.proof.period.words import alert_text, event_lists, event_text, figures, pool_text
from tenfold.proof.report.plot import Curve, Limit, Panel, Point, Span
from tenfold.proof.report.report import Mark
from tenfold.proof.report.sheet import Row, document, done, frames, plot, said, verdicts
from tenfold.proof.words import moment, ms, seconds

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Entry:
    """Something that is told in the list `of`, with the number of its pin. `badge` is an alert's severity; `id` is a decision's."""

    number: int
    of: str
    at: float
    text: str
    id: str = ""
    badge: str = ""


def page(report: PeriodReport) -> str:
    """The whole page. The same report gives the same text, in the same time zone."""
    entries = _entries(report)
    body = "".join((*_head(report), *_targets(report), *_advice(report), *_course(report, entries)))
    body += "".join((*_services(report), *_lists(entries)))
    return document(f"{report.name} ({report.environment})", body)


def _entries(report: PeriodReport) -> tuple[_Entry, ...]:
    """Alerts and events, numbered in the order of time."""
    found = [("alerts", a.at, alert_text(a), "", a.severity) for a in report.alerts]
    found += [(name, e.at, event_text(e), e.id, "") for name, events in event_lists(report) for e in events]
    found.sort(key=lambda entry: entry[1])
    return tuple(_Entry(number, *entry) for number, entry in enumerate(found, 1))


def _head(report: PeriodReport) -> Iterator[str]:
    yield f"<header><div><h1>What happened: {escape(report.name)}</h1>"
    span = f"{moment(report.start)} to {moment(report.end)}, {seconds(report.end - report.start)}"
    yield f'<p class="soft">{escape(report.environment)}, {span}; seen for {seconds(report.seen_s)}</p></div></header>\n'
    if not report.is_live:
        yield '<p class="warn">No control plane runs now: this is what there was until it ended.</p>\n'
    yield "<dl>"
    for name, text in figures(report):
        yield f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>\n"
    yield "</dl>\n"


def _targets(report: PeriodReport) -> Iterator[str]:
    if report.targets:
        yield "<h2>Targets</h2>\n"
        yield from verdicts([Row(t.name, t.target, t.measured, (t.how,), t.word) for t in report.targets])


def _advice(report: PeriodReport) -> Iterator[str]:
    yield '<h2>What could be better</h2>\n<ul class="todo">'
    for text in report.advice or ("nothing that these figures tell of",):
        yield f"<li>{said(text)}</li>\n"
    yield "</ul>\n"


def _course(report: PeriodReport, entries: Sequence[_Entry]) -> Iterator[str]:
    """The minutes as plots, with the alerts as stretches and a pin for each event."""
    begun = report.start // MINUTE_S * MINUTE_S
    panels = tuple(_panels(report))
    if not panels and not entries:
        return
    spans = tuple(
        Span(f"{a.severity}: {a.text}", "harm", a.at - begun, (a.ended_at or report.end) - begun) for a in report.alerts
    )
    marks = [Mark(entry.at - begun, entry.id, entry.of, entry.text) for entry in entries]
    framed = frames(report.end - begun, spans, marks, begun)
    yield "<h2>Its course</h2>\n"
    kinds = [("harm", "an alert fired")] if spans else []
    yield from done(framed, marks, "numbers are alerts and events; each leads to its words", kinds)
    for panel in panels:
        yield from plot(panel, framed)


def _panels(report: PeriodReport) -> Iterator[Panel]:
    rates, percentiles = _points(report.rates), _points(report.percentiles)
    if any(value is not None for _, value in rates):
        yield Panel("Requests", "per second", (Curve("requests", 4, rates, is_area=True),))
    if any(value is not None for _, value in percentiles):
        limit = Limit(report.within[0], f"p95 target {ms(report.within[0])}") if report.within is not None else None
        yield Panel("Response time, the p95 of each minute", "ms", (Curve("p95", 2, percentiles),), limit)


def _points(minutes: Sequence[float | None]) -> tuple[Point, ...]:
    return tuple((i * MINUTE_S, value) for i, value in enumerate(minutes))


def _services(report: PeriodReport) -> Iterator[str]:
    if report.pools:
        yield "<h2>Services</h2>\n<dl>"
        for pool in report.pools:
            yield f"<dt>{escape(pool.key)}</dt><dd>{escape(pool_text(pool))}</dd>\n"
        yield "</dl>\n"


def _lists(entries: Sequence[_Entry]) -> Iterator[str]:
    for name in dict.fromkeys(("alerts", *(entry.of for entry in entries))):
        told = [entry for entry in entries if entry.of == name]
        if not told:
            continue
        yield f'<h2>{escape(name.capitalize())}: {len(told)}</h2>\n<ol class="why dated">'
        for entry in told:
            yield f'<li><span class="n">{entry.number}</span><span class="by soft">{moment(entry.at)}</span>'
            yield f'<span id="why-{entry.number}">{_badge(entry.badge)}{escape(entry.text)}'
            yield f' <span class="small">{escape(entry.id)}</span></span></li>\n'
        yield "</ol>\n"


def _badge(severity: str) -> str:
    kind = "missed" if severity == "critical" else "open"
    return f'<span class="{kind}"><span class="badge">{escape(severity)}</span></span> ' if severity else ""
