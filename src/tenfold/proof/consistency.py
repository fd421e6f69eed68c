"""Judges a history of writes that only add (each value is written once) against its reads: is all that was acknowledged there, once?

Stage: a drill's history in, a `Consistency` out; pure.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tenfold.proof.history import Do, Ending, Operation


@dataclass(frozen=True, slots=True)
class Consistency:
    """What became of the writes of a history.

    `acknowledged`, `failed` and `unknown` count writes by how they ended. Of the acknowledged ones, `lost` are missing from the last read
    that began after the acknowledgement (and from every one since), `unread` were followed by no read, so that nothing is known of
    them. `phantom` values were read although nobody had begun to write them, or their write had certainly failed. `doubled` values were
    there more than once. `stale_own` and `stale` count reads that missed an acknowledged value which a later read shows: by the
    process that had written it, and by another.
    """

    acknowledged: int = 0
    failed: int = 0
    unknown: int = 0
    reads: int = 0
    lost: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    phantom: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    stale_own: int = 0
    stale: int = 0

    @property
    def holds(self) -> bool:
        """True when nothing acknowledged is lost, nothing is there that should not be, and nothing is there twice."""
        return not (self.lost or self.phantom or self.doubled)


def judge(history: Iterable[Operation]) -> Consistency:
    """Judge a history of adding writes and of reads that see all that was added under their key."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        by_key[operation.key].append(operation)
    found = [_judge_key(operations) for operations in by_key.values()]
    return Consistency(
        acknowledged=sum(f.acknowledged for f in found),
        failed=sum(f.failed for f in found),
        unknown=sum(f.unknown for f in found),
        reads=sum(f.reads for f in found),
        lost=tuple(value for f in found for value in f.lost),
        unread=tuple(value for f in found for value in f.unread),
        phantom=tuple(value for f in found for value in f.phantom),
        doubled=tuple(value for f in found for value in f.doubled),
        stale_own=sum(f.stale_own for f in found),
        stale=sum(f.stale for f in found),
    )


def _judge_key(operations: Sequence[Operation]) -> Consistency:
    writes = [o for o in operations if o.do is Do.WRITE]
    # A read that did not come back says nothing. The last to begin is the last word: it began after all others had.
    reads = sorted(
        (o for o in operations if o.do is Do.READ and o.ending is Ending.OK), key=lambda o: (o.invoked_at, _end(o))
    )
    seen = [Counter(read.saw) for read in reads]
    acknowledged = [w for w in writes if w.ending is Ending.OK]
    lost, unread, stale_own, stale = [], [], 0, 0
    for write in acknowledged:
        after = [index for index, read in enumerate(reads) if read.invoked_at > _end(write)]
        if not after:
            unread.append(write.value)
            continue
        last_with = max((index for index in after if seen[index][write.value]), default=-1)
        if last_with < after[-1]:
            lost.append(write.value)
        for index in after:
            if index < last_with and not seen[index][write.value]:
                stale_own += reads[index].process == write.process
                stale += reads[index].process != write.process
    return Consistency(
        acknowledged=len(acknowledged),
        failed=sum(w.ending is Ending.FAILED for w in writes),
        unknown=sum(w.ending is Ending.UNKNOWN for w in writes),
        reads=len(reads),
        lost=tuple(lost),
        unread=tuple(unread),
        phantom=_phantoms(writes, reads),
        doubled=tuple(sorted({value for counts in seen for value, count in counts.items() if count > 1})),
        stale_own=stale_own,
        stale=stale,
    )


def _phantoms(writes: Sequence[Operation], reads: Sequence[Operation]) -> tuple[str, ...]:
    begun: dict[str, float] = {}
    for write in writes:
        if write.ending is not Ending.FAILED:
            begun[write.value] = min(write.invoked_at, begun.get(write.value, write.invoked_at))
    return tuple(
        sorted({value for read in reads for value in read.saw if value not in begun or begun[value] > _end(read)})
    )


def _end(operation: Operation) -> float:
    return float("inf") if operation.completed_at is None else operation.completed_at
