"""What can go wrong in a false world, and when: harm (effects.faults) and the faults that only a simulation can make.

A subject may name a pool (`web@local`): then one of its living instances is chosen by the world's seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tenfold.effects.faults import Fault, FillDisk, Freeze, Kill, Lose, Partition, SkewClock, Slow


@dataclass(frozen=True, slots=True)
class ObserverOutage:
    """The observer of `source` can't see for `seconds`: it raises, and its old facts grow stale."""

    source: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ObserverStale:
    """The observer of `source` answers for `seconds` with the facts it had at first, their old `seen_at` included."""

    source: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ReceiptsLost:
    """For `seconds` orders are carried out and their receipts never come."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ReceiptsLate:
    """For `seconds` receipts come `late_s` after the deed."""

    late_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class OrdersDoubled:
    """For `seconds` every order is delivered twice."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RoutesRefused:
    """For `seconds` the gateway of `region` refuses every new table and goes on with its old one."""

    region: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The wall clock is set `by_s` ahead, or back when negative."""

    by_s: float


@dataclass(frozen=True, slots=True)
class ControlCrash:
    """The control plane is killed and comes back after `seconds`; the world goes on. Carried out by who runs the brain."""

    seconds: float = 2.0


WorldFault = (
    Fault
    | ObserverOutage
    | ObserverStale
    | ReceiptsLost
    | ReceiptsLate
    | OrdersDoubled
    | RoutesRefused
    | ClockJump
    | ControlCrash
)


@dataclass(frozen=True, slots=True)
class FaultSchedule:
    """`entries` are (elapsed seconds, fault) in the order of time."""

    entries: tuple[tuple[float, WorldFault], ...] = ()

    def between(self, after_s: float, until_s: float) -> tuple[WorldFault, ...]:
        """The faults due after `after_s` and not after `until_s`, in order."""
        return tuple(fault for at_s, fault in self.entries if after_s < at_s <= until_s)

    @classmethod
    def drawn(
        cls, seed: int | str, *, from_s: float, until_s: float, count: int, pools: Sequence[str], regions: Sequence[str]
    ) -> "FaultSchedule":
        """`count` faults of every kind at seeded moments between `from_s` and `until_s`; with several `regions` half of them strike
        a whole region, its network, its stores or who leads from there."""
        random = Random(f"faults/{seed}")
        at_s = sorted(random.uniform(from_s, until_s) for _ in range(count))
        return cls(tuple((at, _draw_any(random, pools, regions)) for at in at_s))


def _draw_any(random: Random, pools: Sequence[str], regions: Sequence[str]) -> WorldFault:
    if len(regions) > 1 and random.random() < 0.5:
        return _draw_wide(random, regions)
    return _draw(random, pools, regions)


def _draw_wide(random: Random, regions: Sequence[str]) -> WorldFault:
    region, seconds = random.choice(regions), random.uniform(1.0, 60.0)
    choices: tuple[WorldFault, ...] = (
        Kill(f"region/{region}", random.choice((0.0, seconds))),
        Freeze(f"region/{region}", seconds),
        Slow(f"region/{region}", random.uniform(20.0, 600.0), seconds),
        Lose(region, random.uniform(0.01, 0.3), seconds),
        Partition(region, seconds),
        FillDisk(f"{random.choice(('postgres', 'valkey'))}/{region}", seconds),
        SkewClock(f"region/{region}", random.uniform(-60.0, 60.0), seconds),
        Kill(f"{random.choice(('voter', 'control'))}/{region}"),
        Freeze(f"{random.choice(('voter', 'control', 'postgres', 'valkey', 'gateway'))}/{region}", seconds),
        Kill(f"entry/{regions[0]}"),
        ObserverOutage(random.choice(("entry", "links", "voter", "control")), seconds),
        ObserverStale(random.choice(("entry", "links", "voter", "control")), seconds),
        RoutesRefused("entry", seconds),
    )
    return random.choice(choices)


def _draw(random: Random, pools: Sequence[str], regions: Sequence[str]) -> WorldFault:
    pool, region = random.choice(pools), random.choice(regions)
    seconds = random.uniform(1.0, 30.0)
    source = random.choice(("process", "gateway", "postgres", "valkey"))
    engine = random.choice(("gateway", "postgres", "valkey"))
    choices: tuple[WorldFault, ...] = (
        Kill(pool),
        Kill(f"{engine}/{region}"),
        Freeze(pool, seconds),
        Slow(pool, random.uniform(50.0, 3000.0), seconds),
        ObserverOutage(source, seconds),
        ObserverStale(source, seconds),
        ReceiptsLost(seconds),
        ReceiptsLate(random.uniform(1.0, 20.0), seconds),
        OrdersDoubled(seconds),
        RoutesRefused(region, seconds),
        ClockJump(random.uniform(-30.0, 30.0)),
        ControlCrash(random.uniform(0.5, 20.0)),
    )
    return random.choice(choices)
