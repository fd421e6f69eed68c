"""A client made from the protocol's own definition, a Prometheus that is told what to say, and a scaler that both can reach."""

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from aiohttp import web
from grpc_tools import protoc

from tenfold.console.keda.asked import Ref
from tenfold.console.keda.brain import Answer
from tenfold.console.keda.server import Server, Tls
from tenfold.console.keda.watched import Objects, Pool

WITHIN_S = 60.0


@dataclass(frozen=True)
class Protocol:
    """The modules that gRPC's own compiler makes: `pb2` with the messages, `grpc` with the client."""

    pb2: Any
    grpc: Any

    def ref(self, name: str = "web", namespace: str = "shop", **metadata: str) -> Any:
        """A ScaledObject as KEDA sends it, with KEDA's own keys among the metadata."""
        known = {"scalerAddress": "scaler.tenfold:9095", **metadata}
        return self.pb2.ScaledObjectRef(name=name, namespace=namespace, scalerMetadata=known)

    def metrics(self, ref: Any, name: str = "tenfold-wanted") -> Any:
        """KEDA's question for the figure."""
        return self.pb2.GetMetricsRequest(scaledObjectRef=ref, metricName=name)


@pytest.fixture(scope="session")
def definition() -> Path:
    """The folder of `externalscaler.proto`."""
    return Path(str(files("tenfold.console.keda")))


@pytest.fixture(scope="session")
def protocol(definition: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Protocol]:
    """Compiled from the definition now."""
    folder = tmp_path_factory.mktemp("protocol")
    call = [
        "protoc",
        f"-I{definition}",
        f"--python_out={folder}",
        f"--grpc_python_out={folder}",
        "externalscaler.proto",
    ]
    assert protoc.main(call) == 0
    names = ("externalscaler_pb2", "externalscaler_pb2_grpc")
    yield Protocol(*(_loaded(folder, name) for name in names))
    for name in names:
        sys.modules.pop(name, None)


def _loaded(folder: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@dataclass
class Told:
    """A pool that says what it is told to: an answer, or what is raised."""

    says: Answer | Exception
    every_s: float = 0.02
    may_sleep: bool = True
    looks: int = 0

    async def look(self, now: float) -> Answer:
        """Say it."""
        self.looks += 1
        await asyncio.sleep(0)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


@dataclass
class Lines:
    """What the scaler said, and a way to wait for it."""

    said: list[tuple[str, Answer | None, str]] = field(default_factory=list)

    def __call__(self, ref: Ref, answer: Answer | None, why: str) -> None:
        self.said.append((ref.title, answer, why))


@dataclass
class Served:
    """A scaler that listens, and a client of it."""

    server: Server
    objects: Objects
    lines: Lines
    port: int
    channel: grpc.aio.Channel
    stub: Any


Serve = Callable[..., Awaitable[Served]]


@pytest_asyncio.fixture
async def serve(protocol: Protocol) -> AsyncIterator[Serve]:
    """Starts scalers that open pools with a function of the test's own; they are stopped after it."""
    running: list[Served] = []

    async def start(
        open_pool: Callable[[Ref], Pool], tls: Tls | None = None, credentials: grpc.ChannelCredentials | None = None
    ) -> Served:
        lines = Lines()
        objects = Objects(open_pool, lines)
        server = Server(objects, "127.0.0.1:0", tls)
        port = await server.start()
        address = f"localhost:{port}" if credentials else f"127.0.0.1:{port}"
        channel = grpc.aio.secure_channel(address, credentials) if credentials else grpc.aio.insecure_channel(address)
        served = Served(server, objects, lines, port, channel, protocol.grpc.ExternalScalerStub(channel))
        running.append(served)
        return served

    yield start
    for served in running:
        await served.channel.close()
        await served.server.stop()


async def refused(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    """With what code and sentence a call is refused; it is wrong for it not to be."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    raise AssertionError(f"answered with {answer}")


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)


@dataclass
class FakePrometheus:
    """Says at each moment what `load` (by query) gives then; None: nothing. `status` other than 200 refuses with `error`."""

    load: dict[str, Callable[[float], float | None]] = field(default_factory=dict)
    status: int = 200
    error: str = ""
    body: bytes | None = None
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        """As Prometheus' HTTP API does."""
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.asked.append((request.match_info["what"], form))
        if self.body is not None:
            return web.Response(status=self.status, body=self.body, content_type="application/json")
        if self.status != 200:
            said = {"status": "error", "errorType": "bad_data", "error": self.error}
            return web.json_response(said, status=self.status)
        load = self.load.get(form["query"], lambda at: None)
        if request.match_info["what"] == "query":
            at = float(form["time"])
            value = load(at)
            rows = [] if value is None else [{"metric": {}, "value": [at, str(value)]}]
            return self._data("vector", rows)
        start, end, step_s = (float(form[key]) for key in ("start", "end", "step"))
        found = [(start + n * step_s, load(start + n * step_s)) for n in range(int((end - start) / step_s) + 1)]
        values = [[at, str(value)] for at, value in found if value is not None]
        return self._data("matrix", [{"metric": {}, "values": values}] if values else [])

    @staticmethod
    def _data(kind: str, rows: object) -> web.Response:
        return web.json_response({"status": "success", "data": {"resultType": kind, "result": rows}})


@pytest_asyncio.fixture
async def prometheus() -> AsyncIterator[FakePrometheus]:
    """It listens on loopback."""
    fake = FakePrometheus()
    app = web.Application()
    app.router.add_post("/api/v1/{what}", fake.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()
