"""Service levels and forecasts beside the real loop: what clients got is what is counted, over restarts and blindness; what is told of it
replays."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tenfold.deciders import Decided, Memory, decide
from tenfold.effects import Notify
from tenfold.estimators.forecast.series import Series
from tenfold.facts import DownRequest, PoolSeen, Snapshot, UpRequest
from tenfold.loop import Desk, End, Entry, Journal, JournalReader, Loop, World, replay
from tenfold.loop.estimates import Estimates
from tenfold.model import (
    Alerts,
    Escalation,
    Forecast,
    Health,
    LatencyTargets,
    Model,
    Region,
    Release,
    Scaling,
    Service,
    Targets,
    Trigger,
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


async def live(world: FalseWorld, clock: VirtualClock, path: Path, seconds: float, model: Model = MODEL) -> End | None:
    """One life of a control plane."""
    drivers = Drivers.of(world)
    epoch = await drivers.lease.acquire()
    assert epoch is not None
    journal = Journal(path)
    journal.open()
    parts = World(drivers.observers, [drivers.actuator], clock)
    loop = Loop(model=model, decide=decide, world=parts, lease=drivers.lease, epoch=epoch, journal=journal)
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


# --- forecasts --------------------------------------------------------------------------------------------------------

RATE = "web@local.requests_per_s"
FORESEEN = replace(
    MODEL,
    services={
        "web": replace(WEB, scaling=Scaling(1, 9, (Trigger("concurrency", 10, 5, 60),), Forecast())),
    },
)
BEFORE_MINUTES = 3000


def write_minutes(path: Path, now: float, ahead_minutes: int = 0, series: tuple[str, ...] = (RATE,)) -> None:
    """A journal that has seen two days of 20 requests/s in each `series`; its last tick is after so many minutes that have not been yet."""
    journal = Journal(path)
    journal.open()
    first = int(now // 60) - BEFORE_MINUTES
    minutes = {(first + i, name): 20.0 + i % 3 for i in range(BEFORE_MINUTES) for name in series}
    minutes |= {(int(now // 60) + i, RATE): 900.0 for i in range(ahead_minutes)}
    at = now + 60.0 * ahead_minutes if ahead_minutes else now - 100.0
    snapshot = journal.seen(Snapshot(at, epoch=1))
    journal.append(Entry(FORESEEN, snapshot, Decided((), (), Memory()), minutes=minutes))
    journal.close()


async def foreseen_story(path: Path, clock: VirtualClock) -> None:
    """Two lives of a control plane over a journal with two days of minutes."""
    write_minutes(path, clock.now())
    world = FalseWorld(
        FORESEEN,
        11,
        clock=clock,
        rates={"web@local": constant(20.0)},
        behaviours={"web": Behaviour(cpu_ms=5, wait_ms=20)},
    )
    turning = asyncio.ensure_future(world.run())
    release = Release("r1", FORESEEN.services, "source", clock.now())
    world.add_release(release)
    Desk(path).append(UpRequest("up", clock.now(), release))
    await live(world, clock, path, 200.0, FORESEEN)
    await live(world, clock, path, 130.0, FORESEEN)
    turning.cancel()


@pytest.fixture(scope="module")
def foreseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of that story."""
    path, clock = tmp_path_factory.mktemp("foreseen") / "journal.db", VirtualClock()
    run_virtual(foreseen_story(path, clock), clock)
    return path


def test_the_journal_warms_the_forecasts(foreseen: Path) -> None:
    """The first minute that ends after a start is forecast from all that was before, and after a restart again, with no minute lost."""
    with JournalReader(foreseen) as reader:
        span = reader.span()
        assert span is not None
        ticks = list(reader.ticks(2, span[1]))
    began = ticks[0].at
    first = next(t for t in ticks if t.snapshot.forecasts)
    assert first.at - began <= 62
    fact = first.snapshot.forecasts[RATE]
    assert fact.history_s >= BEFORE_MINUTES * 60.0
    assert "this time of day on 2 days" in fact.basis
    dated = sorted({t.snapshot.forecasts[RATE].seen_at for t in ticks if t.snapshot.forecasts})
    assert [b - a for a, b in pairwise(dated)] == [60.0] * (len(dated) - 1)
    assert len(dated) >= 4
    lasts = {
        t.snapshot.forecasts[RATE].history_s - t.snapshot.forecasts[RATE].seen_at for t in ticks if t.snapshot.forecasts
    }
    assert len(lasts) == 1, "the history grows with the clock, through the restart"


def test_what_rests_on_forecasts_is_decided_again(foreseen: Path) -> None:
    """They are facts of the journal: a replay runs no estimator, and comes out the same."""
    result = replay(foreseen, 2, 10**9, decide)
    assert result.first_difference is None
    assert result.ticks == result.equal > 300


def looks(estimates: Estimates, start: float, seconds: int, per_s: float = 20.0) -> Snapshot:
    """The last of so many looks, one a second."""
    for second in range(seconds):
        at = start + second
        pool = PoolSeen("web", "local", at, requests_per_s=per_s, in_flight=2.0)
        snapshot = estimates.look(Snapshot(at, observed={"gateway": at}, pools={pool.key: pool}))
        estimates.add(snapshot)
    return snapshot


NOW = 29_000_000 * 60.0


def test_after_a_start_no_tick_fits_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven series are fitted in four ticks, and when the first minute ends each is forecast by the days before."""
    names, fits, real = [f"s{i}" for i in range(7)], [0], Series.refit

    def counted(self: Series) -> None:
        fits[-1] += 1
        real(self)

    monkeypatch.setattr(Series, "refit", counted)
    services = {name: replace(FORESEEN.services["web"], name=name) for name in names}
    write_minutes(tmp_path / "journal.db", NOW, series=tuple(f"{name}@local.requests_per_s" for name in names))
    estimates = Estimates(replace(FORESEEN, services=services), tmp_path / "journal.db", lambda text: None)
    for second in range(62):
        at = NOW + second
        pools = {f"{name}@local": PoolSeen(name, "local", at, requests_per_s=20.0, in_flight=2.0) for name in names}
        snapshot = estimates.look(Snapshot(at, observed={"gateway": at}, pools=pools))
        estimates.add(snapshot)
        fits.append(0)
    assert [count for count in fits if count] == [2, 2, 2, 1]
    assert all("this time of day on 2 days" in fact.basis for fact in snapshot.forecasts.values())
    assert len(snapshot.forecasts) == 7


def test_a_clock_that_is_set_back_costs_no_history(tmp_path: Path) -> None:
    """Set a year ahead for minutes and back again, forecasts rest on the days before and not on what has not been."""
    path = tmp_path / "journal.db"
    write_minutes(path, NOW)
    estimates = Estimates(FORESEEN, path, lambda text: None)
    assert looks(estimates, NOW, 62).forecasts[RATE].history_s == (BEFORE_MINUTES + 1) * 60.0
    away = looks(estimates, NOW + 365 * 86_400.0, 700, per_s=900.0).forecasts[RATE]
    assert away.value == 900.0 and away.history_s < 3600.0
    back = looks(estimates, NOW + 120, 125).forecasts[RATE]
    assert back.value == 20.0
    assert back.history_s >= (BEFORE_MINUTES + 2) * 60.0
    assert max(back.quantiles[1]) < 30


def test_a_clock_that_is_wrong_for_a_moment_costs_nothing(tmp_path: Path) -> None:
    """The minute it showed has not been yet: it is not learnt from."""
    path = tmp_path / "journal.db"
    write_minutes(path, NOW)
    estimates = Estimates(FORESEEN, path, lambda text: None)
    looks(estimates, NOW, 70)
    looks(estimates, NOW + 365 * 86_400.0, 2, per_s=900.0)
    after = looks(estimates, NOW + 72, 120).forecasts[RATE]
    assert (after.value, after.history_s) == (20.0, (BEFORE_MINUTES + 3) * 60.0)


@pytest.mark.parametrize("minutes", [20, 3000])
def test_minutes_that_have_not_been_are_not_taken_up(tmp_path: Path, minutes: int) -> None:
    """A journal that was written while the clock was ahead: what lies in the future is left alone."""
    path = tmp_path / "journal.db"
    write_minutes(path, NOW, ahead_minutes=minutes)
    estimates = Estimates(FORESEEN, path, lambda text: None)
    fact = looks(estimates, NOW, 62).forecasts[RATE]
    assert (fact.value, fact.history_s) == (20.0, (BEFORE_MINUTES + 1) * 60.0)


RISE_MINUTES = 45


def test_what_comes_daily_is_no_anomaly_after_a_restart(tmp_path: Path) -> None:
    """Ten times the load at the time of day at which it came on the three days before is as usual, though the control plane is new."""
    path, first = tmp_path / "journal.db", int(NOW // 60) + 20
    journal = Journal(path)
    journal.open()
    rises = {first - days * 1440 + i for days in (1, 2, 3) for i in range(RISE_MINUTES)}
    minutes = {(n, RATE): (200.0 if n in rises else 20.0) + n % 3 for n in range(first - 3 * 1440, int(NOW // 60))}
    snapshot = journal.seen(Snapshot(NOW - 61.0, epoch=1))
    journal.append(Entry(FORESEEN, snapshot, Decided((), (), Memory()), minutes=minutes))
    journal.close()
    estimates = Estimates(FORESEEN, path, lambda text: None)
    looks(estimates, NOW, 20 * 60)
    assert not looks(estimates, NOW + 20 * 60, 5 * 60, per_s=200.0).anomalies
    assert looks(estimates, NOW + 25 * 60, 5 * 60, per_s=900.0).anomalies, "it still has eyes"
