"""The demand that `tenfold simulate` plays: a trace, or a day of users, shared over services and regions. Stage: a call -> rates by pool.

Each demand says in words how it was made; what it knows of the time before is what the forecast has learnt.
"""

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import click

from tenfold.cli.here import WrongCall
from tenfold.estimators.users import Question, needs, spread
from tenfold.model import Model
from tenfold.proof.load import LoadError, Trace, read_trace
from tenfold.proof.words import many
from tenfold.sim.estimates import History
from tenfold.sim.rates import Rate, day

MINUTE_S, HOUR_S, DAY_S = 60, 3600.0, 86_400.0
LAST_DAYS = 3
"""So many days at the end of a long trace are simulated where nobody says which; what is before them is learnt from."""
LARGE_BYTES = 10_000_000
"""Reading so much takes seconds, and is said."""
LONG_DAYS = 4
LEARNT_DAYS = 28
"""More than this the forecast does not look back."""
USERS_DAYS = 14
"""So many days like the one that is played are learnt from."""
NIGHT_RATIO, BUSIEST_HOUR = 0.15, 14
"""A day of users: at the quietest hour so much of what there is at the busiest, which is 14:00 in each region's own time."""
LINGERS, NOISE = 0.9, 0.02
"""What the noise of a minute keeps of the one before, and what is new in it: so together about 5% either way."""
FIRST = datetime(2026, 1, 5, tzinfo=UTC)
"""A day of users is a Monday."""
SECONDS_MIN = 600.0
PEAK_RATIO = 0.99


@dataclass(frozen=True, slots=True)
class Minutes:
    """Requests/s of one pool, minute by minute; the first began `first_s` after the counted time did (so mostly before it)."""

    first_s: float
    per_s: "array[float]"

    def rate(self, at_s: float) -> float:
        """At a moment of the counted time; before and after what is known it goes on as it was."""
        place = int((at_s - self.first_s) // MINUTE_S)
        return self.per_s[min(max(place, 0), len(self.per_s) - 1)]


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of each pool. The counted time begins at `began_at` (seconds since the epoch) and goes on for `seconds`; `told` are
    sentences about it."""

    began_at: float
    seconds: float
    by_pool: Mapping[str, Minutes]
    told: tuple[str, ...]

    @property
    def rates(self) -> dict[str, Rate]:
        return {key: minutes.rate for key, minutes in self.by_pool.items()}

    def whole(self) -> list[float]:
        """Requests/s of all pools, in each minute of the counted time."""
        moments = range(0, int(self.seconds), MINUTE_S)
        return [sum(minutes.rate(at_s) for minutes in self.by_pool.values()) for at_s in moments]

    def busiest_s(self) -> float:
        """When most is asked for, in seconds of the counted time."""
        whole = self.whole()
        return float(max(range(len(whole)), key=whole.__getitem__) * MINUTE_S)

    def times(self, factor: float) -> "Demand":
        """So many times as much."""
        scaled = {
            key: Minutes(m.first_s, array("d", (value * factor for value in m.per_s)))
            for key, m in self.by_pool.items()
        }
        return Demand(self.began_at, self.seconds, scaled, self.told)

    def history(self) -> History:
        """What is known by minute and series, up to the beginning of the counted time."""
        known: dict[int, dict[str, float]] = {}
        for key, minutes in self.by_pool.items():
            begins = int((self.began_at + minutes.first_s) // MINUTE_S)
            count = min(len(minutes.per_s), max(0, math.ceil(-minutes.first_s / MINUTE_S)))
            for place in range(max(0, count - LEARNT_DAYS * 1440), count):
                known.setdefault(begins + place, {})[f"{key}.requests_per_s"] = minutes.per_s[place]
        return dict(sorted(known.items()))


def of_trace(
    file: Path, since: datetime | None, until: datetime | None, question: Question, scale: float, peak_rps: float | None
) -> Demand:
    """A file's days, shared as the scenario's requests are over services and as users are over regions. Raises `WrongCall`."""
    since, until = _utc(since), _utc(until)
    if since is not None and until is not None and until <= since:
        raise WrongCall("--to must come after --from")
    trace, notes = _read(file, since, until)
    first = trace.start
    ends = first + timedelta(seconds=trace.step_s * len(trace.requests))
    is_long = ends - first > timedelta(days=LONG_DAYS)
    begins = since or (ends - timedelta(days=LAST_DAYS) if is_long else first)
    begins = max(begins, first)
    seconds = (ends - begins).total_seconds()
    if seconds < SECONDS_MIN:
        asked = "" if since is None and until is None else " in the time asked for"
        holds = (
            f"{'up to --to ' if until is not None else ''}it holds {first:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"
        )
        minutes = many(round(max(seconds, 0) / 60), "minute")
        raise WrongCall(f"{file} has only {minutes}{asked} ({holds}): give ten or more")
    first_s = (first - begins).total_seconds()
    per_s = minutes_of(trace)
    try:
        counted = Trace(begins, MINUTE_S, tuple(value * MINUTE_S for value in per_s[int(-first_s // MINUTE_S) :]))
        factor = counted.factor(scale, peak_rps)
    except LoadError as error:
        raise WrongCall(str(error)) from None
    parts = {region: sum(bound.values()) for region, bound in spread(question, 1.0).items()}
    by_pool = {
        f"{service}@{region}": Minutes(first_s, array("d", (value * factor * share * part for value in per_s)))
        for service, share in question.shares.items()
        if share > 0
        for region, part in parts.items()
    }
    told = [f"demand: {file.name}, read as {trace.read_as}; {_span(begins, seconds)}"]
    if factor != 1.0:
        told.append(f"it is multiplied by {factor:.4g}")
    if trace.filled:
        told.append(f"{many(trace.filled, 'step')} were missing in the file and are interpolated")
    told += [*trace.notes, *notes, *_shared(question, parts)]
    before_s = min(-first_s, LEARNT_DAYS * DAY_S)
    told.append(
        f"the forecast has learnt from {_days(before_s)} before"
        if before_s
        else "the forecast begins with nothing learnt"
    )
    return Demand(begins.timestamp(), seconds, by_pool, tuple(told))


def of_users(question: Question, users: int, seed: int) -> Demand:
    """A day on which so many users are there at the busiest moment. In each region they come by its own time of day."""
    model, asked = question.model, needs(question, users)
    rps = {f"{need.service}@{need.region}": need.requests_per_s for need in asked if need.requests_per_s > 0}
    curves = {region: _curve(model, region, seed) for region in model.regions}
    parts = {region: sum(bound.values()) for region, bound in spread(question, 1.0).items()}
    counted = range(USERS_DAYS * 1440, (USERS_DAYS + 1) * 1440)
    busiest = max(sum(parts[region] * curves[region][minute] for region in parts) for minute in counted)
    by_pool = {
        key: Minutes(
            -USERS_DAYS * DAY_S, array("d", (per_s * value / busiest for value in curves[key.partition("@")[2]]))
        )
        for key, per_s in rps.items()
    }
    placed = [name for name, region in model.regions.items() if region.at is not None]
    where = "each region's own time of day" if len(placed) > 1 else "the time of day"
    told = [
        f"demand: {users:,} users at the busiest moment of a day, under the scenario {question.scenario.name}; "
        f"they ask for {sum(rps.values()):,.0f} requests/s then",
        f"they come and go by {where}: most at {BUSIEST_HOUR}:00, {NIGHT_RATIO:.0%} of that at night, about 5% of noise that lingers",
        f"the forecast has learnt from {USERS_DAYS} days like it; a real day is rougher: play your own with --trace",
        *_shared(question, parts),
    ]
    return Demand(FIRST.timestamp(), DAY_S, by_pool, tuple(told))


def needing(demand: Demand, holds_per_s: Mapping[str, float], instances: int) -> tuple[Demand, str]:
    """`demand` scaled so that its 99th percentile needs so many instances in all, and how that is told."""
    needed = sorted(
        sum(minutes.rate(at_s) / holds_per_s[key.partition("@")[0]] for key, minutes in demand.by_pool.items())
        for at_s in range(0, int(demand.seconds), MINUTE_S)
    )
    usual = needed[min(len(needed) - 1, int(PEAK_RATIO * len(needed)))]
    if usual <= 0:
        raise WrongCall("the trace has no requests at all, so it can't be scaled to a peak: give another one")
    factor = instances / usual
    return demand.times(
        factor
    ), f"it is multiplied by {factor:.4g}, so that its 99th percentile needs {instances} instances"


def minutes_of(trace: Trace) -> Sequence[float]:
    """A trace as requests/s in each minute: shorter steps are meant over, longer ones joined by lines between their middles."""
    step_s, rates = trace.step_s, [count / trace.step_s for count in trace.requests]
    count = max(1, round(step_s * len(rates) / MINUTE_S))
    if step_s == MINUTE_S:
        return rates
    if step_s < MINUTE_S:
        found = []
        for minute in range(count):
            first, last = round(minute * MINUTE_S / step_s), round((minute + 1) * MINUTE_S / step_s)
            part = rates[first : max(last, first + 1)] or rates[-1:]
            found.append(sum(part) / len(part))
        return found
    found = []
    for minute in range(count):
        at = (minute + 0.5) * MINUTE_S / step_s - 0.5
        before = min(max(math.floor(at), 0), len(rates) - 1)
        after, share = min(before + 1, len(rates) - 1), min(max(at - before, 0.0), 1.0)
        found.append(rates[before] + (rates[after] - rates[before]) * share)
    return found


def _read(file: Path, since: datetime | None, until: datetime | None) -> tuple[Trace, tuple[str, ...]]:
    """The trace with all that lies before `since`, as far as it can be read, and what to say where it can't."""
    if file.is_file() and (size_bytes := file.stat().st_size) > LARGE_BYTES:
        click.echo(f"reading {file.name}, {size_bytes / 1e6:,.0f} MB", err=True)
    try:
        try:
            return read_trace(file, None, until), ()
        except LoadError as error:
            if since is None:
                raise
            trace = read_trace(file, since, until)
            return trace, (f"what lies before is not learnt from: {error}",)
    except LoadError as error:
        raise WrongCall(str(error)) from None


def _curve(model: Model, region: str, seed: int) -> Sequence[float]:
    """How busy each minute is, from the first that is learnt from to the end of the day that is played."""
    at = model.regions[region].at
    # Fifteen degrees of longitude are an hour; who has no place lives by UTC.
    peak_s = (BUSIEST_HOUR - (at[1] / 15 if at is not None else 0.0)) * HOUR_S
    shape, random, noise = day(NIGHT_RATIO, 1.0, peak_s), Random(f"users/{region}/{seed}"), 0.0
    values = []
    for minute in range((USERS_DAYS + 1) * 1440):
        noise = LINGERS * noise + random.gauss(0.0, NOISE)
        values.append(shape(minute * float(MINUTE_S)) * math.exp(noise))
    return values


def _shared(question: Question, parts: Mapping[str, float]) -> list[str]:
    """How demand is shared, where there is something to share it over."""
    told = []
    shares: dict[str, float] = {}
    for name, share in question.shares.items():
        program = question.model.services[name].base
        shares[program] = shares.get(program, 0.0) + share
    shares = {name: share for name, share in shares.items() if share > 0}
    if len(shares) > 1:
        told.append("services by the scenario's requests: " + ", ".join(f"{n} {s:.0%}" for n, s in shares.items()))
    if len(parts) > 1:
        told.append("regions by their capacities: " + ", ".join(f"{name} {part:.0%}" for name, part in parts.items()))
    return told


def _span(begins: datetime, seconds: float) -> str:
    ends = begins + timedelta(seconds=seconds)
    return f"{begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC ({_days(seconds)}) are played"


def _days(seconds: float) -> str:
    return f"{seconds / DAY_S:.3g} days" if seconds >= 1.5 * DAY_S else f"{seconds / HOUR_S:.3g} h"


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
