"""A budget that can say no. Stage: what every pool wishes -> what of it the month's money allows.

Instances that run are not taken away, and what always runs is never refused, nor the first instance of a pool: the budget says no to
more. With `budget.enforce` all pools together may cost so much an hour that a day like this, and the rest of the month as usual, stays
within `budget.monthly`:

    most = (monthly - spent - usual * (left - day)) / day

    spent   what this month has cost so far (`SpendSeen.month_so_far`)
    left    hours until the month ends (UTC)
    usual   what an hour costs on the mean of the last day: (month_forecast - spent) / left; while less than an hour of the month was
            seen, and at the least, what always runs
    day     24 hours, or `left` where that is less

Where not all wishes fit, the surest go first (what is seen now, then scheduled floors, then what is expected), among these what people
wait for at the edge, then by name. The last figures hold while newer ones are missing. Nothing is refused before the first.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache

from tenfold.facts import Snapshot, SpendSeen
from tenfold.model import Budget, InstanceSize, Model, Prices, Release, Service, month_of

HOUR_S = 3600.0
DAY_HOURS = 24.0
SPEND_AGE_S_MAX = 180.0
"""The fact is told again each minute: an older one is stale."""
USUAL_SEEN_S = 3600.0
"""What less than this has shown is not what is usual."""


class Ground(IntEnum):
    """What a wish rests on, the surest first."""

    SEEN = 0
    FLOOR = 1
    EXPECTED = 2


@dataclass(frozen=True, slots=True)
class Wish:
    """A pool that is to have `wanted` instances instead of the `kept` that are not refused, on this `ground`, as sure as
    `confidence_ratio`."""

    key: str
    service: Service
    kept: int
    wanted: int
    ground: Ground = Ground.SEEN
    confidence_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Room:
    """What all pools together may cost an hour (`per_hour_max`), by the figures `seen`: `left_hours` before the month's end an hour usually
    costs `usual_per_hour`. `is_held` tells that newer figures are missing."""

    budget: Budget
    seen: SpendSeen
    left_hours: float
    usual_per_hour: float
    is_held: bool

    @property
    def day_hours(self) -> float:
        return min(DAY_HOURS, self.left_hours)

    @property
    def per_hour_max(self) -> float:
        return (float(self.budget.monthly.amount) - self.month(0.0)) / self.day_hours

    def month(self, per_hour: float) -> float:
        """What the month comes to with a day at `per_hour` and the rest as usual."""
        usual = self.usual_per_hour * (self.left_hours - self.day_hours)
        return self.seen.month_so_far + per_hour * self.day_hours + usual


def known_spend(budget: Budget, snapshot: Snapshot, before: SpendSeen | None) -> SpendSeen | None:
    """The newest figures in the budget's currency, now or before; None where there never were any."""
    for seen in (snapshot.spend.get("month"), before):
        if seen is not None and seen.currency == budget.monthly.currency:
            return seen
    return None


def room(model: Model, release: Release, snapshot: Snapshot, seen: SpendSeen) -> Room:
    """What the pools of `release` may cost, by the newest figures `seen`."""
    assert model.budget is not None, "asked where there is a budget"
    always = sum(
        per_hour(model, service) * service.scaling.instances_min * len(model.regions)
        for service in release.services.values()
        if service.runs_always
    )
    left_hours = (month_of(seen.seen_at)[1] - seen.seen_at) / HOUR_S
    usual = (seen.month_forecast - seen.month_so_far) / left_hours if seen.seen_s >= USUAL_SEEN_S else always
    is_held = not -1.0 <= snapshot.taken_at - seen.seen_at <= SPEND_AGE_S_MAX
    return Room(model.budget, seen, left_hours, max(usual, always), is_held)


def per_hour(model: Model, service: Service) -> float:
    """What one instance of `service` costs an hour."""
    return _per_hour(model.prices, service.instance)


@lru_cache(maxsize=256)
def _per_hour(prices: Prices, size: InstanceSize) -> float:
    return float(prices.per_hour(size.cpu_cores, size.memory_bytes))


def granted(model: Model, wishes: Iterable[Wish], running: float, most: float) -> Mapping[str, int]:
    """How many instances each pool gets that wishes for some, while what is `kept` costs `running` an hour and all may cost `most`."""
    got: dict[str, int] = {}
    for wish in sorted(wishes, key=lambda w: (w.ground, -w.confidence_ratio, not w.service.is_behind_edge, w.key)):
        has = got.get(wish.key, wish.kept)
        price = per_hour(model, wish.service)
        fits = max(0, math.floor((most - running) / price + 1e-9)) if price > 0 else wish.wanted
        more = min(max(0, wish.wanted - has), fits)
        got[wish.key] = has + more
        running += more * price
    return got


def refusal(model: Model, room: Room, wish: Wish, got: int, running: float) -> str:
    """Why a pool that wishes for more gets `got` instances, in figures; `running` is what all pools cost an hour with what was granted."""
    more, monthly, currency = wish.wanted - got, room.budget.monthly, room.seen.currency
    costs = more * per_hour(model, wish.service)
    needed = room.month(running + costs)
    left = max(0.0, float(monthly.amount) - room.seen.month_so_far)
    return (
        f"{more} more would cost {costs:.2f} {currency} an hour; {left:.2f} of {monthly} are left this month, and a day of that "
        f"would bring it to {needed:.2f} {currency}{held(room)}; to allow it, raise budget.monthly to {math.ceil(needed)} {currency}"
    )


def held(room: Room) -> str:
    """That the figures are old, in words, where they are."""
    at = datetime.fromtimestamp(room.seen.seen_at, UTC)
    return f" (by the figures of {at:%Y-%m-%d %H:%M} UTC: newer ones are missing)" if room.is_held else ""
