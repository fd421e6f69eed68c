"""Answers the questions of `routes`. Stage: request -> journal, live state -> JSON.

Each handler is named by its route; who may ask was settled before it is called.
"""

import asyncio
import math
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from aiohttp import web

from tenfold.console import contract, decisions
from tenfold.console.archive import Archive
from tenfold.console.guard import COOKIE, COOKIE_S, HEADERS, Guard
from tenfold.console.history import POINTS, POINTS_MAX, SECONDS_MAX, Span
from tenfold.console.live import Live
from tenfold.console.metrics import PostedMetrics
from tenfold.console.openapi import document
from tenfold.console.pages import Pages
from tenfold.console.prometheus import CONTENT_TYPE, exposition
from tenfold.console.routes import DECISIONS_MAX
from tenfold.console.stream import Client, Stream
from tenfold.facts import DrainRequest, PersonRequest, RollbackRequest
from tenfold.loop import Desk, JournalReader, new_request_id
from tenfold.wire import read_post

BEAT_S = 5.0
"""A comment this often tells a page, and what is between, that the connection lives."""
BACK_AFTER_MS = 1000
"""A page whose connection was lost comes back after this long."""
SENT_BYTES_MAX = 64 * 1024
"""So much that a page has not read yet lies in this program, and about as much in the system: a page that reads nothing costs no more."""
ANSWER_WITHIN_S = 1.5
"""A request that is refused this soon is answered with the refusal."""
MOMENT_MAX = 1e11
"""No moment lies beyond this: seconds since the epoch."""
EARLIER = "look at a later moment: `/api/span` tells from when on the journal is kept"

T = TypeVar("T")


class Wrong(Exception):
    """The answer is `status`, with the text as its `error`."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def as_json(body: object, status: int = 200) -> web.Response:
    """`body` as JSON, which nobody keeps."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return web.Response(
        body=data, status=status, headers={"content-type": "application/json", "cache-control": "no-store"}
    )


@dataclass(slots=True)
class Api:
    """The handlers. `live` is None over the journal of a project whose loop does not run here."""

    archive: Archive
    stream: Stream
    live: Live | None
    posted: PostedMetrics
    desk: Desk
    guard: Guard
    pages: Pages = field(default_factory=Pages)

    async def page(self, request: web.Request) -> web.Response:
        """The page itself."""
        return self.pages.answer(request, "index.html")

    async def asset(self, request: web.Request) -> web.Response:
        """A file of the page."""
        return self.pages.answer(request, request.match_info["name"])

    async def openapi(self, request: web.Request) -> web.Response:
        """The document of all this."""
        return as_json(document())

    async def health(self, request: web.Request) -> web.Response:
        """Whether the loop works."""
        is_well = self.live is not None and self.live.is_well
        age_s = self.live.last_tick_s_ago if self.live is not None else None
        alive = contract.Alive(is_well, None if age_s is None else round(age_s, 1))
        return as_json(alive, 200 if is_well else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """The last tick as Prometheus text."""
        tick = self.live.tick if self.live is not None else None
        if tick is None:
            return web.Response(status=503, text="nothing was seen yet\n")
        return web.Response(body=exposition(tick).encode(), headers={"content-type": CONTENT_TYPE})

    async def post(self, request: web.Request) -> web.Response:
        """A metric of the app. Errors are bare text: `tenfold.sdk` gives them to the app's developer."""
        if self.live is None:
            return web.Response(status=409, text="this is a look at the past: nothing runs here\n")
        try:
            self.posted.post(read_post(msgspec.json.decode(await request.read())))
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(status=204)

    async def state(self, request: web.Request) -> web.Response:
        """The state of now, or of `at`."""
        at = _number(request, "at")
        if at is None:
            whole = await self.stream.whole()
            if whole is None:
                raise Wrong(503, "nothing was seen yet: ask again in a moment")
            return as_json(whole)
        found = await self.archive.state_at(at)
        if found is None:
            raise Wrong(404, f"nothing is kept of that moment: {EARLIER}")
        return as_json(found)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """What changes, for as long as somebody looks on."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("it went away before it was answered")
        _bound(transport)
        client = Client(transport.abort)
        if not await self.stream.join(client):
            raise Wrong(503, "too many look on already: close other pages")
        head = {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"}
        response = web.StreamResponse(headers={**head, **HEADERS})
        try:
            await response.prepare(request)
            await response.write(b"retry: %d\n\n" % BACK_AFTER_MS)
            while (data := await client.next(BEAT_S)) is not None:
                await response.write(data)
        except ConnectionError:
            # It went away, or was let go.
            pass
        finally:
            self.stream.leave(client)
        return response

    async def history(self, request: web.Request) -> web.Response:
        """Series over time."""
        end = _number(request, "to")
        if end is None:
            span = await self.archive.ask(lambda reader: reader.times())
            end = span[1] if span is not None else time.time()
        start = _number(request, "from")
        start = end - SECONDS_MAX if start is None else start
        if start >= end:
            raise Wrong(400, "from: expected a moment before that of `to`")
        points = _whole(request, "points", POINTS, POINTS_MAX)
        return as_json(await self.archive.history(Span.of(start, end, points)))

    async def span(self, request: web.Request) -> web.Response:
        """What time the journal covers."""
        times = await self.archive.ask(lambda reader: reader.times())
        first, last = times or (None, None)
        return as_json(contract.SpanNow(first, last, self.live is not None))

    async def decisions(self, request: web.Request) -> web.Response:
        """Older decisions."""
        before, limit = request.query.get("before", ""), _whole(request, "limit", 50, DECISIONS_MAX)

        def found(reader: JournalReader) -> list[contract.DecisionNow]:
            if before and reader.find_decision(before) is None:
                raise Wrong(404, f"no decision {before} is kept")
            return decisions.shown(reader, reader.decisions(limit=limit, before=before))[::-1]

        return as_json(await self.archive.ask(found))

    async def decision(self, request: web.Request) -> web.Response:
        """One decision, whole."""
        id_ = request.match_info["id"]
        found = await self.archive.ask(lambda reader: decisions.whole(reader, id_))
        if found is None:
            raise Wrong(404, f"no decision {id_} is kept")
        return as_json(found)

    async def request(self, request: web.Request) -> web.Response:
        """What became of a request."""
        id_ = request.match_info["id"]
        row = await self.archive.ask(lambda reader: reader.request(id_))
        if row is None:
            raise Wrong(404, f"there is no request {id_}")
        answer = row.answer
        return as_json(
            contract.RequestNow(id_, None if answer is None else contract.AnswerNow(answer.ok, answer.text, answer.at))
        )

    async def login(self, request: web.Request) -> web.Response:
        """A cookie that lets this browser read."""
        body = await _body(request, contract.LoginBody)
        if not self.guard.is_token(body.token):
            raise Wrong(401, "that is not the token: `tenfold console --token` shows it")
        response = web.Response(status=204)
        response.set_cookie(
            COOKIE,
            self.guard.cookie,
            max_age=COOKIE_S,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return response

    async def drain(self, request: web.Request) -> web.Response:
        """Take something out of service."""
        body = await _body(request, contract.DrainBody)
        return await self._ask(
            request, "drain", lambda id_, at, by: DrainRequest(id_, at, body.subject, body.is_undo, by)
        )

    async def rollback(self, request: web.Request) -> web.Response:
        """Go back to an earlier release."""
        body = await _body(request, contract.RollbackBody)
        return await self._ask(request, "rollback", lambda id_, at, by: RollbackRequest(id_, at, body.to, by))

    async def purge(self, request: web.Request) -> web.Response:
        """The edge has nothing to forget."""
        await _body(request, contract.PurgeBody)
        raise Wrong(409, "the edge keeps no answers yet, so there is nothing to purge")

    async def _ask(
        self, request: web.Request, kind: str, make: Callable[[str, float, str], PersonRequest]
    ) -> web.Response:
        """Hand in a request of a person, and wait a moment whether it is refused. Raises `JournalError`."""
        if self.live is None:
            raise Wrong(409, "this is a look at the past: nothing runs here; `tenfold up` starts the project")
        id_ = new_request_id(kind)
        made = make(id_, time.time(), f"console, from {request.remote}")
        soon = asyncio.ensure_future(self.live.answer(id_, ANSWER_WITHIN_S))
        try:
            await asyncio.to_thread(self.desk.append, made)
            answer = await soon
        finally:
            soon.cancel()
        if answer is not None and not answer.ok:
            raise Wrong(409, answer.text)
        return as_json(contract.Requested(id_), 202)


def _bound(transport: asyncio.Transport) -> None:
    """Bound what waits to be sent: the system would hold megabytes for each page that does not read."""
    transport.set_write_buffer_limits(high=SENT_BYTES_MAX)
    plain = transport.get_extra_info("socket")
    if plain is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_BYTES_MAX)


async def _body(request: web.Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.DecodeError as error:
        raise Wrong(400, f"the body is not what is expected: {error}") from None


def _number(request: web.Request, name: str) -> float | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MOMENT_MAX:
        raise Wrong(400, f"{name}: expected seconds since the epoch, found {text[:40]!r}")
    return value


def _whole(request: web.Request, name: str, usual: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return usual
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= most:
        raise Wrong(400, f"{name}: expected a whole number from 1 to {most}, found {text[:40]!r}")
    return int(text)
