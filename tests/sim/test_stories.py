"""Stories in virtual time: the deciders run a small shop in a false world, and what a person hopes for happens."""

from dataclasses import replace

import pytest

from tenfold.effects import RunTask, StartInstance, StopInstance
from tenfold.effects.faults import FillDisk, Freeze, Kill
from tenfold.facts import DownRequest, EngineState, InstanceState, UpRequest
from tenfold.sim import Behaviour, Breakage, ClockJump, FaultSchedule, ObserverOutage, RoutesRefused, steps

STEADY = {"web@local": steps((0, 20))}


def test_load_times_five_brings_more_instances_within_two_looks(shop) -> None:
    """Load x5 is answered by more instances at the second look, with a reason that names the figure and its bound."""
    here = shop(1, rates={"web@local": steps((0, 20), (200, 100), (201, 400))}, instances_max=20)
    here.up()
    here.run_until(lambda: here.now_s >= 201, 300)
    asked_s = here.run_until(lambda: any("needs" in why for why in here.whys(since_s=201)), 10)
    why = next(why for why in here.whys(since_s=201) if "needs" in why)
    assert asked_s <= 3
    assert "web@local needs" in why
    assert "above" in why
    here.run(120)
    failed = here.failed
    here.run(60)
    assert len(here.ready()) > 10
    assert here.failed == failed


def test_when_the_load_is_gone_the_pool_returns_to_its_minimum(shop) -> None:
    """After the cooldown of every trigger the surplus is drained and ended, without a failed request."""
    here = shop(2, rates={"web@local": steps((0, 20), (100, 200), (200, 20))}, instances_max=20)
    here.up()
    here.run_until(lambda: len(here.ready()) > 4, 200)
    here.run_until(lambda: here.now_s >= 260, 300)
    failed = here.failed
    here.run_until(lambda: len(here.world.living("web", "local")) == 2, 3600)
    assert here.failed == failed


def test_a_killed_instance_is_replaced_at_once(shop) -> None:
    """A kill is followed in the next look by a new start, and the pool is whole again after the start time."""
    here = shop(3, rates=STEADY)
    here.up()
    here.run(30)
    here.world.inflict(Kill("web@local"))
    killed_s = here.now_s
    here.step()
    assert any(isinstance(e, StartInstance) for at_s, d in here.decided if at_s > killed_s for e in d.effects)
    assert here.run_until(lambda: len(here.ready()) == 2, 60) < 10


def test_a_frozen_instance_is_taken_away_and_replaced(shop) -> None:
    """An instance that is stopped in its tracks gets no traffic and another takes its place."""
    here = shop(4, rates=STEADY)
    here.up()
    here.world.inflict(Freeze("web-1", 600))
    here.run_until(lambda: "web-1" not in here.world.instances and len(here.ready()) == 2, 30)


@pytest.mark.parametrize("engine", ["gateway/local", "postgres/local", "valkey/local"])
def test_a_killed_engine_is_started_again(shop, engine: str) -> None:
    """An engine that was killed, and killed again, serves again within seconds each time."""
    here = shop(f"14/{engine}", rates=STEADY)
    here.up()
    for _ in range(3):
        here.world.inflict(Kill(engine))
        here.run_until(lambda: here.world.engines[engine].state is EngineState.READY, 15)
    here.run(5)
    failed = here.failed
    here.run(30)
    assert here.failed == failed


def test_a_crash_loop_ends_in_giving_up_loudly(shop) -> None:
    """A service that can no longer start is tried ever more rarely, then given up with a sentence that says what to do."""
    here = shop(5, rates=STEADY)
    here.up()
    here.world.behaviours["web"] = Behaviour(start_fails_ratio=1.0)
    started = here.world.counts["started"]
    here.world.inflict(Kill("web-1"))
    here.world.inflict(Kill("web-2"))
    here.run(500)
    assert any("gave up on web@local/r1" in why and "ship a release" in why for why in here.whys())
    assert here.world.counts["started"] - started <= 10
    here.run(300)
    assert here.world.counts["started"] - started <= 11


def test_a_given_up_service_comes_back_when_its_trouble_ends(shop) -> None:
    """Giving up is not for ever: one try every ten minutes finds that the cause is gone."""
    here = shop(6, rates=STEADY)
    here.up()
    here.world.behaviours["web"] = Behaviour(start_fails_ratio=1.0)
    here.world.inflict(Kill("web-1"))
    here.world.inflict(Kill("web-2"))
    here.run_until(lambda: any("gave up on web@local" in why for why in here.whys()), 600)
    here.world.behaviours["web"] = Behaviour()
    here.run_until(lambda: len(here.ready()) == 2, 700)


@pytest.mark.parametrize("breakage", [b for b in Breakage if b is not Breakage.ERRORS])
def test_a_broken_release_leaves_the_old_one_serving(shop, breakage: Breakage) -> None:
    """However the next release is broken, the old one goes on serving and the person hears why."""
    here = shop(f"7/{breakage}", rates=STEADY, broken={"r2": breakage})
    here.up()
    here.run(60)
    failed = here.failed
    request = here.deploy("r2")
    here.run_until(lambda: request in here.answers, 400)
    assert not here.answers[request].ok
    assert "r1 serves as before" in here.answers[request].text
    here.run(60)
    assert len(here.ready(release="r1")) == 2
    assert not here.ready(release="r2")
    # At the most what arrives in the one step in which a whole release turns sick; a real loop is woken at once.
    assert here.failed - failed < 2 * 20


def test_deploy_then_rollback_fails_no_request(shop) -> None:
    """The next release takes over and the one before comes back, and clients see nothing of it."""
    here = shop(8, rates=STEADY)
    here.up()
    here.run(30)
    failed = here.failed
    request = here.deploy("r2")
    here.run_until(lambda: request in here.answers, 300)
    assert here.answers[request].ok, here.answers[request].text
    assert len(here.ready(release="r2")) == 2
    assert not here.ready(release="r1")
    request = here.roll_back()
    here.run_until(lambda: request in here.answers, 300)
    assert here.answers[request].ok, here.answers[request].text
    assert here.ready(release="r1")
    assert here.failed == failed


def test_stale_facts_hold(shop) -> None:
    """While nobody can see the processes nothing is started or stopped, and nothing is let go just after."""
    here = shop(9, rates={"web@local": steps((0, 20), (60, 200), (120, 5))}, instances_max=20)
    here.up()
    here.run_until(lambda: here.now_s >= 400, 500)
    blind_s = here.now_s
    here.world.inflict(ObserverOutage("process", 300))
    here.world.inflict(ObserverOutage("gateway", 300))
    here.run(299)
    effects = [e for at_s, d in here.decided if at_s > blind_s + 6 for e in d.effects]
    assert not [e for e in effects if isinstance(e, StartInstance | StopInstance)]


def test_a_job_runs_once_for_each_time_it_is_due(shop) -> None:
    """A schedule of every two minutes makes one task for each of them, crashes of the control plane notwithstanding."""
    here = shop(10, rates=STEADY, job="*/2 * * * *")
    here.up()
    for _ in range(20):
        here.run(37)
        here.crash(3.0)
    here.run(60)
    due = [task for task in here.world.tasks if task.startswith("job-")]
    assert abs(len(due) - here.now_s / 120) <= 1.5
    asked = [e.task for _, d in here.decided for e in d.effects if isinstance(e, RunTask) and e.kind == "schedule"]
    assert sorted(asked) == sorted(due)


def test_down_drains_and_stops_everything_engines_last(shop) -> None:
    """After `down` nothing runs, and the person is told."""
    here = shop(11, rates=STEADY)
    here.up()
    here.ask(DownRequest("down", here.world.clock.now()))
    here.run_until(lambda: "down" in here.answers, 120)
    assert here.answers["down"].ok
    assert not here.world.instances
    assert all(engine.state is EngineState.EXITED for engine in here.world.engines.values())


@pytest.mark.parametrize("seed", range(20))
def test_the_control_plane_crashes_in_the_middle_of_a_deploy(shop, seed: int) -> None:
    """Killed at a seeded moment of a deploy and started again, it goes on: nothing doubled, nothing orphaned, the deploy ends."""
    here = shop(f"12/{seed}", rates=STEADY, job="* * * * *")
    here.up()
    request = here.deploy("r2")
    here.run(1 + seed * 5)
    here.crash(1.0 + seed % 7)
    here.run_until(lambda: request in here.answers, 400)
    assert here.answers[request].ok, here.answers[request].text
    here.run(90)
    living = [i for name in ("web", "worker") for i in here.world.living(name, "local")]
    assert {i.id for i in living} == set(here.memory.heal.members)
    assert [i.release for i in living] == ["r2"] * 3
    assert all(i.state is InstanceState.READY for i in living)
    assert here.world.counts["started"] == 6


def test_one_seed_makes_one_story(shop) -> None:
    """The same seed gives the same decisions at the same seconds, faults and crashes included."""

    def told() -> list[tuple[float, str]]:
        faults = FaultSchedule.drawn(13, from_s=30, until_s=200, count=10, pools=["web@local"], regions=["local"])
        here = shop(13, rates=STEADY, faults=faults)
        here.up()
        here.run(300)
        return [(at_s, decision.why) for at_s, decision in here.decided]

    assert told() == told()


# --- bugs that random faults have found, each with the seed that found it ---------------------------------------------


def test_a_release_that_crashed_while_nobody_looked_is_not_called_well(shop) -> None:
    """The control plane was away when every new instance ended: the watch begins anew and finds the release broken (seed 49)."""
    here = shop(49, rates=STEADY, broken={"r2": Breakage.CRASH_LATER})
    here.up()
    request = here.deploy("r2")
    here.run_until(lambda: any("r2 is ready" in why for why in here.whys()), 60)
    here.run(1)
    here.crash(38)
    here.run_until(lambda: request in here.answers, 400)
    assert not here.answers[request].ok
    assert here.memory.release.serving == "r1"


@pytest.mark.parametrize("by_s", [-600, -86_400])
@pytest.mark.parametrize("breakage", [None, Breakage.HEALTH])
@pytest.mark.parametrize("after_s", [5, 13, 40])
def test_a_clock_set_back_does_not_hold_up_a_deploy(
    shop, by_s: float, breakage: Breakage | None, after_s: float
) -> None:
    """A deploy during which the clock is set back by minutes or a day ends in the time that any deploy takes (seeds 78, 232, 294)."""
    here = shop(78, rates=STEADY, broken={"r2": breakage} if breakage else {})
    here.up()
    request = here.deploy("r2")
    here.run(after_s)
    here.world.inflict(ClockJump(by_s))
    here.run_until(lambda: request in here.answers, 300)
    assert here.answers[request].ok == (breakage is None), here.answers[request].text
    here.run(60)
    assert len(here.world.living("web", "local")) == len(here.ready()) == 2


@pytest.mark.parametrize("breakage", [Breakage.CRASH_LATER, Breakage.SICK_LATER])
def test_a_clock_set_ahead_does_not_end_the_watch(shop, breakage: Breakage) -> None:
    """An hour that passed on the wall alone is not an hour in which the new release was well (seed 206)."""
    here = shop(206, rates=STEADY, broken={"r2": breakage})
    here.up()
    request = here.deploy("r2")
    here.run_until(lambda: any("r2 is ready" in why for why in here.whys()), 60)
    here.run(5)
    here.world.inflict(ClockJump(3600))
    here.run_until(lambda: request in here.answers, 300)
    assert not here.answers[request].ok


def test_the_refusal_of_an_earlier_table_does_not_fail_the_next_release(shop) -> None:
    """What the gateway said of a table that is not wanted any more is no reason to give the next one up (seed 40)."""
    here = shop(40, rates=STEADY)
    here.up()
    here.world.inflict(RoutesRefused("local", 60))
    first = here.deploy("r2")
    here.run_until(lambda: first in here.answers, 120)
    assert not here.answers[first].ok
    assert "refused the routes" in here.answers[first].text
    here.run(60)
    second = here.deploy("r3")
    here.run_until(lambda: second in here.answers, 200)
    assert here.answers[second].ok, here.answers[second].text


def test_a_lost_order_to_forget_does_not_hold_up_the_end(shop) -> None:
    """Instances that ended while orders were refused are forgotten later, and `down` comes to its end (seed 1866)."""
    here = shop(1866, rates=STEADY)
    here.up()
    here.run(10)
    here.world.inflict(Kill("web-1"))
    # The control plane dies after it has forgotten the instance and before its driver has.
    here.memory = replace(here.memory, heal=replace(here.memory.heal, members={}))
    here.run(30)
    assert all(i.state is InstanceState.READY for i in here.world.instances.values())
    here.ask(DownRequest("down", here.world.clock.now()))
    here.run_until(lambda: "down" in here.answers, 120)


@pytest.mark.parametrize("breakage", [None, Breakage.START])
def test_up_is_answered_although_what_it_waited_for_was_undone(shop, breakage: Breakage | None) -> None:
    """Whoever asks to be up while a first release is on its way hears how it ended, should that one be stopped too (seed 3108)."""
    here = shop(3108, rates=STEADY, broken={"r2": breakage} if breakage else {})
    here.ask(UpRequest("first", here.world.clock.now(), here.release("r1")))
    here.run(3)
    here.ask(UpRequest("second", here.world.clock.now(), here.release("r2")))
    here.run(2)
    here.roll_back()
    here.run_until(lambda: {"first", "second"} <= here.answers.keys(), 200)
    assert not here.answers["first"].ok
    assert here.answers["second"].ok == (breakage is None), here.answers["second"].text


def test_a_release_that_answers_errors_is_taken_back(shop) -> None:
    """A release that passes its checks and answers all else with an error is found out by that, and the old one serves again."""
    here = shop(52, rates=STEADY, broken={"r2": Breakage.ERRORS})
    here.up()
    request = here.deploy("r2")
    here.run_until(lambda: request in here.answers, 300)
    assert not here.answers[request].ok
    assert here.memory.release.serving == "r1"
    failed = here.world.pools["web@local"].totals.failed
    assert failed > 0, "clients meet it, until it is found out"
    here.run(30)
    assert here.world.pools["web@local"].totals.failed == failed, "and nobody does afterwards"


def test_without_its_database_an_app_answers_writes_with_errors(shop) -> None:
    """While PostgreSQL is away requests that write fail and others are answered, and what was acknowledged goes on when it is back."""
    here = shop(53, rates=STEADY, behaviours={"web": Behaviour(cpu_ms=5, wait_ms=20, write_ratio=0.5)})
    here.up()
    here.run(20)
    totals = here.world.pools["web@local"].totals
    before = totals.failed, totals.answered, totals.written
    here.world.inflict(FillDisk("postgres/local", 5.0))
    here.run(5)
    assert totals.failed > before[0]
    assert totals.answered > before[1]
    here.run(30)
    failed, written = totals.failed, totals.written
    here.run(5)
    assert totals.failed == failed
    assert totals.written > written > before[2]
