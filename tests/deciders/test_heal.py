"""Healing as stories: what dies is replaced, what keeps dying is given up, what is sick together is left alone."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

from tenfold.deciders.failures import BACKOFF_S, GIVE_UP_AFTER
from tenfold.deciders.memory import Memory
from tenfold.effects import StartEngine, StartInstance, StopInstance
from tenfold.facts import EngineSeen, EngineState, InstanceState, ReceiptSeen
from tenfold.model import Data

Story = Any


def effects(decided: Any, kind: type) -> list[Any]:
    """All effects of one kind."""
    return [e for d in decided.decisions for e in d.effects if isinstance(e, kind)]


def test_a_killed_instance_is_restarted_in_the_same_tick_and_its_end_is_told(serving: Story) -> None:
    """The tick that sees an instance gone restarts it in its place, takes it off the routes and says how it ended."""
    serving.ready("web-1", state=InstanceState.EXITED, note="killed by signal 9")
    decided = serving.tick(0.05)
    assert [e.key for e in effects(decided, StartInstance)] == ["start:web-1#2"]
    whys = " | ".join(d.why for d in decided.decisions)
    assert "web-1 ended: killed by signal 9; restarted in its place (restart 1)" in whys
    assert "traffic in local goes to web on 1" in whys


def test_a_line_that_keeps_failing_waits_longer_each_time_and_is_given_up_once(serving: Story) -> None:
    """Starts of a crashing line follow the table of waits, end after the last try, and giving up is said once."""
    starts, said = [], []
    serving.ready("web-1", state=InstanceState.EXITED, note="exit code 1")
    for _ in range(300):
        decided = serving.tick(1.0)
        for effect in effects(decided, StopInstance):
            serving.instances.pop(effect.instance, None)
        for effect in effects(decided, StartInstance):
            starts.append(serving.now)
            generation = 10 * len(starts)
            serving.ready(
                effect.instance,
                state=InstanceState.EXITED,
                note="exit code 1",
                generation=generation,
                since=serving.now,
            )
        said += [d.why for d in decided.decisions if "gave up" in d.why]
    assert len(starts) == GIVE_UP_AFTER - 1
    gaps = [round(b - a) for a, b in pairwise(starts)]
    assert gaps == sorted(gaps)
    assert max(gaps) <= BACKOFF_S[-1] + 2
    assert len(said) == 1
    assert "gave up on web@local/r1 after 8 failures in a row (last: exit code 1)" in said[0]


def test_giving_up_still_tries_now_and_then(serving: Story) -> None:
    """Ten minutes after giving up there is one more try, so that an outage that ended by itself does not last for ever."""
    test_a_line_that_keeps_failing_waits_longer_each_time_and_is_given_up_once(serving)
    starts = []
    for _ in range(700):
        starts += effects(serving.tick(1.0), StartInstance)
        if starts:
            break
    assert len(starts) == 1


def test_when_most_of_a_pool_is_unhealthy_nothing_is_restarted_for_it(serving: Story) -> None:
    """Both instances failing their checks at once point at something they share: no restart, one sentence, and they keep their traffic."""
    serving.ready("web-1", "web-2", state=InstanceState.UNHEALTHY, note="/health answered 503")
    decided = [serving.tick() for _ in range(30)]
    assert not [e for d in decided for e in (*effects(d, StopInstance), *effects(d, StartInstance))]
    said = [d.why for tick in decided for d in tick.decisions if d.by == "heal"]
    assert said == [
        "most of web@local is unhealthy at once (/health answered 503): the cause is elsewhere, so none is restarted for it"
    ]


def test_one_sick_instance_among_healthy_ones_is_replaced(serving: Story) -> None:
    """A single unhealthy instance of three is taken away and replaced at once."""
    serving.ready("web-1", "web-2")
    web = replace(serving.model.releases["r1"].services["web"])
    scaled = replace(web, scaling=replace(web.scaling, instances_min=3))
    release = replace(serving.model.releases["r1"], services={"web": scaled})
    serving.model = replace(serving.model, releases={"r1": release})
    serving.tick()
    serving.ready("web-3")
    serving.tick()
    serving.ready("web-2", state=InstanceState.UNHEALTHY, note="no answer within 2 s")
    decided = serving.tick()
    assert [e.instance for e in effects(decided, StopInstance)] == ["web-2"]
    assert [e.instance for e in effects(decided, StartInstance)] == ["web-4"]


def test_a_frozen_instance_is_replaced_whatever_the_others_do(serving: Story) -> None:
    """A stopped process answers nothing and its neighbours have nothing to do with it: it is killed and replaced."""
    serving.ready("web-1", frozen=True)
    decided = serving.tick()
    assert [e.instance for e in effects(decided, StopInstance)] == ["web-1"]
    assert [e.instance for e in effects(decided, StartInstance)] == ["web-3"]


def test_nothing_is_concluded_from_a_look_that_failed(serving: Story) -> None:
    """When processes could not be looked at, missing instances are not missing."""
    serving.instances.clear()
    serving.stale.add("process")
    for _ in range(10):
        assert not effects(serving.tick(), StartInstance)


def test_an_order_whose_end_is_unknown_is_looked_for_before_it_is_repeated(serving: Story) -> None:
    """An instance that was asked for and is not seen counts as lost only after a while; then it is started under a new id."""
    serving.ready("web-1", frozen=True)
    [start] = effects(serving.tick(), StartInstance)
    serving.instances.pop("web-1")
    for _ in range(4):
        assert not effects(serving.tick(), StartInstance)
    [again] = [e for _ in range(3) for e in effects(serving.tick(), StartInstance)]
    assert (start.instance, again.instance) == ("web-3", "web-4")


def test_a_start_that_the_driver_refused_counts_as_a_failure(serving: Story) -> None:
    """A receipt that says no is believed at once, and its reason told."""
    serving.ready("web-1", frozen=True)
    serving.tick()
    serving.instances.pop("web-1")
    serving.extra["receipts"] = {
        "start:web-3": ReceiptSeen("start:web-3", "failed", "secret SESSION_KEY not set", serving.now)
    }
    decided = serving.tick()
    assert "web-3 does not run: secret SESSION_KEY not set" in [d.why for d in decided.decisions]


def test_with_memory_lost_what_runs_is_taken_over_and_not_doubled(serving: Story) -> None:
    """A control plane that wakes up without memory adopts the instances it finds, and their numbers are not used again."""
    memory = serving.memory
    serving.memory = Memory(release=memory.release)
    decided = serving.tick()
    assert not effects(decided, StartInstance)
    assert set(serving.memory.heal.members) == {"web-1", "web-2"}
    assert serving.memory.heal.numbers["web"] == 2


def test_what_is_let_go_ends_once_its_requests_are_finished(serving: Story) -> None:
    """A surplus instance first loses its traffic, and is told to end only after a later look shows no request at it."""
    serving.ready("web-1", "web-2", "web-3")
    serving.memory = replace(serving.memory)
    serving.tick()
    going = [i for i, m in serving.memory.heal.members.items() if m.state == "draining"]
    assert going == ["web-3"]
    for _ in range(5):
        serving.traffic(in_flight=10.0, in_flight_by_instance={"web-3": 2})
        assert not effects(serving.tick(), StopInstance)
    serving.traffic(in_flight=10.0, in_flight_by_instance={"web-3": 0})
    [stop] = effects(serving.tick(), StopInstance)
    assert stop.instance == "web-3"


def test_what_does_not_finish_ends_after_its_time(serving: Story) -> None:
    """An instance that keeps a request for ever is ended after the service's drain time."""
    serving.ready("web-1", "web-2", "web-3")
    stops = []
    for _ in range(40):
        serving.traffic(in_flight=10.0, in_flight_by_instance={"web-3": 1})
        decided = serving.tick()
        stops += [(d.why, e.instance) for d in decided.decisions for e in d.effects if isinstance(e, StopInstance)]
    assert stops[0] == ("web-3 had 30 s to finish its requests: it ends", "web-3")
    # It goes on as if nobody had told it: the order was lost, so it is told again, unhurriedly.
    assert stops[1:] == [("web-3 was told to end and that did not take hold: once more", "web-3")] * len(stops[1:])
    assert 1 <= len(stops[1:]) <= 3


def test_a_dead_gateway_is_started_again_and_a_recovering_store_is_left_alone(serving: Story) -> None:
    """The gateway that ended is started at once; an engine that only does not answer is not touched before its time."""
    serving.engines["gateway/local"] = replace(
        serving.engines["gateway/local"], state=EngineState.EXITED, note="killed by signal 9", pid=None
    )
    decided = serving.tick()
    assert [e.kind for e in effects(decided, StartEngine)] == ["gateway"]


def test_instances_wait_for_a_store_that_is_not_ready(new_story: Callable[..., Story], serving: Story) -> None:
    """While the database recovers no instance is started only to fail; the wait is said once."""
    serving.model = replace(serving.model, data=Data())
    for kind in ("postgres", "valkey"):
        serving.engines[f"{kind}/local"] = EngineSeen(kind, "local", EngineState.READY, serving.now, serving.now, pid=9)
    serving.tick()
    serving.engines["postgres/local"] = replace(serving.engines["postgres/local"], state=EngineState.UNHEALTHY)
    serving.ready("web-1", state=InstanceState.EXITED, note="could not reach the database")
    decided = serving.tick()
    serving.instances.pop("web-1")
    assert not effects(decided, StartInstance)
    assert "web@local/r1 waits for postgres/local" in [d.why for d in decided.decisions]
    assert not effects(serving.tick(), StartInstance)
    serving.engines["postgres/local"] = replace(serving.engines["postgres/local"], state=EngineState.READY)
    assert len(effects(serving.tick(), StartInstance)) == 1


def test_the_same_effect_is_not_sent_again_at_once_when_its_driver_says_no(serving: Story) -> None:
    """A driver that refuses immediately does not make the loop spin: the effect goes out again seconds later."""
    serving.extra["requests"] = {}
    serving.ready("web-1", "web-2", "web-3")
    serving.memory = replace(serving.memory)
    serving.traffic(in_flight=1.0)
    sent = []
    for _ in range(100):
        decided = serving.tick(0.05)
        sent += [e.key for e in effects(decided, StopInstance)]
    assert len(sent) <= 2


def test_an_instance_that_is_unhealthy_because_its_database_is_away_is_left_alone(serving: Story) -> None:
    """A health check that needs the database fails with it, and restarting the app would not bring it back: it is said once."""
    serving.model = replace(serving.model, data=Data())
    for kind in ("postgres", "valkey"):
        serving.engines[f"{kind}/local"] = EngineSeen(kind, "local", EngineState.READY, serving.now, serving.now, pid=9)
    serving.tick()
    serving.engines["postgres/local"] = replace(serving.engines["postgres/local"], state=EngineState.UNHEALTHY)
    serving.ready("web-1", "web-2", state=InstanceState.UNHEALTHY, note="/api/health answered 503")
    decided = [serving.tick() for _ in range(20)]
    assert not [e for d in decided for e in effects(d, StopInstance)]
    said = [x.why for d in decided for x in d.decisions if x.by == "heal"]
    assert said == [
        "web-1 is unhealthy (/api/health answered 503) while postgres/local is not ready: "
        "it is left alone until that is mended"
    ]
