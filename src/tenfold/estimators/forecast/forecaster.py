"""Forecasts one series, a minute at a time. Minutes in, a `ForecastSeen` out; nothing here knows the clock.

Three ways, by how much is known: a level and its unrest (from ten minutes on), the last minutes (from six hours on), and the days before as
well. Each is corrected as its forecasts come true: the level at which a quantile is read moves up when more was above it than
should be (adaptive conformal inference: Gibbs & Candes 2021), so that 95% means 95% on a series that nobody has seen before.
"""

from collections import deque

import numpy as np

from tenfold.estimators.forecast.features import BACK, DAY, FLOOR_RATIO, VOLATILITY_MEANS, WEEK, Array, of_newest
from tenfold.estimators.forecast.fit import (
    GRID,
    GROWTH_MAX,
    HORIZONS,
    LEVEL,
    Fit,
    fit,
    restless_now,
    scale_signs,
    usual_size,
)
from tenfold.facts import ForecastSeen

MINUTE_S = 60.0
LEVELS = (0.05, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998)
HISTORY = 14 * DAY
"""So many minutes are looked back at."""
REFIT_EVERY = 30
"""In minutes."""
LEVEL_FROM = 10
FIT_FROM = 6 * 60
BRIDGED = 10
"""A longer gap is filled with the day before, not with the last value."""
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
VALUE_MAX = 1e12
"""What is counted does not go beyond: larger ones are taken for so much, and negative ones for nothing."""
TIE_RATIO = 1e-4
NOTHING = 1e-6
"""Less is expected to be nothing."""
DIGITS = 6

_HORIZONS = np.array(HORIZONS)
_LEVELS = np.array(LEVELS)
_RATES = RATE * np.where(_LEVELS > 0.9, np.minimum(1.0, 20 * (1 - _LEVELS)), 1.0)


class Forecaster:
    """The series `name`. `observe` its minutes in order; `fact` is what is expected by the newest."""

    def __init__(self, name: str, refit_every: int = REFIT_EVERY) -> None:
        """`refit_every` is in minutes, at most eleven hours: a fit tells nothing of more than a day after it."""
        assert 1 <= refit_every <= (DAY - max(HORIZONS)) // 2, "a fit has to be newer than the day before"
        self._name, self._refit_every = name, refit_every
        # Fits of many series do not fall on one minute.
        self._phase = sum(name.encode()) % refit_every
        self.fact: ForecastSeen | None = None
        self._forget(0)

    def _forget(self, minute: int) -> None:
        self._first, self._count = minute, 0
        self._values, self._known, self._z, self._errors = (np.zeros(2 * DAY) for _ in range(4))
        self._fit: Fit | None = None
        self._fitted = -self._refit_every
        self._one_ahead: float | None = None
        self._made: deque[tuple[int, Array]] = deque(maxlen=max(HORIZONS))
        self._levels = np.tile(_LEVELS, (len(HORIZONS), 1))

    def load(self, rows: list[tuple[int, float]]) -> None:
        """Take in what was before, as (minute, value) in order, without a forecast for each of them."""
        kept = [(minute, _counted(value)) for minute, value in rows if np.isfinite(value)]
        if self._count == 0 and kept and self._load_all(kept[-HISTORY:]):
            return
        for minute, value in kept:
            if self._is_new(minute):
                self._append(minute, value)

    def _load_all(self, rows: list[tuple[int, float]]) -> bool:
        """Take in rows without a gap, in order, as the first that are known; False where they are not so."""
        minutes = np.array([minute for minute, _ in rows])
        if not (np.diff(minutes) == 1).all():
            return False
        self._forget(rows[0][0])
        while len(self._values) < len(rows):
            self._make_room()
        self._values[: len(rows)] = [value for _, value in rows]
        self._known[: len(rows)] = 1.0
        self._count = len(rows)
        return True

    def _is_new(self, minute: int) -> bool:
        return self._count == 0 or minute >= self._first + self._count

    def observe(self, minute: int, value: float | None) -> None:
        """Take in minute number `minute` (since the epoch) once it has ended; None where nothing was seen. One that is not newer than the
        last changes nothing: the clock went back, or it was told before."""
        if value is None or not np.isfinite(value) or not self._is_new(minute):
            return
        value = _counted(value)
        self._learn(minute, value)
        is_next = self._count > 0 and minute == self._first + self._count
        self._append(minute, value)
        if self._count - self._fitted >= self._refit_every and (
            self._fit is None or (minute + self._phase) % self._refit_every == 0 or not is_next
        ):
            self._refit()
        self._foretell(minute, value)

    def _append(self, minute: int, value: float) -> None:
        gap = minute - (self._first + self._count) if self._count else 0
        if self._count == 0 or gap > HISTORY:
            self._forget(minute)
            gap = 0
        for _ in range(gap):
            at = self._count
            has_day = gap > BRIDGED and at >= DAY
            self._put(self._values[at - DAY] if has_day else self._values[at - 1], known=0.0)
        self._put(value, known=1.0)

    def _put(self, value: float, known: float) -> None:
        at = self._count
        if at == len(self._values):
            self._make_room()
            at = self._count
        self._values[at], self._known[at] = value, known
        self._count = at + 1
        if self._fit is not None:
            self._z[at] = self._fit.z(self._values[at : at + 1])[0]
            unseen = self._one_ahead is None or not known
            self._errors[at] = np.abs(self._errors[at - 60 : at]).mean() if unseen else self._z[at] - self._one_ahead
            self._one_ahead = None

    def _make_room(self) -> None:
        """Double what is kept, up to the history and a quarter more; then let the oldest quarter go."""
        if len(self._values) < HISTORY:
            grown = [np.zeros(2 * len(each)) for each in (self._values,) * 4]
            for new, old in zip(grown, (self._values, self._known, self._z, self._errors), strict=True):
                new[: len(old)] = old
            self._values, self._known, self._z, self._errors = grown
            return
        drop = self._count - HISTORY
        for each in (self._values, self._known, self._z, self._errors):
            each[:HISTORY] = each[drop : self._count].copy()
        self._first += drop
        self._fitted -= drop
        self._count = HISTORY

    def _refit(self) -> None:
        if self._count < FIT_FROM:
            return
        drop = max(0, self._count - HISTORY)
        used = slice(drop, self._count)
        made = fit(self._values[used], self._known[used], self._first + drop)
        if made is None:
            # It is tried again when it would be fitted anew.
            self._fit, self._fitted = None, self._count
            return
        if self._fit is None:
            self._levels = np.tile(_LEVELS, (len(HORIZONS), 1))
        self._fit, self._fitted = made, self._count
        self._z[used] = made.z(self._values[used])
        self._errors[used] = made.errors

    def _learn(self, minute: int, value: float) -> None:
        """Correct the levels by the forecasts that were made for this minute."""
        made = dict(self._made)
        rows = [i for i, horizon in enumerate(HORIZONS) if minute - horizon in made]
        if not rows:
            return
        foretold = np.array([made[minute - HORIZONS[i]][i] for i in rows])
        # A value that is just what was told says neither that it was too little nor too much.
        tells = np.abs(value - foretold) > TIE_RATIO * value
        step = _RATES * ((value > foretold) - (1 - _LEVELS)) * tells
        self._levels[rows] = np.minimum(np.maximum(self._levels[rows] + step, -LEVEL_BEYOND), 1 + LEVEL_BEYOND)

    def _foretell(self, minute: int, value: float) -> None:
        if self._count < LEVEL_FROM:
            return
        made = self._fit
        level = self._z[self._count - LEVEL_OVER : self._count].mean()
        is_known = made is not None and made.knows(float(level))
        quantiles = self._by_fit() if is_known else self._by_level()
        quantiles = np.maximum.accumulate(np.where(quantiles < NOTHING, 0.0, quantiles), axis=1)
        self._made.append((minute, quantiles))
        rounded = tuple(tuple(row) for row in _rounded(quantiles.T).tolist())
        self.fact = ForecastSeen(
            series=self._name,
            seen_at=(minute + 1) * MINUTE_S,
            value=float(f"{value:.{DIGITS}g}"),
            horizons_s=tuple(h * MINUTE_S for h in HORIZONS),
            levels=LEVELS,
            quantiles=rounded,
            history_s=min(self._count, HISTORY) * MINUTE_S,
            basis=self._basis() if is_known else "the level of the last minutes",
        )

    def _by_fit(self) -> Array:
        """Quantiles by horizon and level."""
        made = self._fit
        assert made is not None and made.ahead is not None
        past, ahead, end = made.past, made.ahead, self._count
        # The fit counts from the first minute it used.
        newest = np.full(len(HORIZONS), past.minutes + end - self._fitted - 1)
        z, errors = self._z[end - BACK : end], np.abs(self._errors[max(0, end - 720) : end])
        row = of_newest(z)
        x = np.concatenate((np.broadcast_to(row, (len(HORIZONS), len(row))), past.of_target(newest, _HORIZONS)), axis=1)
        moved = (x * ahead.beta).sum(axis=1) + ahead.bias
        restless = np.broadcast_to(restless_now(errors, made.error_floor), (len(HORIZONS), len(VOLATILITY_MEANS)))
        signs = scale_signs(made, restless, newest, _HORIZONS, np.full(len(HORIZONS), z[-1]), moved)
        signs = np.minimum(np.maximum(signs, ahead.seen_from), ahead.seen_to)
        log_scale = (signs * ahead.scale_beta).sum(axis=1) + ahead.scale_bias
        group = (log_scale[:, None] > ahead.bounds).sum(axis=1)
        read_at = np.minimum(np.maximum(self._levels, GRID[0]), GRID[-1])
        unit = np.array([np.interp(read_at[i], GRID, ahead.tables[i, group[i]]) for i in range(len(HORIZONS))])
        cap = max(made.cap, row[LEVEL] + np.log(GROWTH_MAX))
        level = row[LEVEL] + moved
        self._one_ahead = float(level[0])
        quantiles = np.minimum(level[:, None] + unit * np.exp(log_scale)[:, None], cap)
        return np.asarray(np.exp(quantiles) - made.offset)

    def _by_level(self) -> Array:
        """The level, and that it wanders off by what it moved from minute to minute so far."""
        values = self._values[max(0, self._count - LEVEL_SEEN) : self._count]
        mean, highest = usual_size(values)
        offset = FLOOR_RATIO * mean + 1e-9
        z = np.log(values + offset)
        unrest = max(UNREST_MIN, float(np.abs(np.diff(z)).mean()))
        spread = TAILS * unrest * np.sqrt(np.minimum(_HORIZONS, SPREADS_FOR))
        unit = np.interp(np.clip(self._levels, LEVELS[0], 0.9999), (*LEVELS, 0.9999), np.append(NORMAL, 3.7190))
        level = float(z[-LEVEL_OVER:].mean())
        cap = max(np.log(highest + offset), level) + np.log(GROWTH_MAX)
        return np.asarray(np.exp(np.minimum(level + spread[:, None] * unit, cap)) - offset)

    def _basis(self) -> str:
        assert self._fit is not None
        past = self._fit.past
        if past.is_weekly:
            return f"the last two hours, this time of day on {min(7, self._count // DAY)} days, and the week before"
        if past.is_daily:
            days = max(1, min(7, self._count // DAY))
            return f"the last two hours and this time of day on {days} day{'s' * (days > 1)}"
        return "the last two hours"


def _rounded(values: Array) -> Array:
    """To `DIGITS` significant digits: estimates are journalled, and need no more."""
    size = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.where(values > 0, values, 1.0))))
    return np.asarray(np.round(values * size) / size)


def _counted(value: float) -> float:
    return min(max(value, 0.0), VALUE_MAX)


assert WEEK + max(HORIZONS) < HISTORY
