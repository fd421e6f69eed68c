"""What the operator promises: the targets that `tenfold prove` proves. Nouns of the model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slo:
    """A service level objective: `good_ratio` (0..1) of what counts is good over `window_days`. 30 days are what the burn rates of
    Google's SRE workbook (chapter 5) were chosen for."""

    good_ratio: float
    window_days: int = 30


@dataclass(frozen=True, slots=True)
class LatencyTargets:
    """Upper bounds in milliseconds; None where the blueprint names none."""

    p95_ms: float | None = None
    api_mean_ms: float | None = None
    database_mean_ms: float | None = None
    websocket_ms: float | None = None
    page_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """The blueprint's `targets`; None where it names none.

    `throughput_rps` is requests per second, ratios are 0..1,
    `recovery_s` is seconds until a dead instance is replaced.
    """

    concurrent_users: int | None = None
    throughput_rps: float | None = None
    latency: LatencyTargets = LatencyTargets()
    availability_ratio: float | None = None
    error_ratio: float | None = None
    cache_hit_ratio: float | None = None
    recovery_s: float | None = None
