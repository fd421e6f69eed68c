"""The app behind the edge in these tests: slow pages, echoes, counted writes, WebSockets. Run by uvicorn, one process an instance."""

import asyncio
import json
import os
import time
from collections import Counter
from typing import Any

CALLS: Counter[str] = Counter()
NAME = os.environ.get("NAME", "")
SLOW_S = 1.5


def _spin(seconds: float) -> None:
    end_s = time.process_time() + seconds
    while time.process_time() < end_s:
        pass


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer by path; anything unknown answers the instance's name."""
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "websocket":
        await _talk(receive, send)
        return
    path, status, body = scope["path"], 200, NAME.encode()
    if path != "/calls":
        CALLS[f"{scope['method']} {path}"] += 1
    while (await receive()).get("more_body"):
        pass
    if path == "/calls":
        body = json.dumps(CALLS).encode()
    elif path == "/slow":
        await asyncio.sleep(SLOW_S)
    elif path.startswith("/wait"):
        await asyncio.sleep(0.01)
        # Head and body are two writes: who is killed between them cuts an answer that has begun, which no edge can mend.
        body = b""
    elif path == "/cpu":
        _spin(0.02)
    elif path == "/broken":
        status = 500 if os.environ.get("BROKEN") else 200
    elif path.endswith("/echo"):
        headers = [[name.decode(), value.decode()] for name, value in scope["headers"]]
        body = json.dumps({"headers": headers, "path": scope["raw_path"].decode()}).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def _talk(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": NAME})
