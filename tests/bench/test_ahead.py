"""What forecasts are worth, told of any load."""

import math

from bench.ahead import over_naive


def test_a_load_that_repeats_itself_exactly_is_told_too() -> None:
    """Where the seasonal-naive forecast is never wrong, one that is not either is as good, and any other infinitely worse."""
    assert over_naive(1.0, 2.0) == 0.5
    assert over_naive(0.0, 0.0) == 1.0
    assert over_naive(0.1, 0.0) == math.inf
