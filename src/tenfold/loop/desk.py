"""Where commands hand in what people ask for, and get the answer. Stage: before the loop, in another process than it.

A request, and the release that it ships, lie in the journal until the loop's deciders have answered.
"""

import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from tenfold.facts import DeployRequest, PersonRequest, UpRequest
from tenfold.loop.store import JournalError, open_to_write, told, transaction
from tenfold.loop.tick import RELEASES, REQUESTS

BUSY_S = 5.0


def new_request_id(kind: str) -> str:
    """An id for a request of a person, never used before."""
    return f"{kind}-{time.strftime('%H%M%S')}-{uuid.uuid4().hex[:6]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended: `ok`, and what to tell the person."""

    request: str
    ok: bool
    text: str
    at: float


class Desk:
    """The counter of the journal at `path`. Any process may use it, also while no loop runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, request: PersonRequest) -> None:
        """Hand in `request`, with the release it brings. Raises `JournalError`, also for an id that was used before."""
        db = open_to_write(self._path, BUSY_S)
        try:
            with told(self._path, "written"), transaction(db):
                if db.execute("SELECT 1 FROM requests WHERE id = ?", (request.id,)).fetchone():
                    raise JournalError(f"a request {request.id} was made before: choose another id")
                db.execute(
                    "INSERT INTO requests (id, at, body) VALUES (?, ?, ?)",
                    (request.id, request.made_at, REQUESTS.encode(request)),
                )
                if isinstance(request, UpRequest | DeployRequest):
                    release = request.release
                    db.execute(
                        "INSERT OR IGNORE INTO releases (id, body) VALUES (?, ?)",
                        (release.id, RELEASES.encode(release)),
                    )
        finally:
            db.close()

    def withdraw(self, request: str, at: float, why: str) -> None:
        """Answer `request` oneself, because nobody else will (no loop runs). Does nothing when it was answered. Raises `JournalError`."""
        db = open_to_write(self._path, BUSY_S)
        try:
            with told(self._path, "written"):
                db.execute(
                    "UPDATE requests SET answered_at = ?, ok = 0, text = ? WHERE id = ? AND answered_at IS NULL",
                    (at, why, request),
                )
        finally:
            db.close()
