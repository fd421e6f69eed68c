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

from collections.abc import Sequence
from dataclasses import dataclass

from tenfold.model import LOOPBACK, Endpoint, EndpointState, RouteTable, ServiceRoutes
from tenfold.render.envoy_listener import EXTENSIONS, ROUTES_NAME, JsonObject, listener

CLUSTER_TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINT_TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER_TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTE_TYPE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

SOCKETS_SUFFIX = "~ws"

IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
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


def gateway(table: RouteTable, *, port: int, access_log: str, decision: str = "") -> GatewayConfig:
    """What `table` means to the gateway that listens on loopback `port` and logs requests to the file `access_log`.

    `decision` is the id of the one that published it: with a request's log line, it tells why it was routed so.
    """
    clusters: list[JsonObject] = []
    endpoints: list[JsonObject] = []
    for service in table.services:
        for name, requests_max in ((service.service, REQUESTS_MAX), (service.service + SOCKETS_SUFFIX, SOCKETS_MAX)):
            clusters.append(_cluster(name, requests_max))
            endpoints.append(_assignment(name, table.region, service.endpoints))
    return GatewayConfig(
        clusters=tuple(clusters),
        endpoints=tuple(endpoints),
        listeners=(listener(port, access_log),),
        routes=(_route_configuration(table, decision),),
    )


def bootstrap(
    region: str, *, control_socket: str, admin_socket: str, connections_max: int, memory_bytes_max: int
) -> JsonObject:
    """What Envoy is started with: where its control plane listens, where its admin page is, and how much it may hold.

    `connections_max` bounds clients' connections, `memory_bytes_max` Envoy's heap: at 90% it gives memory back, at 98%
    it turns requests away.
    """
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
            "stats_matcher": {"inclusion_list": {"patterns": [{"safe_regex": {"regex": p}} for p in KEPT_STATS]}}
        },
        "overload_manager": _overload_manager(connections_max, memory_bytes_max),
    }


KEPT_STATS = (
    r"cluster\.[^.]+\.(upstream_rq_total|upstream_rq_retry|upstream_rq_5xx|upstream_rq_time)",
    r"cluster\.[^.]+\.(upstream_cx_none_healthy|upstream_rq_pending_overflow)",
    r"http\.edge\.rds\.routes\.version_text",
    r"control_plane\.connected_state",
    r"server\.uptime",
)
"""The only statistics Envoy keeps; each is read by `drivers.envoy`."""


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
                "common_http_protocol_options": {"idle_timeout": _seconds(IDLE_UPSTREAM_S)},
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
    """Three lists of routes, each from the longest prefix to the shortest: sockets, idempotent requests, all others.

    A route is named `<decision> <prefix>`: of all that a log line can tell, a route's name costs the least.
    """
    paths = sorted(((p, s) for s in table.services for p in s.paths), key=lambda x: (-len(x[0]), x[0]))
    routes = [
        *(() if table.services else (_NOTHING_YET,)),
        *(_socket_route(path, service) for path, service in paths),
        *_idempotent_routes(table),
        *(_other_route(path, service) for path, service in paths),
    ]
    host: JsonObject = {
        "name": "app",
        "domains": list(dict.fromkeys((*table.domains, *LOOPBACK_DOMAINS))) if table.domains else ["*"],
        "routes": [route | {"name": f"{decision} {route['name']}".strip()} for route in routes],
    }
    return {
        "name": ROUTES_NAME,
        "ignore_port_in_host_matching": True,
        "virtual_hosts": [host],
        # What a client says of itself is not passed on as if the edge had said it.
        "request_headers_to_remove": [
            "forwarded",
            "x-real-ip",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-prefix",
        ],
        "request_headers_to_add": [
            {
                "header": {"key": "x-forwarded-for", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }


_NOTHING_YET: JsonObject = {
    "name": "/",
    "match": {"prefix": "/"},
    "direct_response": {
        "status": 503,
        "body": {"inline_string": "Nothing is running here yet; try again in a few seconds.\n"},
    },
    "response_headers_to_add": [{"header": {"key": "retry-after", "value": "2"}}],
}


def _idempotent_routes(table: RouteTable) -> list[JsonObject]:
    """One per path and per rule, longest first.

    A rule counts only where no other service's path is nearer. One for a service's own path is for that very page,
    since everything else below it has the service's default.
    """
    owners = [(p, s.service) for s in table.services for p in s.paths]
    hedged = [(path, False, service, service.hedge_after_ms) for service in table.services for path in service.paths]
    for service in table.services:
        for rule in {rule.prefix: rule for rule in service.rules}.values():
            above = [(len(p), owner) for p, owner in owners if _covers(p, rule.prefix)]
            if above and max(above)[1] == service.service:
                hedged.append((rule.prefix, rule.prefix in service.paths, service, rule.hedge_after_ms))
    hedged.sort(key=lambda x: (-len(x[0]), not x[1], x[0]))
    return [_idempotent_route(*entry) for entry in hedged]


def _covers(path: str, prefix: str) -> bool:
    return prefix == path or prefix.startswith(path if path.endswith("/") else path + "/")


def _match(path: str, *headers: JsonObject) -> JsonObject:
    key = "prefix" if path.endswith("/") else "path_separated_prefix"
    return {key: path, **({"headers": list(headers)} if headers else {})}


def _socket_route(path: str, service: ServiceRoutes) -> JsonObject:
    return {
        "name": path,
        "match": _match(
            path,
            {"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}},
            {"name": "connection", "string_match": {"contains": "upgrade", "ignore_case": True}},
        ),
        "route": {
            "cluster": service.service + SOCKETS_SUFFIX,
            "timeout": "0s",
            "idle_timeout": "0s",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "retry_policy": _retry_policy(service, "connect-failure,refused-stream,reset-before-request", replays=2),
        },
    }


def _idempotent_route(path: str, is_page: bool, service: ServiceRoutes, hedge_after_ms: float | None) -> JsonObject:
    retry = _retry_policy(service, "connect-failure,refused-stream,reset", replays=1)
    action: JsonObject = {"cluster": service.service, **_timeouts(service), "retry_policy": retry}
    if hedge_after_ms is not None:
        retry["per_try_timeout"] = _seconds(hedge_after_ms / 1000)
        action["hedge_policy"] = {"hedge_on_per_try_timeout": True}
    method = {"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(IDEMPOTENT_METHODS)}}}
    match = {"path": path, "headers": [method]} if is_page else _match(path, method)
    return {"name": path, "match": match, "route": action}


def _other_route(path: str, service: ServiceRoutes) -> JsonObject:
    retry = _retry_policy(service, "connect-failure,refused-stream,reset-before-request", replays=2)
    return {
        "name": path,
        "match": _match(path),
        "route": {"cluster": service.service, **_timeouts(service), "retry_policy": retry},
    }


def _timeouts(service: ServiceRoutes) -> JsonObject:
    """A silence as long as `timeout_s` ends a request; one that goes on talking (a download,
    an event stream) may last."""
    return {"timeout": "0s", "idle_timeout": _seconds(service.timeout_s)}


def _retry_policy(service: ServiceRoutes, retry_on: str, replays: int) -> JsonObject:
    policy: JsonObject = {
        "retry_on": retry_on,
        "num_retries": replays,
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
        "host_selection_retry_max_attempts": REDRAWS,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"{EXTENSIONS}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
    }
    if any(e.state is EndpointState.WARM for e in service.endpoints):
        # A release that dies as a whole takes all of the first priority with it: the next try goes to the one before.
        policy["retry_priority"] = {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": f"{EXTENSIONS}.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        }
    return policy


def _seconds(seconds: float) -> str:
    """A protobuf duration in text: at most six digits after the point."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"
