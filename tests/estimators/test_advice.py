"""What could cost less: each advice on minutes made for it, with the saving reckoned by hand, and nothing on what was not seen."""

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.estimators.advice import Advice, advise_spend
from tenfold.facts import Window
from tenfold.model import (
    Budget,
    Floor,
    InstanceSize,
    LatencyTargets,
    Model,
    Money,
    Prices,
    Region,
    Scaling,
    Service,
    Targets,
    Trigger,
)

GIB = 1024**3
PRICES = Prices(Money(Decimal("0.05"), "EUR"), Money(Decimal("0.01"), "EUR"))
"""An instance of a core and 5 GiB costs 0.10 an hour, 73 a month."""
WEB = Service(
    "web",
    "serve {port}",
    paths=("/",),
    instance=InstanceSize(1.0, 5 * GIB, 80),
    scaling=Scaling(3, 8, (Trigger("concurrency", 60, 30), Trigger("cpu", 0.8, 0.4))),
)
MODEL = Model("shop", {"web": WEB}, {"local": Region("local")}, budget=Budget(Money(Decimal(300), "EUR"), 0.8, PRICES))
MONDAY = 1_764_547_200.0
"""2025-12-01 00:00 UTC, a Monday."""
DAY = 1440


def history(days: float, needed: Callable[[int, int], float] = lambda day, hour: 1.0, **figures: float) -> Window:
    """So many days of a pool of three or more instances, that needs `needed` of them at an hour of a day; other figures as given."""
    count = round(days * DAY)
    wanted = [needed(minute // DAY, minute % DAY // 60) for minute in range(count)]
    instances = [max(3.0, math.ceil(each)) for each in wanted]
    series: dict[str, tuple[float | None, ...]] = {
        "web@local.instances": tuple(instances),
        "web@local.in_flight_max": tuple(60.0 * each for each in wanted),
        "web@local.cpu_cores_each": tuple(min(1.0, 0.8 * w / i) for w, i in zip(wanted, instances, strict=True)),
        "web@local.requests_per_s": tuple(10.0 * each for each in wanted),
        "web@local.memory_bytes_each": (4.0 * GIB,) * count,
    }
    return Window(MONDAY, 60.0, series | {f"web@local.{name}": (value,) * count for name, value in figures.items()})


def advised(window: Window, model: Model = MODEL) -> tuple[Advice, ...]:
    """What is advised."""
    return advise_spend(model, window, {}, {"web@local": 42.0})


def only(found: tuple[Advice, ...], word: str) -> Advice:
    """The one advice whose change holds the word."""
    [one] = [each for each in found if word in each.what]
    return one


def test_a_minimum_that_was_never_needed() -> None:
    """One of three was enough for two days: two fewer save 146 a month, and a surge finds one."""
    found = only(advised(history(2)), "instances.min 1")
    assert found.what.startswith("web@local never needed more than 1 of its at least 3 instances in 2.0 days")
    assert (found.saves_monthly, found.currency) == (pytest.approx(146), "EUR")
    assert "a surge finds 1 instead of 3" in found.risk and "146.00 EUR" in found.text


def test_who_promises_much_keeps_two() -> None:
    """Where the loss of one instance must not be an outage, one is not advised."""
    model = replace(MODEL, targets=Targets(availability_ratio=0.999))
    assert only(advised(history(2), model), "instances.min").what.endswith("instances.min 2")


def test_a_minimum_that_is_needed_at_some_hours() -> None:
    """Three from 8 to 18 on weekdays and one otherwise: a floor for these hours, in the words that the blueprint takes."""

    def office(day: int, hour: int) -> float:
        return 2.5 if day % 7 < 5 and 8 <= hour < 18 else 0.5

    found = only(advised(history(7, office)), "floors")
    assert 'instances.min 1 and floors ["weekdays 08:00-18:00 min 3"]' in found.what
    assert found.saves_monthly == pytest.approx(2 * 73 * (1 - 50 / 168))
    assert str(Floor((0, 1, 2, 3, 4), 480, 1080, 3)) in found.what


def test_hours_of_each_day_around_midnight() -> None:
    """Four days are too few to tell weekdays apart; the floor goes over midnight where the load does."""

    def night(day: int, hour: int) -> float:
        return 3.0 if hour >= 22 or hour < 2 else 0.5

    found = only(advised(history(4, night)), "floors")
    assert 'floors ["daily 22:00-02:00 min 3"]' in found.what
    assert found.saves_monthly == pytest.approx(2 * 73 * 20 / 24)


def test_hours_by_the_clock_of_the_service() -> None:
    """An hour of UTC is told as the clock of the service's zone shows it."""
    model = replace(MODEL, services={"web": replace(WEB, scaling=replace(WEB.scaling, zone="Asia/Tokyo"))})
    found = only(advised(history(4, lambda day, hour: 2.5 if hour == 3 else 0.5), model), "floors")
    assert 'floors ["daily 12:00-13:00 min 3"]' in found.what


def test_too_few_days_make_no_habit() -> None:
    """What happened at an hour of two days may be chance."""
    assert not [
        each for each in advised(history(2, lambda day, hour: 2.5 if hour == 9 else 0.5)) if "floors" in each.what
    ]


def test_an_instance_that_is_too_large() -> None:
    """0.15 of a core and 0.5 GiB used: half a core would do, and 768 MiB, each with what it saves."""
    found = advised(history(2, cpu_cores_each=0.24, memory_bytes_each=0.5 * GIB))
    assert only(found, "instance.cpu 0.5").saves_monthly == pytest.approx(3 * 0.025 * 730)
    assert only(found, "instance.memory 768MiB").saves_monthly == pytest.approx(3 * 0.01 * 4.25 * 730)


def test_an_idle_service_may_sleep() -> None:
    """Nobody asks from 20 to 8: after the quarter of an hour that it waits, all of the night is saved; the wait is told."""
    found = only(advised(history(3, lambda day, hour: 3.0 if 8 <= hour < 20 else 0.0)), "instances.min 0")
    # Two nights in one piece, an early morning and a late evening: four times a quarter of an hour is waited.
    assert found.saves_monthly == pytest.approx(3 * 73 * (36 * 60 - 4 * 15) / (72 * 60))
    assert "waits for a start, 42 s" in found.risk and found.what.startswith("nobody asked web@local for 49%")


def test_one_that_holds_sockets_is_not_idle() -> None:
    """People who wait for messages ask nothing, and are there."""
    found = advised(history(3, lambda day, hour: 3.0 if 8 <= hour < 20 else 0.0, sockets=5.0))
    assert not [each for each in found if "instances.min 0" in each.what]


def test_a_bound_that_adds_too_soon() -> None:
    """Answers take a tenth of their target while instances are added above 30 at once: with 60, half of those beyond the least go."""
    scaling = replace(WEB.scaling, triggers=(Trigger("concurrency", 30, 15), Trigger("cpu", 0.8, 0.4)))
    services, targets = {"web": replace(WEB, scaling=scaling)}, Targets(latency=LatencyTargets(p95_ms=500))
    window = history(2, lambda day, hour: 8.0, response_ms_p95=50.0, cpu_cores_each=0.4, in_flight_max=240.0)
    found = only(advised(window, replace(MODEL, services=services, targets=targets)), "up_above")
    assert found.what.endswith("triggers.concurrency.up_above 60")
    assert found.saves_monthly == pytest.approx(4 * 73)
    slow = replace(window, series={**window.series, "web@local.response_ms_p95": (400.0,) * (2 * DAY)})
    assert not [a for a in advised(slow, replace(MODEL, services=services, targets=targets)) if "up_above" in a.what]


def test_what_was_not_seen_advises_nothing() -> None:
    """Less than most of a day, a trigger without figures, a pool without minutes: nothing is said of them."""
    assert advised(history(0.8)) == ()
    blind = history(2)
    for missing in ("web@local.in_flight_max", "web@local.instances"):
        found = advised(replace(blind, series={k: v for k, v in blind.series.items() if k != missing}))
        assert not [each for each in found if "instances.min" in each.what]
    assert advised(Window(MONDAY, 60.0, {})) == ()


def test_a_trigger_of_the_apps_own_counts_too() -> None:
    """A queue that needed three instances keeps the minimum where it is."""
    scaling = replace(WEB.scaling, triggers=(*WEB.scaling.triggers, Trigger("queue_length", 100, 10)))
    model = replace(MODEL, services={"web": replace(WEB, scaling=scaling)})
    window = history(2)
    assert not [a for a in advised(window, model) if "instances.min" in a.what], "nobody knows the queue"
    queue = {"web@local:queue_length": (50.0,) * (2 * DAY - 1) + (290.0,)}
    assert not [a for a in advised(replace(window, series=window.series | queue), model) if "instances.min" in a.what]
    queue = {"web@local:queue_length": (50.0,) * (2 * DAY)}
    assert only(advised(replace(window, series=window.series | queue), model), "instances.min 1")


def test_what_was_measured_is_a_trigger_too() -> None:
    """Scaling adds instances at 80% of what one was measured to hold, whatever the blueprint's own triggers say: 20 of 10 need three."""
    window = history(2, requests_per_s=20.0)
    assert only(advise_spend(MODEL, window, {"web": 30.0}, {}), "instances.min 1")
    assert not [a for a in advise_spend(MODEL, window, {"web": 10.0}, {}) if "instances.min" in a.what]


MAYBE = st.none() | st.floats(0, 500, allow_subnormal=False)


@given(
    hours=st.lists(st.tuples(st.none() | st.integers(0, 8), MAYBE, MAYBE, MAYBE, MAYBE), min_size=24, max_size=24),
    start=st.integers(0, 10_000),
    least=st.integers(0, 8),
    days=st.integers(1, 7),
)
def test_nobody_saves_more_than_the_pool_costs(
    hours: list[tuple[float | None, ...]], start: int, least: int, days: int
) -> None:
    """Whatever the minutes hold, gaps included: a saving is above nothing, at most what the pool costs, and the dearest comes first."""
    names = ("instances", "in_flight_max", "cpu_cores_each", "requests_per_s", "memory_bytes_each")
    columns = zip(*(hour for _ in range(days) for hour in hours for _ in range(60)), strict=True)
    series = {f"web@local.{name}": tuple(values) for name, values in zip(names, columns, strict=True)}
    model = replace(MODEL, services={"web": replace(WEB, scaling=replace(WEB.scaling, instances_min=least))})
    found = advised(Window(MONDAY + 3600.0 * start, 60.0, series), model)
    counts = [value or 0.0 for value in series["web@local.instances"]]
    assert all(0 < each.saves_monthly <= max(counts) * 73 + 1e-6 for each in found)
    assert [each.saves_monthly for each in found] == sorted((each.saves_monthly for each in found), reverse=True)
