"""The edge's routes as data: which instance gets which share of which path.
Decided by deciders, rendered by render."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tenfold.model.project import ResidencyRule, Tier
from tenfold.model.service import Health

LOOPBACK = "127.0.0.1"
"""Where everything that runs on this machine listens, and nowhere else."""

STARTS_SLACK_S = 5.0
"""Whoever waits for a start waits a little longer than it may take, so that its end is told by who knows it."""


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

    `hedge_after_ms` is the default for paths that no rule names. `timeout_s` bounds how long an instance may be silent. Of a service that
    `may_sleep` requests wait for an instance where none is there (`is_asleep`), at most as long as a start takes. With a `tier` it gets
    that tier's requests to its paths, and the service without one all others; while it `is_out` that gets these too.
    """

    service: str
    paths: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    health: Health = Health()
    hedge_after_ms: float | None = 400.0
    rules: tuple[RouteRule, ...] = ()
    timeout_s: float = 60.0
    is_sticky: bool = False
    may_sleep: bool = False
    is_asleep: bool = False
    tier: str | None = None
    is_out: bool = False

    @property
    def silence_s(self) -> float:
        """For how long the edge may hear nothing, seconds: of the instance, or of the one that is waited for."""
        return max(self.timeout_s, self.health.starts_within_s + STARTS_SLACK_S) if self.may_sleep else self.timeout_s


@dataclass(frozen=True, slots=True)
class GatewayEnd:
    """A region's gateway as others reach it over the network between regions."""

    region: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class StoreEnd:
    """Where a region's gateway sends the app's connections to the store `kind` (`postgres`, `valkey`): to its primary now."""

    kind: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Everything one region's gateway must know. Equal tables mean equal configurations.

    `gateways` are those of all regions, itself included: it measures the way to each. A table `behind_entry` is for a gateway
    that the global entry stands before. `tiers` are those of which some service is.
    """

    region: str
    services: tuple[ServiceRoutes, ...] = ()
    domains: tuple[str, ...] = ()
    behind_entry: bool = False
    gateways: tuple[GatewayEnd, ...] = ()
    stores: tuple[StoreEnd, ...] = ()
    tiers: tuple[Tier, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """`ratio` (0..1) of some traffic goes to `region`."""

    region: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Way:
    """Where requests of clients near region `origin` go, of those that must stay within `residency` (empty: the others).

    The ratios of `shares` sum to one. `spares` are the regions to try next, nearest first, should those fail. No shares at
    all mean that no region may serve them now: they are refused with a clear answer.
    """

    origin: str
    residency: str
    shares: tuple[Share, ...]
    spares: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EntryTable:
    """Everything the global entry must know. Equal tables mean equal configurations.

    `places` are the regions' (latitude, longitude) in degrees, by which a client's nearest is found; `home` is the origin of
    clients whose place is not known. `services` are without endpoints: their hedging times are as seen from the entry.
    `trust` and `geoip` as in `Edge`; `residency` are the blueprint's rules.
    """

    home: str
    gateways: tuple[GatewayEnd, ...] = ()
    ways: tuple[Way, ...] = ()
    services: tuple[ServiceRoutes, ...] = ()
    places: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    domains: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()
    geoip: str | None = None
    residency: tuple[ResidencyRule, ...] = ()
