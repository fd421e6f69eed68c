"""Flat or not: what the soak believes of a series."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.flat import is_flat, trend


def series(slope: float, noise: float, seed: int = 1, count: int = 60) -> list[tuple[float, float]]:
    random = Random(seed)
    return [(float(i), 100.0 + slope * i + random.gauss(0, noise)) for i in range(count)]


def test_a_leak_is_found_under_noise() -> None:
    """A series that grows by half in the time is not flat, noise or not."""
    found = trend(series(slope=50 / 59, noise=8.0))
    assert found is not None
    assert found.growth == pytest.approx(50, rel=0.2)
    assert not is_flat(found, allowed=10.0)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_leak(seed: int) -> None:
    """Noise alone is flat, however large it is."""
    found = trend(series(slope=0.0, noise=30.0, seed=seed))
    assert found is not None
    assert is_flat(found, allowed=10.0)


def test_outliers_bend_nothing() -> None:
    """A third of the points far off does not make a flat series grow."""
    points = [(x, y + (1000.0 if i % 4 == 3 else 0.0)) for i, (x, y) in enumerate(series(0.0, 1.0))]
    found = trend(points)
    assert found is not None
    assert is_flat(found, allowed=5.0)


def test_a_step_in_the_middle_is_growth() -> None:
    """What jumps once and stays there has grown."""
    found = trend([(float(i), 100.0 if i < 30 else 160.0) for i in range(60)])
    assert found is not None
    assert not is_flat(found, allowed=10.0)


def test_few_points_tell_nothing() -> None:
    """With five points nothing is said."""
    assert trend(series(1.0, 0.0, count=5)) is None


@given(slope=st.floats(-100, 100), start=st.floats(-1e6, 1e6), count=st.integers(6, 900))
def test_a_straight_line_is_told_exactly(slope: float, start: float, count: int) -> None:
    """Without noise the growth is that of the line, and what falls is flat."""
    found = trend([(float(i), start + slope * i) for i in range(count)])
    assert found is not None
    # Of many points some at the end may be left out.
    assert found.growth == pytest.approx(slope * (count - 1), rel=0.02, abs=1e-3)
    assert slope > 0 or is_flat(found, 0.001)
