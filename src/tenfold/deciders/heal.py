"""Keeps instances running: as many of each line (the instances of one release of a service in a region) as are wanted.

A line short of instances gets new ones at once; after failures in a row it waits longer each time and at last gives
up loudly, trying again only now and then. What is let go gets no new requests, finishes what it has, then ends.
Healing never makes an outage worse: when most of a pool is unhealthy at the same moment the cause is elsewhere, and
nothing is restarted for it.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from tenfold.deciders.failures import GIVEN_UP_RETRY_S, SETTLED_S, failed, waits
from tenfold.deciders.memory import Failures, HealMemory, Member, MemberState
from tenfold.effects import Decision, Effect, StartInstance, StopInstance
from tenfold.facts import EngineState, InstanceSeen, InstanceState, Snapshot
from tenfold.model import Release, Service

PROCESS_AGE_S_MAX = 5.0
"""Older sights of processes are stale: nothing is concluded from an absence."""
ASKED_GRACE_S = 5.0
"""How long after it was asked for an instance may be unseen before it counts as never started."""
UNHEEDED_S = 4.0
"""An order to end shows within this long; longer than arbitrate holds the same order back."""
DRAIN_S = 30.0
"""How long an instance whose release is not known any more may finish its requests."""
DRAINED_GRACE_S = 10.0
"""How long an instance without requests has to end before it is killed."""
SICK_GRACE_S = 2.0
"""A sick or frozen instance has this long to end before it is killed."""


@dataclass(frozen=True, slots=True)
class Line:
    """How many instances of one release's service should run in a region, and why that many."""

    service: Service
    region: str
    release: str
    wanted: int
    why: str

    @property
    def key(self) -> str:
        return f"{self.service.name}@{self.region}/{self.release}"

    @property
    def pool(self) -> str:
        return f"{self.service.name}@{self.region}"


@dataclass(slots=True)
class _Draft:
    """The memory being written and the decisions being made, within one tick."""

    members: dict[str, Member]
    numbers: dict[str, int]
    failures: dict[str, Failures]
    told: dict[str, str]
    decisions: list[Decision] = field(default_factory=list)

    def decide(self, subject: str, why: str, *effects: Effect) -> None:
        self.decisions.append(Decision("", "heal", subject, effects, why))

    def tell(self, subject: str, why: str) -> None:
        """Say something once, until it changes or `hush`ed."""
        if self.told.get(subject) != why:
            self.told[subject] = why
            self.decide(subject, why)

    def hush(self, subject: str) -> None:
        self.told.pop(subject, None)

    def hush_all(self, prefix: str, but: Container[str] = ()) -> None:
        """Hush every subject that begins with `prefix`, but those whose rest is in `but`."""
        for subject in tuple(self.told):
            if subject.startswith(prefix) and subject.removeprefix(prefix) not in but:
                self.hush(subject)


def heal(
    lines: tuple[Line, ...],
    releases: Mapping[str, Release],
    snapshot: Snapshot,
    memory: HealMemory,
    causes: Mapping[str, Decision],
    waiting_for: str,
) -> tuple[HealMemory, tuple[Decision, ...]]:
    """Bring each line to its wanted number. `releases` are all that may have instances. `causes` are this tick's
    decisions to scale, by pool: they get the starts they caused as effects. `waiting_for` names what instances need
    that is not there yet (`postgres/local`); while it is set none is started."""
    if not snapshot.fresh("process", PROCESS_AGE_S_MAX):
        return memory, tuple(causes.values())
    draft = _Draft(dict(memory.members), dict(memory.numbers), dict(memory.failures), dict(memory.told))
    _adopt(draft, snapshot)
    _forget_ended(draft, snapshot)
    by_line = {line.key: line for line in lines}
    _look(draft, snapshot, by_line, waiting_for)
    started: dict[str, tuple[Effect, ...]] = {}
    running = Counter(m.line for m in draft.members.values() if m.state is MemberState.WANTED)
    for line in lines:
        starts = _fill(draft, line, line.wanted - running[line.key], snapshot, waiting_for)
        if starts:
            started[line.key] = starts
    _release_surplus(draft, by_line, snapshot)
    _end_drained(draft, snapshot, releases)
    for key, starts in started.items():
        line = by_line[key]
        cause = causes.get(line.pool)
        if cause is not None and not cause.effects:
            causes = {**causes, line.pool: replace(cause, effects=starts)}
        else:
            draft.decide(line.pool, _start_why(line, starts, draft), *starts)
    _forget_old_lines(draft, by_line)
    after = HealMemory(draft.members, draft.numbers, draft.failures, memory.engines, draft.told)
    return after, (*causes.values(), *draft.decisions)


def _adopt(draft: _Draft, snapshot: Snapshot) -> None:
    """Take in instances that run and are not remembered (the memory was lost)."""
    for seen in snapshot.instances.values():
        if seen.id in draft.members or seen.state in (InstanceState.EXITED, InstanceState.STOPPING):
            continue
        now = snapshot.taken_at
        draft.members[seen.id] = Member(
            seen.service, seen.region, seen.release, MemberState.WANTED, now, seen.started_at
        )
        number = seen.id.rpartition("-")[2]
        if number.isdigit():
            draft.numbers[seen.service] = max(draft.numbers.get(seen.service, 0), int(number))
        draft.decide(f"instance/{seen.id}", f"{seen.id} was running already and is taken over")


def _look(draft: _Draft, snapshot: Snapshot, lines: Mapping[str, Line], waiting_for: str) -> None:
    """Compare each remembered instance with what is seen: lost, ended, failed to start, sick, or well."""
    sick_pools = _pools_sick_together(draft, snapshot)
    if not waiting_for:
        draft.hush_all("store/")
    for id_, member in tuple(draft.members.items()):
        seen, now = snapshot.instances.get(id_), snapshot.taken_at
        if seen is None:
            _look_for_unseen(draft, id_, member, snapshot)
        elif seen.state is InstanceState.EXITED:
            del draft.members[id_]
            why = f"{id_} ended: {seen.note or 'no reason known'}"
            if member.state is MemberState.WANTED:
                _fail(draft, member, seen.note or "ended", now)
                why += _outlook(draft, member, lines, now)
            draft.decide(f"instance/{id_}", why, StopInstance(id_, 0.0, seen.generation))
        elif member.state is not MemberState.WANTED:
            continue
        elif seen.state is InstanceState.STARTING:
            _look_at_start(draft, id_, member, seen, lines, now)
        elif seen.state is InstanceState.UNHEALTHY and waiting_for and not seen.frozen:
            # Of a whole line that is sick for one reason, one says it.
            if f"store/{member.line}" not in draft.told:
                why = f"{id_} is unhealthy ({seen.note}) while {waiting_for} is not ready: it is left alone until that is mended"
                draft.tell(f"store/{member.line}", why)
        elif seen.frozen or seen.state is InstanceState.UNHEALTHY:
            _look_at_sick(draft, id_, member, seen, sick_pools, lines, now)
        else:
            if not member.was_ready:
                draft.members[id_] = replace(member, ready_since=seen.since)
            failures = draft.failures.get(member.line) if draft.failures else None
            # Only one that was started after the last failure shows that starting works again; its elders show nothing.
            if failures is not None and seen.started_at >= failures.last_at and now - seen.since >= SETTLED_S:
                del draft.failures[member.line]
                draft.hush(f"line/{member.line}")


def _look_for_unseen(draft: _Draft, id_: str, member: Member, snapshot: Snapshot) -> None:
    now = snapshot.taken_at
    if f"start:{id_}" in snapshot.pending:
        return
    receipt = snapshot.receipts.get(f"start:{id_}")
    failed = receipt is not None and receipt.outcome in ("failed", "retryable", "refused")
    # One that was told to end was there to be told: it is not one that has yet to appear.
    coming = member.state is not MemberState.STOPPING and 0 <= now - member.asked_at < ASKED_GRACE_S
    if coming and not failed:
        return
    del draft.members[id_]
    if member.state is not MemberState.WANTED:
        return
    note = receipt.note if receipt is not None and failed else "it is gone, and how it ended was not seen"
    # Gone while nobody looked is not held against the release: a restarted machine ends everything at once.
    if failed:
        _fail(draft, member, note, now)
    draft.decide(f"instance/{id_}", f"{id_} does not run: {note}")


def _look_at_start(
    draft: _Draft, id_: str, member: Member, seen: InstanceSeen, lines: Mapping[str, Line], now: float
) -> None:
    line = lines.get(member.line)
    limit_s = line.service.health.starts_within_s if line else 60.0
    # Begun further in the future than a start takes: the clock was set back meanwhile.
    if abs(now - seen.started_at) <= limit_s:
        return
    note = f"not ready within {limit_s:.0f} s of its start" + (f" ({seen.note})" if seen.note else "")
    _fail(draft, member, note, now)
    draft.members[id_] = replace(member, state=MemberState.STOPPING, since=now)
    why = f"{id_} was {note}{_outlook(draft, member, lines, now)}"
    draft.decide(f"instance/{id_}", why, StopInstance(id_, SICK_GRACE_S, seen.generation))


def _look_at_sick(
    draft: _Draft,
    id_: str,
    member: Member,
    seen: InstanceSeen,
    sick_pools: set[str],
    lines: Mapping[str, Line],
    now: float,
) -> None:
    """Replace an instance that is unhealthy or frozen, unless its pool is sick as a whole."""
    if member.line in sick_pools and not seen.frozen:
        why = f"most of {member.pool} is unhealthy at once ({seen.note}): the cause is elsewhere, so none is restarted for it"
        draft.tell(f"sick/{member.line}", why)
        return
    note = "frozen (its process is stopped)" if seen.frozen else f"unhealthy: {seen.note}"
    _fail(draft, member, note, now)
    draft.members[id_] = replace(member, state=MemberState.STOPPING, since=now)
    why = f"{id_} is {note}; it is taken away{_outlook(draft, member, lines, now)}"
    draft.decide(f"instance/{id_}", why, StopInstance(id_, SICK_GRACE_S, seen.generation))


def _pools_sick_together(draft: _Draft, snapshot: Snapshot) -> set[str]:
    """Lines of at least two instances of which more than half are unhealthy now; the others' complaint is hushed."""
    wanted = [
        (seen.state, member)
        for id_, member in draft.members.items()
        if member.state is MemberState.WANTED and (seen := snapshot.instances.get(id_)) is not None
    ]
    sick = Counter(member.line for state, member in wanted if state is InstanceState.UNHEALTHY)
    well = Counter(member.line for state, member in wanted if sick and state is InstanceState.READY)
    together = {line for line, n in sick.items() if n >= 2 and n > well[line]}
    draft.hush_all("sick/", together)
    return together


def _fill(draft: _Draft, line: Line, missing: int, snapshot: Snapshot, waiting_for: str) -> tuple[Effect, ...]:
    """Start the `missing` instances of the line, unless it must wait."""
    if missing <= 0:
        return ()
    now, subject = snapshot.taken_at, f"line/{line.key}"
    failures = draft.failures.get(line.key)
    if failures is not None and waits(failures, now):
        if failures.gave_up:
            why = (
                f"gave up on {line.key} after {failures.count} failures in a row (last: {failures.last_note}); "
                f"one more try every {GIVEN_UP_RETRY_S / 60:.0f} min, or ship a release that starts"
            )
            draft.tell(subject, why)
        return ()
    if waiting_for:
        draft.tell(subject, f"{line.key} waits for {waiting_for}")
        return ()
    draft.hush(subject)
    # After failures only one is tried: if it fails too, it fails once.
    missing = 1 if failures is not None and failures.count > 1 else missing
    starts = []
    for _ in range(missing):
        number = draft.numbers.get(line.service.name, 0) + 1
        draft.numbers[line.service.name] = number
        id_ = f"{line.service.name}-{number}"
        draft.members[id_] = Member(line.service.name, line.region, line.release, MemberState.WANTED, now, now)
        starts.append(StartInstance(id_, line.service.name, line.region, line.release))
    return tuple(starts)


def _release_surplus(draft: _Draft, lines: Mapping[str, Line], snapshot: Snapshot) -> None:
    """Let go of what is more than wanted: sick and starting ones first, then those with the fewest open sockets,
    then the youngest."""
    by_line: dict[str, list[str]] = {}
    for id_, member in draft.members.items():
        if member.state is MemberState.WANTED:
            by_line.setdefault(member.line, []).append(id_)
    for key, ids in by_line.items():
        line = lines.get(key)
        surplus = len(ids) - (line.wanted if line else 0)
        if surplus <= 0:
            continue
        pool = snapshot.pools.get(draft.members[ids[0]].pool)
        sockets = pool.sockets_by_instance if pool else {}

        def worth(id_: str, sockets: Mapping[str, int] = sockets) -> tuple[bool, int, float]:
            seen = snapshot.instances.get(id_)
            ready = seen is not None and seen.state is InstanceState.READY
            return ready, sockets.get(id_, 0), -draft.members[id_].asked_at

        going = sorted(ids, key=worth)[:surplus]
        for id_ in going:
            draft.members[id_] = replace(draft.members[id_], state=MemberState.DRAINING, since=snapshot.taken_at)
        why = line.why if line else f"{draft.members[going[0]].release} is no longer meant to run"
        draft.decide(
            draft.members[going[0]].pool, f"{_names(going)} let go: no new requests, those at hand are finished ({why})"
        )


def _drain_s(member: Member, releases: Mapping[str, Release]) -> float:
    """How long its release gives it for the requests at hand, also when that release is no longer meant to run."""
    release = releases.get(member.release)
    service = release.services.get(member.service) if release else None
    return service.drain_s if service else DRAIN_S


def _end_drained(draft: _Draft, snapshot: Snapshot, releases: Mapping[str, Release]) -> None:
    """End what has finished its requests, or has had its time; and what was told to end and does not."""
    now = snapshot.taken_at
    for id_, member in tuple(draft.members.items()):
        seen = snapshot.instances.get(id_)
        if seen is None or f"stop:{id_}" in snapshot.pending:
            continue
        if member.state is MemberState.STOPPING and seen.state is not InstanceState.EXITED:
            _insist(draft, id_, member, seen, now)
        if member.state is not MemberState.DRAINING:
            continue
        drain_s = _drain_s(member, releases)
        why = _drained(id_, member, seen, snapshot, drain_s)
        if why:
            draft.members[id_] = replace(member, state=MemberState.STOPPING, since=now)
            # A background service has no requests at the edge: its grace is the time for the job at hand.
            grace_s = DRAINED_GRACE_S if seen.port is not None else drain_s
            draft.decide(f"instance/{id_}", f"{id_} {why}: it ends", StopInstance(id_, grace_s, seen.generation))


def _insist(draft: _Draft, id_: str, member: Member, seen: InstanceSeen, now: float) -> None:
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


def _forget_ended(draft: _Draft, snapshot: Snapshot) -> None:
    """Have the driver forget what ended and nobody remembers, should the first order to do so have been lost."""
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
    if snapshot.fresh("gateway", PROCESS_AGE_S_MAX) and (gateway is None or gateway.state is EngineState.EXITED):
        return "has no requests to finish, since no gateway runs"
    # Neither a clock that was set back nor a stuck request keeps it for longer.
    if not 0 <= now - member.since < drain_s:
        return f"had {drain_s:.0f} s to finish its requests"
    # The figure must be younger than the table that took it out of the traffic, or it may miss a request on its way.
    if pool is not None and pool.seen_at > member.since + 1.0 and pool.in_flight_by_instance.get(id_, 0) == 0:
        return "has finished its requests"
    return ""


def _fail(draft: _Draft, member: Member, note: str, now: float) -> None:
    draft.failures[member.line] = failed(draft.failures.get(member.line), note, now, had_served=member.was_ready)


def _outlook(draft: _Draft, member: Member, lines: Mapping[str, Line], now: float) -> str:
    """What happens next, for the end of a sentence."""
    failures = draft.failures[member.line]
    if member.line not in lines or failures.gave_up:
        return ""
    wait_s = failures.next_start_at - now
    return "; replaced at once" if wait_s <= 0 else f"; failure {failures.count} in a row, next start in {wait_s:.0f} s"


def _start_why(line: Line, starts: Iterable[Effect], draft: _Draft) -> str:
    names = _names([s.instance for s in starts if isinstance(s, StartInstance)])
    failures = draft.failures.get(line.key)
    if failures is not None:
        return f"{names} started: {line.pool} lacks what ended ({failures.last_note})"
    return f"{names} started for {line.release}: {line.why}"


def _names(ids: list[str]) -> str:
    if len(ids) == 1:
        return f"{ids[0]} is"
    return f"{', '.join(ids[:-1])} and {ids[-1]} are"


def _forget_old_lines(draft: _Draft, lines: Mapping[str, Line]) -> None:
    if not draft.failures and not draft.told:
        return
    alive = lines.keys() | {m.line for m in draft.members.values()}
    for key in draft.failures.keys() - alive:
        del draft.failures[key]
    for subject in tuple(draft.told):
        if subject.partition("/")[2] not in alive:
            del draft.told[subject]
