"""Regions as stories: what takes one out, who is spared, and how it comes back."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.deciders.busy import processor_ratio
from tenfold.deciders.memory import RegionState
from tenfold.facts import EngineState
from tenfold.model import Release
from tests.deciders.spread import GROWING, RELEASE, Globe


@pytest.fixture
def globe() -> Globe:
    """Three regions that have served for a minute."""
    made = Globe()
    made.ticks(60)
    assert not made.said
    return made


def test_a_dead_gateway_takes_its_region_out_at_once(globe: Globe) -> None:
    """The first look at a gateway that ended moves its clients to the nearest other region, and says why."""
    globe.gateways["b"] = EngineState.EXITED
    [decision] = globe.tick()
    assert decision.why == "b is taken out: its gateway ended"
    assert globe.share("b", "b") == 0.0


def test_a_region_without_instances_is_out(globe: Globe) -> None:
    """A gateway alone serves nobody."""
    globe.lacking.add("c")
    [decision] = globe.tick()
    assert decision.why == "c is taken out: no instance of web is ready there"


def test_data_that_are_away_are_no_regions_fault(globe: Globe) -> None:
    """While the database moves, instances turn sick here and there: clients stay where they are; sick for another reason, they do not."""
    globe.is_data_away = True
    globe.ticks(3)
    globe.sick = {"c"}
    globe.ticks(5)
    globe.is_data_away = False
    globe.ticks(10)
    globe.sick = set()
    globe.ticks(40)
    assert not globe.said
    globe.sick = {"c"}
    globe.tick()
    assert globe.state("c") == "out"


def test_errors_of_one_region_take_it_out_after_two_looks(globe: Globe) -> None:
    """One look may be chance; the second is not, and the reason names both sides."""
    globe.seen["b"] = {"errors_per_s": 20.0}
    assert not globe.tick()
    said = [*globe.tick(), *globe.tick()]
    assert [d.why for d in said] == ["b is taken out: 40% of its answers are errors, 0% elsewhere"]


def test_errors_of_all_regions_are_no_regions_fault(globe: Globe) -> None:
    """A bad release fails everywhere: no region is taken out for it."""
    for name in globe.names:
        globe.seen[name] = {"errors_per_s": 20.0}
    globe.ticks(30)
    assert not globe.said


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"first_byte_ms_p50": 400.0, "first_byte_ms_p99": 430.0}, "half of its answers take over 399 ms"),
        ({"first_byte_ms_p99": 600.0}, "one answer in a hundred comes 590 ms late"),
        ({"unanswered_per_s": 30.0}, "60% of the tries sent there got no answer"),
        ({"is_well": False}, "the entry's own checks of its gateway fail"),
    ],
)
def test_a_grey_region_is_found_from_traffic(globe: Globe, figures: dict[str, object], reason: str) -> None:
    """Slow, with a long tail, silent or unreachable: whichever signal acted is in the reason."""
    globe.seen["a"] = figures
    globe.ticks(4)
    assert globe.state("a") == "out"
    assert reason in globe.said[0].why


@pytest.mark.parametrize(
    ("cpu_cores", "stale", "state"),
    [(0.5, "", "out"), (0.95, "", "serving"), (0.95, "process", "out"), (None, "", "out")],
)
@pytest.mark.parametrize("release", [RELEASE, GROWING], ids=["at its most", "may grow"])
def test_who_has_too_much_to_do_is_not_ill(
    globe: Globe, cpu_cores: float | None, stale: str, state: str, release: Release
) -> None:
    """Late answers of full processors take no region out; of others they do, also where nobody knows how full these are."""
    globe.release = release
    globe.ticks(60)
    globe.seen["a"] = {"first_byte_ms_p50": 400.0, "first_byte_ms_p99": 430.0}
    globe.cpu_cores = {} if cpu_cores is None else {"a": cpu_cores}
    globe.stale = {stale}
    globe.ticks(4)
    assert globe.state("a") == state


def test_a_pool_that_may_grow_is_no_reason_to_lead_load_away(globe: Globe) -> None:
    """Full processors of a pool with room for more instances count for nothing here: it is given these, and so needs its load."""
    globe.ticks(60)
    globe.cpu_cores["a"] = 1.0
    assert processor_ratio("a", RELEASE, globe.snapshot()) == 1.0
    assert processor_ratio("a", GROWING, globe.snapshot()) == 0.0
    assert processor_ratio("a", GROWING, globe.snapshot(), may_grow=True) == 1.0


def test_errors_of_full_processors_are_errors(globe: Globe) -> None:
    """Only lateness is excused: what answers with errors is ill, however busy it is."""
    globe.ticks(60)
    globe.cpu_cores["b"], globe.seen["b"] = 1.0, {"errors_per_s": 20.0}
    globe.ticks(4)
    assert globe.state("b") == "out"


def test_lost_packets_are_found_by_probes(globe: Globe) -> None:
    """Probes that come late on all ways to one region, and only on those, mean that its network loses packets."""
    for link in ("a>b", "b>a", "b>c", "c>b"):
        globe.late[link] = 0.1
    globe.ticks(4)
    assert [d.subject for d in globe.said] == ["region/b"]
    assert "packets are lost" in globe.said[0].why


def test_a_network_that_became_slow_is_not_said_to_lose_packets(globe: Globe) -> None:
    """Probes that all come back, late, tell of a longer way: whoever looks for lost packets would look in vain."""
    globe.slow("b", 300.0)
    for link in ("a>b", "b>a", "b>c", "c>b"):
        globe.late[link] = 0.95
    globe.ticks(4)
    assert [d.why for d in globe.said] == ["b is taken out: every way to it takes 300 ms longer than usual"]


def test_stale_facts_change_nothing(globe: Globe) -> None:
    """What was seen a minute ago takes no region out, and brings none back."""
    globe.stale |= {"gateway", "entry", "links", "process"}
    globe.gateways["a"] = EngineState.EXITED
    globe.seen["b"] = {"is_well": False}
    globe.ticks(30)
    assert not globe.said
    globe.stale.clear()
    globe.tick()
    assert globe.state("a") == globe.state("b") == "out"
    globe.gateways.clear()
    globe.seen.clear()
    globe.stale.add("entry")
    globe.ticks(60)
    assert globe.state("a") == globe.state("b") == "out"


def test_a_region_returns_in_steps(globe: Globe) -> None:
    """Once well it takes 5, 20, 50 and 100% of what is meant for it, within half a minute of the mend."""
    globe.seen["b"] = {"is_well": False}
    globe.ticks(10)
    globe.seen.clear()
    shares = []
    for _ in range(30):
        globe.tick()
        shares.append(globe.share("b", "b"))
    assert shares == sorted(shares)
    assert max(after - before for before, after in pairwise(shares)) <= 0.5
    assert shares[-1] == 1.0
    assert globe.state("b") == "serving"


def test_a_region_that_fails_again_waits_longer(globe: Globe) -> None:
    """Each time it fails on its return it is left alone for longer, up to a bound."""
    waits = []
    for _ in range(8):
        globe.seen["b"] = {"is_well": False}
        globe.ticks(3)
        globe.seen.clear()
        waited = 0
        while globe.state("b") == "out":
            globe.tick()
            waited += 1
            assert waited < 200
        waits.append(waited)
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]
    assert waits[-1] <= 121


def test_a_region_that_fails_thousands_of_times_waits_no_longer_than_the_bound(globe: Globe) -> None:
    """A day of two regions that are overloaded in turns takes each out so often that doubling the wait would overflow."""
    globe.seen["b"] = {"is_well": False}
    globe.ticks(3)
    judged = globe.memory.regions
    globe.memory = replace(globe.memory, regions={**judged, "b": replace(judged["b"], outs=5000)})
    globe.seen.clear()
    globe.ticks(130)
    assert globe.state("b") in ("returning", "serving")


def test_the_last_region_is_never_taken_out(globe: Globe) -> None:
    """When all are ill, those that show the least go on serving."""
    globe.gateways["a"] = EngineState.EXITED
    globe.seen["b"] = {"is_well": False}
    globe.seen["c"] = {"unanswered_per_s": 40.0}
    globe.ticks(10)
    assert globe.state("c") != "out"
    assert globe.share("a", "c") == 1.0


def test_a_dead_region_is_out_even_where_all_are_sick(globe: Globe) -> None:
    """The database went with its region, so all others are sick too: they may answer something, the dead one nothing."""
    globe.gateways["b"] = EngineState.EXITED
    globe.lacking.update("abc")
    globe.ticks(20)
    assert [globe.state(name) for name in "abc"] == ["serving", "out", "serving"]
    assert globe.share("b", "b") == 0.0
    globe.gateways.clear()
    globe.lacking.clear()
    globe.ticks(30)
    assert globe.share("b", "b") == 1.0
    assert globe.memory.regions["a"].outs == 0


FIGURES = st.fixed_dictionaries(
    {
        "is_well": st.booleans(),
        "errors_per_s": st.sampled_from([0.0, 0.0, 10.0, 50.0]),
        "unanswered_per_s": st.sampled_from([0.0, 0.0, 10.0, 50.0]),
        "first_byte_ms_p50": st.sampled_from([None, 10.0, 100.0, 500.0]),
    }
)
MOMENT = st.fixed_dictionaries(
    {
        "seen": st.dictionaries(st.sampled_from("abc"), FIGURES),
        "gateways": st.dictionaries(st.sampled_from("abc"), st.sampled_from(list(EngineState))),
        "lacking": st.sets(st.sampled_from("abc")),
        "stale": st.sets(st.sampled_from(["process", "gateway", "entry", "links"])),
        "seconds": st.sampled_from([0.05, 1.0, 1.0, 5.0, 60.0, -30.0, 4000.0]),
    }
)


@settings(max_examples=150)
@given(st.lists(MOMENT, min_size=1, max_size=25))
def test_whatever_is_seen_somebody_serves(moments: list[dict[str, object]]) -> None:
    """Over any sequence of facts, clocks that jump included, one region at least is in, shares sum to one, each change has a reason."""
    globe = Globe()
    globe.ticks(3)
    for moment in moments:
        seconds = moment.pop("seconds")
        for name, value in moment.items():
            setattr(globe, name, value)
        assert isinstance(seconds, float)
        assert all(decision.why for decision in globe.tick(seconds))
        assert any(r.state is not RegionState.OUT for r in globe.memory.regions.values())
        for shares in globe.memory.ways.values():
            assert abs(sum(shares.values()) - 1.0) < 1e-9
            assert all(ratio > 0 for ratio in shares.values())


@settings(max_examples=60)
@given(st.lists(MOMENT, min_size=1, max_size=10))
def test_every_trouble_ends_in_recovery(moments: list[dict[str, object]]) -> None:
    """Once all is well again, every region serves its own clients in full within five minutes, and then nothing changes any more."""
    globe = Globe()
    globe.ticks(3)
    for moment in moments:
        seconds = moment.pop("seconds")
        for name, value in moment.items():
            setattr(globe, name, value)
        globe.tick(abs(seconds))  # type: ignore[arg-type]
    globe.seen, globe.gateways, globe.lacking, globe.stale = {}, {}, set(), set()
    globe.ticks(300)
    assert all(globe.state(name) == "serving" and globe.share(name, name) == 1.0 for name in globe.names)
    globe.changes = 0
    globe.ticks(60)
    assert globe.changes == 0


def test_far_clients_are_no_tail() -> None:
    """Some who must stay in eu come from 300 ms away: that their answers take as long says nothing about the region."""
    globe = Globe(residency={"c": "eu"}, rtt={"a>c": 300.0, "c>a": 300.0})
    globe.ticks(60)
    globe.seen["c"] = {"first_byte_ms_p99": 340.0}
    globe.ticks(20)
    assert not globe.said


def test_a_region_that_is_only_slow_to_reach_is_not_cut_off(globe: Globe) -> None:
    """When every probe comes late but comes, the region is out, and still better than nothing for those who must stay there."""
    globe.slow("b", 300.0)
    globe.late = {f"{x}>{y}": 1.0 for x in "abc" for y in "abc" if "b" in (x, y) and x != y}
    globe.ticks(5)
    assert globe.state("b") == "out"
    assert not globe.memory.regions["b"].is_hard
