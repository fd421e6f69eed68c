"""Brings capacity up elsewhere while a region can't keep its instances: other regions, in which the same release is well, run as many
more as are missing, for as long as it lasts. Traffic follows by itself, since ways go by what is well. Stage: lines -> lines.

Residency is a veto: what runs in a region under a law moves to regions of that law alone. No region gets more than its own maximum.
"""

from collections.abc import Mapping
from dataclasses import replace

from tenfold.deciders.heal.draft import Draft, Line
from tenfold.deciders.heal.rungs import MOVE_AFTER, number_of
from tenfold.deciders.memory import Move, Rung


def move(draft: Draft) -> None:
    """Begin, change and end moves; then the lines of the draft want what was moved to them."""
    for key in tuple(draft.moves):
        _look_at_move(draft, key)
    if draft.told:
        draft.hush_all("move/", draft.failures)
    for line in tuple(draft.lines.values()):
        if line.key not in draft.moves and _must_move(draft, line):
            _begin(draft, line)
    for key, moved in draft.moves.items():
        for region, extra in moved.extra.items():
            _add(draft, draft.lines[key], region, extra)


def _must_move(draft: Draft, line: Line) -> bool:
    failures = draft.failures.get(line.key)
    if failures is None or failures.count < MOVE_AFTER or draft.around.watched:
        return False
    return not draft.around.waiting_for and line.region not in draft.around.away


def _missing(draft: Draft, line: Line) -> int:
    return line.wanted - len(draft.ready(line.key))


def _begin(draft: Draft, line: Line) -> None:
    """Move what is missing of `line`, or say once why it can't be."""
    failures, missing = draft.failures[line.key], _missing(draft, line)
    if missing <= 0:
        return
    room, why_not = _room(draft, line)
    extra = _shared(room, missing)
    cause = f"{line.pool} does not keep its instances ({failures.count} failures in a row, last: {failures.last_note})"
    if not extra:
        if why_not:
            draft.tell(f"move/{line.key}", f"{cause}, and no other region can take their place: {why_not}")
        return
    where = " and ".join(f"{count} more in {region}" for region, count in extra.items())
    left = missing - sum(extra.values())
    rest = f"; for {left} there is no room below the maximum of other regions" if left else ""
    draft.moves[line.key] = Move(draft.now, extra, where)
    draft.failures[line.key] = replace(failures, rung=Rung.MOVE if failures.rung is not Rung.ASK else Rung.ASK)
    for region, count in extra.items():
        key = _there(line, region)
        draft.owed[key] = draft.owed.get(key, 0) + count
    draft.hush(f"move/{line.key}")
    why = f"{cause}, and {line.release} is well elsewhere: {where}, for as long as it lasts{rest}"
    draft.decide(line.pool, why, facts=(number_of(Rung.MOVE),))


def _look_at_move(draft: Draft, key: str) -> None:
    """End a move that is needed no more; give up one whose region is no place for it now, so that it begins anew elsewhere."""
    line, moved = draft.lines.get(key), draft.moves[key]
    if line is None:
        del draft.moves[key]
    elif key not in draft.failures and _missing(draft, line) <= 0:
        del draft.moves[key]
        draft.decide(line.pool, f"{line.pool} keeps its instances again: {moved.why} are let go")
    elif lost := [
        r for r in moved.extra if (other := draft.lines.get(_there(line, r))) is None or _no_place(draft, other)
    ]:
        del draft.moves[key]
        draft.decide(line.pool, f"{moved.why} for {line.pool} is over: {', '.join(lost)} can't take it now")


def _there(line: Line, region: str) -> str:
    return replace(line, region=region).key


def _no_place(draft: Draft, other: Line) -> str:
    """Why nothing can move to that line now, in words; empty when something can."""
    if other.region in draft.around.away or other.region not in draft.around.takes:
        return f"{other.region} takes no traffic"
    failures = draft.failures.get(other.key)
    if failures is not None and failures.count > 1:
        return f"{other.release} is not well in {other.region} either"
    if other.region in draft.short:
        return f"no more can be started in {other.region} for now"
    return "" if draft.ready(other.key) else f"no instance is ready in {other.region}"


def _room(draft: Draft, line: Line) -> tuple[dict[str, int], str]:
    """How many more each other region may run, and why others may not, in words."""
    room: dict[str, int] = {}
    why_not = []
    law = draft.around.regions[line.region].residency if line.region in draft.around.regions else None
    for other in draft.lines.values():
        if (other.service.name, other.release) != (line.service.name, line.release) or other.region == line.region:
            continue
        place = draft.around.regions.get(other.region)
        taken = sum(moved.extra.get(other.region, 0) for key, moved in draft.moves.items() if _is_for(key, other))
        free = other.service.scaling.instances_max - other.wanted - taken
        if law is not None and (place is None or place.residency != law):
            why_not.append(f"what runs in {line.region} may not leave {law}")
        elif reason := _no_place(draft, other):
            why_not.append(reason)
        elif free <= 0:
            why_not.append(f"{other.region} runs as many as it may")
        else:
            room[other.region] = free
    return room, ", ".join(dict.fromkeys(why_not))


def _is_for(key: str, other: Line) -> bool:
    service, _, rest = key.partition("@")
    return service == other.service.name and rest.partition("/")[2] == other.release


def _shared(room: Mapping[str, int], missing: int) -> dict[str, int]:
    """`missing` instances over the regions with room, one by one to where the most is left."""
    left, extra = dict(room), dict[str, int]()
    for _ in range(min(missing, sum(room.values()))):
        region = max(left, key=lambda name: (left[name], -list(left).index(name)))
        left[region] -= 1
        extra[region] = extra.get(region, 0) + 1
    return extra


def _add(draft: Draft, line: Line, region: str, extra: int) -> None:
    """Let the line in `region` want `extra` instances more, within its maximum."""
    there = draft.lines.get(_there(line, region))
    if there is None:
        return
    wanted = max(there.wanted, min(there.wanted + extra, there.service.scaling.instances_max))
    why = f"{there.why}, and {extra} for {line.region}, which does not keep its own"
    draft.lines[there.key] = replace(there, wanted=wanted, why=why)
