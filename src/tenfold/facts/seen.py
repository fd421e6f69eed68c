"""Facts by subject: instances, engines, gateways, pools, tasks, metrics. Made by observers, read by deciders.

Every fact has a `key` that names its subject and `seen_at` (seconds since the epoch, on the observer's clock).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tenfold.facts.forecast import ForecastSeen, WorkSeen
from tenfold.facts.levels import AnomalySeen, CapacitySeen, ObjectiveSeen, ServedSeen, SpendSeen, StoreSeen
from tenfold.model import StoreEnd

WARM_UP_S = 15.0
"""Processor time within this long of becoming ready is start-up, not load."""
METRIC_AGE_S_MAX = 90.0
"""A custom metric older than this is stale: apps post once a minute or more often."""


class InstanceState(StrEnum):
    """STARTING until its health check passed `healthy_after` times, then READY; UNHEALTHY after `unhealthy_after`
    failures; STOPPING once it was told to end; EXITED when its process is gone."""

    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    STOPPING = "stopping"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class InstanceSeen:
    """One instance as its driver sees it.

    `since` is when it entered `state`, `started_at` when its process began. `generation` changes whenever its process
    or its state does (a precondition for effects). `cpu_cores` (cores in use since the last look) and `memory_bytes`
    cover the whole process tree; None where not measured yet. `frozen` tells that the process is stopped (SIGSTOP, a
    debugger). `note` says why it is not ready, or how it ended (`exit code 3`, `killed by signal 9`),
    in words a person reads.
    """

    id: str
    service: str
    region: str
    release: str
    state: InstanceState
    since: float
    started_at: float
    seen_at: float
    generation: int = 1
    pid: int | None = None
    host: str | None = None
    port: int | None = None
    cpu_cores: float | None = None
    memory_bytes: int | None = None
    frozen: bool = False
    note: str = ""

    @property
    def key(self) -> str:
        return self.id

    def is_warm(self, now: float) -> bool:
        """Whether its processor time is load. One that became ready in the future did so before the clock was set back."""
        return self.state is InstanceState.READY and not 0 <= now - self.since < WARM_UP_S


class EngineState(StrEnum):
    """STARTING until it answers, then READY; UNHEALTHY when it stopped answering; EXITED when its process is gone."""

    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """One engine (`gateway`, `postgres`, `valkey`) of a region as its driver sees it; key `postgres/local`.

    `address` is where clients reach it (`127.0.0.1:8080`), never with a password in it.
    """

    kind: str
    region: str
    state: EngineState
    since: float
    seen_at: float
    generation: int = 1
    pid: int | None = None
    address: str = ""
    version: str = ""
    cpu_cores: float | None = None
    memory_bytes: int | None = None
    note: str = ""

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.region}"


@dataclass(frozen=True, slots=True)
class GatewaySeen:
    """What configuration a region's gateway runs: `table_digest` is that of the last RouteTable it accepted (empty:
    none). `connections` are those that clients (behind an entry: the entry) hold open to it; None where that was not seen.

    `refused` is the gateway's own reason when it turned the newest one down. `port` is where it listens. `stores` are those to which
    it leads apps and which answered its own checks: a table that was taken up may lead to one that does not listen yet. Of the global
    entry the key is `entry`, and the table an EntryTable.
    """

    region: str
    table_digest: str
    seen_at: float
    connected: bool = True
    refused: str = ""
    host: str = ""
    port: int = 0
    connections: int | None = None
    stores: tuple[StoreEnd, ...] = ()

    @property
    def key(self) -> str:
        return self.region


@dataclass(frozen=True, slots=True)
class PoolSeen:
    """Traffic of one service in one region, over the last look (about a second); key `web@local`.

    `in_flight` is the mean number of requests being answered, `sockets` the open WebSockets. `response_ms` figures
    are those of requests that ended; None when none did. `errors_per_s` counts 5xx given to clients.
    `in_flight_by_instance` and `sockets_by_instance` are counts now.
    """

    service: str
    region: str
    seen_at: float
    requests_per_s: float = 0.0
    errors_per_s: float = 0.0
    in_flight: float = 0.0
    sockets: int = 0
    response_ms_mean: float | None = None
    response_ms_p50: float | None = None
    response_ms_p95: float | None = None
    response_ms_p99: float | None = None
    retries_per_s: float = 0.0
    in_flight_by_instance: Mapping[str, int] = field(default_factory=dict)
    sockets_by_instance: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.service}@{self.region}"


@dataclass(frozen=True, slots=True)
class ColdStartSeen:
    """Requests that wait, or waited, because no instance of their pool was there; key `web@local`. Told of pools of which some did.

    `waiting` are held now, and `arrived_at` is when the last one came (seconds since the epoch). The rest is counted since whoever holds
    them began: `starts` cold starts that ended with an instance, for which `held` requests waited, and `refused` requests that were
    turned away (too many waited already, or none was ready in time). `wait_ms` figures are those of the newest held requests, how
    long each waited.
    """

    service: str
    region: str
    seen_at: float
    waiting: int = 0
    arrived_at: float = 0.0
    starts: int = 0
    held: int = 0
    refused: int = 0
    wait_ms_p50: float | None = None
    wait_ms_max: float | None = None

    @property
    def key(self) -> str:
        return f"{self.service}@{self.region}"


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """What a path prefix of a service normally takes, from answers of healthy instances; key
    `web@local/api/report`."""

    service: str
    region: str
    prefix: str
    requests: int
    response_ms_p50: float
    response_ms_p99: float
    seen_at: float

    @property
    def key(self) -> str:
        return f"{self.service}@{self.region}{self.prefix}"


class TaskState(StrEnum):
    """UNKNOWN: it was started, is gone, and left no exit status; it is never started a second time."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RegionSeen:
    """One region as the global entry sees it, over the last look (about a second); key `europe-west1`.

    `demand_per_s` are requests of clients whose nearest region this is, wherever they were answered. All else is about tries
    that were sent to this region's gateway: `tries_per_s`; of these, `errors_per_s` were answered by a 5xx and
    `unanswered_per_s` were refused, reset, or given up for one elsewhere. `first_byte_ms` figures are those of answered
    tries, counted from when the try was sent; None when there was none. `is_well` is what the entry's own checks say.
    """

    region: str
    seen_at: float
    demand_per_s: float = 0.0
    tries_per_s: float = 0.0
    errors_per_s: float = 0.0
    unanswered_per_s: float = 0.0
    in_flight: float = 0.0
    first_byte_ms_p50: float | None = None
    first_byte_ms_p99: float | None = None
    is_well: bool = True

    @property
    def key(self) -> str:
        return self.region


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """The way from one region's gateway to another's, asked a few times a second over a connection that is kept; key
    `us-central1>europe-west1`.

    Of the `probes` of the last seconds (at most ten), `late_ratio` (0..1) were answered late (twice the usual and 100 ms
    more) or not at all; `rtt_ms` is the median of those answered in the last three seconds, None when none was.
    """

    origin: str
    region: str
    seen_at: float
    probes: int = 0
    rtt_ms: float | None = None
    late_ratio: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.origin}>{self.region}"


class ReplicaRole(StrEnum):
    """PRIMARY takes writes; STANDBY follows one and takes none."""

    PRIMARY = "primary"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class ReplicaSeen:
    """What part a region's store plays; key `postgres/europe-west1`. Told while it answers.

    Of a primary: `standbys` are the regions that follow it now, `is_synchronous` that each write waits for one of them, and
    `lag_s` how far behind (in seconds of writes, 0 when nothing is outstanding) the best of them is; None when none follows.
    Of a standby: `follows` is the region it gets writes from now (empty: none), `lag_s` how old its newest write may be.
    `timeline` grows with each promotion.
    """

    kind: str
    region: str
    role: ReplicaRole
    seen_at: float
    timeline: int = 1
    follows: str = ""
    standbys: tuple[str, ...] = ()
    is_synchronous: bool = False
    lag_s: float | None = None

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.region}"


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """A thing that runs to its end: a build, a release hook, a scheduled job.
    `tail` is the end of its output, secrets masked."""

    id: str
    kind: str
    service: str
    release: str
    state: TaskState
    started_at: float
    seen_at: float
    ended_at: float | None = None
    exit_code: int | None = None
    tail: str = ""

    @property
    def key(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class ReleaseSeen:
    """A release whose files are on this machine."""

    id: str
    seen_at: float

    @property
    def key(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class MetricSeen:
    """A custom metric that the app posted: the total over the service in a region; key `web@local:queue_depth`.

    `silent` are the instances that posted their share a while ago, and of late no more: where they still serve, `value` lacks it.
    """

    service: str
    region: str
    name: str
    value: float
    seen_at: float
    silent: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.service}@{self.region}:{self.name}"

    def is_fresh(self, now: float) -> bool:
        """Whether it tells of now. One from the future was posted before the clock was set back, nobody knows when."""
        return -1.0 <= now - self.seen_at <= METRIC_AGE_S_MAX


Fact = (
    InstanceSeen
    | EngineSeen
    | GatewaySeen
    | PoolSeen
    | ColdStartSeen
    | RouteSeen
    | RegionSeen
    | LinkSeen
    | ReplicaSeen
    | TaskSeen
    | ReleaseSeen
    | MetricSeen
    | StoreSeen
    | ServedSeen
    | CapacitySeen
    | ObjectiveSeen
    | AnomalySeen
    | SpendSeen
    | ForecastSeen
    | WorkSeen
)
