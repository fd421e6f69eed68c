"""Which series behave as they have not before. Minutes of the journal in, `AnomalySeen` facts out.

A detector says how odd one minute is. What begins odd and goes on is told as one anomaly for as long as the series stays on that side
of what was expected then, by at least half as much: a new level is odd until it is an hour old.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tenfold.facts import AnomalySeen

FIGURES = ("requests_per_s", "errors_per_s", "in_flight", "response_ms_p95", "cpu_cores_each", "memory_bytes_each")
"""The figures of a pool that are watched."""
SERIES_MAX = 240
"""So many series are watched; each costs 40 KB and 25 microseconds a minute."""
STAYS_RATIO = 0.5
LASTS_S_MAX = 3600.0
BLIND_S_MAX = 300.0
"""An anomaly of a series that is not seen any more is over after this long."""
DIGITS = 6


class Score(Protocol):
    """What a detector says of one value; see `estimators.anomaly`."""

    @property
    def score(self) -> float: ...
    @property
    def expected(self) -> float | None: ...


class Detector(Protocol):
    """Watches one series, a value each minute; see `estimators.anomaly`."""

    def observe(self, at: float, value: float | None) -> Score: ...


@dataclass(slots=True)
class _Lasting:
    """An anomaly: how the series began to be odd, and when it was last seen."""

    since: float
    expected: float
    deviation: float
    score: float
    value: float
    at: float


class Oddities:
    """All series of a project. `observe` is called once for each minute that has ended."""

    def __init__(self, make: Callable[[], Detector], score_min: float) -> None:
        """`make` makes a detector for one more series; from `score_min` on a minute is odd."""
        self._make = make
        self._score_min = score_min
        self._detectors: dict[str, Detector] = {}
        self._lasting: dict[str, _Lasting] = {}

    def observe(self, at: float, values: Mapping[str, float]) -> None:
        """Take in the minute that began at `at` (seconds since the epoch): the means of all series that had one."""
        for name in values:
            if name not in self._detectors and len(self._detectors) < SERIES_MAX and is_watched(name):
                self._detectors[name] = self._make()
        for name, detector in self._detectors.items():
            self._observe(name, detector, at, values.get(name))

    def _observe(self, name: str, detector: Detector, at: float, value: float | None) -> None:
        found, lasting = detector.observe(at, value), self._lasting.get(name)
        if value is None:
            if lasting is not None and not 0 <= at - lasting.at <= BLIND_S_MAX:
                del self._lasting[name]
            return
        if lasting is not None:
            deviation = value - lasting.expected
            stays = deviation * lasting.deviation > 0 and abs(deviation) >= STAYS_RATIO * abs(lasting.deviation)
            if stays and 0 <= at - lasting.since < LASTS_S_MAX:
                lasting.value, lasting.at, lasting.score = value, at, max(lasting.score, found.score)
                return
            del self._lasting[name]
        if found.score >= self._score_min and found.expected is not None and value != found.expected:
            self._lasting[name] = _Lasting(at, found.expected, value - found.expected, found.score, value, at)

    def facts(self) -> tuple[AnomalySeen, ...]:
        """What is odd now, by the last minute."""
        return tuple(
            AnomalySeen(name, _figure(a.value), _figure(a.expected), round(a.score, DIGITS), a.since, a.at)
            for name, a in self._lasting.items()
        )


def is_watched(series: str) -> bool:
    """True for a figure of a pool that is looked at."""
    return series.rpartition(".")[2] in FIGURES and "@" in series


def minutes_of(rows: Iterable[tuple[int, str, float]]) -> list[tuple[int, dict[str, float]]]:
    """Rows of the journal (minute, series, value), in order, as what `observe` takes."""
    found: list[tuple[int, dict[str, float]]] = []
    for minute, series, value in rows:
        if not found or found[-1][0] != minute:
            found.append((minute, {}))
        found[-1][1][series] = value
    return found


def _figure(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
