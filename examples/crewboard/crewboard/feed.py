"""The live feed's news: numbered and remembered in Valkey, heard by every instance, handed to its sockets.

News of a company carry a number `n` that grows by one, within an `epoch` (a random name that changes if Valkey
forgets). Whoever knows the last (epoch, n) they saw can ask for what they missed. The feed is a convenience: it may
lose news if Valkey goes away at the wrong moment, and says so (`gap`); the database has the truth.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

REMEMBERED: Final = 100
REMEMBERED_FOR_S: Final = 24 * 3600
# A socket that is this far behind is told to come back and ask for what it missed. More than REMEMBERED, so that a
# catch-up always fits.
SOCKET_QUEUE_LIMIT: Final = 2 * REMEMBERED
TIMEOUT_S: Final = 1.0
# Valkey is asked for a sign of life when it has been silent this long, and given up when it then stays silent.
SILENCE_S: Final = 2.0
RECONNECT_FIRST_S: Final = 0.1
RECONNECT_LAST_S: Final = 1.0
CHANNELS: Final = "crewboard:feed:"

# One step inside Valkey, so that numbers and the remembered list agree whatever instance publishes.
_PUBLISH: Final = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
  epoch = ARGV[2]
  redis.call('HSET', KEYS[1], 'epoch', epoch)
end
local n = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'n', 1))
local news = '{"type":"news","epoch":"' .. epoch .. '","n":' .. n .. ',' .. ARGV[1]
redis.call('LPUSH', KEYS[2], news)
redis.call('LTRIM', KEYS[2], 0, ARGV[3] - 1)
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', ARGV[5], news)
"""

log = logging.getLogger("crewboard.feed")


class FeedAway(Exception):
    """Valkey can't be reached, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class News:
    """Something that happened in a company: `task.added` and what was added."""

    kind: str
    data: Any


class Place(msgspec.Struct, frozen=True):
    """A place in a company's news: the number of one of them. Also reads the head of any message."""

    epoch: str
    n: int


class Since(msgspec.Struct, frozen=True):
    """The last news that a client saw; without an epoch it trusts that Valkey forgot nothing."""

    since: Annotated[int, msgspec.Meta(ge=0)]
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One piece of news as it goes to sockets."""

    place: Place
    text: str


class Listener:
    """One socket's end of the feed: a bounded queue of news, and of what its client asks, in order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Message | Since] = asyncio.Queue(SOCKET_QUEUE_LIMIT)
        self._overrun = False

    def put(self, item: Message | Since) -> None:
        """Queue an item, or note that this listener is too slow."""
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            self._overrun = True

    async def get(self) -> Message | Since | None:
        """Wait for the next item; None if some were lost because this listener is too slow."""
        item = await self._queue.get()
        return None if self._overrun else item


class Feed:
    """The way to Valkey: publishes news, remembers them, and hears what all instances publish."""

    def __init__(self, url: str) -> None:
        # Protocol 2: client and server need agree on nothing newer for lists and channels. No hidden retries: after
        # a break we must catch up, so we want to know of it.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=16,
            timeout=TIMEOUT_S,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
        )
        self._valkey: Redis = Redis.from_pool(pool)
        self._publish = self._valkey.register_script(_PUBLISH)
        self._listeners: dict[int, set[Listener]] = defaultdict(set)
        self._hearing: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()

    async def publish(self, company_id: int, news: News) -> None:
        """Tell the company. If Valkey is away the news is lost, and logged: the write it speaks of stands."""
        text = msgspec.json.encode({"kind": news.kind, "data": news.data}).decode()
        head, remembered = _keys(company_id)
        arguments: list[str | int] = [
            text[1:],
            secrets.token_hex(4),
            REMEMBERED,
            REMEMBERED_FOR_S,
            f"{CHANNELS}{company_id}",
        ]
        try:
            async with asyncio.timeout(2 * TIMEOUT_S):
                await self._publish(keys=[head, remembered], args=arguments)
        except (RedisError, OSError) as error:
            log.warning("news %s of company %d was not told: %s", news.kind, company_id, error or "no answer")

    async def recall(self, company_id: int) -> tuple[Place, list[Message]]:
        """Return the latest place and the remembered news, oldest first. Raises FeedAway."""
        head, remembered = _keys(company_id)
        try:
            async with asyncio.timeout(2 * TIMEOUT_S), self._valkey.pipeline(transaction=True) as pipeline:
                pipeline.hgetall(head)
                pipeline.lrange(remembered, 0, REMEMBERED - 1)
                said, texts = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise FeedAway(str(error) or "no answer in time") from error
        latest = Place(said[b"epoch"].decode(), int(said[b"n"])) if said else Place("", 0)
        return latest, [_message(text) for text in reversed(texts)]

    async def join(self, company_id: int) -> Listener:
        """Begin to listen; what is published from now on is heard. Raises FeedAway."""
        if self._hearing is None or self._hearing.done():
            self._subscribed.clear()
            self._hearing = asyncio.create_task(self._hear())
        try:
            async with asyncio.timeout(2 * TIMEOUT_S):
                await self._subscribed.wait()
        except TimeoutError:
            raise FeedAway("not connected") from None
        listener = Listener()
        self._listeners[company_id].add(listener)
        return listener

    def leave(self, company_id: int, listener: Listener) -> None:
        """Stop to listen."""
        self._listeners[company_id].discard(listener)
        if not self._listeners[company_id]:
            del self._listeners[company_id]

    async def stop(self) -> None:
        """Stop to hear, and close the connections."""
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.wait([self._hearing])
        await self._valkey.aclose()

    async def _hear(self) -> None:
        """Hear all companies' news for as long as the process lives; come back after every break."""
        delay_s = RECONNECT_FIRST_S
        while True:
            try:
                async with self._valkey.pubsub() as channels:
                    await channels.psubscribe(f"{CHANNELS}*")
                    await self._hear_until_silence(channels)
            except (RedisError, OSError, FeedAway) as error:
                if self._subscribed.is_set():
                    log.warning("the feed lost Valkey (%s) and tries to come back", error or "no answer")
                    delay_s = RECONNECT_FIRST_S
                self._subscribed.clear()
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RECONNECT_LAST_S)

    async def _hear_until_silence(self, channels: PubSub) -> None:
        """Hand on what is heard. Raises RedisError, OSError or FeedAway when the connection is of no more use."""
        asked = False
        while True:
            said = await channels.get_message(timeout=SILENCE_S)
            if said is None and asked:
                raise FeedAway("silence")
            asked = said is None
            if said is None:
                await cast(Awaitable[Any], channels.ping())
            elif said["type"] == "psubscribe":
                await self._catch_up()
                self._subscribed.set()
            elif said["type"] == "pmessage":
                company_id = int(said["channel"].removeprefix(CHANNELS.encode()))
                self._hand_on(company_id, _message(said["data"]))

    async def _catch_up(self) -> None:
        """Hand on what was published while we were deaf; each socket drops what it has had before."""
        for company_id in list(self._listeners):
            for message in (await self.recall(company_id))[1]:
                self._hand_on(company_id, message)

    def _hand_on(self, company_id: int, message: Message) -> None:
        for listener in self._listeners.get(company_id, ()):
            listener.put(message)


def _keys(company_id: int) -> tuple[str, str]:
    # The braces keep both keys of a company on one node of a cluster.
    return f"crewboard:{{{company_id}}}:feed-head", f"crewboard:{{{company_id}}}:feed"


def _message(data: bytes) -> Message:
    return Message(msgspec.json.decode(data, type=Place), data.decode())
