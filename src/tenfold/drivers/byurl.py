"""A store of the user's own, reached by URL: watched, never started nor stopped. Stage: world -> facts."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Protocol

from tenfold.drivers.vitals import PING_S, Event, Vitals, ask_forever
from tenfold.effects import Effect, Order, Outcome, Receipt, StartEngine, StopEngine
from tenfold.facts import EngineSeen, StoreSeen
from tenfold.ports import Permanent

_ASK_S = 2.0
_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def resolve_url(text: str, key: str, lookup: Callable[[str], str | None]) -> str:
    """`text` with each `${NAME}` replaced by what `lookup` knows; `key` is where the blueprint has it (`data.url`).

    Raises `Permanent` when a name is not set, naming the name and never a value.
    """

    def value(match: re.Match[str]) -> str:
        found = lookup(match[1])
        if not found:
            raise Permanent(
                f"{key} names ${{{match[1]}}}, which is not set: run `tenfold secrets set {match[1]}` or set it in the environment."
            )
        return found

    return _NAME.sub(value, text)


def url_address(url: str, port: int) -> str:
    """`host:port` of a URL, without user name and password however badly it is written; `port` where it names none."""
    host = re.split(r"[/?#]", url.partition("://")[2].rpartition("@")[2], maxsplit=1)[0] or "localhost"
    return host if ":" in host.rpartition("]")[2] else f"{host}:{port}"


class Asker(Protocol):
    """Asks a store whether it serves, over connections that it keeps."""

    async def ping(self) -> str:
        """Its version. Raises `NotAnswering`; may hang when the store does."""
        ...

    def work(self) -> StoreSeen | None:
        """What it did between the last times it was asked; None where that can't be told."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class EngineByUrl:
    """Observer of a store that is the user's own. To start it means to watch it, to stop it means to leave it alone; it never ends."""

    def __init__(self, kind: str, region: str, address: str, asker: Asker) -> None:
        self.kind = kind
        self.region = region
        self.address = address
        self._asker = asker
        self._vitals = Vitals()
        self._asking: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._wakers: list[Callable[[], None]] = []
        self._left = False

    @property
    def source(self) -> str:
        return self.kind

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the store began or ceased to answer."""
        self._wakers.append(wake)

    def accepts(self, effect: Effect) -> bool:
        """True for starts and stops of this kind."""
        return isinstance(effect, StartEngine | StopEngine) and effect.kind == self.kind

    async def observe(self) -> tuple[EngineSeen | StoreSeen, ...]:
        """This store, and what it did; nothing once it was stopped. The first look waits for its first answer or silence."""
        if self._left:
            return ()
        if self._asking is None:
            self._asked.clear()
            self._happened(Event.FOUND, "it has not been asked yet.")
            self._asking = asyncio.create_task(self._ask(), name=f"ask {self.kind}/{self.region}")
            await self._asked.wait()
        if self._asking.done():
            # It ends by cancellation alone: anything else is a bug that must be seen. The next look asks anew.
            ended, self._asking = self._asking, None
            ended.result()
        state = self._vitals.state
        assert state is not None, "it was started above"
        engine = EngineSeen(
            kind=self.kind,
            region=self.region,
            state=state,
            since=self._vitals.since,
            seen_at=time.time(),
            generation=self._vitals.generation,
            address=self.address,
            version=self._vitals.version,
            note=self._vitals.note,
        )
        work = self._asker.work()
        return (engine,) if work is None else (engine, work)

    async def apply(self, order: Order) -> Receipt:
        """Begin to watch, or leave alone."""
        if isinstance(order.effect, StartEngine):
            self._left = False
            note = f"{self.address} is yours, so it is watched and not started."
        else:
            await self.close()
            self._left = True
            self._happened(Event.STOPPED)
            note = f"{self.address} is yours, so it was left running."
        return Receipt(order.key, Outcome.DONE, time.time(), note)

    async def close(self) -> None:
        """Close the connections."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking}, timeout=PING_S)
            self._asking = None

    async def _ask(self) -> None:
        try:
            await ask_forever(self._asker.ping, self._happened, lambda: _ASK_S)
        finally:
            self._asked.set()
            await self._asker.close()

    def _happened(self, event: Event, text: str = "") -> None:
        changed = self._vitals.happened(event, time.time(), text)
        if event in (Event.ANSWERED, Event.SILENT):
            self._asked.set()
        if changed:
            for wake in self._wakers:
                wake()
