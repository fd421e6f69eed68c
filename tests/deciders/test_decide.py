"""The composition: pure, one effect per subject, vetoes, and the same answer for the same question."""

from dataclasses import replace
from typing import Any

from tenfold.deciders import decide
from tenfold.deciders.arbitrate import arbitrate
from tenfold.deciders.memory import ReleaseMemory
from tenfold.effects import AnswerRequest, Decision, PublishEntry, PublishRoutes, RunTask, StartInstance, StopInstance
from tenfold.facts import EngineSeen, EngineState, GatewaySeen, UpRequest
from tenfold.model import Data, Model, Region, StoreEnd
from tests.deciders.conftest import START, release, service
from tests.deciders.conftest import Story as Tale

Story = Any


def test_equal_questions_get_equal_answers(serving: Story) -> None:
    """Deciding twice on the same model, snapshot and memory gives the same decisions and the same memory."""
    serving.traffic(in_flight=400.0)
    serving.tick()
    serving.traffic(in_flight=400.0)
    serving.now += 1
    shot = serving.snapshot()
    assert decide(serving.model, shot, serving.memory) == decide(serving.model, shot, serving.memory)


def test_a_quiet_tick_decides_nothing(serving: Story) -> None:
    """When all is well nothing is decided, and memory changes only by what was learned."""
    for _ in range(30):
        serving.traffic(in_flight=80.0)
        assert serving.tick().decisions == ()


def test_decisions_are_numbered_and_every_one_says_why(serving: Story) -> None:
    """Ids go up by one, and no reason is empty."""
    serving.traffic(in_flight=400.0)
    serving.tick()
    serving.traffic(in_flight=400.0)
    before = serving.memory.decisions
    decided = serving.tick()
    assert [d.id for d in decided.decisions] == [f"d{before + n}" for n in range(1, len(decided.decisions) + 1)]
    assert all(len(d.why) > 10 for d in decided.decisions)


def test_two_wishes_about_one_instance_are_settled_and_the_loser_told(serving: Story) -> None:
    """Healing goes before scaling, and what lost is kept with its reason."""
    stop, start = StopInstance("web-1", 2.0), StartInstance("web-1", "web", "local", "r1")
    wishes = (
        Decision("d1", "scale", "web@local", (start,), "more"),
        Decision("d2", "heal", "instance/web-1", (stop,), "sick"),
    )
    settled, rejected, _ = arbitrate(serving.model, serving.snapshot(), wishes, {})
    assert [d.id for d in settled] == ["d2"]
    assert [(r.decision, r.why) for r in rejected] == [
        ("d1", "d2 decided about instance/web-1 in the same moment and goes first")
    ]


def test_a_region_that_the_blueprint_does_not_name_is_vetoed(serving: Story) -> None:
    """Nothing starts where data may not be, whoever asks for it."""
    wish = Decision("d1", "heal", "web@mars", (StartInstance("web-9", "web", "mars", "r1"),), "more")
    settled, rejected, _ = arbitrate(serving.model, serving.snapshot(), (wish,), {})
    assert settled == ()
    assert "the blueprint has no region mars" in rejected[0].why


def test_what_is_under_way_is_not_sent_again(serving: Story) -> None:
    """An effect without a receipt yet is dropped silently, since it was decided before."""
    stop = StopInstance("web-1", 2.0)
    shot = replace(serving.snapshot(), pending={stop.key: serving.now})
    wish = Decision("d1", "heal", "instance/web-1", (stop,), "sick")
    assert arbitrate(serving.model, shot, (wish,), {})[:2] == ((), ())


def test_nothing_starts_before_its_gateway_leads_to_the_stores() -> None:
    """Apps find their stores by the gateway of their region: until these have answered each, neither hook nor instances start."""
    regions = {name: Region(name, (0.0, 40.0 * at)) for at, name in enumerate("ab")}
    r1 = release("r1", service(release_hook="migrate"))
    tale = Tale(Model("shop", r1.services, regions, data=Data(), releases={"r1": r1}))
    tale.extra = {"requests": {"up-1": UpRequest("up-1", START, r1)}}
    for key, port in (("gateway/a", 1), ("gateway/b", 2), ("entry/a", 3), ("postgres/a", 4), ("valkey/a", 5)):
        kind, _, region = key.partition("/")
        tale.engines[key] = EngineSeen(
            kind, region, EngineState.READY, START, START, pid=port, address=f"127.0.0.1:{port}"
        )
    tables: dict[str, str] = {}
    answering: dict[str, tuple[StoreEnd, ...]] = {}

    def tick() -> list[object]:
        tale.now += 1.0
        tale.gateways = {
            n: GatewaySeen(n, tables.get(n, ""), tale.now, host="127.0.0.1", port=7, stores=answering.get(n, ()))
            for n in "ab"
        }
        decided = decide(tale.model, tale.snapshot(), tale.memory)
        tale.memory = decided.memory
        return [effect for decision in decided.decisions for effect in decision.effects]

    def tasks() -> list[object]:
        return [effect for effect in tick() if isinstance(effect, RunTask)]

    def waits_for() -> str:
        operation = tale.memory.release.operation
        assert operation is not None
        assert operation.step is not None
        return operation.step.note

    published = {e.table.region: e for _ in range(3) for e in tick() if isinstance(e, PublishRoutes)}
    ends = published["a"].table.stores
    assert [end.kind for end in ends] == ["postgres", "valkey"]
    tables["a"], answering["a"] = published["a"].table_digest, ends
    assert not [*tasks(), *tasks()]
    tables["b"], answering["b"] = published["b"].table_digest, ends[:1]
    assert not [*tasks(), *tasks()]
    assert waits_for() == "waits for the way from b to valkey"
    answering["b"] = (ends[0], replace(ends[1], port=9))
    assert not [*tasks(), *tasks()]
    answering["b"] = ends
    assert len([*tasks(), *tasks()]) == 1
    tables["b"], answering["b"] = "an older one", ()
    tick()
    assert set(tale.memory.route.stores["b"]) == {"postgres", "valkey"}
    tale.memory = replace(tale.memory, release=ReleaseMemory())
    tale.extra = {}
    tick()
    assert not tale.memory.route.stores


def test_a_release_serves_once_the_entry_leads_to_it() -> None:
    """Nobody is told that the app serves while the global entry still answers that nothing is served."""
    regions = {name: Region(name, (0.0, 40.0 * at)) for at, name in enumerate("ab")}
    r1 = release("r1", service(low=1))
    tale = Tale(Model("shop", r1.services, regions, releases={"r1": r1}))
    tale.extra = {"requests": {"up-1": UpRequest("up-1", START, r1)}}
    for key, port in (("gateway/a", 1), ("gateway/b", 2), ("entry/a", 3)):
        kind, _, region = key.partition("/")
        tale.engines[key] = EngineSeen(kind, region, EngineState.READY, START, START, pid=port)
    tables: dict[str, str] = {}

    def tick() -> bool:
        tale.now += 1.0
        tale.gateways = {n: GatewaySeen(n, d, tale.now, host="127.0.0.1", port=7) for n, d in tables.items()}
        tale.extra["observed"] = dict.fromkeys(("process", "gateway", "entry", "links", "metrics"), tale.now)
        tale.ready("web-1", region="a")
        tale.ready("web-2", region="b")
        decided = decide(tale.model, tale.snapshot(), tale.memory)
        tale.memory = decided.memory
        effects = [effect for decision in decided.decisions for effect in decision.effects]
        for effect in effects:
            if isinstance(effect, PublishRoutes) or (isinstance(effect, PublishEntry) and is_hearing):
                name = "entry" if isinstance(effect, PublishEntry) else effect.table.region
                tables[name] = effect.table_digest
        return any(isinstance(effect, AnswerRequest) for effect in effects)

    is_hearing = False
    tables.update(a="", b="", entry="")
    assert not any(tick() for _ in range(15))
    is_hearing = True
    assert any(tick() for _ in range(15))
