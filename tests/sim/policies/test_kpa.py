"""The KPA's arithmetic against the vectors of Knative's own unit tests, and its rules as properties.

Vectors marked with a name are numbers from knative/serving: pkg/autoscaler/scaling/autoscaler_test.go and
pkg/autoscaler/aggregation/bucketing_test.go.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.sim.policies.kpa import Kpa, Longest, Means

NOW = 1_000_000.0


def _upstreams(target: float, **changes: float) -> Kpa:
    """As newTestAutoscaler makes it: rates of 10 either way."""
    kpa = Kpa(0, 1_000_000, target, scale_up_rate_max=10, scale_down_rate_max=10)
    for name, value in changes.items():
        setattr(kpa, name, value)
    return kpa


@pytest.mark.parametrize(
    ("name", "target", "stable", "panic", "ready", "changes", "expected"),
    [
        ("AutoscalerNoDataAtZeroNoAutoscale", 10, 0, 0, 1, {}, 0),
        ("AutoscalerStableModeUnlimitedTBC", 181, 21, 26, 1, {}, 1),
        ("Autoscaler0TBC", 10, 50, 49, 1, {}, 5),
        ("AutoscalerStableModeNoChange", 10, 50, 50, 1, {}, 5),
        ("AutoscalerPanicStableLargerThanPanic", 1, 50, 30, 5, {"panic_at_s": NOW - 5, "panic_most": 5}, 50),
        ("AutoscalerPanicStableLessThanPanic", 1, 20, 30, 5, {"panic_at_s": NOW - 5, "panic_most": 5}, 30),
        ("AutoscalerStableModeNoChangeAlreadyScaled", 10, 50, 50, 5, {}, 5),
        ("AutoscalerStableModeIncreaseWithSmallScaleUpRate", 1, 3, 3.1, 2, {"scale_up_rate_max": 1.1}, 3),
        ("AutoscalerStableModeDecreaseWithSmallScaleDownRate", 10, 1, 1, 100, {"scale_down_rate_max": 1.1}, 90),
        ("AutoscalerPanicModeDoublePodCount", 10, 50, 100, 1, {}, 10),
        ("TestAutoscalerUseOnePodAsMinimumIfEndpointsNotFound", 10, 1000, 888, 0, {}, 10),
        ("TestAutoscalerActivationScale, idle", 10, 0, 0, 1, {"activation_scale": 2}, 0),
        ("TestAutoscalerActivationScale", 10, 1, 0, 1, {"activation_scale": 2}, 2),
    ],
)
def test_one_look_gives_what_upstream_gives(
    name: str, target: float, stable: float, panic: float, ready: int, changes: dict[str, float], expected: int
) -> None:
    """Every vector of TestAutoscalerScale comes out as in upstream's own test of that name."""
    assert _upstreams(target, **changes).scale(NOW, ready, stable, panic) == expected, name


@pytest.mark.parametrize(
    ("name", "target", "looks"),
    [
        (
            "TestAutoscalerUnpanicAfterSlowIncrease",
            1,
            [(0, 10, 11, 25, 25), (30, 40, 30, 41, 41), (62, 55, 50, 56, 50)],
        ),
        ("TestAutoscalerExtendPanicWindow", 1, [(0, 10, 11, 25, 25), (30, 40, 30, 80, 80), (89, 80, 1, 1, 80)]),
        ("TestAutoscalerStableModeDecrease", 10, [(0, 8, 100, 100, 10), (0, 8, 50, 50, 5)]),
        ("TestAutoscalerStableModeNoTrafficScaleToZero", 10, [(0, 1, 1, 0, 1), (0, 1, 0, 0, 0)]),
        (
            "TestAutoscalerPanicModeExponentialTrackAndStabilize",
            1,
            [(0, 1, 6, 6, 6), (0, 6, 36, 36, 36), (1, 36, 216, 216, 216), (1, 216, 1296, 1296, 1296)],
        ),
        (
            "TestAutoscalerPanicThenUnPanicScaleDown",
            10,
            [(0, 1, 100, 100, 10), (0, 10, 100, 1000, 100), (30, 10, 1, 1, 100), (61, 10, 1, 1, 1)],
        ),
        ("TestAutoscalerRateLimitScaleUp", 10, [(0, 1, 1000, 1001, 10), (0, 10, 1000, 1001, 100)]),
        ("TestAutoscalerRateLimitScaleDown", 10, [(0, 100, 1, 1, 10), (0, 10, 1, 1, 1)]),
    ],
)
def test_looks_in_a_row_give_what_upstream_gives(
    name: str, target: float, looks: list[tuple[float, int, float, float, int]]
) -> None:
    """Each story (after so many seconds: ready, stable, panic, expected) comes out as in upstream's own test of that name."""
    kpa = _upstreams(target)
    seen = [kpa.scale(NOW + after_s, ready, stable, panic) for after_s, ready, stable, panic, _ in looks]
    assert seen == [expected for *_, expected in looks], name


def test_the_delay_of_scale_down_is_that_of_upstream() -> None:
    """TestAutoscalerScaleDownDelay: the largest of the last five minutes counts, and scrolls out on time."""
    kpa = Kpa(0, 100, 10, scale_up_rate_max=10, scale_down_rate_max=10, scale_down_delay_s=300, panic_threshold=100)
    minute = 60.0
    looks = [(2, 40, 4), (5 * minute, 0, 4), (5 * minute + 2, 0, 0)]
    looks += [(9 * minute, 40, 4), (10 * minute, 30, 4), (11 * minute, 0, 4), (14 * minute, 0, 3), (15 * minute, 0, 0)]
    ready, seen = 1, []
    for at_s, concurrency, _ in looks:
        seen.append(kpa.scale(at_s, ready, concurrency, concurrency))
    assert seen == [expected for *_, expected in looks]


def test_means_are_those_of_upstream() -> None:
    """TestTimedFloat64BucketsWindowAverage, line by line: partial windows, holes, jumps, late figures."""
    means, now = Means(5), 100
    means.record(now, 1)
    assert means.mean(now) == 1
    for later in range(1, 5):
        means.record(now + later, later + 1)
    assert means.mean(now + 4) == 15 / 5
    assert means.mean(now + 3) == 15 / 5
    assert means.mean(now + 6) == (15 - 1 - 2) / (5 - 2)
    assert means.mean(now + 10) == 0
    means.record(now + 6, 91)
    assert means.mean(now + 6) == pytest.approx((15 - 1 - 2 + 91) / 5)
    now += 60
    means.record(now, 1984)
    assert means.mean(now) == 1984
    means.record(now - 3, 4)
    assert means.mean(now) == (4 + 1984) / 4
    now += 1
    means.record(now, 5)
    assert means.mean(now) == pytest.approx((4 + 1984 + 5) / 5)
    means.record(now - 3, 10)
    assert means.mean(now) == pytest.approx((4 + 10 + 1984 + 5) / 5)
    means.record(now - 6, 10)
    assert means.mean(now) == pytest.approx((4 + 10 + 1984 + 5) / 5)


@given(
    fills=st.lists(st.tuples(st.integers(1, 90), st.integers(0, 1000)), min_size=1, max_size=12),
    late=st.integers(0, 80),
)
def test_filling_seconds_is_recording_each(fills: list[tuple[int, int]], late: int) -> None:
    """A figure for a stretch of seconds gives the mean that each of its seconds, recorded alone, would give."""
    quick, slow, now = Means(60), Means(60), 0
    for seconds, value in fills:
        quick.fill(now, now + seconds, value)
        for second in range(now + 1, now + seconds + 1):
            slow.record(second, value)
        now += seconds
    assert quick.mean(now + late) == slow.mean(now + late)
    assert quick.is_empty(now + late) == slow.is_empty(now + late)


def test_a_surge_is_answered_by_the_short_window_and_nothing_goes_for_a_minute() -> None:
    """Ten times the requests at hand make it panic within the panic window; once they are gone, what it got stays for a stable window."""
    kpa, wanted, at_s, peak_at_s, gone_at_s = Kpa(1, 100, 56.0), 2, 0.0, None, None
    for _ in range(200):
        in_flight = 100.0 if at_s < 100 or at_s > 120 else 1000.0
        wanted = kpa.desired(at_s, wanted, wanted, in_flight)
        if wanted == 18 and peak_at_s is None:
            peak_at_s = at_s
        if at_s > 120 and wanted < 18 and gone_at_s is None:
            gone_at_s = at_s
        at_s += 2.0
    assert peak_at_s is not None and 104 <= peak_at_s <= 110
    # It panicked until the pool was up to it, and a stable window longer.
    assert gone_at_s is not None and 162 <= gone_at_s <= 172
    assert wanted == 2


def test_the_last_one_goes_after_the_window_and_the_grace_and_comes_back_for_one_request() -> None:
    """A pool that may have none loses its last 60 s + 30 s after the last request, and has one again at the next look with one."""
    kpa, wanted, at_s, gone_at_s = Kpa(0, 10, 56.0), 1, 0.0, None
    for _ in range(120):
        wanted = kpa.desired(at_s, wanted, wanted, 5.0 if at_s <= 100 else 0.0)
        if wanted == 0 and gone_at_s is None:
            gone_at_s = at_s
        at_s += 2.0
    assert gone_at_s is not None and 190 <= gone_at_s <= 194
    assert kpa.desired(at_s, 0, 0, 0.2) == 1
    assert kpa.desired(at_s + 2, 1, 0, 0.0) == 1


def test_a_pool_that_was_just_made_active_is_not_let_go_within_a_window() -> None:
    """Without a single request the last one stays for a stable window and the grace period after it."""
    kpa = Kpa(0, 10, 56.0)
    seen = {at_s: kpa.desired(at_s, 1, 1, 0.0) for at_s in range(0, 100, 2)}
    assert [at_s for at_s, wanted in seen.items() if wanted == 0] == [90, 92, 94, 96, 98]


def test_it_begins_with_what_runs_and_lets_nothing_go_before_it_has_a_window() -> None:
    """TestStartInPanicMode: where two or more run it begins in panic, with their number; where one runs it does not."""
    kpa = Kpa(1, 100, 56.0)
    seen = {at_s: kpa.desired(at_s, 20, 20, 1.0) for at_s in range(0, 70, 2)}
    assert {wanted for at_s, wanted in seen.items() if at_s <= 60} == {20}
    assert seen[62] == 10
    alone = Kpa(1, 100, 56.0)
    alone.desired(0, 1, 1, 1.0)
    assert (kpa.panic_at_s, alone.panic_at_s) == (None, None)


def test_by_the_minute_it_may_halve_as_often_as_it_would_have() -> None:
    """A caller by the minute sees the pool where thirty looks would have brought it, not halved once."""
    kpa = Kpa(1, 100, 56.0)
    assert kpa.desired(0, 40, 40, 2200.0) == 40
    assert kpa.desired(60, 40, 40, 2200.0) == 40
    # The panic in which it begins ends after a stable window.
    assert kpa.desired(120, 40, 40, 100.0) == 2


def test_a_clock_that_is_set_back_begins_new_windows() -> None:
    """It goes on looking, and what lies in the future binds nothing for longer than a window."""
    kpa = Kpa(1, 100, 10.0)
    assert kpa.desired(100_000, 10, 10, 100.0) == 10
    assert kpa.desired(50, 10, 10, 100.0) == 10
    wanted = 10
    for at_s in range(52, 200, 2):
        wanted = kpa.desired(at_s, wanted, wanted, 20.0)
    assert wanted == 2


def test_settings_that_make_no_sense_are_refused() -> None:
    """Bounds without a number between them and rates that would never move it are errors at once."""
    with pytest.raises(ValueError, match="no number"):
        Kpa(5, 4)
    with pytest.raises(ValueError, match="rates"):
        Kpa(1, 4, scale_down_rate_max=1.0)


@given(values=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 50)), min_size=1, max_size=40))
def test_the_largest_of_a_window_is_the_largest(values: list[tuple[int, int]]) -> None:
    """The window of the delay holds exactly the largest of what was recorded within it."""
    window, at_s, seen = Longest(20.0), 0.0, []
    for after_ticks, value in values:
        at_s += 2.0 * after_ticks
        seen.append((at_s, value))
        assert window.record(at_s, value) == max(v for s, v in seen if at_s - s < 20.0)


LOOK = st.tuples(st.one_of(st.none(), st.floats(0, 5000)), st.integers(0, 30), st.floats(0.5, 200))


@given(low=st.integers(0, 5), span=st.integers(0, 20), replicas=st.integers(0, 40), looks=st.lists(LOOK, max_size=30))
def test_no_history_leaves_minimum_and_maximum(
    low: int, span: int, replicas: int, looks: list[tuple[float | None, int, float]]
) -> None:
    """Whatever was seen, missing or not, ready or not, the number is within the bounds."""
    kpa, now_s, wanted = Kpa(low, low + span, 56.0), 0.0, replicas
    for in_flight, ready, after_s in looks:
        now_s += after_s
        wanted = kpa.desired(now_s, wanted, ready, in_flight)
        assert low <= wanted <= low + span


@given(
    history=st.lists(LOOK, max_size=12),
    at_hand=st.floats(0, 5000),
    more=st.floats(0, 5000),
    ready=st.integers(0, 20),
    after_s=st.floats(2, 200),
)
def test_more_load_never_gives_fewer_instances(
    history: list[tuple[float | None, int, float]], at_hand: float, more: float, ready: int, after_s: float
) -> None:
    """After the same history a higher figure never ends with fewer, all else equal, in a pool that keeps at least one: on its way to none
    upstream waits for the grace period with what it has."""
    ends = []
    for figure in (at_hand, at_hand + more):
        kpa, now_s, wanted = Kpa(1, 60, 56.0), 0.0, 8
        for in_flight, was_ready, step_s in history:
            now_s += step_s
            wanted = kpa.desired(now_s, wanted, was_ready, in_flight)
        ends.append(kpa.desired(now_s + after_s, wanted, ready, figure))
    assert ends[0] <= ends[1]


@given(steps=st.lists(st.floats(0.5, 100), min_size=1, max_size=40), per_instance=st.floats(1, 56))
def test_figures_that_are_missing_never_scale_down(steps: list[float], per_instance: float) -> None:
    """A pool under steady load whose figures stop keeps its instances for as long as that lasts."""
    kpa, now_s = Kpa(0, 60, 56.0), 0.0
    wanted = 20
    for _ in range(200):
        now_s += 2.0
        wanted = kpa.desired(now_s, wanted, wanted, 20 * per_instance)
    for after_s in steps:
        now_s += after_s
        assert kpa.desired(now_s, wanted, wanted, None) == wanted
