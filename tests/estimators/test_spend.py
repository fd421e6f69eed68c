"""What the instances cost, by the hour and by the month."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from tenfold.estimators.spend import Spend, cost_per_hour, prices_text
from tenfold.facts import InstanceSeen, InstanceState, Snapshot, SpendSeen
from tenfold.model import Budget, InstanceSize, Model, Money, Prices, Region, Release, Service, month_of

GIB = 1024**3
WEB = Service("web", "serve", instance=InstanceSize(2.0, 4 * GIB))
PRICES = Prices(Money(Decimal("0.04"), "EUR"), Money(Decimal("0.005"), "EUR"))
MODEL = Model("shop", {"web": WEB}, {"local": Region("local")}, budget=Budget(Money(Decimal(300), "EUR"), 0.8, PRICES))
DECEMBER = 1_764_547_200.0
"""2025-12-01 00:00 UTC."""
START = DECEMBER - 1800.0


def seen(now: float, count: int, state: InstanceState = InstanceState.READY, age_s: float = 0.0) -> Snapshot:
    """So many instances of `web` at `now`, looked at `age_s` ago."""
    instances = {f"web-{i}": InstanceSeen(f"web-{i}", "web", "local", "r1", state, now, now, now) for i in range(count)}
    return Snapshot(now, observed={"process": now - age_s}, instances=instances)


def last(spend: Spend, start: float, seconds: int, count: int) -> SpendSeen:
    """Look each second."""
    for second in range(seconds + 1):
        found = spend.look(seen(start + second, count))
    assert found is not None
    return found


def test_an_instance() -> None:
    """2 cores at 0.04 and 4 GiB at 0.005 are 0.10 an hour; what has ended costs nothing."""
    assert PRICES.per_hour(2.0, 4 * GIB) == Decimal("0.1")
    assert cost_per_hour(MODEL, seen(START, 3)) == pytest.approx(0.3)
    assert cost_per_hour(MODEL, seen(START, 3, InstanceState.EXITED)) == 0


def test_a_release_is_charged_as_it_was_made() -> None:
    """An instance costs what its own release asked for, whatever the blueprint says now."""
    small = replace(WEB, instance=InstanceSize(1.0, 2 * GIB))
    model = replace(MODEL, releases={"r1": Release("r1", {"web": small}, "digest", START)})
    assert cost_per_hour(model, seen(START, 2)) == pytest.approx(0.1)


def test_a_month() -> None:
    """Ten minutes of three instances are 0.05, and the month goes on like that to its end."""
    fact = last(Spend(MODEL), DECEMBER, 600, 3)
    assert fact.month_so_far == pytest.approx(0.05, rel=1e-3)
    assert fact.month_forecast == pytest.approx(0.3 * 31 * 24, rel=1e-3)
    assert (fact.currency, fact.seen_s, fact.since) == ("EUR", 600, DECEMBER)
    assert month_of(DECEMBER + 1) == (DECEMBER, DECEMBER + 31 * 86_400)


def test_a_new_month_begins_at_nothing() -> None:
    """At midnight of the first (UTC) all begins anew."""
    spend = Spend(MODEL)
    last(spend, START, 1800 - 1, 3)
    fact = last(spend, DECEMBER, 60, 3)
    assert fact.month_so_far == pytest.approx(0.3 / 60, rel=0.05)
    assert fact.since == DECEMBER


def test_a_restart_forgets_nothing() -> None:
    """The next life goes on from the last fact; one in another currency is not converted, it counts for nothing."""
    first = last(Spend(MODEL), DECEMBER, 600, 3)
    again = last(Spend(MODEL, first), DECEMBER + 700, 600, 3)
    assert again.month_so_far == pytest.approx(0.1, rel=1e-3)
    assert again.seen_s == 1200
    anew = last(Spend(MODEL, replace(first, currency="USD")), DECEMBER + 700, 600, 3)
    assert anew.month_so_far == pytest.approx(0.05, rel=1e-3)


def test_what_nobody_saw_costs_nothing() -> None:
    """Neither a gap between two looks, nor old facts, nor a clock that jumps add to the month."""
    spend = Spend(MODEL)
    before = last(spend, DECEMBER, 60, 3)
    spend.look(seen(DECEMBER + 4000, 3))
    spend.look(seen(DECEMBER + 4001, 3, age_s=60.0))
    spend.look(seen(DECEMBER + 100, 3))
    after = last(spend, DECEMBER + 101, 59, 3)
    assert after.seen_s == pytest.approx(before.seen_s + 60, abs=1)


def test_it_changes_once_a_minute() -> None:
    """A fact that changed each second would fill the journal; what runs now is told at once."""
    spend, told = Spend(MODEL), set()
    for second in range(180):
        told.add(spend.look(seen(DECEMBER + second, 3)))
    assert len(told) == 3
    changed = spend.look(seen(DECEMBER + 180, 4))
    assert changed is not None and changed.per_hour == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("as_of", "today", "said"),
    [
        ("2026-06-17", date(2026, 11, 29), "prices of 2026-06-17, 165 days old"),
        ("2026-06-17", date(2026, 6, 18), "prices of 2026-06-17, 1 day old"),
        ("2026-06-17", date(2026, 6, 17), "prices of 2026-06-17, of today"),
        ("2026-06-17", date(2027, 6, 17), "365 days old: write what you pay now in budget.prices"),
        ("2026-06-17", date(2026, 1, 1), "still to come: is this machine's clock right?"),
        ("some day", date(2026, 1, 1), "prices of some day"),
    ],
)
def test_prices_tell_their_age(as_of: str, today: date, said: str) -> None:
    """List prices grow old; nobody should take them for today's."""
    assert said in prices_text(as_of, today)
    assert prices_text("", today) == "", "the blueprint's own have no date"
