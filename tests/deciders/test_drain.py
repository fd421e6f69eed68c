"""Drains as stories: an instance is replaced, a region empties and is asked back, and what nobody could take over is refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tenfold.deciders import Decided, MemberState, decide
from tenfold.effects import AnswerRequest, StartInstance, StopInstance
from tenfold.facts import DownRequest, DrainRequest, InstanceState, UpRequest
from tests.deciders.conftest import Story, release, service
from tests.deciders.spread import Globe
from tests.sim.spread import Globe as Spread

WORKER = service("worker", low=1, http=False, paths=())


def ask(story: Story, subject: str, id_: str = "drain", **changes: object) -> Decided:
    """Somebody asks to drain `subject`; what the next tick decides."""
    request = DrainRequest(id_, story.now, subject, **changes)  # type: ignore[arg-type]
    story.extra["requests"] = {**story.extra.get("requests", {}), id_: request}  # type: ignore[dict-item]
    return story.tick()


def answers(decided: Decided) -> dict[str, tuple[bool, str]]:
    """The answers that were given: by request, whether it was done, and the text."""
    effects = [e for d in decided.decisions for e in d.effects if isinstance(e, AnswerRequest)]
    return {e.request: (e.ok, e.text) for e in effects}


def starts(decided: Decided) -> list[str]:
    return [e.instance for d in decided.decisions for e in d.effects if isinstance(e, StartInstance)]


def stops(decided: Decided) -> list[str]:
    return [e.instance for d in decided.decisions for e in d.effects if isinstance(e, StopInstance)]


def test_an_instance_finishes_its_requests_and_is_replaced(serving: Story) -> None:
    """It gets nothing new and another starts at once; it ends when its last request is answered, and who asked hears of it then."""
    decided = ask(serving, "web-1", by="console, from 127.0.0.1")
    [told] = [d for d in decided.decisions if d.by == "drain"]
    assert told.why.startswith("web-1 is drained, as asked by console, from 127.0.0.1: no new requests")
    assert starts(decided) == ["web-3"]
    assert serving.memory.heal.members["web-1"].state is MemberState.DRAINING
    serving.ready("web-3")
    for _ in range(5):
        serving.traffic(80.0, in_flight_by_instance={"web-1": 2, "web-2": 40})
        assert not stops(serving.tick())
    serving.traffic(80.0, in_flight_by_instance={"web-1": 0, "web-2": 40})
    decided = serving.tick()
    assert stops(decided) == ["web-1"]
    assert not answers(decided)
    del serving.instances["web-1"]
    assert answers(serving.tick()) == {"drain": (True, "web-1 has ended")}


@pytest.mark.parametrize(
    ("subject", "is_undo", "why"),
    [
        ("web-9", False, "there is no instance web-9; there are: web-1, web-2"),
        ("", False, "there is no instance ; there are: web-1, web-2"),
        ("web-1", True, "web-1 is no region"),
        ("region/nowhere", False, "there is no region nowhere; there are: local"),
        ("region/local", False, "local is the only region"),
    ],
)
def test_what_cannot_be_drained_is_refused_with_a_sentence(
    serving: Story, subject: str, is_undo: bool, why: str
) -> None:
    """Whoever asks for what is not there, or can't be, is told so at once, and nothing changes."""
    before = serving.memory.heal
    decided = ask(serving, subject, is_undo=is_undo)
    [(ok, text)] = answers(decided).values()
    assert not ok
    assert text.startswith(why)
    assert serving.memory.heal.members == before.members


def test_of_two_asked_for_at_once_one_stays(serving: Story) -> None:
    """The second would leave nobody who is ready: it is refused, also when both come in one tick."""
    serving.extra["requests"] = {
        "one": DrainRequest("one", serving.now, "web-1"),
        "two": DrainRequest("two", serving.now + 0.1, "web-2"),
    }
    decided = serving.tick()
    [(ok, text)] = answers(decided).values()
    assert (ok, text[:43]) == (False, "web-2 is the only instance of web@local tha")
    states = {id_: member.state for id_, member in serving.memory.heal.members.items()}
    assert (states["web-1"], states["web-2"]) == (MemberState.DRAINING, MemberState.WANTED)


def test_a_sick_instance_does_not_count_as_one_that_stays(serving: Story) -> None:
    """Beside one that is frozen, the other is the last."""
    serving.instances["web-2"] = replace(serving.instances["web-2"], state=InstanceState.STARTING)
    assert not next(iter(answers(ask(serving, "web-1")).values()))[0]


def test_nothing_is_taken_away_by_an_old_sight(serving: Story) -> None:
    """While processes can't be seen the request waits; it is taken up as soon as they can."""
    serving.stale.add("process")
    decided = ask(serving, "web-1")
    assert not answers(decided)
    assert serving.memory.heal.members["web-1"].state is MemberState.WANTED
    serving.stale.clear()
    for instance in serving.instances.values():
        serving.instances[instance.id] = replace(instance, seen_at=serving.now)
    serving.tick()
    assert serving.memory.heal.members["web-1"].state is MemberState.DRAINING


def test_going_down_ends_a_drain(serving: Story) -> None:
    """Who waits for it is told, and nothing of it is left for the next start."""
    ask(serving, "web-1")
    serving.extra["requests"]["down"] = DownRequest("down", serving.now)  # type: ignore[index]
    serving.tick()
    assert answers(serving.tick())["drain"] == (False, "nothing is running, so there is nothing to drain")
    assert not serving.memory.drain.waiting


def test_a_worker_is_replaced_though_it_is_the_only_one(new_story: Callable[..., Story]) -> None:
    """What takes no requests at the edge has nobody who would miss it for a moment."""
    story = new_story(release("r1", WORKER))
    story.extra["requests"] = {"up": UpRequest("up", story.now, story.model.releases["r1"])}
    story.tick()
    story.ready("worker-1", port=None)
    story.tick()
    story.extra.pop("requests")
    story.tick()
    decided = ask(story, "worker-1")
    assert starts(decided) == ["worker-2"]
    assert stops(decided) == ["worker-1"]


def test_the_same_decisions_come_again(serving: Story) -> None:
    """Equal model, snapshot and memory give equal decisions, drains included."""
    serving.extra["requests"] = {"drain": DrainRequest("drain", serving.now, "web-1")}
    serving.now += 1
    snapshot = serving.snapshot()
    assert decide(serving.model, snapshot, serving.memory) == decide(serving.model, snapshot, serving.memory)


@pytest.fixture
def globe() -> Globe:
    """Three regions that have served for a minute."""
    made = Globe()
    made.ticks(60)
    return made


def test_a_region_empties_step_by_step(globe: Globe) -> None:
    """Its clients move to others within seconds, not all at once: they have to make room."""
    globe.drained = {"b"}
    shares = []
    for _ in range(8):
        globe.tick()
        shares.append(globe.share("b", "b"))
    assert globe.state("b") == "drained"
    assert shares[0] == pytest.approx(1.0, abs=0.5)
    assert 0.0 < shares[1] < 1.0
    assert shares[-1] == 0.0
    assert shares == sorted(shares, reverse=True)


def test_a_drained_region_stays_so_whatever_it_shows(globe: Globe) -> None:
    """Trouble and its end change nothing: only a person asks it back, and then it takes traffic step by step."""
    globe.drained = {"b"}
    globe.ticks(5)
    globe.lacking.add("b")
    globe.ticks(5)
    assert globe.state("b") == "drained"
    assert globe.memory.regions["b"].is_hard
    globe.lacking.clear()
    globe.ticks(120)
    assert globe.state("b") == "drained"
    globe.drained = set()
    globe.tick()
    assert globe.state("b") == "returning"
    assert globe.said[-1].why == "b is asked back and takes 5% of what is meant for it"
    globe.ticks(30)
    assert (globe.state("b"), globe.share("b", "b")) == ("serving", 1.0)


def test_one_that_is_asked_back_sick_is_out(globe: Globe) -> None:
    """A wish makes no region well."""
    globe.drained = {"b"}
    globe.ticks(10)
    globe.lacking.add("b")
    globe.drained = set()
    globe.tick()
    assert globe.state("b") == "out"


def test_the_drained_one_serves_when_no_other_can(globe: Globe) -> None:
    """An answer from there is better than none; as soon as another is back it is drained again."""
    globe.drained = {"b"}
    globe.ticks(10)
    globe.lacking |= {"a", "c"}
    globe.tick()
    assert globe.state("b") == "serving"
    assert globe.share("a", "b") == 1.0
    assert any(d.subject == "region/b" and "it is kept, since no region is better" in d.why for d in globe.said)
    globe.lacking.clear()
    globe.ticks(60)
    assert (globe.state("a"), globe.state("b"), globe.state("c")) == ("serving", "drained", "serving")
    assert globe.share("b", "b") == 0.0


def test_those_bound_by_law_stay_where_they_may(globe: Globe) -> None:
    """The only region of a residency that is left goes on serving whom the law binds to it."""
    bound = Globe(residency={"b": "eu", "c": "eu"})
    bound.ticks(60)
    bound.drained = {"b"}
    bound.ticks(10)
    assert bound.memory.ways["b|eu"] == {"c": 1.0}
    bound.lacking.add("c")
    bound.tick()
    assert bound.memory.ways["b|eu"] == {"b": 1.0}


def test_a_region_is_drained_and_asked_back_under_load() -> None:
    """The whole way in the simulator: no request fails, nothing goes to it, nothing of it stops, and it takes its clients again."""
    story = Spread(7)
    now = story.world.clock.now
    story.ask(DrainRequest("away", now(), "region/b"))
    failed = story.entry.clients.failed
    story.run_until(lambda: "away" in story.answers, 30)
    assert story.answers["away"].ok
    assert story.answers["away"].text.startswith("no traffic goes to b any more")
    story.run(20)
    assert story.goes_to("b") == {"a": 1.0} or story.goes_to("b") == {"c": 1.0}
    assert story.entry.clients.failed == failed
    ready = [i for i in story.snapshot.instances.values() if i.region == "b" and i.state is InstanceState.READY]
    assert len(ready) == 2
    story.ask(DrainRequest("too", now(), "region/a"))
    story.run_until(lambda: "too" in story.answers, 30)
    story.ask(DrainRequest("last", now(), "region/c"))
    story.run_until(lambda: "last" in story.answers, 10)
    assert story.answers["last"].text == "no other region is well: who would serve the clients of c?"
    for name in "ab":
        story.ask(DrainRequest(f"back-{name}", now(), f"region/{name}", is_undo=True))
    story.run(60)
    assert {name: story.goes_to(name) for name in "abc"} == {name: {name: 1.0} for name in "abc"}
    assert story.entry.clients.failed == failed
