"""Objectives, error budgets and burn rates, against the examples of Google's SRE workbook, chapter 5."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.deciders.signs import BURNS
from tenfold.estimators.levels import (
    DAY_MINUTES,
    WINDOWS,
    Counts,
    Levels,
    Tally,
    budget_left,
    burn_rate,
    objectives_of,
)
from tenfold.facts import ObjectiveSeen, ServedSeen
from tenfold.model import LatencyTargets, Slo, Targets

START = 1_700_000_000 // 60 * 60.0
THREE_NINES = Targets(availability_ratio=0.999)
HOUR_S = 3600.0


class Edge:
    """An edge that serves so many requests a second, and what `Levels` makes of it, look by look."""

    def __init__(self, targets: Targets = THREE_NINES, levels: Levels | None = None) -> None:
        self.levels = levels or Levels(targets)
        self.now, self.requests, self.failed, self.late = START, 0.0, 0.0, 0.0

    def run(self, seconds: float, rps: float = 10.0, failed: float = 0.0, late: float = 0.0) -> "Edge":
        """Serve for `seconds`; of the requests the shares `failed` and `late` are bad."""
        for _ in range(int(seconds)):
            self.now += 1.0
            self.requests += rps
            self.failed += rps * failed
            self.late += rps * late
            self.levels.take(self.now, self.served())
        return self

    def served(self) -> ServedSeen:
        """What the driver says now."""
        return ServedSeen("local", self.now, int(self.requests), int(self.failed), int(self.requests), int(self.late))

    def objective(self, key: str = "availability") -> ObjectiveSeen:
        """How it stands."""
        return next(fact for fact in self.levels.facts() if fact.key == key)


def seconds_until(edge: Edge, failed: float, long: str, short: str, burn_min: float) -> int | None:
    """After how long of an outage both windows are over `burn_min`."""
    for second in range(1, 4000):
        edge.run(1, failed=failed)
        burn = edge.objective().burn
        if min(burn[long], burn[short]) >= burn_min:
            return second
    return None


def test_an_outage_spends_the_budget_in_43_minutes() -> None:
    """With 99.9% over 30 days a complete outage burns 1000 times too fast, so that the budget lasts 43 minutes (table 5-1)."""
    rate = burn_rate("availability", Slo(0.999), Counts(6000, 6000, seen_s=600.0), 0.0)
    assert rate == pytest.approx(1000)
    assert 30 * 24 * 60 / rate == pytest.approx(43.2)


@pytest.mark.parametrize(("burn", "days"), [(1, 30), (2, 15), (10, 3), (1000, 43.2 / 60 / 24)])
def test_burn_rates_and_time_to_exhaustion(burn: float, days: float) -> None:
    """The workbook's table 5-1: an error rate of `burn` times 0.1% leaves so many days."""
    total = 1_000_000
    rate = burn_rate("availability", Slo(0.999), Counts(total, round(total * burn / 1000), seen_s=600.0), 0.0)
    assert rate == pytest.approx(burn)
    assert 30 / rate == pytest.approx(days)


def test_the_thresholds_are_shares_of_the_budget() -> None:
    """14.4 for an hour is 2% of the budget of 30 days, 6 for six hours 5%, 1 for three days 10%."""
    spent = {pair.long: pair.burn_min * WINDOWS[pair.long] / (30 * DAY_MINUTES) for pair in BURNS}
    assert {name: round(share, 6) for name, share in spent.items()} == {"1h": 0.02, "6h": 0.05, "3d": 0.1}
    assert all(math.isclose(WINDOWS[pair.long] / WINDOWS[pair.short], 12) for pair in BURNS)


@pytest.mark.parametrize(("failed", "seconds"), [(1.0, 52), (0.1, 520), (0.0144, 3600)])
def test_time_to_the_first_page(failed: float, seconds: int) -> None:
    """After a quiet day, 1h/5m at 14.4 is reached in 14.4 * 0.1% / error rate of an hour, whatever part of the minute it is in."""
    found = seconds_until(Edge().run(7 * HOUR_S), failed, "1h", "5m", 14.4)
    assert found is not None
    assert seconds - 61 <= found <= seconds + 1


def test_too_little_to_page() -> None:
    """An error rate of ten times the budget never reaches 14.4."""
    assert seconds_until(Edge().run(2 * HOUR_S), 0.01, "1h", "5m", 14.4) is None


def test_the_short_window_ends_it() -> None:
    """Six minutes after an outage the last five minutes are clean, while the last hour still shows it."""
    edge = Edge().run(HOUR_S).run(600, failed=1.0).run(360)
    burn = edge.objective().burn
    assert burn["5m"] == 0
    assert burn["1h"] > 14.4


def test_what_was_not_seen_is_absent() -> None:
    """Windows that were not seen for long enough, or had too little traffic, are left out, and never 0."""
    assert Edge().run(30).objective().burn == {}
    assert set(Edge().run(120).objective().burn) == {"5m"}
    assert set(Edge().run(400).objective().burn) == {"5m", "30m", "1h"}
    assert Edge().run(400, rps=0.02).objective().burn == {}
    assert Edge().levels.facts() == ()


def test_a_gap_is_no_time_that_was_seen() -> None:
    """After an hour in which nobody looked the short window is absent until it was seen again; the long ones go on from before."""
    edge = Edge().run(2 * HOUR_S)
    edge.now += HOUR_S
    burn = edge.run(20).objective().burn
    assert "5m" not in burn
    assert "6h" in burn


def test_what_was_served_in_a_short_blindness_counts() -> None:
    """The gateway counts on while nobody looks: ten failures of that time are not lost."""
    edge = Edge().run(300)
    edge.now += 30
    edge.requests += 300
    edge.failed += 10
    edge.run(1)
    assert edge.objective().bad == 10
    assert edge.objective().covered_s == pytest.approx(300, abs=2)


def test_a_driver_that_begins_anew() -> None:
    """Counters that fall are those of another driver: nothing is counted twice, and nothing is negative."""
    edge = Edge().run(100, failed=0.5)
    before = edge.objective()
    edge.requests = edge.failed = edge.late = 0.0
    edge.run(10, failed=0.5)
    assert edge.objective().total - before.total == pytest.approx(100)
    assert edge.objective().bad - before.bad == pytest.approx(50)


def test_latency_counts_what_is_late() -> None:
    """With 10% late where 5% may be, the budget goes twice too fast, and half of the answers being late burns ten times."""
    edge = Edge(Targets(latency=LatencyTargets(p95_ms=500))).run(600, late=0.1)
    assert edge.objective("latency").burn["5m"] == pytest.approx(2, rel=0.01)
    assert edge.run(300, late=0.5).objective("latency").burn["5m"] == pytest.approx(10, rel=0.01)
    assert edge.objective("latency").budget_left_ratio < 0


def test_which_objectives_there_are() -> None:
    """Of availability and error rate the stricter one counts; without targets there is none; a target of 100% has no budget to burn."""
    assert objectives_of(Targets(availability_ratio=0.99, error_ratio=0.001)) == {"availability": Slo(0.999)}
    assert objectives_of(Targets(availability_ratio=0.9999, error_ratio=0.01)) == {"availability": Slo(0.9999)}
    assert objectives_of(Targets()) == {}
    assert burn_rate("availability", Slo(1.0), Counts(1000, 1, seen_s=9e9), 0.0) is None
    assert (budget_left(Slo(1.0), 1000, 0), budget_left(Slo(1.0), 1000, 1)) == (1.0, 0.0)


def test_a_clock_that_jumps_ahead_and_back() -> None:
    """Minutes that were counted while the clock was a day ahead are of no time, and those of before stay."""
    edge = Edge().run(600)
    edge.now += 86_400
    edge.run(120, failed=1.0)
    edge.now -= 86_400 + 120
    burn = edge.run(120).objective().burn
    assert burn["30m"] == 0
    assert edge.objective().bad == 0
    assert edge.objective().total == pytest.approx(7200, rel=0.02)


MINUTES = st.lists(st.tuples(st.integers(-400, 800), st.integers(0, 50)), min_size=1, max_size=60)


@given(MINUTES, st.integers(1, 700))
def test_sums_are_those_of_the_minutes(steps: list[tuple[int, int]], window: int) -> None:
    """However the clock goes, the sum of a window is that of its minutes, as they were counted last."""
    tally, truth, minute = Tally(), dict[int, int](), 100_000
    for step, count in steps:
        minute += step
        if step not in (0, -1):
            tally.turn(minute)
        else:
            minute = tally.minute
        truth = {at: n for at, n in truth.items() if at <= minute}
        tally.add(Counts(requests=count))
        truth[minute] = truth.get(minute, 0) + count
    assert tally.over(window).requests == sum(n for at, n in truth.items() if minute - window < at <= minute)
