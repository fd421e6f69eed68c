"""Forecasts many series, a minute at a time: all of them in one reckoning. Minutes in, a `ForecastSeen` of each out; nothing here knows the
clock.

Three ways, by how much is known: a level and its unrest (from ten minutes on), the last minutes (from six hours on), and the days before as
well. Each is corrected as its forecasts come true: the level at which a quantile is read moves up when more was above it than
should be (adaptive conformal inference: Gibbs & Candes 2021), so that 95% means 95% on a series that nobody has seen before.
"""

import math
from collections.abc import Sequence

import numpy as np

from tenfold.estimators.forecast.features import (
    BACK,
    FLOOR_RATIO,
    LEVEL,
    VOLATILITY_MEANS,
    Array,
    Indexes,
    of_newest,
)
from tenfold.estimators.forecast.fit import GRID, GROWTH_MAX, HORIZONS, Ahead, Fit, restless_now, usual_size
from tenfold.estimators.forecast.series import HISTORY, Series, counted
from tenfold.facts import ForecastSeen

MINUTE_S = 60.0
LEVELS = (0.05, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998)
LEVEL_FROM = 10
LEVEL_OVER = 5
RATE = 0.008
"""How fast the levels follow (gamma in the paper); a twentieth of it per percent above 95%, since what is rare tells little at once."""
LEVEL_BEYOND = 1.0
"""A level may be owed so much: that keeps 95% true where the outermost quantile is not enough for a while, and ends."""
UNREST_MIN = 0.05
TAILS = 1.3
"""Before there is a fit, the normal distribution's quantiles, so much wider: real series have heavier tails."""
NORMAL = np.array((-1.6449, 0.0, 0.8416, 1.2816, 1.6449, 2.0537, 2.3263, 2.5758, 2.8782))
"""Of `LEVELS`."""
SPREADS_FOR = 20
"""In minutes: how long an unfitted level is taken to wander off further and further."""
LEVEL_SEEN = 360
"""In minutes: what is looked at where nothing is fitted."""
BY_LEVEL = "the level of the last minutes"
TIE_RATIO = 1e-4
NOTHING = 1e-6
"""Less is expected to be nothing."""
DIGITS = 6

_HORIZONS = np.array(HORIZONS)
_HORIZONS_S = tuple(h * MINUTE_S for h in HORIZONS)
_EACH = np.arange(len(HORIZONS))
_LEVELS = np.array(LEVELS)
_RATES = RATE * np.where(_LEVELS > 0.9, np.minimum(1.0, 20 * (1 - _LEVELS)), 1.0)
_RING = max(HORIZONS) + 1
_NEVER = -1
_BACK_ERRORS = max(VOLATILITY_MEANS)


class Batch:
    """The series `names`. `observe` their minutes in order; `facts` is what is expected of each by the newest.

    With `fits_max` no more series than that are fitted in one call: those that wait for theirs go by what was fitted before, or by their
    level, and `fit_due` in the meantime takes it up.
    """

    def __init__(self, names: Sequence[str], refit_every: int, fits_max: int | None = None) -> None:
        self._names, self._fits_max = names, fits_max
        self.series = [Series(name, refit_every) for name in names]
        self.facts: list[ForecastSeen | None] = [None] * len(names)
        self._levels = np.tile(_LEVELS, (len(names), len(HORIZONS), 1))
        self._ahead = Ahead.room(len(names))
        # What was forecast, by the minute it was made in, and what minute that was.
        self._made = np.zeros((_RING, len(names), len(HORIZONS), len(LEVELS)))
        self._made_in = np.full((_RING, len(names)), _NEVER)

    def load(self, at: int, rows: Sequence[tuple[int, float]]) -> None:
        """Take in what was before of the series with number `at`, as (minute, value) in order."""
        minutes, values = zip(*rows, strict=True) if rows else ((), ())
        self.series[at].load(np.array(minutes, np.int64), np.array(values, np.float64))

    def observe(self, minute: int, values: Sequence[float | None]) -> None:
        """Take in minute number `minute` (since the epoch) once it has ended; None where nothing was seen. Series for which it is not newer
        than the last stay as they are: the clock went back, or it was told before."""
        told = [
            (i, counted(value))
            for i, value in enumerate(values)
            if value is not None and math.isfinite(value) and self.series[i].is_new(minute)
        ]
        if not told:
            return
        rows, seen = np.array([i for i, _ in told]), np.array([value for _, value in told])
        self._learn(minute, rows, seen)
        for i, value in told:
            series = self.series[i]
            series.append(minute, value)
            if series.count == 1:
                # The first, or the first after a gap beyond all memory.
                self._levels[i], self._made_in[:, i] = _LEVELS, _NEVER
        self._fit([i for i, _ in told])
        self._foretell(minute, [i for i, _ in told if self.series[i].count >= LEVEL_FROM])

    def fit_due(self) -> None:
        """Fit some of those that wait for it."""
        self._fit(range(len(self.series)))

    def _fit(self, some: Sequence[int]) -> None:
        """Fit those of them that are due, as many as may be: first those that waited longest."""
        due = [i for i in some if self.series[i].is_due]
        if self._fits_max is not None and len(due) > self._fits_max:
            due.sort(key=lambda i: self.series[i].fitted - self.series[i].count)
            due = due[: self._fits_max] + [i for i in due[self._fits_max :] if self.series[i].is_overdue]
        for i in due:
            series = self.series[i]
            was_fitted = series.fit is not None
            series.refit()
            if series.fit is not None:
                self._ahead.put(i, series.fit.ahead)
                if not was_fitted:
                    self._levels[i] = _LEVELS

    def _learn(self, minute: int, rows: Indexes, seen: Array) -> None:
        """Correct the levels by the forecasts that were made for this minute."""
        slots = (minute - _HORIZONS) % _RING
        are_made = (self._made_in[slots][:, rows] == (minute - _HORIZONS)[:, None]).T
        foretold = self._made[slots[None], rows[:, None], _EACH[None]]
        value = seen[:, None, None]
        # A value that is just what was told says neither that it was too little nor too much.
        tells = (np.abs(value - foretold) > TIE_RATIO * value) & are_made[..., None]
        step = _RATES * ((value > foretold) - (1 - _LEVELS)) * tells
        self._levels[rows] = np.minimum(np.maximum(self._levels[rows] + step, -LEVEL_BEYOND), 1 + LEVEL_BEYOND)

    def _foretell(self, minute: int, told: Sequence[int]) -> None:
        if not told:
            return
        quantiles = np.empty((len(told), len(HORIZONS), len(LEVELS)))
        bases = [BY_LEVEL] * len(told)
        fits = [(at, i, fit) for at, i in enumerate(told) if (fit := self.series[i].fit) is not None]
        near = self._near([i for _, i, _ in fits])
        known = [k for k, (_, _, fit) in enumerate(fits) if fit.knows(float(near[k, LEVEL]))]
        if known:
            at = [fits[k][0] for k in known]
            quantiles[at] = self._by_fit(near[known], [fits[k][1] for k in known], [fits[k][2] for k in known])
            for k in known:
                bases[fits[k][0]] = self.series[fits[k][1]].basis()
        for at_level, i in enumerate(told):
            if bases[at_level] is BY_LEVEL:
                quantiles[at_level] = self._by_level(i)
        quantiles = np.maximum.accumulate(np.where(quantiles < NOTHING, 0.0, quantiles), axis=2)
        self._made[minute % _RING, told] = quantiles
        self._made_in[minute % _RING, told] = minute
        for i, table, basis in zip(told, _rounded(quantiles.transpose(0, 2, 1)).tolist(), bases, strict=True):
            series = self.series[i]
            self.facts[i] = ForecastSeen(
                series=self._names[i],
                seen_at=(minute + 1) * MINUTE_S,
                value=float(f"{series.values[series.count - 1]:.{DIGITS}g}"),
                usual=float(f"{series.usual:.{DIGITS}g}"),
                horizons_s=_HORIZONS_S,
                levels=LEVELS,
                quantiles=tuple(map(tuple, table)),
                history_s=min(series.count, HISTORY) * MINUTE_S,
                basis=basis,
            )

    def _near(self, some: Sequence[int]) -> Array:
        """What the last minutes of each show, by what was fitted."""
        z = np.empty((len(some), BACK))
        for row, i in zip(z, some, strict=True):
            series = self.series[i]
            row[:] = series.z[series.count - BACK : series.count]
        return of_newest(z)

    def _by_fit(self, near: Array, some: Sequence[int], fits: Sequence[Fit]) -> Array:
        """Quantiles by series, horizon and level; `near` is what the last minutes show."""
        ahead, rows = self._ahead, np.array(some)
        errors, counts = np.zeros((len(some), _BACK_ERRORS)), np.empty(len(some))
        days, last = np.empty((len(some), 3, len(HORIZONS))), np.empty((len(some), 3))
        for at, (i, fit) in enumerate(zip(some, fits, strict=True)):
            series = self.series[i]
            counts[at] = count = min(series.count, _BACK_ERRORS)
            errors[at, _BACK_ERRORS - count :] = series.errors[series.count - count : series.count]
            days[at], last[at] = fit.days[series.count - series.fitted], (fit.error_floor, fit.cap, fit.offset)
        floor, cap, offset = last.T
        moved = (near[:, None] * ahead.beta[rows]).sum(axis=2) + days[:, 0] + ahead.bias[rows]
        restless = restless_now(np.abs(errors), counts, floor)
        signs = np.concatenate(
            (
                np.broadcast_to(restless[:, None], (*moved.shape, len(VOLATILITY_MEANS))),
                days[:, 1:].transpose(0, 2, 1),
                np.broadcast_to(near[:, None, :1], (*moved.shape, 1)),
                np.abs(moved)[..., None],
            ),
            axis=2,
        )
        signs = np.minimum(np.maximum(signs, ahead.seen_from[rows]), ahead.seen_to[rows])
        log_scale = (signs * ahead.scale_beta[rows]).sum(axis=2) + ahead.scale_bias[rows]
        unit = self._left(rows, (log_scale[..., None] > ahead.bounds[rows]).sum(axis=2))
        level = near[:, None, LEVEL] + moved
        for i, one_ahead in zip(some, level[:, 0].tolist(), strict=True):
            self.series[i].one_ahead = one_ahead
        cap = np.maximum(cap, near[:, LEVEL] + math.log(GROWTH_MAX))
        quantiles = np.minimum(level[..., None] + unit * np.exp(log_scale)[..., None], cap[:, None, None])
        return np.asarray(np.exp(quantiles) - offset[:, None, None])

    def _left(self, rows: Indexes, group: Indexes) -> Array:
        """The quantiles of what is left over where the levels are read now: in the tables of their groups, in proportion between two."""
        read_at = np.minimum(np.maximum(self._levels[rows], GRID[0]), GRID[-1])
        below = np.minimum(np.searchsorted(GRID, read_at, side="right"), len(GRID) - 1) - 1
        tables = self._ahead.tables
        of = (rows[:, None, None], _EACH[None, :, None], group[..., None])
        low, high = tables[(*of, below)], tables[(*of, below + 1)]
        return np.asarray(low + (high - low) / (GRID[below + 1] - GRID[below]) * (read_at - GRID[below]))

    def _by_level(self, i: int) -> Array:
        """The level, and that it wanders off by what it moved from minute to minute so far. By horizon and level."""
        series = self.series[i]
        values = series.values[max(0, series.count - LEVEL_SEEN) : series.count]
        mean, highest = usual_size(values)
        offset = FLOOR_RATIO * mean + 1e-9
        z = np.log(values + offset)
        unrest = max(UNREST_MIN, float(np.abs(np.diff(z)).mean()))
        spread = TAILS * unrest * np.sqrt(np.minimum(_HORIZONS, SPREADS_FOR))
        unit = np.interp(np.clip(self._levels[i], LEVELS[0], 0.9999), (*LEVELS, 0.9999), np.append(NORMAL, 3.7190))
        level = float(z[-LEVEL_OVER:].mean())
        cap = max(np.log(highest + offset), level) + np.log(GROWTH_MAX)
        return np.asarray(np.exp(np.minimum(level + spread[:, None] * unit, cap)) - offset)


def _rounded(values: Array) -> Array:
    """To `DIGITS` significant digits: estimates are journalled, and need no more."""
    size = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.where(values > 0, values, 1.0))))
    return np.asarray(np.round(values * size) / size)
