"""The least that a pool has at an hour: the blueprint's minimum, or a scheduled floor. A function of time alone.

A floor counts while the clock of its zone shows a time within its hours, and before that for as long as a start takes, so that its
instances serve when the hour begins. Where the clock is changed, what it shows counts: hours that it shows twice are floored twice, and
hours that it passes over begin when it has passed over them.
"""

from dataclasses import dataclass

from tenfold.facts import Snapshot
from tenfold.model import Floor, Scaling, Service, zone_offset_s

STARTS_S_MAX = 3600.0
"""However long starts have taken: nothing is floored earlier than this before its hour."""
STARTS_S_MIN = 1.0
MARGIN_S = 5.0
"""Beside a start it takes a tick to ask for it and another to send it traffic, and one start in twenty takes longer than was measured."""
MINUTE_S = 60
DAY_S = 86_400
THURSDAY = 3
"""The weekday of the day 0 of the epoch (0: Monday)."""


@dataclass(frozen=True, slots=True)
class Least:
    """So many `instances` at this hour, at least. Where a `floor` asks for more than the minimum, `why` tells it in words."""

    instances: int
    floor: Floor | None = None
    why: str = ""


def starts_s(service: Service, region: str, snapshot: Snapshot) -> float:
    """How long before its hour a floor counts, in seconds: as long as starts took, whenever that was measured, and a little; or half
    of what one may take at most."""
    work = snapshot.works.get(f"{service.name}@{region}")
    measured = work.start_s if work is not None else None
    return measured + MARGIN_S if measured is not None else service.health.starts_within_s / 2


def least_at(scaling: Scaling, now: float, starts_s: float) -> Least:
    """The least at `now`, when a start takes `starts_s`: never more than the maximum."""
    low = scaling.instances_min
    if not scaling.floors:
        return Least(low)
    early_s = min(max(starts_s, STARTS_S_MIN), STARTS_S_MAX)
    counting = [floor for floor in scaling.floors if _counts(floor, scaling.zone, now, early_s)]
    highest = max(counting, key=lambda floor: floor.instances, default=None)
    if highest is None or min(highest.instances, scaling.instances_max) <= low:
        return Least(low)
    zone = "" if highest.zone is not None else f" {scaling.zone}"
    why = f"{highest}{zone}"
    if not _counts(highest, scaling.zone, now, STARTS_S_MIN):
        why += f", {early_s:.0f} s before it begins, so that they serve by then"
    return Least(min(highest.instances, scaling.instances_max), highest, why)


def _counts(floor: Floor, usual_zone: str, now: float, early_s: float) -> bool:
    """True where the clock shows a time within the hours of `floor` at `now`, or will within `early_s`."""
    return any(_within(floor, start, end) for start, end in _shown(floor.zone or usual_zone, now, now + early_s))


def _shown(zone: str, now: float, until: float) -> list[tuple[float, float]]:
    """What the clock shows from `now` until before `until`, in seconds: in two parts where it is changed meanwhile."""
    before, after = zone_offset_s(zone, now), zone_offset_s(zone, until)
    if before == after:
        return [(now + before, until + after)]
    low, high = now, until
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if zone_offset_s(zone, middle) == before else (low, middle)
    change = round(high)  # clocks are changed at a whole second
    return [(now + before, change + before), (change + after, until + after)]


def _within(floor: Floor, start: float, end: float) -> bool:
    """True where the hours of `floor` and those from `start` until before `end` have a moment in common, all by the clock."""
    lasts = (floor.ends_minute - floor.begins_minute) % (DAY_S // MINUTE_S) or DAY_S // MINUTE_S
    for day in range(int(start // DAY_S) - 1, int(end // DAY_S) + 1):
        begins = day * DAY_S + floor.begins_minute * MINUTE_S
        if (day + THURSDAY) % 7 in floor.days and begins < end and start < begins + lasts * MINUTE_S:
            return True
    return False
