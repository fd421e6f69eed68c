"""Talks to the router: changes links for as long as one holds on to them, asks how it goes. Stage: effects -> world, below the drivers."""

import asyncio
import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tenfold.drivers.wan.links import Change
from tenfold.drivers.wan.router import SOCKET
from tenfold.ports import Permanent, Retryable

ANSWER_WITHIN_S = 5.0


class RouterDesk:
    """A connection to the router of a project; what was changed through it is mended when it closes, or this process ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, run: Path) -> "RouterDesk":
        """Connect to the router whose socket lies in the folder `run`. Raises `Retryable` when none listens there."""
        try:
            handle = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # A socket's path may not be long; this one never is.
                path = f"/proc/self/fd/{handle}/{SOCKET}"
                return cls(*await asyncio.open_unix_connection(path, limit=1 << 22))
            finally:
                os.close(handle)
        except OSError as error:
            raise Retryable(f"the router between the regions does not answer: {error.strerror or error}") from error

    @property
    def is_closed(self) -> bool:
        """True when the router has hung up, or we have: what was changed is mended."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def change(self, pairs: Iterable[tuple[str, str]], change: Change, seconds: float) -> int:
        """Lay `change` upon links (from node, to node), until it is mended or for `seconds`; its number."""
        wanted = {"do": "change", "pairs": list(pairs), "change": asdict(change), "seconds": seconds}
        return int((await self._ask(wanted))["number"])

    async def mend(self, number: int) -> None:
        """Take a change back."""
        await self._ask({"do": "mend", "number": number})

    async def reload(self) -> None:
        """Let the router read its plan again."""
        await self._ask({"do": "reload"})

    async def look(self) -> dict[str, Any]:
        """How it goes: `cpu_s` of the router, `links` as [from, to, packets, lost, dropped], and `late`, how many packets
        were delivered less than 2^n microseconds late, by n."""
        return await self._ask({"do": "look"})

    async def close(self) -> None:
        """Hang up; what was changed is mended when this returns."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()
            async with asyncio.timeout(ANSWER_WITHIN_S):
                # The router hangs up in its turn when it has mended everything.
                await self._reader.read()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                self._writer.write(json.dumps(request).encode() + b"\n")
                await self._writer.drain()
                line = await self._reader.readline()
            answer: dict[str, Any] = json.loads(line)
        except (OSError, ValueError) as error:
            # Of a change nothing is left then: the router mends what it was asked through a connection that ends.
            self._writer.close()
            raise Retryable("the router between the regions has hung up: look in .tenfold/logs/router.log") from error
        if not answer["ok"]:
            raise Permanent(f"the router between the regions refuses: {answer['why']}")
        return answer
