"""The edge's routes as data: which instance gets which share of which path.
Decided by deciders, rendered by render."""

from dataclasses import dataclass
from enum import StrEnum

from tenfold.model.service import Health

LOOPBACK = "127.0.0.1"
"""Where everything that runs on this machine listens, and nowhere else."""


class EndpointState(StrEnum):
    """SERVING gets new requests; WARM gets one only when no serving endpoint can take it;
    DRAINING only finishes those it has."""

    SERVING = "serving"
    WARM = "warm"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One instance as the edge sees it. `weight` is its share among the service's endpoints (1..128)."""

    instance: str
    host: str
    port: int
    weight: int = 1
    state: EndpointState = EndpointState.SERVING


@dataclass(frozen=True, slots=True)
class RouteRule:
    """A path prefix of a service with its own hedging: a second try starts `hedge_after_ms` after the first (None:
    never)."""

    prefix: str
    hedge_after_ms: float | None


@dataclass(frozen=True, slots=True)
class ServiceRoutes:
    """A service at the edge: its `paths` (URL prefixes), its endpoints,
    and when an idempotent request is tried elsewhere.

    `hedge_after_ms` is the default for paths that no rule names. `timeout_s` bounds how long an instance may be silent.
    """

    service: str
    paths: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    health: Health = Health()
    hedge_after_ms: float | None = 400.0
    rules: tuple[RouteRule, ...] = ()
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Everything one region's gateway must know. Equal tables mean equal configurations."""

    region: str
    services: tuple[ServiceRoutes, ...] = ()
    domains: tuple[str, ...] = ()
