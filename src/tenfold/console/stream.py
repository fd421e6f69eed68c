"""Tells every page that looks on what changed, within a moment of the tick. Stage: tick -> server-sent events.

A state is made once a tick, whoever and however many look on, and only while somebody does; what goes out is what changed of it. A
client that does not take its events in time is let go: it comes back and gets the whole state.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import msgspec

from tenfold.console.archive import Busy
from tenfold.console.contract import State
from tenfold.loop import JournalError

log = logging.getLogger(__name__)

SPACING_S = 0.2
"""Events are no closer than this: ticks that follow wake-ups come every 30 ms."""
PULSE_S = 1.0
"""Without a tick for this long it is looked whether something is wrong."""
BEHIND_MAX = 8
"""Events that may wait for a client; one more and it is let go."""
CLIENTS_MAX = 2000

Parts = dict[str, bytes]
"""A state by its top-level keys, each as JSON."""


def parts_of(state: State) -> Parts:
    """Each top-level key as JSON."""
    return {name: msgspec.json.encode(getattr(state, name)) for name in State.__struct_fields__}


def joined(parts: Parts) -> bytes:
    """The JSON object of these parts."""
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in parts.items()) + b"}"


def changed(before: Parts, after: Parts) -> Parts:
    """The keys that differ, with `seq` and `at`; empty when nothing else does."""
    differing = {name: value for name, value in after.items() if before.get(name) != value}
    if differing.keys() <= {"seq", "at"}:
        return {}
    return {"seq": after["seq"], "at": after["at"], **differing}


def event(name: str, data: bytes) -> bytes:
    """One server-sent event. `data` is JSON, which has no line breaks."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)


class Client:
    """One page that looks on: `queue` holds events to send, None at the end."""

    def __init__(self, let_go: Callable[[], None]) -> None:
        """`let_go` cuts the connection, whatever it is waiting for."""
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._let_go = let_go

    def offer(self, data: bytes) -> bool:
        """Have `data` sent; False when too much waits already: then the client is let go."""
        if self.queue.qsize() >= BEHIND_MAX:
            self._let_go()
            return False
        self.queue.put_nowait(data)
        return True

    async def next(self, beat_s: float) -> bytes | None:
        """What to send next: an event, a comment when there is none for `beat_s`, None at the end."""
        try:
            async with asyncio.timeout(beat_s):
                return await self.queue.get()
        except TimeoutError:
            return b": it lives\n\n"

    def end(self, last: bytes) -> None:
        """Send `last`, and no more."""
        self.queue.put_nowait(last)
        self.queue.put_nowait(None)


class Stream:
    """Makes the state from `look` when woken, and sends every client what changed."""

    def __init__(self, look: Callable[[], Awaitable[State | None]]) -> None:
        """`look` gives the state of now; None before the first tick. It may raise `JournalError`: then the last state stays."""
        self._look = look
        self._clients: set[Client] = set()
        self._woken = asyncio.Event()
        self._parts: Parts = {}
        self._task: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(_tell_of_end)

    def wake(self) -> None:
        """Something happened."""
        self._woken.set()

    @property
    def clients(self) -> int:
        return len(self._clients)

    async def whole(self) -> bytes | None:
        """The whole state of now; None before the first tick. Raises `JournalError`."""
        await self._refresh()
        return joined(self._parts) if self._parts else None

    async def join(self, client: Client) -> bool:
        """Take in a new client, whose first event is the whole state, or `nothing` before the first tick; False when there are too many.
        Raises `JournalError`."""
        if len(self._clients) >= CLIENTS_MAX:
            return False
        await self._refresh()
        # From here to its being among the clients nothing is awaited: it misses no change.
        client.offer(event("state", joined(self._parts)) if self._parts else event("nothing", b"{}"))
        self._clients.add(client)
        return True

    def leave(self, client: Client) -> None:
        """It looks on no more."""
        self._clients.discard(client)

    async def close(self) -> None:
        """Tell every client that this is the end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for client in self._clients:
            client.end(event("gone", b"{}"))
        self._clients.clear()

    async def _run(self) -> None:
        while True:
            # Not wait_for: of a cancel that comes together with what is waited for, it tells nobody.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PULSE_S):
                    await self._woken.wait()
            self._woken.clear()
            if self._clients:
                try:
                    await self._refresh()
                except (JournalError, Busy) as error:
                    log.warning("the page is not up to date: %s", error)
            await asyncio.sleep(SPACING_S)

    async def _refresh(self) -> None:
        """Make the state anew, and send what changed."""
        async with self._looking:
            state = await self._look()
            if state is None:
                return
            after = parts_of(state)
            news = changed(self._parts, after)
            self._parts = after
            if not news:
                return
            data = event("state", joined(news))
            for client in tuple(self._clients):
                if not client.offer(data):
                    self._clients.discard(client)


def _tell_of_end(task: "asyncio.Task[None]") -> None:
    """A stream that fails would leave every page as it was: the log says why."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the console tells no changes any more", exc_info=error)
