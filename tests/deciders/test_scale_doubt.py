"""Scaling ahead on forecasts that are late, wrong, half or gone, and under whatever comes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.facts import ForecastSeen
from tenfold.model import Trigger
from tests.deciders.ahead import CONCURRENCY, START, Story, forecast, running, web

Spoil = Callable[[Story, float], tuple[ForecastSeen, ...]]


def gone(_story: Story, _at: float) -> tuple[ForecastSeen, ...]:
    """There is none."""
    return ()


def late(_story: Story, at: float) -> tuple[ForecastSeen, ...]:
    """The last is four minutes old."""
    return (forecast(at - 240, 100.0, 900),)


def early(_story: Story, at: float) -> tuple[ForecastSeen, ...]:
    """It is dated in the future: the clock was set back."""
    return (forecast(at + 600, 100.0, 900),)


def half(story: Story, at: float) -> tuple[ForecastSeen, ...]:
    """Of two triggers that could be foreseen one is not."""
    story.service = web(1, 20, CONCURRENCY, Trigger("concurrent_users", 50, 20, 60))
    story.metrics = {"concurrent_users": 250.0}
    return (forecast(at, 100.0, 900),)


def costless(story: Story, at: float) -> tuple[ForecastSeen, ...]:
    """Nothing is known of what a request takes."""
    story.work = replace(story.work, busy_s=None) if story.work is not None else None
    return (forecast(at, 100.0, 900),)


def nothing(story: Story, at: float) -> tuple[ForecastSeen, ...]:
    """There is no fact of what requests take at all."""
    story.work = None
    return (forecast(at, 100.0, 900),)


@pytest.mark.parametrize("spoil", [gone, late, early, half, costless, nothing])
def test_a_forecast_that_is_not_whole_and_fresh_is_as_none(spoil: Spoil) -> None:
    """It adds nothing and takes nothing away; what is seen counts, as if the blueprint asked for none."""
    story, plain = Story(memory=running(8), per_s=500.0), Story(memory=running(8), per_s=500.0)
    for _ in range(60):
        facts = spoil(story, (story.now + 10) // 60 * 60)
        story.look(*facts)
        plain.service = replace(story.service, scaling=replace(story.service.scaling, forecast=None))
        plain.metrics = story.metrics
        plain.look()
    assert (story.wanted, story.said) == (plain.wanted, plain.said) == (8, [])
    for each in (story, plain):
        each.per_s = 2000.0
        for _ in range(3):
            each.look(*(spoil(story, (each.now + 10) // 60 * 60) if each is story else ()))
    assert story.wanted == plain.wanted == 20, "what is seen is answered"


def test_a_late_forecast_takes_back_nothing() -> None:
    """An idle pool that was given instances for what is expected keeps them for eleven minutes, although the forecasts have stopped."""
    story = Story(memory=running(2), per_s=10.0)
    story.live(3, 800)
    had = story.wanted
    assert had > 8
    for _ in range(40):
        story.look()
    assert story.wanted == had
    for _ in range(60):
        story.look()
    assert story.wanted < had, "in the end the cooldown counts"


def test_figures_that_are_missing_hold() -> None:
    """A silent gateway or no look at the processes: nothing goes on a forecast alone."""
    story = Story(memory=running(10), per_s=100.0, stale={"gateway"})
    story.live(20, 100)
    assert story.wanted == 10
    assert "although they seem idle" in story.said[0][1].why
    blind = Story(memory=running(10), per_s=100.0, stale={"process"})
    blind.live(20, 100)
    assert (blind.wanted, blind.said) == (10, [])


def test_instances_are_added_although_figures_are_missing() -> None:
    """More is the safe side: a gateway that has gone silent does not hold up what is expected."""
    story = Story(memory=running(2), per_s=100.0, stale={"gateway"})
    story.look(forecast(START, 100.0, 800))
    assert story.wanted > 8


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    """What was done in a future that has not been yet holds up neither adding nor letting go."""
    future = START + 50_000
    past = running(5, raised_at=future, lowered_at=future, troubled_at=future, steady=((future, 9),))
    up = Story(memory=past, per_s=100.0)
    up.look(forecast(START, 100.0, 900))
    assert up.wanted > 9
    down = Story(memory=past, per_s=100.0)
    down.live(12, 100)
    assert down.wanted == 2


# --- whatever comes ---------------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0, 5000), min_size=1, max_size=7),
    st.floats(1, 30),
    st.integers(1, 20),
    st.floats(0, 3000),
)
def test_more_that_is_expected_never_gives_fewer(expected: list[float], times: float, had: int, per_s: float) -> None:
    """All else equal: in the same state, a forecast of more ends in no fewer instances, and never outside of what is allowed."""
    sizes = []
    for factor in (1.0, times):
        # An overload that is seen is answered by more than is needed: whoever was warned has fewer in the end.
        story = Story(web(1, 20), memory=running(had), per_s=min(per_s, 100.0 * had))
        story.live(12, *(factor * each for each in expected), seconds=30.0)
        sizes.append(story.wanted)
    assert 1 <= sizes[0] <= sizes[1] <= 20


@given(
    st.lists(
        st.tuples(
            st.floats(-7200, 7200),
            st.floats(0, 4000),
            st.floats(0, 4000),
            st.sampled_from(("", "none", "gateway", "process")),
        ),
        max_size=30,
    )
)
def test_whatever_comes_it_stays_within_bounds(looks: list[tuple[float, float, float, str]]) -> None:
    """Clocks that jump, loads that jump, facts that are missing: always between the least and the most, and the same again."""
    found = []
    for _ in range(2):
        story = Story(web(2, 9), memory=running(4))
        for seconds, per_s, expected, missing in looks:
            story.per_s, story.stale = per_s, {missing}
            seen = () if missing == "none" else (forecast((story.now + seconds) // 60 * 60, per_s, expected),)
            story.look(*seen, seconds=seconds)
            assert 2 <= story.wanted <= 9
        found.append((story.memory, story.said))
    assert found[0] == found[1]
