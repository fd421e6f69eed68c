"""The EntryTable becomes the resources of the global entry's Envoy. Between the deciders' table and `drivers.envoy`, which sends
them.

Why it is shaped so (figures were measured; see docs/edge.md):

- A pool per way: `from~<origin>`, or `from~<origin>~<residency>`. Its endpoints are the regions' gateways. Those with a share
  are of the first priority, in turn by weight, so that shares are exact; each spare is of a later priority of its own. A share
  whose region is lost goes to the next spare at once, in proportion to its weight. All that changes with a way is endpoints.
- A pool of a residency knows the gateways of that residency only: whatever fails, nothing of it is served elsewhere.
- Idempotent requests are asked again in another region when they failed or are late, once: a page that is honestly slow costs
  the apps two calls in all, since gateways behind an entry neither hedge nor repeat what was sent. All others are asked again
  only if they were never sent. What an app itself answered is the answer.
- Which pool a request takes is looked up in a matcher tree after its route is found, so that the number of routes does not
  grow with origins or residencies.
- HTTP/1.1 to the gateways: a lost packet holds up one request, not all that share a connection.
- When every region looks dead, requests still flow (panic threshold 1%): checks can be wrong, a certain 503 can't be right.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import assert_never

from tenfold.model import EntryTable, GatewayEnd, ServiceRoutes, Way
from tenfold.render import envoy_place as place
from tenfold.render.envoy import (
    LOOPBACK_DOMAINS,
    NEVER_SENT,
    SOCKETS_MAX,
    SOCKETS_SUFFIX,
    GatewayConfig,
)
from tenfold.render.envoy_behind import IDLE_ENTRY_S, ORIGIN_HEADER, PING_PATH, UNSERVED_HEADER, http1
from tenfold.render.envoy_behind import NEVER_SENT as TOLD_NEVER_SENT
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
    reply,
)
from tenfold.render.envoy_many import part
from tenfold.render.envoy_place import PLACE_HEADER
from tenfold.render.envoy_pools import has_choice, origin_of, placed, pool_of, specifier_name, specifiers
from tenfold.render.envoy_routes import STICKY_HTTP_FILTER, Kind, retry_policy, routes, seconds, sticky

__all__ = ["ORIGIN_HEADER", "PLACE_HEADER", "origin_of", "pool_of"]

REGION_COOKIE = "tenfold-region"
"""The region that answers a client of a sticky service."""

REQUESTS_MAX = 40_000
"""Requests under way or waiting in one pool, of all the regions."""

REPLAYS_MIN = 10_000
"""So many second tries may be under way in a pool. A region that is lost makes them of all that was under way there, at once: a
budget as that of a gateway (a quarter of the requests, 100 at least) failed 200 of 300. What bounds them is that each request has
one; and that the control plane stops hedging when every region is pressed."""

WEIGHT_PER_RATIO = 1000
REDRAWS = 1000
"""A second try draws so many times until it finds another region than the first: one with a hundredth of the traffic is missed
once in 20,000 times."""

CONNECT_S = 0.6
"""Twice the longest round trip on earth (300 ms), so that a lost region is known before the client despairs. A try that does not
connect was never sent."""

IDLE_S = IDLE_ENTRY_S / 2
CHECK_EVERY_S = 0.5
CHECK_TIMEOUT_S = 1.0
PANIC_PERCENT = 1.0

SILENCE_MORE_S = 5.0
"""A silence is the gateway's to end, who knows which instance was silent; the entry's limit is so much longer."""

ENTRY_LOG_FIELDS = {key: value for key, value in ACCESS_LOG_FIELDS.items() if key != "instance"} | {
    "region": ACCESS_LOG_FIELDS["instance"]
}
"""One line of the entry's access log: as a gateway's, with the `region` that answered in place of the instance. The origin is
told by the `pool`."""


def entry(
    table: EntryTable,
    *,
    port: int,
    access_log: str,
    decision: str = "",
    sources: Mapping[str, str] = MappingProxyType({}),
) -> GatewayConfig:
    """What `table` means to the entry that listens on loopback `port` and logs requests to the file `access_log`.

    `decision` is the id of the one that published it. To gateways it speaks for clients near `origin` from the address
    `sources[origin]`, where one is given.
    """
    clusters: list[JsonObject] = []
    endpoints: list[JsonObject] = []
    for way in _ways(table):
        for suffix, requests_max in (("", REQUESTS_MAX), (SOCKETS_SUFFIX, SOCKETS_MAX)):
            name = pool_of(way.origin, way.residency) + suffix
            clusters.append(_cluster(name, way, requests_max, sources.get(way.origin)))
            endpoints.append({"cluster_name": name, "endpoints": _priorities(way, table), "policy": _POLICY})
    return GatewayConfig(
        clusters=tuple(clusters),
        endpoints=tuple(endpoints),
        listeners=(_listener(table, port, access_log),),
        routes=(_route_configuration(table, decision),),
    )


def _ways(table: EntryTable) -> list[Way]:
    """One for each origin that a request can have and each residency, first of all that of home."""
    known = {(way.origin, way.residency): way for way in table.ways}
    origins = dict.fromkeys((table.home, *placed(table)))
    residencies = ("", *(rule.name for rule in table.residency))
    return [known.get((o, r)) or Way(o, r, ()) for r in residencies for o in origins]


def _cluster(name: str, way: Way, requests_max: int, source: str | None) -> JsonObject:
    threshold: JsonObject = {
        "max_connections": requests_max,
        "max_pending_requests": requests_max,
        "max_requests": requests_max,
        "retry_budget": {"budget_percent": {"value": 100}, "min_retry_concurrency": REPLAYS_MIN},
    }
    whose = f"This request must be served in {way.residency}, and no region there" if way.residency else "No region"
    cluster: JsonObject = {
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}},
        "metadata": {"filter_metadata": {"tenfold": {"whose": whose, "origin": way.origin}}},
        "connect_timeout": seconds(CONNECT_S),
        "per_connection_buffer_limit_bytes": 65536,
        "load_balancing_policy": {
            "policies": [
                {
                    "typed_extension_config": {
                        "name": "envoy.load_balancing_policies.round_robin",
                        "typed_config": {"@type": f"{EXTENSIONS}.load_balancing_policies.round_robin.v3.RoundRobin"},
                    }
                }
            ]
        },
        "common_lb_config": {
            "healthy_panic_threshold": {"value": PANIC_PERCENT},
            # A change of weights or health counts now, not within the next second.
            "update_merge_window": "0s",
            "ignore_new_hosts_until_first_hc": True,
        },
        "health_checks": [_health_check(way.origin)],
        # What is still asked of a region that hangs fails at once, and is asked elsewhere.
        "close_connections_on_host_health_failure": True,
        # Which regions there are is for the control plane to say.
        "ignore_health_on_host_removal": True,
        "outlier_detection": _OUTLIERS,
        "circuit_breakers": {"thresholds": [threshold]},
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_time": 10, "keepalive_interval": 5, "keepalive_probes": 3}
        },
        "typed_extension_protocol_options": http1(IDLE_S),
    }
    if source is not None:
        cluster["upstream_bind_config"] = {"source_address": {"address": source, "port_value": 0}}
    return cluster


def _health_check(origin: str) -> JsonObject:
    """It goes the way that requests go, and takes as long."""
    return {
        "timeout": seconds(CHECK_TIMEOUT_S),
        "interval": seconds(CHECK_EVERY_S),
        "no_traffic_interval": seconds(CHECK_EVERY_S),
        "unhealthy_threshold": 2,
        "healthy_threshold": 2,
        "http_health_check": {
            "path": PING_PATH,
            "request_headers_to_add": [{"header": {"key": ORIGIN_HEADER, "value": origin}}],
        },
    }


_OUTLIERS: JsonObject = {
    "interval": "1s",
    "base_ejection_time": "5s",
    "max_ejection_time": "10s",
    "max_ejection_percent": 34,
    "always_eject_one_host": True,
    # Late and refused tries are dealt with by other tries, by the checks, and by the control plane.
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
"""Only a region that answers 5xx to nearly everything is passed over, and never more than one of three."""

_POLICY: JsonObject = {
    # A priority takes what the weights of its well regions are worth, no more: the rest goes to the next priority, which is
    # the nearest spare, rather than onto those whose shares were measured out.
    "overprovisioning_factor": 100,
    "weighted_priority_health": True,
}


def _priorities(way: Way, table: EntryTable) -> list[JsonObject]:
    """Shares first, then one spare after the other, and the others that may serve as the last resort of all."""
    ends = {end.region: end for end in table.gateways}
    weights = {s.region: max(1, round(s.ratio * WEIGHT_PER_RATIO)) for s in way.shares if s.ratio > 0}
    if not weights:
        return []
    spares = [*way.spares, *(s.region for s in way.shares)]
    may_serve = [region for region in ends if not way.residency or region in _residents(table, way.residency)]
    rest = [region for region in may_serve if region not in weights and region not in spares]
    groups = [
        weights,
        *({region: 1} for region in dict.fromkeys(spares) if region not in weights),
        dict.fromkeys(rest, 1),
    ]
    known = [
        [_endpoint(ends[region], weight) for region, weight in group.items() if region in ends] for group in groups
    ]
    # Priorities are counted without gaps.
    return [{"priority": at, "lb_endpoints": found} for at, found in enumerate(found for found in known if found)]


def _residents(table: EntryTable, residency: str) -> set[str]:
    """The regions that some way of this residency leads to: nothing else in the table says who belongs to it."""
    ways = [way for way in table.ways if way.residency == residency]
    return {region for way in ways for region in (*(s.region for s in way.shares), *way.spares)}


def _endpoint(end: GatewayEnd, weight: int) -> JsonObject:
    return {
        "endpoint": {
            "address": {"socket_address": {"address": end.host, "port_value": end.port}},
            "hostname": end.region,
        },
        "load_balancing_weight": weight,
    }


def _listener(table: EntryTable, port: int, access_log: str) -> JsonObject:
    """One filter chain for senders who are trusted, one for all others."""
    log = [file_access_log(access_log, ENTRY_LOG_FIELDS)]

    def manager(is_trusted: bool) -> JsonObject:
        return edge_manager(log, [*place.filters(table, is_trusted), STICKY_HTTP_FILTER]) | {
            "local_reply_config": {"mappers": [reply(*r) for r in _REPLIES]},
            **({} if is_trusted or not table.trust else {"early_header_mutation_extensions": [_WITHOUT_PLACE]}),
            # The last address of x-forwarded-for is what the sender itself saw.
            **({"xff_num_trusted_hops": 1} if is_trusted else {}),
        }

    chains = [filter_chain(manager(is_trusted=False))]
    if ranges := _ranges(table.trust):
        trusted = {"name": "trusted", "filter_chain_match": {"direct_source_prefix_ranges": ranges}}
        chains.insert(0, filter_chain(manager(is_trusted=True)) | trusted)
    return listener(port, chains)


_WITHOUT_PLACE: JsonObject = {
    "name": "envoy.http.early_header_mutation.header_mutation",
    "typed_config": {
        "@type": f"{EXTENSIONS}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        "mutations": [{"remove": PLACE_HEADER}],
    },
}
"""Takes a place away before anything is made of it: from those who are not trusted, where others are."""


def _ranges(trust: Sequence[str]) -> list[JsonObject]:
    """CIDR blocks in Envoy's words; each address once, or Envoy would not know which chain is meant."""
    networks = [ipaddress.ip_network(block, strict=False) for block in trust]
    found: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = [
        *ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv4Network)),
        *ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv6Network)),
    ]
    return [{"address_prefix": str(n.network_address), "prefix_len": n.prefixlen} for n in found]


_WHOSE = "%METADATA(CLUSTER:tenfold:whose)%"

_REPLIES = (
    (("NR", "NC"), None, "Nothing is served at this host and path."),
    (("UH",), "2", f"{_WHOSE} can serve now; try again in a few seconds."),
    (("UO",), "2", f"{_WHOSE} has room for more requests; try again in a few seconds."),
    (("OM",), "5", "The edge is out of memory for more requests; try again in a few seconds."),
    (
        ("SI", "UT", "UMSDR", "DT"),
        None,
        f"{_WHOSE} answered in time; the request may or may not have been carried out.",
    ),
    (
        ("UC", "UR", "LR"),
        "2",
        f"{_WHOSE} answered to the end; the request may or may not have been carried out.",
    ),
    (
        ("UF",),
        "2",
        f"{_WHOSE} could be reached, so the request was not carried out; try again in a few seconds.",
    ),
    (("UPE",), None, "The service's answer was not valid HTTP."),
    (("DPE",), None, "The request was not valid HTTP."),
)
"""What a client is told when no gateway could answer: as a gateway tells of its instances."""


def _route_configuration(table: EntryTable, decision: str) -> JsonObject:
    """A host for the app's domains, and one for those of each residency."""
    of_rules = {domain: rule.name for rule in table.residency for domain in rule.domains}
    own = (
        [d for d in dict.fromkeys((*table.domains, *LOOPBACK_DOMAINS)) if d not in of_rules] if table.domains else ["*"]
    )
    hosts = {"": own} | {rule.name: [d for d, of in of_rules.items() if of == rule.name] for rule in table.residency}
    hosts = {residency: domains for residency, domains in hosts.items() if domains}
    removed = [ORIGIN_HEADER, place.COUNTRY_HEADER, UNSERVED_HEADER, *(() if table.trust else (PLACE_HEADER,))]
    if is_by_place := place.decides(table):
        value, action = "%METADATA(CLUSTER:tenfold:origin)%", "OVERWRITE_IF_EXISTS_OR_ADD"
    else:
        value, action = table.home, "ADD_IF_ABSENT"
    origin = {"header": {"key": ORIGIN_HEADER, "value": value}, "append_action": action}
    return {
        "name": ROUTES_NAME,
        "ignore_port_in_host_matching": True,
        "cluster_specifier_plugins": specifiers(table, list(hosts)),
        "virtual_hosts": [_host(table, decision, residency, domains) for residency, domains in hosts.items()],
        # Taken away when a request comes in, before a route is looked for: what only we may say, and what a client says of
        # itself as if an edge had said it.
        "internal_only_headers": [*removed, *CLIENT_HEADERS["request_headers_to_remove"]],
        **({"request_headers_to_remove": [PLACE_HEADER]} if is_by_place else {}),
        "request_headers_to_add": [*CLIENT_HEADERS["request_headers_to_add"], origin],
        "response_headers_to_remove": [UNSERVED_HEADER],
    }


def _host(table: EntryTable, decision: str, residency: str, domains: Sequence[str]) -> JsonObject:
    def deed(kind: Kind, service: ServiceRoutes, hedge_after_ms: float | None) -> JsonObject:
        return _deed(table, kind, service, hedge_after_ms, residency)

    # Where a path leads is the gateways' to know.
    found = routes(part(table.services), decision, deed)
    if table.services:
        silence_s = max(service.silence_s for service in table.services) + SILENCE_MORE_S
        placing = _action(table, residency, "") | {"idle_timeout": seconds(silence_s)}
        found = place.routes(table, placing, _socket_action(table, residency)) + found
        if place.decides(table):
            found = place.placed(found) + found
    return {"name": residency or "app", "domains": list(domains), "routes": found}


def _action(table: EntryTable, residency: str, suffix: str) -> JsonObject:
    if has_choice(table):
        return {"cluster_specifier_plugin": specifier_name(residency, suffix), "timeout": "0s"}
    return {"cluster": pool_of(table.home, residency) + suffix, "timeout": "0s"}


def _socket_action(table: EntryTable, residency: str) -> JsonObject:
    upgrades = [{"upgrade_type": "websocket"}]
    return _action(table, residency, SOCKETS_SUFFIX) | {"idle_timeout": "0s", "upgrade_configs": upgrades}


def _deed(
    table: EntryTable, kind: Kind, service: ServiceRoutes, hedge_after_ms: float | None, residency: str
) -> JsonObject:
    never_sent = {"name": UNSERVED_HEADER, "string_match": {"exact": TOLD_NEVER_SENT}}
    unserved = {"name": UNSERVED_HEADER, "present_match": True}
    silence = {"idle_timeout": seconds(service.silence_s + SILENCE_MORE_S)}
    action: JsonObject
    match kind:
        case Kind.SOCKET:
            action = _socket_action(table, residency) | {"retry_policy": _retries(NEVER_SENT, 2, never_sent)}
        case Kind.IDEMPOTENT:
            retry = _retries("connect-failure,refused-stream,reset", 1, unserved)
            action = _action(table, residency, "") | silence | {"retry_policy": retry}
            if hedge_after_ms is not None:
                retry["per_try_timeout"] = seconds(hedge_after_ms / 1000)
                action["hedge_policy"] = {"hedge_on_per_try_timeout": True}
        case Kind.OTHER:
            action = _action(table, residency, "") | silence | {"retry_policy": _retries(NEVER_SENT, 2, never_sent)}
        case _:
            assert_never(kind)
    return {"route": action, **(sticky(REGION_COOKIE) if service.is_sticky else {})}


def _retries(retry_on: str, replays: int, told: JsonObject) -> JsonObject:
    policy = retry_policy(f"{retry_on},retriable-headers", replays=replays, redraws=REDRAWS, has_priorities=True)
    return policy | {"retriable_headers": [told]}
