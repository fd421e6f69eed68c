"""What every world promises of its lease and its clock."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.network import Loopback
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.drivers.quorum import QuorumLease
from tenfold.drivers.voter import Voter, VoterDriver
from tenfold.loop.lease import FileLease
from tenfold.model import Model, Region
from tenfold.ports import Lease
from tenfold.sim import World
from tenfold.sim.ports import SimLease

PLACES = ("eu", "us", "au")


@pytest.fixture(params=["sim", "sim voters", "real", "voters"])
async def candidate(request: pytest.FixtureRequest, tmp_path) -> AsyncIterator[Callable[[], Lease]]:
    """Makes candidates for one and the same lease."""
    world = World(Model("shop", {}, {"local": Region("local")}), 1)
    match request.param:
        case "sim":
            yield lambda: SimLease(world)
        case "sim voters":
            spread = World(Model("shop", {}, {place: Region(place) for place in PLACES}), 1)
            yield lambda: SimLease(spread, "eu")
        case "real":
            yield lambda: FileLease(tmp_path / "lease")
        case "voters":
            project, made = Project(tmp_path, "shop"), []
            driver = VoterDriver(project, FreePorts(project), Fence(tmp_path / "fence"), Loopback(), "eu")
            await driver.found(PLACES)

            def make() -> QuorumLease:
                made.append(QuorumLease([Voter(project, p, Loopback(), "eu") for p in PLACES], f"c{len(made)}"))
                return made[-1]

            yield make
            for lease in made:
                await lease.release()
            await driver.close()
            processes = Processes(project)
            for key in processes.look():
                await processes.stop(key, 0.0)


async def test_one_holds_the_lease_and_others_do_not(candidate) -> None:
    """While one holds it, nobody else gets it."""
    first, second = candidate(), candidate()
    assert await first.acquire() is not None
    assert await second.acquire() is None
    assert await first.held()
    assert not await second.held()
    await first.release()


async def test_every_holder_has_a_newer_epoch(candidate) -> None:
    """Epochs grow with every holder, and one who let go holds it no more."""
    epochs = []
    for _ in range(4):
        holder = candidate()
        epochs.append(await holder.acquire())
        assert await holder.held()
        await holder.release()
        assert not await holder.held()
    assert epochs == sorted(set(epochs))
    assert None not in epochs


async def test_letting_go_twice_is_safe(candidate) -> None:
    """A second release takes the lease from nobody."""
    first, second = candidate(), candidate()
    await first.acquire()
    await first.release()
    await second.acquire()
    await first.release()
    assert await second.held()
    await second.release()


def test_a_clock_moves_while_one_sleeps(on_clock) -> None:
    """A sleep lasts at least as long as it was asked to, and sleepers wake in the order of their deadlines."""

    async def story(clock) -> None:
        from_s, woken = clock.now(), []

        async def sleeper(seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append(seconds)
            assert clock.now() - from_s >= seconds - 0.01

        await asyncio.gather(*(sleeper(seconds) for seconds in (0.3, 0.1, 0.2)))
        assert woken == [0.1, 0.2, 0.3]

    on_clock(story)
