"""Keeps instances running: as many of each line (the instances of one release of a service in a region) as are wanted.

What fails is mended rung by rung (`rungs`): restarted in its place, replaced, moved to another region, and at last a person is asked. After
failures in a row it waits longer each time. What is let go gets no new requests, finishes what it has, then ends (`ending`).

Healing never makes an outage worse: nothing is mended while its cause is elsewhere (most of a pool is unhealthy at once, a store or the
region is away, a release is being watched, facts are stale), and never too much at a time (`rungs` has the limits).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tenfold.deciders.failures import recent
from tenfold.deciders.heal.draft import Around, Draft, Line
from tenfold.deciders.heal.ending import end_drained, forget_ended, names, release_surplus
from tenfold.deciders.heal.look import FACT_AGE_S_MAX, adopt, look
from tenfold.deciders.heal.moves import move
from tenfold.deciders.heal.rungs import WINDOW_S
from tenfold.deciders.heal.start import fill
from tenfold.deciders.memory import HealMemory, Rung
from tenfold.effects import Decision, StartInstance
from tenfold.facts import Snapshot

__all__ = ["Around", "Line", "heal"]


def heal(
    lines: tuple[Line, ...], around: Around, snapshot: Snapshot, memory: HealMemory, causes: Mapping[str, Decision]
) -> tuple[HealMemory, tuple[Decision, ...]]:
    """Bring each line to its wanted number. `causes` are this tick's decisions to scale, by pool: they get the starts they caused as
    effects, and how sure they are tells who goes first where not all can be had."""
    if not snapshot.fresh("process", FACT_AGE_S_MAX):
        return memory, tuple(causes.values())
    draft = Draft.of(lines, around, snapshot, memory)
    for pool, cause in causes.items():
        draft.sure[pool] = cause.confidence_ratio
    adopt(draft)
    forget_ended(draft)
    look(draft)
    move(draft)
    started = fill(draft)
    release_surplus(draft)
    end_drained(draft)
    for key, starts in started.items():
        line = draft.lines[key]
        caused = causes.get(line.pool)
        if caused is not None and not caused.effects:
            causes = {**causes, line.pool: replace(caused, effects=starts)}
        else:
            draft.decide(line.pool, _start_why(line, starts, draft), *starts, facts=_start_facts(line, starts, draft))
    _forget_old(draft)
    return draft.memory(), (*causes.values(), *draft.decisions)


def _start_why(line: Line, starts: Iterable[StartInstance], draft: Draft) -> str:
    who = names([start.instance for start in starts])
    failures = draft.failures.get(line.key)
    if failures is not None and any(draft.members[start.instance].cause is Rung.REPLACE for start in starts):
        return f"{who} started: {line.pool} lacks what ended ({failures.last_note})"
    return f"{who} started for {line.release}: {line.why}"


def _start_facts(line: Line, starts: Iterable[StartInstance], draft: Draft) -> tuple[str, ...]:
    """How much of what a pool may have in a window of time it has had, when these starts mend something."""
    if all(draft.members[start.instance].cause is None for start in starts):
        return ()
    return (f"{line.pool} was mended {len(draft.spent[line.pool])} times in the last {WINDOW_S / 60:.0f} min",)


def _forget_old(draft: Draft) -> None:
    """Remember nothing of lines that are no more, nor what was spent long ago."""
    if not (draft.failures or draft.told or draft.owed or draft.flaps or draft.spent or draft.sure or draft.short):
        return
    alive = draft.lines.keys() | {m.line for m in draft.members.values()}
    pools = {key.partition("/")[0] for key in alive}
    for mapping in (draft.failures, draft.owed, draft.flaps):
        for key in [key for key in mapping if key not in alive]:
            del mapping[key]
    for subject in tuple(draft.told):
        if subject.partition("/")[2] not in alive:
            del draft.told[subject]
    for region in draft.short.keys() - {line.region for line in draft.lines.values()}:
        del draft.short[region]
    for pool in [pool for pool in draft.sure if pool not in pools]:
        del draft.sure[pool]
    for pool, times in tuple(draft.spent.items()):
        left = recent(times, draft.now, WINDOW_S)
        if not left:
            del draft.spent[pool]
        elif len(left) < len(times):
            draft.spent[pool] = left
