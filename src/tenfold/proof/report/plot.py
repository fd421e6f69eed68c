"""Plots as SVG text, for a page that asks no other host for anything: axes with round ticks, lines with gaps, marks. Pure.

Stage: figures over time -> panels of the report. Colours are classes, so that the page's style decides about dark and light; whatever
comes from an app is escaped.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from tenfold.proof.words import moment

Point = tuple[float, float | None]
"""A moment in seconds from the start, and a value; None where nothing was measured: a gap, never a zero."""

DAY_S = 86_400
TIME_STEPS_S = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    DAY_S,
    2 * DAY_S,
    7 * DAY_S,
)


@dataclass(frozen=True, slots=True)
class Axis:
    """What lies between `low` and `high`, and the ticks to draw, each a value and its label."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high one, never beyond."""
        if self.is_log:
            value = max(value, self.low)
            span = math.log(self.high / self.low)
            return min(math.log(value / self.low) / span, 1.0)
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def number(value: float) -> str:
    """A tick's label: `0.25`, `40`, `1,500`."""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"


def count_axis(highest: float, ticks_max: int = 5, is_whole: bool = False) -> Axis:
    """From 0 to a round number not below `highest`, in steps of 1, 2 or 5 times a power of ten (only whole ones if asked)."""
    highest = highest if math.isfinite(highest) and highest > 0 else 1.0
    rough = highest / ticks_max
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    if is_whole:
        step = max(step, 1.0)
    steps = math.ceil(highest / step - 1e-9)
    return Axis(0.0, steps * step, tuple((i * step, number(i * step)) for i in range(steps + 1)))


def time_label(ms: float) -> str:
    """`0.1 ms`, `10 ms`, `1 s`."""
    return f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:g} s"


def ms_axis(lowest: float, highest: float) -> Axis:
    """Milliseconds, logarithmic: powers of ten around what there is, with 2 and 5 between them where there is room."""
    lowest = lowest if math.isfinite(lowest) and lowest > 0 else 1.0
    highest = highest if math.isfinite(highest) and highest > lowest else lowest * 10
    steps = [m * 10.0**e for e in range(-3, 9) for m in (1, 2, 5)]
    low = max((s for s in steps if s <= lowest), default=steps[0])
    high = min((s for s in steps if s >= highest), default=steps[-1])
    if high <= low:
        high = low * 10
    inside = [s for s in steps if low <= s <= high]
    if len(inside) > 8:
        tens = [s for s in inside if math.isclose(s, 10.0 ** round(math.log10(s)))]
        inside = tens if len(tens) > 1 else [inside[0], *tens, inside[-1]]
    return Axis(low, high, tuple((s, time_label(s)) for s in inside), is_log=True)


def time_axis(from_s: float, to_s: float, ticks_max: int = 8) -> Axis:
    """Time since the start, in steps that people count in."""
    span_s = max(to_s - from_s, 1.0)
    step_s = _step_s(span_s, ticks_max)
    first = math.ceil(from_s / step_s)
    ticks = []
    for i in range(first, math.floor((from_s + span_s) / step_s + 1e-9) + 1):
        ticks.append((float(i * step_s), clock(i * step_s)))
    return Axis(from_s, from_s + span_s, tuple(ticks))


def _step_s(span_s: float, ticks_max: int) -> int:
    longest_s = TIME_STEPS_S[-1]
    more_s = longest_s * math.ceil(span_s / longest_s / ticks_max)
    return next((s for s in TIME_STEPS_S if span_s / s <= ticks_max), more_s)


def day_axis(from_s: float, to_s: float, started_at: float, ticks_max: int = 8) -> Axis:
    """The same, told by the local clock: ticks are counted from midnight, which itself is told by its date. `started_at` is seconds since
    the epoch."""
    span_s = max(to_s - from_s, 1.0)
    step_s = _step_s(span_s, ticks_max)
    begun = time.localtime(started_at + from_s)
    since_midnight_s = begun.tm_hour * 3600 + begun.tm_min * 60 + begun.tm_sec
    first = since_midnight_s // step_s
    ticks: dict[float, str] = {}
    # An hour more: a day on which the clocks change is longer or shorter than it reads. What they leave out falls on another tick.
    for i in range(first, first + math.ceil((span_s + 3600) / step_s) + 2):
        days, rest_s = divmod(i * step_s, DAY_S)
        hour, minute, second = rest_s // 3600, rest_s % 3600 // 60, rest_s % 60
        at = time.mktime((begun.tm_year, begun.tm_mon, begun.tm_mday + days, hour, minute, second, 0, 0, -1))
        if from_s <= at - started_at <= from_s + span_s:
            shown = time.localtime(at)
            is_midnight = shown.tm_hour == shown.tm_min == shown.tm_sec == 0
            ticks[at - started_at] = time.strftime(
                "%d %b" if is_midnight else "%H:%M" if step_s >= 60 else "%H:%M:%S", shown
            )
    return Axis(from_s, from_s + span_s, tuple(sorted(ticks.items())))


def clock(at_s: float) -> str:
    """`45 s`, `2:30`, `1:05:00`: time since the start."""
    whole = round(at_s)
    if abs(whole) < 60:
        return f"{whole} s"
    sign, whole = ("-" if whole < 0 else ""), abs(whole)
    hours, rest = divmod(whole, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{sign}{hours}:{minutes:02}:{seconds:02}" if hours else f"{sign}{minutes}:{seconds:02}"


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a panel: its name for the legend, its colour's number (from 1), its points in the order of time. `is_step` holds each
    value until the next; `is_area` fills what is below."""

    name: str
    colour: int
    points: tuple[Point, ...]
    is_step: bool = False
    is_area: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """A level that the values should not cross, with its words."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: what it shows, in which unit (`ms` makes it logarithmic), its lines."""

    title: str
    unit: str
    curves: tuple[Curve, ...]
    limit: Limit | None = None
    is_whole: bool = False

    @property
    def values(self) -> list[float]:
        """All that was measured, and the limit."""
        limit = [self.limit.value] if self.limit else []
        return [v for curve in self.curves for _, v in curve.points if v is not None and math.isfinite(v)] + limit

    def axis(self) -> Axis:
        """The axis that holds all of it."""
        values = self.values
        if self.unit == "ms":
            return ms_axis(min(values, default=1.0), max(values, default=10.0))
        return count_axis(max(values, default=1.0), is_whole=self.is_whole)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time with a name: `kind` is its colour (`ramp`, `load`, `rate`, `drill`, `harm`)."""

    name: str
    kind: str
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Frame:
    """What all panels share: their size in pixels, the time they show, the stretches behind them and the moments that are marked.
    With `started_at` (seconds since the epoch) times are told by the local clock, else since the start."""

    width: int
    height: int
    from_s: float
    to_s: float
    spans: tuple[Span, ...] = ()
    marks_s: tuple[float, ...] = ()
    started_at: float | None = None
    left: int = 58
    right: int = 14
    top: int = 10
    bottom: int = 24
    times: Axis = field(init=False)

    def __post_init__(self) -> None:
        ticks_max = 10 if self.width > 600 else 5
        if self.started_at is None:
            axis = time_axis(self.from_s, self.to_s, ticks_max)
        else:
            axis = day_axis(self.from_s, self.to_s, self.started_at, ticks_max)
        object.__setattr__(self, "times", axis)

    def moment(self, at_s: float) -> str:
        """A moment in words: `2:30` since the start, or `28 Nov 14:03` by the local clock."""
        if self.started_at is None:
            return clock(at_s)
        return moment(self.started_at + at_s)

    def x(self, at_s: float) -> float:
        """Where a moment is, in pixels."""
        return self.left + self.times.place(at_s) * (self.width - self.left - self.right)

    def y(self, axis: Axis, value: float) -> float:
        """Where a value is, in pixels."""
        return self.height - self.bottom - axis.place(value) * (self.height - self.top - self.bottom)


def draw(panel: Panel, frame: Frame, name: str) -> str:
    """The panel as an SVG of class `name`."""
    axis = panel.axis()
    parts = [
        f'<svg class="{name}" viewBox="0 0 {frame.width} {frame.height}" role="img" aria-label="{escape(_told(panel))}">',
        *_spans(frame),
        *_grid(axis, frame),
        *_times(frame),
        *_marks(frame),
    ]
    if panel.limit is not None:
        y = frame.y(axis, panel.limit.value)
        above = y - 5 if y > frame.top + 16 else y + 14
        parts.append(
            f'<line class="limit" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<text class="limit-t" x="{frame.width - frame.right - 4}" y="{above:.1f}" text-anchor="end">'
            f"{escape(panel.limit.label)}</text>"
        )
    for curve in panel.curves:
        thin = tuple(thinned(curve.points, frame.width - frame.left - frame.right))
        if curve.is_area:
            parts += [f'<path class="a a{curve.colour}" d="{d}"/>' for d in _areas(curve, thin, axis, frame)]
        parts.append(f'<path class="l l{curve.colour}" d="{_path(curve, thin, axis, frame)}"/>')
    parts += _hover(panel, frame)
    return "".join((*parts, "</svg>"))


def _told(panel: Panel) -> str:
    """The panel in words, for who does not see it."""
    ends = []
    for curve in panel.curves:
        values = [v for _, v in curve.points if v is not None and math.isfinite(v)]
        if values:
            ends.append(f"{curve.name} from {number(min(values))} to {number(max(values))}")
    return f"{panel.title} ({panel.unit}): {'; '.join(ends) or 'nothing was measured'}"


def _grid(axis: Axis, frame: Frame) -> Iterator[str]:
    for value, label in axis.ticks:
        y = frame.y(axis, value)
        yield f'<line class="grid" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{frame.left - 7}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'


def _times(frame: Frame) -> Iterator[str]:
    bottom = frame.height - frame.bottom
    last = frame.width - frame.right
    for at_s, label in frame.times.ticks:
        x = frame.x(at_s)
        anchor = "end" if x > last - 12 else "middle"
        yield f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="{anchor}">{label}</text>'


def _spans(frame: Frame) -> Iterator[str]:
    for span in frame.spans:
        x1, x2 = frame.x(span.from_s), frame.x(span.to_s)
        yield (
            f'<rect class="span s-{span.kind}" x="{x1:.1f}" y="{frame.top}" width="{max(x2 - x1, 1):.1f}" '
            f'height="{frame.height - frame.top - frame.bottom}"><title>{escape(span.name)}</title></rect>'
        )


def _marks(frame: Frame) -> Iterator[str]:
    seen: set[int] = set()
    for at_s in frame.marks_s:
        x = frame.x(at_s)
        if round(x) not in seen:
            seen.add(round(x))
            yield f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{frame.height - frame.bottom}"/>'


def thinned(points: Sequence[Point], places: int) -> Iterator[Point]:
    """No more points than there are places to draw them: of each group the highest, so that no peak is lost; a gap stays one."""
    if len(points) <= places:
        yield from points
        return
    size = math.ceil(len(points) / places)
    for i in range(0, len(points), size):
        group = points[i : i + size]
        measured = [(v, at) for at, v in group if v is not None and math.isfinite(v)]
        yield (group[0][0], None) if not measured else (max(measured)[1], max(measured)[0])


def _runs(points: Iterable[Point]) -> Iterator[list[tuple[float, float]]]:
    """The stretches without a gap."""
    run: list[tuple[float, float]] = []
    for at_s, value in points:
        if value is None or not math.isfinite(value):
            if run:
                yield run
            run = []
        else:
            run.append((at_s, value))
    if run:
        yield run


def _steps(curve: Curve, run: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    before: float | None = None
    for at_s, value in run:
        if curve.is_step and before is not None:
            if value == before:
                continue
            yield at_s, before
        yield at_s, value
        before = value
    if curve.is_step and before is not None:
        yield run[-1][0], before


def _path(curve: Curve, points: Iterable[Point], axis: Axis, frame: Frame) -> str:
    parts = []
    for run in _runs(points):
        drawn = [f"{frame.x(at):.1f} {frame.y(axis, value):.1f}" for at, value in _steps(curve, run)]
        # A single second is a dot: a line to itself, with round ends.
        parts.append(f"M{'L'.join(drawn)}" + (f"L{drawn[0]}" if len(drawn) == 1 else ""))
    return "".join(parts)


def _areas(curve: Curve, points: Iterable[Point], axis: Axis, frame: Frame) -> Iterator[str]:
    ground = frame.height - frame.bottom
    for run in _runs(points):
        drawn = "L".join(f"{frame.x(at):.1f} {frame.y(axis, value):.1f}" for at, value in _steps(curve, run))
        yield f"M{frame.x(run[0][0]):.1f} {ground}L{drawn}L{frame.x(run[-1][0]):.1f} {ground}Z"


HOVERS_MAX = 120


def _hover(panel: Panel, frame: Frame) -> Iterator[str]:
    """Strips over the plot that tell the values of their moment, without a script."""
    if frame.width < 600:
        return
    moments = sorted({at for curve in panel.curves for at, _ in curve.points})
    if not moments:
        return
    by_curve = [(curve, dict(curve.points)) for curve in panel.curves]
    size = math.ceil(len(moments) / HOVERS_MAX)
    starts = moments[::size]
    for start, end in zip(starts, [*starts[1:], moments[-1] + (moments[-1] - moments[0]) / 100], strict=True):
        told = [frame.moment(start)]
        for curve, values in by_curve:
            value = values.get(start)
            if value is not None and math.isfinite(value):
                unit = f" {panel.unit}" if panel.unit == "ms" else ""
                told.append(f"{curve.name}: {value:,.4g}{unit}")
        x1, x2 = frame.x(start), frame.x(end)
        yield (
            f'<rect class="h" x="{x1:.1f}" y="{frame.top}" width="{max(x2 - x1, 0.5):.1f}" '
            f'height="{frame.height - frame.top - frame.bottom}"><title>{escape(chr(10).join(told))}</title></rect>'
        )
