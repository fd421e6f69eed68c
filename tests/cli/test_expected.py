"""What `tenfold status` says is expected of a pool."""

from dataclasses import replace

import pytest

from tenfold.cli.expected import expectations
from tenfold.cli.feed import clock_time
from tenfold.deciders.memory import PoolScale
from tenfold.facts import ForecastSeen, Snapshot
from tenfold.model import Forecast, Model, Region, Scaling, Service, Trigger

NOW = 1_750_000_000.0
SCALING = Scaling(1, 8, (Trigger("queue", 100, 50, 60),), forecast=Forecast(horizon_s=500.0, confidence_ratio=0.93))
MODEL = Model("shop", {"web": Service("web", "serve {port}", scaling=SCALING)}, {"local": Region("local")})
SEEN = ForecastSeen(
    series="web@local.requests_per_s",
    seen_at=NOW - 20,
    value=5.6,
    usual=9.0,
    horizons_s=(60.0, 600.0, 3600.0),
    levels=(0.5, 0.9, 0.95),
    quantiles=((6.0, 38.2, 7.0), (7.0, 44.0, 8.0), (8.0, 46.1, 9.0)),
    basis="the last two hours and this time of day on 9 days",
)
QUEUE = replace(SEEN, series="web@local:queue")
OTHER = replace(SEEN, series="web@localhost.requests_per_s")
EXPECTED = (
    "expected in 10 min (now 5.6), up to 46.1 with 95% confidence, by the last two hours and this time of day on 9 days"
)


@pytest.mark.parametrize(
    ("forecasts", "lines"),
    [
        ((), ["web@local: nothing is forecast yet: that takes ten minutes of load"]),
        ((SEEN, OTHER), [f"web@local: 38.2 requests/s {EXPECTED}"]),
        ((SEEN, QUEUE), [f"web@local: 38.2 requests/s {EXPECTED}", f"web@local: 38.2 queue {EXPECTED}"]),
        (
            (replace(SEEN, seen_at=NOW - 300),),
            ["web@local: the forecast is 5 min old and counts no more: only what is seen does"],
        ),
    ],
    ids=["none yet", "traffic", "a metric too", "an old one"],
)
def test_each_series_that_is_forecast_has_a_line(forecasts: tuple[ForecastSeen, ...], lines: list[str]) -> None:
    """It says what is expected at about the horizon asked for, how sure that is and by what; or why there is nothing."""
    snapshot = Snapshot(NOW, forecasts={each.series: each for each in forecasts})
    assert list(expectations(MODEL, MODEL.services, snapshot, {})) == lines


def test_a_pool_without_a_forecast_has_none() -> None:
    """Nobody asked what is to come."""
    plain = Service("web", "serve {port}", scaling=replace(SCALING, forecast=None))
    assert not list(expectations(MODEL, {"web": plain}, Snapshot(NOW, forecasts={SEEN.series: SEEN}), {}))


def test_what_was_added_is_said_to_stay() -> None:
    """An idle pool that keeps what was added says until when, and no longer than that."""
    pools = {"web@local": PoolScale(3, "asked for", NOW, raised_at=NOW)}
    snapshot = Snapshot(NOW + 600, forecasts={SEEN.series: replace(SEEN, seen_at=NOW + 590)})
    *_, last = expectations(MODEL, MODEL.services, snapshot, pools)
    assert last == f"web@local: what was added at {clock_time(NOW)} stays until {clock_time(NOW + 660)}, needed or not"
    late = replace(snapshot, taken_at=NOW + 660)
    assert len(list(expectations(MODEL, MODEL.services, late, pools))) == 1
