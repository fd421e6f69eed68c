"""Down, up again, and back: what was stopped did not fail, and nobody is told that it serves before it does."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tenfold.effects import AnswerRequest, PublishRoutes, StartEngine, StartInstance, StopEngine, StopInstance
from tenfold.facts import DeployRequest, DownRequest, EngineSeen, EngineState, InstanceState, RollbackRequest, UpRequest
from tenfold.model import EndpointState, Release, Service

Story = Any


def effects(decided: Any, kind: type) -> list[Any]:
    """All effects of one kind."""
    return [e for d in decided.decisions for e in d.effects if isinstance(e, kind)]


def go_down(story: Story) -> None:
    """Ask for it, and let the world obey until it is answered."""
    story.extra["requests"] = {"down": DownRequest("down", story.now)}
    for _ in range(60):
        decided = story.tick()
        for stop in effects(decided, StopInstance):
            story.instances.pop(stop.instance, None)
        for _ in effects(decided, StopEngine):
            story.engines.clear()
            story.gateways.clear()
            story.pools.clear()
        if effects(decided, AnswerRequest):
            story.extra.pop("requests")
            return
    raise AssertionError("it never went down")


def test_an_engine_that_was_stopped_starts_at_once_the_next_time(serving: Story) -> None:
    """Up after down starts the gateway in the first tick and for the blueprint's sake, not after a wait as if it had failed."""
    go_down(serving)
    serving.extra["requests"] = {"again": UpRequest("again", serving.now, serving.model.releases["r1"])}
    decided = serving.tick()
    assert [e.key for e in effects(decided, StartEngine)] == ["start-engine:gateway/local#1"]
    assert any(d.why == "gateway/local is started: the blueprint needs it" for d in decided.decisions)


def test_up_is_answered_when_the_gateway_has_the_routes(serving: Story) -> None:
    """Ready instances alone do not serve: who asked to be up hears when the gateway runs a table that holds them."""
    go_down(serving)
    serving.extra["requests"] = {"again": UpRequest("again", serving.now, serving.model.releases["r1"])}
    serving.tick()
    serving.ready("web-3", "web-4")
    assert not any(effects(serving.tick(), AnswerRequest) for _ in range(5))
    serving.engines["gateway/local"] = EngineSeen(
        "gateway", "local", EngineState.READY, serving.now, serving.now, address="127.0.0.1:8080", pid=8
    )
    published = serving.tick()
    assert effects(published, PublishRoutes)
    assert not effects(published, AnswerRequest)
    assert [(e.request, e.ok, e.text) for e in effects(serving.tick(), AnswerRequest)] == [("again", True, "r1 serves")]


def test_what_was_stopped_right_after_its_start_is_gone_when_it_is_unseen(new_story: Callable[..., Story]) -> None:
    """Down just after up does not wait for an instance that has ended already, as if it had yet to appear."""
    story = new_story()
    story.extra["requests"] = {"up": UpRequest("up", story.now, story.model.releases["r1"])}
    story.tick(0.1)
    story.ready("web-1", "web-2", state=InstanceState.STARTING)
    story.extra["requests"] = {"down": DownRequest("down", story.now)}
    assert len(effects(story.tick(0.1), StopInstance) + effects(story.tick(0.1), StopInstance)) == 2
    story.instances.clear()
    assert [e.kind for e in effects(story.tick(0.1), StopEngine)] == ["gateway"]


def test_a_down_that_came_with_the_up_before_it_stands(new_story: Callable[..., Story]) -> None:
    """Both are seen in one tick, as after Ctrl-C at once: who asked to be up is told no, who asked to go down hears that it is done."""
    story = new_story()
    story.engines.clear()
    story.extra["requests"] = {
        "up": UpRequest("up", story.now - 0.2, story.model.releases["r1"]),
        "down": DownRequest("down", story.now - 0.1),
    }
    said = [(e.request, e.ok) for _ in range(5) for e in effects(story.tick(), AnswerRequest)]
    assert ("up", False) in said and ("down", True) in said
    assert ("down", False) not in said


def test_without_a_gateway_nothing_is_drained(serving: Story) -> None:
    """When no gateway runs no request can be at hand: going down does not wait for the whole drain."""
    serving.engines.clear()
    serving.pools.clear()
    serving.extra["requests"] = {"down": DownRequest("down", serving.now)}
    decided = serving.tick()
    assert sorted(e.instance for e in effects(decided, StopInstance)) == ["web-1", "web-2"]
    assert any("since no gateway runs" in d.why for d in decided.decisions)


def test_without_an_edge_going_down_waits_for_no_gateway(new_story: Callable[..., Story]) -> None:
    """A project of workers alone goes down although nothing looks for gateways: the programs for it may not be installed."""
    worker = Service("worker", "work", http=False)
    story = new_story(Release("r1", {"worker": worker}, "digest", 0.0))
    story.engines.clear()
    story.stale.add("gateway")
    story.extra["requests"] = {"up": UpRequest("up", story.now, story.model.releases["r1"])}
    started = [e.instance for _ in range(3) for e in effects(story.tick(), StartInstance)]
    story.ready(*started, port=None)
    story.tick()
    go_down(story)
    assert not story.instances


def test_rollback_while_the_old_release_is_let_go_keeps_the_new_one_serving(
    serving: Story, new_story: Callable[..., Story]
) -> None:
    """Once the old instances are let go, going back starts them anew, and traffic stays where it can be answered."""
    second = replace(serving.model.releases["r1"], id="r2", source_digest="r2")
    serving.model = replace(
        serving.model,
        releases={**serving.model.releases, "r2": second},
        rollout=replace(serving.model.rollout, watch_s=3.0),
    )
    serving.extra["requests"] = {"ship": DeployRequest("ship", serving.now, second)}
    serving.tick()
    serving.ready("web-3", "web-4", release="r2")
    for _ in range(20):
        serving.traffic(in_flight=80.0)
        decided = serving.tick()
        if any("is let go" in d.why for d in decided.decisions if d.by == "release"):
            break
    serving.extra["requests"] = {"back": RollbackRequest("back", serving.now, None)}
    for _ in range(4):
        decided = serving.tick()
        answers = [(e.request, e.ok) for e in effects(decided, AnswerRequest)]
        assert answers in ([("ship", True)], []), "the deploy had come to its end; going back is still under way"
        serving.extra["requests"] = {"back": RollbackRequest("back", serving.now, None)}
        for published in effects(decided, PublishRoutes):
            states = [e.state for e in published.table.services[0].endpoints]
            assert EndpointState.SERVING in states, "traffic goes to nothing"
    operation = serving.memory.release.operation
    assert operation is not None
    assert (operation.kind, operation.release) == ("rollback", "r1")


def test_a_deploy_may_bring_the_first_service_that_listens(serving: Story) -> None:
    """A project that came up without HTTP gets its gateway with the release that needs one, and keeps it after going back."""
    quiet = replace(serving.model.releases["r1"].services["web"], name="worker", http=False, paths=())
    first = replace(serving.model.releases["r1"], services={"worker": quiet})
    second = replace(serving.model.releases["r1"], id="r2", source_digest="r2")
    go_down(serving)
    serving.model = replace(serving.model, services=first.services, releases={"r1": first, "r2": second})
    serving.extra["requests"] = {"again": UpRequest("again", serving.now, first)}
    assert not effects(serving.tick(), StartEngine)
    serving.ready("worker-1", "worker-2", port=None)
    serving.extra.pop("requests")
    for _ in range(3):
        serving.tick()
    serving.extra["requests"] = {"ship": DeployRequest("ship", serving.now, second)}
    started = [e.key for _ in range(3) for e in effects(serving.tick(), StartEngine)]
    assert started == ["start-engine:gateway/local#1"]
