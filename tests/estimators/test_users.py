"""What so many users need: by what was measured, or by a class of work, and what gives out first."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.estimators.allocation import WORKS
from tenfold.estimators.limits import last_held
from tenfold.estimators.phases import PHASES, Outlook, Phase, outlook
from tenfold.estimators.users import HEADROOM_RATIO, Question, Times, needs, spread
from tenfold.facts import CapacitySeen
from tenfold.model import Budget, Data, InstanceSize, LatencyTargets, Model, Money, Region, Scaling, Targets
from tests.estimators.office import HELD, MODEL, OFFICE, WEB, WORKER, question

SPREAD = replace(MODEL, regions={"a": Region("a", capacity_users=3000), "b": Region("b", capacity_users=1000)})


def growth(
    users: int, model: Model = MODEL, held: CapacitySeen | None = HELD, connections_max: int | None = 200
) -> Outlook:
    """What so many users of the office need."""
    return outlook(question(model, held, connections_max), users)


def with_words(found: Outlook, words: str) -> float:
    """At how many users the limit gives out whose sentence holds these words."""
    [users] = [limit.users for limit in found.limits if words in limit.what]
    return users


def test_measured_users_take_the_instances_that_hold_them() -> None:
    """1,200 users ask for twice what one instance of 600 holds, and at 80% of each that takes three."""
    [need] = growth(1200).asked.needs
    assert (need.requests_per_s, need.instances, need.users_max) == (pytest.approx(200.0), 3, pytest.approx(3840.0))
    assert (need.measured, need.work) == (HELD, None)


def test_without_a_measurement_a_class_of_work_stands_in_and_it_is_said() -> None:
    """1.75 requests of 50 ms after each pause of ten: 174 a second of 1,000 users, and a core holds 42.7 of medium work."""
    found = growth(1000, held=None)
    [need] = found.asked.needs
    assert need.requests_per_s == pytest.approx(1000 * 1.75 / (10 + 1.75 * 0.05))
    assert need.each_rps == pytest.approx(1000 / 20 * (1 - 60 / 410), rel=0.01)
    assert (need.instances, need.measured, need.work) == (6, None, "medium")
    assert "what web really holds: `tenfold measure` finds it out" in found.unknown


def test_work_that_is_named_counts_more_than_a_measurement() -> None:
    """Who asks what heavy work would take is answered that, whatever was measured."""
    [need] = outlook(question(work="heavy"), 1000).asked.needs
    assert (need.measured, need.work) == (None, "heavy")


def test_what_gives_out_first_comes_first() -> None:
    """The cores of the machine last for 3,000 users, the allowed instances for 3,840, the connections for more."""
    found = growth(3200)
    assert [limit.users for limit in found.limits] == sorted(limit.users for limit in found.limits)
    assert found.limits[0].users == pytest.approx(3000)
    assert "4 cores" in found.limits[0].what
    assert found.breaks == found.limits[:1]
    assert "raise services.web.scaling.instances.max" in found.limits[1].what


def test_a_database_with_few_connections_gives_out_first() -> None:
    """Five instances with eight connections each are forty, and they hold 80% of 3,000 users."""
    found = growth(3200, connections_max=40)
    assert "40 connections" in found.limits[0].what
    assert found.limits[0].users == 2400


def test_a_month_by_hand() -> None:
    """Seven instances of a core and half a GiB, two databases of eight cores each with their 32 GiB, and the cache, for 730 hours."""
    model = replace(MODEL, targets=Targets(availability_ratio=0.999))
    held = replace(HELD, cpu_ms={"web": 6.0, "postgres": 6.0})
    phase = growth(3200, model, held).asked
    core, gib = 0.04048, 0.004445
    assert phase.database is not None and (phase.database.machines, phase.database.cores) == (2, 8)
    assert phase.cost.instances == pytest.approx(7 * (core + gib / 2) * 730)
    assert phase.cost.database == pytest.approx(2 * (8 * core + 32 * gib) * 730)
    assert phase.cost.cache == pytest.approx(3200 / 4 / 1024 * gib * 730)
    assert phase.memory_bytes == 7 * 512 * 1024**2 + 64 * 1024**3 + 800 * 1024**2


def test_the_budget_gives_out() -> None:
    """The last number of users whose month is within it is found exactly, and one more is beyond it."""
    paid = replace(MODEL, budget=Budget(Money(Decimal(700), "USD")))
    found = growth(1000, paid)
    last = round(with_words(found, "budget"))
    assert growth(last, paid).asked.cost.monthly <= 700 < growth(last + 1, paid).asked.cost.monthly


def test_a_budget_that_does_not_pay_for_one_user() -> None:
    """What always runs costs more already: the limit says how much, and does not count users."""
    poor = replace(MODEL, budget=Budget(Money(Decimal(20), "USD")))
    [limit] = [limit for limit in growth(1000, poor).limits if "budget" in limit.what]
    least = growth(1, poor).asked.cost.monthly
    assert limit.users == 0
    assert f"its budget of 20 USD, where {least:,.2f} USD is the least that it takes" in limit.what


def test_a_budget_in_another_currency_is_not_compared() -> None:
    """Nothing is converted: neither a share nor a limit is made up."""
    found = growth(1000, replace(MODEL, budget=Budget(Money(Decimal(700), "EUR"))))
    assert found.asked.cost.budget_ratio is None
    assert not [limit for limit in found.limits if "budget" in limit.what]


def test_users_are_spread_as_the_regions_have_room() -> None:
    """Three quarters of the users where three quarters of the capacity are, and evenly where none is named."""
    assert [need.users for need in needs(question(SPREAD), 1200)] == [900, 300]
    plain = replace(MODEL, regions={"a": Region("a", capacity_users=3000), "b": Region("b")})
    assert [need.users for need in needs(question(plain), 1200)] == [600, 600]
    assert with_words(growth(1000, SPREAD), "the regions are meant for 4,000 users") == 4000


def test_who_is_bound_needs_room_where_they_are() -> None:
    """Half of the users may be in one small region only: it is full long before all regions are."""
    bound = replace(
        MODEL, regions={"a": Region("a", capacity_users=9000), "b": Region("b", capacity_users=1000, residency="eu")}
    )
    found = outlook(replace(question(bound), residents={"eu": 0.5}), 1000)
    assert with_words(found, "the regions of eu are meant for 1,000 users") == 2000
    assert [need.users for need in found.asked.needs] == [500, 500]


def test_more_regions_are_advised_with_the_reason() -> None:
    """Where more users come than the regions are meant for, and where one region can't keep what is promised."""
    assert growth(9000, SPREAD).asked.regions_min == 5
    promised = replace(MODEL, targets=Targets(availability_ratio=0.9999))
    found = growth(100, promised).asked
    assert (found.regions_min, "99.99%" in found.regions_why) == (2, True)
    assert growth(100).asked.regions_min == 1


def test_what_is_not_known_is_said() -> None:
    """No figure is made up for a database of one's own, nor for a service that nobody asks."""
    found = growth(100, replace(MODEL, services={"web": WEB, "worker": WORKER}), connections_max=None)
    assert any("how many connections your database allows" in what for what in found.unknown)
    assert any("how many instances worker will need" in what for what in found.unknown)
    assert [need.instances for need in found.asked.needs if need.service == "worker"] == [1]
    unseen = growth(100, held=replace(HELD, connections=0.0, cpu_ms={}))
    assert any("how many database connections it takes" in what for what in unseen.unknown)
    assert unseen.asked.database is None and unseen.asked.connections is None


def test_every_phase_is_told_and_those_beyond_are_what_comes_next() -> None:
    """The usual phases and the number that was asked about, in order; a limit is told in the phase in which it gives out."""
    found = growth(3200)
    assert [phase.users for phase in found.phases] == sorted({*PHASES, 3200})
    assert [phase.is_next for phase in found.phases] == [False, False, True, True, True]
    assert found.asked.breaks[0].users == pytest.approx(3000)
    assert found.asked.next_break is not None and found.asked.next_break.users == pytest.approx(3840)
    assert growth(1000).asked.breaks == ()


def test_larger_instances_are_fewer_only_where_that_is_what_limits() -> None:
    """A processor that was full holds twice as much with twice the CPU; memory, or CPU where the app only waits, gains nothing."""
    plain, cpu, memory, both = growth(3200).asked.ways
    assert (plain.instances, cpu.instances, memory.instances, both.instances) == (7, 4, 7, 4)
    assert "nothing is gained" in memory.risk and "one core: start as many workers" in cpu.risk
    waits = growth(3200, held=replace(HELD, limited_by="waiting: for what it may do at once")).asked.ways
    assert {way.instances for way in waits} == {7}
    assert "56 database connections" in plain.risk


def test_too_little_memory_limits_an_unmeasured_service() -> None:
    """384 MiB beside 32 MiB a request leave room for few heavy requests, and twice the memory for more."""
    small = replace(MODEL, services={"web": replace(WEB, instance=InstanceSize(8.0, 400 * 1024**2, 80))})
    [need] = needs(question(small, None, work="heavy"), 500)
    assert need.limited_by == "memory"
    [more] = needs(question(small, None, work="heavy"), 500, Times(memory_times=2.0))
    assert more.instances < need.instances


# --- whatever is asked --------------------------------------------------------------------------------------------------

MODELS = st.builds(
    lambda regions, capacities, shards, copies, budget, cores, size, target, promised: Model(
        "shop",
        {"web": replace(WEB, instance=InstanceSize(cores, size * 1024**2, 80)), "worker": WORKER},
        {name: Region(name, capacity_users=100 * capacities if capacities else None) for name in "abc"[:regions]},
        data=Data(shards=shards, replicas=copies if regions > 1 else 0),
        budget=Budget(Money(Decimal(budget), "USD")),
        targets=Targets(latency=LatencyTargets(p95_ms=target), availability_ratio=promised),
    ),
    st.integers(1, 3),
    st.integers(0, 50),
    st.integers(1, 6),
    st.integers(0, 2),
    st.integers(1, 100_000),
    st.sampled_from((0.25, 1.0, 2.0, 8.0)),
    st.sampled_from((64, 512, 4096)),
    st.sampled_from((None, 20.0, 500.0, 5000.0)),
    st.sampled_from((None, 0.99, 0.999, 0.9999)),
)
HELDS = st.none() | st.builds(
    lambda each, of_users, connections, postgres_ms: replace(
        HELD,
        requests_per_s=each,
        users=of_users,
        connections=connections,
        cpu_ms={"web": 6.0, **({"postgres": postgres_ms} if postgres_ms else {})},
    ),
    st.floats(0.5, 5000),
    st.floats(1, 50_000),
    st.sampled_from((0.0, 1.0, 8.0, 40.0)),
    st.sampled_from((0.0, 0.1, 30.0)),
)


def grows(few: Phase, many: Phase) -> None:
    """Nothing that is needed shrinks from one phase to a later one."""
    for one, other in zip(few.needs, many.needs, strict=True):
        assert one.instances <= other.instances
        assert one.requests_per_s <= other.requests_per_s * (1 + 1e-9)
    assert few.cost.monthly <= many.cost.monthly + 1e-9
    assert few.memory_bytes <= many.memory_bytes and few.cache_bytes <= many.cache_bytes
    assert few.regions_min <= many.regions_min
    assert (few.connections or 0) <= (many.connections or 0)
    for one_way, other_way in zip(few.ways, many.ways, strict=True):
        assert one_way.instances <= other_way.instances and one_way.monthly <= other_way.monthly + 1e-9
    if few.database is not None and many.database is not None:
        assert few.database.shards <= many.database.shards and few.database.replicas <= many.database.replicas
        whole = [each.machines * each.cores for each in (few.database, many.database)]
        assert whole[0] <= whole[1]


@given(model=MODELS, held=HELDS, users=st.integers(1, 1_000_000), work=st.none() | st.sampled_from(list(WORKS)))
def test_phases_are_monotone(model: Model, held: CapacitySeen | None, users: int, work: str | None) -> None:
    """More users never need fewer instances, less memory, fewer shards or less money, and each limit is told in one phase at most."""
    found = outlook(question(model, held, work=work), users)
    for few, many in pairwise(found.phases):
        grows(few, many)
    told = [limit for phase in found.phases for limit in phase.breaks]
    assert told == [limit for limit in found.limits if limit.users < found.phases[-1].users]
    assert sum(phase.is_asked for phase in found.phases) == 1
    assert all(phase.cost.monthly > 0 for phase in found.phases)


@given(model=MODELS, held=HELDS, users=st.integers(1, 1_000_000), more=st.integers(0, 1_000_000))
def test_what_gives_out_does_so_whatever_was_asked(
    model: Model, held: CapacitySeen | None, users: int, more: int
) -> None:
    """The limits belong to the project, not to the number that somebody named."""
    few, many = outlook(question(model, held), users), outlook(question(model, held), users + more)
    grows(few.asked, many.asked)
    assert few.limits == many.limits


@given(users=st.integers(1, 1_000_000), names=st.permutations(list(WORKS)))
def test_heavier_work_never_needs_less(users: int, names: list[str]) -> None:
    """As many users of heavier work take as many instances at least, and as much money."""
    lighter, heavier = sorted(names[:2], key=list(WORKS).index)
    costs = [outlook(question(held=None, work=work), users).asked for work in (lighter, heavier)]
    assert costs[0].needs[0].instances <= costs[1].needs[0].instances
    assert costs[0].cost.monthly <= costs[1].cost.monthly


@given(
    users=st.floats(1, 1e9),
    capacities=st.lists(st.none() | st.integers(0, 5000), min_size=1, max_size=6),
    laws=st.lists(st.sampled_from((None, "eu", "us")), min_size=6, max_size=6),
    parts=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).filter(lambda found: sum(found) > 0),
)
def test_residency_holds(
    users: float,
    capacities: list[int | None],
    laws: list[str | None],
    parts: tuple[float, float, float],
) -> None:
    """Whoever is bound is planned for in regions of that residency and nowhere else, all users are somewhere, and nobody twice."""
    regions = {
        f"r{n}": Region(f"r{n}", capacity_users=capacity, residency=law)
        for n, (capacity, law) in enumerate(zip(capacities, laws, strict=False))
    }
    residents = {"eu": parts[0] / sum(parts), "us": parts[1] / sum(parts)}
    asked = Question(replace(MODEL, regions=regions), OFFICE, {"web": 1.0}, {}, residents=residents)
    found = spread(asked, users)
    for name, bound in found.items():
        assert all(count >= 0 for count in bound.values())
        assert {law for law, count in bound.items() if law and count > 0} <= {regions[name].residency}
    assert sum(sum(bound.values()) for bound in found.values()) == pytest.approx(users, rel=1e-9)
    for law, ratio in residents.items():
        if any(region.residency == law for region in regions.values()):
            there = sum(bound.get(law, 0.0) for bound in found.values())
            assert there == pytest.approx(users * ratio, rel=1e-9, abs=1e-9)


@given(bound=st.floats(0, 1e6), each=st.floats(1e-4, 1e4), step=st.integers(1, 1000))
def test_the_last_that_is_held_is_the_last(bound: float, each: float, step: int) -> None:
    """What it finds is within the bound, and one more is not."""

    def of(users: int) -> float:
        return each * -(-users // step)

    found = last_held(bound, of)
    if found is None:
        assert of(1_000_000_000) <= bound
    else:
        assert (found == 0 or of(found) <= bound) and of(found + 1) > bound


def test_only_so_much_of_an_instance_is_planned_for() -> None:
    """At what an instance holds, two are needed: one would be full."""
    [need] = needs(question(replace(MODEL, services={"web": replace(WEB, scaling=Scaling(1, 8))})), 600)
    assert (need.instances, HEADROOM_RATIO) == (2, 0.8)
