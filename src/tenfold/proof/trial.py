"""A project in a folder of its own, run by the real command line, and gone afterwards whatever happens.

Stage: a blueprint and an app's files -> a project that runs beside everything else on this machine, to be measured or harmed. Everything
is done by `tenfold ...` in a process; what came of it is read from outside: the journal, `/proc`.
"""

import asyncio
import atexit
import ctypes
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.drivers.wan.wan import remove
from tenfold.facts import EngineState, InstanceState
from tenfold.loop import FileLease, JournalMissing, JournalReader, Tick
from tenfold.proof.load import Target
from tenfold.wire import environment

COMMAND_WITHIN_S = 120.0
ENDING_S = 3.0
_PR_SET_PDEATHSIG = 1
Tell = Callable[[str], None]
Blueprint = dict[str, Any]


class TrialError(Exception):
    """Something did not work in a trial; the message is one sentence that says what."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command of Tenfold ended: exit code, all that it printed, and how long it took."""

    code: int
    output: str
    took_s: float

    @property
    def last_line(self) -> str:
        """The last thing it said."""
        return last_line(self.output)


class Trial:
    """A project that is tried out. `root` is its folder, the only one in a temporary folder; `program` is what runs `tenfold`."""

    def __init__(self, root: Path, program: Sequence[str], tell: Tell) -> None:
        self.root = root
        self.tell = tell
        self.project = Project(root, root.name)
        self._program = tuple(program)
        self._address = ""

    @classmethod
    @asynccontextmanager
    async def opened(cls, name: str, prefix: str, program: Sequence[str], tell: Tell) -> AsyncIterator[Self]:
        """A place for a project called `name` in a temporary folder; at the end it goes down, and whatever happens all is gone."""
        trial = cls(Path(tempfile.mkdtemp(prefix=prefix)) / name, program, tell)
        atexit.register(trial.raze)
        try:
            yield trial
            tell("going down")
            await trial.down()
        finally:
            trial.raze()
            atexit.unregister(trial.raze)

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

    async def begin(self, *words: str, dies_with_us: bool = False) -> asyncio.subprocess.Process:
        """Start `tenfold ...` in this folder; its output is to be read by the caller. With `dies_with_us` it is told to end when this
        process does, however that happens."""
        return await asyncio.create_subprocess_exec(
            *self._program,
            *words,
            cwd=self.root,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent if dies_with_us else None,
        )

    async def tenfold(self, *words: str, within_s: float = COMMAND_WITHIN_S) -> Ended:
        """Run `tenfold ...` to its end. Raises `TrialError` when it takes longer than `within_s`."""
        return await self.ended(await self.begin(*words), " ".join(words), within_s)

    async def ended(self, process: asyncio.subprocess.Process, words: str, within_s: float = COMMAND_WITHIN_S) -> Ended:
        """Wait for a command that was begun."""
        since_s = time.monotonic()
        try:
            output, _ = await asyncio.wait_for(process.communicate(), within_s)
        except TimeoutError:
            raise TrialError(f"`tenfold {words}` did not end within {within_s:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Ended(process.returncode, output.decode(errors="replace"), time.monotonic() - since_s)

    async def do(self, *words: str) -> Ended:
        """The same, for a command that must work. Raises `TrialError` with what it said otherwise."""
        ended = await self.tenfold(*words)
        if ended.code != 0:
            raise TrialError(f"`tenfold {' '.join(words)}` ended with {ended.code}: {ended.last_line}")
        return ended

    async def up(self, *words: str) -> Ended:
        """`tenfold up --detach`: returns when the app serves."""
        return await self.do("up", "--detach", *words)

    @asynccontextmanager
    async def serving(self, *words: str, within_s: float = COMMAND_WITHIN_S) -> AsyncIterator[None]:
        """`tenfold ... up` for as long as the block lasts, and no longer than this process lives. Raises `TrialError` with what it said
        when it does not come to serve."""
        began_at, lines = time.time(), _Lines()
        process = await self.begin(*words, "up", dies_with_us=True)
        assert process.stdout is not None
        reading = asyncio.create_task(lines.read(process.stdout))
        try:
            await self._until_serving(process, lines, began_at, within_s)
            yield
            await self.down()
        finally:
            if process.returncode is None:
                # Twice: drain, then at once.
                for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
                    if process.returncode is None:
                        process.send_signal(number)
                        await asyncio.wait({asyncio.ensure_future(process.wait())}, timeout=2.0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _until_serving(
        self, process: asyncio.subprocess.Process, lines: "_Lines", since: float, within_s: float
    ) -> None:
        until_s = time.monotonic() + within_s
        while not self._serves(since):
            if process.returncode is not None:
                await asyncio.sleep(0.05)
                raise TrialError(
                    f"the copy of the project did not start: {last_line(lines.text) or 'it gave no reason'}"
                )
            if time.monotonic() > until_s:
                raise TrialError(
                    f"the copy of the project did not serve within {within_s:.0f} s: {last_line(lines.text)}"
                )
            await asyncio.sleep(0.1)

    def _serves(self, since: float) -> bool:
        """True when the newest tick (not one from before `since`) shows the edge and every instance that is wanted ready."""
        try:
            with JournalReader(self.project.journal) as reader:
                tick = reader.latest()
        except JournalMissing:
            return False
        if tick is None or tick.at < since or tick.memory.release.serving is None:
            return False
        pools, instances = tick.memory.scale.pools, tick.snapshot.instances.values()
        ready = [f"{i.service}@{i.region}" for i in instances if i.state is InstanceState.READY]
        edge = tick.snapshot.engines.get(f"gateway/{self.home}")
        if edge is None or edge.state is not EngineState.READY or not edge.address:
            return False
        self._address = f"http://{edge.address}"
        return all(ready.count(key) >= pool.wanted for key, pool in pools.items())

    async def target(self) -> Target:
        """The edge's address. Raises `TrialError` while it is not known."""
        if not self._address:
            raise TrialError("the edge does not serve yet")
        return Target.parse(self._address)

    @property
    def home(self) -> str:
        """The region where `tenfold up` runs: the first."""
        return str(next(iter(self.blueprint.get("regions", {"local": None}))))

    def control_plane(self) -> int:
        """The pid of the control plane. Raises `TrialError` when there is none."""
        pid = FileLease(self.project.run / "lease").holder()
        if pid is None:
            raise TrialError("the control plane does not run")
        return pid

    def latest(self) -> Tick:
        """The newest tick of the journal."""
        with JournalReader(self.project.journal) as reader:
            tick = reader.latest()
        if tick is None:
            raise TrialError("the journal is empty")
        return tick

    async def until(self, happened: Callable[[], bool], what: str, within_s: float) -> float:
        """Look every 20 ms until it happened; how many seconds that took. Raises `TrialError` after `within_s`."""
        since_s = time.monotonic()
        while not happened():
            if time.monotonic() - since_s > within_s:
                raise TrialError(f"waited {within_s:.0f} s in vain: {what}")
            await asyncio.sleep(0.02)
        return time.monotonic() - since_s

    async def down(self) -> None:
        """`tenfold down`. Raises `TrialError` when something is left running after it."""
        await self.do("down")
        processes = Processes(self.project)
        try:
            # A control plane that was started as an engine has let go of everything by now, and is about to end.
            await self.until(lambda: not processes.look(), "all has ended", ENDING_S)
        except TrialError:
            left = ", ".join(sorted(f"{key.kind} {key.id}" for key in processes.look()))
            raise TrialError(f"`tenfold down` left {left} running") from None

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

    def _environment(self) -> dict[str, str]:
        """The caller's, without what another project's processes are told by, and with this Python's programs found first."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(environment.PREFIX)}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
        return env


class _Lines:
    """What a program prints, read as it comes so that it is never held up; the end of it is kept."""

    def __init__(self) -> None:
        self.text = ""

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Until the stream ends."""
        while part := await stream.read(4096):
            self.text = (self.text + part.decode(errors="replace"))[-20_000:]


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


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


def _end_with_parent() -> None:
    """Between fork and exec: have the kernel send SIGTERM when the parent's thread ends (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
