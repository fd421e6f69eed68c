"""A project in a folder of its own, run by the real command line, and gone afterwards whatever happens.

`Shop` is Crewboard as it is in `examples/`, with the changes to its blueprint that a row names; `Shop.small` runs a program of the
bench's own instead. Everything is done by `tenfold ...` in a process; what came of it is read from outside: `/proc`, the access log,
the journal.
"""

import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tenfold.cli.wiring import PROGRAM
from tenfold.loop import DecisionRow, JournalReader, Tick
from tenfold.proof.load import Target
from tenfold.proof.trial import Blueprint, Ended, Tell, Trial, merged

__all__ = ["Blueprint", "Ended", "Shop", "Tell", "crewboard", "merged", "small"]

ROOT = Path(__file__).resolve().parent.parent
CREWBOARD = ROOT / "examples" / "crewboard"


@dataclass(frozen=True, slots=True)
class Tagged:
    """A process of the project as the machine shows it: `session` is that of its leader."""

    pid: int
    session: int
    kind: str
    id: str
    service: str


class Shop(Trial):
    """A project that runs, and what a row looks at in it."""

    async def status(self) -> dict[str, Any]:
        """`tenfold status --json`."""
        found = json.loads((await self.do("status", "--json")).output)
        assert isinstance(found, dict)
        return found

    async def target(self) -> Target:
        """The edge's address."""
        if not self._address:
            self._address = (await self.status())["address"]
        return Target.parse(self._address)

    def decisions(self, since: float) -> list[DecisionRow]:
        """The decisions made at or after `since` (seconds since the epoch)."""
        with JournalReader(self.project.journal) as reader:
            return [row for row in reader.decisions(limit=100_000) if row.at >= since]

    def ticks(self, since: float) -> list[Tick]:
        """The ticks at or after `since` (seconds since the epoch)."""
        with JournalReader(self.project.journal) as reader:
            first, last = reader.at(since), reader.span()
            return [] if first is None or last is None else [t for t in reader.ticks(first, last[1]) if t.at >= since]

    def requests(self, whose: str = "access") -> list[dict[str, Any]]:
        """The lines of the gateways' access logs (`entry`: of the global entry's), oldest first; the last second may be missing."""
        lines: list[dict[str, Any]] = []
        for path in sorted(self.project.logs.glob(f"{whose}-*.jsonl*"), key=lambda p: p.stat().st_mtime):
            for line in path.read_bytes().splitlines():
                try:
                    lines.append(json.loads(line))
                except ValueError:
                    continue  # The last line, half written.
        return lines

    def processes(self) -> list[Tagged]:
        """Every process on this machine that carries this project's tag, found without Tenfold's help."""
        found = []
        for process in psutil.process_iter():
            try:
                tags = process.environ()
                if tags.get("TENFOLD_PROJECT") == self.project.id and process.status() != psutil.STATUS_ZOMBIE:
                    kind, id_, service = (tags.get(f"TENFOLD_{name}", "") for name in ("KIND", "ID", "SERVICE"))
                    found.append(Tagged(process.pid, os.getsid(process.pid), kind, id_, service))
            except (psutil.Error, ProcessLookupError):
                continue
        return found

    def leaders(self, kind: str) -> dict[str, set[int]]:
        """By id, the sessions that the processes of `kind` form: one each, when nothing is doubled."""
        found: dict[str, set[int]] = {}
        for process in self.processes():
            if process.kind == kind:
                found.setdefault(process.id, set()).add(process.session)
        return found


@asynccontextmanager
async def crewboard(
    tell: Tell, changes: Blueprint | None = None, *up: str, environment: str = ""
) -> AsyncIterator[Shop]:
    """Crewboard, up and serving, with `changes` to its blueprint, in that environment of it; everything of it is gone afterwards. `up`
    are further words for `tenfold up`."""
    program = (*PROGRAM, "-e", environment) if environment else PROGRAM
    async with Shop.opened("crewboard", "tenfold-bench-", program, tell) as shop:
        shutil.copytree(CREWBOARD, shop.root, ignore=shutil.ignore_patterns(".tenfold", "tests", "__pycache__"))
        shop.change(changes or {})
        await shop.do("secrets", "set", "SESSION_KEY", "--random")
        await shop.up(*up)
        yield shop


@asynccontextmanager
async def small(tell: Tell, program: Path, blueprint: Blueprint, *up: str) -> AsyncIterator[Shop]:
    """A project of one file, `program`, with `blueprint`, up and serving; everything of it is gone afterwards. `up` are further
    words for `tenfold up`."""
    async with Shop.opened("small", "tenfold-bench-", PROGRAM, tell) as shop:
        shop.root.mkdir()
        shutil.copy(program, shop.root)
        shop.write_blueprint(blueprint)
        await shop.up(*up)
        yield shop
