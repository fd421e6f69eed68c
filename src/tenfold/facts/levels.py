"""Facts that are reckoned, not seen: how objectives stand, what is odd, what an instance holds. Journalled like any fact."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ObjectiveSeen:
    """How a service level objective stands; key `availability`, `latency`.

    `good_ratio` (0..1) of what counts should be good over `window_days`. `total` and `bad` are what counted in that window (as far
    as it is kept) and what of it was not good; `budget_left_ratio` is what is left of the error budget (1: all, below 0:
    overspent). `burn` says how fast it is spent by window (`5m`, `1h`, ...): 1 spends it exactly in `window_days`; a window without
    traffic or not seen for long enough is absent.
    """

    objective: str
    good_ratio: float
    window_days: int
    total: float
    bad: float
    budget_left_ratio: float
    seen_at: float
    burn: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.objective


@dataclass(frozen=True, slots=True)
class AnomalySeen:
    """A series of the journal behaves as it has not before; key is the series' name (`web@local.requests_per_s`). Told while it lasts.

    `value` is its newest minute, `expected` what was expected of it, `score` (0..1) how sure it is, `since` when it began.
    """

    series: str
    value: float
    expected: float
    score: float
    since: float
    seen_at: float

    @property
    def key(self) -> str:
        return self.series


@dataclass(frozen=True, slots=True)
class CapacitySeen:
    """What one instance of a service holds, as `tenfold measure` found; key `web/office`.

    At `requests_per_s`, with `concurrency` requests at hand and (in the closed model) `users` users, 95 of 100 answers come within
    `latency_ms`; `bends_at_rps` is where more load no longer gives more answers. `scaled` tells what several instances held, in
    requests/s by their number, as far as it was measured. `release` is what was measured, `cores` what the machine had.
    """

    service: str
    scenario: str
    release: str
    requests_per_s: float
    concurrency: float
    users: float
    latency_ms: float
    bends_at_rps: float
    measured_at: float
    seen_at: float
    cores: int = 0
    scaled: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.service}/{self.scenario}"


@dataclass(frozen=True, slots=True)
class StoreSeen:
    """What a store does, over the last look; key `postgres/local`. `busy_ms_mean` is the time it worked on a transaction (or a command);
    None where none ended."""

    kind: str
    region: str
    seen_at: float
    transactions_per_s: float = 0.0
    busy_ms_mean: float | None = None
    connections: int = 0

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.region}"
