"""Who may ask what: names the console answers to, origins, the token. Stage: before every route.

On loopback everybody on this machine may read; a page of another site may not, whatever name it gives loopback (DNS rebinding) and
whatever its browser would send along. Bound to another address the console shows nothing without the token. What changes something
always needs it.
"""

import hashlib
import hmac
import ipaddress
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from tenfold.model import LOOPBACK

COOKIE = "tenfold_console"
COOKIE_S = 30 * 86_400
NAMES = frozenset({"localhost", LOOPBACK, "::1"})
HEADERS = {
    "server": "tenfold",
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
TOKEN_BYTES = 32


class TokenError(Exception):
    """The token can't be read or made. Its text is one sentence that says what to do next."""


def read_token(path: Path) -> str | None:
    """The token in `path`; None when there is none yet. Raises `TokenError`."""
    try:
        if path.stat().st_mode & 0o077:
            raise TokenError(f"others may read the console's token {path}: remove it, and a new one is made")
        token = path.read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise TokenError(
            f"the console's token {path} can't be read ({error}): remove it, and a new one is made"
        ) from None
    if len(token) < TOKEN_BYTES:
        raise TokenError(f"the console's token {path} is too short to be one: remove it, and a new one is made")
    return token


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def make_token(path: Path) -> str:
    """The token in `path`, made for its owner's eyes only when there is none. Raises `TokenError`."""
    found = read_token(path)
    if found is not None:
        return found
    token = new_token()
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
        # Of two that make one at the same time, the first one's stands.
        os.link(fresh, path)
    except FileExistsError:
        pass
    except OSError as error:
        raise TokenError(f"the console's token {path} can't be made: {error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)
    return read_token(path) or token


def is_loopback(host: str) -> bool:
    """True for a name or address of this machine's loopback."""
    if host in NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """The name in a Host header, without its port and brackets, in small letters."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules of one console: the `token`, the `names` it answers to besides loopback's, its `inner` addresses, which only the project's
    own networks on this machine reach, and whether it `is_open` (nobody else reaches it, so that reading needs no token)."""

    token: str
    names: frozenset[str] = frozenset()
    inner: frozenset[str] = frozenset()
    is_open: bool = True

    def names_it(self, request: web.Request) -> bool:
        """True when the request calls the console by a name of its own, or by the very address that it came in at."""
        host = host_of(request.headers.get("host", ""))
        if is_loopback(host) or host in self.names:
            return True
        address = request.transport.get_extra_info("sockname") if request.transport else None
        return not self.is_open and address is not None and host == address[0]

    def has_token(self, request: web.Request) -> bool:
        """True with the token in the Authorization header."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip())

    def is_token(self, given: str) -> bool:
        """True for the token; takes as long for any other."""
        return _same(given, self.token)

    def may_read(self, request: web.Request) -> bool:
        """True on an open console, with the token, or with the cookie that a sign-in gave."""
        return self.is_open or self.has_token(request) or _same(request.cookies.get(COOKIE, ""), self.cookie)

    def is_from_here(self, request: web.Request) -> bool:
        """True when it comes from this machine itself."""
        peer = request.transport.get_extra_info("peername") if request.transport else None
        here = request.transport.get_extra_info("sockname") if request.transport else None
        if peer is None or here is None:
            return False
        return self.is_open or here[0] in self.inner or is_loopback(peer[0]) or peer[0] == here[0]

    @property
    def cookie(self) -> str:
        """What the sign-in's cookie holds: it lets read, and the token can't be found from it."""
        return hmac.new(self.token.encode(), b"console reads", hashlib.sha256).hexdigest()


def is_foreign(request: web.Request) -> bool:
    """True when a browser says that a page of another origin asks."""
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != request.headers.get("host", "").lower()


@web.middleware
async def with_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer tells browsers what they may do with it."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.headers.update(HEADERS)
        raise
    if not response.prepared:
        response.headers.update(HEADERS)
    return response


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())
