"""Asks one Envoy over the unix socket of its admin page. Stage: world -> facts, below the gateway's driver.

It is a bare socket: the answers are needed in the first second of a start, and an HTTP client library takes a third
of one to import.
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
                # HTTP/1.0: the answer ends where the connection does, so there are no chunks to be put together.
                writer.write(f"{method} {path} HTTP/1.0\r\nHost: envoy\r\nContent-Length: 0\r\n\r\n".encode())
                answer = await reader.read(_ANSWER_BYTES_MAX)
                while chunk := await reader.read(_ANSWER_BYTES_MAX):
                    answer += chunk
            finally:
                writer.close()
    except TimeoutError:
        raise NotAnswering(f"its admin page did not answer within {timeout_s:g} s") from None
    except OSError as error:
        raise NotAnswering(f"its admin page can't be reached ({error.strerror or error})") from error
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(b" ")[1:2]
    if status != [b"200"]:
        raise NotAnswering(f"its admin page answered {b''.join(status).decode() or 'nothing'} to {path}")
    return body


async def ask_json(socket: Path, path: str, timeout_s: float) -> Any:
    """As `ask`, decoded."""
    try:
        return msgspec.json.decode(await ask(socket, path, timeout_s))
    except msgspec.DecodeError as error:
        raise NotAnswering(f"its admin page answered no JSON to {path}") from error
