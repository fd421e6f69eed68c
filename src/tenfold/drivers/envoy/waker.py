"""The waker: holds requests to pools that sleep until an instance is ready, and tells at once that they came. Stage: world -> facts,
and effects -> world.

A gateway asks here, on a unix socket, about each request whose routes sleep (`render.envoy_sleep` says how), and the request waits for
the answer. It is let go on when the gateway has taken up a table in which its pool is awake; after as long as a start may take, or where
too many wait already, it is refused. A client that leaves ends its question, and is forgotten. Nothing of a request is read but whose
it is.
"""

import asyncio
import contextlib
import math
import resource
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from tenfold.facts import ColdStartSeen, ServedSeen
from tenfold.model import EndpointState, RouteTable
from tenfold.ports import Retryable
from tenfold.render.envoy_sleep import HELD_S_MAX, REFUSED

HELD_MAX = 500
"""So many requests wait for one pool; the next are refused."""
ASKING_MAX = 4000
"""Requests that wait for all pools together, where the descriptors of this process are enough."""
WAITS_KEPT = 1000
"""Figures are of so many waits, the newest."""
HEAD_BYTES_MAX = 128 * 1024
HEAD_S = 5.0
RETRY_AFTER_S = 5
HOPELESS = "This service slept, and no instance of it starts; try again in a few minutes.\n"


@dataclass(slots=True)
class _Door:
    """One pool: `is_open` once the gateway knows an instance of it (None: not known to us). `waiting` are the held requests, each with when
    it came, on a clock that never jumps."""

    is_open: bool | None = None
    waiting: dict["asyncio.Future[str]", float] = field(default_factory=dict)
    arrived_at: float = 0.0
    starts: int = 0
    held: int = 0
    refused: int = 0
    late: int = 0
    waits_s: deque[float] = field(default_factory=lambda: deque(maxlen=WAITS_KEPT))


class Waker:
    """Serves the gateways of all regions, on `socket`. What waited for longer than `within_ms` counts as late."""

    def __init__(self, socket: Path, within_ms: float | None = None) -> None:
        self.socket = socket
        self._within_s = math.inf if within_ms is None else within_ms / 1000
        self._doors: dict[tuple[str, str], _Door] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._starting = asyncio.Lock()
        self._wake: Callable[[], None] = lambda: None
        self._held_max = min(ASKING_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the first request came that waits for a pool."""
        self._wake = wake

    async def start(self) -> None:
        """Listen, once. What an earlier control plane held is lost with it. Raises `Retryable`."""
        async with self._starting:
            if self._server is not None:
                return
            try:
                self._server = await asyncio.start_unix_server(
                    self._accept, self.socket, limit=HEAD_BYTES_MAX, backlog=1024
                )
            except OSError as error:
                why = f"{self.socket}, where sleeping services are woken, can't be opened ({error.strerror}): look who owns it."
                raise Retryable(why) from error

    async def close(self) -> None:
        """Let go of the gateways; what is held gets no answer from us, and its client a 503."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            for task in tuple(self._asking):
                task.cancel()
            if self._asking:
                await asyncio.wait(tuple(self._asking), timeout=1.0)

    def shut(self, table: RouteTable) -> None:
        """The gateway is about to be led to `table`: from now on whoever asks for what sleeps in it waits."""
        for service in table.services:
            if service.is_asleep:
                self._door(table.region, service.service).is_open = False

    def open(self, table: RouteTable) -> None:
        """The gateway runs `table`: what waits for a pool that is awake in it goes on. Nobody waits where none is to be hoped for."""
        for service in table.services:
            if service.may_sleep:
                self._door(table.region, service.service)
        known = {service.service: service for service in table.services}
        for (region, name), door in self._doors.items():
            if region != table.region or (name in known and known[name].is_asleep):
                continue
            endpoints = known[name].endpoints if name in known else ()
            self._opened(door, is_served=any(e.state is EndpointState.SERVING for e in endpoints))

    def facts(self, now: float) -> tuple[ColdStartSeen, ...]:
        """Of each pool that some request waited for, as it is at `now` (seconds since the epoch)."""
        return tuple(self._seen(*key, door, now) for key, door in sorted(self._doors.items()) if door.arrived_at > 0)

    def served(self, seen: ServedSeen) -> ServedSeen:
        """With what Envoy's own counts of a region leave out: requests that were turned away here failed, and what waited is late."""
        mine = [door for (region, _), door in self._doors.items() if region == seen.edge]
        refused, late = sum(door.refused for door in mine), sum(door.late for door in mine)
        if not refused and not late:
            return seen
        return replace(seen, requests=seen.requests + refused, failed=seen.failed + refused, late=seen.late + late)

    def _door(self, region: str, service: str) -> _Door:
        return self._doors.setdefault((region, service), _Door())

    def _opened(self, door: _Door, is_served: bool) -> None:
        door.is_open = True
        if not door.waiting:
            return
        waits_s = [time.monotonic() - since_s for since_s in door.waiting.values()]
        if is_served:
            door.starts += 1
            door.held += len(waits_s)
            door.waits_s.extend(waits_s)
            door.late += sum(wait_s > self._within_s for wait_s in waits_s)
        else:
            door.refused += len(waits_s)
        for answer in door.waiting:
            if not answer.done():
                answer.set_result("" if is_served else HOPELESS)
        door.waiting.clear()

    def _seen(self, region: str, service: str, door: _Door, now: float) -> ColdStartSeen:
        return ColdStartSeen(
            service=service,
            region=region,
            seen_at=now,
            waiting=len(door.waiting),
            arrived_at=door.arrived_at,
            starts=door.starts,
            held=door.held,
            refused=door.refused,
            wait_ms_p50=round(median(door.waits_s) * 1000, 1) if door.waits_s else None,
            wait_ms_max=round(max(door.waits_s) * 1000, 1) if door.waits_s else None,
        )

    # --- one request ---------------------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._asking.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # It left, or is no gateway.
        except asyncio.CancelledError:
            pass  # We end, and this with us.
        finally:
            self._asking.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
        asked = _asked(head)
        if asked is None:
            writer.write(_answer(400, "This is where gateways ask for services that sleep.\n"))
        else:
            refusal = await self._held(*asked, reader)
            if refusal is None:
                return
            writer.write(_answer(REFUSED if refusal else 200, refusal))
        await writer.drain()

    async def _held(self, region: str, service: str, held_s: float, reader: asyncio.StreamReader) -> str | None:
        """Wait until the pool is awake: then empty. Why not, where it is not; None where the client left."""
        door = self._door(region, service)
        if door.is_open:
            return ""
        is_first = not door.waiting
        door.arrived_at = time.time()
        if len(door.waiting) >= HELD_MAX or len(self._asking) > self._held_max:
            door.refused += 1
            return "This service sleeps, and as many requests as may wait for it do so already; try again in a few seconds.\n"
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        door.waiting[answer] = time.monotonic()
        if is_first:
            self._wake()
        left = asyncio.ensure_future(reader.read(1))
        try:
            either: set[asyncio.Future[Any]] = {answer, left}
            await asyncio.wait(either, timeout=held_s, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if left.done():
                return None
            door.refused += 1
            return f"This service sleeps, and no instance of it was ready within {held_s:g} s; try again in a few seconds.\n"
        finally:
            door.waiting.pop(answer, None)
            left.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await left


def _asked(head: bytes) -> tuple[str, str, float] | None:
    """Region, service, and how long a request to it may wait; None where that is not what was asked."""
    parts = head.split(b" ", 2)
    places = parts[1].decode("latin-1").split("/", 4) if len(parts) > 2 else []
    if len(places) < 4 or places[0]:
        return None
    try:
        held_s = float(places[3])
    except ValueError:
        return None
    return places[1], places[2], min(max(held_s, 0.0), HELD_S_MAX)


def _answer(status: int, body: str) -> bytes:
    more: Iterable[str] = (f"retry-after: {RETRY_AFTER_S}", "content-type: text/plain; charset=utf-8") if body else ()
    lines = (f"HTTP/1.1 {status} -", f"content-length: {len(body.encode())}", "connection: close", *more)
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
