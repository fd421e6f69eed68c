"""What is odd goes on as one anomaly until it is over, gone, or the new usual."""

from dataclasses import dataclass
from random import Random

from tenfold.estimators.anomaly import ALERT_SCORE, Detector
from tenfold.estimators.oddities import BLIND_S_MAX, LASTS_S_MAX, SERIES_MAX, Oddities, is_watched
from tenfold.facts import AnomalySeen

ERRORS = "web@local.errors_per_s"


@dataclass
class Said:
    """What a detector says."""

    score: float
    expected: float | None


class Scripted:
    """A detector that finds a value of more than 50 odd where 10 is expected, once."""

    def __init__(self) -> None:
        self.was_odd = False

    def observe(self, at: float, value: float | None) -> Said:
        is_odd = value is not None and value > 50 and not self.was_odd
        self.was_odd = value is not None and value > 50
        return Said(1.0 if is_odd else 0.0, 10.0)


def run(*values: float | None) -> list[tuple[AnomalySeen, ...]]:
    """Minute by minute, what is odd."""
    oddities, found = Oddities(Scripted, 0.99), []
    for minute, value in enumerate(values):
        oddities.observe(minute * 60.0, {} if value is None else {ERRORS: value})
        found.append(oddities.facts())
    return found


def test_a_new_level_is_one_anomaly() -> None:
    """It begins with the odd minute, lasts while the level does although that surprises nobody any more, and ends with it."""
    found = run(10, 100, 90, 60, 40, 10)
    assert [len(facts) for facts in found] == [0, 1, 1, 1, 0, 0]
    [last] = found[3]
    assert (last.since, last.seen_at, last.value, last.expected, last.score) == (60.0, 180.0, 60.0, 10.0, 1.0)


def test_after_an_hour_it_is_the_usual() -> None:
    """A level that stays is told for an hour."""
    found = run(10, *[100.0] * 70)
    assert [len(facts) for facts in found].index(0, 1) == 1 + LASTS_S_MAX / 60


def test_a_gap_holds_and_a_long_one_ends() -> None:
    """Minutes that nobody saw change nothing at first; an anomaly that is not seen any more is over after a while."""
    gone = int(BLIND_S_MAX / 60) + 1
    found = run(10, 100, None, None, 100, *[None] * gone, 100)
    assert [len(facts) for facts in found] == [0, 1, 1, 1, 1, *[1] * (gone - 1), 0, 1]


def test_which_series_are_watched() -> None:
    """Figures of pools are, all else is not, and no app can make it watch without end."""
    assert is_watched(ERRORS)
    assert not is_watched("spend.per_hour")
    assert not is_watched("levels.requests")
    oddities = Oddities(Scripted, 0.99)
    oddities.observe(0.0, {f"s{i}@local.in_flight": 100.0 for i in range(2 * SERIES_MAX)})
    assert len(oddities.facts()) == SERIES_MAX


def test_the_real_detector_finds_an_outage() -> None:
    """After hours of a steady rate, errors from nowhere are odd within a minute, and the quiet before was not."""
    oddities, random = Oddities(Detector, ALERT_SCORE), Random(7)
    for minute in range(600):
        oddities.observe(minute * 60.0, {ERRORS: 0.5 + random.gauss(0, 0.05)})
        assert oddities.facts() == ()
    oddities.observe(600 * 60.0, {ERRORS: 40.0})
    assert [fact.series for fact in oddities.facts()] == [ERRORS]
