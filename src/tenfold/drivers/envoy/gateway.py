"""One Envoy, a region's gateway or the global entry: what it runs, and how it is led from one table to the next without a gap.
Stage: effects -> world.

Make before break: pools are added before routes point at them, and taken away after none does. The last endpoint of one goes
after the routes know what is done without it: of a service that falls asleep, requests wait. If the gateway refuses
any part, all that it took is taken back, so that the table before it serves on whole.

Only what a table changes is rendered, built and sent: a gateway takes milliseconds to read endpoints, and a tenth of a second
to read thousands of routes. So that routes stay the same while endpoints change, each says which decision published it, and
so does each endpoint; the newer of the two is what a request went by. Which table the gateway runs is said last, as the
version of its listeners: these it knows already, so that nothing else happens.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from tenfold.drivers.envoy import stats
from tenfold.drivers.envoy.admin import ask_json
from tenfold.drivers.envoy.control import ControlServer, Nacked, Silent
from tenfold.model import EntryTable, RouteTable
from tenfold.ports import Permanent, Retryable, Unknown
from tenfold.render.envoy import (
    CLUSTER_TYPE,
    ENDPOINT_TYPE,
    LISTENER_TYPE,
    ROUTE_TYPE,
    GatewayConfig,
)
from tenfold.render.envoy_listener import LISTENER_NAME, METADATA, PUBLISHED_KEY, JsonObject

TAKE_UP_S = 5.0
"""How long a gateway may take to answer to one type of resource. It takes milliseconds; a control plane that was
restarted waits a second for it."""

_DUMP_S = 2.0

Table = TypeVar("Table", RouteTable, EntryTable)


@dataclass(frozen=True, slots=True)
class Words(Generic[Table]):
    """What tables mean to one Envoy.

    `render` is what a table (None: none yet) means when it listens at a port, as a decision published it. `endpoints_of` is
    a smaller table that has all pools whose endpoints a second table changes against a first; None where it changes more.
    """

    render: Callable[[Table | None, int, str], GatewayConfig]
    endpoints_of: Callable[[Table, Table], Table | None]


@dataclass(frozen=True, slots=True)
class Taken:
    """Which table a gateway runs: `published` counts the tables given to it, `table_digest` is empty before the first."""

    published: int = 0
    table_digest: str = ""
    decision: str = ""

    @staticmethod
    def read(version: str) -> "Taken":
        """From the version of its listeners, as the gateway itself tells it."""
        published, _, rest = version.partition(" ")
        table_digest, _, decision = rest.partition(" ")
        return Taken(int(published), table_digest, decision) if published.isdigit() else Taken()

    @property
    def version(self) -> str:
        return f"{self.published} {self.table_digest} {self.decision}"

    @property
    def mark(self) -> str:
        """What routes and endpoints bear that came with it; see `accesslog.published`."""
        return f"{self.published}.{self.decision}" if self.decision else ""


class Gateway(Generic[Table]):
    """The configuration of the Envoy `id`, which listens at `port`; people know it as `name` (`The gateway of local`)."""

    def __init__(self, id_: str, name: str, port: int, words: Words[Table], control: ControlServer) -> None:
        self.id = id_
        self.name = name
        self.port = port
        self.taken = Taken()
        self.refused = ""
        self._words: Words[Table] = words
        self._control = control
        self._config = words.render(None, port, "")
        self._table: Table | None = None
        self._unmarked: dict[str, JsonObject] = {}

    def start_over(self, port: int) -> None:
        """A new process comes, to listen at `port`: it is to run at once what the one before ran (nothing,
        the first time)."""
        empty = self._words.render(None, port, "")
        moved = _moved(self._config.listeners, empty.listeners)
        self._config = replace(self._config, listeners=moved) if self.taken.published else empty
        self.port = port
        self._control.hold(self.id, CLUSTER_TYPE, self._config.clusters)
        self._control.hold(self.id, ENDPOINT_TYPE, self._config.endpoints)
        self._control.hold(self.id, LISTENER_TYPE, self._config.listeners, self.taken.version)
        self._control.hold(self.id, ROUTE_TYPE, self._config.routes)

    async def learn(self, admin: Path) -> None:
        """Take over a gateway that an earlier control plane started: what it runs is asked of itself.

        Raises `NotAnswering`. One that was started but never given anything is given an empty table.
        """
        dump = await ask_json(admin, "/config_dump?include_eds", _DUMP_S)
        # Not of the dump, which tells of the listeners' version only when one of them has changed.
        version = stats.version(await ask_json(admin, stats.VERSION_PATH, _DUMP_S))
        parts = {part["@type"].rpartition(".")[2]: part for part in dump["configs"]}
        routes = parts.get("RoutesConfigDump", {}).get("dynamic_route_configs", [])
        listeners = [
            found["active_state"]["listener"]
            for found in parts.get("ListenersConfigDump", {}).get("dynamic_listeners", [])
            if "active_state" in found
        ]
        if not routes or not listeners:
            self.start_over(self.port)
            return
        edge = next(found for found in listeners if found["name"] == LISTENER_NAME)
        self.port = int(edge["address"]["socket_address"]["port_value"])
        self.taken = Taken.read(version or routes[0].get("version_info", ""))
        clusters = parts.get("ClustersConfigDump", {}).get("dynamic_active_clusters", [])
        endpoints = parts.get("EndpointsConfigDump", {}).get("dynamic_endpoint_configs", [])
        self._config = GatewayConfig(
            clusters=tuple(_untyped(found["cluster"]) for found in clusters),
            endpoints=tuple(_assignment(found["endpoint_config"]) for found in endpoints),
            listeners=tuple(_untyped(found) for found in listeners),
            routes=tuple(_untyped(found["route_config"]) for found in routes),
        )
        self._control.forget(self.id)

    async def publish(self, table: Table, taken: Taken) -> None:
        """Lead the gateway to `table`; returns once it runs it.

        Raises `Permanent` with the gateway's reason when it refuses, `Retryable` when it is not there, `Unknown` when
        it fell silent half-way.
        """
        before, after, unmarked = self._config, *self._next(table, taken)
        both = replace(
            after,
            clusters=_union(after.clusters, before.clusters, "name"),
            endpoints=_union(_before_gone(after, before), before.endpoints, "cluster_name"),
        )
        if not await self._control.wait_for(self.id, TAKE_UP_S):
            raise Retryable(f"{self.name} is not connected to its control plane yet; it serves on as it was.")
        # Until it is known to have arrived, it may run parts of either.
        self._config, self._table, self._unmarked = both, None, {}
        try:
            await self._offer(both)
            await self._offer(after)
            self._control.hold(self.id, LISTENER_TYPE, after.listeners, taken.version)
            await self._take_up(LISTENER_TYPE)
        except Nacked as reason:
            self.refused = str(reason)
            await self._take_back(before)
            raise Permanent(f"{self.name} refused the routes ({reason}); it serves on as it was.") from reason
        except Silent as error:
            raise Unknown(f"It is not known whether the new routes are in force: {error}.") from error
        self._config, self.taken, self.refused = after, taken, ""
        self._table, self._unmarked = table, unmarked

    def _next(self, table: Table, taken: Taken) -> tuple[GatewayConfig, dict[str, JsonObject]]:
        """What `table` means, and its endpoints as they are without the mark of who published them; what is as it was stays
        the same object."""
        before = self._config
        changed = None if self._table is None else self._words.endpoints_of(self._table, table)
        rendered = self._words.render(table if changed is None else changed, self.port, taken.mark)
        unmarked = {assignment["cluster_name"]: assignment for assignment in rendered.endpoints}
        known = {assignment["cluster_name"]: assignment for assignment in before.endpoints}
        endpoints = {
            name: known[name]
            if name in known and self._unmarked.get(name) == assignment
            else _marked(assignment, taken)
            for name, assignment in unmarked.items()
        }
        if changed is None:
            return replace(rendered, endpoints=tuple(endpoints.values())), unmarked
        return replace(before, endpoints=tuple((known | endpoints).values())), self._unmarked | unmarked

    async def _offer(self, config: GatewayConfig) -> None:
        """Lead it to `config`, of which it does not learn yet whose it is."""
        # A gateway that connects meanwhile asks for everything at once: it must not be told of routes before it has their pools.
        self._control.hold(self.id, CLUSTER_TYPE, config.clusters)
        self._control.hold(self.id, ENDPOINT_TYPE, config.endpoints)
        if not self._control.is_taken(self.id, CLUSTER_TYPE):
            pools = self._control.fresh(self.id, CLUSTER_TYPE)
            self._control.send(self.id, ENDPOINT_TYPE)
            await self._take_up(CLUSTER_TYPE)
            # A pool that was changed starts again and waits for its endpoints.
            self._control.refresh(self.id, ENDPOINT_TYPE, pools)
        if config.endpoints:
            await self._take_up(ENDPOINT_TYPE)
        self._control.hold(self.id, LISTENER_TYPE, config.listeners, self.taken.version)
        await self._take_up(LISTENER_TYPE)
        self._control.hold(self.id, ROUTE_TYPE, config.routes)
        await self._take_up(ROUTE_TYPE)

    async def _take_up(self, type_url: str) -> None:
        """Have it take what is held of this type, unless it has; raises `Nacked` or `Silent`."""
        if not self._control.is_taken(self.id, type_url):
            await self._control.offer(self.id, type_url, TAKE_UP_S)

    async def _take_back(self, config: GatewayConfig) -> None:
        """Back to what was; a gateway that refuses or misses even that is given it when it next connects."""
        self._config = config
        try:
            await self._offer(config)
        except (Nacked, Silent) as error:
            self.refused = f"{self.refused}; and what it ran before: {error}"


def _moved(listeners: tuple[JsonObject, ...], places: tuple[JsonObject, ...]) -> tuple[JsonObject, ...]:
    """The same listeners, at the addresses of those of the same names in `places`."""
    addresses = {found["name"]: {"address": found["address"]} for found in places}
    return tuple({**found, **addresses.get(found["name"], {})} for found in listeners)


def _union(after: Iterable[JsonObject], before: Iterable[JsonObject], name: str) -> tuple[JsonObject, ...]:
    """All of `after`, and what only `before` has."""
    named = {resource[name]: resource for resource in before}
    return tuple((named | {resource[name]: resource for resource in after}).values())


def _before_gone(after: GatewayConfig, before: GatewayConfig) -> tuple[JsonObject, ...]:
    """The endpoints of `after`; where none is left that takes requests and routes change, those that did."""
    if after.routes == before.routes:
        return after.endpoints
    known = {assignment["cluster_name"]: assignment for assignment in before.endpoints}
    return tuple(
        known[name] if not _serves(each) and _serves(known.get(name := each["cluster_name"], {})) else each
        for each in after.endpoints
    )


def _serves(assignment: JsonObject) -> bool:
    places = assignment.get("endpoints", ())
    return any(e.get("health_status") == "HEALTHY" for place in places for e in place.get("lb_endpoints", ()))


def _untyped(resource: JsonObject) -> JsonObject:
    return {key: value for key, value in resource.items() if key != "@type"}


def _assignment(dumped: JsonObject) -> JsonObject:
    """As it was given: a dump shows weights of zero where none were given, which Envoy itself would refuse.

    A pool that was told of no endpoint at all is dumped without a list of them.
    """
    places = (
        {key: value for key, value in place.items() if key != "load_balancing_weight"}
        for place in dumped.get("endpoints", ())
    )
    return {"cluster_name": dumped["cluster_name"], "endpoints": list(places)}


def _marked(assignment: JsonObject, taken: Taken) -> JsonObject:
    """The same endpoints, each of which says who published it."""
    if not taken.mark:
        return assignment
    by = {"metadata": {"filter_metadata": {METADATA: {PUBLISHED_KEY: taken.mark}}}}
    places = (
        {**place, "lb_endpoints": [{**endpoint, **by} for endpoint in place.get("lb_endpoints", ())]}
        for place in assignment.get("endpoints", ())
    )
    return {**assignment, "endpoints": list(places)}
