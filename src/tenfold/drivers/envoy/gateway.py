"""One Envoy, a region's gateway or the global entry: what it runs, and how it is led from one table to the next without a gap.
Stage: effects -> world.

Make before break: pools are added before routes point at them, and taken away after none does. If the gateway refuses
any part, all that it took is taken back, so that the table before it serves on whole.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

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
from tenfold.render.envoy_listener import LISTENER_NAME, JsonObject

TAKE_UP_S = 5.0
"""How long a gateway may take to answer to one type of resource. It takes milliseconds; a control plane that was
restarted waits a second for it."""

_DUMP_S = 2.0

Table = TypeVar("Table", RouteTable, EntryTable)
Render = Callable[[Table | None, int, str], GatewayConfig]
"""What a table (None: none yet) means to an Envoy that listens at a port, as a decision published it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Which table a gateway runs: `published` counts the tables given to it, `table_digest` is empty before the first."""

    published: int = 0
    table_digest: str = ""
    decision: str = ""

    @staticmethod
    def read(version: str) -> "Taken":
        """From the version of its routes, as the gateway itself tells it."""
        published, _, rest = version.partition(" ")
        table_digest, _, decision = rest.partition(" ")
        return Taken(int(published), table_digest, decision) if published.isdigit() else Taken()

    @property
    def version(self) -> str:
        return f"{self.published} {self.table_digest} {self.decision}"


class Gateway(Generic[Table]):
    """The configuration of the Envoy `id`, which listens at `port`; people know it as `name` (`The gateway of local`)."""

    def __init__(self, id_: str, name: str, port: int, render: Render[Table], control: ControlServer) -> None:
        self.id = id_
        self.name = name
        self.port = port
        self.taken = Taken()
        self.refused = ""
        self._render: Render[Table] = render
        self._control = control
        self._config = render(None, port, "")

    def start_over(self, port: int) -> None:
        """A new process comes, to listen at `port`: it is to run at once what the one before ran (nothing,
        the first time)."""
        empty = self._render(None, port, "")
        moved = _moved(self._config.listeners, empty.listeners)
        self._config = replace(self._config, listeners=moved) if self.taken.published else empty
        self.port = port
        self._hold(CLUSTER_TYPE, self._config.clusters)
        self._hold(ENDPOINT_TYPE, self._config.endpoints)
        self._hold(LISTENER_TYPE, self._config.listeners)
        self._hold(ROUTE_TYPE, self._config.routes, self.taken.version)

    async def learn(self, admin: Path) -> None:
        """Take over a gateway that an earlier control plane started: what it runs is asked of itself.

        Raises `NotAnswering`. One that was started but never given anything is given an empty table.
        """
        dump = await ask_json(admin, "/config_dump?include_eds", _DUMP_S)
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
        self.taken = Taken.read(routes[0].get("version_info", ""))
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
        before, after = self._config, self._render(table, self.port, taken.decision)
        both = replace(
            after,
            clusters=_union(after.clusters, before.clusters, "name"),
            endpoints=_union(after.endpoints, before.endpoints, "cluster_name"),
        )
        if not await self._control.wait_for(self.id, TAKE_UP_S):
            raise Retryable(f"{self.name} is not connected to its control plane yet; it serves on as it was.")
        # Until it is known to have arrived, it may run parts of either.
        self._config = both
        try:
            await self._offer(both, taken.version)
            if both != after:
                await self._offer(after, taken.version)
        except Nacked as reason:
            self.refused = str(reason)
            await self._take_back(before)
            raise Permanent(f"{self.name} refused the routes ({reason}); it serves on as it was.") from reason
        except Silent as error:
            raise Unknown(f"It is not known whether the new routes are in force: {error}.") from error
        self._config, self.taken, self.refused = after, taken, ""

    async def _offer(self, config: GatewayConfig, routes_version: str) -> None:
        # A gateway that connects meanwhile asks for everything at once: it must not be told of routes before it has their pools.
        self._hold(CLUSTER_TYPE, config.clusters)
        self._hold(ENDPOINT_TYPE, config.endpoints)
        self._control.send(self.id, ENDPOINT_TYPE)
        await self._control.offer(self.id, CLUSTER_TYPE, TAKE_UP_S)
        # A pool that was changed starts again and waits for its endpoints, so these are always sent after it.
        if config.endpoints:
            await self._control.offer(self.id, ENDPOINT_TYPE, TAKE_UP_S)
        self._hold(LISTENER_TYPE, config.listeners)
        await self._control.offer(self.id, LISTENER_TYPE, TAKE_UP_S)
        self._hold(ROUTE_TYPE, config.routes, routes_version)
        await self._control.offer(self.id, ROUTE_TYPE, TAKE_UP_S)

    async def _take_back(self, config: GatewayConfig) -> None:
        """Back to what was; a gateway that refuses or misses even that is given it when it next connects."""
        self._config = config
        try:
            await self._offer(config, self.taken.version)
        except (Nacked, Silent) as error:
            self.refused = f"{self.refused}; and what it ran before: {error}"

    def _hold(self, type_url: str, resources: tuple[JsonObject, ...], version: str = "") -> None:
        self._control.hold(self.id, type_url, version or _version(resources), resources)


def _moved(listeners: tuple[JsonObject, ...], places: tuple[JsonObject, ...]) -> tuple[JsonObject, ...]:
    """The same listeners, at the addresses of those of the same names in `places`."""
    addresses = {found["name"]: {"address": found["address"]} for found in places}
    return tuple({**found, **addresses.get(found["name"], {})} for found in listeners)


def _union(after: Iterable[JsonObject], before: Iterable[JsonObject], name: str) -> tuple[JsonObject, ...]:
    """All of `after`, and what only `before` has."""
    named = {resource[name]: resource for resource in before}
    return tuple((named | {resource[name]: resource for resource in after}).values())


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


def _version(resources: tuple[JsonObject, ...]) -> str:
    return hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]
