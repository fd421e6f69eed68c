"""Envoy's listener: the edge's manners towards clients. A part of what `render.envoy` makes of a RouteTable, and the
same for every table.

It stays the same because Envoy closes clients' connections when it changes:
whatever changes with a table stands in the routes.
"""

from typing import Any

from tenfold.model import LOOPBACK

JsonObject = dict[str, Any]
"""What `json` can write: the text form of an Envoy message."""

EXTENSIONS = "type.googleapis.com/envoy.extensions"
LISTENER_NAME = "edge"
ROUTES_NAME = "routes"


_KEEP_ALIVE = ((1, 9, 1), (6, 4, 60), (6, 5, 15), (6, 6, 4))
"""SO_KEEPALIVE on, TCP_KEEPIDLE 60 s, TCP_KEEPINTVL 15 s, TCP_KEEPCNT 4: level, name and value on Linux."""


def listener(port: int, access_log: str) -> JsonObject:
    """The listener on loopback `port`: what it believes of a client, what it lets through, what it answers itself, what it logs."""
    return {
        "name": LISTENER_NAME,
        "address": {"socket_address": {"address": LOOPBACK, "port_value": port}},
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
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _http_connection_manager(access_log),
                    }
                ]
            }
        ],
    }


def _http_connection_manager(access_log: str) -> JsonObject:
    return {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "rds": {"route_config_name": ROUTES_NAME, "config_source": {"ads": {}, "resource_api_version": "V3"}},
        "server_name": "tenfold",
        # The peer is the client; nobody before us is believed, on loopback neither.
        "use_remote_address": True,
        "skip_xff_append": True,
        "internal_address_config": {"unix_sockets": False},
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
        "local_reply_config": {"mappers": [_reply(*r) for r in _REPLIES]},
        "access_log": [_file_access_log(access_log)],
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{EXTENSIONS}.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
    }


_REPLIES = (
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


def _reply(flags: tuple[str, ...], retry_after: str | None, text: str) -> JsonObject:
    mapper: JsonObject = {
        "filter": {"response_flag_filter": {"flags": list(flags)}},
        "body_format_override": {
            "text_format_source": {"inline_string": text + "\n"},
            "content_type": "text/plain; charset=utf-8",
        },
    }
    if retry_after is not None:
        mapper["headers_to_add"] = [{"header": {"key": "retry-after", "value": retry_after}}]
    return mapper


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
}
"""One line of the access log. `at` is seconds since the epoch; `total`, `first`, `asked`, `answered` are microseconds
since the request's first byte."""


def _file_access_log(path: str) -> JsonObject:
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": f"{EXTENSIONS}.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": {"json_format": dict(ACCESS_LOG_FIELDS)},
        },
    }
