"""Runs things to their end, each at most once: builds, release hooks, scheduled jobs. Stage: effects -> world -> facts.

`<task>.started` is on disk before the process exists, `<task>.exit` before it ends. A task that has the first, no process and not
the second is *unknown*: its control plane died at the worst moment, or the task was killed from outside; it is never run again.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tenfold.drivers import logs
from tenfold.drivers.env import Surroundings
from tenfold.drivers.network import Network
from tenfold.drivers.procs import Command, Process, Processes, Tree, TreeKey
from tenfold.drivers.project import Project
from tenfold.effects import RunTask
from tenfold.facts import TaskSeen, TaskState
from tenfold.ports import Permanent, Retryable
from tenfold.wire import environment

_RUN = """
trap : TERM INT HUP QUIT
/bin/sh -c "$1"
code=$?
printf '%3d\\n' "$code" 1<>"$2.new" && mv "$2.new" "$2"
"""
"""Runs a command and notes its exit code. The traps keep the note from being lost when the task is told to end; they are not
inherited. The file is overwritten in place, because on a full disk there would be no room for another."""

_EXIT_ROOM = b"   \n"
_KILLED = 137
_TAIL_LINES = 20
_TAIL_CHARS_MAX = 4000
_KEPT_MAX = 200
_GRACE_S = 5.0
_STRAYS_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Record:
    """What `<task>.started` says; times in seconds since the epoch."""

    id: str
    kind: str
    service: str
    release: str
    started_at: float
    timeout_s: float


class Tasks:
    """All tasks of a project that are still known. `mask_of` gives what hides the secrets of a release, by its id.

    `changed` is called whenever a task has ended. Builds run in the network of this machine, where the internet is; all else
    runs in that of `region`, where the stores are.
    """

    def __init__(
        self,
        project: Project,
        processes: Processes,
        mask_of: Callable[[str], Callable[[str], str]],
        changed: Callable[[], None],
        network: Network,
        region: str,
    ) -> None:
        self._network = network
        self._region = region
        self._project = project
        self._processes = processes
        self._mask_of = mask_of
        self._changed = changed
        self._records: dict[str, _Record] = {}
        self._running: dict[str, Process] = {}
        self._finished: dict[str, TaskSeen] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}

    def adopt(self, trees: Mapping[TreeKey, Tree]) -> None:
        """Learn of every task that was started and is still kept, watch those that run, end what others left behind."""
        for path in self._project.tasks.glob("*.started"):
            record = _read_record(path)
            self._records[record.id] = record
        for key, tree in trees.items():
            if key.kind != "task" or key.id in self._running or key.id in self._ending:
                continue
            process = self._processes.adopt(tree)
            if process is None or key.id not in self._records:
                self._end(key.id, self._processes.stop(key, _STRAYS_GRACE_S))
            else:
                self._watch(key.id, process)
        self._prune()

    def knows(self, task: str) -> bool:
        """True when the task was started before, by whomever."""
        return task in self._records

    def run(self, effect: RunTask, around: Surroundings, now: float) -> Process:
        """Start a task that is not known yet. Raises `Retryable` when it can't be noted or started: then it did not run."""
        self._prune()
        record = _Record(effect.task, effect.kind, effect.service, effect.release, now, effect.timeout_s)
        exit_file = self._file(effect.task, "exit")
        command = Command(
            argv=("/bin/sh", "-c", _RUN, "sh", effect.command, str(exit_file)),
            env=around.env,
            cwd=around.cwd,
            log=self.log_file(effect.task),
            tags={environment.SERVICE: effect.service, environment.RELEASE: effect.release},
        )
        started = self._file(effect.task, "started")
        try:
            self._project.tasks.mkdir(parents=True, exist_ok=True)
            _write_through(exit_file.with_name(exit_file.name + ".new"), _EXIT_ROOM)
            _write_through(started, json.dumps(asdict(record)).encode())
        except OSError as error:
            started.unlink(missing_ok=True)
            raise Retryable(f"task {effect.task} can't start: its start can't be noted: {error.strerror}") from error
        try:
            with nullcontext() if effect.kind == "build" else self._network.inside(self._region):
                process = self._processes.spawn(_key(effect.task), command)
        except (Retryable, Permanent):
            # It is certain that nothing ran, so it may be tried again.
            started.unlink(missing_ok=True)
            raise
        self._records[effect.task] = record
        self._watch(effect.task, process)
        return process

    async def stop(self, task: str, grace_s: float, why: str) -> None:
        """End a task's whole tree; `why` is told at the end of its tail. Nothing happens when it has ended."""
        if task in self._running:
            ending = self._ending.get(task) or self._end(task, self._stop(task, grace_s, why))
            await asyncio.shield(ending)

    def end_overdue(self) -> None:
        """Begin to end the tasks that run longer than they may."""
        for task, process in self._running.items():
            record = self._records[task]
            if process.identity.age_s > record.timeout_s and task not in self._ending:
                why = f"ended after {record.timeout_s:g} s, the most it may take"
                self._end(task, self._stop(task, _GRACE_S, why))

    def seen(self, now: float) -> list[TaskSeen]:
        """Every task, as it is now."""
        return [self._see(record, now) for record in self._records.values()]

    def running(self, release: str) -> list[str]:
        """The tasks of a release that run."""
        return [task for task in self._running if self._records[task].release == release]

    def running_logs(self) -> list[Path]:
        """The logs that tasks are writing to."""
        return [self.log_file(task) for task in self._running]

    def log_file(self, task: str) -> Path:
        """Where a task's output is."""
        return self._project.logs / "tasks" / f"{_file_name(task)}.log"

    def close(self) -> None:
        """Let go of all tasks; they go on."""
        for process in self._running.values():
            process.close()
        for ending in self._ending.values():
            ending.cancel()

    def _see(self, record: _Record, now: float) -> TaskSeen:
        finished = self._finished.get(record.id)
        if finished is not None:
            return replace(finished, seen_at=now)
        fact = TaskSeen(
            id=record.id,
            kind=record.kind,
            service=record.service,
            release=record.release,
            state=TaskState.RUNNING,
            started_at=record.started_at,
            seen_at=now,
        )
        # One that is being ended counts as running until its end is noted: its process goes a moment before.
        if record.id in self._running or record.id in self._ending:
            return fact
        exit_file = self._file(record.id, "exit")
        code = _read_code(exit_file)
        state = TaskState.UNKNOWN if code is None else TaskState.SUCCEEDED if code == 0 else TaskState.FAILED
        ended_at = now if code is None else exit_file.stat().st_mtime
        fact = replace(fact, state=state, ended_at=ended_at, exit_code=code, tail=self._tail(record, state))
        self._finished[record.id] = fact
        return fact

    def _tail(self, record: _Record, state: TaskState) -> str:
        mask = self._mask_of(record.release)
        said = "\n".join(mask(line) for line in logs.tail(self.log_file(record.id), _TAIL_LINES))[-_TAIL_CHARS_MAX:]
        why = self._file(record.id, "why")
        if why.exists():
            return f"{said}\n{why.read_text()}".strip()
        if state is TaskState.UNKNOWN:
            return f"{said}\nended without an exit status: it was killed, or its start was cut short".strip()
        return said

    def _watch(self, task: str, process: Process) -> None:
        self._running[task] = process
        process.watch(lambda _process: self._gone(task))

    def _gone(self, task: str) -> None:
        """Its process has ended: end what it left running behind it."""
        self._running.pop(task, None)
        if task not in self._ending:
            self._end(task, self._processes.stop(_key(task), _STRAYS_GRACE_S))

    async def _stop(self, task: str, grace_s: float, why: str) -> None:
        with contextlib.suppress(OSError):  # The reason is a kindness; a full disk must not keep the task alive.
            self._file(task, "why").write_text(why)
        await self._processes.stop(_key(task), grace_s)
        room = self._file(task, "exit.new")
        if room.exists():  # The shell that would have noted the exit code had to be killed too.
            with room.open("r+b") as file:
                file.write(f"{_KILLED:3d}\n".encode())
            room.replace(self._file(task, "exit"))

    def _end(self, task: str, ending: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Let `ending` run to its end, also when whoever asked for it stops waiting."""

        def done(ended: asyncio.Task[None]) -> None:
            self._ending.pop(task, None)
            if not ended.cancelled():
                ended.exception()  # Told to whoever waits; what can't be killed is found again at the next start.
                self._changed()

        self._ending[task] = asyncio.create_task(ending)
        self._ending[task].add_done_callback(done)
        return self._ending[task]

    def _prune(self) -> None:
        """Forget the oldest tasks that have ended, beyond those that are kept."""
        ended = [record for record in self._records.values() if record.id not in self._running]
        ended.sort(key=lambda record: record.started_at)
        for record in ended[: max(0, len(ended) - _KEPT_MAX)]:
            for suffix in ("exit", "exit.new", "why", "started"):
                self._file(record.id, suffix).unlink(missing_ok=True)
            self.log_file(record.id).unlink(missing_ok=True)
            self._processes.table.tag_file(self.log_file(record.id)).unlink(missing_ok=True)
            del self._records[record.id]
            self._finished.pop(record.id, None)

    def _file(self, task: str, suffix: str) -> Path:
        return self._project.tasks / f"{_file_name(task)}.{suffix}"


def _key(task: str) -> TreeKey:
    return TreeKey("task", task)


def _file_name(task: str) -> str:
    return task.replace("/", ":")


def _read_record(path: Path) -> _Record:
    """What a `started` file says; one that was damaged from outside still tells that its task was started."""
    try:
        fields = json.loads(path.read_text())
        return _Record(**fields)
    except (ValueError, TypeError):
        return _Record(path.name.removesuffix(".started"), "", "", "", path.stat().st_mtime, 0.0)


def _read_code(path: Path) -> int | None:
    """The exit code in an exit file; None when it is not there or says nothing."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _write_through(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole, or not at all, also after a loss of power."""
    fresh = path.with_name(path.name + ".part")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
