"""The live feed's WebSocket, /feed: hello, then the company's news as they happen.

    server  {"type": "hello", "instance": "web-1", "company_id": 1, "epoch": "5fd2", "n": 41}
    client  {"since": 39, "epoch": "5fd2"}           what I saw last, if I was here before
    server  {"type": "news", "epoch": "5fd2", "n": 40, "kind": "task.added", "data": {...}} ...
    server  {"type": "caught_up", "epoch": "5fd2", "n": 41}
    server  {"type": "gap"}                           before news, if some between were forgotten: load afresh

When this process stops, uvicorn closes the socket with 1012 and the client comes back, to another instance.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from crewboard.database import DatabaseAway
from crewboard.feed import Feed, FeedAway, Listener, Message, Place, Since
from crewboard.replies import Problem, not_now, reply
from crewboard.services import same_site, services, signed_in
from crewboard.sessions import Session

MESSAGE_LIMIT_CHARACTERS: Final = 1024
# WebSocket close codes (RFC 6455 and the IANA registry).
TRY_AGAIN: Final = 1013
NOT_UNDERSTOOD: Final = 1007
TOO_LARGE: Final = 1009


class Hangup(Exception):
    """We end the conversation, with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


async def feed(socket: WebSocket) -> None:
    """Answer a WebSocket at /feed; refuse it before it opens if it is not one of ours."""
    parts = services(socket)
    try:
        # Browsers send cookies with sockets that other sites open, so the Origin decides.
        if not same_site(socket):
            raise Problem(403, "The feed is only for pages of this site.")
        session = await signed_in(socket)
        listener = await parts.feed.join(session.company_id)
        try:
            latest, _ = await parts.feed.recall(session.company_id)
            await socket.accept()
            await _Conversation(socket, session, parts.feed, listener, latest).run(parts.settings.instance)
        finally:
            parts.feed.leave(session.company_id, listener)
    except (FeedAway, DatabaseAway):
        await _refuse(socket, not_now("The feed is away; try again in a moment."))
    except Problem as problem:
        await _refuse(socket, problem)


async def _refuse(socket: WebSocket, problem: Problem) -> None:
    await socket.send_denial_response(reply({"error": problem.sentence}, problem.status, problem.headers))


class _Conversation:
    """One open socket. Only `_talk` sends, so what the client sees is in order."""

    def __init__(self, socket: WebSocket, session: Session, feed: Feed, listener: Listener, latest: Place) -> None:
        self._socket = socket
        self._session = session
        self._feed = feed
        self._listener = listener
        self._seen = latest

    async def run(self, instance: str) -> None:
        """Talk and listen until one side ends it."""
        tasks = [asyncio.create_task(self._talk(instance)), asyncio.create_task(self._listen())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Hangup):
                await self._socket.close(end.code, str(end))
            elif isinstance(end, BaseException) and not isinstance(end, (WebSocketDisconnect, asyncio.CancelledError)):
                raise end

    async def _listen(self) -> None:
        """Read what the client asks. Raises Hangup, WebSocketDisconnect."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            text = message.get("text") or ""
            if len(text) > MESSAGE_LIMIT_CHARACTERS:
                raise Hangup(TOO_LARGE, "That is too large.")
            try:
                self._listener.put(msgspec.json.decode(text, type=Since))
            except msgspec.DecodeError:
                raise Hangup(NOT_UNDERSTOOD, 'Send {"since": number} or nothing.') from None

    async def _talk(self, instance: str) -> None:
        """Say hello, then send news as they come, and what was missed when the client asks. Raises Hangup."""
        await self._say(
            {
                "type": "hello",
                "instance": instance,
                "company_id": self._session.company_id,
                "epoch": self._seen.epoch,
                "n": self._seen.n,
            }
        )
        while True:
            item = await self._listener.get()
            if item is None:
                raise Hangup(TRY_AGAIN, "You are too far behind; come back and ask for what you missed.")
            if isinstance(item, Since):
                await self._catch_up(item)
            else:
                await self._pass_on(item)

    async def _catch_up(self, asked: Since) -> None:
        """Send what is remembered of the news after this place."""
        try:
            latest, remembered = await self._feed.recall(self._session.company_id)
        except FeedAway:
            raise Hangup(TRY_AGAIN, "The feed is away; come back in a moment.") from None
        same = asked.epoch in ("", latest.epoch) and asked.since <= latest.n
        known = asked.since if same else -1
        oldest = remembered[0].place.n if remembered else latest.n + 1
        if known + 1 < oldest:
            await self._say({"type": "gap"})
        for message in remembered:
            if message.place.n > known:
                await self._socket.send_text(message.text)
        self._seen = latest
        await self._say({"type": "caught_up", "epoch": latest.epoch, "n": latest.n})

    async def _pass_on(self, message: Message) -> None:
        """Send one piece of news, unless the client has had it."""
        place, seen = message.place, self._seen
        if place.epoch == seen.epoch and place.n <= seen.n:
            return
        follows = place.n == seen.n + 1 and seen.epoch in ("", place.epoch)
        if not follows:
            await self._say({"type": "gap"})
        self._seen = place
        await self._socket.send_text(message.text)

    async def _say(self, content: object) -> None:
        await self._socket.send_text(msgspec.json.encode(content).decode())


routes = [WebSocketRoute("/feed", feed)]
