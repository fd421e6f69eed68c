"""Several regions on loopback: an entry, a gateway and an instance in each, driven as the loop drives them."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from tenfold.drivers.envoy import EntryDriver, EnvoyDriver, LinkProbes
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.network import Loopback
from tenfold.drivers.project import Project
from tenfold.effects import Effect, Order, PublishEntry, PublishRoutes, Receipt, StartEngine, StopEngine
from tenfold.facts import EngineSeen, EngineState, Fact, GatewaySeen, LinkSeen, PoolSeen, RegionSeen
from tenfold.model import Endpoint, EntryTable, GatewayEnd, RouteTable, ServiceRoutes, Share, StoreEnd, Way
from tenfold.ports import Refused

PLACES = {"us": (41.0, -95.0), "eu": (50.0, 4.0), "au": (-37.0, 145.0)}


class Regions:
    """The regions `names`, the first of which is home and has the entry. `instances` are those of the app, by region."""

    def __init__(self, project: Project, port: int, names: Sequence[str]) -> None:
        self.project, self.port, self.names, self.epoch = project, port, tuple(names), 1
        self.instances: dict[str, Sequence[Any]] = {}
        self.stores: tuple[StoreEnd, ...] = ()
        self.published = 0
        self._found: dict[str, Fact] = {}
        self._open()

    def _open(self) -> None:
        fence, ports = Fence(self.project.run / "fence"), FreePorts(self.project)
        self.gateways = EnvoyDriver(self.project, ports, fence, self.port, Loopback(), spread=True)
        self.entry = EntryDriver(self.project, ports, fence, self.port, Loopback())
        self.links = LinkProbes(self.gateways.probe_sockets)

    async def apply(self, effect: Effect, decision: str = "d1") -> Receipt:
        """Send an order of this epoch to the driver it is for."""
        (driver,) = [driver for driver in (self.gateways, self.entry) if driver.accepts(effect)]
        return await driver.apply(Order(effect, self.epoch, decision, time.time()))

    async def look(self) -> dict[str, Fact]:
        """All facts, by kind and key."""
        found = await asyncio.gather(self.gateways.observe(), self.entry.observe(), self.links.observe())
        return {f"{type(fact).__name__} {fact.key}": fact for facts in found for fact in facts}

    async def see(self, kind: type[Fact], key: str) -> Any:
        """One fact, or None."""
        return (await self.look()).get(f"{kind.__name__} {key}")

    async def until(self, kind: type[Fact], key: str, right: Callable[[Any], bool], timeout_s: float = 60.0) -> Any:
        """The fact, once it is there and right."""
        deadline_s = time.monotonic() + timeout_s
        while (fact := await self.see(kind, key)) is None or not right(fact):
            assert time.monotonic() < deadline_s, f"{kind.__name__} {key} never came right: {fact}"
            await asyncio.sleep(0.05)
        return fact

    async def start(self, instances: Mapping[str, Sequence[Any]]) -> None:
        """Start every gateway and the entry, and give them their tables."""
        self.instances = dict(instances)
        await asyncio.gather(*(self.start_engine("gateway", name) for name in self.names))
        await self.start_engine("entry", self.names[0])
        await self.publish_gateways()
        await self.publish_entry()
        for name in self.names:
            await self.until(RegionSeen, name, lambda seen: seen.is_well)

    async def start_engine(self, kind: str, region: str) -> EngineSeen:
        """Start one Envoy and wait until it serves."""
        seen = await self.see(EngineSeen, f"{kind}/{region}")
        await self.apply(StartEngine(kind, region, self.published + 1, seen.generation if seen else 0))
        seen = await self.until(EngineSeen, f"{kind}/{region}", lambda seen: seen.state is EngineState.READY)
        if kind == "entry":
            self.port = int(seen.address.rpartition(":")[2])
        assert isinstance(seen, EngineSeen)
        return seen

    async def ends(self) -> tuple[GatewayEnd, ...]:
        """Where the gateways listen, as they tell themselves."""
        seen = [await self.see(GatewaySeen, name) for name in self.names]
        return tuple(GatewayEnd(s.region, s.host, s.port) for s in seen)

    async def publish_gateways(self, *names: str, decision: str = "d1", **routes: Any) -> None:
        """Give these gateways (all of them) their instances."""
        ends = await self.ends()
        self.published += 1
        for name in names or self.names:
            endpoints = tuple(Endpoint(i.name, "127.0.0.1", i.port) for i in self.instances.get(name, ()))
            service = ServiceRoutes("web", ("/",), endpoints, **routes)
            table = RouteTable(name, (service,), behind_entry=True, gateways=ends, stores=self.stores)
            await self.apply(PublishRoutes(table, f"{name}{self.published}", self.published), decision)

    async def publish_entry(
        self, ways: Sequence[Way] | None = None, decision: str = "e1", **table: Any
    ) -> tuple[Receipt, str]:
        """Give the entry these ways; by default everybody near a region is served there, and else by the next."""
        if ways is None:
            ways = [Way(n, "", (Share(n, 1.0),), tuple(o for o in self.names if o != n)) for n in self.names]
        self.published += 1
        made = EntryTable(
            home=self.names[0],
            gateways=await self.ends(),
            ways=tuple(ways),
            services=table.pop("services", (ServiceRoutes("web", ("/",), (), hedge_after_ms=150.0),)),
            places={name: PLACES[name] for name in self.names},
            trust=("127.0.0.0/8",),
            **table,
        )
        digest = f"entry{self.published}"
        return await self.apply(PublishEntry(made, digest, self.published), decision), digest

    async def restart_control_plane(self) -> None:
        """Let go, and come again with a higher epoch."""
        await self.close()
        self.epoch += 1
        self._open()

    async def close(self) -> None:
        """Let go of all that runs."""
        await asyncio.gather(self.links.close(), self.gateways.close(), self.entry.close())

    async def stop(self) -> None:
        """End everything; what has changed since it was looked at is looked at again."""
        while engines := [seen for seen in (await self.look()).values() if isinstance(seen, EngineSeen)]:
            for seen in engines:
                with contextlib.suppress(Refused):
                    await self.apply(StopEngine(seen.kind, seen.region, seen.generation))
        await self.close()


def near(region: str) -> str:
    """The header by which a client tells that it is near `region`."""
    lat, lon = PLACES[region]
    return f"x-tenfold-place: {lat},{lon}\r\n"


Check = Callable[[], Awaitable[bool]]
__all__ = ["PLACES", "Check", "LinkSeen", "PoolSeen", "Regions", "near"]
