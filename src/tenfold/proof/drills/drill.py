"""A drill as data: what should hold, what is done about it, for how long, and what must come of it. Nothing here acts."""

from dataclasses import dataclass
from enum import StrEnum

from tenfold.effects.faults import Fault


class Measure(StrEnum):
    """What a probe looks at.

    From outside, as a client: EDGE_STATUS (the status of a GET of the edge; 0: no answer), FAILED (requests of the last second that
    failed), LATE_MS (how much longer, in milliseconds, the slowest 1% of its answers took than 999 of 1,000 did before), WRITE_FAILS
    (1 while the last write was not acknowledged). From the journal: INSTANCES_MISSING (not ready, of those that are meant to be),
    ENGINES_DOWN, REGIONS_OUT (not serving in full), SHIPPING (1 while a release is on its way), CONTROL_AGE_S (how old the newest
    word of the control plane is, in seconds).
    """

    EDGE_STATUS = "edge_status"
    FAILED = "failed"
    LATE_MS = "late_ms"
    WRITE_FAILS = "write_fails"
    INSTANCES_MISSING = "instances_missing"
    ENGINES_DOWN = "engines_down"
    REGIONS_OUT = "regions_out"
    SHIPPING = "shipping"
    CONTROL_AGE_S = "control_age_s"


@dataclass(frozen=True, slots=True)
class Probe:
    """What is measured, and between what it lies in the steady state (both bounds are in)."""

    measure: Measure
    lowest: float = 0.0
    highest: float = 0.0


CLIENTS = (Measure.EDGE_STATUS, Measure.FAILED, Measure.LATE_MS, Measure.WRITE_FAILS)
"""What clients notice."""


class Sickness(StrEnum):
    """How a release is broken on purpose: it never gets healthy, or it answers its health check and everything else with 500."""

    NEVER_HEALTHY = "never_healthy"
    ERRORS = "errors"


@dataclass(frozen=True, slots=True)
class Strike:
    """Harm through the `Harm` port. A subject `web@local` (a pool) means one of its ready instances, chosen by the stage's seed;
    `postgres/` and `valkey/` without a region mean the store that is primary now."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Surge:
    """`times` the load, for as long as the harm lasts."""

    times: float


@dataclass(frozen=True, slots=True)
class Ship:
    """A release of the app that is broken is shipped; nobody takes it back but the control plane."""

    sickness: Sickness


Act = Strike | Surge | Ship


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill.

    `line` tells in a line what is done. `expects` is the steady state, which must hold before, and again at the end. `acts` are done one
    after another at once and last `seconds`; 0: only for a moment. `answered_by` are the deciders (`heal`, `failover`, ...) one of which
    is to answer; empty: no decision is needed. `recovers` are the measures that must be back for it to have recovered, within
    `recovery_s_max`. `failed_max` is how many requests may fail (None: any number), `loses` tells that acknowledged writes may be
    lost. `is_revived`: the control plane is started again by hand at the end of the harm.
    """

    name: str
    line: str
    expects: tuple[Probe, ...]
    acts: tuple[Act, ...]
    seconds: float = 0.0
    answered_by: tuple[str, ...] = ()
    recovers: tuple[Measure, ...] = CLIENTS
    recovery_s_max: float = 30.0
    failed_max: int | None = 0
    loses: bool = False
    is_revived: bool = False
