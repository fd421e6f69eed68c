"""What a forecast looks at: the last minutes, and the same time of day on the days before. Minutes of one series in, columns out.

Everything is on a log scale, z = log(y + c): a day ten times as large has the same shape; c (2% of the mean) keeps minutes of zero finite.
A row belongs to an *origin*, the newest minute that is known, and to a *target*, h minutes later. What no minute up to the origin can tell
(the day before at the target's time) is known too, since a day is longer than any horizon.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indexes = NDArray[np.int64]

DAY = 1440
WEEK = 7 * DAY
LAGS = (0, 1, 2, 3, 5, 8)
MEANS = (5, 15, 30, 60, 120)
"""In minutes: values so long ago, and means over so long."""
VOLATILITY_MEANS = (10, 60, 720)
HARMONICS = 4
BACK = max(MEANS) + 10
"""So many minutes before a row's origin must be there."""
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


def mean_before(x: Array, width: int) -> Array:
    """At each minute the mean of the last `width` up to it; of all there are where these are fewer."""
    total = np.concatenate(([0.0], np.cumsum(x)))
    count = np.minimum(np.arange(1, len(x) + 1), width)
    return np.asarray((total[1:] - total[np.arange(1, len(x) + 1) - count]) / count)


def mean_around(x: Array, half: int) -> Array:
    """At each minute the mean of `half` minutes on either side and itself; the last `half` are those of the end."""
    half = min(half, len(x) - 1)
    before = mean_before(x, 2 * half + 1)
    return np.concatenate((before[half:], np.full(half, x[len(x) - half - 1 :].mean())))


def mean_of_days(x: Array) -> Array:
    """At each minute the weighted mean of it and the same minute of the days before."""
    total, weight = np.zeros(len(x)), np.zeros(len(x))
    for days in range(min(DAYS_AVERAGED, 1 + (len(x) - 1) // DAY)):
        total[days * DAY :] += x[: len(x) - days * DAY] * DAY_WEIGHT**days
        weight[days * DAY :] += DAY_WEIGHT**days
    return np.asarray(total / weight)


@dataclass(frozen=True, slots=True)
class Past:
    """What was learnt from the past of a series: `curves` of z, one row for each of its `minutes`, and whether they go back far enough.

    `circle` has the waves of a day by its minute. `first` is the number of the first minute since the epoch: it tells the time of day.
    """

    first: int
    minutes: int
    is_daily: bool
    is_weekly: bool
    curves: Array
    jump_min: float
    circle: Array

    @classmethod
    def of(cls, z: Array, first: int) -> "Past":
        """Smooth `z`, whose first minute has the number `first`."""
        smooth = mean_around(z, 2)
        usual_exact = mean_of_days(z)
        angles = 2 * np.pi * np.arange(DAY) / DAY
        waves = [wave(k * angles) for k in range(1, HARMONICS + 1) for wave in (np.sin, np.cos)]
        curves = (smooth, mean_around(z, 7), mean_of_days(smooth), usual_exact, mean_before(usual_exact, 2))
        return cls(
            first=first,
            minutes=len(z),
            is_daily=len(z) >= DAILY_FROM,
            is_weekly=len(z) >= WEEKLY_FROM,
            curves=np.stack(curves, axis=1),
            jump_min=JUMP_FACTOR * float(np.median(np.abs(usual_exact[3:] - usual_exact[:-3]))),
            circle=np.stack(waves, axis=1),
        )

    @property
    def rows_from(self) -> int:
        """The first origin that has all it looks at before it."""
        return BACK + (WEEK if self.is_weekly else DAY if self.is_daily else 0)

    def of_target(self, origin: Indexes, horizon: Indexes) -> Array:
        """One row per pair: what the days before say of the target, and of the origin, so that their difference can be told. No columns
        before there is a day."""
        if not self.is_daily:
            return np.empty((np.broadcast(origin, horizon).size, 0))
        target = origin + horizon
        day, day_of_origin = self.curves[target - DAY], self.curves[origin - DAY]
        step = day[:, USUAL] - day_of_origin[:, USUAL_BEFORE]
        step = np.sign(step) * np.maximum(np.abs(step) - self.jump_min, 0.0)
        parts = [day[:, :USUAL_BEFORE], day_of_origin[:, :USUAL_BEFORE], step[:, None]]
        if self.is_weekly:
            # The smoothed curves alone: a week ago is one day, and its minutes are noise.
            parts += [self.curves[target - WEEK, :SMOOTHED], self.curves[origin - WEEK, 1:SMOOTHED]]
        return np.concatenate((*parts, self.circle[(target + self.first) % DAY]), axis=1)

    def jump(self, origin: Indexes, horizon: Indexes) -> Array:
        """How large a step the usual day makes between origin and target, beyond its usual steps; 0 before there is a day."""
        if not self.is_daily:
            return np.zeros(np.broadcast(origin, horizon).size)
        step = np.abs(self.curves[origin + horizon - DAY, USUAL] - self.curves[origin - DAY, USUAL])
        return np.asarray(np.maximum(step - self.jump_min, 0.0))


def of_origin(z: Array) -> Array:
    """One row per minute of `z`: the values so long before (`LAGS`) and the means over so long (`MEANS`)."""
    lagged = [np.concatenate((np.full(min(lag, len(z)), z[0]), z[: max(0, len(z) - lag)])) for lag in LAGS]
    return np.stack([*lagged, *(mean_before(z, width) for width in MEANS)], axis=1)


def of_newest(z: Array) -> Array:
    """The last row of `of_origin`, without the others; `z` has at least `BACK` minutes."""
    return np.array([*(z[-1 - lag] for lag in LAGS), *(z[-width:].mean() for width in MEANS)])
