"""Signing in and out, and who I am."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crewboard.replies import Line, Problem, parse, read_body, reply
from crewboard.services import services, signed_in
from crewboard.sessions import COOKIE, LIFETIME_S, Session, sign

Password = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Credentials(msgspec.Struct, forbid_unknown_fields=True):
    """Who wants to sign in; `company` is the company's short name."""

    company: Line
    email: Line
    password: Password


async def sign_in(request: Request) -> Response:
    """POST /api/login: a cookie for the right password. The session is always a new one that we made."""
    credentials = parse(await read_body(request), Credentials)
    parts = services(request)
    async with parts.database.connection() as connection:
        user = await connection.fetchrow(
            "SELECT company_id, user_id, password_hash, users.name, companies.name AS company, tier"
            " FROM users JOIN companies USING (company_id) WHERE slug = $1 AND email = $2",
            credentials.company.lower(),
            credentials.email.lower(),
        )
    right = await parts.passwords.check(credentials.password, user["password_hash"] if user else None)
    if user is None or not right:
        raise Problem(401, "Company, e-mail and password do not match.")
    session = Session(user["company_id"], user["user_id"], int(time.time()) + LIFETIME_S)
    answer = reply(
        {"company_id": user["company_id"], "company": user["company"], "tier": user["tier"], "user": user["name"]}
    )
    answer.set_cookie(
        COOKIE,
        sign(session, await parts.session_key.get()),
        max_age=LIFETIME_S,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return answer


async def sign_out(request: Request) -> Response:
    """POST /api/logout: the browser forgets the cookie."""
    answer = reply({"signed_in": False})
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=request.url.scheme == "https")
    return answer


async def who_am_i(request: Request) -> Response:
    """GET /api/me: the user and the company of this session."""
    session = await signed_in(request)
    async with services(request).database.connection() as connection:
        user = await connection.fetchrow(
            "SELECT company_id, companies.name AS company, tier, users.name AS user"
            " FROM users JOIN companies USING (company_id) WHERE company_id = $1 AND user_id = $2",
            session.company_id,
            session.user_id,
        )
    if user is None:
        raise Problem(401, "This account is gone; sign in with another.")
    return reply(dict(user))


routes = [
    Route("/api/login", sign_in, methods=["POST"]),
    Route("/api/logout", sign_out, methods=["POST"]),
    Route("/api/me", who_am_i),
]
