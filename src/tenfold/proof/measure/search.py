"""The search for the highest load that is held: bracket it, halve the bracket, and look again at both of its edges.

Stage: a `Probe` makes a steady load and tells what came of it as a `Point`; the search chooses the loads. It reads no clock and makes no
load itself, so that it can be tried on a made-up system.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tenfold.estimators.capacity import Offered

STEP_S_MAX = 60.0
PRECISION_RATIO = 0.04
"""The bracket is narrow enough when its upper end is this much above its lower one."""
RATE_MIN = 0.2
"""Actions per second; an app that does not hold these is not one whose capacity is worth knowing."""
RATE_MAX = 50_000.0
TRIES_MAX = 2
"""How often a step is made when its figures can't be trusted."""
RAISES_MAX = 2
LOWERINGS_MAX = 10
"""How often an edge that did not stand is looked for higher up, and lower down."""
HELD_OF = 2
"""An edge stands when it was held this many times more, before it was missed as many times."""


class Standing(StrEnum):
    """HELD and MISSED are about the goal; DOUBTFUL: it was missed, and perhaps not by the app's fault, so neither is known."""

    HELD = "held"
    MISSED = "missed"
    DOUBTFUL = "doubtful"


@dataclass(frozen=True, slots=True)
class Pace:
    """How a search goes: it begins at `start_rate` actions per second when nothing is known yet. Steps last so long while the bracket is
    sought, while it is halved, and at its edges: the nearer, the longer. `warm_up_s` comes before each and does not count.

    A step lasts longer where its requests would be fewer than `count`, so that the rank of their 95th percentile is known to within 2.2
    points (`percentile_error`); while the bracket is sought a quarter of them, and so 4.3 points, will do.
    """

    warm_up_s: float = 3.0
    bracket_s: float = 4.0
    step_s: float = 8.0
    edge_s: float = 12.0
    count: int = 400
    start_rate: float = 10.0


@dataclass(frozen=True, slots=True)
class Goal:
    """What must be so: 95 of 100 response times within `latency_ms`, and at most `error_ratio` (0..1) of the requests failed."""

    latency_ms: float
    error_ratio: float


@dataclass(frozen=True, slots=True)
class Point:
    """What came of one steady load of `rate` actions per second.

    Times are response times, from the intended start, in ms; `p95_ms` is None where nothing was answered, `late_p95_ms` is that of the last
    third of the step alone (a queue that grows shows there first). `doubts` say why a missed goal may not be the app's fault.
    `cpu_cores` is what each part of the project used, `taken_cores` what all else on the machine did.
    """

    rate: float
    offered_rps: float
    answered_rps: float
    requests: int
    failed_ratio: float
    mean_ms: float
    p95_ms: float | None
    late_p95_ms: float | None
    action_ms: float = 0.0
    doubts: tuple[str, ...] = ()
    cpu_cores: Mapping[str, float] = field(default_factory=dict)
    taken_cores: float = 0.0

    @property
    def offered(self) -> Offered:
        """The same, as estimators see it."""
        return Offered(self.offered_rps, self.answered_rps, self.mean_ms)

    def standing(self, goal: Goal) -> Standing:
        """How it stands against the goal.

        A generator that was late, or neighbours that took the processor, make every figure worse and none better: times count from
        when a request was due, and late ones come in bunches. So what was held in spite of them is held; what was missed is open.
        """
        times = (self.p95_ms, self.late_p95_ms)
        if self.failed_ratio > goal.error_ratio or any(ms is None or ms > goal.latency_ms for ms in times):
            return Standing.DOUBTFUL if self.doubts else Standing.MISSED
        return Standing.HELD


Probe = Callable[[float, float], Awaitable[Point]]
"""Makes a load of so many actions per second for so many seconds."""
Tell = Callable[[Point, Standing], None]


class NothingHeld(Exception):
    """Not even the least load was held, or nothing could be trusted; the message says what was seen."""


@dataclass(frozen=True, slots=True)
class Held:
    """The highest load that stood: `edge` is how it looked then, `above` the least that was not held, and why: MISSED, or DOUBTFUL when the
    machine or the load generator gave out first. `points` are all steps, in order."""

    edge: Point
    above_rate: float
    above: Standing
    points: tuple[Point, ...]


async def search(
    probe: Probe,
    goal: Goal,
    start: float,
    requests_per_action: float,
    tell: Tell,
    factor: float = 2.0,
    pace: Pace = Pace(),
) -> Held:
    """Find the highest load that `goal` allows, beginning at `start` actions per second and going on by `factor`. Raises `NothingHeld`."""
    hunt = _Hunt(probe, goal, requests_per_action, tell, pace)
    low, high = await _halved(hunt, *await _bracket(hunt, min(max(start, RATE_MIN), RATE_MAX), factor))
    for _ in range(RAISES_MAX):
        # What was missed may have been bad luck (a neighbour's burst): asked again, it must be missed again.
        if high >= RATE_MAX or await hunt.step(high, pace.edge_s) is not Standing.HELD:
            break
        low, high = await _halved(hunt, *await _upwards(hunt, high, 1 + 2 * PRECISION_RATIO))
    for lowered in range(LOWERINGS_MAX):
        if await hunt.stands(low):
            return hunt.held(low, high)
        low, high = low / (1 + PRECISION_RATIO * (1 + lowered // 2)), low
    raise NothingHeld(
        f"no load was held {HELD_OF} times in a row down to {low:.3g} actions/s: this machine is too busy with other things to measure on"
    )


async def _halved(hunt: "_Hunt", low: float, high: float) -> tuple[float, float]:
    """The bracket, narrow enough."""
    while high > low * (1 + PRECISION_RATIO):
        middle = (low * high) ** 0.5
        if await hunt.step(middle, hunt.pace.step_s) is Standing.HELD:
            low = middle
        else:
            high = middle
    return low, high


async def _bracket(hunt: "_Hunt", rate: float, factor: float) -> tuple[float, float]:
    """A load that was held, and one that is `factor` times as much and was not."""
    if await hunt.step(rate, hunt.pace.bracket_s) is Standing.HELD:
        return await _upwards(hunt, rate, factor)
    return await _downwards(hunt, rate, factor)


async def _upwards(hunt: "_Hunt", held: float, factor: float) -> tuple[float, float]:
    while held < RATE_MAX:
        above = min(held * factor, RATE_MAX)
        if await hunt.step(above, hunt.pace.bracket_s) is not Standing.HELD:
            return held, above
        held = above
    return held, held


async def _downwards(hunt: "_Hunt", missed: float, factor: float) -> tuple[float, float]:
    while missed > RATE_MIN:
        below = max(missed / factor, RATE_MIN)
        if await hunt.step(below, hunt.pace.bracket_s) is Standing.HELD:
            return below, missed
        missed = below
    raise NothingHeld(hunt.nothing())


class _Hunt:
    """One search: its steps so far."""

    def __init__(self, probe: Probe, goal: Goal, requests_per_action: float, tell: Tell, pace: Pace) -> None:
        self._probe = probe
        self._goal = goal
        self._requests_per_action = requests_per_action
        self._tell = tell
        self.pace = pace
        self._points: list[Point] = []

    async def step(self, rate: float, seconds: float) -> Standing:
        """Make one load, again when its figures can't be trusted; DOUBTFUL when they never could."""
        count = self.pace.count if seconds > self.pace.bracket_s else self.pace.count / 4
        needed_s = count / (rate * self._requests_per_action)
        standing = Standing.DOUBTFUL
        for _ in range(TRIES_MAX):
            point = await self._probe(rate, min(max(seconds, needed_s), STEP_S_MAX))
            standing = point.standing(self._goal)
            self._points.append(point)
            self._tell(point, standing)
            if standing is not Standing.DOUBTFUL:
                break
        return standing

    async def stands(self, rate: float) -> bool:
        """True when the load is held `HELD_OF` times more before it is missed as often."""
        held = missed = 0
        while held < HELD_OF and missed < HELD_OF:
            if await self.step(rate, self.pace.edge_s) is Standing.HELD:
                held += 1
            else:
                missed += 1
        return held == HELD_OF

    def held(self, low: float, high: float) -> Held:
        """What was found: the edge as its longest steps saw it, the median one by its 95th percentile."""
        at_edge = [p for p in self._points if p.rate == low and p.standing(self._goal) is Standing.HELD][-HELD_OF:]
        edge = sorted(at_edge, key=lambda point: point.p95_ms or 0.0)[len(at_edge) // 2]
        above = [p.standing(self._goal) for p in self._points if p.rate == high] or [Standing.HELD]
        return Held(edge, high, above[-1], tuple(self._points))

    def nothing(self) -> str:
        """Why nothing was held, by the last and lightest load."""
        point = self._points[-1]
        if point.doubts:
            return f"no figure could be trusted: {point.doubts[0]}"
        light = f"even at {point.rate:.3g} actions/s"
        if point.failed_ratio > self._goal.error_ratio:
            return f"{light} {point.failed_ratio:.1%} of the requests fail: try them with `tenfold load`, and mend that first"
        return (
            f"{light} the 95th percentile is {point.p95_ms or 0:,.0f} ms, above {self._goal.latency_ms:,.0f} ms: "
            "no number of instances helps; make the slow answers faster, or give a --latency that they can meet"
        )
