"""How many instances a pool will need, by what is expected of its load. Stage: forecasts -> needs, for `pool`.

How sure is sure enough depends on what it costs. At each time ahead the need is the load y for which

    y / median + w (1 - P(load <= y))        is least

`y / median` is what so many instances cost, in pools of the expected size; w is how much worse a minute short of instances is than paying
for that whole pool once more. A steady load is so covered nearly for certain, at little cost, and a wild one as far as it pays (the
newsvendor's rule with a price on time short: Arrow, Harris & Marschak, Optimal inventory policy, 1951). The blueprint's confidence c gives
w = c / (1 - c), 19 at 95%: a fifth of it decides when to add, half of it how much.

What an instance is asked for at most is what its triggers bear: `capacity` in requests/s, `concurrency` by how long a request keeps it busy
(Little's law), `cpu` by what a request costs (the utilisation law), a posted metric as it is.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from tenfold.deciders.scale.floors import starts_s
from tenfold.deciders.scale.triggers import duration
from tenfold.facts import CapacitySeen, ForecastSeen, Snapshot
from tenfold.model import Service, Trigger

FORECAST_AGE_S_MAX = 180.0
"""An older forecast has not heard of the last minutes: it is no reason for anything."""
MINUTE_S = 60.0
ADD_WORTH_RATIO = 0.2
ENOUGH_WORTH_RATIO = 0.5
STEADY_HORIZONS = 2.0
"""What is not needed within so many horizons may go."""
FORESEEN = ("concurrency", "cpu", "capacity")
"""Triggers whose reading follows from requests/s."""
NOTHING = 1e-9
TRIED_LEVELS = (0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.98, 0.985, 0.99, 0.9925, 0.995, 0.9965, 0.998)


@dataclass(frozen=True, slots=True)
class _Load:
    """A forecast, and what of it one instance is asked to bear at most; `unit` is that of both."""

    forecast: ForecastSeen
    each: float
    unit: str


class _Need(NamedTuple):
    """The load worth preparing for, when it is expected, and the chance (0..1) that there is no more then."""

    load: float
    ahead_s: float
    level: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a pool will need: `due` when an instance that is started now would be ready, `enough` for the horizon from then on, and no more
    than `steady` at any time within two horizons.

    `enough_for` and `steady_for` are what they are made of, `doubts` the loads that what it has now bears when `due` is. `known_at` is what
    the newest of it rests on.
    """

    due: int
    enough: int
    steady: int
    lead_s: float
    known_at: float
    enough_for: tuple[_Load, _Need]
    steady_for: tuple[_Load, _Need]
    doubts: tuple[tuple[_Load, float], ...]

    @property
    def chance_ratio(self) -> float:
        """How sure (0..1) it is that what it has now will not do when `due` is."""
        return max(1 - level_of(load.forecast, self.lead_s, borne) for load, borne in self.doubts)

    @property
    def words(self) -> str:
        """What `enough` is made of."""
        return _words(*self.enough_for)

    @property
    def steady_words(self) -> str:
        """What `steady` is made of."""
        return _words(*self.steady_for)


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
) -> Outlook | None:
    """What is to come for a pool that is to have `wanted`; None where a trigger that could be foreseen is not (no forecast, an old one, or
    nothing known of what a request takes): then only what is seen counts."""
    asked = service.scaling.forecast
    loads = _loads(service, region, snapshot, triggers, holds) if asked is not None else []
    if asked is None or not loads:
        return None
    ready_s = starts_s(service, region, snapshot)
    worth = asked.confidence_ratio / (1 - asked.confidence_ratio)
    best: Outlook | None = None
    for load in loads:
        # An instance serves from the end of its start, and a forecast is of whole minutes: the next one after that.
        lead_s = max(snapshot.taken_at - load.forecast.seen_at, 0.0) + ready_s + MINUTE_S
        found = _outlook(load, lead_s, asked.horizon_s, worth, wanted)
        best = found if best is None else _larger(best, found)
    return best


def _larger(one: Outlook, other: Outlook) -> Outlook:
    most = max(one, other, key=lambda each: (each.enough, each.due))
    steadiest = max(one, other, key=lambda each: each.steady)
    return Outlook(
        max(one.due, other.due),
        most.enough,
        steadiest.steady,
        most.lead_s,
        max(one.known_at, other.known_at),
        most.enough_for,
        steadiest.steady_for,
        one.doubts + other.doubts,
    )


def _outlook(load: _Load, lead_s: float, horizon_s: float, worth: float, wanted: int) -> Outlook:
    to_add, to_have, steady = _needs(load.forecast, worth, STEADY_HORIZONS * horizon_s)
    due = _at(to_add, lead_s)
    enough = _most(to_have, lead_s, lead_s + horizon_s)
    if lead_s > STEADY_HORIZONS * horizon_s:
        steady = _most(to_have, MINUTE_S, lead_s)
    return Outlook(
        _ceil(due, load),
        _ceil(enough, load),
        _ceil(steady, load),
        lead_s,
        load.forecast.seen_at,
        (load, enough),
        (load, steady),
        ((load, wanted * load.each),),
    )


def _words(load: _Load, need: _Need) -> str:
    """What is expected, and by how much of it the number is reckoned."""
    seen = load.forecast
    expected = at_level(seen, need.ahead_s, 0.5)
    return (
        f"{figure(expected)} {load.unit} expected in {duration(need.ahead_s)} (now {figure(seen.value)}), up to {figure(need.load)} with "
        f"{100 * need.level:.3g}% confidence; one bears {figure(load.each)}"
    )


def _ceil(need: _Need, load: _Load) -> int:
    return max(1, math.ceil(need.load / load.each - 1e-9))


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


# --- a forecast's quantiles -------------------------------------------------------------------------------------------


def _most(needs: tuple[_Need, ...], from_s: float, to_s: float) -> _Need:
    """The highest need between two times ahead, the soonest where there are several."""
    most = _at(needs, from_s)
    for need in needs:
        if from_s < need.ahead_s <= to_s and need.load > most.load:
            most = need
    return most


def _at(needs: tuple[_Need, ...], ahead_s: float) -> _Need:
    """The need at a time ahead: between two horizons in proportion, outside them the nearest."""
    before = needs[0]
    for need in needs:
        if need.ahead_s >= ahead_s:
            width = need.ahead_s - before.ahead_s
            part = (ahead_s - before.ahead_s) / width if width > 0 and ahead_s > before.ahead_s else float(width <= 0)
            level = before.level + part * (need.level - before.level)
            return _Need(before.load + part * (need.load - before.load), ahead_s, level)
        before = need
    return _Need(before.load, ahead_s, before.level)


_Needs = tuple[_Need, ...]


@lru_cache(maxsize=4096)
def _needs(seen: ForecastSeen, worth: float, steady_s: float) -> tuple[_Needs, _Needs, _Need]:
    """The loads that are worth preparing for at each horizon: those for which some are added, those that there should be enough for, and
    the highest of these until `steady_s`. A forecast stands for a minute, and is looked at every second."""
    middle = seen.levels.index(0.5)
    places = [_place(seen.levels, level) for level in TRIED_LEVELS]
    tried = [
        (horizon_s, max(column[middle], NOTHING), [_between(column, place, part) for place, part in places])
        for horizon_s, column in zip(seen.horizons_s, zip(*seen.quantiles, strict=True), strict=True)
    ]
    enough = _least(tried, worth * ENOUGH_WORTH_RATIO)
    return _least(tried, worth * ADD_WORTH_RATIO), enough, _most(enough, MINUTE_S, steady_s)


def _least(tried: list[tuple[float, float, list[float]]], worth: float) -> _Needs:
    """What costs least of the loads `tried` at each horizon, given that, the expected load, and the loads by level."""
    shorts = [worth * (1 - level) for level in TRIED_LEVELS]
    needs = []
    for horizon_s, pool, values in tried:
        costs = [value / pool + short for value, short in zip(values, shorts, strict=True)]
        best = costs.index(min(costs))
        needs.append(_Need(values[best], horizon_s, TRIED_LEVELS[best]))
    return tuple(needs)


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


def figure(value: float) -> str:
    """`0.42`, `41.5`, `12,345`."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
