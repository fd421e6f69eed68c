"""The control plane that stands by in another region, as an engine: started detached, found again, asked whether it is well.
Stage: effects -> world.

And what control planes leave for others to find, in files on this machine: the sign of life of one that stands by, and the note of
who leads.
"""

import contextlib
import importlib.metadata
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tenfold.drivers.engine import EngineDriver, Launch
from tenfold.drivers.fence import Fence
from tenfold.drivers.procs import Identity
from tenfold.drivers.proctable import read_stat
from tenfold.drivers.project import Project
from tenfold.drivers.vitals import NotAnswering
from tenfold.ports import Permanent

KIND = "control"
SIGN_OLD_S = 3.0
"""A sign of life older than this is none."""


@dataclass(frozen=True, slots=True)
class Post:
    """A control plane's process: the region it stands in (empty: there is one region), and which process of this machine it is. Its name is
    never another's."""

    region: str
    pid: int
    start_ticks: int

    @classmethod
    def own(cls, region: str) -> "Post":
        """The post of this process, in `region`."""
        stat = read_stat(os.getpid())
        assert stat is not None, "a process sees itself"
        return cls(region, stat.pid, stat.start_ticks)

    @classmethod
    def read(cls, name: str) -> "Post | None":
        """The post of that name; None when it is no post's name."""
        region, _, rest = name.partition("/")
        pid, _, ticks = rest.partition("/")
        return cls(region, int(pid), int(ticks)) if pid.isdigit() and ticks.isdigit() else None

    @property
    def name(self) -> str:
        return f"{self.region}/{self.pid}/{self.start_ticks}"

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.start_ticks)

    @property
    def is_alive(self) -> bool:
        """True while it runs on this machine, frozen or not."""
        stat = read_stat(self.pid)
        return stat is not None and stat.identity == self.identity and stat.alive


def note_leader(project: Project, post: Post) -> None:
    """Leave word that `post` leads now. On a full disk there is none: it leads nevertheless."""
    fresh = project.run / f"leader.{post.pid}"
    with contextlib.suppress(OSError):
        fresh.write_bytes(msgspec.json.encode(post))
        fresh.replace(project.run / "leader")


def find_leader(project: Project) -> Post | None:
    """Who led last and still runs here (it may be frozen, or about to find out that it leads no more); None when nobody does."""
    try:
        post = msgspec.json.decode((project.run / "leader").read_bytes(), type=Post)
    except (OSError, msgspec.DecodeError):
        return None
    return post if post.is_alive else None


class SignOfLife:
    """The file by which a control plane that stands by shows that it is well. Written in place: a full disk silences nobody."""

    def __init__(self, project: Project, region: str) -> None:
        self._path = project.run / f"{KIND}-{region}.alive"

    def give(self) -> None:
        """Show that it is well now."""
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            os.pwrite(handle, f"{_since_boot_s():020.3f}\n".encode(), 0)
        except OSError:
            return
        finally:
            os.close(handle)

    def age_s(self) -> float | None:
        """How long ago the last one was given; None when there was none."""
        try:
            return _since_boot_s() - float(self._path.read_text())
        except (OSError, ValueError):
            return None

    def remove(self) -> None:
        """Forget the last one."""
        self._path.unlink(missing_ok=True)


def _since_boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ControlDriver(EngineDriver):
    """The control planes of one project that stand by. The one that leads, which runs this, is not among them."""

    def __init__(self, project: Project, fence: Fence, command: Sequence[str], env: Mapping[str, str]) -> None:
        """`command` and the region's name run one; it finds `env` around it."""
        super().__init__(_Standby(project, tuple(command), env), project, fence)


class _Standby:
    """The recipe of a control plane that stands by."""

    kind = KIND
    stop_signal: int = signal.SIGTERM
    stop_grace_s = 3.0

    def __init__(self, project: Project, command: tuple[str, ...], env: Mapping[str, str]) -> None:
        self._project = project
        self._command = command
        self._env = env
        self._version = f"Tenfold {importlib.metadata.version('tenfold')}"

    async def prepare(self, region: str) -> Launch:
        """Nothing but to forget the one before."""
        if not self._project.root.is_dir():
            raise Permanent(f"{self._project.root} is gone: bring the project's folder back.")
        self._sign(region).remove()
        return Launch((*self._command, region), self._env, Path("/"))

    async def ping(self, region: str) -> str:
        """Look at its sign of life."""
        age_s = self._sign(region).age_s()
        if age_s is None:
            raise NotAnswering("it has not begun to stand by yet.")
        if age_s > SIGN_OLD_S:
            raise NotAnswering(f"it has given no sign of life for {age_s:.0f} s.")
        return self._version

    async def forget(self, region: str) -> None:
        """There is no connection to it."""

    def address(self, region: str) -> str:
        """Nobody calls it."""
        return ""

    def warning(self, region: str) -> str:
        """It holds no data."""
        return ""

    def last_words(self, lines: list[str]) -> str:
        """The last line: its error, when it ended with one."""
        return lines[-1] if lines else ""

    def _sign(self, region: str) -> SignOfLife:
        return SignOfLife(self._project, region)
