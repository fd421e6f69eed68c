"""The driver of every region's gateway: observer, actuator and request finder.
Stage: effects -> world -> facts.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tenfold.drivers.envoy.led import LedDriver, Teller
from tenfold.drivers.envoy.ports import KeptPorts
from tenfold.drivers.envoy.requests import GATEWAY_LOG, find_request
from tenfold.drivers.envoy.served import Served
from tenfold.drivers.envoy.tellers import PoolsTeller
from tenfold.drivers.envoy.waker import Waker
from tenfold.drivers.envoy.ways import Ways
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts, is_free
from tenfold.drivers.network import Loopback, Network
from tenfold.drivers.project import Project
from tenfold.effects import Effect, Order, PublishRoutes, Receipt
from tenfold.facts import Fact, RequestTrace, ServedSeen
from tenfold.model import LOOPBACK, EndpointState, RouteTable, ServiceRoutes
from tenfold.render.envoy import GatewayConfig
from tenfold.render.envoy import gateway as render_gateway

KIND = "gateway"

LOCAL = Loopback()

_STORES = ("postgres", "valkey")


class EnvoyDriver(LedDriver[RouteTable]):
    """The edge of each region.

    With one region it listens on loopback at `port` where that is free; where it is not, at one of `ports`, and the engine's
    note says so. A gateway that runs already stays where it is. With `spread` each gateway has a port of its own at its
    region's address in `network`, and more for the stores at the region's loopback; all of them are kept. Answers that are not
    sooner than `within_ms` count as late.
    """

    def __init__(
        self,
        project: Project,
        ports: FreePorts,
        fence: Fence,
        port: int,
        network: Network = LOCAL,
        spread: bool = False,
        within_ms: float | None = None,
    ) -> None:
        super().__init__(KIND, "", GATEWAY_LOG, project, fence, network, spread)
        self._ports = ports
        self._port = port
        self._within_ms = within_ms
        self._kept = KeptPorts(project, ports, network) if spread else None
        self._rendered_ports: dict[str, dict[str, int]] = {}
        self._waker = Waker(self.recipe.waker_socket, within_ms)
        self._ways = Ways(self.recipe.admin_socket)

    def accepts(self, effect: Effect) -> bool:
        """True for starts and stops of gateways, and for routes."""
        return isinstance(effect, PublishRoutes) or self.is_engine(effect)

    async def apply(self, order: Order) -> Receipt:
        """Start or stop a gateway, or lead it to a new table; see `ports.Actuator.apply`."""
        effect = order.effect
        if not isinstance(effect, PublishRoutes):
            return await self.engine(order)
        await self.prepare(order)
        table = effect.table
        await self._waker.start()
        # One that came twice tells nothing of what is asleep now.
        is_new = not self.is_done(order)
        if is_new:
            self._waker.shut(table)
        receipt = await self.publish(order, table.region, table, effect.table_digest, effect.expected_generation)
        if is_new:
            self._waker.open(table)
            self._ways.led(table)
        return receipt

    async def observe(self) -> tuple[Fact, ...]:
        """As all Envoys, and who waits for pools that sleep."""
        await self._waker.start()
        facts = await super().observe()
        told = (self._waker.served(fact) if isinstance(fact, ServedSeen) else fact for fact in facts)
        return (*told, *self._waker.facts(time.time()))

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` when a gateway became ready, fell silent or ended, when its stores answer it, and when a request came for a pool
        that sleeps."""
        super().subscribe(wake)
        self._ways.subscribe(wake)
        self._waker.subscribe(wake)

    async def close(self) -> None:
        """Let go of the gateways; they go on serving what they have."""
        await self._ways.close()
        await self._waker.close()
        await super().close()

    async def request(self, request_id: str) -> RequestTrace | None:
        """The request's trace, or None when no log that is still kept holds it. A request shows up within about a
        second of its end."""
        return await asyncio.to_thread(find_request, self.project, request_id)

    def store_address(self, region: str, kind: str) -> str:
        """Where apps in `region` reach the store `kind` (`postgres`, `valkey`) through their gateway, whoever is its primary; known
        before the gateway runs."""
        assert self._kept is not None, "with one region apps reach their stores themselves"
        return f"{LOOPBACK}:{self._kept.of(region, kind, LOOPBACK)}"

    def probe_sockets(self) -> Mapping[str, Path]:
        """By region, where each gateway that runs is asked to probe the ways to others."""
        return {region: self.recipe.probe_socket(region) for region in sorted(self._gateways)}

    def name(self, region: str) -> str:
        """As a sentence about it begins."""
        return f"The gateway of {region}"

    def key(self, region: str) -> str:
        """Its region."""
        return region

    def host(self, region: str) -> str:
        """Loopback, or the region's address in the network between regions."""
        return LOOPBACK if self._kept is None else self._network.host(region)

    def place(self, region: str) -> tuple[int, str]:
        """Where it was before or should be, or where there is room."""
        if self._kept is not None:
            return self._kept_place(self._kept, region)
        return near(self._port, self.port_of(region), self._ports)

    def _kept_place(self, kept: KeptPorts, region: str) -> tuple[int, str]:
        """The gateway's port; one that was taken while it did not run is given up, and so are those of its stores."""
        first = kept.of(region, KIND, self.host(region))
        note = self._give_up(kept, region, lambda host, port: not kept.is_free(region, host, port))
        return kept.known(region).get(KIND, first), note

    def _give_up(self, kept: KeptPorts, region: str, is_taken: Callable[[str, int], bool]) -> str:
        """Choose other ports in the place of those that are taken; what to say of it."""
        notes = []
        for purpose, port in kept.known(region).items():
            host = self.host(region) if purpose == KIND else LOOPBACK
            if is_taken(host, port):
                notes.append(_changed(purpose, port, kept.another(region, purpose, host)))
        return "; ".join(notes)

    def step_over(self, region: str, reason: str) -> int:
        """Another port for the edge, or for whatever else listens at one that was taken."""
        lost = self.port_of(region)
        if self._kept is None:
            port = self._ports.take()
            self.recipe.note(region, f"port {lost} was taken by another program, so the edge listens at {port}")
            return port
        if note := self._give_up(self._kept, region, lambda host, port: f"{host}:{port}" in reason):
            self.recipe.note(region, note)
        return self._kept.of(region, KIND, self.host(region))

    def port_of(self, region: str) -> int:
        """Where the gateway listens, or would."""
        gateway = self._gateways.get(region)
        if gateway is not None:
            return gateway.port
        return self._port if self._kept is None else self._kept.of(region, KIND, self.host(region))

    def render(self, region: str, table: RouteTable | None, port: int, decision: str) -> GatewayConfig:
        """As `render.envoy` says."""
        kept = self._kept
        if kept is None:
            return render_gateway(
                table or RouteTable(region),
                port=port,
                access_log=str(self.recipe.access_log(region)),
                decision=decision,
                waker_socket=str(self.recipe.waker_socket),
            )
        table = table or RouteTable(region, behind_entry=True)
        # Apps may look for a store that has no primary at this moment.
        known = self._rendered_ports[region] = kept.known(region)
        stores = {store.kind for store in table.stores} | {kind for kind in _STORES if kind in known}
        ways = ((end.region, self._network.delay_ms(end.region, region)) for end in table.gateways)
        return render_gateway(
            table,
            port=port,
            access_log=str(self.recipe.access_log(region)),
            decision=decision,
            host=self.host(region),
            store_ports={kind: kept.of(region, kind, LOOPBACK) for kind in sorted(stores)},
            probe_socket=str(self.recipe.probe_socket(region)),
            delays={origin: delay_ms for origin, delay_ms in ways if delay_ms > 0},
            waker_socket=str(self.recipe.waker_socket),
        )

    def endpoints_of(self, before: RouteTable, after: RouteTable) -> RouteTable | None:
        """The services whose endpoints alone changed."""
        if len(before.services) != len(after.services) or replace(before, services=()) != replace(after, services=()):
            return None
        if self._kept is not None and self._kept.known(after.region) != self._rendered_ports.get(after.region):
            return None  # A store has got a port meanwhile.
        changed = [
            (old, new)
            for old, new in zip(before.services, after.services, strict=True)
            if old is not new and old != new
        ]
        if any(_beside_endpoints(old) != _beside_endpoints(new) for old, new in changed):
            return None
        return replace(after, services=tuple(replace(new, paths=(), rules=()) for _, new in changed))

    def teller(self, region: str) -> Teller:
        """Of pools and routes."""
        return PoolsTeller(region, self.recipe.access_log(region), Served(region, self._within_ms))


def _beside_endpoints(service: ServiceRoutes) -> tuple[ServiceRoutes, bool]:
    """All that a service's routes depend on: of its endpoints only whether some are warm, to which a second try may go."""
    return replace(service, endpoints=()), any(e.state is EndpointState.WARM for e in service.endpoints)


def near(wanted: int, now: int, ports: FreePorts) -> tuple[int, str]:
    """A port for an edge that clients look for at `wanted`, and what to say of it; one that ran before at `now` comes back there."""
    port = next((port for port in (now, wanted) if is_free(port)), None) or ports.take()
    if port in (now, wanted):
        return port, ""
    return port, f"port {wanted} is in use by another program, so the edge listens at {port}"


def _changed(purpose: str, lost: int, port: int) -> str:
    what = "it listens" if purpose == KIND else f"{purpose} is reached"
    restart = "" if purpose == KIND else " (apps that began before look for it at the old one: deploy anew)"
    return f"port {lost} is in use by another program, so {what} at {port}{restart}"
