"""What an instance should be given for light to enterprise work, what the database should be, and when growth gets there."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.estimators.allocated import allotted, too_small
from tenfold.estimators.allocation import (
    CACHE_BYTES_MIN,
    LATENCY_MS,
    MEMORY_FILL_RATIO,
    WORKS,
    allocation_of,
    bounds_of,
    cache_bytes_of,
    connections_of,
    holds,
)
from tenfold.estimators.database import CLASSES_CORES, CONNECTIONS_MOST, Database, database_for
from tenfold.estimators.growth import DAYS, DAYS_MAX, Pace
from tenfold.facts import CapacitySeen
from tenfold.model import Data, InstanceSize, Model, Region, Targets
from tests.estimators.office import HELD, MODEL, question

GIB = 1024**3
WORK_NAMES = st.sampled_from(list(WORKS))


def test_each_class_takes_more_than_the_one_before() -> None:
    """From light to enterprise a core holds less, and a request, an instance and a user take more."""
    works = list(WORKS.values())
    for lighter, heavier in pairwise(works):
        for figure in (
            "cpu_ms",
            "wait_ms",
            "database_ms",
            "base_bytes",
            "request_bytes",
            "cache_bytes",
            "data_bytes",
            "timeout_s",
        ):
            assert getattr(lighter, figure) < getattr(heavier, figure)
        one, other = (allocation_of(work, 1000, None) for work in (lighter, heavier))
        assert one.size.memory_bytes <= other.size.memory_bytes and one.cache_bytes < other.cache_bytes
        per_core = [holds(w, InstanceSize(1.0, 2**40, 10**6), None).requests_per_s for w in (lighter, heavier)]
        assert per_core[0] > per_core[1]


def test_every_figure_has_its_reason() -> None:
    """Each class says what work is meant and where its timeout comes from."""
    assert list(WORKS) == ["light", "medium", "heavy", "enterprise"]
    assert all(work.why and work.timeout_why for work in WORKS.values())


def test_half_a_core_is_a_core_half_as_fast() -> None:
    """Medium work takes 40 ms of CPU there: 25 x (1 - 120/410) = 17.7 requests/s within 500 ms, less than half of what a core holds."""
    assert holds(WORKS["medium"], InstanceSize(0.5, GIB, 80), None).requests_per_s == pytest.approx(17.7, rel=0.01)


def test_medium_work_as_reckoned_by_hand() -> None:
    """A core holds 50 x (1 - 60/410) = 42.7 requests/s, 7 of them at hand, and three connections carry twice their 1.3."""
    found = allocation_of(WORKS["medium"], 1000, None)
    assert (found.size, found.connections, found.timeout_s) == (InstanceSize(1.0, 512 * 1024**2, 7), 3, 10.0)
    assert found.cache_bytes == 250 * 1024**2


@given(work=WORK_NAMES, target_ms=st.none() | st.floats(1, 60_000))
def test_an_instance_that_is_allocated_is_in_balance(work: str, target_ms: float | None) -> None:
    """Whatever the target, neither memory nor concurrency gives out before the processor does, and memory has room beside it."""
    kind = WORKS[work]
    size = allocation_of(kind, 1000, target_ms).size
    assert size.concurrency >= 2
    assert kind.base_bytes + size.concurrency * kind.request_bytes <= MEMORY_FILL_RATIO * size.memory_bytes
    found = holds(kind, replace(size, concurrency=10**6), target_ms)
    assert found.requests_per_s > 0 and found.latency_ms >= (target_ms or LATENCY_MS)


@given(
    work=WORK_NAMES,
    cores=st.floats(0.01, 64),
    mib=st.integers(1, 100_000),
    at_once=st.integers(1, 1000),
    target_ms=st.none() | st.floats(1, 60_000),
    times=st.floats(1, 16),
)
def test_a_larger_instance_never_holds_less(
    work: str, cores: float, mib: int, at_once: int, target_ms: float | None, times: float
) -> None:
    """More CPU, memory or concurrency, and a later answer that is allowed, never make it less."""
    size = InstanceSize(cores, mib * 1024**2, at_once)
    plain = holds(WORKS[work], size, target_ms).requests_per_s
    assert plain > 0
    more = (
        replace(size, cpu_cores=cores * times),
        replace(size, memory_bytes=round(size.memory_bytes * times)),
        replace(size, concurrency=math.ceil(at_once * times)),
    )
    assert all(holds(WORKS[work], each, target_ms).requests_per_s >= plain * (1 - 1e-9) for each in more)
    later = holds(WORKS[work], size, (target_ms or LATENCY_MS) * times).requests_per_s
    assert later >= plain * (1 - 1e-9)


@given(work=WORK_NAMES, users=st.floats(0, 1e9), rps=st.floats(0, 1e6))
def test_cache_and_connections_have_a_least(work: str, users: float, rps: float) -> None:
    """An idle instance still has two connections, and the cache room for the app itself."""
    assert connections_of(WORKS[work], rps) >= 2
    assert cache_bytes_of(WORKS[work], users) >= CACHE_BYTES_MIN


@given(needed=st.integers(0, 5000), own=st.integers(0, 1000), regions=st.integers(1, 20), is_careful=st.booleans())
def test_bounds_hold_what_is_needed(needed: int, own: int, regions: int, is_careful: bool) -> None:
    """The least is never above the most, nor above what the blueprint allows at all, and the users of a lost region have room."""
    low, high = bounds_of(needed, own, regions, is_careful)
    assert own <= low <= high <= 1000
    assert low >= (2 if is_careful else 1)
    others = needed * regions / (regions - 1) if regions > 1 else needed
    assert high >= min(math.ceil(others - 1e-9), 1000)


def test_what_was_measured_keeps_its_size() -> None:
    """It was measured on the blueprint's instance: concurrency, connections and timeout follow from what was found."""
    [given_] = allotted(question(), 3200)
    assert (given_.size, given_.work) == (InstanceSize(concurrency=9), None)
    assert (given_.needed, given_.connections, given_.timeout_s) == (7, 8, 5.0)
    slow: CapacitySeen = replace(HELD, latency_ms=2000.0)
    assert allotted(question(held=slow), 3200)[0].timeout_s == 20.0


def test_what_was_not_measured_gets_the_size_of_its_class() -> None:
    """Instances are counted at the size that is advised, whatever the blueprint has now."""
    [given_] = allotted(question(held=None, work="heavy"), 1000)
    assert (given_.size.cpu_cores, given_.work, given_.timeout_s) == (2.0, "heavy", 30.0)
    assert given_.instances_min <= given_.needed <= given_.instances_max


def test_the_busiest_region_counts() -> None:
    """Bounds are those of each region, so they hold what the region with most users takes."""
    regions = {"a": Region("a", capacity_users=100), "b": Region("b", capacity_users=900)}
    [given_] = allotted(question(replace(MODEL, regions=regions)), 3200)
    assert given_.needed == math.ceil(0.9 * 3200 / 600 / 0.8)


def test_an_instance_too_small_for_its_work_is_told() -> None:
    """Less memory than one request takes is no size to plan with; what was measured ran, whatever a class of work takes."""
    small = replace(
        MODEL, services={"web": replace(MODEL.services["web"], instance=InstanceSize(1.0, 64 * 1024**2, 80))}
    )
    [said] = too_small(question(small, None))
    assert "web is given 64 MiB and medium work takes 258 MiB for one request" in said
    assert too_small(question(small)) == too_small(question(held=None)) == ()


# --- the database -------------------------------------------------------------------------------------------------------


def sized(
    users: float = 100, cores: float = 0.1, hot_gib: float = 0.1, connections: int = 10, model: Model = MODEL
) -> Database:
    """A database for so much."""
    return database_for(model, users, cores, hot_gib * GIB, connections)


def test_a_database_is_as_small_as_does() -> None:
    """Half of its cores for statements, three quarters of its memory for rows."""
    assert (sized().cores, sized().shards, sized().replicas, sized().why) == (1, 1, 0, ())
    assert sized(cores=1.9).cores == 4
    assert sized(hot_gib=20.0).cores == 8


def test_shards_are_advised_when_one_is_not_enough() -> None:
    """More than the largest class holds is spread over twice as many, and the reason has the figures."""
    found = sized(cores=30.0)
    assert (found.shards, found.cores) == (2, 32)
    assert "60 cores" in found.why[0]
    assert (sized(cores=80.0).shards, sized(cores=80.0, model=replace(MODEL, data=Data(shards=3))).shards) == (8, 6)
    assert sized(cores=30.0, model=replace(MODEL, data=Data(shards=4))).shards == 4


def test_copies_have_a_reason() -> None:
    """By the blueprint's own word, by what is promised, or for many users."""
    assert "99.95% can't wait" in sized(model=replace(MODEL, targets=Targets(availability_ratio=0.9995))).why[0]
    assert (sized(users=5000).replicas, "5,000 users" in sized(users=5000).why[0]) == (1, True)
    own = replace(MODEL, regions={"a": Region("a"), "b": Region("b")}, data=Data(replicas=1))
    assert sized(model=own).why == ("1 copy: the blueprint says so",)


def test_a_pooler_is_advised_for_many_connections() -> None:
    """At 80% of what such a database usually allows, which is RDS's own rule for it."""
    assert sized(connections=360).why == ()
    assert sized().connections_max == 4 * GIB // 9_531_392
    assert "PgBouncer" in sized(connections=365).why[0]


@given(
    one=st.tuples(st.floats(0, 1e5), st.floats(0, 1e5), st.integers(0, 10**6), st.floats(1, 1e9)),
    more=st.tuples(st.floats(0, 1e5), st.floats(0, 1e5), st.integers(0, 10**6), st.floats(0, 1e9)),
    shards=st.integers(1, 7),
)
def test_a_database_never_shrinks_when_more_is_asked(
    one: tuple[float, float, int, float], more: tuple[float, float, int, float], shards: int
) -> None:
    """More work, rows, connections or users: never fewer cores, shards or copies in all, and every class is one that there is."""
    model = replace(MODEL, data=Data(shards=shards))
    few = sized(one[3], one[0], one[1], one[2], model)
    many = sized(one[3] + more[3], one[0] + more[0], one[1] + more[1], one[2] + more[2], model)
    assert few.shards <= many.shards and few.replicas <= many.replicas
    assert few.machines * few.cores <= many.machines * many.cores
    assert few.cores in CLASSES_CORES and few.connections_max <= CONNECTIONS_MOST
    assert few.active_max == 2 * few.cores + 1


# --- growth -------------------------------------------------------------------------------------------------------------


def test_growth_by_share_and_by_number() -> None:
    """Twice as many at a tenth a month take 7.3 months; 500 a month bring 1,500 in three."""
    by_share = Pace("month", ratio=0.1).days_until(1000, 2000)
    assert by_share == pytest.approx(math.log(2) / math.log(1.1) * DAYS["month"])
    assert Pace("month", users=500.0).days_until(1000, 2500) == pytest.approx(3 * DAYS["month"])
    assert Pace("week", ratio=1.0).days_until(1000, 4000) == pytest.approx(14)


def test_growth_that_is_over_or_never_comes() -> None:
    """Whoever is there needs no time, from nobody no share grows, and beyond ten years nothing is told."""
    assert Pace("month", ratio=0.1).days_until(1000, 900) == 0.0
    assert Pace("month", ratio=0.1).days_until(0, 900) is None
    assert Pace("year", users=1.0).days_until(1, 1000) is None


@given(
    pace=st.one_of(
        st.builds(lambda p, r: Pace(p, ratio=r), st.sampled_from(list(DAYS)), st.floats(1e-6, 100)),
        st.builds(lambda p, n: Pace(p, users=n), st.sampled_from(list(DAYS)), st.floats(1e-3, 1e9)),
    ),
    today=st.floats(0, 1e6),
    users=st.floats(1, 1e9),
    more=st.floats(0, 1e9),
)
def test_more_users_come_later(pace: Pace, today: float, users: float, more: float) -> None:
    """A date is never before today nor beyond ten years, and more users are never there sooner."""
    first, second = pace.days_until(today, users), pace.days_until(today, users + more)
    assert first is None or 0 <= first <= DAYS_MAX
    assert second is None or (first is not None and first <= second)
