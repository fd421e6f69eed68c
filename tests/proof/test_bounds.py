"""The bounds on shares of failures, against sums that are exact and figures that others have published."""

from fractions import Fraction
from math import comb, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.proof.bounds import at_most, failing_at_most, is_broken, requests_to_show

SHARES = st.fractions(min_value=Fraction(1, 1000), max_value=Fraction(999, 1000), max_denominator=1000)


def exactly_at_most(failures: int, requests: int, share: Fraction) -> Fraction:
    """P(X <= k; n, p), without rounding."""
    terms = (comb(requests, i) * share**i * (1 - share) ** (requests - i) for i in range(failures + 1))
    return sum(terms, Fraction(0))


@given(requests=st.integers(1, 120), data=st.data(), share=SHARES)
def test_the_sum_is_the_exact_one(requests: int, data: st.DataObject, share: Fraction) -> None:
    """The probability of so few failures is the binomial sum, whichever tail is the smaller."""
    failures = data.draw(st.integers(-1, requests))
    found, exact = at_most(failures, requests, float(share)), float(exactly_at_most(failures, requests, share))
    assert isclose(found, exact, rel_tol=1e-9, abs_tol=1e-12)


@given(requests=st.integers(1, 200), data=st.data(), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_the_bound_is_where_so_few_failures_become_too_rare(
    requests: int, data: st.DataObject, confidence: float
) -> None:
    """At the bound, k or fewer failures have just the probability 1 - c."""
    failures = data.draw(st.integers(0, requests - 1))
    bound = failing_at_most(failures, requests, confidence)
    assert failures / requests < bound <= 1
    chance = float(exactly_at_most(failures, requests, Fraction(bound)))
    assert isclose(chance, 1 - confidence, rel_tol=1e-6)


@given(requests=st.integers(1, 80), data=st.data(), share=SHARES)
def test_a_promise_is_rarely_called_broken_that_is_kept(requests: int, data: st.DataObject, share: Fraction) -> None:
    """Of runs whose failures are as frequent as promised, no more than one in twenty is told to have broken the promise."""
    wrongly = sum(
        (
            comb(requests, k) * share**k * (1 - share) ** (requests - k)
            for k in range(requests + 1)
            if is_broken(k, requests, float(share))
        ),
        Fraction(0),
    )
    assert float(wrongly) <= 0.05 + 1e-9


@given(failures=st.integers(0, 40), share=st.floats(0.0005, 0.5))
def test_so_many_requests_are_needed_and_no_fewer(failures: int, share: float) -> None:
    """The number that shows a share does show it, and one less does not."""
    needed = requests_to_show(share, failures)
    assert needed is not None
    assert failing_at_most(failures, needed) <= share
    assert needed - 1 <= failures or failing_at_most(failures, needed - 1) > share


@pytest.mark.parametrize(
    ("share", "failures", "needed"),
    [(0.0001, 0, 29_956), (0.001, 0, 2_995), (0.01, 0, 299), (0.05, 0, 59), (0.1, 1, 46), (0.05, 2, 124)],
)
def test_known_numbers_are_found(share: float, failures: int, needed: int) -> None:
    """The numbers agree with the tables of reliability demonstration tests (95%, one-sided)."""
    assert requests_to_show(share, failures) == needed


def test_what_can_not_be_shown_is_not_promised() -> None:
    """No number of requests shows that nothing ever fails, and all failing leaves everything believable."""
    assert requests_to_show(0.0) is None
    assert failing_at_most(5, 5) == 1.0


def test_large_runs_are_reckoned_too() -> None:
    """A day at 10,000 requests a second is reckoned without summing it up term by term."""
    assert isclose(failing_at_most(0, 864_000_000), 3.4673e-9, rel_tol=1e-3)
    # For so many, the normal approximation holds: k + 1.645 sqrt(k).
    assert isclose(failing_at_most(80_000, 864_000_000) * 864_000_000, 80_000 + 1.645 * 80_000**0.5, rel_tol=1e-4)
