"""Ways as stories: nearest first, room, spill-over, residency, and no way back and forth."""

from dataclasses import replace
from math import ceil
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.deciders.ways import choose_ways
from tenfold.facts import EngineState, PoolSeen
from tests.deciders.spread import GROWING, RELEASE, Globe

SHARES = {"a": 4000, "b": 3000, "c": 3000}


def settled(globe: Globe, seconds: int = 60) -> Globe:
    """The globe after a while in which nothing changes."""
    globe.ticks(seconds)
    return globe


def test_everyone_goes_to_the_nearest_region() -> None:
    """With room everywhere, clients are answered where they are."""
    globe = settled(Globe(capacity_users=SHARES))
    assert all(globe.share(name, name) == 1.0 for name in globe.names)


def test_a_full_region_spills_over_before_it_is_overloaded() -> None:
    """Region b may take 300 requests/s; of 400 near it the last go to the next nearest, with 85% of the room used."""
    globe = Globe(capacity_users=SHARES, demand={"a": 50.0, "b": 400.0, "c": 50.0})
    settled(globe)
    assert globe.share("b", "b") == pytest.approx(0.85 * 300 / 400, abs=0.01)
    assert globe.share("a", "a") == 1.0
    assert "has room for 300 requests/s" in globe.memory.why


@pytest.mark.parametrize("demand", [{"a": 1000.0, "b": 0.0, "c": 0.0}, {"a": 200.0, "b": 200.0, "c": 800.0}])
def test_under_full_load_shares_follow_capacity(demand: dict[str, float]) -> None:
    """Wherever the clients are, when all rooms are full the regions' loads are as 4000 to 3000 to 3000, within 2%."""
    globe = settled(Globe(capacity_users=SHARES, demand=demand))
    load = {r: sum(demand[o] * globe.share(o, r) for o in globe.names) for r in globe.names}
    whole = sum(load.values())
    for name, users in SHARES.items():
        assert load[name] / whole == pytest.approx(users / 10_000, abs=0.02)


def test_a_slower_network_moves_clients_within_ten_seconds() -> None:
    """When all ways to b take 100 ms longer, its own clients go where it is nearer now; and back when it is mended."""
    globe = settled(Globe())
    globe.slow("b", 100.0)
    globe.ticks(8)
    assert globe.share("b", "b") == 0.0
    assert "round trip" in globe.memory.why
    globe.slow("b", 0.0)
    globe.ticks(8)
    assert globe.share("b", "b") == 1.0


def test_quick_looks_do_not_hurry_traffic() -> None:
    """Each step that arrives wakes the loop; traffic still takes about three seconds to move, and not a step with each look."""
    globe = Globe()
    globe.ticks(30)
    globe.slow("b", 100.0)
    before, changes = globe.share("b", "b"), globe.changes
    for _ in range(33):
        globe.tick(0.03)
    assert before == 1.0
    assert globe.share("b", "b") > 0.3
    assert globe.changes - changes <= 3
    globe.ticks(6)
    assert globe.share("b", "b") == 0.0


def test_one_sight_counts_once_however_often_it_is_looked_at() -> None:
    """A second in which nothing came is a small part of what is usual, also when decisions are made thirty times within it."""
    globe = Globe()
    globe.ticks(30)
    globe.demand["a"] = 0.0
    globe.tick()
    stale, now = globe.snapshot(), globe.now
    for look in range(1, 31):
        snapshot = replace(stale, taken_at=now + look / 30)
        globe.memory = choose_ways(globe.model, RELEASE, snapshot, globe.memory)
    assert globe.memory.demand_per_s["a"] == pytest.approx(35.0)


def test_noise_moves_nothing() -> None:
    """Round trips that differ by a few milliseconds, and demand that flickers, change no way and fill no journal."""
    globe, random = Globe(capacity_users=SHARES), Random(7)
    settled(globe)
    globe.changes = 0
    for _ in range(300):
        for x in globe.names:
            globe.demand[x] = random.uniform(40, 60)
            for y in globe.names:
                globe.rtt[f"{x}>{y}"] = (1.0 if x == y else 80.0) + random.uniform(-4, 4)
        globe.tick()
    assert globe.changes == 0


def test_two_regions_as_near_as_each_other_do_not_take_turns() -> None:
    """When the nearest is out and two others are about as far, clients stay with the one they were given."""
    globe, random = Globe(), Random(3)
    settled(globe)
    globe.gateways["a"] = EngineState.EXITED
    globe.ticks(5)
    globe.changes = 0
    for _ in range(200):
        globe.rtt["a>b"], globe.rtt["a>c"] = random.uniform(74, 86), random.uniform(74, 86)
        globe.tick()
    assert globe.changes <= 1


def test_clients_come_home_where_no_way_is_shorter() -> None:
    """Where all regions are as near as one another, clients go back to their own once it has returned."""
    globe = Globe(rtt={f"{x}>{y}": 0.3 for x in "abc" for y in "abc"})
    settled(globe)
    globe.gateways["b"] = EngineState.EXITED
    globe.ticks(5)
    globe.gateways.clear()
    globe.ticks(60)
    assert globe.share("b", "b") == 1.0


def test_busy_instances_leave_no_room() -> None:
    """A region whose instances have too much at hand keeps what they can take; the rest goes elsewhere, and stays there."""
    globe = settled(Globe(demand={"a": 100.0, "b": 20.0, "c": 20.0}))

    def work(seconds: int) -> None:
        """Each request of region a is at hand for 1.2 s; the one instance there is sized for 80."""
        for _ in range(seconds):
            tries = globe.demand["a"] * globe.share("a", "a")
            globe.pools = {"web@a": PoolSeen("web", "a", globe.now + 1, tries, in_flight=1.2 * tries)}
            globe.tick()

    work(20)
    assert 0.4 < globe.share("a", "a") < 0.6
    globe.changes = 0
    work(60)
    assert globe.changes == 0
    globe.demand["a"] = 10.0
    work(60)
    assert globe.share("a", "a") == 1.0


def test_full_processors_give_away_what_is_too_much() -> None:
    """An instance that holds 100 requests/s is asked for 140 and answers late: two in five go elsewhere, and no region is taken out."""
    globe = settled(Globe(demand={"a": 140.0, "b": 20.0, "c": 20.0}))

    def work(seconds: int) -> None:
        """What goes to each region fills its processor; a full one answers late, and not at once when it is less full."""
        for _ in range(seconds):
            for name in globe.names:
                tries = sum(globe.demand[origin] * globe.share(origin, name) for origin in globe.names)
                globe.cpu_cores[name] = min(1.0, tries / 100)
                late_ms = 600.0 if tries > 70 else 10.0
                globe.seen[name] = {"first_byte_ms_p50": late_ms, "first_byte_ms_p99": 2 * late_ms}
            globe.tick()

    work(60)
    assert 0.4 < globe.share("a", "a") < 0.8
    globe.demand["a"] = 40.0
    work(60)
    assert globe.share("a", "a") == 1.0
    assert not globe.said


def test_work_that_nobody_waits_for_moves_nobody() -> None:
    """A processor that is full while answers come as always is no reason to go elsewhere, where it would be no less full."""
    globe = settled(Globe(cpu_cores={"a": 1.0}))
    globe.ticks(60)
    assert globe.share("a", "a") == 1.0


def test_a_region_that_answers_later_than_its_goal_takes_no_more() -> None:
    """At work and beyond the blueprint's 50 ms, region a sends what makes it late elsewhere; an idle one that is late does not."""
    globe = settled(Globe(demand={"a": 100.0, "b": 5.0, "c": 5.0}, latency_ms=50.0))

    def work(seconds: int, at_hand: float) -> None:
        """Region a takes longer the more it is asked."""
        for _ in range(seconds):
            tries = globe.demand["a"] * globe.share("a", "a")
            globe.pools = {"web@a": PoolSeen("web", "a", globe.now + 1, tries, in_flight=at_hand)}
            globe.seen["a"] = {"first_byte_ms_p50": 0.9 * tries, "first_byte_ms_p99": 0.9 * tries + 30}
            globe.tick()

    work(30, at_hand=5.0)
    assert globe.share("a", "a") == 1.0
    work(60, at_hand=40.0)
    assert 0.3 < globe.share("a", "a") < 0.7
    globe.changes = 0
    work(60, at_hand=40.0)
    assert globe.changes == 0


def test_the_way_from_afar_makes_no_region_late() -> None:
    """At work and 10 ms quick, a region answers those of a too, 80 ms away: its own stay there, though its goal is 50 ms."""
    globe = settled(Globe(demand={"a": 200.0, "b": 20.0, "c": 20.0}, latency_ms=50.0, drained={"a"}))
    (taker,) = globe.memory.ways["a|"]
    for _ in range(60):
        globe.pools = {f"web@{taker}": PoolSeen("web", taker, globe.now + 1, 220.0, in_flight=40.0)}
        globe.seen = {taker: {"first_byte_ms_p50": 90.0}}
        globe.tick()
    assert not globe.memory.room_per_s


@settings(max_examples=12)
@given(
    st.lists(st.floats(1, 500), min_size=3, max_size=3),
    st.lists(st.floats(0, 50), min_size=3, max_size=3),
    st.floats(0.02, 1.0),
)
def test_room_comes_back_where_there_may_be_more_instances(
    demand: list[float], room: list[float], takes_s: float
) -> None:
    """However short of room regions with one instance were left, their own clients are back in ten minutes and stay, though who gets
    nothing is given no instance."""
    globe = settled(Globe(demand=dict(zip("abc", demand, strict=True)), release=GROWING))
    globe.memory = replace(globe.memory, room_per_s=dict(zip("abc", room, strict=True)))
    for second in range(0, 720, 2):
        at_hand = {
            name: takes_s * sum(globe.demand[origin] * globe.share(origin, name) for origin in globe.names)
            for name in globe.names
        }
        globe.pools = {
            f"web@{name}": PoolSeen("web", name, globe.now + 2, in_flight=count) for name, count in at_hand.items()
        }
        # As the standard triggers ask.
        if second % 30 == 0:
            wanted = {name: ceil(count / 45) for name, count in at_hand.items()}
            few = {name for name, count in at_hand.items() if count > 60 * globe.ready.get(name, 1)}
            globe.ready |= {name: wanted[name] for name in few}
        if second == 600:
            globe.changes = 0
        globe.tick(2.0)
    assert [globe.share(name, name) for name in globe.names] == [1.0, 1.0, 1.0]
    assert globe.changes == 0


def test_tenants_of_a_residency_stay_or_are_refused() -> None:
    """Tenants of eu go to c from everywhere, also when it is merely ill; when it can't answer they have no way, until it is well."""
    globe = settled(Globe(residency={"c": "eu"}))
    assert all(globe.memory.ways[f"{name}|eu"] == {"c": 1.0} for name in globe.names)
    globe.seen["c"] = {"errors_per_s": 40.0}
    globe.ticks(5)
    assert globe.state("c") == "out"
    assert globe.memory.ways["a|eu"] == {"c": 1.0}
    globe.gateways["c"] = EngineState.EXITED
    globe.tick()
    assert globe.memory.ways["a|eu"] == {}
    assert "clients near a that must stay in eu are refused" in globe.memory.why
    globe.gateways.clear()
    globe.seen.clear()
    globe.ticks(60)
    assert globe.memory.ways["a|eu"] == {"c": 1.0}


WORLDS = st.builds(
    lambda names, users, demand, rtt: Globe(
        names=tuple("abcde"[:names]),
        capacity_users=dict(zip("abcde", users, strict=False)),
        demand=dict(zip("abcde", demand, strict=False)),
        rtt={
            f"{x}>{y}": ms
            for (x, y), ms in zip(((x, y) for x in "abcde" for y in "abcde"), rtt, strict=False)
            if x != y
        },
    ),
    st.integers(2, 5),
    st.lists(st.integers(1, 20_000), min_size=0, max_size=5),
    st.lists(st.floats(0, 5000), min_size=5, max_size=5),
    st.lists(st.floats(2, 400), min_size=25, max_size=25),
)


@settings(max_examples=120)
@given(WORLDS)
def test_a_world_that_stands_still_comes_to_rest(globe: Globe) -> None:
    """In any world, ways settle within ten seconds of the last change and then never change again."""
    globe.ticks(22)
    globe.changes = 0
    globe.ticks(60)
    assert globe.changes == 0


@settings(max_examples=80)
@given(WORLDS, st.sampled_from("ab"), st.floats(0, 300))
def test_after_any_change_of_latency_ways_settle_within_ten_seconds(globe: Globe, region: str, extra_ms: float) -> None:
    """Ten seconds after the ways to a region became longer, whatever moved has moved for good."""
    globe.ticks(60)
    globe.slow(region, extra_ms)
    globe.ticks(10)
    ways = globe.memory.ways
    globe.ticks(40)
    for key, shares in globe.memory.ways.items():
        assert all(abs(ratio - ways[key].get(name, 0.0)) <= 0.02 for name, ratio in shares.items())


@settings(max_examples=80)
@given(WORLDS)
def test_no_region_is_overloaded_while_another_has_room(globe: Globe) -> None:
    """Where all capacities are known, a region takes more than its room only when all rooms are full."""
    if len(globe.capacity_users) < len(globe.names):
        return
    globe.ticks(60)
    room = {name: 0.1 * globe.capacity_users[name] for name in globe.names}
    load = {r: sum(globe.demand[o] * globe.share(o, r) for o in globe.names) for r in globe.names}
    slack = 0.03 * sum(globe.demand.values()) + 1.0
    if any(load[name] > room[name] + slack for name in globe.names):
        assert all(load[name] >= 0.85 * room[name] - slack for name in globe.names)
