"""Is this minute odd? A series of the journal in, how surprising its newest value is out. Streaming: nothing later is ever looked at.

One `Detector` watches one series. It needs no settings, no units and no training: it learns while it watches, and says little
before it has seen `WARM_UP` values.
"""

import math
from dataclasses import dataclass

ALERT_SCORE = 0.9
"""The score from which an anomaly is worth telling people about."""
WARM_UP = 30
"""So many values are seen before anything is called odd."""
MEMORY = 60.0
"""The level and the usual deviation forget with this many observations."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the detector makes of one observation.

    `score` (0..1) is how sure it is that this is odd; 0 where nothing was observed. `expected` is what it would have called usual (None before
    the first value), `deviation` the value minus that, in the series' own unit (0 where one of them is missing). `is_new` is False while the
    series was at least as odd a short while ago: an alert goes off once.
    """

    score: float
    expected: float | None
    deviation: float
    is_new: bool


class Detector:
    """Watches one series. `observe` is called once for each step, in order."""

    def __init__(self) -> None:
        self._count = 0
        self._level: float | None = None
        self._usual = 0.0
        self._held = 0.0

    def observe(self, at: float, value: float | None) -> Score:
        """Score the value of the step at `at` (seconds since the epoch), then learn from it. None, NaN and infinity are gaps."""
        expected = self._level
        if value is None or not math.isfinite(value):
            return Score(0.0, expected, 0.0, is_new=False)
        if expected is None:
            self._level, self._count = value, 1
            return Score(0.0, None, 0.0, is_new=False)
        deviation = value - expected
        ratio = abs(deviation) / self._usual if self._usual else math.inf if deviation else 0.0
        score = 1 - 0.1 ** (ratio / 4) if self._count >= WARM_UP else 0.0
        weight = 1 / min(self._count, MEMORY)
        bounded = min(abs(deviation), 4 * self._usual) if self._usual else abs(deviation)
        self._usual += weight * (bounded - self._usual)
        self._level = expected + weight * deviation
        self._count += 1
        is_new = score > self._held
        self._held = max(score, 0.98 * self._held)
        return Score(score, expected, deviation, is_new)
