"""Envoy's listener: the edge's manners towards clients. A part of what `render.envoy` and `render.envoy_entry` make of their
tables, and the same for every table of a blueprint.

It stays the same because Envoy closes clients' connections when it changes:
whatever changes with a table stands in the routes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.model import LOOPBACK

JsonObject = dict[str, Any]
"""What `json` can write: the text form of an Envoy message."""

EXTENSIONS = "type.googleapis.com/envoy.extensions"
LISTENER_NAME = "edge"
ROUTES_NAME = "routes"


_KEEP_ALIVE = ((1, 9, 1), (6, 4, 60), (6, 5, 15), (6, 6, 4))
"""SO_KEEPALIVE on, TCP_KEEPIDLE 60 s, TCP_KEEPINTVL 15 s, TCP_KEEPCNT 4: level, name and value on Linux."""


def listener(port: int, filter_chains: Sequence[JsonObject], host: str = LOOPBACK) -> JsonObject:
    """The listener on `host` and `port`."""
    return {
        "name": LISTENER_NAME,
        "address": {"socket_address": {"address": host, "port_value": port}},
        "per_connection_buffer_limit_bytes": 65536,
        # Without SO_REUSEPORT a port that is taken is an error, not half of another program's traffic. Connections
        # are then dealt out evenly by hand.
        "enable_reuse_port": False,
        "connection_balance_config": {"exact_balance": {}},
        # A client that vanished without a word holds its socket for two minutes, not for ever.
        "socket_options": [
            {"level": level, "name": name, "int_value": value, "state": "STATE_LISTENING"}
            for level, name, value in _KEEP_ALIVE
        ],
        "filter_chains": list(filter_chains),
    }


def filter_chain(manager: JsonObject) -> JsonObject:
    """A connection that speaks HTTP."""
    return {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}


def manager(stat_prefix: str, filters: Sequence[JsonObject]) -> JsonObject:
    """HTTP with these filters before the router, and nothing else said yet."""
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router", "suppress_envoy_headers": True},
    }
    return {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": stat_prefix,
        "server_name": "tenfold",
        "internal_address_config": {"unix_sockets": False},
        "http_filters": [*filters, router],
    }


RDS: JsonObject = {"route_config_name": ROUTES_NAME, "config_source": {"ads": {}, "resource_api_version": "V3"}}


def edge_manager(access_log: Sequence[JsonObject], filters: Sequence[JsonObject] = ()) -> JsonObject:
    """HTTP with clients: what is believed of them, what is let through, what is answered here, what is logged."""
    return manager("edge", filters) | {
        "codec_type": "AUTO",
        "rds": RDS,
        # The peer is the client; nobody before us is believed, on loopback neither.
        "use_remote_address": True,
        "skip_xff_append": True,
        "preserve_external_request_id": False,
        "always_set_request_id_in_response": True,
        "normalize_path": True,
        "merge_slashes": True,
        # An encoded slash is a slash to most apps: a rule for /a/b must not be passed by asking for /a%2Fb.
        "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
        "max_request_headers_kb": 32,
        "common_http_protocol_options": {
            "idle_timeout": "60s",
            "max_headers_count": 100,
            # WSGI apps can't tell x_forwarded_for from x-forwarded-for.
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "localhost"},
        "http2_protocol_options": {
            "allow_connect": True,
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65536,
            "initial_connection_window_size": 1048576,
        },
        # A client that dribbles: its headers must be here in 10 s, its whole request in 5 min.
        "request_headers_timeout": "10s",
        "request_timeout": "300s",
        "stream_idle_timeout": "60s",
        "local_reply_config": {"mappers": [reply(*r) for r in REPLIES]},
        "access_log": list(access_log),
    }


CLIENT_HEADERS: JsonObject = {
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
"""What whoever talks to clients does to their headers, for all routes."""


REPLIES = (
    (("NR", "NC"), None, "Nothing is served at this host and path."),
    (("UH",), "2", "No healthy instance of this service is running right now; try again in a few seconds."),
    (("UO",), "2", "This service has more requests than it can hold; try again in a few seconds."),
    (("OM",), "5", "The edge is out of memory for more requests; try again in a few seconds."),
    (
        ("SI", "UT", "UMSDR", "DT"),
        None,
        "The service did not answer in time; the request may or may not have been carried out.",
    ),
    (
        ("UC", "UR", "LR"),
        "2",
        "The instance ended before it answered; the request may or may not have been carried out.",
    ),
    (
        ("UF",),
        "2",
        "No instance of this service could be reached, so the request was not carried out; try again in a few seconds.",
    ),
    (("UPE",), None, "The service's answer was not valid HTTP."),
    (("DPE",), None, "The request was not valid HTTP."),
)
"""What a client is told when no instance could answer: response flags, `retry-after` in seconds, and the body."""


def reply(
    flags: Sequence[str], retry_after: str | None, text: str, headers: Sequence[tuple[str, str]] = ()
) -> JsonObject:
    """An answer of our own in place of the app's, where a request's response flags are any of these."""
    mapper: JsonObject = {
        "filter": {"response_flag_filter": {"flags": list(flags)}},
        "body_format_override": {
            "text_format_source": {"inline_string": text + "\n"},
            "content_type": "text/plain; charset=utf-8",
        },
    }
    added = [*((("retry-after", retry_after),) if retry_after is not None else ()), *headers]
    if added:
        mapper["headers_to_add"] = [{"header": {"key": key, "value": value}} for key, value in added]
    return mapper


METADATA = "tenfold"
PUBLISHED_KEY = "by"
"""Where an endpoint's metadata name the decision that published it; `drivers.envoy` adds that."""

ACCESS_LOG_FIELDS = {
    "at": "%START_TIME(%s.%6f)%",
    "id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH):512%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "why": "%RESPONSE_CODE_DETAILS%",
    "pool": "%UPSTREAM_CLUSTER%",
    "route": "%ROUTE_NAME%",
    "instance": "%UPSTREAM_HOST_NAME%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "total": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
    "first": "%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%",
    "asked": "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%",
    "answered": "%COMMON_DURATION(DS_RX_BEG:US_RX_END:us)%",
    "out": "%BYTES_SENT%",
    "by": f"%UPSTREAM_METADATA({METADATA}:{PUBLISHED_KEY})%",
}
"""One line of the access log. `at` is seconds since the epoch; `total`, `first`, `asked`, `answered` are microseconds
since the request's first byte."""


def file_access_log(path: str, fields: Mapping[str, str]) -> JsonObject:
    """The access log: a line of JSON for each request."""
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": f"{EXTENSIONS}.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": {"json_format": dict(fields)},
        },
    }
