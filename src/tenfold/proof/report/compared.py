"""Policies side by side as one HTML file, like the other reports: no script, no other host. Stage: outcomes of a simulation -> a page."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from tenfold.proof.report.plot import Curve, Panel, Span
from tenfold.proof.report.report import Mark
from tenfold.proof.report.sheet import document, done, frames, plot, said
from tenfold.proof.words import many, percent_at_most, seconds
from tenfold.sim.tally import Outcome, Struck

MARKS_MAX = 300
"""So many decisions are listed; the JSON has them all."""
ORACLE = "oracle"
MEANT = (
    "short: of the time, some pool was asked for more than its ready instances hold within the target; lost: of the requests, failed or "
    "refused; flaps: changes taken back within 10 min; instances: least / mean / most, those that start or end included"
)


@dataclass(frozen=True, slots=True)
class Compared:
    """A simulation of several policies. It began at `began_at` (seconds since the epoch); `told` says what was played and what was taken
    for granted; `command` plays it again. `told_apart` are the services whose pools are told one by one: those of tiers, and beside them
    that of all."""

    name: str
    environment: str
    began_at: float
    told: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    command: str
    told_apart: tuple[str, ...] = ()

    @property
    def heads(self) -> tuple[str, ...]:
        """What the figures of `cells` are."""
        currency = self.outcomes[0].currency
        return (
            *(f"{currency}/day", f"{currency}/month", "x oracle", "short", "lost", "p50, p95 ms"),
            *("actions/day", "flaps", "instances"),
        )

    def over_oracle(self, outcome: Outcome) -> float | None:
        """What it costs over what the clairvoyant costs; None where there was none, or it cost nothing."""
        oracle = next((o for o in self.outcomes if o.policy == ORACLE), None)
        return outcome.cost / oracle.cost if oracle is not None and oracle.cost > 0 else None


def cells(compared: Compared, outcome: Outcome) -> tuple[str, ...]:
    """An outcome's figures in words, in the order of `Compared.heads`."""
    over = compared.over_oracle(outcome)
    times = [f"{value:,.0f}" for value in (outcome.p50_ms, outcome.p95_ms) if value is not None]
    return (
        money(outcome.cost_per_day),
        money(outcome.cost_per_month),
        "-" if over is None else f"{over:.3f}",
        percent_at_most(outcome.short_ratio),
        percent_at_most(outcome.lost_ratio),
        ", ".join(times) or "-",
        f"{outcome.actions_per_day:.1f}",
        f"{outcome.flaps:,}",
        f"{outcome.instances_min} / {outcome.instances_mean:.1f} / {outcome.instances_max}",
    )


def pool_rows(compared: Compared) -> tuple[tuple[str, ...], ...]:
    """Of each pool that is told apart its key, and what it had under each policy: instances, and how long it was short."""
    rows: dict[str, list[str]] = {}
    for outcome in compared.outcomes:
        for pool in outcome.pools:
            if pool.key.partition("@")[0] in compared.told_apart:
                short = f", short {percent_at_most(pool.short_s / outcome.seconds)}" if pool.short_s > 0 else ""
                had = f"{pool.instances_min} / {pool.instances_mean:.1f} / {pool.instances_max}{short}"
                rows.setdefault(pool.key, []).append(had)
    return tuple((key, *cells) for key, cells in rows.items())


def money(amount: float) -> str:
    """`12.30`, `1,204`."""
    return f"{amount:,.2f}" if amount < 1000 else f"{amount:,.0f}"


def struck_text(struck: Struck) -> str:
    """What a blow did, in a sentence."""
    recovered = "did not recover while it was played" if struck.recovered_s is None else None
    recovered = recovered or (
        "nothing to recover from"
        if struck.recovered_s == 0
        else f"recovered {seconds(struck.recovered_s or 0)} after it"
    )
    whole = "never whole again" if struck.whole_s is None else f"all whole {seconds(struck.whole_s)} after it"
    return f"{many(round(struck.failed), 'request')} failed, {recovered}, {whole}"


def compared_page(compared: Compared) -> str:
    """The whole page. The same outcomes give the same text."""
    body = "".join((*_head(compared), *_table(compared), *_struck(compared), *_plots(compared)))
    body += "".join((*_decisions(compared), *_told(compared)))
    return document(f"{compared.name}: policies compared", body)


def _head(compared: Compared) -> Iterator[str]:
    first = compared.outcomes[0]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(compared.began_at))
    yield f"<header><div><h1>What would {escape(compared.name)} have cost, and whom would it have failed?</h1>"
    yield f'<p class="soft">{escape(compared.environment)}, from {when}, {seconds(first.seconds)} in the simulator</p>'
    yield "</div></header>\n"


def _table(compared: Compared) -> Iterator[str]:
    yield '<h2>Policies</h2>\n<div class="side" tabindex="0"><table><thead><tr><th class="name">policy</th>'
    yield "".join(f'<th class="num">{head}</th>' for head in compared.heads) + "</tr></thead><tbody>\n"
    for outcome in compared.outcomes:
        yield f'<tr><td class="name">{escape(outcome.policy)}</td>'
        yield "".join(f'<td class="num">{escape(cell)}</td>' for cell in cells(compared, outcome)) + "</tr>\n"
    yield "</tbody></table></div>\n"
    yield f'<p class="small">{MEANT}</p>\n'
    if rows := pool_rows(compared):
        heads = "".join(f'<th class="num">{escape(outcome.policy)}</th>' for outcome in compared.outcomes)
        yield '<h2>Pools of tiers</h2>\n<div class="side" tabindex="0"><table><thead><tr><th class="name">pool</th>'
        yield f"{heads}</tr></thead><tbody>\n"
        for key, *had in rows:
            yield f'<tr><td class="name">{escape(key)}</td>'
            yield "".join(f'<td class="num">{each}</td>' for each in had) + "</tr>\n"
        yield "</tbody></table></div>\n"


def _struck(compared: Compared) -> Iterator[str]:
    if not any(outcome.struck for outcome in compared.outcomes):
        return
    yield "<h2>What the faults did</h2>\n<dl>"
    for outcome in compared.outcomes:
        for struck in outcome.struck:
            yield f"<dt>{escape(struck.name)}, {escape(outcome.policy)}</dt><dd>{escape(struck_text(struck))}</dd>\n"
    yield "</dl>\n"


def _plots(compared: Compared) -> Iterator[str]:
    outcomes = compared.outcomes
    # So that the axis, which tells the local clock, reads as UTC does.
    shown_at = time.mktime(time.gmtime(compared.began_at))
    spans = tuple(
        Span(s.name, "harm" if s.lasts_s else "drill", s.at_s, s.at_s + max(s.lasts_s, 60.0))
        for s in outcomes[0].struck
    )
    whole = frames(outcomes[0].seconds, spans, (), shown_at)
    yield "<h2>Over time</h2>\n"
    curves = (
        Curve(o.policy, i % 8 + 1, tuple(zip(o.course.at_s, map(float, o.course.instances), strict=True)), is_step=True)
        for i, o in enumerate(outcomes)
    )
    yield from plot(
        Panel("Instances under each policy", "all services and regions", tuple(curves), is_whole=True), whole
    )
    for number, outcome in enumerate(outcomes):
        marks = _marks(outcome)
        framed = frames(outcome.seconds, spans, marks, shown_at)
        if number == 0 and marks:
            yield from done(
                framed, marks[:MARKS_MAX], f"numbers are decisions of {outcome.policy}; each leads to its reason", ()
            )
        course = outcome.course
        holds = Curve("ready instances hold", 4, tuple(zip(course.at_s, course.holds_per_s, strict=True)), is_step=True)
        asked = Curve("asked for", 1, tuple(zip(course.at_s, course.demand_per_s, strict=True)), is_area=True)
        yield from plot(Panel(f"{outcome.policy}: demand and capacity", "requests/s", (asked, holds)), framed)


def _marks(outcome: Outcome) -> list[Mark]:
    return [
        Mark(
            made.at_s,
            made.decision.id,
            made.decision.by,
            made.decision.why,
            (*made.decision.facts, *made.decision.clamps),
        )
        for made in outcome.made
        if made.decision.by == "scale"
    ]


def _decisions(compared: Compared) -> Iterator[str]:
    outcome = compared.outcomes[0]
    marks = _marks(outcome)
    if not marks:
        return
    yield f'<h2>What {escape(outcome.policy)} decided about numbers, and why</h2>\n<ol class="why dated">'
    for number, mark in enumerate(marks[:MARKS_MAX], 1):
        when = time.strftime("%d %b %H:%M", time.gmtime(compared.began_at + mark.at_s))
        yield f'<li><span class="n">{number}</span><span class="by soft">{when}</span>'
        yield f'<span id="why-{number}">{escape(mark.why)} <span class="small">{escape(mark.id)}</span>'
        if mark.facts:
            yield f'<br><span class="small">{escape("; ".join(mark.facts))}</span>'
        yield "</span></li>\n"
    yield "</ol>\n"
    if len(marks) > MARKS_MAX:
        yield f'<p class="small">{len(marks) - MARKS_MAX:,} more: --json has them all</p>\n'


def _told(compared: Compared) -> Iterator[str]:
    yield "<h2>What was played</h2>\n<ul>"
    for sentence in compared.told:
        yield f"<li>{said(sentence)}</li>\n"
    yield f"</ul>\n<h2>Play it again</h2>\n<pre><code>{escape(compared.command)}</code></pre>\n"
