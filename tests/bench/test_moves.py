"""What the bench reads from the entry's log: stories of a region that is struck and returns."""

from itertools import chain

import pytest

from bench.moves import Answer, answers, back_s, highest_p99_ms, moved_s, share, shares
from tenfold.proof.load import Second


def _asked(since: float, until: float, region: str, tries: int = 1, origin: str = "a") -> list[Answer]:
    """Twenty requests a second of clients near `origin`."""
    count = round((until - since) * 20)
    return [Answer(since + n / 20, origin, region, 200, tries, 5.0) for n in range(count)]


def _lost(until: float = 60.0) -> list[Answer]:
    """Region a is lost at 10 s, its clients are asked twice until 12 s and served by b until 40 s; clients near b notice nothing."""
    own = [*_asked(0, 10, "a"), *_asked(10, 12, "b", tries=2), *_asked(12, 40, "b"), *_asked(40, until, "a")]
    return sorted(chain(own, _asked(0, until, "b", origin="b")), key=lambda answer: answer.at)


def test_traffic_has_moved_once_nobody_is_asked_twice() -> None:
    """Two seconds of second tries are two seconds until it moved; the half second in which they end counts."""
    assert moved_s(_lost(), "a", 10.0, 30.0) == pytest.approx(2.0)


def test_traffic_that_stays_has_not_moved() -> None:
    """A region that goes on answering, however slowly, holds its clients up."""
    assert moved_s(_asked(0, 60, "a"), "a", 10.0, 30.0) is None


def test_a_few_second_tries_are_noise() -> None:
    """One request in twenty that is asked twice is no sign of the region that was struck."""
    noisy = sorted([*_lost(), *(Answer(20 + n, "a", "b", 200, 2, 5.0) for n in range(5))], key=lambda a: a.at)
    assert moved_s(noisy, "a", 10.0, 30.0) == pytest.approx(2.0)


def test_trouble_long_after_is_not_the_blows() -> None:
    """A moment in which the machine itself stood still, after seconds of calm, does not count; the same within them does."""
    late = [*_lost(), *_asked(25, 25.5, "b", tries=2)]
    assert moved_s(sorted(late, key=lambda a: a.at), "a", 10.0, 30.0) == pytest.approx(2.0)
    soon = [*_lost(), *_asked(13, 13.5, "b", tries=2)]
    assert moved_s(sorted(soon, key=lambda a: a.at), "a", 10.0, 30.0) == pytest.approx(3.5)


def test_a_region_is_back_when_it_answers_as_before_and_goes_on() -> None:
    """Mended at 30 s it takes ten more; one that never answers again is never back."""
    found = _lost()
    assert share(found, "a", 0.0, 10.0) == 1.0
    assert back_s(found, "a", 30.0, 60.0, 1.0) == pytest.approx(10.0)
    assert back_s(_lost(until=40.0), "a", 30.0, 40.0, 1.0) is None


def test_nothing_logged_is_nothing_known() -> None:
    """Without requests of its clients a region has neither moved nor come back."""
    assert moved_s([], "a", 10.0, 30.0) is None
    assert back_s([], "a", 10.0, 30.0, 1.0) is None


def test_shares_count_good_answers_alone() -> None:
    """A refusal is no answer that a region gave."""
    found = [*_asked(0, 3, "a"), *_asked(0, 1, "b"), Answer(0.5, "a", "", 503, 1, 1.0)]
    assert shares(found, 0.0, 10.0) == {"a": 0.75, "b": 0.25}


def test_lines_that_are_no_request_to_the_app_are_passed_over() -> None:
    """What the entry answered by itself names no pool; the origin is in the pool's name."""
    lines = [
        {"at": "2.5", "code": 200, "pool": "from~a~eu", "region": "b", "attempts": 2, "total": 7000, "id": "x"},
        {"at": "1.0", "code": 503, "pool": None},
    ]
    assert answers(lines) == [Answer(2.5, "a", "b", 200, 2, 7.0, "x")]


def test_seconds_in_which_the_generator_was_late_are_left_out() -> None:
    """A second counts when it lies wholly within the time that is looked at."""

    def second(at_s: float, p99_ms: float | None, lag_ms: float = 1.0) -> Second:
        return Second(at_s, 20, 20, 20, 0, 0, 0, 0, p99_ms, p99_ms, p99_ms, lag_ms, 5.0)

    run = [second(1, 900), second(2, 10), second(3, 500, lag_ms=80), second(4, 20), second(5, None), second(6, 800)]
    assert highest_p99_ms(run, 1.0, 5.5) == 20
    assert highest_p99_ms(run, 2.0, 3.0) is None
