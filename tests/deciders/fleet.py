"""A fleet for stories of healing: instances that do as they are told, fail as the story says, and what was done to them, all in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tenfold.deciders.heal import Around, Line, heal
from tenfold.deciders.memory import HealMemory, MemberState
from tenfold.effects import Decision, Effect, StartInstance, StopInstance
from tenfold.facts import InstanceSeen, InstanceState, PoolSeen, ReceiptSeen, Snapshot
from tenfold.model import Health, Region, Release, Scaling, Service

START = 1_750_000_000.0
START_S = 3.0
SICK = "health answered 503"


def line(name: str = "web", region: str = "a", wanted: int = 3, most: int = 8) -> Line:
    """A line of release r1."""
    service = Service(name, "serve", health=Health("/health", starts_within_s=20.0), scaling=Scaling(1, most))
    return Line(service, region, "r1", wanted, f"{wanted} are wanted")


@dataclass
class Fleet:
    """Lines, what runs of them, and what is remembered. `crashing` are regions in which each start ends at once, `flapping_s` after how
    long what serves there ends again; `full` regions have no room, for the reason given. `at_hand` are the requests at each instance of
    `web@a` that was ready once (0: nobody looks), and `answers` whether any come."""

    lines: tuple[Line, ...]
    regions: Mapping[str, Region] = field(default_factory=dict)
    now: float = START
    memory: HealMemory = field(default_factory=HealMemory)
    around: Around | None = None
    instances: dict[str, InstanceSeen] = field(default_factory=dict)
    receipts: dict[str, ReceiptSeen] = field(default_factory=dict)
    crashing: set[str] = field(default_factory=set)
    flapping_s: dict[str, float] = field(default_factory=dict)
    full: dict[str, str] = field(default_factory=dict)
    made: list[tuple[float, Decision]] = field(default_factory=list)
    starts: list[tuple[float, StartInstance]] = field(default_factory=list)
    causes: dict[str, Decision] = field(default_factory=dict)
    observed_at: float | None = None
    at_hand: int = 0
    answers: bool = True

    def __post_init__(self) -> None:
        names = {one.region for one in self.lines}
        self.regions = self.regions or {name: Region(name) for name in sorted(names)}
        releases = {"r1": Release("r1", {one.service.name: one.service for one in self.lines}, "digest", START)}
        self.around = self.around or Around(releases, self.regions, takes=tuple(self.regions))

    def whole(self) -> "Fleet":
        """Let time pass until all is ready and has served for a while."""
        self.run(8)
        assert all(self.count(one) == one.wanted for one in self.lines)
        self.run(310)
        self.made.clear()
        self.starts.clear()
        return self

    def change(self, **changes: object) -> None:
        """Change what is around."""
        assert self.around is not None
        self.around = replace(self.around, **changes)  # type: ignore[arg-type]

    def snapshot(self) -> Snapshot:
        """What is seen now."""
        observed = self.now if self.observed_at is None else self.observed_at
        seen = {id_: replace(one, seen_at=observed) for id_, one in self.instances.items()}
        pool = PoolSeen(
            "web",
            "a",
            self.now,
            in_flight=self.at_hand * self.lines[0].wanted,
            response_ms_mean=900.0 if self.answers else None,
            in_flight_by_instance=dict.fromkeys(self.instances, self.at_hand),
        )
        pools = {pool.key: pool} if self.at_hand else {}
        return Snapshot(
            self.now, 1, observed={"process": observed}, instances=seen, pools=pools, receipts=dict(self.receipts)
        )

    def tick(self) -> tuple[Decision, ...]:
        """A second passes: the world moves, healing decides, and what it decided is done."""
        self.now += 1.0
        self._move()
        assert self.around is not None
        self.memory, decisions = heal(self.lines, self.around, self.snapshot(), self.memory, self.causes)
        self.receipts, self.causes = {}, {}
        self.made += [(self.now, decision) for decision in decisions]
        for decision in decisions:
            for effect in decision.effects:
                self._do(effect)
        return decisions

    def run(self, seconds: int) -> list[Decision]:
        """Let so many ticks pass; what was decided in them."""
        return [decision for _ in range(seconds) for decision in self.tick()]

    def _move(self) -> None:
        for id_, one in tuple(self.instances.items()):
            if one.state is InstanceState.STOPPING and self.now - one.since >= 1.0:
                del self.instances[id_]
            elif one.state is InstanceState.STARTING and not one.frozen:
                if one.region in self.crashing:
                    self.enter(id_, InstanceState.EXITED, "exit code 1: no module named x")
                elif self.now - one.started_at >= START_S:
                    self.enter(id_, InstanceState.READY)
            elif one.state is InstanceState.READY and self.now - one.since >= self.flapping_s.get(one.region, 1e9):
                self.enter(id_, InstanceState.EXITED, "exit code 137")

    def _do(self, effect: Effect) -> None:
        if isinstance(effect, StopInstance):
            one = self.instances.get(effect.instance)
            if one is not None and one.state is InstanceState.EXITED:
                del self.instances[effect.instance]
            elif one is not None and one.state is not InstanceState.STOPPING:
                self.enter(effect.instance, InstanceState.STOPPING)
            return
        assert isinstance(effect, StartInstance), effect
        self.starts.append((self.now, effect))
        if effect.region in self.full:
            note = self.full[effect.region]
            self.receipts[effect.key] = ReceiptSeen(effect.key, "retryable", note, self.now)
            return
        before = self.instances.get(effect.instance)
        assert (before is not None) == (effect.attempt > 1), f"{effect} of {before}"
        assert before is None or before.state is InstanceState.EXITED
        self.instances[effect.instance] = InstanceSeen(
            id=effect.instance,
            service=effect.service,
            region=effect.region,
            release=effect.release,
            state=InstanceState.STARTING,
            since=self.now,
            started_at=self.now,
            seen_at=self.now,
            generation=before.generation + 1 if before else 1,
            port=before.port if before else 20_000 + len(self.starts),
        )

    def enter(self, id_: str, state: InstanceState, note: str = "") -> None:
        """Put an instance into a state."""
        one = self.instances[id_]
        self.instances[id_] = replace(one, state=state, since=self.now, note=note, generation=one.generation + 1)

    def kill(self, *ids: str) -> None:
        """End processes from outside."""
        for id_ in ids:
            self.enter(id_, InstanceState.EXITED, "killed by signal 9")

    def sicken(self, *ids: str) -> None:
        """Let instances fail their checks."""
        for id_ in ids:
            self.enter(id_, InstanceState.UNHEALTHY, SICK)

    def freeze(self, *ids: str) -> None:
        """Stop processes."""
        for id_ in ids:
            self.instances[id_] = replace(self.instances[id_], frozen=True)

    def ready(self, of: Line) -> list[str]:
        """The instances of a line that serve."""
        return [
            id_
            for id_, one in self.instances.items()
            if (one.service, one.region) == (of.service.name, of.region)
            and one.state is InstanceState.READY
            and not one.frozen
        ]

    def count(self, of: Line) -> int:
        """How many of a line serve."""
        return len(self.ready(of))

    def meant(self, of: Line) -> int:
        """How many of a line are meant to run."""
        return sum(m.state is MemberState.WANTED for m in self.memory.members.values() if m.line == of.key)

    def whys(self) -> list[str]:
        """All that was said."""
        return [decision.why for _, decision in self.made]
