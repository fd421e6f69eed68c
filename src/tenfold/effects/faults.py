"""Harm as data: what a drill may do to a world. Inflicted through the `Harm` port, never by the loop;
every harm can be undone."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL the process tree of `subject` (an instance id, or an engine key like `gateway/local`)."""

    subject: str


@dataclass(frozen=True, slots=True)
class Freeze:
    """SIGSTOP the process tree of `subject`, for `seconds` at the most."""

    subject: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Slow:
    """Every request to instance `subject` takes `extra_ms` longer, for `seconds`. Only the simulator can, so far."""

    subject: str
    extra_ms: float
    seconds: float


Fault = Kill | Freeze | Slow
