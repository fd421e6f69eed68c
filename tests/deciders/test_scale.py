"""Scaling as stories: load comes, load goes, figures go missing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.deciders.memory import PoolScale
from tenfold.deciders.scale import zero
from tenfold.deciders.scale.floors import Least
from tenfold.deciders.scale.pool import scale_pool
from tenfold.facts import ColdStartSeen, InstanceSeen, InstanceState, MetricSeen, PoolSeen, Snapshot, WorkSeen
from tenfold.model import Scaling, Service, Trigger
from tenfold.model.service import InstanceSize

Story = Any


def wanted(story: Story) -> int:
    """How many instances of web are wanted now."""
    return int(story.memory.scale.pools["web@local"].wanted)


def test_load_times_five_adds_instances_within_two_looks_and_says_why(serving: Story) -> None:
    """Five times the load in flight is answered in the second look, in a sentence that names figure and bound."""
    serving.traffic(in_flight=400.0)
    serving.tick()
    assert wanted(serving) == 2, "one look may be chance"
    serving.traffic(in_flight=400.0)
    decided = serving.tick()
    assert wanted(serving) == 8
    [decision] = [d for d in decided.decisions if d.by == "scale"]
    assert decision.why == (
        "web@local needs 8 instances instead of 2, the most the blueprint allows (it would take 9): "
        "200 requests at hand per instance, above 60"
    )
    assert [e.key for e in decision.effects] == [f"start:web-{n}" for n in range(3, 9)]


def test_idle_instances_are_let_go_after_the_cooldown_and_not_before(serving: Story) -> None:
    """Once all triggers were below their bounds for the cooldown the pool shrinks, by half at the most, never below its minimum."""
    serving.memory = replace(serving.memory)
    serving.traffic(in_flight=400.0)
    serving.tick()
    serving.traffic(in_flight=400.0)
    serving.tick()
    serving.ready(*(f"web-{n}" for n in range(1, 9)))
    before = serving.now
    seen = [(0.0, 8)]
    for _ in range(400):
        serving.traffic(in_flight=0.0, per_s=0.0, response_ms_mean=None)
        serving.tick()
        for member in [m for m, kept in serving.memory.heal.members.items() if kept.state == "stopping"]:
            serving.instances.pop(member, None)
        if wanted(serving) != seen[-1][1]:
            seen.append((serving.now - before, wanted(serving)))
    assert [count for _, count in seen] == [8, 4, 2]
    assert seen[1][0] >= 60


def test_nothing_is_let_go_on_figures_that_did_not_arrive(serving: Story) -> None:
    """An idle pool whose gateway has gone silent keeps its instances for as long as that lasts, and says so once."""
    serving.traffic(in_flight=400.0)
    serving.tick()
    serving.traffic(in_flight=400.0)
    serving.tick()
    serving.ready(*(f"web-{n}" for n in range(1, 9)), cpu_cores=0.01)
    said = []
    for _ in range(300):
        said += [d.why for d in serving.tick().decisions if d.by == "scale"]
        serving.ready(*(f"web-{n}" for n in range(1, 9)), cpu_cores=0.01)
    assert wanted(serving) == 8
    assert said == ["web@local keeps 8 instances although they seem idle: the gateway's figures are missing or stale"]


def test_nothing_is_let_go_soon_after_an_outage(serving: Story) -> None:
    """A pool that could not serve a moment ago is not shrunk, however idle it looks: its users are coming back."""
    serving.traffic(in_flight=400.0)
    serving.tick()
    serving.traffic(in_flight=400.0)
    serving.tick()
    serving.ready(*(f"web-{n}" for n in range(1, 9)))
    for _ in range(58):
        serving.traffic(in_flight=0.0, per_s=0.0)
        serving.tick()
    serving.traffic(in_flight=0.0, per_s=100.0, errors_per_s=90.0)
    serving.tick()
    for _ in range(110):
        serving.traffic(in_flight=0.0, per_s=0.0)
        serving.tick()
    assert wanted(serving) == 8
    assert "it could not serve a short while ago" in serving.memory.scale.pools["web@local"].holding
    for _ in range(20):
        serving.traffic(in_flight=0.0, per_s=0.0)
        serving.tick()
    assert wanted(serving) == 4


def test_processor_time_of_starting_up_is_not_load(serving: Story) -> None:
    """Instances that became ready a moment ago may use all the processor they like without asking for company."""
    for _ in range(10):
        serving.ready("web-1", "web-2", since=serving.now - 2, cpu_cores=1.0)
        serving.traffic(in_flight=10.0)
        serving.tick()
    assert wanted(serving) == 2
    for _ in range(2):
        serving.ready("web-1", "web-2", cpu_cores=1.0)
        serving.traffic(in_flight=10.0)
        serving.tick()
    assert wanted(serving) == 4, "the same once they are warm is load: 2 * 100% / 60%"


def test_slow_answers_add_a_quarter_and_wait_to_see_the_effect(new_story: Callable[..., Story]) -> None:
    """Response time tells that instances are missing, not how many: one step, then a pause."""
    web = Service("web", "x {port}", scaling=Scaling(2, 8, (Trigger("response_time", 200, 100, 60),)))
    memory, now = PoolScale(2, "", 0.0), 1000.0
    sizes = []
    for _ in range(70):
        now += 1.0
        ready = {f"web-{n}": _instance(f"web-{n}", now) for n in range(memory.wanted)}
        pool = PoolSeen("web", "local", now, requests_per_s=50.0, in_flight=20.0, response_ms_mean=900.0)
        memory, _ = scale_pool(web, "local", [*ready.values()], _snapshot(now, ready, {"web@local": pool}), memory)
        sizes.append(memory.wanted)
    assert sizes[2] == 3
    assert max(sizes) == 5, "three steps in seventy seconds"


def test_slow_answers_add_on_after_the_clock_was_set_back() -> None:
    """A step that seems to lie in the future holds up none that is needed now."""
    web = Service("web", "x {port}", scaling=Scaling(2, 8, (Trigger("response_time", 200, 100, 60),)))
    memory, now = PoolScale(2, "", changed_at=5000.0), 1000.0
    ready = {f"web-{n}": _instance(f"web-{n}", now) for n in range(2)}
    for _ in range(3):
        now += 1.0
        pool = PoolSeen("web", "local", now, requests_per_s=50.0, in_flight=20.0, response_ms_mean=900.0)
        memory, _ = scale_pool(web, "local", [*ready.values()], _snapshot(now, ready, {"web@local": pool}), memory)
    assert memory.wanted == 3


def test_a_metric_the_app_posts_scales_by_its_share_per_instance(new_story: Callable[..., Story]) -> None:
    """1,700 users on two instances with a bound of 400 ask for six; a metric nobody posts holds."""
    web = Service("web", "x {port}", scaling=Scaling(2, 8, (Trigger("concurrent_users", 400, 200, 60),)))
    ready = {f"web-{n}": _instance(f"web-{n}", 1000.0) for n in range(2)}
    memory = PoolScale(2, "", 0.0)
    for at in (1000.0, 1001.0):
        metric = MetricSeen("web", "local", "concurrent_users", 1700.0, at)
        shot = replace(_snapshot(at, ready, {}), metrics={metric.key: metric})
        memory, decision = scale_pool(web, "local", [*ready.values()], shot, memory)
    assert memory.wanted == 6
    assert decision is not None
    assert "850 users per instance, above 400" in decision.why


@pytest.mark.parametrize(
    ("value", "gone", "wanted_then"),
    [(100.0, (), 2), (100.0, ("web-2", "web-3"), 4), (4000.0, ("web-2", "web-3"), 8), (100.0, ("web-8",), 2)],
    ids=["whole", "half", "half and too much", "one that ended"],
)
def test_half_of_a_posted_metric_lets_nothing_go(value: float, gone: tuple[str, ...], wanted_then: int) -> None:
    """Where half of those that serve have ceased to post, the sum of the others is no sum: it may add, and takes nothing away."""
    triggers = (Trigger("queue", 400, 200, 5), Trigger("concurrency", 60, 30, 5))
    web = Service("web", "x {port}", scaling=Scaling(2, 8, triggers))
    memory, told = PoolScale(4, "", 0.0), []
    for at in range(1000, 1030):
        ready = {f"web-{n}": _instance(f"web-{n}", at) for n in range(4)}
        metric = MetricSeen("web", "local", "queue", value, at, silent=gone)
        pool = PoolSeen("web", "local", at, requests_per_s=1.0, in_flight=1.0)
        shot = replace(_snapshot(at, ready, {"web@local": pool}), metrics={metric.key: metric})
        memory, decision = scale_pool(web, "local", [*ready.values()], shot, memory)
        told += [decision.why] if decision is not None else []
    assert memory.wanted == wanted_then
    if wanted_then == 4:
        assert told == [
            "web@local keeps 4 instances although they seem idle: 2 of 4 instances posted queue before and no more"
        ]


def test_a_new_blueprint_bound_takes_hold_at_once(serving: Story) -> None:
    """When a release allows fewer instances than are wanted, the number is brought within its bounds, and said so."""
    web = serving.model.releases["r1"].services["web"]
    tight = replace(web, scaling=replace(web.scaling, instances_min=1, instances_max=1))
    memory, decision = scale_pool(tight, "local", [], serving.snapshot(), serving.memory.scale.pools["web@local"])
    assert memory.wanted == 1
    assert decision is not None
    assert decision.why == "the blueprint now allows 1 to 1 instances"


@given(
    in_flight=st.floats(0, 5000),
    more=st.floats(0, 5000),
    ready=st.integers(1, 8),
    now_wanted=st.integers(2, 8),
    busy_s=st.none() | st.floats(0.001, 100.0),
    per_s=st.floats(0, 500),
    more_per_s=st.floats(0, 500),
)
def test_more_load_never_gives_fewer_instances_and_never_outside_the_bounds(
    in_flight: float, more: float, ready: int, now_wanted: int, busy_s: float | None, per_s: float, more_per_s: float
) -> None:
    """All else equal a higher figure never ends with a smaller pool, and no figure leaves minimum and maximum."""
    low = _settle(in_flight, ready, now_wanted, busy_s, per_s)
    high = _settle(in_flight + more, ready, now_wanted, busy_s, per_s + more_per_s)
    assert 2 <= low <= high <= 8


def test_a_queue_that_waits_for_new_instances_asks_for_no_more_of_them() -> None:
    """While those that were added start, and until they have worked off what waited, a growing queue is not taken for ever more load; what
    comes is, and once all is settled what is at hand counts as it is."""
    web = Service("web", "x {port}", scaling=Scaling(2, 40, (Trigger("concurrency", 60, 30, 5),)))
    work = WorkSeen("web", "local", 1000.0, busy_s=0.5, start_s=20.0)
    memory, told = PoolScale(2, "", 0.0), {}
    for second in range(140):
        now, count = 1000.0 + second, 2 if second < 20 else memory.wanted
        seen = {f"web-{n}": _instance(f"web-{n}", now) for n in range(count)}
        # 400 requests/s keep 200 at hand; two instances do less than that, and what they leave waits.
        waits = 150.0 * second if second < 20 else 3000.0
        pool = PoolSeen("web", "local", now, requests_per_s=400.0, in_flight=200.0 + waits)
        shot = replace(_snapshot(now, seen, {"web@local": pool}), works={work.key: work})
        memory, _ = scale_pool(web, "local", [*seen.values()], shot, memory)
        told[second] = memory.wanted
    assert told[1] == told[80] == 8, "350 at hand in the second look"
    assert told[139] == 40, "it was no queue: it does not go away"


def test_a_queue_does_not_hide_that_more_comes() -> None:
    """What comes tells how many are needed, also while instances start: by what a request keeps busy and by what it costs, whichever is
    more."""
    size = InstanceSize(cpu_cores=1.0)
    for work, needed in (
        (WorkSeen("web", "local", 1000.0, busy_s=0.9, cpu_s=0.001), 20),
        (WorkSeen("web", "local", 1000.0, busy_s=0.01, cpu_s=0.014), 27),
    ):
        web = Service("web", "x {port}", instance=size, scaling=Scaling(2, 40, (Trigger("concurrency", 60, 30, 5),)))
        seen = {f"web-{n}": _instance(f"web-{n}", 1000.0) for n in range(2)}
        pool = PoolSeen("web", "local", 1000.0, requests_per_s=900.0, in_flight=6000.0)
        shot = replace(_snapshot(1000.0, seen, {"web@local": pool}), works={work.key: work})
        loud = PoolScale(4, "", 0.0, high_since={"concurrency": 999.0})
        after, decision = scale_pool(web, "local", [*seen.values()], shot, loud)
        assert after.wanted == needed
        assert decision is not None
        assert "3000 requests at hand per instance (" in decision.why
        assert " without what waits for instances that start), above 60" in decision.why


@pytest.mark.parametrize("source", ["process"])
def test_no_decision_on_a_stale_view_of_processes(serving: Story, source: str) -> None:
    """When processes could not be looked at, the pool is left as it is whatever the traffic says."""
    serving.stale.add(source)
    for _ in range(5):
        serving.traffic(in_flight=4000.0)
        serving.tick()
    assert wanted(serving) == 2


def test_nothing_is_concluded_from_figures_of_the_future() -> None:
    """After the clock was set back by an hour, what was seen before it tells nothing of now: no instance is added or let go for it."""
    web = Service(
        "web", "x {port}", scaling=Scaling(2, 8, (Trigger("concurrency", 60, 30, 5), Trigger("queue_length", 10, 5, 5)))
    )
    for in_flight, queued in ((4000.0, 900.0), (0.0, 0.0)):
        memory, ago = PoolScale(4, "", 0.0), 4600.0
        pool = PoolSeen("web", "local", ago, requests_per_s=10.0, in_flight=in_flight)
        posted = MetricSeen("web", "local", "queue_length", queued, ago)
        for now in range(1000, 1060):
            ready = {f"web-{n}": _instance(f"web-{n}", now) for n in range(4)}
            shot = replace(_snapshot(now, ready, {"web@local": pool}), metrics={posted.key: posted})
            memory, decision = scale_pool(web, "local", [*ready.values()], shot, memory)
            assert decision is None
        assert memory.wanted == 4


@pytest.mark.parametrize(("age_s", "is_woken"), [(0.0, True), (60.0, False), (-60.0, False)])
def test_who_waited_long_ago_wakes_nobody(age_s: float, is_woken: bool) -> None:
    """A gateway that fell silent while a request waited does not wake its pool again and again, nor does one of the future."""
    web, now = Service("web", "x {port}", paths=("/",), scaling=Scaling(0, 4)), 1000.0
    cold = ColdStartSeen("web", "local", now - age_s, waiting=1, arrived_at=800.0)
    shot = replace(_snapshot(now, {}, {}), cold_starts={cold.key: cold})
    pool, _ = zero.wake(web, "local", shot, PoolScale(0, "", 900.0), Least(0))
    assert pool.wanted == is_woken


def _settle(in_flight: float, ready: int, now_wanted: int, busy_s: float | None, per_s: float) -> int:
    web = Service("web", "x {port}", scaling=Scaling(2, 8, (Trigger("concurrency", 60, 30, 5),)))
    memory = PoolScale(now_wanted, "", 0.0)
    for second in range(12):
        now = 1000.0 + second
        seen = {f"web-{n}": _instance(f"web-{n}", now) for n in range(ready)}
        pool = PoolSeen("web", "local", now, requests_per_s=per_s, in_flight=in_flight)
        work = WorkSeen("web", "local", now, busy_s=busy_s)
        shot = replace(_snapshot(now, seen, {"web@local": pool}), works={work.key: work})
        memory, _ = scale_pool(web, "local", [*seen.values()], shot, memory)
    return memory.wanted


def _instance(id_: str, now: float) -> InstanceSeen:
    return InstanceSeen(id_, "web", "local", "r1", InstanceState.READY, now - 60, now - 61, now, cpu_cores=0.1, port=1)


def _snapshot(now: float, instances: dict[str, InstanceSeen], pools: dict[str, PoolSeen]) -> Snapshot:
    return Snapshot(now, 1, observed={"process": now, "gateway": now}, instances=instances, pools=pools)
