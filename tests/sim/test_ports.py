"""The false world's ports and what only it can do to them: receipts late and lost, orders doubled, observers blind and stale."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tenfold.effects import Order, Outcome, PublishRoutes, RunTask, StartEngine, StartInstance
from tenfold.effects.faults import Freeze, Kill, Slow
from tenfold.facts import InstanceSeen, TaskState
from tenfold.model import Model, Region, Release, RouteTable, Service
from tenfold.ports import Permanent, Retryable, Unknown
from tenfold.sim import (
    ControlCrash,
    Drivers,
    ObserverOutage,
    ObserverStale,
    OrdersDoubled,
    ReceiptsLate,
    ReceiptsLost,
    RoutesRefused,
    World,
    run_virtual,
)

SERVICES = {"web": Service("web", "serve"), "job": Service("job", "report", schedule="* * * * *")}
RELEASE = Release("r1", SERVICES, "digest", 0.0)
MODEL = Model("shop", SERVICES, {"local": Region("local")}, releases={"r1": RELEASE})
START = StartInstance("web-1", "web", "local", "r1")


def play(story: Callable[[World, Drivers], Awaitable[None]], seed: int = 1) -> World:
    """Run a story beside a world that steps by itself; gives the world back."""
    world = World(MODEL, seed, step_s=0.1)

    async def main() -> None:
        running = asyncio.create_task(world.run())
        await story(world, Drivers.of(world))
        running.cancel()

    run_virtual(main(), world.clock)
    return world


def order(world: World, effect) -> Order:
    """An order of epoch 1."""
    return Order(effect, 1, "d1", world.clock.now())


def test_a_late_receipt_comes_after_the_deed() -> None:
    """The instance runs at once, its receipt takes its time."""

    async def story(world: World, drivers: Drivers) -> None:
        world.inflict(ReceiptsLate(20.0, 60.0))
        pending = asyncio.ensure_future(drivers.actuator.apply(order(world, START)))
        await world.clock.sleep(1.0)
        assert "web-1" in world.instances
        assert not pending.done()
        from_s = world.clock.elapsed_s
        assert (await pending).outcome is Outcome.DONE
        assert world.clock.elapsed_s - from_s > 15

    play(story)


def test_a_lost_receipt_never_comes_or_is_unknown() -> None:
    """Over many orders both kinds of loss happen, and every order was carried out all the same."""
    ends = []

    async def story(world: World, drivers: Drivers) -> None:
        world.inflict(ReceiptsLost(1e6))
        for number in range(20):
            start = StartInstance(f"web-{number}", "web", "local", "r1")
            try:
                await asyncio.wait_for(drivers.actuator.apply(order(world, start)), 600)
            except Unknown:
                ends.append("unknown")
            except TimeoutError:
                ends.append("never")

    world = play(story)
    assert len(world.instances) == 20
    assert set(ends) == {"unknown", "never"}


def test_a_doubled_order_happens_once() -> None:
    """Delivered twice, it makes one instance and one run of a task."""

    async def story(world: World, drivers: Drivers) -> None:
        world.inflict(OrdersDoubled(60.0))
        await drivers.actuator.apply(order(world, START))
        await drivers.actuator.apply(order(world, RunTask("job-1", "schedule", "job", "r1", "report")))

    world = play(story)
    assert world.counts["started"] == 1
    assert [task.state for task in world.tasks.values()] == [TaskState.RUNNING]


def test_an_observer_that_is_out_raises_and_wakes_nobody() -> None:
    """During an outage there is an error instead of facts, and no wake-up; afterwards both are back."""

    async def story(world: World, drivers: Drivers) -> None:
        (process,) = [o for o in drivers.observers if o.source == "process"]
        woken = []
        process.subscribe(lambda: woken.append(world.clock.now()))
        world.inflict(ObserverOutage("process", 10.0))
        await drivers.actuator.apply(order(world, START))
        with pytest.raises(Retryable):
            await process.observe()
        assert not woken
        await world.clock.sleep(11.0)
        assert any(isinstance(fact, InstanceSeen) for fact in await process.observe())
        world.inflict(Kill("web-1"))
        assert woken

    play(story)


def test_a_stale_observer_tells_what_was() -> None:
    """It answers with the facts of before, dated as they were."""

    async def story(world: World, drivers: Drivers) -> None:
        (process,) = [o for o in drivers.observers if o.source == "process"]
        world.inflict(ObserverStale("process", 10.0))
        began = world.clock.now()
        await drivers.actuator.apply(order(world, START))
        await world.clock.sleep(5.0)
        facts = await process.observe()
        assert not any(isinstance(fact, InstanceSeen) for fact in facts)
        assert all(fact.seen_at == began for fact in facts)
        await world.clock.sleep(6.0)
        assert any(isinstance(fact, InstanceSeen) for fact in await process.observe())

    play(story)


def test_a_refused_table_leaves_the_old_one_serving() -> None:
    """The gateway says why, and goes on with what it had."""

    async def story(world: World, drivers: Drivers) -> None:
        await drivers.actuator.apply(order(world, StartEngine("gateway", "local")))
        await world.clock.sleep(1.0)
        await drivers.actuator.apply(order(world, PublishRoutes(RouteTable("local"), "first", 1)))
        world.inflict(RoutesRefused("local", 10.0))
        with pytest.raises(Permanent, match="refused"):
            await drivers.actuator.apply(order(world, PublishRoutes(RouteTable("local"), "second", 2)))
        assert (world.gateways["local"].table_digest, world.gateways["local"].refused != "") == ("first", True)

    play(story)


def test_a_slowed_instance_takes_longer_until_it_is_undone() -> None:
    """Slow adds to every response of one instance; undo takes it away."""

    async def story(world: World, drivers: Drivers) -> None:
        await drivers.actuator.apply(order(world, START))
        instance = world.instances["web-1"]
        usual_s = instance.queue.wait_s
        await drivers.harm.inflict(Slow("web-1", 500.0, 60.0))
        assert instance.queue.wait_s == pytest.approx(usual_s + 0.5)
        await drivers.harm.undo()
        await world.clock.sleep(0.2)
        assert instance.queue.wait_s == pytest.approx(usual_s)

    play(story)


def test_faults_that_can_not_be_done_say_so() -> None:
    """An engine can't be slowed, nothing can't be frozen, and a world does not crash its control plane."""
    world = World(MODEL, 1)
    for fault in (Slow("web@local", 1.0, 1.0), Freeze("gateway/local", 1.0), ControlCrash()):
        with pytest.raises(Permanent):
            world.inflict(fault)
