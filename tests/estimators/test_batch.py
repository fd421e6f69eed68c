"""Many series at once: each is forecast as if it were alone, and their fits are spread."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.estimators.forecast import Forecaster
from tenfold.estimators.forecast.batch import BY_LEVEL, Batch
from tenfold.estimators.forecast.series import WAITS, Series

FIRST = 20_000 * 1440
DAY = 1440
EVERY = 20

Values = list[float | None]


def curve(minutes: int, seed: int, level: float = 100.0) -> Values:
    """Days and nights with some noise."""
    random, at = np.random.default_rng(seed), np.arange(minutes)
    shape = 1 - 0.5 * np.cos(2 * np.pi * (at + 97 * seed) / DAY)
    return [float(v) for v in level * shape * np.exp(random.normal(0, 0.05, minutes))]


def rows(values: Values) -> list[tuple[int, float]]:
    """By minute, what was seen."""
    return [(FIRST + i, value) for i, value in enumerate(values) if value is not None]


def assert_as_alone(all_: list[Values], known: int) -> None:
    """Each of the series, of which the first `known` minutes were there before, is forecast to the digit as if it were alone."""
    names = tuple(f"series {i}" for i in range(len(all_)))
    batch, alone = Batch(names, EVERY), [Forecaster(name, EVERY) for name in names]
    for at, (forecaster, values) in enumerate(zip(alone, all_, strict=True)):
        batch.load(at, rows(values[:known]))
        forecaster.load(rows(values[:known]))
    for i in range(known, max(len(values) for values in all_)):
        seen = [values[i] if i < len(values) else None for values in all_]
        batch.observe(FIRST + i, seen)
        for forecaster, value in zip(alone, seen, strict=True):
            forecaster.observe(FIRST + i, value)
        assert batch.facts == [forecaster.fact for forecaster in alone]


def test_each_is_forecast_as_if_alone() -> None:
    """One that knows two weeks, one a day and a half, one some hours, one that is new, one at ten times its level, one that is not seen for
    a while, one that restarts and one that never moves."""
    known = 11 * DAY
    all_ = [curve(known + 70, seed) for seed in range(8)]
    all_[1][: known - DAY - 600] = [None] * (known - DAY - 600)
    all_[2][: known - 400] = [None] * (known - 400)
    all_[3][:known] = [None] * known
    all_[4][known:] = [10 * v for v in all_[4][known:] if v is not None]
    all_[5][known + 10 : known + 40] = [None] * 30
    all_[6][known + 20 : known + 22] = [0.0, 0.0]
    all_[7] = [42.0] * (known + 70)
    assert_as_alone(all_, known)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 480),
            st.lists(
                st.tuples(st.integers(1, 40), st.sampled_from((None, 0.0, 1e-9, 3.0, 1e9, float("nan"), -1.0))),
                min_size=1,
                max_size=4,
            ),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_nor_do_any_others_matter(drawn: list[tuple[int, int, list[tuple[int, float | None]]]]) -> None:
    """Whatever the past of each, and however it goes on: gaps, zeroes, what is no number, another level."""
    known, all_ = 480, []
    for seed, begins, parts in drawn:
        values = curve(known, seed)
        values[:begins] = [None] * begins
        for minutes, level in parts:
            values += [level] * minutes if level is None else curve(minutes, seed, level)
        all_.append(values)
    assert_as_alone(all_, known)


def counted_fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each fit."""
    found: list[int] = []
    real = Series.refit

    def noted(self: Series) -> None:
        real(self)
        found.append(self.count)

    monkeypatch.setattr(Series, "refit", noted)
    return found


def test_not_all_are_fitted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a start two at a time are, minute or not; until its turn has come each goes by its level."""
    fits, names = counted_fits(monkeypatch), tuple(f"series {i}" for i in range(9))
    batch = Batch(names, EVERY, fits_max=2)
    for at in range(len(names)):
        batch.load(at, rows(curve(500, at)))
    batch.fit_due()
    batch.fit_due()
    assert len(fits) == 4
    batch.observe(FIRST + 500, [100.0] * 9)
    assert len(fits) == 6
    assert [fact is not None and fact.basis == BY_LEVEL for fact in batch.facts].count(True) == 3
    for _ in range(5):
        batch.fit_due()
    assert len(fits) == 9, "and no more than are due"
    batch.observe(FIRST + 501, [100.0] * 9)
    assert all(fact is not None and fact.basis == "the last two hours" for fact in batch.facts)


def test_who_waited_longest_is_fitted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """One fit a minute for nine series, each of which wants one in twenty minutes: all get theirs in turn."""
    fits, names = counted_fits(monkeypatch), tuple(f"series {i}" for i in range(9))
    batch = Batch(names, EVERY, fits_max=1)
    for i in range(600):
        batch.observe(FIRST + i, [float(100 + i % 7)] * 9)
        assert len(fits) <= max(0, i - 358)
    ages = [series.count - series.fitted for series in batch.series]
    assert max(ages) < 2 * EVERY + WAITS and sorted(set(ages)) == sorted(ages)


def test_what_tells_nothing_any_more_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a gap of hours all fits are older than what they told of: then they are made at once."""
    fits, names = counted_fits(monkeypatch), tuple(f"series {i}" for i in range(4))
    batch = Batch(names, EVERY, fits_max=1)
    for at in range(len(names)):
        batch.load(at, rows(curve(500, at)))
    for _ in names:
        batch.fit_due()
    fits.clear()
    batch.observe(FIRST + 500 + 5 * 60, [100.0] * 4)
    assert len(fits) == 4
