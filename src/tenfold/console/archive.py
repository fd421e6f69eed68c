"""Reads the journal for the console, never on the event loop. Stage: journal -> view, history.

Each question is answered by one of two threads, with a reader of its own; when too many wait, the next is turned away. What
does not change any more (a moment of the past, the figures of a tick) is kept for a while.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from tenfold.console import history
from tenfold.console.contract import State
from tenfold.console.history import Figures, History, Span
from tenfold.console.timeline import SHOWN, Timeline
from tenfold.console.view import Moment, state_of
from tenfold.loop import JournalError, JournalReader, Tick
from tenfold.loop.reader import NEWEST
from tenfold.model import Model

T = TypeVar("T")

THREADS = 2
WAITING_MAX = 32
"""Questions that wait for a thread; the next is turned away."""
STATES_KEPT = 64
FIGURES_KEPT = 4000
"""Ticks whose figures are kept: a quarter of an hour with a few wake-ups each second."""
MODELS_KEPT = 16


class Busy(Exception):
    """Too many questions wait already."""


class Archive:
    """The journal at `path`, for questions of the console. Every question raises `JournalError` when it can't be read, and `Busy`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.console_url = ""
        self._threads = ThreadPoolExecutor(THREADS, "console")
        self._waiting = 0
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._states: OrderedDict[int, bytes] = OrderedDict()
        self._figures: OrderedDict[int, tuple[float, Figures]] = OrderedDict()

    async def ask(self, question: Callable[[JournalReader], T]) -> T:
        """Have a thread answer `question` with a reader of its own."""
        if self._waiting >= WAITING_MAX:
            raise Busy("too many questions about the past at once: ask again in a moment")

        def answer() -> T:
            with JournalReader(self._path) as reader:
                return question(reader)

        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, answer)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads once they have answered."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def remember(self, tick: Tick) -> None:
        """Keep the figures of a tick that was just written: nobody need read them again."""
        self._keep_figures(tick)

    async def model(self, digest: str) -> Model:
        """The model of that digest."""
        if (found := self._models.get(digest)) is not None:
            return found
        return await self.ask(lambda reader: self._model(reader, digest))

    async def timeline(self) -> Timeline:
        """The newest decisions, and who started the instances that are there."""
        return await self.ask(lambda reader: _timeline(reader, reader.latest(), NEWEST))

    async def state_at(self, moment: float) -> bytes | None:
        """The state as it was at `moment`, as JSON; None before the first tick that is kept."""
        return await self.ask(lambda reader: self._state_at(reader, moment))

    async def newest(self) -> State | None:
        """The state of the newest tick that is kept; None when there is none."""
        return await self.ask(lambda reader: None if (kept := reader.span()) is None else self._state(reader, kept[1]))

    async def last(self) -> int:
        """The number of the newest tick that is kept; 0 when there is none."""
        return await self.ask(lambda reader: 0 if (kept := reader.span()) is None else kept[1])

    async def history(self, span: Span) -> History:
        """The series over `span`."""
        return await self.ask(lambda reader: self._history(reader, span))

    def _model(self, reader: JournalReader, digest: str) -> Model:
        found = self._models.get(digest) or reader.model(digest)
        if found is None:
            raise JournalError("the journal lacks the model of that moment: look at a later one")
        return _kept(self._models, digest, found, MODELS_KEPT)

    def _state_at(self, reader: JournalReader, moment: float) -> bytes | None:
        seq = reader.at(moment)
        if seq is None:
            return None
        if (found := self._states.get(seq)) is not None:
            return found
        state = self._state(reader, seq)
        return None if state is None else _kept(self._states, seq, msgspec.json.encode(state), STATES_KEPT)

    def _state(self, reader: JournalReader, seq: int) -> State | None:
        tick = reader.tick(seq)
        if tick is None:
            return None
        model = self._model(reader, tick.model)
        timeline = _timeline(reader, tick, seq)
        return state_of(Moment(model, tick, timeline.newest(), timeline.starts, False, self.console_url))

    def _history(self, reader: JournalReader, span: Span) -> History:
        if span.is_by_seconds:
            return history.history(span, self._ticks(reader, span))
        kept = reader.times()
        if kept is None:
            return history.history(span, ())
        # However long a span is asked for, no more is read than there is.
        start, end = max(span.start, kept[0] - history.MINUTE_S), min(span.end, kept[1] + history.MINUTE_S)
        return history.history(span, history.minutes(reader.window(start, max(start, end))))

    def _ticks(self, reader: JournalReader, span: Span) -> Iterator[tuple[float, Figures]]:
        """The figures of each tick within `span`; only those that are not kept are read."""
        kept, last = reader.span(), reader.at(span.end)
        if kept is None or last is None:
            return
        before = reader.at(span.start)
        first = kept[0] if before is None else before
        for seqs in _runs(range(max(first, last - FIGURES_KEPT + 1), last + 1), self._figures):
            if seqs[0] in self._figures:
                yield from (found for seq in seqs if (found := self._figures.get(seq)) is not None)
                continue
            for tick in reader.ticks(seqs[0], seqs[-1]):
                yield self._keep_figures(tick)

    def _keep_figures(self, tick: Tick) -> tuple[float, Figures]:
        return _kept(self._figures, tick.seq, (tick.at, history.figures(tick)), FIGURES_KEPT)


def _runs(seqs: Iterable[int], known: OrderedDict[int, tuple[float, Figures]]) -> Iterator[list[int]]:
    """Neighbours that are known, or not known, together."""
    run: list[int] = []
    for seq in seqs:
        if run and (seq in known) != (run[0] in known):
            yield run
            run = []
        run.append(seq)
    if run:
        yield run


K = TypeVar("K")
V = TypeVar("V")


def _kept(cache: OrderedDict[K, V], key: K, value: V, most: int) -> V:
    """Keep `value`, and forget the oldest beyond `most`."""
    cache[key] = value
    while len(cache) > most:
        cache.popitem(last=False)
    return value


def _timeline(reader: JournalReader, tick: Tick | None, up_to_tick: int) -> Timeline:
    rows = reader.decisions(0, SHOWN, up_to_tick)
    starts = reader.ordered_by([f"start:{id_}" for id_ in tick.snapshot.instances]) if tick is not None else {}
    reasons: dict[str, str] = {}
    for id_ in set(starts.values()):
        row = reader.find_decision(id_)
        reasons[id_] = row.decision.why if row is not None else ""
    return Timeline.of(
        rows,
        reader.outcomes([row.decision.id for row in rows], up_to_tick),
        reader.rejections(row.tick for row in rows),
        {key.removeprefix("start:"): (id_, reasons[id_]) for key, id_ in starts.items()},
    )
