"""Users over HTTP/2, against a server that knows every way to refuse."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import cast

import pytest
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes

from tenfold.model import Action, Scenario, Step
from tenfold.proof.load import LoadResult, Target, UserCurve, UserPlan, run

SEEN: Counter[str] = Counter()


class Peer(asyncio.Protocol):
    """One connection: the path of a request says what becomes of it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast(asyncio.Transport, transport)
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.transport.write(self.h2.data_to_send())
        self.paths: dict[int, str] = {}
        self.sizes: Counter[int] = Counter()
        self.requests = 0

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        for event in self.h2.receive_data(data):
            if isinstance(event, events.RequestReceived):
                fields = dict(cast(list[tuple[str, str]], event.headers))
                self.paths[event.stream_id] = fields[":path"]
                SEEN[f"{fields[':method']} {fields[':path']} {fields.get('cookie', '-')}"] += 1
            elif isinstance(event, events.DataReceived):
                self.sizes[event.stream_id] += len(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, events.StreamEnded):
                self.requests += 1
                getattr(self, self.paths[event.stream_id].partition("?")[0].strip("/"))(event.stream_id)
        self.flush()

    def flush(self) -> None:
        """Write what is to be sent."""
        if not self.transport.is_closing():
            self.transport.write(self.h2.data_to_send())

    def reply(self, stream: int, status: int = 200, body: bytes = b'{"id": "a b"}') -> None:
        """An answer with a cookie."""
        fields = [(":status", str(status)), ("x-request-id", "r1"), ("set-cookie", "session=s1; Path=/")]
        self.h2.send_headers(stream, fields)
        self.h2.send_data(stream, body, end_stream=True)

    def ok(self, stream: int) -> None:
        """An answer."""
        self.reply(stream)

    def early(self, stream: int) -> None:
        """An interim answer before it."""
        self.h2.send_headers(stream, [(":status", "103"), ("link", "</x>")])
        self.reply(stream)

    def size(self, stream: int) -> None:
        """How much came, in the status."""
        self.reply(stream, 200 if self.sizes[stream] == 300_000 else 400)

    def large(self, stream: int) -> None:
        """More than a first window takes at once."""
        self.h2.send_headers(stream, [(":status", "200")])
        for _ in range(4):
            self.h2.send_data(stream, b"x" * 15_000)
        self.h2.end_stream(stream)

    def fails(self, stream: int) -> None:
        """500."""
        self.reply(stream, 500)

    def reset(self, stream: int) -> None:
        """The stream is reset."""
        self.h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)

    def refused(self, stream: int) -> None:
        """Every second request of a connection is refused before anything is done with it."""
        if self.requests % 2:
            self.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
        else:
            self.reply(stream)

    def goes(self, stream: int) -> None:
        """Answers, and says that the connection takes no more."""
        self.reply(stream)
        self.h2.close_connection(last_stream_id=stream)

    def gone(self, stream: int) -> None:
        """On its second request the server goes away without having begun with it."""
        if self.requests == 1:
            self.reply(stream)
            return
        self.h2.close_connection(last_stream_id=stream - 2)
        self.flush()
        self.transport.close()

    def cut(self, stream: int) -> None:
        """The connection is cut."""
        self.transport.abort()

    def garbage(self, stream: int) -> None:
        """A frame that can't be: data of no stream."""
        self.transport.write(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x")

    def never(self, stream: int) -> None:
        """No answer."""


@pytest.fixture
async def peer() -> AsyncIterator[Target]:
    """A server on loopback."""
    SEEN.clear()
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0)
    yield Target("127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()


async def played(target: Target, *steps: Step, timeout_s: float = 5.0, s: float = 0.5) -> LoadResult:
    """Three users who do this over and over, over HTTP/2."""
    scenario = Scenario("s", (Action("a", 1.0, steps),), think_s=0.02)
    return await run(UserPlan(target, scenario, UserCurve.steps((s, 3)), http="2", timeout_s=timeout_s))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/ok", "2xx"),
        ("/early", "2xx"),
        ("/large", "2xx"),
        ("/goes", "2xx"),
        ("/fails", "5xx"),
        ("/reset", "reset"),
        ("/cut", "reset"),
        ("/garbage", "protocol"),
        ("/never", "timeout"),
    ],
)
async def test_each_end_has_its_name(peer: Target, path: str, kind: str) -> None:
    """Requests to a server of one kind of trouble all end in the way that it deserves."""
    result = await played(peer, Step("GET", path), timeout_s=0.2 if kind == "timeout" else 5.0)
    assert {outcome.kind for outcome in result.outcomes} == {kind}
    assert result.due >= 3
    assert result.due == sum(outcome.count for outcome in result.outcomes)


async def test_cookies_and_what_is_kept_go_along(peer: Target) -> None:
    """A cookie that was set comes back, and a variable out of an answer is in the next path."""
    result = await played(peer, Step("GET", "/ok", keep={"id": "id"}), Step("GET", "/ok?of={id}"))
    assert result.failed == 0
    assert SEEN["GET /ok -"] == 3
    assert SEEN["GET /ok?of=a%20b session=s1"] == SEEN["GET /ok session=s1"] + 3 > 3


async def test_a_body_waits_for_the_servers_window(peer: Target) -> None:
    """A body larger than the first window and frame arrives whole."""
    result = await played(peer, Step("POST", "/size", "x" * 300_000))
    assert {outcome.kind for outcome in result.outcomes} == {"2xx"}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/refused", "/gone"])
async def test_what_was_not_begun_is_sent_again(peer: Target, path: str, method: str) -> None:
    """A refused stream, and one above the last of a GOAWAY, go out once more, whatever the method: nothing was done yet."""
    result = await played(peer, Step(method, path))
    assert {outcome.kind for outcome in result.outcomes} == {"2xx"}
    assert result.resent > 0


async def test_a_server_of_http1_is_told() -> None:
    """Who speaks HTTP/1.1 alone is a sentence that says what to do."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    result = await played(Target("127.0.0.1", server.sockets[0].getsockname()[1]), Step("GET", "/ok"))
    server.close()
    details = {sample.detail for outcome in result.outcomes for sample in outcome.examples}
    assert "the server answers in HTTP/1.1: leave HTTP/2 out" in details
    assert result.failed == result.due > 0
