"""Posted metrics as facts: shares added up, and forgotten when nobody posts them any more."""

import asyncio

from tenfold.console.metrics import SHARE_AGE_S_MAX, SILENT_S_MAX, PostedMetrics
from tenfold.facts import MetricSeen
from tenfold.wire import MetricPost


class Hands:
    """A clock whose hands are turned by the test."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def now(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def post(instance: str, value: float) -> MetricPost:
    return MetricPost("web", "local", instance, "concurrent_users", value)


def test_shares_are_added_up_while_they_are_young() -> None:
    """The share of an instance that ended counts no more after a while, and a metric without shares is absent."""
    clock = Hands(1000.0)
    posted = PostedMetrics(clock)
    posted.post(post("web-1", 100.0))
    clock.now_s += 60.0
    posted.post(post("web-2", 50.0))
    assert asyncio.run(posted.observe()) == (MetricSeen("web", "local", "concurrent_users", 150.0, 1060.0),)
    clock.now_s += SHARE_AGE_S_MAX - 59.0
    (metric,) = asyncio.run(posted.observe())
    assert metric == MetricSeen("web", "local", "concurrent_users", 50.0, 1060.0, silent=("web-1",))
    clock.now_s += 60.0
    assert asyncio.run(posted.observe()) == ()


def test_one_that_ceased_to_post_is_named_for_a_while() -> None:
    """Its share is not in the sum any more; that it is missing is told for ten minutes, or until it posts again."""
    clock = Hands(1000.0)
    posted = PostedMetrics(clock)
    posted.post(post("web-1", 100.0))
    posted.post(post("web-2", 50.0))

    def seen_after(seconds: float) -> tuple[float, tuple[str, ...]]:
        clock.now_s += seconds
        posted.post(post("web-2", 50.0))
        (metric,) = asyncio.run(posted.observe())
        assert isinstance(metric, MetricSeen)
        return metric.value, metric.silent

    assert seen_after(SHARE_AGE_S_MAX) == (150.0, ())
    assert seen_after(1.0) == (50.0, ("web-1",))
    assert seen_after(SILENT_S_MAX - SHARE_AGE_S_MAX - 1.0) == (50.0, ("web-1",))
    posted.post(post("web-1", 10.0))
    assert seen_after(1.0) == (60.0, ())
    assert seen_after(SILENT_S_MAX) == (50.0, ())


def test_a_share_from_before_the_clock_was_set_back_counts_no_more() -> None:
    """Its instance may have ended long ago: without an age it is no figure to scale by."""
    clock = Hands(5000.0)
    posted = PostedMetrics(clock)
    posted.post(post("web-1", 100.0))
    clock.now_s = 1000.0
    assert asyncio.run(posted.observe()) == ()
    posted.post(post("web-1", 70.0))
    assert asyncio.run(posted.observe()) == (MetricSeen("web", "local", "concurrent_users", 70.0, 1000.0),)
