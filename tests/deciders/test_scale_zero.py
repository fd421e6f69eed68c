"""Sleep as stories: an idle pool goes to none and is woken by whatever asks for it; what is not known puts nothing to sleep."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.deciders import Decided
from tenfold.deciders.memory import PoolScale, ScaleMemory
from tenfold.deciders.route import build_table, digest_of, routable
from tenfold.deciders.scale import scale
from tenfold.facts import (
    ColdStartSeen,
    DeployRequest,
    ForecastSeen,
    InstanceSeen,
    InstanceState,
    MetricSeen,
    PoolSeen,
    Snapshot,
    UpRequest,
    WorkSeen,
)
from tenfold.model import Forecast, Model, Region, Release, Scaling, Service, Trigger

Story = Any
IDLE_S = 60.0
POSTED = (Trigger("queue_length", 100, 10, 60),)


@pytest.fixture
def drowsy(new_story: Callable[..., Story]) -> Callable[..., Story]:
    """A story whose `web` may sleep after a minute, and serves with one instance. Changes are those of its scaling and of itself."""

    def start(**changes: Any) -> Story:
        of_scaling = {key: changes.pop(key) for key in ("triggers", "forecast") if key in changes}
        scaling = replace(Scaling(0, 8, (Trigger("concurrency", 60, 30, 60),), idle_s=IDLE_S), **of_scaling)
        web = replace(Service("web", "serve {port}", paths=("/",), scaling=scaling), **changes)
        story = new_story(Release("r1", {"web": web}, "digest", 0.0))
        story.extra["requests"] = {"up": UpRequest("up", story.now, story.model.releases["r1"])}
        story.tick()
        story.ready("web-1", **({} if web.http else {"port": None}))
        for _ in range(3):
            story.traffic(in_flight=1.0)
            story.tick()
        story.extra.pop("requests")
        assert story.memory.release.serving == "r1"
        assert pool_of(story).wanted == 1
        return story

    return start


def pool_of(story: Story) -> PoolScale:
    return story.memory.scale.pools["web@local"]  # type: ignore[no-any-return]


def told(decided: Decided) -> list[str]:
    """What scaling said."""
    return [d.why for d in decided.decisions if d.by == "scale"]


def quiet(story: Story, seconds: float, **traffic: Any) -> list[str]:
    """Let time pass without a request; what scaling said meanwhile."""
    said: list[str] = []
    for _ in range(int(seconds)):
        story.traffic(**({"in_flight": 0.0, "per_s": 0.0, "response_ms_mean": None} | traffic))
        said += told(story.tick())
    return said


def put_to_sleep(story: Story) -> None:
    """Idle until nothing runs."""
    quiet(story, IDLE_S + 3)
    assert pool_of(story).wanted == 0
    for _ in range(5):
        quiet(story, 1)
        for id_ in [m for m, kept in story.memory.heal.members.items() if kept.state == "stopping"]:
            story.instances.pop(id_, None)
    assert not story.memory.heal.members


def cold(story: Story, **changes: Any) -> None:
    """Requests wait for web."""
    seen = ColdStartSeen("web", "local", story.now, arrived_at=story.now, **changes)
    story.extra["cold_starts"] = {seen.key: seen}


def table(story: Story) -> Any:
    """The routes of web as they should be now."""
    members = story.memory.heal.members
    snapshot, release = story.snapshot(), story.model.releases[story.memory.release.serving]
    return build_table(story.model, release, "local", routable(snapshot, members), {}, ()).services[0]


def test_an_idle_pool_sleeps_after_its_time_and_its_requests_wait(drowsy: Callable[..., Story]) -> None:
    """Not before `idle`, with the reason; the same tick lets the instance go and has requests wait."""
    story = drowsy()
    assert quiet(story, IDLE_S - 1) == []
    assert pool_of(story).wanted == 1
    assert not table(story).is_asleep
    said: list[str] = []
    while not said:
        said = quiet(story, 1)
    assert said == ["web@local sleeps: no request and no open socket for 60 s"]
    assert pool_of(story).wanted == 0
    assert table(story).is_asleep
    assert [e.state for e in table(story).endpoints] == ["draining"]
    assert quiet(story, 600) == [], "it is said once, and nothing wakes it"


@pytest.mark.parametrize(
    "traffic",
    [
        {"per_s": 0.1},
        {"in_flight": 1.0},
        {"sockets": 1},
        {"in_flight_by_instance": {"web-1": 1}},
        {"sockets_by_instance": {"web-1": 1}},
    ],
)
def test_who_is_wanted_stays_awake(drowsy: Callable[..., Story], traffic: dict[str, Any]) -> None:
    """A request now and then, one that lasts, and one open socket each keep the last instance."""
    story = drowsy()
    quiet(story, 10 * IDLE_S, **traffic)
    assert pool_of(story).wanted == 1


def test_one_request_begins_the_time_anew(drowsy: Callable[..., Story]) -> None:
    """The idle time is without a break."""
    story = drowsy()
    quiet(story, IDLE_S - 5)
    story.traffic(in_flight=0.0, per_s=1.0)
    story.tick()
    quiet(story, IDLE_S - 5)
    assert pool_of(story).wanted == 1
    quiet(story, 10)
    assert pool_of(story).wanted == 0


@pytest.mark.parametrize("source", ["gateway", "process"])
def test_what_is_not_seen_puts_nothing_to_sleep(drowsy: Callable[..., Story], source: str) -> None:
    """Stale facts hold, and the idle time begins anew once they come again."""
    story = drowsy()
    quiet(story, IDLE_S - 5)
    story.stale.add(source)
    quiet(story, 10 * IDLE_S)
    assert pool_of(story).wanted == 1
    story.stale.clear()
    quiet(story, IDLE_S - 5)
    assert pool_of(story).wanted == 1


def test_a_pool_that_nothing_tells_of_stays_awake(drowsy: Callable[..., Story]) -> None:
    """Traffic figures that never came are not zero; those that stopped coming neither."""
    story = drowsy()
    story.pools.clear()
    for _ in range(300):
        story.tick()
    assert pool_of(story).wanted == 1
    story.traffic(in_flight=0.0, per_s=0.0)
    for _ in range(300):
        story.tick()
    assert pool_of(story).wanted == 1


def test_a_waiting_request_wakes_it_at_once(drowsy: Callable[..., Story]) -> None:
    """In the very tick, with one instance; while that starts nothing else is done, and its readiness ends the waiting."""
    story = drowsy()
    put_to_sleep(story)
    cold(story, waiting=20)
    decided = story.tick()
    assert told(decided) == ["web@local wakes: 20 requests wait for it"]
    [decision] = [d for d in decided.decisions if d.by == "scale"]
    assert [e.key.partition(":")[0] for e in decision.effects] == ["start"]
    assert decision.confidence_ratio == 1.0
    cold(story, waiting=200)
    for _ in range(5):
        assert told(story.tick()) == []
    assert pool_of(story).troubled_at is None, "a cold start is no outage"
    [id_] = story.memory.heal.members
    story.extra["cold_starts"] = {}
    story.ready(id_)
    story.tick()
    assert pool_of(story).wanted == 1
    assert pool_of(story).woken_at is None
    assert not table(story).is_asleep
    quiet(story, IDLE_S + 5)
    assert pool_of(story).wanted == 0, "and it may sleep again"


def test_one_that_came_and_left_wakes_it_too(drowsy: Callable[..., Story]) -> None:
    """A request that was refused, or whose client left before anybody looked, asked for it all the same; an old one does not."""
    story = drowsy()
    put_to_sleep(story)
    seen = ColdStartSeen("web", "local", story.now, arrived_at=pool_of(story).changed_at - 1.0, refused=1)
    story.extra["cold_starts"] = {seen.key: seen}
    assert told(story.tick()) == []
    cold(story, refused=2)
    assert told(story.tick()) == ["web@local wakes: a request came for it"]


def test_a_clock_that_was_set_back_wakes_and_sleeps_no_more_than_others(drowsy: Callable[..., Story]) -> None:
    """A request from the future wakes nobody, and an idle time from the future begins anew."""
    story = drowsy()
    put_to_sleep(story)
    cold(story)
    story.now -= 7200.0
    assert told(story.tick()) == []
    story = drowsy()
    quiet(story, IDLE_S - 5)
    story.now -= 7200.0
    quiet(story, IDLE_S - 5)
    assert pool_of(story).wanted == 1
    quiet(story, 10)
    assert pool_of(story).wanted == 0


def test_just_after_an_outage_it_stays_awake_and_says_so(drowsy: Callable[..., Story]) -> None:
    """Users come back after an outage: two minutes of quiet do not count as nobody there."""
    story = drowsy()
    story.instances.update({k: replace(v, frozen=True) for k, v in story.instances.items()})
    story.tick()
    story.instances.update({k: replace(v, frozen=False) for k, v in story.instances.items()})
    members = list(story.memory.heal.members)
    story.ready(*members)
    said = quiet(story, IDLE_S + 10)
    assert "web@local stays awake: it could not serve a short while ago" in said
    assert pool_of(story).wanted == 1
    quiet(story, 120)
    assert pool_of(story).wanted == 0


def test_at_work_without_requests_it_stays_awake(drowsy: Callable[..., Story]) -> None:
    """A program that uses its processor is not idle, whoever asked for that."""
    story = drowsy(triggers=(Trigger("concurrency", 60, 30, 60), Trigger("cpu", 0.8, 0.4, 60)))
    busy = {k: replace(v, cpu_cores=0.7, since=story.now - 100) for k, v in story.instances.items()}
    for _ in range(200):
        story.instances.update({k: replace(v, seen_at=story.now) for k, v in busy.items()})
        story.traffic(in_flight=0.0, per_s=0.0)
        story.tick()
    assert pool_of(story).wanted == 1
    assert pool_of(story).holding == "web@local stays awake: it is at work, although nobody asked for anything"


def metric(story: Story, value: float, age_s: float = 0.0) -> None:
    """The app posts its queue."""
    seen = MetricSeen("web", "local", "queue_length", value, story.now - age_s)
    story.extra["metrics"] = {seen.key: seen}


def test_a_metric_keeps_it_awake_and_wakes_it(drowsy: Callable[..., Story]) -> None:
    """A queue that holds something, or of which nothing is known, keeps a worker; it sleeps by an empty one, and a job wakes it."""
    story = drowsy(triggers=POSTED, http=False, paths=())

    def work(seconds: int, value: float | None) -> list[str]:
        said = []
        for _ in range(seconds):
            if value is not None:
                metric(story, value)
            said += told(story.tick())
        return said

    assert work(100, None) == [], "it was said at once, and once"
    assert pool_of(story).holding == "web@local stays awake: the app has not posted queue_length lately"
    work(100, 3.0)
    assert pool_of(story).wanted == 1
    assert work(70, 0.0) == ["web@local sleeps: queue_length at 0 for 60 s"]
    work(30, 0.0)
    story.instances.clear()
    metric(story, 2.0, age_s=200.0)
    assert told(story.tick()) == [], "what was posted long ago says nothing"
    assert work(1, 2.0) == ["web@local wakes: queue_length is 2"]


def forecast(story: Story, due_s: float, value: float = 2.0) -> None:
    """The upper bound says that requests come `due_s` from now on; the median that none do."""
    horizons = tuple(60.0 * n for n in range(1, 31))
    upper = tuple(value if h >= due_s else 0.0 for h in horizons)
    seen = ForecastSeen(
        "web@local.requests_per_s",
        story.now,
        0.0,
        horizons,
        (0.5, 0.95),
        (tuple(0.0 for _ in horizons), upper),
        86_400.0,
    )
    work = WorkSeen("web", "local", story.now, start_s=30.0)
    story.extra |= {"forecasts": {seen.key: seen}, "works": {work.key: work}}


def test_it_is_woken_before_the_load_comes(drowsy: Callable[..., Story]) -> None:
    """When the forecast's upper bound tells of requests before a start that began later would be ready; not sooner, not by an old one."""
    story = drowsy(forecast=Forecast(600, 0.95))
    put_to_sleep(story)
    forecast(story, due_s=300.0)
    assert told(story.tick()) == []
    forecast(story, due_s=60.0)
    story.now += 600.0
    assert told(story.tick()) == [], "too old to be believed"
    forecast(story, due_s=60.0)
    decided = story.tick()
    assert told(decided) == ["web@local wakes: up to 2 requests/s are expected within 95 s (95% bound)"]
    [decision] = [d for d in decided.decisions if d.by == "scale"]
    assert decision.confidence_ratio == pytest.approx(0.05)


def test_it_does_not_sleep_when_load_is_due(drowsy: Callable[..., Story]) -> None:
    """Requests that are due within a start's time keep it awake, and it says so once; a whiff of one does not."""
    story = drowsy(forecast=Forecast(600, 0.95))
    said = []
    for _ in range(120):
        forecast(story, due_s=60.0)
        said += quiet(story, 1)
    assert said == ["web@local stays awake: up to 2 requests/s are expected within 95 s (95% bound)"]
    for _ in range(3):
        forecast(story, due_s=60.0, value=0.001)
        quiet(story, 1)
    assert pool_of(story).wanted == 0


def test_nobody_waits_for_what_does_not_start(drowsy: Callable[..., Story]) -> None:
    """Once a release was given up on, its requests are answered at once by an error, and are held again after one that starts."""
    story = drowsy()
    put_to_sleep(story)
    cold(story, waiting=1)
    for _ in range(300):
        story.tick()
        for id_, kept in list(story.memory.heal.members.items()):
            if kept.state == "wanted" and id_ not in story.instances:
                story.ready(id_, state=InstanceState.EXITED, note="exit code 1")
            elif kept.state != "wanted":
                story.instances.pop(id_, None)
        ended = [id_ for id_, seen in story.instances.items() if seen.state == "exited"]
        if any(f.gave_up for f in story.memory.heal.failures.values()):
            break
        story.tick()
        for id_ in ended:
            story.instances.pop(id_, None)
    assert any(f.gave_up for f in story.memory.heal.failures.values())
    story.tick()
    release = story.model.releases["r1"]
    there = routable(story.snapshot(), story.memory.heal.members)
    held = build_table(story.model, release, "local", there, {}, ())
    answered = build_table(story.model, release, "local", there, {}, (), given_up=("web@local",))
    assert held.services[0].is_asleep
    assert not answered.services[0].is_asleep
    assert story.memory.route.digests["local"] == digest_of(answered) != digest_of(held)


def test_coming_back_wakes_nobody(drowsy: Callable[..., Story]) -> None:
    """Healing starts nothing for a pool that sleeps, also when its control plane begins anew."""
    story = drowsy()
    put_to_sleep(story)
    started = [e for _ in range(60) for d in story.tick().decisions for e in d.effects if e.key.startswith("start:")]
    assert started == []


def test_a_release_shows_that_it_starts_before_it_sleeps(drowsy: Callable[..., Story]) -> None:
    """A deploy onto a sleeping pool starts one instance of the new release, moves the traffic, watches it, and lets it sleep."""
    story = drowsy()
    put_to_sleep(story)
    new = replace(story.model.releases["r1"], id="r2")
    story.model = replace(story.model, releases={**story.model.releases, "r2": new})
    request = DeployRequest("q9", story.now, new)
    story.extra["requests"] = {request.id: request}
    quiet(story, 2)
    [id_] = [m for m, kept in story.memory.heal.members.items() if kept.release == "r2"]
    assert story.memory.release.serving == "r1"
    story.ready(id_, release="r2")
    story.extra["requests"] = {}
    quiet(story, 3)
    assert story.memory.release.serving == "r2"
    assert not table(story).is_asleep
    quiet(story, story.model.rollout.watch_s + 5)
    assert story.memory.release.operation is None
    assert story.memory.heal.members[id_].state != "wanted"
    assert table(story).is_asleep


def test_a_blueprint_that_allows_no_sleep_any_more_wakes_it(drowsy: Callable[..., Story]) -> None:
    """A minimum that is raised to one counts for what sleeps too."""
    story = drowsy()
    put_to_sleep(story)
    release = story.model.releases["r1"]
    web = release.services["web"]
    awake = replace(web, scaling=replace(web.scaling, instances_min=1))
    released = replace(release, services={"web": awake})
    story.model = replace(story.model, releases={"r1": released}, services={"web": awake})
    assert told(story.tick()) == ["the blueprint now allows 1 to 8 instances"]
    assert pool_of(story).wanted == 1


WEB = Service("web", "serve {port}", paths=("/",), scaling=Scaling(0, 4, idle_s=5.0))
RELEASE = Release("r1", {"web": WEB}, "digest", 0.0)
MODEL = Model("shop", {"web": WEB}, {"local": Region("local")}, releases={"r1": RELEASE})
flows = st.tuples(
    st.sampled_from(["idle", "busy", "missing", "stale"]), st.integers(0, 2), st.floats(-30, 30), st.booleans()
)


@given(st.lists(flows, min_size=1, max_size=40))
def test_nothing_sleeps_but_what_was_seen_idle(steps: list[tuple[str, int, float, bool]]) -> None:
    """Whatever comes, and however the clock jumps: never below zero nor above the maximum; to sleep only from looks that showed nobody, on
    end for the idle time; and with a request waiting it is awake."""
    now, memory, idle_since = 1_000.0, ScaleMemory(), None
    for kind, waiting, jump_s, is_ready in steps:
        now += 1.0 + (jump_s if abs(jump_s) > 25 else 0.0)
        before = memory.pools.get("web@local")
        at = now - 60.0 if kind == "stale" else now
        pool = PoolSeen("web", "local", at, requests_per_s=1.0 if kind == "busy" else 0.0)
        instance = InstanceSeen("web-1", "web", "local", "r1", InstanceState.READY, now - 50, now - 60, now, port=1)
        cold_start = ColdStartSeen("web", "local", now, waiting=waiting, arrived_at=now - 100)
        there = is_ready and (before is None or before.wanted > 0)
        snapshot = Snapshot(
            now,
            observed={"process": now, "gateway": at},
            instances={"web-1": instance} if there else {},
            pools={} if kind == "missing" else {"web@local": pool},
            cold_starts={"web@local": cold_start} if waiting else {},
        )
        memory, _ = scale(MODEL, RELEASE, snapshot, memory)
        after = memory.pools["web@local"]
        assert 0 <= after.wanted <= 4
        is_idle = kind == "idle" and there
        idle_since = None if not is_idle else now if idle_since is None or idle_since > now else idle_since
        if before is not None and before.wanted > 0 and after.wanted == 0:
            assert idle_since is not None
            assert now - idle_since >= WEB.scaling.idle_s
        if before is not None and before.wanted == 0:
            assert (after.wanted == 1) == (waiting > 0 or kind == "busy")
