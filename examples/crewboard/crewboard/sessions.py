"""Sessions: a signed cookie that says which user of which company this is, and until when."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
from typing import Final
from uuid import UUID

import msgspec

from crewboard.database import Database

COOKIE: Final = "crewboard_session"
LIFETIME_S: Final = 12 * 3600

log = logging.getLogger("crewboard.sessions")


class Session(msgspec.Struct, frozen=True):
    """Who is asking."""

    company_id: int
    user_id: UUID
    expires_at_s: int
    """Seconds since 1970."""


def sign(session: Session, key: bytes) -> str:
    """Return the cookie's value: what it says and a signature, both in base64."""
    said = _text(msgspec.json.encode(session))
    return f"{said}.{_text(_signature(said, key))}"


def verify(cookie: str, key: bytes, now_s: float) -> Session | None:
    """Return the session that we once signed, or None if we did not, or if it has expired."""
    said, _, signature = cookie.partition(".")
    try:
        if not hmac.compare_digest(_bytes(signature), _signature(said, key)):
            return None
        session = msgspec.json.decode(_bytes(said), type=Session)
    except (binascii.Error, UnicodeEncodeError, msgspec.DecodeError):
        return None
    return session if session.expires_at_s > now_s else None


def _signature(said: str, key: bytes) -> bytes:
    # The prefix keeps this signature apart from anything else that may once be signed with the same key.
    return hmac.digest(key, b"crewboard session v1:" + said.encode(), hashlib.sha256)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)


class SessionKey:
    """The key that signs: SESSION_KEY, or in development the one that the database keeps for all instances."""

    def __init__(self, configured: str | None, database: Database) -> None:
        self._key = configured.encode() if configured else None
        self._database = database
        if self._key is None:
            log.warning(
                "SESSION_KEY is not set: sessions are signed with a key kept in the database. "
                "That is fine for development; in production set SESSION_KEY to a long random text."
            )

    async def get(self) -> bytes:
        """Return the key; asks the database once if it must. Raises DatabaseAway."""
        if self._key is None:
            async with self._database.connection() as connection:
                key: str = await connection.fetchval("SELECT key FROM development_session_key")
            self._key = key.encode()
        return self._key
