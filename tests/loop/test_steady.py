"""Noise goes before anything is decided on; what decisions rest on stays."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.facts import InstanceSeen, InstanceState, MetricSeen, PoolSeen, RouteSeen
from tenfold.loop.steady import figure, steady


@given(st.floats(0.01, 1e9))
def test_figures_keep_half_a_percent(value: float) -> None:
    """A measured figure moves by no more than 0.5%, and steadying it again changes nothing."""
    once = figure(value)
    assert abs(once - value) <= 0.0051 * value or value < 0.1
    assert figure(once) == once


def test_an_instance_without_its_noise() -> None:
    """Times keep milliseconds, cores three digits, memory steps of 256 KiB; the rest stays as it is."""
    seen = InstanceSeen(
        "web-1",
        "web",
        "local",
        "r1",
        InstanceState.READY,
        1.00049,
        2.0,
        3.12345,
        cpu_cores=0.123456,
        memory_bytes=10_000_000,
    )
    calm = steady(seen)
    assert isinstance(calm, InstanceSeen)
    assert (calm.since, calm.seen_at, calm.cpu_cores, calm.memory_bytes) == (1.0, 3.123, 0.123, 38 * 256 * 1024)
    assert (calm.id, calm.state, calm.generation, calm.host) == ("web-1", InstanceState.READY, 1, None)


def test_custom_metrics_keep_six_digits() -> None:
    """The app's own figures are not ours to coarsen much."""
    seen = steady(MetricSeen("web", "local", "queue", 1234.5678, 1.0))
    assert isinstance(seen, MetricSeen)
    assert seen.value == 1234.57


def test_a_figure_that_is_not_finite_is_missing() -> None:
    """Not-a-number never reaches a decider: it is a figure that did not arrive."""
    seen = steady(PoolSeen("web", "local", 1.0, response_ms_p95=math.nan))
    assert isinstance(seen, PoolSeen)
    assert seen.response_ms_p95 is None
    with pytest.raises(ValueError, match="not a finite"):
        steady(RouteSeen("web", "local", "/", 1, math.inf, 1.0, 1.0))
