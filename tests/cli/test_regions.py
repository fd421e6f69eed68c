"""What `status` shows of several regions, told on ticks as the loop writes them down."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

from tenfold.cli.regions import as_data, rows, tables
from tenfold.cli.status import View, page
from tenfold.cli.status import as_data as status_data
from tenfold.deciders import Memory, RegionState
from tenfold.deciders.memory import PoolScale, RegionMemory, RegionsMemory, ReleaseMemory, ScaleMemory, StoreMemory
from tenfold.facts import (
    EngineSeen,
    EngineState,
    InstanceSeen,
    InstanceState,
    LinkSeen,
    PoolSeen,
    RegionSeen,
    ReplicaRole,
    ReplicaSeen,
    Snapshot,
)
from tenfold.loop import Tick
from tenfold.model import Data, Model, Region, Release, Service

NOW = 1000.0
EU, US, AU = "europe-west1", "us-central1", "australia-southeast2"
SERVICES = {
    "web": Service("web", "run {port}", paths=("/",)),
    "api": Service("api", "run {port}", paths=("/api",)),
    "worker": Service("worker", "work", http=False),
}
MODEL = Model(
    "shop",
    SERVICES,
    {
        EU: Region(EU, (50.4, 3.8), 3000, residency="eu"),
        US: Region(US, (41.3, -95.9), 3000),
        AU: Region(AU, (-37.8, 144.9), 4000),
    },
    data=Data(replicas=1),
    releases={"r1": Release("r1", SERVICES, "digest", 1.0)},
)


def engine(kind: str, region: str, state: EngineState = EngineState.READY, address: str = "") -> EngineSeen:
    """An engine seen now."""
    return EngineSeen(kind, region, state, NOW - 90, NOW, address=address)


SNAPSHOT = Snapshot(
    NOW,
    led_from=EU,
    instances={
        f"web-{n}": InstanceSeen(f"web-{n}", "web", region, "r1", state, NOW - 50, NOW - 60, NOW, port=5000 + n)
        for n, (region, state) in enumerate(
            [
                (EU, InstanceState.READY),
                (EU, InstanceState.READY),
                (US, InstanceState.READY),
                (AU, InstanceState.EXITED),
            ],
            1,
        )
    },
    engines={
        each.key: each
        for each in (
            engine("entry", EU, address="127.0.0.1:8080"),
            *(engine("gateway", region) for region in (EU, US)),
            engine("gateway", AU, EngineState.EXITED),
            engine("postgres", EU),
            engine("postgres", US),
            engine("valkey", EU, EngineState.UNHEALTHY),
            engine("voter", US),
            engine("control", US),
        )
    },
    pools={
        pool.key: pool
        for pool in (
            PoolSeen("web", EU, NOW, 30.0, 0.5, 1.0, 0, 11.0, 10.0, 20.0, 30.0),
            PoolSeen("api", EU, NOW, 10.0, 0.0, 1.0, 0, 90.0, 90.0, 100.0, 110.0),
            PoolSeen("web", US, NOW, 10.0, 0.0, 1.0, 0, 9.0, 8.0, 9.0, 12.0),
            PoolSeen("web", AU, NOW - 60, 500.0),
            PoolSeen("probe~us", US, NOW, 90.0, response_ms_p50=1.0),
        )
    },
    regions={
        EU: RegionSeen(EU, NOW, 30.0, 60.0, 0.5, 0.0, 1.0, 12.0, 200.0),
        US: RegionSeen(US, NOW, 30.0, 20.0),
        AU: RegionSeen(AU, NOW, 20.0, 0.0, is_well=False),
    },
    links={
        link.key: link
        for link in (
            LinkSeen(EU, EU, NOW, 10, 0.4),
            LinkSeen(EU, US, NOW, 10, 109.6),
            LinkSeen(US, EU, NOW, 10, 110.2, 0.1),
            LinkSeen(EU, AU, NOW, 10, None, 1.0),
            LinkSeen(AU, US, NOW - 60, 10, 200.0),
        )
    },
    replicas={
        replica.key: replica
        for replica in (
            ReplicaSeen("postgres", EU, ReplicaRole.PRIMARY, NOW, standbys=(US,), is_synchronous=True, lag_s=0.0),
            ReplicaSeen("postgres", US, ReplicaRole.STANDBY, NOW, follows=EU, lag_s=0.04),
        )
    },
)
MEMORY = Memory(
    release=ReleaseMemory(serving="r1"),
    scale=ScaleMemory({f"web@{EU}": PoolScale(3, "busy", NOW), f"web@{US}": PoolScale(1, "least", NOW)}),
    regions=RegionsMemory(
        regions={
            EU: RegionMemory(RegionState.SERVING, NOW - 300),
            US: RegionMemory(RegionState.RETURNING, NOW - 4, "its gateway ended", share_ratio=0.2),
            AU: RegionMemory(RegionState.OUT, NOW - 12, "its gateway ended (killed by signal 9)", share_ratio=0.0),
        },
        rtt_ms={f"{EU}>{US}": 110.0},
        ways={f"{EU}|": {EU: 1.0}, f"{US}|": {US: 0.2, EU: 0.8}, f"{AU}|": {EU: 1.0}, f"{AU}|eu": {EU: 1.0}},
    ),
    stores={"postgres": StoreMemory(EU), "valkey": StoreMemory(EU)},
)
TICK = Tick(7, NOW, 1, "m", SNAPSHOT, MEMORY, MEMORY, (), ())


def text(tick: Tick = TICK, model: Model = MODEL) -> list[str]:
    """The tables as a terminal of 140 columns shows them, line by line."""
    console = Console(width=140, color_system=None)
    with console.capture() as captured:
        console.print(tables(model, tick))
    return [line.rstrip() for line in captured.get().splitlines()]


def part(head: str, tick: Tick = TICK) -> list[str]:
    """The lines of the table that has the column `head`, one for each region."""
    lines = text(tick)
    start = next(n for n, line in enumerate(lines) if line.startswith("region") and head in line)
    return lines[start + 1 : start + 4]


def test_a_line_for_each_region() -> None:
    """State, place, traffic, share and whose clients it answers; why one is out stands below, why one returns does not."""
    lines = text()
    head, eu, us, au = (next(line for line in lines if line.startswith(name)) for name in ("region", EU, US, AU))
    assert head.split() == ["region", "state", "for", "req/s", "p50", "p95", "p99", "errors", "share"]
    assert eu.split() == [EU, "serving", "5m", "40.0", "30ms", "40ms", "50ms", "0.5/s", "75%"]
    assert us.split()[:4] == [US, "returning", "20%", "4s"] and us.endswith("25%")
    assert au.split() == [AU, "out", "12s", *"-----", "0%"], "traffic that was seen a minute ago is not of now"
    whys = [line for line in lines if line.startswith("  ")]
    assert f"  {AU}: its gateway ended (killed by signal 9)" in whys
    assert not any(line.startswith(f"  {US}:") for line in whys)


def test_where_it_lies_and_whom_it_serves() -> None:
    """Place, residency, and which part of whose requests is meant for it; those who must stay within a residency are told apart."""
    eu, us, au = part("place")
    assert eu.split(None, 3) == [EU, "50.4,3.8", "eu", f"{EU} 100%, {US} 80%, {AU} 100%, {AU} (eu) 100%"]
    assert us.split(None, 3) == [US, "41.3,-95.9", "-", f"{US} 20%"]
    assert au.split() == [AU, "-37.8,144.9", "-", "-"]
    all_ways = {**MEMORY.regions.ways, **{f"{origin}|eu": {EU: 1.0} for origin in MODEL.regions}}
    memory = replace(MEMORY, regions=replace(MEMORY.regions, ways=all_ways))
    assert "all of eu 100%" in "\n".join(text(replace(TICK, memory=memory)))


def test_what_runs_in_each_region() -> None:
    """Gateway, instances ready of those wanted, each store's part, voter, and which control plane leads."""
    eu, us, au = part("gateway")
    assert eu.split(None, 1)[1].split("  ")[0].strip() == "ready"
    assert (
        "web 2/3, api 0/1, worker 0/1" in eu and "primary" in eu and "unhealthy primary" in eu and eu.endswith("leads")
    )
    assert "web 1/1" in us and "standby, 0.0 s behind" in us and us.endswith("stands by")
    assert "exited" in au and "web 0/1" in au and au.split()[-1] == "-"


def test_matrix_of_round_trips() -> None:
    """Milliseconds between each two regions: what comes late is marked, what is cut says so, and what was not measured is `-`."""
    lines = text()
    start = next(n for n, line in enumerate(lines) if line.startswith("round trip"))
    cells = [line.replace(" (10% late)", "(10%late)").split() for line in lines[start + 1 : start + 4]]
    assert cells == [[EU, "0.4", "110", "cut"], [US, "110(10%late)", "-", "-"], [AU, "-", "-", "-"]]


@pytest.mark.parametrize("columns", [80, 60])
def test_narrow_terminals(columns: int) -> None:
    """Eighty columns hold a region's figures; fewer cut what is long and break nothing."""
    console = Console(width=columns, color_system=None)
    with console.capture() as captured:
        console.print(tables(MODEL, TICK))
    lines = captured.get().splitlines()
    assert all(len(line) <= columns for line in lines)
    if columns == 80:
        assert lines[1].split() == [EU, "serving", "5m", "40.0", "30ms", "40ms", "50ms", "0.5/s", "75%"]


def test_many_regions_fit() -> None:
    """Ten regions with long names make no line longer than the terminal: the columns of the matrix go by number."""
    names = [f"a-region-with-a-long-name-{n}" for n in range(10)]
    model = replace(MODEL, regions={name: Region(name, (1.0, 2.0)) for name in names})
    links = {(link := LinkSeen(a, b, NOW, 10, 100.0)).key: link for a in names for b in names}
    lines = text(replace(TICK, snapshot=Snapshot(NOW, links=links), memory=Memory()), model)
    assert all(len(line) <= 140 for line in lines)
    (row,) = [line for line in lines if line.startswith("10 a-region")]
    assert row.split()[2:] == ["100"] * 10


@pytest.mark.parametrize(
    ("seen", "primary", "told"),
    [
        (ReplicaSeen("postgres", US, ReplicaRole.PRIMARY, NOW), EU, "old primary"),
        (ReplicaSeen("postgres", US, ReplicaRole.PRIMARY, NOW), US, "primary"),
        (ReplicaSeen("postgres", US, ReplicaRole.STANDBY, NOW, lag_s=9.0), EU, "standby, follows none, 9.0 s behind"),
        (ReplicaSeen("postgres", US, ReplicaRole.STANDBY, NOW - 60, follows=EU), EU, "ready"),
    ],
)
def test_stores_in_trouble(seen: ReplicaSeen, primary: str, told: str) -> None:
    """Two primaries are told apart, a standby that follows nobody says so, and an old word is not repeated."""
    snapshot = replace(SNAPSHOT, replicas={seen.key: seen})
    memory = replace(MEMORY, stores={"postgres": StoreMemory(primary)})
    line = part("gateway", replace(TICK, snapshot=snapshot, memory=memory))[1]
    assert f"  {told}  " in line


def test_what_is_over_is_not_told() -> None:
    """A region that is kept although it ails says why; once nothing ails it any more, nothing is said."""
    kept = RegionMemory(
        RegionState.SERVING, NOW - 9, "no instance is ready there; it is kept", ailing_since={"instances": NOW - 9}
    )
    for ailing, told in ((kept, True), (replace(kept, ailing_since={}), False)):
        memory = replace(MEMORY, regions=replace(MEMORY.regions, regions={**MEMORY.regions.regions, US: ailing}))
        assert (f"  {US}: {kept.why}" in text(replace(TICK, memory=memory))) is told


def test_before_anything_was_seen() -> None:
    """Right after the start every region is starting, and nothing is made up."""
    tick = replace(TICK, snapshot=Snapshot(NOW), memory=Memory())
    assert [row.state for row in rows(MODEL, tick)] == ["starting"] * 3
    assert {row.share_ratio for row in rows(MODEL, tick)} == {None}
    assert sum(line.endswith("it was not seen well yet") for line in text(tick)) == 3


def test_data_for_programs() -> None:
    """`status --json` has all of it; with one region it is as it always was."""
    data = json.loads(json.dumps(status_data(View(MODEL, TICK, (), 1))))
    assert data["address"] == "http://127.0.0.1:8080"
    assert data["led_from"] == EU
    europe = data["regions"][EU]
    assert (europe["state"], europe["at"], europe["residency"]) == ("serving", [50.4, 3.8], "eu")
    assert europe["instances"] == {
        "web": {"ready": 2, "wanted": 3},
        "api": {"ready": 0, "wanted": 1},
        "worker": {"ready": 0, "wanted": 1},
    }
    assert (europe["response_ms_p50"], europe["first_byte_ms_p99"], europe["share_ratio"]) == (30.0, 200.0, 0.75)
    assert europe["serves"] == {EU: 1.0, US: 0.8, AU: 1.0}
    assert europe["serves_residents"] == {"eu": {AU: 1.0}}
    assert data["regions"][US]["stores"]["postgres"]["lag_s"] == 0.04
    assert data["regions"][US]["returning_ratio"] == 0.2
    link = next(link for link in data["links"] if (link["origin"], link["region"]) == (EU, US))
    assert link == {"origin": EU, "region": US, "rtt_ms": 109.6, "late_ratio": 0.0, "settled_rtt_ms": 110.0}
    alone = replace(MODEL, regions={EU: MODEL.regions[EU]})
    assert set(as_data(MODEL, TICK)) == set(data) - set(status_data(View(alone, TICK, (), 1)))


def test_the_page_has_the_regions_first() -> None:
    """Of several regions the page shows the map before the parts; of one it shows no map."""
    console = Console(width=140, color_system=None)
    with console.capture() as captured:
        console.print(page(View(MODEL, TICK, (), 1)))
        console.print(page(View(replace(MODEL, regions={EU: MODEL.regions[EU]}), TICK, (), 1)))
    several, one = captured.get().split("shop (development)")[1:]
    assert several.index("serves clients near") < several.index("round trip") < several.index("at hand")
    assert "round trip" not in one and "at hand" in one
