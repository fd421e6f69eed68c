"""The gateways' access logs: kept small, searched for one request, and read for what each route normally takes.
Stage: world -> facts."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tenfold.facts import RequestTrace
from tenfold.render.envoy import SOCKETS_SUFFIX
from tenfold.render.envoy_routes import ASLEEP

SIZE_BYTES_MAX = 64 * 1024 * 1024
"""A log that reaches this is put aside (`access-local.jsonl.1`, the newest, to `.7`)."""

KEPT = 7
"""So many logs that were put aside stay: with 500 bytes a line, about the last million requests."""

READ_BYTES_MAX = 512 * 1024
"""So much of a log is read at a look, its newest part: about a thousand requests, which is sample enough."""

_BLOCK_BYTES = 1 << 20


class Line(msgspec.Struct):
    """One line, as `render.envoy_listener` asks for it; times are microseconds since the request's first byte. What a
    request had none of is None: a malformed one has not even a path.

    The entry logs the `region` that answered in place of the instance, a gateway behind it the `origin`.
    """

    at: str
    code: int | None = None
    id: str | None = None
    method: str | None = None
    path: str | None = None
    flags: str | None = None
    why: str | None = None
    pool: str | None = None
    route: str | None = None
    instance: str | None = None
    attempts: int | None = None
    total: int | None = None
    first: int | None = None
    asked: int | None = None
    answered: int | None = None
    out: int | None = None
    region: str | None = None
    origin: str | None = None
    by: str | None = None

    @property
    def service(self) -> str:
        """Empty where no pool was chosen."""
        return (self.pool or "").removesuffix(SOCKETS_SUFFIX)

    @property
    def held(self) -> int | None:
        """How long it was held for an instance, microseconds; None where its service did not sleep."""
        is_asleep = (self.route or "").rpartition(" ")[0].rpartition(" ")[2] == ASLEEP
        return (self.asked if self.asked is not None else self.total) if is_asleep else None


_DECODER = msgspec.json.Decoder(Line)


def decode(line: bytes) -> Line | None:
    """The line, or None when it was cut (a full disk, a crash)."""
    try:
        return _DECODER.decode(line)
    except msgspec.DecodeError:
        return None


def parts(log: Path) -> list[Path]:
    """The log and those put aside, newest first."""
    aside = (log.with_name(f"{log.name}.{number}") for number in range(1, KEPT + 1))
    return [path for path in (log, *aside) if path.exists()]


def is_full(log: Path) -> bool:
    """True when the log is to be put aside."""
    return log.exists() and log.stat().st_size >= SIZE_BYTES_MAX


def put_aside(log: Path) -> None:
    """Rename the log to `.1` and the older ones to one more; the oldest is deleted.
    Its writer goes on writing to it until told."""
    for number in range(KEPT, 0, -1):
        older = log if number == 1 else log.with_name(f"{log.name}.{number - 1}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number}"))


def find(log: Path, request_id: str) -> Line | None:
    """The newest line of this request; reads from the end, a megabyte at a time."""
    needle = msgspec.json.encode(request_id)
    for path in parts(log):
        for block in _blocks_from_end(path):
            at = block.rfind(needle)
            while at >= 0:
                start = block.rfind(b"\n", 0, at) + 1
                end = block.find(b"\n", at)
                line = decode(block[start : end if end >= 0 else len(block)])
                if line is not None and line.id == request_id:
                    return line
                at = block.rfind(needle, 0, start)
    return None


class LogTail:
    """The newest part of a log, read as it grows; it may be put aside meanwhile."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset: int | None = None
        self._file_id: tuple[int, int] | None = None

    def fresh(self) -> list[Line]:
        """What was logged since the last look, of that the newest READ_BYTES_MAX."""
        try:
            with self._log.open("rb") as file:
                found = os.fstat(file.fileno())
                size = found.st_size
                same = self._file_id == (found.st_dev, found.st_ino) and self._offset is not None
                since = self._offset if same and self._offset is not None and self._offset <= size else 0
                start = max(since, size - READ_BYTES_MAX)
                file.seek(start)
                data = file.read(size - start)
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self._file_id, self._offset = (found.st_dev, found.st_ino), start + end
        lines = data[:end].splitlines()
        decoded = (decode(line) for line in (lines[1:] if start > since else lines))
        return [line for line in decoded if line is not None]


def _blocks_from_end(path: Path) -> Iterator[bytes]:
    """Blocks of whole lines, the last one first."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        rest = b""
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            file.seek(start)
            block = file.read(end - start) + rest
            if start > 0:
                cut = block.find(b"\n") + 1
                rest, block = block[:cut], block[cut:]
            yield block
            end = start


def trace(line: Line, region: str) -> RequestTrace:
    """What `explain` tells of a request."""
    mark, _, route = (line.route or "").rpartition(" ")
    mark = mark.removesuffix(ASLEEP).rstrip()
    return RequestTrace(
        id=line.id or "",
        at=float(line.at),
        method=line.method or "",
        path=line.path or "",
        status=line.code or 0,
        service=line.service,
        instance=line.instance or "",
        region=region,
        route=route,
        attempts=line.attempts or 0,
        total_ms=_ms(line.total if line.total is not None else line.answered) or 0.0,
        first_byte_ms=_ms(line.first),
        upstream_ms=_ms(line.answered - line.asked) if line.answered is not None and line.asked is not None else None,
        bytes_sent=line.out or 0,
        flags="" if line.flags == "-" else line.flags or "",
        limited_by=limited_by(line),
        held_ms=_ms(line.held),
        decision=max((published(mark), published(line.by or "")), key=lambda found: found[0])[1],
    )


def published(mark: str) -> tuple[int, str]:
    """Of the mark that routes and endpoints bear (`12.d7`), how many tables the gateway had been given by then and the
    decision that published the last of them."""
    number, _, decision = mark.partition(".")
    return (int(number), decision) if number.isdigit() else (0, mark)


_FAILURES = (
    ("NR", "nothing is served at this host and path"),
    ("NC", "nothing is served at this host and path"),
    (
        "UAEX",
        "{service} sleeps, and no instance was ready in time, or too many waited for it already, or nobody was there to wake it",
    ),
    ("UH", "no instance of {service} was well"),
    ("UO", "{service} already had all the requests it may have at once"),
    ("OM", "the edge was short of memory"),
    ("SI", "no byte came for as long as the service's timeout allows"),
    ("UF", "no instance of {service} could be reached in {attempts} tries"),
    ("UC", "{instance} ended before it answered"),
    ("UR", "{instance} broke the request off"),
    ("LR", "the connection to {instance} was broken off"),
    ("UPE", "the answer of {instance} was not valid HTTP ({why})"),
    ("DPE", "the request was not valid HTTP ({why})"),
    ("DC", "the client left before it was answered"),
)


def limited_by(line: Line) -> str:
    """What held a request up or failed it, in words; empty when nothing did."""
    words = {
        "service": line.service or "the service",
        "instance": line.instance or "the instance",
        "attempts": line.attempts,
        "why": line.why,
    }
    flags = (line.flags or "").split(",")
    for flag, text in _FAILURES:
        if flag in flags:
            return text.format(**words)
    if line.held is not None:
        return f"it waited {line.held / 1e6:.2g} s for a cold start: {words['service']} slept when it came"
    if (line.attempts or 0) > 1 and line.asked is not None:
        if line.asked > (line.answered or 0) / 2:
            return f"the first try did not answer: try {line.attempts}, begun after {line.asked / 1000:.0f} ms, did"
        return "it took so long that it was asked of a second instance too"
    return ""


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1000
