"""The live account of what is being done and why, a line for each decision. Stage: journal -> a person's terminal."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import click

from tenfold.effects import AnswerRequest
from tenfold.loop import Answer, JournalReader

POLL_S = 0.15
COLOURS = {
    "heal": "yellow",
    "scale": "cyan",
    "release": "green",
    "drain": "bright_blue",
    "route": "blue",
    "schedule": "magenta",
    "failover": "red",
    "alert": "bright_red",
}


def clock_time(at: float) -> str:
    """`14:03:59`, local time."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def line(at: float, by: str, id_: str, why: str) -> str:
    """One decision as a line of the feed."""
    return f"{clock_time(at)}  {click.style(f'{by:8}', fg=COLOURS.get(by))} {why}  {click.style(id_, dim=True)}"


@dataclass(slots=True)
class Feed:
    """Reads what is new since `tick` each time it is asked."""

    reader: JournalReader
    tick: int
    noted: float = 0.0
    request: str = ""
    """Whoever shows this feed made this request and tells its answer in its own way: it is left out here."""

    @classmethod
    def from_now(cls, reader: JournalReader, request: str = "") -> "Feed":
        """A feed that shows only what comes after this moment, without the answer to `request`."""
        span = reader.span()
        return cls(reader, span[1] if span else 0, time.time(), request)

    def news(self) -> list[str]:
        """Lines for decisions, failed orders and notes since the last call, oldest first."""
        found: list[tuple[float, str]] = []
        for row in self.reader.decisions(self.tick):
            self.tick = max(self.tick, row.tick)
            if any(isinstance(e, AnswerRequest) and e.request == self.request for e in row.decision.effects):
                continue
            found.append((row.at, line(row.at, row.decision.by, row.decision.id, row.decision.why)))
        for note in self.reader.notes(0, limit=20):
            if note.at > self.noted:
                self.noted = note.at
                found.append((note.at, line(note.at, "loop", "", note.text)))
        return [text for _, text in sorted(found, key=lambda item: item[0])]

    async def until_answered(self, request: str, say: Callable[[str], None]) -> Answer:
        """Say what happens until `request` is answered."""
        while True:
            answer = self.reader.answer(request)
            for text in self.news():
                say(text)
            if answer is not None:
                return answer
            await asyncio.sleep(POLL_S)
