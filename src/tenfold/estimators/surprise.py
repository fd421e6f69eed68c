"""What a series is compared with, and how rare the difference is. Parts of `estimators.anomaly`; streaming, and pure."""

import math

import numpy as np
from numpy.typing import NDArray

TAIL_RATIO = 0.05
"""The largest twentieth of all differences counts as the tail: seldom enough to be a tail, often enough to be known."""
TAIL_STEPS = 5000
"""The tail is that of about so many observations (three to four days of minutes): rare things need a long memory."""
EXCESS_MAX = 20.0
"""What is more than this many times the usual is learned as if it were this: one disaster must not hide the next."""
DECADES_BEYOND = 6.0
"""The tail is believed for so many powers of ten beyond what was observed: enough for one view alone to be heard, and no reason to
believe that something never happens."""
SLOT_S = 900.0
SLOTS_A_DAY = 96
SLOTS_AROUND = 4
"""An hour to each side: what happens daily does not happen to the minute."""
DAYS_BACK = (1, 2, 7)
"""The last two days, and the same day of the week before: a Saturday is explained by a Saturday, a Monday by a Monday."""
DAYS_KEPT = 8

Floats = NDArray[np.float32]

_TINY = 1e-12


class Tail:
    """How rare a difference is among those seen before: its probability by an exponential tail above the 95% quantile.

    The quantile `u` follows by stochastic approximation: up by 95 parts when it is exceeded, down by 5 when not, in units of how far
    differences are from it on average. The mean excess over it is `m`; then P(D >= d) = 0.05 exp(-(d - u) / m) for d > u. This is the
    peaks-over-threshold method of Siffer et al., "Anomaly Detection in Streams with Extreme Value Theory" (KDD 2017), with the tail's
    shape held at 0: three numbers, and nothing to fit.
    """

    __slots__ = ("_apart", "_exceeded", "_excess", "_quantile", "count")

    def __init__(self) -> None:
        self.count = 0
        self._exceeded = 0
        self._quantile = 0.0
        self._apart = 0.0
        self._excess = 0.0

    def surprise(self, difference: float, least: float) -> float:
        """-log10 of the probability of so large a difference (0: common; 3: one in a thousand).

        `least` is the smallest that counts, in the series' unit. No answer goes far beyond what so many observations can bear out:
        `DECADES_BEYOND` where the size of excesses is known, nothing where there never was one (a series that stood still).
        """
        body = -math.log10(TAIL_RATIO)
        if difference <= self._quantile:
            return body * difference / self._quantile if self._quantile else 0.0
        beyond = (difference - self._quantile) / max(self._excess, least, _TINY)
        most = math.log10(self.count + 1) + (DECADES_BEYOND if self._excess else 0.0)
        return min(body + beyond / math.log(10), most)

    def learn(self, difference: float) -> None:
        """Count it in."""
        self.count += 1
        if self.count == 1:
            self._quantile = difference
            return
        above = difference - self._quantile
        self._apart = _moved(self._apart, abs(above), max(1 / self.count, 1 / TAIL_STEPS))
        step = -TAIL_RATIO
        if above > 0:
            step += 1
            self._exceeded += 1
            self._excess = _moved(self._excess, above, max(1 / self._exceeded, 1 / (TAIL_STEPS * TAIL_RATIO)))
        pace = max(3 / self.count**0.7, 2 / TAIL_STEPS)
        self._quantile = max(0.0, self._quantile + pace * step * self._apart)


def _moved(mean: float, value: float, weight: float) -> float:
    """A moving mean, which one disaster does not carry away."""
    return mean + weight * ((min(value, EXCESS_MAX * mean) if mean else value) - mean)


class History:
    """The last values, newest first, in one piece of memory."""

    __slots__ = ("_at", "_buffer", "_first", "_kept", "count")

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._buffer: Floats = np.zeros(kept + kept // 4, np.float32)
        self._at = len(self._buffer)
        self._first = 0.0
        self.count = 0

    def relative(self, value: float) -> np.float32:
        """The value from the first one on: small numbers keep their digits."""
        return np.float32(value - self._first)

    @property
    def values(self) -> Floats:
        return self._buffer[self._at : self._at + self.count]

    def at(self, lag: int) -> float:
        """The value `lag` steps before the next one (1: the newest)."""
        return float(self.values[lag - 1]) + self._first

    def push(self, value: float) -> None:
        """Put it in front."""
        if not self.count:
            self._first = value
        if not self._at:
            self._at = len(self._buffer) - self._kept + 1
            self._buffer[self._at :] = self._buffer[: self._kept - 1]
        self._at -= 1
        self._buffer[self._at] = self.relative(value)
        self.count = min(self.count + 1, self._kept)


class Echo:
    """Has the series gone like this before? How unlike the newest stretch is to the stretch of the past that is most like it.

    `E[k]`, in squared units, compares the series with itself `k` steps ago: at each step `E[k] = fade * E[k] + (x[t-k] - x[t])**2`,
    a sum that forgets. The difference is the root of the least of them: nearest neighbour search over all stretches of the
    history, in one pass over an array. A stretch is not compared with itself: lags below two memories are left out (one memory is
    1 / (1 - fade) steps), and so are those that were not summed for as long.
    """

    __slots__ = ("_fade", "_from", "_steps", "_unlike", "lag")

    def __init__(self, kept: int, memory_steps: int) -> None:
        self._fade = np.float32(1 - 1 / memory_steps)
        self._from = 2 * memory_steps
        self._unlike: Floats = np.zeros(kept, np.float32)
        self._steps = 0
        self.lag: int | None = None
        """Where the series was most like now, in steps back."""

    def difference(self, history: History, value: float) -> float | None:
        """How unlike everything before the series has become with `value`; None while there is too little to compare with."""
        count = history.count
        unlike = self._unlike[:count]
        squares = history.values - history.relative(value)
        squares *= squares
        unlike *= self._fade
        unlike += squares
        compared = unlike[self._from : self._steps - self._from]
        self._steps += 1
        if len(compared) < 5:
            self.lag = None
            return None
        nearest = int(compared.argmin())
        self.lag = self._from + nearest + 1
        return math.sqrt(compared[nearest])


class SameTime:
    """Is it as at this time of other days? Keeps the lowest and highest value of each quarter of an hour for a week."""

    __slots__ = ("_highest", "_lowest", "_range", "_slot", "_slots")

    def __init__(self) -> None:
        size = SLOTS_A_DAY * DAYS_KEPT
        self._slots = np.full(size, -1, np.int32)
        self._lowest = np.zeros(size, np.float64)
        self._highest = np.zeros(size, np.float64)
        self._slot = -1
        self._range: tuple[float, float] | None = None

    def range_at(self, at: float) -> tuple[float, float] | None:
        """The lowest and highest value within an hour of this time, on the last two days and a week ago; None if none is known."""
        slot = int(at // SLOT_S)
        if slot != self._slot:
            self._slot = slot
            wanted = slot + _BEFORE
            places = wanted % len(self._slots)
            places = places[self._slots[places] == wanted]
            self._range = (
                (float(self._lowest[places].min()), float(self._highest[places].max())) if len(places) else None
            )
        return self._range

    def learn(self, at: float, value: float) -> None:
        """Remember it for the days to come."""
        slot = int(at // SLOT_S)
        place = slot % len(self._slots)
        if self._slots[place] != slot:
            self._slots[place] = slot
            self._lowest[place] = self._highest[place] = value
        elif value < self._lowest[place]:
            self._lowest[place] = value
        elif value > self._highest[place]:
            self._highest[place] = value


_BEFORE = np.array(
    [-day * SLOTS_A_DAY + around for day in DAYS_BACK for around in range(-SLOTS_AROUND, SLOTS_AROUND + 1)], np.int64
)
