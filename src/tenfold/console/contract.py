"""What the page and other programs get, as types: the JSON and its OpenAPI schema are both made from them. Stage: view -> whoever asks.

Times are seconds since the epoch, latencies milliseconds, ratios 0..1; a figure that is not known is null, never zero.
"""

from typing import Any, Literal

from msgspec import Struct, field


class Project(Struct, frozen=True):
    """What is run: `address` is the edge's base URL (empty: none yet), `console` this page's."""

    name: str
    environment: str
    address: str
    console: str
    version: str


class Health(Struct, frozen=True):
    """One look: is it well, what does it do, why. `troubles` are all that is amiss, the worst first."""

    is_well: bool
    sentence: str
    troubles: list[str]


class Summary(Struct, frozen=True):
    """The figures of all services in all regions together, over the last look. Percentiles are means of the services', weighted by
    requests. `connections` are those open at the gateways."""

    users: float | None
    users_are: Literal["measured", "open sockets", "requests at hand"]
    requests_per_s: float | None
    errors_per_s: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    cache_hit_ratio: float | None
    connections: int | None
    instances_ready: int
    instances_total: int


class TargetNow(Struct, frozen=True):
    """A target of the blueprint and how it stands now. `ratio_of_target` is measured / target (of availability: how much of the error
    budget is spent); `is_met` is null where a look can't tell. `how` says how it was measured."""

    name: str
    target_text: str
    measured_text: str | None
    ratio_of_target: float | None
    is_met: bool | None
    how: str


class Objective(Struct, frozen=True):
    """A service level objective: `burn` tells by window how fast its error budget is spent (1: exactly in `window_days`)."""

    name: str
    good_ratio: float
    budget_left_ratio: float
    burn: dict[str, float]
    window_days: int


class Alert(Struct, frozen=True):
    """An alert, and the decisions that answered it. One whose trouble has passed is shown a while longer and fires no more."""

    key: str
    severity: Literal["critical", "warning"]
    since: float
    text: str
    answered_by: list[str]
    is_firing: bool


class AnomalyNow(Struct, frozen=True):
    """A series that behaves as it has not before."""

    series: str
    value: float
    expected: float
    score: float
    since: float


class Cost(Struct, frozen=True):
    """What is spent, in `currency`, against the budget of a month."""

    per_hour: float
    month_so_far: float | None
    month_forecast: float | None
    budget_monthly: float | None
    currency: str
    alert_at_ratio: float | None
    prices_as_of: str


class Way(Struct, frozen=True):
    """`ratio` of a region's clients are served by region `to`."""

    to: str
    ratio: float


class GatewayNow(Struct, frozen=True):
    """A region's gateway."""

    state: str
    version: str


class RegionNow(Struct, frozen=True):
    """One region: how it is judged and why, what it answers, and by whom its clients are served (`ways`)."""

    name: str
    at: tuple[float, float] | None
    state: str
    since: float | None
    why: str
    users: float | None
    requests_per_s: float | None
    errors_per_s: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    capacity_users: int | None
    residency: str | None
    is_leading: bool
    gateway: GatewayNow | None
    instances_ready: int
    instances_total: int
    ways: list[Way]


class LinkNow(Struct, frozen=True):
    """The way between two regions: its round trip, and which part of the probes came late or not at all."""

    origin: str = field(name="from")
    to: str = field()
    rtt_ms: float | None
    late_ratio: float


class ServiceNow(Struct, frozen=True):
    """A service in a region: `why` tells why `wanted` instances are wanted; one that sleeps wants none. `cold_starts` woke it so far, for
    which requests waited `cold_wait_ms` (median and most; None: none did)."""

    name: str
    region: str
    wanted: int
    ready: int
    why: str
    requests_per_s: float | None
    errors_per_s: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    in_flight: float | None
    sockets: int | None
    cold_starts: int
    cold_wait_ms: tuple[float, float] | None


class InstanceNow(Struct, frozen=True):
    """One instance. `started_by` is the decision that started it, and `why` its reason."""

    id: str
    service: str
    region: str
    release: str
    state: str
    since: float
    started_at: float
    cpu_cores: float | None
    memory_bytes: int | None
    in_flight: int | None
    sockets: int | None
    note: str
    frozen: bool
    why: str
    started_by: str


class EngineNow(Struct, frozen=True):
    """One engine. `role` is what it does among its like (`primary`, `standby`, `leads`, `stands by`), `lag_s` how far it is behind."""

    key: str
    kind: str
    region: str
    state: str
    since: float
    version: str
    address: str
    role: str
    lag_s: float | None
    cpu_cores: float | None
    memory_bytes: int | None
    connections: int | None
    note: str


class StepNow(Struct, frozen=True):
    """One step of an operation."""

    name: str
    state: str


class OperationNow(Struct, frozen=True):
    """A deploy, a rollback or a first start that is under way."""

    kind: str
    release: str
    step: str | None
    is_undoing: bool
    steps: list[StepNow]
    why: str


class ReleaseNow(Struct, frozen=True):
    """What serves, what served before it, and what is on its way."""

    serving: str | None
    previous: str | None
    operation: OperationNow | None


class TenantNow(Struct, frozen=True):
    """A tenant whose place is known, and the region that serves it."""

    id: str
    region: str
    requests_per_s: float | None


class DecisionNow(Struct, frozen=True):
    """A decision, and how far it is: `done`, `pending`, or the worst of how its effects ended. `rejected` counts effects that another
    decision came before."""

    id: str
    at: float
    by: str
    subject: str
    why: str
    effects: list[str]
    outcome: str
    rejected: int


class State(Struct, frozen=True):
    """Everything of one moment. `live` tells that it is now, of a control plane that works."""

    seq: int
    at: float
    live: bool
    project: Project
    health: Health
    summary: Summary
    targets: list[TargetNow]
    objectives: list[Objective]
    alerts: list[Alert]
    anomalies: list[AnomalyNow]
    cost: Cost | None
    regions: list[RegionNow]
    links: list[LinkNow]
    services: list[ServiceNow]
    instances: list[InstanceNow]
    engines: list[EngineNow]
    release: ReleaseNow
    tenants: list[TenantNow] | None
    decisions: list[DecisionNow]


class EffectNow(Struct, frozen=True):
    """An effect of a decision, and how it ended: `outcome` is `pending` while it has not."""

    text: str
    outcome: str
    note: str
    at: float | None


class RejectionNow(Struct, frozen=True):
    """An effect that was turned down, and why."""

    effect: str
    why: str


class DecisionWhole(Struct, frozen=True):
    """A decision with all that is kept of it: the figures it rests on (`facts`), what each bound made of what was needed (`clamps`), how
    sure it was (`confidence_ratio`, 1 for what was seen), and what was seen of its subject then (`saw`)."""

    id: str
    at: float
    by: str
    subject: str
    why: str
    facts: list[str]
    clamps: list[str]
    confidence_ratio: float
    effects: list[EffectNow]
    rejected: list[RejectionNow]
    saw: dict[str, Any]


class SpanNow(Struct, frozen=True):
    """What time the journal covers; null while it is empty."""

    first_at: float | None
    last_at: float | None
    live: bool


class Alive(Struct, frozen=True):
    """Whether the loop works: `last_tick_s_ago` is null before the first tick."""

    ok: bool
    last_tick_s_ago: float | None


class Trouble(Struct, frozen=True):
    """Why it was not done, as a sentence that says what to do next."""

    error: str


class Requested(Struct, frozen=True):
    """A request that was handed in; ask `/api/requests/{id}` for its answer."""

    request: str


class AnswerNow(Struct, frozen=True):
    """How a request ended."""

    ok: bool
    text: str
    at: float


class RequestNow(Struct, frozen=True):
    """A request; `answer` is null while there is none."""

    id: str
    answer: AnswerNow | None


class DrainBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Take `subject` out of service gently: an instance (`web-3`) or a region (`region/west`); with `is_undo` a region is asked back."""

    subject: str
    is_undo: bool = False


class RollbackBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Go back to release `to`; null: to the one that served before."""

    to: str | None = None


class PurgeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Forget the answers kept for these paths."""

    paths: list[str]


class LoginBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The console's token (`tenfold console --token` shows it)."""

    token: str
