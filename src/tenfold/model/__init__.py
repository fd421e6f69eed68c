"""Nouns and units: *what should be*. Floor 0; everything above speaks in these words and they import nothing."""

from tenfold.model.money import Money
from tenfold.model.project import (
    Budget,
    CacheTimes,
    Data,
    Edge,
    Environment,
    Limits,
    Model,
    Rate,
    Region,
    Release,
    Residency,
    Rollout,
    Tier,
)
from tenfold.model.routes import LOOPBACK, Endpoint, EndpointState, RouteRule, RouteTable, ServiceRoutes
from tenfold.model.service import (
    KNOWN_TRIGGERS,
    Forecast,
    Health,
    InstanceSize,
    Scaling,
    Service,
    Trigger,
)
from tenfold.model.shards import Shard, Tenant
from tenfold.model.targets import LatencyTargets, Slo, Targets

__all__ = [
    "KNOWN_TRIGGERS",
    "LOOPBACK",
    "Budget",
    "CacheTimes",
    "Data",
    "Edge",
    "Endpoint",
    "EndpointState",
    "Environment",
    "Forecast",
    "Health",
    "InstanceSize",
    "LatencyTargets",
    "Limits",
    "Model",
    "Money",
    "Rate",
    "Region",
    "Release",
    "Residency",
    "Rollout",
    "RouteRule",
    "RouteTable",
    "Scaling",
    "Service",
    "ServiceRoutes",
    "Shard",
    "Slo",
    "Targets",
    "Tenant",
    "Tier",
    "Trigger",
]
