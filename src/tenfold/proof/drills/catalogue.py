"""Every drill by name, and which of them a project can do. Model in, drills or the reasons against them out; pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tenfold.effects.faults import FillDisk, Freeze, Kill, Partition, Slow
from tenfold.model import Data, Model, Service
from tenfold.proof.drills.drill import CLIENTS, Act, Drill, Measure, Probe, Ship, Sickness, Strike, Surge

FREEZE_S = 10.0
REGION_S = 20.0
SPIKE_S = 30.0
SPIKE_TIMES = 5.0
SLOW_MS = 300.0
CONTROL_S = 5.0
SHIPS_S_MAX = 300.0
RECOVERY_S = 30.0
"""Within which a project that names no target for it is to recover."""
LATE_MS = 500.0
"""So much later than before may the slowest answers of a steady second be."""
CONTROL_AGE_S_MAX = 3.0

STEADY = (
    Probe(Measure.EDGE_STATUS, 200, 499),
    Probe(Measure.FAILED),
    Probe(Measure.LATE_MS, highest=LATE_MS),
    Probe(Measure.WRITE_FAILS),
    Probe(Measure.INSTANCES_MISSING),
    Probe(Measure.ENGINES_DOWN),
    Probe(Measure.REGIONS_OUT),
    Probe(Measure.SHIPPING),
    Probe(Measure.CONTROL_AGE_S, highest=CONTROL_AGE_S_MAX),
)
"""The steady state of every drill: clients are served, all that should run does, and nothing is on its way."""


@dataclass(frozen=True, slots=True)
class Means:
    """What can be done in a world: `is_simulated`; between regions there is a network that can be cut (`has_wan`) or at least a delay that
    can be made longer (`has_delay`); `disks` are the stores that have a file system of their own."""

    is_simulated: bool = False
    has_wan: bool = False
    has_delay: bool = False
    disks: frozenset[str] = frozenset()


SIMULATED = Means(is_simulated=True, has_wan=True, has_delay=True)


@dataclass(frozen=True, slots=True)
class Offer:
    """A drill that there is. `drill` is None when this project can't do it now; `why_not` says why, and what to do about it."""

    name: str
    line: str
    drill: Drill | None = None
    why_not: str = ""


class _Cannot(Exception):
    """This project can't do the drill; the text says why."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What drills are made for: `region` is where they strike (None: where each does by itself)."""

    model: Model
    means: Means
    region: str | None
    seconds: float | None

    @property
    def service(self) -> Service:
        """The service that clients meet."""
        services = [s for s in self.model.services.values() if s.http and s.runs_always]
        if not services:
            raise _Cannot("none of its services speaks HTTP, so that nobody outside could notice")
        return next((s for s in services if s.name == "web"), services[0])

    @property
    def data(self) -> Data:
        """Its embedded stores."""
        if self.model.data is None:
            raise _Cannot("the blueprint has no `data`, so there is no store")
        return self.model.data

    @property
    def pool(self) -> str:
        """Where an instance is chosen."""
        return f"{self.service.name}@{self.region or self.model.home}"

    @property
    def elsewhere(self) -> str:
        """The region that is struck: unless one is asked for, the last, and rather one without a store."""
        if not self.model.is_spread:
            raise _Cannot("it needs several regions, and the blueprint has one")
        without = [region for region in self.model.regions if region not in self.model.store_regions]
        return self.region or (without or list(self.model.regions))[-1]

    @property
    def recovery_s(self) -> float:
        return self.model.targets.recovery_s or RECOVERY_S

    def lasting(self, seconds: float) -> float:
        """How long the harm lasts: as was asked for, or `seconds`."""
        return seconds if self.seconds is None else self.seconds

    def store(self, kind: str, url: str | None) -> str:
        """The key of the embedded store `kind` that is primary now, as a subject."""
        if url:
            raise _Cannot(f"its {kind} is not run by Tenfold but reached by URL: strike it where it runs")
        return f"{kind}/"

    def drill(self, name: str, *acts: Act, seconds: float = 0.0, by: tuple[str, ...] = ("heal",)) -> Drill:
        """A drill with this project's bounds."""
        return Drill(name, LINES[name], STEADY, acts, seconds, by, recovery_s_max=self.recovery_s)


def drills_for(
    model: Model, means: Means = Means(), region: str | None = None, seconds: float | None = None
) -> tuple[Offer, ...]:
    """Every drill by its name, each ready to be run on `model` or with the reason why it can't be.

    `region` is where to strike (None: where each does by itself), `seconds` how long the harm lasts (None: as each does). A region that
    the model does not have is a `ValueError`.
    """
    if region is not None and region not in model.regions:
        raise ValueError(f"there is no region {region}; there are: {', '.join(model.regions)}")
    place = _Place(model, means, region, seconds)
    return tuple(_offer(name, place) for name in NAMES)


def _offer(name: str, place: _Place) -> Offer:
    try:
        return Offer(name, LINES[name], _MAKERS[name](place))
    except _Cannot as reason:
        return Offer(name, LINES[name], None, str(reason))


def _instance_kill(place: _Place) -> Drill:
    return _one_instance(place, place.drill("instance-kill", Strike(Kill(place.pool))))


def _instance_freeze(place: _Place) -> Drill:
    seconds = place.lasting(FREEZE_S)
    return _one_instance(
        place,
        place.drill("instance-freeze", Strike(Freeze(place.pool, seconds)), seconds=seconds, by=("heal", "route")),
    )


def _one_instance(place: _Place, drill: Drill) -> Drill:
    alone = place.service.scaling.instances_min < 2 and not place.model.is_spread
    return replace(drill, recovers=(*CLIENTS, Measure.INSTANCES_MISSING), failed_max=None if alone else 0)


def _region_kill(place: _Place) -> Drill:
    seconds = place.lasting(REGION_S)
    return _region(place, "region-kill", Strike(Kill(f"region/{place.elsewhere}", seconds)), seconds)


def _region_freeze(place: _Place) -> Drill:
    seconds = place.lasting(FREEZE_S)
    return _region(place, "region-freeze", Strike(Freeze(f"region/{place.elsewhere}", seconds)), seconds)


def _region_partition(place: _Place) -> Drill:
    seconds, region = place.lasting(REGION_S), place.elsewhere
    if not place.means.has_wan:
        raise _Cannot("it needs networks of their own for the regions: `tenfold up --wan` as root")
    return _region(place, "region-partition", Strike(Partition(region, seconds)), seconds)


def _region(place: _Place, name: str, act: Act, seconds: float) -> Drill:
    drill = place.drill(name, act, seconds=seconds, by=("failover", "route"))
    data, region = place.model.data, place.elsewhere
    if data is None or data.url or region not in place.model.store_regions:
        return drill
    if region != place.model.store_regions[0]:
        # A primary that must not acknowledge without its standby waits for it.
        return replace(drill, failed_max=None) if data.is_synchronous else drill
    # With the primary goes what is written there, until its standby is one.
    return replace(
        drill,
        failed_max=None,
        recovery_s_max=data.rto_s or place.recovery_s,
        loses=bool(data.replicas) and not data.is_synchronous,
    )


def _control_plane_kill(place: _Place) -> Drill:
    seconds = place.lasting(CONTROL_S)
    drill = place.drill("control-plane-kill", Strike(Kill("control")), seconds=seconds, by=())
    # With several regions one that stands by takes over; with one, somebody has to start it again.
    return replace(drill, recovers=(*CLIENTS, Measure.CONTROL_AGE_S), is_revived=not place.model.is_spread)


def _database_kill(place: _Place) -> Drill:
    subject = place.store("postgres", place.data.url)
    drill = place.drill("database-kill", Strike(Kill(subject)), by=("heal", "failover"))
    return replace(
        drill,
        recovers=(*CLIENTS, Measure.ENGINES_DOWN),
        failed_max=None,
        recovery_s_max=place.data.rto_s or place.recovery_s,
        loses=bool(place.data.replicas) and not place.data.is_synchronous,
    )


def _valkey_kill(place: _Place) -> Drill:
    drill = place.drill(
        "valkey-kill", Strike(Kill(place.store("valkey", place.data.valkey_url))), by=("heal", "failover")
    )
    return replace(drill, recovers=(*CLIENTS, Measure.ENGINES_DOWN), failed_max=None)


def _slow_network(place: _Place) -> Drill:
    seconds = place.lasting(REGION_S)
    if place.model.is_spread:
        if not place.means.has_delay:
            raise _Cannot("it needs a distance between the regions: `tenfold up --wan`")
        act = Strike(Slow(f"region/{place.elsewhere}", SLOW_MS, seconds))
        return place.drill("slow-network", act, seconds=seconds, by=("route", "failover"))
    if not place.means.is_simulated:
        raise _Cannot(
            "with one region there is no network to slow, and a single instance only the simulator can: --sim"
        )
    act = Strike(Slow(place.pool, SLOW_MS, seconds))
    return place.drill("slow-network", act, seconds=seconds, by=())


def _disk_full(place: _Place) -> Drill:
    seconds = place.lasting(FREEZE_S)
    key = place.store("postgres", place.data.url)
    where = f"postgres/{place.model.store_regions[0]}"
    if not place.means.is_simulated and where not in place.means.disks:
        raise _Cannot(
            f"the disk of {where} holds more than its data: mount a small file system (tmpfs) there, or use --sim"
        )
    drill = place.drill("disk-full", Strike(FillDisk(key, seconds)), seconds=seconds, by=("heal", "failover"))
    # Nobody can write before there is room again.
    recovery_s_max = seconds + place.recovery_s
    return replace(drill, recovers=(*CLIENTS, Measure.ENGINES_DOWN), recovery_s_max=recovery_s_max, failed_max=None)


def _traffic_spike(place: _Place) -> Drill:
    assert place.service, "raises when there is none"
    return place.drill("traffic-spike", Surge(SPIKE_TIMES), seconds=place.lasting(SPIKE_S), by=("scale",))


def _bad_release(place: _Place) -> Drill:
    assert place.service, "raises when there is none"
    acts = (Ship(Sickness.NEVER_HEALTHY), Ship(Sickness.ERRORS))
    drill = place.drill("bad-release", *acts, by=("release",))
    # What clients get of the second one before it is found out is told; that it is taken back is the point.
    return replace(drill, recovers=(*CLIENTS, Measure.SHIPPING), recovery_s_max=SHIPS_S_MAX, failed_max=None)


LINES: Mapping[str, str] = {
    "instance-kill": "an instance is killed with -9",
    "instance-freeze": "an instance hangs (SIGSTOP)",
    "region-kill": "all of a region is killed with -9, and stays dead for a while",
    "region-freeze": "all of a region hangs (SIGSTOP)",
    "region-partition": "a region is cut off from all others",
    "control-plane-kill": "the control plane is killed with -9",
    "database-kill": "PostgreSQL is killed with -9",
    "valkey-kill": "Valkey is killed with -9",
    "slow-network": "everything to a region takes 300 ms longer",
    "disk-full": "the disk under PostgreSQL is full",
    "traffic-spike": "five times the load at once",
    "bad-release": "two broken releases are shipped: one never gets healthy, one answers 500",
}

_MAKERS: Mapping[str, Callable[[_Place], Drill]] = {
    "instance-kill": _instance_kill,
    "instance-freeze": _instance_freeze,
    "region-kill": _region_kill,
    "region-freeze": _region_freeze,
    "region-partition": _region_partition,
    "control-plane-kill": _control_plane_kill,
    "database-kill": _database_kill,
    "valkey-kill": _valkey_kill,
    "slow-network": _slow_network,
    "disk-full": _disk_full,
    "traffic-spike": _traffic_spike,
    "bad-release": _bad_release,
}

NAMES = tuple(_MAKERS)
"""In the order in which they are listed."""
