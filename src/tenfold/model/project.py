"""The whole of what should be: regions, tiers, edge, data, budget, releases. Nouns of the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenfold.model.alerts import Alerts
from tenfold.model.money import Money
from tenfold.model.prices import SHIPPED, Prices
from tenfold.model.scenario import Scenario
from tenfold.model.service import Service
from tenfold.model.targets import Targets

Residency = str
"""A place whose law a tenant's data must not leave (`eu`)."""

DEFAULT_REGION = "local"
"""The one region of a project that names none."""


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
    """A class of tenants, and what it gets: cache lifetime, preloading, request rate; pools of its own where services give it some.

    In it are requests to `domains`, and those of `tenants`, told as in a `ResidencyRule`: `share_ratio` (0..1) of all users, None
    where that is not said.
    """

    name: str
    cache_s: float | None = None
    preload: bool = False
    requests: Rate | None = None
    domains: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    share_ratio: float | None = None


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
    """What the edge does before the app is asked. `port` is where it listens on this machine.

    `region` is where the global entry stands (None: in the first region). `trust` are senders, as CIDR blocks, whose word on
    a client's place (`x-tenfold-place`) and address (`x-forwarded-for`) is believed. `geoip` is the path of a MaxMind
    database of countries for clients whose place nobody told.
    """

    port: int = 8080
    region: str | None = None
    trust: tuple[str, ...] = ()
    geoip: str | None = None
    cache: CacheTimes = CacheTimes()
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class ConsoleAt:
    """Where the console listens on this machine: always on loopback, at `port` (None: the one after the edge's), and at `host` too
    where that is named; there it shows nothing without its token. `domains` are further names by which it is asked, as behind a
    proxy."""

    port: int | None = None
    host: str | None = None
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResidencyRule:
    """Whose requests may be served only in regions of residency `name`: those to `domains`, and those of `tenants`, told by
    the header `x-tenfold-tenant` or the cookie `tenfold-tenant`. A tenant counts before the host, the header before the cookie."""

    name: Residency
    domains: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Data:
    """Where the app's data lives: embedded PostgreSQL and Valkey, or the user's own by `url` and `valkey_url`.

    The URLs may name environment variables or secrets as `${NAME}`; they are resolved when an instance starts and
    never journalled. The primary begins in `region` (None: the first), a standby in the next region when `replicas` is not 0.
    With `is_synchronous` no write is acknowledged before the standby has it. `rpo_s` is how many seconds of acknowledged
    writes may be lost with the primary's region, `rto_s` within how many writes must go on (None: not declared).
    """

    tenant_key: str | None = None
    shards: int = 1
    replicas: int = 0
    region: str | None = None
    is_synchronous: bool = False
    rpo_s: float | None = None
    rto_s: float | None = None
    url: str | None = None
    valkey_url: str | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent in a month, at which share of it (0..1) to say so, and the prices to reckon with (None: those that are shipped).

    Where it `is_enforced` nothing is added that would take the month beyond it; otherwise it only warns.
    """

    monthly: Money
    alert_at_ratio: float = 0.8
    prices: Prices | None = None
    is_enforced: bool = False


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
    console: ConsoleAt = ConsoleAt()
    data: Data | None = None
    budget: Budget | None = None
    keep: tuple[str, ...] = ()
    residency: Mapping[Residency, ResidencyRule] = field(default_factory=dict)
    rollout: Rollout = Rollout()
    alerts: Alerts = Alerts()
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)
    releases: Mapping[str, Release] = field(default_factory=dict)

    @property
    def prices(self) -> Prices:
        """What to reckon costs with: the blueprint's own prices, or those that are shipped."""
        own = self.budget.prices if self.budget is not None else None
        return own or SHIPPED

    @property
    def has_edge(self) -> bool:
        """True when a service listens, so that each region needs a gateway before it."""
        return any(service.http and service.runs_always for service in self.services.values())

    @property
    def is_spread(self) -> bool:
        """True with several regions: then one global entry stands before the gateways, and apps reach their stores through
        the gateway of their region."""
        return len(self.regions) > 1

    @property
    def home(self) -> str:
        """The first region: where tasks run, and the control plane at first."""
        return next(iter(self.regions))

    @property
    def entry_region(self) -> str:
        """Where the global entry stands."""
        return self.edge.region or self.home

    @property
    def store_regions(self) -> tuple[str, ...]:
        """Where embedded stores lie: the region where the primary begins, and that of its standby where there is one."""
        if self.data is None:
            return ()
        first = self.data.region or self.home
        others = [region for region in self.regions if region != first]
        return (first, *(others[:1] if self.data.replicas else ()))
