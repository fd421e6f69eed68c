"""The clairvoyant: always enough, never more than that needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.sim.policies.oracle import Oracle, needed
from tenfold.sim.rates import day, steps


def test_exactly_what_is_needed_and_never_less_than_the_minimum() -> None:
    """A demand that fits to the last request needs no more, one more request does, and bounds are kept."""
    assert [needed(rate, 50.0, 2, 10) for rate in (0, 99, 100, 150, 150.1, 9000)] == [2, 2, 2, 3, 4, 10]


def test_a_start_is_asked_for_just_in_time_and_what_is_not_needed_goes_at_once() -> None:
    """For a peak from 1000 s to 2000 s it asks when a start would just be ready, and lets go at the first step after it."""
    oracle = Oracle(steps((0, 100.0), (1000, 400.0), (2000, 100.0)), 50.0, 120.0, 1, 20)
    seen = [(0, oracle.desired(0.0))]
    for at in range(1, 3000):
        if (wanted := oracle.desired(float(at))) != seen[-1][1]:
            seen.append((at, wanted))
    # One step more than a start takes: what is decided now stands until the next decision.
    assert seen == [(0, 2), (879, 8), (2000, 2)]


def test_a_dip_shorter_than_a_start_is_sat_out() -> None:
    """What could not be back in time is not let go."""
    oracle = Oracle(steps((0, 400.0), (500, 100.0), (600, 400.0)), 50.0, 120.0, 1, 20)
    assert {oracle.desired(float(at)) for at in range(1000)} == {8}


@given(
    rates=st.lists(st.floats(0, 2000), min_size=1, max_size=60),
    start_steps=st.integers(0, 8),
    low=st.integers(0, 4),
)
def test_what_serves_is_always_enough_and_wants_nothing_in_vain(rates: list[float], start_steps: int, low: int) -> None:
    """What was wanted for as long as a start takes holds the demand of each minute, and the number is that of some minute within reach."""
    oracle = Oracle(lambda at_s: rates[min(int(at_s / 60), len(rates) - 1)], 50.0, 60.0 * start_steps, low, 40, 60.0)
    wanted = [oracle.desired(60.0 * minute) for minute in range(len(rates))]
    need = [needed(rate, 50.0, low, 40) for rate in rates]
    for minute in range(len(rates)):
        serving = min(wanted[max(0, minute - start_steps) : minute + 1])
        assert serving >= need[minute]
        assert wanted[minute] in need[minute : minute + start_steps + 2]


@given(
    times=st.lists(st.floats(0, 200_000), min_size=1, max_size=15),
    rate=st.sampled_from([day(100, 900), steps((0, 10.0), (40_000, 800.0), (90_000, 0.0))]),
)
def test_it_answers_the_same_however_it_came_there(times: list[float], rate: object) -> None:
    """A clock that jumps to and fro finds what one that came straight there finds."""
    jumping = Oracle(rate, 50.0, 120.0, 1, 40, 60.0)  # type: ignore[arg-type]
    for at_s in times:
        straight = Oracle(rate, 50.0, 120.0, 1, 40, 60.0)  # type: ignore[arg-type]
        assert jumping.desired(at_s) == straight.desired(at_s)


def test_an_oracle_that_could_not_tell_is_refused() -> None:
    """Instances that hold nothing, time that does not pass and bounds without a number are errors at once."""
    for bad in ((0.0, 1.0, 1, 2, 1.0), (1.0, -1.0, 1, 2, 1.0), (1.0, 1.0, 3, 2, 1.0), (1.0, 1.0, 1, 2, 0.0)):
        with pytest.raises(ValueError, match="oracle"):
            Oracle(lambda _: 0.0, *bad)
