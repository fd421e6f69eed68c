"""Whatever happens, and whatever is forecast, each tick of the journal can be decided again, and comes out equal."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from tenfold.deciders import Decided, Memory, decide
from tenfold.effects import Rejection, StartInstance
from tenfold.facts import DeployRequest, ForecastSeen, Snapshot, SpendSeen, WorkSeen
from tenfold.loop import Again, JournalReader, counterfactual, decide_again, replay, tidy
from tenfold.loop.replay import CHANGES_MAX
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
from tenfold.sim import Behaviour, FaultSchedule, World
from tenfold.sim.rates import steps
from tests.loop.written import Written

LIVES = 8
TROUBLE_S = 240.0
POOLS = ("web@local", "worker@local")
LEVELS = (0.05, 0.5, 0.8, 0.95)
HORIZONS_S = tuple(60.0 * minute for minute in (1, 2, 3, 5, 10, 15, 30, 60))
FIGURES = ("requests_per_s", "in_flight", "cpu_cores_each", "response_ms_mean")


def drawn_model(random: Random) -> Model:
    """A shop with one service that listens and one that does not, each with a drawn way to scale."""

    def scaling() -> Scaling:
        low = random.randint(1, 3)
        triggers = [
            Trigger("concurrency", 8, 3, cooldown_s=30.0),
            Trigger("cpu", 0.6, 0.3, cooldown_s=20.0),
            Trigger("response_time", 100, 30, cooldown_s=40.0),
        ]
        some = tuple(random.sample(triggers, random.randint(1, 3)))
        forecast = random.choice((None, Forecast(), Forecast(300.0, 0.8)))
        # The clock begins at 15:06 UTC.
        floors = random.choice(((), (Floor(DAY_SETS["daily"], 15 * 60 + 8, 15 * 60 + 10, low + 2),)))
        return Scaling(low, low + random.randint(0, 6), triggers=some, forecast=forecast, floors=floors)

    web = Service("web", "serve", paths=("/",), health=Health("/now"), scaling=scaling())
    worker = Service("worker", "work", http=False, scaling=scaling())
    budget = random.choice((None, Budget(Money(Decimal("12.5"), "USD"), is_enforced=True)))
    return Model("shop", {"web": web, "worker": worker}, {"local": Region("local")}, budget=budget)


class Life(Written):
    """A drawn shop under drawn load and faults. Forecasts are drawn each minute, good ones and wild ones; sometimes there is none, or it is
    old."""

    def __init__(self, seed: int, path: Path) -> None:
        self.random = random = Random(f"replay/{seed}")
        model = drawn_model(random)
        rate = steps((0, 20.0), *((at, random.choice((0.0, 5.0, 60.0, 300.0))) for at in (60, 120, 150, 200)))
        faults = FaultSchedule.drawn(
            f"replay/{seed}", from_s=40, until_s=TROUBLE_S, count=random.randint(0, 8), pools=POOLS, regions=["local"]
        )
        world = World(
            model,
            seed,
            rates={"web@local": rate},
            behaviours={"web": Behaviour(cpu_ms=random.choice((1, 10)), wait_ms=50, start_s=5.0)},
            step_s=1.0,
        )
        self.expected: dict[str, ForecastSeen] = {}
        super().__init__(path, world, decide, self._foresee, faults)

    def play(self) -> None:
        """Up, trouble, a deploy in it; the first half is sealed as the upkeep does it."""
        self.run(TROUBLE_S / 2)
        self.ask(DeployRequest("deploy", self.world.clock.now(), Release("r2", self.model.services, "other", 1.0)))
        self.run(TROUBLE_S / 2)
        tidy(self.path)
        self.run(TROUBLE_S / 2)
        self.journal.close()

    def _foresee(self, snapshot: Snapshot) -> Snapshot:
        now = snapshot.taken_at
        if now % 60 < 1 or not self.expected:
            self._foretell(now)
        spend = SpendSeen(
            "USD", self.random.choice((0.1, 9.0)), 3.0, self.random.choice((5.0, 99.0)), 0.0, 60.0, "", now
        )
        return replace(
            snapshot,
            forecasts=self.expected,
            works={key: self._work(key, now) for key in POOLS if self.random.random() < 0.99},
            spend={spend.key: spend},
        )

    def _work(self, key: str, now: float) -> WorkSeen:
        name, _, region = key.partition("@")
        return WorkSeen(
            name, region, now // 60 * 60, self.random.choice((None, 0.05)), 0.002, self.random.choice((None, 5.0))
        )

    def _foretell(self, now: float) -> None:
        self.expected = {}
        for series in [f"{pool}.{figure}" for pool in POOLS for figure in FIGURES]:
            if (luck := self.random.random()) < 0.1:
                continue
            old_s = 900.0 if luck < 0.2 else 0.0
            scale = self.random.choice((0.0, 1.0, 50.0, 1e5))
            rows = [sorted(self.random.random() * scale for _ in LEVELS) for _ in HORIZONS_S]
            quantiles = tuple(tuple(row[i] for row in rows) for i in range(len(LEVELS)))
            self.expected[series] = ForecastSeen(
                series, now // 60 * 60 - old_s, scale / 2, HORIZONS_S, LEVELS, quantiles, 86_400.0, "drawn", scale / 3
            )


@pytest.fixture(scope="module", params=range(LIVES))
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """One drawn life, over."""
    made = Life(request.param, tmp_path_factory.mktemp("life") / "journal.db")
    made.play()
    return made


def test_every_tick_of_every_life_comes_out_equal(life: Life) -> None:
    """Decisions with their clamps and confidence, what was turned down, and the memory, to the last digit."""
    result = replay(life.path, 1, 10**9, decide)
    assert result.first_difference is None, f"seed {life.world.seed}"
    assert result.ticks == result.equal > TROUBLE_S
    with JournalReader(life.path) as reader:
        kept = {row.decision.id for row in reader.decisions(limit=10**6)}
    assert kept == {decision.id for _, decision in life.decided}


def test_what_would_have_been_adds_up(life: Life) -> None:
    """Of each decision to scale: the seconds seen and unseen are those that passed, and only what differs is told."""
    with JournalReader(life.path) as reader:
        for row in reader.decisions(limit=10**6):
            if row.decision.by != "scale":
                continue
            found = counterfactual(reader, decide_again(reader, row.tick, decide), row.decision.subject, decide)
            assert found is not None
            for course in (found.decided, *(other.course for other in found.others)):
                assert 0 <= course.above_s <= course.seen_s + 1e-6
                assert (
                    course.seen_s + found.unseen_s == pytest.approx(found.until - found.since, abs=0.01)
                    or not found.has_measure
                )
                assert course.most >= max(course.wanted, course.last)
            assert all(other.course.wanted != found.decided.wanted for other in found.others)


def differences(life: Life, change: object) -> Again:
    """The last decision of a life, decided again by a brain whose result `change` changes."""
    with JournalReader(life.path) as reader:
        row = reader.decisions(limit=1)[0]
        return decide_again(reader, row.tick, lambda *given: change(decide(*given)))  # type: ignore[operator]


def test_each_difference_is_named(life: Life) -> None:
    """What a decision says, whether it is made, what is turned down, what is remembered: each by its name and both values."""

    def otherwise(decided: Decided) -> Decided:
        first = replace(decided.decisions[0], why="because", clamps=("at most 3",))
        turned_down = Rejection(StartInstance("web-9", "web", "local", "r1"), "d1", "no")
        memory = replace(decided.memory, decisions=10**6)
        return Decided((first, *decided.decisions[1:], replace(first, id="d999999")), (turned_down,), memory)

    found = differences(life, otherwise)
    id_, was = found.tick.decisions[0].id, found.tick.decisions[0].why
    assert not found.is_equal
    assert f'{id_}.why: "{was}" became "because"' in found.differences
    assert "d999999 is made as well: because" in found.differences
    assert "start:web-9 of d1 is turned down as well: no" in found.differences
    assert any(each.startswith("memory.decisions: ") and each.endswith(" became 1000000") for each in found.differences)
    none = differences(life, lambda decided: replace(decided, decisions=()))
    assert none.differences[0] == f"{id_} is not made: {was}"


def test_many_differences_are_counted(life: Life) -> None:
    """More than a person reads are only counted."""
    found = differences(
        life, lambda decided: replace(decided, memory=Memory(sent={f"key {n}": 1.0 for n in range(99)}))
    )
    assert len(found.differences) == CHANGES_MAX
    assert found.differences[-1].startswith("and ")
