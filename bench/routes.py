"""How soon a change among 2,000 routes is live: from the call that publishes it to the first request that goes by it, under a
steady load."""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

from bench.shop import Tell
from bench.table import Figure, Unmeasured, at_most, none_of, told
from tenfold.drivers.envoy import EnvoyDriver
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.project import Project
from tenfold.effects import Order, PublishRoutes, StartEngine, StopEngine
from tenfold.facts import EngineSeen, EngineState
from tenfold.model import Endpoint, RouteTable, ServiceRoutes

ROUTES = 2_000
LIVE_MS_MAX = 25.0
REPEATS = {"endpoints": 200, "one route": 40, "all routes": 40}
PAUSE_S = 0.05
WITHIN_S = 20.0
ASK_EVERY_S = 0.002
"""The load: so often is the route asked for that each change moves, and by whom it was answered is how a change is seen."""

Table = Callable[[bool], RouteTable]
"""One of two tables, between which each repeat changes."""

_INSTANCE = """
import asyncio, sys

class Answer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 1\\r\\n\\r\\n" + sys.argv[2].encode())

async def serve():
    server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    await server.serve_forever()

asyncio.run(serve())
"""
"""An instance that answers its name: its port and its name are its arguments."""

_ASKER = """
import http.client, os, sys, time

edge, every_s = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10), float(sys.argv[2])
before, asked, failed, due_s = "", 0, 0, time.monotonic()
os.set_blocking(0, False)
while sys.stdin.buffer.raw.read(1) is None:
    try:
        edge.request("GET", "/p0")
        answer = edge.getresponse()
        name = answer.read().decode() if answer.status == 200 else ""
    except (OSError, http.client.HTTPException):
        edge.close()
        name = ""
    now_s, asked, failed = time.monotonic(), asked + 1, failed + (not name)
    if name and name != before:
        print(now_s, name, flush=True)
        before = name
    due_s = max(due_s + every_s, now_s - every_s)
    time.sleep(max(0.0, due_s - now_s))
print("end", asked, failed, flush=True)
"""
"""A client that tells when another instance begins to answer, until its input ends."""


async def routes_2000(tell: Tell) -> list[Figure]:
    """Change endpoints, one route, and all of them, again and again."""
    figures: list[Figure] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tf")))
        gateway = await stack.enter_async_context(_gateway(folder))
        a, b = [await stack.enter_async_context(_instance(gateway.ports.take(), name)) for name in ("a", "b")]
        for what, table in _changes(a, b).items():
            await gateway.publish(table(False))
            async with _asker(gateway.port) as asker:
                tell(f"{what}, {REPEATS[what]} times")
                took_ms = [await _once(gateway, asker, table, number) for number in range(REPEATS[what])]
            figures += _figures(what, took_ms, asker)
    how = f"{ROUTES:,} paths of two services on one gateway, {1 / ASK_EVERY_S:.0f} requests/s to the one that moves"
    return [*figures, told("how", f"{how}; from publish() to the first answer of the other instance")]


def _figures(what: str, took_ms: Sequence[float], asker: "_Asker") -> list[Figure]:
    ordered = sorted(took_ms)
    p99_ms = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    shown = f"{p99_ms:.1f} ms (p50 {median(ordered):.1f} ms, {len(ordered)} changes)"
    return [
        at_most(f"{what} changed: live after, p99", p99_ms, LIVE_MS_MAX, "ms", shown),
        none_of(f"{what} changed: requests failed", asker.failed, f"{asker.asked:,}"),
    ]


def _changes(a: Endpoint, b: Endpoint) -> dict[str, Table]:
    """By what changes, the tables between which it does."""
    paths = tuple(f"/p{number}" for number in range(ROUTES - 1))

    def table(of_a: tuple[str, ...], of_b: tuple[str, ...], first: Endpoint) -> RouteTable:
        return RouteTable("local", (ServiceRoutes("a", of_a, (first,)), ServiceRoutes("b", of_b, (b,))))

    return {
        "endpoints": lambda is_on: table(paths, ("/b",), b if is_on else a),
        "one route": lambda is_on: table(paths[1:] if is_on else paths, ("/b", *(paths[:1] if is_on else ())), a),
        "all routes": lambda is_on: table(("/a",) if is_on else paths, paths if is_on else ("/b",), a),
    }


async def _once(gateway: "_Gateway", asker: "_Asker", table: Table, number: int) -> float:
    """Milliseconds from the call that publishes to the first answer of the other instance."""
    is_on = number % 2 == 0
    await asyncio.sleep(PAUSE_S)
    since_s = time.monotonic()
    await gateway.publish(table(is_on))
    return (await asker.turned("b" if is_on else "a") - since_s) * 1000


class _Gateway:
    """A gateway without a control loop: the bench publishes."""

    def __init__(self, folder: Path) -> None:
        project = Project(folder, "routes")
        self.ports = FreePorts(project)
        self.driver = EnvoyDriver(project, self.ports, Fence(project.run / "fence"), self.ports.take())
        self.port = 0
        self._published = 0

    async def engine(self) -> EngineSeen | None:
        """The gateway as an engine."""
        return next((fact for fact in await self.driver.observe() if isinstance(fact, EngineSeen)), None)

    async def publish(self, table: RouteTable) -> None:
        """Lead it to `table`."""
        self._published += 1
        effect = PublishRoutes(table, f"t{self._published}", self._published)
        await self.driver.apply(Order(effect, 1, f"d{self._published}", time.time()))


@asynccontextmanager
async def _gateway(folder: Path) -> AsyncIterator[_Gateway]:
    gateway, deadline_s = _Gateway(folder), time.monotonic() + WITHIN_S
    await gateway.driver.apply(Order(StartEngine("gateway", "local"), 1, "d0", time.time()))
    try:
        while (seen := await gateway.engine()) is None or seen.state is not EngineState.READY:
            if time.monotonic() > deadline_s:
                raise Unmeasured("the gateway did not become ready")
            await asyncio.sleep(0.05)
        gateway.port = int(seen.address.rpartition(":")[2])
        yield gateway
    finally:
        seen = await gateway.engine()
        if seen is not None:
            await gateway.driver.apply(Order(StopEngine("gateway", "local", seen.generation), 1, "d0", time.time()))
        await gateway.driver.close()


@asynccontextmanager
async def _script(text: str, *arguments: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A process of its own that runs `text`, its output and its input; it is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", text, *arguments), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process.stdout, process.stdin
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def _instance(port: int, name: str) -> AsyncIterator[Endpoint]:
    async with _script(_INSTANCE, str(port), name) as (output, _):
        if await asyncio.wait_for(output.readline(), WITHIN_S) != b"ready\n":
            raise Unmeasured(f"instance {name} did not begin")
        yield Endpoint(name, "127.0.0.1", port)


class _Asker:
    """The load. `asked` and `failed` are known once it has ended."""

    def __init__(self, output: asyncio.StreamReader) -> None:
        self.output = output
        self.asked = self.failed = 0

    async def turned(self, name: str) -> float:
        """When (of the clock that never jumps) `name` began to answer."""
        while True:
            try:
                at_s, found = (await asyncio.wait_for(self.output.readline(), WITHIN_S)).split()
            except (TimeoutError, ValueError) as error:
                raise Unmeasured(f"{name} never answered after a change") from error
            if found.decode() == name:
                return float(at_s)


@asynccontextmanager
async def _asker(port: int) -> AsyncIterator[_Asker]:
    async with _script(_ASKER, str(port), str(ASK_EVERY_S)) as (output, control):
        asker = _Asker(output)
        await asker.turned("a")
        yield asker
        control.close()
        while not (line := await asyncio.wait_for(output.readline(), WITHIN_S)).startswith(b"end"):
            pass
        asker.asked, asker.failed = (int(figure) for figure in line.split()[1:])
