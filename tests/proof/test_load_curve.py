"""The rate curve and its arrivals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.proof.load import LoadError, RateCurve, Segment, Spacing
from tenfold.proof.load.curve import arrivals

segments = st.builds(
    Segment,
    duration_s=st.floats(0.01, 30),
    rate_rps=st.one_of(st.just(0.0), st.floats(0.01, 100)),
)
curves = st.lists(segments, min_size=1, max_size=8).map(lambda parts: RateCurve(tuple(parts)))


@given(curves)
def test_even_arrivals_are_the_integral_of_the_curve(curve: RateCurve) -> None:
    """Up to any segment's end there are as many even arrivals as the curve's area, give or take a half."""
    moments = list(arrivals(curve, Spacing.EVEN, seed=1))
    area = 0.0
    for end_s, segment in zip(curve.ends_s(), curve.segments, strict=True):
        area += segment.duration_s * segment.rate_rps
        # A moment that falls on the very end may be counted on either side of it, by the last bit of a float.
        assert sum(moment < end_s for moment in moments) == pytest.approx(area, abs=0.5 + 1e-6 * (1 + area))


@given(curves, st.integers(0, 2**32))
def test_poisson_arrivals_scatter_about_the_integral(curve: RateCurve, seed: int) -> None:
    """The number of random arrivals stays within what a Poisson process would do (eight deviations)."""
    count = sum(1 for _ in arrivals(curve, Spacing.POISSON, seed))
    assert abs(count - curve.expected) <= 8 * curve.expected**0.5 + 20


@given(curves, st.sampled_from(Spacing), st.integers(0, 100))
def test_arrivals_rise_and_keep_out_of_silence(curve: RateCurve, spacing: Spacing, seed: int) -> None:
    """Arrivals come in order, within the curve, and never where its rate is zero."""
    moments = list(arrivals(curve, spacing, seed))
    assert moments == sorted(moments)
    assert all(0 <= moment <= curve.duration_s + 1e-6 for moment in moments)
    start_s = 0.0
    for end_s, segment in zip(curve.ends_s(), curve.segments, strict=True):
        if segment.rate_rps == 0:
            assert not any(start_s + 1e-6 < moment < end_s - 1e-6 for moment in moments)
        start_s = end_s


def test_the_same_seed_gives_the_same_moments() -> None:
    """A run can be repeated from its seed, and another seed is another run."""
    curve = RateCurve.steps((10, 50))
    assert list(arrivals(curve, Spacing.POISSON, 7)) == list(arrivals(curve, Spacing.POISSON, 7))
    assert list(arrivals(curve, Spacing.POISSON, 7)) != list(arrivals(curve, Spacing.POISSON, 8))


@given(curves, st.floats(0.001, 300))
def test_a_limited_curve_is_its_beginning(curve: RateCurve, duration_s: float) -> None:
    """Limiting a curve cuts its end off and changes nothing before it."""
    limited = curve.limited(duration_s)
    assert limited.duration_s == pytest.approx(min(duration_s, curve.duration_s))
    assert limited.segments[:-1] == curve.segments[: len(limited.segments) - 1]
    assert limited.expected <= curve.expected + 1e-6


@pytest.mark.parametrize(
    "steps",
    [
        (),
        ((0, 5),),
        ((-1, 5),),
        ((float("inf"), 5),),
        ((float("nan"), 5),),
        ((1, -5),),
        ((1, float("nan")),),
        ((1, 1e300),),
    ],
)
def test_impossible_curves_are_refused(steps: tuple[tuple[float, float], ...]) -> None:
    """No duration, no number and an absurd rate are refused with a sentence, not tried."""
    with pytest.raises(LoadError, match="give"):
        RateCurve.steps(*steps)
