"""What one load process says of its share of a run: a `Slice` each second, a `Tally` at its end. Plain data, ready for JSON.

Stage: `record.Recorder` fills these in each process; `merge.Merger` adds up those of all. Histograms travel as
counts of their buckets, so that sums are exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tenfold.proof.load.histogram import Counts
from tenfold.proof.load.result import Sample


@dataclass(frozen=True, slots=True)
class Slice:
    """What happened in second `index` of the run (the first is 0), which was closed `at_s` after its start."""

    index: int
    at_s: float
    due: int
    kinds: Mapping[str, int]
    response: Counts
    lag: Counts
    cpu_s: float
    in_flight: int
    users: int


@dataclass(frozen=True, slots=True)
class PartTally:
    """One action or step."""

    count: int
    failed: int
    refused: int
    response: Counts
    service: Counts


@dataclass(frozen=True, slots=True)
class SocketsTally:
    """All sockets of a process."""

    users: int
    down: int
    opened: int
    closed: int
    refused: int
    sent: int
    unanswered: int
    messages: int
    round_trip: Counts
    gap: Counts


@dataclass(frozen=True, slots=True)
class Tally:
    """A process's whole share. `examples` are by kind of end, `slowest` the slowest requests of all."""

    started_at_s: float
    duration_s: float
    cpu_s: float
    memory_bytes: int
    due: int
    kinds: Mapping[str, int]
    unfinished: int
    resent: int
    received_bytes: int
    response: Counts
    service: Counts
    lag: Counts
    examples: Mapping[str, tuple[Sample, ...]]
    slowest: tuple[Sample, ...]
    actions: tuple[PartTally, ...]
    steps: tuple[PartTally, ...]
    sockets: SocketsTally | None
