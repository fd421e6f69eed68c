"""What becomes of packets on a link: pure, without a network."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.drivers.wan.links import BUFFER_MS, QUEUE_PACKETS_MAX, Change, Link

MS = 1_000_000
NOW = 10**15


def link(delay_ms: float = 40.0, *changes: Change) -> Link:
    """A link with `changes` upon it."""
    made = Link("a", "b", 0, delay_ms)
    made.changes = dict(enumerate(changes))
    made.refresh()
    return made


def test_a_packet_takes_as_long_as_the_way() -> None:
    """Delays of several changes add up, and a link without changes is only as long as it is."""
    assert link().send(NOW, 100) == NOW + 40 * MS
    assert link(40.0, Change(extra_ms=100.0), Change(extra_ms=5.5)).send(NOW, 100) == NOW + 145_500_000


def test_packets_are_lost_as_often_as_was_asked() -> None:
    """Of two losses the second takes its share of what the first let through."""
    random.seed(7)
    lossy = link(0.0, Change(loss_ratio=0.1), Change(loss_ratio=0.2))
    sent = 20_000
    for _ in range(sent):
        lossy.send(NOW, 100)
        lossy.queued = 0
    assert lossy.lost / sent == pytest.approx(0.28, abs=0.015)


def test_nothing_passes_a_link_that_is_cut() -> None:
    """A cut link loses everything, and carries again as soon as the change is taken off."""
    cut = link(40.0, Change(is_cut=True))
    assert [cut.send(NOW, 100) for _ in range(10)] == [0] * 10
    cut.changes.clear()
    cut.refresh()
    assert cut.send(NOW, 100) == NOW + 40 * MS


def test_bandwidth_makes_packets_wait_and_then_drops_them() -> None:
    """At 1 MB/s a packet of 1,000 bytes takes a millisecond; whoever would wait longer than the buffer holds is dropped."""
    narrow = link(0.0, Change(bandwidth_bytes_per_s=1e6), Change(bandwidth_bytes_per_s=5e6))
    due = [narrow.send(NOW, 1000) for _ in range(400)]
    through = [at for at in due if at]
    assert through[:3] == [NOW + MS, NOW + 2 * MS, NOW + 3 * MS]
    assert max(through) <= NOW + (BUFFER_MS + 1) * MS
    assert narrow.dropped == 400 - len(through) > 0
    assert narrow.send(NOW + 1000 * MS, 1000) == NOW + 1001 * MS


@given(st.floats(0, 500), st.floats(0, 500), st.lists(st.integers(0, 20 * MS), max_size=50), st.integers(0, 2**32))
def test_packets_never_overtake_one_another(delay_ms: float, jitter_ms: float, gaps: list[int], seed: int) -> None:
    """Jitter delays, it does not reorder; nor does a packet arrive much earlier than it may."""
    random.seed(seed)
    shaky, now_ns, before = link(delay_ms, Change(jitter_ms=jitter_ms)), NOW, 0
    for gap in gaps:
        now_ns += gap
        due = shaky.send(now_ns, 100)
        assert due >= before and due >= now_ns + (delay_ms - jitter_ms) * MS - 2
        before = due


def test_a_queue_is_bounded() -> None:
    """A link on which nothing arrives any more does not eat the machine's memory."""
    long = link(60_000.0)
    for _ in range(QUEUE_PACKETS_MAX + 10):
        long.send(NOW, 1500)
    assert (long.queued, long.dropped) == (QUEUE_PACKETS_MAX, 10)


@pytest.mark.parametrize(
    "wrong",
    [{"extra_ms": -1}, {"loss_ratio": 1.1}, {"jitter_ms": float("nan")}, {"bandwidth_bytes_per_s": 0}],
    ids=str,
)
def test_a_network_that_can_not_be_is_refused(wrong: dict[str, float]) -> None:
    """Negative time, losses above everything and the like are told at once."""
    with pytest.raises(ValueError, match="no network can be like this"):
        Change(**wrong)  # type: ignore[arg-type]
