"""Signing in: right and wrong passwords, and cookies that we never signed."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pytest

from crewboard.sessions import COOKIE, Session, sign

USER = UUID("0199a000-0000-7000-8000-000000000001")


def test_cookie_is_kept_from_scripts_and_other_sites(web: Any) -> None:
    """Ada signs in: she gets a cookie that scripts can't read and other sites' forms don't send, and is known."""
    with web.visitor() as visitor:
        who = {"company": "AURORA", "email": "Ada@aurora.example", "password": "crewboard"}
        answer = visitor.post("/api/login", json=who)
        assert answer.json() == {"company_id": 1, "company": "Aurora Airlines", "tier": "enterprise", "user": "Ada"}
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "secure" not in cookie
        assert visitor.get("/api/me").json()["user"] == "Ada"
        over_tls = visitor.post("/api/login", json=who, headers={"x-forwarded-proto": "https"})
        assert "secure" in over_tls.headers["set-cookie"].lower()
        visitor.post("/api/logout")
        assert visitor.get("/api/me").status_code == 401


@pytest.mark.parametrize(
    "who",
    [
        {"company": "aurora", "email": "ada@aurora.example", "password": "crewboarb"},
        {"company": "boreal", "email": "ada@aurora.example", "password": "crewboard"},
        {"company": "aurora", "email": "nobody@aurora.example", "password": "crewboard"},
        {"company": "aurora' OR true --", "email": "ada@aurora.example", "password": "crewboard"},
    ],
)
def test_wrong_credentials_are_all_the_same(web: Any, who: dict[str, str]) -> None:
    """Somebody guesses: whatever is wrong, the answer is the same and sets no cookie."""
    with web.visitor() as visitor:
        answer = visitor.post("/api/login", json=who)
        assert answer.status_code == 401
        assert answer.json() == {"error": "Company, e-mail and password do not match."}
        assert "set-cookie" not in answer.headers


def forgeries(genuine: str) -> dict[str, str]:
    """Return cookies that must not work, by what is wrong with them."""
    said, _, signature = genuine.partition(".")
    in_an_hour = int(time.time()) + 3600
    stranger = sign(Session(2, USER, in_an_hour), b"another key")
    return {
        "empty": "",
        "no signature": said,
        "empty signature": f"{said}.",
        "signature of something else": f"{stranger.partition('.')[0]}.{signature}",
        "signed with another key": stranger,
        "expired": sign(Session(1, USER, int(time.time()) - 1), b"only for these tests"),
        "a character changed": ("B" if said[0] == "A" else "A") + said[1:] + "." + signature,
        "signature cut": genuine[:-4],
        "not base64": "!!!.???",
        "one dot": ".",
        "long": "A" * 4000,
    }


def test_forged_cookies_open_nothing(web: Any) -> None:
    """An attacker changes, cuts, borrows and invents cookies: each is answered 401, never 500."""
    with web.member("aurora") as member, web.visitor() as visitor:
        genuine = member.cookies[COOKIE]
        assert visitor.get("/api/me", headers={"cookie": f"{COOKIE}={genuine}"}).status_code == 200
        for wrong, cookie in forgeries(genuine).items():
            answer = visitor.get("/api/projects", headers={"cookie": f"{COOKIE}={cookie}"})
            assert answer.status_code == 401, wrong
        latin = f"{COOKIE}=\xe9\xff.\xe9".encode("latin-1")
        assert visitor.get("/api/projects", headers={b"cookie": latin}).status_code == 401


def test_a_session_is_never_chosen_by_the_client(web: Any) -> None:
    """An attacker plants a cookie before Ada signs in: she gets one of her own all the same."""
    with web.visitor() as visitor:
        who = {"company": "aurora", "email": "ada@aurora.example", "password": "crewboard"}
        answer = visitor.post("/api/login", json=who, headers={"cookie": f"{COOKIE}=planted"})
        assert "planted" not in answer.headers["set-cookie"]


def test_writes_from_other_sites_are_refused(web: Any) -> None:
    """Another site's page posts with Ada's cookie: refused by its Origin; her own page's write passes."""
    with web.member("juniper") as member:
        for origin in ("https://evil.example", "null", web.url.replace("http:", "https:") + "0"):
            answer = member.post("/api/projects", json={"name": "Stolen"}, headers={"origin": origin})
            assert answer.status_code == 403, origin
        mine = member.post("/api/projects", json={"name": "Mine"}, headers={"origin": web.url})
        assert mine.status_code == 201
        assert "Stolen" not in member.get("/api/projects").text
