"""Adds up what the processes of a run say, and judges whether the generator itself spoiled the figures.

Stage: `Slice`s become `Second`s and `Progress`, `Tally`s the `LoadResult`.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tenfold.proof.load.curve import RateCurve
from tenfold.proof.load.histogram import Histogram, added
from tenfold.proof.load.result import (
    EXAMPLES_MAX,
    FAILED_KINDS,
    LoadResult,
    Outcome,
    Part,
    Progress,
    Sample,
    Second,
    SocketsPart,
)
from tenfold.proof.load.tally import PartTally, Slice, SocketsTally, Tally

LAG_P99_MS_MAX = 10.0
"""Beyond it the generator was late so often that the course of the load is not the one that was planned."""
CPU_PERCENT_MAX = 80.0
"""Beyond it the generator's own queueing is part of the latencies. In percent of one core, of the busiest process."""

_ANSWERED = ("2xx", "3xx", "4xx", "5xx", "answer")


@dataclass(frozen=True, slots=True)
class Outline:
    """What of a plan is needed to tell of its run: names, and the course of the open model's rate (None: closed model)."""

    target: str
    seed: int
    duration_s: float
    actions: tuple[str, ...]
    steps: tuple[str, ...]
    arrivals: RateCurve | None
    processes: int = 1


class Merger:
    """Adds up one run. `take` the slices as they come, of all processes; `on_progress` is told each second that all of them
    have closed; `result` when all have ended."""

    def __init__(self, outline: Outline, on_progress: Callable[[Progress], None] | None) -> None:
        self._outline = outline
        self._on_progress = on_progress
        self._slices: dict[int, dict[int, Slice]] = {}
        self._last: dict[int, Slice] = {}
        """By process. One that was held up closes several seconds as one: meanwhile its users are those it had."""
        self._reached = [-1] * outline.processes
        self._seconds: list[Second] = []
        self._kinds: Counter[str] = Counter()
        self._due = 0
        self._response = Histogram()
        self._ends_s = list(accumulate(s.duration_s for s in outline.arrivals.segments)) if outline.arrivals else []

    def take(self, process: int, piece: Slice) -> None:
        """A process has closed a second."""
        self._slices.setdefault(piece.index, {})[process] = piece
        self._reached[process] = piece.index
        self._close()

    def ended(self, process: int) -> None:
        """A process has closed its last second."""
        self._reached[process] = 1 << 60
        self._close()

    def _close(self) -> None:
        while self._slices and (index := min(self._slices)) <= min(self._reached):
            second = self._second(self._slices.pop(index))
            self._seconds.append(second)
            if self._on_progress is not None:
                self._on_progress(self._progress(second))

    def _second(self, by_process: dict[int, Slice]) -> Second:
        self._last |= by_process
        slices = list(by_process.values())
        kinds: Counter[str] = Counter()
        response, lag = Histogram(), Histogram()
        for piece in slices:
            kinds.update(piece.kinds)
            response.add(piece.response)
            lag.add(piece.lag)
            self._response.add(piece.response)
        due = sum(piece.due for piece in slices)
        self._kinds.update(kinds)
        self._due += due
        p50, p95, p99 = response.percentiles_ms(50.0, 95.0, 99.0)
        (lag_p99,) = lag.percentiles_ms(99.0)
        at_s = max(piece.at_s for piece in slices)
        before_s = self._seconds[-1].at_s if self._seconds else 0.0
        return Second(
            at_s=at_s,
            planned_rps=self._planned_rps((before_s + at_s) / 2),
            due=due,
            answered=_sum(kinds, _ANSWERED),
            failed=_sum(kinds, FAILED_KINDS),
            refused=kinds["4xx"],
            unsent=kinds["unsent"],
            in_flight=sum(piece.in_flight for piece in self._last.values()),
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            lag_p99_ms=lag_p99,
            cpu_percent=round(100 * sum(piece.cpu_s for piece in slices) / max(at_s - before_s, 1e-3), 1),
            users=sum(piece.users for piece in self._last.values()),
        )

    def _progress(self, second: Second) -> Progress:
        p50, p95, p99 = self._response.percentiles_ms(50.0, 95.0, 99.0)
        return Progress(
            elapsed_s=second.at_s,
            eta_s=round(max(0.0, self._outline.duration_s - second.at_s), 3),
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

    def _planned_rps(self, elapsed_s: float) -> float:
        """The rate of the open model's curve at a moment; 0 after its end, and in the closed model, which plans users."""
        if self._outline.arrivals is None:
            return 0.0
        index = bisect_right(self._ends_s, elapsed_s)
        segments = self._outline.arrivals.segments
        return segments[index].rate_rps if index < len(segments) else 0.0

    def result(self, tallies: Sequence[Tally], interrupted: bool) -> LoadResult:
        """The whole run, from what each process says of it."""
        kinds: Counter[str] = Counter()
        for tally in tallies:
            kinds.update(tally.kinds)
        due = sum(tally.due for tally in tallies)
        sent = due - kinds["unsent"]
        # The warm-up took its time too.
        all_sent = self._due - self._kinds["unsent"]
        duration_s = max(tally.duration_s for tally in tallies)
        cpu_s = sum(tally.cpu_s for tally in tallies)
        busiest = max(100 * tally.cpu_s / max(tally.duration_s, 1e-3) for tally in tallies)
        lag = added(tally.lag for tally in tallies).latency()
        response = added(tally.response for tally in tallies)
        outline = self._outline
        return LoadResult(
            target=outline.target,
            seed=outline.seed,
            started_at_s=min(tally.started_at_s for tally in tallies),
            duration_s=duration_s,
            interrupted=interrupted,
            invalid=_reasons(lag.p99_ms, busiest, due, kinds["unsent"], interrupted),
            due=due,
            sent=sent,
            answered=_sum(kinds, _ANSWERED),
            failed=_sum(kinds, FAILED_KINDS),
            refused=kinds["4xx"],
            unsent=kinds["unsent"],
            unfinished=sum(tally.unfinished for tally in tallies),
            resent=sum(tally.resent for tally in tallies),
            received_bytes=sum(tally.received_bytes for tally in tallies),
            response=response.latency(),
            service=added(tally.service for tally in tallies).latency(),
            lag=lag,
            cpu_percent=round(100 * cpu_s / max(duration_s, 1e-3), 1),
            cpu_us_per_request=round(cpu_s / all_sent * 1e6, 1) if all_sent else None,
            outcomes=tuple(
                Outcome(kind, count, kind in FAILED_KINDS, _examples(kind, tallies))
                for kind, count in sorted(kinds.items())
            ),
            slowest=tuple(
                sorted(
                    (sample for tally in tallies for sample in tally.slowest),
                    key=lambda sample: sample.response_ms,
                    reverse=True,
                )[:EXAMPLES_MAX]
            ),
            seconds=tuple(self._seconds),
            users=max((second.users for second in self._seconds), default=0),
            processes=outline.processes,
            memory_bytes=sum(tally.memory_bytes for tally in tallies),
            actions=_parts(outline.actions, [tally.actions for tally in tallies]),
            steps=_parts(outline.steps, [tally.steps for tally in tallies]),
            sockets=_sockets([tally.sockets for tally in tallies if tally.sockets is not None]),
            response_counts=response.counts,
        )


def _examples(kind: str, tallies: Sequence[Tally]) -> tuple[Sample, ...]:
    return tuple(sample for tally in tallies for sample in tally.examples.get(kind, ()))[:EXAMPLES_MAX]


def _parts(names: Sequence[str], tallies: Sequence[Sequence[PartTally]]) -> tuple[Part, ...]:
    """The parts by name: a step that stands in several actions is one part."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    parts: list[Part] = []
    for name, here in places.items():
        found = [tally[place] for tally in tallies for place in here]
        parts.append(
            Part(
                name,
                sum(part.count for part in found),
                sum(part.failed for part in found),
                sum(part.refused for part in found),
                added(part.response for part in found).latency(),
                added(part.service for part in found).latency(),
            )
        )
    return tuple(parts)


def _sockets(tallies: Sequence[SocketsTally]) -> SocketsPart | None:
    if not tallies:
        return None
    return SocketsPart(
        users=sum(tally.users for tally in tallies),
        down=sum(tally.down for tally in tallies),
        opened=sum(tally.opened for tally in tallies),
        closed=sum(tally.closed for tally in tallies),
        refused=sum(tally.refused for tally in tallies),
        sent=sum(tally.sent for tally in tallies),
        unanswered=sum(tally.unanswered for tally in tallies),
        messages=sum(tally.messages for tally in tallies),
        round_trip=added(tally.round_trip for tally in tallies).latency(),
        gap=added(tally.gap for tally in tallies).latency(),
    )


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
