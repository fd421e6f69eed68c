"""Is a history of reads and writes of single values linearizable: could each operation have happened at one moment between its beginning
and its end, on one copy of the data?

Stage: a history in, an answer with a reason out; pure. The search is that of Wing and Gong (1993), with Lowe's cache of states that were
tried (2017), for each key by itself: a history is linearizable when each of its keys is (Herlihy and Wing 1990, theorem 1).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tenfold.proof.history import Do, Ending, Operation

NOTHING = ""
"""What a key holds before it is written for the first time."""


@dataclass(frozen=True, slots=True)
class Linearizability:
    """`broken` names the keys that are not linearizable, each with the operation that no order explains."""

    keys: int
    operations: int
    broken: tuple[tuple[str, Operation], ...] = ()

    @property
    def holds(self) -> bool:
        """True when every key is linearizable."""
        return not self.broken


def check(history: Iterable[Operation]) -> Linearizability:
    """Judge a history of registers. A read saw one value, or none (`NOTHING`). A write with an unknown end may have happened at any time
    since it began, or never; what certainly failed did not happen, and a read that did not come back says nothing."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        if operation.ending is Ending.OK or (operation.ending is Ending.UNKNOWN and operation.do is Do.WRITE):
            by_key[operation.key].append(operation)
    broken = []
    for key, operations in sorted(by_key.items()):
        culprit = _culprit(sorted(operations, key=lambda o: o.invoked_at))
        if culprit is not None:
            broken.append((key, culprit))
    return Linearizability(len(by_key), sum(len(o) for o in by_key.values()), tuple(broken))


def _culprit(operations: Sequence[Operation]) -> Operation | None:
    """The operation at which every order of these (in the order of their beginnings) comes to an end; None when one order explains all.

    A state of the search is which operations have happened (as bits) and what the register holds then. Only what began before the
    first end among those that have not happened may be next.
    """
    must = sum(1 << n for n, o in enumerate(operations) if o.ending is Ending.OK)
    tried: set[tuple[int, str]] = set()
    to_try = [(0, NOTHING)]
    farthest, culprit = -1, None
    while to_try:
        happened, value = to_try.pop()
        if happened & must == must:
            return None
        if (happened, value) in tried:
            continue
        tried.add((happened, value))
        first_end = min(
            (n for n in range(len(operations)) if must >> n & 1 and not happened >> n & 1),
            key=lambda n: _end(operations[n]),
        )
        done = (happened & must).bit_count()
        if done > farthest:
            farthest, culprit = done, operations[first_end]
        for number, operation in enumerate(operations):
            if operation.invoked_at > _end(operations[first_end]):
                break
            if happened >> number & 1:
                continue
            if operation.do is Do.WRITE:
                to_try.append((happened | 1 << number, operation.value))
            elif (operation.saw[0] if operation.saw else NOTHING) == value:
                to_try.append((happened | 1 << number, value))
    return culprit


def _end(operation: Operation) -> float:
    unknown = operation.completed_at is None or operation.ending is Ending.UNKNOWN
    return float("inf") if unknown else operation.completed_at or 0.0
