"""One request as the edge saw it, for `explain`. Made by the gateway's observer from its access log."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """Where one request went and where its time went.

    Times are milliseconds: `total_ms` from its first byte to the last byte of the answer; `upstream_ms` from when the
    instance was asked to the last byte of its answer; `first_byte_ms` until the answer's first byte. `attempts`
    counts tries at instances; `limited_by` says in words what held it up or failed it (empty: nothing did).
    `decision` is the one that published the routes it went by.
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
