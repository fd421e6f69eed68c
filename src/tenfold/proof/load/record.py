"""Counts and times every request of one process.

Stage: the crowd tells of each request that is due and of each end; the recorder turns them into a `Slice` each second
and, at the end, a `Tally`.
"""

from collections import Counter
from contextlib import suppress
from heapq import heappush, heapreplace
from itertools import count
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import perf_counter, process_time, time

from tenfold.proof.load.connection import Kind
from tenfold.proof.load.histogram import Histogram, added
from tenfold.proof.load.http1 import request_id
from tenfold.proof.load.result import EXAMPLES_MAX, FAILED_KINDS, Sample
from tenfold.proof.load.tally import PartTally, Slice, SocketsTally, Tally

_TIMED = frozenset({"2xx", "3xx", "4xx", "timeout"})


class PartBook:
    """The book of one action or step."""

    __slots__ = ("count", "failed", "refused", "response", "service")

    def __init__(self) -> None:
        self.count = self.failed = self.refused = 0
        self.response, self.service = Histogram(), Histogram()

    def ended(self, kind: Kind, response_s: float, service_s: float) -> None:
        """One of it has ended."""
        self.count += 1
        if kind in FAILED_KINDS:
            self.failed += 1
        elif kind == "4xx":
            self.refused += 1
        if kind in _TIMED:
            self.response.record(response_s)
            self.service.record(service_s)

    def tally(self) -> PartTally:
        """What came together."""
        return PartTally(self.count, self.failed, self.refused, self.response.counts, self.service.counts)


class SocketsBook:
    """The book of all WebSockets."""

    __slots__ = ("closed", "gap", "messages", "opened", "refused", "round_trip", "sent", "unanswered")

    def __init__(self) -> None:
        self.opened = self.closed = self.refused = 0
        self.sent = self.unanswered = self.messages = 0
        self.round_trip, self.gap = Histogram(), Histogram()

    def tally(self, users: int, down: int) -> SocketsTally:
        """What came together; who holds one now, and who has none and should."""
        return SocketsTally(
            users,
            down,
            self.opened,
            self.closed,
            self.refused,
            self.sent,
            self.unanswered,
            self.messages,
            self.round_trip.counts,
            self.gap.counts,
        )


class Recorder:
    """The book of one process. `began_s` is the start of the run on `perf_counter`.

    What became due before `judged_s` (the same, and `warm_up_s` later) is counted in the seconds alone.
    """

    def __init__(self, began_s: float, actions: int, steps: int, warm_up_s: float = 0.0) -> None:
        self.began_s = began_s
        self.judged_s = began_s + warm_up_s
        self.actions = [PartBook() for _ in range(actions)]
        self.steps = [PartBook() for _ in range(steps)]
        self.sockets = SocketsBook()
        self.received_bytes = 0
        self.resent = 0
        self._kinds: Counter[str] = Counter()
        self._early: Counter[str] = Counter()
        self._is_warm = warm_up_s <= 0
        self._examples: dict[str, list[Sample]] = {}
        self._slowest: list[tuple[float, int, Sample]] = []
        self._serial = count()
        self._lag = Histogram()
        self._due = 0
        self._started_at_s = time() + began_s - perf_counter()
        self._cpu_began_s = process_time()
        self._window = _Window(0, Counter())

    def due(self, lag_s: float | None) -> None:
        """A request has become due and is handed over to its connection now, so late by the clock; None where no clock but
        the answer before it made it due."""
        self._due += 1
        if lag_s is not None:
            self.lagged(lag_s)

    def lagged(self, lag_s: float) -> None:
        """Something that the clock made due was done so late."""
        self._window.lag.record(lag_s)

    def ended(
        self,
        name: str,
        part: int,
        kind: Kind,
        due_s: float,
        sent_s: float,
        now_s: float,
        status: int,
        head: bytes,
        detail: str,
    ) -> None:
        """A request has ended, in whatever way. `sent_s` is 0 if it was never written: it waited all its time for that."""
        self._kinds[kind] += 1
        response_s = now_s - due_s
        if kind in _TIMED:
            self._window.response.record(response_s)
        if due_s < self.judged_s:
            self._early[kind] += 1
            return
        service_s = now_s - (sent_s or due_s)
        self.steps[part].ended(kind, response_s, service_s)
        slowest = self._slowest
        if kind in _TIMED and (len(slowest) < EXAMPLES_MAX or response_s > slowest[0][0]):
            entry = (response_s, next(self._serial), self._sample(name, due_s, now_s, status, head, detail))
            heappush(slowest, entry) if len(slowest) < EXAMPLES_MAX else heapreplace(slowest, entry)
        if kind not in ("2xx", "3xx"):
            examples = self._examples.setdefault(kind, [])
            if len(examples) < EXAMPLES_MAX:
                examples.append(self._sample(name, due_s, now_s, status, head, detail))

    def close_second(self, index: int, in_flight: int, users: int) -> Slice:
        """End the current second and begin the next."""
        window, now_s = self._window, perf_counter()
        if self._is_warm:
            self._lag.add(window.lag.counts)
        self._is_warm = self._is_warm or now_s >= self.judged_s
        self._window = _Window(self._due, self._kinds.copy())
        return Slice(
            index=index,
            at_s=round(now_s - self.began_s, 3),
            due=self._due - window.due,
            kinds=dict(self._kinds - window.kinds),
            response=window.response.counts,
            lag=window.lag.counts,
            cpu_s=self._window.cpu_s - window.cpu_s,
            in_flight=in_flight,
            users=users,
        )

    def tally(self, unfinished: int, sockets: SocketsTally | None) -> Tally:
        """The whole run; call it once, after the last second was closed."""
        return Tally(
            started_at_s=round(self._started_at_s, 6),
            duration_s=round(perf_counter() - self.began_s, 3),
            cpu_s=process_time() - self._cpu_began_s,
            memory_bytes=_memory_peak_bytes(),
            due=self._due - self._early.total(),
            kinds=dict(self._kinds - self._early),
            unfinished=unfinished,
            resent=self.resent,
            received_bytes=self.received_bytes,
            # Each request is one of a step, so the steps' times together are those of all.
            response=added(step.response.counts for step in self.steps).counts,
            service=added(step.service.counts for step in self.steps).counts,
            lag=self._lag.counts,
            examples={kind: tuple(samples) for kind, samples in self._examples.items()},
            slowest=tuple(sample for _, _, sample in sorted(self._slowest, reverse=True)),
            actions=tuple(book.tally() for book in self.actions),
            steps=tuple(book.tally() for book in self.steps),
            sockets=sockets,
        )

    def _sample(self, name: str, due_s: float, now_s: float, status: int, head: bytes, detail: str) -> Sample:
        return Sample(
            request=name,
            due_s=round(due_s - self.began_s, 3),
            response_ms=round((now_s - due_s) * 1000, 3),
            status=status or None,
            request_id=request_id(head),
            detail=detail,
        )


def _memory_peak_bytes() -> int:
    """The most memory that this process held. What getrusage says counts, on Linux, from before the process became this program."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return getrusage(RUSAGE_SELF).ru_maxrss


class _Window:
    """What has come together since the last second was closed."""

    __slots__ = ("cpu_s", "due", "kinds", "lag", "response")

    def __init__(self, due: int, kinds: Counter[str]) -> None:
        self.due = due
        self.kinds = kinds
        self.cpu_s = process_time()
        self.response, self.lag = Histogram(), Histogram()
