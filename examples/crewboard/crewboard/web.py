"""The web app: its routes, what every answer carries, and what becomes of errors."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewboard import accounts, analysis, jobs, operations, projects, sockets
from crewboard.analyzer import Analyzer
from crewboard.database import Database, DatabaseAway
from crewboard.feed import Feed
from crewboard.passwords import PasswordChecker
from crewboard.replies import Problem, not_now, reply
from crewboard.services import Services, same_site
from crewboard.sessions import SessionKey
from crewboard.settings import Settings, read_settings, start_logging

STATIC: Final = Path(__file__).parent / "static"
STATIC_KEPT_S: Final = 24 * 3600
PAGE_KEPT_S: Final = 60
HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
}

log = logging.getLogger("crewboard.web")


class EveryAnswer:
    """Around the whole app: stamps each answer with who made it, and turns away writes from pages of other sites."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._headers = HEADERS | {
            "x-served-by": f"{settings.instance}; release={settings.release}; region={settings.region}"
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; sockets and the lifespan pass as they are."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        app = self._app
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not same_site(Request(scope)):
            app = reply({"error": "Writes are only for pages of this site."}, 403)
        await app(scope, receive, stamped)


class KeptStatic(StaticFiles):
    """Static files that may be kept: the page names each with a digest of all of them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Serve a file, and say how long it may be kept."""
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = f"public, max-age={STATIC_KEPT_S}"
        return response


def _page() -> HTMLResponse:
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(STATIC.iterdir()))).hexdigest()[:12]
    html = (STATIC / "index.html").read_text().replace("{{digest}}", digest)
    return HTMLResponse(html, headers={"cache-control": f"public, max-age={PAGE_KEPT_S}"})


async def _on_problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return reply({"error": problem.sentence}, problem.status, problem.headers)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return reply({"error": f"{error.detail}."}, error.status_code, dict(error.headers or {}))


async def _on_database_away(request: Request, error: Exception) -> Response:
    log.warning("%s %s: the database is away (%s)", request.method, request.url.path, error)
    return await _on_problem(request, not_now("The database is away; try again in a moment."))


async def _on_our_mistake(request: Request, error: Exception) -> Response:
    # uvicorn logs the traceback.
    return reply({"error": "Something went wrong here; it is our mistake and it was logged."}, 500)


def create_app(settings: Settings | None = None) -> ASGIApp:
    """Put the app together. Nothing is connected yet; that happens with the first request that needs it."""
    settings = settings or read_settings()
    start_logging(settings)
    database, feed = Database(settings.database_url), Feed(settings.valkey_url)
    parts = Services(
        settings, database, feed, SessionKey(settings.session_key, database), PasswordChecker(), Analyzer()
    )
    page = _page()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await database.start()
        yield
        await feed.stop()
        await database.stop()

    async def show_page(request: Request) -> Response:
        return page

    app = Starlette(
        routes=[
            Route("/", show_page),
            Mount("/static", KeptStatic(directory=STATIC)),
            *accounts.routes,
            *projects.routes,
            *analysis.routes,
            *jobs.routes,
            *operations.routes,
            *sockets.routes,
        ],
        exception_handlers={
            Problem: _on_problem,
            DatabaseAway: _on_database_away,
            HTTPException: _on_http_exception,
            Exception: _on_our_mistake,
        },
        lifespan=lifespan,
    )
    app.state.services = parts
    return EveryAnswer(app, settings)
