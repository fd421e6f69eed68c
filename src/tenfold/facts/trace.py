"""One request as the edge saw it, for `explain`. Made by the gateway's observer from its access log."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """Where one request went and where its time went.

    Times are milliseconds: `total_ms` from its first byte to the last byte of the answer; `upstream_ms` from when the
    instance was asked to the last byte of its answer; `first_byte_ms` until the answer's first byte. `attempts`
    counts tries at instances; `limited_by` says in words what held it up or failed it (empty: nothing did).
    `decision` is the one that published the routes it went by. `held_ms` is how long it waited for a cold start: its service slept when it
    came (None: it did not).

    Behind a global entry: `origin` is the region the client is nearest to, known by `origin_by`: `place` (a trusted sender told
    it), `country` (GeoIP) or `home` (nobody told; empty: not logged). `residency` is what the request had to stay within (empty:
    nothing). `entry_attempts` counts tries at regions,
    `entry_decision` published the ways it went by, and `network_ms` is what the way to the region and back took. `hedged`
    tells that a try was given up for another because it was late, not because it failed.
    """

    id: str
    at: float
    method: str
    path: str
    status: int
    service: str
    instance: str
    region: str
    route: str
    attempts: int
    total_ms: float
    first_byte_ms: float | None = None
    upstream_ms: float | None = None
    bytes_sent: int = 0
    flags: str = ""
    limited_by: str = ""
    decision: str = ""
    held_ms: float | None = None
    origin: str = ""
    origin_by: str = ""
    residency: str = ""
    entry_attempts: int = 0
    entry_decision: str = ""
    network_ms: float | None = None
    hedged: bool = False
