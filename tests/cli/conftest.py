"""A person at a terminal: runs the real `tenfold` in a folder of its own, and leaves nothing running behind."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tenfold.drivers.limits import Limits
from tenfold.drivers.procs import Processes, read_stat
from tenfold.drivers.project import Project
from tenfold.loop import FileLease
from tests.ports import free_port

PROGRAM = Path(sys.executable).parent / "tenfold"
PATIENCE_S = 120.0
"""Nothing here takes this long; whatever does hangs."""

NOISE = re.compile(r"Traceback|ev_poll|fork|WARNING|ResourceWarning|\bI0000\b|a bug in Tenfold", re.IGNORECASE)
"""What no person should ever see: tracebacks, warnings of libraries, our own excuses."""

APP = """
import http.server, json, os, pathlib, signal, sqlite3, sys, time, urllib.parse

VERSION = "one"

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        status, text = 200, VERSION
        if url.path == "/env":
            text = os.environ.get(asked["name"], "(not there)")
        elif url.path == "/count":
            with sqlite3.connect("counts.db") as db:
                db.execute("CREATE TABLE IF NOT EXISTS counts (n INTEGER)")
                db.execute("INSERT INTO counts VALUES (1)")
                text = str(db.execute("SELECT count(*) FROM counts").fetchone()[0])
        elif url.path == "/slow":
            time.sleep(float(asked["s"]))
        elif url.path == "/fail":
            status = 500
        elif VERSION == "doomed" and url.path == "/":
            os._exit(5)
        body = text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *values):
        print("asked for", self.path, flush=True)


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
server.daemon_threads = True
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server.serve_forever()
"""
"""A small app, unchanged by Tenfold: it reads $PORT."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    def failed(self, code: int, *words: str) -> "Ended":
        """Assert that it failed with `code` and one plain message that holds all `words`."""
        assert self.code == code, self
        assert self.err.startswith("Error: "), self
        for word in words:
            assert word in self.err, self
        return self.plain()

    def went_well(self, *words: str) -> "Ended":
        """Assert that it ended with 0 and said all `words`."""
        assert self.code == 0, self
        for word in words:
            assert word in self.text, self
        return self.plain()

    def plain(self) -> "Ended":
        """Assert that nothing but plain sentences was said."""
        assert not NOISE.search(self.text), self.text
        return self


def surroundings(columns: int = 140) -> dict[str, str]:
    """The environment of a person: no tags of ours, no colours, a terminal of that width."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TENFOLD_", "PYTEST_"))}
    env["PATH"] = f"{PROGRAM.parent}{os.pathsep}{env['PATH']}"
    return env | {"COLUMNS": str(columns), "NO_COLOR": "1"}


@dataclass
class Place:
    """A project's folder, and a person who works in it."""

    root: Path
    columns: int = 140
    prefix: tuple[str, ...] = (str(PROGRAM),)
    env: dict[str, str] = field(default_factory=dict)
    user: int | None = None
    port: int = field(default_factory=free_port)
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def project(self) -> Project:
        return Project(self.root.resolve(), self.root.name)

    def write(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def app(self, version: str = "one", **changes: str) -> None:
        """The small app, answering with `version`."""
        self.write("app.py", APP.replace('VERSION = "one"', f'VERSION = "{version}"'))

    def blueprint(self, web: str = "", rest: str = "", edge: bool = True) -> None:
        """A blueprint with the small app as `web` (further keys of it in `web`), and `rest` beside."""
        command = "" if "command:" in web else "command: python3 app.py, "
        inner = ", ".join(filter(None, (command.rstrip(", "), web)))
        port = f"edge: {{port: {self.port}}}\n" if edge else ""
        self.write("tenfold.yaml", f"name: shop\nservices:\n  web: {{{inner}}}\n{port}{rest}\n")

    def popen(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        """Start a command in a session of its own, its output in pipes."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
        process = subprocess.Popen(
            [*self.prefix, *words],
            cwd=self.root,
            env=surroundings(self.columns) | self.env,
            text=True,
            start_new_session=True,
            user=self.user,
            group=self.user,
            **options,
        )
        self.started.append(process)
        return process

    def run(self, *words: str, given: str = "", patience_s: float = PATIENCE_S) -> Ended:
        """Run a command to its end; `given` is typed in."""
        process = self.popen(*words, stdin=subprocess.PIPE)
        return self.end_of(process, given, patience_s)

    def run_all(self, *calls: tuple[str, ...]) -> list[Ended]:
        """Run several commands at the same time; how each ended, in their order."""
        processes = [self.popen(*words) for words in calls]
        return [self.end_of(process) for process in processes]

    def end_of(self, process: "subprocess.Popen[str]", given: str = "", patience_s: float = PATIENCE_S) -> Ended:
        """Wait for a command's end."""
        try:
            out, err = process.communicate(given or None, timeout=patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"it hangs: {process.args}\n{out}\n{err}") from None
        return Ended(process.returncode, out, err)

    def up(self, *words: str) -> Ended:
        """Up, behind the terminal."""
        return self.run(*words, "up", "--detach").went_well(f"serves at http://127.0.0.1:{self.port}")

    def status(self) -> Any:
        """`status --json`."""
        return json.loads(self.run("status", "--json").went_well().out)

    def get(self, path: str = "/") -> str:
        """Ask the edge; the answer's text."""
        return self.ask(path)[2]

    def ask(self, path: str = "/") -> tuple[int, Any, str]:
        """Ask the edge: status, headers and text of the answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def control_plane(self) -> int | None:
        """The control plane's pid."""
        return FileLease(self.project.run / "lease").holder()

    def running(self) -> dict[str, tuple[int, ...]]:
        """What runs of the project: pids by name."""
        trees = Processes(self.project).look()
        return {key.id: tuple(member.pid for member in tree.members) for key, tree in trees.items()}

    def nothing_runs(self) -> None:
        """Assert it (a process that is just being reaped counts as gone)."""
        wait_for(lambda: not self.running() and self.control_plane() is None, 5.0, f"the end of {self.running()}")

    def wait_for(self, condition: Callable[[], Any], what: str, patience_s: float = 60.0) -> Any:
        """Poll until `condition` gives something true; that is returned."""
        return wait_for(condition, patience_s, what)

    def say_until(self, process: "subprocess.Popen[str]", word: str) -> str:
        """Read what a command says until `word` comes; all that was said."""
        assert process.stdout is not None
        said = ""
        while word not in said:
            line = process.stdout.readline()
            assert line, f"it ended before it said {word!r}: {said}"
            said += line
        return said

    def kill(self, pid: int) -> None:
        """SIGKILL, and wait until the process is gone (or a zombie of whoever started it)."""
        os.kill(pid, signal.SIGKILL)
        self.wait_for(lambda: (stat := read_stat(pid)) is None or not stat.alive, f"the end of {pid}")

    async def run_under_load(self, *words: str, per_s: float = 20.0) -> tuple[Ended, list[str]]:
        """Run a command while requests come at a steady rate: how it ended, and each answer or what went wrong."""
        answers: list[str] = []
        process = self.popen(*words)
        asks: set[asyncio.Task[None]] = set()

        async def ask() -> None:
            try:
                status, _, text = await asyncio.to_thread(self.ask)
                answers.append(text if status == 200 else f"{status}: {text}")
            except OSError as error:
                answers.append(f"failed: {error}")

        while process.poll() is None:
            asks.add(asyncio.create_task(ask()))
            await asyncio.sleep(1 / per_s)
        await asyncio.gather(*asks)
        return self.end_of(process), answers

    def clean(self) -> None:
        """Down; and whatever is left is killed and counts as a failure of nobody."""
        for process in self.started:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                process.wait()
            for stream in (process.stdout, process.stderr, process.stdin):
                if stream is not None:
                    stream.close()
        for process in psutil.process_iter(["cwd"]):
            # A control plane, also one that does not lead yet.
            if process.info["cwd"] == str(self.root.resolve()) and process.pid != os.getpid():
                with contextlib.suppress(psutil.Error):
                    process.kill()
        if not self.project.state.exists():
            return
        processes = Processes(self.project)
        for _ in range(50):
            trees = processes.look()
            if not trees:
                break
            for key in trees:
                processes.send(key, signal.SIGKILL)
            time.sleep(0.1)
        Limits(self.project).sweep(frozenset())


def wait_for(condition: Callable[[], Any], patience_s: float, what: str) -> Any:
    """Poll until `condition` gives something true; that is returned."""
    until = time.monotonic() + patience_s
    while not (found := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"waited {patience_s:g} s for {what}")
        time.sleep(0.05)
    return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty folder of one's own."""
    root = tmp_path / "shop"
    root.mkdir()
    made = Place(root)
    yield made
    made.clean()


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes folders: by name below a temporary one."""
    made: list[Place] = []

    def make(name: str = "shop", **options: Any) -> Place:
        root = tmp_path / name
        root.mkdir(parents=True)
        made.append(Place(root, **options))
        return made[-1]

    yield make
    for place in made:
        place.clean()


@pytest.fixture(scope="module")
def shop() -> Iterator[Place]:
    """The small app, up and serving: shared by the tests of a module, each of which leaves it serving."""
    folder = Path(tempfile.mkdtemp(prefix="tenfold-cli-"))
    made = Place(folder)
    made.app()
    yield made
    made.clean()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def unprivileged() -> Iterator[Place]:
    """The folder of a person without root's rights; whoever runs this as root becomes one."""
    folder = Path(tempfile.mkdtemp(prefix="tenfold-cli-")).resolve()
    root = folder / "shop"
    root.mkdir()
    made = Place(root)
    if os.geteuid() == 0:
        made.user = NOBODY
        for path in (folder, root):
            os.chown(path, NOBODY, NOBODY)
        made.prefix = (*_program_for(made.user), "-c", "from tenfold.cli import main; main()")
        made.env = {"HOME": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    yield made
    made.clean()
    shutil.rmtree(folder, ignore_errors=True)


NOBODY = 65534


def _program_for(user: int) -> tuple[str, ...]:
    """A Python of this version that `user` may run: root's own may lie in a folder that is closed to others."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with contextlib.suppress(OSError):
            asked = [python, "-c", "import sys; print(sys.version_info[:2])"]
            said = subprocess.run(asked, user=user, group=user, capture_output=True, text=True, check=False).stdout
            if said.strip() == str(sys.version_info[:2]):
                return (python,)
    pytest.skip(f"no Python {sys.version_info[0]}.{sys.version_info[1]} here may be run by user {user}")
