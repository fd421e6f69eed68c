"""Which request is of which kind, in Envoy's words: one list of routes for the global entry and for each gateway. A part of
what `render.envoy` and `render.envoy_entry` make of their tables; what is done with a kind is theirs to say.
"""

from collections.abc import Callable
from enum import Enum, auto

from tenfold.model import ServiceRoutes
from tenfold.render.envoy_listener import EXTENSIONS, JsonObject
from tenfold.render.envoy_many import ANY_PATH, Parted, rules

IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")


ASLEEP = "asleep"


class Kind(Enum):
    """Of requests to a path, in the order in which they are looked for."""

    SOCKET = auto()
    IDEMPOTENT = auto()
    OTHER = auto()


Deed = Callable[[Kind, ServiceRoutes, float | None], JsonObject]
"""What is done with requests of a kind, to a service, hedged after so many milliseconds (None: never): a part of a route."""


OPENS_SOCKET: tuple[JsonObject, ...] = (
    {"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}},
    {"name": "connection", "string_match": {"contains": "upgrade", "ignore_case": True}},
)
"""How the headers of a request that opens a WebSocket match."""

NOTHING_YET: JsonObject = {
    "name": "/",
    "match": {"prefix": "/"},
    "direct_response": {
        "status": 503,
        "body": {"inline_string": "Nothing is running here yet; try again in a few seconds.\n"},
    },
    "response_headers_to_add": [{"header": {"key": "retry-after", "value": "2"}}],
}


def routes(parted: Parted, decision: str, deed: Deed, deed_of_many: Deed | None = None) -> list[JsonObject]:
    """Three lists, each from the longest prefix to the shortest: sockets, idempotent requests, all others.

    A route is named `<decision> <prefix>`: of all that a log line can tell, a route's name costs the least. ASLEEP stands between them
    where requests wait for an instance. One for the paths that have none of their own ends each list; `deed_of_many` (else `deed`) says
    what is done there.
    """
    paths = sorted(((p, s) for s in parted.own for p in s.paths), key=lambda x: (-len(x[0]), x[0]))

    def rest(kind: Kind, *headers: JsonObject) -> list[JsonObject]:
        if (like := parted.like) is None:
            return []
        hedge_after_ms = like.hedge_after_ms if kind is Kind.IDEMPOTENT else None
        done = (deed_of_many or deed)(kind, like, hedge_after_ms)
        return [{"name": ANY_PATH, "match": _match("/", *headers)} | done]

    found = [
        *(() if parted.services else (NOTHING_YET,)),
        *({"name": _name(p, s), "match": _socket_match(p)} | deed(Kind.SOCKET, s, None) for p, s in paths),
        *rest(Kind.SOCKET, *OPENS_SOCKET),
        *_idempotent_routes(parted, deed),
        *rest(Kind.IDEMPOTENT, _METHOD),
        *({"name": _name(p, s), "match": _match(p)} | deed(Kind.OTHER, s, None) for p, s in paths),
        *rest(Kind.OTHER),
    ]
    return [route | {"name": f"{decision} {route['name']}".strip()} for route in found]


def _idempotent_routes(parted: Parted, deed: Deed) -> list[JsonObject]:
    """One per path and per rule, longest first."""
    hedged = [(path, False, service, service.hedge_after_ms) for service in parted.own for path in service.paths]
    hedged += rules(parted.services)
    hedged.sort(key=lambda x: (-len(x[0]), not x[1], x[0]))
    return [
        {"name": _name(path, service), "match": _idempotent_match(path, is_page)}
        | deed(Kind.IDEMPOTENT, service, hedge_after_ms)
        for path, is_page, service, hedge_after_ms in hedged
    ]


def _name(path: str, service: ServiceRoutes) -> str:
    return f"{ASLEEP} {path}" if service.is_asleep else path


def _match(path: str, *headers: JsonObject) -> JsonObject:
    key = "prefix" if path.endswith("/") else "path_separated_prefix"
    return {key: path, **({"headers": list(headers)} if headers else {})}


def _socket_match(path: str) -> JsonObject:
    return _match(path, *OPENS_SOCKET)


def _idempotent_match(path: str, is_page: bool) -> JsonObject:
    return {"path": path, "headers": [_METHOD]} if is_page else _match(path, _METHOD)


_METHOD: JsonObject = {
    "name": ":method",
    "string_match": {"safe_regex": {"regex": "|".join(IDEMPOTENT_METHODS)}},
}


def retry_policy(retry_on: str, *, replays: int, redraws: int, has_priorities: bool) -> JsonObject:
    """Up to `replays` more tries after the first, each at another endpoint: up to `redraws` are drawn until one is found.

    With priorities, each goes to the next of these first.
    """
    policy: JsonObject = {
        "retry_on": retry_on,
        "num_retries": replays,
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
        "host_selection_retry_max_attempts": redraws,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"{EXTENSIONS}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
    }
    if has_priorities:
        policy["retry_priority"] = {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": f"{EXTENSIONS}.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        }
    return policy


def sticky(cookie: str, path: str = "/") -> JsonObject:
    """What makes requests of a route stay where the first of their client went, told by `cookie`, while that is well."""
    state = {
        "name": "envoy.http.stateful_session.cookie",
        "typed_config": {
            "@type": f"{EXTENSIONS}.http.stateful_session.cookie.v3.CookieBasedSessionState",
            "cookie": {"name": cookie, "path": path},
        },
    }
    return {
        "typed_per_filter_config": {
            STICKY_FILTER: {
                "@type": f"{EXTENSIONS}.filters.http.stateful_session.v3.StatefulSessionPerRoute",
                "stateful_session": {"session_state": state},
            }
        }
    }


STICKY_FILTER = "envoy.filters.http.stateful_session"

STICKY_HTTP_FILTER: JsonObject = {
    "name": STICKY_FILTER,
    "disabled": True,
    "typed_config": {"@type": f"{EXTENSIONS}.filters.http.stateful_session.v3.StatefulSession"},
}
"""It costs requests of other routes nothing."""


def seconds(value: float) -> str:
    """A protobuf duration in text: at most six digits after the point."""
    return f"{value:.6f}".rstrip("0").rstrip(".") + "s"
