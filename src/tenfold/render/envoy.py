"""A region's RouteTable becomes Envoy's resources, as JSON-able dicts. Between the deciders' table and
`drivers.envoy`, which sends them.

Why it is shaped so (figures were measured; see docs/edge.md):

- Idempotent requests (RFC 9110 section 9.2.2) have routes of their own. They are replayed when their instance dies,
  and *hedged*: after `hedge_after_ms` a second try starts at another instance while the first goes on, and the first
  answer wins. One replay at the most, so that a page that is honestly slow costs the app two calls, never three. All
  others are tried again only if they were never sent.
- WebSockets go to a twin pool (`web~ws`) with the same endpoints, so that open sockets and requests at hand are
  counted apart: that is what draining waits for.
- A pool picks the least busy of four endpoints drawn at random. Requests that hang keep their endpoint busy, so a
  frozen instance gets next to no new ones, long before anything has diagnosed it; and an instance that refuses at once
  can still be avoided by a second try.
- Slowness ejects nobody: a busy app is slow everywhere at once, and health checks of the edge's own would take all of
  it away. Who is unwell is the control plane's to judge, by the blueprint's checks. Only an instance that answers 5xx
  to nearly everything is passed over, and never more than a third of the pool.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import assert_never

from tenfold.model import LOOPBACK, Endpoint, EndpointState, RouteTable, ServiceRoutes
from tenfold.render import envoy_behind as behind
from tenfold.render import envoy_many as many
from tenfold.render import envoy_sleep as sleep
from tenfold.render import envoy_tiers as tiers
from tenfold.render.envoy_listener import (
    ACCESS_LOG_FIELDS,
    CLIENT_HEADERS,
    EXTENSIONS,
    ROUTES_NAME,
    JsonObject,
    edge_manager,
    file_access_log,
    filter_chain,
    listener,
)
from tenfold.render.envoy_routes import (
    IDEMPOTENT_METHODS,
    STICKY_HTTP_FILTER,
    Kind,
    retry_policy,
    routes,
    seconds,
    sticky,
)

__all__ = ["IDEMPOTENT_METHODS"]

CLUSTER_TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINT_TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER_TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTE_TYPE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

SOCKETS_SUFFIX = "~ws"

INSTANCE_COOKIE = "tenfold-instance"
"""Followed by a dash and the service: the instance that answers a client of a sticky service."""

NEVER_SENT = "connect-failure,refused-stream,reset-before-request"
LOOPBACK_DOMAINS = ("localhost", LOOPBACK, "[::1]")

IDLE_UPSTREAM_S = 1.5
"""An idle connection to an app is closed by us after this, seconds. Apps close theirs after 2 s (gunicorn) to 5 s
(uvicorn, Node); whoever closes second can send a request into a closed connection,
and one that may not be repeated is then lost."""

REPLAYS_MIN = 100
"""So many replays and hedges may be under way in a pool whatever its load: one dead instance's requests (80 by
default) and some."""

REPLAYS_RATIO = 0.25
"""Beyond REPLAYS_MIN, replays and hedges may be this share of the requests under way,
so that they can't bury a busy app."""

REQUESTS_MAX = 10_000
"""Requests under way or waiting in one pool; the next gets a 503 at once."""

SOCKETS_MAX = 50_000
"""Open WebSockets in one pool."""

CHOICES = 4
"""Endpoints drawn for each pick. A second try draws up to REDRAWS times until it finds another than the first: 1 in 10
million fails with two endpoints."""

REDRAWS = 250


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """All resources of one gateway, by type, each as the text form of its message."""

    clusters: tuple[JsonObject, ...]
    endpoints: tuple[JsonObject, ...]
    listeners: tuple[JsonObject, ...]
    routes: tuple[JsonObject, ...]


def gateway(
    table: RouteTable,
    *,
    port: int,
    access_log: str,
    decision: str = "",
    host: str = LOOPBACK,
    store_ports: Mapping[str, int] = MappingProxyType({}),
    probe_socket: str | None = None,
    delays: Mapping[str, float] = MappingProxyType({}),
    waker_socket: str | None = None,
) -> GatewayConfig:
    """What `table` means to the gateway that listens on `host` and `port` and logs requests to the file `access_log`.

    `decision` is the id of the one that published it: with a request's log line, it tells why it was routed so. Behind an
    entry: apps reach the store `kind` at loopback `store_ports[kind]`, the ways to other regions are asked on `probe_socket`,
    and what the entry sends for clients near `origin` is held back for `delays[origin]` milliseconds. On `waker_socket` the waker is
    asked about requests of services that sleep.
    """
    clusters: list[JsonObject] = []
    endpoints: list[JsonObject] = []
    for service in table.services:
        for name, requests_max in ((service.service, REQUESTS_MAX), (service.service + SOCKETS_SUFFIX, SOCKETS_MAX)):
            clusters.append(_cluster(name, requests_max))
            endpoints.append(_assignment(name, table.region, service.endpoints))
    if _may_sleep(table):
        assert waker_socket is not None, "a service may sleep, and nobody would wake it"
        clusters.append(sleep.cluster(waker_socket))
    listeners = [_listener(table, port, access_log, host, delays)]
    if table.behind_entry:
        clusters += behind.clusters(table, store_ports)
        endpoints += behind.endpoints(table, store_ports)
        listeners += behind.listeners(table, store_ports, probe_socket)
    return GatewayConfig(
        clusters=tuple(clusters),
        endpoints=tuple(endpoints),
        listeners=tuple(listeners),
        routes=(_route_configuration(table, decision),),
    )


def _may_sleep(table: RouteTable) -> bool:
    return any(service.may_sleep for service in table.services)


def _listener(table: RouteTable, port: int, access_log: str, host: str, delays: Mapping[str, float]) -> JsonObject:
    wakes = [sleep.wake_filter()] if _may_sleep(table) else []
    if table.behind_entry:
        return listener(port, [filter_chain(behind.manager(access_log, delays, wakes))], host)
    filters = [STICKY_HTTP_FILTER] if any(service.is_sticky for service in table.services) else []
    manager = edge_manager([file_access_log(access_log, ACCESS_LOG_FIELDS)], [*wakes, *filters])
    if wakes:
        manager["local_reply_config"]["mappers"] += sleep.replies()
    return listener(port, [filter_chain(manager)], host)


def bootstrap(
    region: str,
    *,
    control_socket: str,
    admin_socket: str,
    connections_max: int,
    memory_bytes_max: int,
    is_spread: bool = False,
) -> JsonObject:
    """What Envoy is started with: where its control plane listens, where its admin page is, and how much it may hold.

    `region` is ENTRY_NODE for the global entry. `connections_max` bounds clients' connections, `memory_bytes_max` Envoy's
    heap: at 90% it gives memory back, at 98% it turns requests away. With several regions (`is_spread`) its runtime keys can
    be changed through its admin page.
    """
    kept = ENTRY_KEPT_STATS if region == ENTRY_NODE else KEPT_STATS
    xds = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": region, "cluster": "tenfold", "locality": {"region": region}},
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [
                    {
                        "envoy_grpc": {
                            "cluster_name": "control",
                            # A control plane that was restarted is found again within a second, not within half a
                            # minute.
                            "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}},
                        }
                    }
                ],
            },
            "cds_config": xds,
            "lds_config": xds,
        },
        "static_resources": {"clusters": [_control_cluster(control_socket)]},
        "stats_flush_on_admin": True,
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": [{"safe_regex": {"regex": p}} for p in kept]}}
        },
        "overload_manager": _overload_manager(connections_max, memory_bytes_max),
        **({"layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]}} if is_spread else {}),
    }


ENTRY_NODE = "entry"
"""The node's id of the global entry; those of gateways are their regions."""


KEPT_STATS = (
    r"cluster\.[^.]+\.(upstream_rq_total|upstream_rq_retry|upstream_rq_completed|upstream_rq_5xx|upstream_rq_time)",
    r"cluster\.[^.]+\.(upstream_cx_none_healthy|upstream_rq_pending_overflow)",
    r"listener_manager\.lds\.version_text",
    r"http\.edge\.(downstream_cx_active|rds\.routes\.version_text)",
    r"control_plane\.connected_state",
    r"server\.uptime",
)
"""The only statistics Envoy keeps; each is read by `drivers.envoy`."""

ENTRY_KEPT_STATS = KEPT_STATS
"""And those of the global entry: the same, of its pools. What each region did it tells with the pools' endpoints."""


def _control_cluster(socket: str) -> JsonObject:
    return {
        "name": "control",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": _static_assignment("control", {"pipe": {"path": socket}}),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    # A control plane that was frozen is noticed and dialled again.
                    "http2_protocol_options": {"connection_keepalive": {"interval": "10s", "timeout": "5s"}}
                },
            }
        },
    }


def _static_assignment(cluster: str, address: JsonObject) -> JsonObject:
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}


def _overload_manager(connections_max: int, memory_bytes_max: int) -> JsonObject:
    def above(ratio: float) -> list[JsonObject]:
        return [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": ratio}}]

    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": {
                    "@type": f"{EXTENSIONS}.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": memory_bytes_max,
                },
            },
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": f"{EXTENSIONS}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": connections_max,
                },
            },
        ],
        "actions": [
            {"name": "envoy.overload_actions.shrink_heap", "triggers": above(0.90)},
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": above(0.98)},
        ],
    }


def _cluster(name: str, requests_max: int) -> JsonObject:
    threshold: JsonObject = {
        "max_connections": requests_max,
        "max_pending_requests": requests_max,
        "max_requests": requests_max,
        "retry_budget": {"budget_percent": {"value": REPLAYS_RATIO * 100}, "min_retry_concurrency": REPLAYS_MIN},
    }
    return {
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}},
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": 65536,
        "load_balancing_policy": {
            "policies": [
                {
                    "typed_extension_config": {
                        "name": "envoy.load_balancing_policies.least_request",
                        "typed_config": {
                            "@type": f"{EXTENSIONS}.load_balancing_policies.least_request.v3.LeastRequest",
                            "choice_count": CHOICES,
                        },
                    }
                }
            ]
        },
        # Never send to an endpoint that is known to be unwell or draining, even if no other is left: a clear 503 is
        # better.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "outlier_detection": _outlier_detection(),
        "circuit_breakers": {"thresholds": [threshold]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": seconds(IDLE_UPSTREAM_S)},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _outlier_detection() -> JsonObject:
    return {
        "interval": "1s",
        "base_ejection_time": "10s",
        "max_ejection_time": "60s",
        "max_ejection_percent": 34,
        "always_eject_one_host": True,
        # Timeouts and refused connections are counted apart from answers, and eject nobody: hedges and replays deal
        # with them.
        "split_external_local_origin_errors": True,
        "failure_percentage_threshold": 85,
        "failure_percentage_minimum_hosts": 2,
        "failure_percentage_request_volume": 20,
        "enforcing_failure_percentage": 100,
        "enforcing_failure_percentage_local_origin": 0,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_consecutive_local_origin_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
    }


def _assignment(cluster: str, region: str, endpoints: Sequence[Endpoint]) -> JsonObject:
    """Warm endpoints are of the second priority: Envoy turns to them when those of the first can't be reached."""
    warm = [e for e in endpoints if e.state is EndpointState.WARM]
    others = [e for e in endpoints if e.state is not EndpointState.WARM]
    locality = {"region": region}
    groups: list[JsonObject] = [{"locality": locality, "lb_endpoints": [_lb_endpoint(e) for e in others]}]
    if warm:
        groups.append({"locality": locality, "priority": 1, "lb_endpoints": [_lb_endpoint(e) for e in warm]})
    return {"cluster_name": cluster, "endpoints": groups}


def _lb_endpoint(endpoint: Endpoint) -> JsonObject:
    return {
        "endpoint": {
            "address": {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}},
            "hostname": endpoint.instance,
        },
        "health_status": "DRAINING" if endpoint.state is EndpointState.DRAINING else "HEALTHY",
        "load_balancing_weight": endpoint.weight,
    }


def _route_configuration(table: RouteTable, decision: str) -> JsonObject:
    lists = {tier: many.part(services) for tier, services in tiers.lists(table).items()}
    found = {tier: _routes(table, parted, decision, _specifier_name(tier)) for tier, parted in lists.items()}
    looked_up = [
        many.specifier(_specifier_name(tier), parted.many, SOCKETS_SUFFIX)
        for tier, parted in lists.items()
        if parted.many
    ]
    # Behind an entry, that has asked for the host already.
    is_any = table.behind_entry or not table.domains
    return {
        "name": ROUTES_NAME,
        **({"cluster_specifier_plugins": looked_up} if looked_up else {}),
        "ignore_port_in_host_matching": True,
        "virtual_hosts": tiers.hosts(
            table, ("*",) if is_any else tuple(dict.fromkeys((*table.domains, *LOOPBACK_DOMAINS))), found
        ),
        **(behind.HEADERS if table.behind_entry else CLIENT_HEADERS),
    }


def _specifier_name(tier: str) -> str:
    return f"paths~{tier}" if tier else "paths"


def _routes(table: RouteTable, parted: many.Parted, decision: str, specifier: str) -> list[JsonObject]:
    def deed(kind: Kind, service: ServiceRoutes, hedge_after_ms: float | None) -> JsonObject:
        done = _deed(kind, service, None if table.behind_entry else hedge_after_ms, table.behind_entry)
        if not service.is_asleep:
            return done
        return done | {
            "typed_per_filter_config": done.get("typed_per_filter_config", {}) | sleep.asks(table.region, service)
        }

    def deed_of_many(kind: Kind, service: ServiceRoutes, hedge_after_ms: float | None) -> JsonObject:
        done = deed(kind, service, hedge_after_ms)
        return done | {"route": many.looked_up(done["route"], specifier)}

    found = routes(parted, decision, deed, deed_of_many)
    return [behind.ping(table.region), *found] if table.behind_entry else found


def _deed(kind: Kind, service: ServiceRoutes, hedge_after_ms: float | None, behind_entry: bool) -> JsonObject:
    # A release that dies as a whole takes all of the first priority with it: the next try goes to the one before.
    has_priorities = any(e.state is EndpointState.WARM for e in service.endpoints)

    def retries(retry_on: str, replays: int) -> JsonObject:
        return retry_policy(retry_on, replays=replays, redraws=REDRAWS, has_priorities=has_priorities)

    action: JsonObject
    match kind:
        case Kind.SOCKET:
            action = {
                "cluster": service.service + SOCKETS_SUFFIX,
                "timeout": "0s",
                "idle_timeout": "0s",
                "upgrade_configs": [{"upgrade_type": "websocket"}],
                "retry_policy": retries(NEVER_SENT, 2),
            }
        case Kind.IDEMPOTENT:
            # Behind an entry, what was sent is the entry's to repeat: it alone counts the calls.
            retry = retries(NEVER_SENT, 2) if behind_entry else retries("connect-failure,refused-stream,reset", 1)
            action = {"cluster": service.service, **_timeouts(service), "retry_policy": retry}
            if hedge_after_ms is not None:
                retry["per_try_timeout"] = seconds(hedge_after_ms / 1000)
                action["hedge_policy"] = {"hedge_on_per_try_timeout": True}
        case Kind.OTHER:
            action = {"cluster": service.service, **_timeouts(service), "retry_policy": retries(NEVER_SENT, 2)}
        case _:
            assert_never(kind)
    # The name tells services of one host apart: a cookie of the same name would be overwritten by the other.
    cookie = sticky(f"{INSTANCE_COOKIE}-{service.service}") if service.is_sticky else {}
    return {"route": action, **cookie}


def _timeouts(service: ServiceRoutes) -> JsonObject:
    """A silence as long as `timeout_s` ends a request; one that goes on talking (a download,
    an event stream) may last."""
    return {"timeout": "0s", "idle_timeout": seconds(service.silence_s)}
