"""The driver of the global entry: the Envoy that stands before the gateways of all regions. Stage: effects -> world -> facts."""

from dataclasses import replace

from tenfold.drivers.envoy.driver import near
from tenfold.drivers.envoy.led import LedDriver, Teller
from tenfold.drivers.envoy.requests import ENTRY_LOG
from tenfold.drivers.envoy.served import Served
from tenfold.drivers.envoy.tellers import RegionsTeller
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.network import Loopback, Network
from tenfold.drivers.project import Project
from tenfold.effects import Effect, Order, PublishEntry, Receipt
from tenfold.model import LOOPBACK, EntryTable
from tenfold.render.envoy import ENTRY_NODE, GatewayConfig
from tenfold.render.envoy_entry import entry as render_entry
from tenfold.render.envoy_entry import origin_of

KIND = "entry"


class EntryDriver(LedDriver[EntryTable]):
    """The global entry, listening on loopback at `port` where that is free; where it is not, at one of `ports`, and the
    engine's note says so. It stands for points of presence near every region, so it runs in no region's network; from which
    address it sends on whose requests is asked of `network`. Answers that are not sooner than `within_ms` count as late.
    """

    def __init__(
        self,
        project: Project,
        ports: FreePorts,
        fence: Fence,
        port: int,
        network: Network,
        within_ms: float | None = None,
    ) -> None:
        super().__init__(KIND, "entry-", ENTRY_LOG, project, fence, Loopback(), True)
        self._ports = ports
        self._port = port
        self._within_ms = within_ms
        self._sources = network.entry_source

    def accepts(self, effect: Effect) -> bool:
        """True for starts and stops of the entry, and for its table."""
        return isinstance(effect, PublishEntry) or self.is_engine(effect)

    async def apply(self, order: Order) -> Receipt:
        """Start or stop the entry, or lead it to a new table; see `ports.Actuator.apply`."""
        effect = order.effect
        if not isinstance(effect, PublishEntry):
            return await self.engine(order)
        await self.prepare(order)
        # There is one, but for the moment in which it moves to another region: the newer one is to serve then.
        region = next(reversed(self._gateways), "")
        return await self.publish(order, region, effect.table, effect.table_digest, effect.expected_generation)

    def name(self, region: str) -> str:
        """The same wherever it stands."""
        return "The global entry"

    def key(self, region: str) -> str:
        """`entry`, wherever it stands."""
        return ENTRY_NODE

    def host(self, region: str) -> str:
        """Loopback."""
        return LOOPBACK

    def place(self, region: str) -> tuple[int, str]:
        """Where it was before or should be, or where there is room."""
        return near(self._port, self.port_of(region), self._ports)

    def step_over(self, region: str, reason: str) -> int:
        """Another port."""
        lost, port = self.port_of(region), self._ports.take()
        self.recipe.note(region, f"port {lost} was taken by another program, so the edge listens at {port}")
        return port

    def port_of(self, region: str) -> int:
        """Where the entry listens, or would."""
        gateway = self._gateways.get(region)
        return self._port if gateway is None else gateway.port

    def render(self, region: str, table: EntryTable | None, port: int, decision: str) -> GatewayConfig:
        """As `render.envoy_entry` says."""
        table = table or EntryTable(region)
        # Of all origins from the start, also before there are ways: a pool whose source changes begins anew.
        origins = {table.home, *table.places, *(way.origin for way in table.ways)}
        found = {origin: self._sources(origin) for origin in sorted(origins)}
        return render_entry(
            table,
            port=port,
            access_log=str(self.recipe.access_log(region)),
            decision=decision,
            sources={origin: source for origin, source in found.items() if source is not None},
        )

    def endpoints_of(self, before: EntryTable, after: EntryTable) -> EntryTable | None:
        """The ways, where nothing but ways changed."""
        same = replace(before, ways=after.ways, gateways=after.gateways) == after
        # Which ways there are decides which pools there are.
        pools = [{(way.origin, way.residency) for way in table.ways} for table in (before, after)]
        return replace(after, services=()) if same and pools[0] == pools[1] else None

    def teller(self, region: str) -> Teller:
        """Of regions."""
        served = Served(ENTRY_NODE, self._within_ms)
        return RegionsTeller(self.recipe.access_log(region), lambda pool: origin_of(pool)[0], served)
