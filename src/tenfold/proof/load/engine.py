"""Carries out a load plan: sends each request when it is due, and tells how it goes.

Stage: `LoadPlan` in, `Progress` each second, `LoadResult` out. Only the arrivals are particular to the open model; the
client and the recorder do not know why a request became due.
"""

import asyncio
import gc
import socket
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate
from math import ceil
from random import Random
from time import perf_counter

from tenfold.proof.load.client import Client, Exchange
from tenfold.proof.load.curve import arrivals
from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.plan import LoadPlan, Request, Target, loopback_address
from tenfold.proof.load.record import Recorder
from tenfold.proof.load.result import LoadResult, Progress

_WATCH_S = 0.05
_BATCH = 64
"""How many overdue requests are sent in a row before answers are read again."""


async def run(
    plan: LoadPlan,
    on_progress: Callable[[Progress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> LoadResult:
    """Make the load, and wait for the last answers.

    `on_progress` is called each second, in this loop: it must not block. When `stop` is set the run ends within 0.1 s
    and returns what it has, marked `interrupted`; when the task is cancelled instead, it closes its connections and
    nothing is returned. Raises `LoadError` if the target's name can't be found.

    Python's collector is off meanwhile (its pauses would be in the figures), so give a long run a process of its own
    (`apart.run_apart`).
    """
    address = await _address(plan.target)
    with _collector_off():
        load = _Load(plan, address)
        pump = asyncio.create_task(load.pump())
        try:
            await load.watch(pump, on_progress, stop)
            return load.result(interrupted=stop is not None and stop.is_set())
        finally:
            pump.cancel()
            with suppress(asyncio.CancelledError):
                await pump
            await load.client.close()


class _Load:
    """One run."""

    def __init__(self, plan: LoadPlan, address: tuple[str, int]) -> None:
        self._plan = plan
        self._choose = _chooser(plan)
        self._segment_ends_s = plan.curve.ends_s()
        self._recorder = Recorder(plan)
        self.client = Client(address, plan.timeout_s, self._recorder.ended)

    async def pump(self) -> None:
        """Send every request when it is due, and last as long as the curve.

        The loop wakes at whole milliseconds, so a request goes out up to 1 ms late; never early, which would hide it.
        """
        began_s = self._recorder.began_s
        sent_in_a_row = 0
        for offset_s in arrivals(self._plan.curve, self._plan.spacing, self._plan.seed):
            due_s = began_s + offset_s
            while (wait_s := due_s - perf_counter()) > 0:
                sent_in_a_row = 0
                await asyncio.sleep(ceil(wait_s * 1000) / 1000)
            sent_in_a_row += 1
            if sent_in_a_row % _BATCH == 0:
                await asyncio.sleep(0)
            self._send(due_s)
        await asyncio.sleep(max(0.0, began_s + self._plan.curve.duration_s - perf_counter()))

    async def watch(
        self,
        pump: asyncio.Task[None],
        on_progress: Callable[[Progress], None] | None,
        stop: asyncio.Event | None,
    ) -> None:
        """End what waits too long, close each second, until all is sent and answered or `stop` is set."""
        next_second_s = 1.0
        while True:
            await asyncio.sleep(_WATCH_S)
            self.client.expire()
            ended = (pump.done() and self.client.in_flight == 0) or (stop is not None and stop.is_set())
            elapsed_s = perf_counter() - self._recorder.began_s
            if ended or elapsed_s >= next_second_s:
                middle_s = (next_second_s - 1.0 + elapsed_s) / 2
                next_second_s = int(elapsed_s) + 1.0
                second = self._recorder.close_second(self._planned_rps(middle_s), self.client.in_flight)
                if on_progress is not None:
                    on_progress(self._recorder.progress(second))
            if ended:
                break
        if pump.done():
            pump.result()

    def result(self, interrupted: bool) -> LoadResult:
        """What came of it."""
        client = self.client
        return self._recorder.result(interrupted, client.in_flight, client.resent, client.received_bytes)

    def _send(self, due_s: float) -> None:
        exchange = Exchange(*self._choose(), due_s)
        self._recorder.due(exchange)
        if self.client.in_flight < self._plan.in_flight_max:
            self.client.send(exchange)
        else:
            self._recorder.ended(
                exchange, "unsent", 0, b"", f"{self._plan.in_flight_max} requests were already in flight"
            )

    def _planned_rps(self, elapsed_s: float) -> float:
        """The rate of the curve at a moment; 0 after its end."""
        index = bisect_right(self._segment_ends_s, elapsed_s)
        segments = self._plan.curve.segments
        return segments[index].rate_rps if index < len(segments) else 0.0


def _chooser(plan: LoadPlan) -> Callable[[], tuple[Request, bytes]]:
    """Draws requests, with their bytes, by their weights."""
    drawn = tuple((request, request.rendered(plan.target)) for request in plan.mix.requests)
    bounds = list(accumulate(request.weight for request in plan.mix.requests))
    # Its own generator: another mix must not change the moments of arrival.
    random = Random(plan.seed + 1)
    last = len(drawn) - 1

    def choose() -> tuple[Request, bytes]:
        return drawn[min(bisect_right(bounds, random.random() * bounds[-1]), last)]

    return choose


async def _address(target: Target) -> tuple[str, int]:
    """The literal address to connect to, found before the clock runs."""
    loopback = loopback_address(target.host)
    if loopback is not None:
        return loopback, target.port
    try:
        found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise LoadError(f"the name {target.host} can't be found ({error}): check the address") from error
    return str(found[0][4][0]), target.port


@contextmanager
def _collector_off() -> Iterator[None]:
    """Switch Python's cyclic garbage collector off, and leave it as it was."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
