"""The page's files, as they lie in the package: compressed once, told apart by what is in them. Stage: package -> a browser."""

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent / "page"
NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,99}(?:/[A-Za-z0-9_][\w.-]{0,99}){0,3}")
"""No hidden file, and nothing that leads out of the folder."""
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".webmanifest": "application/manifest+json"}
COMPRESSED = ("text/", "application/json", "application/manifest", "image/svg")


@dataclass(frozen=True, slots=True)
class Page:
    """One file: as it is, compressed (None where that is of no use), its type and its tag."""

    changed_ns: int
    body: bytes
    compressed: bytes | None
    content_type: str
    tag: str


class Pages:
    """The files of `folder`, read again when they change."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._pages: dict[str, Page] = {}

    def find(self, name: str) -> Page | None:
        """The file of that name; None when there is none."""
        if not NAME.fullmatch(name):
            return None
        path = self._folder / name
        try:
            changed_ns = path.stat().st_mtime_ns
            known = self._pages.get(name)
            if known is None or known.changed_ns != changed_ns:
                self._pages[name] = known = _page(path, changed_ns)
        except OSError:
            return None
        return known

    def answer(self, request: web.Request, name: str) -> web.Response:
        """The file as an answer to `request`; 304 when the browser has it already."""
        page = self.find(name)
        if page is None:
            raise web.HTTPNotFound(text=f"there is no {name} here\n")
        headers = {"etag": page.tag, "cache-control": "no-cache", "vary": "accept-encoding"}
        if request.headers.get("if-none-match") == page.tag:
            return web.Response(status=304, headers=headers)
        body = page.body
        if page.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            body = page.compressed
        return web.Response(body=body, headers={**headers, "content-type": page.content_type})


def _page(path: Path, changed_ns: int) -> Page:
    body = path.read_bytes()
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    compressed = gzip.compress(body, 9, mtime=0) if kind.startswith(COMPRESSED) else None
    charset = "; charset=utf-8" if kind.startswith("text/") else ""
    return Page(changed_ns, body, compressed, f"{kind}{charset}", f'"{hashlib.sha256(body).hexdigest()[:16]}"')
