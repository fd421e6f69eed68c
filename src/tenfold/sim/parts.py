"""The things a false world is made of: instances, tasks, engines, gateways. Plain state; `World` moves it and `Pool` gives them traffic.

Times named `*_elapsed_s` are on the world's own time, which never jumps; times that are shown in facts are wall-clock stamps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tenfold.facts import (
    EngineSeen,
    EngineState,
    GatewaySeen,
    InstanceSeen,
    InstanceState,
    TaskSeen,
    TaskState,
)
from tenfold.model import LOOPBACK, RouteTable, Service, ServiceRoutes, StoreEnd
from tenfold.model.routes import EndpointState
from tenfold.sim.behaviour import Behaviour, Breakage
from tenfold.sim.queue import Station, station

HOST = LOOPBACK
NEVER_S = float("inf")

Shares = Sequence[tuple[str, int]]
"""Instances and their weights."""


@dataclass(slots=True)
class Instance:
    """A process of a service. `exits_elapsed_s` is when it will end by itself or because it was told to, with `exit_note`."""

    id: str
    spec: Service
    region: str
    release: str
    behaviour: Behaviour
    breakage: Breakage | None
    port: int
    pid: int
    started_at: float
    since: float
    ready_elapsed_s: float
    exits_elapsed_s: float = NEVER_S
    exit_note: str = ""
    sick_elapsed_s: float = NEVER_S
    state: InstanceState = InstanceState.STARTING
    generation: int = 1
    attempt: int = 1
    note: str = ""
    frozen_until_s: float = 0.0
    slow_until_s: float = 0.0
    slow_ms: float = 0.0
    ailing_since_s: float | None = None
    well_since_s: float | None = None
    cpu_cores: float | None = None
    in_flight: float = 0.0
    backlog: float = 0.0
    rate_per_s: float | None = None
    sockets: int = 0
    response_s: float = 0.0
    queue: Station = field(init=False)

    def __post_init__(self) -> None:
        self.tune()

    def tune(self) -> None:
        """Work out the queue anew; after `slow_ms` changed."""
        size, cost = self.spec.instance, self.behaviour
        self.queue = station(cost.cpu_ms, cost.wait_ms + self.slow_ms, size.cpu_cores, size.concurrency)
        self.response_s = self.queue.response_s(0.0, 0.0)

    @property
    def alive(self) -> bool:
        """True while its process is there."""
        return self.state is not InstanceState.EXITED

    def enter(self, state: InstanceState, at: float, note: str = "") -> None:
        """Change state; everyone who looked before now has an old generation."""
        self.state, self.since, self.note = state, at, note
        self.generation += 1

    def seen(self, at: float, frozen: bool) -> InstanceSeen:
        """The fact a process driver would make."""
        alive = self.alive
        used = self.behaviour.memory_bytes + int(self.in_flight) * self.behaviour.memory_bytes_per_request
        return InstanceSeen(
            id=self.id,
            service=self.spec.name,
            region=self.region,
            release=self.release,
            state=self.state,
            since=self.since,
            started_at=self.started_at,
            seen_at=at,
            generation=self.generation,
            pid=self.pid if alive else None,
            host=HOST if self.spec.http else None,
            port=self.port if self.spec.http else None,
            cpu_cores=self.cpu_cores if alive else None,
            memory_bytes=used if alive else None,
            frozen=frozen,
            note=self.note,
        )


@dataclass(slots=True)
class Task:
    """A process that runs to its end; the world keeps it for ever, so that its id never runs again."""

    id: str
    kind: str
    service: str
    release: str
    started_at: float
    ends_elapsed_s: float
    exit_code: int
    state: TaskState = TaskState.RUNNING
    ended_at: float | None = None
    tail: str = ""

    def end(self, state: TaskState, at: float, exit_code: int | None, tail: str) -> None:
        """Come to its end."""
        self.state, self.ended_at, self.tail = state, at, tail
        if exit_code is not None:
            self.exit_code = exit_code

    def seen(self, at: float) -> TaskSeen:
        """The fact a process driver would make."""
        known = self.state in (TaskState.SUCCEEDED, TaskState.FAILED)
        return TaskSeen(
            id=self.id,
            kind=self.kind,
            service=self.service,
            release=self.release,
            state=self.state,
            started_at=self.started_at,
            seen_at=at,
            ended_at=self.ended_at,
            exit_code=self.exit_code if known else None,
            tail=self.tail,
        )


@dataclass(slots=True)
class Engine:
    """An embedded engine of a region."""

    kind: str
    region: str
    port: int
    pid: int
    since: float
    ready_elapsed_s: float
    state: EngineState = EngineState.STARTING
    generation: int = 1
    note: str = ""
    frozen_until_s: float = 0.0
    full_until_s: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.region}"

    def enter(self, state: EngineState, at: float, note: str = "") -> None:
        """Change state."""
        self.state, self.since, self.note = state, at, note
        self.generation += 1

    def seen(self, at: float) -> EngineSeen:
        """The fact its driver would make."""
        return EngineSeen(
            kind=self.kind,
            region=self.region,
            state=self.state,
            since=self.since,
            seen_at=at,
            generation=self.generation,
            pid=None if self.state is EngineState.EXITED else self.pid,
            address=f"{HOST}:{self.port}",
            version="simulated",
            note=self.note,
        )


@dataclass(slots=True)
class Gateway:
    """What a region's gateway runs: the table it accepted last and its digest; `refused` is why it turned the newest down. `routes` are
    those of the table, by service, and `shares` the instances that get its requests, with their weights: those that serve, and those that
    are kept warm."""

    region: str
    table: RouteTable
    table_digest: str = ""
    refused: str = ""
    routes: dict[str, ServiceRoutes] = field(init=False)
    shares: dict[str, tuple[Shares, Shares]] = field(init=False)

    def __post_init__(self) -> None:
        self.accept(self.table, self.table_digest)

    def seen(self, at: float, connected: bool, port: int = 0, stores: tuple[StoreEnd, ...] = ()) -> GatewaySeen:
        """The fact the gateway's driver would make; `stores` are those that answer it."""
        host = HOST if port else ""
        return GatewaySeen(self.region, self.table_digest, at, connected, self.refused, host, port, stores=stores)

    def accept(self, table: RouteTable, table_digest: str) -> None:
        """Run `table` from now on."""
        self.table, self.table_digest, self.refused = table, table_digest, ""
        self.routes = {routes.service: routes for routes in table.services}
        self.shares = {
            routes.service: (_shares(routes, EndpointState.SERVING), _shares(routes, EndpointState.WARM))
            for routes in table.services
        }

    def forget(self) -> None:
        """Run nothing: it is a new process, and nobody has given it a table."""
        self.accept(RouteTable(self.region), "")


def _shares(routes: ServiceRoutes, state: EndpointState) -> Shares:
    return tuple((end.instance, end.weight) for end in routes.endpoints if end.state is state)
