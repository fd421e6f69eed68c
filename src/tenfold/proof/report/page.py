"""The report as one HTML file that asks no other host for anything and needs no script. Stage: `Report` -> a page for people."""

import math
import time
from collections.abc import Iterator
from html import escape

from tenfold.proof.drills.result import DrillResult
from tenfold.proof.report.lane import bars
from tenfold.proof.report.plot import Curve, Limit, Panel, clock
from tenfold.proof.report.report import Report
from tenfold.proof.report.sheet import NARROW_PX, WIDE_PX, Row, document, done, frames, plot, said, verdicts
from tenfold.proof.words import many, ms, seconds

MARKS_MAX = 300
"""So many decisions are shown; the journal has them all."""
COLOURS = 8


def page(report: Report) -> str:
    """The whole page. The same report gives the same text."""
    title = f"{report.name}: {report.score:.0f} of 100"
    body = "".join((*_head(report), *_verdicts(report), *_todo(report), *_course(report), *_drills(report)))
    body += "".join((*_decisions(report), *_method(report), *_setting(report)))
    return document(title, body)


def _head(report: Report) -> Iterator[str]:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.started_at))
    yield f"<header><div><h1>Does {escape(report.name)} meet its targets?</h1>"
    yield f"<p><b>{escape(report.line)}.</b></p>"
    yield f'<p class="soft">{escape(report.environment)}, {when}, in {seconds(report.took_s)}</p></div>'
    yield f"{_ring(report)}</header>\n"
    if report.why_incomplete:
        yield f'<p class="warn">This proof is incomplete: {escape(report.why_incomplete)}.</p>\n'
    for note in report.notes:
        yield f'<p class="warn">{said(note)}</p>\n'


def _ring(report: Report) -> str:
    around = 2 * math.pi * 46
    missed = any(v.is_met is False for v in report.verdicts)
    kind = "met" if report.is_met else "missed" if missed else "open"
    filled = around * report.score / 100
    arc = (
        f'<circle class="ring-met {kind}" cx="56" cy="56" r="46" transform="rotate(-90 56 56)" '
        f'stroke-dasharray="{filled:.1f} {around:.1f}"/>'
    )
    return (
        f'<svg class="score" viewBox="0 0 112 112" role="img" aria-label="{report.score:.0f} of 100">'
        f'<circle class="ring" cx="56" cy="56" r="46"/>{arc if report.score else ""}'
        f'<text class="big" x="56" y="64" text-anchor="middle" style="font-size:34px">{report.score:.0f}</text>'
        f'<text class="of" x="56" y="80" text-anchor="middle">of 100</text></svg>'
    )


def _verdicts(report: Report) -> Iterator[str]:
    yield "<h2>Verdicts</h2>\n"
    yield from verdicts(
        [Row(_named(v.target), v.asked, v.measured, (v.how, v.confidence), v.word, v.weight) for v in report.verdicts]
    )


def _named(target: str) -> str:
    """`latency.api_mean` as `latency api_mean`: the key of the blueprint, in words."""
    return target.replace(".", " ").replace("_", " ")


def _todo(report: Report) -> Iterator[str]:
    if not report.todo:
        return
    yield '<h2>What to do</h2>\n<ul class="todo">'
    for advice, concerned in report.todo:
        of = ", ".join(f"{_named(v.target)} ({v.word})" for v in concerned)
        yield f"<li><b>{escape(of)}</b>: {said(advice)}</li>\n"
    yield "</ul>\n"


def _panels(report: Report) -> Iterator[Panel]:
    moments = report.moments
    if moments:
        users = tuple((m.at_s, float(m.users)) for m in moments)
        if any(value for _, value in users):
            yield Panel("Users", "at once", (Curve("users", 1, users, is_area=True),), is_whole=True)
        answered = tuple((m.at_s, m.answered_per_s) for m in moments)
        yield Panel("Requests answered", "per second", (Curve("requests", 4, answered, is_area=True),))
        limit = Limit(report.p95_ms_max, f"p95 target {ms(report.p95_ms_max)}") if report.p95_ms_max else None
        yield Panel(
            "Response time, from when a request was due",
            "ms",
            (
                Curve("p99", 3, tuple((m.at_s, m.p99_ms) for m in moments)),
                Curve("p95", 2, tuple((m.at_s, m.p95_ms) for m in moments)),
                Curve("p50", 1, tuple((m.at_s, m.p50_ms) for m in moments)),
            ),
            limit,
        )
        bad = tuple((m.at_s, float(m.bad)) for m in moments)
        curve = Curve("failed or refused", 5, bad, is_step=True, is_area=True)
        yield Panel("Requests that failed or were refused", "per second", (curve,), is_whole=True)
    if report.instances:
        curves = (Curve(s.name, i % COLOURS + 1, s.points, is_step=True) for i, s in enumerate(report.instances))
        yield Panel("Instances that are ready", "by service and region", tuple(curves), is_whole=True)
    if report.regions:
        curves = (Curve(s.name, i % COLOURS + 1, s.points) for i, s in enumerate(report.regions))
        yield Panel("Requests by region", "per second", tuple(curves))


def _course(report: Report) -> Iterator[str]:
    panels = tuple(_panels(report))
    if not panels and not report.spans:
        return
    marks = report.marks[:MARKS_MAX]
    framed = frames(report.took_s, report.spans, marks)
    yield "<h2>What happened</h2>\n"
    yield from done(framed, marks, "numbers are decisions; each leads to its reason", _kinds(report))
    for panel in panels:
        yield from plot(panel, framed)


def _kinds(report: Report) -> Iterator[tuple[str, str]]:
    """The kinds of stretches that there are, for the legend."""
    names = {"ramp": "users come", "load": "users held", "rate": "a fixed rate", "drill": "a drill", "harm": "harm"}
    there = {span.kind for span in report.spans}
    return ((kind, name) for kind, name in names.items() if kind in there)


def _drills(report: Report) -> Iterator[str]:
    if not report.drills:
        return
    yield "<h2>Harm done on purpose</h2>\n"
    for drill in report.drills:
        kind, word = ("met", "as it should be") if drill.met else ("missed", "not as it should be")
        yield f'<div class="drill {kind}"><h3>{escape(drill.drill)} <span class="badge">{word}</span></h3>'
        yield f"<p>{escape(drill.line)}: <b>{escape(', '.join(drill.subjects))}</b></p>"
        yield bars(drill, WIDE_PX, "wide") + bars(drill, NARROW_PX, "narrow")
        yield f'<p class="small">{escape("; ".join(_told(drill)))}</p>'
        if drill.why:
            yield f'<p class="small">answered by {escape(drill.answered_by)}: {escape(drill.why)}</p>'
        for finding in drill.findings:
            if not finding.met:
                yield f"<p>{escape(finding.what)}: {escape(finding.measured)}, must show {escape(finding.must_show)}</p>"
        for note in drill.notes:
            yield f'<p class="small">{escape(note)}</p>'
        yield "</div>\n"


def _told(drill: DrillResult) -> Iterator[str]:
    traffic, writes = drill.traffic, drill.writes
    yield f"{many(traffic.failed, 'request')} of {traffic.requests:,} failed"
    if traffic.slow is not None and traffic.slow_ms is not None:
        yield f"{traffic.slow:,} were slow (over {ms(traffic.slow_ms)})"
    if writes is None:
        yield "no writes were read back (the scenario has no check)"
    else:
        yield f"of {many(writes.acknowledged, 'acknowledged write')} {len(writes.lost):,} were lost"


def _decisions(report: Report) -> Iterator[str]:
    if not report.marks:
        return
    yield '<h2>What was decided, and why</h2>\n<ol class="why">'
    for number, mark in enumerate(report.marks[:MARKS_MAX], 1):
        yield f'<li><span class="n">{number}</span><span class="by soft">{clock(mark.at_s)}, {escape(mark.by)}</span>'
        yield f'<span id="why-{number}">{escape(mark.why)} <span class="small">{escape(mark.id)}</span>'
        if mark.facts:
            yield f'<br><span class="small">it saw {escape("; ".join(mark.facts))}</span>'
        yield "</span></li>\n"
    yield "</ol>\n"
    if len(report.marks) > MARKS_MAX:
        yield f'<p class="small">{len(report.marks) - MARKS_MAX:,} more are in the journal: `tenfold status`</p>\n'


def _method(report: Report) -> Iterator[str]:
    yield "<h2>How it was measured</h2>\n<ul>"
    for sentence in report.method:
        yield f"<li>{said(sentence)}</li>\n"
    weights = ", ".join(f"{_named(v.target)} {v.weight}" for v in report.verdicts)
    if weights:
        yield "<li>The score is the share of the weights whose targets are met, out of 100. What could not be shown counts as "
        yield f"not met. The weights: {escape(weights)}.</li>\n"
    yield "</ul>\n"


def _setting(report: Report) -> Iterator[str]:
    setting = report.setting
    yield f"<h2>Run it again</h2>\n<pre><code>{escape(setting.command)}</code></pre>\n<dl>"
    rows = (
        ("machine", setting.machine),
        ("engines", ", ".join(setting.versions.values())),
        ("blueprint", setting.blueprint_digest),
        ("release", setting.release),
        ("scenario", f"{setting.scenario}, seed {setting.seed}"),
    )
    for name, text in rows:
        if text:
            yield f"<dt>{name}</dt><dd>{escape(text)}</dd>\n"
    yield "</dl>\n"
