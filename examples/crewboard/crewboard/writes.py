"""Writes that are acknowledged once: a request repeated with its `idempotency-key` gets the first answer again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from crewboard.database import Connection
from crewboard.feed import News
from crewboard.replies import Problem, reply
from crewboard.services import services
from crewboard.sessions import Session


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did: the answer, and what the company's feed should say about it."""

    content: Any
    status: int = 201
    news: News | None = None


async def write_once(
    request: Request, session: Session, body: bytes, write: Callable[[Connection], Awaitable[Written]]
) -> Response:
    """Do a write in one transaction and answer with its outcome; with an idempotency key, at most once ever.

    The key is stored in the transaction of the write: either both are there or neither. A second request that comes
    while the first is still at work waits for it. Raises Problem 400 (bad key), 422 (key used for something else).
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not re.fullmatch(r"[!-~]{1,200}", key):
        raise Problem(400, "The idempotency-key must be 1 to 200 visible ASCII characters, without spaces.")
    async with services(request).database.transaction() as connection:
        if key is not None:
            fingerprint = _fingerprint(request, session, body)
            earlier = await _claim(connection, session, key, fingerprint)
            if earlier is not None:
                return earlier
        written = await write(connection)
        answer = reply(written.content, written.status)
        if key is not None:
            await connection.execute(
                "UPDATE idempotency_keys SET status = $3, body = $4 WHERE company_id = $1 AND key = $2",
                session.company_id,
                key,
                written.status,
                bytes(answer.body).decode(),
            )
    if written.news is not None:
        # After the answer, and outside of the transaction: the feed may be slow or away, the write stands.
        answer.background = BackgroundTask(services(request).feed.publish, session.company_id, written.news)
    return answer


async def _claim(connection: Connection, session: Session, key: str, fingerprint: bytes) -> Response | None:
    """Take the key for this request, or return the answer that was given to it before."""
    taken = await connection.fetchval(
        "INSERT INTO idempotency_keys (company_id, key, fingerprint) VALUES ($1, $2, $3)"
        " ON CONFLICT DO NOTHING RETURNING true",
        session.company_id,
        key,
        fingerprint,
    )
    if taken:
        return None
    earlier = await connection.fetchrow(
        "SELECT fingerprint, status, body FROM idempotency_keys WHERE company_id = $1 AND key = $2",
        session.company_id,
        key,
    )
    if earlier is None or earlier["fingerprint"] != fingerprint:
        raise Problem(422, "This idempotency-key was used for another request; use a new one.")
    return reply(msgspec.Raw(earlier["body"].encode()), earlier["status"], {"idempotency-replayed": "true"})


def _fingerprint(request: Request, session: Session, body: bytes) -> bytes:
    said = msgspec.json.encode([session.user_id, request.method, request.url.path])
    return hashlib.sha256(said + body).digest()
