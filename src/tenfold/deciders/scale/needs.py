"""The load that is worth preparing for, by a forecast. Stage: forecast -> loads by time ahead, for `ahead`.

How sure is sure enough depends on what it costs. At each time ahead the need is the load y for which

    y / usual + w (1 - P(load <= y))        is least

`y / usual` is what so many instances cost, in pools of the size that is usual over a day: room for one request more costs the same by
night as by day. w is how much worse a minute short of instances is than paying for that whole pool once more. A steady load is so
covered nearly for certain, at little cost, and a wild one as far as it pays (the newsvendor's rule with a price on time short: Arrow,
Harris & Marschak, Optimal inventory policy, 1951). Taken alone the rule gives a wild load up where covering it no longer pays; here it
keeps what it would keep for any smaller load of that shape, so that more load never needs fewer instances.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from tenfold.facts import ForecastSeen

MINUTE_S = 60.0
NOTHING = 1e-9
FORESEEN_MINUTES = 59
"""So far ahead is looked for when instances are needed again: within the furthest horizon."""
UNUSUAL_RATIO = 2.0
"""What is expected counts as so many times the usual load at the most."""
GROWTH_MAX = 10.0
"""Room for surprises grows so many times at the most where the load is expected to: next to nothing may grow a thousandfold."""
TRIED_LEVELS = (0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.98, 0.985, 0.99, 0.9925, 0.995, 0.9965, 0.998)


class Need(NamedTuple):
    """The load worth preparing for, when it is expected, and the chance (0..1) that there is no more then."""

    load: float
    ahead_s: float
    level: float


def need_at(seen: ForecastSeen, worth: float, ahead_s: float) -> Need:
    """What is worth preparing for at a time ahead: between two horizons in proportion, outside them that of the nearest."""
    before, after = _needs_around(seen, worth, bisect_left(seen.horizons_s, ahead_s))
    width_s = after.ahead_s - before.ahead_s
    if width_s <= 0:
        return Need(before.load, ahead_s, before.level)
    part = (ahead_s - before.ahead_s) / width_s
    return Need(
        before.load + part * (after.load - before.load), ahead_s, before.level + part * (after.level - before.level)
    )


@lru_cache(maxsize=8192)
def _needs_around(seen: ForecastSeen, worth: float, after: int) -> tuple[Need, Need]:
    """At the horizon with the number `after` and at the one before. A forecast stands for a minute, and is looked at every second."""
    return _need(seen, worth, max(after - 1, 0)), _need(seen, worth, min(after, len(seen.horizons_s) - 1))


def _need(seen: ForecastSeen, worth: float, horizon: int) -> Need:
    """At the horizon with that number: the load y where each part of the chance to be short is worth so much load.

    A step up to a load pays while the load costs less than the step is worth. Where it costs k times as much, a k-th of the same
    load would still be covered so far: at least that is.
    """
    curve = _curve(seen, horizon)
    pays = worth * usual_size(seen, curve.expected)
    load = max((load * min(1.0, pays * ratio) for load, ratio in curve.steps), default=0.0)
    load = max(load, curve.loads[0])
    return Need(load, seen.horizons_s[horizon], TRIED_LEVELS[bisect_right(curve.loads, load + NOTHING) - 1])


class _Curve(NamedTuple):
    """What is expected at one horizon: the median, and the loads at `TRIED_LEVELS`. `steps` are those of the loads above the first that
    may be best, each with the chance per load of the step up to it."""

    expected: float
    loads: tuple[float, ...]
    steps: tuple[tuple[float, float], ...]


@lru_cache(maxsize=8192)
def _curve(seen: ForecastSeen, horizon: int) -> _Curve:
    """At the horizon with that number; asked for each worth."""
    column = [row[horizon] for row in seen.quantiles]
    loads = tuple([_between(column, place, part) for place, part in _tried(seen.levels)])
    # Only steps that pay ever less matter: what lies below the line between two others is never best.
    steps: list[tuple[int, float]] = []
    for i, load in enumerate(loads):
        ratio = math.inf
        while steps:
            below, ratio_below = steps[-1]
            rise = load - loads[below]
            ratio = (TRIED_LEVELS[i] - TRIED_LEVELS[below]) / rise if rise > NOTHING else math.inf
            if ratio < ratio_below:
                break
            steps.pop()
            ratio = math.inf
        steps.append((i, ratio))
    return _Curve(column[seen.levels.index(0.5)], loads, tuple((loads[i], ratio) for i, ratio in steps[1:]))


@lru_cache(maxsize=64)
def _tried(levels: tuple[float, ...]) -> tuple[tuple[int, float], ...]:
    """Where `TRIED_LEVELS` lie among the levels that are known."""
    return tuple(_place(levels, level) for level in TRIED_LEVELS)


def usual_size(seen: ForecastSeen, expected: float) -> float:
    """The load by which costs are measured: what is usual, but a day on which ten times as much comes as ever before is no usual one."""
    return max(seen.usual, expected / UNUSUAL_RATIO)


@lru_cache(maxsize=4096)
def until(seen: ForecastSeen, worth: float, lead_s: float) -> tuple[float, ...]:
    """The highest load worth preparing for from the next minute until each of the `FORESEEN_MINUTES` to come.

    When a minute comes its forecast will have been made `lead_s` before, and be as sure as one is now that looks so far. So the room for
    surprises is that of `lead_s`, and grows and shrinks as what is expected does.
    """
    room = need_at(seen, worth, lead_s).load
    medians = seen.quantiles[seen.levels.index(0.5)]
    before, after, part = _around(seen.horizons_s, lead_s)
    base = medians[before] + part * (medians[after] - medians[before])
    highest, expected, found = -math.inf, -math.inf, []
    for before, after, part in _minutes(seen.horizons_s):
        load = medians[before] + part * (medians[after] - medians[before])
        if load > expected:
            expected = load
            highest = max(load, room * min(load / base, GROWTH_MAX) if base > NOTHING else room)
        found.append(highest)
    return tuple(found)


@lru_cache(maxsize=64)
def _minutes(horizons_s: tuple[float, ...]) -> tuple[tuple[int, int, float], ...]:
    """Where each of the minutes to come lies among the horizons: the same for every forecast."""
    return tuple(_around(horizons_s, minute * MINUTE_S) for minute in range(1, FORESEEN_MINUTES + 1))


def _around(horizons_s: tuple[float, ...], ahead_s: float) -> tuple[int, int, float]:
    """The horizons before and after a time ahead, and how far on the way between them it lies; outside them the nearest."""
    after = bisect_left(horizons_s, ahead_s)
    if after in (0, len(horizons_s)):
        nearest = min(after, len(horizons_s) - 1)
        return nearest, nearest, 0.0
    before = after - 1
    return before, after, (ahead_s - horizons_s[before]) / (horizons_s[after] - horizons_s[before])


# --- a forecast's quantiles -------------------------------------------------------------------------------------------


def _column(seen: ForecastSeen, ahead_s: float) -> tuple[float, ...]:
    """The quantiles at a time ahead, by level: between two horizons in proportion, outside them the nearest."""
    horizons = seen.horizons_s
    after = next((i for i, horizon_s in enumerate(horizons) if horizon_s >= ahead_s), len(horizons) - 1)
    before = max(0, after - 1)
    width = horizons[after] - horizons[before]
    part = min(max((ahead_s - horizons[before]) / width, 0.0), 1.0) if width > 0 else 1.0
    return tuple(row[before] + part * (row[after] - row[before]) for row in seen.quantiles)


def _between(column: Sequence[float], place: int, part: float) -> float:
    return column[place - 1] + part * (column[place] - column[place - 1]) if place < len(column) else column[-1]


@lru_cache(maxsize=1024)
def _place(levels: tuple[float, ...], level: float) -> tuple[int, float]:
    """Which of the known levels is the next one up, and how far on the way to it `level` is, by the logarithm of what lies above; asked
    thousands of times for a few."""
    for i in range(1, len(levels)):
        if level <= levels[i] + 1e-12:
            low, high = math.log(1 - levels[i - 1]), math.log(1 - levels[i])
            return i, max((math.log(1 - level) - low) / (high - low), 0.0)
    return len(levels), 0.0


def at_level(seen: ForecastSeen, ahead_s: float, level: float) -> float:
    """What the series stays below with chance `level` at a time ahead."""
    return _between(_column(seen, ahead_s), *_place(seen.levels, level))


def level_of(seen: ForecastSeen, ahead_s: float, value: float) -> float:
    """The chance that the series stays below `value` at a time ahead; as far as the levels that are known tell."""
    column = _column(seen, ahead_s)
    for i, high in enumerate(column):
        if value < high:
            if i == 0:
                return seen.levels[0] * max(value, 0.0) / high
            low = column[i - 1]
            return seen.levels[i - 1] + (value - low) / (high - low) * (seen.levels[i] - seen.levels[i - 1])
    return seen.levels[-1]
