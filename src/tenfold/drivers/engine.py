"""One driver for every embedded engine: starts it detached, finds it again, asks whether it is well, stops it. Stage: effects -> world.

What differs between engines (how one is prepared, asked and stopped) is a `Recipe`: see drivers.postgres and drivers.valkey.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tenfold.drivers.enginehome import only_one
from tenfold.drivers.fence import Fence
from tenfold.drivers.logs import cut
from tenfold.drivers.procs import Command, Process, Processes, Tree, TreeKey, Usage, killed_by
from tenfold.drivers.project import Project
from tenfold.drivers.vitals import PING_S, Event, Vitals, ask_forever
from tenfold.drivers.wheels import RunUser
from tenfold.effects import Effect, Order, Outcome, Receipt, StartEngine, StopEngine
from tenfold.facts import EngineSeen, EngineState
from tenfold.ports import DriverError, Refused, Retryable

_ASK_S = 1.0
_ASK_STARTING_S = 0.03
_TAIL_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start an engine that has been prepared. `note` is what a person should know of it (a port that was stepped over)."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    user: RunUser | None = None
    note: str = ""


class Recipe(Protocol):
    """What an engine of one kind needs. `stop_signal` ends it cleanly; after `stop_grace_s` it is killed."""

    kind: str
    stop_signal: int
    stop_grace_s: float

    async def prepare(self, region: str) -> Launch:
        """Make data and configuration ready, lasting over a crash. Raises `DriverError`."""
        ...

    async def ping(self, region: str) -> str:
        """Ask the engine whether it serves; its version (`PostgreSQL 18.6`). Raises `NotAnswering`; may hang when the engine does."""
        ...

    async def forget(self, region: str) -> None:
        """Close connections to an engine that ended or is left alone."""
        ...

    def address(self, region: str) -> str:
        """Where clients reach it (`127.0.0.1:24001`)."""
        ...

    def warning(self, region: str) -> str:
        """What threatens the engine (a disk almost full), as a sentence; empty when nothing does."""
        ...

    def last_words(self, lines: list[str]) -> str:
        """The line of the log's end that tells best why the engine ended."""
        ...


@dataclass(slots=True)
class Engine:
    """What is known of one region's engine. `log_from` is where the log of this run begins, `asked` is set once it was asked;
    `done` is the key of the last order that was carried out."""

    region: str
    vitals: Vitals = field(default_factory=Vitals)
    process: Process | None = None
    asking: asyncio.Task[None] | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    launch_note: str = ""
    log_from: int = 0
    done: str = ""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class EngineDriver:
    """Observer and actuator of one kind of embedded engine, one engine per region."""

    def __init__(self, recipe: Recipe, project: Project, fence: Fence) -> None:
        self.recipe = recipe
        self.project = project
        self._fence = fence
        self._processes = Processes(project)
        self._engines: dict[str, Engine] = {}
        self._wakers: list[Callable[[], None]] = []
        self._adopted = False

    @property
    def source(self) -> str:
        return self.recipe.kind

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` when an engine became ready, fell silent or ended."""
        self._wakers.append(wake)

    def accepts(self, effect: Effect) -> bool:
        """True for starts and stops of this driver's kind."""
        return isinstance(effect, StartEngine | StopEngine) and effect.kind == self.recipe.kind

    async def observe(self) -> tuple[EngineSeen, ...]:
        """One fact per engine that runs, is being prepared, or ended by itself."""
        trees = self._processes.look()
        for engine in self._engines.values():
            self._check_asking(engine)
        if not self._adopted:
            self._adopted = True
            await asyncio.gather(*(self._adopt(tree) for tree in trees.values() if self._is_ours(tree.key)))
        usage = self._processes.usage({key: tree for key, tree in trees.items() if self._is_ours(key)})
        return tuple(
            self._seen(engine, engine.vitals.state, usage.get(self._key(engine.region)))
            for engine in self._engines.values()
            if engine.vitals.state is not None
        )

    async def apply(self, order: Order) -> Receipt:
        """Start or stop an engine; see `ports.Actuator.apply`."""
        effect = order.effect
        assert isinstance(effect, StartEngine | StopEngine), f"{effect} is not for {self.recipe.kind}"
        self._fence.check(order.epoch)
        if not self._adopted:
            await self.observe()
        engine = self._engines.setdefault(effect.region, Engine(effect.region))
        async with engine.lock:
            # The last one is enough: what was done before it expects a generation that has passed.
            if order.key != engine.done:
                # It may have waited long for the one before it, or been frozen: somebody else may act by now.
                self._fence.check(order.epoch)
                if isinstance(effect, StartEngine):
                    await self._start(engine, effect, order.epoch)
                else:
                    await self._stop(engine, effect)
                engine.done = order.key
        return Receipt(order.key, Outcome.DONE, time.time(), engine.launch_note)

    async def ensure(self, region: str) -> None:
        """Start the engine of `region` unless it runs, without an order. For what must run before anybody can hold the lease."""
        engine = self._engines.setdefault(region, Engine(region))
        async with engine.lock:
            generation = 0 if engine.vitals.state is None else engine.vitals.generation
            await self._start(engine, StartEngine(self.recipe.kind, region, expected_generation=generation), None)

    async def close(self) -> None:
        """Let go of the engines; they go on running."""
        for engine in self._engines.values():
            await self._stop_asking(engine)
            if engine.process is not None:
                engine.process.close()

    async def _start(self, engine: Engine, effect: StartEngine, epoch: int | None) -> None:
        if engine.process is not None:
            return
        expect(effect.expected_generation, engine)
        key = self._key(engine.region)
        async with only_one(self.project.run / f"engine-{_name(key)}.lock", key.id):
            tree = self._processes.look().get(key)
            if tree is not None and tree.leader is not None:
                await self._adopt(tree)
                return
            if tree is not None:
                # What a killed engine left behind holds on to its memory and its files: no new one may start beside it.
                await self._processes.stop(key, 0.0)
            if epoch is not None:
                # The lock may have been waited for.
                self._fence.check(epoch)
            self._happened(engine, Event.STARTED, "it is being prepared")
            try:
                launch = await self._prepare(effect)
                engine.log_from = _size_bytes(self._log(engine.region))
                if epoch is not None:
                    # Preparing may have taken long.
                    self._fence.check(epoch)
                process = self._spawn(key, self._command(key, launch))
            except OSError as error:
                sentence = f"{key.id} can't be started: {error.strerror} ({error.filename or self.project.state})."
                self._happened(engine, Event.GONE, sentence)
                raise Retryable(sentence) from error
            except DriverError as error:
                self._happened(engine, Event.GONE, str(error))
                raise
            except BaseException:
                self._happened(engine, Event.STOPPED)
                raise
            engine.launch_note = launch.note
            self._watch(engine, process)

    async def _prepare(self, effect: StartEngine) -> Launch:
        """Make it ready to be spawned."""
        return await self.recipe.prepare(effect.region)

    def _spawn(self, key: TreeKey, command: Command) -> Process:
        return self._processes.spawn(key, command)

    async def _stop(self, engine: Engine, effect: StopEngine) -> None:
        if engine.vitals.state is None:
            return
        expect(effect.expected_generation, engine)
        process, engine.process = engine.process, None
        # Whoever is asked to end may still do something first, and one that is frozen is thawed to hear it.
        grace_s = 0.0 if effect.at_once else self.recipe.stop_grace_s
        try:
            await self._processes.stop(self._key(engine.region), grace_s, self.recipe.stop_signal)
        except BaseException:
            engine.process = process
            if process is not None and process.poll():
                self._ended(engine, process)
            raise
        if process is not None:
            process.poll()
            process.close()
        await self._stop_asking(engine)
        engine.launch_note = ""
        self._happened(engine, Event.STOPPED)

    async def _adopt(self, tree: Tree) -> None:
        """Take over an engine that an earlier control plane started; known to be well before this returns, if it answers at once."""
        process = self._processes.adopt(tree)
        region = tree.key.id.partition("/")[2]
        engine = self._engines.setdefault(region, Engine(region))
        if process is None or engine.process is not None:
            return
        engine.log_from = max(0, _size_bytes(self._log(region)) - _TAIL_BYTES)
        self._happened(engine, Event.STARTED)
        self._watch(engine, process)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(engine.asked.wait(), PING_S)

    def _watch(self, engine: Engine, process: Process) -> None:
        engine.process = process
        self._begin_asking(engine)
        process.watch(lambda ended: self._ended(engine, ended))

    def _begin_asking(self, engine: Engine) -> None:
        engine.asked.clear()
        engine.asking = asyncio.create_task(self._ask(engine), name=f"ask {self._key(engine.region).id}")

    def _check_asking(self, engine: Engine) -> None:
        """Raise, once, what ended the asking (settings that can't be read, a bug), and ask on: it may be mended meanwhile."""
        asking = engine.asking
        if asking is None or not asking.done() or asking.cancelled():
            return
        engine.asking = None
        if engine.process is not None:
            self._begin_asking(engine)
        asking.result()

    async def _ask(self, engine: Engine) -> None:
        try:
            await ask_forever(
                lambda: self.recipe.ping(engine.region),
                lambda event, text: self._happened(engine, event, text),
                lambda: _ASK_STARTING_S if engine.vitals.state is EngineState.STARTING else _ASK_S,
            )
        finally:
            await self.recipe.forget(engine.region)

    async def _stop_asking(self, engine: Engine) -> None:
        if engine.asking is not None:
            engine.asking.cancel()
            await asyncio.wait({engine.asking}, timeout=PING_S)

    def _ended(self, engine: Engine, process: Process) -> None:
        """The process is gone. Unless it was told to end, say how it did."""
        process.close()
        if engine.asking is not None:
            engine.asking.cancel()
        if engine.process is process:
            engine.process = None
            self._happened(engine, Event.GONE, self._obituary(engine, process.exit_code))

    def _happened(self, engine: Engine, event: Event, text: str = "") -> None:
        if event is not Event.STARTED:
            engine.asked.set()
        if engine.vitals.happened(event, time.time(), text):
            for wake in self._wakers:
                wake()

    def _seen(self, engine: Engine, state: EngineState, used: Usage | None) -> EngineSeen:
        if cut(self._log(engine.region)):
            engine.log_from = 0
        return EngineSeen(
            kind=self.recipe.kind,
            region=engine.region,
            state=state,
            since=engine.vitals.since,
            seen_at=time.time(),
            generation=engine.vitals.generation,
            pid=None if engine.process is None else engine.process.pid,
            address="" if engine.process is None else self.recipe.address(engine.region),
            version=engine.vitals.version,
            cpu_cores=None if used is None else used.cpu_cores,
            memory_bytes=None if used is None else used.memory_bytes,
            note=self._note(engine),
        )

    def _note(self, engine: Engine) -> str:
        notes = [engine.vitals.note, engine.launch_note]
        if engine.process is not None:
            notes.append(self.recipe.warning(engine.region))
        return " ".join(note for note in notes if note)

    def _obituary(self, engine: Engine, exit_code: int | None) -> str:
        """How the engine ended, in words."""
        if exit_code is None:
            how = "it ended"
        elif exit_code < 0:
            how = killed_by(-exit_code)
        else:
            how = f"exit code {exit_code}"
        words = self.recipe.last_words(_tail(self._log(engine.region), engine.log_from))
        return f"{how}: {words}" if words and exit_code != -signal.SIGKILL else how

    def _command(self, key: TreeKey, launch: Launch) -> Command:
        user = launch.user
        return Command(
            argv=launch.argv,
            env=launch.env,
            cwd=launch.cwd,
            log=self._log(key.id.partition("/")[2]),
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
        )

    def _key(self, region: str) -> TreeKey:
        return TreeKey("engine", f"{self.recipe.kind}/{region}")

    def _is_ours(self, key: TreeKey) -> bool:
        return key.kind == "engine" and key.id.partition("/")[0] == self.recipe.kind

    def _log(self, region: str) -> Path:
        return self.project.logs / f"{self.recipe.kind}-{region}.log"


def expect(generation: int, engine: Engine) -> None:
    """Raise `Refused` when the engine has changed since the decider looked."""
    actual = 0 if engine.vitals.state is None else engine.vitals.generation
    if generation != actual:
        raise Refused(
            f"the engine was started or ended anew since this was decided (generation {actual}, not {generation}): look again."
        )


def _name(key: TreeKey) -> str:
    return key.id.replace("/", "-")


def _size_bytes(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _tail(log: Path, since: int) -> list[str]:
    """The last lines of `log`, none of them from before byte `since`."""
    try:
        with log.open("rb") as file:
            file.seek(max(since, _size_bytes(log) - _TAIL_BYTES))
            return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return []
