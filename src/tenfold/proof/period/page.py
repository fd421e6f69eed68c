"""A report as one page of HTML, with nothing to load and no script. Stage: report -> a file."""

from collections.abc import Iterable, Sequence
from html import escape

from tenfold.proof.period.facts import PeriodReport
from tenfold.proof.period.words import alert_text, event_lists, event_text, figures
from tenfold.proof.words import moment, seconds

WIDTH, HEIGHT = 860, 120
POINTS_MAX = 430
STYLE = """
:root { color-scheme: light dark; --ink: #1a1d21; --dim: #666d75; --line: #d7dbe0; --good: #1a7f42; --bad: #c02626;
  --warn: #9a6200; --plot: #2563c9; --paper: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --dim: #9aa1a9; --line: #3a3f45; --good: #5cc98a; --bad: #ff7b72;
  --warn: #e3b341; --plot: #79b0ff; --paper: #16181b } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 56rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem } .dim { color: var(--dim) }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
th { font-weight: 500; color: var(--dim) } .met { color: var(--good) } .warning { color: var(--warn) }
.missed, .critical { color: var(--bad); font-weight: 600 }
svg { width: 100%; height: auto; display: block } li { margin: .3rem 0 }
"""
WORD = {True: "met", False: "missed", None: "not shown"}


def page(report: PeriodReport) -> str:
    """The whole page."""
    title = f"{report.name} ({report.environment})"
    span = f"{moment(report.start)} to {moment(report.end)}, {seconds(report.end - report.start)}"
    seen = f"seen for {seconds(report.seen_s)}{'' if report.is_live else '; no control plane runs now'}"
    parts = [
        f"<h1>{escape(title)}</h1><p class=dim>{escape(span)}; {escape(seen)}</p>",
        _table((("", ""),), ((escape(name), escape(text)) for name, text in figures(report)), head=False),
        _plot("requests/s by minute", report.rates),
        _plot("p95 by minute, ms", report.percentiles),
        _targets(report),
        _section("alerts", _alerts(report)),
        *(
            _section(
                f"{name}: {len(events)}", "".join(_item(event.at, event_text(event), event.id) for event in events)
            )
            for name, events in event_lists(report)
        ),
        _section("what could be better", "".join(f"<li>{escape(text)}" for text in report.advice) or "<li>nothing"),
    ]
    body = "\n".join(part for part in parts if part)
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
    return f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>\n"


def _section(name: str, items: str) -> str:
    return f"<h2>{escape(name)}</h2><ul>{items}</ul>" if items else ""


def _item(at: float, text: str, id_: str) -> str:
    return f"<li><span class=dim>{moment(at)}</span> {escape(text)} <span class=dim>{escape(id_)}</span>"


def _alerts(report: PeriodReport) -> str:
    return "".join(
        f"<li><span class=dim>{moment(a.at)}</span> <span class={a.severity}>{a.severity}</span> {escape(alert_text(a))}"
        for a in report.alerts
    )


def _table(columns: Iterable[tuple[str, str]], rows: Iterable[Sequence[str]], *, head: bool = True) -> str:
    names = "".join(f"<th>{escape(name)}" for name, _ in columns) if head else ""
    return f"<table>{f'<tr>{names}' if names else ''}{''.join('<tr>' + ''.join(f'<td>{cell}' for cell in row) for row in rows)}</table>"


def _targets(report: PeriodReport) -> str:
    if not report.targets:
        return ""
    rows = (
        (
            escape(row.name),
            escape(row.target),
            escape(row.measured),
            f"<span class={'dim' if row.is_met is None else WORD[row.is_met]}>{WORD[row.is_met]}</span>",
            escape(row.how),
        )
        for row in report.targets
    )
    columns = (("target", ""), ("is to be", ""), ("was", ""), ("", ""), ("how", ""))
    return f"<h2>targets</h2>{_table(columns, rows)}"


def _plot(name: str, values: Sequence[float | None]) -> str:
    """A line with gaps where nothing was seen; its highest value stands beside its name."""
    seen = [value for value in values if value is not None]
    if len(seen) < 2:
        return ""
    step = max(1, -(-len(values) // POINTS_MAX))
    most = max(seen) or 1.0
    runs: list[list[str]] = [[]]
    for start in range(0, len(values), step):
        here = [value for value in values[start : start + step] if value is not None]
        if not here:
            runs.append([])
            continue
        x, y = WIDTH * start / max(1, len(values) - 1), HEIGHT - (HEIGHT - 8) * max(here) / most
        runs[-1].append(f"{x:.1f},{y:.1f}")
    style = "fill=none stroke='var(--plot)' stroke-width=1.5 stroke-linecap=round"
    # A minute alone between two gaps is a dot.
    points = (" ".join(run if len(run) > 1 else run * 2) for run in runs if run)
    lines = "".join(f"<polyline points='{run}' {style} />" for run in points)
    label = f"{name}; at most {most:.4g}"
    base = f"<line x1=0 y1={HEIGHT} x2={WIDTH} y2={HEIGHT} stroke='var(--line)' />"
    return f"<h2>{escape(label)}</h2><svg viewBox='0 0 {WIDTH} {HEIGHT + 2}' role=img aria-label='{escape(label)}'>{base}{lines}</svg>"
