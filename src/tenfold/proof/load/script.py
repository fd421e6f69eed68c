"""A scenario (or a mix of requests) made ready to be played: what can be written down beforehand is.

Stage: `UserPlan` or `LoadPlan` becomes a `Script`; its steps give the bytes of a request for a user, and take out of
the answer what the scenario keeps.

`{name}` in path, body and header values stands for a variable of the user: percent-encoded in the path and in a form,
escaped in JSON, and as it is elsewhere.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Protocol
from urllib.parse import quote, quote_plus

from tenfold.model import Action, Scenario, Step
from tenfold.model.scenario import VARIABLE
from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.plan import Mix, Request, Target

_HEADER_BAD = re.compile(r"[\r\n\0]")


class Person(Protocol):
    """Who plays: a user's variables, and its cookies as one header line (empty without any)."""

    cookie: str

    def variable(self, name: str) -> str:
        """The value of a variable that the scenario names."""


class Answer(ValueError):
    """An answer lacks what the scenario keeps of it. The text says what."""


class Text:
    """A text with variables in it, each to be written by `escape`."""

    __slots__ = ("_escape", "_pieces")

    def __init__(self, text: str, escape: Callable[[str], str]) -> None:
        self._pieces = VARIABLE.split(text)
        self._escape = escape

    @property
    def is_fixed(self) -> bool:
        """Whether no variable stands in it."""
        return len(self._pieces) == 1

    @property
    def names(self) -> tuple[str, ...]:
        """The variables in it."""
        return tuple(self._pieces[1::2])

    def filled(self, person: Person) -> str:
        """The text for a person."""
        pieces = self._pieces
        if len(pieces) == 1:
            return pieces[0]
        return "".join(
            self._escape(person.variable(piece)) if place % 2 else piece for place, piece in enumerate(pieces)
        )


class ReadyStep:
    """One request, ready: `part` is its place among the script's steps, where its figures are counted."""

    __slots__ = (
        "_body",
        "_fixed",
        "_headers",
        "_keep",
        "_path",
        "_rest",
        "authority",
        "has_cookie",
        "idempotent",
        "is_head",
        "keeps",
        "method",
        "name",
        "part",
    )

    def __init__(self, request: Request, name: str, part: int, target: Target, keep: Mapping[str, str]) -> None:
        names = {header.lower() for header, _ in request.headers}
        self.name = name
        self.part = part
        self.method = request.method
        self.is_head = request.method == "HEAD"
        self.idempotent = request.idempotent
        self.authority = next(
            (value for header, value in request.headers if header.lower() == "host"), target.authority
        )
        self.has_cookie = "cookie" in names
        self.keeps = bool(keep)
        self._keep = {variable: tuple(path.split(".")) for variable, path in keep.items()}
        self._path = path_text(request.path)
        own = () if "user-agent" in names else (("User-Agent", "tenfold-load"),)
        self._headers = tuple(
            (header, Text(value, _header_value))
            for header, value in (*own, *request.headers)
            if header.lower() != "host"
        )
        kind = next((value for header, value in request.headers if header.lower() == "content-type"), "")
        # A body of bytes that are no text has no variables either: latin-1 carries all bytes through unchanged.
        self._body = Text(request.body.decode("latin-1"), _body_escape(kind))
        # What no variable stands in is written once: in most requests all, or all but the path.
        self._rest: tuple[bytes, bytes] | None = None
        self._fixed: tuple[bytes, bytes] | None = None
        if self._body.is_fixed and all(text.is_fixed for _, text in self._headers):
            if self._path.is_fixed:
                self._fixed = self._http1_parts(_NOBODY)
            else:
                head, tail = ReadyStep(replace(request, path="/"), name, part, target, {})._http1_parts(_NOBODY)
                self._rest = head.partition(b"\r\n")[2], tail

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of what has to be filled in."""
        return (*self._path.names, *self._body.names, *(name for _, text in self._headers for name in text.names))

    def http1(self, person: Person) -> bytes:
        """The request's bytes on the wire (HTTP/1.1, RFC 9112)."""
        head, tail = self._fixed or self._http1_parts(person)
        if person.cookie and not self.has_cookie:
            return b"%b\r\nCookie: %b%b" % (head, person.cookie.encode("latin-1"), tail)
        return head + tail

    def http2(self, person: Person) -> tuple[list[tuple[str, str]], bytes]:
        """The request's header fields and body (HTTP/2, RFC 9113, section 8.3)."""
        fields = [
            (":method", self.method),
            (":scheme", "http"),
            (":authority", self.authority),
            (":path", self._path.filled(person)),
        ]
        fields.extend((header.lower(), text.filled(person)) for header, text in self._headers)
        if person.cookie and not self.has_cookie:
            fields.append(("cookie", person.cookie))
        body = self._body.filled(person).encode("latin-1")
        if self._sends_length(body):
            fields.append(("content-length", str(len(body))))
        return fields, body

    def kept(self, body: bytes) -> dict[str, str]:
        """What the scenario keeps of an answer's body. Raises `Answer` if it is not there."""
        try:
            found = json.loads(body)
        except ValueError as error:
            raise Answer(f"the answer is not JSON, so {', '.join(self._keep)} can't be kept of it") from error
        return {variable: _at(found, path) for variable, path in self._keep.items()}

    def _sends_length(self, body: bytes) -> bool:
        return bool(body) or self.method in ("POST", "PUT", "PATCH")

    def _http1_parts(self, person: Person) -> tuple[bytes, bytes]:
        """What goes before and after a line of cookies."""
        first = f"{self.method} {self._path.filled(person)} HTTP/1.1\r\n".encode("latin-1")
        if self._rest is not None:
            return first + self._rest[0], self._rest[1]
        body = self._body.filled(person).encode("latin-1")
        lines = [f"Host: {self.authority}"]
        lines.extend(f"{header}: {text.filled(person)}" for header, text in self._headers)
        if self._sends_length(body):
            lines.append(f"Content-Length: {len(body)}")
        return first + "\r\n".join(lines).encode("latin-1"), b"\r\n\r\n" + body


class ReadyAction:
    """An action, ready: `part` is its place among the script's actions."""

    __slots__ = ("name", "part", "steps")

    def __init__(self, name: str, part: int, steps: tuple[ReadyStep, ...]) -> None:
        self.name = name
        self.part = part
        self.steps = steps


class Script:
    """All of a scenario, ready. `steps` are those of `enter` and of all actions, `actions` without `enter`."""

    def __init__(self, actions: Sequence[ReadyAction], weights: Sequence[float], enter: tuple[ReadyStep, ...]) -> None:
        self.actions = tuple(actions)
        self.enter = ReadyAction("enter", -1, enter) if enter else None
        self._bounds = list(accumulate(weights))

    @property
    def steps(self) -> tuple[ReadyStep, ...]:
        """Every step, in the order of their places; a step that several actions have stands here once for each."""
        return tuple(step for action in (self.enter, *self.actions) if action for step in action.steps)

    def choose(self, draw: float) -> ReadyAction:
        """The action that a draw from 0..1 falls upon, by the shares."""
        bounds = self._bounds
        return self.actions[min(bisect_right(bounds, draw * bounds[-1]), len(bounds) - 1)]


def script_of_scenario(scenario: Scenario, target: Target, headers: tuple[tuple[str, str], ...] = ()) -> Script:
    """A scenario made ready for a target; `headers` go with every request. Raises `LoadError` where it can't be played."""
    if not scenario.actions:
        raise LoadError(f"the scenario {scenario.name} has no action: name one with its requests")
    place = 0

    def ready(steps: tuple[Step, ...]) -> tuple[ReadyStep, ...]:
        nonlocal place
        made: list[ReadyStep] = []
        for step in steps:
            made.append(ready_step(step, target, headers, place))
            place += 1
        return tuple(made)

    enter = ready(scenario.enter)
    actions = [ReadyAction(action.name, part, ready(action.steps)) for part, action in enumerate(scenario.actions)]
    for action in scenario.actions:
        _check_action(action)
    for where, name in scenario.unknown_variables():
        raise LoadError(f"{where} names {{{name}}}, which is neither a variable of every user nor kept before: add it")
    return Script(actions, [action.share for action in scenario.actions], enter)


def script_of_mix(mix: Mix, target: Target) -> Script:
    """A mix of requests as actions of one request each."""
    actions = [
        ReadyAction(request.name, part, (ReadyStep(request, request.name, part, target, {}),))
        for part, request in enumerate(mix.requests)
    ]
    for action in actions:
        for name in action.steps[0].variables:
            raise LoadError(f"{action.name} names {{{name}}}, and a mix has no variables: play a scenario for that")
    return Script(actions, [request.weight for request in mix.requests], ())


def ready_step(step: Step, target: Target, headers: tuple[tuple[str, str], ...] = (), part: int = 0) -> ReadyStep:
    """One step made ready. A body that begins like JSON and has no content-type goes as application/json."""
    own = {name.lower() for name, _ in step.headers}
    given = (*step.headers, *(pair for pair in headers if pair[0].lower() not in own))
    if _looks_like_json(step.body) and "content-type" not in {name.lower() for name, _ in given}:
        given = (*given, ("Content-Type", "application/json"))
    return ReadyStep(Request(step.method, step.path, given, step.body.encode()), step.name, part, target, step.keep)


def path_text(path: str) -> Text:
    """A path with variables."""
    return Text(path, _path_value)


def message_text(text: str) -> Text:
    """A message with variables, which are escaped where it looks like JSON."""
    return Text(text, _json_value if _looks_like_json(text) else str)


def _check_action(action: Action) -> None:
    if not action.steps:
        raise LoadError(f"the action {action.name} has no request: give it one like `GET /`")
    if not (0 < action.share < float("inf")):
        raise LoadError(f"the action {action.name} has a share of {action.share:g}: give one above zero")


def _at(found: object, path: tuple[str, ...]) -> str:
    """The scalar at a dotted path, as text; numbers in the path count list items from 0."""
    here = found
    for name in path:
        if isinstance(here, dict) and name in here:
            here = here[name]
        elif isinstance(here, list) and name.isdigit() and int(name) < len(here):
            here = here[int(name)]
        else:
            raise Answer(f"the answer has no {'.'.join(path)}, which the scenario keeps")
    if here is None or isinstance(here, dict | list):
        raise Answer(f"{'.'.join(path)} in the answer is no plain value, which the scenario keeps")
    return here if isinstance(here, str) else json.dumps(here)


def _body_escape(content_type: str) -> Callable[[str], str]:
    """How a value is written into a body of this type. The result goes through latin-1, as the body around it does."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return _json_value
    if kind == "application/x-www-form-urlencoded":
        return quote_plus
    return lambda value: value.encode().decode("latin-1")


def _json_value(value: str) -> str:
    return json.dumps(value)[1:-1]


def _path_value(value: str) -> str:
    return quote(value, safe="")


def _looks_like_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def _header_value(value: str) -> str:
    """A value that comes from an answer must not end the header."""
    return _HEADER_BAD.sub(" ", value).encode().decode("latin-1")


class _Nobody:
    """Stands in for a person where nothing is to be filled in."""

    __slots__ = ()
    cookie = ""

    def variable(self, name: str) -> str:
        """There is none."""
        raise KeyError(name)


_NOBODY = _Nobody()
