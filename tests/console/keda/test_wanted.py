"""What a project that runs wants, from the journal of one that is played; and everything that makes it unknown."""

from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from bench.played import Played, opened, played
from tenfold.console.keda.asked import BadMetadata, Ref
from tenfold.console.keda.wanted import PoolOfProject, Project
from tenfold.console.keda.watched import Missing
from tenfold.facts import DownRequest
from tenfold.loop import Journal
from tenfold.sim import constant
from tests.console.keda.conftest import Protocol, Serve, refused


def play(folder: Path, *regions: str) -> tuple[Played, Journal]:
    """A project with two instances in each region that has been up for a while."""
    journal = opened(folder / "journal.db")
    places = {region: (40.0 + n, 10.0 * n) for n, region in enumerate(regions)}
    rates = {region: constant(20.0) for region in regions or ("local",)}
    world = played(journal, places, rates, seconds=5.0)
    world.run(5.0)
    return world, journal


def pool_of(folder: Path, **metadata: str) -> PoolOfProject:
    return PoolOfProject(Ref("shop", "web", tuple(sorted(metadata.items()))), Project(folder / "journal.db"))


async def test_keda_is_told_what_the_project_wants(tmp_path: Path, serve: Serve, protocol: Protocol) -> None:
    """Over the protocol: the number, and the reason that the project's own decider gave."""
    world, _ = play(tmp_path)
    assert world.tick is not None
    wanted = world.tick.memory.scale.pools["web@local"]
    served = await serve(lambda ref: PoolOfProject(ref, Project(tmp_path / "journal.db")))
    call = served.stub.GetMetrics(protocol.metrics(protocol.ref(service="web")))
    (value,) = (await call).metricValues
    assert value.metricValue == wanted.wanted == 2
    assert dict(await call.trailing_metadata())["tenfold-why"] == wanted.why
    assert (await served.stub.IsActive(protocol.ref(service="web"))).result


async def test_each_region_is_a_pool(tmp_path: Path) -> None:
    """With several regions the metadata names one; without, or with one that is not there, it says which there are."""
    world, _ = play(tmp_path, "west", "north")
    now = world.world.clock.now()
    assert (await pool_of(tmp_path, service="web", region="north").look(now)).wanted == 2
    with pytest.raises(BadMetadata, match="metadata region is missing: web runs in north, west"):
        await pool_of(tmp_path, service="web").look(now)
    with pytest.raises(BadMetadata, match="web does not run in nort; did you mean north"):
        await pool_of(tmp_path, service="web", region="nort").look(now)


async def test_a_service_that_is_not_there_is_told(tmp_path: Path, serve: Serve, protocol: Protocol) -> None:
    """It is a mistake in the ScaledObject, and stays one however often it is asked."""
    play(tmp_path)
    served = await serve(lambda ref: PoolOfProject(ref, Project(tmp_path / "journal.db")))
    for _ in range(2):
        assert await refused(served.stub.IsActive(protocol.ref(service="wep"))) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "metadata service: the project runs no wep; did you mean web?",
        )


async def test_nothing_stale_is_told(tmp_path: Path) -> None:
    """A control plane that has written nothing for longer than ten seconds, or whose clock is ahead of ours, leaves it unknown."""
    world, _ = play(tmp_path)
    now = world.world.clock.now()
    assert (await pool_of(tmp_path, service="web").look(now + 9)).wanted == 2
    for moment in (now + 12, now - 60):
        with pytest.raises(Missing, match="has written nothing down for more than 10 s: is it up"):
            await pool_of(tmp_path, service="web").look(moment)


async def test_a_project_that_is_down_wants_nothing_we_know(tmp_path: Path) -> None:
    """After `tenfold down` the answer is unknown, not zero."""
    world, _ = play(tmp_path)
    world.ask(DownRequest("down", world.world.clock.now()))
    world.run(2.0)
    with pytest.raises(Missing, match="the project is down"):
        await pool_of(tmp_path, service="web").look(world.world.clock.now())


async def test_a_project_that_never_ran_is_told(tmp_path: Path) -> None:
    """Without a journal, or with a damaged one, there is a sentence."""
    with pytest.raises(Missing, match="nothing has run here yet"):
        await pool_of(tmp_path, service="web").look(0.0)
    (tmp_path / "journal.db").write_bytes(b"no journal" * 1000)
    with pytest.raises(Missing, match=r"journal\.db"):
        await pool_of(tmp_path, service="web").look(0.0)


async def test_the_newest_tick_counts(tmp_path: Path) -> None:
    """What was read a moment ago is shared; a second later it is read anew."""
    world, _ = play(tmp_path)
    pool = pool_of(tmp_path, service="web")
    first = await pool.look(world.world.clock.now())
    world.run(5.0)
    assert world.tick is not None
    second = await pool.look(world.world.clock.now())
    assert second.seen_at == world.tick.at > first.seen_at
    assert replace(second, seen_at=0.0) == replace(first, seen_at=0.0)


@pytest.mark.parametrize("metadata", [{}, {"service": "web", "query": "x"}, {"sevice": "web"}])
def test_metadata_of_the_other_source_is_refused(tmp_path: Path, metadata: dict[str, str]) -> None:
    """Of a project a service is asked for, not a query."""
    with pytest.raises(
        BadMetadata, match=r"metadata (service is missing|query: there is no such key|sevice: .*service)"
    ):
        pool_of(tmp_path, **metadata)
