"""The lease of control planes that stand in several regions: held by the votes of a majority. Stage: before the loop's first order.

    lapsed(t)  =  t >= asked + TTL_S - MARGIN_S

A holder counts its lease from *before* it asked, on its own clock that nobody can set and that goes on while the process or the machine
sleeps; each voter counts its vote from when it was asked, on its own. So the holder's lease ends before a majority of votes does, as long
as no clock gains more than `MARGIN_S` in `TTL_S` on another, however long messages are under way and whoever was frozen meanwhile.

A lease that lapsed comes back when a majority of voters still remember this holder's epoch as the newest: then nobody has led since.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TypeVar

from tenfold.drivers.voter import NoVote, Vote, Voter
from tenfold.ports import Retryable
from tenfold.wire.lease import TTL_S

MARGIN_S = 0.5
"""By how much a holder stops before its votes end: what clocks may differ by over `TTL_S`."""
RENEW_EVERY_S = TTL_S / 6
ASK_S = 1.0
"""How long an answer of voters is waited for; who has a majority before waits no longer."""
HANGS_AFTER_S = 30.0
"""A holder whose loop did not ask for this long whether it holds the lease hangs, or was frozen: nothing is renewed until it asks."""


Answer = TypeVar("Answer")


def now_s() -> float:
    """Seconds on a clock that nobody can set, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class Tenure:
    """What a candidate knows of its own right to act; no clock and no network, times are `now_s()`. `of` voters there are."""

    of: int
    holder: str
    epoch: int = 0
    tried: int = 0
    until_s: float = 0.0
    is_over: bool = False
    """Set for good once a majority of voters has a newer epoch."""

    @property
    def majority(self) -> int:
        return self.of // 2 + 1

    def holds(self, at_s: float) -> bool:
        """True while nobody else can hold the lease."""
        return self.epoch > 0 and not self.is_over and at_s < self.until_s

    def next_epoch(self, newest: int) -> int:
        """The epoch to ask for: above `newest`, and never the same twice. A message of a try that failed, to let its votes go, may
        still be under way, and must not meet the votes of the next."""
        self.tried = max(self.tried, newest) + 1
        return self.tried

    def elected(self, epoch: int, asked_s: float, votes: Sequence[Vote]) -> bool:
        """Take the answers to having asked for `epoch` at `asked_s`; True when that made us the holder."""
        if sum(vote.is_given for vote in votes) < self.majority:
            return False
        self.epoch, self.until_s, self.is_over = epoch, asked_s + TTL_S - MARGIN_S, False
        return True

    def renewed(self, asked_s: float, answered_s: float, votes: Sequence[Vote]) -> None:
        """Take the answers to a renewal. Once lapsed only the votes of those count that remember us: nobody has led since."""
        lapsed = answered_s >= self.until_s
        if sum(vote.is_renewal or (vote.is_given and not lapsed) for vote in votes) >= self.majority:
            self.until_s = max(self.until_s, asked_s + TTL_S - MARGIN_S)
        if sum(vote.epoch > self.epoch for vote in votes) >= self.majority:
            self.is_over = True

    def resign(self) -> None:
        """Hold it no more."""
        self.epoch, self.until_s = 0, 0.0


@dataclass(slots=True)
class Sight:
    """What a look at the voters showed: their answers by place, and why the others gave none."""

    of: int
    votes: Mapping[str, Vote] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_majority(self) -> bool:
        return len(self.votes) > self.of // 2

    @property
    def epoch(self) -> int:
        """The newest epoch that a voter knows."""
        return max((vote.epoch for vote in self.votes.values()), default=0)

    @property
    def holder(self) -> str:
        """Who has the newest epoch; empty when it was let go."""
        return max(self.votes.values(), key=lambda vote: vote.epoch).holder if self.votes else ""

    @property
    def is_free(self) -> bool:
        """True when a majority may vote for anybody now."""
        return sum(vote.left_s <= 0 for vote in self.votes.values()) > self.of // 2

    @property
    def trouble(self) -> str:
        """Why there is no majority, in words."""
        return f"{len(self.votes)} of {self.of} voters answer ({'; '.join(self.missing.values())})"


class Vigil:
    """From when on the lease may be asked for, as one who keeps looking at the voters knows it.

    Voters count on clocks that can be set: one that jumps ahead believes that its vote has ended. Whoever has looked before knows better.
    """

    def __init__(self) -> None:
        self._free_s: dict[str, float] = {}

    def free_s(self, sight: Sight, asked_s: float) -> float:
        """The moment (`now_s()`) from which a majority may vote for another, if nobody renews meanwhile; endless without a majority.

        `asked_s` is when `sight` was asked for.
        """
        for place, vote in sight.votes.items():
            if vote.left_s > 0:
                self._free_s[place] = asked_s + vote.left_s
            elif not vote.holder:
                self._free_s.pop(place, None)
        free = sorted(self._free_s.get(place, asked_s) for place in sight.votes)
        return free[sight.of // 2] if sight.has_majority else math.inf


class QuorumLease:
    """The `Lease` port over `voters`, for the control plane `holder` (a name that no other ever has). Not for one thread's loop alone:
    votes are renewed by a thread of its own, so that a loop that is busy for a moment keeps them."""

    def __init__(self, voters: Sequence[Voter], holder: str, newest: Callable[[], int] = lambda: 0) -> None:
        """A new epoch is above `newest()`, the newest that is known otherwise: voters may have lost their data."""
        assert len(voters) % 2 == 1, "an odd number of voters"
        self._voters = {voter.place: voter for voter in voters}
        self._tenure = Tenure(len(voters), holder)
        self._newest = newest
        # One for each question, and one for each that is still being waited for.
        self._pool = ThreadPoolExecutor(2 * len(voters), "vote")
        self._stopping = threading.Event()
        self._renewing: threading.Thread | None = None
        self._asked_s = 0.0

    async def look(self) -> Sight:
        """What the voters say of the lease now."""
        return await asyncio.to_thread(self._look)

    async def acquire(self) -> int | None:
        """The new epoch, or None while another holds the lease or no majority answers."""
        assert self._renewing is None, "acquired twice"
        return await asyncio.to_thread(self._acquire)

    async def held(self) -> bool:
        """True while nobody else can hold the lease; False once another took it. Raises `Retryable` while that can't be told: then
        nothing may be done, and it may come back."""
        self._asked_s = at_s = now_s()
        tenure = self._tenure
        if tenure.holds(at_s):
            return True
        if tenure.epoch == 0 or tenure.is_over:
            return False
        raise Retryable(
            f"no majority of the {tenure.of} voters has renewed the lease in time: see with `tenfold status` which of them do not run"
        )

    async def bury(self, holder: str, epoch: int) -> None:
        """Give back the votes of `holder`, which is known to be gone for good."""
        await asyncio.to_thread(self._ask, lambda voter: voter.let_go(holder, epoch))

    @property
    def lapsed_s(self) -> float:
        """For how long the lease has been out of reach; 0 while it is held, and when it never was or is lost for good."""
        tenure = self._tenure
        return max(0.0, now_s() - tenure.until_s) if tenure.epoch and not tenure.is_over else 0.0

    async def release(self) -> None:
        """Let go, so that another may lead at once; safe to call twice. Its threads and connections are given up too."""
        await asyncio.to_thread(self._release)

    def _look(self) -> Sight:
        votes, missing = self._ask(lambda voter: voter.ask("", 0))
        return Sight(len(self._voters), votes, missing)

    def _acquire(self) -> int | None:
        sight, tenure = self._look(), self._tenure
        if not sight.is_free:
            return None
        epoch = tenure.next_epoch(max(sight.epoch, self._newest()))
        self._asked_s = asked_s = now_s()
        votes, _ = self._ask(lambda voter: voter.ask(tenure.holder, epoch))
        if not tenure.elected(epoch, asked_s, list(votes.values())):
            # A minority's votes help nobody, and would keep others from getting a majority.
            self._ask(lambda voter: voter.let_go(tenure.holder, epoch))
            return None
        self._stopping.clear()
        self._renewing = threading.Thread(target=self._renew, name="renew lease", daemon=True)
        self._renewing.start()
        return epoch

    def _renew(self) -> None:
        tenure = self._tenure
        while not self._stopping.wait(RENEW_EVERY_S) and not tenure.is_over:
            asked_s = now_s()
            if asked_s - self._asked_s > HANGS_AFTER_S:
                continue
            votes, _ = self._ask(lambda voter: voter.ask(tenure.holder, tenure.epoch), lambda vote: vote.is_renewal)
            tenure.renewed(asked_s, now_s(), list(votes.values()))

    def _release(self) -> None:
        self._stopping.set()
        if self._renewing is not None:
            self._renewing.join()
            self._renewing = None
        tenure, epoch = self._tenure, self._tenure.epoch
        if epoch:
            tenure.resign()
            self._ask(lambda voter: voter.let_go(tenure.holder, epoch))
        for voter in self._voters.values():
            voter.close()

    def _ask(
        self, question: Callable[[Voter], Answer], counts: Callable[[Answer], bool] = lambda answer: False
    ) -> tuple[dict[str, Answer], dict[str, str]]:
        """Ask all voters at once: answers by place, and why there is none. Waits no longer once a majority of answers `counts`."""
        asked = {self._pool.submit(question, voter): place for place, voter in self._voters.items()}
        until_s, open_ = now_s() + ASK_S, set(asked)
        answers: dict[str, Answer] = {}
        missing = dict.fromkeys(self._voters, f"no answer within {ASK_S:.0f} s")
        while (
            open_ and sum(map(counts, answers.values())) < self._tenure.majority and (left_s := until_s - now_s()) > 0
        ):
            done, open_ = wait(open_, timeout=left_s, return_when=FIRST_COMPLETED)
            for future in done:
                place = asked[future]
                try:
                    answers[place] = future.result()
                    del missing[place]
                except NoVote as error:
                    missing[place] = str(error)
        return answers, missing
