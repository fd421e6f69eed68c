"""Stories of one pool that another keeps: where it begins, what it adds, what it never does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.console.keda.asked import Ref, asked_of
from tenfold.console.keda.brain import Answer, Brain

NOW = 1_700_000_000.0
DAY_MINUTES = 1440


def brain(**metadata: str) -> Brain:
    """Of a pool of which one instance holds 50, unless the metadata says otherwise."""
    ref = Ref("shop", "web", tuple({"query": "q", "holds": "50", **metadata}.items()))
    return Brain(asked_of(ref, {}, {}), "shop")


def steady(
    mind: Brain, load: float, ready: int | None, looks: int, start: float = NOW, every_s: float = 15.0
) -> Answer:
    """So many looks at the same load; the last answer."""
    for look in range(looks):
        answer = mind.think(start + look * every_s, load, ready)
    return answer


def test_it_begins_with_what_runs() -> None:
    """A scaler that starts beside 20 instances that are well used does not bring them down to the minimum."""
    answer = brain(min="1", max="40").think(NOW, 650.0, 20)
    assert answer.wanted == 20
    assert "it begins with what ran" in answer.why
    assert answer.is_active


def test_it_begins_with_what_the_last_minutes_needed() -> None:
    """Without a count of what runs it takes the peak of the last five minutes: 650 at 65% of 50 each are 20."""
    mind = brain(max="40")
    mind.remember([(int(NOW // 60) - 90, 4000.0)])
    mind.begin(650.0)
    answer = mind.think(NOW, 325.0, None)
    assert answer.wanted == 20
    assert "650 requests/s" in answer.why
    bounded = brain(max="6")
    bounded.begin(1e300)
    assert bounded.think(NOW, 1e300, None).why.endswith("up to 1e+300 requests/s, 50 each; at most 6 instances")
    assert brain(min="2").think(NOW, 0.0, None).why.endswith("up to 0 requests/s, 50 each; at least 2 instances")


def test_its_own_start_lets_nothing_go() -> None:
    """Forty instances ran for a load that needs a quarter of them: they go by the decider's rules, minutes after the start, not with it."""
    mind = brain(max="60")
    mind.remember([(int(NOW // 60) - n, 400.0) for n in range(1500, 1, -1)])
    mind.learn([(int(NOW // 60) - 1, 400.0)])
    assert steady(mind, 400.0, 40, 20, every_s=15.0).wanted == 40
    minutes = range(int(NOW // 60), int(NOW // 60) + 40)
    for minute in minutes:
        mind.learn([(minute, 400.0)])
        answer = mind.think((minute + 1) * 60.0, 400.0, 40)
    assert 10 <= answer.wanted <= 16, answer.why


def test_load_adds_instances_after_two_looks() -> None:
    """One look above the bound is noise; two add what brings the load to the middle of the band, and the reason has the figures."""
    mind = brain(max="40", min="4")
    first = mind.think(NOW, 130.0, 4)
    assert first.wanted == 4
    second = steady(mind, 400.0, 4, 3, NOW + 15)
    assert second.wanted >= 13
    assert "400 requests/s" in second.why


def test_it_never_leaves_its_bounds() -> None:
    """However much there is to do, max is the most, and the reason tells what it would take."""
    answer = steady(brain(max="6"), 5000.0, 6, 5)
    assert answer.wanted == 6


def test_a_pool_that_may_not_sleep_is_always_active() -> None:
    """With a minimum of 1 no silence makes it inactive."""
    answer = steady(brain(min="1"), 0.0, 1, 400, every_s=60.0)
    assert (answer.wanted, answer.is_active) == (1, True)


def test_a_pool_that_may_sleep_falls_asleep_and_is_woken() -> None:
    """With a minimum of 0 it is inactive after a long silence, and active again with the first look that shows a request."""
    mind = brain(min="0")
    assert steady(mind, 0.0, 1, 2).is_active
    asleep = steady(mind, 0.0, None, 240, NOW + 60.0, every_s=60.0)
    assert (asleep.wanted, asleep.is_active) == (0, False)
    woken = mind.think(NOW + 250 * 60.0, 0.2, 0)
    assert woken.is_active
    assert woken.wanted >= 1


def test_minutes_that_come_again_change_nothing() -> None:
    """What overlaps with what was learnt, as after a question that was asked again, is passed over."""
    minds = brain(), brain()
    for mind in minds:
        mind.remember([(minute, 100.0 + minute % 7) for minute in range(1000, 1100)])
        mind.learn([(1100, 100.0)])
    minds[1].remember([(1050, 9000.0)])
    minds[1].learn([(1099, 9000.0), (1100, 9000.0)])
    answers = [mind.think(1101 * 60.0, 100.0, None) for mind in minds]
    assert answers[0] == answers[1]


def test_a_forecast_adds_before_the_load_comes() -> None:
    """After ten days that rise at the same hour, it has more instances before that hour than the load of now needs."""
    rise = 9 * 60

    def load(minute: int) -> float:
        return 900.0 if minute % DAY_MINUTES >= rise else 100.0

    day = int(NOW // 86400) * DAY_MINUTES
    before = day + rise - 4
    mind = brain(max="60", start="5m", horizon="10m")
    mind.remember([(minute, load(minute)) for minute in range(day - 10 * DAY_MINUTES, before - 1)])
    mind.learn([(before - 1, load(before - 1))])
    answer = steady(mind, 100.0, None, 8, before * 60.0)
    assert load(before) == 100.0
    assert answer.wanted >= 18, answer.why
    reactive = steady(brain(max="60"), 100.0, None, 8, before * 60.0)
    assert reactive.wanted < answer.wanted


def test_a_forecast_wakes_before_the_first_request_comes() -> None:
    """After ten days that begin at the same hour, a pool that sleeps is active before that: within the hour, and early enough for its
    start."""
    opens = 9 * 60

    def load(minute: int) -> float:
        return 300.0 + minute % 5 if opens <= minute % DAY_MINUTES < 18 * 60 else 0.0

    day = int(NOW // 86400) * DAY_MINUTES
    mind = brain(min="0", start="5m")
    night = day + 5 * 60
    mind.remember([(minute, load(minute)) for minute in range(day - 10 * DAY_MINUTES, night - 1)])
    mind.learn([(night - 1, 0.0)])
    woken: int | None = None
    for minute in range(night, day + opens):
        answer = mind.think(minute * 60.0, 0.0, None)
        if minute == day + 7 * 60:
            assert not answer.is_active, answer.why
        if answer.is_active and minute > day + 7 * 60:
            woken = minute
            assert "expected within" in answer.why
            break
        mind.learn([(minute, 0.0)])
    assert woken is not None
    assert opens - 60 <= woken - day <= opens - 5


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.none() | st.integers(0, 60), st.floats(-3600, 3600)), max_size=40),
    st.integers(0, 5),
    st.integers(5, 50),
)
def test_any_course_stays_within_bounds(course: list[tuple[float, int | None, float]], low: int, high: int) -> None:
    """Whatever load, count and clock do, the answer lies within its bounds, is active exactly while something is wanted, and says why."""
    mind, now = brain(min=str(low), max=str(high)), NOW
    for load, ready, passed_s in course:
        now += passed_s
        answer = mind.think(now, load, ready)
        assert low <= answer.wanted <= high
        assert answer.is_active == (answer.wanted > 0)
        assert answer.is_active or low == 0
        assert answer.is_active or load == 0
        assert answer.why


@pytest.mark.parametrize("ready", [None, 4])
def test_equal_courses_give_equal_answers(ready: int | None) -> None:
    """It reads no clock and draws nothing: the same figures give the same answers."""
    answers = [[steady(mind, 300.0, ready, n) for n in (1, 2, 3)] for mind in (brain(), brain())]
    assert answers[0] == answers[1]
