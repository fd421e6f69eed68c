"""Load over time: requests per second as a function of elapsed seconds, and the seeded counts drawn from it."""

import math
from collections.abc import Callable, Sequence
from random import Random

Rate = Callable[[float], float]
"""Seconds since the world began -> requests per second (never negative)."""

NORMAL_ABOVE = 50.0
"""Above this mean a Poisson count is drawn from the normal distribution of the same mean and variance (skew off by < 0.15)."""


def constant(per_s: float) -> Rate:
    """The same rate always."""
    return lambda _: per_s


def steps(*points: tuple[float, float]) -> Rate:
    """`points` are (from second, rate): each rate holds until the next point; nothing comes before the first."""

    def rate(elapsed_s: float) -> float:
        current = 0.0
        for from_s, per_s in points:
            if elapsed_s < from_s:
                break
            current = per_s
        return current

    return rate


def day(per_s_min: float, per_s_max: float, peak_at_s: float = 14 * 3600.0) -> Rate:
    """One cosine a day between `per_s_min` and `per_s_max`, highest at `peak_at_s` after midnight."""

    def rate(elapsed_s: float) -> float:
        share = (1 + math.cos(2 * math.pi * (elapsed_s - peak_at_s) / 86_400.0)) / 2
        return per_s_min + (per_s_max - per_s_min) * share

    return rate


def from_trace(per_minute: Sequence[float], speedup: float = 1.0) -> Rate:
    """A recorded trace of requests in each minute, `speedup` times as fast and as dense; its last minute holds on after its end."""
    assert per_minute and speedup > 0

    def rate(elapsed_s: float) -> float:
        minute = min(int(elapsed_s * speedup / 60.0), len(per_minute) - 1)
        return per_minute[minute] / 60.0 * speedup

    return rate


def poisson(random: Random, mean: float) -> int:
    """A Poisson count of this mean: Knuth's product of uniforms for small means, the normal approximation for large ones."""
    if mean <= 0:
        return 0
    if mean > NORMAL_ABOVE:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), random.random(), 0
    while product > limit:
        product *= random.random()
        count += 1
    return count
