"""What a report holds: figures and events of a period, as plain data. Stage: journal -> report."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenfold.facts import ObjectiveSeen, SpendSeen


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at `at` (seconds since the epoch), by decision `id`, as a sentence. `took_s` is how long it lasted, where
    that is known."""

    at: float
    id: str
    what: str
    took_s: float | None = None


@dataclass(frozen=True, slots=True)
class AlertTold:
    """An alert that fired at `at`; `ended_at` is None while it still does. `answered_by` are decisions."""

    key: str
    severity: str
    at: float
    text: str
    ended_at: float | None = None
    answered_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolReport:
    """A service in a region (`web@local`), over the period. Ratios are of what an instance is given, by the mean of its minutes;
    `peak_memory_ratio` by its highest minute. `minutes_at_most` are those in which it ran as many instances as it may. It was woken by
    `cold_starts`, for which requests waited `cold_wait_ms_max` at the most (None: none did)."""

    key: str
    instances_max: int
    instances_peak: float
    instances_mean: float
    minutes_at_most: int
    cpu_ratio: float | None
    memory_ratio: float | None
    peak_memory_ratio: float | None
    cost_per_hour: float
    cold_starts: int = 0
    cold_wait_ms_max: float | None = None


@dataclass(frozen=True, slots=True)
class TargetTold:
    """A target, what was measured of it and how. `is_met` is None where the traffic of the period, or what is measured, can't show it."""

    name: str
    target: str
    measured: str
    is_met: bool | None
    how: str

    @property
    def word(self) -> str:
        """`met`, `missed` or `not shown`."""
        return "not shown" if self.is_met is None else "met" if self.is_met else "missed"


@dataclass(frozen=True, slots=True)
class PeriodReport:
    """A period of one project. `seen_s` is for how long of it the edge was watched; counts and times are of that."""

    name: str
    environment: str
    start: float
    end: float
    is_live: bool
    seen_s: float
    requests: int
    failed: int
    peak_rps: tuple[float, float] | None
    users: tuple[float, float, str] | None
    mean_ms: float | None
    p95_ms: tuple[float, float, float] | None
    """The p95 of the middle minute, that of the worst one, and when that was."""
    within: tuple[float, int, int] | None
    """The target in milliseconds, the answers whose time is known, and how many of these were late."""
    database_ms: float | None
    failing_minutes: int
    pools: tuple[PoolReport, ...] = ()
    scalings: tuple[Event, ...] = ()
    failures: tuple[Event, ...] = ()
    failovers: tuple[Event, ...] = ()
    deploys: tuple[Event, ...] = ()
    alerts: tuple[AlertTold, ...] = ()
    targets: tuple[TargetTold, ...] = ()
    objectives: tuple[ObjectiveSeen, ...] = ()
    spend: SpendSeen | None = None
    budget: str = ""
    cost: float | None = None
    """What the instances cost in the period, in the currency of `spend`."""
    advice: tuple[str, ...] = ()
    rates: tuple[float | None, ...] = field(default_factory=tuple)
    """Requests/s by minute, for a plot."""
    percentiles: tuple[float | None, ...] = field(default_factory=tuple)
    """The p95 by minute, in milliseconds, of all pools: the highest."""

    @property
    def availability_ratio(self) -> float | None:
        """The share (0..1) of requests that did not fail; None without any."""
        return 1 - self.failed / self.requests if self.requests else None


Series = Mapping[str, tuple[float | None, ...]]
"""Minutes of the journal by series."""
