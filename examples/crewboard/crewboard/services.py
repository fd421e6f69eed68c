"""What every endpoint can use, and the question that nearly every endpoint asks first: who are you?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from crewboard.analyzer import Analyzer
from crewboard.database import Database
from crewboard.feed import Feed
from crewboard.passwords import PasswordChecker
from crewboard.replies import Problem
from crewboard.sessions import COOKIE, Session, SessionKey, verify
from crewboard.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the app, made once per process."""

    settings: Settings
    database: Database
    feed: Feed
    session_key: SessionKey
    passwords: PasswordChecker
    analyzer: Analyzer


def services(connection: HTTPConnection) -> Services:
    """Return the parts of the app that serves this request or socket."""
    found: Services = connection.app.state.services
    return found


async def signed_in(connection: HTTPConnection) -> Session:
    """Return the session of this request. Raises Problem 401 (none) or 403 (of another company than x-company says).

    The company always comes from the signed cookie. The header x-company, which an edge may use to count requests
    by tenant, can only agree with it.
    """
    cookie = connection.cookies.get(COOKIE)
    key = await services(connection).session_key.get() if cookie else b""
    session = verify(cookie, key, time.time()) if cookie else None
    if session is None:
        raise Problem(401, "Sign in first: POST /api/login.")
    claimed = connection.headers.get("x-company")
    if claimed is not None and claimed != str(session.company_id):
        raise Problem(403, "This session belongs to another company than x-company says.")
    return session


def same_site(connection: HTTPConnection) -> bool:
    """Say whether this comes from one of our own pages, or from a program that is no browser and sends no Origin."""
    origin = connection.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == connection.headers.get("host", "")
