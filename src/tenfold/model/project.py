"""The whole of what should be: regions, tiers, edge, data, budget, releases. Nouns of the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenfold.model.money import Money
from tenfold.model.service import Service
from tenfold.model.targets import Targets

Residency = str
"""A place whose law a tenant's data must not leave (`eu`)."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` events in each `per_s` seconds."""

    count: int
    per_s: float

    @property
    def per_second(self) -> float:
        """Events per second."""
        return self.count / self.per_s


@dataclass(frozen=True, slots=True)
class Region:
    """A place that serves: `at` is (latitude, longitude) in degrees, `capacity_users` its share,
    `latency_ms` its goal."""

    name: str
    at: tuple[float, float] | None = None
    capacity_users: int | None = None
    latency_ms: float | None = None
    residency: Residency | None = None


@dataclass(frozen=True, slots=True)
class Tier:
    """What a class of tenants gets: cache lifetime, preloading, request rate."""

    name: str
    cache_s: float | None = None
    preload: bool = False
    requests: Rate | None = None


@dataclass(frozen=True, slots=True)
class CacheTimes:
    """How long the edge may keep an answer, in seconds, by class of path."""

    static_s: float | None = None
    dynamic_s: float | None = None
    api_s: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Request rates at the edge by kind of caller; `burst` is extra requests at once."""

    signed_in: Rate | None = None
    anonymous: Rate | None = None
    login: Rate | None = None
    burst: int | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """What the edge does before the app is asked. `port` is where it listens on this machine."""

    port: int = 8080
    cache: CacheTimes = CacheTimes()
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Data:
    """Where the app's data lives: embedded PostgreSQL and Valkey, or the user's own by `url` and `valkey_url`.

    The URLs may name environment variables or secrets as `${NAME}`; they are resolved when an instance starts and
    never journalled.
    """

    tenant_key: str | None = None
    shards: int = 1
    replicas: int = 0
    url: str | None = None
    valkey_url: str | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent in a month, and at which share of it (0..1) to say so."""

    monthly: Money
    alert_at_ratio: float = 0.8


@dataclass(frozen=True, slots=True)
class Environment:
    """Where this model runs, by name (`development` unless said otherwise)."""

    name: str = "development"
    is_production: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a release takes over: the old one is kept warm until the new one has stayed healthy for `watch_s`."""

    watch_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Release:
    """One shipped version of the app: its id (`r7`), its services as they were then, and the digest of its source.

    `made_at` is seconds since the epoch. Its files stay as they were when it was made,
    so that going back is possible.
    """

    id: str
    services: Mapping[str, Service]
    source_digest: str
    made_at: float
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """The 7 of `r7`."""
        return int(self.id[1:])


@dataclass(frozen=True, slots=True)
class Model:
    """The blueprint of one environment, read and checked, and the releases made from it so far.

    `services` is what the blueprint says now; what runs is a release's own `services`. `data` is None where the
    blueprint has no `data` part: then no store is run. `keep` names paths of the project folder that every release
    shares (uploads, a SQLite file).
    """

    name: str
    services: Mapping[str, Service]
    regions: Mapping[str, Region]
    environment: Environment = Environment()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    targets: Targets = Targets()
    tiers: Mapping[str, Tier] = field(default_factory=dict)
    edge: Edge = Edge()
    data: Data | None = None
    budget: Budget | None = None
    keep: tuple[str, ...] = ()
    rollout: Rollout = Rollout()
    releases: Mapping[str, Release] = field(default_factory=dict)

    @property
    def active_regions(self) -> tuple[str, ...]:
        """The regions that are run: the first one, until regions are acted on."""
        return tuple(self.regions)[:1]

    @property
    def has_edge(self) -> bool:
        """True when a service listens, so that each region needs a gateway before it."""
        return any(service.http and service.runs_always for service in self.services.values())
