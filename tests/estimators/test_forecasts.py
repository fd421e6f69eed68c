"""What is forecast of a project: which series, what requests and starts take, and for how long it is told."""

from dataclasses import replace

import pytest

from tenfold.estimators.forecast import Forecaster, Forecasts, series_of
from tenfold.facts import ForecastSeen, WorkSeen
from tenfold.model import Forecast, Model, Region, Scaling, Service, Trigger

FIRST = 20_000 * 1440
CPU = Trigger("cpu", 0.8, 0.4)
USERS = Trigger("concurrent_users", 400, 200)
RATE = "web@local.requests_per_s"


def service(name: str = "web", *triggers: Trigger, asked: bool = True, **changes: object) -> Service:
    """A service that asks for a forecast, or not."""
    made = Service(name, "serve", scaling=Scaling(1, 9, triggers or (CPU,), Forecast() if asked else None))
    return replace(made, **changes)  # type: ignore[arg-type]


def project(*services: Service, regions: tuple[str, ...] = ("local",)) -> Model:
    """These services in these regions."""
    return Model("shop", {s.name: s for s in services}, {name: Region(name) for name in regions})


def work(forecasts: Forecasts, now: float = FIRST * 60.0 + 600) -> WorkSeen | None:
    """What is told of web's work."""
    return next((fact for fact in forecasts.facts(now) if isinstance(fact, WorkSeen)), None)


# --- which series -----------------------------------------------------------------------------------------------------


def test_traffic_and_what_the_app_posts_are_followed_in_each_region() -> None:
    """Requests of what listens, and each metric that a trigger reads."""
    assert series_of(project(service("web", CPU, USERS), regions=("eu", "us"))) == (
        "web@eu.requests_per_s",
        "web@eu:concurrent_users",
        "web@us.requests_per_s",
        "web@us:concurrent_users",
    )
    assert series_of(project(service("worker", USERS, http=False))) == ("worker@local:concurrent_users",)
    assert series_of(project(service("worker", CPU, http=False))) == ()


def test_what_asks_for_no_forecast_has_none() -> None:
    """Nor has a job with a schedule; but what the work of a service takes is told all the same."""
    model = project(service("web", asked=False), service("nightly", schedule="0 3 * * *"))
    assert series_of(model) == ()
    forecasts = Forecasts(model)
    for i in range(20):
        forecasts.observe(FIRST + i, {RATE: 10.0, "web@local.in_flight": 1.0, "nightly@local.requests_per_s": 1.0})
    [fact] = forecasts.facts((FIRST + 20) * 60.0)
    assert isinstance(fact, WorkSeen) and fact.key == "web@local"


def test_it_takes_only_what_it_is_made_of() -> None:
    """The journal is asked for these series and no others."""
    assert Forecasts(project(service("web", USERS))).takes == (
        RATE,
        "web@local:concurrent_users",
        "web@local.in_flight",
        "web@local.cpu_cores_each",
        "web@local.instances",
        "web@local.start_s",
    )


# --- what requests and starts take ------------------------------------------------------------------------------------


def test_what_a_request_takes() -> None:
    """At hand over requests/s (Little's law), and cores over requests/s, weighed by requests."""
    forecasts = Forecasts(project(service()))
    assert work(forecasts) is None
    for i, (rate, busy, each) in enumerate([(10.0, 2.0, 0.5), (30.0, 4.0, 1.0)]):
        values = {RATE: rate, "web@local.in_flight": busy, "web@local.cpu_cores_each": each, "web@local.instances": 2.0}
        forecasts.observe(FIRST + i, values)
    assert work(forecasts) == WorkSeen("web", "local", (FIRST + 2) * 60.0, busy_s=6 / 40, cpu_s=3 / 40)


def test_minutes_with_hardly_a_request_tell_nothing() -> None:
    """The processor time of idling is not that of requests; nor is a figure counted that is missing."""
    forecasts = Forecasts(project(service()))
    idle = {RATE: 0.05, "web@local.in_flight": 0.0, "web@local.cpu_cores_each": 0.3, "web@local.instances": 2.0}
    forecasts.observe(FIRST, idle)
    assert work(forecasts) is None
    forecasts.observe(FIRST + 1, {RATE: 10.0, "web@local.in_flight": 1.0})
    forecasts.observe(FIRST + 2, idle)
    assert work(forecasts) == WorkSeen("web", "local", (FIRST + 2) * 60.0, busy_s=0.1, cpu_s=None)


def test_what_a_request_takes_is_that_of_the_last_hour() -> None:
    """After a release that is twice as slow the old one is forgotten in an hour."""
    forecasts = Forecasts(project(service()))
    for i in range(120):
        forecasts.observe(FIRST + i, {RATE: 10.0, "web@local.in_flight": 1.0 if i < 60 else 2.0})
    fact = work(forecasts)
    assert fact is not None and fact.busy_s == 0.2


def test_a_queue_is_not_what_requests_take() -> None:
    """Of an hour in which requests waited for three minutes, a hundred times as long as they take, little of the waiting counts."""
    forecasts = Forecasts(project(service()))
    for i in range(60):
        forecasts.observe(FIRST + i, {RATE: 10.0, "web@local.in_flight": 100.0 if 40 <= i < 43 else 1.0})
    fact = work(forecasts)
    assert fact is not None and fact.busy_s == pytest.approx(0.1 * (57 + 3 * 3) / 60)


def test_a_start_takes_what_95_of_100_took() -> None:
    """One slow start in fifty is not what is reckoned with, three are; without any it is not known."""
    forecasts = Forecasts(project(service()))
    for i in range(47):
        forecasts.observe(FIRST + i, {"web@local.start_s": 10.0})
    forecasts.observe(FIRST + 47, {"web@local.start_s": 90.0})
    fact = work(forecasts)
    assert fact is not None and (fact.start_s, fact.busy_s) == (10.0, None)
    for i in range(3):
        forecasts.observe(FIRST + 48 + i, {"web@local.start_s": 90.0})
    fact = work(forecasts)
    assert fact is not None and fact.start_s == 90.0


# --- for how long it is told ------------------------------------------------------------------------------------------


def test_forecasts_age_out_and_starts_do_not() -> None:
    """Ten minutes after the last minute that was seen nothing is expected any more; what a start takes stays true."""
    forecasts = Forecasts(project(service()))
    for i in range(20):
        forecasts.observe(FIRST + i, {RATE: 10.0, "web@local.start_s": 7.0})
    ended = (FIRST + 20) * 60.0
    assert [type(fact) for fact in forecasts.facts(ended + 600)] == [ForecastSeen, WorkSeen]
    [fact] = forecasts.facts(ended + 601)
    assert isinstance(fact, WorkSeen) and fact.start_s == 7.0


def test_a_series_that_stops_is_not_made_up() -> None:
    """Its last forecast stays, dated as it was, while the others go on."""
    forecasts = Forecasts(project(service("web"), service("api")))
    for i in range(30):
        forecasts.observe(FIRST + i, {RATE: 10.0, **({"api@local.requests_per_s": 5.0} if i < 15 else {})})
    seen = {fact.key: fact.seen_at for fact in forecasts.facts((FIRST + 20) * 60.0) if isinstance(fact, ForecastSeen)}
    assert seen == {RATE: (FIRST + 30) * 60.0, "api@local.requests_per_s": (FIRST + 15) * 60.0}


def test_what_was_before_is_taken_up() -> None:
    """Loaded minutes count as if they had been observed: at once there is a forecast, and the work is known."""
    history = [
        (FIRST + i, {RATE: 10.0 + i % 7, "web@local.in_flight": 1.0, "web@local.start_s": 9.0}) for i in range(500)
    ]
    loaded, observed = Forecasts(project(service())), Forecasts(project(service()))
    loaded.load(history[:-1])
    assert [type(fact) for fact in loaded.facts((FIRST + 500) * 60.0)] == [WorkSeen]
    loaded.observe(*history[-1])
    for minute, values in history:
        observed.observe(minute, values)
    now = (FIRST + 500) * 60.0
    assert work(loaded, now) == work(observed, now)
    [forecast, _] = loaded.facts(now)
    alone = Forecaster(RATE)
    alone.load([(minute, values[RATE]) for minute, values in history[:-1]])
    alone.observe(history[-1][0], history[-1][1][RATE])
    assert forecast == alone.fact


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_figures_that_are_none_do_no_harm(value: float) -> None:
    """A metric that an app posts may be anything: what a request takes stays a number, and so does the forecast."""
    forecasts = Forecasts(project(service("web", USERS)))
    for i in range(30):
        odd = value if i % 10 == 5 else 10.0
        forecasts.observe(FIRST + i, {RATE: 10.0, "web@local:concurrent_users": odd, "web@local.in_flight": 1.0})
    facts = forecasts.facts((FIRST + 30) * 60.0)
    assert len(facts) == 3
    assert all(q >= 0 and q < 1000 for fact in facts if isinstance(fact, ForecastSeen) for q in fact.quantiles[1])
