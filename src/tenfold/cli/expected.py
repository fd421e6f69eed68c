"""What the forecast expects of each pool, in a line. Stage: journal -> a person."""

from collections.abc import Iterator, Mapping

from tenfold.cli.feed import clock_time
from tenfold.deciders.memory import PoolScale
from tenfold.deciders.scale.ahead import FORECAST_AGE_S_MAX
from tenfold.deciders.scale.pool import STAYS_S
from tenfold.deciders.scale.triggers import duration
from tenfold.facts import ForecastSeen, Snapshot
from tenfold.model import Forecast, Model, Service

TRAFFIC = "requests_per_s"


def expectations(
    model: Model, services: Mapping[str, Service], snapshot: Snapshot, pools: Mapping[str, PoolScale]
) -> Iterator[str]:
    """A line for each pool that is scaled by a forecast, and each series of it; and one while what was added to it stays at any rate."""
    for service in services.values():
        asked = service.scaling.forecast
        for region in model.regions if asked is not None and service.runs_always else ():
            key = f"{service.name}@{region}"
            seen = [
                each for each in snapshot.forecasts.values() if each.series[: len(key) + 1] in (f"{key}.", f"{key}:")
            ]
            for each in seen:
                assert asked is not None, "without a forecast there is no region to tell of"
                yield f"{key}: {_expected(each, each.series[len(key) + 1 :], asked, snapshot.taken_at - each.seen_at)}"
            if not seen:
                yield f"{key}: nothing is forecast yet: that takes ten minutes of load"
            added_at = pool.raised_at if (pool := pools.get(key)) is not None else None
            if added_at is not None and 0 <= snapshot.taken_at - added_at < STAYS_S:
                yield f"{key}: what was added at {clock_time(added_at)} stays until {clock_time(added_at + STAYS_S)}, needed or not"


def _expected(seen: ForecastSeen, figure: str, asked: Forecast, age_s: float) -> str:
    """By the horizon that is nearest to the one asked for, and the first level that is as sure."""
    if not -FORECAST_AGE_S_MAX <= age_s <= FORECAST_AGE_S_MAX:
        return f"the forecast is {duration(abs(age_s))} old and counts no more: only what is seen does"
    at = min(range(len(seen.horizons_s)), key=lambda i: abs(seen.horizons_s[i] - asked.horizon_s))
    sure = next((i for i, level in enumerate(seen.levels) if level >= asked.confidence_ratio), len(seen.levels) - 1)
    middle, bound = seen.quantiles[seen.levels.index(0.5)][at], seen.quantiles[sure][at]
    unit = "requests/s" if figure == TRAFFIC else figure
    return (
        f"{middle:.3g} {unit} expected in {duration(seen.horizons_s[at])} (now {seen.value:.3g}), up to {bound:.3g} with "
        f"{100 * seen.levels[sure]:.3g}% confidence, by {seen.basis}"
    )
