"""The regions of a project as `status` shows them: tables for a person, JSON for a program. Stage: console.regions -> a terminal."""

from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tenfold.cli.tables import ago, coloured, figure, notes, table
from tenfold.console.regions import RegionRow, StoreRow, links, rows
from tenfold.facts import LinkSeen, ReplicaRole
from tenfold.loop import Tick
from tenfold.model import Model

CUT_RATIO = 0.9
"""Of this share of probes none is counted as a way any more."""
NAMES_WIDTH_MAX = 90
"""Columns of the matrix are headed by the regions' names up to this width in all, by their numbers beyond."""


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
