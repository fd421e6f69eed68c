"""A toy world of one kind of store in two regions: it obeys orders, is harmed, and counts what was acknowledged and lost."""

from dataclasses import dataclass, field, replace

from tenfold.deciders.engines import keep_engines
from tenfold.deciders.memory import HealMemory, RegionMemory, RegionsMemory, RegionState, StoreMemory
from tenfold.deciders.stores import keep_stores
from tenfold.effects import Decision, Effect, Promote, StartEngine, StopEngine
from tenfold.facts import EngineSeen, EngineState, ReceiptSeen, ReplicaRole, ReplicaSeen, Snapshot
from tenfold.model import Data, Model, Region

START = 1_750_000_000.0
MISSES_S = 6.0


@dataclass
class Store:
    """One region's store. `state` is what its process is; a frozen one does not answer. `rows` are the numbers of the writes it holds."""

    state: EngineState | None = None
    since: float = START
    generation: int = 0
    role: ReplicaRole = ReplicaRole.PRIMARY
    rows: set[int] = field(default_factory=set)
    timeline: int = 1
    has_data: bool = False
    is_fenced: bool = False
    is_synchronous: bool = False
    is_frozen: bool = False
    is_barred: bool = False
    follow: str = ""
    answered_at: float = START
    whole_at: float | None = None
    seen: ReplicaSeen | None = None

    @property
    def answers(self) -> bool:
        """Whether it does anything at all."""
        return self.state is EngineState.READY and not self.is_frozen

    @property
    def writes(self) -> bool:
        """Whether it would take a write."""
        return self.answers and self.role is ReplicaRole.PRIMARY


@dataclass
class World:
    """Regions `a` and `b`; `tick` lets time pass, decides and obeys. `lost` counts acknowledged writes that no promotion kept."""

    data: Data = Data(replicas=1)
    kind: str = "postgres"
    now: float = START
    stores: dict[str, Store] = field(default_factory=lambda: {"a": Store(), "b": Store()})
    memory: dict[str, StoreMemory] = field(default_factory=dict)
    heal: HealMemory = HealMemory()
    out: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False
    is_blind: bool = False
    is_deaf: bool = False
    unreachable: str = ""
    is_up: bool = True
    receipts: dict[str, ReceiptSeen] = field(default_factory=dict)
    sent: dict[str, float] = field(default_factory=dict)
    acked: dict[int, float] = field(default_factory=dict)
    lost: list[float] = field(default_factory=list)
    said: list[Decision] = field(default_factory=list)
    done: list[Effect] = field(default_factory=list)
    observed_at: float = START
    rows: int = 0

    @property
    def model(self) -> Model:
        """A blueprint with two regions."""
        data = self.data if self.kind == "valkey" else replace(self.data, valkey_url="redis://mine")
        if self.kind == "valkey":
            data = replace(self.data, url="postgresql://mine")
        return Model("demo", {}, {"a": Region("a"), "b": Region("b")}, data=data)

    @property
    def store(self) -> StoreMemory:
        """What is remembered of the kind."""
        return self.memory[self.kind]

    def other(self, region: str) -> str:
        """The other region."""
        return "b" if region == "a" else "a"

    # --- what happens -----------------------------------------------------------------------------------------------

    def follows(self, region: str) -> bool:
        """Whether a standby gets its primary's writes now."""
        mine, theirs = self.stores[region], self.stores[self.other(region)]
        return mine.answers and mine.role is ReplicaRole.STANDBY and theirs.writes and not self.is_cut

    def write(self) -> None:
        """A client's write to each store that would take it; only those that lead by the routes are acknowledged to anybody."""
        for region, store in self.stores.items():
            if not store.writes:
                continue
            self.rows += 1
            store.rows.add(self.rows)
            standby = self.stores[self.other(region)]
            if self.follows(self.other(region)):
                standby.rows |= store.rows
                standby.whole_at = self.now
            elif store.is_synchronous:
                continue
            if self.memory and self.store.primary == region:
                self.acked[self.rows] = self.now

    def look(self) -> None:
        """Each store that answers is asked."""
        for region, store in self.stores.items():
            if store.state is EngineState.READY and self.now - store.answered_at >= MISSES_S:
                self.become(store, EngineState.UNHEALTHY)
            if store.state is EngineState.UNHEALTHY and not store.is_frozen:
                self.become(store, EngineState.READY)
            if not store.answers:
                continue
            store.answered_at = self.now
            standby = self.follows(self.other(region))
            behind = self.stores[self.other(region)].whole_at
            if store.role is ReplicaRole.PRIMARY:
                lag_s = self.now - (behind or self.now) if standby else None
                who = (self.other(region),) if standby else ()
                sync = store.is_synchronous
                seen = ReplicaSeen(self.kind, region, store.role, self.now, store.timeline, "", who, sync, lag_s)
            else:
                of = self.other(region) if self.follows(region) else ""
                lag_s = None if store.whole_at is None else self.now - store.whole_at
                seen = ReplicaSeen(self.kind, region, store.role, self.now, store.timeline, of, lag_s=lag_s)
            store.seen = seen

    def become(self, store: Store, state: EngineState | None) -> None:
        """Change what its process is."""
        store.state, store.since, store.generation = state, self.now, store.generation + 1

    def kill(self, region: str) -> None:
        """Its process ends."""
        if self.stores[region].state not in (None, EngineState.EXITED):
            self.become(self.stores[region], EngineState.EXITED)
        self.stores[region].is_frozen = False

    # --- seeing, deciding, obeying ----------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """What is seen now; what was seen last while blind."""
        if not self.is_blind:
            self.look()
            self.observed_at = self.now
        engines = {
            f"{self.kind}/{r}": EngineSeen(self.kind, r, s.state, s.since, self.observed_at, s.generation)
            for r, s in self.stores.items()
            if s.state is not None
        }
        replicas = {
            f"{self.kind}/{r}": s.seen
            for r, s in self.stores.items()
            if s.seen is not None and s.state is EngineState.READY
        }
        shown, self.receipts = self.receipts, {}
        return Snapshot(
            taken_at=self.now,
            observed={self.kind: self.observed_at},
            engines=engines,
            replicas=replicas,
            receipts={} if self.is_deaf else shown,
        )

    def regions(self) -> RegionsMemory:
        """How the regions were judged."""
        return RegionsMemory(
            {r: RegionMemory(RegionState.OUT, START, why, is_hard=True) for r, why in self.out.items()}
        )

    def tick(self, seconds: float = 1.0) -> tuple[Decision, ...]:
        """Time passes, a write comes, and everything is decided and obeyed."""
        self.now += seconds
        self.write()
        snapshot = self.snapshot()
        kept, starts, said = keep_stores(self.model, snapshot, self.regions(), self.memory, is_up=self.is_up)
        self.memory = dict(kept)
        self.heal, kept_up = keep_engines(starts if self.is_up else {}, (), snapshot, self.heal)
        taken = set()
        for decision in (*said, *kept_up):
            assert decision.why, decision
            for effect in decision.effects:
                if effect.subject in taken or self.now - self.sent.get(effect.key, 0.0) < 3.0:
                    continue
                taken.add(effect.subject)
                self.sent[effect.key] = self.now
                self.obey(effect, snapshot)
        self.said += said
        return said

    def ticks(self, count: int) -> None:
        """So many seconds."""
        for _ in range(count):
            self.tick()

    def obey(self, effect: Effect, snapshot: Snapshot) -> None:
        """What the driver would do."""
        assert isinstance(effect, StartEngine | StopEngine | Promote)
        store = self.stores[effect.region]
        generation = store.generation if store.state is not None else 0
        running = store.state not in (None, EngineState.EXITED)
        is_change = isinstance(effect, StartEngine) and running
        outcome, note = "done", ""
        if effect.region == self.unreachable:
            outcome, note = "retryable", "it can't be reached"
        elif effect.expected_generation != generation and not is_change:
            outcome, note = "refused", "it has changed"
        else:
            match effect:
                case StartEngine():
                    outcome, note = self.start(store, effect, running)
                case StopEngine():
                    store.is_fenced |= effect.at_once and store.has_data
                    store.is_frozen = False
                    if store.state is not None:
                        self.become(store, None)
                case Promote():
                    self.promote(store, effect, snapshot)
        self.done.append(effect)
        self.receipts[effect.key] = ReceiptSeen(effect.key, outcome, note, self.now)

    def start(self, store: Store, effect: StartEngine, running: bool) -> tuple[str, str]:
        """Start it, or let it run another way."""
        if running:
            if store.role is ReplicaRole.PRIMARY and not effect.follow:
                store.is_synchronous = effect.is_synchronous
            return "done", ""
        if store.is_barred:
            return "retryable", "its region is gone"
        if effect.follow:
            primary = self.stores[effect.follow]
            if not primary.writes or self.is_cut:
                return "retryable", "the primary does not answer"
            store.role, store.rows, store.timeline = ReplicaRole.STANDBY, set(primary.rows), primary.timeline
            store.is_fenced, store.whole_at, store.is_synchronous = False, self.now, False
        elif store.is_fenced:
            return "failed", "fenced"
        else:
            store.is_synchronous = effect.is_synchronous
        store.has_data, store.follow, store.answered_at = True, effect.follow, self.now
        self.become(store, EngineState.READY)
        return "done", ""

    def promote(self, store: Store, effect: Promote, snapshot: Snapshot) -> None:
        """Promote it, and count what is lost with it; whatever may never be is found here."""
        other = self.stores[self.other(effect.region)]
        is_stopped = other.is_fenced or not other.has_data or other.state in (None, EngineState.EXITED)
        assert is_stopped or other.is_synchronous, "promoted beside one that may still acknowledge"
        assert not other.writes, "promoted beside one that takes writes"
        seen = snapshot.replicas[f"{self.kind}/{effect.region}"]
        assert snapshot.taken_at - seen.seen_at <= 3.0, "promoted on stale facts"
        assert seen.role is ReplicaRole.STANDBY
        assert effect.number == self.store.number
        gone = [at for row, at in self.acked.items() if row not in store.rows]
        self.lost += [self.store.lost_since - at for at in gone]
        self.acked = {row: at for row, at in self.acked.items() if row in store.rows}
        store.role, store.timeline, store.follow = ReplicaRole.PRIMARY, max(store.timeline, other.timeline) + 1, ""
        store.is_synchronous = False
