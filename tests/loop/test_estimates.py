"""Service levels beside the real loop: what clients got is what is counted, over restarts and blindness, and alerts replay."""

import asyncio
from pathlib import Path

import pytest

from tenfold.deciders import decide
from tenfold.effects import Notify
from tenfold.facts import DownRequest, Snapshot, UpRequest
from tenfold.loop import Desk, End, Journal, JournalReader, Loop, World, replay
from tenfold.loop.estimates import Estimates
from tenfold.model import (
    Alerts,
    Escalation,
    Health,
    LatencyTargets,
    Model,
    Region,
    Release,
    Scaling,
    Service,
    Targets,
)
from tenfold.sim import Behaviour, Breakage, Drivers, ObserverOutage, VirtualClock, run_virtual
from tenfold.sim import World as FalseWorld
from tenfold.sim.pool import served_by
from tenfold.sim.rates import constant

WEB = Service("web", "serve", paths=("/",), health=Health(path="/health"), scaling=Scaling(2, 4))
MODEL = Model(
    "shop",
    {"web": WEB},
    {"local": Region("local")},
    targets=Targets(availability_ratio=0.999, latency=LatencyTargets(p95_ms=500)),
    alerts=Alerts((Escalation(webhook="${PAGER}"), Escalation(after_s=240.0, command="call"))),
)


async def live(world: FalseWorld, clock: VirtualClock, path: Path, seconds: float) -> End | None:
    """One life of a control plane."""
    drivers = Drivers.of(world)
    epoch = await drivers.lease.acquire()
    assert epoch is not None
    journal = Journal(path)
    journal.open()
    parts = World(drivers.observers, [drivers.actuator], clock)
    loop = Loop(model=MODEL, decide=decide, world=parts, lease=drivers.lease, epoch=epoch, journal=journal)
    task = asyncio.ensure_future(loop.run())
    await asyncio.wait({task}, timeout=seconds)
    loop.stop()
    await task
    await drivers.lease.release()
    journal.close()
    return loop.end


async def story(path: Path, clock: VirtualClock, truth: list[int]) -> None:
    """A release that answers with errors only, restarts of the control plane in the midst of minutes, a blind gateway, and down."""
    world = FalseWorld(
        MODEL,
        11,
        clock=clock,
        rates={"web@local": constant(20.0)},
        behaviours={"web": Behaviour(cpu_ms=5, wait_ms=20)},
        broken={"r1": Breakage.ERRORS},
    )
    turning = asyncio.ensure_future(world.run())
    release = Release("r1", MODEL.services, "source", clock.now())
    world.add_release(release)
    Desk(path).append(UpRequest("up", clock.now(), release))
    await live(world, clock, path, 95.0)
    await live(world, clock, path, 130.0)
    world.inflict(ObserverOutage("gateway", 30.0))
    await live(world, clock, path, 400.0)
    served = served_by("local", world.pools.values(), clock.now())
    truth += [served.requests, served.failed]
    Desk(path).append(DownRequest("down", clock.now()))
    assert await live(world, clock, path, 300.0) is End.DOWN
    truth.append(len(world.told))
    turning.cancel()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """The journal of the story, and what really was served, failed and told."""
    path, clock, truth = tmp_path_factory.mktemp("levels") / "journal.db", VirtualClock(), list[int]()
    run_virtual(story(path, clock, truth), clock)
    return path, truth


def test_all_is_counted(lived: tuple[Path, list[int]]) -> None:
    """What the objective counted is what was served, but for the first look of all: restarts lost nothing, blindness neither."""
    path, truth = lived
    with JournalReader(path) as reader:
        span = reader.span()
        assert span is not None
        seen = [t.snapshot.objectives["availability"] for t in reader.ticks(1, span[1]) if t.snapshot.objectives]
        before_down = max(seen, key=lambda objective: objective.seen_at)
        totals = [objective.total for objective in seen]
        window = reader.window(seen[0].seen_at - 60, before_down.seen_at + 120, "levels.")
    assert totals == sorted(totals)
    # Before the truth was noted, all but what came before the first look; after it, what came until all had stopped.
    assert truth[0] - 20 <= before_down.total <= truth[0] + 20 * 60
    assert before_down.bad == pytest.approx(before_down.total, rel=0.01)
    minutes = [value for value in window.series["levels.requests"] if value is not None]
    # The minute that runs is written when it is over.
    assert 0 <= before_down.total - sum(minutes) <= 20 * 60


def test_the_outage_is_told(lived: tuple[Path, list[int]]) -> None:
    """A critical alert fires once, climbs to the second rung, outlives the restarts, and ends with the project."""
    path, truth = lived
    with JournalReader(path) as reader:
        decisions = [row.decision for row in reader.decisions(limit=10**6) if row.decision.by == "alert"]
    sent = [effect for decision in decisions for effect in decision.effects if isinstance(effect, Notify)]
    mine = [n for n in sent if n.alert == "availability/critical"]
    assert [(n.state, n.rung) for n in mine] == [("firing", 0), ("still_firing", 1), ("resolved", 0), ("resolved", 1)]
    assert truth[2] == len(sent)


def test_it_is_decided_again(lived: tuple[Path, list[int]]) -> None:
    """Objectives are facts of the journal: every decision, every alert among them, comes out the same without an estimator."""
    path, _ = lived
    result = replay(path, 1, 10**9, decide)
    assert result.first_difference is None
    assert result.ticks == result.equal > 500


def test_a_restart_takes_up_where_it_was(lived: tuple[Path, list[int]]) -> None:
    """Read again from the journal, the counts are those of the life before, the minute that ran included."""
    path, _ = lived
    with JournalReader(path) as reader:
        span = reader.span()
        assert span is not None
        served = [t.snapshot.served["local"] for t in reader.ticks(1, span[1]) if t.snapshot.served]
        last = reader.latest()
    assert last is not None
    said: list[str] = []
    again = Estimates(MODEL, path, said.append).look(last.snapshot).objectives["availability"]
    # The false gateway counts on over all lives: its last count minus its first is what there was to count.
    assert again.total == served[-1].requests - served[0].requests
    assert (again.bad, said) == (served[-1].failed - served[0].failed, [])


def test_a_journal_that_cant_be_read(tmp_path: Path) -> None:
    """It costs the memory of levels, with a sentence, and nothing else."""
    said: list[str] = []
    (tmp_path / "journal.db").write_bytes(b"this is no journal" * 100)
    Estimates(MODEL, tmp_path / "journal.db", said.append).look(Snapshot(1_750_000_000.0))
    assert len(said) == 1 and "begin anew" in said[0]
