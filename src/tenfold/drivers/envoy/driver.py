"""The gateway's driver: observer, actuator and request finder of every region's Envoy.
Stage: effects -> world -> facts.

What an Envoy runs is always asked of itself, so a control plane that was killed at any moment goes on from what is
true.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.drivers.engine import EngineDriver
from tenfold.drivers.envoy import accesslog
from tenfold.drivers.envoy.admin import ask, ask_json
from tenfold.drivers.envoy.control import ControlServer
from tenfold.drivers.envoy.gateway import Gateway, Taken
from tenfold.drivers.envoy.recipe import EnvoyRecipe
from tenfold.drivers.envoy.routetimes import LoggedTimes
from tenfold.drivers.envoy.stats import CLUSTERS_PATH, GATHER_PATH, STATS_PATH, Reading, at_hand, pools_seen, read
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.project import Project
from tenfold.drivers.vitals import NotAnswering
from tenfold.effects import Effect, Order, Outcome, PublishRoutes, Receipt, StopEngine
from tenfold.facts import Fact, GatewaySeen, PoolSeen, RequestTrace, RouteSeen
from tenfold.ports import DriverError, Permanent, Refused, Retryable

_ADMIN_S = 0.8
_RATES_OVER_S = 0.9
"""Rates are of at least this long: a look that a wake-up brought forward would show noise."""
_KEYS_KEPT = 256
_PORT_TAKEN = "Address already in use"
"""How Envoy tells that it can't listen: two projects that start in the same moment may both find the same port free."""


@dataclass(slots=True)
class _Watched:
    """What was read of one region's Envoy, whose process is `pid`."""

    log: Path
    times: LoggedTimes
    pid: int | None = None
    reading: Reading | None = None
    gateway: GatewaySeen | None = None
    pools: tuple[PoolSeen, ...] = ()
    routes: tuple[RouteSeen, ...] = ()
    learning: asyncio.Lock = field(default_factory=asyncio.Lock)
    publishing: asyncio.Lock = field(default_factory=asyncio.Lock)


class EnvoyDriver:
    """The edge of each region, listening on loopback at `port` where that is free; where it is not, at one of `ports`,
    and the engine's note says so. A gateway that runs already stays where it is.

    For the holder of the lease alone: whoever observes or applies takes all gateways over.
    """

    def __init__(self, project: Project, ports: FreePorts, fence: Fence, port: int) -> None:
        self.project = project
        self._fence = fence
        self._port = port
        self._gateways: dict[str, Gateway] = {}
        self._watched: dict[str, _Watched] = {}
        self._published: dict[str, tuple[int, int]] = {}
        self._done: dict[str, None] = {}
        self._recipe = EnvoyRecipe(project, ports, port, self._port_of, self._coming, self._met)
        self._engines = EngineDriver(self._recipe, project, fence)
        self._control = ControlServer(self._recipe.control_socket)
        self._serving: asyncio.Task[None] | None = None
        self._has_looked = False

    @property
    def source(self) -> str:
        return self._engines.source

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` when a gateway became ready, fell silent or ended."""
        self._engines.subscribe(wake)

    def accepts(self, effect: Effect) -> bool:
        """True for starts and stops of gateways, and for routes."""
        return isinstance(effect, PublishRoutes) or self._engines.accepts(effect)

    async def apply(self, order: Order) -> Receipt:
        """Start or stop a gateway, or lead it to a new table; see `ports.Actuator.apply`."""
        self._serve()
        effect = order.effect
        if isinstance(effect, PublishRoutes):
            return await self._publish(order, effect)
        receipt = await self._engines.apply(order)
        if isinstance(effect, StopEngine):
            self._forget(effect.region)
        return receipt

    async def observe(self) -> tuple[Fact, ...]:
        """Each gateway as an engine, the table it runs, the traffic of its pools, and what its routes normally take.

        Of a gateway that does not answer, the facts of the last look stand, with the time of that look.
        """
        self._serve()
        engines = await self._engines.observe()
        running = [engine for engine in engines if engine.pid is not None]
        await asyncio.gather(*(self._look(engine.region, engine.pid) for engine in running))
        self._has_looked = True
        facts: list[Fact] = list(engines)
        for engine in running:
            watched = self._watched[engine.region]
            if watched.gateway is not None:
                facts += [watched.gateway, *watched.pools, *watched.routes]
        return tuple(facts)

    async def request(self, request_id: str) -> RequestTrace | None:
        """The request's trace, or None when no log that is still kept holds it. A request shows up within about a
        second of its end."""
        return await asyncio.to_thread(find_request, self.project, request_id)

    async def close(self) -> None:
        """Let go of the gateways; they go on serving what they have."""
        await self._engines.close()
        if self._serving is not None:
            with contextlib.suppress(DriverError):
                await asyncio.shield(self._serving)
            await self._control.stop()
            if self._has_looked and not self._gateways:
                self._recipe.clean()

    def _serve(self) -> None:
        """Open the control server, once, beside everything else; gateways that run already find it by themselves."""
        if self._serving is None:
            self._serving = asyncio.create_task(self._control.start(), name="control server")
        elif self._serving.done() and (error := self._serving.exception()) is not None:
            self._serving = None
            raise error

    async def _publish(self, order: Order, effect: PublishRoutes) -> Receipt:
        self._fence.check(order.epoch)
        if not self._has_looked:
            await self.observe()
        region, number = effect.table.region, (order.epoch, effect.expected_generation)
        gateway = self._gateways.get(region)
        if gateway is None or self._serving is None:
            raise Retryable(f"The gateway of {region} does not run, so there is nothing to give the routes to.")
        async with self._watched[region].publishing:
            if order.key not in self._done:
                if number < self._published.get(region, (0, 0)):
                    raise Refused(f"The gateway of {region} was already given newer routes than these.")
                # An order may be given up; the server that all gateways hang on may not.
                await asyncio.shield(self._serving)
                taken = Taken(gateway.taken.published + 1, effect.table_digest, order.decision)
                try:
                    await gateway.publish(effect.table, taken)
                except Permanent:
                    if _PORT_TAKEN not in gateway.refused or gateway.taken.published:
                        raise
                    gateway.start_over(self._recipe.step_over(region))
                    await gateway.publish(effect.table, taken)
                self._published[region] = number
                self._done[order.key] = None
                while len(self._done) > _KEYS_KEPT:
                    del self._done[next(iter(self._done))]
        return Receipt(order.key, Outcome.DONE, time.time())

    async def _look(self, region: str, pid: int | None) -> None:
        """Read what the region's Envoy, process `pid`, tells of itself; leaves all as it was when it does not answer."""
        admin, watched = self._recipe.admin_socket(region), self._watch(region)
        if watched.pid != pid:
            watched.pid, watched.reading, watched.pools = pid, None, ()
        with contextlib.suppress(NotAnswering):
            await self._met(region)
            # Times are gathered from Envoy's threads only after it was asked: ask once to have them gathered, then
            # for what there is.
            await ask(admin, GATHER_PATH, _ADMIN_S)
            clusters = await ask_json(admin, CLUSTERS_PATH, _ADMIN_S)
            stats = await ask_json(admin, STATS_PATH, _ADMIN_S)
            self._take_in(watched, self._gateways[region], read(stats, clusters, time.monotonic()))
            if accesslog.is_full(watched.log):
                accesslog.put_aside(watched.log)
            if not watched.log.exists():
                # Asked again at each look: Envoy would else go on writing to the file that was put aside, without bound.
                await self._recipe.reopen_logs(region)

    def _take_in(self, watched: _Watched, gateway: Gateway, reading: Reading) -> None:
        now, region, before = time.time(), gateway.region, watched.reading
        watched.gateway = GatewaySeen(
            region=region,
            table_digest=Taken.read(reading.routes_version).table_digest,
            seen_at=now,
            connected=self._control.connected(region),
            refused=gateway.refused,
        )
        if before is None:
            watched.reading = reading
        elif reading.at_s - before.at_s >= _RATES_OVER_S:
            watched.pools = pools_seen(before, reading, region, now)
            watched.reading = reading
            watched.routes = watched.times.look(now)
        else:
            watched.pools = at_hand(watched.pools, reading, now)

    def _watch(self, region: str) -> _Watched:
        if region not in self._watched:
            log = self._recipe.access_log(region)
            self._watched[region] = _Watched(log, LoggedTimes(region, log))
        return self._watched[region]

    def _new_gateway(self, region: str) -> Gateway:
        return Gateway(region, self._port, self._recipe.access_log(region), self._control)

    async def _met(self, region: str) -> None:
        """The region's Envoy answers: one that this control plane did not start is asked what it runs. Raises `NotAnswering`."""
        async with self._watch(region).learning:
            if region not in self._gateways:
                gateway = self._new_gateway(region)
                await gateway.learn(self._recipe.admin_socket(region))
                self._gateways[region] = gateway

    def _coming(self, region: str, port: int) -> None:
        """A new Envoy is about to be started for `region`."""
        gateway = self._gateways.setdefault(region, self._new_gateway(region))
        gateway.start_over(port)

    def _forget(self, region: str) -> None:
        """The region's Envoy was stopped for good."""
        self._gateways.pop(region, None)
        self._watched.pop(region, None)
        self._control.forget(region)

    def _port_of(self, region: str) -> int:
        gateway = self._gateways.get(region)
        return self._port if gateway is None else gateway.port


def find_request(project: Project, request_id: str) -> RequestTrace | None:
    """The request's trace, or None when no access log that is still kept holds it."""
    for log in sorted(project.logs.glob("access-*.jsonl")):
        line = accesslog.find(log, request_id)
        if line is not None:
            return accesslog.trace(line, log.stem.removeprefix("access-"))
    return None
