"""What a proof does for which targets, and what it makes of what came of it; on a ground where a load is over at once."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from tenfold.deciders import Memory
from tenfold.effects import AnswerRequest, Decision
from tenfold.facts import InstanceSeen, InstanceState, PoolSeen, Snapshot, StoreSeen
from tenfold.loop import Tick
from tenfold.model import Action, Edge, LatencyTargets, Model, Region, Scaling, Scenario, Service, Step, Targets
from tenfold.proof.acts import Ask, acts_of, placed
from tenfold.proof.course import course_of, database_of, limit_of, replaced_s
from tenfold.proof.drills.result import DrillResult, Traffic
from tenfold.proof.drills.stage import DrillRefused
from tenfold.proof.load import (
    Latency,
    LoadError,
    LoadResult,
    Outcome,
    Part,
    Progress,
    Second,
    SocketsPart,
    Target,
    UserPlan,
)
from tenfold.proof.prove import prove
from tenfold.proof.report import Report, Setting, page
from tests.proof.made_up_report import DRILL

SCENARIO = Scenario(
    "office",
    (
        Action("look", 0.6, (Step("GET", "/"), Step("GET", "/api/projects"))),
        Action("work", 0.4, (Step("POST", "/api/projects"),)),
    ),
    think_s=4.0,
)
TARGETS = Targets(
    concurrent_users=40,
    throughput_rps=10.0,
    latency=LatencyTargets(p95_ms=500, api_mean_ms=100, database_mean_ms=50, websocket_ms=50, page_ms=2000),
    availability_ratio=0.99,
    error_ratio=0.01,
    recovery_s=10.0,
)
SERVICE = Service("web", "run", scaling=Scaling(1, 4))
SETTING = Setting("tenfold prove", "2 cores", {"gateway": "Envoy 1.40"}, "abc", "r1", "office", 1)


def ask(targets: Targets = TARGETS, **changes: object) -> Ask:
    model = Model("crewboard", {"web": SERVICE}, {"local": Region("local")}, targets=targets)
    return replace(Ask(model, SCENARIO, Target("127.0.0.1", 8080), cores=2), **changes)  # type: ignore[arg-type]


def latency(count: int, ms: float) -> Latency:
    return Latency(count, ms, ms, ms, ms, ms, ms, ms)


def tick(seq: int, at: float, instances: int = 4, cpu: float = 0.1, in_flight: float = 1.0) -> Tick:
    """One look at a project whose every instance uses so many cores."""
    seen = {
        f"web-{i}": InstanceSeen(f"web-{i}", "web", "local", "r1", InstanceState.READY, at, at, at, cpu_cores=cpu)
        for i in range(instances)
    }
    snapshot = Snapshot(
        at,
        observed={"process": at, "gateway": at},
        instances=seen,
        pools={"web@local": PoolSeen("web", "local", at, requests_per_s=9.0, in_flight=in_flight)},
        stores={"postgres/local": StoreSeen("postgres", "local", at, transactions_per_s=20.0, busy_ms_mean=1.5)},
    )
    decisions = (
        Decision(f"d{seq}", "scale", "web@local", (), "because"),
        Decision(f"e{seq}", "release", "request", (AnswerRequest("x", True, "done"),), "told"),
    )
    return Tick(seq, at, 1, "m1", snapshot, Memory(), Memory(), decisions if seq % 10 == 0 else ())


@dataclass
class Immediate:
    """A ground on a clock of its own, which answers each user `ms` after it asked, and fails `bad` of a hundred."""

    ms: float = 20.0
    bad: int = 0
    invalid: tuple[str, ...] = ()
    stop_after_s: float | None = None
    drill_result: DrillResult = DRILL
    refusals: int = 0
    refuses: str = ""
    plans: list[UserPlan] = field(default_factory=list)
    drills: list[str] = field(default_factory=list)
    clock: float = 1_790_000_000.0

    def now(self) -> float:
        return self.clock

    async def pause(self, wait_s: float, stop: asyncio.Event) -> None:
        self.clock += wait_s

    async def play(self, plan: UserPlan, heard: Callable[[Progress], None], stop: asyncio.Event) -> LoadResult:
        if self.refuses:
            raise LoadError(self.refuses)
        self.plans.append(plan)
        lasts_s = min(plan.duration_s, self.stop_after_s or plan.duration_s)
        if lasts_s < plan.duration_s:
            stop.set()
        seconds, held = [], 0
        for at in range(1, int(lasts_s) + 1):
            users = plan.users.at(at - 0.5) if plan.users else 0
            rate = round(users * 1.6 / 4) if plan.users else round(plan.arrivals.peak_rps * 1.6) if plan.arrivals else 0
            bad = rate * self.bad // 100
            seconds.append(
                Second(float(at), 0.0, rate, rate, bad, 0, 0, 0, self.ms, self.ms, self.ms, 0.1, 5.0, users=users)
            )
            held += rate if at > plan.warm_up_s else 0
        self.clock += lasts_s
        bad = held * self.bad // 100
        return LoadResult(
            target="http://127.0.0.1:8080",
            seed=plan.seed,
            started_at_s=self.clock - lasts_s,
            duration_s=lasts_s,
            interrupted=stop.is_set(),
            invalid=self.invalid,
            due=held,
            sent=held,
            answered=held,
            failed=bad,
            refused=0,
            unsent=0,
            unfinished=0,
            resent=0,
            received_bytes=0,
            response=latency(held, self.ms),
            service=latency(held, self.ms),
            lag=latency(held, 0.1),
            cpu_percent=5.0,
            cpu_us_per_request=60.0,
            outcomes=(Outcome("2xx", held - bad, False, ()), Outcome("5xx", bad, True, ())),
            slowest=(),
            seconds=tuple(seconds),
            users=plan.users.peak if plan.users else 0,
            actions=(self._part("look", held // 2), self._part("work", held // 2)),
            steps=(
                self._part("GET /", held // 3),
                self._part("GET /api/projects", held // 3),
                self._part("POST /api/projects", held // 3),
            ),
            sockets=SocketsPart(40, 0, 40, 0, 0, 300, 0, 300, latency(300, 3.0), latency(0, 0.0)),
        )

    def _part(self, name: str, count: int) -> Part:
        return Part(name, count, 0, 0, latency(count, self.ms), latency(count, self.ms))

    async def drill(self, name: str, tell: Callable[[str], None], stop: asyncio.Event) -> DrillResult:
        self.drills.append(name)
        struck_at = self.clock + 12
        self.drill_result = replace(self.drill_result, struck_at=struck_at, mended_at=struck_at)
        self.clock += 20
        if len(self.drills) <= self.refusals:
            raise DrillRefused("the steady state does not hold")
        return self.drill_result

    def ticks(self, from_at: float, to_at: float) -> Sequence[Tick]:
        dead_at = self.drill_result.struck_at
        return [self._tick(i, from_at + i, dead_at) for i in range(max(int(to_at - from_at), 0))]

    def _tick(self, seq: int, at: float, dead_at: float) -> Tick:
        """Four instances; when the drill strikes web-2 is gone for two seconds, and web-5 is there."""
        whole = tick(seq, at, instances=6)
        gone = {"web-4", "web-5"} if at <= dead_at else {"web-2", "web-4"} | ({"web-5"} if at < dead_at + 2 else set())
        kept = {name: seen for name, seen in whole.snapshot.instances.items() if name not in gone}
        return replace(whole, snapshot=replace(whole.snapshot, instances=kept))


class Silent:
    """Nobody watches."""

    def __init__(self) -> None:
        self.acts: list[str] = []

    def act(self, text: str, lasts_s: float) -> None:
        self.acts.append(text)

    def load(self, progress: Progress) -> None: ...

    def say(self, text: str) -> None: ...


async def proved(ground: Immediate, asked: Ask | None = None) -> Report:
    return await prove(asked or ask(), ground, Silent(), asyncio.Event(), SETTING)


def words(report: Report) -> dict[str, str]:
    return {verdict.target: verdict.word for verdict in report.verdicts}


async def test_a_sound_app_meets_its_targets() -> None:
    """One crowd and one drill suffice, everything is met, and the page can be drawn."""
    ground = Immediate()
    report = await proved(ground)
    assert set(words(report).values()) == {"met"}
    assert (report.score, report.is_met, report.why_incomplete) == (100.0, True, "")
    assert (len(ground.plans), ground.drills) == (1, ["instance-kill"])
    assert [span.kind for span in report.spans] == ["ramp", "load", "drill", "harm"]
    assert "100 of 100" in page(report)


async def test_only_what_follows_the_ramp_is_judged() -> None:
    """The ramp and the time to settle are a warm-up; availability alone counts all."""
    ground = Immediate()
    report = await proved(ground)
    (plan,) = ground.plans
    assert plan.warm_up_s == 18.0
    by_target = {v.target: v for v in report.verdicts}
    assert "40 held for 60 s" in by_target["concurrent_users"].measured
    played = await ground.play(plan, lambda progress: None, asyncio.Event())
    assert by_target["availability"].measured == f"100% of {sum(second.answered for second in played.seconds):,}"


async def test_a_throughput_that_people_do_not_ask_for_is_tried_by_itself() -> None:
    """40 people ask for 16 requests a second: for a target of 50, actions are begun at a fixed rate, a little above it."""
    ground = Immediate()
    report = await proved(ground, ask(replace(TARGETS, throughput_rps=50.0)))
    crowd, fixed = ground.plans
    assert crowd.users is not None
    assert fixed.arrivals is not None
    assert fixed.arrivals.peak_rps == pytest.approx(50 * 1.05 / 1.6)
    assert words(report)["throughput"] == "met"
    assert [span.kind for span in report.spans] == ["ramp", "load", "rate", "drill", "harm"]


async def test_failures_are_missed_targets() -> None:
    """With ten of a hundred requests failing, users are not served, and both error rate and availability are missed."""
    found = words(await proved(Immediate(bad=10)))
    assert [key for key, word in found.items() if word == "missed"] == [
        *("concurrent_users", "throughput", "availability", "error_rate"),
    ]


async def test_a_proof_that_is_stopped_says_so() -> None:
    """Stopped in the ramp: no drill begins, nothing is called met, and the report says that it is incomplete."""
    ground = Immediate(stop_after_s=10.0)
    report = await proved(ground)
    assert ground.drills == []
    assert "stopped while 40 users come" in report.why_incomplete
    assert set(words(report).values()) == {"not shown"}
    assert "incomplete" in page(report)


async def test_no_harm_is_done_that_is_not_allowed() -> None:
    """Without harm the recovery is not shown, and nothing was killed."""
    ground = Immediate()
    report = await proved(ground, ask(with_harm=False))
    assert (ground.drills, words(report)["recovery"]) == ([], "not shown")
    assert "--no-harm" in {v.target: v for v in report.verdicts}["recovery"].advice


async def test_only_what_is_asked_for_is_done() -> None:
    """For the recovery alone no crowd comes, and for a latency alone nothing is killed."""
    ground = Immediate()
    assert list(words(await proved(ground, ask(only=("recovery",))))) == ["recovery"]
    assert (ground.plans, ground.drills) == ([], ["instance-kill"])
    ground = Immediate()
    assert list(words(await proved(ground, ask(only=("latency.p95",))))) == ["latency.p95"]
    assert (len(ground.plans), ground.drills) == (1, [])


async def test_a_drill_that_is_refused_is_not_a_miss() -> None:
    """When the steady state does not hold, recovery could not be shown, and the reason is told."""
    ground = Immediate(refusals=2)
    report = await proved(ground)
    assert len(ground.drills) == 2
    found = {v.target: v for v in report.verdicts}["recovery"]
    assert (found.word, found.confidence) == ("not shown", "the steady state does not hold")


async def test_a_drill_gets_a_second_chance() -> None:
    """Refused once, since what was before it has not calmed down yet, it is done after a while."""
    ground = Immediate(refusals=1)
    assert words(await proved(ground))["recovery"] == "met"
    assert len(ground.drills) == 2


async def test_a_spoilt_load_spoils_its_verdicts_and_says_so_on_top() -> None:
    """What the generator says against itself stands in the notes of the report and in each verdict."""
    report = await proved(Immediate(invalid=("the generator used 95% of its core",)))
    assert any("95% of its core" in note for note in report.notes)
    assert {k: w for k, w in words(report).items() if w == "met"} == {"recovery": "met"}


async def test_a_load_that_can_not_be_made_ends_in_a_report() -> None:
    """Where nothing listens, there is still a report, whose verdicts are open."""
    report = await proved(Immediate(refuses="nobody listens at 127.0.0.1:8080"))
    assert any("nobody listens" in note for note in report.notes)
    assert words(report)["concurrent_users"] == "not shown"


def test_the_hold_is_as_long_as_a_target_needs() -> None:
    """Users stay a minute, longer where the availability needs it, never beyond five minutes, and as long as one says."""

    def hold_s(availability: float, **changes: object) -> float:
        crowd = acts_of(ask(replace(TARGETS, availability_ratio=availability), **changes)).crowd
        assert crowd is not None
        return crowd.hold_s

    assert hold_s(0.9) == 60.0
    # 4,742 requests show 99.9% with a failure; 40 people ask for 16 a second.
    assert hold_s(0.999) == pytest.approx(4742 / 16, rel=0.01)
    assert hold_s(0.9999) == 300.0
    assert hold_s(0.9999, is_quick=True) == pytest.approx(100.0)
    assert hold_s(0.9999, minutes=2.0) == 120.0


def test_people_are_near_all_regions_where_the_edge_believes_it() -> None:
    """Each account is played near each region in turn, told by a header; with one region or no trust nothing is told."""
    regions = {name: Region(name, at=at) for name, at in (("west", (0.0, 0.0)), ("east", (0.0, 47.4)))}
    model = Model("crewboard", {"web": SERVICE}, regions, edge=Edge(trust=("127.0.0.0/8",)))
    scenario = replace(SCENARIO, users=({"name": "ada"}, {"name": "ben"}))
    found = placed(scenario, model)
    assert [(row["name"], row["tenfold_place"]) for row in found.users] == [
        *(("ada", "0.0,0.0"), ("ada", "0.0,47.4"), ("ben", "0.0,0.0"), ("ben", "0.0,47.4"))
    ]
    assert {step.headers for action in found.actions for step in action.steps} == {
        (("x-tenfold-place", "{tenfold_place}"),)
    }
    assert placed(scenario, replace(model, edge=Edge())) is scenario
    assert placed(scenario, ask().model) is scenario


def test_the_database_is_reckoned_by_its_transactions() -> None:
    """A look with more transactions counts more, and a look that the journal shows twice counts once."""
    looks = [(1.0, 10.0, 1.0), (2.0, 30.0, 5.0), (2.0, 30.0, 5.0), (3.0, 0.0, None)]
    ticks = [
        replace(
            tick(i, at),
            snapshot=Snapshot(at, stores={"postgres/local": StoreSeen("postgres", "local", at, per_s, ms)}),
        )
        for i, (at, per_s, ms) in enumerate(looks)
    ]
    found = database_of(ticks)
    assert (found.count, found.mean_ms) == (40, pytest.approx(4.0))
    assert database_of([]).count == 0


def test_what_ran_out_is_named() -> None:
    """A full machine comes before a pool that has all its instances; where nothing was full, nothing is said."""
    model = ask().model

    def limit(cpu: float, instances: int, in_flight: float) -> str:
        return limit_of([tick(i, float(i), instances, cpu, in_flight) for i in range(5)], model, 2)

    assert "machine was full" in limit(0.48, 4, 50.0)
    assert "all its 4 instances: raise services.web.scaling.instances.max" in limit(0.1, 4, 50.0)
    assert limit(0.1, 4, 0.5) == limit(0.1, 2, 50.0) == limit_of([], model, 2) == ""


def test_the_course_shows_gaps_as_gaps() -> None:
    """Where the control plane wrote nothing for a while, the series have a gap, not a line."""
    ticks: Iterable[Tick] = [tick(0, 100.0), tick(1, 101.0), tick(10, 120.0)]
    course = course_of(ticks, 100.0)
    (ready,) = course.instances
    assert ready.points == ((0.0, 4.0), (1.0, 4.0), (2.5, None), (20.0, 4.0))
    assert [mark.id for mark in course.marks] == ["d0", "d10"]


def test_an_instance_is_replaced_when_as_many_are_ready_as_before() -> None:
    """Four were ready; one dies, is seen to be gone two seconds later, and after five there are four again."""

    def look(at: float, *alive: int) -> Tick:
        whole = tick(int(at), at, instances=10)
        kept = {f"web-{i}": whole.snapshot.instances[f"web-{i}"] for i in alive}
        return replace(whole, snapshot=replace(whole.snapshot, instances=kept))

    ticks = [look(1.0, 0, 1, 2, 3), look(2.0, 0, 1, 2, 3), look(4.0, 0, 1, 2), look(7.0, 0, 1, 2, 4)]
    assert replaced_s(ticks, "web-3", struck_at=2.0) == 5.0
    assert replaced_s(ticks[:-1], "web-3", struck_at=2.0) is None
    assert replaced_s(ticks, "web-9", struck_at=2.0) is None


async def test_the_spoilt_load_of_a_drill_is_noted() -> None:
    """What a drill's own load says against itself is told, and does not spoil when the instance was replaced."""
    spoilt = replace(DRILL, traffic=Traffic(invalid=("it was late",)))
    report = await proved(Immediate(drill_result=spoilt))
    assert any("it was late" in note for note in report.notes)
    assert words(report)["recovery"] == "met"
