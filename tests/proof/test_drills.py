"""Drills: which a project can do, how aim is taken, and how one is played, in the simulator and on a stage that does as a test says."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from tenfold.deciders import decide
from tenfold.effects.faults import FillDisk, Freeze, Kill, Partition, Slow
from tenfold.facts import InstanceState
from tenfold.model import Data, LatencyTargets, Model, Region, Scaling, Service, Targets
from tenfold.proof.drills import NAMES, Drill, DrillRefused, DrillResult, Measure, Strike, drills_for, run_drill
from tenfold.proof.drills.aim import aimed, subject_of
from tenfold.proof.drills.catalogue import SIMULATED, Means
from tenfold.proof.drills.simstage import SimStage
from tenfold.proof.drills.slow import slow_beyond_ms
from tenfold.proof.drills.steady import Lasting, off


def one(data: bool = True, instances: int = 2) -> Model:
    """A shop in one region."""
    web = Service("web", "serve", paths=("/",), scaling=Scaling(instances, 8))
    return Model("shop", {"web": web}, {"local": Region("local")}, data=Data() if data else None)


def three(is_synchronous: bool = False) -> Model:
    """The same in three regions, far from one another."""
    places = {"west": (0.0, 0.0), "east": (0.0, 47.4), "north": (42.3, 23.7)}
    regions = {name: Region(name, at) for name, at in places.items()}
    data = Data(replicas=1, is_synchronous=is_synchronous, rto_s=20.0)
    return replace(one(), regions=regions, data=data)


def drill(name: str, model: Model, means: Means = SIMULATED, region: str | None = None) -> Drill:
    """A drill that can be done."""
    found = next(offer.drill for offer in drills_for(model, means, region) if offer.name == name)
    assert found is not None
    return found


def play(name: str, model: Model, seed: int = 1, region: str | None = None) -> DrillResult:
    """In the simulator."""
    return asyncio.run(run_drill(drill(name, model, region=region), SimStage(model, seed)))


# --- which there are ------------------------------------------------------------------------------------------------------


NO_MEANS = Means()


def why_not(model: Model, means: Means = NO_MEANS) -> dict[str, str]:
    """The reasons of those that can't be done."""
    return {offer.name: offer.why_not for offer in drills_for(model, means) if offer.drill is None}


def test_every_drill_says_whether_it_can_be_done() -> None:
    """All twelve are offered, each with a line, and each that can't be done with a reason."""
    offers = drills_for(one(data=False))
    assert tuple(offer.name for offer in offers) == NAMES
    assert len(NAMES) == 12
    assert all(offer.line and (offer.drill is None) == bool(offer.why_not) for offer in offers)


def test_one_region_has_no_region_to_lose() -> None:
    """With one region drills of regions and of the network between them are not offered, and say so."""
    reasons = why_not(one())
    assert "several regions" in reasons["region-kill"]
    assert "--sim" in reasons["slow-network"]
    assert "tmpfs" in reasons["disk-full"]
    assert "instance-kill" not in reasons


def test_without_data_there_is_no_store_to_kill() -> None:
    """A project without `data`, or with a store of its own by URL, is not asked to kill it."""
    assert "no `data`" in why_not(one(data=False))["database-kill"]
    theirs = replace(one(), data=Data(url="postgres://elsewhere/x", valkey_url="redis://elsewhere"))
    assert "by URL" in why_not(theirs)["database-kill"]
    assert "by URL" in why_not(theirs)["valkey-kill"]


def test_a_network_must_be_there_to_be_cut() -> None:
    """Without networks of their own nothing is cut; where gateways add the distance it can be made longer."""
    assert "--wan" in why_not(three())["region-partition"]
    assert "--wan" in why_not(three())["slow-network"]
    assert set(why_not(three(), Means(has_delay=True))) == {"region-partition", "disk-full"}
    assert not why_not(three(), SIMULATED)


def test_a_full_disk_needs_a_file_system_of_its_own() -> None:
    """The disk under PostgreSQL is filled only where nothing else lies on it."""
    assert "disk-full" in why_not(one())
    assert "disk-full" not in why_not(one(), Means(disks=frozenset({"postgres/local"})))


def test_a_region_without_a_store_is_struck_first() -> None:
    """Unless one is named, the region that is struck has neither the primary nor its standby."""
    assert drill("region-kill", three()).acts == (Strike(Kill("region/north", 20.0)),)
    assert drill("region-partition", three(), region="east").acts == (Strike(Partition("east", 20.0)),)
    with pytest.raises(ValueError, match="no region mars"):
        drills_for(three(), SIMULATED, "mars")


def test_what_may_be_lost_follows_from_what_the_blueprint_promises() -> None:
    """With the primary's region writes fail until another takes them, and may be lost when the standby may lag."""
    home = drill("region-kill", three(), region="west")
    assert (home.failed_max, home.loses, home.recovery_s_max) == (None, True, 20.0)
    assert not drill("region-kill", three(is_synchronous=True), region="west").loses
    assert drill("region-kill", three(), region="north").failed_max == 0


def test_targets_bound_what_a_drill_must_show() -> None:
    """The target of recovery is what a drill is held to, and an answer within the target is not a slow one."""
    model = replace(one(), targets=Targets(recovery_s=12.0, latency=LatencyTargets(p95_ms=800.0)))
    found = drill("instance-kill", model)
    assert found.recovery_s_max == 12.0
    assert slow_beyond_ms(model, 100.0) == 800.0
    assert slow_beyond_ms(one(), 100.0) == 350.0
    assert slow_beyond_ms(one(), None) is None


def test_an_instance_that_is_alone_takes_requests_with_it() -> None:
    """With one instance requests fail while it is replaced, and the drill does not ask for the impossible."""
    assert drill("instance-kill", one(instances=1)).failed_max is None
    assert drill("instance-kill", one(instances=2)).failed_max == 0


# --- played in the simulator ----------------------------------------------------------------------------------------------

ANSWERED = {
    "instance-kill": "heal",
    "instance-freeze": "heal",
    "control-plane-kill": "a person",
    "database-kill": "heal",
    "valkey-kill": "heal",
    "disk-full": "heal",
    "traffic-spike": "scale",
    "bad-release": "release",
}


@pytest.mark.parametrize("name", ANSWERED)
def test_each_drill_of_one_region_is_answered_and_met(name: str) -> None:
    """The decider whose business it is answers, all is well again in the end, and no acknowledged write is lost."""
    result = play(name, one())
    assert result.met, result.findings
    assert result.answered_by == ANSWERED[name]
    assert result.recover_s is not None
    assert result.whole_s is not None
    assert result.writes is not None
    assert result.writes.acknowledged > 50
    assert result.writes.lost == ()
    names = [phase.name for phase in result.phases]
    assert names[:2] == ["steady", "struck"]
    assert "recovered" in names
    assert result.traffic.requests > 100


@pytest.mark.parametrize("name", ["region-kill", "region-freeze", "region-partition"])
def test_a_lost_region_is_answered_by_failover(name: str) -> None:
    """A region without a store is lost and comes back: nobody's request fails, and failover says why its traffic moved."""
    result = play(name, three())
    assert result.met, result.findings
    assert result.answered_by == "failover"
    assert "north" in result.why
    assert result.traffic.failed == 0
    assert result.detect_s is not None
    assert result.detect_s < 5


def test_a_slow_network_is_answered_by_leading_clients_another_way() -> None:
    """Only a decision that leads clients another way answers it: that the region stands in some table is no answer."""
    result = play("slow-network", three())
    assert result.met, result.findings
    assert result.answered_by == "route"
    assert result.why.startswith("clients near")


def test_a_standby_takes_over_from_a_control_plane_that_was_killed() -> None:
    """With several regions nobody has to start it again."""
    result = play("control-plane-kill", three())
    assert result.met, result.findings
    assert result.answered_by == "standby"


def test_the_home_region_takes_writes_with_it_until_the_standby_has_them() -> None:
    """Losing the primary's region costs failed requests, and with a synchronous standby no acknowledged write."""
    result = play("region-kill", three(is_synchronous=True), region="west")
    assert result.writes is not None
    assert result.writes.failed > 0
    assert result.writes.lost == ()
    assert result.recover_s is not None


def test_writes_that_a_lagging_standby_never_got_are_told_and_allowed() -> None:
    """With an asynchronous standby the newest writes may go with the primary: they are named, and that is no miss."""
    found = [play("region-kill", three(), seed, region="west") for seed in (1, 2, 3)]
    assert all(result.writes is not None for result in found)
    assert not any(finding.what == "writes lost" for result in found for finding in result.findings)


def test_a_seed_tells_the_same_story_again() -> None:
    """Two plays of one seed are equal to the last figure, and another seed differs."""
    assert play("instance-kill", one(), 7) == play("instance-kill", one(), 7)
    others = {play("instance-kill", one(), seed).traffic.requests for seed in range(3)}
    assert len(others) > 1


# --- aim and steady state -------------------------------------------------------------------------------------------------


def stage(model: Model) -> SimStage:
    """A simulated project that is up."""
    made = SimStage(model)
    asyncio.run(made.open())
    return made


def test_a_pool_means_one_of_its_ready_instances() -> None:
    """Aim is taken by the seed among those that are ready, and refused where none is."""
    look = asyncio.run(stage(one()).look())
    chosen = {subject_of(aimed(Strike(Kill("web@local")), look, Random(seed))) for seed in range(20)}
    assert chosen == {"web-1", "web-2"}
    gone = {id_: replace(instance, state=InstanceState.EXITED) for id_, instance in look.snapshot.instances.items()}
    nothing = replace(look, snapshot=replace(look.snapshot, instances=gone))
    with pytest.raises(DrillRefused, match="no instance of web@local is ready"):
        aimed(Strike(Freeze("web@local", 1)), nothing, Random(1))


def test_a_store_without_a_region_means_its_primary() -> None:
    """`postgres/` is wherever the primary is now; what names a region stays as it is."""
    look = asyncio.run(stage(three()).look())
    assert subject_of(aimed(Strike(Kill("postgres/")), look, Random(1))) == "postgres/west"
    assert subject_of(aimed(Strike(Slow("region/east", 5, 1)), look, Random(1))) == "region/east"


def test_each_thing_that_is_off_is_told_in_a_sentence() -> None:
    """An instance, an engine, a release under way, clients who notice: each probe says what it found."""
    look = asyncio.run(stage(one()).look())
    probes = drill("instance-kill", one()).expects
    assert off(probes, look) == {}
    instance = next(iter(look.snapshot.instances.values()))
    frozen = {**look.snapshot.instances, instance.id: replace(instance, frozen=True)}
    spoilt = replace(
        look,
        snapshot=replace(look.snapshot, instances=frozen),
        edge_status=0,
        failed=3,
        late_ms=5000.0,
        write_fails=True,
        at=look.at + 60,
    )
    wrong = off(probes, spoilt)
    assert wrong[Measure.INSTANCES_MISSING] == "instances are not ready: 1 of web@local"
    assert wrong[Measure.EDGE_STATUS] == "the edge does not answer"
    assert set(wrong) >= {Measure.FAILED, Measure.LATE_MS, Measure.WRITE_FAILS, Measure.CONTROL_AGE_S}


def test_what_breaks_again_has_not_recovered() -> None:
    """Only what goes on to hold counts, from the moment it began to."""
    lasting = Lasting(3.0)
    for at, holds in ((0.0, True), (1.0, False), (2.0, True), (4.0, True)):
        lasting.look(holds, at)
    assert lasting.since is None
    lasting.look(True, 5.0)
    assert lasting.since == 2.0
    lasting.look(False, 6.0)
    assert lasting.since is None


# --- the runner, and what may go wrong ------------------------------------------------------------------------------------


class Watched(SimStage):
    """A simulated stage that notes what is done to it."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.done: list[str] = []

    async def undo(self) -> None:
        """Note it, and do it."""
        self.done.append("undo")
        await super().undo()

    async def close(self) -> None:
        """Note it."""
        self.done.append("close")


def test_nothing_is_harmed_when_the_steady_state_does_not_hold() -> None:
    """A drill on a project that is not well refuses, says what is off, and lets go of everything."""

    class Ailing(Watched):
        async def open(self) -> None:
            """Up, and then without its database for a long while."""
            await super().open()
            self._world.inflict(FillDisk("postgres/local", 600))

    ailing = Ailing(one())
    with pytest.raises(DrillRefused, match=r"nothing was harmed: .*postgres/local does not answer"):
        asyncio.run(run_drill(drill("instance-kill", one()), ailing))
    assert ailing.done == ["undo", "close"]


def test_a_drill_that_is_stopped_mends_and_tells_what_it_saw() -> None:
    """When it is stopped in the middle of the harm, all is thawed at once and the result says that it was interrupted."""
    stop = asyncio.Event()

    class Stopped(Watched):
        async def act(self, act: object) -> None:
            """Do it, and have somebody press Ctrl-C."""
            await super().act(act)  # type: ignore[arg-type]
            stop.set()

    made = Stopped(one())
    result = asyncio.run(run_drill(drill("instance-freeze", one()), made, stop=stop))
    assert result.is_interrupted
    assert not result.met
    assert made.done == ["undo", "undo", "close"]
    assert all(i.frozen_until_s == 0 for i in made._world.instances.values())


def test_a_drill_that_fails_in_the_middle_mends_too() -> None:
    """Whatever is raised after the harm, it is undone and the stage is closed."""

    class Failing(Watched):
        def decisions(self, since: float) -> Sequence[object]:  # type: ignore[override]
            """The journal can't be read any more."""
            raise DrillRefused("the journal is gone")

    made = Failing(one())
    with pytest.raises(DrillRefused, match="journal is gone"):
        asyncio.run(run_drill(drill("instance-freeze", one()), made))
    assert made.done == ["undo", "close"]


def test_a_brain_that_does_not_heal_misses() -> None:
    """When nobody answers, the drill ends all the same, and says what it did not see."""

    def lazy(model: object, snapshot: object, memory: object) -> object:
        decided = decide(model, snapshot, memory)  # type: ignore[arg-type]
        kept = tuple(d for d in decided.decisions if d.by != "heal" or "killed" not in d.why)
        return replace(decided, decisions=kept)

    class Lazy(Watched):
        def __init__(self, model: Model) -> None:
            super().__init__(model)
            self._simulation.brain = lazy  # type: ignore[assignment]

    result = asyncio.run(run_drill(drill("database-kill", one()), Lazy(one())))
    missed = {finding.what for finding in result.findings if not finding.met}
    assert missed >= {"recovered within", "the steady state holds at the end", "answered by"}
    assert not result.met
    assert result.writes is not None
    assert result.writes.failed > 0
