"""At which hours of the week a pool's minimum is needed, and at which it is not. Stage: minutes of a pool -> scheduled floors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.estimators.minutes import MINUTE_S
from tenfold.model import DAY_SETS, Floor, Scaling, zone_offset_s

DAY_MINUTES = 24 * 60
DAYS_MIN = 3
"""What happened at an hour of fewer days may have been chance."""
WEEK_DAYS_MIN = {"weekdays": 3, "weekend": 2}
"""So many of each must have been seen whole before they are told apart."""
HOUR_RATIO = 0.9
"""An hour counts as seen with so many of its minutes."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hours:
    """`low` instances at all hours and `floors` at some are enough; `fewer` instances run in each minute then."""

    low: int
    floors: tuple[Floor, ...]
    fewer: Values


def hours_advised(scaling: Scaling, start: float, instances: Values, asked: Values, least: int) -> Hours | None:
    """The floors that save most; None where the minimum is needed at all hours, or too few days were seen.

    `start` is when the first minute began (seconds since the epoch), `asked` how many instances the triggers asked for in each minute.
    Fewer than `least` are never advised.
    """
    low, known = scaling.instances_min, ~np.isnan(instances) & ~np.isnan(asked)
    if scaling.floors or low <= least or not known.any():
        return None
    at = start + np.arange(instances.size) * MINUTE_S
    # One offset for all: a week in which clocks are changed is an hour off for a part of it.
    local = at + zone_offset_s(scaling.zone, float(at[-1]))
    day, hour = (local // 86_400).astype(int), (local % 86_400 // 3600).astype(int)
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday.
    for kinds in (("weekdays", "weekend"), ("daily",)):
        groups = [np.isin(weekday, DAY_SETS[kind]) for kind in kinds]
        enough = [
            _days_seen(day, hour, known & group) >= WEEK_DAYS_MIN.get(kind, DAYS_MIN)
            for kind, group in zip(kinds, groups, strict=True)
        ]
        if all(enough):
            found = list(_choices(kinds, groups, hour, known, instances, asked, low, least))
            best = max(found, key=lambda each: float(each.fewer[known].sum()), default=None)
            if best is not None and best.fewer[known].sum() > 0:
                return best
    return None


def _days_seen(day: NDArray[np.int_], hour: NDArray[np.int_], known: NDArray[np.bool_]) -> int:
    """On how many days the hour of which fewest were seen was seen."""
    counts = np.zeros(24, dtype=int)
    for each in range(24):
        _, minutes = np.unique(day[known & (hour == each)], return_counts=True)
        counts[each] = int((minutes >= HOUR_RATIO * 60).sum())
    return int(counts.min())


def _choices(
    kinds: Sequence[str],
    groups: Sequence[NDArray[np.bool_]],
    hour: NDArray[np.int_],
    known: NDArray[np.bool_],
    instances: Values,
    asked: Values,
    minimum: int,
    least: int,
) -> Iterator[Hours]:
    """For each lower number, the floors that keep the minimum at the hours that need more."""
    for low in range(least, minimum):
        floors: list[Floor] = []
        is_floor = np.zeros(instances.size, dtype=bool)
        for kind, group in zip(kinds, groups, strict=True):
            busy = [bool((asked[known & group & (hour == each)] > low).any()) for each in range(24)]
            if any(busy):
                begins, length = _arc(busy, kind == "daily")
                is_floor |= group & ((hour - begins) % 24 < length)
                floors.append(_floor(kind, begins, length, minimum))
        if floors:
            # Outside of the floors no hour asked for more than `low`.
            fewer = np.where(~is_floor & (instances <= minimum), np.maximum(0.0, instances - low), 0.0)
            yield Hours(low, tuple(floors), fewer)


def _arc(busy: Sequence[bool], may_wrap: bool) -> tuple[int, int]:
    """The shortest stretch of the clock that holds every busy hour: where it begins, and how many hours it has.

    Over midnight only where it `may_wrap`: Saturday's first hours would belong to Friday's floor.
    """
    hours = [each for each, is_busy in enumerate(busy) if is_busy]
    if not may_wrap:
        return hours[0], hours[-1] + 1 - hours[0]
    # The longest gap between two busy hours, around the clock, is what it leaves out.
    gaps = [((after - each - 1) % 24, after) for each, after in zip(hours, [*hours[1:], hours[0] + 24], strict=True)]
    if len(hours) == 1:
        return hours[0], 1
    gap, begins = max(gaps)
    return begins % 24, 24 - gap


def _floor(kind: str, begins: int, hours: int, instances: int) -> Floor:
    ends = begins + hours
    if hours == 24:
        begins, ends = 0, 24
    return Floor(DAY_SETS[kind], begins * 60, (ends if ends <= 24 else ends - 24) * 60, instances)
