"""Every route of the console: what it takes, what it answers, and who may ask. The server and the OpenAPI document are made from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tenfold.console import contract
from tenfold.console.history import POINTS_MAX, SECONDS_MAX, History
from tenfold.console.prometheus import CONTENT_TYPE
from tenfold.wire import METRICS_PATH, MetricPost

DECISIONS_MAX = 200


class Access(StrEnum):
    """ANY: whoever reaches it. HERE: whoever is on this machine, else with the token. READ: as the console is bound (see `guard`).
    ACT: with the token."""

    ANY = "any"
    HERE = "here"
    READ = "read"
    ACT = "act"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A part of the path or of the query; `schema` as in JSON Schema."""

    name: str
    doc: str
    schema: Mapping[str, object]
    is_path: bool = False


@dataclass(frozen=True, slots=True)
class Says:
    """One kind of answer: its body's type (None: none, or text of `media`)."""

    doc: str
    body: object = None
    media: str = "application/json"


@dataclass(frozen=True, slots=True)
class Route:
    """`method` and `path`, the name of what handles it, and what people should know of it."""

    method: str
    path: str
    name: str
    doc: str
    says: Mapping[int, Says]
    access: Access = Access.READ
    parameters: tuple[Parameter, ...] = ()
    takes: object = None
    is_page: bool = False


NUMBER = {"type": "number"}
ID = {"type": "string", "minLength": 1, "maxLength": 100}
UNREAD = Says("The journal can't be read now, or too much is asked at once.", contract.Trouble)
WRONG = Says("The question is wrong; the text says how.", contract.Trouble)
UNKNOWN = Says("There is none of that name.", contract.Trouble)
REFUSED = Says("It can't be done; the text says why.", contract.Trouble)
TAKEN = Says("It is handed in.", contract.Requested)
TEXT = "text/plain"


def _action(name: str, doc: str, takes: object, says: Mapping[int, Says]) -> Route:
    return Route(
        "POST",
        f"/api/actions/{name}",
        name,
        doc,
        {**says, 400: WRONG, 409: REFUSED, 503: UNREAD},
        Access.ACT,
        (),
        takes,
    )


ROUTES = (
    Route("GET", "/", "page", "The page.", {200: Says("HTML.", media="text/html")}, Access.ANY, is_page=True),
    Route(
        "GET", "/page/{name}", "asset", "A file of the page.", {200: Says("The file.")}, Access.ANY, is_page=True,
    ),
    Route(
        "GET", "/openapi.json", "openapi", "This document.", {200: Says("OpenAPI 3.1.", dict[str, Any])}, Access.ANY,
    ),
    Route(
        "GET", "/api/health", "health", "Whether the control loop works.",
        {200: Says("It does.", contract.Alive), 503: Says("It does not.", contract.Alive)}, Access.HERE,
    ),
    Route(
        "GET", METRICS_PATH, "metrics", "The last tick for Prometheus.",
        {200: Says("Exposition format 0.0.4.", media=CONTENT_TYPE), 503: Says("Nothing was seen yet.", media=TEXT)},
    ),
    Route(
        "POST", METRICS_PATH, "post", "Post an instance's share of a metric of your own (tenfold.sdk does).",
        {
            204: Says("It is kept for a minute and a half."),
            400: Says("It is no metric; the text says why.", media=TEXT),
            409: Says("This is a look at the past.", media=TEXT),
        },
        Access.HERE, (), MetricPost,
    ),
    Route(
        "GET", "/api/state", "state", "Everything as it is, or as it was at a moment of the past.",
        {200: Says("The state.", contract.State), 400: WRONG, 404: UNKNOWN, 503: UNREAD},
        parameters=(Parameter("at", "That moment, in seconds since the epoch.", NUMBER),),
    ),
    Route(
        "GET", "/api/events", "events",
        "What changes, as server-sent events: `state` with the top-level keys of the state that changed (the first time all), `nothing`"
        " before anything was seen, `gone` at the end.",
        {200: Says("Events, without end.", media="text/event-stream"), 503: UNREAD},
    ),
    Route(
        "GET", "/api/history", "history",
        f"Series over time: by seconds up to {SECONDS_MAX / 60:.0f} minutes, by minutes beyond.",
        {200: Says("The series.", History), 400: WRONG, 503: UNREAD},
        parameters=(
            Parameter("from", "The beginning, in seconds since the epoch (default: a quarter of an hour before the end).", NUMBER),
            Parameter("to", "The end (default: the newest tick).", NUMBER),
            Parameter("points", "How many steps at the most.", {"type": "integer", "minimum": 1, "maximum": POINTS_MAX}),
        ),
    ),
    Route(
        "GET", "/api/span", "span", "What time the journal covers.",
        {200: Says("From when to when.", contract.SpanNow), 503: UNREAD},
    ),
    Route(
        "GET", "/api/decisions", "decisions", "Decisions, the newest first.",
        {200: Says("The decisions.", list[contract.DecisionNow]), 400: WRONG, 404: UNKNOWN, 503: UNREAD},
        parameters=(
            Parameter("before", "Only those made before this one.", ID),
            Parameter("limit", "How many at the most.", {"type": "integer", "minimum": 1, "maximum": DECISIONS_MAX}),
        ),
    ),
    Route(
        "GET", "/api/decisions/{id}", "decision", "One decision: its reason, what it saw, what it did, what was turned down.",
        {200: Says("The decision.", contract.DecisionWhole), 404: UNKNOWN, 503: UNREAD},
        parameters=(Parameter("id", "Its id (`d17`).", ID, is_path=True),),
    ),
    Route(
        "GET", "/api/requests/{id}", "request", "What became of a request.",
        {200: Says("The request.", contract.RequestNow), 404: UNKNOWN, 503: UNREAD},
        parameters=(Parameter("id", "Its id.", ID, is_path=True),),
    ),
    Route(
        "POST", "/api/login", "login", "Sign in with the token, to read where the console is bound to other than loopback.",
        {204: Says("A cookie that lets this browser read."), 400: WRONG},
        Access.ANY, (), contract.LoginBody,
    ),
    _action("drain", "Take an instance or a region out of service gently, or ask a region back.", contract.DrainBody, {202: TAKEN}),
    _action("rollback", "Go back to an earlier release.", contract.RollbackBody, {202: TAKEN}),
    _action("purge", "Have the edge forget answers that it keeps.", contract.PurgeBody, {}),
)  # fmt: skip
