"""Figures as people read them: never better than they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.proof.words import many, ms, percent, percent_at_least, percent_at_most, rate, seconds


@given(share=st.floats(0, 1))
def test_a_share_is_never_rounded_to_the_better_side(share: float) -> None:
    """What succeeded is rounded down and what failed is rounded up, by little."""
    low, high = (float(text.rstrip("%")) / 100 for text in (percent_at_least(share), percent_at_most(share)))
    assert share - 0.011 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= share * 1.11 + 1e-9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (percent_at_least(0.99985), "99.985%"),
        (percent_at_least(1.0), "100%"),
        (percent_at_least(0.99991999), "99.9919%"),
        (percent_at_least(0.5), "50%"),
        (percent_at_most(0.0), "0%"),
        (percent_at_most(0.000428), "0.043%"),
        (percent_at_most(1.0), "100%"),
        (percent(0.999), "99.9%"),
        (percent(0.9999), "99.99%"),
        (ms(0.124), "0.12 ms"),
        (ms(7.25), "7.2 ms"),
        (ms(312.4), "312 ms"),
        (ms(1530.0), "1.53 s"),
        (seconds(0.31), "0.31 s"),
        (seconds(2.0), "2 s"),
        (seconds(8.46), "8.5 s"),
        (seconds(60.0), "60 s"),
        (seconds(342.0), "5 min 42 s"),
        (seconds(3600.0 * 5), "5.0 h"),
        (seconds(86400.0 * 30), "30 days"),
        (rate(0.42), "0.42/s"),
        (rate(52.34), "52.3/s"),
        (rate(1000.0), "1,000/s"),
        (many(1, "user"), "1 user"),
        (many(12_000, "user"), "12,000 users"),
    ],
)
def test_figures_are_written_as_people_say_them(text: str, said: str) -> None:
    """Few digits, a unit, and commas between thousands."""
    assert text == said
