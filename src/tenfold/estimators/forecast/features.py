"""What a forecast looks at: the last minutes, and the same time of day on the days before. Minutes of one series in, rows of figures out.

Everything is on a log scale, z = log(y + c): a day ten times as large has the same shape; c (2% of the mean) keeps minutes of zero finite.
What is told belongs to an *origin*, the newest minute that is known, and to a *target*, h minutes later. What no minute up to the origin
can tell (the day before at the target's time) is known too, since a day is longer than any horizon. Origins lie equally far apart, so that
nothing is looked up one by one: a figure of all of them is a slice.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indexes = NDArray[np.int64]

HOUR, DAY = 60, 1440
WEEK = 7 * DAY
LAGS = (0, 1, 2, 3, 5, 8)
MEANS = (5, 15, 30, 60, 120)
"""In minutes: values so long ago, and means over so long."""
NEAR = len(LAGS) + len(MEANS)
"""So many figures are of the last minutes; of them `LEVEL` is the level."""
LEVEL = len(LAGS)
VOLATILITY_MEANS = (10, 60, 720)
HARMONICS = 4
BACK = max(MEANS) + 10
"""So many minutes before an origin must be there."""
DAILY_FROM = DAY + 4 * 60
"""From so many minutes on the day before is looked at, and from `WEEKLY_FROM` on the week before."""
WEEKLY_FROM = WEEK + 3 * DAY
FLOOR_RATIO = 0.02
DAYS_AVERAGED = 7
DAY_WEIGHT = 0.85
"""The usual day is a mean over up to a week of days, each weighing so much less than the next."""
SMOOTHED, USUAL, USUAL_BEFORE = 2, 3, 4
"""Columns of `Past.curves`: z over 5 and over 15 minutes, then the usual day over 5 minutes, to the minute, and over the last two."""
JUMP_FACTOR = 3.0
"""A step of the usual day counts as one (a job that always starts at nine) from so many times its median step on."""

_ANGLES = 2 * np.pi * np.arange(DAY) / DAY
CIRCLE = np.stack([wave(k * _ANGLES) for k in range(1, HARMONICS + 1) for wave in (np.sin, np.cos)])
"""The waves of a day, by its minute."""


def middle(x: Array) -> float:
    """The median, without what makes it slow on a few."""
    half = len(x) // 2
    if len(x) % 2:
        return float(np.partition(x, half)[half])
    two = np.partition(x, (half - 1, half))
    return float(two[half - 1] + two[half]) / 2


def totals(x: Array) -> Array:
    """The sum of all before each of `x`, and of all: what means over any width are made of."""
    total = np.empty(len(x) + 1)
    total[0] = 0.0
    np.cumsum(x, out=total[1:])
    return total


def mean_before(total: Array, width: int) -> Array:
    """At each minute the mean of the last `width` up to it; of all there are where these are fewer. Of the `totals` of a series."""
    mean = total[1:].copy()
    mean[width:] -= total[1:-width]
    mean[:width] /= np.arange(1, 1 + min(width, len(mean)))
    mean[width:] /= width
    return mean


def mean_around(total: Array, half: int) -> Array:
    """At each minute the mean of `half` minutes on either side and itself; the last `half` are those of the end."""
    count = len(total) - 1
    half = min(half, count - 1)
    before = mean_before(total, 2 * half + 1)
    return np.concatenate((before[half:], np.full(half, (total[count] - total[count - half - 1]) / (half + 1))))


def mean_of_days(x: Array) -> Array:
    """At each minute the weighted mean of it and the same minute of the days before."""
    total, weight = x.copy(), np.ones(len(x))
    for days in range(1, min(DAYS_AVERAGED, 1 + (len(x) - 1) // DAY)):
        total[days * DAY :] += x[: len(x) - days * DAY] * DAY_WEIGHT**days
        weight[days * DAY :] += DAY_WEIGHT**days
    total /= weight
    return total


def _turns_near(step: int) -> Iterator[int]:
    """Steps about so long that share no factor with an hour: of a job that comes by the clock, others would see the same minutes only."""
    return (each for each in range(step + HOUR, 0, -1) if math.gcd(each, HOUR) == 1)


@dataclass(frozen=True, slots=True)
class Origins:
    """`count` minutes, the first of them `begin`, each `step` after the one before."""

    begin: int
    step: int
    count: int

    @classmethod
    def spread(cls, above: int, last: int, count_max: int) -> "Origins":
        """Up to `last`, above `above`, and about as close as `count_max` can lie: each minute of an hour has its turn among them."""
        close = -(-(last + 2 - above) // count_max)
        step = min(_turns_near(close), key=lambda each: abs(each - close))
        count = max(0, -(-(last - above) // step))
        return cls(last - (count - 1) * step, step, count)

    def before(self, end: int) -> "Origins":
        """Those of them before minute `end`."""
        return Origins(self.begin, self.step, min(self.count, max(0, -(-(end - self.begin) // self.step))))

    def of(self, x: Array, later: int = 0) -> Array:
        """The value of `x` at each of them, or so many minutes `later`."""
        at = self.begin + later
        return x[at : at + self.count * self.step : self.step][: self.count]

    def times(self, later: int) -> Indexes:
        """The minutes so much `later`."""
        return np.arange(self.begin + later, self.begin + later + self.count * self.step, self.step)[: self.count]


@dataclass(frozen=True, slots=True)
class Past:
    """What was learnt from the past of a series: `curves` of z, a row for each of its `minutes`, and whether they go back far enough.

    `first` is the number of the first minute since the epoch: it tells the time of day.
    """

    first: int
    minutes: int
    is_daily: bool
    is_weekly: bool
    curves: Array
    jump_min: float

    @classmethod
    def of(cls, z: Array, total: Array, first: int) -> "Past":
        """Smooth `z`, whose `totals` are given and whose first minute has the number `first`."""
        smooth, usual_exact = mean_around(total, 2), mean_of_days(z)
        usual_before = usual_exact.copy()
        usual_before[1:] = (usual_exact[1:] + usual_exact[:-1]) / 2
        curves = (smooth, mean_around(total, 7), mean_of_days(smooth), usual_exact, usual_before)
        return cls(
            first=first,
            minutes=len(z),
            is_daily=len(z) >= DAILY_FROM,
            is_weekly=len(z) >= WEEKLY_FROM,
            curves=np.stack(curves, axis=1),
            jump_min=JUMP_FACTOR * middle(np.abs(usual_exact[3:] - usual_exact[:-3])),
        )

    @property
    def rows_from(self) -> int:
        """The first origin that has all it looks at before it."""
        return BACK + (WEEK if self.is_weekly else DAY if self.is_daily else 0)

    def of_origin(self, origins: Origins) -> Array:
        """A column for each origin: what the days before say of it, so that the difference of the target can be told. No rows before there
        is a day."""
        if not self.is_daily:
            return np.empty((0, origins.count))
        rows = [origins.of(self.curves, -DAY)[:, :USUAL_BEFORE].T]
        if self.is_weekly:
            rows.append(origins.of(self.curves, -WEEK)[:, 1:SMOOTHED].T)
        return np.concatenate(rows)

    def of_target(self, origins: Origins, horizon: int, told: Array) -> None:
        """Fill `told`, `width` rows, with a column for each origin: what the days before say of the target, and the step to it."""
        if not self.is_daily:
            return
        day = origins.of(self.curves, horizon - DAY)
        told[:USUAL_BEFORE] = day[:, :USUAL_BEFORE].T
        told[USUAL_BEFORE] = self._step(origins, day)
        if self.is_weekly:
            # The smoothed curves alone: a week ago is one day, and its minutes are noise.
            told[USUAL_BEFORE + 1 : -len(CIRCLE)] = origins.of(self.curves, horizon - WEEK)[:, :SMOOTHED].T
        CIRCLE.take(origins.times(horizon + self.first) % DAY, axis=1, out=told[-len(CIRCLE) :], mode="wrap")

    def moved(self, origins: Origins, horizon: int, beta: Array) -> Array:
        """How far the days before move the level from each origin to its target: `of_origin` and then `of_target`, times `beta`."""
        if not self.is_daily:
            return np.zeros(origins.count)
        parts = np.split(beta, np.cumsum(self._parts))
        of_origin, week_of_origin, of_target, step, week_of_target, circle = parts
        day, before = origins.of(self.curves, horizon - DAY), origins.of(self.curves, -DAY)
        moved = day[:, :USUAL_BEFORE] @ of_target + before[:, :USUAL_BEFORE] @ of_origin
        moved += self._step(origins, day) * step
        if self.is_weekly:
            moved += origins.of(self.curves, horizon - WEEK)[:, :SMOOTHED] @ week_of_target
            moved += origins.of(self.curves, -WEEK)[:, 1:SMOOTHED] @ week_of_origin
        moved += (circle @ CIRCLE)[origins.times(horizon + self.first) % DAY]
        return np.asarray(moved)

    @property
    def width(self) -> int:
        """How many figures `of_target` tells."""
        return sum(self._parts[2:]) + len(CIRCLE) if self.is_daily else 0

    @property
    def _parts(self) -> tuple[int, ...]:
        """How many figures there are of each kind, but for the circle's: of the origin's day and week, of the target's, with the step."""
        return USUAL_BEFORE, SMOOTHED - 1 if self.is_weekly else 0, USUAL_BEFORE, 1, SMOOTHED if self.is_weekly else 0

    def _step(self, origins: Origins, day: Array) -> Array:
        """The step that the usual day makes from each origin to its target, given the `day` of that, as far as it is more than usual."""
        step = day[:, USUAL] - origins.of(self.curves, -DAY)[:, USUAL_BEFORE]
        return np.asarray(np.sign(step) * np.maximum(np.abs(step) - self.jump_min, 0.0))

    def jump(self, origins: Origins, horizon: int) -> Array:
        """How large a step the usual day makes between origin and target, beyond its usual steps; 0 before there is a day."""
        if not self.is_daily:
            return np.zeros(origins.count)
        usual = self.curves[:, USUAL]
        step = np.abs(origins.of(usual, horizon - DAY) - origins.of(usual, -DAY))
        return np.asarray(np.maximum(step - self.jump_min, 0.0))


def of_origins(z: Array, total: Array, origins: Origins) -> Array:
    """A column for each origin: the values so long before (`LAGS`) and the means over so long (`MEANS`). `total` are the `totals` of z."""
    means = [(origins.of(total, 1) - origins.of(total, 1 - width)) / width for width in MEANS]
    return np.stack([*(origins.of(z, -lag) for lag in LAGS), *means])


def of_all(z: Array, total: Array) -> Array:
    """`of_origins` for every minute. Where less is before: the first value, and means of what there is."""
    lagged = [np.concatenate((np.full(min(lag, len(z)), z[0]), z[: max(0, len(z) - lag)])) for lag in LAGS]
    return np.stack([*lagged, *(mean_before(total, width) for width in MEANS)])


def of_newest(z: Array) -> Array:
    """What `of_origins` tells of the last minute: a row for each series, of whose last minutes (at least `BACK`) `z` has a row each."""
    return np.stack([*(z[:, -1 - lag] for lag in LAGS), *(z[:, -width:].mean(axis=1) for width in MEANS)], axis=1)
