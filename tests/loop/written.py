"""A simulated world whose every tick is written into a journal, as the loop does it."""

from collections.abc import Callable
from pathlib import Path

from tenfold.deciders import Decided, Memory
from tenfold.facts import Snapshot, UpRequest
from tenfold.loop import Entry, Journal
from tenfold.loop.tick import Decide
from tenfold.model import Model, Release
from tenfold.sim import FaultSchedule, Simulation, World


class Written(Simulation):
    """`world` under release r1, decided by `brain` on what `foreseen` adds to each snapshot, with its journal at `path`."""

    def __init__(
        self,
        path: Path,
        world: World,
        brain: Decide,
        foreseen: Callable[[Snapshot], Snapshot],
        faults: FaultSchedule | None = None,
    ) -> None:
        self.path, self.journal = path, Journal(path)
        self.journal.open()
        self._decide_by, self._foreseen = brain, foreseen
        super().__init__(world, self._write, faults)
        self.ask(UpRequest("up", world.clock.now(), Release("r1", world.model.services, "source", 0.0)))

    def _write(self, model: Model, snapshot: Snapshot, memory: Memory) -> Decided:
        snapshot = self.journal.seen(self._foreseen(snapshot))
        decided = self._decide_by(model, snapshot, memory)
        self.journal.append(Entry(model, snapshot, decided))
        return decided
