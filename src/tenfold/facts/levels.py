"""Facts about service levels: what was served, how objectives stand, what is odd, what an instance holds, what it all costs.
Most are reckoned, not seen; they are journalled like any fact.
"""

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
    bad_by_window: Mapping[str, int] = field(default_factory=dict)
    covered_s: float = 0.0

    @property
    def key(self) -> str:
        return self.objective


@dataclass(frozen=True, slots=True)
class ServedSeen:
    """What an edge has served since its driver began to watch it; key `entry`, or the region of a gateway.

    Counts that only grow, exact, and begin again from 0 with another driver or Envoy: what was served between two looks is their
    difference. `requests` came in, and `failed` of them got a 5xx. Of `timed` answers the time is known, and `late` of these were not
    sooner than the target of 95% (`targets.latency.p95`), as far as there is one.
    """

    edge: str
    seen_at: float
    requests: int = 0
    failed: int = 0
    timed: int = 0
    late: int = 0

    @property
    def key(self) -> str:
        return self.edge


@dataclass(frozen=True, slots=True)
class SpendSeen:
    """What the instances cost, in whole units of `currency`; key `month`.

    `per_hour` is what runs now. `month_so_far` is what was seen to run since `since` in this month (UTC), over `seen_s` seconds in all, and
    `month_forecast` what the whole month will have cost when it goes on like the last day. `prices_as_of` is the date of the prices.
    """

    currency: str
    per_hour: float
    month_so_far: float
    month_forecast: float
    since: float
    seen_s: float
    prices_as_of: str
    seen_at: float

    @property
    def key(self) -> str:
        return "month"


@dataclass(frozen=True, slots=True)
class AnomalySeen:
    """A series of the journal behaves as it has not before; key is the series' name (`web@local.requests_per_s`). Told while it lasts.

    `value` is its newest minute, which began at `seen_at`; `expected` what was expected when it began (`since`), `score` (0..1) how
    sure it is.
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
    `latency_ms`; `bends_at_rps` is where more load no longer gives more answers (0: above all that was tried). `limited_by` says in words
    what gave out first. `scaled` tells what several instances held, in requests/s by their number, as far as it was measured, and
    `cpu_ms` what a request costs, in ms of processor time by part, and `connections` how many to the database an instance kept open.
    `release` is the digest of the source that was measured, `command` what
    ran it, `cores` what the machine had.
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
    command: str = ""
    limited_by: str = ""
    cpu_ms: Mapping[str, float] = field(default_factory=dict)
    connections: float = 0.0

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
