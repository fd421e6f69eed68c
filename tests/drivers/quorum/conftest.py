"""Voters: the real ones of a project of their own, and a twin in Python that is the script of `wire.lease` said once more."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.network import Loopback
from tenfold.drivers.procs import Processes, TreeKey
from tenfold.drivers.project import Project
from tenfold.drivers.quorum import QuorumLease
from tenfold.drivers.voter import Voter, VoterDriver
from tenfold.wire.lease import TTL_S

T = TypeVar("T")
PLACES = ("eu", "us", "au")
TTL_MS = round(TTL_S * 1000)


@dataclass
class Twin:
    """What a voter does, on a clock that the caller tells (milliseconds). `epoch` and `holder` are on its disk, the others are not."""

    epoch: int | None = None
    holder: str = ""
    born: int | None = None
    until: int | None = None

    def ask(self, now: int, holder: str, epoch: int) -> tuple[int, int, str, int]:
        """As `wire.lease.ASK`."""
        if self.born is None or self.born > now:
            self.born = now
        if self.until is not None and self.until > now + TTL_MS:
            self.until = now + TTL_MS
        left = 0
        if self.epoch is None or self.holder:
            left = max(0, (self.until if self.until is not None else self.born + TTL_MS) - now)
        if holder and (epoch, holder) == (self.epoch, self.holder):
            self.until = now + TTL_MS
            return 1, epoch, holder, TTL_MS
        if epoch > (self.epoch or 0) and left == 0:
            self.epoch, self.holder, self.until = epoch, holder, now + TTL_MS
            return 2, epoch, holder, TTL_MS
        return 0, self.epoch or 0, self.holder, left

    def let_go(self, holder: str, epoch: int) -> None:
        """As `wire.lease.LET_GO`."""
        if (self.epoch, self.holder) == (epoch, holder):
            self.holder = ""

    def restart(self) -> None:
        """Its process died, and a new one found its data."""
        self.born = self.until = None

    def lose_data(self) -> None:
        """Its process died, and its data with it."""
        self.epoch, self.holder = None, ""
        self.restart()


@dataclass
class Voters:
    """Three real voters, and candidates for the lease that they hold."""

    project: Project
    places: tuple[str, ...] = PLACES
    leases: list[QuorumLease] = field(default_factory=list)
    drivers: list[VoterDriver] = field(default_factory=list)

    def driver(self) -> VoterDriver:
        """What a new control plane would have."""
        fence = Fence(self.project.run / "fence")
        self.drivers.append(VoterDriver(self.project, FreePorts(self.project), fence, Loopback(), "eu"))
        return self.drivers[-1]

    async def start(self) -> None:
        """Start those that do not run."""
        await self.driver().found(self.places)

    def voter(self, place: str) -> Voter:
        """One of them, to ask."""
        return Voter(self.project, place, Loopback(), "eu")

    def candidate(self, name: str, newest: Callable[[], int] = lambda: 0) -> QuorumLease:
        """One who would lead."""
        self.leases.append(QuorumLease([self.voter(place) for place in self.places], name, newest))
        return self.leases[-1]

    def signal(self, number: int, *places: str) -> None:
        """Signal the voters there (all when none is named); a killed one is gone when this returns."""
        processes = Processes(self.project)
        keys = [TreeKey("engine", f"voter/{place}") for place in places or self.places]
        for key in keys:
            processes.send(key, number)
        while number == signal.SIGKILL and any(key in processes.look() for key in keys):
            time.sleep(0.005)

    async def close(self) -> None:
        """Nothing of it runs afterwards."""
        for lease in self.leases:
            await lease.release()
        for driver in self.drivers:
            await driver.close()
        processes = Processes(self.project)
        for key in processes.look():
            await processes.stop(key, 0.0)


@pytest.fixture
async def voters(tmp_path: Path) -> AsyncIterator[Voters]:
    """Three voters that run."""
    made = Voters(Project(tmp_path, "shop"))
    made.project.state.mkdir()
    try:
        await made.start()
        yield made
    finally:
        await made.close()


@pytest.fixture
def new_twin() -> Callable[[], Twin]:
    """Makes twins."""
    return Twin


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[T]]], Awaitable[T]]:
    """Asks until the answer is true, and gives it; fails when it does not become so."""

    async def ask(what: Callable[[], Awaitable[T]]) -> T:
        until_s = time.monotonic() + 60
        while not (answer := await what()):
            assert time.monotonic() < until_s, "it did not happen"
            await asyncio.sleep(0.01)
        return answer

    return ask
