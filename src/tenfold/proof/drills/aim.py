"""Takes aim: which instance a pool means, which region's store is primary; and which decision then answers the harm. Pure."""

import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from tenfold.effects import AnswerRequest
from tenfold.effects.faults import Lose, Partition
from tenfold.facts import InstanceState
from tenfold.proof.drills.drill import Act, Drill, Ship, Strike, Surge
from tenfold.proof.drills.stage import DrillRefused, Look, Made

REGION, CONTROL = "region/", "control"


def aimed(act: Act, look: Look, random: Random) -> Act:
    """`act` upon something that runs now. Raises `DrillRefused` when there is nothing of the kind."""
    if not isinstance(act, Strike) or isinstance(act.fault, Lose | Partition):
        return act
    subject = act.fault.subject
    if "@" in subject:
        return Strike(replace(act.fault, subject=_instance(subject, look, random)))
    if subject.endswith("/"):
        return Strike(replace(act.fault, subject=subject + _primary(subject[:-1], look)))
    return act


def _instance(pool: str, look: Look, random: Random) -> str:
    seen = look.snapshot.instances.values()
    ready = sorted(i.id for i in seen if f"{i.service}@{i.region}" == pool and i.state is InstanceState.READY)
    if not ready:
        raise DrillRefused(f"no instance of {pool} is ready: `tenfold status` shows what is")
    return random.choice(ready)


def _primary(kind: str, look: Look) -> str:
    judged = look.memory.stores.get(kind)
    return judged.primary if judged is not None else (look.model.store_regions or (look.model.home,))[0]


def subject_of(act: Act) -> str:
    """What an aimed act is about, in a word."""
    match act:
        case Strike(fault):
            return REGION + fault.region if isinstance(fault, Lose | Partition) else fault.subject
        case Surge(times):
            return f"{times:g} times the load"
        case Ship(sickness):
            return f"a release that {'never gets healthy' if sickness == 'never_healthy' else 'answers 500'}"


def answer_of(drill: Drill, acts: Sequence[Act], made: Sequence[Made], look: Look, struck_at: float) -> Made | None:
    """The first of the decisions `made` since the harm that answers it: by one of the drill's deciders, and about what was struck."""
    words = [word for act in acts for word in _words(act, look)]
    is_wide = any(subject_of(act).startswith(REGION) for act in acts)
    named = re.compile("|".join(rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in words)) if words else None
    is_release = any(isinstance(act, Ship) for act in acts)
    for one in made:
        decision = one.decision
        if decision.by not in drill.answered_by:
            continue
        if is_release:
            # A release that is under way is no answer; that it is given up is one.
            if any(isinstance(effect, AnswerRequest) and not effect.ok for effect in decision.effects):
                return one
            continue
        if is_wide and decision.by == "route" and not struck_at < look.memory.regions.moved_at <= one.at:
            # Every table names the regions: only one that leads clients another way is an answer.
            continue
        told = " ".join((decision.subject, decision.why, *(effect.subject for effect in decision.effects)))
        if named is not None and named.search(told):
            return one
    return None


def _words(act: Act, look: Look) -> tuple[str, ...]:
    """How a decision may name what was struck."""
    if isinstance(act, Surge):
        return tuple(look.memory.scale.pools)
    subject = subject_of(act)
    return (subject.removeprefix(REGION),) if isinstance(act, Strike) else ()
