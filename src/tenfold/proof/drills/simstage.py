"""A drill in the simulator: this project's model in a false world on virtual time, the same brain, everything from one seed."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from tenfold.deciders import decide
from tenfold.effects.faults import Kill
from tenfold.facts import DeployRequest, UpRequest
from tenfold.model import Model, Release
from tenfold.ports import Permanent
from tenfold.proof.drills.aim import CONTROL
from tenfold.proof.drills.drill import Act, Ship, Sickness, Strike, Surge
from tenfold.proof.drills.result import Traffic
from tenfold.proof.drills.slow import later_than, slow_beyond_ms
from tenfold.proof.drills.stage import DrillRefused, Look, Made
from tenfold.proof.history import Do, Ending, Operation
from tenfold.sim import Behaviour, Breakage, Simulation, World
from tenfold.sim.queue import quantile_ms

STEP_S = 0.25
WARM_S = 60.0
"""Until the entry and the gateways have learned what is usual."""
NORMAL_S = 10.0
UP_WITHIN_S = 300.0
WRITES_PER_S = 5.0
READ_EVERY_S = 1.0
STARTS_WITHIN_S = 10.0
"""So long a broken release may take to get healthy: the drill need not last the minute that a real one is given."""
WRITE_RATIO = 0.1
"""Of all requests, those that write, where there is a database."""
NEVER_S = 1e9
BREAKAGES = {Sickness.NEVER_HEALTHY: Breakage.HEALTH, Sickness.ERRORS: Breakage.ERRORS}


class SimStage:
    """`model` in a world of its own under `rate_rps` requests per second, spread evenly over the regions. What programs cost is not known
    here: all are alike (`sim.Behaviour`)."""

    world = "sim"

    def __init__(self, model: Model, seed: int = 1, rate_rps: float = 100.0) -> None:
        """Nothing happens until `open`."""
        self._seed, self._times = seed, 1.0
        web = [s.name for s in model.services.values() if s.http and s.runs_always]
        per_s = rate_rps / len(model.regions) / max(1, len(web))
        ratio = WRITE_RATIO if model.data is not None else 0.0
        behaviour = Behaviour(cpu_ms=5, wait_ms=20, idempotent_ratio=1.0, write_ratio=ratio)
        self._world = World(
            model,
            f"drill/{seed}",
            rates={f"{name}@{region}": lambda _: per_s * self._times for name in web for region in model.regions},
            behaviours=dict.fromkeys(model.services, behaviour),
            step_s=STEP_S,
        )
        self._simulation = Simulation(self._world, decide)
        self._services = model.services
        self._books = _Books(self._world)
        self._history = _Writers(self._world)
        self._normal_ms: float | None = None
        self._from = (0.0, 0.0)
        self._is_down = False
        self._releases = 1

    @property
    def seed(self) -> int:
        """What everything follows from."""
        return self._seed

    def now(self) -> float:
        """Virtual time."""
        return self._world.clock.now()

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass: it takes none of ours."""
        until_s = self._world.clock.elapsed_s + seconds
        while self._world.clock.elapsed_s < until_s - 1e-9:
            self._simulation.step()
            self._books.note()
            self._history.note(self.now(), self._books)

    async def open(self) -> None:
        """Start the project and let it serve for a while."""
        release = Release("r1", self._services, "simulated", self.now())
        self._simulation.ask(UpRequest("up", self.now(), release))
        until_s = self._world.clock.elapsed_s + UP_WITHIN_S
        while "up" not in self._simulation.answers:
            if self._world.clock.elapsed_s > until_s:
                raise DrillRefused(f"seed {self._seed}: the simulated project does not come up; try another --seed")
            await self.sleep(STEP_S)
        answer = self._simulation.answers["up"]
        if not answer.ok:
            raise DrillRefused(f"seed {self._seed}: the simulated project does not come up: {answer.text}")
        await self.sleep(WARM_S)

    async def normal(self) -> None:
        """What is normal is what the last seconds were like."""
        self._books.waits.clear()
        await self.sleep(NORMAL_S)
        self._normal_ms = self._books.quantile_ms(0.999)
        self._books.waits.clear()
        self._books.slow_ms = slow_beyond_ms(self._world.model, self._normal_ms)
        self._from = (self._books.offered, self._books.failed)
        self._books.slow = 0.0

    async def look(self) -> Look:
        """The brain's last look, and what clients noticed of the last second."""
        snapshot = self._simulation.snapshot
        return Look(
            at=self.now(),
            model=self._world.model,
            snapshot=snapshot,
            memory=self._simulation.memory,
            epoch=snapshot.epoch,
            seen_at=snapshot.taken_at,
            edge_status=200 if self._books.is_answered else 500,
            failed=round(self._books.failed_lately),
            late_ms=later_than(self._books.p99_ms, self._normal_ms),
            write_fails=self._history.fails,
        )

    def decisions(self, since: float) -> Sequence[Made]:
        """Of the simulation, by its clock."""
        began = self.now() - self._world.clock.elapsed_s
        made = (Made(began + at_s, decision) for at_s, decision in self._simulation.decided)
        return [one for one in made if one.at >= since]

    async def act(self, act: Act) -> None:
        """Do it to the false world."""
        match act:
            case Strike(Kill(subject=subject)) if subject == CONTROL:
                self._simulation.crash(NEVER_S)
                self._is_down = True
            case Strike(fault):
                try:
                    self._world.inflict(fault)
                except Permanent as error:
                    raise DrillRefused(str(error)) from None
            case Surge(times):
                self._times = times
            case Ship(sickness):
                await self._ship(sickness)

    async def undo(self) -> None:
        """Thaw everything, let the load fall back."""
        self._times = 1.0
        self._world.thaw()

    async def revive(self) -> None:
        """Somebody starts the control plane, and it looks once."""
        self._simulation.planes.revive()
        await self.sleep(STEP_S)

    async def end(self) -> Traffic:
        """What the world's own books say."""
        books = self._books
        self._history.read(self.now(), is_last=True)
        return Traffic(
            requests=round(books.offered - self._from[0]),
            failed=round(books.failed - self._from[1]),
            slow=round(books.slow),
            slow_ms=books.slow_ms,
            p99_ms=books.quantile_ms(0.99),
            normal_p999_ms=self._normal_ms,
        )

    def history(self) -> Sequence[Operation]:
        """Of one simulated writer and one reader; empty where the project has no data."""
        return self._history.made if self._world.model.data is not None else ()

    async def close(self) -> None:
        """Nothing is held."""

    async def _ship(self, sickness: Sickness) -> None:
        self._releases += 1
        id_ = f"r{self._releases}"
        self._world.broken[id_] = BREAKAGES[sickness]
        services = {
            name: replace(service, health=replace(service.health, starts_within_s=STARTS_WITHIN_S))
            for name, service in self._services.items()
        }
        request = DeployRequest(f"drill-{id_}", self.now(), Release(id_, services, f"broken {id_}", self.now()))
        self._simulation.ask(request)
        while request.id not in self._simulation.answers and self._simulation.memory.release.operation is None:
            await self.sleep(STEP_S)


class _Books:
    """What clients of the world counted, whether it has one region or several."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lately: deque[tuple[float, float]] = deque()
        self.slow_ms: float | None = None
        self.slow = 0.0
        self.waits: list[tuple[float, float, float]] = []
        self.is_answered = True

    @property
    def offered(self) -> float:
        """Requests since the world began."""
        spread = self._world.spread
        return spread.entry.clients.offered if spread else sum(p.totals.offered for p in self._world.pools.values())

    @property
    def answered(self) -> float:
        """Of these, those that were answered well."""
        spread = self._world.spread
        return spread.entry.clients.answered if spread else sum(p.totals.answered for p in self._world.pools.values())

    @property
    def failed(self) -> float:
        """Of these, those that failed."""
        spread = self._world.spread
        return spread.entry.clients.failed if spread else sum(p.totals.failed for p in self._world.pools.values())

    @property
    def failed_lately(self) -> float:
        """Those that failed within the last second."""
        return self._lately[-1][1] - self._lately[0][1] if self._lately else 0.0

    @property
    def p99_ms(self) -> float | None:
        """Of what was answered in the last step."""
        at = [quantile_ms(fixed_s, random_s, 0.99) for _, fixed_s, random_s in self._last()]
        return max(at, default=None)

    def note(self) -> None:
        """A step has passed."""
        now_s = self._world.clock.elapsed_s
        self._lately.append((now_s, self.failed))
        while self._lately[0][0] < now_s - 1.0:
            self._lately.popleft()
        last = self._last()
        self.waits += last
        self.is_answered = bool(last)
        if self.slow_ms is not None:
            self.slow += sum(count * _beyond(fixed, random, self.slow_ms / 1000) for count, fixed, random in last)

    def quantile_ms(self, at_ratio: float) -> float | None:
        """The response time that `at_ratio` of what was noted stayed within, to the millisecond."""
        whole = sum(count for count, _, _ in self.waits)
        if whole <= 0:
            return None
        low, high = 0.0, 3600.0
        while high - low > 0.0005:
            middle = (low + high) / 2
            beyond = sum(count * _beyond(fixed, random, middle) for count, fixed, random in self.waits)
            low, high = (middle, high) if beyond > (1 - at_ratio) * whole else (low, middle)
        return high * 1000

    def _last(self) -> list[tuple[float, float, float]]:
        """Of each pool's last step: how many were answered, and the fixed and the random part of their time, in seconds."""
        steps = (pool.last for pool in self._world.pools.values() if pool.last.answered > 0)
        return [(s.answered, s.fixed_s / s.answered, s.random_s / s.answered) for s in steps]


def _beyond(fixed_s: float, random_s: float, limit_s: float) -> float:
    """Which share takes longer than a limit: see sim.queue, which has a fixed part and an exponential one."""
    if limit_s <= fixed_s:
        return 1.0
    return math.exp(-(limit_s - fixed_s) / random_s) if random_s > 0 else 0.0


class _Writers:
    """One who writes a value at a time, and one who reads all of them. A write is acknowledged when the world acknowledged writes in that
    step; which of them are lost follows from how many of the newest the world lost."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.made: list[Operation] = []
        self.fails: bool | None = None
        self._kept: list[tuple[float, str]] = []
        self._due_s = self._read_due_s = 0.0
        self._number = 0
        self._acked, self._lost = 0.0, 0.0

    def note(self, at: float, books: _Books) -> None:
        """A step has passed, and now it is `at`."""
        now_s = self._world.clock.elapsed_s
        acked, lost = self._counts()
        is_taken = acked > self._acked
        if lost > self._lost:
            self._kept = [
                (position, value) for position, value in self._kept if position <= acked - (lost - self._lost)
            ]
        while self._due_s <= now_s:
            self._due_s += 1 / WRITES_PER_S
            self._write(at, acked, is_taken)
        self._acked, self._lost = acked, lost
        self.fails = not is_taken if self._world.model.data is not None else None
        if now_s >= self._read_due_s and is_taken:
            self._read_due_s = now_s + READ_EVERY_S
            self.read(at)

    def read(self, at: float, is_last: bool = False) -> None:
        """All that is kept is read."""
        began_at = at - STEP_S / 10 if not is_last else at + STEP_S
        saw = tuple(value for _, value in self._kept)
        self.made.append(Operation(1, Do.READ, "values", began_at, began_at + STEP_S / 20, Ending.OK, saw=saw))

    def _write(self, at: float, acked: float, is_taken: bool) -> None:
        self._number += 1
        value = f"value-{self._number:06d}"
        ending = Ending.OK if is_taken else Ending.FAILED
        self.made.append(Operation(0, Do.WRITE, "values", at - STEP_S, at - STEP_S / 2, ending, value))
        if is_taken:
            self._kept.append((acked, value))

    def _counts(self) -> tuple[float, float]:
        spread = self._world.spread
        if spread is None:
            return sum(pool.totals.written for pool in self._world.pools.values()), 0.0
        ledger = spread.stores.ledger("postgres")
        return ledger.acked, ledger.lost
