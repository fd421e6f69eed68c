"""Where a drill is played: what the runner needs of a world, be it real or simulated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tenfold.deciders.memory import Memory
from tenfold.effects import Decision
from tenfold.facts import Snapshot
from tenfold.model import Model
from tenfold.proof.drills.drill import Act
from tenfold.proof.drills.result import Traffic
from tenfold.proof.history import Operation


class DrillRefused(Exception):
    """A drill was not begun, or could not be carried out; one sentence that says why and what to do. What was harmed is mended."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a world, at `at` on its clock: the newest tick of the journal (taken at `seen_at`, under `epoch`), and what a client
    outside notices; None where nothing is known yet."""

    at: float
    model: Model
    snapshot: Snapshot
    memory: Memory
    epoch: int
    seen_at: float
    edge_status: int | None = None
    failed: int | None = None
    late_ms: float | None = None
    write_fails: bool | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A decision, and when it was made."""

    at: float
    decision: Decision


class Stage(Protocol):
    """A world for one drill."""

    @property
    def world(self) -> str:
        """`sim` or `real`."""
        ...

    @property
    def seed(self) -> int:
        """What chooses among subjects, and in a simulator everything."""
        ...

    def now(self) -> float:
        """Seconds since the epoch on this world's clock."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let time pass in this world."""
        ...

    async def open(self) -> None:
        """Begin to write, if there is something to be written. Raises `DrillRefused`."""
        ...

    async def normal(self) -> None:
        """Put the load on, find out what is normal, and leave it on. Raises `DrillRefused`."""
        ...

    async def look(self) -> Look:
        """What is, now. Raises `DrillRefused` when nothing is known."""
        ...

    def decisions(self, since: float) -> Sequence[Made]:
        """The decisions made at `since` or later, oldest first."""
        ...

    async def act(self, act: Act) -> None:
        """Do it; its subjects are those of this world already. Raises `DrillRefused` when this world can't."""
        ...

    async def undo(self) -> None:
        """End every harm that is still in force; safe to call at any time, and more than once."""
        ...

    async def revive(self) -> None:
        """Start the control plane again, as a person would."""
        ...

    async def end(self) -> Traffic:
        """End the load, read back what was written; what came of the load."""
        ...

    def history(self) -> Sequence[Operation]:
        """Every write and read so far."""
        ...

    async def close(self) -> None:
        """Let go of everything, whatever happened."""
        ...
