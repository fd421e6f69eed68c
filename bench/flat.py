"""Whether a series stays where it is: a slope that outliers cannot bend, and how sure it is that there is one. Pure.

Theil (1950) and Sen (1968): the slope is the median of (y_j - y_i) / (x_j - x_i) over all pairs i < j. Mann (1945) and Kendall: of n
points, S is the number of pairs that rise less that of pairs that fall; without a trend S / sqrt(n (n - 1) (2 n + 5) / 18)
is about normal.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

SURE = 2.33
"""99%, one-sided: only growth is a fault, and a soak judges dozens of series."""
POINTS_MIN = 6
POINTS_MAX = 400
"""Pairs grow with the square; of more points every so-many-th is taken."""


@dataclass(frozen=True, slots=True)
class Trend:
    """How a series goes: by how much it grows from its first point to its last, how sure that is (in standard deviations of S), and its
    median."""

    growth: float
    sureness: float
    middle: float


def trend(points: Sequence[tuple[float, float]]) -> Trend | None:
    """The trend of (x, y) points, x rising; None with too few to tell."""
    kept = points[:: math.ceil(len(points) / POINTS_MAX) or 1]
    if len(kept) < POINTS_MIN:
        return None
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(kept, 2)]
    n, s = len(kept), sum((slope > 0) - (slope < 0) for slope in slopes)
    length = kept[-1][0] - kept[0][0]
    return Trend(median(slopes) * length, s / math.sqrt(n * (n - 1) * (2 * n + 5) / 18), median(y for _, y in kept))


def is_flat(found: Trend, allowed: float) -> bool:
    """True unless it surely grows, and by more than `allowed` over the time that was looked at."""
    return found.growth <= allowed or found.sureness < SURE
