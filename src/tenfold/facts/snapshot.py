"""The snapshot: everything a decision may know, time included.
Made by the loop from observers' facts, read by `decide`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenfold.facts.forecast import ForecastSeen, WorkSeen
from tenfold.facts.levels import AnomalySeen, CapacitySeen, ObjectiveSeen, ServedSeen, SpendSeen, StoreSeen
from tenfold.facts.requests import PersonRequest
from tenfold.facts.seen import (
    ColdStartSeen,
    EngineSeen,
    GatewaySeen,
    InstanceSeen,
    LinkSeen,
    MetricSeen,
    PoolSeen,
    RegionSeen,
    ReleaseSeen,
    ReplicaSeen,
    RouteSeen,
    TaskSeen,
)


@dataclass(frozen=True, slots=True)
class ReceiptSeen:
    """How an effect ended, as deciders see it: `outcome` is one of effects.Outcome's values. Shown for one tick."""

    key: str
    outcome: str
    note: str
    at: float


@dataclass(frozen=True, slots=True)
class Window:
    """Minute history: `series[name][i]` is the value of minute `start + i * step_s`; None where nothing was seen."""

    start: float
    step_s: float
    series: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is, at `taken_at` (seconds since the epoch), under lease `epoch`.

    `observed[source]` is when an observer last answered; the facts of one that did not answer stay as they were, with
    their old `seen_at`. Absence of a subject means something only while its source is fresh. Sources: `process`,
    `gateway`, `entry`, `links`, `postgres`, `valkey`, `voter`, `control`, `metrics`, `capacity`, `levels`.
    `led_from` is the region of the control plane that looks. `pending` maps the key of each effect that was sent and has no receipt
    to when it was sent.
    """

    taken_at: float
    epoch: int = 0
    led_from: str = ""
    observed: Mapping[str, float] = field(default_factory=dict)
    instances: Mapping[str, InstanceSeen] = field(default_factory=dict)
    engines: Mapping[str, EngineSeen] = field(default_factory=dict)
    gateways: Mapping[str, GatewaySeen] = field(default_factory=dict)
    pools: Mapping[str, PoolSeen] = field(default_factory=dict)
    cold_starts: Mapping[str, ColdStartSeen] = field(default_factory=dict)
    routes: Mapping[str, RouteSeen] = field(default_factory=dict)
    regions: Mapping[str, RegionSeen] = field(default_factory=dict)
    links: Mapping[str, LinkSeen] = field(default_factory=dict)
    replicas: Mapping[str, ReplicaSeen] = field(default_factory=dict)
    tasks: Mapping[str, TaskSeen] = field(default_factory=dict)
    releases: Mapping[str, ReleaseSeen] = field(default_factory=dict)
    metrics: Mapping[str, MetricSeen] = field(default_factory=dict)
    stores: Mapping[str, StoreSeen] = field(default_factory=dict)
    served: Mapping[str, ServedSeen] = field(default_factory=dict)
    capacities: Mapping[str, CapacitySeen] = field(default_factory=dict)
    objectives: Mapping[str, ObjectiveSeen] = field(default_factory=dict)
    anomalies: Mapping[str, AnomalySeen] = field(default_factory=dict)
    spend: Mapping[str, SpendSeen] = field(default_factory=dict)
    forecasts: Mapping[str, ForecastSeen] = field(default_factory=dict)
    works: Mapping[str, WorkSeen] = field(default_factory=dict)
    pending: Mapping[str, float] = field(default_factory=dict)
    receipts: Mapping[str, ReceiptSeen] = field(default_factory=dict)
    requests: Mapping[str, PersonRequest] = field(default_factory=dict)

    def fresh(self, source: str, age_s_max: float) -> bool:
        """True when `source` answered within the last `age_s_max` seconds.
        A clock that jumped back makes it False."""
        seen_at = self.observed.get(source)
        return seen_at is not None and -1.0 <= self.taken_at - seen_at <= age_s_max


PLACES: dict[type, str] = {
    InstanceSeen: "instances",
    EngineSeen: "engines",
    GatewaySeen: "gateways",
    PoolSeen: "pools",
    ColdStartSeen: "cold_starts",
    RouteSeen: "routes",
    RegionSeen: "regions",
    LinkSeen: "links",
    ReplicaSeen: "replicas",
    TaskSeen: "tasks",
    ReleaseSeen: "releases",
    MetricSeen: "metrics",
    StoreSeen: "stores",
    ServedSeen: "served",
    CapacitySeen: "capacities",
    ObjectiveSeen: "objectives",
    AnomalySeen: "anomalies",
    SpendSeen: "spend",
    ForecastSeen: "forecasts",
    WorkSeen: "works",
}
"""Which mapping of the snapshot a fact belongs to."""
