"""One tick as the journal keeps it: what was seen, what was decided, what was remembered. Stage: written by the loop,
read by everyone.

Between keyframes only changes are written. A keyframe holds the snapshot and the memory before it whole, so that it can
be read, and decided again, without anything older.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tenfold.deciders.decide import Decided
from tenfold.deciders.memory import Memory
from tenfold.effects import Decision, Rejection
from tenfold.facts import PersonRequest, Snapshot
from tenfold.loop.codec import SAME, Codec, Plain, pack, unpack
from tenfold.model import Model, Release

SNAPSHOTS: Codec[Snapshot] = Codec(Snapshot)
MEMORIES: Codec[Memory] = Codec(Memory)
DECISIONS: Codec[Decision] = Codec(Decision)
REJECTIONS: Codec[tuple[Rejection, ...]] = Codec(tuple[Rejection, ...])
MODELS: Codec[Model] = Codec(Model)
RELEASES: Codec[Release] = Codec(Release)
REQUESTS: Codec[PersonRequest] = Codec(PersonRequest)


Decide = Callable[[Model, Snapshot, Memory], Decided]
"""The brain (`deciders.decide`): no clock, no randomness, no I/O, so that equal arguments give equal decisions."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Tick number `seq`, taken at `at` under lease `epoch`. `model` is the digest of the model that was decided by."""

    seq: int
    at: float
    epoch: int
    model: str
    snapshot: Snapshot
    memory_before: Memory
    memory: Memory
    decisions: tuple[Decision, ...] = ()
    rejected: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """What the next tick is told as a change of: the last snapshot and memory."""

    snapshot: Snapshot
    memory: Memory

    def seen(self, snapshot: Snapshot) -> Snapshot:
        """`snapshot` as a reader of the journal will get it back: the same figures in the same order. What is decided on."""
        return SNAPSHOTS.patch(self.snapshot, SNAPSHOTS.diff(self.snapshot, snapshot))

    def remembered(self, memory: Memory) -> Memory:
        """`memory` as a reader of the journal will get it back."""
        return MEMORIES.patch(self.memory, MEMORIES.diff(self.memory, memory))

    def body(self, snapshot: Snapshot, memory: Memory, rejected: tuple[Rejection, ...], is_keyframe: bool) -> bytes:
        """The tick after this state, as it is written."""
        plain: dict[str, Plain] = {}
        if is_keyframe:
            plain["s"] = SNAPSHOTS.dump(snapshot)
            plain["b"] = MEMORIES.dump(self.memory)
        elif (changes := SNAPSHOTS.diff(self.snapshot, snapshot)) is not SAME:
            plain["s"] = changes
        if (changes := MEMORIES.diff(self.memory, memory)) is not SAME:
            plain["m"] = changes
        if rejected:
            plain["r"] = REJECTIONS.dump(rejected)
        return pack(plain)


NOTHING = State(Snapshot(0.0), Memory())


@dataclass(frozen=True, slots=True)
class Row:
    """A tick as it lies in the journal."""

    seq: int
    at: float
    epoch: int
    model: str
    is_keyframe: bool
    body: bytes


def read_row(row: Row, before: State, decisions: Mapping[int, tuple[Decision, ...]]) -> Tick:
    """The tick of `row`, which follows `before` (anything, for a keyframe). Raises `CodecError` when it is damaged."""
    plain = unpack(row.body)
    if row.is_keyframe:
        snapshot, memory_before = SNAPSHOTS.load(plain["s"]), MEMORIES.load(plain["b"])
    else:
        snapshot, memory_before = SNAPSHOTS.patch(before.snapshot, plain.get("s", SAME)), before.memory
    return Tick(
        seq=row.seq,
        at=row.at,
        epoch=row.epoch,
        model=row.model,
        snapshot=snapshot,
        memory_before=memory_before,
        memory=MEMORIES.patch(memory_before, plain.get("m", SAME)),
        decisions=decisions.get(row.seq, ()),
        rejected=REJECTIONS.load(plain.get("r", [])),
    )
