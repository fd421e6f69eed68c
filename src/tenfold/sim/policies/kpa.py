"""Knative's autoscaler (KPA), to compare with: the arithmetic of its source on plain numbers.

Source: knative/serving, pkg/autoscaler/scaling/autoscaler.go (the number), pkg/autoscaler/aggregation (the means),
pkg/reconciler/autoscaling/kpa/scaler.go (bounds and zero), with the defaults of pkg/autoscaler/config/config.go. In its words:

    stable = ceil(mean of requests at hand over the stable window / target)
    panic  = ceil(mean over the panic window / target)

each within `[floor(ready / max scale down rate), ceil(ready * max scale up rate)]`. While `panic / ready` is at or above the
threshold, and for a stable window after, the larger of the two counts and nothing goes. Its means are linear, as
`metric-aggregation-algorithm` has them by default.

Not as upstream: exactly one window after the last figure there is none (upstream sees zero for that one second, and would halve the
pool on figures that are missing), and a clock that is set back begins new windows.
"""

import math
from collections import deque

from tenfold.deciders.memory import ScaleMemory
from tenfold.deciders.scale.triggers import count
from tenfold.effects import Decision
from tenfold.facts import Snapshot
from tenfold.model import Model, Release
from tenfold.sim.policies.pools import Choice, Pool, Truth, each_pool

TICK_S = 2.0
"""`tickInterval`."""
STABLE_WINDOW_S = 60.0
"""`stable-window`."""
PANIC_WINDOW_RATIO = 0.1
"""`panic-window-percentage`, of the stable window."""
PANIC_THRESHOLD = 2.0
"""`panic-threshold-percentage`: needed instances over ready ones."""
TARGET_RATIO = 0.7
"""`container-concurrency-target-percentage`, of what one instance may have at hand."""
TARGET_MIN = 0.01
"""`autoscaling.TargetMin`, in requests at hand."""
SCALE_UP_RATE_MAX = 1000.0
"""`max-scale-up-rate`."""
SCALE_DOWN_RATE_MAX = 2.0
"""`max-scale-down-rate`."""
ZERO_GRACE_S = 30.0
"""`scale-to-zero-grace-period`."""
ANY = 0.001
"""Requests at hand where there are some, and nobody could count how many."""
TICKS_MAX = 16
"""So many ticks that were missed are caught up with: halved so often, nothing is left of any pool."""


class Means:
    """The mean of a figure over a window, in buckets of a second (`TimedFloat64Buckets`).

    Before the window is full the mean is over the part that is; where nothing was written lately, over what is not too old. Seconds in
    between that lack a figure count as zero.
    """

    def __init__(self, window_s: float) -> None:
        """`window_s` is rounded up to whole seconds."""
        self._buckets = [0.0] * max(1, math.ceil(window_s))
        self._first: int | None = None
        self._last = 0

    def record(self, second: int, value: float) -> None:
        """Add `value` to a second's bucket; one older than the window is passed over."""
        size = len(self._buckets)
        if self._first is None or second - self._last >= size:
            self._buckets = [0.0] * size
            self._first = self._last = second
        elif second > self._last:
            for skipped in range(self._last + 1, second + 1):
                self._buckets[skipped % size] = 0.0
            self._last = second
        elif self._last - second >= size:
            return
        self._first = min(self._first, second)
        self._buckets[second % size] += value

    def fill(self, since: int, second: int, value: float) -> None:
        """Record `value` for each second after `since`, up to `second`."""
        size = len(self._buckets)
        if second - since >= size:
            self._buckets = [value] * size
            self._first, self._last = second - size + 1, second
            return
        if self._first is None or since != self._last:
            for at in range(since + 1, second + 1):
                self.record(at, value)
            return
        for at in range(since + 1, second + 1):
            self._buckets[at % size] = value
        self._last = second

    def is_empty(self, second: int) -> bool:
        """Whether nothing was recorded within the window."""
        return self._first is None or second - self._last >= len(self._buckets)

    def mean(self, second: int) -> float:
        """The mean (`WindowAverage`), rounded down to a millionth as upstream does; 0 where there is nothing."""
        if self._first is None or self.is_empty(second):
            return 0.0
        size, late = len(self._buckets), max(0, second - self._last)
        outdated = sum(self._buckets[at % size] for at in range(self._last + 1, self._last + late + 1)) if late else 0.0
        covered = min(self._last - self._first + 1, size - late)
        return math.floor((sum(self._buckets) - outdated) / covered * 1e6) / 1e6


class Longest:
    """The largest of what was recorded within the delay of scale-down, in buckets of a tick (`max.TimeWindow`)."""

    def __init__(self, window_s: float) -> None:
        self._size = math.ceil(window_s / TICK_S)
        self._largest: deque[tuple[int, int]] = deque()

    def record(self, now_s: float, value: int) -> int:
        """Take `value` in, and give back the largest."""
        at = int(now_s / TICK_S)
        if self._largest and at < self._largest[-1][0]:
            self._largest.clear()
        while self._largest and self._largest[-1][1] <= value:
            self._largest.pop()
        while self._largest and at - self._largest[0][0] >= self._size:
            self._largest.popleft()
        if not self._largest or self._largest[-1][0] != at:
            self._largest.append((at, value))
        return self._largest[0][1]


class Kpa:
    """One autoscaler over time: requests at hand in, the number of instances out. Times are seconds on any clock."""

    def __init__(
        self,
        low: int = 0,
        high: int = 1_000_000,
        target: float = TARGET_RATIO * 100,
        *,
        stable_window_s: float = STABLE_WINDOW_S,
        panic_window_ratio: float = PANIC_WINDOW_RATIO,
        panic_threshold: float = PANIC_THRESHOLD,
        scale_up_rate_max: float = SCALE_UP_RATE_MAX,
        scale_down_rate_max: float = SCALE_DOWN_RATE_MAX,
        scale_down_delay_s: float = 0.0,
        zero_grace_s: float = ZERO_GRACE_S,
        activation_scale: int = 1,
    ) -> None:
        """`low` and `high` bound the number, `target` is how many requests at hand are meant for one instance.

        `activation_scale` is the least that a pool has which has any. Raises `ValueError` where the bounds leave no number, or a rate
        would never move it.
        """
        if scale_up_rate_max <= 1 or scale_down_rate_max <= 1:
            raise ValueError("the rates of a KPA are above 1: at 1 it never scales")
        self.target = max(TARGET_MIN, target)
        self.stable_window_s, self.panic_window_s = stable_window_s, max(1.0, stable_window_s * panic_window_ratio)
        self.panic_threshold, self.activation_scale = panic_threshold, activation_scale
        self.scale_up_rate_max, self.scale_down_rate_max = scale_up_rate_max, scale_down_rate_max
        self.zero_grace_s = zero_grace_s
        self._delay = Longest(scale_down_delay_s) if scale_down_delay_s > 0 else None
        self.panic_at_s: float | None = None
        """Since when it panics, as long as it does: then nothing goes."""
        self.panic_most = 0
        self.stable = self.panic = 0.0
        """The means it went by last, in requests at hand."""
        self._ticked_s: float | None = None
        self._called_s: float | None = None
        self._active_at_s: float | None = None
        self._idle_at_s: float | None = None
        self._begin_windows()
        self.bound(low, high)

    def bound(self, low: int, high: int) -> None:
        """From now on at least `low` instances and at most `high`."""
        self.low, self.high = max(0, low), high
        if self.high < self.low:
            raise ValueError(f"no number of instances is at least {self.low} and at most {high}")

    def desired(self, now_s: float, replicas: int, ready: int, in_flight: float | None) -> int:
        """How many instances there should be, given that `replicas` should be now and `ready` serve; `in_flight` is the mean number of
        requests at hand in all of them since the last call, None where that was not seen.

        It looks every 2 s: a caller that asks more often gets what it gave. Of one that asks less often what goes is gone meanwhile
        (so that it may halve more than once), and what comes is not there yet.
        """
        wanted = min(max(replicas, self.low), self.high)
        if self._called_s is not None and now_s < self._called_s:
            self._set_back(now_s)
        if self._called_s is None and ready > 1:
            # Upstream begins in panic where more than one runs: it knows no history, and keeps what is there until it does.
            self.panic_at_s, self.panic_most = now_s, ready
        self._record(now_s, in_flight)
        self._called_s = now_s
        ticks = 1 if self._ticked_s is None else int((now_s - self._ticked_s) / TICK_S + 1e-9)
        second = int(now_s)
        if ticks < 1:
            return wanted
        self._ticked_s = now_s
        if self._stable_means.is_empty(second):
            return wanted
        self.stable, self.panic = self._stable_means.mean(second), self._panic_means.mean(second)
        serving = ready
        for _ in range(min(ticks, TICKS_MAX)):
            before = wanted, serving
            wanted = min(max(self.scale(now_s, serving, self.stable, self.panic), self.low), self.high)
            serving = min(serving, wanted)
            if before == (wanted, serving):
                break
        return self._to_zero(now_s, wanted, min(max(replicas, self.low), self.high))

    def scale(self, now_s: float, ready: int, stable: float, panic: float) -> int:
        """One look (`autoscaler.Scale`), before the bounds: `stable` and `panic` are the means over the two windows."""
        serving = max(1, ready)
        most = math.ceil(self.scale_up_rate_max * serving)
        least = math.floor(serving / self.scale_down_rate_max)
        for_stable, for_panic = math.ceil(stable / self.target), math.ceil(panic / self.target)
        wanted = min(max(for_stable, least), most)
        wanted_in_panic = min(max(for_panic, least), most)
        if self.activation_scale > 1:
            wanted = max(wanted, self.activation_scale) if for_stable > 0 else wanted
            wanted_in_panic = max(wanted_in_panic, self.activation_scale) if for_panic > 0 else wanted_in_panic
        if for_panic / serving >= self.panic_threshold:
            self.panic_at_s = now_s
        elif self.panic_at_s is not None and self.panic_at_s + self.stable_window_s < now_s:
            self.panic_at_s, self.panic_most = None, 0
        if self.panic_at_s is not None:
            wanted = self.panic_most = max(wanted, wanted_in_panic, self.panic_most)
        return wanted if self._delay is None else self._delay.record(now_s, wanted)

    def _begin_windows(self) -> None:
        self._stable_means, self._panic_means = Means(self.stable_window_s), Means(self.panic_window_s)

    def _set_back(self, now_s: float) -> None:
        """The clock was set back: what was seen has no time any more, and nothing lies in the future."""
        self._begin_windows()
        self._ticked_s = self._called_s = None
        if self.panic_at_s is not None:
            self.panic_at_s = now_s
        self._active_at_s = None if self._active_at_s is None else min(self._active_at_s, now_s)
        self._idle_at_s = None if self._idle_at_s is None else min(self._idle_at_s, now_s)

    def _record(self, now_s: float, in_flight: float | None) -> None:
        second = int(now_s)
        since = second - 1 if self._called_s is None else int(self._called_s)
        if in_flight is not None and math.isfinite(in_flight) and second > since:
            self._stable_means.fill(since, second, in_flight)
            self._panic_means.fill(since, second, in_flight)

    def _to_zero(self, now_s: float, wanted: int, replicas: int) -> int:
        """`handleScaleToZero`: the last one goes once the pool was active for a stable window and then idle for the grace period."""
        if self._active_at_s is None:
            self._active_at_s = now_s
        if wanted > 0 or replicas == 0:
            if self._idle_at_s is not None and wanted > 0:
                self._active_at_s, self._idle_at_s = now_s, None
            return wanted
        if self._idle_at_s is None:
            if now_s - self._active_at_s < self.stable_window_s:
                return 1
            self._idle_at_s = now_s
        return 0 if now_s - self._idle_at_s >= self.zero_grace_s else replicas


class KpaScaler:
    """Chooses the numbers as a KPA for each pool would, by the requests at hand.

    70% of an instance's concurrency are meant for each, or the fewer that it has at hand when it bears 70% of what it holds, where that is
    known: an HPA is told what one holds too.
    It keeps its history itself, from call to call, as an autoscaler that runs beside does: the simulator makes one for each run. A service
    that does not listen has no requests, and keeps its minimum.
    """

    def __init__(self, truth: Truth | None = None) -> None:
        """`truth` tells how many requests are at hand in an instance at 70% of what it holds; without, its concurrency counts alone."""
        self._at_hand = truth.at_hand if truth is not None else {}
        self._kpas: dict[str, Kpa] = {}

    def __call__(
        self, model: Model, release: Release, snapshot: Snapshot, memory: ScaleMemory
    ) -> tuple[ScaleMemory, tuple[Decision, ...]]:
        """The wanted number of every pool."""
        return each_pool(model, release, snapshot, memory, self._choose, {})

    def _choose(self, pool: Pool) -> Choice:
        scaling = pool.service.scaling
        if not pool.service.http:
            return Choice(scaling.instances_min, "it does not listen, and requests are all a KPA goes by")
        kpa = self._kpas.get(pool.key)
        if kpa is None:
            kpa = self._kpas[pool.key] = Kpa()
        target = TARGET_RATIO * pool.service.instance.concurrency
        kpa.target = max(TARGET_MIN, min(target, self._at_hand.get(pool.service.name, target)))
        kpa.bound(scaling.instances_min, scaling.instances_max)
        in_flight = _at_hand(pool)
        wanted = kpa.desired(pool.now, pool.wanted, len(pool.ready), in_flight)
        if wanted == pool.wanted:
            return Choice(wanted, holding="" if in_flight is not None else "the gateway's figures are missing or stale")
        panics = ", and it panics: nothing goes" if kpa.panic_at_s is not None else ""
        figure = (
            f"{kpa.stable:.3g} requests at hand over {kpa.stable_window_s:g} s and {kpa.panic:.3g} over "
            f"{kpa.panic_window_s:g} s, {kpa.target:.3g} are meant for each of {count(len(pool.ready))}{panics}"
        )
        return Choice(wanted, figure, (figure,))


def _at_hand(pool: Pool) -> float | None:
    """The requests at hand in a pool, those that wait for its first instance included; None where that was not seen.

    While a pool sleeps the activator counts, and wakes it for any request, though that is long turned away at the next look.
    """
    if pool.traffic is None:
        return float(pool.waiting) if pool.waiting or not pool.wanted else None
    at_hand = pool.traffic.in_flight + pool.waiting
    return ANY if not at_hand and not pool.wanted and pool.traffic.requests_per_s > 0 else at_hand
