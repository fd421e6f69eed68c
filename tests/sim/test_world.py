"""The false world by itself: its clock, its queues, its counts, and that one seed is one world."""

import asyncio
import math
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.effects import Order, PublishRoutes, StartEngine, StartInstance
from tenfold.effects.faults import Kill
from tenfold.facts import InstanceState, PoolSeen
from tenfold.model import Endpoint, Health, Model, Region, Release, RouteTable, Scaling, Service, ServiceRoutes
from tenfold.sim import Behaviour, FaultSchedule, VirtualClock, World, constant, day, from_trace, run_virtual, steps
from tenfold.sim.deeds import carry_out
from tenfold.sim.queue import station
from tenfold.sim.rates import poisson

WEB = Service("web", "serve", paths=("/",), scaling=Scaling(1, 8))
RELEASE = Release("r1", {"web": WEB}, "digest", 0.0)
MODEL = Model("shop", {"web": WEB}, {"local": Region("local")}, releases={"r1": RELEASE})


def served_world(seed: int, per_s: float, instances: int, behaviour: Behaviour) -> World:
    """A world with a gateway and that many ready instances in its table."""
    world = World(MODEL, seed, rates={"web@local": constant(per_s)}, behaviours={"web": behaviour})
    names = [f"web-{n}" for n in range(1, instances + 1)]
    do(world, StartEngine("gateway", "local"), *(StartInstance(name, "web", "local", "r1") for name in names))
    pass_time(world, 10)
    endpoints = tuple(Endpoint(i.id, "127.0.0.1", i.port) for i in world.instances.values())
    table = RouteTable("local", (ServiceRoutes("web", ("/",), endpoints),))
    do(world, PublishRoutes(table, "first", 1))
    pass_time(world, 1)
    return world


def do(world: World, *effects) -> None:
    """Carry effects out under epoch 1."""
    for effect in effects:
        carry_out(world, Order(effect, 1, "d1", world.clock.now()))


def pass_time(world: World, seconds: int) -> None:
    """Step the world second by second."""
    for _ in range(seconds):
        world.clock.advance(1.0)
        world.step()


def pool_of(world: World) -> PoolSeen:
    """What the gateway's observer tells of the service."""
    return next(fact for fact in world.facts("gateway") if isinstance(fact, PoolSeen))


def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    """A day of sleeping takes no time at all, and everyone wakes when it is their turn."""
    clock, woken = VirtualClock(1000.0), []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now()))

    async def main() -> None:
        await asyncio.gather(sleeper("late", 86_400.0), sleeper("early", 1.5), sleeper("middle", 60.0))

    run_virtual(main(), clock)
    assert woken == [("early", 1001.5), ("middle", 1060.0), ("late", 87_400.0)]


def test_timeouts_are_virtual_and_threads_are_waited_for() -> None:
    """asyncio's own timeouts run on virtual time, which stands still while a thread works."""
    clock = VirtualClock(0.0)

    async def main() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        before_s = clock.elapsed_s
        ticker = asyncio.create_task(clock.sleep(10_000.0))
        found = await asyncio.to_thread(sum, range(100_000))
        assert clock.elapsed_s == before_s
        ticker.cancel()
        return found

    assert run_virtual(main(), clock) == sum(range(100_000))
    assert clock.elapsed_s == 3600.0


def test_a_jump_of_the_wall_clock_moves_no_duration() -> None:
    """`now` jumps, what has elapsed does not."""
    clock = VirtualClock(100.0)
    clock.advance(5.0)
    clock.jump(-30.0)
    assert (clock.now(), clock.elapsed_s) == (75.0, 5.0)


def test_an_idle_queue_answers_in_its_own_time_and_a_busy_one_as_mm1_says() -> None:
    """At one core and no waiting the approximation is the exact M/M/1 response: service time / (1 - use)."""
    queue = station(cpu_ms=10, wait_ms=0, cpu_cores=1, concurrency=1000)
    assert queue.capacity_per_s == pytest.approx(100)
    assert queue.response_s(0.0, 0.0) == pytest.approx(0.010)
    for use in (0.2, 0.5, 0.8, 0.95):
        assert queue.response_s(100 * use, 0.0) == pytest.approx(0.010 / (1 - use), rel=1e-6)


@pytest.mark.parametrize(("cores", "use", "erlang_c"), [(2, 0.8, 0.711), (4, 0.8, 0.596), (8, 0.9, 0.702)])
def test_several_cores_come_close_to_erlangs_formula(cores: int, use: float, erlang_c: float) -> None:
    """Sakasegawa's approximation of M/M/c stays within a tenth of Erlang's exact wait."""
    queue = station(cpu_ms=10, wait_ms=0, cpu_cores=cores, concurrency=1000)
    exact_s = erlang_c / (queue.capacity_per_s * (1 - use))
    assert queue.queueing_s(use * queue.capacity_per_s) == pytest.approx(exact_s, rel=0.1)


def test_below_capacity_everything_is_answered_and_little_holds() -> None:
    """200 requests a second on four instances: none fails, and the mean in flight is rate times response time."""
    world = served_world(1, 200, 4, Behaviour(cpu_ms=10, wait_ms=40))
    totals = world.pools["web@local"].totals
    before = totals.failed
    pass_time(world, 60)
    pool = pool_of(world)
    assert totals.failed == before
    assert pool.in_flight == pytest.approx(pool.requests_per_s * pool.response_ms_mean / 1000, rel=1e-6)
    assert pool.response_ms_p50 < pool.response_ms_mean < pool.response_ms_p95 < pool.response_ms_p99


def test_the_noise_of_single_seconds_is_not_counted_twice() -> None:
    """Asked by chance for 70% of what they hold, instances answer in about the 0.42 s of M/M/1, in steps of a second too."""
    world = served_world(5, 11.2, 2, Behaviour(cpu_ms=125, wait_ms=0))
    means_ms = []
    for _ in range(600):
        pass_time(world, 1)
        means_ms.append(pool_of(world).response_ms_mean or 0.0)
    assert 350 < fmean(means_ms) < 650


def test_above_capacity_the_queue_grows_until_requests_time_out() -> None:
    """Twice what an instance can do: waiting grows by the second, then the gateway's time limit answers with errors."""
    world = served_world(2, 200, 1, Behaviour(cpu_ms=10, wait_ms=0))
    # Health checks would give up long before; here the queue alone is looked at.
    world.instances["web-1"].spec = Service("web", "serve", health=Health(timeout_s=1000.0))
    pass_time(world, 3)
    first = pool_of(world).response_ms_mean
    pass_time(world, 3)
    assert pool_of(world).response_ms_mean > first + 1000
    pass_time(world, 200)
    assert world.pools["web@local"].totals.failed > 0


def test_what_arrives_is_answered_fails_or_still_waits() -> None:
    """No request is lost or made up, through a kill as well."""
    world = served_world(3, 90, 2, Behaviour(cpu_ms=20, wait_ms=30, idempotent_ratio=1.0))
    world.inflict(Kill("web-1"))
    pass_time(world, 120)
    pool = world.pools["web@local"]
    behind = sum(member.backlog for member in pool.members.values())
    assert pool.totals.offered == pytest.approx(pool.totals.answered + pool.totals.failed + behind, rel=1e-9)


def test_one_more_instance_does_not_change_the_arrivals() -> None:
    """Arrivals are drawn from a stream of their own: the same seed brings the same crowd whatever serves it."""
    crowds = []
    for instances in (1, 5):
        world = served_world(4, 50, instances, Behaviour())
        pass_time(world, 100)
        crowds.append(world.pools["web@local"].totals.offered)
    assert crowds[0] == crowds[1]


def test_starting_takes_processor_time_and_then_the_instance_is_ready() -> None:
    """While it starts an instance shows the CPU that starting costs, and no request reaches it."""
    world = World(MODEL, 5, behaviours={"web": Behaviour(start_s=5.0, start_cpu_cores=0.7)})
    do(world, StartInstance("web-1", "web", "local", "r1"))
    pass_time(world, 2)
    instance = world.instances["web-1"]
    assert (instance.state, instance.cpu_cores) == (InstanceState.STARTING, 0.7)
    pass_time(world, 6)
    assert instance.state is InstanceState.READY


@given(st.floats(0.01, 2000.0), st.integers(0, 2**32))
def test_poisson_counts_have_their_mean(mean: float, seed: int) -> None:
    """The average of many counts is the mean that was asked for, within six standard errors."""
    random, draws = Random(seed), 300
    average = sum(poisson(random, mean) for _ in range(draws)) / draws
    assert abs(average - mean) <= 6 * math.sqrt(mean / draws) + 0.51 / math.sqrt(draws)


def test_rates_follow_their_plan() -> None:
    """Steps hold until the next, a day peaks when it says, a trace is played faster and as dense."""
    assert [steps((10, 5), (20, 1))(at) for at in (0, 10, 19.9, 20)] == [0, 5, 5, 1]
    assert day(10, 50)(14 * 3600) == pytest.approx(50)
    assert day(10, 50)(2 * 3600) == pytest.approx(10)
    assert from_trace([60, 120], speedup=60)(0.5) == pytest.approx(60)
    assert from_trace([60, 120], speedup=60)(5) == pytest.approx(120)


def test_a_fault_schedule_is_drawn_once_for_a_seed() -> None:
    """Equal seeds give equal faults, other seeds others, all within their time and in order."""
    drawn = [
        FaultSchedule.drawn(s, from_s=10, until_s=50, count=20, pools=["web@local"], regions=["local"])
        for s in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    moments = [at_s for at_s, _ in drawn[0].entries]
    assert moments == sorted(moments)
    assert all(10 <= at_s <= 50 for at_s in moments)
    assert drawn[0].between(0, 50) == tuple(fault for _, fault in drawn[0].entries)
