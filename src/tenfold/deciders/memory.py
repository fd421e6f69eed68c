"""What deciders remember from tick to tick. Goes in, comes out, is journalled: nothing else is remembered anywhere.

Keys of pools are `service@region`, of lines (the instances of one release in a pool) `service@region/release`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tenfold.effects import Notify, Operation
from tenfold.facts import SpendSeen


class MemberState(StrEnum):
    """What is meant to happen to an instance: it is WANTED; it only finishes what it has (DRAINING);
    it was told to end (STOPPING)."""

    WANTED = "wanted"
    DRAINING = "draining"
    STOPPING = "stopping"


class Rung(StrEnum):
    """The rungs of the ladder by which what fails is mended, the cheapest first: RESTART it in its place, REPLACE it by a new one, MOVE
    what it should do to another region, ASK a person."""

    RESTART = "restart"
    REPLACE = "replace"
    MOVE = "move"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Member:
    """One instance that heal asked for or adopted. `since` is when it entered `state`, `ready_since` since when this run of it
    serves (None: not yet).

    `attempt` counts its starts, `restarts` those in its place since it last served for a while; `cause` is the rung that started it last
    (None: nothing had failed). `ended_at` is when its end was seen, and `ended_generation` which run that was, while its restart is due or
    under way. `is_ill` tells that it was told to end because it was ill, or that it is ill and left to the watch over its release.
    """

    service: str
    region: str
    release: str
    state: MemberState
    since: float
    asked_at: float
    ready_since: float | None = None
    attempt: int = 1
    restarts: int = 0
    cause: Rung | None = None
    ended_at: float | None = None
    ended_generation: int = 0
    is_ill: bool = False

    @property
    def was_ready(self) -> bool:
        return self.ready_since is not None

    @property
    def pool(self) -> str:
        return f"{self.service}@{self.region}"

    @property
    def line(self) -> str:
        return f"{self.service}@{self.region}/{self.release}"


@dataclass(frozen=True, slots=True)
class Try:
    """One thing that was tried: `subject` was started at `at` by `rung` (None: by nothing that had failed), and what that `gave`."""

    at: float
    rung: Rung | None
    subject: str
    gave: str


@dataclass(frozen=True, slots=True)
class Failures:
    """Consecutive failures of a line or an engine. No start before `next_start_at`;
    `last_note` is the last failure in words, `rung` the one it is on, and `tries` the last things that were tried, oldest first.

    `count` takes what served and ended again soon for a failure as well, `row` only starts on end that gave nothing."""

    count: int
    last_at: float
    next_start_at: float
    last_note: str
    gave_up: bool = False
    rung: Rung = Rung.RESTART
    tries: tuple[Try, ...] = ()
    row: int = 0


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """Starts of one engine so far, its failures in a row, and when of late it ended soon after a start, oldest first."""

    attempts: int
    asked_at: float
    failures: Failures | None = None
    flaps: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """Capacity that runs elsewhere for a line: so many instances `extra` by region, since when, and why."""

    since: float
    extra: Mapping[str, int]
    why: str


@dataclass(frozen=True, slots=True)
class Short:
    """A region in which nothing more can be started for now: since when, why, how often that was said, and when it is tried again."""

    since: float
    note: str
    count: int
    next_at: float


@dataclass(frozen=True, slots=True)
class HealMemory:
    """The fleet: members by instance id; the last number given to an instance, by service; failures by line;
    engines by key.

    `told` holds what was said once and need not be said each tick. `owed` are instances of a line that were lost and have not been
    replaced yet. `flaps` tells, by line, when instances of late ended soon after they had served; `spent`, by pool, when something was
    restarted, replaced or moved. `moves` are by line, `short` by region, `sure` is how sure each pool's number is (0..1; what is
    missing is sure). `away_at` is when what instances need was last away, by region, and for the stores under the empty name; and by
    line, when its instances last had more at hand than they are sized for.
    """

    members: Mapping[str, Member] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, Failures] = field(default_factory=dict)
    engines: Mapping[str, EngineMemory] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    owed: Mapping[str, int] = field(default_factory=dict)
    flaps: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    spent: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    moves: Mapping[str, Move] = field(default_factory=dict)
    short: Mapping[str, Short] = field(default_factory=dict)
    sure: Mapping[str, float] = field(default_factory=dict)
    away_at: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PoolScale:
    """How many instances a pool is meant to have, why, and what the triggers have shown.

    `high_since`/`low_since`: by trigger, the time of the first look of an unbroken row above / below its bound.
    `changed_at` is the last change of `wanted`, `troubled_at` the last time the pool could not serve. `holding` is
    why it does not scale down although it could. Of a pool that may sleep, `quiet_since` is since when nobody has wanted anything of it
    (None: somebody does, or it can't be told), and `woken_at` when it was woken, until an instance is ready. `refused` is what the budget
    refuses it, in words, and `refused_at` when it last did so. `raised_at` and `lowered_at` are when it last got more and fewer by its own
    choice, and `steady` how many the forecasts of the last minutes said to keep, by when they were made.
    """

    wanted: int
    why: str
    changed_at: float
    high_since: Mapping[str, float] = field(default_factory=dict)
    low_since: Mapping[str, float] = field(default_factory=dict)
    troubled_at: float | None = None
    holding: str = ""
    quiet_since: float | None = None
    woken_at: float | None = None
    refused: str = ""
    refused_at: float = 0.0
    raised_at: float | None = None
    lowered_at: float | None = None
    steady: tuple[tuple[float, int], ...] = ()

    @property
    def words(self) -> str:
        """What keeps it from another number, or else why it has this one."""
        return self.holding or (f"the budget refuses it more: {self.refused}" if self.refused else self.why)


@dataclass(frozen=True, slots=True)
class ScaleMemory:
    """PoolScale by pool, and under a budget that is enforced the last that was known of the month's cost."""

    pools: Mapping[str, PoolScale] = field(default_factory=dict)
    spend: SpendSeen | None = None


class Intent(StrEnum):
    """What people last asked for: nothing yet, run, or stop."""

    NONE = "none"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class ReleaseMemory:
    """What serves, what served before (oldest first), and the operation under way.

    While a new release is watched, `watched_well_s` is for how long on end it was seen well, `watched_ailing_s` for
    how long in all it was not; `watched_requests`/`watched_errors` count since the shift; `error_ratio` is the usual
    share of 5xx of what serves.
    """

    intent: Intent = Intent.NONE
    serving: str | None = None
    served: tuple[str, ...] = ()
    operation: Operation | None = None
    down_request: str | None = None
    up_request: str | None = None
    watched_at: float | None = None
    watched_requests: float = 0.0
    watched_errors: float = 0.0
    watched_well_s: float = 0.0
    watched_ailing_s: float = 0.0
    error_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class RouteMemory:
    """The digest of the table each region (and `entry`) should have, how many were published to it, and when.

    `pressed` are the pools that have more at hand than they are sized for: a second try would only add to it. `hedges` are the
    times after which the entry tries another region, in milliseconds, by `service/prefix`. `stores` are, by region, the stores
    that have answered its gateway since the project went up.
    """

    digests: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, int] = field(default_factory=dict)
    published_at: Mapping[str, float] = field(default_factory=dict)
    pressed: tuple[str, ...] = ()
    hedges: Mapping[str, float] = field(default_factory=dict)
    stores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class RegionState(StrEnum):
    """SERVING takes the traffic that is nearest to it; OUT takes none; RETURNING takes more and more of it again. DRAINED takes none
    because a person wished so."""

    SERVING = "serving"
    OUT = "out"
    RETURNING = "returning"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True)
class RegionMemory:
    """One region's health as it was judged. `since` is when it entered `state`; `signal` put it there, and `why` tells it in words.

    `is_hard` tells that it can't answer at all. `ailing_since`: by signal, since when it has shown without a break;
    `well_since` since when none has. `share_ratio` (0..1) is how much of what is meant for it a returning region takes.
    `outs` counts the times it was taken out in short order.
    """

    state: RegionState = RegionState.SERVING
    since: float = 0.0
    why: str = ""
    is_hard: bool = False
    ailing_since: Mapping[str, float] = field(default_factory=dict)
    well_since: float | None = None
    share_ratio: float = 1.0
    outs: int = 0
    signal: str = ""


@dataclass(frozen=True, slots=True)
class RegionsMemory:
    """RegionMemory by region, and what the ways of traffic rest on.

    `rtt_ms` is the settled round trip by link (`a>b`), `usual_ms` what it is when all is well. `demand_per_s` is the smoothed
    demand by origin, `room_per_s` what a region that was full could take. `ways` are the ratios by region, by
    `origin|residency` (no residency: `origin|`); `moved_at` is when they last changed and `why` says what moved and why;
    `looked_at` is when they were last thought over, `data_away_at` when a store's primary was last seen not to serve.
    """

    regions: Mapping[str, RegionMemory] = field(default_factory=dict)
    rtt_ms: Mapping[str, float] = field(default_factory=dict)
    usual_ms: Mapping[str, float] = field(default_factory=dict)
    demand_per_s: Mapping[str, float] = field(default_factory=dict)
    room_per_s: Mapping[str, float] = field(default_factory=dict)
    ways: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    moved_at: float = 0.0
    why: str = ""
    looked_at: float = 0.0
    data_away_at: float = 0.0


@dataclass(frozen=True, slots=True)
class DrainMemory:
    """The regions that people took out of service, and since when; and the requests to drain something (`web-3`, `region/west`) that are
    answered once it is done, by id."""

    regions: Mapping[str, float] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreMemory:
    """Where a store's primary is meant to be. `number` counts promotions; `lost_since` is since when the primary has not
    served, `apart_since` since when its standby has not followed it; `old` are regions whose store was primary before, is fenced,
    and has not followed the new one yet. `lag_s` and `is_synchronous` tell what the standby may lack, as seen at `well_at`, when the
    primary was last seen to serve."""

    primary: str
    number: int = 0
    lost_since: float | None = None
    promoting_since: float | None = None
    lag_s: float | None = None
    is_synchronous: bool = False
    old: tuple[str, ...] = ()
    told: str = ""
    has_served: bool = False
    apart_since: float | None = None
    well_at: float | None = None


@dataclass(frozen=True, slots=True)
class ScheduleMemory:
    """By scheduled service: the next time it is due (seconds since the epoch), and the task that ran last."""

    next_at: Mapping[str, float] = field(default_factory=dict)
    cron: Mapping[str, str] = field(default_factory=dict)
    last_task: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlertMemory:
    """One alert, by its key (`availability/critical`, `store/postgres`). `severity` is `critical` or `warning`.

    `pending_since` is since when its condition holds; it fires from `since` on (None: not yet). `well_since` is since when its
    condition does not hold any more, `blind_since` since when that can't be told. `text` says what is wrong, with figures. `answered_by`
    are the decisions that answered it, oldest first; `told` the rungs of the escalation that know of it.
    """

    severity: str
    text: str
    pending_since: float
    since: float | None = None
    well_since: float | None = None
    blind_since: float | None = None
    answered_by: tuple[str, ...] = ()
    told: tuple[int, ...] = ()

    @property
    def is_firing(self) -> bool:
        return self.since is not None


@dataclass(frozen=True, slots=True)
class Sending:
    """A notification that has not arrived yet: sent `attempts` times, last at `sent_at`; not again before `next_at`."""

    notify: Notify
    attempts: int = 0
    sent_at: float = 0.0
    next_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Act:
    """A decision that may answer an alert: its id, when it was made, its decider and its subject."""

    id: str
    at: float
    by: str
    subject: str


@dataclass(frozen=True, slots=True)
class AlertsMemory:
    """Alerts by key, as long as they fire or are about to; notifications under way by key; what was done in the last minutes,
    oldest first."""

    alerts: Mapping[str, AlertMemory] = field(default_factory=dict)
    sending: Mapping[str, Sending] = field(default_factory=dict)
    acts: tuple[Act, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """Everything deciders remember. `stores` are by kind (`postgres`, `valkey`).

    `decisions` counts the decisions made so far (their ids are `d1`, `d2`, ...); `sent` tells when an effect was last
    let through, by its key, for the last few seconds.
    """

    release: ReleaseMemory = ReleaseMemory()
    scale: ScaleMemory = ScaleMemory()
    heal: HealMemory = HealMemory()
    route: RouteMemory = RouteMemory()
    regions: RegionsMemory = RegionsMemory()
    stores: Mapping[str, StoreMemory] = field(default_factory=dict)
    schedule: ScheduleMemory = ScheduleMemory()
    alerts: AlertsMemory = AlertsMemory()
    drain: DrainMemory = DrainMemory()
    decisions: int = 0
    sent: Mapping[str, float] = field(default_factory=dict)
