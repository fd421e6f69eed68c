"""A service: what command runs, how it is known to be well, how many of it there may be. Nouns of the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tenfold.model.zones import DEFAULT_ZONE

KNOWN_TRIGGERS = ("concurrency", "cpu", "memory", "response_time", "concurrent_users", "capacity")
"""Triggers that Tenfold measures itself or knows the unit of;
any other name is a custom metric that the app posts."""
MEASURED_TRIGGERS = ("concurrency", "cpu", "memory", "response_time", "capacity")
"""Triggers that Tenfold measures itself; all others are what the app posts."""


@dataclass(frozen=True, slots=True)
class Health:
    """How an instance is known to be well.

    `path` is asked over HTTP and must answer 2xx; without one, an HTTP service must accept a connection and a
    background service must be alive. `healthy_after`/`unhealthy_after` count consecutive answers. An instance that is
    not ready `starts_within_s` after its start has failed to start.
    """

    path: str | None = None
    every_s: float = 5.0
    timeout_s: float = 2.0
    healthy_after: int = 2
    unhealthy_after: int = 3
    starts_within_s: float = 60.0


@dataclass(frozen=True, slots=True)
class InstanceSize:
    """What one instance may use: `cpu_cores`, `memory_bytes`, and `concurrency` requests at once."""

    cpu_cores: float = 1.0
    memory_bytes: int = 512 * 1024 * 1024
    concurrency: int = 80


@dataclass(frozen=True, slots=True)
class Trigger:
    """One reason to scale, per instance: above `up_above` adds, below `down_below` for `cooldown_s` lets go.

    Units by `metric`: concurrency and concurrent_users are counts, cpu and memory are ratios of the instance's size
    (0.8 is 80%), capacity is the ratio of requests/s to what `tenfold measure` found an instance to hold, response_time is
    milliseconds (mean), a custom metric is in the app's own unit.
    """

    metric: str
    up_above: float
    down_below: float
    cooldown_s: float = 300.0

    @property
    def is_posted(self) -> bool:
        """True for a metric that the app posts itself."""
        return self.metric not in MEASURED_TRIGGERS


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will be needed within `horizon_s` is kept; `confidence_ratio` (0..1) is how sure it should be that there is enough."""

    horizon_s: float = 600.0
    confidence_ratio: float = 0.95


DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_SETS = {"daily": (0, 1, 2, 3, 4, 5, 6), "weekdays": (0, 1, 2, 3, 4), "weekend": (5, 6)}
"""Words for several days of the week (0: Monday)."""


@dataclass(frozen=True, slots=True)
class Floor:
    """At least `instances` run, in each region, while the clock of `zone` (None: the service's) shows a time within these hours.

    They begin on `days` of the week (0: Monday) at `begins_minute` of the day, and end before `ends_minute`: of the day after where that
    is not later. Said as `weekdays 08:00-18:00 min 4`.
    """

    days: tuple[int, ...]
    begins_minute: int
    ends_minute: int
    instances: int
    zone: str | None = None

    def __str__(self) -> str:
        words = next((word for word, days in DAY_SETS.items() if days == self.days), None)
        words = words or ",".join(DAYS[day] for day in self.days)
        hours = "-".join(f"{at // 60:02}:{at % 60:02}" for at in (self.begins_minute, self.ends_minute))
        return " ".join(filter(None, (words, hours, f"min {self.instances}", self.zone)))


INSTANCES_MOST = 1000
"""No pool may have more."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many instances (`instances_min`..`instances_max`, per region) and what moves the number.

    With a minimum of 0 the last instance goes after `idle_s` without a request and without open sockets. `floors` raise the minimum at
    their hours, by the clock of `zone` where they name none.
    """

    instances_min: int = 1
    instances_max: int = 4
    triggers: tuple[Trigger, ...] = (
        Trigger("concurrency", up_above=60, down_below=30),
        Trigger("cpu", up_above=0.8, down_below=0.4, cooldown_s=240.0),
    )
    forecast: Forecast | None = None
    idle_s: float = 900.0
    floors: tuple[Floor, ...] = ()
    zone: str = DEFAULT_ZONE

    def clamp(self, instances: int) -> int:
        """`instances`, or the nearest number that is allowed."""
        return min(max(instances, self.instances_min), self.instances_max)


@dataclass(frozen=True, slots=True)
class Service:
    """One program of the app.

    `command` may hold `{port}` and `{host}`; it is run by a shell in the release's folder with `PORT` and `HOST` set.
    `build` and `release_hook` run once per release. `schedule` (cron, UTC) makes it a job instead of a running
    service. `http` tells that it listens; `paths` are the URL prefixes the edge sends to it. `drain_s` is how long
    requests at hand may take when an instance is let go. `is_sticky` keeps a browser at the region and the instance that
    answered it first, for as long as these serve. With a `tier` it is that tier's pool of another service: the same program on the
    same paths, of which that service alone is built and has the release hook.
    """

    name: str
    command: str
    build: str | None = None
    release_hook: str | None = None
    schedule: str | None = None
    http: bool = True
    paths: tuple[str, ...] = ()
    health: Health = Health()
    instance: InstanceSize = InstanceSize()
    scaling: Scaling = Scaling()
    env: Mapping[str, str] = field(default_factory=dict)
    drain_s: float = 30.0
    is_sticky: bool = False
    tier: str | None = None

    def of_tier(self, tier: str, scaling: Scaling) -> "Service":
        """The pool of `tier`, which has this `scaling`."""
        name = f"{self.name}-{tier}"
        return replace(self, name=name, tier=tier, scaling=scaling, build=None, release_hook=None)

    @property
    def base(self) -> str:
        """The service whose program it runs: the one whose pool of a tier it is, or itself."""
        return self.name if self.tier is None else self.name.removesuffix(f"-{self.tier}")

    @property
    def scaling_at(self) -> str:
        """Where a blueprint says its number: `services.web.scaling`."""
        return f"services.{self.base}.scaling" + (f".tiers.{self.tier}" if self.tier is not None else "")

    @property
    def runs_always(self) -> bool:
        """True for a service that keeps running, False for a scheduled job."""
        return self.schedule is None

    @property
    def is_behind_edge(self) -> bool:
        """True where the edge sends it requests."""
        return self.runs_always and self.http and bool(self.paths)

    @property
    def may_sleep(self) -> bool:
        """True where its last instance may go, since something wakes it: a request at the edge, or a metric that the app posts."""
        is_woken = self.is_behind_edge or any(trigger.is_posted for trigger in self.scaling.triggers)
        return self.runs_always and self.scaling.instances_min == 0 and is_woken
