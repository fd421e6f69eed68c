"""Passwords: hashed with scrypt, checked in a thread, few at a time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

from anyio import CapacityLimiter, to_thread

# 16 MiB and about 40 ms of CPU for each check.
COST = 2**14
# More at once than this would only take the memory and the CPU away from everybody else.
CHECKS_AT_ONCE = 2


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Return `scrypt$cost$salt$hash`."""
    salt = os.urandom(16) if salt is None else salt
    digest = hashlib.scrypt(password.encode(), salt=salt, n=COST, r=8, p=1)
    return f"scrypt${COST}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def verify_password(password: str, stored: str) -> bool:
    """Say whether the password is the stored one, in constant time."""
    _, cost, salt, expected = stored.split("$")
    digest = hashlib.scrypt(password.encode(), salt=base64.b64decode(salt), n=int(cost), r=8, p=1)
    return hmac.compare_digest(digest, base64.b64decode(expected))


# Checked when there is no such user, so that the time of the answer does not tell who has an account.
_NOBODY = f"scrypt${COST}${base64.b64encode(bytes(16)).decode()}${base64.b64encode(bytes(64)).decode()}"


class PasswordChecker:
    """Checks passwords off the event loop."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(CHECKS_AT_ONCE)

    async def check(self, password: str, stored: str | None) -> bool:
        """Check against the stored hash, or against nobody's; both take the same time."""
        return await to_thread.run_sync(verify_password, password, stored or _NOBODY, limiter=self._limiter)
