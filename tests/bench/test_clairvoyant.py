"""The cheapest course of one who knows all: against every course there is, where there are few."""

from itertools import pairwise, product

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.clairvoyant import course


@settings(max_examples=60)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.floats(0, 8))
def test_no_course_is_cheaper(needed: list[int], price: float) -> None:
    """Of all courses that are never short none costs less, and what its actions cost is counted right."""
    paid, actions = course(needed, price)
    others = (
        sum(each) + price * sum(one != other for one, other in pairwise(each))
        for each in product(*(range(least, 5) for least in needed))
    )
    assert abs(paid + price * actions - min(others)) < 1e-6


def test_dear_actions_are_few() -> None:
    """Where an action costs nothing it follows the load, and where it costs all it stands still."""
    assert course([1, 3, 2, 5, 1], 0.0) == (12, 4)
    assert course([1, 3, 2, 5, 1], 1000.0) == (25, 0)
