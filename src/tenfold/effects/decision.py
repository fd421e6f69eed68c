"""What was decided, what was turned down, and how it went. From deciders and drivers to the journal."""

from dataclasses import dataclass
from enum import StrEnum

from tenfold.effects.effect import Effect


class Outcome(StrEnum):
    """DONE; FAILED for good; RETRYABLE: it did not happen and may be tried again; REFUSED: a precondition or the
    epoch did not hold; UNKNOWN: it may have happened, so observe before trying again."""

    DONE = "done"
    FAILED = "failed"
    RETRYABLE = "retryable"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Receipt:
    """How an order went. `note` is one sentence for a person."""

    key: str
    outcome: Outcome
    at: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice: who made it (`by`, a decider's name), about what, what is to be done, and why, as a sentence.

    `facts` are the figures it rests on, as text (`concurrency per instance: 92.0, up above 60`). A decision without
    effects records a change of mind that a person would ask about (`gave up`, `holding`). `clamps` say in order what each bound
    (maximum, scheduled floor, budget, damping) made of what was needed, as sentences. `confidence_ratio` (0..1) is how sure it is that
    this is needed: 1 for what was seen, less for what is only expected; what is surer goes first where not all can be had.
    """

    id: str
    by: str
    subject: str
    effects: tuple[Effect, ...]
    why: str
    facts: tuple[str, ...] = ()
    clamps: tuple[str, ...] = ()
    confidence_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Rejection:
    """An effect that `arbitrate` did not let through, and why."""

    effect: Effect
    decision: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done now: decisions in order, nothing carried out. What `tenfold plan` shows."""

    decisions: tuple[Decision, ...]
    rejected: tuple[Rejection, ...] = ()
