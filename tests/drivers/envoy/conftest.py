"""A real Envoy before real instances, driven as the loop drives it, and a client that counts what went wrong."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tenfold.drivers.envoy import EnvoyDriver
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.project import Project
from tenfold.effects import Effect, Order, PublishRoutes, Receipt, StartEngine, StopEngine
from tenfold.facts import EngineSeen, EngineState, Fact, GatewaySeen, PoolSeen
from tenfold.model import Endpoint, EndpointState, RouteTable, ServiceRoutes
from tenfold.ports import Refused
from tests.drivers.envoy.regions import Regions
from tests.ports import free_port

HANG_S = 60.0
"""Long enough for anything here; a wait that reaches it is a failure."""


WITHIN_MS = 1000.0
"""What is not sooner counts as late: far above what /wait takes on a busy machine, below the 1.5 s of /slow."""


async def until(what: str, check: Callable[[], Awaitable[bool]], timeout_s: float = HANG_S) -> None:
    """Wait until `check` holds; fail with `what` when it never does."""
    deadline_s = time.monotonic() + timeout_s
    while not await check():
        assert time.monotonic() < deadline_s, f"in vain waited until {what}"
        await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Answer:
    """What came back: `status` is 0 when the connection broke. It was asked for at `began_s` of the performance counter."""

    status: int
    headers: dict[str, str]
    body: str
    began_s: float
    took_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(port: int, method: str, path: str, headers: str = "", body: str = "", host: str = "localhost") -> Answer:
    """One request on a connection of its own; `headers` are raw lines."""
    began_s = time.perf_counter()
    request = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n{headers}\r\n{body}"
    try:
        async with asyncio.timeout(HANG_S):
            head, body = await _exchange(port, request.encode(), is_head=method == "HEAD")
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return Answer(0, {}, "", began_s, time.perf_counter() - began_s)
    first, *lines = head.split("\r\n")
    found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split(" ")[1]), found, body, began_s, time.perf_counter() - began_s)


async def _exchange(port: int, request: bytes, is_head: bool) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip("\r\n")
        lengths = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
        size = int(lengths[0].partition(":")[2]) if lengths and not is_head else 0
        return head, (await reader.readexactly(size)).decode()
    finally:
        writer.close()


@dataclass
class Tally:
    """Answers of a load by method, and when this process itself was held up for how long (seconds of the performance counter)."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    stalls: list[tuple[float, float]] = field(default_factory=list)

    def failed(self, *methods: str) -> list[Answer]:
        """Those that were not 200."""
        return [a for m in methods or tuple(self.answers) for a in self.answers.get(m, []) if a.status != 200]

    def slowest_s(self, *methods: str) -> float:
        """The longest that any of these took, but for the time in which the machine held up who asks as well."""
        return max(self._own_s(a) for m in methods or tuple(self.answers) for a in self.answers.get(m, []))

    def _own_s(self, answer: Answer) -> float:
        ended_s = answer.began_s + answer.took_s
        return answer.took_s - sum(
            max(0.0, min(ended_s, at_s + stall_s) - max(answer.began_s, at_s)) for at_s, stall_s in self.stalls
        )

    @property
    def total(self) -> int:
        return sum(len(answers) for answers in self.answers.values())


@contextlib.asynccontextmanager
async def load(
    port: int, methods: Sequence[str], path: str = "/wait", rps: float = 150.0, headers: Sequence[str] = ("",)
) -> AsyncIterator[Tally]:
    """Steady requests, sent on time whatever becomes of them, until the block ends; then all answers are awaited."""
    tally, tasks, stop = Tally(), set[asyncio.Task[None]](), asyncio.Event()

    async def one(method: str, number: int) -> None:
        answer = await ask(port, method, path, headers[number % len(headers)])
        tally.answers.setdefault(method, []).append(answer)

    async def send() -> None:
        began_s, number = time.perf_counter(), 0
        while not stop.is_set():
            await asyncio.sleep(max(0.0, began_s + number / rps - time.perf_counter()))
            tasks.add(asyncio.create_task(one(methods[number % len(methods)], number)))
            number += 1

    async def notice_stalls() -> None:
        while True:
            from_s = time.perf_counter()
            await asyncio.sleep(0.02)
            if (stall_s := time.perf_counter() - from_s) > 0.1:
                tally.stalls.append((from_s, stall_s))

    sender, noticing = asyncio.create_task(send()), asyncio.create_task(notice_stalls())
    try:
        yield tally
    finally:
        stop.set()
        await sender
        await asyncio.gather(*tasks)
        noticing.cancel()


class Instance:
    """One process of the app."""

    def __init__(self, name: str, **env: str) -> None:
        self.name, self.port = name, free_port()
        command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(self.port)]
        options = ["--log-level", "error", "--lifespan", "off", "--ws", "websockets-sansio", "app:app"]
        self.process = subprocess.Popen(
            [*command, *options], cwd=Path(__file__).parent, env={**os.environ, "NAME": name, **env}
        )

    async def ready(self) -> None:
        """Wait until it answers."""

        async def answers() -> bool:
            return (await ask(self.port, "GET", "/calls")).status == 200

        await until(f"{self.name} answers", answers)

    async def calls(self) -> dict[str, int]:
        """How often it was asked, by method and path."""
        return dict((await ask(self.port, "GET", "/calls")).json)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def endpoint(self, state: EndpointState = EndpointState.SERVING) -> Endpoint:
        """What the edge is told of it."""
        return Endpoint(self.name, "127.0.0.1", self.port, state=state)


class Edge:
    """A driver and the gateway it runs for region `local`."""

    def __init__(self, project: Project, port: int) -> None:
        self.project, self.port, self.epoch, self.published = project, port, 1, 0
        self.driver = self._driver()

    def _driver(self) -> EnvoyDriver:
        project, fence = self.project, Fence(self.project.run / "fence")
        return EnvoyDriver(project, FreePorts(project), fence, self.port, within_ms=WITHIN_MS)

    async def apply(self, effect: Effect, decision: str = "d1") -> Receipt:
        """Send an order of this epoch."""
        return await self.driver.apply(Order(effect, self.epoch, decision, time.time()))

    async def start(self) -> None:
        """Start the gateway and wait until it is ready."""
        seen = await self.engine()
        await self.apply(StartEngine("gateway", "local", self.published + 1, seen.generation if seen else 0))
        await self.ready()

    async def ready(self) -> None:
        """Wait until the gateway serves; learn at which port."""

        async def is_ready() -> bool:
            seen = await self.engine()
            return seen is not None and seen.state is EngineState.READY

        await until("the gateway is ready", is_ready)
        seen = await self.engine()
        assert seen is not None
        self.port = int(seen.address.rpartition(":")[2])

    async def facts(self) -> tuple[Fact, ...]:
        """One look."""
        return await self.driver.observe()

    async def engine(self) -> EngineSeen | None:
        """The gateway as an engine."""
        return next((fact for fact in await self.facts() if isinstance(fact, EngineSeen)), None)

    async def gateway(self) -> GatewaySeen:
        """What it runs."""
        return next(fact for fact in await self.facts() if isinstance(fact, GatewaySeen))

    async def pool(self) -> PoolSeen | None:
        """The traffic of `web`."""
        return next((fact for fact in await self.facts() if isinstance(fact, PoolSeen)), None)

    async def publish(self, *endpoints: Endpoint, decision: str = "d1", **routes: Any) -> Receipt:
        """Give it a table with the one service `web`."""
        service = ServiceRoutes("web", routes.pop("paths", ("/",)), endpoints, **routes)
        return await self.publish_table(RouteTable("local", (service,)), decision)

    async def publish_table(self, table: RouteTable, decision: str = "d1") -> Receipt:
        """Give it any table."""
        self.published += 1
        return await self.apply(PublishRoutes(table, f"digest{self.published}", self.published), decision)

    async def restart_control_plane(self) -> None:
        """Let go, and come again with a higher epoch."""
        await self.driver.close()
        self.epoch += 1
        self.driver = self._driver()

    async def ask(self, method: str, path: str, headers: str = "", body: str = "", host: str = "localhost") -> Answer:
        """One request through the edge."""
        return await ask(self.port, method, path, headers, body, host)

    def load(
        self, *methods: str, path: str = "/wait", rps: float = 150.0
    ) -> contextlib.AbstractAsyncContextManager[Tally]:
        """Steady requests through the edge while the block lasts."""
        return load(self.port, methods, path, rps)

    async def until(self, what: str, check: Callable[[], Awaitable[bool]]) -> None:
        """Wait until `check` holds."""
        await until(what, check)

    async def stop(self) -> None:
        """End the gateway; when it has changed since it was looked at, it is looked at again."""
        while (seen := await self.engine()) is not None:
            with contextlib.suppress(Refused):
                await self.apply(StopEngine("gateway", "local", seen.generation))
        await self.driver.close()


@pytest.fixture
def project() -> Iterator[Project]:
    """A project with a short path: sockets can't have long ones."""
    with tempfile.TemporaryDirectory(prefix="tf") as folder:
        yield Project(Path(folder), "test")


@pytest.fixture
async def edge(project: Project) -> AsyncIterator[Edge]:
    """An edge that is ready and has no table yet."""
    found = Edge(project, free_port())
    try:
        await found.start()
        yield found
    finally:
        await found.stop()


@pytest.fixture
async def regions(project: Project, instances: Any) -> AsyncIterator[Regions]:
    """Three regions with an instance each, all of it serving: `us` (home), `eu` and `au`."""
    found = Regions(project, free_port(), ("us", "eu", "au"))
    try:
        started = await asyncio.gather(*(instances(1, name, BROKEN="1") for name in found.names))
        await found.start(dict(zip(found.names, started, strict=True)))
        yield found
    finally:
        await found.stop()


Start = Callable[..., Awaitable[list[Instance]]]


@pytest.fixture
async def instances() -> AsyncIterator[Start]:
    """Starts instances that are ended with the test."""
    started: list[Instance] = []

    async def start(count: int, prefix: str = "web", **env: str) -> list[Instance]:
        new = [Instance(f"{prefix}-{len(started) + number}", **env) for number in range(1, count + 1)]
        started.extend(new)
        await asyncio.gather(*(instance.ready() for instance in new))
        return new

    yield start
    for instance in started:
        instance.process.kill()
        instance.process.wait()
