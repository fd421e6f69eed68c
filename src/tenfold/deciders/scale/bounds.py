"""What a pool chose for itself becomes what it gets: a scheduled floor lifts it, the budget limits it. Each bound says what it made of what
was needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tenfold.deciders.memory import PoolScale
from tenfold.deciders.scale import budget
from tenfold.deciders.scale.floors import Least
from tenfold.deciders.scale.triggers import count
from tenfold.effects import Decision
from tenfold.facts import Snapshot, SpendSeen
from tenfold.model import Model, Release, Service

FLOOR_CONFIDENCE_RATIO = 0.99
"""People said so: surer than what is expected, less sure than what is seen."""
REFUSED_S = 300.0
"""A refusal is over when none has followed it for so long; one that comes later is told again."""
REFUSED_AGAIN_S = 60.0
"""That it is still refused is remembered about so often."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What `pool` (it had `before`) is to have by its own choice, with the `decision` that tells it; and the least at this hour."""

    key: str
    service: Service
    before: PoolScale | None
    pool: PoolScale
    decision: Decision | None
    least: Least

    @property
    def had(self) -> int:
        return self.before.wanted if self.before is not None else 0

    @property
    def target(self) -> int:
        """What its own choice and the floor come to."""
        return max(self.pool.wanted, self.least.instances)

    @property
    def kept(self) -> int:
        """What no budget refuses: what it has and keeps, what always runs, and a first instance."""
        if self.target <= self.had:
            return self.target
        return max(self.had, min(self.pool.wanted, max(self.service.scaling.instances_min, 1)))

    @property
    def confidence_ratio(self) -> float:
        return self.decision.confidence_ratio if self.decision is not None else 1.0


def bound(
    model: Model, release: Release, snapshot: Snapshot, spend: SpendSeen | None, chosen: Sequence[Choice]
) -> tuple[SpendSeen | None, list[tuple[PoolScale, Decision | None]]]:
    """What each of `chosen` gets, in their order, and what is known of the month's cost (`spend`: what was) where a budget is enforced."""
    now = snapshot.taken_at
    lifted = [_lift(choice, now) for choice in chosen]
    if model.budget is None or not model.budget.is_enforced:
        return None, [(_calm(pool, now), decision) for pool, decision in lifted]
    spend = budget.known_spend(model.budget, snapshot, spend)
    wishes = [wish for choice in chosen for wish in _wishes(choice)]
    if spend is None:
        unknown = "budget: nothing is known of what this month costs yet, so it refuses nothing"
        return None, [_allowed(*found, choice, unknown, now) for choice, found in zip(chosen, lifted, strict=True)]
    room = budget.room(model, release, snapshot, spend)
    kept = sum(choice.kept * budget.per_hour(model, choice.service) for choice in chosen)
    got = budget.granted(model, wishes, kept, room.per_hour_max)
    all_ = sum(got.get(c.key, c.kept) * budget.per_hour(model, c.service) for c in chosen)
    note = f"budget: allowed{budget.held(room)}" if room.is_held else ""
    settled = []
    for choice, found in zip(chosen, lifted, strict=True):
        gets = got.get(choice.key, choice.target)
        if gets >= choice.target:
            settled.append(_allowed(*found, choice, note, now))
        else:
            wish = budget.Wish(choice.key, choice.service, choice.kept, choice.target)
            why_not = partial(budget.refusal, model, room, wish, gets, all_)
            settled.append(_refused(*found, choice, gets, why_not, now))
    return spend, settled


def _wishes(choice: Choice) -> list[budget.Wish]:
    """What it wishes for beyond what is not refused: by its own choice, then by the floor."""
    sure, least = choice.confidence_ratio, choice.least.instances
    ground = budget.Ground.SEEN if sure >= 1.0 else budget.Ground.EXPECTED
    own = budget.Wish(choice.key, choice.service, choice.kept, choice.pool.wanted, ground, sure)
    floor = replace(own, wanted=least, ground=budget.Ground.FLOOR, confidence_ratio=FLOOR_CONFIDENCE_RATIO)
    return [wish for wish in (own, floor) if wish.wanted > choice.kept]


def _lift(choice: Choice, now: float) -> tuple[PoolScale, Decision | None]:
    """At least what this hour asks for."""
    pool, decision, least = choice.pool, choice.decision, choice.least
    if pool.wanted >= least.instances:
        return pool, decision
    had = choice.had if choice.before is not None else pool.wanted
    why = f"{choice.key} has {count(least.instances)} instead of {had}: {least.why}"
    facts = decision.facts if decision is not None else ()
    clamps = decision.clamps if decision is not None else ()
    clamp = f"floor: {least.instances} instead of {pool.wanted}: {least.why}"
    made = Decision("", "scale", choice.key, (), why, facts, (*clamps, clamp), FLOOR_CONFIDENCE_RATIO)
    return replace(pool, wanted=least.instances, why=why, changed_at=now, holding=""), made


def _allowed(
    pool: PoolScale, decision: Decision | None, choice: Choice, note: str, now: float
) -> tuple[PoolScale, Decision | None]:
    """As it wishes; `note` tells what the budget's word rests on, where that is worth saying."""
    if choice.target <= choice.kept:
        return _calm(pool, now), decision
    if pool.refused:
        pool = replace(pool, refused="", refused_at=0.0)
    if decision is not None and note:
        decision = replace(decision, clamps=(*decision.clamps, note))
    return pool, decision


def _refused(
    pool: PoolScale, decision: Decision | None, choice: Choice, gets: int, why_not: Callable[[], str], now: float
) -> tuple[PoolScale, Decision | None]:
    """Only `gets` instances: told when the number changes, and once when it does not."""
    before = choice.before
    if before is not None and _is_refused(before, now) and gets == before.wanted:
        at = before.refused_at if now - before.refused_at < REFUSED_AGAIN_S else now
        pool = _as_it_was(choice, before)
        # What it says besides, as that it holds, is said all the same.
        said = choice.decision if choice.pool.wanted <= choice.had else None
        return replace(pool, refused=before.refused, refused_at=at), said
    refused = why_not()
    why = f"{decision.why if decision is not None else pool.why}; the budget allows {gets}"
    if before is not None and gets == before.wanted:
        pool = _as_it_was(choice, before)
    else:
        pool = replace(pool, wanted=gets, why=why, changed_at=now)
    made = decision or Decision("", "scale", choice.key, (), why)
    made = replace(made, why=why, clamps=(*made.clamps, f"budget: {refused}"))
    return replace(pool, refused=refused, refused_at=now), made


def _as_it_was(choice: Choice, before: PoolScale) -> PoolScale:
    """With the number it had, and the reason for that."""
    return replace(
        choice.pool, wanted=before.wanted, why=before.why, changed_at=before.changed_at, raised_at=before.raised_at
    )


def _is_refused(pool: PoolScale, now: float) -> bool:
    """True while the budget refuses it more. A clock that is set back ends that, too."""
    return bool(pool.refused) and 0 <= now - pool.refused_at < REFUSED_S


def _calm(pool: PoolScale, now: float) -> PoolScale:
    """Without a refusal that is long over."""
    return replace(pool, refused="", refused_at=0.0) if pool.refused and not _is_refused(pool, now) else pool
