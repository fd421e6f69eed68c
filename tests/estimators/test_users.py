"""What so many users need: by what was measured, or by the blueprint's own word, and what gives out first."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.estimators.users import Growth, needed
from tenfold.facts import CapacitySeen
from tenfold.model import Action, Budget, Data, Model, Money, Region, Scaling, Scenario, Service, Step

OFFICE = Scenario(
    "office",
    (
        Action("look", 0.75, (Step("GET", "/"), Step("GET", "/api/me"))),
        Action("report", 0.25, (Step("GET", "/api/report"),)),
    ),
    think_s=10.0,
)
WEB = Service("web", "serve {port}", paths=("/",), scaling=Scaling(2, 8))
MODEL = Model("shop", {"web": WEB}, {"local": Region("local")}, data=Data())
HELD = CapacitySeen(
    service="web",
    scenario="office",
    release="s1",
    requests_per_s=100.0,
    concurrency=9.0,
    users=600.0,
    latency_ms=500.0,
    bends_at_rps=120.0,
    measured_at=0.0,
    seen_at=0.0,
    cores=4,
    cpu_ms={"web": 6.0, "postgres": 2.0, "load generator": 50.0},
    connections=8.0,
)


def growth(
    users: int, model: Model = MODEL, held: CapacitySeen | None = HELD, connections_max: int | None = 200
) -> Growth:
    """What so many users of the office need."""
    return needed(model, OFFICE, {"web": 1.0}, users, {} if held is None else {"web": held}, connections_max)


def test_measured_users_take_the_instances_that_hold_them() -> None:
    """1,200 users ask for twice what one instance of 600 holds, and at 80% of each that takes three."""
    [need] = growth(1200).needs
    assert (need.requests_per_s, need.instances, need.users_max) == (pytest.approx(200.0), 3, pytest.approx(3840.0))
    assert need.measured == HELD


def test_without_a_measurement_the_blueprint_is_taken_at_its_word_and_it_is_said() -> None:
    """1.75 requests of half a second after each pause of ten: 161 a second of 1,000 users, and an instance of 80 at once holds 160."""
    found = growth(1000, held=None)
    [need] = found.needs
    assert need.requests_per_s == pytest.approx(1000 * 1.75 / (10 + 0.875))
    assert (need.instances, need.measured) == (2, None)
    assert "what web really holds: `tenfold measure` finds it out" in found.unknown


def test_what_gives_out_first_comes_first() -> None:
    """The cores of the machine last for 3,000 users, the allowed instances for 3,840, the connections for more."""
    found = growth(3200)
    assert [limit.users for limit in found.limits] == sorted(limit.users for limit in found.limits)
    assert found.limits[0].users == pytest.approx(3000)
    assert "4 cores" in found.limits[0].what
    assert found.breaks == found.limits[:1]
    assert "raise services.web.scaling.instances.max" in found.limits[1].what


def test_a_database_with_few_connections_gives_out_first() -> None:
    """Seven instances with eight connections each are more than forty, whatever else there is room for."""
    found = growth(3200, connections_max=40)
    assert "40 connections" in found.limits[0].what
    assert found.limits[0].users == pytest.approx(3200 * 40 / 56)


def test_users_are_spread_as_the_regions_have_room() -> None:
    """Three quarters of the users where three quarters of the capacity are, and evenly where none is named."""
    named = replace(MODEL, regions={"a": Region("a", capacity_users=3000), "b": Region("b", capacity_users=1000)})
    assert [need.users for need in growth(1200, named).needs] == [900, 300]
    plain = replace(MODEL, regions={"a": Region("a", capacity_users=3000), "b": Region("b")})
    assert [need.users for need in growth(1200, plain).needs] == [600, 600]


def test_what_is_not_known_is_said() -> None:
    """No figure is made up for a budget or for a database of one's own."""
    paid = replace(MODEL, budget=Budget(Money(Decimal(300), "USD")))
    said = growth(100, paid, connections_max=None).unknown
    assert any("budget" in what for what in said)
    assert any("database connections" in what for what in said)


@given(
    users=st.integers(1, 1_000_000),
    more=st.integers(0, 1_000_000),
    each=st.floats(0.5, 5000),
    of_users=st.floats(1, 50_000),
    is_measured=st.booleans(),
)
def test_more_users_never_need_less(users: int, more: int, each: float, of_users: float, is_measured: bool) -> None:
    """Instances and requests grow with the users, never fall below the blueprint's least, and what gives out does so where it did."""
    held = replace(HELD, requests_per_s=each, users=of_users) if is_measured else None
    few, many = growth(users, held=held), growth(users + more, held=held)
    assert 2 <= few.needs[0].instances <= many.needs[0].instances
    assert few.needs[0].requests_per_s <= many.needs[0].requests_per_s * (1 + 1e-9)
    assert few.needs[0].users_max == pytest.approx(many.needs[0].users_max, rel=1e-6)
