"""Kubernetes' HorizontalPodAutoscaler (autoscaling/v2), to compare with: the controller's own arithmetic on plain numbers.

Source: kubernetes/kubernetes, pkg/controller/podautoscaler (horizontal.go, replica_calculator.go, metrics/utilization.go), with the
defaults of pkg/apis/autoscaling/v2/defaults.go and config/v1alpha1/defaults.go, as of release 1.30. In its words:

    ratio    = use of the pods that have a metric / target              (1: exactly as meant)
    proposal = ceil(ratio * pods), or the current number while |1 - ratio| <= tolerance

Pods that are not ready count as idle when that makes it scale up less, and not at all when it scales down; pods without a metric as
idle, or as fully used. The largest proposal of several metrics counts. It is held up by a window of stabilisation each way, then by a
rate each way, then by the minimum and maximum.

Not as upstream: its feature gate for zero is off (the least is 1, and a pool at 0 is brought there), and a clock that is set back
begins anew, as a restart of the controller does. An HPA that has no `behavior` at all is bound by max(4, twice as many) at a look; here
the defaults of `behavior` count for it too, which allow one pod more from 1 or 3, and two from 2.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tenfold.deciders.memory import ScaleMemory
from tenfold.deciders.scale.triggers import count
from tenfold.effects import Decision
from tenfold.facts import InstanceSeen, InstanceState, Snapshot
from tenfold.model import Model, Release
from tenfold.sim.policies.pools import Choice, Pool, Truth, each_pool

SYNC_S = 15.0
"""`--horizontal-pod-autoscaler-sync-period`."""
TOLERANCE_RATIO = 0.1
"""`--horizontal-pod-autoscaler-tolerance`."""
CPU_INITIALIZATION_S = 300.0
"""`--horizontal-pod-autoscaler-cpu-initialization-period`: so long after its start a pod's processor time may still be start-up."""
READINESS_DELAY_S = 30.0
"""`--horizontal-pod-autoscaler-initial-readiness-delay`: a pod that turned unready so soon after its start was never ready."""
STABILISATION_S = 300.0
"""`--horizontal-pod-autoscaler-downscale-stabilization`."""
CPU_TARGET_RATIO = 0.8
"""`DefaultCPUUtilization`: what it aims at where no metric is named."""
RATE_WINDOW_S = 60.0
"""Requests/s are a mean over so long: `rate(...[1m])`, the shortest that scrapes each 15 s bear."""
CPU_WINDOW_S = 15.0
"""Processor time is a mean over so long: metrics-server's `--metric-resolution` in the manifest it is installed by."""
TARGET_RATIO = 0.7
"""Of what one instance holds, where nothing else is asked for."""
SYNCS_MAX = 40
"""So many syncs that were missed are caught up with; older ones are as if the controller had not run."""


class Select(StrEnum):
    """`selectPolicy`: of several policies the one that allows the largest change, the smallest, or no change at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """`HPAScalingPolicy`: no more than `value` pods (or `value` percent of them, `is_percent`) in `period_s`."""

    value: int
    period_s: float = SYNC_S
    is_percent: bool = False

    def __post_init__(self) -> None:
        if self.value <= 0 or self.period_s <= 0:
            raise ValueError("a policy of an HPA allows more than nothing in more than no time")

    @property
    def words(self) -> str:
        return f"{self.value}{'%' if self.is_percent else ''} in {self.period_s:g} s"


@dataclass(frozen=True, slots=True)
class Rules:
    """`HPAScalingRules` of one direction. `stabilisation_s` is how long a proposal binds those that come after it."""

    policies: tuple[RatePolicy, ...]
    stabilisation_s: float = 0.0
    select: Select = Select.MAX

    def __post_init__(self) -> None:
        if not self.policies:
            raise ValueError("the rules of an HPA need at least one policy; to forbid a direction, select Disabled")

    @property
    def period_s_max(self) -> float:
        return max(policy.period_s for policy in self.policies)


SCALE_UP = Rules((RatePolicy(4), RatePolicy(100, is_percent=True)))
"""`defaultHPAScaleUpRules`: 4 pods or as many again in 15 s, whichever is more, at once."""
SCALE_DOWN = Rules((RatePolicy(100, is_percent=True),), STABILISATION_S)
"""`defaultHPAScaleDownRules`: all of them, once no proposal of the last five minutes asked for more."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's target, relative to what one pod has or holds. `is_resource`: processor time or memory, which upstream reckons in whole
    percents, and for which a pod without a metric counts as using all it may when that keeps it from scaling down (of other metrics:
    as exactly at the target)."""

    target_ratio: float
    is_resource: bool = False

    def ratio(self, use_ratio: float) -> float:
        """How the use compares with the target; 1 is exactly as meant."""
        if self.is_resource:
            use_ratio = math.floor(use_ratio * 100 + 1e-9) / 100
        return use_ratio / self.target_ratio

    @property
    def missing_ratio(self) -> float:
        """What a pod without a metric is taken to use when that keeps it from scaling down."""
        return max(1.0, self.target_ratio) if self.is_resource else self.target_ratio


def replicas_for(
    metric: Metric,
    current: int,
    use_ratio: float | None,
    measured: int,
    unready: int = 0,
    missing: int = 0,
    tolerance_ratio: float = TOLERANCE_RATIO,
) -> int | None:
    """The number that one metric proposes (`GetResourceReplicas`, `GetMetricReplicas`); None where nothing was measured.

    `measured` pods use `use_ratio` of what they have on the mean; `unready` ones are not ready yet, of `missing` ones no metric arrived.
    """
    if use_ratio is None or measured <= 0 or not math.isfinite(use_ratio):
        return None
    ratio = metric.ratio(use_ratio)
    with_unready = unready > 0 and ratio > 1.0
    if not with_unready and not missing:
        return current if abs(1.0 - ratio) <= tolerance_ratio else _ceil(ratio * measured)
    total, counted = use_ratio * measured, measured
    if ratio < 1.0:
        total += missing * metric.missing_ratio
    if ratio != 1.0:
        counted += missing
    if with_unready:
        counted += unready
    again = metric.ratio(total / counted)
    if abs(1.0 - again) <= tolerance_ratio or ratio < 1.0 < again or again < 1.0 < ratio:
        return current
    proposed = _ceil(again * counted)
    turns = (again < 1.0 and proposed > current) or (again > 1.0 and proposed < current)
    return current if turns else proposed


def most_of(current: int, proposed: Iterable[int | None]) -> int | None:
    """What several metrics come to (`computeReplicasForMetrics`): the largest, but no fewer than `current` while one of them is missing;
    None where that leaves nothing to go by."""
    all_ = tuple(proposed)
    known = [number for number in all_ if number is not None]
    if not known or (len(known) < len(all_) and max(known) < current):
        return None
    return max(known)


class Hpa:
    """One HorizontalPodAutoscaler over time: proposals in, the number of pods out. Times are seconds on any clock."""

    def __init__(
        self,
        low: int = 1,
        high: int = 1_000_000,
        target_ratio: float = 0.7,
        *,
        is_resource: bool = False,
        tolerance_ratio: float = TOLERANCE_RATIO,
        up: Rules = SCALE_UP,
        down: Rules = SCALE_DOWN,
    ) -> None:
        """`low` and `high` bound the number, `target_ratio` is the use per pod that is aimed at, relative to what one has or holds.

        Raises `ValueError` where these leave no number, or aim at nothing.
        """
        if target_ratio <= 0:
            raise ValueError("the target of an HPA is more than nothing")
        self.metric = Metric(target_ratio, is_resource)
        self.tolerance_ratio, self.up, self.down = tolerance_ratio, up, down
        self._limited: tuple[str, int, int] | None = None
        self._at_s: float | None = None
        self._highest: deque[tuple[float, int]] = deque()
        self._lowest: deque[tuple[float, int]] = deque()
        self._changes: list[tuple[float, int]] = []
        self.bound(low, high)

    def bound(self, low: int, high: int) -> None:
        """From now on at least `low` pods (and at least one) and at most `high`."""
        self.low, self.high = max(1, low), high
        if self.high < self.low:
            raise ValueError(f"no number of pods is at least {self.low} and at most {high}")

    def desired(self, now_s: float, replicas: int, ready: int, *use_ratios: float | None, missing: int = 0) -> int:
        """How many pods there should be, given that `replicas` should be now and `ready` serve, which use `use_ratios` of what one has (one
        figure for each metric, a mean over the ready ones; None where it did not arrive). Of `missing` more no metric arrived.

        It looks every 15 s: a caller that asks more often gets what it gave, and one that asks less often gets every look that was due
        since, on the figures it has.
        """
        wanted = min(max(replicas, self.low), self.high)
        thought_of, proposed = -1, None
        for at_s in self._due(now_s):
            if wanted != thought_of:
                thought_of, proposed = wanted, self._proposed(wanted, ready, use_ratios, missing)
            wanted = self.sync(at_s, wanted, proposed)
        return wanted

    @property
    def limit(self) -> str:
        """What the last look made of its proposal, as a sentence; empty: nothing."""
        if self._limited is None:
            return ""
        by, number, asked = self._limited
        match by:
            case "window up":
                return f"the least of the last {self.up.stabilisation_s:g} s counts, not {asked}"
            case "window down":
                return f"the most of the last {self.down.stabilisation_s:g} s counts, not {asked}"
            case "most" | "least":
                return f"{number} is the {by} that is allowed, not {asked}"
            case _:
                rules = self.up if by == "rate up" else self.down
                return (
                    f"no faster than {' or '.join(policy.words for policy in rules.policies)}, so not {asked} at once"
                )

    def is_due(self, now_s: float) -> bool:
        """Whether it would look now."""
        return bool(self._due(now_s))

    def sync(self, now_s: float, current: int, proposed: int | None) -> int:
        """One look (`reconcileAutoscaler`): the number that comes of what is `proposed`, given `current`. None: nothing is known."""
        if self._at_s is not None and now_s < self._at_s:
            self._forget()
        if self._at_s is None:
            self._recommend(now_s, current)
        self._at_s, self._limited = now_s, None
        if current > self.high:
            wanted = self.high
        elif current < self.low:
            wanted = self.low
        elif proposed is None:
            return current
        else:
            wanted = self._rated(now_s, current, self._stabilised(now_s, current, proposed))
        if wanted != current:
            kept_s = max(self.up.period_s_max, self.down.period_s_max)
            self._changes = [(at_s, by) for at_s, by in self._changes if at_s > now_s - kept_s]
            self._changes.append((now_s, wanted - current))
        return wanted

    def _proposed(self, wanted: int, ready: int, use_ratios: Iterable[float | None], missing: int) -> int | None:
        # What was let go takes no more requests: those that stay bear all of it.
        measured = min(ready, wanted)
        scale = ready / measured if measured else 0.0
        rest = max(0, wanted - measured)
        unseen = min(missing, rest)
        proposed = [
            None
            if use is None
            else replicas_for(self.metric, wanted, use * scale, measured, rest - unseen, unseen, self.tolerance_ratio)
            for use in use_ratios
        ]
        return proposed[0] if len(proposed) == 1 else most_of(wanted, proposed)

    def _forget(self) -> None:
        self._at_s = None
        self._highest.clear()
        self._lowest.clear()
        self._changes.clear()

    def _due(self, now_s: float) -> Sequence[float]:
        if self._at_s is None or now_s < self._at_s:
            return (now_s,)
        count = int((now_s - self._at_s) / SYNC_S + 1e-9)
        first = max(1, count - SYNCS_MAX + 1)
        return [self._at_s + SYNC_S * i for i in range(first, count + 1)]

    def _recommend(self, now_s: float, proposed: int) -> None:
        """Remember a proposal. Both rows hold only what can still be the extreme of a window that ends later."""
        while self._highest and self._highest[-1][1] <= proposed:
            self._highest.pop()
        self._highest.append((now_s, proposed))
        while self._lowest and self._lowest[-1][1] >= proposed:
            self._lowest.pop()
        self._lowest.append((now_s, proposed))

    def _stabilised(self, now_s: float, current: int, proposed: int) -> int:
        """`stabilizeRecommendationWithBehaviors`: as near to `current` as the proposals of both windows allow."""
        self._recommend(now_s, proposed)
        # The newest is of now and always counts, also of a window of no length.
        while len(self._highest) > 1 and self._highest[0][0] <= now_s - self.down.stabilisation_s:
            self._highest.popleft()
        while len(self._lowest) > 1 and self._lowest[0][0] <= now_s - self.up.stabilisation_s:
            self._lowest.popleft()
        least, most = self._lowest[0][1], self._highest[0][1]
        stabilised = min(max(current, least), most)
        if stabilised != proposed:
            self._limited = ("window up" if proposed >= current else "window down", stabilised, proposed)
        return stabilised

    def _rated(self, now_s: float, current: int, stabilised: int) -> int:
        """`convertDesiredReplicasWithBehaviorRate`: no faster than the rules allow, and within the bounds."""
        if stabilised == current:
            return current
        if stabilised > current:
            allowed = max(current, self._allowed(now_s, current, self.up, 1))
            bound, by = (allowed, "rate up") if allowed < self.high else (self.high, "most")
            wanted = min(stabilised, bound)
        else:
            allowed = min(current, self._allowed(now_s, current, self.down, -1))
            bound, by = (allowed, "rate down") if allowed > self.low else (self.low, "least")
            wanted = max(stabilised, bound)
        if wanted != stabilised:
            self._limited = (by, bound, stabilised)
        return wanted

    def _allowed(self, now_s: float, current: int, rules: Rules, sign: int) -> int:
        """`calculateScaleUpLimitWithScalingRules` (sign 1) and `calculateScaleDownLimitWithBehaviors` (-1)."""
        if rules.select is Select.DISABLED:
            return current
        limits = []
        for policy in rules.policies:
            since_s = now_s - policy.period_s
            began = current - sum(by for at_s, by in self._changes if at_s > since_s)
            if not policy.is_percent:
                limits.append(began + sign * policy.value)
            elif sign > 0:
                limits.append(_ceil(began * (1 + policy.value / 100)))
            else:
                limits.append(int(began * (1 - policy.value / 100)))
        furthest = rules.select is Select.MAX
        return max(limits) if furthest == (sign > 0) else min(limits)


def _ceil(number: float) -> int:
    """Upstream counts in thousandths and whole percents: what lies a hair above a whole number is that number."""
    return math.ceil(number - 1e-9)


class _Mean:
    """A mean over the last `window_s`, of figures with their times."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        """Take a figure in; one that was there before, or is older than the newest, says nothing new."""
        if self._seen and at < self._seen[-1][0] - self._window_s:
            # The clock was set back.
            self._seen.clear()
        if not self._seen or at > self._seen[-1][0]:
            self._seen.append((at, value))

    def value(self, now: float) -> float | None:
        """The mean; None where nothing was seen for so long."""
        while self._seen and self._seen[0][0] <= now - self._window_s:
            self._seen.popleft()
        return sum(value for _, value in self._seen) / len(self._seen) if self._seen else None


@dataclass(slots=True)
class _Watched:
    """What one pool's autoscaler remembers: the controller's own state, and the figures that its metrics are means of."""

    hpa: Hpa
    rate: _Mean = field(default_factory=lambda: _Mean(RATE_WINDOW_S))
    cpu: dict[str, _Mean] = field(default_factory=dict)


class HpaScaler:
    """Chooses the numbers as an HPA for each pool would: by requests/s against what one instance holds, where that is known; else by
    processor time against an instance's cores, which are its request.

    It keeps its history itself, from call to call, as a controller that runs beside does: the simulator makes one for each run.
    """

    def __init__(self, truth: Truth | None = None, target_ratio: float | None = None) -> None:
        """`truth` tells what one instance holds; without, what was measured counts. Aims at `target_ratio` of it, or of the processor
        (default: 70% of what one holds, 80% of the processor)."""
        self._holds_per_s = truth.holds_per_s if truth is not None else {}
        self._target_ratio = target_ratio
        self._watched: dict[tuple[str, bool], _Watched] = {}

    def __call__(
        self, model: Model, release: Release, snapshot: Snapshot, memory: ScaleMemory
    ) -> tuple[ScaleMemory, tuple[Decision, ...]]:
        """The wanted number of every pool."""
        return each_pool(model, release, snapshot, memory, self._choose, self._holds_per_s)

    def _choose(self, pool: Pool) -> Choice | None:
        by_cpu = pool.holds_per_s is None or not pool.service.http
        low, high = pool.service.scaling.instances_min, pool.service.scaling.instances_max
        watched = self._watched.get((pool.key, by_cpu))
        if watched is None:
            target_ratio = self._target_ratio or (CPU_TARGET_RATIO if by_cpu else TARGET_RATIO)
            watched = _Watched(Hpa(low, max(1, high), target_ratio, is_resource=by_cpu))
            self._watched[pool.key, by_cpu] = watched
        watched.hpa.bound(low, max(1, high))
        if by_cpu:
            self._measure(watched, pool)
        elif pool.traffic is not None:
            watched.rate.add(pool.traffic.seen_at, pool.traffic.requests_per_s)
        if not watched.hpa.is_due(pool.now):
            return None
        return _by_cpu(watched, pool) if by_cpu else _by_rate(watched, pool)

    def _measure(self, watched: _Watched, pool: Pool) -> None:
        watched.cpu = {seen.id: watched.cpu.get(seen.id) or _Mean(CPU_WINDOW_S) for seen in pool.living}
        for seen in pool.living:
            if seen.cpu_cores is not None:
                watched.cpu[seen.id].add(seen.seen_at, seen.cpu_cores)


def _by_rate(watched: _Watched, pool: Pool) -> Choice:
    hpa, ready, holds = watched.hpa, len(pool.ready), pool.holds_per_s
    assert holds is not None
    rate = watched.rate.value(pool.now) if pool.traffic is not None else None
    use = rate / (ready * holds) if rate is not None and ready else None
    wanted = hpa.desired(pool.now, pool.wanted, ready, use)
    if use is None:
        return _blind(
            pool, wanted, "no instance is ready" if not ready else "the gateway's figures are missing or stale"
        )
    if wanted == pool.wanted:
        return Choice(wanted)
    figure = (
        f"{rate:.3g} requests/s are {use:.0%} of what {count(ready)} hold{'s' * (ready == 1)} ({holds:.3g} each), "
        f"{hpa.metric.target_ratio:.0%} are meant"
    )
    return _told(pool, wanted, figure, hpa.limit)


def _by_cpu(watched: _Watched, pool: Pool) -> Choice:
    hpa, used = watched.hpa, []
    missing = 0
    for seen in pool.living:
        cores = watched.cpu[seen.id].value(pool.now)
        if cores is None:
            missing += 1
        elif not is_unready(seen, pool.now):
            used.append(cores)
    use = sum(used) / len(used) / pool.service.instance.cpu_cores if used else None
    wanted = hpa.desired(pool.now, pool.wanted, len(used), use, missing=missing)
    if use is None:
        return _blind(pool, wanted, "no ready instance's processor time is known")
    if wanted == pool.wanted:
        return Choice(wanted)
    figure = (
        f"{count(len(used))} use{'s' * (len(used) == 1)} {use:.0%} of the processor, "
        f"{hpa.metric.target_ratio:.0%} are meant"
    )
    return _told(pool, wanted, figure, hpa.limit)


def is_unready(seen: InstanceSeen, now: float) -> bool:
    """Whether the processor time of an instance is not yet its load (`groupPods`): while it may still start up, unless it has been ready
    for as long as the figure covers; later, only if it was never ready."""
    is_ready = seen.state is InstanceState.READY
    if now - seen.started_at < CPU_INITIALIZATION_S:
        return not is_ready or seen.seen_at < seen.since + CPU_WINDOW_S
    return not is_ready and seen.since < seen.started_at + READINESS_DELAY_S


def _blind(pool: Pool, wanted: int, why: str) -> Choice:
    """No metric: the number stays, unless a bound has it otherwise."""
    return Choice(wanted, why) if wanted != pool.wanted else Choice(wanted, holding=why)


def _told(pool: Pool, wanted: int, figure: str, limit: str) -> Choice:
    return Choice(wanted, figure, (figure,), (limit,) if limit else ())
