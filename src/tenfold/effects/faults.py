"""Harm as data: what a drill may do to a world. Inflicted through the `Harm` port, never by the loop;
every harm can be undone.

A `subject` is an instance id (`web-1`), an engine key (`gateway/local`), `control` (the control plane that leads), or a whole region
(`region/europe-west1`: its gateway, instances, stores, voter and control plane). What lasts `seconds` ends by itself then, and with
`undo`, and when the drill dies.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL the process tree of `subject`. A region is kept dead for `seconds`: whatever starts in it is killed again."""

    subject: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Freeze:
    """SIGSTOP the process tree of `subject`, for `seconds` at the most."""

    subject: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Slow:
    """Everything sent to `subject` takes `extra_ms` longer on its way, for `seconds`.

    Of a region, this is the network between it and all others; of an instance, its answers (only the simulator can).
    """

    subject: str
    extra_ms: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Lose:
    """The network between `region` and all others loses `ratio` (0..1) of its packets each way, for `seconds`."""

    region: str
    ratio: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Partition:
    """Nothing passes between `region` and any other, nor between it and the global entry, for `seconds`."""

    region: str
    seconds: float


@dataclass(frozen=True, slots=True)
class FillDisk:
    """The disk that holds the data of store `subject` (`postgres/local`) is full, for `seconds`."""

    subject: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SkewClock:
    """The clock of `subject` is `by_s` ahead (or, below zero, behind), for `seconds`."""

    subject: str
    by_s: float
    seconds: float


Fault = Kill | Freeze | Slow | Lose | Partition | FillDisk | SkewClock
