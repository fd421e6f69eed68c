"""Asks one Envoy over the unix socket of its admin page. Stage: world -> facts, below the gateway's driver.

It is a bare socket: the answers are needed in the first second of a start,
and an HTTP client library takes a third of one to import.
"""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from tenfold.drivers.vitals import NotAnswering

_ANSWER_BYTES_MAX = 64 * 1024 * 1024


async def ask(socket: Path, path: str, timeout_s: float, method: str = "GET") -> bytes:
    """The body of the answer; raises `NotAnswering` when there is none, or not a good one, within `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                head = f"{method} {path} HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                writer.write(head.encode())
                answer = await reader.read(_ANSWER_BYTES_MAX)
                while chunk := await reader.read(_ANSWER_BYTES_MAX):
                    answer += chunk
            finally:
                writer.close()
    except TimeoutError:
        raise NotAnswering(f"its admin page did not answer within {timeout_s:g} s") from None
    except OSError as error:
        raise NotAnswering(f"its admin page can't be reached ({error.strerror or error})") from error
    headers, _, body = answer.partition(b"\r\n\r\n")
    status = headers.split(b"\r\n", 1)[0].split(b" ")[1:2]
    if status != [b"200"]:
        raise NotAnswering(f"its admin page answered {b''.join(status).decode() or 'nothing'} to {path}")
    return _joined(body) if b"\r\ntransfer-encoding: chunked" in headers.lower() else body


def _joined(chunked: bytes) -> bytes:
    """A body that was sent in chunks, each after its size in hexadecimal digits."""
    body, at = [], 0
    while (end := chunked.find(b"\r\n", at)) > at and (size := int(chunked[at:end], 16)):
        body.append(chunked[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(body)


async def ask_json(socket: Path, path: str, timeout_s: float) -> Any:
    """As `ask`, decoded."""
    try:
        return msgspec.json.decode(await ask(socket, path, timeout_s))
    except msgspec.DecodeError as error:
        raise NotAnswering(f"its admin page answered no JSON to {path}") from error
