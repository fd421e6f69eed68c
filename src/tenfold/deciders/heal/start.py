"""Starts what is missing: the surest needs first, spread over lines and regions, within the limits, or says why not. Stage: lines and
members -> starts."""

from collections import Counter
from dataclasses import replace

from tenfold.deciders.failures import GIVEN_UP_RETRY_S, recent, try_text, waits
from tenfold.deciders.heal.draft import Draft, Line
from tenfold.deciders.heal.rungs import (
    ALL_REMEDIES_MIN,
    POOL_REMEDIES_MIN,
    SHORT_S,
    WINDOW_S,
    at_once_max,
    number_of,
    remedies_max,
)
from tenfold.deciders.memory import Member, MemberState, Rung
from tenfold.effects import StartInstance
from tenfold.facts import InstanceSeen


def fill(draft: Draft) -> dict[str, tuple[StartInstance, ...]]:
    """Start what each line lacks, as far as it may; the starts by line."""
    started: dict[str, list[StartInstance]] = {}
    running = Counter(m.line for m in draft.members.values() if m.state is MemberState.WANTED)
    for line, is_remedy in _wishes(draft, running):
        failures = draft.failures.get(line.key)
        if failures is not None and waits(failures, draft.now):
            _tell_given_up(draft, line)
            continue
        why_not = hold(draft, line, is_remedy=is_remedy)
        if why_not:
            if why_not != QUIETLY:
                draft.tell(f"line/{line.key}", why_not)
            continue
        draft.hush(f"line/{line.key}")
        started.setdefault(line.key, []).append(_start(draft, line, is_remedy=is_remedy))
    return {key: tuple(starts) for key, starts in started.items()}


QUIETLY = "quietly"
"""It waits for a moment only, and that need not be said."""


def _wishes(draft: Draft, running: Counter[str]) -> list[tuple[Line, bool]]:
    """Each start that is missing, and whether it replaces what was lost: the surest first, and of equals one of each line in turn."""
    wishes = []
    for place, line in enumerate(draft.lines.values()):
        missing = max(0, line.wanted - running[line.key])
        owed = min(draft.owed.get(line.key, 0), missing)
        if owed:
            draft.owed[line.key] = owed
        else:
            draft.owed.pop(line.key, None)
        for turn in range(missing):
            is_remedy = turn < owed
            sure = 1.0 if is_remedy else draft.sure.get(line.pool, 1.0)
            wishes.append((-sure, turn, place, line, is_remedy))
    return [(line, is_remedy) for _, _, _, line, is_remedy in sorted(wishes, key=lambda wish: wish[:3])]


def hold(draft: Draft, line: Line, *, is_remedy: bool) -> str:
    """Why nothing of `line` is started now, in words; empty when it may be."""
    around = draft.around
    if around.waiting_for:
        return f"{line.key} waits for {around.waiting_for}"
    if line.region in around.away:
        return f"{line.key} waits for {line.region}, which is away ({around.away[line.region]})"
    short = draft.short.get(line.region)
    # One that is due later than any wait lasts was set before the clock was set back.
    if short is not None and 0 < short.next_at - draft.now <= SHORT_S[-1]:
        sure = draft.sure.get(line.pool, 1.0)
        order = "" if is_remedy or sure >= 1.0 else f"; what is surer than its {sure:.0%} goes first"
        return f"{line.key} waits: no more can be started in {line.region} for now ({short.note}){order}"
    if _is_tried(draft, line):
        return QUIETLY
    if is_remedy:
        wanted = sum(one.wanted for one in draft.lines.values())
        if _under_way(draft) >= at_once_max(wanted):
            return f"{line.key} waits: {at_once_max(wanted)} are being started again already"
        if not budget_left(draft, line.pool) and draft.ready(line.key):
            return f"{line.key} waits: {line.pool} was mended so often of late that more would only add to it"
    return ""


def _is_tried(draft: Draft, line: Line) -> bool:
    """True when after several failures one is being tried: if that fails too, it fails once."""
    failures = draft.failures.get(line.key)
    if failures is None or failures.count < 2:
        return False
    since = [m for m in draft.members.values() if m.line == line.key and m.asked_at >= failures.last_at]
    under_way = [m for m in since if m.state is MemberState.WANTED and not m.was_ready and m.ended_at is None]
    return bool(under_way) and not any(m.was_ready for m in since)


def _under_way(draft: Draft) -> int:
    """Starts that mend something, and are not ready yet."""
    return sum(
        m.state is MemberState.WANTED
        and m.cause is not None
        and not m.was_ready
        and (m.ended_at is None or m.asked_at >= m.ended_at)
        for m in draft.members.values()
    )


def budget_left(draft: Draft, pool: str) -> bool:
    """Whether a pool, and all pools together, may have one remedy more in this window."""
    sizes = Counter[str]()
    for line in draft.lines.values():
        sizes[line.pool] += line.wanted
    spent = {name: len(recent(times, draft.now, WINDOW_S)) for name, times in draft.spent.items()}
    if spent.get(pool, 0) >= remedies_max(sizes[pool], POOL_REMEDIES_MIN):
        return False
    return sum(spent.values()) < remedies_max(sizes.total(), ALL_REMEDIES_MIN)


def restart(draft: Draft, id_: str, member: Member, seen: InstanceSeen) -> StartInstance:
    """Start what ended again in its place."""
    attempt = member.attempt + 1
    draft.members[id_] = replace(
        member, attempt=attempt, asked_at=draft.now, ended_at=draft.now, restarts=member.restarts + 1
    )
    draft.spend(member.pool)
    _probe(draft, member.region)
    return StartInstance(id_, member.service, member.region, member.release, seen.generation, attempt)


def _start(draft: Draft, line: Line, *, is_remedy: bool) -> StartInstance:
    cause = None
    if is_remedy:
        draft.owed[line.key] -= 1
        cause = Rung.MOVE if draft.is_moved_to(line) else Rung.REPLACE
        draft.spend(line.pool)
    _probe(draft, line.region)
    number = draft.numbers.get(line.service.name, 0) + 1
    draft.numbers[line.service.name] = number
    id_ = f"{line.service.name}-{number}"
    draft.members[id_] = Member(
        line.service.name, line.region, line.release, MemberState.WANTED, draft.now, draft.now, cause=cause
    )
    return StartInstance(id_, line.service.name, line.region, line.release)


def _probe(draft: Draft, region: str) -> None:
    """Where room was short, one start tries it: the next one waits for how that ends."""
    short = draft.short.get(region)
    if short is not None:
        wait_s = SHORT_S[min(short.count, len(SHORT_S)) - 1]
        draft.short[region] = replace(short, next_at=draft.now + wait_s)


def _tell_given_up(draft: Draft, line: Line) -> None:
    failures = draft.failures[line.key]
    if not failures.gave_up:
        return
    elsewhere = draft.moves.get(line.key)
    meanwhile = f"; meanwhile {elsewhere.why}" if elsewhere else ""
    why = (
        f"gave up on {line.key} after {failures.count} failures in a row (last: {failures.last_note}); "
        f"one more try every {GIVEN_UP_RETRY_S / 60:.0f} min, or ship a release that starts{meanwhile}"
    )
    facts = tuple(try_text(tried) for tried in failures.tries)
    draft.tell(f"line/{line.key}", why, (number_of(Rung.ASK), *facts))
