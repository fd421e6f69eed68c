"""Takes what a person names out of service gently: an instance, which is replaced, or a region, until it is asked back.
Stage: decide, before regions are judged and instances are healed; answers after ways and tables are settled.

An instance that drains gets no new requests, finishes those it has, and ends; heal starts another in its place at once. Of a region
only the traffic moves, step by step: what runs there goes on running, its stores included. What nobody could take over is refused.
"""

from dataclasses import dataclass, replace

from tenfold.deciders.memory import DrainMemory, HealMemory, Intent, MemberState, Memory, RegionState
from tenfold.effects import AnswerRequest, Decision
from tenfold.facts import DrainRequest, InstanceState, Snapshot
from tenfold.model import Model

REGION = "region/"
SIGHT_AGE_S_MAX = 5.0
"""Older sights of processes are stale: nothing is taken away by them."""
MOVED_S = 10.0
"""Traffic that has not moved for this long moves no more."""


def take_up_drains(model: Model, snapshot: Snapshot, memory: Memory) -> tuple[Memory, tuple[Decision, ...]]:
    """Begin what people ask for, or refuse it. Only `memory.drain` and `memory.heal` change."""
    asked = [
        request
        for request in snapshot.requests.values()
        if isinstance(request, DrainRequest) and f"answer:{request.id}" not in snapshot.pending
    ]
    if memory.release.intent is not Intent.UP:
        # With what served its drains end as well.
        memory = memory if memory.drain == DrainMemory() else replace(memory, drain=DrainMemory())
        return memory, tuple(_answer(r, False, "nothing is running, so there is nothing to drain") for r in asked)
    decisions: list[Decision] = []
    decision: Decision | None
    for request in sorted(asked, key=lambda r: (r.made_at, r.id)):
        if request.id in memory.drain.waiting:
            continue
        if request.subject.startswith(REGION):
            memory, decision = _take_region(model, memory, request, snapshot.taken_at)
        else:
            memory, decision = _take_instance(snapshot, memory, request)
        if decision is not None:
            decisions.append(decision)
    return memory, tuple(decisions)


def _take_instance(snapshot: Snapshot, memory: Memory, request: DrainRequest) -> tuple[Memory, Decision | None]:
    name = request.subject
    member = memory.heal.members.get(name)
    if request.is_undo:
        return memory, _no(request, f"{name} is no region: an instance that drains ends, and another takes its place")
    # Without a fresh sight of what runs nothing is taken away: the request waits.
    if not snapshot.fresh("process", SIGHT_AGE_S_MAX):
        return memory, None
    if member is None:
        known = ", ".join(sorted(memory.heal.members)) or "none"
        return memory, _no(request, f"there is no instance {name}; there are: {known}")
    if member.state is MemberState.WANTED:
        if _is_last(name, snapshot, memory.heal):
            advice = "let more of it run first (scaling.instances.min)"
            return memory, _no(request, f"{name} is the only instance of {member.pool} that is ready: {advice}")
        members = {
            **memory.heal.members,
            name: replace(member, state=MemberState.DRAINING, since=snapshot.taken_at),
        }
        memory = replace(memory, heal=replace(memory.heal, members=members))
    why = f"{name} is drained{_asked(request)}: no new requests, those at hand are finished; another takes its place"
    return _waiting(memory, request), Decision("", "drain", f"instance/{name}", (), why)


def _is_last(name: str, snapshot: Snapshot, heal: HealMemory) -> bool:
    """True when it is the only one of its line that takes requests now."""
    line = heal.members[name].line
    ready = [
        id_
        for id_, member in heal.members.items()
        if member.line == line
        and member.state is MemberState.WANTED
        and (seen := snapshot.instances.get(id_)) is not None
        and seen.port is not None
        and seen.state is InstanceState.READY
        and not seen.frozen
    ]
    return ready == [name]


def _take_region(model: Model, memory: Memory, request: DrainRequest, now: float) -> tuple[Memory, Decision]:
    name, drained = request.subject.removeprefix(REGION), memory.drain.regions
    if name not in model.regions:
        return memory, _no(request, f"there is no region {name}; there are: {', '.join(model.regions)}")
    if not model.is_spread:
        return memory, _no(request, f"{name} is the only region: nobody else could serve its clients")
    if request.is_undo:
        if name not in drained:
            return memory, _answer(request, True, f"{name} is not drained")
        left = {region: since for region, since in drained.items() if region != name}
        memory = replace(memory, drain=replace(memory.drain, regions=left))
        return memory, _answer(
            request, True, f"{name} is asked back{_asked(request)}: it takes traffic again, step by step"
        )
    if name not in drained and (why_not := _why_not(model, memory, name)):
        return memory, _no(request, why_not)
    memory = replace(memory, drain=replace(memory.drain, regions={name: now, **drained}))
    why = f"{name} is drained{_asked(request)}: its traffic moves to other regions, until it is asked back"
    return _waiting(memory, request), Decision("", "drain", f"{REGION}{name}", (), why)


def _why_not(model: Model, memory: Memory, name: str) -> str:
    """Why nobody could take over from a region; empty when somebody could."""
    judged = memory.regions.regions
    if name not in judged:
        return f"{name} has not served yet: there is nothing to drain"
    others = [
        other
        for other, region in judged.items()
        if other != name
        and other not in memory.drain.regions
        and region.state in (RegionState.SERVING, RegionState.RETURNING)
    ]
    if not others:
        return f"no other region is well: who would serve the clients of {name}?"
    law = model.regions[name].residency
    if law in model.residency and all(model.regions[other].residency != law for other in others):
        return f"no other region of {law} is well, and who must be served there would be refused"
    return ""


def answer_drains(snapshot: Snapshot, memory: Memory) -> tuple[Memory, tuple[Decision, ...]]:
    """Answer those whose wish has come true, or can't. Only `memory.drain` changes."""
    drain = memory.drain
    if not drain.waiting:
        return memory, ()
    ended = {
        request: how
        for request, subject in drain.waiting.items()
        if (how := _how(snapshot, memory, subject)) is not None
    }
    waiting = {request: subject for request, subject in drain.waiting.items() if request not in ended}
    # A request that somebody answered elsewhere (or that was lost) is not waited for.
    waiting = {request: subject for request, subject in waiting.items() if request in snapshot.requests}
    decisions = tuple(
        Decision("", "drain", _subject(drain.waiting[request]), (AnswerRequest(request, how.ok, how.text),), how.text)
        for request, how in ended.items()
    )
    if waiting == drain.waiting:
        return memory, decisions
    return replace(memory, drain=replace(drain, waiting=waiting)), decisions


@dataclass(frozen=True, slots=True)
class _How:
    """How a drain ended."""

    ok: bool
    text: str


def _how(snapshot: Snapshot, memory: Memory, subject: str) -> _How | None:
    """How it ended; None while it is under way."""
    if not subject.startswith(REGION):
        return _How(True, f"{subject} has ended") if subject not in memory.heal.members else None
    name = subject.removeprefix(REGION)
    if name not in memory.drain.regions:
        return _How(False, f"{name} was asked back")
    judged = memory.regions.regions.get(name)
    if judged is not None and judged.state is not RegionState.DRAINED:
        return _How(False, f"{name} serves for now, since no other region is well; it is drained as soon as one is")
    left = [key for key, shares in memory.regions.ways.items() if shares.get(name, 0.0) > 0]
    if left and snapshot.taken_at - memory.regions.moved_at < MOVED_S:
        return None
    if left:
        bound = ", ".join(sorted({key.partition("|")[2] for key in left}))
        return _How(
            False, f"{name} goes on serving those that must stay in {bound}: no other region may serve them now"
        )
    entry = snapshot.gateways.get("entry")
    if entry is not None and entry.table_digest != memory.route.digests.get("entry"):
        return None
    kept = [f"{kind}/{name}" for kind, store in memory.stores.items() if store.primary == name]
    stores = f"; {' and '.join(kept)} still take the writes" if kept else ""
    return _How(True, f"no traffic goes to {name} any more{stores} (`tenfold drain {name} --undo` asks it back)")


def _waiting(memory: Memory, request: DrainRequest) -> Memory:
    waiting = {**memory.drain.waiting, request.id: request.subject}
    return replace(memory, drain=replace(memory.drain, waiting=waiting))


def _no(request: DrainRequest, why: str) -> Decision:
    return _answer(request, False, why)


def _answer(request: DrainRequest, ok: bool, text: str) -> Decision:
    return Decision("", "drain", _subject(request.subject), (AnswerRequest(request.id, ok, text),), text)


def _subject(subject: str) -> str:
    return subject if subject.startswith(REGION) else f"instance/{subject}"


def _asked(request: DrainRequest) -> str:
    """Who asked, where it was not whoever owns the folder."""
    return f", as asked by {request.by}" if request.by else ", as asked"
