"""One fit of a series' past: for each horizon a ridge regression of its level, how far off that usually is, and what is left over.

    log(y(t+h) + c) = level(t) + a_h + x(t, t+h) . b_h + s(t, h) e         level(t): mean of the last 5 minutes, log scale
    log s(t, h)     = a'_h + v(t, t+h) . b'_h             how far off (log scale): by the last minutes' errors, those at this
                                                          time of day, the level, and the step that is expected
    e               : its quantiles by horizon, apart for calm, usual and restless minutes (Mondrian: Vovk, Algorithmic Learning in a
                      Random World, 2005, section 4.5)

Direct at each horizon (no forecast rests on another). Ridge: Hoerl & Kennard 1970, `SHRINK` per thousand rows on columns of unit
variance; one step of reweighting by Huber's weights (k = 2 medians of the error) so that a spike does not bend it.
Our own since none of the libraries does it in 20 ms or as well on traces of real sites.
"""

from dataclasses import dataclass, replace

import numpy as np

from tenfold.estimators.forecast.features import (
    DAY,
    FLOOR_RATIO,
    LAGS,
    VOLATILITY_MEANS,
    Array,
    Indexes,
    Past,
    mean_around,
    mean_before,
    of_origin,
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
LEVEL = len(LAGS)
"""The column of `of_origin` that is the level."""
GROWTH_MAX = 3.0
"""Nothing above so many times the highest minute of the past is believed, or its level now where that is higher."""
SPIKE_FACTOR = 3.0
"""A minute above so many times 99 of 100 minutes is a spike: it says nothing of how large the series is."""
ROWS_MIN = 60
"""With fewer minutes that are known, and whose target is, nothing is fitted."""
SPREAD_MIN = 1e-6
"""A column that differs less (log scale) differs by rounding."""
LEVELS_EVERY = 2
"""Levels are means of five minutes: every other one tells as much."""
KNOWN_WITHIN = float(np.log(1.5))
KNOWN_MINUTES = 120
KNOWN_MINUTES_BEFORE = 5
BEFORE_MINUTES = 720
"""A level (log scale) is known when so many minutes were near it, or a few of those that are half a day old."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is fitted for each horizon, a row of each array: the level's and the scale's coefficients, the range in which the scale's signs
    were seen, the bounds between the groups, and the quantiles at `GRID` of each group."""

    beta: Array
    bias: Array
    scale_beta: Array
    scale_bias: Array
    seen_from: Array
    seen_to: Array
    bounds: Array
    tables: Array


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted past. `offset` is c, `error_floor` what is added to errors before their logarithm, `errors_at_day` the smoothed log errors
    by minute, `errors` the one-step errors (log scale) by minute, `cap` the highest log value believed. `levels` are those of the past, in
    order of size, and `levels_before` those of them that are half a day old."""

    past: Past
    offset: float
    error_floor: float
    errors: Array
    errors_at_day: Array
    cap: float
    levels: Array
    levels_before: Array
    ahead: Ahead | None

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
    return LEVELS_EVERY * int(np.subtract(*np.searchsorted(levels, (level + KNOWN_WITHIN, level - KNOWN_WITHIN))))


def usual_size(values: Array) -> tuple[float, float]:
    """The mean and the highest of `values`, spikes cut off."""
    most = SPIKE_FACTOR * float(np.quantile(values, 0.99))
    held = np.minimum(values, most) if most > 0 else values
    return float(held.mean()), float(held.max())


def fit(values: Array, known: Array, first: int) -> Fit | None:
    """Fit `values` (one a minute, gaps filled; `known` is 1 where it was seen and 0 where it was filled), of which the first has minute
    number `first`. It takes at least `features.BACK` and a hundred minutes more; None where too few of them are known."""
    mean, highest = usual_size(values)
    offset = FLOOR_RATIO * mean + 1e-9
    z = np.log(np.maximum(values, 0.0) + offset)
    past, rows = Past.of(z, first), of_origin(z)
    step = -(-(len(z) - past.rows_from) // ROWS_MAX)
    origins = np.arange(len(z) - 2, past.rows_from, -step)[::-1]
    coefficients = []
    for horizon in HORIZONS:
        some = _usable(origins, horizon, known)
        if len(some) < ROWS_MIN:
            return None
        x = np.concatenate((rows[some], past.of_target(some, np.array(horizon))), axis=1)
        target = z[some + horizon] - rows[some, LEVEL]
        beta, bias = _ridge(x, target, robust=True)
        coefficients.append((some, beta, bias, target - bias - x @ beta, x @ beta + bias))
    errors, floor = _one_step(z, rows, past, coefficients[0][1], coefficients[0][2])
    made = Fit(
        past=past,
        offset=offset,
        error_floor=floor,
        errors=errors,
        errors_at_day=np.log(mean_around(np.abs(errors), 7) + floor),
        cap=float(np.log(GROWTH_MAX * highest + offset)),
        levels=np.sort(rows[::-LEVELS_EVERY, LEVEL]),
        levels_before=np.sort(rows[:-BEFORE_MINUTES:LEVELS_EVERY, LEVEL]),
        ahead=None,
    )
    restless = restlessness(np.abs(errors), floor)
    calibrated = []
    for horizon, (some, _, _, left, moved) in zip(HORIZONS, coefficients, strict=True):
        signs = scale_signs(made, restless[some], some, np.array(horizon), z[some], moved)
        calibrated.append(_calibrate(signs, left, floor, CALIBRATED_DAYS * DAY // step))
    levels = [np.array(rows) for rows in zip(*((beta, bias) for _, beta, bias, _, _ in coefficients), strict=True)]
    return replace(made, ahead=Ahead(*levels, *(np.array(rows) for rows in zip(*calibrated, strict=True))))


def _usable(origins: Indexes, horizon: int, known: Array) -> Indexes:
    some = origins[origins + horizon < len(known)]
    return some[(known[some] > 0) & (known[some + horizon] > 0)]


def _ridge(x: Array, target: Array, robust: bool) -> tuple[Array, float]:
    """Coefficients of the columns as they are, and the constant."""
    beta, bias = _solve(x, x, target, float(len(target)), target)
    if not robust:
        return beta, bias
    off = np.abs(target - bias - x @ beta)
    weight = 1 / np.maximum(1.0, off / (HUBER_MEDIANS * float(np.median(off)) + 1e-9))
    return _solve(x, x * weight[:, None], target, float(weight.sum()), weight * target)


def _solve(x: Array, weighted: Array, target: Array, total: float, weighted_target: Array) -> tuple[Array, float]:
    """The normal equations of columns brought to mean zero and unit variance, without making them. `total` is the sum of the weights."""
    mean, center = weighted.sum(axis=0) / total, float(weighted_target.sum()) / total
    gram = weighted.T @ x - total * np.outer(mean, mean)
    spread = np.sqrt(np.maximum(np.diag(gram), 0.0) / total)
    spread[spread < SPREAD_MIN] = np.inf
    unit = gram / np.outer(spread, spread) + SHRINK * len(target) / 1000 * np.eye(len(mean))
    beta = np.linalg.solve(unit, (weighted.T @ target - total * mean * center) / spread) / spread
    return beta, center - float(mean @ beta)


def _one_step(z: Array, rows: Array, past: Past, beta: Array, bias: float) -> tuple[Array, float]:
    """The errors of the shortest horizon at each minute, and the floor under them; what came before the first row is taken for usual."""
    begin = max(0, past.rows_from - max(VOLATILITY_MEANS))
    begin = past.rows_from if past.is_daily else begin
    origins = np.arange(begin, len(z) - 1)
    x = np.concatenate((rows[origins], past.of_target(origins, np.array(1))), axis=1)
    errors = np.zeros(len(z))
    errors[origins + 1] = z[origins + 1] - rows[origins, LEVEL] - bias - x @ beta
    usual = float(np.median(np.abs(errors[begin + 1 :])))
    errors[: begin + 1] = usual
    return errors, 1e-3 + 0.05 * usual


def restlessness(off: Array, floor: float) -> Array:
    """One row per minute: the log of the mean absolute errors `off` over the last ten minutes, hour and half day."""
    return np.stack([np.log(mean_before(off, width) + floor) for width in VOLATILITY_MEANS], axis=1)


def restless_now(off: Array, floor: float) -> Array:
    """The last row of `restlessness`, without the others."""
    return np.log(np.array([off[-width:].mean() for width in VOLATILITY_MEANS]) + floor)


def scale_signs(made: Fit, restless: Array, origin: Indexes, horizon: Indexes, z: Array, moved: Array) -> Array:
    """What tells how far off a forecast may be, one row per pair of origin and horizon."""
    past = made.past
    of_day = made.errors_at_day[origin + horizon - DAY] if past.is_daily else np.zeros(len(restless))
    return np.column_stack((restless, past.jump(origin, horizon), of_day, z, np.abs(moved)))


def _calibrate(signs: Array, left: Array, floor: float, newest: int) -> tuple[Array, float, Array, Array, Array, Array]:
    """Of one horizon all of `Ahead` but the level's coefficients, in its order."""
    scale_beta, scale_bias = _ridge(signs, np.log(np.abs(left) + floor), robust=False)
    log_scale = signs @ scale_beta + scale_bias
    unit, log_scale = (left / np.exp(log_scale))[-newest:], log_scale[-newest:]
    bounds = np.sort(log_scale)[len(log_scale) * np.arange(1, GROUPS) // GROUPS]
    group = np.searchsorted(bounds, log_scale)
    whole = _table(unit)
    is_enough = len(unit) >= GROUPS * GROUP_ROWS_MIN
    tables = [_table(unit[group == g]) if is_enough and (group == g).any() else whole for g in range(GROUPS)]
    return scale_beta, scale_bias, signs.min(axis=0), signs.max(axis=0), bounds, np.array(tables)


def _table(unit: Array) -> Array:
    ranked = np.sort(unit)
    seen = np.interp(_SEEN * (len(ranked) - 1), np.arange(len(ranked)), ranked)
    return np.append(seen, seen[-1] + seen[-1] - seen[-5])
