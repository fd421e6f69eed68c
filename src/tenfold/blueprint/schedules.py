"""Hours of the week as people say them: `weekdays 08:00-18:00 min 4`, by the clock of a zone. Two more units, beside `units`."""

import re
from difflib import get_close_matches

from tenfold.blueprint.units import Unit, Written
from tenfold.model import DAY_SETS, DAYS, INSTANCES_MOST, Floor, zones

DAY_MINUTES = 24 * 60
_FLOOR = re.compile(r"(\S+) +(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d) +min +(\d{1,6})(?: +(\S+))?", re.ASCII)


def floor(example: Written) -> Unit:
    """The least number of instances at some hours of some days, as a `Floor`."""
    what = "days, hours, min and a number, then a time zone if need be (weekdays, weekend, daily, mon-thu or sat,sun)"
    return Unit(what, example, _FLOOR.pattern, _read_floor, str)


def zone(example: Written) -> Unit:
    """A time zone by its name."""
    return Unit("a time zone by its name", example, r"[A-Za-z][\w+/-]{0,60}", _read_zone, str)


def _read_floor(text: Written) -> Floor:
    found = _FLOOR.fullmatch(text)
    assert found is not None, "the pattern was asked for first"
    words, *numbers, named = found.groups()
    begins_hour, begins, ends_hour, ends, instances = map(int, numbers)
    if max(begins, ends) > 59 or begins_hour > 23 or (ends_hour, ends) > (24, 0):
        raise ValueError("expected hours from 00:00 to 24:00")
    begins_minute, ends_minute = begins_hour * 60 + begins, ends_hour * 60 + ends
    if begins_minute == ends_minute:
        raise ValueError("expected hours that end when they do not begin (00:00-24:00 is all day)")
    if not 1 <= instances <= INSTANCES_MOST:
        raise ValueError(f"expected min 1 to {INSTANCES_MOST}")
    return Floor(_days(words), begins_minute, ends_minute, instances, _read_zone(named) if named else None)


def _days(words: str) -> tuple[int, ...]:
    """`sat,sun`, `mon-thu`, `fri-mon`, `weekdays`: the days, sorted."""
    days: set[int] = set()
    for word in words.split(","):
        first, _, last = word.partition("-")
        if word in DAY_SETS:
            days.update(DAY_SETS[word])
        elif first in DAYS and (last or first) in DAYS:
            length = (DAYS.index(last or first) - DAYS.index(first)) % 7
            days.update((DAYS.index(first) + step) % 7 for step in range(length + 1))
        else:
            known = (*DAY_SETS, *DAYS)
            unknown = word if not last else next(each for each in (first, last) if each not in DAYS)
            near = get_close_matches(unknown[:60].lower(), known, 1, 0.5)
            hint = f'"{near[0]}" instead of "{unknown}"' if near else "days first"
            raise ValueError(f"expected {hint} ({', '.join(DAY_SETS)}, mon to sun, mon-thu or sat,sun)")
    return tuple(sorted(days))


def _read_zone(name: Written) -> str:
    known = zones()
    if name in known:
        return name
    # People know the city, and write it as they like.
    part = slice(0 if "/" in name else -1, None)
    by_word = {"/".join(full.split("/")[part]).lower(): full for full in known}
    near = get_close_matches(name[:60].lower(), by_word, 1, 0.8)
    hint = f'perhaps "{by_word[near[0]]}"' if near else "as in the IANA database"
    raise ValueError(f"expected a time zone by its name ({hint})")
