"""Why a request went to the region it went to, and what changed in an entry's table. Stage: journal, access log -> a person."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.table import Table

from tenfold.cli.tables import coloured, figure, table
from tenfold.deciders import RegionState
from tenfold.deciders.memory import RegionMemory, RegionsMemory
from tenfold.deciders.nearness import cost_ms
from tenfold.effects import Decision, PublishEntry
from tenfold.facts import RequestTrace
from tenfold.model import EntryTable, Model, Share, Way
from tenfold.model.places import distance_km

KNOWN_BY = {
    "place": "a trusted sender told where the client is",
    "country": "by the country of its address",
    "home": "where it is was not told, so it counts as near the entry",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A region that a request could have gone to, as it was then: `rtt_ms` is the way to it and back as the deciders reckon it,
    from what was measured (`is_measured`) or from the distance;
    `share_ratio` (0..1) is the part of such requests that was meant for it, `is_spare` that it was to be tried next; `why_not`
    says what kept it from serving this one."""

    region: str
    distance_km: float | None
    rtt_ms: float | None
    is_measured: bool
    state: str
    share_ratio: float
    is_spare: bool
    why_not: str = ""


def client(model: Model | None, trace: RequestTrace) -> str:
    """Which region the client is near, and how that is known."""
    by = KNOWN_BY.get(trace.origin_by) or (_must_be(model, trace.origin) if model is not None else "")
    return f"near {trace.origin}{f': {by}' if by else ''}"


def _must_be(model: Model, origin: str) -> str:
    """How it must have been known that a client is near `origin`, by what the blueprint allows; empty where that leaves it open."""
    ways = [KNOWN_BY[by] for by, is_open in (("place", model.edge.trust), ("country", model.edge.geoip)) if is_open]
    if not ways:
        return KNOWN_BY["home"]
    # Near the entry are also those of whom nobody told anything.
    return " or ".join(ways) if origin != model.entry_region else ""


def entry_table(decision: Decision | None) -> EntryTable | None:
    """The table that a decision gave the entry."""
    effects = decision.effects if decision is not None else ()
    return next((effect.table for effect in effects if isinstance(effect, PublishEntry)), None)


def meant(memory: RegionsMemory) -> tuple[Way, ...]:
    """The ways as they were remembered, where the table that told them is not kept."""
    return tuple(
        Way(origin, residency, tuple(Share(name, ratio) for name, ratio in sorted(shares.items())))
        for key, shares in memory.ways.items()
        for origin, _, residency in (key.partition("|"),)
    )


def candidates(model: Model, memory: RegionsMemory, way: Way) -> tuple[Candidate, ...]:
    """All regions as they were to a request that went by `way`, nearest first."""
    shares = {share.region: share.ratio for share in way.shares}
    found = [_candidate(model, memory, way, name, shares.get(name, 0.0)) for name in model.regions]
    # Where all are as near (no distance is emulated) its own region comes first.
    return tuple(sorted(found, key=lambda c: (c.rtt_ms is None, c.rtt_ms, c.region != way.origin, c.region)))


def _candidate(model: Model, memory: RegionsMemory, way: Way, name: str, ratio: float) -> Candidate:
    origin, region = model.regions.get(way.origin), model.regions[name]
    is_measured = f"{way.origin}>{name}" in memory.rtt_ms
    here, there = origin.at if origin is not None else None, region.at
    is_known = origin is not None and (is_measured or (here is not None and there is not None))
    judged = memory.regions.get(name)
    return Candidate(
        region=name,
        distance_km=distance_km(here, there) if here is not None and there is not None else None,
        rtt_ms=cost_ms(memory, model, way.origin, name) if is_known else None,
        is_measured=is_measured,
        state=_state(judged),
        share_ratio=ratio,
        is_spare=name in way.spares,
        why_not=_why_not(model, judged, way.residency, name) if ratio < 1 else "",
    )


def _state(judged: RegionMemory | None) -> str:
    if judged is None:
        return "starting"
    returning = f" {judged.share_ratio:.0%}" if judged.state is RegionState.RETURNING else ""
    return f"{judged.state}{returning}"


def _why_not(model: Model, judged: RegionMemory | None, residency: str, name: str) -> str:
    if residency and model.regions[name].residency != residency:
        return f"is not under {residency}"
    if judged is None:
        return "was not seen well yet"
    if judged.state in (RegionState.OUT, RegionState.DRAINED):
        return judged.why
    if judged.state is RegionState.RETURNING:
        return "was returning"
    return ""


def why_there(model: Model, memory: RegionsMemory, way: Way, trace: RequestTrace) -> str:
    """In one sentence: why the request went to its region."""
    found = candidates(model, memory, way)
    bound = f"it must be served in {way.residency}" if way.residency else ""
    if not way.shares:
        return f"it was refused: {bound}, and no region there could serve" if bound else "no region could serve"
    taken = next((c for c in found if c.region == trace.region), None)
    if taken is None:
        return "it reached no region"
    if taken.share_ratio == 0:
        meant = ", ".join(share.region for share in way.shares)
        service = model.services.get(trace.service)
        if trace.entry_attempts <= 1 and service is not None and service.is_sticky:
            return f"{trace.service} is sticky, and its client was answered there before"
        late = "was too late" if trace.hedged else "failed"
        what = f"a try at {meant} {late}" if trace.entry_attempts > 1 else f"the entry itself found {meant} ill"
        return f"{what}, and {taken.region} was the next that could serve it"
    allowed = [c for c in found if not way.residency or model.regions[c.region].residency == way.residency]
    nearer = allowed[: allowed.index(taken)] if taken in allowed else []
    parts = [bound] if bound else []
    parts += [f"{c.region} is nearer but {_kept(model, memory, c)}" for c in nearer] or [
        "it is the nearest that may serve it"
    ]
    if 0 < taken.share_ratio < 1:
        parts.append(f"{taken.share_ratio:.0%} of such requests were meant for it")
    return "; ".join(parts)


def _kept(model: Model, memory: RegionsMemory, nearer: Candidate) -> str:
    """What kept a nearer region from taking (all of) them."""
    if nearer.state == RegionState.OUT:
        return f"was out: {nearer.why_not}"
    if nearer.state.startswith(RegionState.RETURNING):
        return f"was {nearer.state}"
    if nearer.share_ratio > 0:
        return f"took {nearer.share_ratio:.0%} of them, as many as it had room for"
    return nearer.why_not or "had no room left"


def candidates_table(found: tuple[Candidate, ...], taken: str) -> Table:
    """The regions it could have gone to, for a person."""
    numbers = ("distance", "round trip", "share")
    made = table("region", *numbers, "state", "why", right=numbers)
    for each in found:
        mark = "" if each.is_measured or each.rtt_ms is None else "about "
        spare = "spare" if each.is_spare else "-"
        made.add_row(
            f"{each.region} (went there)" if each.region == taken else each.region,
            figure(each.distance_km, ",.0f", " km"),
            f"{mark}{figure(each.rtt_ms, '.0f', ' ms')}",
            f"{each.share_ratio:.0%}" if each.share_ratio else spare,
            coloured(each.state),
            each.why_not,
        )
    return made


def changes(before: EntryTable | None, after: EntryTable) -> Iterator[str]:
    """What a table changes for whom: a line for each way that is another one now."""
    was: Mapping[tuple[str, str], Way] = {(way.origin, way.residency): way for way in before.ways} if before else {}
    for way in after.ways:
        old = was.get((way.origin, way.residency))
        if old is not None and old.shares == way.shares:
            continue
        who = f"clients near {way.origin}" + (f" that must stay in {way.residency}" if way.residency else "")
        yield f"{who}: {f'{_shares(old)} -> ' if old is not None else ''}{_shares(way)}"


def _shares(way: Way) -> str:
    shares = sorted(way.shares, key=lambda share: (-share.ratio, share.region))
    return ", ".join(f"{share.region} {share.ratio:.0%}" for share in shares) or "refused"
