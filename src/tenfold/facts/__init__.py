"""What was seen or estimated, and when. Floor 1: facts in, decisions out.

A fact that did not arrive is absent or old, never zero: `Snapshot.fresh` tells,
and deciders hold on what is not fresh.
"""

from tenfold.facts.forecast import ForecastSeen, WorkSeen
from tenfold.facts.levels import AnomalySeen, CapacitySeen, ObjectiveSeen, ServedSeen, SpendSeen, StoreSeen
from tenfold.facts.requests import (
    DeployRequest,
    DownRequest,
    DrainRequest,
    PersonRequest,
    RollbackRequest,
    UpRequest,
)
from tenfold.facts.seen import (
    ColdStartSeen,
    EngineSeen,
    EngineState,
    Fact,
    GatewaySeen,
    InstanceSeen,
    InstanceState,
    LinkSeen,
    MetricSeen,
    PoolSeen,
    RegionSeen,
    ReleaseSeen,
    ReplicaRole,
    ReplicaSeen,
    RouteSeen,
    TaskSeen,
    TaskState,
)
from tenfold.facts.snapshot import PLACES, ReceiptSeen, Snapshot, Window
from tenfold.facts.trace import RequestTrace

__all__ = [
    "PLACES",
    "AnomalySeen",
    "CapacitySeen",
    "ColdStartSeen",
    "DeployRequest",
    "DownRequest",
    "DrainRequest",
    "EngineSeen",
    "EngineState",
    "Fact",
    "ForecastSeen",
    "GatewaySeen",
    "InstanceSeen",
    "InstanceState",
    "LinkSeen",
    "MetricSeen",
    "ObjectiveSeen",
    "PersonRequest",
    "PoolSeen",
    "ReceiptSeen",
    "RegionSeen",
    "ReleaseSeen",
    "ReplicaRole",
    "ReplicaSeen",
    "RequestTrace",
    "RollbackRequest",
    "RouteSeen",
    "ServedSeen",
    "Snapshot",
    "SpendSeen",
    "StoreSeen",
    "TaskSeen",
    "TaskState",
    "UpRequest",
    "Window",
    "WorkSeen",
]
