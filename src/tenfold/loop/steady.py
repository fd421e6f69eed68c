"""Takes the noise off facts before anyone decides on them. Stage: between an observer's answer and the snapshot.

A journal of a fact's every last digit is mostly noise (a response time of 12.348871 ms), and a replay must see the very
numbers that the decision saw: so digits that no decision rests on are dropped first. Times keep milliseconds, measured
figures three digits (0.5%), custom metrics six, memory steps of 256 KiB.
Figures that are not finite are missing figures.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from tenfold.facts import Fact, MetricSeen

MEMORY_STEP_BYTES = 256 * 1024
FIGURE_DIGITS = 3
METRIC_DIGITS = 6


def figure(value: float, digits: int = FIGURE_DIGITS) -> float:
    """`value` with `digits` significant digits, and at most `digits` after the point."""
    if value == 0.0:
        return 0.0
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return float(round(value, min(places, digits)))


def moment(value: float) -> float:
    """A time in seconds since the epoch, to the millisecond."""
    return float(round(value, 3))


def _memory(value: int) -> int:
    return round(value / MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES


def _finite(rule: Callable[[float], float], optional: bool) -> Callable[[float], float | None]:
    def apply(value: float) -> float | None:
        if math.isfinite(value):
            return rule(value)
        if optional:
            return None
        raise ValueError("a figure that must be there is not a finite number")

    return apply


def _rule(cls: type, name: str, hint: Any) -> Callable[[Any], Any] | None:
    optional = type(None) in get_args(hint)
    if hint is not float and float not in get_args(hint):
        return _memory if name == "memory_bytes" else None
    if name == "since" or name.endswith("_at"):
        return _finite(moment, optional)
    if cls is MetricSeen:
        return _finite(lambda value: figure(value, METRIC_DIGITS), optional)
    return _finite(figure, optional)


def _rules(cls: type) -> Mapping[str, Callable[[Any], Any] | None]:
    hints = get_type_hints(cls)
    return {f.name: _rule(cls, f.name, hints[f.name]) for f in fields(cls)}


_RULES: Mapping[type, Mapping[str, Callable[[Any], Any] | None]] = {cls: _rules(cls) for cls in get_args(Fact)}


def steady(fact: Fact) -> Fact:
    """`fact` without its noise. Raises `ValueError` when a figure that must be there is not finite."""
    given = {}
    for name, rule in _RULES[type(fact)].items():
        value = getattr(fact, name)
        given[name] = value if rule is None or value is None else rule(value)
    return type(fact)(**given)
