"""What the drivers of gateways and of the entry share: Envoys that are run, led from table to table, watched.
Stage: effects -> world -> facts.

What an Envoy runs is always asked of itself, so a control plane that was killed at any moment goes on from what is
true.
"""

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol

from tenfold.drivers.engine import EngineDriver
from tenfold.drivers.envoy import accesslog
from tenfold.drivers.envoy.admin import ask, ask_json
from tenfold.drivers.envoy.control import ControlServer
from tenfold.drivers.envoy.gateway import Gateway, Table, Taken, Words
from tenfold.drivers.envoy.recipe import EnvoyRecipe
from tenfold.drivers.envoy.stats import CLUSTERS_PATH, GATHER_PATH, STATS_PATH, Reading, read
from tenfold.drivers.fence import Fence
from tenfold.drivers.network import Network
from tenfold.drivers.project import Project
from tenfold.drivers.vitals import NotAnswering
from tenfold.effects import Effect, Order, Outcome, Receipt, StartEngine, StopEngine
from tenfold.facts import Fact, GatewaySeen
from tenfold.ports import DriverError, Permanent, Refused, Retryable
from tenfold.render.envoy import GatewayConfig

_ADMIN_S = 0.8
_KEYS_KEPT = 256
_PORT_TAKEN = "Address already in use"
"""How Envoy tells that it can't listen: two projects that start in the same moment may both find the same port free."""


class Teller(Protocol):
    """Makes facts of what one Envoy tells of its traffic."""

    def look(self, reading: Reading, now: float) -> tuple[Fact, ...]:
        """The facts at this reading, which was taken at `now` (seconds since the epoch)."""
        ...

    def start_over(self) -> None:
        """Another process has taken its place: it counts from nothing."""
        ...


@dataclass(slots=True)
class _Watched:
    """What was read of one region's Envoy, whose process is `pid`."""

    log: Path
    teller: Teller
    pid: int | None = None
    gateway: GatewaySeen | None = None
    facts: tuple[Fact, ...] = ()
    learning: asyncio.Lock = field(default_factory=asyncio.Lock)
    publishing: asyncio.Lock = field(default_factory=asyncio.Lock)


class LedDriver(ABC, Generic[Table]):
    """Envoys of one kind. `before` stands before the names of their sockets, `log` is the stem of their access logs'. With
    `is_spread` there are several regions.

    For the holder of the lease alone: whoever observes or applies takes all of them over.
    """

    def __init__(
        self, kind: str, before: str, log: str, project: Project, fence: Fence, network: Network, is_spread: bool
    ) -> None:
        self.project = project
        self.source = kind
        self.is_spread = is_spread
        self.recipe = EnvoyRecipe(kind, before, log, project, network, self)
        self._fence = fence
        self._network = network
        self._gateways: dict[str, Gateway[Table]] = {}
        self._watched: dict[str, _Watched] = {}
        self._published: dict[str, tuple[int, int]] = {}
        self._done: dict[str, None] = {}
        self._engines = EngineDriver(self.recipe, project, fence)
        self._control = ControlServer(self.recipe.control_socket)
        self._serving: asyncio.Task[None] | None = None
        self._has_looked = False

    @abstractmethod
    def name(self, region: str) -> str:
        """The Envoy, as a sentence about it begins (`The gateway of local`)."""

    @abstractmethod
    def key(self, region: str) -> str:
        """As what it is known to its control server, and in facts on the table that it runs."""

    @abstractmethod
    def host(self, region: str) -> str:
        """The address that it listens at."""

    @abstractmethod
    def place(self, region: str) -> tuple[int, str]:
        """The port that the region's next Envoy is to listen at, and what a person should know of it (else empty)."""

    @abstractmethod
    def step_over(self, region: str, reason: str) -> int:
        """Another port, since somebody else took one that Envoy was to listen at (`reason` is what it said). All others that it
        listens at are chosen anew too where they are taken."""

    @abstractmethod
    def port_of(self, region: str) -> int:
        """Where the region's Envoy listens, or would."""

    @abstractmethod
    def render(self, region: str, table: Table | None, port: int, decision: str) -> GatewayConfig:
        """What `table` (None: nothing yet) means to the region's Envoy."""

    @abstractmethod
    def endpoints_of(self, before: Table, after: Table) -> Table | None:
        """A smaller table that has all pools whose endpoints `after` changes against `before`; None where it changes more."""

    @abstractmethod
    def teller(self, region: str) -> Teller:
        """What makes facts of what the region's Envoy tells."""

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` when an Envoy became ready, fell silent or ended."""
        self._engines.subscribe(wake)

    async def engine(self, order: Order) -> Receipt:
        """Start or stop an Envoy; see `ports.Actuator.apply`."""
        self._serve()
        effect = order.effect
        assert isinstance(effect, StartEngine | StopEngine)
        receipt = await self._engines.apply(order)
        if isinstance(effect, StopEngine):
            self._forget(effect.region)
        return receipt

    def is_engine(self, effect: Effect) -> bool:
        """True for starts and stops of this kind."""
        return self._engines.accepts(effect)

    async def observe(self) -> tuple[Fact, ...]:
        """Each Envoy as an engine, the table it runs, and what it tells of its traffic.

        Of one that does not answer, the facts of the last look stand, with the time of that look.
        """
        self._serve()
        engines = await self._engines.observe()
        running = [engine for engine in engines if engine.pid is not None]
        await asyncio.gather(*(self._look(engine.region, engine.pid) for engine in running))
        self._has_looked = True
        facts: list[Fact] = list(engines)
        for engine in running:
            watched: _Watched = self._watched[engine.region]
            if watched.gateway is not None:
                facts += [watched.gateway, *watched.facts]
        return tuple(facts)

    async def close(self) -> None:
        """Let go of the Envoys; they go on serving what they have."""
        await self._engines.close()
        if self._serving is not None:
            with contextlib.suppress(DriverError):
                await asyncio.shield(self._serving)
            await self._control.stop()
            if self._has_looked and not self._gateways:
                self.recipe.clean()

    def _serve(self) -> None:
        """Open the control server, once, beside everything else; Envoys that run already find it by themselves."""
        if self._serving is None:
            self._serving = asyncio.create_task(self._control.start(), name="control server")
        elif self._serving.done() and (error := self._serving.exception()) is not None:
            self._serving = None
            raise error

    def is_done(self, order: Order) -> bool:
        """True for an order that was carried out before."""
        return order.key in self._done

    async def prepare(self, order: Order) -> None:
        """Before a table is published: let no order of an old epoch pass, and know what runs."""
        self._fence.check(order.epoch)
        self._serve()
        if not self._has_looked:
            await self.observe()

    async def publish(self, order: Order, region: str, table: Table, digest: str, generation: int) -> Receipt:
        """Lead the region's Envoy to `table`, the `generation`-th given to it; see `ports.Actuator.apply`."""
        number = (order.epoch, generation)
        gateway = self._gateways.get(region)
        if gateway is None or self._serving is None:
            raise Retryable(f"{self.name(region)} does not run, so there is nothing to give the routes to.")
        async with self._watched[region].publishing:
            if not self.is_done(order):
                if number < self._published.get(region, (0, 0)):
                    raise Refused(f"{self.name(region)} was already given newer routes than these.")
                # An order may be given up; the server that all Envoys hang on may not.
                await asyncio.shield(self._serving)
                taken = Taken(gateway.taken.published + 1, digest, order.decision)
                try:
                    await gateway.publish(table, taken)
                except Permanent:
                    if _PORT_TAKEN not in gateway.refused or gateway.taken.published:
                        raise
                    gateway.start_over(self.step_over(region, gateway.refused))
                    await gateway.publish(table, taken)
                self._published[region] = number
                self._done[order.key] = None
                while len(self._done) > _KEYS_KEPT:
                    del self._done[next(iter(self._done))]
        return Receipt(order.key, Outcome.DONE, time.time())

    async def _look(self, region: str, pid: int | None) -> None:
        """Read what the region's Envoy, process `pid`, tells of itself; leaves all as it was when it does not answer."""
        admin = self.recipe.admin_socket(region)
        watched = self._watch(region)
        if watched.pid != pid:
            watched.pid, watched.facts = pid, ()
            watched.teller.start_over()
        with contextlib.suppress(NotAnswering):
            await self.met(region)
            # Times are gathered from Envoy's threads only after it was asked: ask once to have them gathered, then
            # for what there is.
            await ask(admin, GATHER_PATH, _ADMIN_S)
            clusters = await ask_json(admin, CLUSTERS_PATH, _ADMIN_S)
            stats = await ask_json(admin, STATS_PATH, _ADMIN_S)
            self._take_in(watched, region, read(stats, clusters, time.monotonic()))
            if accesslog.is_full(watched.log):
                accesslog.put_aside(watched.log)
            if not watched.log.exists():
                # Asked again at each look: Envoy would else go on writing to the file that was put aside, without bound.
                await self.recipe.reopen_logs(region)

    def _take_in(self, watched: _Watched, region: str, reading: Reading) -> None:
        gateway = self._gateways.get(region)
        if gateway is None:
            return  # It was stopped while it was asked.
        watched.gateway = GatewaySeen(
            region=self.key(region),
            table_digest=(gateway.taken if reading.version is None else Taken.read(reading.version)).table_digest,
            seen_at=(now := time.time()),
            connected=self._control.connected(gateway.id),
            refused=gateway.refused,
            host=self.host(region),
            port=gateway.port,
            connections=reading.connections,
            stores=reading.stores,
        )
        watched.facts = watched.teller.look(reading, now)

    def _watch(self, region: str) -> _Watched:
        if region not in self._watched:
            self._watched[region] = _Watched(self.recipe.access_log(region), self.teller(region))
        return self._watched[region]

    def _new_gateway(self, region: str, port: int) -> Gateway[Table]:
        def render(table: Table | None, port: int, decision: str) -> GatewayConfig:
            return self.render(region, table, port, decision)

        words: Words[Table] = Words(render, self.endpoints_of)
        return Gateway(self.key(region), self.name(region), port, words, self._control)

    async def met(self, region: str) -> None:
        """The region's Envoy answers: one that this control plane did not start is asked what it runs. Raises `NotAnswering`."""
        async with self._watch(region).learning:
            if region not in self._gateways:
                gateway = self._new_gateway(region, self.port_of(region))
                await gateway.learn(self.recipe.admin_socket(region))
                self._gateways[region] = gateway

    def coming(self, region: str, port: int) -> None:
        """A new Envoy is about to be started for `region`."""
        gateway = self._gateways.get(region) or self._new_gateway(region, port)
        self._gateways[region] = gateway
        gateway.start_over(port)

    def at(self, region: str) -> str:
        """Where clients reach it."""
        return f"{self.host(region)}:{self.port_of(region)}"

    def _forget(self, region: str) -> None:
        """The region's Envoy was stopped for good."""
        self._gateways.pop(region, None)
        self._watched.pop(region, None)
        self._control.forget(self.key(region))
