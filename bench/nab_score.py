"""The score of the Numenta Anomaly Benchmark (NAB), by its own formula. Scores of a detector in, a number from 0 to 100 out. Pure.

Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms" (2015), and numenta/NAB, nab/sweeper.py, scorer.py and runner.py:

- Rows of the probation, the first 15% of a file (at most 750 rows), do not count.
- In each window only the first alert counts. At row `i` of a window of `w` rows that ends with row `e` it is worth
  `s(-(e - i + 1) / w) / s(-1)`, with `s(x) = 2 / (1 + exp(5 x)) - 1`: 1 at the first row, near 0 at the last. A window without one costs 1.
- Each alert outside costs 0.11, and less right behind a window: `0.11 s((i - e) / (w - 1))`, that is -0.11 from three widths on.
- A corpus has the sum of its files' points, set between the detector that never alerts (0) and one that alerts at the first row of
  each window and nowhere else (100).

The weights are those of the profile `standard`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HIT, MISSED, FALSE = 1.0, 1.0, 0.11
"""The profile `standard` of NAB's config/profiles.json: what a hit is worth, and what a missed window and a false alert cost."""
PROBATION_RATIO = 0.15
PROBATION_ROWS_MAX = 750
FAR = 3.0
"""From so many widths behind a window on a false alert costs all."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A series with what experts called odd in it: `windows` are first and last row of each, in order. Times in seconds since the epoch."""

    name: str
    at: tuple[float, ...]
    values: tuple[float, ...]
    windows: tuple[tuple[int, int], ...]

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]

    @property
    def probation_rows(self) -> int:
        return min(math.floor(PROBATION_RATIO * len(self.values)), PROBATION_ROWS_MAX)


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of one file by threshold: `points[n]` from `thresholds[n]` down to the next, thresholds falling; above all, `silent`."""

    thresholds: Floats
    points: Floats
    silent: float

    def at(self, thresholds: Floats) -> Floats:
        """The points when alerts go off at scores of at least so much."""
        place = np.searchsorted(-self.thresholds, -thresholds, side="right") - 1
        return np.where(place < 0, self.silent, self.points[place])


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A corpus scored with thresholds that were chosen on other files than those they were used on: points and threshold of each."""

    points: tuple[float, ...]
    thresholds: tuple[float, ...]


def row_points(series: Labelled) -> list[float]:
    """What an alert at each row is worth (above 0: in a window, if it is the first there) or costs (below 0)."""
    found: list[float] = []
    windows, behind, within = list(series.windows), None, None
    for row in range(len(series.values)):
        if windows and row == windows[0][0]:
            within = windows.pop(0)
        if within is not None:
            first, last = within
            found.append(HIT * scaled_sigmoid(-(last - row + 1) / (last - first + 1)) / scaled_sigmoid(-1.0))
            if row == last:
                behind, within = within, None
        elif behind is None:
            found.append(-FALSE)
        else:
            found.append(FALSE * scaled_sigmoid((row - behind[1]) / (behind[1] - behind[0])))
    return found


def scaled_sigmoid(position: float) -> float:
    """NAB's weight of a place relative to a window: -1 is its first row, 0 its end, above 0 behind it, in widths."""
    return -1.0 if position > FAR else 2 / (1 + math.exp(5 * position)) - 1


def curve(series: Labelled, scores: Sequence[float]) -> Curve:
    """The points of a file for every threshold there is, from the highest score down."""
    if len(scores) != len(series.values):
        raise ValueError(f"{series.name} has {len(series.values)} rows and {len(scores)} scores: give one for each row")
    window_of = {row: n for n, (first, last) in enumerate(series.windows) for row in range(first, last + 1)}
    best = [-MISSED] * len(series.windows)
    worth = row_points(series)
    total = silent = sum(best)
    thresholds: list[float] = []
    points: list[float] = []
    for row in sorted(range(series.probation_rows, len(scores)), key=lambda row: -scores[row]):
        if row not in window_of:
            total += worth[row]
        elif worth[row] > best[window_of[row]]:
            total += worth[row] - best[window_of[row]]
            best[window_of[row]] = worth[row]
        if thresholds and thresholds[-1] == scores[row]:
            points[-1] = total
        else:
            thresholds.append(scores[row])
            points.append(total)
    return Curve(np.array(thresholds), np.array(points), silent)


def normalised(points: float, window_count: int) -> float:
    """From the points of a corpus to 0 (never alerts) .. 100 (perfect); below 0 is worse than never to alert."""
    silent = -MISSED * window_count
    return 100 * (points - silent) / (HIT * window_count - silent)


def best_threshold(curves: Iterable[Curve]) -> tuple[float, float]:
    """The threshold with the most points over files, the highest of several, and those points: what NAB's optimizer does."""
    curves = tuple(curves)
    thresholds = _thresholds(curves)
    totals = np.sum([c.at(thresholds) for c in curves], axis=0)
    best = int(totals.argmax())
    return float(thresholds[best]), float(totals[best])


def held_out(curves: Sequence[Curve], folds: int) -> HeldOut:
    """Score each file with the threshold that is best on the files of the other folds: file `n` is in fold `n % folds`."""
    thresholds = _thresholds(curves)
    by_file = np.array([c.at(thresholds) for c in curves])
    totals = by_file.sum(axis=0)
    chosen = [int((totals - by_file[fold::folds].sum(axis=0)).argmax()) for fold in range(folds)]
    places = [chosen[n % folds] for n in range(len(curves))]
    return HeldOut(
        tuple(float(by_file[n, place]) for n, place in enumerate(places)),
        tuple(float(thresholds[place]) for place in places),
    )


def _thresholds(curves: Iterable[Curve]) -> Floats:
    """All that make a difference, falling; the first is above all scores."""
    found = np.unique(np.concatenate([c.thresholds for c in curves]))[::-1]
    return np.concatenate([[np.inf], found])
