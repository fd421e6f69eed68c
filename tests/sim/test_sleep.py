"""Sleep in virtual time: the simulator has requests wait for a cold start as the edge does, and counts what it costs."""

from tenfold.deciders import decide
from tenfold.facts import UpRequest
from tenfold.model import Health, Model, Region, Release, Scaling, Service
from tenfold.sim import Behaviour, ControlCrash, FaultSchedule, Rate, Simulation, World, steps
from tenfold.sim.door import HELD_MAX, Door

WEB = Service("web", "serve", paths=("/",), health=Health("/health"), scaling=Scaling(0, 4, idle_s=60.0))
POOL = "web@local"


def night(rate: Rate, seed: int, *, start_s: float = 5.0, faults: FaultSchedule | None = None) -> Simulation:
    """A shop that may sleep, up and serving, with this many requests per second."""
    model = Model("shop", {"web": WEB}, {"local": Region("local")})
    world = World(
        model, seed, rates={POOL: rate}, behaviours={"web": Behaviour(start_s=start_s, start_spread_ratio=0.0)}
    )
    print(f"seed {seed}")  # noqa: T201 (pytest shows it with a failure)
    here = Simulation(world, decide, faults)
    here.ask(UpRequest("up", world.clock.now(), Release("r1", {"web": WEB}, "source", world.clock.now())))
    here.run_until(lambda: "up" in here.answers, 120)
    return here


def running(here: Simulation) -> int:
    """How many instances there are."""
    return len(here.world.living("web", "local"))


def test_a_night_without_requests_costs_nothing_and_the_first_one_waits() -> None:
    """The pool is empty while nobody comes; who comes first waits for a start, all are answered, and it is one cold start."""
    here = night(steps((0, 0), (600, 10)), 1)
    here.run_until(lambda: running(here) == 0, 300)
    here.run_until(lambda: here.world.clock.elapsed_s >= 590, 600)
    assert running(here) == 0
    here.run_until(lambda: here.world.clock.elapsed_s >= 700, 200)
    pool = here.world.pools[POOL]
    assert running(here) == 1
    assert pool.totals.failed == 0
    assert pool.door.starts == 1
    seen = here.snapshot.cold_starts[POOL]
    assert (seen.starts, seen.waiting, seen.refused) == (1, 0, 0)
    assert seen.wait_ms_max is not None
    assert 4000 <= seen.wait_ms_max <= 8000
    assert abs(pool.totals.offered - pool.totals.answered) < 5


def test_more_than_may_wait_are_turned_away() -> None:
    """A crowd that comes to a sleeping pool that takes long to start: so many wait, the rest is refused and counted as failed."""
    here = night(steps((0, 0), (300, 100)), 2, start_s=20.0)
    here.run_until(lambda: running(here) == 0, 300)
    here.run_until(lambda: here.world.clock.elapsed_s >= 318, 300)
    pool = here.world.pools[POOL]
    assert pool.door.count == HELD_MAX
    assert pool.door.refused == pool.totals.failed > 500
    here.run_until(lambda: pool.door.starts == 1, 60)
    assert pool.door.count == 0


def test_without_a_control_plane_nobody_waits() -> None:
    """While the control plane is dead a sleeping pool's requests fail at once; it is woken when it is back."""
    here = night(steps((0, 0), (300, 5)), 3, faults=FaultSchedule(((290.0, ControlCrash(30.0)),)))
    here.run_until(lambda: running(here) == 0, 280)
    here.run_until(lambda: here.world.clock.elapsed_s >= 315, 300)
    pool = here.world.pools[POOL]
    failed = pool.totals.failed
    assert failed > 20
    assert pool.door.count == 0
    here.run_until(lambda: running(here) == 1, 60)
    here.run_until(lambda: here.world.clock.elapsed_s >= 400, 100)
    assert pool.door.starts == 1
    assert pool.totals.failed - failed < 60


def test_who_waits_too_long_is_turned_away() -> None:
    """The door knows how long each waits, has room for so many, and forgets nobody."""
    door = Door()
    assert door.hold(10.0, 60.0, 0.0, 1.0) == 0.0
    assert door.hold(HELD_MAX, 60.0, 30.0, 31.0) == 10.0
    assert door.hold(0.0, 60.0, 60.0, 61.0) == 10.0
    assert door.open(65.0) == HELD_MAX - 10.0
    assert door.open(66.0) == 0.0
    seen = door.seen("web", "local", 70.0)
    assert seen is not None
    assert (seen.starts, seen.held, seen.refused, seen.waiting) == (1, 490, 20, 0)
    assert (seen.wait_ms_p50, seen.wait_ms_max) == (35_000.0, 35_000.0)
    assert door.drop() == 0.0


def test_two_regions_sleep_and_are_not_taken_for_lost() -> None:
    """Where every region sleeps none is out; a request that comes is answered by its own region, and nothing fails."""
    regions = {
        "a": Region("a", at=(50.0, 4.0), capacity_users=100),
        "b": Region("b", at=(41.0, -96.0), capacity_users=100),
    }
    model = Model("shop", {"web": WEB}, regions)
    rates = {"web@a": steps((0, 0), (400, 8)), "web@b": steps((0, 0))}
    world = World(model, 4, rates=rates, behaviours={"web": Behaviour(start_s=5.0, start_spread_ratio=0.0)})
    print("seed 4")  # noqa: T201 (pytest shows it with a failure)
    here = Simulation(world, decide)
    here.ask(UpRequest("up", world.clock.now(), Release("r1", {"web": WEB}, "source", world.clock.now())))
    here.run_until(lambda: "up" in here.answers, 120)
    assert here.answers["up"].ok
    here.run_until(lambda: not any(world.living("web", r) for r in regions), 300)
    here.run_until(lambda: here.world.clock.elapsed_s >= 390, 400)
    assert {str(region.state) for region in here.memory.regions.regions.values()} <= {"serving"}
    here.run_until(lambda: here.world.clock.elapsed_s >= 480, 200)
    assert len(world.living("web", "a")) == 1
    assert not world.living("web", "b"), "nobody woke the other region"
    assert world.spread is not None
    assert world.spread.entry.clients.failed == 0
    assert world.pools["web@a"].door.starts == 1
