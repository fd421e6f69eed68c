"""Which of a project's control planes may act. Stage: before the loop; the only place that knows both leases.

With one region it is the file lease. With several it is the lease by votes, and the file lease beside it: the lock says who may write
the journal, which lies on this machine. Whoever begins takes the lock first, so that only one starts voters; whoever takes over has the
votes first, and then ends the process that still holds the lock.
"""

import asyncio
import signal
import time

from tenfold.cli.here import Fail, lease_of
from tenfold.deciders.standby import voter_places
from tenfold.drivers.controlplane import Post, find_leader, note_leader
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.network import Network
from tenfold.drivers.procs import send
from tenfold.drivers.proctable import read_stat
from tenfold.drivers.project import Project
from tenfold.drivers.quorum import QuorumLease
from tenfold.drivers.voter import Voter, VoterDriver
from tenfold.loop import FileLease, Journal, JournalError, LeaseError
from tenfold.model import Model
from tenfold.ports import DriverError, Lease
from tenfold.wire.lease import TTL_S

VOTES_WITHIN_S = 3 * TTL_S
"""How long whoever begins asks for votes: those of a control plane that died must end first, and those of voters that start anew."""
ASK_EVERY_S = 0.2
LOCK_WITHIN_S = 8.0
ENDS_BY_ITSELF_S = 1.5
"""How long a control plane that was overtaken may take to find out and end by itself."""


class SpreadLease:
    """The lease of one of several control planes: a majority of votes, the lock on this machine, and no newer epoch at its fence."""

    def __init__(self, votes: QuorumLease, lock: FileLease, fence: Fence, epoch: int) -> None:
        self.votes = votes
        self._lock = lock
        self._fence = fence
        self._epoch = epoch

    async def acquire(self) -> int | None:
        """The epoch; whoever made this holds it already."""
        return self._epoch

    async def held(self) -> bool:
        """See `ports.Lease`. The fence is raised by whoever takes over, before anything else."""
        if self._fence.seen() > self._epoch or not await self._lock.held():
            return False
        return await self.votes.held()

    async def release(self) -> None:
        """Let go of both."""
        await self.votes.release()
        await self._lock.release()


def votes_of(project: Project, model: Model, network: Network, post: Post) -> QuorumLease:
    """The lease by votes, for the control plane at `post`. To acquire it raises `JournalError` or `DriverError` too."""
    voters = [Voter(project, place, network, post.region) for place in voter_places(model)]
    return QuorumLease(voters, post.name, lambda: max(_journal_epoch(project), fence_of(project).seen()))


def fence_of(project: Project) -> Fence:
    """The gate before every driver of the project."""
    return Fence(project.run / "fence")


async def take_lease(project: Project, model: Model, network: Network) -> tuple[Lease, int]:
    """The lease and its new epoch, for who begins; raises `Fail` when another control plane leads."""
    try:
        # The lease's own record of the epoch may have been deleted with the folder; the journal's may not be undercut. Only who
        # has the lock opens the journal: several that make it at the same moment would be in each other's way.
        lock = lease_of(project, lambda: _journal_epoch(project))
        epoch = await lock.acquire()
    except (LeaseError, JournalError) as error:
        raise Fail(str(error)) from None
    if epoch is None:
        raise Fail(taken(project))
    if not model.is_spread:
        note_leader(project, Post.own(""))
        return lock, epoch
    try:
        return await _take_votes(project, model, network, lock)
    except BaseException:
        await lock.release()
        raise


async def take_over(
    project: Project, network: Network, post: Post, votes: QuorumLease, epoch: int
) -> tuple[Lease, int] | None:
    """Make the `epoch` that `votes` gave good on this machine; None when somebody else keeps the lock. Raises `DriverError`, `LeaseError`.

    From the first step on no driver obeys the one before; when this returns its process is gone.
    """
    fence_of(project).check(epoch)
    lock = lease_of(project, lambda: epoch - 1)
    from_s = time.monotonic()
    while await lock.acquire() is None:
        waited_s = time.monotonic() - from_s
        if waited_s > LOCK_WITHIN_S:
            return None
        _end_holder(lock, waited_s)
        await asyncio.sleep(ASK_EVERY_S / 4)
    note_leader(project, post)
    return SpreadLease(votes, lock, fence_of(project), epoch), epoch


async def start_voters(project: Project, model: Model, network: Network, region: str) -> None:
    """Start the voters that do not run, as whoever stands in `region`. Raises `DriverError`."""
    voters = VoterDriver(project, FreePorts(project), fence_of(project), network, region)
    try:
        await voters.found(voter_places(model))
    finally:
        await voters.close()


def taken(project: Project) -> str:
    """Who leads already, and what to do about it."""
    leader, lock = find_leader(project), lease_of(project)
    if leader is None or not leader.region or leader.pid != lock.holder():
        return lock.taken()
    return (
        f"the control plane in {leader.region} (process {leader.pid}) runs this project already: see `tenfold status`, "
        "or stop it with `tenfold down`"
    )


def overtaken(project: Project) -> str:
    """What a control plane says that lost its lease."""
    leader = find_leader(project)
    who = (
        f"the control plane in {leader.region} (process {leader.pid})"
        if leader and leader.region
        else "another control plane"
    )
    return f"{who} leads now; this one has stopped and what runs goes on: see `tenfold status`"


async def _take_votes(project: Project, model: Model, network: Network, lock: FileLease) -> tuple[Lease, int]:
    post, until_s = Post.own(model.home), time.monotonic() + VOTES_WITHIN_S
    try:
        await start_voters(project, model, network, post.region)
        votes = votes_of(project, model, network, post)
        while (epoch := await votes.acquire()) is None:
            sight = await votes.look()
            other = Post.read(sight.holder)
            if other is not None and other.is_alive and not sight.is_free:
                raise Fail(f"the control plane in {other.region} (process {other.pid}) leads: see `tenfold status`")
            if other is not None and not other.is_alive:
                # It ended without letting go. We have its lock, so it was the last to lead, and on this machine.
                await votes.bury(sight.holder, sight.epoch)
            if time.monotonic() > until_s:
                raise Fail(f"no lease to be had, since {sight.trouble}: see `tenfold logs`, and try again")
            await asyncio.sleep(ASK_EVERY_S)
        fence_of(project).check(epoch)
    except (DriverError, JournalError) as error:
        raise Fail(str(error)) from None
    note_leader(project, post)
    return SpreadLease(votes, lock, fence_of(project), epoch), epoch


def _end_holder(lock: FileLease, waited_s: float) -> None:
    """End whoever still has the lock, at once when it is frozen, else after a moment in which it may find out by itself."""
    stat = read_stat(lock.holder() or 0)
    if stat is not None and (stat.frozen or waited_s > ENDS_BY_ITSELF_S) and lock.holder() == stat.pid:
        send(stat.identity, signal.SIGKILL)


def _journal_epoch(project: Project) -> int:
    journal = Journal(project.journal)
    try:
        return journal.epoch()
    finally:
        journal.close()
