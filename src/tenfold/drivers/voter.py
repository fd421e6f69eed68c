"""The voters of the control planes' lease: small embedded Valkeys, one in each voting region. Stage: beside the journey; see
drivers.quorum, which asks them.

They are kept running like any engine. The first ones must run before there is a lease: whoever would lead starts them then
(`VoterDriver.found`), which needs no lease, since what a voter promised lies in its own data.
"""

import asyncio
import secrets
import signal
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from tenfold.drivers.engine import EngineDriver, Launch
from tenfold.drivers.enginehome import Home, load_settings, own_home, save_settings, space_note, write_file
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts, is_free
from tenfold.drivers.network import Network
from tenfold.drivers.project import Project
from tenfold.drivers.valkey import WHEEL, ValkeySettings
from tenfold.drivers.vitals import NotAnswering
from tenfold.drivers.wheels import wheel_file
from tenfold.ports import DriverError, Retryable
from tenfold.wire import lease as wire

KIND = "voter"
MEMORY_BYTES_MAX = 32 * 1024 * 1024
REPLY_BYTES_MAX = 4096

_ASK_S = 1.0
_FOUND_S = 10.0
_FOUND_EVERY_S = 0.02
_TTL_MS: Final = round(wire.TTL_S * 1000)


class NoVote(Exception):
    """The voter could not be asked; the text says why."""


@dataclass(frozen=True, slots=True)
class Vote:
    """A voter's answer: it votes for who asked (`is_given`), whom it knew already under that epoch (`is_renewal`); else for `holder`
    under `epoch`, and for nobody else for `left_s`."""

    is_given: bool
    is_renewal: bool
    epoch: int
    holder: str
    left_s: float


def config_text(settings: ValkeySettings, host: str, data: Path) -> str:
    """The voter's configuration file. It holds the password, so that no list of processes shows it."""
    lines = (
        f"bind {host}",
        f"port {settings.port}",
        f"requirepass {settings.password}",
        f'dir "{data}"',
        "daemonize no",
        'logfile ""',
        # A vote for a new epoch is on the disk before it counts. The log is never rewritten: that would put on the disk what is
        # meant to be forgotten with the process (wire.lease), and a line per takeover is no burden.
        "appendonly yes",
        "appendfsync always",
        "auto-aof-rewrite-percentage 0",
        'save ""',
        f"maxmemory {MEMORY_BYTES_MAX}",
        "maxmemory-policy noeviction",
    )
    return "\n".join(lines) + "\n"


class Voter:
    """One voter, as a control plane in region `asker` reaches it: a connection that is kept, asked from threads, one question at a time."""

    def __init__(self, project: Project, place: str, network: Network, asker: str) -> None:
        self.place = place
        self._home = own_home(project, f"{KIND}-{place}")
        self._network = network
        self._asker = asker
        self._lock = threading.Lock()
        self._reply: BinaryIO | None = None
        self._socket: socket.socket | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; raises `NoVote` before it was made."""
        return _host(self._network, self.place), self._settings().port

    def ask(self, holder: str, epoch: int) -> Vote:
        """Ask for its vote; epoch 0 only looks. Raises `NoVote`."""
        reply = self._run(wire.ASK, (wire.KEY, wire.AWAKE), (holder, str(epoch), str(_TTL_MS)))
        match reply:
            case [int(vote), int(last), str(owner), int(left_ms)]:
                return Vote(vote > 0, vote == 1, last, owner, left_ms / 1000)
        raise NoVote(f"the voter {self.place} gave an answer that nobody understands: {reply}")

    def let_go(self, holder: str, epoch: int) -> None:
        """Give its vote back. Raises `NoVote`."""
        self._run(wire.LET_GO, (wire.KEY,), (holder, str(epoch)))

    def found(self) -> None:
        """Tell it that it is new: it may vote at once. Raises `NoVote`."""
        self._run(wire.FOUND, (wire.KEY,), ())

    def version(self) -> str:
        """What it runs (`Valkey 9.1.2`); raises `NoVote` when it does not serve."""
        info = self._say("INFO", "server")
        lines = str(info).splitlines()
        return next((f"Valkey {line.partition(':')[2]}" for line in lines if line.startswith("valkey_version:")), "")

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            self._hang_up()

    def _run(self, script: str, keys: Sequence[str], values: Sequence[str]) -> object:
        return self._say("EVAL", script, str(len(keys)), *keys, *values)

    def _say(self, *words: str) -> object:
        """One command and its reply, within about `_ASK_S`. A voter that is still being waited for is not asked again."""
        if not self._lock.acquire(blocking=False):
            raise NoVote(f"the voter {self.place} has not answered yet")
        try:
            if self._socket is None:
                self._connect()
            assert self._socket is not None and self._reply is not None
            self._socket.sendall(_encoded(words))
            return _read(self._reply)
        except (OSError, ValueError, NoVote, DriverError) as error:
            self._hang_up()
            raise NoVote(f"the voter {self.place} does not answer: {error or type(error).__name__}") from error
        finally:
            self._lock.release()

    def _connect(self) -> None:
        settings = self._settings()
        with self._network.inside(self._asker):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.settimeout(_ASK_S)
        self._socket.connect((_host(self._network, self.place), settings.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reply = self._socket.makefile("rb")
        self._socket.sendall(_encoded(("AUTH", settings.password)))
        _read(self._reply)

    def _hang_up(self) -> None:
        if self._reply is not None:
            self._reply.close()
        if self._socket is not None:
            self._socket.close()
        self._reply = self._socket = None

    def _settings(self) -> ValkeySettings:
        settings = load_settings(self._home, ValkeySettings)
        if settings is None:
            raise NoVote("it has not been started yet")
        return settings


class VoterDriver(EngineDriver):
    """The voters of one project, as a control plane in region `asker` reaches them."""

    def __init__(self, project: Project, ports: FreePorts, fence: Fence, network: Network, asker: str) -> None:
        self._voters = _Embedded(project, ports, network, asker)
        super().__init__(self._voters, project, fence)

    async def found(self, places: Sequence[str]) -> None:
        """Start those that do not run and wait until they answer, as long as a start takes. Needs no lease. Raises `DriverError`.

        When none of them was ever there nobody can hold a lease by them, and they may vote at once.
        """
        are_new = not any(self._voters.home(place).settings.exists() for place in places)
        await self.observe()
        await asyncio.gather(*(self._meet(place, are_new) for place in places))

    async def _meet(self, place: str, is_new: bool) -> None:
        voter, until_s = self._voters.voter(place), time.monotonic() + _FOUND_S
        while True:
            # Again each time: one that was killed may not have been noticed yet.
            await self.ensure(place)
            try:
                await asyncio.to_thread(voter.found if is_new else voter.version)
            except NoVote as error:
                if time.monotonic() > until_s:
                    raise Retryable(f"{error}: see `tenfold logs`, and try again") from error
                await asyncio.sleep(_FOUND_EVERY_S)
            else:
                return


class _Embedded:
    """The recipe of a voter. It runs as whoever runs Tenfold, its data under `.tenfold`."""

    kind = KIND
    stop_signal: int = signal.SIGTERM
    stop_grace_s = 5.0

    def __init__(self, project: Project, ports: FreePorts, network: Network, asker: str) -> None:
        self._project = project
        self._ports = ports
        self._network = network
        self._asker = asker
        self._voters: dict[str, Voter] = {}

    async def prepare(self, region: str) -> Launch:
        """Choose a free port and write the configuration."""
        program = wheel_file(WHEEL, "/valkey-server")
        home = self.home(region)
        data = home.folder / "data"
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        host = _host(self._network, region)
        settings = load_settings(home, ValkeySettings) or ValkeySettings(self._ports.take(), secrets.token_urlsafe(24))
        with _inside(self._network, region):
            while not is_free(settings.port, host):
                settings = replace(settings, port=self._ports.take())
        save_settings(home, settings)
        config = home.folder / "voter.conf"
        write_file(config, config_text(settings, host, data).encode())
        argv: tuple[str, ...] = (str(program), str(config))
        if region != wire.ENTRY:
            argv = self._network.command(region, argv)
        return Launch(argv, {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}, data)

    async def ping(self, region: str) -> str:
        """Ask it over the connection that is kept."""
        try:
            return await asyncio.to_thread(self.voter(region).version)
        except NoVote as error:
            raise NotAnswering(f"{error}.") from error

    async def forget(self, region: str) -> None:
        """Hang up."""
        voter = self._voters.pop(region, None)
        if voter is not None:
            await asyncio.to_thread(voter.close)

    def address(self, region: str) -> str:
        """Where control planes ask it."""
        host, port = self.voter(region).address
        return f"{host}:{port}"

    def warning(self, region: str) -> str:
        """A disk that is almost full."""
        return space_note(self.home(region).folder)

    def last_words(self, lines: list[str]) -> str:
        """The complaint it ended with."""
        causes = [line for line in lines if "atal" in line or "rror" in line or "ERROR" in line]
        return (causes or lines or [""])[-1]

    def voter(self, region: str) -> Voter:
        """The voter of `region`, to ask."""
        if region not in self._voters:
            self._voters[region] = Voter(self._project, region, self._network, self._asker)
        return self._voters[region]

    def home(self, region: str) -> Home:
        """Where its data and settings are."""
        return own_home(self._project, f"{KIND}-{region}")


def _host(network: Network, place: str) -> str:
    """Where the voter of `place` listens."""
    return network.console_host if place == wire.ENTRY else network.host(place)


def _inside(network: Network, place: str) -> AbstractContextManager[None]:
    return nullcontext() if place == wire.ENTRY else network.inside(place)


def _encoded(words: Sequence[str]) -> bytes:
    """A command as Valkey reads it (RESP 2)."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


def _read(reply: BinaryIO) -> object:
    """One reply (RESP 2): text, whole numbers, lists of them. Raises `NoVote` for an error, `OSError` when the line broke."""
    line = reply.readline(REPLY_BYTES_MAX)
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("it hung up")
    kind, rest = line[:1], line[1:-2]
    match kind:
        case b"+":
            return rest.decode()
        case b"-":
            raise NoVote(rest.decode(errors="replace"))
        case b":":
            return int(rest)
        case b"$" if 0 <= (size_bytes := int(rest)) <= 1 << 20:
            return reply.read(size_bytes + 2)[:-2].decode(errors="replace")
        case b"*":
            return [_read(reply) for _ in range(int(rest))]
    raise ValueError(f"it does not speak as a Valkey does: {line!r}")
