"""What the anomaly detector says of series that go wrong, of those that do not, and of nonsense."""

import math
from collections.abc import Iterable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.estimators import ALERT_SCORE, Detector, Score
from tenfold.estimators.anomaly import KEPT, QUIET, WARM_UP

MINUTE_S = 60.0
DAY = 1440
START = 1_790_000_000.0 // 86_400 * 86_400
ODD = 0.99


def watched(values: Iterable[float | None], start: float = START) -> list[Score]:
    """What a new detector says of a value each minute."""
    detector = Detector()
    return [detector.observe(start + n * MINUTE_S, value) for n, value in enumerate(values)]


def noisy(level: float, count: int, seed: int = 1) -> list[float]:
    """A level with a tenth of noise."""
    random = Random(seed)
    return [level * random.gauss(1, 0.1) for _ in range(count)]


def office(days: int, seed: int = 1) -> list[float]:
    """Requests a second of a site that works from eight to six."""
    random = Random(seed)
    return [(200.0 if 8 * 60 <= n % DAY < 18 * 60 else 20.0) * random.gauss(1, 0.1) for n in range(days * DAY)]


def alerts(scores: Sequence[Score]) -> list[int]:
    """The rows at which somebody is told."""
    return [n for n, score in enumerate(scores) if score.is_new and score.score >= ALERT_SCORE]


def test_an_outage_in_the_first_hour_is_told_at_once() -> None:
    """Three quarters of an hour are enough to know that no requests at all are not usual."""
    values = [*noisy(100, 45), *[0.0] * 5]
    assert alerts(watched(values)) == [45]


def test_a_spike_is_told_once() -> None:
    """Three minutes at four times the usual are one alert, with what was expected beside it, and an hour later all is calm."""
    values = noisy(100, 600)
    values[300:303] = [400.0, 410.0, 390.0]
    scores = watched(values)
    assert alerts(scores) == [300]
    assert scores[300].expected == pytest.approx(100, rel=0.2)
    assert scores[300].deviation == pytest.approx(300, rel=0.2)
    assert max(score.score for score in scores[363:]) < ODD


def test_a_new_level_is_odd_and_then_usual() -> None:
    """Twice the memory after a release: told at once, still odd half an hour later, and what is expected after three hours."""
    scores = watched([*noisy(100, 1000), *noisy(200, 400, seed=2)])
    assert alerts(scores)[0] in (1000, 1001)
    assert scores[1030].score > 0.9
    assert max(score.score for score in scores[1180:]) < ODD
    assert scores[-1].expected == pytest.approx(200, rel=0.2)


def test_a_day_like_the_others_is_not_odd() -> None:
    """The rise at eight and the fall at six are steep, and on the third day no news."""
    assert not alerts(watched(office(5))[2 * DAY :])


def test_a_morning_that_does_not_come_is_odd() -> None:
    """On the fourth day nobody comes to work: each value was seen before, though not at this time."""
    values = office(4)
    values[3 * DAY + 8 * 60 :] = noisy(20, 16 * 60, seed=3)
    scores = watched(values)
    told = alerts(scores)
    assert next(n for n in told if n >= 3 * DAY) - (3 * DAY + 8 * 60) <= 90


def test_a_job_each_night_is_not_odd_in_the_second_week() -> None:
    """A backup that takes ten minutes some time between two and half past two is soon part of the day."""
    random, values = Random(5), noisy(100, 10 * DAY)
    for day in range(10):
        begin = day * DAY + 2 * 60 + random.randrange(30)
        values[begin : begin + 10] = [v + 300 for v in values[begin : begin + 10]]
    assert not alerts(watched(values)[7 * DAY :])


def test_a_slow_drift_is_usual_and_a_steep_one_is_not() -> None:
    """What grows by a tenth a day is growth; what doubles in two hours is told before it has."""
    slow = [value * (1 + 0.1 * n / DAY) for n, value in enumerate(noisy(100, 3 * DAY))]
    assert not alerts(watched(slow))
    steep = noisy(100, 1000)
    steep[800:920] = [value * (1 + n / 120) for n, value in enumerate(steep[800:920])]
    steep[920:] = [value * 2 for value in steep[920:]]
    assert [n for n in alerts(watched(steep)) if 800 <= n < 920]


def test_noise_that_grows_is_odd() -> None:
    """The mean stays, the values scatter four times as far: something is about to give."""
    values = noisy(100, 1000)
    values[900:] = [100 + 4 * (value - 100) for value in values[900:]]
    assert [n for n in alerts(watched(values)) if n >= 900]


@pytest.mark.parametrize("missing", [1, 30, 600, 3 * DAY])
def test_a_gap_is_no_news(missing: int) -> None:
    """What is not seen is not odd, however long, and neither is it when it is as before afterwards."""
    scores = watched([*noisy(100, 500), *[None] * missing, *noisy(100, 200, seed=2)])
    assert all(score == Score(0.0, score.expected, 0.0, is_new=False) for score in scores[500 : 500 + missing])
    assert not alerts(scores)


def test_a_gap_hides_nothing() -> None:
    """A level that changed while nobody looked is told at the first minute that is seen again."""
    assert alerts(watched([*noisy(100, 500), *[None] * 30, *noisy(300, 20)])) == [530]


def test_a_series_that_stands_still_is_never_odd() -> None:
    """Zeroes for two days, or a constant, say nothing at all."""
    for level in (0.0, 45.0):
        assert {score.score for score in watched([level] * 2 * DAY)} == {0.0}


def test_the_first_error_is_news_only_after_long_quiet() -> None:
    """One error after half an hour without any is none; after days without any it is as sure as so many minutes can make it."""
    soon, late = watched([*[0.0] * 40, 1 / 60])[-1], watched([*[0.0] * 4 * DAY, 1 / 60])[-1]
    assert soon.score < ODD < late.score
    assert late.score <= 1 - 1 / (4 * DAY + 1)


def test_a_hair_more_than_a_constant_is_nothing() -> None:
    """Half a percent is not counted as a change, even of what never moved before."""
    assert max(score.score for score in watched([*[512.0] * 2000, *[514.0] * 10])) < ODD


def test_a_restart_knows_what_it_is_told() -> None:
    """A detector that is given the same minutes again says the same: the journal is all the memory that is needed."""
    values = office(3)
    assert watched(values) == watched(values)


@pytest.mark.parametrize("jump_s", [-86_400.0, -3600.0, -60.0, 0.0, 3600.0, 86_400.0, 40 * 86_400.0])
def test_a_clock_that_jumps_is_no_news(jump_s: float) -> None:
    """Whatever the time says, values that go on as before are not odd."""
    detector, values = Detector(), noisy(100, 4 * DAY)
    scores = [
        detector.observe(START + n * MINUTE_S + (jump_s if n >= 3 * DAY else 0.0), value)
        for n, value in enumerate(values)
    ]
    assert not alerts(scores)


def test_an_anomaly_that_goes_on_is_new_once() -> None:
    """While it was at least as odd a short while ago it is not new, and a like one is again when that is long ago."""
    values = noisy(100, 1000)
    values[500:502] = values[900:902] = [1000.0, 1000.0]
    values[502 + QUIET // 2] = 1000.0
    scores = watched(values)
    assert [n for n, score in enumerate(scores) if score.is_new and score.score >= ODD and 499 < n < 800] == [500]


VALUES = st.one_of(
    st.none(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-100, 100),
    st.sampled_from([0.0, 1.0, 1e-300, 1e300, -1e300]),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(VALUES, min_size=1, max_size=120),
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=120),
    st.integers(0, 2**32),
)
def test_whatever_comes_is_scored(values: list[float | None], steps: list[float], seed: int) -> None:
    """Any values at any times: the score is from 0 to 1, gaps are 0, and nothing is ever not a number."""
    detector, at = Detector(), 0.0
    for n, value in enumerate(noisy(10, 40, seed)):
        detector.observe(n * MINUTE_S, value)
    for value, step in zip(values, steps, strict=False):
        at += step
        found = detector.observe(at, value)
        assert 0.0 <= found.score <= 1.0
        assert math.isfinite(found.deviation)
        assert found.expected is None or math.isfinite(found.expected)
        if value is None or not math.isfinite(value):
            assert (found.score, found.deviation, found.is_new) == (0.0, 0.0, False)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=80), st.lists(st.floats(0, 1e6), max_size=80), st.integers(0, 99)
)
def test_nothing_later_is_looked_at(later: list[float], instead: list[float], seed: int) -> None:
    """What is said of a minute does not depend on what follows."""
    before = noisy(50, 100, seed)
    count = len(before)
    assert watched([*before, *later])[:count] == watched([*before, *instead])[:count] == watched(before)


@settings(max_examples=40, deadline=None)
@given(st.integers(-30, 30), st.sampled_from([1, -1]), st.integers(0, 99), st.lists(st.floats(0, 1e3), max_size=30))
def test_units_do_not_matter(exponent: int, sign: int, seed: int, more: list[float]) -> None:
    """Seconds or milliseconds, up or down: the same series in another unit is as odd."""
    values = [*noisy(100, 150, seed), *more]
    plain, scaled = watched(values), watched([sign * value * 2.0**exponent for value in values])
    for one, other in zip(plain, scaled, strict=True):
        assert other.score == pytest.approx(one.score, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=WARM_UP))
def test_nothing_is_odd_before_enough_was_seen(values: list[float]) -> None:
    """In the first minutes everything is new, and nothing is told."""
    assert {score.score for score in watched(values)} == {0.0}


def test_memory_is_bounded() -> None:
    """After a week of falling oddness, the worst case for what is remembered of it, nothing has grown."""
    detector = Detector()
    for n, value in enumerate(noisy(100, 3 * KEPT)):
        detector.observe(n * MINUTE_S, value * 0.999**n)
    assert len(detector._highest) <= QUIET + 2
