"""Is this minute odd? A series of the journal in, how surprising its newest value is out. Streaming: nothing later is ever looked at.

One `Detector` watches one series, and asks three things of each value: did the series go like this before in the last steps, did
it over the last half hour (`Echo`, short and long), and is it as at this time of other days (`SameTime`)? Each difference
becomes a surprise, -log10 of its probability (`Tail`), and the three are taken together as a root mean square: three that wonder do
not outvote one that is sure, and one alone must be surer than two. What recurs, daily or not, surprises none of them.
"""

import math
from collections import deque
from dataclasses import dataclass

from tenfold.estimators.surprise import Echo, History, SameTime, Tail

ALERT_SCORE = 0.99999
"""The score from which an anomaly of a one-minute series is worth telling people about: one minute in 100,000. On series without an
anomaly (made ones with seasons, bursts and rare errors, and real ones) one was told in about four weeks; of outages, tripled
values, doubled levels and noise three in four were, also in the first hour. NAB's best is near 0.99: an alert a day, too many here."""
WARM_UP = 30
"""So many values are seen before anything is called odd: half an hour of minutes."""
KEPT = 1560
"""The echoes look back so many steps: a day of minutes and two hours, so that what happens daily, sooner or later, is remembered."""
SHORT_STEPS, LONG_STEPS = 2, 32
"""What the two echoes remember: the last steps, and the last half hour or so of minutes."""
QUIET = 120
"""An anomaly is new when it is odder than anything in so many steps before: two hours of minutes."""
ODDER = 0.5
"""What is three times rarer (half a power of ten) is odder."""
LEAST_RATIO = 0.01
"""A difference of less than this part of the series' usual size is none, even where it never moved before."""
LEVEL_WEIGHT = 0.1
"""The level of late is that of about ten steps."""
VALUE_MAX = 1e15
"""Larger values are held to be this, so that their squares stay numbers."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the detector makes of one observation.

    `score` (0..1) is how sure it is that this is odd; 0 where nothing was observed. `expected` is what it would have called usual
    (None before the first value), `deviation` the value minus that, in the series' own unit (0 where one of them is missing).
    `is_new` is False while the series was about as odd in the last `QUIET` steps: news is what begins, or grows worse.
    """

    score: float
    expected: float | None
    deviation: float
    is_new: bool


class Detector:
    """Watches one series. `observe` is called once for each step, in order; steps may be missing."""

    def __init__(self) -> None:
        self._history = History(KEPT)
        self._echoes = (Echo(KEPT, SHORT_STEPS), Echo(KEPT, LONG_STEPS))
        self._same_time = SameTime()
        self._tails = (Tail(), Tail(), Tail())
        self._steps = 0
        self._level = 0.0
        self._size = 0.0
        self._highest: deque[tuple[int, int]] = deque()

    def observe(self, at: float, value: float | None) -> Score:
        """Score the value of the step at `at` (seconds since the epoch), then learn from it. None, NaN and infinity are gaps."""
        usual = self._same_time.range_at(at)
        expected = self._expected(usual)
        if value is None or not math.isfinite(value):
            return Score(0.0, expected, 0.0, is_new=False)
        value = max(-VALUE_MAX, min(VALUE_MAX, value))
        surprise = self._surprise(value, usual)
        is_new = self._is_new(surprise)
        self._learn(at, value)
        deviation = value - expected if expected is not None else 0.0
        return Score(1 - 10**-surprise, expected, deviation, is_new)

    def _expected(self, usual: tuple[float, float] | None) -> float | None:
        """The middle one of: the level of late, what came next when the series last went like this, and this time of other days."""
        if not self._steps:
            return None
        guesses = [self._level]
        lag = self._echoes[0].lag
        if lag is not None:
            guesses.append(self._history.at(lag))
        if usual is not None:
            guesses.append(min(max(self._level, usual[0]), usual[1]))
        return sorted(guesses)[len(guesses) // 2]

    def _surprise(self, value: float, usual: tuple[float, float] | None) -> float:
        """What the views say together, as -log10 of a probability; each learns from what it saw."""
        differences = [echo.difference(self._history, value) for echo in self._echoes]
        differences.append(None if usual is None else max(0.0, usual[0] - value, value - usual[1]))
        least = LEAST_RATIO * self._size
        said = []
        for tail, difference in zip(self._tails, differences, strict=True):
            if difference is not None:
                if tail.count >= WARM_UP:
                    said.append(tail.surprise(difference, least))
                tail.learn(difference)
        return math.sqrt(sum(one * one for one in said) / len(said)) if said else 0.0

    def _is_new(self, surprise: float) -> bool:
        """True when nothing in the last `QUIET` steps was about as odd. The deque holds the maxima still to come, largest first."""
        highest, level = self._highest, int(surprise / ODDER)
        if highest and highest[0][0] < self._steps - QUIET:
            highest.popleft()
        is_new = level > (highest[0][1] if highest else 0)
        while highest and highest[-1][1] <= level:
            highest.pop()
        highest.append((self._steps, level))
        return is_new

    def _learn(self, at: float, value: float) -> None:
        self._history.push(value)
        self._same_time.learn(at, value)
        self._steps += 1
        self._level += max(1 / self._steps, LEVEL_WEIGHT) * (value - self._level)
        self._size += max(1 / self._steps, 1 / KEPT) * (abs(value) - self._size)
