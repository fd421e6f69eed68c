"""One fit of a series' past: for each horizon a ridge regression of its level, how far off that usually is, and what is left over.

    log(y(t+h) + c) = level(t) + a_h + x(t, t+h) . b_h + s(t, h) e         level(t): mean of the last 5 minutes, log scale
    log s(t, h)     = a'_h + v(t, t+h) . b'_h             how far off (log scale): by the last minutes' errors, those at this
                                                          time of day, the level, and the step that is expected
    e               : its quantiles by horizon, apart for calm, usual and restless minutes (Mondrian: Vovk, Algorithmic Learning in a
                      Random World, 2005, section 4.5)

Direct at each horizon (no forecast rests on another). Ridge: Hoerl & Kennard 1970, `SHRINK` per thousand rows on figures of unit
variance; one step of reweighting by Huber's weights (k = 2 medians of the error) so that a spike does not bend it.
Our own since none of the libraries does it in 20 ms or as well on traces of real sites.

What the days before say of the minutes to come is reckoned at once, and then the past is let go: a fit is small.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tenfold.estimators.forecast.features import (
    DAY,
    FLOOR_RATIO,
    LEVEL,
    NEAR,
    VOLATILITY_MEANS,
    Array,
    Origins,
    Past,
    mean_around,
    mean_before,
    middle,
    of_all,
    of_origins,
    totals,
)

HORIZONS = (1, 3, 6, 10, 20, 40, 60)
"""In minutes."""
ROWS_MAX = 1500
SHRINK = 3.0
HUBER_MEDIANS = 2.0
GROUPS = 3
"""Calm, usual and restless minutes have quantiles of their own."""
GROUP_ROWS_MIN = 150
"""With fewer, all share one table: a tail can't be read off a handful."""
CALIBRATED_DAYS = 10
_SEEN = np.concatenate((np.linspace(0.01, 0.99, 99), (0.992, 0.994, 0.996, 0.998, 0.999)))
GRID = np.append(_SEEN, 0.9999)
"""The levels at which the quantiles of what is left over are kept. The last one is further out than can be seen: as far beyond the one
before as that is beyond 99.2%."""
GROWTH_MAX = 3.0
"""Nothing above so many times the highest minute of the past is believed, or its level now where that is higher."""
SPIKE_FACTOR = 3.0
"""A minute above so many times 99 of 100 minutes is a spike: it says nothing of how large the series is."""
ROWS_MIN = 60
"""With fewer minutes that are known, and whose target is, nothing is fitted."""
SPREAD_MIN = 1e-6
"""A figure that differs less (log scale) differs by rounding."""
LEVELS_EVERY = 2
"""Levels are means of five minutes: every other one tells as much."""
KNOWN_WITHIN = float(np.log(1.5))
KNOWN_MINUTES = 120
KNOWN_MINUTES_BEFORE = 5
BEFORE_MINUTES = 720
"""A level (log scale) is known when so many minutes were near it, or a few of those that are half a day old."""
SIGNS = len(VOLATILITY_MEANS) + 4
"""So many figures tell how far off a forecast may be: see `_Found.signs`."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is fitted for each horizon, a row of each array: the level's constant and the coefficients of the last minutes' figures; the
    scale's coefficients, its constant, the range in which its signs were seen; the bounds between the groups, and the quantiles at `GRID`
    of each group. Of many series, one after the other, each array has one more axis, the first."""

    bias: Array
    beta: Array
    scale_beta: Array
    scale_bias: Array
    seen_from: Array
    seen_to: Array
    bounds: Array
    tables: Array

    @classmethod
    def room(cls, series: int) -> "Ahead":
        """For so many series."""
        shapes = ((), (NEAR,), (SIGNS,), (), (SIGNS,), (SIGNS,), (GROUPS - 1,), (GROUPS, len(GRID)))
        return cls(*(np.zeros((series, len(HORIZONS), *shape)) for shape in shapes))

    def put(self, at: int, one: "Ahead") -> None:
        """Keep `one` for the series with number `at`."""
        for field in fields(self):
            getattr(self, field.name)[at] = getattr(one, field.name)


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted past. `offset` is c, `error_floor` what is added to errors before their logarithm, `cap` the highest log value believed.
    `levels` are those of the past, in order of size, and `levels_before` those of them that are half a day old.

    `days` is what the days before say, by minute since the newest that was fitted and by horizon: how far they move the level, how large
    a step they make, and the smoothed log errors at the target's time of day."""

    is_daily: bool
    is_weekly: bool
    offset: float
    error_floor: float
    cap: float
    levels: Array
    levels_before: Array
    days: Array
    ahead: Ahead

    def z(self, values: Array) -> Array:
        """`values` on the log scale of this fit."""
        return np.log(np.maximum(values, 0.0) + self.offset)

    def knows(self, level: float) -> bool:
        """True where the past was at that level (log scale) long enough to tell how it goes on from there."""
        return (
            _count_near(self.levels, level) >= KNOWN_MINUTES
            or _count_near(self.levels_before, level) >= KNOWN_MINUTES_BEFORE
        )


def _count_near(levels: Array, level: float) -> int:
    low, high = levels.searchsorted((level - KNOWN_WITHIN, level + KNOWN_WITHIN))
    return LEVELS_EVERY * int(high - low)


def usual_size(values: Array) -> tuple[float, float]:
    """The mean and the highest of `values`, spikes cut off."""
    most = SPIKE_FACTOR * float(np.quantile(values, 0.99))
    held = np.minimum(values, most) if most > 0 else values
    return float(held.mean()), float(held.max())


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found for a horizon at the origins that `are_used` of `origins`: the coefficients, by how much the level moved according to
    them, and what was left over."""

    horizon: int
    origins: Origins
    are_used: NDArray[np.bool_]
    bias: float
    beta: Array
    moved: Array
    left: Array

    def signs(self, past: Past, z: Array, restless: Array, errors_at_day: Array) -> Array:
        """What tells how far off a forecast may be, a row for each sign: the last errors (`restless`), the step that is expected, the
        errors at this time of day, the level, and how far it is to move."""
        of_day = self.origins.of(errors_at_day, self.horizon - DAY) if past.is_daily else np.zeros(self.origins.count)
        told = (past.jump(self.origins, self.horizon), of_day, self.origins.of(z))
        rows = np.concatenate((restless[:, : self.origins.count], told))
        return np.concatenate((np.compress(self.are_used, rows, axis=1), np.abs(self.moved)[None]))


def fit(values: Array, known: Array, first: int, minutes: int) -> tuple[Fit, Array] | None:
    """Fit `values` (one a minute, gaps filled; `known` is 1 where it was seen and 0 where it was filled), of which the first has minute
    number `first`, to be asked in the `minutes` that follow, less than a day. It takes at least `features.BACK` and a hundred minutes more.
    Gives back the errors (log scale) that forecasts of the next minute would have had, too; None where too few minutes are known."""
    mean, highest = usual_size(values)
    offset = FLOOR_RATIO * mean + 1e-9
    z = np.log(np.maximum(values, 0.0) + offset)
    total = totals(z)
    past = Past.of(z, total, first)
    origins = Origins.spread(past.rows_from, len(z) - 2, ROWS_MAX)
    near = np.concatenate((of_origins(z, total, origins), past.of_origin(origins)))
    found = [_level(past, z, near, origins, known, horizon) for horizon in HORIZONS]
    levels = [each for each in found if each is not None]
    if len(levels) < len(HORIZONS):
        return None
    errors, floor = _one_step(z, total, past, levels[0])
    off = totals(np.abs(errors))
    errors_at_day = np.log(mean_around(off, 7) + floor)
    restless = np.log(np.stack([_means(off, origins, width) for width in VOLATILITY_MEANS]) + floor)
    newest = CALIBRATED_DAYS * DAY // origins.step
    scales = [_scale(each.signs(past, z, restless, errors_at_day), each.left, floor, newest) for each in levels]
    level = mean_before(total, 5)
    made = Fit(
        is_daily=past.is_daily,
        is_weekly=past.is_weekly,
        offset=offset,
        error_floor=floor,
        cap=float(np.log(GROWTH_MAX * highest + offset)),
        levels=np.sort(level[::-LEVELS_EVERY]),
        levels_before=np.sort(level[:-BEFORE_MINUTES:LEVELS_EVERY]),
        days=_days(past, levels, errors_at_day, minutes),
        ahead=Ahead(
            np.array([each.bias for each in levels]),
            np.array([each.beta[:NEAR] for each in levels]),
            *(np.array(rows) for rows in zip(*scales, strict=True)),
        ),
    )
    return made, errors


def _means(total: Array, origins: Origins, width: int) -> Array:
    """The means of the last `width` at each origin, of all there are where these are fewer."""
    at = origins.times(1)
    before = np.maximum(at - width, 0)
    return np.asarray((total[at] - total[before]) / (at - before))


def _level(past: Past, z: Array, near: Array, origins: Origins, known: Array, horizon: int) -> _Found | None:
    """How the level moves until `horizon`; None where too few minutes are known."""
    origins = origins.before(len(z) - horizon)
    are_used = (origins.of(known) > 0) & (origins.of(known, horizon) > 0)
    x = np.empty((len(near) + past.width, origins.count))
    x[: len(near)] = near[:, : origins.count]
    past.of_target(origins, horizon, x[len(near) :])
    target = origins.of(z, horizon) - x[LEVEL]
    if not are_used.all():
        x, target = np.compress(are_used, x, axis=1), target[are_used]
    if len(target) < ROWS_MIN:
        return None
    sums = _Sums.of(x, target)
    beta, bias = sums.ridge()
    off = np.abs(target - bias - beta @ x)
    usual = HUBER_MEDIANS * middle(off) + 1e-9
    # Most weigh as much as before: only those are counted anew that don't.
    are = off > usual
    beta, bias = sums.lessened(np.compress(are, x, axis=1), target[are], usual / off[are]).ridge()
    moved = beta @ x + bias
    return _Found(horizon, origins, are_used, bias, beta, moved, target - moved)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Weighted sums over `rows` rows: of the weights, of the figures x, of the target y, of x x' and of x y."""

    rows: int
    total: float
    x: Array
    y: float
    xx: Array
    xy: Array

    @classmethod
    def of(cls, x: Array, y: Array) -> "_Sums":
        """Of figures (a column for each row of the regression) and targets that all weigh 1."""
        return cls(len(y), float(len(y)), x.sum(axis=1), float(y.sum()), x @ x.T, x @ y)

    def lessened(self, x: Array, y: Array, weight: Array) -> "_Sums":
        """With these of its rows weighing only `weight`."""
        less = 1 - weight
        lost = x * less
        return _Sums(
            self.rows,
            self.total - float(less.sum()),
            self.x - lost.sum(axis=1),
            self.y - float(less @ y),
            self.xx - lost @ x.T,
            self.xy - lost @ y,
        )

    def ridge(self) -> tuple[Array, float]:
        """Coefficients of the figures as they are, and the constant: the normal equations of figures brought to mean zero and unit
        variance, without making them."""
        mean, center = self.x / self.total, self.y / self.total
        gram = self.xx - self.total * np.multiply.outer(mean, mean)
        spread = np.sqrt(np.maximum(gram.diagonal(), 0.0) / self.total)
        spread[spread < SPREAD_MIN] = np.inf
        gram /= np.multiply.outer(spread, spread)
        gram.flat[:: len(mean) + 1] += SHRINK * self.rows / 1000
        beta = np.linalg.solve(gram, (self.xy - self.total * mean * center) / spread) / spread
        return beta, center - float(mean @ beta)


def _one_step(z: Array, total: Array, past: Past, found: _Found) -> tuple[Array, float]:
    """The errors of the shortest horizon at each minute, and the floor under them; what came before the first row is taken for usual."""
    begin = past.rows_from if past.is_daily else max(0, past.rows_from - max(VOLATILITY_MEANS))
    every = Origins(begin, 1, len(z) - 1 - begin)
    near = of_origins(z, total, every) if past.is_daily else of_all(z, total)[:, begin:-1]
    moved = found.beta[:NEAR] @ near + past.moved(every, found.horizon, found.beta[NEAR:])
    errors = np.empty(len(z))
    errors[begin + 1 :] = z[begin + 1 :] - near[LEVEL] - found.bias - moved
    usual = middle(np.abs(errors[begin + 1 :]))
    errors[: begin + 1] = usual
    return errors, 1e-3 + 0.05 * usual


def _scale(signs: Array, left: Array, floor: float, newest: int) -> tuple[Array, float, Array, Array, Array, Array]:
    """Of one horizon all of `Ahead` but the level's coefficients, in its order."""
    scale_beta, scale_bias = _Sums.of(signs, np.log(np.abs(left) + floor)).ridge()
    log_scale = scale_beta @ signs + scale_bias
    unit, log_scale = (left / np.exp(log_scale))[-newest:], log_scale[-newest:]
    bounds = np.sort(log_scale)[len(log_scale) * np.arange(1, GROUPS) // GROUPS]
    group = np.searchsorted(bounds, log_scale)
    is_enough = len(unit) >= GROUPS * GROUP_ROWS_MIN
    some = [unit[group == g] if is_enough else unit[:0] for g in range(GROUPS)]
    tables = [_table(each if len(each) else unit) for each in some]
    return scale_beta, scale_bias, signs.min(axis=1), signs.max(axis=1), bounds, np.array(tables)


def _table(unit: Array) -> Array:
    ranked, table = np.sort(unit), np.empty(len(GRID))
    table[:-1] = np.interp(_SEEN * (len(ranked) - 1), np.arange(len(ranked)), ranked)
    table[-1] = table[-2] + table[-2] - table[-6]
    return table


def _days(past: Past, levels: list[_Found], errors_at_day: Array, minutes: int) -> Array:
    """`Fit.days`; nothing (0) before there is a day."""
    days = np.zeros((minutes, 3, len(levels)))
    if past.is_daily:
        to_come = Origins(past.minutes - 1, 1, minutes)
        for i, each in enumerate(levels):
            days[:, 0, i] = past.moved(to_come, each.horizon, each.beta[NEAR:])
            days[:, 1, i] = past.jump(to_come, each.horizon)
            days[:, 2, i] = to_come.of(errors_at_day, each.horizon - DAY)
    return days


def restless_now(off: Array, counts: Array, floor: Array) -> Array:
    """The log of the mean absolute errors over the last minutes: a row for each series, of whose last errors (absolute, as many as
    `counts`) `off` has a row each, with nothing before."""
    means = [off[:, -width:].sum(axis=1) / np.minimum(counts, width) for width in VOLATILITY_MEANS]
    return np.log(np.stack(means, axis=1) + floor[:, None])
