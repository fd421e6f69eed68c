"""What a gateway does with requests of a service that sleeps: it asks the waker, and they go on once that answers. A part of what
`render.envoy` makes of a RouteTable.

Envoy's external authorization filter holds a request while it asks; no body is read meanwhile beyond what a connection buffers. It stands
in the listener where a service of the table may sleep, and is switched on by the routes of those that do: no other request pays for it.
The waker's answer is 200 once an instance is ready, or REFUSED with the reason as its body. (Envoy takes a 5xx for no answer at all.) A
waker that does not answer, since the control plane is away, is UNANSWERED. Clients get a 503 either way.
"""

from collections.abc import Sequence

from tenfold.model import ServiceRoutes
from tenfold.render.envoy_listener import EXTENSIONS, JsonObject
from tenfold.render.envoy_routes import seconds

WAKER = "tenfold~waker"
"""The pool that the waker is."""
WAKE_FILTER = "envoy.filters.http.ext_authz"
REFUSED = 429
UNANSWERED = 508
"""What these mean is known here alone: `replies` makes a 503 of both."""
HELD_S_MAX = 240.0
"""No request is held for longer: a whole request must have come within 300 s, and one that is held has not."""
ASK_SLACK_S = 2.0
"""Longer than the waker holds a request, so that it says itself why it ended."""
ASKED_MAX = 4096
"""Requests that ask at once; the waker itself holds fewer."""


def held_s(service: ServiceRoutes) -> float:
    """How long a request to a sleeping service may wait, seconds."""
    return min(service.health.starts_within_s, HELD_S_MAX)


def wake_filter() -> JsonObject:
    """Switched off: it costs requests of other routes nothing."""
    return {
        "name": WAKE_FILTER,
        "disabled": True,
        "typed_config": {
            "@type": f"{EXTENSIONS}.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "http_service": _ask("/", 1.0),
            "status_on_error": {"code": UNANSWERED},
            # The waker counts whom it turns away; that is no answer of the service.
            "charge_cluster_response_stats": False,
            # What a client proves itself with is no business of who wakes.
            "disallowed_headers": {"patterns": [{"exact": "authorization"}]},
        },
    }


def asks(region: str, service: ServiceRoutes) -> JsonObject:
    """What switches it on for a route: the filter's name and its settings."""
    held = held_s(service)
    return {
        WAKE_FILTER: {
            "@type": f"{EXTENSIONS}.filters.http.ext_authz.v3.ExtAuthzPerRoute",
            "check_settings": {
                "http_service": _ask(f"/{region}/{service.service}/{held:g}", held + ASK_SLACK_S),
            },
        }
    }


def _ask(prefix: str, timeout_s: float) -> JsonObject:
    server = {"uri": "http://waker", "cluster": WAKER, "timeout": seconds(timeout_s)}
    return {"server_uri": server, "path_prefix": prefix}


def cluster(socket: str) -> JsonObject:
    """The waker, which listens on a unix socket."""
    address = {"pipe": {"path": socket}}
    return {
        "name": WAKER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": WAKER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": {
            "thresholds": [{"max_connections": ASKED_MAX, "max_pending_requests": ASKED_MAX, "max_requests": ASKED_MAX}]
        },
    }


def replies(headers: Sequence[tuple[str, str]] = ()) -> list[JsonObject]:
    """What clients get of requests that were held and do not go on; `headers` go with it."""
    added = [{"header": {"key": key, "value": value}} for key, value in headers]
    away = {
        "body_format_override": {
            "text_format_source": {
                "inline_string": "This service sleeps, and the control plane that would wake it does not answer, so the request was not "
                "carried out; try again in a few seconds.\n"
            },
            "content_type": "text/plain; charset=utf-8",
        },
        "headers_to_add": [{"header": {"key": "retry-after", "value": "5"}}, *added],
    }
    return [_mapper(UNANSWERED) | away, _mapper(REFUSED) | ({"headers_to_add": added} if added else {})]


def _mapper(status: int) -> JsonObject:
    is_ours = {"response_flag_filter": {"flags": ["UAEX"]}}
    value = {"default_value": status, "runtime_key": "tenfold.never_set"}
    is_status = {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}
    return {"filter": {"and_filter": {"filters": [is_ours, is_status]}}, "status_code": 503}
