"""The policies as scalers: by name, over snapshots, and as the numbers of the whole brain in a false world."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.deciders import decide
from tenfold.deciders.decide import Scaler
from tenfold.deciders.memory import PoolScale, ScaleMemory
from tenfold.deciders.scale import scale
from tenfold.effects import Decision
from tenfold.facts import (
    CapacitySeen,
    ColdStartSeen,
    ForecastSeen,
    InstanceSeen,
    InstanceState,
    PoolSeen,
    Snapshot,
    UpRequest,
)
from tenfold.model import Forecast, Health, InstanceSize, Model, Region, Release, Scaling, Service, Trigger
from tenfold.sim import (
    POLICIES,
    Behaviour,
    ClockJump,
    ControlCrash,
    FaultSchedule,
    ObserverOutage,
    Simulation,
    Truth,
    World,
    WorldFault,
    policy,
    steps,
)
from tenfold.sim.policies import HpaScaler, KpaScaler, reactive

START = 1_750_000_000.0
NAMES = ("tenfold", "reactive", "hpa", "hpa-80", "kpa", "oracle")
TRUTH = Truth({"web@local": lambda _: 100.0}, START, {"web": 50.0}, {"web": 10.0})


def _web(low: int = 2, high: int = 10, **changes: Any) -> Service:
    triggers = (Trigger("concurrency", 60, 30, 60),)
    return replace(Service("web", "serve", paths=("/",), scaling=Scaling(low, high, triggers)), **changes)


class _Watched:
    """A scaler asked second by second over snapshots that say what a test says."""

    def __init__(self, scaler: Scaler, service: Service | None = None) -> None:
        self.scaler, self.service = scaler, service or _web()
        self.release = Release("r1", {"web": self.service}, "digest", START)
        self.model = Model("demo", {"web": self.service}, {"local": Region("local")}, releases={"r1": self.release})
        self.now, self.memory = START, ScaleMemory()
        self.decisions: list[Decision] = []

    @property
    def wanted(self) -> int:
        return self.memory.pools["web@local"].wanted

    def tick(
        self,
        seconds: int = 1,
        *,
        per_s: float | None = 100.0,
        in_flight: float = 10.0,
        ready: int | None = None,
        cpu: float | None = 0.5,
        is_stale: bool = False,
        waiting: int = 0,
    ) -> None:
        """Let `seconds` pass, in each of which `ready` instances serve (None: as many as are wanted) and the rest starts."""
        for _ in range(seconds):
            self.now += 1.0
            shot = self.shot(per_s, in_flight, ready, cpu, is_stale, waiting)
            self.memory, made = self.scaler(self.model, self.release, shot, self.memory)
            self.decisions += made

    def shot(
        self,
        per_s: float | None,
        in_flight: float,
        ready: int | None,
        cpu: float | None,
        is_stale: bool = False,
        waiting: int = 0,
    ) -> Snapshot:
        """What is seen now."""
        wanted = self.wanted if "web@local" in self.memory.pools else self.service.scaling.instances_min
        serving = wanted if ready is None else ready
        instances = {}
        for n in range(max(wanted, serving)):
            state = InstanceState.READY if n < serving else InstanceState.STARTING
            since = self.now - 900 if n < serving else self.now
            id_ = f"web-{n}"
            instances[id_] = InstanceSeen(
                id_, "web", "local", "r1", state, since, since - 10 + n / 100, self.now, cpu_cores=cpu, port=1
            )
        pools = {}
        if per_s is not None:
            pools["web@local"] = PoolSeen("web", "local", self.now, requests_per_s=per_s, in_flight=in_flight)
        seen_at = self.now - 60 if is_stale else self.now
        cold = {"web@local": ColdStartSeen("web", "local", self.now, waiting, self.now)} if waiting else {}
        observed = {"process": seen_at, "gateway": seen_at}
        return Snapshot(self.now, 1, observed=observed, instances=instances, pools=pools, cold_starts=cold)


def test_every_policy_is_made_by_the_name_people_type() -> None:
    """Each name gives a scaler, an HPA one with the percent in its name too, and those that remember are new each time."""
    assert tuple(POLICIES) == ("tenfold", "reactive", "hpa", "kpa", "oracle")
    assert all(callable(policy(name, TRUTH)) for name in NAMES)
    assert policy("tenfold") is scale
    assert policy("reactive") is reactive
    assert policy("hpa", TRUTH) is not policy("hpa", TRUTH)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("hpaa", "there is no policy 'hpaa'; did you mean hpa?"),
        ("KPA", "did you mean kpa?"),
        ("reactiv", "did you mean reactive?"),
        ("", "there is no policy ''; there are tenfold, reactive, hpa, kpa, oracle, hpa-PERCENT"),
        ("x" * 1000, "there is no policy 'xxxxx"),
        ("hpa-0", "'hpa-0': the target is a whole percent from 1 to 100, as in hpa-80"),
        ("hpa-101", "a whole percent from 1 to 100"),
        ("hpa-", "a whole percent"),
        ("hpa-7.5", "a whole percent"),
        ("hpa-٧٠", "a whole percent"),
        ("hpa-80\n", "a whole percent"),
        ("oracle", "the oracle needs to know what is to come"),
    ],
)
def test_a_name_that_is_none_is_answered_with_those_there_are(name: str, says: str) -> None:
    """What can't be made raises one sentence that names the nearest, or what to write instead."""
    with pytest.raises(ValueError) as caught:
        policy(name)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 200


def test_an_hpa_goes_by_what_one_instance_holds_and_says_so() -> None:
    """At 190 requests/s on two instances that hold 50 each it asks for six, in a sentence that holds the figures."""
    watched = _Watched(policy("hpa", TRUTH))
    watched.tick(2, per_s=190.0)
    assert watched.wanted == 6
    assert [d.why for d in watched.decisions] == [
        "web@local needs 6 instances instead of 2: 190 requests/s are 190% of what 2 instances hold (50 each), 70% are meant"
    ]


def test_an_hpa_goes_by_what_was_measured_where_the_simulation_says_nothing() -> None:
    """What `tenfold measure` found of this source counts as what one instance holds."""
    watched = _Watched(policy("hpa"))
    seen = CapacitySeen("web", "office", "digest", 20.0, 4, 10, 500, 30, START, START, command="serve")

    def scaler(model: Model, release: Release, shot: Snapshot, memory: ScaleMemory) -> Any:
        observed = {**shot.observed, "capacity": shot.taken_at}
        measured = {seen.key: replace(seen, seen_at=shot.taken_at)}
        return policy_(model, release, replace(shot, observed=observed, capacities=measured), memory)

    policy_, watched.scaler = watched.scaler, scaler
    watched.tick(100, per_s=70.0)
    assert watched.wanted == 5
    assert "(20 each)" in watched.decisions[-1].why


@pytest.mark.parametrize(("name", "expected"), [("hpa", 3), ("hpa-50", 4)])
def test_an_hpa_goes_by_the_processor_where_nothing_was_measured(name: str, expected: int) -> None:
    """Without a known capacity it aims at 80% of the processor, as Kubernetes does by default, or at what its name says."""
    watched = _Watched(policy(name))
    watched.tick(20, cpu=0.95, ready=2)
    assert watched.wanted == expected
    assert "2 instances use 95% of the processor, " in watched.decisions[-1].why


def test_processor_time_of_instances_that_just_started_is_no_load_to_an_hpa() -> None:
    """Instances in their first seconds may use all there is, without asking for company."""
    watched = _Watched(policy("hpa"))
    watched.tick(1)
    shot = watched.shot(100.0, 10.0, 2, 1.0)
    young = {
        id_: replace(seen, started_at=watched.now - 8, since=watched.now - 4) for id_, seen in shot.instances.items()
    }
    watched.now += 20
    fresh = {id_: replace(seen, seen_at=watched.now, since=watched.now - 4) for id_, seen in young.items()}
    late = replace(shot, taken_at=watched.now, observed={"process": watched.now}, instances=fresh)
    memory, made = watched.scaler(watched.model, watched.release, late, watched.memory)
    assert memory.pools["web@local"].wanted == 2
    assert [d.why for d in made] == ["web@local keeps 2 instances: no ready instance's processor time is known"]


@pytest.mark.parametrize("name", ["hpa", "kpa"])
def test_figures_that_do_not_arrive_change_nothing_and_that_is_said_once(name: str) -> None:
    """An idle pool whose gateway fell silent keeps its instances for as long as that lasts."""
    watched = _Watched(policy(name, TRUTH))
    watched.tick(200, per_s=300.0, in_flight=400.0)
    before, said = watched.wanted, len(watched.decisions)
    assert before > 4
    # What came last between two looks is not acted on once it is old.
    watched.tick(5, per_s=900.0, in_flight=400.0)
    watched.tick(900, per_s=None)
    assert watched.wanted == before
    assert [d.why for d in watched.decisions[said:]] == [
        f"web@local keeps {before} instances: the gateway's figures are missing or stale"
    ]
    watched.tick(900, per_s=20.0, in_flight=2.0)
    assert watched.wanted == 2


@pytest.mark.parametrize("name", NAMES)
def test_no_policy_acts_on_a_stale_view_of_processes(name: str) -> None:
    """When processes could not be looked at, the pool is left as it is whatever the traffic says."""
    watched = _Watched(policy(name, TRUTH))
    watched.tick(1)
    watched.tick(60, per_s=5000.0, in_flight=4000.0, is_stale=True)
    assert watched.wanted == 2
    assert watched.decisions == []


@pytest.mark.parametrize("name", NAMES)
def test_a_new_blueprint_bound_takes_hold_at_once(name: str) -> None:
    """When a release allows fewer instances than are wanted, the number is brought within its bounds, and said so."""
    watched = _Watched(policy(name, TRUTH))
    watched.tick(1)
    watched.memory = ScaleMemory({"web@local": PoolScale(9, "", START)})
    watched.release = replace(watched.release, services={"web": _web(1, 4)})
    watched.tick(1)
    assert watched.wanted == 4
    assert "the blueprint now allows 1 to 4 instances" in watched.decisions[-1].why


def test_what_was_let_go_and_finishes_its_requests_does_not_count() -> None:
    """Instances beyond what is wanted only end: they neither bear load nor are there to be halved."""
    for name in ("hpa", "kpa"):
        watched = _Watched(policy(name, TRUTH))
        watched.tick(120, per_s=70.0)
        watched.tick(400, per_s=70.0, ready=6)
        assert watched.wanted == 2, name


def test_the_reactive_policy_does_not_know_what_is_to_come() -> None:
    """A forecast wakes a sleeping pool with Tenfold itself, and makes no difference to its triggers alone."""
    service = _web(0, 4, scaling=Scaling(0, 4, _web().scaling.triggers, Forecast()))
    watched = _Watched(reactive, service)
    watched.memory = ScaleMemory({"web@local": PoolScale(0, "", START)})
    watched.now += 1.0
    shot = watched.shot(0.0, 0.0, 0, 0.5)
    told = ForecastSeen("web@local.requests_per_s", watched.now, 0.0, (60.0, 600.0), (0.5, 0.99), ((100.0,) * 2,) * 2)
    forewarned = replace(shot, forecasts={told.key: told})
    asked = watched.model, watched.release
    ours, _ = scale(*asked, forewarned, watched.memory)
    assert ours.pools["web@local"].wanted > 0
    assert reactive(*asked, forewarned, watched.memory) == reactive(*asked, shot, watched.memory)
    assert reactive(*asked, shot, watched.memory) == scale(*asked, shot, watched.memory)


def test_an_autoscaler_of_knative_lets_a_pool_sleep_and_wakes_it_for_who_waits() -> None:
    """A pool that may have none ends with none a stable window and a grace period after its last request, until one waits for it."""
    watched = _Watched(KpaScaler(), _web(0, 4))
    watched.tick(61, per_s=5.0, in_flight=1.0)
    assert watched.wanted == 1, "it may sleep, and has one to begin with"
    watched.tick(150, per_s=0.0, in_flight=0.0)
    assert watched.wanted == 0
    watched.tick(300, per_s=None)
    assert watched.wanted == 0
    watched.tick(3, per_s=None, waiting=1)
    assert watched.wanted == 1


def test_an_autoscaler_of_knative_is_told_what_one_holds_as_an_hpa_is() -> None:
    """Instances that are full long before their concurrency get company in time; where nobody knows, 70% of the concurrency count."""
    wanted = {}
    for name, truth in (("told", replace(TRUTH, at_hand={"web": 2.5})), ("by concurrency", None)):
        watched = _Watched(KpaScaler(truth), _web(1, 20))
        watched.tick(120, per_s=100.0, in_flight=10.0)
        wanted[name] = watched.wanted
    assert wanted == {"told": 4, "by concurrency": 1}


def test_an_hpa_keeps_one_where_none_would_do() -> None:
    """Its gate for zero is off: the least is one."""
    watched = _Watched(HpaScaler(TRUTH), _web(0, 4))
    watched.tick(900, per_s=0.0)
    assert watched.wanted == 1
    watched.memory = ScaleMemory({"web@local": PoolScale(0, "", START)})
    watched.tick(16, per_s=None)
    assert watched.wanted == 1


def test_a_service_that_does_not_listen_keeps_its_minimum_with_who_goes_by_requests() -> None:
    """A KPA and an oracle know nothing of a background worker; an HPA goes by its processor."""
    worker = _web(3, 6, http=False, paths=())
    sizes = {}
    for name in ("kpa", "oracle", "hpa"):
        watched = _Watched(policy(name, replace(TRUTH, demand_per_s={})), worker)
        watched.tick(60, cpu=1.0, ready=3)
        sizes[name] = watched.wanted
    assert sizes == {"kpa": 3, "oracle": 3, "hpa": 4}


SECOND = st.fixed_dictionaries(
    {
        "seconds": st.integers(1, 20),
        "per_s": st.one_of(st.none(), st.floats(0, 3000)),
        "in_flight": st.floats(0, 3000),
        "ready": st.one_of(st.none(), st.integers(0, 14)),
        "cpu": st.one_of(st.none(), st.floats(0, 2)),
        "is_stale": st.booleans(),
    }
)


@pytest.mark.parametrize("name", ["hpa", "hpa-80", "kpa", "oracle"])
@given(low=st.integers(0, 4), span=st.integers(1, 8), course=st.lists(SECOND, max_size=6), knows=st.booleans())
def test_no_course_of_things_leaves_minimum_and_maximum(
    name: str, low: int, span: int, course: list[Mapping[str, Any]], knows: bool
) -> None:
    """Whatever is seen, or not, the number is within the blueprint's bounds, and every change has its reason."""
    truth = TRUTH if knows else replace(TRUTH, holds_per_s={})
    watched = _Watched(policy(name, truth), _web(low, low + span))
    for part in course:
        watched.tick(**part)
        assert low <= watched.wanted <= low + span
    assert all(d.by == "scale" and d.why.startswith("web@local ") and d.effects == () for d in watched.decisions)


# --- in a false world -------------------------------------------------------------------------------------------------

HOLDS_PER_S = 40.0
"""Of the 50 that its processor would bear."""
DEMAND = steps((0, 50.0), (300, 80.0), (360, 120.0), (420, 155.0), (700, 120.0), (760, 50.0))
PEAK_S, END_S = (420, 700), 1300
SITE = _web(2, 12, command="serve", instance=InstanceSize(concurrency=6), health=Health("/health"))


def _run(name: str, *faults: tuple[float, WorldFault]) -> tuple[Simulation, list[int]]:
    """A site whose demand trebles for some minutes, with that policy choosing its numbers; and its ready instances, by second."""
    model = Model("site", {"web": SITE}, {"local": Region("local")})
    behaviours = {"web": Behaviour(cpu_ms=20, wait_ms=80, start_s=5.0, start_spread_ratio=0.1)}
    world = World(model, f"policy {name}", rates={"web@local": DEMAND}, behaviours=behaviours)
    print(f"seed {world.seed}")  # noqa: T201 (pytest shows it with a failure)
    truth = Truth({"web@local": DEMAND}, world.clock.now(), {"web": HOLDS_PER_S}, {"web": 8.0})
    run = Simulation(world, partial(decide, scaler=policy(name, truth)), FaultSchedule(faults))
    run.ask(UpRequest("up", world.clock.now(), Release("r1", {"web": SITE}, "digest", world.clock.now())))
    ready: list[int] = []

    def look() -> None:
        ready.append(sum(i.state is InstanceState.READY for i in world.living("web", "local")))

    run.run(END_S, look)
    return run, ready


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_brain_runs_with_each_policy(name: str) -> None:
    """A load that comes and goes is met and let go again, within the bounds, and each change tells why."""
    run, ready = _run(name)
    scaled = [decision for at_s, decision in run.decided if decision.by == "scale"]
    assert 4 <= max(ready) <= 12
    assert min(ready[60:]) == 2 == ready[-1]
    assert all("web@local needs " in d.why or "web@local keeps " in d.why for d in scaled)
    assert any(d.effects for d in scaled), "starts are the effects of the decision that asked for them"
    totals = run.world.pools["web@local"].totals
    # Two instances bear 100 of the 120 that come while two more start.
    assert totals.failed - totals.unseen <= 0.02 * totals.offered


def test_an_oracle_has_what_is_needed_at_every_second() -> None:
    """As many serve as the demand of each second needs, one more only for as long as a start may take before, and none after."""
    _, ready = _run("oracle")
    need = [max(2, math.ceil(DEMAND(second) / HOLDS_PER_S)) for second in range(END_S)]
    late = [second for second in range(60, END_S) if ready[second] < need[second]]
    vain = [second for second in range(60, END_S) if ready[second] > max(need[second : second + 10])]
    assert late == []
    # What is let go finishes its requests first.
    assert len(vain) <= 10


@pytest.mark.parametrize("name", ["hpa", "kpa"])
def test_an_observer_that_is_out_when_the_load_goes_lets_nothing_go(name: str) -> None:
    """While the gateway's figures do not arrive, the instances of the peak stay."""
    out_s = PEAK_S[1] - 50
    _, ready = _run(name, (out_s, ObserverOutage("gateway", 400.0)))
    peak = ready[out_s - 10]
    assert peak >= 4
    assert set(ready[out_s : out_s + 390]) == {peak}
    assert ready[-1] < peak


@pytest.mark.parametrize("name", ["hpa", "kpa", "oracle"])
def test_trouble_takes_no_policy_out_of_its_bounds(name: str) -> None:
    """Crashes, lost receipts, blind observers and a clock that jumps: the number stays within its bounds, and comes down again."""
    drawn = FaultSchedule.drawn("policies", from_s=60, until_s=1000, count=14, pools=["web@local"], regions=["local"])
    jumps = ((500.0, ClockJump(-300.0)), (650.0, ClockJump(300.0)), (800.0, ControlCrash()))
    run, _ = _run(name, *sorted((*drawn.entries, *jumps), key=lambda due: due[0]))
    wanted = run.memory.scale.pools["web@local"].wanted
    seen = [
        int(number)
        for _, d in run.decided
        if d.by == "scale"
        for number in re.findall(r"(\d+) instances?\b", d.why)[:1]
    ]
    assert seen and 2 <= min(seen) <= max(seen) <= 12
    assert wanted == 2


def test_two_runs_of_a_policy_are_the_same() -> None:
    """A policy that remembers begins anew with each run: the same seed gives the same decisions."""
    first, second = (_run("hpa")[0] for _ in range(2))
    assert [(at, d.why) for at, d in first.decided] == [(at, d.why) for at, d in second.decided]
