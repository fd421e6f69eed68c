"""Settles conflicts: one effect per subject and tick. Vetoes first,
then failover > heal > release > drain > route > scale > schedule > alert.

What is turned down is journalled with the reason; what is already under way is dropped silently,
since it was decided before.
"""

from collections.abc import Mapping
from dataclasses import replace

from tenfold.effects import Decision, Effect, Rejection, StartInstance
from tenfold.facts import Snapshot
from tenfold.model import Model

REPEAT_AFTER_S = 3.0
"""The same effect goes out again after this long at the soonest."""
RANKED = ("failover", "heal", "release", "drain", "route", "scale", "schedule", "alert")
RANK = {name: rank for rank, name in enumerate(RANKED)}
"""Who wins a subject that two deciders want in one tick; lower is stronger."""


def arbitrate(
    model: Model, snapshot: Snapshot, decisions: tuple[Decision, ...], sent: Mapping[str, float]
) -> tuple[tuple[Decision, ...], tuple[Rejection, ...], Mapping[str, float]]:
    """The decisions with the effects that may go out, those that may not, and when each was last let through.

    Order of decisions is kept. An effect that was let through a moment ago (`sent`) and has ended, whichever way, waits
    before it goes out again: a driver that refuses at once must not make the loop spin.
    """
    now = snapshot.taken_at
    sent = {key: at for key, at in sent.items() if 0 <= now - at < REPEAT_AFTER_S}
    winner: dict[str, tuple[int, str]] = {}
    for decision in decisions:
        for effect in decision.effects:
            bid = (RANK[decision.by], decision.id)
            winner[effect.subject] = min(winner.get(effect.subject, bid), bid)
    settled, rejected = [], []
    for decision in decisions:
        passed: list[Effect] = []
        for effect in decision.effects:
            if effect.key in snapshot.pending or effect.key in sent:
                continue
            veto = _veto(model, effect)
            if veto:
                rejected.append(Rejection(effect, decision.id, veto))
            elif winner[effect.subject][1] != decision.id:
                why = f"{winner[effect.subject][1]} decided about {effect.subject} in the same moment and goes first"
                rejected.append(Rejection(effect, decision.id, why))
            else:
                passed.append(effect)
        if passed or not decision.effects:
            settled.append(replace(decision, effects=tuple(passed)))
    sent |= {effect.key: now for decision in settled for effect in decision.effects}
    return tuple(settled), tuple(rejected), sent


def _veto(model: Model, effect: Effect) -> str:
    """Why an effect may never go out, in words; empty when it may."""
    if isinstance(effect, StartInstance) and effect.region not in model.regions:
        return f"the blueprint has no region {effect.region}: an instance there could hold data that may not be there"
    return ""
