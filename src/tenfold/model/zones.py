"""Time zones: what a clock on the wall shows in a place, at any time, reckoned from rules alone.

A zone's rule is written as POSIX writes it in `TZ` (IEEE Std 1003.1, 8.3): `CET-1CEST,M3.5.0,M10.5.0/3` is one hour east of UTC, and two
from the last Sunday (0) of March, 2 o'clock, to that of October, 3 o'clock. Hours west of UTC count as positive there; here, as anywhere
else, what is east is positive. No file of this machine is read, so that a decision is the same wherever it is thought over again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache

from tenfold.model.zone_rules import ZONE_RULES

DEFAULT_ZONE = "UTC"
DAY_S = 86_400.0
_EPOCH_DAYS = date(1970, 1, 1).toordinal()

_NAME = r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)"
_TIME = r"[+-]?\d{1,3}(?::\d\d)?"
_DAY = rf"M(\d+)\.(\d)\.(\d)(?:/({_TIME}))?"
_RULE = re.compile(rf"{_NAME}({_TIME})(?:{_NAME}({_TIME})?,{_DAY},{_DAY})?")


@dataclass(frozen=True, slots=True)
class _Turn:
    """When a clock changes each year: in `month`, the `week`th (5: last) day that is `weekday` (0: Sunday), `at_s` after its midnight."""

    month: int
    week: int
    weekday: int
    at_s: int

    def in_year(self, year: int) -> float:
        """Seconds from the epoch to that time in `year`, as the clock shows it before it is changed."""
        first = date(year, self.month, 1)
        day = first + timedelta(days=(self.weekday - first.isoweekday()) % 7 + 7 * (self.week - 1))
        if day.month != self.month:
            day -= timedelta(days=7)
        return (day.toordinal() - _EPOCH_DAYS) * DAY_S + self.at_s


@dataclass(frozen=True, slots=True)
class _Rule:
    """Seconds east of UTC: `usual_s`, and `summer_s` from the turn `begins` to the turn `ends`, where there are such."""

    usual_s: int
    summer_s: int = 0
    begins: _Turn | None = None
    ends: _Turn | None = None


@cache
def zones() -> Mapping[str, str]:
    """The rule of every zone that is known, by its name (`Europe/Berlin`)."""
    return {name: rule for rule, names in ZONE_RULES.items() for name in names.split()}


def zone_offset_s(zone: str, at: float) -> int:
    """How many seconds the clocks of `zone` are ahead of UTC at `at` (seconds since the epoch). `zone` is one of `zones()`."""
    rule = _parsed(zones()[zone])
    if rule.begins is None:
        return rule.usual_s
    begins, ends = _turns(rule, datetime.fromtimestamp(at + rule.usual_s, UTC).year)
    is_summer = begins <= at < ends if begins < ends else not ends <= at < begins
    return rule.summer_s if is_summer else rule.usual_s


@lru_cache(maxsize=4096)
def _turns(rule: _Rule, year: int) -> tuple[float, float]:
    """When summer time begins and ends in `year`, in seconds since the epoch."""
    assert rule.begins is not None and rule.ends is not None, "asked of a rule that has turns"
    return rule.begins.in_year(year) - rule.usual_s, rule.ends.in_year(year) - rule.summer_s


@cache
def _parsed(rule: str) -> _Rule:
    found = _RULE.fullmatch(rule)
    assert found is not None, f"{rule} is no rule of this table"
    usual, summer, *turns = found.groups()
    usual_s = -_seconds(usual)
    if turns[0] is None:
        return _Rule(usual_s)
    summer_s = -_seconds(summer) if summer else usual_s + 3600
    return _Rule(usual_s, summer_s, _turn(*turns[:4]), _turn(*turns[4:]))


def _turn(month: str, week: str, weekday: str, at: str | None) -> _Turn:
    return _Turn(int(month), int(week), int(weekday), _seconds(at or "2"))


def _seconds(text: str) -> int:
    """`-5:30`: 5 hours and 30 minutes before."""
    hours, _, minutes = text.lstrip("+-").partition(":")
    seconds = int(hours) * 3600 + int(minutes or 0) * 60
    return -seconds if text.startswith("-") else seconds
