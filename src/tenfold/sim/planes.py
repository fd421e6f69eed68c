"""Who leads: the lives of control planes in a false world, one after another, and those that think they still do.

With one region there is one control plane, which comes back after a crash. With several, one leads under a lease of the voters and the
engines `control/<region>` stand by: the first that gets the lease leads next. A leader that was frozen is thawed with the memory, the
epoch and the orders of before.
"""

from dataclasses import dataclass, field

from tenfold.deciders.memory import Memory
from tenfold.facts import Fact, ReceiptSeen
from tenfold.sim.ports import Drivers
from tenfold.sim.world import World

FOUND_AFTER_S = 5.0
"""After so long without a leader whoever stands by starts the voters that do not run."""
RETURNS_S = 20.0
"""Where nobody stands by, somebody starts the control plane anew after this long."""


@dataclass(slots=True)
class Life:
    """One life of a control plane: what a crash takes away. `key` is the engine that it is, if any; `memory` what it remembers of
    its own once it was cut off from the journal."""

    drivers: Drivers
    epoch: int
    region: str = ""
    key: str = ""
    deaths: int = 0
    memory: Memory | None = None
    was_frozen: bool = False
    observed: dict[str, float] = field(default_factory=dict)
    facts: dict[str, tuple[Fact, ...]] = field(default_factory=dict)
    pending: dict[str, float] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)
    due: list[tuple[float, ReceiptSeen]] = field(default_factory=list)


class Planes:
    """The control planes of `world`. `late` are those that woke up to find that another leads: each acts once more, and ends."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.leader: Life | None = None
        self.late: list[Life] = []
        self.takeovers = 0
        self._waiting: list[Life] = []
        self._down_until_s = 0.0
        self._ended_s = 0.0

    def crash(self, down_s: float) -> None:
        """The leader is killed. It comes back after `down_s`, unless another that stands by was sooner."""
        now_s = self._world.clock.elapsed_s
        if self.leader is not None and self._world.spread is None:
            self.leader.drivers.lease.drop()
        if self.leader is not None and self.leader.key:
            self._world.end(self.leader.key)
        self._end(now_s)
        self._down_until_s = now_s + down_s

    def revive(self) -> None:
        """Somebody starts the control plane anew, now."""
        self._down_until_s = self._world.clock.elapsed_s

    def lead(self, memory: Memory) -> Life | None:
        """Whoever leads now; None when nobody does. `memory` is the journal's."""
        now_s = self._world.clock.elapsed_s
        if self._world.spread is None:
            if self.leader is None and now_s >= self._down_until_s:
                self.leader = self._begin("", "")
            return self.leader
        self._look_after(memory, now_s)
        if self.leader is None:
            self.leader = self._next(now_s)
        if self.leader is not None:
            self._world.led_from, self._world.led_by = self.leader.region, self.leader.key
        return self.leader

    def _look_after(self, memory: Memory, now_s: float) -> None:
        """The leader dies with its region or its engine; frozen with it, or out of reach of the voters, it waits for what comes."""
        leader = self.leader
        if leader is not None:
            is_frozen = self._is_frozen(leader, now_s)
            if is_frozen or self._is_dead(leader) or not leader.drivers.lease.renew():
                self._end(now_s)
                leader.memory, leader.was_frozen = memory, is_frozen
                self._waiting.append(leader)
        for life in list(self._waiting):
            if self._is_dead(life):
                self._waiting.remove(life)
            elif not self._is_frozen(life, now_s):
                self._wake(life)

    def _wake(self, life: Life) -> None:
        """It acts again when nobody has led since; when another has, it finds that out, if it was frozen after its last order."""
        lease = life.drivers.lease
        if self.leader is None and lease.renew():
            self.leader = life
        elif self._world.lease_holder is not lease:
            if life.was_frozen:
                self.late.append(life)
            if life.key:
                self._world.end(life.key)
        else:
            return
        self._waiting.remove(life)

    def _end(self, now_s: float) -> None:
        self.leader, self._ended_s = None, now_s

    def _next(self, now_s: float) -> Life | None:
        standing_by = sorted(
            engine.key
            for engine in self._world.engines.values()
            if engine.kind == "control" and self._world.serves(engine)
        )
        for key in standing_by:
            life = self._begin(key.partition("/")[2], key)
            if life is not None:
                self.takeovers += 1
                return life
        if standing_by and now_s - self._ended_s > FOUND_AFTER_S and self._world.spread is not None:
            self._world.spread.found_voters(self._world)
        if now_s < self._down_until_s or (self._ended_s > 0 and not standing_by and now_s - self._ended_s < RETURNS_S):
            return None
        region = next((region for region in self._world.model.regions if self._world.is_up(region)), None)
        if region is None or self._world.spread is None:
            return None
        self._world.spread.found_voters(self._world)
        return self._begin(region, "")

    def _begin(self, region: str, key: str) -> Life | None:
        drivers = Drivers.of(self._world, region, adopts=False)
        epoch = drivers.lease.take()
        if epoch is None:
            return None
        # Whoever takes over raises the fence before anything else.
        self._world.epoch_seen = epoch
        self._world.adopt()
        return Life(drivers, epoch, region, key, self._world.deaths.get(region, 0))

    def _is_dead(self, life: Life) -> bool:
        died = self._world.deaths.get(life.region, 0) != life.deaths
        return died or (bool(life.key) and not self._world.runs(life.key))

    def _is_frozen(self, life: Life, now_s: float) -> bool:
        if self._world.frozen_until_s.get(life.region, 0.0) > now_s:
            return True
        engine = self._world.engines.get(life.key)
        return engine is not None and engine.frozen_until_s > now_s
