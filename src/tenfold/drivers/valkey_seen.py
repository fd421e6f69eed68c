"""Asks a Valkey: whether it serves, what part it plays, how far behind it is. Stage: world -> facts, below drivers.valkey."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import ConnectionPool, Redis, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, BusyLoadingError, RedisError

from tenfold.drivers.enginehome import near
from tenfold.drivers.store import answer_age_s
from tenfold.drivers.storework import Work, read_valkey
from tenfold.drivers.vitals import NotAnswering
from tenfold.facts import ReplicaRole, ReplicaSeen, StoreSeen

_TIMEOUT_S = 3.0
_SILENT_S = 2
"""A primary sends something each second; one that has not for longer may be gone."""
_URL_HELP = "write redis://:password@host:6379/0"

Said = Mapping[str, Any]
"""What INFO says under `replication`."""
RegionAt = Callable[[str, int], str]
"""Whose store listens at an address."""


def by_url(url: str) -> Redis:
    """A connection to a Valkey or Redis anywhere."""
    url = url.replace("valkey://", "redis://", 1).replace("valkeys://", "rediss://", 1)
    return Redis.from_url(
        url,
        protocol=2,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        client_name="tenfold",
    )


class _Near(UnixDomainSocketConnection):
    """A connection to a socket whose path may be longer than the kernel takes."""

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(path=path, **options)
        self._whole = Path(path)

    async def _connect(self) -> None:
        with near(self._whole.parent) as short:
            self.path = f"{short}/{self._whole.name}"
            await super()._connect()  # type: ignore[no-untyped-call]


def by_socket(path: Path, password: str) -> Redis:
    """A connection to the Valkey whose socket is at `path`."""
    pool = ConnectionPool(
        connection_class=_Near,
        path=str(path),
        password=password,
        protocol=2,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        client_name="tenfold",
    )
    return Redis.from_pool(pool)


@dataclass(slots=True)
class Watched:
    """When, on the steady clock, a standby was last seen to have all: of a primary its standby, of a standby itself."""

    whole_at_s: float | None = None


def replicas_of(said: Said, region_at: RegionAt) -> dict[str, int]:
    """How far the standbys that follow a primary said they are, by region."""
    told = (said[f"slave{n}"] for n in range(int(said.get("connected_slaves", 0))) if f"slave{n}" in said)
    ends = {region_at(str(one["ip"]), int(one["port"])): one for one in told if one["state"] == "online"}
    return {region: int(one["offset"]) for region, one in ends.items() if region}


def primary_seen(
    region: str, said: Said, asked_s: float, places: Mapping[str, int | None], watched: Watched, timeline: int
) -> ReplicaSeen:
    """The fact of a primary. `said` was asked for at `asked_s`; `places` are how far its standbys said afterwards that they are."""
    now_s, lag_s = time.monotonic(), None
    if places:
        # What a standby has told its primary is up to a second old; what it says itself is not.
        if any(place is not None and place >= int(said["master_repl_offset"]) for place in places.values()):
            watched.whole_at_s = asked_s
        watched.whole_at_s = asked_s if watched.whole_at_s is None else watched.whole_at_s
        lag_s = answer_age_s(watched.whole_at_s, now_s)
    return ReplicaSeen(
        "valkey", region, ReplicaRole.PRIMARY, time.time(), timeline, standbys=tuple(sorted(places)), lag_s=lag_s
    )


def standby_seen(region: str, said: Said, watched: Watched, region_at: RegionAt, timeline: int) -> ReplicaSeen:
    """The fact of a standby."""
    now_s = time.monotonic()
    hears = said["master_link_status"] == "up" and 0 <= int(said["master_last_io_seconds_ago"]) <= _SILENT_S
    if hears:
        watched.whole_at_s = now_s
    return ReplicaSeen(
        "valkey",
        region,
        ReplicaRole.STANDBY,
        time.time(),
        timeline,
        follows=region_at(str(said["master_host"]), int(said["master_port"])) if hears else "",
        lag_s=None if watched.whole_at_s is None else now_s - watched.whole_at_s,
    )


class Asker:
    """Asks a Valkey or Redis over what `connect` opens; `where` is where the URL or the password is written. With `work` it asks also
    what was done there."""

    def __init__(self, connect: Callable[[], Redis], address: str, where: str, work: Work | None = None) -> None:
        self._work = work
        self._connect = connect
        self._address = address
        self._where = where
        self._client: Redis | None = None
        self._version = ""

    async def ping(self) -> str:
        """Its version. Raises `NotAnswering`; may hang when the store does."""
        try:
            if self._client is None:
                self._client = self._connect()
                self._version = ""
            if not self._version:
                found = await self._client.info("server")
                valkey = found.get("valkey_version")
                self._version = f"Valkey {valkey}" if valkey else f"Redis {found.get('redis_version', '')}"
            await self._client.ping()
            if self._work is not None:
                await read_valkey(self._client, self._work)
        except (RedisError, OSError, ValueError) as error:
            await self.close()
            raise NotAnswering(self._explain(error)) from error
        return self._version

    def work(self) -> StoreSeen | None:
        """What was done, as its counters tell it."""
        return None if self._work is None else self._work.seen

    @property
    def client(self) -> Redis:
        """The connection; there is one since it last answered."""
        assert self._client is not None, "it has answered"
        return self._client

    async def guard(self, asking: Awaitable[None]) -> None:
        """Await more questions; raises `NotAnswering` when they fail."""
        try:
            await asking
        except (RedisError, OSError) as error:
            await self.close()
            raise NotAnswering(self._explain(error)) from error

    async def close(self) -> None:
        """Close the connection."""
        if self._work is not None:
            self._work.start_over()
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
