"""A project that is only simulated, with a journal as the loop would write it: what the console shows of it is the console's own work.

The past is played at full speed up to now; from there `go_on` lets it live in real time, and tells the console each tick.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tenfold.deciders import Decided, decide
from tenfold.deciders.memory import Memory
from tenfold.effects import Outcome, Receipt
from tenfold.estimators.minutes import Minutes
from tenfold.facts import Snapshot, UpRequest
from tenfold.loop import Entry, Journal, Tick
from tenfold.model import (
    Data,
    Environment,
    Health,
    Model,
    Region,
    Release,
    ResidencyRule,
    Rollout,
    Scaling,
    Service,
    Targets,
)
from tenfold.model.targets import LatencyTargets
from tenfold.sim import Behaviour, Rate, Simulation, VirtualClock, World

STEP_S = 1.0
WARM_S = 90.0
"""Until all serves and the entry has learned what is usual."""
TARGETS = Targets(
    concurrent_users=10_000,
    throughput_rps=1000.0,
    latency=LatencyTargets(p95_ms=500.0),
    availability_ratio=0.9999,
    error_ratio=0.001,
)


class Played(Simulation):
    """A simulation that writes every tick down, and takes requests from the journal as the loop does."""

    def __init__(self, world: World, journal: Journal) -> None:
        """`journal` is open."""
        super().__init__(world, self._decide)
        self._journal, self._minutes = journal, Minutes()
        self._decisions: dict[str, str] = {}
        self.tick: Tick | None = None

    def _decide(self, model: Model, snapshot: Snapshot, memory: Memory) -> Decided:
        decided = decide(model, snapshot, memory)
        for decision in decided.decisions:
            self._decisions.update((effect.key, decision.id) for effect in decision.effects)
        receipts = [
            (Receipt(seen.key, Outcome(seen.outcome), seen.at, seen.note), made_by)
            for seen in snapshot.receipts.values()
            if (made_by := self._decisions.pop(seen.key, ""))
        ]
        self._minutes.add(snapshot)
        self.tick = self._journal.append(Entry(model, snapshot, decided, receipts, minutes=self._minutes.due))
        self._minutes.written()
        return decided

    def play_until_now(self) -> None:
        """Let time pass at full speed until it is what the wall's clock says."""
        while self.world.clock.now() < time.time():
            self.step()

    async def go_on(self, tell: Callable[[Tick], None]) -> None:
        """Live a step each second, for ever."""
        while True:
            # Both clocks stand side by side: a step that came late is made up for.
            await asyncio.sleep(max(0.0, self.world.clock.now() + self.world.step_s - time.time()))
            for request in self._journal.requests().values():
                if request.id not in self.requests and request.id not in self.answers:
                    self.ask(request)
            self.step()
            if self.tick is not None:
                tell(self.tick)


def played(
    journal: Journal,
    places: Mapping[str, tuple[float, float]],
    rates: Mapping[str, Rate],
    *,
    seconds: float,
    each: int = 2,
    tenants: int = 0,
    capacity: int = 3000,
    name: str = "crewboard",
) -> Played:
    """A small web app in `places` (none: in one region without a place), `each` instances in each, up since `seconds` ago."""
    residence = "eu" if tenants else None
    names = [f"tenant-{n:04}" for n in range(tenants)]
    regions = {
        place: Region(place, at, capacity, residency=residence if n == 0 else None)
        for n, (place, at) in enumerate(places.items())
    }
    web = Service("web", "serve", paths=("/",), health=Health("/now"), scaling=Scaling(each, each + 4))
    model = Model(
        name,
        {"web": web},
        regions or {"local": Region("local")},
        environment=Environment("worldwide") if regions else Environment("development"),
        data=Data(),
        targets=TARGETS,
        residency={"eu": ResidencyRule("eu", tenants=tuple(names))} if names else {},
        rollout=Rollout(watch_s=3.0),
    )
    world = World(
        model,
        1,
        clock=VirtualClock(time.time() - WARM_S - seconds),
        rates={f"web@{region}": rate for region, rate in rates.items()},
        sockets={f"web@{region}": _sockets(rate) for region, rate in rates.items()},
        behaviours={"web": Behaviour(cpu_ms=6, wait_ms=22, start_s=4.0)},
        rtt_ms={f"{a}>{b}": _rtt_ms(places[a], places[b]) for a in places for b in places if a < b},
        step_s=STEP_S,
    )
    made = Played(world, journal)
    made.ask(UpRequest("up", world.clock.now(), Release("r-7f3a", {"web": web}, "source", world.clock.now())))
    made.run(WARM_S)
    return made


def _sockets(rate: Rate) -> Rate:
    """A user asks for something every ten seconds or so, and holds one socket meanwhile."""
    return lambda at_s: 10.0 * rate(at_s)


def _rtt_ms(a: tuple[float, float], b: tuple[float, float]) -> float:
    """About what cables make of it: light's way there and back, half as long again. Degrees count as 111 km, cables carry 200 km/ms."""
    return round(20.0 + 1.5 * 2 * 111.0 / 200.0 * math.hypot(a[0] - b[0], a[1] - b[1]), 1)


def opened(path: Path) -> Journal:
    """A new journal at `path`."""
    journal = Journal(path)
    journal.open()
    return journal
