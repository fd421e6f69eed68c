"""What a load run says: each second while it goes on, and at its end. Plain data, ready for JSON.

Stage: `record.Recorder` fills these; the command line shows them, drills and later verdicts judge by them.

Response time counts from the moment a request was *due*: what a person would have waited. Service time counts from the
moment its bytes were written. Both cover the answers that did not fail, and requests that timed out with the time they
had waited by then (a lower bound). 5xx answers and lost connections are left out: they are often quick, and would make
a failing server look fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

FAILED_KINDS = ("5xx", "connect", "timeout", "reset", "protocol", "answer")
"""The ends of a request that are failures of the server. 4xx are refusals, counted apart; `unsent` is our own fault."""
EXAMPLES_MAX = 10
"""Samples of each kind of end, and of the slowest."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of one distribution in milliseconds, exact to 3 digits; None where nothing was measured."""

    count: int
    mean_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None


@dataclass(frozen=True, slots=True)
class Second:
    """What happened within about one second, by the time of the answer. Percentiles are of the response time, and
    None when nothing was answered: a second without a measurement is not a fast one.
    """

    at_s: float
    planned_rps: float
    due: int
    answered: int
    failed: int
    refused: int
    unsent: int
    in_flight: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    lag_p99_ms: float | None
    cpu_percent: float
    users: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the run is: the last second, and the totals. `eta_s` is the time until the last request is due."""

    elapsed_s: float
    eta_s: float
    sent: int
    answered: int
    failed: int
    refused: int
    unsent: int
    in_flight: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    second: Second


@dataclass(frozen=True, slots=True)
class Sample:
    """One request that is worth a look. `request_id` is what the edge called it (x-request-id), for `explain`."""

    request: str
    due_s: float
    response_ms: float
    status: int | None
    request_id: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way in which requests ended, how often, and the first examples where it is not a success."""

    kind: str
    count: int
    failed: bool
    examples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One action of a scenario, or one step of its actions, by name.

    An action counts from the moment its first step was due to the end of its last; it has failed when one of its steps
    has, and what follows the failed step is not done. A step other than the first is due when the one before it ends.
    `refused` are those that met a 4xx.
    """

    name: str
    count: int
    failed: int
    refused: int
    response: Latency
    service: Latency


@dataclass(frozen=True, slots=True)
class SocketsPart:
    """What became of the users' WebSockets, each opened anew when it closes.

    `users` held one at the end or wanted to, `down` of them had none then. `opened` counts every opening, `closed` those
    that the server ended, `refused` the attempts that were not accepted. `messages` came in; `sent` went out, of which
    `unanswered` had no message after them within the timeout. `round_trip` is the time from the moment a message was
    due to the next message that came, `gap` the time that a user was without a socket from one to the next.
    """

    users: int
    down: int
    opened: int
    closed: int
    refused: int
    sent: int
    unanswered: int
    messages: int
    round_trip: Latency
    gap: Latency


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A whole run. Nothing is dropped: due = sent + unsent, and sent = answered + failed without an answer (connect,
    timeout, reset, protocol) + unfinished (still in flight when the run was interrupted).

    `invalid` holds the reasons for which the figures can't be trusted, each a sentence; it is empty when they can.
    `failed` includes answers of 5xx; `refused` are answers of 4xx. `resent` counts requests sent a second time because
    the server had closed an idle connection. `seconds` is the course of the run. `cpu_percent` is of one core, all
    `processes` together, and `memory_bytes` the most that they held. `users` is the most that were there at once (in the open
    model as many as its arrivals needed); `actions` and
    `steps` (those of `enter` too) are in the scenario's order, and there are no `sockets` without one in the scenario.
    `response_counts` is the whole distribution of the response time: how often each bucket was hit, by its lowest value in
    microseconds.
    """

    target: str
    seed: int
    started_at_s: float
    duration_s: float
    interrupted: bool
    invalid: tuple[str, ...]
    due: int
    sent: int
    answered: int
    failed: int
    refused: int
    unsent: int
    unfinished: int
    resent: int
    received_bytes: int
    response: Latency
    service: Latency
    lag: Latency
    cpu_percent: float
    cpu_us_per_request: float | None
    outcomes: tuple[Outcome, ...]
    slowest: tuple[Sample, ...]
    seconds: tuple[Second, ...]
    users: int = 0
    processes: int = 1
    memory_bytes: int = 0
    actions: tuple[Part, ...] = ()
    steps: tuple[Part, ...] = ()
    sockets: SocketsPart | None = None
    response_counts: Mapping[int, int] = field(default_factory=dict)

    def slower_than(self, limit_ms: float) -> int:
        """How many of the responses took longer, exact to 3 digits."""
        return sum(count for lowest_us, count in self.response_counts.items() if lowest_us > limit_ms * 1000)

    @property
    def valid(self) -> bool:
        """Whether the figures can be trusted."""
        return not self.invalid
