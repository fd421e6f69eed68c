"""A project in a folder of its own, run by the real command line, and gone afterwards whatever happens.

`Shop` is Crewboard as it is in `examples/`, with the changes to its blueprint that a row names; `Shop.small` runs a program of the
bench's own instead. Everything is done by `tenfold ...` in a process; what came of it is read from outside: `/proc`, the access log,
the journal.
"""

import asyncio
import atexit
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench.table import Unmeasured
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.drivers.wan.wan import remove
from tenfold.loop import DecisionRow, FileLease, JournalReader, Tick
from tenfold.proof.load import Target

ROOT = Path(__file__).resolve().parent.parent
CREWBOARD = ROOT / "examples" / "crewboard"
COMMAND_WITHIN_S = 120.0
ENDING_S = 3.0
Tell = Callable[[str], None]
Blueprint = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command of Tenfold ended: exit code, all that it printed, and how long it took."""

    code: int
    output: str
    took_s: float

    @property
    def last_line(self) -> str:
        """The last thing it said."""
        lines = [line for line in self.output.splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""


@dataclass(frozen=True, slots=True)
class Tagged:
    """A process of the project as the machine shows it: `session` is that of its leader."""

    pid: int
    session: int
    kind: str
    id: str
    service: str


class Shop:
    """A project that runs. `root` is its folder."""

    def __init__(self, root: Path, tell: Tell) -> None:
        self.root = root
        self.tell = tell
        self.project = Project(root, root.name)
        self._address = ""

    @property
    def blueprint(self) -> Blueprint:
        """Its blueprint as it is now."""
        read = yaml.safe_load((self.root / "tenfold.yaml").read_text())
        assert isinstance(read, dict)
        return read

    def write_blueprint(self, blueprint: Blueprint) -> None:
        """Replace the blueprint; it counts from the next `up` or `deploy` on."""
        (self.root / "tenfold.yaml").write_text(yaml.safe_dump(blueprint, sort_keys=False, width=1000))

    def change(self, changes: Blueprint) -> None:
        """Change the blueprint, key by key."""
        self.write_blueprint(merged(self.blueprint, changes))

    async def begin(self, *words: str) -> asyncio.subprocess.Process:
        """Start `tenfold ...` in this folder; its output is to be read by the caller."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TENFOLD_")}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from tenfold.cli import main; main()", *words),
            cwd=self.root,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )

    async def tenfold(self, *words: str, within_s: float = COMMAND_WITHIN_S) -> Ended:
        """Run `tenfold ...` to its end. Raises `Unmeasured` when it takes longer than `within_s`."""
        return await self.ended(await self.begin(*words), " ".join(words), within_s)

    async def ended(self, process: asyncio.subprocess.Process, words: str, within_s: float = COMMAND_WITHIN_S) -> Ended:
        """Wait for a command that was begun."""
        since_s = time.monotonic()
        try:
            output, _ = await asyncio.wait_for(process.communicate(), within_s)
        except TimeoutError:
            raise Unmeasured(f"`tenfold {words}` did not end within {within_s:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Ended(process.returncode, output.decode(errors="replace"), time.monotonic() - since_s)

    async def do(self, *words: str) -> Ended:
        """The same, for a command that must work. Raises `Unmeasured` with what it said otherwise."""
        ended = await self.tenfold(*words)
        if ended.code != 0:
            raise Unmeasured(f"`tenfold {' '.join(words)}` ended with {ended.code}: {ended.last_line}")
        return ended

    async def up(self, *words: str) -> Ended:
        """`tenfold up --detach`: returns when the app serves."""
        return await self.do("up", "--detach", *words)

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

    @property
    def home(self) -> str:
        """The region where `tenfold up` runs: the first."""
        return str(next(iter(self.blueprint.get("regions", {"local": None}))))

    def control_plane(self) -> int:
        """The pid of the control plane. Raises `Unmeasured` when there is none."""
        pid = FileLease(self.project.run / "lease").holder()
        if pid is None:
            raise Unmeasured("the control plane does not run")
        return pid

    def latest(self) -> Tick:
        """The newest tick of the journal."""
        with JournalReader(self.project.journal) as reader:
            tick = reader.latest()
        if tick is None:
            raise Unmeasured("the journal is empty")
        return tick

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

    async def until(self, happened: Callable[[], bool], what: str, within_s: float) -> float:
        """Look every 20 ms until it happened; how many seconds that took. Raises `Unmeasured` after `within_s`."""
        since_s = time.monotonic()
        while not happened():
            if time.monotonic() - since_s > within_s:
                raise Unmeasured(f"waited {within_s:.0f} s in vain: {what}")
            await asyncio.sleep(0.02)
        return time.monotonic() - since_s

    async def down(self) -> None:
        """`tenfold down`. Raises `Unmeasured` when something is left running after it."""
        await self.do("down")
        left: list[Tagged] = []

        def is_over() -> bool:
            left[:] = self.processes()
            return not left

        try:
            # A control plane that was started as an engine has let go of everything by now, and is about to end.
            await self.until(is_over, "all has ended", ENDING_S)
        except Unmeasured:
            raise Unmeasured(
                f"`tenfold down` left {', '.join(sorted({f'{p.kind} {p.id}' for p in left}))} running"
            ) from None

    def raze(self) -> None:
        """Kill what is left and remove every file, without asking anybody."""
        pid = FileLease(self.project.run / "lease").holder() if self.project.run.is_dir() else None
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        processes = Processes(self.project)
        until_s = time.monotonic() + 5.0
        while (left := processes.look()) and time.monotonic() < until_s:
            for key in left:
                processes.send(key, signal.SIGKILL)
            time.sleep(0.02)
        remove(self.project)
        if self.project.data.is_dir():
            # As root, PostgreSQL's data lie elsewhere, behind a link.
            for link in self.project.data.iterdir():
                if link.is_symlink():
                    shutil.rmtree(link.resolve(), ignore_errors=True)
        shutil.rmtree(self.root.parent, ignore_errors=True)


@asynccontextmanager
async def crewboard(tell: Tell, changes: Blueprint | None = None, *up: str) -> AsyncIterator[Shop]:
    """Crewboard, up and serving, with `changes` to its blueprint; everything of it is gone afterwards. `up` are further words for
    `tenfold up`."""
    async with _opened(tell, "crewboard") as shop:
        shutil.copytree(CREWBOARD, shop.root, ignore=shutil.ignore_patterns(".tenfold", "tests", "__pycache__"))
        shop.change(changes or {})
        await shop.do("secrets", "set", "SESSION_KEY", "--random")
        await shop.up(*up)
        yield shop


@asynccontextmanager
async def small(tell: Tell, program: Path, blueprint: Blueprint, *up: str) -> AsyncIterator[Shop]:
    """A project of one file, `program`, with `blueprint`, up and serving; everything of it is gone afterwards. `up` are further
    words for `tenfold up`."""
    async with _opened(tell, "small") as shop:
        shop.root.mkdir()
        shutil.copy(program, shop.root)
        shop.write_blueprint(blueprint)
        await shop.up(*up)
        yield shop


@asynccontextmanager
async def _opened(tell: Tell, name: str) -> AsyncIterator[Shop]:
    shop = Shop(Path(tempfile.mkdtemp(prefix="tenfold-bench-")) / name, tell)
    atexit.register(shop.raze)
    try:
        yield shop
        tell("going down")
        await shop.down()
    finally:
        shop.raze()
        atexit.unregister(shop.raze)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Blueprint:
    """`base` with `changes`: mappings are merged key by key, a key that is None is removed, anything else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
