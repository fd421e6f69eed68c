"""Requests in, replies out: bounded bodies, typed JSON, and errors of one sentence."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

BODY_LIMIT_BYTES = 64 * 1024
PAGE_SIZE = 50
PAGE_SIZE_LIMIT = 200
# A client that was told "not now" comes back after this many seconds.
RETRY_AFTER_S = 1

# PostgreSQL can't store a zero character in a text.
Line = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]

T = TypeVar("T")


class Problem(Exception):
    """The request ends with this status and this sentence."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers or {}


def not_now(sentence: str) -> Problem:
    """503 with the time after which another try makes sense."""
    return Problem(503, sentence, {"retry-after": str(RETRY_AFTER_S)})


def reply(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON. What a person sees is theirs alone, so nothing on the way may keep it unless told so."""
    return Response(
        msgspec.json.encode(content),
        status_code=status,
        media_type="application/json",
        headers={"cache-control": "no-store", **(headers or {})},
    )


async def read_body(request: Request) -> bytes:
    """Return the body. Raises Problem 413 as soon as it is known to be too large, and reads no further."""
    too_large = Problem(413, f"The body is too large; send at most {BODY_LIMIT_BYTES} bytes.", {"connection": "close"})
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > BODY_LIMIT_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            raise too_large
    return bytes(body)


def parse(body: bytes, kind: type[T]) -> T:
    """Read JSON of this shape. Raises Problem 400 (no JSON) or 422 (another shape)."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Problem(422, f"The body does not fit: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, f"The body is not JSON: {error}.") from error


def number(request: Request, name: str, default: int, least: int, most: int) -> int:
    """Read a whole number from the query. Raises Problem 422 outside of least..most."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise Problem(422, f"`{name}` must be a whole number from {least} to {most}.")
    return int(text)


def path_id(request: Request, name: str) -> UUID:
    """Read an id from the path. Raises Problem 404: what is no id names nothing."""
    try:
        return UUID(request.path_params[name])
    except ValueError:
        raise Problem(404, "There is no such thing here.") from None


def page_of(request: Request) -> tuple[UUID | None, int]:
    """Read `before` (an id; the page starts after it) and `limit` from the query. Raises Problem 422."""
    before = request.query_params.get("before")
    limit = number(request, "limit", PAGE_SIZE, 1, PAGE_SIZE_LIMIT)
    try:
        return (UUID(before) if before else None), limit
    except ValueError:
        raise Problem(422, "`before` must be the id of the last item that you have.") from None
