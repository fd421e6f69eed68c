"""Where voters and the control plane that stands by are wanted."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.deciders.memory import RegionMemory, RegionsMemory, RegionState
from tenfold.deciders.standby import standby_engines, stray_engines, voter_places
from tenfold.facts import EngineSeen, EngineState, Snapshot
from tenfold.model import Model, Region

NAMES = ("eu", "us", "au", "sa", "af", "in", "jp")
WELL = RegionsMemory()
LED = Snapshot(1000.0, led_from="eu")


def spread(count: int) -> Model:
    """A model of so many regions."""
    return Model("shop", {}, {name: Region(name) for name in NAMES[:count]})


def seen(kind: str, region: str, state: EngineState = EngineState.READY) -> dict[str, EngineSeen]:
    """One engine as it is seen."""
    return {f"{kind}/{region}": EngineSeen(kind, region, state, 1.0, 1.0)}


def judged(**states: RegionState) -> RegionsMemory:
    """Regions as they were judged."""
    return RegionsMemory({region: RegionMemory(state) for region, state in states.items()})


def standby(snapshot: Snapshot, regions: RegionsMemory = WELL, count: int = 3) -> str:
    """The region of the one that stands by."""
    keys = [key for key in standby_engines(spread(count), snapshot, regions) if key.startswith("control/")]
    assert len(keys) == 1
    return keys[0].removeprefix("control/")


@pytest.mark.parametrize(
    ("count", "places"),
    (
        (1, ()),
        (2, ("eu", "us", "entry")),
        (3, ("eu", "us", "au")),
        (4, ("eu", "us", "au")),
        (5, NAMES[:5]),
        (7, NAMES[:5]),
    ),
)
def test_voters_are_odd_and_no_single_region_holds_a_majority(count: int, places: tuple[str, ...]) -> None:
    """One region needs none; else there is an odd number, so that the loss of any one region leaves a majority."""
    assert voter_places(spread(count)) == places


def test_one_region_wants_neither() -> None:
    """With one region nothing of this is there."""
    assert standby_engines(spread(1), replace(LED, led_from=""), WELL) == ()


def test_one_stands_by_elsewhere() -> None:
    """In the first other region that serves; never where the leader stands, and nowhere while nobody knows where that is."""
    assert standby(LED) == "us"
    assert standby(replace(LED, led_from="us")) == "eu"
    assert standby(LED, judged(us=RegionState.OUT)) == "au"
    assert standby(LED, judged(us=RegionState.RETURNING)) == "au"
    assert standby(LED, judged(us=RegionState.OUT, au=RegionState.RETURNING)) == "au"
    assert not [k for k in standby_engines(spread(3), replace(LED, led_from=""), WELL) if "control" in k]


def test_better_one_in_a_lost_region_than_none() -> None:
    """When no other region serves, one is wanted nevertheless: it may be only the region's gateway that fails."""
    assert standby(LED, judged(us=RegionState.OUT), count=2) == "us"


def test_it_stays_where_it_is() -> None:
    """A region that comes back does not draw it back; the loss of its own region moves it."""
    there = replace(LED, engines=seen("control", "au"))
    assert standby(there) == "au"
    assert standby(there, judged(us=RegionState.SERVING)) == "au"
    assert standby(there, judged(au=RegionState.OUT)) == "us"
    assert standby(replace(LED, engines=seen("control", "au", EngineState.EXITED))) == "us"


def test_it_does_not_begin_beside_a_voter_that_fails() -> None:
    """Where the voter does not answer the region may be about to be lost: another one is better, unless it stands there already."""
    fails = seen("voter", "us", EngineState.UNHEALTHY)
    assert standby(replace(LED, engines=fails)) == "au"
    assert standby(replace(LED, engines=fails | seen("control", "us"))) == "us"


def test_what_is_left_over_is_let_go() -> None:
    """A second one that stands by, and the voters of a blueprint that had other regions, are strays; gateways are not its business."""
    engines = seen("control", "us") | seen("control", "au") | seen("voter", "jp") | seen("gateway", "jp")
    snapshot = replace(LED, engines=engines)
    assert stray_engines(snapshot, standby_engines(spread(3), snapshot, WELL)) == ("control/au", "voter/jp")


@given(st.integers(2, 7), st.integers(0, 6), st.lists(st.sampled_from(RegionState), min_size=7, max_size=7))
def test_there_is_always_one_elsewhere(count: int, led: int, states: list[RegionState]) -> None:
    """Whatever the regions are judged to be: exactly one, not where the leader is, and in a region that serves if any does."""
    led_from = NAMES[led % count]
    regions = judged(**dict(zip(NAMES, states, strict=True)))
    where = standby(replace(LED, led_from=led_from), regions, count)
    others = [name for name in NAMES[:count] if name != led_from]
    assert where in others
    if any(regions.regions[name].state is RegionState.SERVING for name in others):
        assert regions.regions[where].state is RegionState.SERVING
