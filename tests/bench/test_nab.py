"""NAB's score: its own test cases, a published figure, and a naive scorer that agrees."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.nab import new_scores
from bench.nab_corpus import NAB, made, read_minutes, read_nab
from bench.nab_score import Labelled, best_threshold, curve, held_out, normalised, row_points, scaled_sigmoid
from bench.table import Unmeasured

ALERT = 0.5
PUBLISHED = {
    "realAdExchange/exchange-2_cpc_results.csv": -1.0,
    "realAdExchange/exchange-2_cpm_results.csv": -2.0,
    "realAdExchange/exchange-3_cpc_results.csv": 2.5026632611866138,
    "realAdExchange/exchange-3_cpm_results.csv": 0.862098587352162,
    "realAdExchange/exchange-4_cpc_results.csv": 0.2922884634276035,
    "realAdExchange/exchange-4_cpm_results.csv": 1.274710362684976,
}
"""Points of the windowed Gaussian at a threshold of 1.0, from results/windowedGaussian/windowedGaussian_standard_scores.csv of NAB."""


def labelled(rows: int, *windows: tuple[int, int]) -> Labelled:
    """A series of no interest but for its windows."""
    return Labelled("a/b.csv", tuple(map(float, range(rows))), (0.0,) * rows, windows)


def points(series: Labelled, *alerts: int) -> float:
    """The points of alerts at these rows."""
    scores = [1.0 if row in alerts else 0.0 for row in range(len(series.values))]
    return float(curve(series, scores).at(np.array([ALERT]))[0])


def naive(series: Labelled, alerts: set[int]) -> float:
    """NAB's nab/scorer.py, step by step: first hits of windows, then misses, then false alerts by the closest window before them."""
    counted = {row for row in alerts if row >= series.probation_rows}
    total = 0.0
    for first, last in series.windows:
        hits = [row for row in sorted(counted) if first <= row <= last]
        position = -(last - hits[0] + 1) / (last - first + 1) if hits else None
        total += -1.0 if position is None else scaled_sigmoid(position) / scaled_sigmoid(-1.0)
    for row in counted:
        if any(first <= row <= last for first, last in series.windows):
            continue
        before = [(first, last) for first, last in series.windows if last < row]
        if not before:
            total -= 0.11
        else:
            first, last = before[-1]
            total += 0.11 * scaled_sigmoid((row - last) / (last - first))
    return total


def test_the_sigmoid_is_nabs() -> None:
    """The weights that NAB's own documentation names, at both ends of a window, in its middle and a width behind it."""
    assert scaled_sigmoid(-1.0) == pytest.approx(0.98661, abs=1e-5)
    assert scaled_sigmoid(-0.5) == pytest.approx(0.84828, abs=1e-5)
    assert scaled_sigmoid(0.0) == 0.0
    assert scaled_sigmoid(1.0) == pytest.approx(-0.98661, abs=1e-5)
    assert scaled_sigmoid(3.1) == -1.0


def test_an_alert_in_the_first_row_of_a_window_is_worth_one() -> None:
    """NAB's testTruePositives2: the first row of a window of two, and further alerts in it add nothing."""
    series = labelled(7, (4, 5))
    assert points(series, 4) == points(series, 4, 5) == pytest.approx(1.0)


def test_an_alert_in_the_middle_of_a_window_is_worth_less() -> None:
    """NAB's testTruePositives1: the second row of two is worth s(-1/2) / s(-1)."""
    assert points(labelled(7, (1, 2)), 2) == pytest.approx(0.8482836399575131 / 0.9866142981514305)


def test_a_single_alert_halfway_is_worth_what_nab_published() -> None:
    """Row 201 of a window of 403 gave contextOSE and the windowed Gaussian 0.8606718242697022 on ec2_cpu_utilization_ac20cd."""
    assert points(labelled(4032, (3375, 3777)), 3375 + 201) == pytest.approx(0.8606718242697022, abs=1e-12)


def test_a_missed_window_costs_one_and_a_false_alert_a_ninth() -> None:
    """NAB's testFalseNegatives and testFalsePositives."""
    assert points(labelled(7, (1, 2), (4, 5))) == -2.0
    assert points(labelled(5), 1, 3) == pytest.approx(-0.22)


def test_a_false_alert_right_behind_a_window_costs_less() -> None:
    """At the end of the window it would cost nothing, a width behind it nearly all, far behind it all of 0.11."""
    series = labelled(200, (40, 50))
    assert 0 > points(series, 40, 51) - 1 > points(series, 40, 60) - 1 > -0.11
    assert points(series, 40, 120) - 1 == pytest.approx(-0.11)


@pytest.mark.parametrize(("rows", "probation"), [(100, 15), (1000, 150), (4032, 604), (5000, 750), (22_695, 750)])
def test_the_probation_does_not_count(rows: int, probation: int) -> None:
    """The first 15% of a file, at most 750 rows, are for learning: an alert in its last row is free, one row later it is not."""
    series = labelled(rows)
    assert points(series, probation - 1) == 0.0
    assert points(series, probation) == pytest.approx(-0.11)


def test_nothing_is_0_and_perfection_is_100() -> None:
    """The detector that never alerts and the one that alerts at the first row of each window are the ends of the scale."""
    series = labelled(1000, (300, 350), (700, 780))
    assert normalised(points(series), 2) == 0.0
    assert normalised(points(series, 300, 700), 2) == pytest.approx(100.0)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Labelled, list[float]]:
    """A series with up to three windows behind its probation, and scores of few values, so that many are equal."""
    rows = draw(st.integers(20, 120))
    cuts = sorted(draw(st.sets(st.integers(rows // 6 + 1, rows - 1), max_size=6)))
    windows = [(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    scores = draw(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]), min_size=rows, max_size=rows))
    return labelled(rows, *windows), scores


@given(cases(), st.sampled_from([0.1, 0.2, 0.5, 0.6, 1.0, 1.1]))
def test_the_sweep_agrees_with_a_naive_scorer(case: tuple[Labelled, list[float]], threshold: float) -> None:
    """The points at a threshold are those of alerting at each row that reaches it."""
    series, scores = case
    alerts = {row for row, score in enumerate(scores) if score >= threshold}
    assert curve(series, scores).at(np.array([threshold]))[0] == pytest.approx(naive(series, alerts))


@given(st.lists(cases(), min_size=2, max_size=6), st.integers(2, 6))
def test_a_threshold_never_sees_the_file_it_is_used_on(cases_: list[tuple[Labelled, list[float]]], folds: int) -> None:
    """Whatever the scores of a file are, the threshold that it is judged by stays the same."""
    curves = [curve(series, scores) for series, scores in cases_]
    first = cases_[0][0]
    other = curve(first, [1.0 - score for score in cases_[0][1]])
    kept, changed = held_out(curves, folds), held_out([other, *curves[1:]], folds)
    same = min(kept.thresholds[0], changed.thresholds[0]), max(kept.thresholds[0], changed.thresholds[0])
    rest = [c for n, c in enumerate(curves) if n % folds]
    if rest:
        totals = [sum(float(c.at(np.array([t]))[0]) for c in rest) for t in same if math.isfinite(t)]
        silent = [sum(c.silent for c in rest)] * sum(math.isinf(t) for t in same)
        assert max(totals + silent) == pytest.approx(min(totals + silent))


def test_the_best_threshold_is_the_best() -> None:
    """No threshold gives more points than the one that is chosen."""
    series = labelled(100, (50, 60))
    scores = [row % 7 / 7 for row in range(100)]
    scores[52] = 0.99
    chosen, total = best_threshold([curve(series, scores)])
    assert chosen == 0.99
    assert total == pytest.approx(row_points(series)[52])


def test_scores_for_other_rows_are_refused() -> None:
    """A score is needed for each row, and the message says how many there were."""
    with pytest.raises(ValueError, match=r"a/b\.csv has 5 rows and 4 scores"):
        curve(labelled(5), [0.0] * 4)


def test_made_series_are_the_same_for_a_seed_and_hold_what_they_say() -> None:
    """The oddest row of a steady series is that of its harm, halfway through its window."""
    assert made(4) == made(4) != made(5)
    for series in made(4):
        if series.name in ("steady/spike", "steady/level", "steady/burst"):
            scores, middle = new_scores(series), sum(series.windows[0]) // 2
            assert abs(scores.index(max(scores)) - middle) <= 3


def test_a_folder_that_is_not_nabs_is_named(tmp_path: Path) -> None:
    """Without its labels, or with a label for no row, nothing can be scored, and the message says what to do."""
    with pytest.raises(Unmeasured, match="put data/ and labels/ of numenta/NAB there"):
        read_nab(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "b.csv").write_text("timestamp,value\n2014-04-01 00:00:00,20.0\n")
    windows = {"a/b.csv": [["2014-04-01 00:05:00.000000", "2014-04-01 00:10:00.000000"]]}
    (tmp_path / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    with pytest.raises(Unmeasured, match="is not NAB's data"):
        read_nab(tmp_path)


def test_labels_less_than_an_hour_apart_are_one_window(tmp_path: Path) -> None:
    """Series that are labelled row by row become series with windows."""
    (tmp_path / "shop").mkdir()
    odd = {3, 4, 30, 200}
    rows = [f'"2018-04-25T{n // 60:02}:{n % 60:02}:00Z",{n}.5,{int(n in odd)}' for n in range(240)]
    (tmp_path / "shop" / "api.csv").write_text("\n".join(["TimeStamp,Value,Label", *rows]) + "\n")
    (series,) = read_minutes(tmp_path)
    assert series.windows == ((3, 30), (200, 200))
    assert series.values[7] == 7.5
    assert series.at[1] - series.at[0] == 60.0


@pytest.mark.skipif(not NAB.is_dir(), reason="NAB's files are not beside the checkout")
def test_a_published_detector_gets_its_published_points() -> None:
    """The windowed Gaussian, on NAB's ad exchange files, has the points that NAB's repository publishes, to twelve digits."""
    files = {series.name: series for series in read_nab()}
    for name, published in PUBLISHED.items():
        series = files[name]
        values = np.array(series.values)
        scores = [0.0]
        for row in range(1, len(values)):
            before = values[:row]
            apart = abs(values[row] - before.mean()) / (before.std() or 1e-6)
            scores.append(1 - 0.5 * math.erfc(apart / math.sqrt(2)))
        assert curve(series, scores).at(np.array([1.0]))[0] == pytest.approx(published, abs=1e-12)
