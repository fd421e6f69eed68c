"""What people do with the app: a mix of actions with pauses, for load, measurements, drills and proofs. Nouns of the model."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

VARIABLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A variable in a step's path, body or header value. Only a plain name between braces is one, so JSON needs no quoting."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request. `{name}` in path, body and header values is filled in from the user's variables (URL-encoded in the path).

    `keep` takes variables out of the answer: by variable, the dotted path of a field in its JSON (`{"project": "id"}`).
    """

    method: str
    path: str
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    keep: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people call it: `GET /api/projects`, its variables not filled in and its query left out."""
        return f"{self.method} {self.path.partition('?')[0]}"

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that are filled in, in the order in which they stand."""
        texts = (self.path, self.body, *(value for _, value in self.headers))
        return tuple(name for text in texts for name in VARIABLE.findall(text))


@dataclass(frozen=True, slots=True)
class Action:
    """Something a user does in one go: its `steps` one after another. `share` (0..1) of all actions are this one."""

    name: str
    share: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Socket:
    """A WebSocket to `path` that `share` (0..1) of the users hold. Each `every_s` a user says `send` (empty: never) and the time
    until the next message is what a message takes."""

    path: str
    share: float = 1.0
    send: str = ""
    every_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Check:
    """How to see that what was acknowledged is kept: after `enter` (once), `write` stores a `{value}` that was never used before,
    and the answer to `read` must hold every value whose write was acknowledged before it was asked."""

    write: Step
    read: Step
    enter: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A mix of actions. Each user first does `enter` (signs in; cookies are kept), then one action after another, chosen by their
    shares, with a pause between the end of one and the start of the next, exponential with mean `think_s`.

    `users` are rows of variables; user number n has row n modulo their number, and `{user}`, its own number, besides.
    """

    name: str
    actions: tuple[Action, ...]
    enter: tuple[Step, ...] = ()
    think_s: float = 10.0
    users: tuple[Mapping[str, str], ...] = ()
    socket: Socket | None = None
    check: Check | None = None

    @property
    def variables(self) -> frozenset[str]:
        """The variables that every user has from the start."""
        common = frozenset.intersection(*(frozenset(row) for row in self.users)) if self.users else frozenset[str]()
        return common | {"user"}

    def unknown_variables(self) -> Iterator[tuple[str, str]]:
        """Every variable that is named where not every user has it, nor an earlier step has kept it: where (`enter[0]`,
        `actions.report.requests[1]`), and its name."""
        known = self.variables
        yield from _unknown(self.enter, "enter", known)
        known |= _kept(self.enter)
        for action in self.actions:
            yield from _unknown(action.steps, f"actions.{action.name}.requests", known)
        if self.socket is not None:
            for key, text in (("path", self.socket.path), ("send", self.socket.send)):
                yield from ((f"socket.{key}", name) for name in VARIABLE.findall(text) if name not in known)
        if self.check is not None:
            yield from _unknown(self.check.enter, "check.enter", known)
            known |= _kept(self.check.enter) | {"value"}
            yield from (("check.write", name) for name in self.check.write.variables if name not in known)
            known |= _kept((self.check.write,))
            yield from (("check.read", name) for name in self.check.read.variables if name not in known)


def _kept(steps: tuple[Step, ...]) -> frozenset[str]:
    return frozenset(name for step in steps for name in step.keep)


def _unknown(steps: tuple[Step, ...], where: str, known: frozenset[str]) -> Iterator[tuple[str, str]]:
    for place, step in enumerate(steps):
        yield from ((f"{where}[{place}]", name) for name in step.variables if name not in known)
        known |= frozenset(step.keep)
