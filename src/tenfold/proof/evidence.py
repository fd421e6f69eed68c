"""What a proof has seen, apart from how it was made: what verdicts are judged by. Stage: load, drills, journal -> verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Timed:
    """How long something took, `count` times; in milliseconds, None where nothing was measured. `of` says what it was."""

    count: int
    mean_ms: float | None = None
    p95_ms: float | None = None
    of: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A load, while it was held (its ramp left out).

    `wanted` is how many users were to be there at once, or how many requests a second were to come; `users_min` is how many users
    were there in the second with the fewest. It was to last `wanted_s` and lasted `lasted_s`. Of the `requests` that ended,
    `answered` had an answer, and `bad` failed or were refused (a 4xx that no scenario means to get). `response` counts from
    when a request was due. `pages` are whole actions that begin with a page, the slowest kind of them; `socket` is from a message
    sent to one received. `invalid` are the reasons for which the generator itself calls its figures spoiled.
    """

    wanted: float
    wanted_s: float
    lasted_s: float
    users_min: int
    requests: int
    answered: int
    bad: int
    response: Timed
    api: Timed = Timed(0)
    pages: Timed = Timed(0)
    socket: Timed = Timed(0)
    invalid: tuple[str, ...] = ()

    @property
    def bad_ratio(self) -> float:
        """The share (0..1) that failed or was refused."""
        return self.bad / self.requests if self.requests else 0.0

    @property
    def answered_rps(self) -> float:
        """Requests answered in each second."""
        return self.answered / self.lasted_s if self.lasted_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came of killing an instance: seconds from the kill until it was noticed, until another one was ready in its place, and until
    clients were served as before (None: never); requests that failed, and acknowledged writes that were lost (None: not looked
    at). `trouble` is why the drill itself could not be carried out."""

    subject: str
    detect_s: float | None = None
    replaced_s: float | None = None
    as_before_s: float | None = None
    failed: int = 0
    lost_writes: int | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything verdicts rest on.

    `users` is the load of people, `rate` one at a fixed rate of requests; `requests` and `bad` are those of both with their
    ramps, made over `made_s` seconds (harm left out). `database` are its transactions while `users` was held. `gaps` says by
    target why it was not looked at; `limit` is a sentence about what ran out first, as far as it was seen.
    """

    users: Held | None = None
    rate: Held | None = None
    requests: int = 0
    bad: int = 0
    made_s: float = 0.0
    database: Timed = Timed(0)
    recovery: Recovered | None = None
    gaps: Mapping[str, str] = field(default_factory=dict)
    limit: str = ""
