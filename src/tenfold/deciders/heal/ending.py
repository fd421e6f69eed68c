"""Ends instances that are wanted no more: let go first, told to end once their requests are finished, and told again when that did not
take hold."""

from collections.abc import Mapping
from dataclasses import replace

from tenfold.deciders.heal.draft import Draft
from tenfold.deciders.memory import Member, MemberState
from tenfold.effects import StopInstance
from tenfold.facts import EngineState, InstanceSeen, InstanceState, Snapshot
from tenfold.model import Release

GATEWAY_AGE_S_MAX = 5.0
"""Older sights of a gateway are stale: nothing is concluded from its absence."""
UNHEEDED_S = 4.0
"""An order to end shows within this long; longer than arbitrate holds the same order back."""
DRAIN_S = 30.0
"""How long an instance whose release is not known any more may finish its requests."""
DRAINED_GRACE_S = 10.0
"""How long an instance without requests has to end before it is killed."""


def release_surplus(draft: Draft) -> None:
    """Let go of what is more than wanted: sick and starting ones first, then those with the fewest open sockets,
    then the youngest."""
    by_line: dict[str, list[str]] = {}
    for id_, member in draft.members.items():
        if member.state is MemberState.WANTED:
            by_line.setdefault(member.line, []).append(id_)
    for key, ids in by_line.items():
        line = draft.lines.get(key)
        surplus = len(ids) - (line.wanted if line else 0)
        if surplus <= 0:
            continue
        pool = draft.snapshot.pools.get(draft.members[ids[0]].pool)
        sockets = pool.sockets_by_instance if pool else {}

        def worth(id_: str, sockets: Mapping[str, int] = sockets) -> tuple[bool, int, float]:
            seen = draft.snapshot.instances.get(id_)
            ready = seen is not None and seen.state is InstanceState.READY
            return ready, sockets.get(id_, 0), -draft.members[id_].asked_at

        going = sorted(ids, key=worth)[:surplus]
        for id_ in going:
            draft.members[id_] = replace(draft.members[id_], state=MemberState.DRAINING, since=draft.now)
        why = line.why if line else f"{draft.members[going[0]].release} is no longer meant to run"
        draft.decide(
            draft.members[going[0]].pool, f"{names(going)} let go: no new requests, those at hand are finished ({why})"
        )


def _drain_s(member: Member, releases: Mapping[str, Release]) -> float:
    """How long its release gives it for the requests at hand, also when that release is no longer meant to run."""
    release = releases.get(member.release)
    service = release.services.get(member.service) if release else None
    return service.drain_s if service else DRAIN_S


def end_drained(draft: Draft) -> None:
    """End what has finished its requests, or has had its time; and what was told to end and does not."""
    now, snapshot = draft.now, draft.snapshot
    for id_, member in tuple(draft.members.items()):
        seen = snapshot.instances.get(id_)
        if seen is None or f"stop:{id_}" in snapshot.pending:
            continue
        if member.state is MemberState.STOPPING and seen.state is not InstanceState.EXITED:
            _insist(draft, id_, member, seen, now)
        if member.state is not MemberState.DRAINING:
            continue
        drain_s = _drain_s(member, draft.around.releases)
        why = _drained(id_, member, seen, snapshot, drain_s)
        if why:
            draft.members[id_] = replace(member, state=MemberState.STOPPING, since=now)
            # A background service has no requests at the edge: its grace is the time for the job at hand.
            grace_s = DRAINED_GRACE_S if seen.port is not None else drain_s
            draft.decide(f"instance/{id_}", f"{id_} {why}: it ends", StopInstance(id_, grace_s, seen.generation))


def _insist(draft: Draft, id_: str, member: Member, seen: InstanceSeen, now: float) -> None:
    """Tell an instance again to end: when it is not even ending (the order was refused or lost), or takes too long."""
    told_s, subject = now - member.since, f"instance/{id_}"
    if seen.state is not InstanceState.STOPPING and not 0 <= told_s < UNHEEDED_S:
        stop = StopInstance(id_, DRAINED_GRACE_S, seen.generation)
        draft.decide(subject, f"{id_} was told to end and that did not take hold: once more", stop)
    elif not 0 <= told_s <= 60.0:
        stop = StopInstance(id_, 0.0, seen.generation)
        draft.decide(subject, f"{id_} was told to end a minute ago and still runs", stop)
    else:
        return
    draft.members[id_] = replace(member, since=now)


def forget_ended(draft: Draft) -> None:
    """Have the driver forget what ended and nobody remembers, should the first order to do so have been lost."""
    snapshot = draft.snapshot
    for id_, seen in snapshot.instances.items():
        if seen.state is InstanceState.EXITED and id_ not in draft.members and f"stop:{id_}" not in snapshot.pending:
            draft.decide(
                f"instance/{id_}", f"{id_} has ended and is forgotten", StopInstance(id_, 0.0, seen.generation)
            )


def _drained(id_: str, member: Member, seen: InstanceSeen, snapshot: Snapshot, drain_s: float) -> str:
    """Why a draining instance may end now, in words; empty while it may not."""
    now, pool = snapshot.taken_at, snapshot.pools.get(member.pool)
    if seen.port is None:
        return "takes no new work"
    if seen.state is InstanceState.STARTING or not member.was_ready:
        return "has no requests to finish"
    gateway = snapshot.engines.get(f"gateway/{member.region}")
    if snapshot.fresh("gateway", GATEWAY_AGE_S_MAX) and (gateway is None or gateway.state is EngineState.EXITED):
        return "has no requests to finish, since no gateway runs"
    # Neither a clock that was set back nor a stuck request keeps it for longer.
    if not 0 <= now - member.since < drain_s:
        return f"had {drain_s:.0f} s to finish its requests"
    # The figure must be younger than the table that took it out of the traffic, or it may miss a request on its way.
    if pool is not None and pool.seen_at > member.since + 1.0 and pool.in_flight_by_instance.get(id_, 0) == 0:
        return "has finished its requests"
    return ""


def names(ids: list[str]) -> str:
    """`web-1 is`, `web-1, web-2 and web-3 are`."""
    return f"{ids[0]} is" if len(ids) == 1 else f"{', '.join(ids[:-1])} and {ids[-1]} are"
