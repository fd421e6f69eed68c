"""Healing in virtual time: what ends keeps its place, a region that keeps nothing lends its capacity, and a person hears what was tried."""

from dataclasses import replace

from tenfold.deciders import decide
from tenfold.effects import Notify, StartInstance, StopInstance
from tenfold.effects.faults import Freeze, Kill
from tenfold.facts import InstanceState, UpRequest
from tenfold.model import Health, Model, Region, Release, Scaling, Service
from tenfold.model.alerts import Alerts, Escalation
from tenfold.sim import Behaviour, Simulation, World, steps
from tests.sim.spread import Globe

STEADY = {"web@local": steps((0, 20))}


def starts(here: Simulation, since_s: float) -> list[StartInstance]:
    """What was started since then."""
    return [e for at_s, d in here.decided if at_s > since_s for e in d.effects if isinstance(e, StartInstance)]


def test_what_is_killed_keeps_its_name_and_its_port(shop) -> None:
    """A kill is mended in its place: nothing is lost but what was under way, and no new name appears."""
    here = shop(71, rates=STEADY)
    here.up()
    here.run(30)
    names = sorted(here.ready())
    ports = {i.id: i.port for i in here.world.instances.values()}
    killed_s = here.now_s
    here.world.inflict(Kill("web-1"))
    here.run(20)
    assert sorted(here.ready()) == names
    assert {i.id: i.port for i in here.world.instances.values()} == ports
    assert [e.key for e in starts(here, killed_s)] == ["start:web-1#2"]
    assert here.world.counts["doubled"] == 0


def test_a_restart_whose_control_plane_dies_is_not_doubled(shop) -> None:
    """Killed at any second around the restart of an instance, the control plane comes back and finds or makes exactly one."""
    for after in range(6):
        here = shop(f"72/{after}", rates=STEADY)
        here.up()
        here.world.inflict(Kill("web-2"))
        here.run(after)
        here.crash(3.0)
        here.run(40)
        assert len(here.ready()) == len(here.world.living("web", "local")) == 2
        assert here.world.counts["doubled"] == 0


def test_too_much_load_ends_no_instance_that_answers() -> None:
    """One instance under twice what it holds fails its checks, answers what it can all the same, and nobody gives it up."""
    web = Service("web", "serve", paths=("/",), health=Health("/health"), scaling=Scaling(1, 1))
    world = World(
        Model("shop", {"web": web}, {"local": Region("local")}),
        74,
        rates={"web@local": steps((0, 100))},
        behaviours={"web": Behaviour(cpu_ms=20, wait_ms=30, start_s=30.0)},
    )
    here = Simulation(world, decide)
    here.ask(UpRequest("up", world.clock.now(), Release("r1", world.model.services, "source", 0.0)))
    answered = 0.0
    for _ in range(500):
        here.step()
        seen = here.snapshot.pools.get("web@local")
        answered += seen.requests_per_s - seen.errors_per_s if seen is not None else 0.0
    assert any("load may be what ails it" in made.why for _, made in here.decided)
    assert not any(isinstance(effect, StopInstance) for _, made in here.decided for effect in made.effects)
    assert answered > 0.35 * 500 * 100, "it holds 43 of 100"


def test_a_crash_loop_asks_a_person_once_and_says_what_was_tried(shop) -> None:
    """With an escalation in the blueprint the last rung is a notification that names the tries, and another when it is over."""
    here = shop(73, rates=STEADY)
    here.model = replace(here.model, alerts=Alerts(escalation=(Escalation(webhook="http://127.0.0.1:9/page"),)))
    here.up()
    here.world.behaviours["web"] = Behaviour(start_fails_ratio=1.0)
    here.world.inflict(Kill("web-1"))
    here.run(400)
    told = [n for n in here.world.told if isinstance(n, Notify) and n.alert == "recovery/web@local/r1"]
    assert [n.state for n in told] == ["firing"]
    assert "restart" in told[0].text and "replacement" in told[0].text and "Look at: tenfold logs web-" in told[0].text
    here.world.behaviours["web"] = Behaviour()
    here.run_until(lambda: len(here.ready()) == 2, 700)
    here.run(200)
    assert here.world.told[-1].state == "resolved"


def test_one_that_hangs_is_replaced_while_a_crash_loop_goes_on(shop) -> None:
    """A frozen instance of one service and a crash loop of another do not wait for each other."""
    here = shop(74, rates=STEADY)
    here.up()
    here.world.behaviours["worker"] = Behaviour(start_fails_ratio=1.0)
    here.world.inflict(Kill("worker@local"))
    here.run(20)
    here.world.inflict(Freeze("web-1", 600))
    here.run_until(lambda: "web-1" not in here.world.instances and len(here.ready()) == 2, 30)


def test_a_region_that_was_killed_is_whole_soon_after_it_is_back() -> None:
    """A minute of a dead region is held against nothing that ran there: no starts meanwhile, and all at once when its gateway answers."""
    globe = Globe(75)
    globe.world.inflict(Kill("region/b", 60.0))
    struck_s = globe.world.clock.elapsed_s
    globe.run(58)
    assert len([e for e in starts(globe, struck_s) if e.region == "b"]) <= 2
    assert not globe.memory.heal.failures.get("web@b/r1")
    globe.run(18)
    ready = [i for i in globe.world.instances.values() if i.region == "b" and i.state is InstanceState.READY]
    assert len(ready) == 2
    assert not any("gave up on web@b" in why for why in globe.whys(struck_s))


def test_a_region_that_was_dead_for_long_is_whole_within_minutes() -> None:
    """Ten minutes of a dead region: its gateway is tried every minute all along, and what ran there starts with it."""
    globe = Globe(77, step_s=1.0)
    globe.world.inflict(Kill("region/b", 600.0))
    struck_s = globe.world.clock.elapsed_s
    globe.run(600)
    assert len([e for e in starts(globe, struck_s) if e.region == "b"]) <= 2
    globe.run_until(lambda: globe.goes_to("b") == {"b": 1.0}, 110)


def test_a_region_in_which_nothing_starts_has_its_capacity_elsewhere() -> None:
    """A bad host: each start in b fails while the same release is well in a and c, which run its two until b can; nobody is refused."""
    globe = Globe(76)

    def fail_in_b() -> None:
        for instance in globe.world.instances.values():
            if instance.region == "b" and instance.state is InstanceState.STARTING:
                instance.exits_elapsed_s = globe.world.clock.elapsed_s
                instance.exit_note = "exit code 1: no space left on the disk of this host"

    for instance in [i for i in globe.world.instances.values() if i.region == "b"]:
        globe.world.inflict(Kill(instance.id))
    globe.run(60, fail_in_b)
    moved = [d.why for _, d in globe.decided if "for as long as it lasts" in d.why]
    assert len(moved) == 1 and moved[0].startswith("web@b does not keep its instances"), moved
    there = {name: len(globe.world.living("web", name)) for name in "ac"}
    assert there == {"a": 3, "c": 3}
    assert set(globe.goes_to("b")) == {"a", "c"} or len(globe.goes_to("b")) == 1
    failed = globe.entry.clients.failed
    globe.run(60, fail_in_b)
    assert globe.entry.clients.failed == failed
    globe.run_until(lambda: len(globe.world.living("web", "b")) == 2, 700)
    globe.run(150)
    assert {name: len(globe.world.living("web", name)) for name in "abc"} == dict.fromkeys("abc", 2)
    assert globe.goes_to("b") == {"b": 1.0}
