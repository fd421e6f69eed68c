"""Why a request went where it went, told from the way it was given and what was known of the regions then."""

from dataclasses import replace

import pytest

from tenfold.cli.routing import candidates, changes, client, entry_table, meant, why_there
from tenfold.deciders import RegionState
from tenfold.deciders.memory import RegionMemory, RegionsMemory
from tenfold.effects import Decision, PublishEntry
from tenfold.facts import RequestTrace
from tenfold.model import Edge, EntryTable, Model, Region, Service, Share, Way

EU, US, AU = "europe-west1", "us-central1", "australia-southeast2"
MODEL = Model(
    "shop",
    {"web": Service("web", "run"), "basket": Service("basket", "run", is_sticky=True)},
    {
        EU: Region(EU, (50.4, 3.8), residency="eu"),
        US: Region(US, (41.3, -95.9)),
        AU: Region(AU, (-37.8, 144.9)),
    },
)
WELL = RegionMemory(RegionState.SERVING)
MEMORY = RegionsMemory(
    regions={EU: WELL, US: WELL, AU: WELL}, rtt_ms={f"{US}>{US}": 0.4, f"{US}>{EU}": 110.0}, ways={f"{US}|": {US: 1.0}}
)
NEAREST = Way(US, "", (Share(US, 1.0),), (EU, AU))


def trace(region: str, **changes_: object) -> RequestTrace:
    """A request of a client near us-central1 that `region` answered."""
    made = RequestTrace("id", 9.0, "GET", "/", 200, "web", "web-1", region, "/", 1, 20.0, origin=US, entry_attempts=1)
    return replace(made, **changes_)  # type: ignore[arg-type]


def judged(region: str, state: RegionMemory) -> RegionsMemory:
    """The memory with one region judged otherwise."""
    return replace(MEMORY, regions={**MEMORY.regions, region: state})


OUT = RegionMemory(RegionState.OUT, why="its gateway ended (killed by signal 9)")
RETURNING = RegionMemory(RegionState.RETURNING, share_ratio=0.2)
AWAY = Way(US, "", (Share(EU, 1.0),), (AU, US))
SPILLING = Way(US, "", (Share(EU, 0.4), Share(US, 0.6)), (AU,))
RESIDENT = Way(US, "eu", (Share(EU, 1.0),))


@pytest.mark.parametrize(
    ("memory", "way", "asked", "why"),
    [
        (MEMORY, NEAREST, trace(US), "it is the nearest that may serve it"),
        (judged(US, OUT), AWAY, trace(EU), f"{US} is nearer but was out: its gateway ended (killed by signal 9)"),
        (
            judged(US, RETURNING),
            replace(SPILLING, shares=(Share(EU, 0.8), Share(US, 0.2))),
            trace(EU),
            f"{US} is nearer but was returning 20%; 80% of such requests were meant for it",
        ),
        (
            MEMORY,
            SPILLING,
            trace(EU),
            f"{US} is nearer but took 60% of them, as many as it had room for; 40% of such requests were meant for it",
        ),
        (MEMORY, AWAY, trace(EU), f"{US} is nearer but had no room left"),
        (MEMORY, RESIDENT, trace(EU), "it must be served in eu; it is the nearest that may serve it"),
        (MEMORY, replace(RESIDENT, shares=()), trace(""), "it was refused: it must be served in eu, and no region there could serve"),
        (MEMORY, NEAREST, trace(EU, entry_attempts=2), f"a try at {US} failed, and {EU} was the next that could serve it"),
        (
            MEMORY,
            NEAREST,
            trace(EU, entry_attempts=2, hedged=True),
            f"a try at {US} was too late, and {EU} was the next that could serve it",
        ),
        (MEMORY, NEAREST, trace("", entry_attempts=3), "it reached no region"),
        (MEMORY, NEAREST, trace(EU), f"the entry itself found {US} ill, and {EU} was the next that could serve it"),
        (MEMORY, NEAREST, trace(EU, service="basket"), "basket is sticky, and its client was answered there before"),
    ],
)  # fmt: skip
def test_why_there(memory: RegionsMemory, way: Way, asked: RequestTrace, why: str) -> None:
    """Distance, health, room, residency, and what failed: whatever settled it is said."""
    assert why_there(MODEL, memory, way, asked) == why


def test_all_that_it_could_have_been() -> None:
    """Every region is told of, nearest first: how far, measured or reckoned, its part, and what kept it from serving."""
    us, eu, au = candidates(MODEL, judged(US, OUT), AWAY)
    assert [us.region, eu.region, au.region] == [US, EU, AU]
    assert (us.rtt_ms, us.is_measured, us.is_spare, us.why_not) == (0.4, True, True, OUT.why)
    assert (eu.rtt_ms, eu.share_ratio, round(eu.distance_km or 0, -2)) == (110.0, 1.0, 7200)
    assert not au.is_measured and au.rtt_ms == pytest.approx(224, abs=5)
    bound = {each.region: each.why_not for each in candidates(MODEL, MEMORY, RESIDENT)}
    assert bound == {EU: "", US: "is not under eu", AU: "is not under eu"}


def test_regions_without_a_place() -> None:
    """Where neither place nor round trip is known, nothing is made up, and a region that went from the blueprint is no trouble."""
    model = replace(MODEL, regions={name: Region(name) for name in (EU, US)})
    first, second = candidates(model, RegionsMemory(), replace(NEAREST, origin="gone"))
    assert (first.distance_km, first.rtt_ms, first.state) == (None, None, "starting")
    assert (first.why_not, second.why_not) == ("was not seen well yet", "")


@pytest.mark.parametrize(
    ("edge", "by", "told"),
    [
        (Edge(), "", f"near {US}: where it is was not told, so it counts as near the entry"),
        (Edge(trust=("10.0.0.0/8",)), "", f"near {US}: a trusted sender told where the client is"),
        (
            Edge(trust=("10.0.0.0/8",), geoip="geo.mmdb"),
            "",
            f"near {US}: a trusted sender told where the client is or by the country of its address",
        ),
        (Edge(region=US, trust=("10.0.0.0/8",)), "", f"near {US}"),
        (Edge(geoip="geo.mmdb"), "country", f"near {US}: by the country of its address"),
    ],
)
def test_how_a_client_was_placed(edge: Edge, by: str, told: str) -> None:
    """What the log does not tell is told where the blueprint leaves no other way, and is not made up otherwise."""
    assert client(replace(MODEL, edge=edge), trace(US, origin_by=by)) == told


def test_ways_without_their_table() -> None:
    """A decision that is not kept any more leaves the ways as they were remembered."""
    assert meant(MEMORY) == (Way(US, "", (Share(US, 1.0),)),)


def test_what_a_table_moved() -> None:
    """Of two tables only the ways that differ are told, from what to what; the first table tells them all."""
    before = EntryTable(US, ways=(NEAREST, RESIDENT))
    after = EntryTable(US, ways=(SPILLING, replace(RESIDENT, shares=()), replace(NEAREST, spares=())))
    decision = Decision("d1", "route", "routes/entry", (PublishEntry(after, "digest"),), "busy")
    table = entry_table(decision)
    assert table is not None
    assert list(changes(before, table))[:2] == [
        f"clients near {US}: {US} 100% -> {US} 60%, {EU} 40%",
        f"clients near {US} that must stay in eu: {EU} 100% -> refused",
    ]
    assert list(changes(before, before)) == []
    assert next(iter(changes(None, before))) == f"clients near {US}: {US} 100%"
    assert entry_table(replace(decision, effects=())) is None
