"""The smallest world, reckoned by hand: what a policy costs, where it is short, how often it acts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.facts import ForecastSeen
from tenfold.sim.backtest import Backtest, Policy, Tenfold, backtest, foretold

FIRST = 20_000 * 1440


def planned(*numbers: int) -> Policy:
    """These numbers, minute by minute."""
    return lambda minute, known, wanted, ready: numbers[minute]


def test_what_is_asked_for_serves_a_start_time_later() -> None:
    """Three instances asked for in minute 1 serve in minute 3: until then the load is more than there is."""
    ran = backtest([1.0, 3.0, 3.0, 3.0, 1.0], planned(1, 3, 3, 3, 1), start_minutes=2)
    assert ran.instances == (1, 1, 1, 3, 1)
    assert ran.short_ratio == 2 / 5
    assert ran.needed == 1 + 3 + 3 + 3 + 1
    assert ran.cost_ratio == 7 / 11
    assert ran.actions == ((1, 2), (4, -2))


def test_figures_are_a_minute_late() -> None:
    """A policy that follows knows the minute before, and first of all the one before the first."""
    seen: list[float] = []

    def follow(minute: int, known: float, wanted: int, ready: int) -> int:
        seen.append(known)
        return round(known)

    ran = backtest([2.0, 5.0, 5.0], follow, start_minutes=0, before=4.0)
    assert seen == [4.0, 2.0, 5.0]
    assert ran.instances == (4, 2, 2), "even what starts at once was asked for after its minute began"


def test_what_is_only_starting_goes_first() -> None:
    """Of three, two of which are starting, two are let go: what serves goes on serving, and nothing comes later."""
    ran = backtest([1.0] * 6, planned(3, 1, 1, 1, 1, 1), start_minutes=3)
    assert ran.instances == (1,) * 6
    ran = backtest([1.0] * 6, planned(3, 2, 2, 2, 2, 2), start_minutes=3)
    assert ran.instances == (1, 1, 1, 2, 2, 2)


def test_what_is_let_go_is_gone_at_once() -> None:
    """And never the last."""
    ran = backtest([3.0, 3.0, 3.0], planned(1, 0, 0), start_minutes=2)
    assert (ran.instances, ran.short_ratio) == ((1, 1, 1), 1.0)
    assert ran.actions == ((0, -2),)


def test_actions_and_what_they_take_back() -> None:
    """Up and down again within ten minutes is a reversal; the same way twice, or later, is none."""
    load = (1.0,) * 1440
    ran = Backtest(load, (1,) * 1440, ((0, 2), (5, 1), (15, -1), (26, 1), (36, -3), (47, 3)))
    assert ran.actions_a_day == 6
    assert ran.reversals_a_day == 2, "minutes 15 and 36; 26 and 47 come eleven minutes later"


def test_a_load_that_just_fits_is_not_short() -> None:
    """Up to rounding; of nothing a clairvoyant has one instance."""
    ran = backtest([2.0 + 1e-12, 0.0], planned(2, 2), start_minutes=1, before=2.0)
    assert (ran.short_ratio, ran.needed) == (0.0, 3)


@given(
    st.lists(st.floats(0, 50), min_size=1, max_size=40),
    st.integers(1, 5),
    st.lists(st.integers(0, 60), min_size=40, max_size=40),
)
def test_instances_are_kept_account_of(load: list[float], start_minutes: int, plan: list[int]) -> None:
    """Whatever a policy asks for: at least one serves, never more than the most asked for of late, and all of it after a start time."""
    ran = backtest(load, planned(*plan), start_minutes)
    first = ran.instances[0]
    for minute, there in enumerate(ran.instances):
        asked = [max(1, number) for number in plan[max(0, minute - start_minutes) : minute + 1]]
        assert 1 <= there <= max(1, plan[minute]) and there <= max(first, *asked)
        if len(set(asked)) == 1 and minute > start_minutes:
            assert there == asked[0]


# --- our own policy ---------------------------------------------------------------------------------------------------


def ramp() -> list[float]:
    """Two days of ten instances at night and thirty by day, minute by minute, of which the second goes up within half an hour."""
    day = [10.0] * 480 + [10.0 + 20 * i / 30 for i in range(30)] + [30.0] * 450 + [10.0] * 480
    return day * 3


def test_what_was_forecast_knows_only_what_was_before() -> None:
    """The forecast of a minute rests on the minutes before it: what comes later changes nothing."""
    values = ramp()[:700]
    begin = 600
    made = list(foretold(values, FIRST, begin))
    changed = list(foretold([*values[:650], *[500.0] * 50], FIRST, begin))
    assert len(made) == 100
    first = made[0]
    assert first is not None and first.seen_at == (FIRST + begin) * 60.0
    assert made[:51] == changed[:51]
    assert made[51] != changed[51]


def test_a_minute_without_a_figure_has_the_forecast_of_the_one_before() -> None:
    """It is not made up."""
    values: list[float | None] = list(ramp()[:120])
    values[60] = None
    made = list(foretold(values, FIRST, 50))
    assert made[11] == made[10] != made[12]


def test_our_policy_is_there_before_the_load() -> None:
    """With the forecasts of two days it is hardly short on the third, and cheap; without any it is late."""
    values, begin = ramp(), 2 * 1440 + 400
    load = values[begin : begin + 200]
    facts: list[ForecastSeen | None] = list(foretold(values[: begin + 200], FIRST, begin, refit_every=60))
    with_forecast = Tenfold(facts, 3, began_at=(FIRST + begin) * 60.0)
    ours = backtest(load, with_forecast, 3, values[begin - 1])
    blind = backtest(load, Tenfold([None] * 200, 3, began_at=(FIRST + begin) * 60.0), 3, values[begin - 1])
    assert ours.short_ratio <= 0.01 < 0.05 < blind.short_ratio
    assert ours.cost_ratio < 1.25
    assert ours.reversals_a_day == 0
    assert with_forecast.decisions and "expected in" in with_forecast.decisions[0][1]


@pytest.mark.parametrize("start_minutes", [1, 10])
def test_a_longer_start_is_looked_ahead_for(start_minutes: int) -> None:
    """What is asked for comes as much earlier."""
    values, begin = ramp(), 2 * 1440 + 440
    facts = list(foretold(values[: begin + 80], FIRST, begin, refit_every=60))
    ran = backtest(
        values[begin : begin + 80],
        Tenfold(facts, start_minutes, began_at=(FIRST + begin) * 60.0),
        start_minutes,
        values[begin - 1],
    )
    assert ran.short_ratio <= 0.03
