"""What is reckoned from measured points: laws that are planted are found again, more is never less, asymptotes meet where they must."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.estimators.capacity import (
    Machine,
    Offered,
    Usl,
    bend,
    fit_usl,
    percentile_error,
    predicted_rps,
    users_held,
)

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


@given(
    one=st.floats(1, 10_000),
    contention=st.floats(0, 0.5),
    coherency=st.floats(0, 0.02),
    noise=st.lists(st.floats(-0.01, 0.01), min_size=len(COUNTS), max_size=len(COUNTS)),
)
def test_a_planted_law_is_found_in_noisy_points(
    one: float, contention: float, coherency: float, noise: list[float]
) -> None:
    """From ten points that are each up to 1% off, the fit gives every throughput back to within 3%, and the terms it was made from."""
    law = Usl(one, contention, coherency)
    found = fit_usl([(n, law.throughput(n) * (1 + off)) for n, off in zip(COUNTS, noise, strict=True)])
    for n in COUNTS:
        assert found.throughput(n) == pytest.approx(law.throughput(n), rel=0.03)
    assert found.contention == pytest.approx(contention, abs=0.08)
    assert found.coherency == pytest.approx(coherency, abs=0.01)


@given(one=st.floats(1, 10_000), contention=st.floats(0, 0.9), coherency=st.floats(0.0001, 0.1))
def test_exact_points_give_the_exact_law(one: float, contention: float, coherency: float) -> None:
    """Without noise all three terms come back, and with them the number past which more gives less."""
    law = Usl(one, contention, coherency)
    found = fit_usl([(n, law.throughput(n)) for n in COUNTS])
    assert found.one == pytest.approx(one, rel=1e-6)
    assert found.contention == pytest.approx(contention, abs=1e-6)
    assert found.coherency == pytest.approx(coherency, abs=1e-6)
    assert found.throughput(found.peak) >= max(found.throughput(n) for n in COUNTS) * (1 - 1e-9) or found.peak < 1


def test_one_point_is_a_straight_line_and_two_know_no_coherency() -> None:
    """The fit says no more than the points do."""
    assert fit_usl([(1, 50.0)]) == Usl(pytest.approx(50.0), 0.0, 0.0)
    two = fit_usl([(1, 50.0), (2, 80.0)])
    assert (two.one, two.coherency) == (pytest.approx(50.0), 0.0)
    assert two.contention == pytest.approx(0.25)
    assert two.peak == math.inf


@pytest.mark.parametrize("points", [[], [(0, 5.0)], [(1, 0.0)], [(1, 50.0), (2, -1.0)]])
def test_no_law_is_made_of_nothing(points: list[tuple[float, float]]) -> None:
    """Without a point above zero there is nothing to fit, and that is an error rather than a figure."""
    with pytest.raises(ValueError, match="points"):
        fit_usl(points)


def test_better_than_linear_points_are_taken_as_linear() -> None:
    """No term is ever below zero: a lucky measurement at two instances does not promise ever more."""
    assert fit_usl([(1, 50.0), (2, 110.0)]).contention == 0.0


def test_an_app_that_waits_bends_where_its_places_are_full() -> None:
    """Ten at once for 50 ms each: the plateau is 200 requests/s, and ten requests at hand reach it."""
    points = [Offered(rate, rate, 50.0) for rate in (20, 80, 160)] + [Offered(320, 200, 3000.0)]
    found = bend(points)
    assert found is not None
    assert (found.rps, found.concurrency) == (200, pytest.approx(10.0))


def test_nothing_bends_while_all_that_is_offered_is_answered() -> None:
    """Without a load that was too much, the bend lies above what was tried, and no figure is made up for it."""
    assert bend([Offered(20, 20, 50.0), Offered(40, 39.9, 55.0)]) is None
    assert bend([]) is None


@given(
    cores=st.floats(0, 64),
    taken=st.floats(0, 64),
    more=st.floats(0, 8),
    cpu_ms=st.floats(0.01, 500),
    latency_ms=st.floats(1, 5000),
    longer_ms=st.floats(0, 5000),
)
def test_more_room_never_holds_less(
    cores: float, taken: float, more: float, cpu_ms: float, latency_ms: float, longer_ms: float
) -> None:
    """More cores, fewer taken by others, or a target that is easier to meet never lower what a machine holds, and it never passes what
    its cores can do."""
    holds = Machine(cores, taken, cpu_ms).holds_rps(latency_ms)
    assert 0 <= holds <= max(cores - taken, 0) * 1000 / cpu_ms * (1 + 1e-9)
    assert Machine(cores + more, taken, cpu_ms).holds_rps(latency_ms) >= holds * (1 - 1e-9)
    assert Machine(cores, max(0.0, taken - more), cpu_ms).holds_rps(latency_ms) >= holds * (1 - 1e-9)
    assert Machine(cores, taken, cpu_ms).holds_rps(latency_ms + longer_ms) >= holds * (1 - 1e-9)


@given(one=st.floats(1, 1000), few=st.integers(1, 32), more=st.integers(0, 32), cpu_ms=st.floats(0.01, 50))
def test_more_instances_are_never_predicted_to_hold_less(one: float, few: int, more: int, cpu_ms: float) -> None:
    """The prediction grows with the instances until the machine is full, and is linear without one."""
    machine = Machine(2, 0.1, cpu_ms)
    assert predicted_rps(few + more, one, machine, 500) >= predicted_rps(few, one, machine, 500)
    assert predicted_rps(few, one, None, 500) == few * one


def test_users_follow_from_what_they_do_and_wait_for() -> None:
    """Fifty actions a second of people who pause ten seconds and wait one are 550 people."""
    assert users_held(50, 10.0, 1.0) == 550


def test_the_rank_of_a_percentile_is_as_sure_as_its_count() -> None:
    """Four hundred answers know their 95th percentile to within 2.2 points, none at all know nothing."""
    assert percentile_error(400) == pytest.approx(0.0214, abs=0.0005)
    assert percentile_error(0) == 1.0
