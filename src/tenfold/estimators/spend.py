"""What the instances cost. Snapshots in, a `SpendSeen` fact out.

Cost per hour = sum over instances of (cores * price of a core + GiB * price of a GiB), by the size that the blueprint gives an
instance, not by what it uses: that is what one pays for. Gateways and stores are not in it: nothing says their size.
"""

from datetime import date
from decimal import Decimal

from tenfold.facts import InstanceState, Snapshot, SpendSeen
from tenfold.model import Model, month_of

HOUR_S = 3600.0
DAY_S = 86_400.0
HOURS_A_MONTH = 730.0
"""A twelfth of a year."""
PRICES_OLD_DAYS = 180
"""List prices change about so often: older ones are worth a look."""
STEP_S_MAX = 10.0
"""Two looks further apart than this do not tell what ran between them, and facts that are older do not tell what runs."""
TELL_EVERY_S = 60.0
DIGITS = 6
USUAL_S = DAY_S
"""The forecast goes on with the mean of about this long."""


def cost_per_hour(model: Model, snapshot: Snapshot) -> float:
    """What the instances that have a process now cost for an hour, in the currency of `model.prices`."""
    counts: dict[tuple[str, str], int] = {}
    for seen in snapshot.instances.values():
        if seen.state is not InstanceState.EXITED:
            key = (seen.release, seen.service)
            counts[key] = counts.get(key, 0) + 1
    total = Decimal(0)
    for (release_id, name), count in counts.items():
        release = model.releases.get(release_id)
        service = (release.services if release is not None else model.services).get(name)
        if service is not None:
            total += count * model.prices.per_hour(service.instance.cpu_cores, service.instance.memory_bytes)
    return float(total)


def prices_text(as_of: str, today: date) -> str:
    """`prices of 2026-06-17, 165 days old`, with advice when they are older than half a year; empty for the blueprint's own (`as_of`
    is)."""
    if not as_of:
        return ""
    try:
        days = (today - date.fromisoformat(as_of)).days
    except ValueError:
        return f"prices of {as_of}"
    if days < 0:
        return f"prices of {as_of}, which is still to come: is this machine's clock right?"
    age = "of today" if days == 0 else f"{days} day{'' if days == 1 else 's'} old"
    old = ": write what you pay now in budget.prices" if days > PRICES_OLD_DAYS else ""
    return f"prices of {as_of}, {age}{old}"


class Spend:
    """What this month costs. Goes on from the last fact of the life before, so that no restart forgets what was spent."""

    def __init__(self, model: Model, before: SpendSeen | None = None) -> None:
        """`before` is the newest fact that the journal has; one in another currency counts for nothing: nothing is converted."""
        self._model = model
        self._fact = before if before is not None and before.currency == model.prices.currency else None
        self._spent = self._fact.month_so_far if self._fact is not None else 0.0
        self._seen_s = self._fact.seen_s if self._fact is not None else 0.0
        self._usual = self._fact.per_hour if self._fact is not None else None
        self._at: float | None = None

    def look(self, snapshot: Snapshot) -> SpendSeen | None:
        """Count what ran since the look before; one that was long ago, or blind, counts for nothing. The fact changes each minute, or
        with what runs; None before the first look that sees anything."""
        now = snapshot.taken_at
        if not snapshot.fresh("process", STEP_S_MAX):
            self._at = None
            return self._fact
        per_hour = cost_per_hour(self._model, snapshot)
        step_s = 0.0 if self._at is None else now - self._at
        self._at = now
        step_s = step_s if 0 < step_s <= STEP_S_MAX else 0.0
        begins, ends = month_of(now)
        fact = self._fact
        if fact is None or not begins <= fact.since < ends:
            fact, self._spent, self._seen_s = None, 0.0, 0.0
        self._spent += per_hour * step_s / HOUR_S
        self._seen_s += step_s
        self._usual = per_hour if self._usual is None else self._usual + (per_hour - self._usual) * step_s / USUAL_S
        if fact is None or fact.per_hour != per_hour or not 0 <= now - fact.seen_at < TELL_EVERY_S:
            # While less than a day was seen the plain mean says more than one that forgets.
            is_short = 0 < self._seen_s < USUAL_S
            usual = self._spent / self._seen_s * HOUR_S if is_short else self._usual
            self._fact = SpendSeen(
                currency=self._model.prices.currency,
                per_hour=per_hour,
                month_so_far=round(self._spent, DIGITS),
                month_forecast=round(self._spent + usual * (ends - now) / HOUR_S, DIGITS),
                since=fact.since if fact is not None else now,
                seen_s=round(self._seen_s, 3),
                prices_as_of=self._model.prices.as_of,
                seen_at=now,
            )
        return self._fact
