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
from functools import lru_cache
from typing import NamedTuple

from tenfold.facts import ForecastSeen

MINUTE_S = 60.0
NOTHING = 1e-9
FORESEEN_MINUTES = 59
"""So far ahead is looked for when instances are needed again: within the furthest horizon."""
UNUSUAL_RATIO = 2.0
GROWTH_MAX = 10.0
"""Room for surprises grows so many times at the most where the load is expected to: next to nothing may grow a thousandfold."""
TRIED_LEVELS = (0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.98, 0.985, 0.99, 0.9925, 0.995, 0.9965, 0.998)


class Need(NamedTuple):
    """The load worth preparing for, when it is expected, and the chance (0..1) that there is no more then."""

    load: float
    ahead_s: float
    level: float


@lru_cache(maxsize=4096)
def needs(seen: ForecastSeen, worth: float) -> tuple[Need, ...]:
    """What is worth preparing for at each horizon, `worth` being w. A forecast stands for a minute, and is looked at every second."""
    places = [_place(seen.levels, level) for level in TRIED_LEVELS]
    middle = seen.levels.index(0.5)
    found = []
    for horizon_s, column in zip(seen.horizons_s, zip(*seen.quantiles, strict=True), strict=True):
        loads = [_between(column, place, part) for place, part in places]
        load = _worth_having(loads, worth * usual_size(seen, column[middle]))
        level = max(level for level, tried in zip(TRIED_LEVELS, loads, strict=True) if tried <= load + NOTHING)
        found.append(Need(load, horizon_s, level))
    return tuple(found)


def usual_size(seen: ForecastSeen, expected: float) -> float:
    """The load by which costs are measured: what is usual, but a day on which ten times as much comes as ever before is no usual one."""
    return max(seen.usual, expected / UNUSUAL_RATIO)


def _worth_having(loads: list[float], pays: float) -> float:
    """The load y, given those at `TRIED_LEVELS`, where each part of the chance to be short is worth so much load.

    A step up to a load pays while the load costs less than the step is worth. Where it costs k times as much, a k-th of the same
    load would still be covered so far: at least that is.
    """
    # Only steps that pay ever less matter: what lies below the line between two others is never best.
    steps: list[tuple[int, float]] = []
    for i, load in enumerate(loads):
        worth = math.inf
        while steps:
            below, worth_below = steps[-1]
            rise = load - loads[below]
            worth = pays * (TRIED_LEVELS[i] - TRIED_LEVELS[below]) / rise if rise > NOTHING else math.inf
            if worth < worth_below:
                break
            steps.pop()
            worth = math.inf
        steps.append((i, worth))
    return max(loads[i] * min(1.0, worth) for i, worth in steps)


@lru_cache(maxsize=4096)
def until(seen: ForecastSeen, worth: float, lead_s: float) -> tuple[float, ...]:
    """The highest load worth preparing for from the next minute until each of the `FORESEEN_MINUTES` to come.

    When a minute comes its forecast will have been made `lead_s` before, and be as sure as one is now that looks so far. So the room for
    surprises is that of `lead_s`, and grows and shrinks as what is expected does.
    """
    room = need_at(needs(seen, worth), lead_s).load
    middle = seen.levels.index(0.5)
    medians = tuple(
        Need(median, horizon_s, 0.5) for horizon_s, median in zip(seen.horizons_s, seen.quantiles[middle], strict=True)
    )
    base = need_at(medians, lead_s).load
    highest, found = 0.0, []
    for minute in range(1, FORESEEN_MINUTES + 1):
        expected = need_at(medians, minute * MINUTE_S).load
        growth = min(expected / base, GROWTH_MAX) if base > NOTHING else 1.0
        highest = max(highest, expected, room * growth)
        found.append(highest)
    return tuple(found)


def need_at(found: tuple[Need, ...], ahead_s: float) -> Need:
    """The need at a time ahead: between two horizons in proportion, outside them the nearest."""
    before = found[0]
    for need in found:
        if need.ahead_s >= ahead_s:
            width = need.ahead_s - before.ahead_s
            part = (ahead_s - before.ahead_s) / width if width > 0 and ahead_s > before.ahead_s else float(width <= 0)
            level = before.level + part * (need.level - before.level)
            return Need(before.load + part * (need.load - before.load), ahead_s, level)
        before = need
    return Need(before.load, ahead_s, before.level)


# --- a forecast's quantiles -------------------------------------------------------------------------------------------


def _column(seen: ForecastSeen, ahead_s: float) -> tuple[float, ...]:
    """The quantiles at a time ahead, by level: between two horizons in proportion, outside them the nearest."""
    horizons = seen.horizons_s
    after = next((i for i, horizon_s in enumerate(horizons) if horizon_s >= ahead_s), len(horizons) - 1)
    before = max(0, after - 1)
    width = horizons[after] - horizons[before]
    part = min(max((ahead_s - horizons[before]) / width, 0.0), 1.0) if width > 0 else 1.0
    return tuple(row[before] + part * (row[after] - row[before]) for row in seen.quantiles)


def _value(levels: tuple[float, ...], column: tuple[float, ...], level: float) -> float:
    """The quantile at `level`: between two that are known, in proportion to the logarithm of what lies above."""
    return _between(column, *_place(levels, level))


def _between(column: tuple[float, ...], place: int, part: float) -> float:
    return column[place - 1] + part * (column[place] - column[place - 1]) if place < len(column) else column[-1]


@lru_cache(maxsize=1024)
def _place(levels: tuple[float, ...], level: float) -> tuple[int, float]:
    """Which of the known levels is the next one up, and how far on the way to it `level` is; asked thousands of times for a few."""
    for i in range(1, len(levels)):
        if level <= levels[i] + 1e-12:
            low, high = math.log(1 - levels[i - 1]), math.log(1 - levels[i])
            return i, max((math.log(1 - level) - low) / (high - low), 0.0)
    return len(levels), 0.0


def at_level(seen: ForecastSeen, ahead_s: float, level: float) -> float:
    """What the series stays below with chance `level` at a time ahead."""
    return _value(seen.levels, _column(seen, ahead_s), level)


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
