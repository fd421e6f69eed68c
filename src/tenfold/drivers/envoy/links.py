"""Asks the way from each region's gateway to each other's, a few times a second. Stage: world -> facts.

The asking is done by the gateways themselves, over connections that they keep, so that what is measured is the way that
requests go: a probe is a request on a socket of the origin's gateway, which sends it on. That gateway also says how long
it took, since our own clock would count as distance whatever keeps this process busy.
"""

import asyncio
import contextlib
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

from tenfold.facts import LinkSeen

EVERY_S = 0.25
"""Between two probes of a pair, while there are so few pairs that all of them stay within PROBES_PER_S_MAX."""

PROBES_PER_S_MAX = 60.0
TIMEOUT_S = 1.0
COUNTED_MAX = 10
COUNTED_S = 10.0
SETTLED_S = 3.0

LATE_MS = 100.0
LATE_TIMES = 2.0
"""A probe is late that took so many times the usual, and LATE_MS more."""

USUAL_S = 300.0
USUAL_SPAN_S = 5.0
USUAL_ANSWERS_MIN = 5
"""The usual is what a quarter of the spans in USUAL_S stayed below by their medians, so that what has become slow stays late
for thrice as long as it was quick; before so many answers nothing is late."""

_TOOK = b"x-tenfold-took-us: "
_LENGTH = b"content-length: "


class Link:
    """What was measured between one pair of regions. Times are seconds of a clock that never jumps."""

    def __init__(self) -> None:
        self._probes: deque[tuple[float, float | None, bool]] = deque(maxlen=16)
        self._span: list[float] = []
        self._span_since_s = 0.0
        self._spans: deque[float] = deque(maxlen=int(USUAL_S / USUAL_SPAN_S))

    def take(self, at_s: float, rtt_ms: float | None) -> None:
        """Count a probe that ended at `at_s`: answered after `rtt_ms`, or not at all (None)."""
        usual_ms = self._usual_ms()
        is_late = rtt_ms is None or (usual_ms is not None and rtt_ms > LATE_TIMES * usual_ms + LATE_MS)
        self._probes.append((at_s, rtt_ms, is_late))
        if rtt_ms is None:
            return
        if at_s - self._span_since_s > USUAL_SPAN_S:
            if self._span:
                self._spans.append(statistics.median(self._span))
            self._span, self._span_since_s = [], at_s
        self._span.append(rtt_ms)

    def seen(self, origin: str, region: str, at_s: float, now: float) -> LinkSeen | None:
        """The fact at `at_s`, which is `now` since the epoch; None while nothing was asked lately."""
        counted = [probe for probe in self._probes if at_s - probe[0] <= COUNTED_S]
        if not counted:
            return None
        answered_ms = [rtt for asked_s, rtt, _ in counted if rtt is not None and at_s - asked_s <= SETTLED_S]
        counted = counted[-COUNTED_MAX:]
        return LinkSeen(
            origin=origin,
            region=region,
            # The origin's gateway may have ended since: what was measured ages from when it was.
            seen_at=now - (at_s - counted[-1][0]),
            probes=len(counted),
            rtt_ms=statistics.median(answered_ms) if answered_ms else None,
            late_ratio=sum(is_late for _, _, is_late in counted) / len(counted),
        )

    def _usual_ms(self) -> float | None:
        if self._spans:
            return sorted(self._spans)[len(self._spans) // 4]
        return statistics.median(self._span) if len(self._span) >= USUAL_ANSWERS_MIN else None


class _Connection(asyncio.Protocol):
    """A kept connection to a gateway's probe socket, for one question at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes | None] | None = None
        self._data = b""
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._settle(None)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if end and len(body) >= (_number(head, _LENGTH) or 0):
            self._settle(head)

    def ask(self, region: str) -> asyncio.Future[bytes | None]:
        """The head of the answer; None when the connection ended before it."""
        assert self._transport is not None
        self._data, self._answer = b"", asyncio.get_running_loop().create_future()
        self._transport.write(b"GET /%b HTTP/1.1\r\nhost: probe\r\n\r\n" % region.encode())
        return self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def _settle(self, head: bytes | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(head)


def _number(head: bytes, name: bytes) -> int | None:
    """The value of a header whose name, in small letters with colon and space, is `name`."""
    at = head.lower().find(name)
    digits = head[at + len(name) :].partition(b"\r\n")[0].strip() if at >= 0 else b""
    return int(digits) if digits.isdigit() else None


@dataclass(slots=True)
class _Origin:
    """One gateway that asks for us. `idle` are connections that nothing is asked on now, `check` asks whether it still lives."""

    socket: Path
    idle: list[_Connection] = field(default_factory=list)
    check: asyncio.Task[float | None] | None = None
    is_closed: bool = False

    async def ask(self, region: str) -> float | None:
        """Milliseconds to `region` and back; None when it did not answer. Raises OSError when this gateway can't be asked."""
        loop = asyncio.get_running_loop()
        while self.idle and not self.idle[-1].is_open:
            self.idle.pop()
        if self.idle:
            connection = self.idle.pop()
        else:
            _, connection = await loop.create_unix_connection(_Connection, str(self.socket))
        began_s, answer = loop.time(), connection.ask(region)
        try:
            # Not `wait_for`: an answer that lies in the socket when this process wakes from a long pause is an answer.
            await asyncio.wait({answer}, timeout=TIMEOUT_S)
        except asyncio.CancelledError:
            connection.close()
            raise
        head = answer.result() if answer.done() else None
        status = b"" if head is None else b"".join(head.split(b" ", 2)[1:2])
        if head is None or status != b"200" or self.is_closed:
            connection.close()
            if status == b"404":
                # It has not been told of that region, or this connection is older than what it was told.
                raise ConnectionError
            return None
        self.idle.append(connection)
        took_us = _number(head, _TOOK)
        return (loop.time() - began_s) * 1000 if took_us is None else took_us / 1000

    def close(self) -> None:
        """Hang up everywhere."""
        self.is_closed = True
        if self.check is not None:
            self.check.cancel()
        for connection in self.idle:
            connection.close()
        self.idle.clear()


class LinkProbes:
    """Observer of the ways between regions. `gateways` tells, by region, the probe sockets of the gateways that run."""

    source = "links"

    def __init__(self, gateways: Callable[[], Mapping[str, Path]]) -> None:
        self._gateways = gateways
        self._origins: dict[str, _Origin] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._asking: asyncio.Task[None] | None = None
        self._asked: set[asyncio.Task[None]] = set()

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Nobody is woken: how a link is shows over some probes, not in one."""

    async def observe(self) -> tuple[LinkSeen, ...]:
        """What is known of each pair by now; the first look begins the asking."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_forever(), name="ask the ways between regions")
        elif self._asking.done():
            asking, self._asking = self._asking, None
            asking.result()
        at_s, now = time.monotonic(), time.time()
        seen = (link.seen(origin, region, at_s, now) for (origin, region), link in self._links.items())
        return tuple(fact for fact in seen if fact is not None)

    async def close(self) -> None:
        """Ask no more."""
        tasks = {*self._asked, *([self._asking] if self._asking is not None else [])}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for origin in self._origins.values():
            origin.close()

    async def _ask_forever(self) -> None:
        while True:
            pairs = list(self._pairs())
            pause_s = EVERY_S if not pairs else max(EVERY_S / len(pairs), 1 / PROBES_PER_S_MAX)
            for origin, region in pairs:
                task = asyncio.create_task(self._probe(origin, region))
                self._asked.add(task)
                task.add_done_callback(self._asked.discard)
                await asyncio.sleep(pause_s)
            if not pairs:
                await asyncio.sleep(pause_s)

    def _pairs(self) -> Iterator[tuple[str, str]]:
        """All ordered pairs of the regions whose gateways run; the others are forgotten."""
        sockets = self._gateways()
        for region in self._origins.keys() - sockets.keys():
            self._origins.pop(region).close()
        for region, socket in sockets.items():
            self._origins.setdefault(region, _Origin(socket))
        pairs = tuple(permutations(sockets, 2))
        self._links = {pair: self._links.get(pair) or Link() for pair in pairs}
        yield from pairs

    async def _probe(self, origin: str, region: str) -> None:
        asker, link = self._origins.get(origin), self._links.get((origin, region))
        if asker is None or link is None:
            return
        # A gateway that can't be asked says nothing about the ways from it.
        with contextlib.suppress(OSError):
            rtt_ms = await asker.ask(region)
            if rtt_ms is not None or await self._lives(asker, origin):
                link.take(time.monotonic(), rtt_ms)

    async def _lives(self, asker: _Origin, origin: str) -> bool:
        """True when a gateway answers a question about itself: else it is frozen or dead, and not the way from it broken."""
        if asker.check is None or asker.check.done():
            asker.check = asyncio.create_task(asker.ask(origin))
        return await asyncio.shield(asker.check) is not None
