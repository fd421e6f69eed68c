"""Finds one request in the access logs of gateways and entry, and joins what they tell of it. Stage: world -> facts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tenfold.drivers.envoy import accesslog
from tenfold.drivers.envoy.accesslog import Line
from tenfold.drivers.project import Project
from tenfold.facts import RequestTrace
from tenfold.render.envoy_entry import origin_of

GATEWAY_LOG = "access"
ENTRY_LOG = "entry"
"""Stems of the access logs' names; the region follows."""

HEDGED_US_MIN = 60_000
"""A second try that began later than this was begun because the first was late: after a failure it begins within 50 ms."""

_FAILURES = (
    ("NR", "nothing is served at this host and path"),
    ("UH", "no region was well that may serve it"),
    ("UO", "the regions already had all the requests they may have at once"),
    ("OM", "the entry was short of memory"),
    ("SI", "no byte came for as long as the service's timeout allows"),
    ("UF", "no region could be reached in {tries} tries"),
    ("UC", "{last} broke off before it answered"),
    ("UR", "{last} broke the request off"),
    ("LR", "the connection to {last} was broken off"),
    ("UPE", "the answer of {last} was not valid HTTP ({why})"),
    ("DPE", "the request was not valid HTTP ({why})"),
    ("DC", "the client left before it was answered"),
)


def find_request(project: Project, request_id: str) -> RequestTrace | None:
    """The request's trace, or None when no access log that is still kept holds it. One that no gateway logged is told as far as
    the entry knows it."""
    at_entry = next((line for _, line in _lines(project, ENTRY_LOG, request_id)), None)
    at_gateways = _lines(project, GATEWAY_LOG, request_id)
    if at_entry is None:
        return next((accesslog.trace(line, region) for region, line in at_gateways), None)
    served = next((line for region, line in at_gateways if region == at_entry.region), None)
    others = [region for region, _ in at_gateways if region != at_entry.region]
    return join(at_entry, served, others)


def _lines(project: Project, stem: str, request_id: str) -> list[tuple[str, Line]]:
    """The request's line of each region that has one. Where a try was given up for another, two gateways have one."""
    logs: list[Path] = sorted(project.logs.glob(f"{stem}-*.jsonl"))
    found = ((log, accesslog.find(log, request_id)) for log in logs)
    return [(log.stem.removeprefix(f"{stem}-"), line) for log, line in found if line is not None]


def join(entry: Line, gateway: Line | None, others: Sequence[str] = ()) -> RequestTrace:
    """What the entry tells of a request, and the gateway of the region that answered (None: none did, or it is not known).

    `others` are the regions whose gateways have a line of it too.
    """
    whole = accesslog.trace(entry, entry.region or "")
    origin, residency = origin_of(entry.pool or "")
    # Envoy counts an attempt also where there was nobody to ask.
    attempts = (entry.attempts or 0) if entry.region else 0
    hedged = attempts > 1 and (entry.asked or 0) >= HEDGED_US_MIN
    served = accesslog.trace(gateway, entry.region or "") if gateway is not None else None
    limited_by = [_limited_by(entry, others, hedged), served.limited_by if served is not None else ""]
    whole = replace(
        whole,
        service="",
        instance="",
        attempts=0,
        upstream_ms=None,
        limited_by="; ".join(text for text in limited_by if text),
        decision="",
        origin=origin,
        residency=residency,
        entry_attempts=attempts,
        entry_decision=whole.decision,
        hedged=hedged,
    )
    if served is None or gateway is None:
        return whole
    return replace(
        whole,
        service=served.service,
        instance=served.instance,
        route=served.route,
        attempts=served.attempts,
        upstream_ms=served.upstream_ms,
        decision=served.decision,
        held_ms=served.held_ms,
        network_ms=_network_ms(entry, gateway),
    )


def _network_ms(entry: Line, gateway: Line) -> float | None:
    """What of the time until the answer's first byte was not the instance's: the way there and back, wherever it is emulated.

    Of a request that the gateway asked of several instances, all that it took there is theirs.
    """
    if entry.first is None or entry.asked is None:
        return None
    if gateway.first is None:
        there = gateway.total or 0
    elif gateway.attempts == 1 and gateway.asked is not None and gateway.held is None:
        there = gateway.first - gateway.asked
    else:
        there = gateway.first
    return max(0, entry.first - entry.asked - there) / 1000


def _limited_by(line: Line, others: Sequence[str], hedged: bool) -> str:
    """What held a request up on its way to a region, or failed it there, in words; empty when nothing did."""
    words = {"tries": line.attempts, "last": line.region or "the region", "why": line.why}
    flags = (line.flags or "").split(",")
    for flag, text in _FAILURES:
        if flag in flags:
            return text.format(**words)
    if (line.attempts or 0) < 2:
        return ""
    # Envoy does not log who was asked first: a gateway that heard of it, and lives, does.
    first = others[0] if others else "the region asked first"
    if hedged:
        return f"{first} did not answer, asked {line.region} after {(line.asked or 0) / 1000:.0f} ms"
    if (line.answered or 0) - (line.asked or 0) > HEDGED_US_MIN:
        return (
            f"{line.region} took so long that it may have been asked of {others[0] if others else 'another region'} too"
        )
    return f"{first} could not take it, asked {line.region} after {(line.asked or 0) / 1000:.0f} ms"
