"""Starts processes that outlive this one, finds them again, ends whole trees of them. Stage: effects -> world.

Every process runs in a session of its own with its standard input closed and its output appended to a file, so that
nothing of the control plane is needed to keep it running. It carries `TENFOLD_*` tags in its environment, by which
`look` finds it again.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.drivers.proctable import (
    TAG_LEADER,
    TAG_STARTED_AT,
    TICKS_PER_S,
    Identity,
    ProcessTable,
    Stat,
    Tree,
    TreeKey,
    memory_bytes,
    read_stat,
)
from tenfold.drivers.project import Project
from tenfold.ports import Permanent, Retryable
from tenfold.wire import environment

__all__ = [
    "Command",
    "Identity",
    "Process",
    "Processes",
    "Stat",
    "Tree",
    "TreeKey",
    "Usage",
    "send",
    "shell",
]

_WRAPPER = (
    'for group in $TENFOLD_CGROUPS; do echo $$ > "$group/cgroup.procs"; done; '
    f'unset TENFOLD_CGROUPS; export {TAG_LEADER}=$$; exec "$@"'
)
"""What starts every process: it joins its cgroups before anything can be forked, and notes who leads the tree."""

_INHERITED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that whoever started this process may have set to be ignored."""

_KILL_WITHIN_S = 5.0
_POLL_S = 0.02
_USAGE_EVERY_S = 0.5


def shell(command: str, path: str) -> tuple[str, ...]:
    """The arguments that run `command` in a shell, with `path` as its PATH.

    A single program takes the shell's place, so that it leads its tree and its end is told exactly; whatever else a shell
    understands runs below it.
    """
    return ("/bin/sh", "-c", f"exec {command}" if _is_one_program(command, path) else command)


def _is_one_program(command: str, path: str) -> bool:
    if "\n" in command.strip():
        return False
    try:
        words = list(shlex.shlex(command, posix=True, punctuation_chars=";&|()"))
    except ValueError:
        return False  # A quote is missing: the shell will say so.
    if not words or any(set(word) <= set(";&|()") for word in words):
        return False
    return "/" in words[0] or shutil.which(words[0], path=path) is not None


@dataclass(frozen=True, slots=True)
class Command:
    """What to start: `argv` with exactly `env` (and the tags), in `cwd`, its output appended to `log`.

    `log` lies under the project's logs. `user` and `group` are numeric ids, None to keep the invoker's. `tags` are
    further `TENFOLD_*` variables. `cgroups` are folders of control groups to join.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    user: int | None = None
    group: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    cgroups: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tree uses: `cpu_cores` since the look before (None at the first), `memory_bytes` now."""

    cpu_cores: float | None
    memory_bytes: int


class Process:
    """The leader of a tree: started here, or found again. Signals never reach another process with its pid (pidfd).

    `exit_code` is None while it runs, negative for the signal that killed it; it stays None for one that was not
    started by this process. `started_at` is seconds since the epoch.
    """

    def __init__(
        self, key: TreeKey, identity: Identity, started_at: float, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.key = key
        self.identity = identity
        self.started_at = started_at
        self.ended = False
        self.exit_code: int | None = None
        self._child = child
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pidfd: int | None = None
        try:
            self._pidfd = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            self.ended = True
        if self._child is None and not _is(identity):
            self._end()

    @property
    def pid(self) -> int:
        return self.identity.pid

    def watch(self, ended: Callable[["Process"], None]) -> None:
        """Call `ended` once, from the running event loop, as soon as the process has ended (within a millisecond)."""
        self._loop = asyncio.get_running_loop()
        if self._pidfd is None:
            self._loop.call_soon(ended, self)
            return

        def readable() -> None:
            self.poll()
            ended(self)

        self._loop.add_reader(self._pidfd, readable)

    def poll(self) -> bool:
        """True when it has ended; takes the exit status then, so that no zombie stays."""
        if self.ended:
            return True
        if self._child is not None:
            self.exit_code = self._child.poll()
            if self.exit_code is not None:
                self._end()
        else:
            stat = read_stat(self.pid)
            if stat is None or stat.identity != self.identity or not stat.alive:
                self._end()
        return self.ended

    async def wait(self, timeout_s: float) -> bool:
        """True when it ended within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not self.poll():
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    def send(self, number: int) -> bool:
        """Send it a signal; False when it has ended already."""
        if self._pidfd is None:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        """Stop watching; the process itself goes on."""
        if self._pidfd is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        if self._child is not None and self._child.poll() is None:
            # It is meant to outlive us: tell subprocess not to complain that nobody waited for it.
            self._child.returncode = 0

    def _end(self) -> None:
        self.ended = True
        self.close()


class Processes:
    """All processes of one project on this machine."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.table = ProcessTable(project)
        self._usage: dict[TreeKey, tuple[float, int, float | None]] = {}

    def spawn(self, key: TreeKey, command: Command) -> Process:
        """Start a process that outlives this one. Call from the main thread, where signals can be put right.

        Raises `Permanent` when it can't be started, naming the folder; `Retryable` when the machine has no room now.
        A program that does not exist is told by exit code 127 and a line in its log.
        """
        started_at = time.time()
        tags = {
            **command.tags,
            environment.PROJECT: self.project.id,
            environment.KIND: key.kind,
            environment.ID: key.id,
            TAG_STARTED_AT: repr(started_at),
        }
        try:
            child = self._popen(command, tags)
        except BlockingIOError as error:
            raise Retryable(f"{key.id} can't start: this machine allows no more processes (see ulimit -u)") from error
        except FileNotFoundError as error:
            raise Permanent(f"{key.id} can't start: there is no folder {command.cwd}") from error
        except PermissionError as error:
            raise Permanent(f"{key.id} can't start: no permission to use {error.filename or command.cwd}") from error
        except OSError as error:
            raise Retryable(f"{key.id} can't start: {error.strerror} ({error.filename or command.log})") from error
        except ValueError as error:
            raise Permanent(f"{key.id} can't start: its command or environment holds a zero byte") from error
        stat = read_stat(child.pid)
        assert stat is not None, "a child that was not waited for has an entry in /proc"
        # PostgreSQL's children lead sessions of their own and overwrite their environment; they must not pass for the
        # leader. On a disk that filled up in this moment the process still runs, and is found by its environment.
        with contextlib.suppress(OSError):
            self._write_tags(command.log, {**tags, TAG_LEADER: str(child.pid)})
        return Process(key, stat.identity, started_at, child)

    def _popen(self, command: Command, tags: Mapping[str, str]) -> subprocess.Popen[bytes]:
        command.log.parent.mkdir(parents=True, exist_ok=True)
        self._write_tags(command.log, tags)
        log = os.open(command.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with _plain_signals():
                return subprocess.Popen(
                    ["/bin/sh", "-c", _WRAPPER, "sh", *command.argv],
                    env={**command.env, **tags, "TENFOLD_CGROUPS": " ".join(map(str, command.cgroups))},
                    cwd=command.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    user=command.user,
                    group=command.group,
                    extra_groups=[] if command.user is not None else None,
                )
        finally:
            os.close(log)

    def look(self) -> dict[TreeKey, Tree]:
        """All trees that have a living process, by what they are for."""
        return self.table.look()

    def adopt(self, tree: Tree) -> Process | None:
        """A handle on a tree that was found again; None when its leader has ended (then the rest should be killed)."""
        if tree.leader is None:
            return None
        return Process(tree.key, tree.leader.identity, float(tree.tags.get(TAG_STARTED_AT, 0.0)))

    def send(self, key: TreeKey, number: int) -> int:
        """Send a signal to every process of a tree, strays included; how many got it."""
        tree = self.look().get(key)
        return 0 if tree is None else sum(send(member.identity, number) for member in tree.members)

    async def stop(self, key: TreeKey, grace_s: float, first: int = signal.SIGTERM) -> None:
        """End a tree: signal `first`, then SIGKILL to whatever is left after `grace_s`; returns when nothing is left.

        The leader is told alone, since servers end their own workers in their own order; what outlives it is told next. A
        frozen tree is thawed to hear it. Raises `Retryable` when a process can't be killed (it hangs in the kernel).
        """
        if grace_s > 0:
            await self._ask_to_end(key, grace_s, first)
        deadline = time.monotonic() + _KILL_WITHIN_S
        while self.send(key, signal.SIGKILL):
            if time.monotonic() > deadline:
                raise Retryable(
                    f"{key.id} could not be killed: a process of it hangs in the kernel; look at its disk and mounts"
                )
            await asyncio.sleep(_POLL_S)
        self._usage.pop(key, None)

    def usage(self, trees: Mapping[TreeKey, Tree]) -> dict[TreeKey, Usage]:
        """CPU and memory of each tree of one look. Looks closer together than half a second share one CPU figure."""
        now = time.monotonic()
        found: dict[TreeKey, Usage] = {}
        for key, tree in trees.items():
            ticks = sum(member.cpu_ticks for member in tree.members)
            before = self._usage.get(key)
            cores = before[2] if before else None
            if before is None:
                self._usage[key] = (now, ticks, None)
            elif now - before[0] >= _USAGE_EVERY_S:
                # A child that nobody waited for takes its ticks with it, hence the floor.
                cores = max(0.0, (ticks - before[1]) / TICKS_PER_S / (now - before[0]))
                self._usage[key] = (now, ticks, cores)
            found[key] = Usage(cores, memory_bytes(tree.members))
        self._usage = {key: used for key, used in self._usage.items() if key in trees}
        return found

    async def _ask_to_end(self, key: TreeKey, within_s: float, first: int) -> None:
        """Signal the leader, then what it left behind, and wait until nothing lives, at most `within_s`."""
        deadline = time.monotonic() + within_s
        told: set[Identity] = set()
        while (tree := self.look().get(key)) is not None and time.monotonic() < deadline:
            listeners = (tree.leader,) if tree.leader is not None else tree.members
            for member in listeners:
                if member.identity not in told:
                    told.add(member.identity)
                    send(member.identity, first)
            for member in tree.members:
                send(member.identity, signal.SIGCONT)
            await _ended([member.identity for member in listeners], deadline)

    def _write_tags(self, log: Path, tags: Mapping[str, str]) -> None:
        path = self.table.tag_file(log)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(path.suffix + ".new")
        fresh.write_text("".join(f"{name}={value}\n" for name, value in tags.items()))
        fresh.replace(path)


async def _ended(identities: Sequence[Identity], deadline: float) -> None:
    """Wait until none of these lives, or until `deadline`; asks less and less often."""
    pause_s = _POLL_S
    while any(_is(identity) for identity in identities) and (left_s := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, 0.25)


def _is(identity: Identity) -> bool:
    stat = read_stat(identity.pid)
    return stat is not None and stat.identity == identity and stat.alive


def killed_by(number: int) -> str:
    """`killed by signal 9, SIGKILL`; not every real-time signal has a name."""
    try:
        return f"killed by signal {number}, {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"


def send(identity: Identity, number: int) -> bool:
    """Signal exactly this process; False when it is gone."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    try:
        # The pidfd holds on to whoever has the pid now; only then is it worth asking who that is.
        if not _is(identity):
            return False
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


@contextlib.contextmanager
def _plain_signals() -> Iterator[None]:
    """Children get no blocked and no ignored signals, whatever this process was started with (`nohup`, `&`)."""
    if threading.current_thread() is threading.main_thread():
        for number in _INHERITED:
            if signal.getsignal(number) is signal.SIG_IGN:
                # A handler that does nothing is as good as ignoring here, and `exec` turns it into the default there.
                signal.signal(number, lambda _number, _frame: None)
    blocked = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
