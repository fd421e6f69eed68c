"""Turns resources into Envoy's protobuf messages. Stage: effects -> world, below the control server.

Importing the messages takes a tenth to a third of a second, so that happens once, in a thread, while Envoy starts.
"""

import asyncio
import importlib
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tenfold.ports import Permanent
from tenfold.render.envoy import ENDPOINT_TYPE, ROUTE_TYPE
from tenfold.render.envoy_listener import JsonObject

_REGISTERED = (
    "envoy.config.cluster.v3.cluster_pb2",
    "envoy.config.endpoint.v3.endpoint_pb2",
    "envoy.config.listener.v3.listener_pb2",
    "envoy.config.route.v3.route_pb2",
    "envoy.extensions.access_loggers.file.v3.file_pb2",
    "envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2",
    "envoy.extensions.filters.http.fault.v3.fault_pb2",
    "envoy.extensions.filters.http.geoip.v3.geoip_pb2",
    "envoy.extensions.filters.http.lua.v3.lua_pb2",
    "envoy.extensions.filters.http.geoip.v3.geoip_pb2",
    "envoy.extensions.filters.http.lua.v3.lua_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.http.stateful_session.v3.stateful_session_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2",
    "envoy.extensions.geoip_providers.maxmind.v3.maxmind_pb2",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2",
    "envoy.extensions.geoip_providers.maxmind.v3.maxmind_pb2",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2",
    "envoy.extensions.http.stateful_session.cookie.v3.cookie_pb2",
    "envoy.extensions.load_balancing_policies.least_request.v3.least_request_pb2",
    "envoy.extensions.load_balancing_policies.round_robin.v3.round_robin_pb2",
    "envoy.extensions.load_balancing_policies.round_robin.v3.round_robin_pb2",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2",
    "envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2",
    "envoy.extensions.router.cluster_specifiers.lua.v3.lua_pb2",
    "envoy.extensions.router.cluster_specifiers.matcher.v3.matcher_pb2",
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2",
    "envoy.type.matcher.v3.http_inputs_pb2",
    "envoy.type.matcher.v3.http_inputs_pb2",
)
"""Modules of the messages that may stand inside an `Any`: to import one is to make it known by name."""

_LOADING = threading.Lock()
_FORK_SUPPORT = "GRPC_ENABLE_FORK_SUPPORT"


async def load() -> Any:
    """The module of the discovery messages, once gRPC is imported and all other messages are known. Raises `Permanent`."""
    return await asyncio.to_thread(_load)


def _load() -> Any:
    # Gateways and entry have a control server each, and both may begin now.
    with _LOADING:
        return _load_alone()


def _load_alone() -> Any:
    # gRPC runs code of its own in every process we fork, until that becomes another program. One in ten of those died of
    # it (SIGSEGV) while a gateway talked to us. It is told not to before it is imported; no program of ours inherits the
    # word.
    before = os.environ.get(_FORK_SUPPORT)
    os.environ[_FORK_SUPPORT] = "0"
    try:
        for module in ("grpc", *_REGISTERED):
            importlib.import_module(module)
        return importlib.import_module("envoy.service.discovery.v3.discovery_pb2")
    except ImportError as error:
        raise Permanent(
            f"{error.name} is not installed, so the edge can't be led: run `pip install 'tenfold[engines]'`."
        ) from error
    finally:
        del os.environ[_FORK_SUPPORT]
        if before is not None:
            os.environ[_FORK_SUPPORT] = before


class Builder:
    """Builds each resource once: what has not changed since the last time is not built again, nor is a route among thousands."""

    def __init__(self) -> None:
        self._built: dict[tuple[str, str], tuple[JsonObject, Any]] = {}
        self._routes: dict[bytes, bytes] = {}

    def build(self, type_url: str, resources: Iterable[JsonObject]) -> list[Any]:
        """One `Any` per resource. Call after `load`."""
        return [self._build(type_url, resource) for resource in resources]

    def forget(self, type_url: str, names: Iterable[str]) -> None:
        """These are not built again."""
        for name in names:
            self._built.pop((type_url, name), None)

    def _build(self, type_url: str, resource: JsonObject) -> Any:
        # Imported here and not above, because it belongs to what `load` moves out of the way of a quick start.
        from google.protobuf.any_pb2 import Any as AnyMessage
        from google.protobuf.json_format import ParseDict

        key = (type_url, resource.get("name") or resource["cluster_name"])
        known, message = self._built.get(key, (None, None))
        if known is None or (known is not resource and known != resource):
            assignment = _assignment(resource) if type_url == ENDPOINT_TYPE else None
            if assignment is not None:
                message = AnyMessage(type_url=type_url, value=assignment.SerializeToString())
            elif type_url == ROUTE_TYPE:
                message = AnyMessage(type_url=type_url, value=self._route_configuration(resource))
            else:
                message = ParseDict({"@type": type_url, **resource}, AnyMessage())
            self._built[key] = (resource, message)
        return message

    def _route_configuration(self, resource: JsonObject) -> bytes:
        """All routes of a gateway, put together from parts that are kept (Protocol Buffers' encoding: a field is its number and
        type, its length and its bytes, in any order; one that repeats is written again and again)."""
        from envoy.config.route.v3.route_components_pb2 import VirtualHost
        from envoy.config.route.v3.route_pb2 import RouteConfiguration
        from google.protobuf.json_format import ParseDict

        kept, self._routes = self._routes, {}
        parts = [ParseDict({**resource, "virtual_hosts": []}, RouteConfiguration()).SerializeToString()]
        for host in resource["virtual_hosts"]:
            inside = [ParseDict({**host, "routes": []}, VirtualHost()).SerializeToString()]
            inside += (_field(VirtualHost, "routes", self._route(route, kept)) for route in host.get("routes", ()))
            parts.append(_field(RouteConfiguration, "virtual_hosts", b"".join(inside)))
        return b"".join(parts)

    def _route(self, route: JsonObject, kept: Mapping[bytes, bytes]) -> bytes:
        """One route. Its name changes with every table; the rest of most does not."""
        from envoy.config.route.v3.route_components_pb2 import Route
        from google.protobuf.json_format import ParseDict

        rest = {key: value for key, value in route.items() if key != "name"}
        key = msgspec.json.encode(rest)
        built = self._routes.get(key) or kept.get(key)
        if built is None:
            built = ParseDict(rest, Route()).SerializeToString()
        self._routes[key] = built
        return built + _field(Route, "name", route["name"].encode()) if "name" in route else built


def _field(message: Any, name: str, value: bytes) -> bytes:
    """A field of `message` whose value has a length, as it is written."""
    return _varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit tells that more follow."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _assignment(resource: JsonObject) -> Any | None:
    """The endpoints of a pool. Of all types these change most often, by the thousand, and this takes a tenth of the time. None
    where they have what only the slower way understands."""
    from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

    places = [
        {**place, "lb_endpoints": [_plain(endpoint) for endpoint in place.get("lb_endpoints", ())]}
        for place in resource.get("endpoints", ())
    ]
    try:
        return ClusterLoadAssignment(**{**resource, "endpoints": places})
    except (TypeError, ValueError):
        return None


def _plain(endpoint: JsonObject) -> JsonObject:
    """The JSON form of an endpoint without the short forms that only JSON has."""
    plain = dict(endpoint)
    if "load_balancing_weight" in endpoint:
        plain["load_balancing_weight"] = {"value": endpoint["load_balancing_weight"]}
    if "metadata" in endpoint:
        spaces = endpoint["metadata"]["filter_metadata"].items()
        structs = {
            space: {"fields": {key: {"string_value": text} for key, text in texts.items()}} for space, texts in spaces
        }
        plain["metadata"] = {"filter_metadata": structs}
    return plain
