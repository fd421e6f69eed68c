"""The regions of a project as `status` shows them: how each is, what it answers and for whom, and how far apart they are.
Stage: journal -> a person, or JSON for a program."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tenfold.cli.tables import ago, coloured, figure, notes, table
from tenfold.deciders import RegionState
from tenfold.deciders.memory import RegionMemory
from tenfold.facts import EngineState, InstanceState, LinkSeen, PoolSeen, ReplicaRole, Snapshot
from tenfold.loop import Tick
from tenfold.model import Model

FACT_AGE_S_MAX = 5.0
"""Older figures are not shown as if they were of now."""
CUT_RATIO = 0.9
"""Of this share of probes none is counted as a way any more."""
NAMES_WIDTH_MAX = 90
"""Columns of the matrix are headed by the regions' names up to this width in all, by their numbers beyond."""


@dataclass(frozen=True, slots=True)
class StoreRow:
    """The part of a region in one store: `role` is empty while it does not tell; `state` is its engine's (empty: not run by us).
    `lag_s` is of a standby how old its newest write may be, of a primary how far behind the best standby is."""

    state: str
    role: str = ""
    is_primary: bool = False
    follows: str = ""
    is_synchronous: bool = False
    lag_s: float | None = None


@dataclass(frozen=True, slots=True)
class RegionRow:
    """One region now.

    `share_ratio` (0..1) is the part of all tries that goes to it; `serves` tells which part of each origin's requests is meant
    for it, `serves_residents` the same, by residency, of those that must stay within one.
    `returning_ratio` is how much of what is meant for it a returning region takes. Times are milliseconds: `response_ms_*` at
    its gateway (with several services their mean, weighted by requests), `first_byte_ms_*` as seen from the entry.
    """

    name: str
    state: str
    since: float | None
    why: str
    returning_ratio: float | None
    at: tuple[float, float] | None
    residency: str | None
    capacity_users: int | None
    gateway: str
    instances: Mapping[str, tuple[int, int]]
    requests_per_s: float | None = None
    errors_per_s: float | None = None
    response_ms_p50: float | None = None
    response_ms_p95: float | None = None
    response_ms_p99: float | None = None
    first_byte_ms_p50: float | None = None
    first_byte_ms_p99: float | None = None
    unanswered_per_s: float | None = None
    demand_per_s: float | None = None
    share_ratio: float | None = None
    serves: Mapping[str, float] = field(default_factory=dict)
    serves_residents: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stores: Mapping[str, StoreRow] = field(default_factory=dict)
    control: str = ""
    voter: str = ""


def rows(model: Model, tick: Tick) -> tuple[RegionRow, ...]:
    """All regions of `model` as they were at `tick`, in the blueprint's order."""
    tries = {
        name: seen.tries_per_s for name, seen in tick.snapshot.regions.items() if _is_fresh(tick.snapshot, seen.seen_at)
    }
    return tuple(_row(model, tick, name, tries) for name in model.regions)


def _row(model: Model, tick: Tick, name: str, tries: Mapping[str, float]) -> RegionRow:
    snapshot, memory = tick.snapshot, tick.memory.regions
    region, judged, seen = model.regions[name], memory.regions.get(name), snapshot.regions.get(name)
    seen = seen if seen is not None and _is_fresh(snapshot, seen.seen_at) else None
    gateway = snapshot.engines.get(f"gateway/{name}")
    instances = _instances(model, tick, name)
    is_returning = judged is not None and judged.state is RegionState.RETURNING
    whole = sum(tries.values())
    serves = _serves(tick, name)
    voter = snapshot.engines.get(f"voter/{name}")
    return RegionRow(
        name=name,
        state=str(judged.state) if judged is not None else "starting",
        since=judged.since if judged is not None else None,
        why=_said_of(judged),
        returning_ratio=judged.share_ratio if judged is not None and is_returning else None,
        at=region.at,
        residency=region.residency,
        capacity_users=region.capacity_users,
        gateway=str(gateway.state) if gateway is not None else "",
        instances=instances,
        **_traffic(snapshot, instances, name),
        first_byte_ms_p50=seen.first_byte_ms_p50 if seen else None,
        first_byte_ms_p99=seen.first_byte_ms_p99 if seen else None,
        unanswered_per_s=seen.unanswered_per_s if seen else None,
        demand_per_s=seen.demand_per_s if seen else None,
        share_ratio=tries.get(name, 0.0) / whole if whole > 0 else None,
        serves=serves.pop("", {}),
        serves_residents=serves,
        stores=_stores(model, tick, name),
        control=_control(tick, name),
        voter=str(voter.state) if voter is not None else "",
    )


def _said_of(judged: RegionMemory | None) -> str:
    """Why it is in its state. What was once amiss with a region that serves does not matter any more when nothing is."""
    if judged is None:
        return "it was not seen well yet"
    return judged.why if judged.state is not RegionState.SERVING or judged.ailing_since else ""


def _is_fresh(snapshot: Snapshot, seen_at: float) -> bool:
    return snapshot.taken_at - seen_at <= FACT_AGE_S_MAX


def _instances(model: Model, tick: Tick, region: str) -> Mapping[str, tuple[int, int]]:
    """By service: how many are ready, how many are wanted."""
    serving = model.releases.get(tick.memory.release.serving or "")
    found = {}
    for service in (serving.services if serving else model.services).values():
        if not service.runs_always:
            continue
        scale = tick.memory.scale.pools.get(f"{service.name}@{region}")
        ready = sum(
            (i.service, i.region, i.release, i.state)
            == (service.name, region, tick.memory.release.serving, InstanceState.READY)
            for i in tick.snapshot.instances.values()
        )
        found[service.name] = (ready, scale.wanted if scale else service.scaling.instances_min)
    return found


def _traffic(snapshot: Snapshot, services: Iterable[str], region: str) -> dict[str, float | None]:
    pools = [p for s in services if (p := snapshot.pools.get(f"{s}@{region}")) and _is_fresh(snapshot, p.seen_at)]
    return {
        "requests_per_s": sum(pool.requests_per_s for pool in pools) if pools else None,
        "errors_per_s": sum(pool.errors_per_s for pool in pools) if pools else None,
        **{f"response_ms_{p}": _mean(pools, f"response_ms_{p}") for p in ("p50", "p95", "p99")},
    }


def _mean(pools: list[PoolSeen], attribute: str) -> float | None:
    told = [(value, pool.requests_per_s) for pool in pools if (value := getattr(pool, attribute)) is not None]
    whole = sum(weight for _, weight in told)
    return sum(value * weight for value, weight in told) / whole if whole > 0 else None


def _serves(tick: Tick, region: str) -> dict[str, dict[str, float]]:
    """Which part of whose requests is meant for the region: by residency (empty: the others) and origin."""
    found: dict[str, dict[str, float]] = {}
    for key, shares in tick.memory.regions.ways.items():
        origin, _, residency = key.partition("|")
        if shares.get(region, 0.0) > 0:
            found.setdefault(residency, {})[origin] = shares[region]
    return found


def _stores(model: Model, tick: Tick, region: str) -> Mapping[str, StoreRow]:
    found = {}
    for kind in ("postgres", "valkey"):
        key = f"{kind}/{region}"
        engine, replica = tick.snapshot.engines.get(key), tick.snapshot.replicas.get(key)
        memory = tick.memory.stores.get(kind)
        if engine is None:
            continue
        state = str(engine.state)
        is_primary = memory is not None and memory.primary == region
        if replica is None or not _is_fresh(tick.snapshot, replica.seen_at):
            found[kind] = StoreRow(state, is_primary=is_primary)
        else:
            found[kind] = StoreRow(
                state, str(replica.role), is_primary, replica.follows, replica.is_synchronous, replica.lag_s
            )
    return found


def _control(tick: Tick, region: str) -> str:
    if tick.snapshot.led_from == region:
        return "leads"
    engine = tick.snapshot.engines.get(f"control/{region}")
    # One that ended is not wanted any more, or is started anew elsewhere.
    if engine is None or engine.state is EngineState.EXITED:
        return ""
    return "stands by" if engine.state is EngineState.READY else str(engine.state)


def links(model: Model, tick: Tick) -> Mapping[str, LinkSeen]:
    """The ways between regions that were measured lately, by `origin>region`."""
    return {
        key: link
        for key, link in tick.snapshot.links.items()
        if link.origin in model.regions and link.region in model.regions and _is_fresh(tick.snapshot, link.seen_at)
    }


def tables(model: Model, tick: Tick) -> RenderableType:
    """All of it for a person: the regions and their traffic, where each lies and whom it serves, what runs in it, how far apart they
    are."""
    found = rows(model, tick)
    parts: list[RenderableType] = [_traffic_table(found, tick.at), *notes((row.name, _why(row)) for row in found)]
    parts += [Text(), _ways_table(found), Text(), _parts_table(found), Text(), _matrix(model, tick)]
    return Group(*parts)


def _why(row: RegionRow) -> str:
    # Of a region that returns, its state tells all there is to tell.
    return row.why if row.returning_ratio is None else ""


def _traffic_table(found: tuple[RegionRow, ...], at: float) -> Table:
    numbers = ("for", "req/s", "p50", "p95", "p99", "errors", "share")
    made = table("region", "state", *numbers, right=numbers)
    for row in found:
        returning = f" {row.returning_ratio:.0%}" if row.returning_ratio is not None else ""
        made.add_row(
            row.name,
            coloured(f"{row.state}{returning}"),
            ago(at - row.since) if row.since is not None else "-",
            figure(row.requests_per_s, ".1f"),
            *(figure(value, ".0f", "ms") for value in (row.response_ms_p50, row.response_ms_p95, row.response_ms_p99)),
            figure(row.errors_per_s, ".1f", "/s"),
            figure(row.share_ratio, ".0%"),
        )
    return made


def _ways_table(found: tuple[RegionRow, ...]) -> Table:
    made = table("region", "place", "residency", "serves clients near")
    for row in found:
        made.add_row(
            row.name,
            f"{row.at[0]:g},{row.at[1]:g}" if row.at is not None else "-",
            row.residency or "-",
            ", ".join(_served(row, len(found))) or "-",
        )
    return made


def _served(row: RegionRow, origins: int) -> Iterator[str]:
    for origin, ratio in row.serves.items():
        yield f"{origin} {ratio:.0%}"
    for residency, ratios in row.serves_residents.items():
        if len(ratios) == origins and len(set(ratios.values())) == 1:
            yield f"all of {residency} {next(iter(ratios.values())):.0%}"
        else:
            yield from (f"{origin} ({residency}) {ratio:.0%}" for origin, ratio in ratios.items())


def _parts_table(found: tuple[RegionRow, ...]) -> Table:
    kinds = tuple(kind for kind in ("postgres", "valkey") if any(kind in row.stores for row in found))
    made = table("region", "gateway", "instances", *kinds, "voter", "control plane")
    for row in found:
        made.add_row(
            row.name,
            coloured(row.gateway or "-"),
            ", ".join(f"{service} {ready}/{wanted}" for service, (ready, wanted) in row.instances.items()),
            *(_store(row.stores.get(kind)) for kind in kinds),
            coloured(row.voter or "-"),
            row.control or "-",
        )
    return made


def _store(store: StoreRow | None) -> Text:
    if store is None:
        return Text("-")
    if store.state != "ready":
        return coloured(f"{store.state}{' primary' if store.is_primary else ''}")
    if store.role == ReplicaRole.PRIMARY:
        # It was primary before, and nobody should write to it any more.
        return Text("primary" if store.is_primary else "old primary", style="" if store.is_primary else "yellow")
    if store.role == ReplicaRole.STANDBY:
        lag = f", {store.lag_s:.1f} s behind" if store.lag_s is not None else ""
        return Text(f"standby{lag}") if store.follows else Text(f"standby, follows none{lag}", style="yellow")
    return Text("primary" if store.is_primary else store.state)


def _matrix(model: Model, tick: Tick) -> Table:
    """Round trips in milliseconds, from the region of the row to that of the column."""
    names = list(model.regions)
    is_wide = sum(max(len(name), 10) + 1 for name in names) > NAMES_WIDTH_MAX
    heads = [str(number) for number in range(1, len(names) + 1)] if is_wide else names
    made = table("round trip, ms", *heads, right=tuple(heads))
    known = links(model, tick)
    for number, origin in enumerate(names, 1):
        label = f"{number} {origin}" if is_wide else origin
        made.add_row(label, *(_way(known.get(f"{origin}>{region}")) for region in names))
    return made


def _way(link: LinkSeen | None) -> Text:
    if link is None or not link.probes:
        return Text("-", style="dim")
    if link.rtt_ms is None or link.late_ratio >= CUT_RATIO:
        return Text("cut", style="red")
    late = f" ({link.late_ratio:.0%} late)" if link.late_ratio > 0 else ""
    return Text(f"{link.rtt_ms:.{0 if link.rtt_ms >= 10 else 1}f}{late}", style="yellow" if late else "")


def as_data(model: Model, tick: Tick) -> dict[str, object]:
    """The regions for programs: what `status --json` has besides when there are several."""
    return {
        "led_from": tick.snapshot.led_from,
        "regions": {row.name: dict(_plain(row)) for row in rows(model, tick)},
        "links": [
            {
                "origin": link.origin,
                "region": link.region,
                "rtt_ms": link.rtt_ms,
                "late_ratio": link.late_ratio,
                "settled_rtt_ms": tick.memory.regions.rtt_ms.get(key),
            }
            for key, link in links(model, tick).items()
        ],
    }


def _plain(row: RegionRow) -> Iterator[tuple[str, object]]:
    for name, value in asdict(row).items():
        if name == "instances":
            yield name, {service: {"ready": ready, "wanted": wanted} for service, (ready, wanted) in value.items()}
        elif name != "name":
            yield name, value
