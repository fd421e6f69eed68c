"""What would have been: told by the journal of one world, and held against another world in which it was so."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tenfold.deciders import Decided, Memory, decide
from tenfold.deciders.decide import Scaler
from tenfold.deciders.memory import HealMemory, Intent, Member, MemberState, PoolScale, ReleaseMemory, ScaleMemory
from tenfold.deciders.scale import scale
from tenfold.effects import Decision
from tenfold.estimators.forecast import Forecasts
from tenfold.facts import (
    CapacitySeen,
    DownRequest,
    ForecastSeen,
    InstanceSeen,
    InstanceState,
    PoolSeen,
    Snapshot,
    SpendSeen,
    WorkSeen,
)
from tenfold.loop import (
    Counterfactual,
    EndedBy,
    Entry,
    Journal,
    JournalError,
    JournalReader,
    counterfactual,
    decide_again,
)
from tenfold.model import (
    DAY_SETS,
    Budget,
    Floor,
    Forecast,
    Health,
    Model,
    Money,
    Region,
    Release,
    Scaling,
    Service,
    Trigger,
)
from tenfold.sim import Behaviour, ObserverOutage, World
from tenfold.sim.rates import steps
from tests.loop.written import Written

SEED = 20_261_129
POOL = "web@local"
SERIES = f"{POOL}.requests_per_s"
START_S = 20.0
UP_ABOVE = 20.0
CONCURRENCY = Trigger("concurrency", up_above=UP_ABOVE, down_below=10, cooldown_s=60.0)
RISES_S = 300.0


def prophet(
    model: Model, release: Release, snapshot: Snapshot, memory: ScaleMemory
) -> tuple[ScaleMemory, tuple[Decision, ...]]:
    """As the real scaler, and where more is expected than its number serves (at 100 requests/s each), as many as that takes."""
    scaled, made = scale(model, release, snapshot, memory)
    pool, seen = scaled.pools[POOL], snapshot.forecasts.get(SERIES)
    wanted = 0 if seen is None or not release.services["web"].scaling.forecast else round(seen.quantiles[-1][0] / 100)
    wanted = min(wanted, release.services["web"].scaling.instances_max)
    if wanted <= pool.wanted:
        return scaled, made
    why = f"{POOL} needs {wanted} instances instead of {pool.wanted}: they are expected"
    after = replace(pool, wanted=wanted, why=why, changed_at=snapshot.taken_at, high_since={}, low_since={})
    return ScaleMemory({POOL: after}), (Decision("", "scale", POOL, (), why, confidence_ratio=0.95),)


BRAIN = partial(decide, scaler=prophet)


def shop(high: int = 8, triggers: tuple[Trigger, ...] = (CONCURRENCY,)) -> Model:
    """One service that starts with two instances."""
    scaling = Scaling(2, high, triggers=triggers, forecast=Forecast())
    web = Service("web", "serve", paths=("/",), health=Health("/now"), scaling=scaling)
    return Model("shop", {"web": web}, {"local": Region("local")})


class Lived(Written):
    """Its load rises from 100 to 600 requests/s; 60 s before that it is foretold."""

    def __init__(self, path: Path, model: Model, foretold: bool = True) -> None:
        self.foretold, self.above_s = foretold, 0.0
        world = World(
            model,
            SEED,
            rates={POOL: steps((0, 100.0), (RISES_S, 600.0))},
            behaviours={"web": Behaviour(cpu_ms=1, wait_ms=120, start_s=START_S, start_spread_ratio=0.0)},
            step_s=1.0,
        )
        self.begun = world.clock.now()
        super().__init__(path, world, BRAIN, self._foresee)

    def _foresee(self, snapshot: Snapshot) -> Snapshot:
        now = snapshot.taken_at
        if self.foretold and now - self.begun >= RISES_S - 60.0:
            seen = ForecastSeen(SERIES, now // 60 * 60, 100.0, (120.0,), (0.5, 0.95), ((550.0,), (600.0,)))
            snapshot = replace(snapshot, forecasts={SERIES: seen})
        pool, ready = snapshot.pools.get(POOL), sum(i.state is InstanceState.READY for i in snapshot.instances.values())
        # Counted by hand, for the tick that begins now.
        self.above_s += pool is not None and ready > 0 and pool.in_flight / ready > UP_ABOVE
        return replace(snapshot, works={POOL: WorkSeen("web", "local", now, start_s=START_S)})


def told(path: Path, number: int = 0, brain: partial[Decided] = BRAIN) -> Counterfactual:
    """What would have been, of the journal's decision to scale with that number."""
    with JournalReader(path) as reader:
        row = [r for r in reader.decisions(limit=10_000) if r.decision.by == "scale"][number]
        found = counterfactual(reader, decide_again(reader, row.tick, brain), POOL, brain, prophet)
    assert found is not None
    return found


def test_without_the_forecast_it_would_have_been_as_it_was_where_there_was_none(tmp_path: Path) -> None:
    """What is reckoned without the forecast agrees to a few seconds with the same world that had none, and no second is above with it."""
    foretold = Lived(tmp_path / "foretold.db", shop())
    foretold.run(900.0)
    unforetold = Lived(tmp_path / "unforetold.db", shop(), foretold=False)
    unforetold.run(900.0)
    found = told(tmp_path / "foretold.db")
    assert foretold.above_s == 0 < unforetold.above_s
    assert (found.decided.wanted, found.decided.above_s) == (6, 0.0)
    (other,) = found.others
    assert (other.without, other.course.wanted) == ("the forecast", 2)
    assert other.course.above_s == pytest.approx(unforetold.above_s, abs=4.0), f"seed {SEED}"
    assert (other.course.metric, other.course.bound) == ("concurrency", UP_ABOVE)
    assert other.course.last == unforetold.memory.scale.pools[POOL].wanted
    assert other.course.paid_s < found.decided.paid_s
    assert found.ended_by is EndedBy.JOURNAL and found.unseen_s == 0
    assert found.indifferent == ("the blueprint's maximum", "the blueprint's minimum")


def test_what_nobody_saw_is_said(tmp_path: Path) -> None:
    """While the gateway is not heard of nothing is told of the pool, and for how long that was."""
    lived = Lived(tmp_path / "journal.db", shop())
    lived.run(RISES_S + 30.0)
    lived.world.inflict(ObserverOutage("gateway", 60.0))
    lived.run(200.0)
    found = told(tmp_path / "journal.db")
    assert 50 <= found.unseen_s <= 60
    assert found.decided.seen_s + found.unseen_s == pytest.approx(found.until - found.since)
    assert found.others[0].course.seen_s == found.decided.seen_s


def test_after_a_stop_nothing_is_told(tmp_path: Path) -> None:
    """What followed ends where the project went down."""
    lived = Lived(tmp_path / "journal.db", shop())
    lived.run(RISES_S)
    lived.ask(DownRequest("down", lived.world.clock.now()))
    lived.run(120.0)
    found = told(tmp_path / "journal.db")
    assert found.ended_by is EndedBy.GONE
    assert found.until - found.since == pytest.approx(60.0, abs=3.0)


# --- worlds by hand: every figure is known ------------------------------------------------------------------------------


class Told:
    """A journal whose ticks are made by hand: so many requests at hand, shared by the instances that were wanted `START_S` ago."""

    def __init__(self, path: Path, model: Model, at: float = 6_000.0, scaler: Scaler = prophet) -> None:
        release = Release("r1", model.services, "source", 0.0)
        self.path, self.model, self.at, self.scaler = path, replace(model, releases={"r1": release}), at, scaler
        self.journal = Journal(path)
        self.journal.open()
        self._asked = [-1e9] * model.services["web"].scaling.instances_min
        self.capacity: CapacitySeen | None = None
        self.spend: SpendSeen | None = None

    def brain(self, model: Model, snapshot: Snapshot, memory: Memory) -> Decided:
        """The scaler alone, under the release that serves."""
        scaled, made = self.scaler(model, model.releases["r1"], snapshot, memory.scale)
        numbered = tuple(replace(d, id=f"d{memory.decisions + i}") for i, d in enumerate(made, 1))
        return Decided(numbered, (), replace(memory, scale=scaled, decisions=memory.decisions + len(made)))

    def tick(
        self,
        at_hand: float,
        expected: float = 0.0,
        gap_s: float = 1.0,
        foreseen: Sequence[ForecastSeen | WorkSeen] | None = None,
    ) -> None:
        """One tick: `at_hand` requests, and `expected` requests/s foretold, or in place of that what was `foreseen`."""
        self.at += gap_s
        memory = self.journal.memory
        if not self.journal.seq:
            memory = Memory(release=ReleaseMemory(Intent.UP, "r1"), scale=ScaleMemory({POOL: PoolScale(2, "", 0.0)}))
        wanted = memory.scale.pools[POOL].wanted
        self._asked = [*self._asked, *[self.at] * (wanted - len(self._asked))][:wanted]
        web = partial(InstanceSeen, service="web", region="local", release="r1", seen_at=self.at)
        instances = {
            f"web-{n}": web(
                f"web-{n}",
                state=InstanceState.READY if self.at - asked >= START_S else InstanceState.STARTING,
                since=asked + START_S,
                started_at=asked,
            )
            for n, asked in enumerate(self._asked, 1)
        }
        members = {
            name: Member("web", "local", "r1", MemberState.WANTED, seen.since, seen.started_at)
            for name, seen in instances.items()
        }
        if foreseen is None:
            foreseen = [WorkSeen("web", "local", self.at, start_s=START_S)]
            if expected:
                foreseen += [ForecastSeen(SERIES, self.at, 1.0, (60.0,), (0.5, 0.95), ((expected,), (expected,)))]
        snapshot = Snapshot(
            self.at,
            observed={"process": self.at, "gateway": self.at, "capacity": self.at},
            instances=instances,
            pools={POOL: PoolSeen("web", "local", self.at, in_flight=at_hand, requests_per_s=at_hand)},
            forecasts={fact.key: fact for fact in foreseen if isinstance(fact, ForecastSeen)},
            works={fact.key: fact for fact in foreseen if isinstance(fact, WorkSeen)},
            capacities={self.capacity.key: self.capacity} if self.capacity is not None else {},
            spend={self.spend.key: self.spend} if self.spend is not None else {},
        )
        snapshot = self.journal.seen(snapshot)
        decided = self.brain(self.model, snapshot, memory)
        kept = replace(decided.memory, heal=HealMemory(members))
        self.journal.append(Entry(self.model, snapshot, replace(decided, memory=kept)))

    def ticks(self, count: int, at_hand: float, expected: float = 0.0) -> None:
        """So many ticks of the same."""
        for _ in range(count):
            self.tick(at_hand, expected)

    def found(self, number: int = 0) -> Counterfactual:
        """What would have been, of the journal's decision with that number."""
        with JournalReader(self.path) as reader:
            row = reader.decisions(limit=10_000)[number]
            again = decide_again(reader, row.tick, self.brain)
            found = counterfactual(reader, again, POOL, self.brain, self.scaler)
        assert found is not None
        return found


@contextmanager
def by_hand(path: Path, model: Model) -> Iterator[Told]:
    """A world by hand, which begins with two instances and 20 requests at hand."""
    made = Told(path, model)
    made.ticks(3, 20.0)
    yield made
    made.journal.close()


def morning_per_s(at: float) -> float:
    """100 requests/s by night, six times as many by day; they come within ten minutes after eight."""
    hour = at / 3600 % 24
    return 100.0 + 500.0 * min(max((hour - 8) * 6, 0.0), 1.0) * (hour < 20)


def test_a_real_forecast_can_be_taken_away(tmp_path: Path) -> None:
    """After ten such days the forecast has instances ready before they come: without it the triggers would have added them too late."""
    begun, busy_s, random = 10 * 86_400.0 + 7.5 * 3600, 0.12, Random(SEED)
    world = Told(tmp_path / "journal.db", shop(), at=begun, scaler=scale)
    forecasts = Forecasts(world.model)

    def minute(number: int) -> dict[str, float]:
        per_s = morning_per_s(number * 60.0) * random.gauss(1, 0.02)
        seen = {"requests_per_s": per_s, "in_flight": per_s * busy_s, "instances": 2.0, "start_s": START_S}
        return {f"{POOL}.{name}": value for name, value in seen.items()}

    first = int(begun // 60)
    forecasts.load([(number, minute(number)) for number in range(first - 10 * 1440, first)])
    for step in range(720):
        now = begun + 5.0 * (step + 1)
        if step % 12 == 0:
            forecasts.observe(int(now // 60) - 1, minute(int(now // 60) - 1))
        world.tick(morning_per_s(now) * busy_s, gap_s=5.0, foreseen=forecasts.facts(now))
    world.journal.close()
    with JournalReader(world.path) as reader:
        made = reader.decisions(limit=1000)
        assert all(decide_again(reader, row.tick, world.brain).is_equal for row in made)
    found = world.found()
    (other,) = [other for other in found.others if other.without == "the forecast"]
    assert morning_per_s(found.since) * busy_s < 2 * UP_ABOVE, "while two still do"
    assert 0 < made[0].decision.confidence_ratio < 1
    assert found.decided.above_s == 0 < other.course.above_s < 300
    assert other.course.wanted == 2 < found.decided.wanted


def test_the_seconds_are_exact(tmp_path: Path) -> None:
    """Two looks to see it, `START_S` to start: so long 50 requests are too many for two instances, and the three that then are wanted
    have them at 16.7 each."""
    with by_hand(tmp_path / "journal.db", shop()) as world:
        world.tick(20.0, expected=400.0)
        world.ticks(30, 20.0)
        world.ticks(60, 50.0)
        found = world.found()
        assert (found.decided.wanted, found.decided.above_s, found.decided.last) == (4, 0.0, 4)
        course = found.others[0].course
        assert (course.wanted, course.last, course.above_s) == (2, 4, 1 + START_S)
        # The last tick has not lasted yet.
        assert (course.seen_s, course.paid_s) == (90.0, 2 * 32 + 4 * 58)
        assert found.decided.paid_s == 4 * 90


def test_the_next_decision_ends_it_once_it_serves(tmp_path: Path) -> None:
    """What the next change asked for serves `START_S` later: from there on nothing is told of this one."""
    with by_hand(tmp_path / "journal.db", shop()) as world:
        world.tick(20.0, expected=300.0)
        world.ticks(40, 20.0)
        world.tick(20.0, expected=500.0)
        world.ticks(100, 20.0)
        found = world.found()
        assert found.ended_by is EndedBy.NEXT
        assert found.until - found.since == 41 + START_S


def test_an_hour_is_the_most(tmp_path: Path) -> None:
    """A pool that nobody changes again is followed for an hour."""
    with by_hand(tmp_path / "journal.db", shop()) as world:
        world.tick(20.0, expected=300.0)
        for _ in range(730):
            world.tick(35.0, gap_s=5.0)
        found = world.found()
        assert (found.ended_by, found.until - found.since) == (EndedBy.HOUR, 3600.0)


def test_a_gap_is_not_seen(tmp_path: Path) -> None:
    """Of ten minutes without a control plane only the first seconds are told; a clock set back counts for nothing."""
    with by_hand(tmp_path / "journal.db", shop()) as world:
        world.tick(20.0, expected=300.0)
        world.tick(20.0, gap_s=600.0)
        world.tick(20.0, gap_s=-30.0)
        world.ticks(10, 20.0)
        found = world.found()
        assert (found.decided.seen_s, found.unseen_s) == (5.0 + 10, 595.0)


def test_the_newest_decision_has_no_sequel_yet(tmp_path: Path) -> None:
    """Where nothing was seen afterwards only the numbers are told."""
    with by_hand(tmp_path / "journal.db", shop()) as world:
        world.tick(20.0, expected=300.0)
        found = world.found()
        assert (found.ended_by, found.decided.seen_s, found.decided.wanted) == (EndedBy.JOURNAL, 0.0, 3)
        assert found.others[0].course.wanted == 2


def test_the_maximum_can_be_taken_away(tmp_path: Path) -> None:
    """A pool that may have no more than three would have got what it needs."""
    with by_hand(tmp_path / "journal.db", shop(high=3)) as world:
        world.ticks(100, 120.0)
        found = world.found()
        assert (found.decided.wanted, found.decided.above_s) == (3, found.decided.seen_s)
        (other,) = found.others
        assert (other.without, other.course.wanted) == ("the blueprint's maximum", 8)
        assert other.course.above_s == START_S


def test_a_scheduled_floor_can_be_taken_away(tmp_path: Path) -> None:
    """At 01:45 five are asked for by the clock: without that there would be two, which are enough and cost less."""
    model = shop()
    scaling = replace(model.services["web"].scaling, floors=(Floor(DAY_SETS["daily"], 105, 180, 5),))
    model = replace(model, services={"web": replace(model.services["web"], scaling=scaling)})
    with by_hand(tmp_path / "journal.db", model) as world:
        world.ticks(400, 20.0)
        found = world.found()
        (other,) = found.others
        assert (found.decided.wanted, other.without, other.course.wanted) == (5, "the scheduled floors", 2)
        assert other.course.above_s == found.decided.above_s == 0
        assert found.decided.paid_s == pytest.approx(2.5 * other.course.paid_s)


def test_a_budget_can_be_taken_away(tmp_path: Path) -> None:
    """What a budget refused would have served: for how long too much was asked of the others is told, and what more would have cost."""
    model = replace(shop(), budget=Budget(Money(Decimal(1), "USD"), is_enforced=True))
    with by_hand(tmp_path / "journal.db", model) as world:
        world.spend = SpendSeen("USD", 0.1, 0.9, 2.0, world.at, 7200.0, "", world.at)
        world.ticks(100, 110.0)
        found = world.found()
        (other,) = [other for other in found.others if other.without == "the budget"]
        assert (found.decided.wanted, other.course.wanted) == (2, 8)
        assert found.decided.above_s == found.decided.seen_s > other.course.above_s == START_S
        assert other.course.paid_s > found.decided.paid_s
        with JournalReader(world.path) as reader:
            assert reader.decisions(limit=1)[0].decision.clamps[-1].startswith("budget: ")


def test_sleep_can_be_taken_away(tmp_path: Path) -> None:
    """An idle pool that may sleep does: otherwise one instance would have gone on, idle, and what it costs is told."""
    model = shop()
    scaling = replace(model.services["web"].scaling, instances_min=0, idle_s=60.0, forecast=None)
    model = replace(model, services={"web": replace(model.services["web"], scaling=scaling)})
    world = Told(tmp_path / "journal.db", model)
    world.ticks(400, 0.0)
    found = world.found(-1)
    (other,) = found.others
    assert (found.decided.wanted, found.decided.above_s, found.decided.paid_s) == (0, 0.0, 0.0)
    assert (other.without, other.course.wanted, other.course.above_s) == ("its sleep", 1, 0.0)
    assert other.course.paid_s == other.course.seen_s > 100
    world.journal.close()


def test_all_but_the_triggers_is_told_where_no_thing_alone_explains_it(tmp_path: Path) -> None:
    """Floor and forecast each ask for more than the triggers: it takes both away to come to two."""
    model = shop()
    scaling = replace(model.services["web"].scaling, floors=(Floor(DAY_SETS["daily"], 90, 180, 4),))
    model = replace(model, services={"web": replace(model.services["web"], scaling=scaling)})
    world = Told(tmp_path / "journal.db", model)
    world.ticks(100, 20.0, expected=600.0)
    found = world.found()
    wanted = {other.without: other.course.wanted for other in found.others}
    assert found.decided.wanted == 6
    assert wanted == {"the forecast": 4, "anything but its triggers": 2}
    assert "the scheduled floors" in found.indifferent
    world.journal.close()


def test_less_is_told_as_well(tmp_path: Path) -> None:
    """What lets go sooner or later is reckoned the same way: less is paid, or more."""
    with by_hand(tmp_path / "journal.db", shop()) as world:
        world.tick(20.0, expected=400.0)
        world.ticks(200, 45.0)
        world.ticks(200, 20.0)
        found = world.found(1)
        assert (found.decided.wanted, found.decided.above_s) == (2, 0.0)


def test_what_was_measured_can_be_taken_away(tmp_path: Path) -> None:
    """Where one instance was measured to hold little, more are wanted than the blueprint's triggers ask for."""
    with by_hand(tmp_path / "journal.db", shop()) as world:
        world.capacity = CapacitySeen(
            "web", "all", "source", 20.0, 5.0, 0.0, 50.0, 25.0, 0.0, world.at, command="serve"
        )
        world.ticks(100, 38.0)
        found = world.found()
        assert found.decided.wanted > 2
        assert [other.without for other in found.others] == ["what was measured"]
        assert found.others[0].course.metric == "capacity"


def test_without_a_trigger_that_is_shared_nothing_is_above(tmp_path: Path) -> None:
    """A mean response time does not fall in proportion to the number: it is said that nothing tells what so many hold."""
    slow = Trigger("response_time", up_above=200, down_below=100)
    with by_hand(tmp_path / "journal.db", shop(triggers=(slow,))) as world:
        world.tick(20.0, expected=300.0)
        world.ticks(50, 20.0)
        found = world.found()
        assert not found.has_measure
        assert (found.decided.seen_s, found.others[0].course.above_s) == (0.0, 0.0)


def test_a_decision_about_no_number_has_no_counterfactual(tmp_path: Path) -> None:
    """A subject that is no pool of the release, or a tick before anything served."""
    lived = Lived(tmp_path / "journal.db", shop())
    lived.run(60.0)
    with JournalReader(tmp_path / "journal.db") as reader:
        span = reader.span()
        assert span is not None
        last = decide_again(reader, span[1], BRAIN)
        assert last.is_equal
        assert counterfactual(reader, last, "instance/web-1", BRAIN) is None
        assert counterfactual(reader, decide_again(reader, span[0], BRAIN), POOL, BRAIN) is None


def test_what_is_not_kept_is_said(tmp_path: Path) -> None:
    """A tick, or a model, that has gone is an error that says so."""
    with (
        by_hand(tmp_path / "journal.db", shop()) as world,
        JournalReader(world.path) as reader,
        pytest.raises(JournalError, match="tick 99 is not kept any more"),
    ):
        decide_again(reader, 99, world.brain)
