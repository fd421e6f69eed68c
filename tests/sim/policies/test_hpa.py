"""The HPA's arithmetic against the vectors of Kubernetes' own unit tests, and its rules as properties.

Vectors marked with a name are numbers from kubernetes/kubernetes, pkg/controller/podautoscaler: `TestReplicaCalc...` of
replica_calculator_test.go, all others of horizontal_test.go. Levels there are thousandths of a core, relative to requests of 1000.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.facts import InstanceSeen, InstanceState
from tenfold.sim.policies.hpa import (
    SCALE_DOWN,
    SCALE_UP,
    Hpa,
    Metric,
    RatePolicy,
    Rules,
    Select,
    is_unready,
    most_of,
    replicas_for,
)

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("name", "current", "levels", "unready", "missing", "target", "expected"),
    [
        ("TestReplicaCalcScaleUp", 3, (300, 500, 700), 0, 0, 30, 5),
        ("TestReplicaCalcScaleUpUnreadyLessScale", 3, (500, 700), 1, 0, 30, 4),
        ("TestReplicaCalcScaleUpHotCpuLessScale", 3, (500, 700), 1, 0, 30, 4),
        ("TestReplicaCalcScaleUpUnreadyNoScale", 3, (400,), 2, 0, 30, 3),
        ("TestReplicaCalcScaleUpIgnoresFailedPods", 2, (500, 700), 0, 0, 30, 4),
        ("TestReplicaCalcScaleDown", 5, (100, 300, 500, 250, 250), 0, 0, 50, 3),
        ("TestReplicaCalcScaleDownIncludeUnreadyPods", 5, (100, 300, 500), 2, 0, 50, 2),
        ("TestReplicaCalcScaleDownExcludeUnscheduledPods", 5, (100,), 4, 0, 50, 1),
        ("TestReplicaCalcSuperfluousMetrics", 4, (4000, 9500, 3000, 7000), 0, 0, 100, 24),
        ("TestReplicaCalcMissingMetrics", 4, (400, 95), 0, 2, 100, 3),
        ("TestReplicaCalcMissingMetricsNoChangeEq", 2, (1000,), 0, 1, 100, 2),
        ("TestReplicaCalcMissingMetricsNoChangeGt", 2, (1900,), 0, 1, 100, 2),
        ("TestReplicaCalcMissingMetricsNoChangeLt", 2, (600,), 0, 1, 100, 2),
        ("TestReplicaCalcMissingMetricsUnreadyChange", 3, (450,), 1, 1, 50, 3),
        ("TestReplicaCalcMissingMetricsUnreadyScaleUp", 3, (2000,), 1, 1, 50, 4),
        ("TestReplicaCalcMissingMetricsUnreadyScaleDown", 4, (100, 100), 1, 1, 50, 3),
        ("TestReplicaCalcTolerance", 3, (1020, 1020, 1020), 0, 0, 100, 3),
        ("TestReplicaCalcEmptyMetrics", 4, (), 0, 4, 100, None),
    ],
)
def test_processor_time_proposes_what_upstream_proposes(
    name: str, current: int, levels: tuple[int, ...], unready: int, missing: int, target: int, expected: int | None
) -> None:
    """Every vector of the resource metric comes out as in upstream's own test of that name."""
    use_ratio = sum(levels) / len(levels) / 1000 if levels else None
    metric = Metric(target / 100, is_resource=True)
    assert replicas_for(metric, current, use_ratio, len(levels), unready, missing) == expected, name


@pytest.mark.parametrize(
    ("name", "current", "levels", "target", "expected"),
    [
        ("TestReplicaCalcScaleUpCM", 3, (20000, 10000, 30000), 15000, 4),
        ("TestReplicaCalcScaleUpCMUnreadyHotCpuNoLessScale", 3, (50000, 10000, 30000), 15000, 6),
        ("TestReplicaCalcScaleUpCMUnreadyHotCpuScaleWouldScaleDown", 3, (50000, 15000, 30000), 15000, 7),
        ("TestReplicaCalcScaleDownCM", 5, (12000,) * 5, 20000, 3),
        ("TestReplicaCalcToleranceCM", 3, (20000, 21000, 21000), 20000, 3),
        ("TestReplicaCalcScaleUpCMExternal", 1, (8600,), 4400, 2),
    ],
)
def test_a_metric_of_the_app_proposes_what_upstream_proposes(
    name: str, current: int, levels: tuple[int, ...], target: int, expected: int
) -> None:
    """Every vector of a metric by pods comes out as in upstream's own test of that name."""
    proposed = replicas_for(Metric(target / 1000), current, sum(levels) / len(levels) / 1000, len(levels))
    assert proposed == expected, name


def test_what_starts_or_is_missing_never_turns_a_proposal_round() -> None:
    """Worked by hand: 5 of 10 start and the rest has 2.1 times its target, so together 1.05, within the tolerance; and 3 of 8 that have
    twice theirs, with 1 missing, would come to 6."""
    assert replicas_for(Metric(0.5), 10, 1.05, 5, unready=5) == 10
    assert replicas_for(Metric(0.5), 8, 1.0, 3, missing=1) == 8


def test_whole_percents_are_what_upstream_reckons_in() -> None:
    """A processor at 35.9% counts as 35%, which is within the tolerance of 32%; a metric of the app counts as it is."""
    assert replicas_for(Metric(0.32, is_resource=True), 10, 0.359, 10) == 10
    assert replicas_for(Metric(0.32), 10, 0.359, 10) == 12


def _rules(pods: int, pods_s: float, percent: int, percent_s: float, window_s: float = 0.0) -> Rules:
    policies = [RatePolicy(pods, pods_s)] if pods else []
    policies += [RatePolicy(percent, percent_s, is_percent=True)] if percent else []
    return Rules(tuple(policies), window_s)


def _spread(changes: tuple[int, ...], period_s: float, sign: int) -> list[tuple[float, int]]:
    """Upstream's generateEventsUniformDistribution: each in the middle of its part of the last `period_s`."""
    part_s = period_s / len(changes) if changes else 0.0
    return [(NOW - int(period_s - part_s * (i + 1) + part_s / 2), sign * by) for i, by in enumerate(changes)]


UP, DOWN = SCALE_UP, SCALE_DOWN


@pytest.mark.parametrize(
    ("name", "low", "high", "current", "asked", "up", "down", "ups", "downs", "expected"),
    [
        ("within range", 3, 8, 5, 7, UP, DOWN, (), (), 7),
        ("desired < minReplicas", 2, 8, 3, 1, UP, DOWN, (), (), 2),
        ("more than the maximum", 100, 150, 100, 1000, UP, DOWN, (), (), 150),
        ("scaleUpLimit with user policies", 1, 2000, 3, 1000, _rules(0, 0, 1, 60), DOWN, (), (), 4),
        ("scaleDownLimit > minReplicas", 3, 2000, 1000, 3, UP, _rules(20, 60, 0, 0), (), (), 980),
        ("scaleUp with default behavior", 1, 1000, 10, 50, UP, DOWN, (), (), 20),
        ("pods larger than percent", 1, 1000, 10, 500, _rules(100, 60, 100, 60), DOWN, (), (), 110),
        ("percent larger than pods", 1, 1000, 10, 500, _rules(2, 60, 100, 60), DOWN, (), (), 20),
        ("large pod policy", 1, 1000, 10, 50, _rules(100, 60, 0, 0), DOWN, (), (), 50),
        ("pod policy limitation", 1, 1000, 10, 50, _rules(30, 60, 0, 0), DOWN, (), (), 40),
        ("percent policy limitation", 1, 1000, 10, 50, _rules(0, 0, 200, 60), DOWN, (), (), 30),
        ("down, percent and pods", 1, 1000, 100, 2, UP, _rules(20, 60, 1, 60, 300), (), (), 80),
        ("down, pods and percent", 1, 1000, 100, 2, UP, _rules(2, 60, 1, 60, 300), (), (), 98),
        ("down to the least by pods", 1, 1000, 10, 0, UP, _rules(100, 60, 0, 0, 300), (), (), 1),
        ("down to the least by percent", 5, 1000, 10, 2, UP, _rules(0, 0, 100, 60, 300), (), (), 5),
        ("down, pod policy limitation", 1, 1000, 10, 2, UP, _rules(5, 60, 0, 0, 300), (), (), 5),
        ("down, percent within", 1, 1000, 10, 5, UP, _rules(0, 0, 50, 60, 300), (), (), 5),
        ("pods, events, maximum", 1, 200, 100, 500, _rules(300, 60, 0, 0), DOWN, (1, 5, 9), (), 200),
        ("percent, events, maximum", 1, 200, 100, 500, _rules(0, 0, 10000, 60), DOWN, (1, 5, 9), (), 200),
        ("a lot of recent events", 1, 1000, 100, 500, _rules(5, 120, 0, 0), DOWN, (1, 5, 9), (), 100),
        ("pods and previous events", 1, 1000, 100, 500, _rules(150, 120, 0, 0), DOWN, (1, 5, 9), (), 235),
        ("percent and previous events", 1, 1000, 100, 500, _rules(0, 0, 200, 120), DOWN, (1, 5, 9), (), 255),
        ("up and down events", 1, 1000, 6, 24, _rules(0, 0, 300, 300), DOWN, (4,), (2,), 16),
        ("down, default, previous events", 1, 1000, 10, 5, UP, DOWN, (), (1, 5, 9), 5),
        ("down, pods, events, least", 5, 1000, 100, 0, UP, _rules(130, 120, 0, 0, 300), (), (1, 5, 9), 5),
        ("down, percent, events, least", 5, 1000, 100, 2, UP, _rules(0, 0, 100, 120, 300), (), (1, 5, 9), 5),
        ("down, pods and events", 1, 1000, 100, 2, UP, _rules(5, 120, 0, 0, 300), (), (1, 5, 9), 100),
        ("down, percent and events", 1, 1000, 100, 0, UP, _rules(0, 0, 50, 120, 300), (), (2, 4, 6), 56),
        ("down, up and down events", 1, 1000, 10, 1, UP, _rules(0, 0, 50, 180), (2,), (4,), 6),
        ("down, events prevent it", 1, 1000, 100, 0, UP, _rules(0, 0, 10, 120, 300), (), (10, 10, 10), 100),
        ("down, events still allow it", 1, 1000, 10, 5, UP, _rules(0, 0, 1000, 120, 300), (), (10, 10, 10), 5),
        ("two periods, up", 1, 1000, 100, 200, _rules(1000, 120, 100, 60), DOWN, (8, 12, 9, 11), (), 200),
        ("two periods, down", 1, 1000, 100, 5, UP, _rules(1000, 30, 100, 60, 300), (), (8, 12, 9, 11), 5),
    ],
)
def test_the_rates_allow_what_upstream_allows(
    name: str,
    low: int,
    high: int,
    current: int,
    asked: int,
    up: Rules,
    down: Rules,
    ups: tuple[int, ...],
    downs: tuple[int, ...],
    expected: int,
) -> None:
    """Every vector of TestScalingWithRules, which knows no window of stabilisation, comes out as there."""
    hpa = Hpa(low, high, up=Rules(up.policies), down=Rules(down.policies))
    hpa._changes = _spread(ups, 120, 1) + _spread(downs, 120, -1)
    assert hpa._rated(NOW, current, asked) == expected, name


def test_of_several_policies_the_smallest_change_may_count_or_none() -> None:
    """TestCalculateScaleUpLimitWithScalingRules and TestCalculateScaleDownLimitWithBehaviors, and a direction that is disabled."""
    policies = (RatePolicy(2, 60), RatePolicy(50, 60, is_percent=True))
    least = Rules(policies, 300, Select.MIN)
    hpa = Hpa(1, 1000, up=least, down=least)
    assert hpa._allowed(NOW, 1, least, 1) == 2
    assert hpa._allowed(NOW, 5, least, -1) == 3
    off = Rules(policies, 0, Select.DISABLED)
    hpa = Hpa(1, 1000, up=off, down=off)
    assert [hpa.sync(NOW, 5, 50), hpa.sync(NOW + 15, 5, 1)] == [5, 5]


@pytest.mark.parametrize(
    ("name", "before", "current", "asked", "up_s", "down_s", "expected"),
    [
        ("empty recommendations for scaling down", (), 100, 5, 0, 0, 5),
        ("simple scale down stabilization", ((4, 2), (5, 1)), 100, 3, 0, 180, 5),
        ("simple scale up stabilization", ((4, 2), (5, 1)), 1, 7, 300, 0, 4),
        ("no scale down stabilization", ((1, 2), (2, 1)), 100, 3, 300, 0, 3),
        ("no scale up stabilization", ((4, 2), (5, 1)), 1, 3, 0, 300, 3),
        ("no scale down stabilization, reuse", ((10, 10), (9, 9)), 100, 3, 0, 0, 3),
        ("no scale up stabilization, reuse", ((10, 10), (9, 9)), 1, 100, 0, 0, 100),
        ("scale down, obsolete recommendation", ((10, 10), (9, 9), (5, 2), (4, 1)), 100, 3, 0, 180, 5),
        ("scale up, obsolete recommendation", ((10, 100), (9, 3), (5, 2), (6, 1)), 1, 100, 300, 0, 5),
        ("do not scale up when it goes down", ((2, 100), (3, 3)), 2, 1, 300, 300, 2),
        ("do not scale down when it goes up", ((2, 100), (1, 3)), 2, 3, 300, 300, 2),
    ],
)
def test_the_windows_hold_up_what_upstream_holds_up(
    name: str, before: tuple[tuple[int, int], ...], current: int, asked: int, up_s: float, down_s: float, expected: int
) -> None:
    """Every vector of TestNormalizeDesiredReplicasWithBehavior comes out as there; `before` are proposals and how many minutes ago."""
    hpa = Hpa(1, 1000, up=Rules(SCALE_UP.policies, up_s), down=Rules(SCALE_DOWN.policies, down_s))
    for proposed, minutes in sorted(before, key=lambda made: -made[1]):
        hpa._recommend(NOW - 60 * minutes, proposed)
    assert hpa._stabilised(NOW, current, asked) == expected, name


def test_of_several_metrics_the_largest_counts_and_a_missing_one_keeps_the_number_up() -> None:
    """TestScaleUpOneMetricEmpty scales by the other one, TestNoScaleDownOneMetricEmpty does not scale down."""
    assert most_of(3, (4, None)) == 4
    assert most_of(5, (3, None)) is None
    assert most_of(5, (3, 2)) == 3
    assert most_of(5, (None,)) is None


def test_a_day_of_an_hpa_as_a_story() -> None:
    """Load that doubles is answered at the next look, in steps of as many again, and let go five minutes after it went, at once."""
    hpa = Hpa(2, 40)
    wanted, seen = 4, list[tuple[int, int]]()
    for look in range(60):
        demand = 4 * 0.7 if look < 4 else 25 * 0.7 if look < 10 else 6 * 0.7
        wanted = hpa.desired(15.0 * look, wanted, wanted, demand / wanted)
        if not seen or seen[-1][1] != wanted:
            seen.append((look, wanted))
    # Look 10 is the first of the low ones; the last high proposal was made at look 9, and counts for 300 s.
    assert seen == [(0, 4), (4, 8), (5, 16), (6, 25), (29, 6)]


def test_why_a_proposal_was_not_followed_is_said() -> None:
    """A rate, a window and a bound each have their sentence; what is followed has none."""
    hpa = Hpa(2, 12)
    assert hpa.desired(0, 4, 4, 0.7) == 4 and hpa.limit == ""
    assert hpa.desired(15, 4, 4, 2.1) == 8
    assert hpa.limit == "no faster than 4 in 15 s or 100% in 15 s, so not 12 at once"
    assert hpa.desired(30, 8, 8, 2.1) == 12 and hpa.limit == "12 is the most that is allowed, not 24"
    assert hpa.desired(45, 12, 12, 0.1) == 12 and hpa.limit == "the most of the last 300 s counts, not 2"


def test_what_starts_counts_as_idle_so_that_nothing_is_asked_for_twice() -> None:
    """While the instances that were asked for start, the same load asks for no more of them."""
    hpa = Hpa(1, 100)
    wanted = hpa.desired(0, 4, 4, 1.4)
    assert wanted == 8
    for look in range(1, 9):
        wanted = hpa.desired(15.0 * look, wanted, 4, 1.4)
    assert wanted == 8


def test_what_was_let_go_bears_nothing() -> None:
    """Of eight that serve, four only finish what they have: the load on the mean is that of the other four."""
    hpa = Hpa(1, 100)
    assert {hpa.desired(15.0 * look, 4, 8, 0.35) for look in range(40)} == {4}


def test_a_caller_by_the_minute_gets_the_four_looks_of_that_minute() -> None:
    """The steps that a rate allows are taken as if it had been asked each 15 s, for as long as it was not."""
    hpa = Hpa(1, 1000)
    assert hpa.desired(0, 5, 5, 0.7) == 5
    assert hpa.desired(60, 5, 5, 7.0) == 50
    assert hpa.desired(120, 50, 5, 70.0) == 500


def test_asked_more_often_than_it_looks_it_changes_nothing() -> None:
    """Between two looks the number stays, whatever is seen."""
    hpa = Hpa(1, 100)
    assert hpa.desired(0, 4, 4, 0.7) == 4
    assert [hpa.desired(at, 4, 4, 5.0) for at in (1, 7, 14.9)] == [4, 4, 4]
    assert hpa.desired(15, 4, 4, 5.0) == 8


def test_a_clock_that_is_set_back_begins_anew_as_after_a_restart() -> None:
    """It goes on looking, and the number that runs is its first proposal, so that nothing is let go at once."""
    hpa = Hpa(1, 100)
    assert hpa.desired(10_000, 20, 20, 0.7) == 20
    assert hpa.desired(500, 20, 20, 0.1) == 20
    assert hpa.desired(515, 20, 20, 1.4) == 40


def test_rules_that_make_no_sense_are_refused() -> None:
    """Bounds without a number between them, a target of nothing and rules without a policy are errors at once."""
    for make in (
        lambda: Hpa(5, 4),
        lambda: Hpa(0, 0),
        lambda: Hpa(1, 4, 0.0),
        lambda: Rules(()),
        lambda: RatePolicy(0),
        lambda: RatePolicy(1, 0),
    ):
        with pytest.raises(ValueError, match=r"HPA|number"):
            make()


@pytest.mark.parametrize(
    ("started_s_ago", "since_s_ago", "state", "expected"),
    [
        (400, 390, InstanceState.READY, False),
        (100, 90, InstanceState.READY, False),
        (100, 5, InstanceState.READY, True),
        (400, 5, InstanceState.READY, False),
        (100, 100, InstanceState.STARTING, True),
        (400, 400, InstanceState.STARTING, True),
        (400, 10, InstanceState.UNHEALTHY, False),
        (400, 380, InstanceState.UNHEALTHY, True),
    ],
)
def test_whose_processor_time_is_not_yet_load(
    started_s_ago: float, since_s_ago: float, state: InstanceState, expected: bool
) -> None:
    """As groupPods: within five minutes of its start whoever is not ready, or not for a whole sample; later only who never was."""
    seen = InstanceSeen("web-1", "web", "local", "r1", state, NOW - since_s_ago, NOW - started_s_ago, NOW)
    assert is_unready(seen, NOW) is expected


LOOK = st.tuples(st.one_of(st.none(), st.floats(0, 10)), st.integers(0, 30), st.floats(1, 400))


@given(
    low=st.integers(0, 5),
    span=st.integers(0, 20),
    replicas=st.integers(0, 40),
    looks=st.lists(LOOK, max_size=30),
    is_resource=st.booleans(),
)
def test_no_history_leaves_minimum_and_maximum(
    low: int,
    span: int,
    replicas: int,
    looks: list[tuple[float | None, int, float]],
    is_resource: bool,
) -> None:
    """Whatever was seen, missing or not, ready or not, the number is within the bounds, and at least one."""
    high = max(1, low + span)
    hpa, now_s, wanted = Hpa(low, high, is_resource=is_resource), 0.0, replicas
    for use, ready, after_s in looks:
        now_s += after_s
        wanted = hpa.desired(now_s, wanted, ready, use, missing=ready // 3)
        assert max(1, low) <= wanted <= high


@given(
    history=st.lists(LOOK, max_size=12),
    use=st.floats(0, 8),
    more=st.floats(0, 8),
    ready=st.integers(0, 20),
    missing=st.integers(0, 5),
    is_resource=st.booleans(),
)
def test_more_load_never_gives_fewer_pods(
    history: list[tuple[float | None, int, float]],
    use: float,
    more: float,
    ready: int,
    missing: int,
    is_resource: bool,
) -> None:
    """After the same history a higher figure never ends with fewer, all else equal."""
    ends = []
    for figure in (use, use + more):
        hpa, now_s, wanted = Hpa(1, 40, is_resource=is_resource), 0.0, 8
        for past, was_ready, after_s in history:
            now_s += after_s
            wanted = hpa.desired(now_s, wanted, was_ready, past)
        ends.append(hpa.desired(now_s + 15, wanted, ready, figure, missing=missing))
    assert ends[0] <= ends[1]


@given(history=st.lists(LOOK, max_size=12), blind=st.lists(st.floats(1, 400), min_size=1, max_size=12))
def test_metrics_that_are_missing_never_scale_down(
    history: list[tuple[float | None, int, float]], blind: list[float]
) -> None:
    """Whatever came before, a figure that does not arrive changes nothing, for as long as that lasts."""
    hpa, now_s, wanted = Hpa(1, 40), 0.0, 8
    for use, ready, after_s in history:
        now_s += after_s
        wanted = hpa.desired(now_s, wanted, ready, use)
    for after_s in blind:
        now_s += after_s
        assert hpa.desired(now_s, wanted, 8, None) == wanted
        assert hpa.desired(now_s, wanted, 8, 0.0, None) >= wanted
