"""Decides again what was decided, from the journal alone.
Stage: after the fact, to prove that nothing but the journal was decided on.
"""

from dataclasses import dataclass
from pathlib import Path

from tenfold.loop.codec import SAME
from tenfold.loop.reader import JournalReader
from tenfold.loop.store import JournalError
from tenfold.loop.tick import MEMORIES, Decide, Tick
from tenfold.model import Model


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a replay went another way: the tick, and what differs (`decisions`, `rejected`, `memory`), as a sentence."""

    tick: int
    what: str


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How many `ticks` were decided again, how many of them came out `equal`, and the first that did not."""

    ticks: int
    equal: int
    first_difference: Difference | None


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
                model = reader.model(tick.model)
                if model is None:
                    raise JournalError(f"the journal {journal} lacks the model of tick {tick.seq}: replay a later one")
                models[tick.model] = model
            what = _differs(tick, models[tick.model], decide)
            ticks += 1
            equal += not what
            if what and difference is None:
                difference = Difference(tick.seq, what)
    return ReplayResult(ticks, equal, difference)


def _differs(tick: Tick, model: Model, decide: Decide) -> str:
    again = decide(model, tick.snapshot, tick.memory_before)
    if again.decisions != tick.decisions:
        return f"decisions: {[d.why for d in tick.decisions]} became {[d.why for d in again.decisions]}"
    if again.rejected != tick.rejected:
        return f"rejected: {[r.why for r in tick.rejected]} became {[r.why for r in again.rejected]}"
    change = MEMORIES.diff(tick.memory, again.memory)
    return "" if change is SAME else f"memory: {change}"
