"""Decides again what was decided, from the journal alone.
Stage: after the fact, to prove that nothing but the journal was decided on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tenfold.deciders.decide import Decided
from tenfold.effects import Decision, Rejection
from tenfold.loop.codec import SAME, Plain
from tenfold.loop.reader import JournalReader
from tenfold.loop.store import JournalError
from tenfold.loop.tick import DECISIONS, MEMORIES, Decide, Tick
from tenfold.model import Model

CHANGES_MAX = 20
"""So many differences of a tick are told: one cause may change every pool."""
ABSENT = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a replay went another way: the tick, and what differs, as a sentence."""

    tick: int
    what: str


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How many `ticks` were decided again, how many of them came out `equal`, and the first that did not."""

    ticks: int
    equal: int
    first_difference: Difference | None


@dataclass(frozen=True, slots=True)
class Again:
    """A `tick` of the journal, the `model` it was decided by, and what was `decided` when it was decided again. `differences` are
    sentences, at most `CHANGES_MAX`; none when all came out equal: decisions, effects turned down, memory."""

    tick: Tick
    model: Model
    decided: Decided
    differences: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        return not self.differences


def replay(journal: Path, first: int, last: int, decide: Decide) -> ReplayResult:
    """Decide ticks `first`..`last` of the journal again by `decide` and compare exactly. Ticks that are no longer kept are not counted.

    Raises `JournalError` when the journal, or a model that was decided by, can't be read.
    """
    models: dict[str, Model] = {}
    ticks = equal = 0
    difference: Difference | None = None
    with JournalReader(journal) as reader:
        for tick in reader.ticks(first, last):
            if tick.model not in models:
                models[tick.model] = _model_of(reader, tick)
            differences = _compare(tick, decide(models[tick.model], tick.snapshot, tick.memory_before))
            ticks += 1
            equal += not differences
            if differences and difference is None:
                difference = Difference(tick.seq, differences[0])
    return ReplayResult(ticks, equal, difference)


def decide_again(reader: JournalReader, seq: int, decide: Decide) -> Again:
    """Decide tick `seq` again by `decide`.

    Raises `JournalError` when the tick or its model is not kept, or can't be read.
    """
    tick = reader.tick(seq)
    if tick is None:
        raise JournalError(
            f"tick {seq} is not kept any more (the oldest ticks go after 7 days, or when the journal is full): "
            "only a later decision can be decided again"
        )
    model = _model_of(reader, tick)
    decided = decide(model, tick.snapshot, tick.memory_before)
    return Again(tick, model, decided, _compare(tick, decided))


def _model_of(reader: JournalReader, tick: Tick) -> Model:
    model = reader.model(tick.model)
    if model is None:
        raise JournalError(
            f"the journal lacks the blueprint that tick {tick.seq} was decided by: only a later decision can be decided again"
        )
    return model


def _compare(tick: Tick, again: Decided) -> tuple[str, ...]:
    """What differs, as sentences; nothing when all is equal."""
    found = [*_decisions(tick.decisions, again.decisions), *_rejections(tick.rejected, again.rejected)]
    if MEMORIES.diff(tick.memory, again.memory) is not SAME:
        found += _changes("memory", MEMORIES.dump(tick.memory), MEMORIES.dump(again.memory))
    if len(found) > CHANGES_MAX:
        found[CHANGES_MAX - 1 :] = [f"and {len(found) - CHANGES_MAX + 1} more"]
    return tuple(found)


def _decisions(before: tuple[Decision, ...], after: tuple[Decision, ...]) -> Iterator[str]:
    if before == after:
        return
    made, now = {d.id: d for d in before}, {d.id: d for d in after}
    for id_, decision in made.items():
        other = now.get(id_)
        if other is None:
            yield f"{id_} is not made: {decision.why}"
            continue
        yield from _changes(id_, DECISIONS.dump(decision), DECISIONS.dump(other))
    for id_, decision in now.items():
        if id_ not in made:
            yield f"{id_} is made as well: {decision.why}"
    if list(made) != list(now) and made == now:
        yield f"the decisions come in another order: {', '.join(now)}"


def _rejections(before: tuple[Rejection, ...], after: tuple[Rejection, ...]) -> Iterator[str]:
    if before == after:
        return
    for rejection in before:
        if rejection not in after:
            yield f"{rejection.effect.key} of {rejection.decision} is not turned down: {rejection.why}"
    for rejection in after:
        if rejection not in before:
            yield f"{rejection.effect.key} of {rejection.decision} is turned down as well: {rejection.why}"
    if sorted(map(repr, before)) == sorted(map(repr, after)):
        yield "what is turned down comes in another order"


def _changes(path: str, before: Plain, after: Plain) -> Iterator[str]:
    """Where two plain values differ, leaf by leaf: `memory.scale.pools.web@local.wanted: 5 became 3`."""
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        before, after = dict(enumerate(before)), dict(enumerate(after))
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _changes(f"{path}.{key}", before.get(key, ABSENT), after.get(key, ABSENT))
    elif before is ABSENT or after is ABSENT or before != after:
        yield f"{path}: {_text(before)} became {_text(after)}"


def _text(value: object) -> str:
    if value is ABSENT:
        return "nothing"
    return f'"{value}"' if isinstance(value, str) else str(value)
