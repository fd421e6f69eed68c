"""A piece of work with several steps that survives a restart: deploy, roll back, later move and promote. Lives in
deciders' memory."""

from dataclasses import dataclass
from enum import StrEnum


class StepState(StrEnum):
    """A step waits, is under way, has ended well, has failed, or was passed over because nothing had to be done."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One row of an operation's table. Times are seconds since the epoch;
    `note` says what it waits for or why it failed."""

    name: str
    state: StepState = StepState.WAITING
    started_at: float | None = None
    ended_at: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """A table of steps over reserved `subjects`; `request` is who asked. Ends when every step is done or skipped, or
    when it was undone."""

    id: str
    kind: str
    release: str
    request: str
    started_at: float
    steps: tuple[Step, ...]
    subjects: tuple[str, ...] = ()
    undoing: bool = False
    why: str = ""

    @property
    def step(self) -> Step | None:
        """The step under way: the first that is neither done nor skipped; None when all are."""
        return next((s for s in self.steps if s.state not in (StepState.DONE, StepState.SKIPPED)), None)
