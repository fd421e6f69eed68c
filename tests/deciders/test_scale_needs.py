"""More load never needs fewer instances, however wild it is."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tenfold.deciders.scale.ahead import outlook
from tenfold.deciders.scale.needs import TRIED_LEVELS
from tenfold.facts import ForecastSeen, Snapshot, WorkSeen
from tenfold.model import Forecast, Scaling, Service, Trigger

LEVELS = (0.05, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998)
HORIZONS_S = (60.0, 180.0, 360.0, 600.0, 1200.0, 2400.0, 3600.0)
AT = 1_740_000_000.0
TRIGGER = Trigger("concurrency", 10, 5, 60)
WILD = st.lists(
    st.lists(st.floats(0, 3), min_size=len(LEVELS), max_size=len(LEVELS)),
    min_size=len(HORIZONS_S),
    max_size=len(HORIZONS_S),
)
"""By horizon, how much higher each quantile is than the one below."""


def needs(rows: list[list[float]], times: float, usual: float, horizon_s: float, confidence: float) -> tuple[int, ...]:
    """What is due, enough, fewest and kept (of a thousand) for a forecast whose quantiles are `times` the running sums of `rows`, 100
    requests/s for each."""
    sums = [[times * 100 * sum(row[: i + 1]) for i in range(len(row))] for row in rows]
    seen = ForecastSeen(
        "web@local.requests_per_s", AT, 1.0, HORIZONS_S, LEVELS, tuple(zip(*sums, strict=True)), usual=usual
    )
    service = Service("web", "serve", scaling=Scaling(1, 1000, (TRIGGER,), Forecast(horizon_s, confidence)))
    shot = Snapshot(
        AT, forecasts={seen.key: seen}, works={"web@local": WorkSeen("web", "local", AT, busy_s=0.1, start_s=55.0)}
    )
    found = outlook(service, "local", shot, (TRIGGER,), None, 1000, 1)
    assert found is not None
    return found.due, found.enough, found.fewest, found.kept


@given(
    WILD,
    st.floats(1, 50),
    st.floats(0, 1000),
    st.sampled_from((60.0, 600.0, 1800.0)),
    st.sampled_from((0.5, 0.9, 0.95, 0.999)),
)
def test_more_of_the_same_load_never_needs_fewer(
    rows: list[list[float]], times: float, usual: float, horizon_s: float, confidence: float
) -> None:
    """A load that is so many times as large, in all its quantiles, needs as many instances at least, whatever is usual."""
    few, many = needs(rows, 1.0, usual, horizon_s, confidence), needs(rows, times, usual, horizon_s, confidence)
    assert all(one <= other for one, other in zip(few, many, strict=True)), (few, many)


@given(WILD, st.floats(0, 1000), st.sampled_from((60.0, 600.0)))
def test_surer_never_needs_fewer(rows: list[list[float]], usual: float, horizon_s: float) -> None:
    """A higher confidence in the blueprint asks for as many instances at least."""
    found = [needs(rows, 1.0, usual, horizon_s, confidence) for confidence in (0.5, 0.8, 0.95, 0.99, 0.999)]
    for less, more in pairwise(found):
        assert all(one <= other for one, other in zip(less, more, strict=True)), found


def test_the_levels_that_are_tried_rise() -> None:
    """From what holds four of five minutes to the highest that a forecast tells."""
    assert list(TRIED_LEVELS) == sorted(set(TRIED_LEVELS))
    assert TRIED_LEVELS[-1] == LEVELS[-1]
