"""What the tests of the loop share: a small model, a clock to turn, observers and actuators made of functions, and a tiny brain."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tenfold.deciders import Decided, Memory
from tenfold.effects import AnswerRequest, Decision, Effect, Order, Outcome, Receipt, Rejection, StartInstance
from tenfold.facts import Fact, InstanceSeen, InstanceState, Snapshot
from tenfold.loop import Entry, Journal, Loop, Pace, World
from tenfold.model import Model, Region, Release, Service
from tenfold.sim import VirtualClock

MODEL = Model("shop", {"web": Service("web", "serve")}, {"local": Region("local")})


@dataclass
class Brain:
    """Sends each of `wants` once, in its own tick, answers every request, counts ticks in its memory; keeps the snapshots it was shown."""

    wants: list[Effect] = field(default_factory=list)
    shown: list[Snapshot] = field(default_factory=list)
    answers: bool = True
    each_tick: Callable[[Snapshot], Sequence[Effect]] = lambda snapshot: ()
    rejects: tuple[Rejection, ...] = ()

    def __call__(self, model: Model, snapshot: Snapshot, memory: Memory) -> Decided:
        self.shown.append(snapshot)
        effects = [*self.each_tick(snapshot), *([self.wants.pop(0)] if self.wants else [])]
        if self.answers:
            effects += [AnswerRequest(name, True, "done") for name in snapshot.requests]
        count = memory.decisions + 1
        made = (Decision(f"d{count}", "test", "x", tuple(effects), "because"),) if effects else ()
        return Decided(made, self.rejects, replace(memory, decisions=count))


class Eye:
    """An observer made of a function; `wake` is what the loop subscribed."""

    def __init__(self, see: Callable[[], Awaitable[tuple[Fact, ...]]], source: str = "process") -> None:
        self.source, self.see = source, see
        self.wake: Callable[[], None] = lambda: None

    async def observe(self) -> tuple[Fact, ...]:
        return await self.see()

    def subscribe(self, wake: Callable[[], None]) -> None:
        self.wake = wake


class Hand:
    """An actuator made of a function; keeps the orders it got."""

    def __init__(self, do: Callable[[Order], Awaitable[None]] | None = None) -> None:
        self.orders: list[Order] = []
        self.do = do

    def accepts(self, effect: Effect) -> bool:
        return not isinstance(effect, AnswerRequest)

    async def apply(self, order: Order) -> Receipt:
        self.orders.append(order)
        if self.do is not None:
            await self.do(order)
        return Receipt(order.key, Outcome.DONE, 0.0, "done by hand")


class Held:
    """A lease that is held until `lost`."""

    lost = False

    async def acquire(self) -> int | None:
        return 1

    async def held(self) -> bool:
        return not self.lost

    async def release(self) -> None:
        self.lost = True


@dataclass
class Rig:
    """A loop on virtual time with a journal on disk, and everything it holds."""

    path: Path
    brain: Brain = field(default_factory=Brain)
    eyes: list[Eye] = field(default_factory=list)
    hand: Hand = field(default_factory=Hand)
    lease: Held = field(default_factory=Held)
    clock: VirtualClock = field(default_factory=VirtualClock)
    said: list[str] = field(default_factory=list)
    pace: Pace = Pace()
    model: Model = MODEL

    @staticmethod
    def instance(name: str = "web-1", at: float = 1000.0, cpu_cores: float | None = 0.25) -> InstanceSeen:
        """A ready instance seen at `at`."""
        return InstanceSeen(name, "web", "local", "r1", InstanceState.READY, 900.0, 890.0, at, cpu_cores=cpu_cores)

    @staticmethod
    def start(name: str) -> StartInstance:
        """The effect that starts instance `name`."""
        return StartInstance(name, "web", "local", "r1")

    def watch(self, see: Callable[[], Awaitable[tuple[Fact, ...]]], source: str = "process") -> Eye:
        """Let the loop observe what `see` gives."""
        self.eyes.append(Eye(see, source))
        return self.eyes[-1]

    def loop(self) -> Loop:
        """The loop, over the journal as it is now. Call it inside of `run_virtual`."""
        self.journal = Journal(self.path)
        self.journal.open()
        world = World(self.eyes, [self.hand], self.clock)
        return Loop(
            model=self.model,
            decide=self.brain,
            world=world,
            lease=self.lease,
            epoch=1,
            journal=self.journal,
            say=self.said.append,
            pace=self.pace,
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal lies."""
    return tmp_path / "journal.db"


@pytest.fixture
def rig(path: Path) -> Iterator[Rig]:
    """A rig whose journal is closed afterwards."""
    made = Rig(path)
    yield made
    if hasattr(made, "journal"):
        made.journal.close()


@pytest.fixture
def release() -> Release:
    """A release of the model."""
    return Release("r1", MODEL.services, "source", 1.0)


@pytest.fixture
def fill() -> Callable[..., None]:
    """Writes ticks to a journal, a second apart: `see` and `effects` are told how many came before."""

    def write(
        journal: Journal,
        ticks: int,
        at: float = 1000.0,
        see: Callable[[int], Snapshot] = lambda i: Snapshot(0.0, instances={"web-1": Rig.instance(at=float(i))}),
        effects: Callable[[int], tuple[Effect, ...]] = lambda i: (),
    ) -> None:
        for i in range(ticks):
            snapshot = journal.seen(replace(see(i), taken_at=at + i, epoch=1))
            memory = replace(journal.memory, decisions=journal.memory.decisions + 1)
            made = effects(i)
            decisions = (Decision(f"d{memory.decisions}", "test", "x", made, f"tick {i}"),) if made else ()
            journal.append(Entry(MODEL, snapshot, Decided(decisions, (), memory)))

    return write
