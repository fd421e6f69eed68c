"""Scheduled floors: by the clock of their place, warm in time, over midnight and over the days when clocks are changed."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blueprint.schedules import floor
from tenfold.deciders.memory import PoolScale, ScaleMemory
from tenfold.deciders.scale import scale
from tenfold.deciders.scale.floors import MARGIN_S, STARTS_S_MAX, least_at
from tenfold.effects import Decision
from tenfold.facts import InstanceSeen, InstanceState, PoolSeen, Snapshot, WorkSeen
from tenfold.model import Floor, Health, Model, Region, Release, Scaling, Service, Trigger, zones

Story = Any
READ = floor("daily 08:00-18:00 min 1").parse
TRIGGERS = (Trigger("concurrency", 60, 30, 60),)


def at(text: str, zone: str = "UTC") -> float:
    """The time that a clock in `zone` shows as `text`, the first where it does so twice."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def least(now: float, *floors: str, zone: str = "UTC", low: int = 1, high: int = 8, starts_s: float = 1.0) -> int:
    """The least at `now` under these floors."""
    return least_at(
        Scaling(low, high, TRIGGERS, floors=tuple(READ(f) for f in floors), zone=zone), now, starts_s
    ).instances


# --- which hours ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-11-27T07:59:58", 1),  # a Friday
        ("2026-11-27T08:00:00", 4),
        ("2026-11-27T17:59:59", 4),
        ("2026-11-27T18:00:00", 1),
        ("2026-11-27T21:59:58", 1),
        ("2026-11-27T22:00:00", 3),
        ("2026-11-28T01:59:59", 3),  # of Friday's evening
        ("2026-11-28T02:00:00", 1),
        ("2026-11-28T09:00:00", 1),  # a Saturday
        ("2026-11-28T10:00:00", 2),
        ("2026-11-29T16:00:00", 1),
        ("2026-11-30T12:00:00", 4),  # a Monday
    ],
)
def test_the_hours_of_a_week(when: str, expected: int) -> None:
    """Weekdays, weekend and hours over midnight count from their first second to their last."""
    floors = ("weekdays 08:00-18:00 min 4", "sat,sun 10:00-16:00 min 2", "daily 22:00-02:00 min 3")
    assert least(at(when), *floors) == expected


def test_over_midnight_belongs_to_the_day_it_began() -> None:
    """Sunday night's hours go on into Monday, and Monday has none of its own."""
    night = "sun 22:00-06:00 min 3"
    assert [least(at(f"2026-11-{day}T05:00"), night) for day in (29, 30)] == [1, 3]
    assert least(at("2026-11-30T23:00"), night) == 1


def test_all_day_has_no_seam() -> None:
    """`00:00-24:00` counts at midnight as at noon."""
    assert {least(at("2026-11-27T23:59:59") + s, "daily 00:00-24:00 min 3") for s in range(3)} == {3}


def test_the_highest_floor_counts_and_never_more_than_the_maximum() -> None:
    """Where floors meet, the highest is kept; one of an older blueprint that is above the maximum is cut to it."""
    now = at("2026-11-27T12:00")
    assert least(now, "daily 00:00-24:00 min 2", "fri 08:00-18:00 min 5", "fri 11:00-13:00 min 3") == 5
    assert least(now, "daily 00:00-24:00 min 9") == 8
    assert least(now, "daily 00:00-24:00 min 2", low=3) == 3


def test_it_is_warm_in_time_and_says_so() -> None:
    """A floor counts for as long as a start takes before its hour, and tells that."""
    scaling = Scaling(1, 8, TRIGGERS, floors=(READ("weekdays 08:00-18:00 min 4"),), zone="Europe/Berlin")
    begins = at("2026-11-27T08:00", "Europe/Berlin")
    assert least_at(scaling, begins - 91, 90.0).instances == 1
    early = least_at(scaling, begins - 89, 90.0)
    assert (early.instances, early.why) == (
        4,
        "weekdays 08:00-18:00 min 4 Europe/Berlin, 90 s before it begins, so that they serve by then",
    )
    assert least_at(scaling, begins, 90.0).why == "weekdays 08:00-18:00 min 4 Europe/Berlin"
    assert least_at(scaling, begins - STARTS_S_MAX - 2, 1e9).instances == 1, "no start takes longer than an hour"


# --- when clocks are changed ------------------------------------------------------------------------------------------


def test_eight_o_clock_is_eight_o_clock_all_year() -> None:
    """The same words name another UTC hour in summer."""
    said = ("daily 08:00-09:00 min 4",)
    for day, utc_hour in (("2026-03-27", 7), ("2026-03-30", 6), ("2026-10-23", 6), ("2026-10-26", 7)):
        counts = [hour for hour in range(24) if least(at(f"{day}T{hour:02}:30"), *said, zone="Europe/Berlin") == 4]
        assert counts == [utc_hour]


def test_an_hour_that_is_passed_over_begins_after_it() -> None:
    """On 28 March 2027 clocks in Berlin show no 2:30: what begins then begins at 3, at 1 o'clock UTC, and is warm by then."""
    change = at("2027-03-28T01:00")
    assert least(change - 2, "daily 02:30-04:00 min 4", zone="Europe/Berlin") == 1
    assert least(change, "daily 02:30-04:00 min 4", zone="Europe/Berlin") == 4
    assert least(change - 60, "daily 02:30-04:00 min 4", zone="Europe/Berlin", starts_s=61) == 4
    assert least(change + 3600, "daily 02:30-04:00 min 4", zone="Europe/Berlin") == 1


def test_an_hour_that_comes_twice_counts_twice() -> None:
    """On 31 October 2027 clocks in Berlin show 2:30 twice, and 3 o'clock once: nothing begins an hour early."""
    back = at("2027-10-31T01:00")
    assert [
        least(back + s, "daily 02:30-02:40 min 4", zone="Europe/Berlin") for s in (-1801, -1800, 0, 1800, 2400)
    ] == [
        1,
        4,
        1,
        4,
        1,
    ]
    assert least(back - 1, "daily 03:00-04:00 min 4", zone="Europe/Berlin", starts_s=300) == 1
    assert least(back + 3600 - 299, "daily 03:00-04:00 min 4", zone="Europe/Berlin", starts_s=300) == 4


FLOORS = st.builds(
    Floor,
    st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.integers(1, 12),
    st.none() | st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
).filter(lambda made: made.begins_minute != made.ends_minute)
TIMES = st.floats(1.6e9, 2.0e9) | st.sampled_from([at("2027-03-28T01:00"), at("2027-10-31T01:00")]).flatmap(
    lambda change: st.floats(change - 7200, change + 7200)
)


@given(FLOORS, TIMES)
def test_it_counts_exactly_while_the_clock_shows_it(made: Floor, now: float) -> None:
    """At any second, the days when clocks are changed included, what the library's clock shows decides."""
    shown = datetime.fromtimestamp(now, ZoneInfo(made.zone or "UTC"))
    minute, day = shown.hour * 60 + shown.minute, shown.weekday()
    if made.begins_minute < made.ends_minute:
        counts = made.begins_minute <= minute < made.ends_minute and day in made.days
    else:
        is_evening = minute >= made.begins_minute and day in made.days
        counts = is_evening or (minute < made.ends_minute and (day - 1) % 7 in made.days)
    found = least_at(Scaling(0, 12, TRIGGERS, floors=(made,)), now, 0.0)
    # A start takes a second at the least: the one before an hour counts with it.
    about = datetime.fromtimestamp(now + 1, ZoneInfo(made.zone or "UTC"))
    is_edge = about.hour * 60 + about.minute in (made.begins_minute, made.ends_minute) and about.second < 1
    assert is_edge or found.instances == (made.instances if counts else 0)


@given(
    FLOORS, TIMES, st.integers(0, 600), st.integers(0, 600), st.integers(0, 3), st.floats(0, 4000), st.floats(0, 4000)
)
def test_wider_is_never_less(
    made: Floor, now: float, sooner: int, later: int, more: int, starts_s: float, slower_s: float
) -> None:
    """Longer hours, a higher number, more days, another floor or slower starts never give fewer at any time."""
    lasts = (made.ends_minute - made.begins_minute) % 1440 or 1440
    wide = min(lasts + sooner + later, 1440)
    begins = (made.begins_minute - sooner) % 1440
    ends = (begins + wide) % 1440
    days = made.days
    if made.begins_minute < sooner:
        days = tuple(sorted({(day - 1) % 7 for day in days} | set(days)))
    wider = replace(made, days=days, begins_minute=begins, ends_minute=ends or 1440, instances=made.instances + more)
    if wide == 1440:
        wider = replace(wider, days=tuple(range(7)), begins_minute=0, ends_minute=1440)
    scaling = Scaling(1, 20, TRIGGERS, floors=(made,))
    before = least_at(scaling, now, starts_s).instances
    assert before <= least_at(replace(scaling, floors=(wider,)), now, starts_s).instances
    assert before <= least_at(replace(scaling, floors=(made, made)), now, starts_s).instances
    assert before <= least_at(scaling, now, starts_s + slower_s).instances


@given(st.lists(FLOORS, max_size=4), TIMES, st.integers(0, 5), st.integers(5, 9), st.sampled_from(sorted(zones())))
def test_never_outside_the_bounds(floors: list[Floor], now: float, low: int, high: int, zone: str) -> None:
    """Whatever the floors, the zone and the hour, the least lies between minimum and maximum."""
    assert low <= least_at(Scaling(low, high, TRIGGERS, floors=tuple(floors), zone=zone), now, 30.0).instances <= high


# --- the pool ---------------------------------------------------------------------------------------------------------


def world(low: int = 1, high: int = 8, **scaling: object) -> tuple[Model, Release]:
    """One service with a floor on weekdays, in one region."""
    floors = (READ("weekdays 08:00-18:00 min 4"),)
    web = Service(
        "web",
        "x {port}",
        paths=("/",),
        health=Health(starts_within_s=60.0),
        scaling=replace(Scaling(low, high, TRIGGERS, floors=floors), **scaling),  # type: ignore[arg-type]
    )
    release = Release("r1", {"web": web}, "s1", 0.0)
    return Model("shop", {"web": web}, {"local": Region("local")}, releases={"r1": release}), release


def seen(now: float, ready: int, in_flight: float = 0.0, **parts: object) -> Snapshot:
    """So many ready instances that have so many requests at hand."""
    instances = {
        f"web-{n}": InstanceSeen(f"web-{n}", "web", "local", "r1", InstanceState.READY, now - 60, now - 61, now, port=1)
        for n in range(ready)
    }
    pool = PoolSeen("web", "local", now, requests_per_s=in_flight, in_flight=in_flight)
    observed = {"process": now, "gateway": now}
    return replace(
        Snapshot(now, 1, observed=observed, instances=instances, pools={pool.key: pool}),
        **parts,  # type: ignore[arg-type]
    )


def test_a_pool_is_lifted_before_the_hour_and_let_go_after_it() -> None:
    """Half of what a start may take before the hour four are wanted, told once with the reason; after it, triggers decide again."""
    model, release = world()
    memory, sizes = ScaleMemory(), []
    told: list[Decision] = []
    start = at("2026-11-27T07:58:00")
    for second in range(180):
        now = start + second
        memory, decisions = scale(
            model, release, seen(now, memory.pools["web@local"].wanted if memory.pools else 1), memory
        )
        told += decisions
        sizes.append(memory.pools["web@local"].wanted)
    assert [d.why for d in told] == [
        "web@local has 4 instances instead of 1: weekdays 08:00-18:00 min 4 UTC, 30 s before it begins, so that they serve by then"
    ]
    assert told[0].clamps == (
        "floor: 4 instead of 1: weekdays 08:00-18:00 min 4 UTC, 30 s before it begins, so that they serve by then",
    )
    assert sizes.index(4) in (90, 91)
    assert set(sizes[91:]) == {4}, "idle, and kept"
    later = at("2026-11-27T17:59:00")
    sizes = []
    for second in range(180):
        memory, _ = scale(model, release, seen(later + second, memory.pools["web@local"].wanted), memory)
        sizes.append(memory.pools["web@local"].wanted)
    assert set(sizes[:60]) == {4}
    assert sizes[-1] == 1


def test_a_measured_start_is_what_it_is_early_by() -> None:
    """Once starts were measured, however long ago, their time and a little more counts instead of half of what one may take."""
    model, release = world()
    before = ScaleMemory({"web@local": PoolScale(1, "", 0.0)})
    work = WorkSeen("web", "local", 0.0, start_s=240.0)
    begins = at("2026-11-27T08:00:00")
    for early_s, wanted in ((240 + MARGIN_S + 1, 1), (240 + MARGIN_S - 1, 4)):
        now = begins - early_s
        assert scale(model, release, seen(now, 1), before)[0].pools["web@local"].wanted == 1
        after, _ = scale(model, release, seen(now, 1, works={work.key: work}), before)
        assert after.pools["web@local"].wanted == wanted


def test_load_goes_beyond_a_floor_and_a_floor_beyond_what_load_asks_for() -> None:
    """The higher of the two counts; a decision that was lifted names what it was lifted from."""
    model, release = world()
    before = ScaleMemory({"web@local": PoolScale(2, "", 0.0, high_since={"concurrency": 0.0})})
    now = at("2026-11-27T08:00:00")
    many, [decision] = scale(model, release, seen(now, 2, in_flight=300.0), before)
    assert (many.pools["web@local"].wanted, decision.clamps, decision.confidence_ratio) == (7, (), 1.0)
    few, [decision] = scale(model, release, seen(now, 2, in_flight=130.0), before)
    assert few.pools["web@local"].wanted == 4
    assert decision.clamps == ("floor: 4 instead of 3: weekdays 08:00-18:00 min 4 UTC",)


def test_a_floor_holds_without_facts() -> None:
    """Hours come whether or not processes could be looked at: the least is started, and nothing let go."""
    model, release = world()
    before = ScaleMemory({"web@local": PoolScale(2, "", 0.0)})
    blind = replace(seen(at("2026-11-27T12:00"), 0), observed={})
    assert scale(model, release, blind, before)[0].pools["web@local"].wanted == 4


def test_a_floor_wakes_a_pool_that_sleeps() -> None:
    """A pool at zero is woken in time for its hours, and does not sleep within them."""
    model, release = world(low=0, idle_s=5.0)
    memory = ScaleMemory({"web@local": PoolScale(0, "asleep", 0.0)})
    now = at("2026-11-27T07:59:00")
    memory, _ = scale(model, release, seen(now, 0), memory)
    assert memory.pools["web@local"].wanted == 0
    for second in range(1, 120):
        ready = memory.pools["web@local"].wanted if second > 45 else 0
        memory, _ = scale(model, release, seen(now + second, ready), memory)
        assert memory.pools["web@local"].wanted == (0 if second <= 30 else 4)


def test_a_first_start_within_the_hours_begins_with_the_floor() -> None:
    """A pool that nothing is known of has its floor at once."""
    model, release = world()
    memory, _ = scale(model, release, seen(at("2026-11-27T12:00"), 0), ScaleMemory())
    assert memory.pools["web@local"].wanted == 4


@given(
    st.lists(st.floats(-90_000, 90_000), max_size=12),
    st.floats(0, 2000),
    st.integers(0, 8),
)
def test_whatever_the_clock_does_the_bounds_are_kept(jumps: list[float], in_flight: float, ready: int) -> None:
    """A clock that jumps by a day and back never leads out of the bounds, nor below the floor of the hour that it shows."""
    model, release = world()
    memory, now = ScaleMemory(), at("2026-11-27T07:00")
    for jump in (*jumps, 1.0, 1.0):
        now += jump
        shot = seen(now, ready, in_flight)
        before = memory
        memory, decisions = scale(model, release, shot, before)
        assert (memory, decisions) == scale(model, release, shot, before), "a replay equals the original"
        floor_ = least_at(release.services["web"].scaling, now, 30.0).instances
        assert floor_ <= memory.pools["web@local"].wanted <= 8


@given(st.floats(0, 4000), st.floats(0, 2000), st.integers(1, 8), st.integers(1, 8), st.booleans())
def test_more_load_never_gives_fewer(in_flight: float, more: float, ready: int, wanted: int, is_floored: bool) -> None:
    """All else equal, within a floor's hours and outside of them."""
    model, release = world()
    start = at("2026-11-27T12:00" if is_floored else "2026-11-28T12:00")
    sizes = []
    for load in (in_flight, in_flight + more):
        memory = ScaleMemory({"web@local": PoolScale(wanted, "", 0.0)})
        for second in range(12):
            memory, _ = scale(model, release, seen(start + second, ready, load), memory)
        sizes.append(memory.pools["web@local"].wanted)
    assert (4 if is_floored else 1) <= sizes[0] <= sizes[1] <= 8


def test_the_whole_decider_starts_what_a_floor_asks_for(serving: Story) -> None:
    """Instances are started by the decision that names the floor, and it is that one that is explained."""
    web = serving.model.releases["r1"].services["web"]
    floored = replace(web, scaling=replace(web.scaling, floors=(READ("daily 00:00-24:00 min 5"),)))
    release = replace(serving.model.releases["r1"], services={"web": floored})
    serving.model = replace(serving.model, releases={"r1": release})
    serving.traffic(in_flight=80.0)
    [decision] = [d for d in serving.tick().decisions if d.by == "scale"]
    assert decision.why == "web@local has 5 instances instead of 2: daily 00:00-24:00 min 5 UTC"
    assert [effect.key for effect in decision.effects] == ["start:web-3", "start:web-4", "start:web-5"]
