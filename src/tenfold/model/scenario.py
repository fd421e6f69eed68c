"""What people do with the app: a mix of actions with pauses, for load, measurements, drills and proofs. Nouns of the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
