"""How many instances a pool will need, by what is expected of its load. Stage: needs -> instances, for `pool`.

`needs` tells which load is worth preparing for, by what being short is worth: by the blueprint's confidence c, w = c / (1 - c), 19 at 95%.
A tenth of it decides when to add, half of it how much, and four fifths what is kept.

Changing a pool has a price of its own: starts, moved connections, somebody who wonders. What goes must save more than that until it is
needed again (the setup cost of a lot: Wagner & Whitin, Dynamic version of the economic lot size model, 1958).

What an instance is asked for at most is what its triggers bear: `capacity` in requests/s, `concurrency` by how long a request keeps it busy
(Little's law), `cpu` by what a request costs (the utilisation law), a posted metric as it is.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import lru_cache

from tenfold.deciders.scale.floors import starts_s
from tenfold.deciders.scale.needs import (
    FORESEEN_MINUTES,
    MINUTE_S,
    Need,
    at_level,
    level_of,
    need_at,
    until,
    usual_size,
)
from tenfold.deciders.scale.triggers import duration
from tenfold.facts import CapacitySeen, ForecastSeen, Snapshot
from tenfold.model import Service, Trigger

FORECAST_AGE_S_MAX = 180.0
"""An older forecast has not heard of the last minutes: it is no reason for anything."""
ADD_WORTH_RATIO = 0.1
ENOUGH_WORTH_RATIO = 0.5
KEEP_WORTH_RATIO = 0.8
ACTION_S = 420.0
"""An action is worth so many seconds of the whole pool at its usual size."""
FORESEEN = ("concurrency", "cpu", "capacity")
"""Triggers whose reading follows from requests/s."""
SHOWN_MIN = 0.001
"""Less is told as that: nobody wants to read 4.29e-05 requests/s."""


@dataclass(frozen=True, slots=True)
class _Load:
    """A forecast, and what of it one instance is asked to bear at most; `unit` is that of both."""

    forecast: ForecastSeen
    each: float
    unit: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a pool will need: `due` when an instance that is started now would be ready, `enough` so that it does for a while then.

    `fewest` will do for the horizon. `kept` is what to go down to: to no less than is asked for at any rate, and only as far as it is worth
    the action (what it has, where it is not); these do for `kept_s` at least. `enough_for` and `kept_for` are what the numbers are made
    of, `doubts` the loads that what it has now bears when `due` is. `known_at` is what the newest of it rests on.
    """

    due: int
    enough: int
    fewest: int
    kept: int
    kept_s: float
    lead_s: float
    known_at: float
    enough_for: tuple[_Load, Need]
    kept_for: tuple[_Load, float]
    doubts: tuple[tuple[_Load, float], ...]

    @property
    def chance_ratio(self) -> float:
        """How sure (0..1) it is that what it has now will not do when `due` is."""
        return max(1 - level_of(load.forecast, self.lead_s, borne) for load, borne in self.doubts)

    @property
    def words(self) -> str:
        """What `enough` is made of."""
        load, need = self.enough_for
        return (
            f"{figure(at_level(load.forecast, need.ahead_s, 0.5))} {load.unit} expected in {duration(need.ahead_s)} "
            f"(now {figure(load.forecast.value)}), up to {figure(need.load)} with {100 * need.level:.3g}% confidence; "
            f"one bears {figure(load.each)}"
        )

    @property
    def kept_words(self) -> str:
        """What `kept` is made of."""
        load, highest = self.kept_for
        return (
            f"no more than {figure(highest)} {load.unit} expected for {duration(self.kept_s)} (now {figure(load.forecast.value)}), "
            f"surprises included; one bears {figure(load.each)}"
        )


def is_foreseen(trigger: Trigger) -> bool:
    """True where a forecast may answer for this trigger."""
    return trigger.metric in FORESEEN or trigger.is_posted


def outlook(
    service: Service,
    region: str,
    snapshot: Snapshot,
    triggers: tuple[Trigger, ...],
    holds: CapacitySeen | None,
    wanted: int,
    least: int,
) -> Outlook | None:
    """What is to come for a pool that has `wanted`, `least` of them at any rate; None where a trigger that could be foreseen is not (no
    forecast, an old one, or nothing known of what a request takes): then only what is seen counts."""
    asked = service.scaling.forecast
    loads = _loads(service, region, snapshot, triggers, holds) if asked is not None else []
    if asked is None or not loads:
        return None
    ready_s = starts_s(service, region, snapshot)
    worth = asked.confidence_ratio / (1 - asked.confidence_ratio)
    best: Outlook | None = None
    for load in loads:
        # An instance serves from the end of its start, and a forecast is of whole minutes: the next one after that, counted from its own.
        late_minutes = max(snapshot.taken_at - load.forecast.seen_at, 0.0) // MINUTE_S
        from_s = ready_s + MINUTE_S
        found = _outlook(load, from_s, from_s + late_minutes * MINUTE_S, asked.horizon_s, worth, wanted, least)
        best = found if best is None else _larger(best, found)
    return best


def _larger(one: Outlook, other: Outlook) -> Outlook:
    most = max(one, other, key=lambda each: (each.enough, each.due))
    keeps = max(one, other, key=lambda each: each.kept)
    return replace(
        keeps,
        due=max(one.due, other.due),
        enough=most.enough,
        fewest=max(one.fewest, other.fewest),
        lead_s=most.lead_s,
        known_at=max(one.known_at, other.known_at),
        enough_for=most.enough_for,
        doubts=one.doubts + other.doubts,
    )


@lru_cache(maxsize=4096)
def _outlook(
    load: _Load, from_s: float, lead_s: float, horizon_s: float, worth: float, wanted: int, least: int
) -> Outlook:
    """By one load. A start takes until `from_s`, `lead_s` after the forecast's own minute. Asked every second, it changes by the minute."""
    seen = load.forecast
    enough = need_at(seen, worth * ENOUGH_WORTH_RATIO, lead_s)
    keep_worth = worth * KEEP_WORTH_RATIO
    by_minute = _instances(load, keep_worth, from_s)
    horizon = min(max(round(horizon_s / MINUTE_S), 1), FORESEEN_MINUTES)
    fewest = by_minute[horizon - 1]
    kept = _worth_keeping(by_minute, max(least, fewest), wanted, ACTION_S * usual_size(seen, enough.load) / load.each)
    minutes = bisect_right(by_minute, kept)
    return Outlook(
        due=_ceil(need_at(seen, worth * ADD_WORTH_RATIO, lead_s).load, load.each),
        enough=_ceil(enough.load, load.each),
        fewest=fewest,
        kept=kept,
        kept_s=minutes * MINUTE_S,
        lead_s=lead_s,
        known_at=seen.seen_at,
        enough_for=(load, enough),
        kept_for=(load, until(seen, keep_worth, from_s)[max(minutes, 1) - 1]),
        doubts=((load, wanted * load.each),),
    )


def _worth_keeping(by_minute: tuple[int, ...], fewest: int, wanted: int, action_s: float) -> int:
    """How many of `wanted` to keep, given how many are needed until each minute: the fewest, `fewest` at least, whose others save more
    than an action is worth (`action_s`, in seconds of an instance) until they are needed again. Where that is foreseen, adding
    them again is an action too."""
    price_s = action_s * (2 if by_minute[-1] >= wanted else 1)
    kept = fewest
    while kept < wanted:
        minutes = bisect_right(by_minute, kept)
        if (wanted - kept) * minutes * MINUTE_S >= price_s:
            return kept
        if minutes == len(by_minute):
            break
        kept = by_minute[minutes]
    return wanted


@lru_cache(maxsize=4096)
def _instances(load: _Load, worth: float, from_s: float) -> tuple[int, ...]:
    """How many instances are needed until each minute to come."""
    loads = until(load.forecast, worth, from_s)
    # Few of them are unlike the minute before.
    each = {highest: _ceil(highest, load.each) for highest in set(loads)}
    return tuple([each[highest] for highest in loads])


def _ceil(load: float, each: float) -> int:
    return max(1, math.ceil(load / each - 1e-9))


def _loads(
    service: Service, region: str, snapshot: Snapshot, triggers: tuple[Trigger, ...], holds: CapacitySeen | None
) -> list[_Load]:
    """The forecasts that matter, with what one instance bears; none unless all that can be foreseen is."""
    key, work = f"{service.name}@{region}", snapshot.works.get(f"{service.name}@{region}")
    bears_per_s: list[float] = []
    loads: list[_Load] = []
    for trigger in triggers:
        if trigger.is_posted:
            seen = _fresh(snapshot, f"{key}:{trigger.metric}")
            if seen is None:
                return []
            loads.append(_Load(seen, trigger.up_above, trigger.metric))
        elif trigger.metric == "capacity":
            assert holds is not None, "nobody asks for a capacity that was not measured"
            bears_per_s.append(trigger.up_above * holds.requests_per_s)
        elif trigger.metric in FORESEEN:
            is_cpu = trigger.metric == "cpu"
            takes_s = None if work is None else work.cpu_s if is_cpu else work.busy_s
            if not takes_s or takes_s <= 0:
                return []
            bears_per_s.append(trigger.up_above * (service.instance.cpu_cores if is_cpu else 1.0) / takes_s)
    if bears_per_s:
        seen = _fresh(snapshot, f"{key}.requests_per_s")
        if seen is None:
            return []
        loads.append(_Load(seen, min(bears_per_s), "requests/s"))
    return [load for load in loads if load.each > 0]


def _fresh(snapshot: Snapshot, series: str) -> ForecastSeen | None:
    seen = snapshot.forecasts.get(series)
    return seen if seen is not None and -MINUTE_S <= snapshot.taken_at - seen.seen_at <= FORECAST_AGE_S_MAX else None


def figure(value: float) -> str:
    """`0.42`, `41.5`, `12,345`."""
    if 0 < value < SHOWN_MIN:
        return f"less than {SHOWN_MIN}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
