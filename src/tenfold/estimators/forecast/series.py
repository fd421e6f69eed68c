"""The minutes of one series as they come, gaps filled, and what was fitted to them. Minutes in, a `Fit` and the errors since out."""

import math

import numpy as np

from tenfold.estimators.forecast.features import DAY, WEEK, Array, Indexes
from tenfold.estimators.forecast.fit import HORIZONS, Fit, fit

HISTORY = 14 * DAY
"""So many minutes are looked back at."""
FIT_FROM = 6 * 60
BRIDGED = 10
"""A longer gap is filled with the day before, not with the last value."""
VALUE_MAX = 1e12
"""What is counted does not go beyond: larger ones are taken for so much, and negative ones for nothing."""
WAITS = 60
"""In minutes: so long a fit may be put off that is due, where many are."""
REFIT_EVERY_MAX = (DAY - max(HORIZONS) - WAITS) // 2


class Series:
    """One series that is fitted every `refit_every` minutes, in minutes whose number tells of `name`.

    `values` and `known` (0: filled) are by minute since `first`, `count` of them; `z` and `errors` are what the fit makes of them. Arrays
    are longer than that.
    """

    def __init__(self, name: str, refit_every: int) -> None:
        assert 1 <= refit_every <= REFIT_EVERY_MAX, "a fit has to be newer than the day before"
        self._refit_every = refit_every
        # Fits of many series do not fall on one minute.
        self._phase = sum(name.encode()) % refit_every
        self.forget(0)

    def forget(self, minute: int) -> None:
        """Begin anew at `minute`."""
        self.first, self.count = minute, 0
        self.values, self.known, self.z, self.errors = (np.zeros(2 * DAY) for _ in range(4))
        self.fit: Fit | None = None
        self.fitted = -self._refit_every
        self.one_ahead: float | None = None
        """What was forecast for the next minute, on the log scale."""
        self._has_come_round = False

    @property
    def is_due(self) -> bool:
        """True when it should be fitted."""
        is_old = self.count - self.fitted >= self._refit_every
        return self.count >= FIT_FROM and is_old and (self.fit is None or self._has_come_round)

    @property
    def is_overdue(self) -> bool:
        """True when what was fitted tells nothing any more."""
        return self.fit is not None and self.count - self.fitted >= len(self.fit.days)

    @property
    def usual(self) -> float:
        """The mean of the last day, as far as it is known."""
        return float(self.values[max(0, self.count - DAY) : self.count].mean())

    def is_new(self, minute: int) -> bool:
        """True for a minute after all that are known."""
        return self.count == 0 or minute >= self.first + self.count

    def load(self, minutes: Indexes, values: Array) -> None:
        """Take in what was before: minutes in order, and their values (NaN: not seen)."""
        are = np.isfinite(values)
        minutes, values = minutes[are], np.clip(values[are], 0.0, VALUE_MAX)
        if self.count == 0 and len(minutes) and self._load_all(minutes[-HISTORY:], values[-HISTORY:]):
            return
        for minute, value in zip(minutes.tolist(), values.tolist(), strict=True):
            if self.is_new(minute):
                self.append(minute, value)

    def _load_all(self, minutes: Indexes, values: Array) -> bool:
        """Take in minutes without a gap, in order, as the first that are known; False where they are not so."""
        if not (np.diff(minutes) == 1).all():
            return False
        self.forget(int(minutes[0]))
        while len(self.values) < len(values):
            self._make_room()
        self.count = len(values)
        self.values[: self.count], self.known[: self.count] = values, 1.0
        return True

    def append(self, minute: int, value: float) -> None:
        """Take in a new minute; those between are filled."""
        gap = minute - (self.first + self.count) if self.count else 0
        if self.count == 0 or gap > HISTORY:
            self.forget(minute)
            gap = 0
        for _ in range(gap):
            at = self.count
            has_day = gap > BRIDGED and at >= DAY
            self._put(float(self.values[at - DAY if has_day else at - 1]), known=0.0)
        self._put(value, known=1.0)
        if self.count - self.fitted >= self._refit_every and ((minute + self._phase) % self._refit_every == 0 or gap):
            self._has_come_round = True

    def _put(self, value: float, known: float) -> None:
        if self.count == len(self.values):
            self._make_room()
        at = self.count
        self.values[at], self.known[at] = value, known
        self.count = at + 1
        if self.fit is not None:
            z = self.z[at] = math.log(max(value, 0.0) + self.fit.offset)
            if self.one_ahead is None or not known:
                self.errors[at] = np.abs(self.errors[at - 60 : at]).mean()
            else:
                self.errors[at] = z - self.one_ahead
            self.one_ahead = None

    def _make_room(self) -> None:
        """Double what is kept, up to the history and a quarter more; then let the oldest quarter go."""
        if len(self.values) < HISTORY:
            grown = [np.zeros(2 * len(each)) for each in (self.values,) * 4]
            for new, old in zip(grown, (self.values, self.known, self.z, self.errors), strict=True):
                new[: len(old)] = old
            self.values, self.known, self.z, self.errors = grown
            return
        drop = self.count - HISTORY
        for each in (self.values, self.known, self.z, self.errors):
            each[:HISTORY] = each[drop : self.count].copy()
        self.first += drop
        self.fitted -= drop
        self.count = HISTORY

    def refit(self) -> None:
        """Fit what is known; where that is too little, it is tried again when it would be fitted anew."""
        drop = max(0, self.count - HISTORY)
        used = slice(drop, self.count)
        found = fit(self.values[used], self.known[used], self.first + drop, 2 * self._refit_every + WAITS)
        self.fitted, self._has_come_round = self.count, False
        if found is None:
            self.fit = None
            return
        self.fit, errors = found
        self.z[used], self.errors[used] = self.fit.z(self.values[used]), errors

    def basis(self) -> str:
        """What its fit rests on, in words."""
        assert self.fit is not None
        if self.fit.is_weekly:
            return f"the last two hours, this time of day on {min(7, self.count // DAY)} days, and the week before"
        if self.fit.is_daily:
            days = max(1, min(7, self.count // DAY))
            return f"the last two hours and this time of day on {days} day{'s' * (days > 1)}"
        return "the last two hours"


def counted(value: float) -> float:
    """`value`, as it is counted."""
    return min(max(value, 0.0), VALUE_MAX)


assert WEEK + max(HORIZONS) < HISTORY
