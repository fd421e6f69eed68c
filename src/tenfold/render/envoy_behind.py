"""What a region's gateway has beside its services when the global entry stands before it. A part of what `render.envoy` makes
of a RouteTable.

- The entry alone talks to it and is believed: it has already met the client, so that paths, names and ids are as they should
  be, and nothing is checked twice.
- It answers PING_PATH itself, which tells that this region's edge is alive and how far away it is.
- On a unix socket of its own it is asked for the way to other regions: `GET /<region>` goes to that region's PING_PATH and
  comes back with TOOK_HEADER.
- Apps reach their stores through it, at ports of the region's loopback that never change. Each store's filter chain bears the
  address of the primary, so that a new primary replaces the chain, and with it go (after Envoy's drain time) the connections
  of the old one: Envoy leaves those of an endpoint that is taken away to themselves.
- Where nothing else emulates the distance between regions, fault filters do. Each has a runtime key of its own, so that a
  drill can change one through the admin socket.
"""

from collections.abc import Mapping, Sequence

from tenfold.model import LOOPBACK, RouteTable, StoreEnd
from tenfold.render import envoy_sleep as sleep
from tenfold.render.envoy_listener import (
    ACCESS_LOG_FIELDS,
    EXTENSIONS,
    RDS,
    REPLIES,
    JsonObject,
    file_access_log,
    filter_chain,
    reply,
)
from tenfold.render.envoy_listener import (
    manager as http_manager,
)
from tenfold.render.envoy_routes import STICKY_HTTP_FILTER, seconds

PING_PATH = "/.tenfold/ping"
ORIGIN_HEADER = "x-tenfold-origin"
"""The region a client is nearest to, told by the entry to gateways and apps. A client's own word is removed."""

UNSERVED_HEADER = "x-tenfold-unserved"
"""With an answer of the gateway's own: NEVER_SENT when no instance was asked, or MAYBE_SENT. The entry then asks elsewhere."""

NEVER_SENT = "never-sent"
MAYBE_SENT = "maybe-sent"

TOOK_HEADER = "x-tenfold-took-us"
"""With the answer to a probe: how long the way there and back took, in microseconds."""

PROBE_PREFIX = "probe~"
STORE_PREFIX = "store~"
DELAY_KEY_PREFIX = "tenfold.delay_ms."
"""Followed by the origin: the runtime key of its delay, in whole milliseconds."""

DELAY_MS_MIN = 1.0
"""What Envoy takes for a delay at the least; a runtime key of 0 turns it off."""

PROBE_S = 1.0
CONNECT_S = 1.0
AWAY_CHECK_S = 0.25
"""How often a store that does not answer is asked whether it does again, seconds."""

IDLE_ENTRY_S = 60.0
"""A connection from the entry that is idle is closed after this, seconds. The entry closes its own sooner, so that it never
sends into one that is being closed."""

HEADERS_KB_MAX = 40
"""More than the entry lets through, for what the entry adds."""
HEADERS_MAX = 120

BEHIND_LOG_FIELDS = {key: value for key, value in ACCESS_LOG_FIELDS.items() if key != "out"} | {
    "origin": f"%REQ({ORIGIN_HEADER.upper()})%"
}
"""One line of the access log of a gateway behind an entry: how much went out is told by the entry's."""

STORE_CHECK = {
    # A postmaster answers an SSLRequest (protocol 3.0, section "SSL Session Encryption") with one byte before it knows who
    # asks: N, since the embedded one has no TLS. That proves it can still start a backend; without any answer named, a
    # connection would do, which the kernel makes for one that is frozen. When it then ends, nothing is logged.
    "postgres": ("0000000804d2162f", ("4e",)),
    # A +PONG or an -ERR: either is an answer, and each ends so.
    "valkey": ("50494e470d0a", ("0d0a",)),
}
"""By kind of store: what is sent to see whether it answers, and what must be in the answer, in hexadecimal."""


def manager(access_log: str, delays: Mapping[str, float], wakes: Sequence[JsonObject] = ()) -> JsonObject:
    """HTTP with the entry. `wakes` is the filter for services that sleep, where one may."""
    log = file_access_log(access_log, BEHIND_LOG_FIELDS)
    ping = {"name": ":path", "string_match": {"exact": PING_PATH}, "invert_match": True}
    return http_manager("edge", [*_delay_filters(delays), *wakes, STICKY_HTTP_FILTER]) | {
        "codec_type": "HTTP1",
        "rds": RDS,
        # The entry tells who the client is, and the request's id.
        "use_remote_address": False,
        "skip_xff_append": True,
        "generate_request_id": False,
        "max_request_headers_kb": HEADERS_KB_MAX,
        "common_http_protocol_options": {"idle_timeout": seconds(IDLE_ENTRY_S), "max_headers_count": HEADERS_MAX},
        "stream_idle_timeout": "60s",
        "local_reply_config": {
            "mappers": [
                reply(flags, retry_after, text, ((UNSERVED_HEADER, told),) if (told := _unserved(flags)) else ())
                for flags, retry_after, text in REPLIES
            ]
            + (sleep.replies(((UNSERVED_HEADER, NEVER_SENT),)) if wakes else [])
        },
        "access_log": [log | {"filter": {"header_filter": {"header": ping}}}],
    }


def _unserved(flags: tuple[str, ...]) -> str:
    """What the entry is told; nothing where asking elsewhere would help nobody."""
    if {"UH", "UO", "OM", "UF"} & set(flags):
        return NEVER_SENT
    return MAYBE_SENT if {"UC", "UR", "LR"} & set(flags) else ""


def _delay_filters(delays: Mapping[str, float]) -> list[JsonObject]:
    return [
        {
            "name": f"delay-{origin}",
            "typed_config": {
                "@type": f"{EXTENSIONS}.filters.http.fault.v3.HTTPFault",
                "delay": {
                    "fixed_delay": seconds(max(DELAY_MS_MIN, delay_ms) / 1000),
                    "percentage": {"numerator": 100},
                },
                "delay_duration_runtime": DELAY_KEY_PREFIX + origin,
                "headers": [{"name": ORIGIN_HEADER, "string_match": {"exact": origin}}],
            },
        }
        for origin, delay_ms in sorted(delays.items())
    ]


def ping(region: str) -> JsonObject:
    """The route that answers PING_PATH."""
    return {
        "name": "ping",
        "match": {"path": PING_PATH},
        "direct_response": {"status": 200, "body": {"inline_string": region + "\n"}},
    }


# It is for gateways to say, not for apps.
HEADERS: JsonObject = {"response_headers_to_remove": [UNSERVED_HEADER]}
"""What becomes of headers; the entry has met the client."""


def clusters(table: RouteTable, store_ports: Mapping[str, int]) -> list[JsonObject]:
    """The other gateways, and the stores."""
    probes = [
        {
            "name": PROBE_PREFIX + end.region,
            **_EDS,
            "connect_timeout": seconds(CONNECT_S),
            "typed_extension_protocol_options": http1(IDLE_ENTRY_S / 2),
            "upstream_connection_options": {"tcp_keepalive": _KEEP_ALIVE},
        }
        for end in table.gateways
    ]
    return probes + [_store_cluster(kind) for kind in sorted(store_ports)]


def _store_cluster(kind: str) -> JsonObject:
    send, receive = STORE_CHECK[kind]
    return {
        "name": STORE_PREFIX + kind,
        **_EDS,
        "connect_timeout": seconds(CONNECT_S),
        # A new primary that answered its first check is there now, not within the next second.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "ignore_health_on_host_removal": True,
        "upstream_connection_options": {"tcp_keepalive": _KEEP_ALIVE},
        "circuit_breakers": {"thresholds": [{"max_connections": 10_000, "max_pending_requests": 10_000}]},
        # A primary that hangs, or that the network hides, holds nobody's connection: better an error that can be tried again.
        "close_connections_on_host_health_failure": True,
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "1s",
                "no_traffic_healthy_interval": "1s",
                # Apps wait for one that does not answer yet; one that answered gets as long as ever before it is given up.
                "no_traffic_interval": seconds(AWAY_CHECK_S),
                "unhealthy_interval": seconds(AWAY_CHECK_S),
                "unhealthy_edge_interval": "1s",
                "unhealthy_threshold": 3,
                "healthy_threshold": 1,
                # PostgreSQL takes an SSLRequest once per connection.
                "reuse_connection": False,
                "tcp_health_check": {"send": {"text": send}, "receive": [{"text": text} for text in receive]},
            }
        ],
    }


def endpoints(table: RouteTable, store_ports: Mapping[str, int]) -> list[JsonObject]:
    """Where they are now. A store without a primary has no endpoint."""
    probes = [_assignment(PROBE_PREFIX + end.region, end.host, end.port) for end in table.gateways]
    stores = {end.kind: end for end in table.stores}
    return probes + [
        _assignment(STORE_PREFIX + kind, stores[kind].host, stores[kind].port)
        if kind in stores
        else {"cluster_name": STORE_PREFIX + kind, "endpoints": []}
        for kind in sorted(store_ports)
    ]


def listeners(table: RouteTable, store_ports: Mapping[str, int], probe_socket: str | None) -> list[JsonObject]:
    """Those for the stores and for probes."""
    stores = {end.kind: end for end in table.stores}
    found = [_store_listener(kind, port, stores.get(kind)) for kind, port in sorted(store_ports.items())]
    return found + ([] if probe_socket is None else [_probe_listener(table, probe_socket)])


def _store_listener(kind: str, port: int, primary: StoreEnd | None) -> JsonObject:
    proxy = {
        "@type": f"{EXTENSIONS}.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": STORE_PREFIX + kind,
        "cluster": STORE_PREFIX + kind,
        # Pools of apps keep connections for as long as they like.
        "idle_timeout": "0s",
    }
    return {
        "name": STORE_PREFIX + kind,
        "address": {"socket_address": {"address": LOOPBACK, "port_value": port}},
        "enable_reuse_port": False,
        "connection_balance_config": {"exact_balance": {}},
        # Clients' connections are bounded so that the edge stays alive; those of the apps are bounded by the stores.
        "ignore_global_conn_limit": True,
        "filter_chains": [
            {
                "name": "none" if primary is None else f"{primary.host}:{primary.port}",
                "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}],
            }
        ],
    }


def _probe_listener(table: RouteTable, socket: str) -> JsonObject:
    routes = [
        {
            "match": {"path": f"/{end.region}"},
            "route": {"cluster": PROBE_PREFIX + end.region, "prefix_rewrite": PING_PATH, "timeout": seconds(PROBE_S)},
        }
        for end in table.gateways
    ]
    answered = {"key": TOOK_HEADER, "value": "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%"}
    asked = {"key": ORIGIN_HEADER, "value": table.region}
    probes = http_manager("probes", ()) | {
        "codec_type": "HTTP1",
        "route_config": {
            "name": "probes",
            "virtual_hosts": [{"name": "probes", "domains": ["*"], "routes": routes}],
            "request_headers_to_add": [{"header": asked, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
            "response_headers_to_add": [{"header": answered, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        },
    }
    return {
        "name": "probes",
        "address": {"pipe": {"path": socket, "mode": 0o600}},
        "ignore_global_conn_limit": True,
        "filter_chains": [filter_chain(probes)],
    }


def http1(idle_s: float) -> JsonObject:
    """HTTP/1.1 with what is upstream, over connections that we close once they were idle for so long."""
    return {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": {"idle_timeout": seconds(idle_s)},
            "explicit_http_config": {"http_protocol_options": {}},
        }
    }


def _assignment(cluster: str, host: str, port: int) -> JsonObject:
    address = {"socket_address": {"address": host, "port_value": port}}
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}


_EDS: JsonObject = {
    "type": "EDS",
    "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}},
}

_KEEP_ALIVE = {"keepalive_time": 10, "keepalive_interval": 5, "keepalive_probes": 3}
"""Seconds, seconds, and how many may stay without an answer: a peer that vanished is known after 25 s."""
