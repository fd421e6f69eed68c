"""Forecasts of one series as stories: what is learnt, what is survived, and that 95% means 95%."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.estimators.forecast import Forecaster
from tenfold.estimators.forecast.batch import DIGITS, LEVELS, Batch
from tenfold.estimators.forecast.fit import HORIZONS
from tenfold.estimators.forecast.forecaster import REFIT_EVERY
from tenfold.estimators.forecast.series import HISTORY, Series
from tenfold.facts import ForecastSeen

FIRST = 20_000 * 1440
"""A midnight, as the number of its minute."""
DAY = 1440
SEED = 7
MEDIAN, BOUND = LEVELS.index(0.5), LEVELS.index(0.95)

Values = Sequence[float | None]


def told(
    values: Values, first: int = FIRST, known: int = 0, refit_every: int = REFIT_EVERY
) -> list[ForecastSeen | None]:
    """What was forecast after each of `values`, of which the first `known` were there before it began."""
    forecaster = Forecaster("a", refit_every)
    forecaster.load([(first + i, v) for i, v in enumerate(values[:known]) if v is not None])
    made = []
    for i in range(known, len(values)):
        forecaster.observe(first + i, values[i])
        made.append(forecaster.fact)
    return made


def last(values: Values, known: int = 0) -> ForecastSeen:
    """The last of them."""
    fact = told(values, known=known)[-1]
    assert fact is not None
    return fact


def median(fact: ForecastSeen | None) -> np.ndarray:
    """By horizon."""
    assert fact is not None
    return np.array(fact.quantiles[MEDIAN])


def is_sound(fact: ForecastSeen) -> bool:
    """Finite, never negative, and higher at higher levels."""
    table = np.array(fact.quantiles)
    return bool(np.isfinite(table).all() and (table >= 0).all() and (np.diff(table, axis=0) >= 0).all())


def days(count: float, seed: int = SEED, level: float = 100.0, noise: float = 0.05) -> list[float]:
    """Days and nights, three times the night's load at noon."""
    random, minutes = np.random.default_rng(seed), np.arange(int(count * DAY))
    curve = level * (1 - 0.5 * np.cos(2 * np.pi * minutes / DAY))
    return [float(v) for v in curve * np.exp(random.normal(0, noise, len(curve)))]


def steady(minutes: int, level: float = 100.0, noise: float = 0.05, seed: int = SEED) -> list[float]:
    """Noise around a level."""
    return [float(v) for v in level * np.exp(np.random.default_rng(seed).normal(0, noise, minutes))]


# --- by how much is known ---------------------------------------------------------------------------------------------


def test_nothing_is_said_before_ten_minutes() -> None:
    """Nine minutes are no reason for anything; the tenth is."""
    made = told(steady(10))
    assert made[:9] == [None] * 9
    fact = made[9]
    assert fact is not None
    assert (fact.series, fact.seen_at, fact.history_s) == ("a", (FIRST + 10) * 60.0, 600.0)
    assert (fact.levels, fact.horizons_s) == (LEVELS, tuple(60.0 * h for h in HORIZONS))
    assert fact.basis == "the level of the last minutes"


def test_the_first_hour_follows_the_level() -> None:
    """Before anything is fitted the median is the level of the last minutes, near and far, and it goes with it."""
    made = told([*steady(20, 100), *steady(20, 200)])
    assert np.allclose(median(made[19]), 100, rtol=0.05)
    assert np.allclose(median(made[39]), 200, rtol=0.05)


def test_what_it_rests_on_is_said() -> None:
    """By how much there is: the last hours, then the days before, then the week before."""
    values = days(10.5)
    assert last(values[:400], 390).basis == "the last two hours"
    assert last(values[: 2 * DAY], 2 * DAY - 1).basis == "the last two hours and this time of day on 2 days"
    assert last(values, len(values) - 1).basis.endswith("on 7 days, and the week before")


def test_a_day_is_forecast_far_better_than_by_the_day_before() -> None:
    """An hour ahead on days that grow, the error is under half of what yesterday's value, or that of now, would have."""
    values = [v * 1.2 ** (i / DAY) for i, v in enumerate(days(4))]
    begin, row = 3 * DAY, HORIZONS.index(60)
    played = range(begin, begin + 600)
    made = told(values[: begin + 600], known=begin, refit_every=60)
    ours = [abs(median(made[i - begin])[row] - values[i + 60]) for i in played]
    yesterday = [abs(values[i + 60 - DAY] - values[i + 60]) for i in played]
    now = [abs(values[i] - values[i + 60]) for i in played]
    assert np.mean(ours) < 0.5 * min(np.mean(yesterday), np.mean(now))


def test_a_job_at_nine_is_expected_before_it_starts() -> None:
    """What comes at nine each day and lasts half an hour is in the forecast ten minutes before, for just then, and its end as well."""
    at = 9 * 60
    values = [5.0 * v if at <= i % DAY < at + 30 else v for i, v in enumerate(steady(5 * DAY))]
    end = 4 * DAY + at
    before = median(last(values[: end - 9], end - 10))
    assert before[HORIZONS.index(6)] < 150, "not yet"
    assert before[HORIZONS.index(20)] > 300
    assert before[HORIZONS.index(60)] < 150, "over again"


# --- 95% is 95% -------------------------------------------------------------------------------------------------------


def poisson(random: np.random.Generator, curve: np.ndarray) -> np.ndarray:
    """Requests come by chance."""
    return np.asarray(random.poisson(curve * 60) / 60)


def jumps(random: np.random.Generator, curve: np.ndarray) -> np.ndarray:
    """The level is another every few hours."""
    level = np.exp(np.repeat(random.normal(0, 0.3, len(curve) // 180 + 1), 180)[: len(curve)])
    return np.asarray(curve * level * np.exp(random.normal(0, 0.03, len(curve))))


def bursts(random: np.random.Generator, curve: np.ndarray) -> np.ndarray:
    """One minute in fifty is up to four times as large."""
    burst = np.where(random.random(len(curve)) < 0.02, 1 + 3 * random.random(len(curve)), 1.0)
    return np.asarray(curve * burst * np.exp(random.normal(0, 0.1, len(curve))))


def half_hours(random: np.random.Generator, curve: np.ndarray) -> np.ndarray:
    """Jobs begin at each half hour and take three minutes."""
    job = np.where(np.arange(len(curve)) % 30 < 3, 60.0, 0.0)
    return poisson(random, curve + job)


def idles(random: np.random.Generator, curve: np.ndarray) -> np.ndarray:
    """On the last day a hundredth of it is left, and now and then something comes for a quarter of an hour."""
    comes = np.repeat(random.random(len(curve) // 15 + 1) < 0.15, 15)[: len(curve)]
    left = np.where(np.arange(len(curve)) < len(curve) - DAY, 1.0, 0.01 + 0.2 * comes)
    return poisson(random, curve * left)


@pytest.mark.parametrize("kind", [poisson, jumps, bursts, half_hours, idles])
def test_the_bound_covers_what_it_says(kind: Callable[[np.random.Generator, np.ndarray], np.ndarray]) -> None:
    """On whatever the series does, 94 to 96 of 100 minutes stay below the 95% bounds, and half below the median."""
    minutes = 5 * DAY
    curve = 20 * (1 - 0.5 * np.cos(2 * np.pi * np.arange(minutes) / DAY))
    values = [float(v) for v in kind(np.random.default_rng(SEED), curve)]
    begin = 4 * DAY
    made = told(values, known=begin, refit_every=120)
    below: dict[int, list[bool]] = {MEDIAN: [], BOUND: []}
    for i, fact in enumerate(made):
        assert fact is not None
        for row, horizon in enumerate(HORIZONS):
            if begin + i + horizon < minutes:
                for level, found in below.items():
                    found.append(values[begin + i + horizon] <= fact.quantiles[level][row])
    assert 0.94 <= np.mean(below[BOUND]) <= 0.96
    assert 0.46 <= np.mean(below[MEDIAN]) <= 0.54


# --- what it survives -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [3, 45, 5 * 60, 3 * DAY])
def test_a_gap_is_bridged(minutes: int) -> None:
    """After minutes, hours or days without figures it goes on from where the series is now, not from where it was."""
    values: list[float | None] = list(days(4.5 + minutes / DAY))
    end = int(1.4 * DAY)
    values[end : end + minutes] = [None] * minutes
    made = told(values[: end + minutes + 15], known=end - 5)
    assert all(fact == made[4] for fact in made[4 : 4 + minutes]), "nothing is said while nothing is seen"
    fact = made[-1]
    assert fact is not None and is_sound(fact)
    assert median(fact)[0] == pytest.approx(days(4.5 + minutes / DAY, noise=0)[end + minutes + 14], rel=0.2)


def test_a_gap_of_hours_is_filled_from_the_day_before() -> None:
    """Of minutes with the last value, since the day before is another; none of it counts as seen."""
    values = days(1.5)
    for gap, like in ((8, lambda i: values[DAY + 99]), (200, lambda i: values[i - DAY])):
        batch = Batch(("a",), REFIT_EVERY)
        series = batch.series[0]
        batch.load(0, [(FIRST + i, v) for i, v in enumerate(values[: DAY + 100])])
        series.append(FIRST + DAY + 100 + gap, 100.0)
        filled = range(DAY + 100, DAY + 100 + gap)
        assert [float(series.values[i]) for i in filled] == [like(i) for i in filled]
        assert not series.known[filled.start : filled.stop].any() and series.known[filled.stop] == 1


def test_a_gap_beyond_all_memory_is_a_new_beginning() -> None:
    """What is older than two weeks says nothing."""
    forecaster = Forecaster("a")
    forecaster.load([(FIRST + i, v) for i, v in enumerate(days(2))])
    for i, value in enumerate(steady(12, 7)):
        forecaster.observe(FIRST + 3 * HISTORY + i, value)
    assert forecaster.fact is not None
    assert (forecaster.fact.history_s, forecaster.fact.basis) == (720.0, "the level of the last minutes")
    assert np.allclose(median(forecaster.fact), 7, rtol=0.1)


def test_only_a_few_minutes_of_an_hour() -> None:
    """A series that is seen once in half an hour is followed; there is too little of it to fit."""
    values: list[float | None] = [5.0 + i % 3 if i % 37 == 0 else None for i in range(3000)]
    fact = last(values[: 37 * 80 + 1])
    assert is_sound(fact)
    assert fact.basis == "the level of the last minutes"
    assert np.all((median(fact) >= 4) & (median(fact) <= 8))


def test_what_is_no_number_is_no_minute() -> None:
    """None, NaN and infinities change nothing; negative ones are nothing, and absurd ones bounded."""
    values: list[float | None] = list(steady(30))
    fact = told([*values, None, math.nan, math.inf, -math.inf])
    assert fact[29:] == [fact[29]] * 5
    loaded = Forecaster("a")
    loaded.load([(FIRST + i, v) for i, v in enumerate([*steady(29), math.nan])])
    loaded.observe(FIRST + 30, 1.0)
    assert loaded.fact is not None and is_sound(loaded.fact)
    assert last([-5.0] * 500).quantiles == last([0.0] * 500).quantiles
    assert is_sound(last([1e300] * 20))


def test_all_zeroes_and_constants() -> None:
    """A series that never moves is expected to stay, to the digit; its first load is followed at once."""
    assert set(np.ravel(last([0.0] * 500).quantiles)) == {0.0}
    assert np.allclose(last([42.0] * 500, 400).quantiles, 42.0, rtol=1e-3)
    made = told([*[0.0] * 500, *[50.0] * 60], known=400)
    assert np.allclose(median(made[-50]), 50.0, rtol=0.1), "ten minutes later"
    assert np.allclose(median(made[-1]), 50.0, rtol=0.25)


@pytest.mark.parametrize("known", [20, 500, 3 * DAY])
@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_a_tenfold_change_of_level(known: int, factor: float) -> None:
    """Ten minutes after a series became another, and through the refits after that, the median is where it is, not where it was."""
    values = [*steady(known, 100), *steady(95, 100 * factor, seed=8)]
    made = told(values, known=known - 10)
    for fact in made[20::10]:
        near, far = median(fact)[:4], median(fact)
        assert np.allclose(near, 100 * factor, rtol=0.25)
        assert np.all((far > 30 * factor) & (far < 300 * factor))
        assert fact is not None and is_sound(fact)


def test_one_enormous_spike() -> None:
    """A minute a hundred thousand times too large lifts nothing for long: what is expected stays, and no bound explodes."""
    values = days(1.4)
    at = DAY
    values[at] = 1e7
    made = told(values, known=at - 10)
    usual = max(v for i, v in enumerate(values) if i != at)
    for fact in made[16:]:
        assert fact is not None
        assert np.max(fact.quantiles) < 20 * usual
    after = [np.max(median(fact)) for fact in made[30:]]
    assert max(after) < 3 * usual
    ends = made[-1]
    assert ends is not None and max(ends.quantiles[BOUND]) < 3 * usual


def test_the_source_restarts() -> None:
    """Two minutes at nothing, as a restart leaves, are forgotten within ten."""
    values = days(2)
    values[-12:-10] = [0.0, 0.0]
    assert np.allclose(median(last(values, 2 * DAY - 60))[:4], values[-1], rtol=0.25)


def test_the_clock_goes_back() -> None:
    """Minutes that are not newer than the last change nothing, then or later."""
    values = steady(60)
    forecaster = Forecaster("a")
    for i, value in enumerate(values):
        forecaster.observe(FIRST + i, value)
        before = forecaster.fact
        forecaster.observe(FIRST + i, 1e6)
        forecaster.observe(FIRST + i - 30, 1e6)
        assert forecaster.fact is before
    assert forecaster.fact == last(values)


def test_the_buffers_roll() -> None:
    """After seventeen days and more it says what one says that only ever knew the last fourteen."""
    values, every = days(17.8), 600
    # It fits when its minute has come: at both the same.
    end = next(i for i in range(len(values), 0, -1) if (FIRST + i - 1 + ord("a") % every) % every == 0)
    old, fresh = Batch(("a",), every), Batch(("a",), every)
    old.load(0, [(FIRST + i, v) for i, v in enumerate(values[:HISTORY])])
    for i in range(HISTORY, end):
        old.observe(FIRST + i, (values[i],))
    fresh.load(0, [(FIRST + i, values[i]) for i in range(end - HISTORY, end - every - 1)])
    for i in range(end - every - 1, end):
        fresh.observe(FIRST + i, (values[i],))
    assert old.facts[0] is not None and fresh.facts[0] is not None
    assert old.series[0].first > FIRST, "it has let go of the oldest"
    assert old.facts[0].history_s == HISTORY * 60.0 == fresh.facts[0].history_s
    # Their first fits differed, and so did a little how they were corrected since.
    assert np.allclose(median(old.facts[0]), median(fresh.facts[0]), rtol=0.01)
    old._levels = fresh._levels
    old._foretell(FIRST + end - 1, [0])
    fresh._foretell(FIRST + end - 1, [0])
    assert np.allclose(old.facts[0].quantiles, fresh.facts[0].quantiles, rtol=2e-5)


def test_a_fit_outlives_the_rolling() -> None:
    """What was fitted before the oldest was let go of goes on telling the right time of day."""
    values, every = days(16.05), 600
    rolled = Batch(("a",), every)
    rolled.load(0, [(FIRST + i, v) for i, v in enumerate(values[:HISTORY])])
    for i in range(HISTORY, len(values)):
        rolled.observe(FIRST + i, (values[i],))
        first = rolled.series[0].first
        if first > FIRST:
            break
    smooth = days(16.1, noise=0)
    assert first > FIRST and np.allclose(median(rolled.facts[0]), [smooth[i + h] for h in HORIZONS], rtol=0.15)


# --- whatever comes ---------------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(
    parts=st.lists(
        st.tuples(
            st.integers(1, 180),
            st.sampled_from((0.0, 1e-9, 0.3, 50.0, 1e6, 1e15, -3.0)),
            st.sampled_from((0.0, 0.1, 2.0)),
            st.integers(0, 2000),
        ),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 99),
)
def test_it_is_sound_whatever_comes(parts: list[tuple[int, float, float, int]], seed: int) -> None:
    """Levels, noises and gaps in any order: finite, never negative, higher at higher levels."""
    random, forecaster, minute = np.random.default_rng(seed), Forecaster("a"), FIRST
    for minutes, level, noise, gap in parts:
        for value in level * np.exp(random.normal(0, 1, minutes) * noise):
            forecaster.observe(minute, float(value))
            minute += 1
        if forecaster.fact is not None:
            assert is_sound(forecaster.fact)
        minute += gap


def test_the_same_minutes_give_the_same_forecast() -> None:
    """To the last digit, of which there are six."""
    values = days(1.1)
    assert told(values, known=DAY) == told(values, known=DAY)
    figures = np.ravel(last(values, DAY).quantiles)
    assert all(float(f"{v:.{DIGITS}g}") == v for v in figures)
    assert any(float(f"{v:.{DIGITS - 1}g}") != v for v in figures)


def fits(monkeypatch: pytest.MonkeyPatch, refit_every: int, minutes: Iterable[int]) -> list[int]:
    """The minutes in which it was fitted anew."""
    forecaster, values, found = Forecaster("a", refit_every), steady(800), []
    real = Series.refit

    def noted(self: Series) -> None:
        real(self)
        found.append(self.first + self.count - 1 - FIRST)

    monkeypatch.setattr(Series, "refit", noted)
    for i in minutes:
        forecaster.observe(FIRST + i, values[i])
    return found


def test_it_is_fitted_as_often_as_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """First as soon as there are six hours, then when its minute comes round: that of each name is another."""
    found = fits(monkeypatch, 20, range(500))
    assert found[0] == 359
    assert all(b - a == 20 for a, b in pairwise(found[1:]))
    assert 20 <= found[1] - found[0] < 40


def test_a_missed_minute_does_not_put_off_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the minute to fit in is not seen, the next one that is will do."""
    due = fits(monkeypatch, 20, range(500))[2]
    found = fits(monkeypatch, 20, [i for i in range(500) if i != due])
    assert found[2] == due + 1


def test_what_was_loaded_is_as_if_observed() -> None:
    """In what is fitted, and so in the median as soon as it is fitted anew."""
    values = days(0.7)
    loaded, observed = Batch(("a",), REFIT_EVERY), Batch(("a",), REFIT_EVERY)
    loaded.load(0, [(FIRST + i, v) for i, v in enumerate(values[:-70])])
    for i, value in enumerate(values):
        observed.observe(FIRST + i, (value,))
        if i >= len(values) - 70:
            loaded.observe(FIRST + i, (value,))
    one, other = loaded.series[0], observed.series[0]
    assert one.fit is not None and other.fit is not None
    assert one.count - one.fitted == other.count - other.fitted, "both were fitted at the same minute last"
    assert np.array_equal(one.fit.ahead.beta, other.fit.ahead.beta)
    assert np.array_equal(one.fit.ahead.tables, other.fit.ahead.tables)
