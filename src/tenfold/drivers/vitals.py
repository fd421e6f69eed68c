"""How an engine is: asked again and again, its states a table. Stage: world -> facts, below the drivers."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto

from tenfold.facts import EngineState

PING_S = 2.0
"""How long an engine may take to answer; a longer silence counts once more each time."""

SILENCES_MAX = 3
"""So many silences in a row and an engine that was ready counts as unhealthy."""


class NotAnswering(Exception):
    """An engine did not answer as it should; the text is one sentence for a person, without secrets."""


class Event(Enum):
    """What can happen to an engine.

    FOUND: it is another's, and was not asked yet. SILENT: it was asked and did not answer well. GONE: it ended by itself.
    STOPPED: it was told to end.
    """

    STARTED = auto()
    FOUND = auto()
    ANSWERED = auto()
    SILENT = auto()
    GONE = auto()
    STOPPED = auto()


_ANY = (*EngineState, None)

_NEXT: dict[tuple[EngineState | None, Event], EngineState | None] = {
    **{(state, Event.STARTED): EngineState.STARTING for state in _ANY},
    **{(state, Event.FOUND): EngineState.UNHEALTHY for state in _ANY},
    **{(state, Event.GONE): EngineState.EXITED for state in _ANY},
    **{(state, Event.STOPPED): None for state in _ANY},
    (EngineState.STARTING, Event.ANSWERED): EngineState.READY,
    (EngineState.UNHEALTHY, Event.ANSWERED): EngineState.READY,
    (EngineState.READY, Event.SILENT): EngineState.UNHEALTHY,
}
"""Where an event leads from a state (None: absent); a pair that is not here changes nothing."""


@dataclass(slots=True)
class Vitals:
    """How an engine is: `state` (None: absent) since `since`, and why (`note`). `generation` grows with every change of state.

    `misses` counts silences in a row. `patience` is how many of them a ready engine may have.
    """

    state: EngineState | None = None
    since: float = 0.0
    generation: int = 0
    note: str = ""
    version: str = ""
    misses: int = 0
    patience: int = SILENCES_MAX

    def happened(self, event: Event, at: float, text: str = "") -> bool:
        """Take an event in; True when the state changed. `text` is the version with ANSWERED, the reason with any other."""
        if event is Event.ANSWERED:
            self.version, text = text, ""
        self.misses = self.misses + 1 if event is Event.SILENT else 0
        if event is Event.SILENT and self.state is EngineState.READY and self.misses < self.patience:
            return False
        self.note = text
        after = _NEXT.get((self.state, event), self.state)
        if after is self.state:
            return False
        self.state, self.since, self.generation = after, at, self.generation + 1
        return True


async def ask_forever(
    ping: Callable[[], Awaitable[str]], tell: Callable[[Event, str], None], pause_s: Callable[[], float]
) -> None:
    """Ask until cancelled: `tell` hears ANSWERED with the version that `ping` returned, or SILENT with the reason.

    A ping that hangs is not given up (it may hold a connection): it counts as one more silence every `PING_S`.
    """
    while True:
        asked = asyncio.ensure_future(ping())
        try:
            while not (await asyncio.wait({asked}, timeout=PING_S))[0]:
                tell(Event.SILENT, f"it has not answered for {PING_S:.0f} s.")
            tell(Event.ANSWERED, asked.result())
        except NotAnswering as error:
            tell(Event.SILENT, str(error))
        finally:
            asked.cancel()
            # Given up, it may still fail: that is nobody's news.
            asked.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.sleep(pause_s())
