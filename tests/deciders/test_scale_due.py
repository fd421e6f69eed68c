"""When a forecast wakes a pool that sleeps: horizons are minutes apart, as real ones are."""

import pytest

from tenfold.deciders.memory import PoolScale
from tenfold.deciders.scale import zero
from tenfold.deciders.scale.floors import Least
from tenfold.facts import ForecastSeen, Snapshot, WorkSeen
from tenfold.model import Forecast, Scaling, Service

NOW = 1_750_000_000.0
SERVICE = Service("web", "serve {port}", paths=("/",), scaling=Scaling(0, 4, forecast=Forecast(600.0, 0.95)))
HORIZONS_S = (60.0, 180.0, 360.0, 600.0)


@pytest.mark.parametrize(
    ("bound", "start_s", "is_woken"),
    [
        ((0.0, 10.0, 10.0, 10.0), 30.0, True),
        ((0.0, 0.0, 10.0, 10.0), 30.0, False),
        ((0.0, 0.0, 10.0, 10.0), 200.0, True),
        ((10.0, 0.0, 0.0, 0.0), 30.0, True),
        ((0.0, 0.0, 0.0, 0.0), 200.0, False),
    ],
)
def test_what_is_due_between_two_horizons_wakes_it(bound: tuple[float, ...], start_s: float, is_woken: bool) -> None:
    """It is woken for what comes within a start and a minute, though no horizon of the forecast may lie just there."""
    seen = ForecastSeen(
        series="web@local.requests_per_s",
        seen_at=NOW,
        value=0.0,
        horizons_s=HORIZONS_S,
        levels=(0.5, 0.95),
        quantiles=((0.0,) * len(HORIZONS_S), bound),
    )
    work = WorkSeen("web", "local", NOW, start_s=start_s)
    snapshot = Snapshot(NOW, forecasts={seen.key: seen}, works={work.key: work})
    pool, _ = zero.wake(SERVICE, "local", snapshot, PoolScale(0, "asleep", NOW - 600.0), Least(0))
    assert pool.wanted == (1 if is_woken else 0)
