"""The newest decisions with how far each is, kept up to date tick by tick. Stage: ticks (and before them the journal) -> contract.

The same is read from the journal alone for a moment of the past; both go through `told`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tenfold.console.contract import DecisionNow
from tenfold.effects import (
    AnswerRequest,
    Decision,
    Effect,
    Promote,
    PublishEntry,
    PublishRoutes,
    RemoveRelease,
    RunTask,
    StartEngine,
    StartInstance,
    StopEngine,
    StopInstance,
    StopTask,
)
from tenfold.loop import DecisionRow, Tick

SHOWN = 50
"""Decisions that a state holds."""
WORST = ("failed", "unknown", "refused", "retryable")
"""How an effect may end other than well, the worst first."""


LOOSE_MAX = 200


def effect_text(effect: Effect) -> str:
    """An effect in a few words."""
    match effect:
        case StartInstance():
            return f"start {effect.instance}"
        case StopInstance():
            return f"stop {effect.instance}"
        case StartEngine():
            return f"start {effect.kind}/{effect.region}"
        case StopEngine():
            return f"{'fence' if effect.at_once else 'stop'} {effect.kind}/{effect.region}"
        case Promote():
            return f"promote {effect.kind}/{effect.region}"
        case RunTask():
            return f"run {effect.task}"
        case StopTask():
            return f"stop {effect.task}"
        case PublishRoutes():
            return f"publish routes of {effect.table.region}"
        case PublishEntry():
            return "publish the ways of the entry"
        case RemoveRelease():
            return f"remove {effect.release}"
        case AnswerRequest():
            return f"answer {effect.request}"
        case _:
            return effect.key.replace(":", " ", 1)


def told(at: float, decision: Decision, ends: Mapping[str, str], rejected: int) -> DecisionNow:
    """A decision made `at`; `ends` are the outcomes of its effects so far, by key."""
    outcomes = [ends.get(effect.key) for effect in decision.effects]
    unended = "pending" if None in outcomes else "done"
    outcome = next((bad for bad in WORST if bad in outcomes), unended)
    return DecisionNow(
        id=decision.id,
        at=at,
        by=decision.by,
        subject=decision.subject,
        why=decision.why,
        effects=[effect_text(effect) for effect in decision.effects],
        outcome=outcome,
        rejected=rejected,
    )


@dataclass(slots=True)
class _Kept:
    at: float
    decision: Decision
    rejected: int
    ends: dict[str, str]
    told: DecisionNow

    @classmethod
    def of(cls, at: float, decision: Decision, rejected: int, ends: dict[str, str]) -> "_Kept":
        return cls(at, decision, rejected, ends, told(at, decision, ends, rejected))


@dataclass(slots=True)
class Timeline:
    """The newest `SHOWN` decisions, and which decision started each instance and why."""

    starts: dict[str, tuple[str, str]] = field(default_factory=dict)
    _kept: list[_Kept] = field(default_factory=list)
    _loose: dict[str, str] = field(default_factory=dict)
    """Outcomes of effects whose decision is not known (yet), by key."""

    @classmethod
    def of(
        cls,
        rows: Iterable[DecisionRow],
        ends: Mapping[str, Mapping[str, str]],
        rejected: Mapping[str, int],
        starts: Mapping[str, tuple[str, str]],
    ) -> "Timeline":
        """What the journal knows: `rows` oldest first, `ends` by decision and effect, `rejected` by decision."""
        kept = [
            _Kept.of(row.at, row.decision, rejected.get(row.decision.id, 0), dict(ends.get(row.decision.id, {})))
            for row in rows
        ]
        return cls(dict(starts), kept[-SHOWN:])

    def merge(self, before: "Timeline") -> None:
        """Put what the journal knew before the ticks that were added here."""
        known = {kept.decision.id for kept in self._kept}
        older = [kept for kept in before._kept if kept.decision.id not in known]
        for key, outcome in self._loose.items():
            _settle(older, key, outcome)
        self._kept = [*older, *self._kept][-SHOWN:]
        self.starts = {**before.starts, **self.starts}

    def add(self, tick: Tick) -> None:
        """Take in what a tick decided and which receipts it saw."""
        for key, receipt in tick.snapshot.receipts.items():
            if not _settle(self._kept, key, receipt.outcome) and len(self._loose) < LOOSE_MAX:
                self._loose[key] = receipt.outcome
        for decision in tick.decisions:
            rejected = sum(rejection.decision == decision.id for rejection in tick.rejected)
            self._kept.append(_Kept.of(tick.at, decision, rejected, {}))
            for effect in decision.effects:
                if isinstance(effect, StartInstance):
                    self.starts[effect.instance] = (decision.id, decision.why)
        del self._kept[:-SHOWN]
        if len(self.starts) > 2 * len(tick.snapshot.instances) + SHOWN:
            members = tick.memory.heal.members
            self.starts = {i: s for i, s in self.starts.items() if i in tick.snapshot.instances or i in members}

    def newest(self) -> list[DecisionNow]:
        """The newest first."""
        return [kept.told for kept in reversed(self._kept)]


def _settle(kept: Sequence[_Kept], key: str, outcome: str) -> bool:
    """Note how an effect ended with the newest decision that ordered it and waits for it; False when none does."""
    for one in reversed(kept):
        if key not in one.ends and any(effect.key == key for effect in one.decision.effects):
            one.ends[key] = outcome
            one.told = told(one.at, one.decision, one.ends, one.rejected)
            return True
    return False
