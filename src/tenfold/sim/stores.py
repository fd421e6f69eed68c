"""The data of a false world's stores: who is primary, who follows how far behind, and what of it was acknowledged and lost.

Data are a count of writes. A copy outlives the process that serves it (`world.engines` has that one): what was promoted stays
promoted, and what has parted stays parted, until it is told to follow again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tenfold.facts import ReplicaRole, ReplicaSeen

APPLY_S = 0.02
"""How far behind a standby is besides the way to it."""


@dataclass(slots=True)
class Copy:
    """The data of store `kind` in one region. `written` are the writes it holds, `acked` those of its clients' that it has
    acknowledged as a primary, both counted from the beginning of all timelines.

    `is_parted`: another was promoted beside it, so that what it acknowledges from now on is lost with it. `is_fenced`: it was stopped
    at once and may not take writes again. `lag_s` is None while a standby gets nothing. `promotions` is the number of its last one.
    """

    kind: str
    region: str
    role: ReplicaRole
    timeline: int = 1
    follows: str = ""
    is_synchronous: bool = False
    written: float = 0.0
    acked: float = 0.0
    per_s: float = 0.0
    is_parted: bool = False
    is_fenced: bool = False
    promotions: int = 0
    lag_s: float | None = None
    full_until_s: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.region}"


@dataclass(slots=True)
class Ledger:
    """The truth about one kind of store: writes acknowledged to clients, and of these: lost, or acknowledged by a primary that was
    one no longer (`split`, all of which are lost too)."""

    acked: float = 0.0
    lost: float = 0.0
    split: float = 0.0


class Stores:
    """All copies by key (`postgres/eu`), and a ledger by kind."""

    def __init__(self) -> None:
        self.copies: dict[str, Copy] = {}
        self.ledgers: dict[str, Ledger] = {}

    def of(self, kind: str) -> Iterator[Copy]:
        """The copies of one kind."""
        return (copy for copy in self.copies.values() if copy.kind == kind)

    def begin(self, kind: str, region: str, is_synchronous: bool) -> Copy:
        """The store of `region` starts without following anybody: with the data it has, as what it was, or empty as a primary."""
        copy = self.copies.get(f"{kind}/{region}")
        if copy is None:
            copy = self.copies[f"{kind}/{region}"] = Copy(kind, region, ReplicaRole.PRIMARY)
        copy.is_synchronous, copy.follows = is_synchronous, ""
        return copy

    def follow(self, kind: str, region: str, primary: Copy) -> Copy:
        """The store of `region` starts as a standby: with a copy of the primary's data, or wound back to where the two parted."""
        copy = self.copies.get(f"{kind}/{region}")
        if copy is None:
            copy = self.copies[f"{kind}/{region}"] = Copy(kind, region, ReplicaRole.STANDBY)
        copy.role, copy.follows, copy.timeline = ReplicaRole.STANDBY, primary.region, primary.timeline
        copy.written, copy.is_synchronous, copy.lag_s = primary.written, False, None
        copy.is_parted = copy.is_fenced = False
        return copy

    def promote(self, copy: Copy, number: int) -> None:
        """Make it the primary of a new timeline. What others acknowledged and it does not hold is lost."""
        copy.promotions = number
        for other in self.of(copy.kind):
            if other.role is ReplicaRole.PRIMARY and not other.is_parted:
                self.ledger(copy.kind).lost += max(0.0, other.acked - copy.written)
                other.is_parted = True
        copy.timeline = max(c.timeline for c in self.of(copy.kind)) + 1
        copy.role, copy.follows, copy.lag_s, copy.acked = ReplicaRole.PRIMARY, "", None, copy.written

    def ledger(self, kind: str) -> Ledger:
        """The truth about `kind`."""
        return self.ledgers.setdefault(kind, Ledger())

    def standbys(self, primary: Copy) -> list[Copy]:
        """Those that get the primary's writes now."""
        return [c for c in self.of(primary.kind) if c.follows == primary.region and c.lag_s is not None]

    def takes_writes(self, copy: Copy, now_s: float) -> bool:
        """Whether a copy whose process answers acknowledges a write now."""
        if copy.role is not ReplicaRole.PRIMARY or copy.full_until_s > now_s:
            return False
        return not copy.is_synchronous or bool(self.standbys(copy))

    def write(self, copy: Copy, count: float, seconds: float) -> None:
        """`count` writes are acknowledged by a primary within `seconds`."""
        ledger = self.ledger(copy.kind)
        copy.written += count
        copy.acked = copy.written
        copy.per_s += count / seconds
        ledger.acked += count
        if copy.is_parted:
            ledger.lost += count
            ledger.split += count

    def catch_up(self, copy: Copy, primary: Copy | None, rtt_ms: float) -> None:
        """One step of replication; `primary` is None when nothing of it arrives."""
        if primary is None or primary.role is not ReplicaRole.PRIMARY or primary.timeline < copy.timeline:
            copy.lag_s = None
            return
        copy.lag_s = APPLY_S + rtt_ms / 2000.0
        copy.timeline = primary.timeline
        behind = 0.0 if primary.is_synchronous else primary.per_s * copy.lag_s
        copy.written = max(copy.written, primary.written - behind)

    def seen(self, copy: Copy, at: float) -> ReplicaSeen:
        """The fact its driver would make."""
        if copy.role is ReplicaRole.STANDBY:
            follows = copy.follows if copy.lag_s is not None else ""
            return ReplicaSeen(copy.kind, copy.region, copy.role, at, copy.timeline, follows, lag_s=copy.lag_s)
        standbys = self.standbys(copy)
        outstanding = copy.per_s > 0 and not copy.is_synchronous
        lags_s = [(s.lag_s or 0.0) if outstanding else 0.0 for s in standbys]
        return ReplicaSeen(
            copy.kind,
            copy.region,
            copy.role,
            at,
            copy.timeline,
            standbys=tuple(sorted(s.region for s in standbys)),
            is_synchronous=copy.is_synchronous,
            lag_s=min(lags_s, default=None),
        )
