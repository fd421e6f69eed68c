"""Everything that a proof says, as plain data: ready for JSON, for a table at a terminal, and for the page. Stage: before `page`.

Times are seconds from the start of the proof, unless a name says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenfold.proof.drills.result import DrillResult
from tenfold.proof.report.plot import Point, Span
from tenfold.proof.verdict import Verdict, score


@dataclass(frozen=True, slots=True)
class Moment:
    """About one second of a load. `bad` requests failed or were refused; percentiles are of the response time, None without answers."""

    at_s: float
    users: int
    answered_per_s: float
    bad: int
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Something over time, by name: ready instances of a service, requests/s of a region."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A decision, its reason, and the facts that it saw."""

    at_s: float
    id: str
    by: str
    why: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """What a reader needs to judge the figures, and to run it again.

    `command` is the call, `versions` are those of the engines by their kind (`Envoy 1.40.0`), `blueprint_digest` is of what was served;
    `scenario` was played from `seed`.
    """

    command: str
    machine: str
    versions: Mapping[str, str]
    blueprint_digest: str
    release: str
    scenario: str
    seed: int


@dataclass(frozen=True, slots=True)
class Report:
    """A whole proof. `started_at` is seconds since the epoch. `why_incomplete` says what cut it short (empty: nothing did). `method` are
    sentences about how it was measured, `notes` about what a reader should doubt."""

    name: str
    environment: str
    started_at: float
    took_s: float
    setting: Setting
    verdicts: tuple[Verdict, ...]
    spans: tuple[Span, ...] = ()
    moments: tuple[Moment, ...] = ()
    instances: tuple[Series, ...] = ()
    regions: tuple[Series, ...] = ()
    marks: tuple[Mark, ...] = ()
    drills: tuple[DrillResult, ...] = ()
    method: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    p95_ms_max: float | None = None
    why_incomplete: str = ""
    score: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "score", score(self.verdicts))

    @property
    def is_met(self) -> bool:
        """True when every target that was judged is met."""
        return bool(self.verdicts) and all(verdict.is_met for verdict in self.verdicts)

    @property
    def line(self) -> str:
        """The proof in a sentence: `8 of 10 targets met, 1 missed, 1 not shown`."""
        words = [verdict.word for verdict in self.verdicts]
        rest = [f"{words.count(word)} {word}" for word in ("missed", "not shown") if word in words]
        return ", ".join([f"{words.count('met')} of {len(words)} targets met", *rest])

    @property
    def todo(self) -> tuple[tuple[str, tuple[Verdict, ...]], ...]:
        """What to do, each with the verdicts that call for it: misses first."""
        found: dict[str, list[Verdict]] = {}
        for verdict in sorted(self.verdicts, key=lambda v: v.is_met is None):
            if not verdict.is_met and verdict.advice:
                found.setdefault(verdict.advice, []).append(verdict)
        return tuple((advice, tuple(verdicts)) for advice, verdicts in found.items())
