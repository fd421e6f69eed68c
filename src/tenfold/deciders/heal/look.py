"""Compares each remembered instance with what is seen of it: lost, ended, failed to start, sick, or well. Nothing is concluded from what
was not seen lately, nor held against an instance that lacks what it needs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from tenfold.deciders.failures import SETTLED_S, SOON_S, waits
from tenfold.deciders.heal.draft import Draft
from tenfold.deciders.heal.rungs import (
    ALONE_S,
    BACK_S,
    BUSY_S,
    RESTARTS_MAX,
    SHORT_S,
    Ill,
    touched_max,
)
from tenfold.deciders.heal.start import QUIETLY, budget_left, hold, restart
from tenfold.deciders.memory import Member, MemberState, Rung, Short
from tenfold.effects import StartInstance, StopInstance
from tenfold.facts import InstanceSeen, InstanceState

FACT_AGE_S_MAX = 5.0
"""Older sights of an instance are stale: nothing is concluded from them."""
ASKED_GRACE_S = 5.0
"""How long after it was asked for an instance may be unseen before it counts as never started."""
WAITS = "it waits after its failures"
SICK_GRACE_S = 2.0
"""A sick or frozen instance has this long to end before it is killed."""


def adopt(draft: Draft) -> None:
    """Take in instances that run and are not remembered (the memory was lost)."""
    for seen in draft.snapshot.instances.values():
        if seen.id in draft.members or seen.state in (InstanceState.EXITED, InstanceState.STOPPING):
            continue
        draft.members[seen.id] = Member(
            seen.service, seen.region, seen.release, MemberState.WANTED, draft.now, seen.started_at
        )
        number = seen.id.rpartition("-")[2]
        if number.isdigit():
            draft.numbers[seen.service] = max(draft.numbers.get(seen.service, 0), int(number))
        draft.decide(f"instance/{seen.id}", f"{seen.id} was running already and is taken over")


def look(draft: Draft) -> None:
    """Compare every member with what is seen, and decide what is to be done."""
    _note_what_is_away(draft)
    sick_lines = _sick_together(draft)
    for id_, member in tuple(draft.members.items()):
        seen = draft.snapshot.instances.get(id_)
        if seen is None:
            _look_for_unseen(draft, id_, member)
        elif not -1.0 <= draft.now - seen.seen_at <= FACT_AGE_S_MAX:
            continue
        elif seen.state is InstanceState.EXITED:
            _look_at_end(draft, id_, member, seen)
        elif member.state is MemberState.WANTED:
            _look_at_life(draft, id_, _run(draft, id_, member), seen, sick_lines)


def _note_what_is_away(draft: Draft) -> None:
    """Remember when what instances need was last away, room included; hush what was said about it once that is long over."""
    if draft.around.waiting_for:
        draft.away_at[""] = draft.now
    draft.away_at |= dict.fromkeys((*draft.around.away, *_busy(draft)), draft.now)
    for name, at in tuple(draft.away_at.items()):
        if not 0 <= draft.now - at < BACK_S:
            del draft.away_at[name]
    if not draft.told:
        return
    draft.hush_all("busy/", draft.away_at)
    if draft.away_at.keys() <= draft.lines.keys():
        draft.hush_all("store/")
        draft.hush_all("away/")


def _run(draft: Draft, id_: str, member: Member) -> Member:
    """The member of an instance that runs: its restart, if one was due, has happened, and its region takes starts."""
    short = draft.short.get(member.region)
    if short is not None and member.asked_at >= short.since:
        del draft.short[member.region]
    if member.ended_at is not None:
        member = draft.members[id_] = replace(member, ended_at=None, ended_generation=0)
    return member


def _look_at_life(draft: Draft, id_: str, member: Member, seen: InstanceSeen, sick_lines: set[str]) -> None:
    if seen.state is InstanceState.READY and not seen.frozen:
        _look_at_well(draft, id_, member, seen)
    elif why := draft.around.away.get(member.region, ""):
        draft.tell(f"away/{member.line}", f"{member.line} is left alone: {member.region} is away ({why})")
    elif seen.state is InstanceState.STARTING and not seen.frozen:
        _look_at_start(draft, id_, member, seen)
    else:
        _look_at_sick(draft, id_, member, seen, sick_lines)


def _look_at_well(draft: Draft, id_: str, member: Member, seen: InstanceSeen) -> None:
    if not member.was_ready or member.is_ill:
        ready_since = member.ready_since if member.ready_since is not None else seen.since
        member = draft.members[id_] = replace(member, ready_since=ready_since, is_ill=False)
    well_s = draft.now - seen.since
    if member.restarts and well_s >= SOON_S:
        draft.members[id_] = replace(member, restarts=0)
    failures = draft.failures.get(member.line) if draft.failures else None
    if failures is None or seen.started_at < failures.last_at:
        # Only one that was started after the last failure shows that starting works again; its elders show nothing.
        return
    if well_s >= (SOON_S if draft.flaps_each(member.line) > 1 else SETTLED_S):
        del draft.failures[member.line]
        draft.hush(f"line/{member.line}")


# --- gone -------------------------------------------------------------------------------------------------------------


def _start_key(id_: str, member: Member) -> str:
    return StartInstance(id_, "", "", "", attempt=member.attempt).key


def _cut_short(draft: Draft, region: str, note: str) -> None:
    """The driver has no room for more in `region` now: the next try comes later each time, and from the surest need."""
    before = draft.short.get(region)
    count = before.count + 1 if before else 1
    wait_s = SHORT_S[min(count, len(SHORT_S)) - 1]
    draft.short[region] = Short(draft.now, note, count, draft.now + wait_s)


def _look_for_unseen(draft: Draft, id_: str, member: Member) -> None:
    key = _start_key(id_, member)
    if key in draft.snapshot.pending:
        return
    receipt = draft.snapshot.receipts.get(key)
    outcome = receipt.outcome if receipt is not None else ""
    has_failed = outcome in ("failed", "retryable", "refused")
    # One that was told to end was there to be told: it is not one that has yet to appear.
    coming = member.state is not MemberState.STOPPING and 0 <= draft.now - member.asked_at < ASKED_GRACE_S
    if coming and not has_failed:
        return
    del draft.members[id_]
    if member.state is not MemberState.WANTED:
        return
    # More than there was, and never there, is not lost: it waits its turn by how sure it is.
    if outcome != "retryable" or member.cause is not None:
        draft.owe(member)
    note = receipt.note if receipt is not None and has_failed else "it is gone, and how it ended was not seen"
    why = f"{id_} does not run: {note}"
    # Gone while nobody looked is not held against the release: a restarted machine ends everything at once.
    if outcome == "failed" or (outcome == "refused" and member.attempt == 1):
        draft.fail(id_, member, Ill.REFUSED, note)
    elif outcome == "retryable":
        # Nor is a machine that is full, or can't be reached.
        _cut_short(draft, member.region, note)
    draft.decide(f"instance/{id_}", why)


def _look_at_end(draft: Draft, id_: str, member: Member, seen: InstanceSeen) -> None:
    """Its process is gone: restart it in its place, or forget it so that another comes."""
    forget = StopInstance(id_, 0.0, seen.generation)
    if member.state is not MemberState.WANTED or member.line not in draft.lines:
        del draft.members[id_]
        draft.decide(f"instance/{id_}", f"{id_} ended: {seen.note or 'no reason known'}", forget)
    elif member.ended_at is not None and seen.generation <= member.ended_generation:
        _look_at_restart(draft, id_, member, seen)
    elif away := draft.around.waiting_for or draft.around.away.get(member.region, ""):
        del draft.members[id_]
        draft.owe(member)
        why = f"{id_} ended: {seen.note or 'no reason known'}; that is not held against it ({away})"
        draft.decide(f"instance/{id_}", why, forget)
    else:
        rung = draft.fail(id_, member, Ill.ENDED, seen.note or "ended")
        why = f"{id_} ended: {seen.note or 'no reason known'}{draft.outlook(member, rung)}"
        facts = draft.ladder_facts(member, rung)
        if rung is not Rung.RESTART:
            del draft.members[id_]
            draft.owe(member)
            draft.decide(f"instance/{id_}", why, forget, facts=facts)
            return
        ended = replace(
            member,
            ready_since=None,
            # Asked for before it ended, whatever the clock says: what was asked for since is its restart.
            asked_at=min(member.asked_at, draft.now - 1.0),
            ended_at=draft.now,
            ended_generation=seen.generation,
            cause=Rung.RESTART,
        )
        draft.members[id_] = ended
        due = () if _why_not_yet(draft, ended) else (restart(draft, id_, ended, seen),)
        draft.decide(f"instance/{id_}", why, *due, facts=facts)


def _why_not_yet(draft: Draft, member: Member) -> str:
    """Why a restart that is due is not made now, in words; empty when it may be."""
    failures, line = draft.failures.get(member.line), draft.lines[member.line]
    if failures is not None and waits(failures, draft.now):
        return WAITS
    return hold(draft, line, is_remedy=True)


def _look_at_restart(draft: Draft, id_: str, member: Member, seen: InstanceSeen) -> None:
    """One that ended, and whose restart is due or under way."""
    assert member.ended_at is not None
    key, forget = _start_key(id_, member), StopInstance(id_, 0.0, seen.generation)
    if key in draft.snapshot.pending:
        return
    if member.asked_at < member.ended_at:
        why_not = _why_not_yet(draft, member)
        if why_not and why_not not in (WAITS, QUIETLY):
            draft.tell(f"line/{member.line}", why_not)
        if not why_not:
            effect = restart(draft, id_, member, seen)
            why = f"{id_} is restarted in its place (restart {member.restarts + 1} of {RESTARTS_MAX}): it ended ({seen.note})"
            draft.decide(f"instance/{id_}", why, effect, facts=draft.ladder_facts(member, Rung.RESTART))
        return
    receipt = draft.snapshot.receipts.get(key)
    if receipt is not None and receipt.outcome == "retryable":
        _cut_short(draft, member.region, receipt.note)
        draft.members[id_] = replace(member, ended_at=draft.now, asked_at=draft.now - 1.0)
    elif receipt is not None and receipt.outcome in ("failed", "refused"):
        _give_place(draft, id_, member, forget, receipt.note, is_failure=receipt.outcome == "failed")
    elif not 0 <= draft.now - member.asked_at < ASKED_GRACE_S:
        _give_place(draft, id_, member, forget, "its restart did not take hold", is_failure=False)


def _give_place(draft: Draft, id_: str, member: Member, forget: StopInstance, note: str, *, is_failure: bool) -> None:
    """A restart in its place can't be: another takes it."""
    del draft.members[id_]
    draft.owe(member)
    if is_failure:
        draft.fail(id_, member, Ill.REFUSED, note)
    draft.decide(f"instance/{id_}", f"{id_} can't be restarted in its place ({note}): another takes it", forget)


# --- there, and not well ----------------------------------------------------------------------------------------------


def _look_at_start(draft: Draft, id_: str, member: Member, seen: InstanceSeen) -> None:
    line = draft.lines.get(member.line)
    limit_s = line.service.health.starts_within_s if line else 60.0
    # What it needs was away: its time begins when that is back.
    began_at = max(seen.started_at, draft.away_at.get("", 0.0), draft.away_at.get(member.region, 0.0))
    # Begun further in the future than a start takes: the clock was set back meanwhile.
    if abs(draft.now - began_at) <= limit_s:
        return
    note = f"not ready within {limit_s:.0f} s of its start" + (f" ({seen.note})" if seen.note else "")
    rung = draft.fail(id_, member, Ill.LATE, note)
    _take_away(draft, id_, member, seen, f"{id_} was {note}{draft.outlook(member, rung)}", rung)


def _take_away(draft: Draft, id_: str, member: Member, seen: InstanceSeen, why: str, rung: Rung) -> None:
    draft.owe(member)
    draft.members[id_] = replace(member, state=MemberState.STOPPING, since=draft.now, is_ill=True)
    stop = StopInstance(id_, SICK_GRACE_S, seen.generation)
    draft.decide(f"instance/{id_}", why, stop, facts=draft.ladder_facts(member, rung))


def _look_at_sick(draft: Draft, id_: str, member: Member, seen: InstanceSeen, sick_lines: set[str]) -> None:
    """Replace an instance that is unhealthy or frozen, unless the cause lies elsewhere or too much is under way already."""
    line = member.line
    if not seen.frozen and _lacks_something(draft, id_, member, seen):
        return
    if not seen.frozen and draft.around.watched and member.release == draft.around.watched:
        _leave_to_watch(draft, id_, member, seen)
        return
    if line in sick_lines and not seen.frozen:
        why = f"most of {member.pool} is unhealthy at once ({seen.note}): the cause is elsewhere, so none is restarted for it"
        draft.tell_once(f"sick/{line}", why)
        return
    if not seen.frozen and _is_spared(draft, line, seen):
        why = f"{id_} is {_ailment(seen)}, while {member.pool} has more at hand than it is sized for: it is left alone for a while, since "
        draft.tell_once(f"busy/{line}", f"{why}load may be what ails it, and another would have as much to bear")
        return
    most = touched_max(draft.lines[line].wanted if line in draft.lines else 0)
    if _touched(draft, line) >= most:
        limit = f"at most {most} of {member.pool} may be taken away or coming back at once"
        draft.tell_once(f"turn/{line}", f"{id_} waits its turn ({_ailment(seen)}): {limit}")
        return
    if not budget_left(draft, member.pool):
        limit = f"{member.pool} was mended so often of late that more would only add to it"
        draft.tell_once(f"turn/{line}", f"{id_} is left as it is ({_ailment(seen)}): {limit}")
        return
    draft.hush(f"turn/{line}")
    note = _ailment(seen)
    rung = draft.fail(id_, member, Ill.FROZEN if seen.frozen else Ill.UNHEALTHY, note)
    why = f"{id_} is {note}; it is taken away{draft.outlook(member, rung)}"
    _take_away(draft, id_, member, seen, why, rung)


def _ailment(seen: InstanceSeen) -> str:
    return "frozen (its process is stopped)" if seen.frozen else f"unhealthy: {seen.note}"


def _lacks_something(draft: Draft, id_: str, member: Member, seen: InstanceSeen) -> bool:
    """True while it is unhealthy for the want of what it needs, or that is back only now. Of a whole line one says it."""
    away, subject = draft.around.waiting_for, f"store/{member.line}"
    if away:
        if subject not in draft.told:
            draft.tell(
                subject,
                f"{id_} is unhealthy ({seen.note}) while {away} is not ready: it is left alone until that is mended",
            )
        return True
    return "" in draft.away_at or member.region in draft.away_at


def _leave_to_watch(draft: Draft, id_: str, member: Member, seen: InstanceSeen) -> None:
    """What ails a release that has just come is for its watch to judge: it is counted, and left as it is."""
    if member.is_ill:
        return
    note = f"unhealthy: {seen.note}"
    draft.fail(id_, member, Ill.UNHEALTHY, note)
    draft.members[id_] = replace(member, is_ill=True)
    draft.decide(
        f"instance/{id_}", f"{id_} is {note}; the watch over {member.release} judges that, so it is left as it is"
    )


def _touched(draft: Draft, line: str) -> int:
    """How many of a line were taken away, or are on their way back."""
    return sum(
        member.line == line
        and (
            (member.state is MemberState.STOPPING and member.is_ill)
            or (member.state is MemberState.WANTED and member.cause is not None and not member.was_ready)
        )
        for member in draft.members.values()
    )


def _sick_together(draft: Draft) -> set[str]:
    """Lines of at least two instances of which more than half are unhealthy now; the others' complaint is hushed."""
    known = [
        (seen, member)
        for id_, member in draft.members.items()
        if member.state is MemberState.WANTED and (seen := draft.snapshot.instances.get(id_)) is not None
    ]
    wanted = [(seen.state, member) for seen, member in known]
    if draft.told:
        ill = {m.line for seen, m in known if seen.frozen or seen.state is InstanceState.UNHEALTHY}
        draft.hush_all("turn/", ill)
    sick = Counter(member.line for state, member in wanted if state is InstanceState.UNHEALTHY)
    well = Counter(member.line for state, member in wanted if sick and state is InstanceState.READY)
    together = {line for line, n in sick.items() if n >= 2 and n > well[line]}
    draft.hush_all("sick/", together)
    return together


def _busy(draft: Draft) -> Iterator[str]:
    """Lines whose ready instances have more requests at hand than they are sized for; or all of them, where none is ready and answers
    come all the same."""
    for key, line in draft.lines.items():
        pool, bound = draft.snapshot.pools.get(line.pool), line.service.instance.concurrency
        if pool is None or pool.in_flight <= bound or not -1.0 <= draft.now - pool.seen_at <= FACT_AGE_S_MAX:
            continue
        mine = {id_: m for id_, m in draft.members.items() if m.line == key and m.state is MemberState.WANTED}
        ready = [id_ for id_, m in mine.items() if draft.serves(id_, m)]
        bear = ready or mine
        at_hand = sum(pool.in_flight_by_instance.get(id_, 0) for id_ in bear)
        if at_hand > len(bear) * bound and (ready or pool.response_ms_mean is not None):
            yield key


def _is_spared(draft: Draft, line: str, seen: InstanceSeen) -> bool:
    """Whether load may have made it ill, and it is given the time to get well."""
    spared_s = BUSY_S if draft.ready(line) else ALONE_S
    return line in draft.away_at and 0 <= draft.now - seen.since < spared_s
