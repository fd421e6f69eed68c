"""Counts and times every request, and judges whether the generator itself spoiled the figures.

Stage: the engine tells of each request that is due and of each end; the recorder turns them into `Second`s,
`Progress` and, at the end, the `LoadResult`.
"""

from collections import Counter
from heapq import heappop, heappush
from math import ceil
from time import perf_counter, process_time, time

from hdrh.histogram import HdrHistogram

from tenfold.proof.load.client import Exchange, Kind
from tenfold.proof.load.http1 import request_id
from tenfold.proof.load.plan import LoadPlan
from tenfold.proof.load.result import FAILED_KINDS, Latency, LoadResult, Outcome, Progress, Sample, Second

LAG_P99_MS_MAX = 10.0
"""Beyond it the generator was late so often that the course of the load is not the one that was planned."""
CPU_PERCENT_MAX = 80.0
"""Beyond it the generator's own queueing is part of the latencies. In percent of one core."""
EXAMPLES_MAX = 10

_LATENCY_US_MAX = 3_600_000_000
_ANSWERED = ("2xx", "3xx", "4xx", "5xx")
_TIMED = frozenset({"2xx", "3xx", "4xx", "timeout"})


class Histogram:
    """Latencies from 1 microsecond to 1 hour, exact to 3 digits (HdrHistogram), in about 190 KB."""

    __slots__ = ("_hdr",)

    def __init__(self) -> None:
        self._hdr = HdrHistogram(1, _LATENCY_US_MAX, 3)

    def record(self, latency_s: float) -> None:
        """Count one latency; above an hour it counts as an hour."""
        self._hdr.record_value(min(max(int(latency_s * 1e6), 0), _LATENCY_US_MAX))

    def percentiles_ms(self, *percentiles: float) -> tuple[float | None, ...]:
        """The latencies in ms that the given percentages of records do not exceed; None without records."""
        if not self._hdr.total_count:
            return (None,) * len(percentiles)
        found = self._hdr.get_percentile_to_value_dict(percentiles)
        return tuple(found[percentile] / 1000 for percentile in percentiles)

    def latency(self) -> Latency:
        """The distribution in figures."""
        mean_ms = self._hdr.get_mean_value() / 1000 if self._hdr.total_count else None
        p50, p90, p95, p99, p999, highest = self.percentiles_ms(50.0, 90.0, 95.0, 99.0, 99.9, 100.0)
        return Latency(self._hdr.total_count, mean_ms, p50, p90, p95, p99, p999, highest)


class Recorder:
    """The book of one run. Clocks start when it is made; `began_s` is that moment on `perf_counter`."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._kinds: Counter[str] = Counter()
        self._examples: dict[str, list[Sample]] = {}
        self._slowest: list[tuple[float, int, Sample]] = []
        self._response, self._service, self._lag = Histogram(), Histogram(), Histogram()
        self._seconds: list[Second] = []
        self._window = _Window(0.0, 0, Counter())
        self._due = 0
        self._started_at_s = time()
        self._cpu_began_s = self._window.cpu_s
        self.began_s = perf_counter()

    def due(self, exchange: Exchange) -> None:
        """A request has become due and is handed over to the client now."""
        lag_s = perf_counter() - exchange.due_s
        self._due += 1
        self._lag.record(lag_s)
        self._window.lags_s.append(lag_s)

    def ended(self, exchange: Exchange, kind: Kind, status: int, head: bytes, detail: str) -> None:
        """A request has ended, in whatever way."""
        now_s = perf_counter()
        self._kinds[kind] += 1
        response_s = now_s - exchange.due_s
        if kind in _TIMED:
            self._response.record(response_s)
            # A request that timed out while still connecting was never written: it waited all its time for that.
            self._service.record(now_s - (exchange.sent_s or exchange.due_s))
            self._window.responses_s.append(response_s)
            if len(self._slowest) < EXAMPLES_MAX or response_s > self._slowest[0][0]:
                sample = self._sample(exchange, now_s, status, head, detail)
                heappush(self._slowest, (response_s, self._kinds.total(), sample))
                if len(self._slowest) > EXAMPLES_MAX:
                    heappop(self._slowest)
        if kind not in ("2xx", "3xx"):
            examples = self._examples.setdefault(kind, [])
            if len(examples) < EXAMPLES_MAX:
                examples.append(self._sample(exchange, now_s, status, head, detail))

    def close_second(self, planned_rps: float, in_flight: int) -> Second:
        """End the current second, keep it and begin the next."""
        window = self._window
        now_s = perf_counter() - self.began_s
        kinds = self._kinds - window.kinds
        p50, p95, p99 = _percentiles_ms(window.responses_s, 50, 95, 99)
        (lag_p99,) = _percentiles_ms(window.lags_s, 99)
        self._window = _Window(now_s, self._due, self._kinds.copy())
        second = Second(
            at_s=round(now_s, 3),
            planned_rps=planned_rps,
            due=self._due - window.due,
            answered=_sum(kinds, _ANSWERED),
            failed=_sum(kinds, FAILED_KINDS),
            refused=kinds["4xx"],
            unsent=kinds["unsent"],
            in_flight=in_flight,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            lag_p99_ms=lag_p99,
            cpu_percent=round(100 * (self._window.cpu_s - window.cpu_s) / max(now_s - window.began_s, 1e-3), 1),
        )
        self._seconds.append(second)
        return second

    def progress(self, second: Second) -> Progress:
        """The totals, as of the second that has just been closed."""
        p50, p95, p99 = self._response.percentiles_ms(50.0, 95.0, 99.0)
        return Progress(
            elapsed_s=second.at_s,
            eta_s=round(max(0.0, self._plan.curve.duration_s - second.at_s), 3),
            sent=self._due - self._kinds["unsent"],
            answered=_sum(self._kinds, _ANSWERED),
            failed=_sum(self._kinds, FAILED_KINDS),
            refused=self._kinds["4xx"],
            unsent=self._kinds["unsent"],
            in_flight=second.in_flight,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            second=second,
        )

    def result(self, interrupted: bool, unfinished: int, resent: int, received_bytes: int) -> LoadResult:
        """The whole run; call it once, after the last second was closed."""
        duration_s = perf_counter() - self.began_s
        cpu_s = process_time() - self._cpu_began_s
        sent = self._due - self._kinds["unsent"]
        cpu_percent = round(100 * cpu_s / max(duration_s, 1e-3), 1)
        lag = self._lag.latency()
        return LoadResult(
            target=f"http://{self._plan.target.authority}",
            seed=self._plan.seed,
            started_at_s=round(self._started_at_s, 3),
            duration_s=round(duration_s, 3),
            interrupted=interrupted,
            invalid=_reasons(lag.p99_ms, cpu_percent, self._due, self._kinds["unsent"], interrupted),
            due=self._due,
            sent=sent,
            answered=_sum(self._kinds, _ANSWERED),
            failed=_sum(self._kinds, FAILED_KINDS),
            refused=self._kinds["4xx"],
            unsent=self._kinds["unsent"],
            unfinished=unfinished,
            resent=resent,
            received_bytes=received_bytes,
            response=self._response.latency(),
            service=self._service.latency(),
            lag=lag,
            cpu_percent=cpu_percent,
            cpu_us_per_request=round(cpu_s / sent * 1e6, 1) if sent else None,
            outcomes=tuple(
                Outcome(kind, count, kind in FAILED_KINDS, tuple(self._examples.get(kind, ())))
                for kind, count in sorted(self._kinds.items())
            ),
            slowest=tuple(sample for _, _, sample in sorted(self._slowest, reverse=True)),
            seconds=tuple(self._seconds),
        )

    def _sample(self, exchange: Exchange, now_s: float, status: int, head: bytes, detail: str) -> Sample:
        return Sample(
            request=exchange.request.name,
            due_s=round(exchange.due_s - self.began_s, 3),
            response_ms=round((now_s - exchange.due_s) * 1000, 3),
            status=status or None,
            request_id=request_id(head),
            detail=detail,
        )


class _Window:
    """What has come together since the last second was closed."""

    __slots__ = ("began_s", "cpu_s", "due", "kinds", "lags_s", "responses_s")

    def __init__(self, began_s: float, due: int, kinds: Counter[str]) -> None:
        self.began_s = began_s
        self.due = due
        self.kinds = kinds
        self.cpu_s = process_time()
        self.lags_s: list[float] = []
        self.responses_s: list[float] = []


def _reasons(lag_p99_ms: float | None, cpu_percent: float, due: int, unsent: int, interrupted: bool) -> tuple[str, ...]:
    """Why the figures can't be trusted, if so."""
    reasons: list[str] = []
    if not due and not interrupted:
        reasons.append("no request became due: ask for a higher rate or a longer time")
    if unsent:
        reasons.append(
            f"{unsent} of {due} requests could not be sent, for want of room in flight, descriptors or ports: "
            "ask for less, or for a shorter timeout"
        )
    if lag_p99_ms is not None and lag_p99_ms > LAG_P99_MS_MAX:
        reasons.append(
            f"the generator sent 1% of the requests over {lag_p99_ms:.1f} ms late (at most {LAG_P99_MS_MAX:g} ms is "
            "good): ask for less, or give it a core of its own"
        )
    if cpu_percent > CPU_PERCENT_MAX:
        reasons.append(
            f"the generator used {cpu_percent:.0f}% of its core (at most {CPU_PERCENT_MAX:g}% is good): ask for less"
        )
    return tuple(reasons)


def _sum(kinds: Counter[str], names: tuple[str, ...]) -> int:
    return sum(kinds[name] for name in names)


def _percentiles_ms(values_s: list[float], *percentiles: int) -> tuple[float | None, ...]:
    """Exact percentiles (nearest rank) of a second's values, in ms; None without values."""
    if not values_s:
        return (None,) * len(percentiles)
    values_s.sort()
    return tuple(round(values_s[ceil(len(values_s) * percentile / 100) - 1] * 1000, 3) for percentile in percentiles)
