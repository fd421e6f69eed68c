"""Forecasts what the triggers of a whole project rest on, and tells what its requests and starts take. Minutes in, facts out.

Traffic is forecast as requests/s, since that is what people ask; what it keeps busy and costs follows from what a request takes now
(Little's law, and the utilisation law: Denning & Buzen, The operational analysis of queueing network models, 1978). A metric that the
app posts is forecast as it is.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low

import numpy as np

from tenfold.estimators.forecast.batch import MINUTE_S, Batch
from tenfold.estimators.forecast.forecaster import REFIT_EVERY
from tenfold.facts import ForecastSeen, WorkSeen
from tenfold.model import Model, Service

WORK_FIGURES = ("requests_per_s", "in_flight", "cpu_cores_each", "instances", "start_s")
WORK_MINUTES = 60
"""What a request takes is the mean over so many minutes with requests."""
WORK_FROM = 7 * 1440
"""What requests and starts took longer ago is not asked."""
REQUESTS_PER_S_MIN = 0.1
"""With fewer, the processor time of idling counts for more than that of requests."""
USUAL_TIMES_MAX = 3.0
"""What a request took in a minute counts for so many times what it usually takes at the most."""
STARTS_KEPT = 50
START_RATIO = 0.95
TOLD_FOR_S = 600.0
"""What rests on minutes that ended longer ago is told no more."""
DIGITS = 4


def _last() -> deque[float]:
    return deque(maxlen=WORK_MINUTES)


@dataclass(slots=True)
class _Work:
    """The last minutes of a pool: its requests at hand and cores in use, each beside the requests/s of the same minute (0 and 0 where it
    is not known), and how long the last starts took."""

    pool: str
    in_flight: deque[float] = field(default_factory=_last)
    in_flight_per_s: deque[float] = field(default_factory=_last)
    cores: deque[float] = field(default_factory=_last)
    cores_per_s: deque[float] = field(default_factory=_last)
    starts_s: deque[float] = field(default_factory=lambda: deque(maxlen=STARTS_KEPT))
    seen_at: float | None = None
    _takes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._takes = tuple(f"{self.pool}.{figure}" for figure in WORK_FIGURES)

    @property
    def takes(self) -> tuple[str, ...]:
        """The series that it is made of."""
        return self._takes

    def load(self, told: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Take in minutes of before, in order. Of the requests only the last are asked."""
        rate, *_, start = self._takes
        left, begin = WORK_MINUTES, len(told)
        while left and begin:
            begin -= 1
            left -= told[begin][1].get(rate, 0.0) >= REQUESTS_PER_S_MIN
        for minute, values in told[:begin]:
            if start in values:
                self._start(minute, values[start])
        for minute, values in told[begin:]:
            self.observe(minute, values)

    def _start(self, minute: int, took_s: float) -> None:
        self.starts_s.append(took_s)
        self.seen_at = (minute + 1) * MINUTE_S

    def observe(self, minute: int, values: Mapping[str, float]) -> None:
        """Take in a minute that has ended."""
        rate, in_flight, each, count, started_s = map(values.get, self._takes)
        if started_s is not None:
            self._start(minute, started_s)
        if rate is None or rate < REQUESTS_PER_S_MIN:
            return
        cores = each * count if each is not None and count is not None else None
        self.in_flight.append(in_flight or 0.0)
        self.in_flight_per_s.append(rate if in_flight is not None else 0.0)
        self.cores.append(cores or 0.0)
        self.cores_per_s.append(rate if cores is not None else 0.0)
        self.seen_at = (minute + 1) * MINUTE_S

    def fact(self) -> WorkSeen | None:
        """None before anything was seen."""
        if self.seen_at is None:
            return None
        service, _, region = self.pool.partition("@")
        starts = sorted(self.starts_s)
        start_s = starts[min(len(starts) - 1, int(START_RATIO * len(starts)))] if starts else None
        return WorkSeen(
            service=service,
            region=region,
            seen_at=self.seen_at,
            busy_s=_ratio(self.in_flight, self.in_flight_per_s),
            cpu_s=_ratio(self.cores, self.cores_per_s),
            start_s=None if start_s is None else round(start_s, 3),
        )


def _ratio(parts: Iterable[float], rates: Iterable[float]) -> float | None:
    """The sum of the first over the sum of the second; None where none of it is known. No minute tells more than a few times the usual
    one: where requests waited in a queue, most of what was at hand is not what they take."""
    known = [(part, rate) for part, rate in zip(parts, rates, strict=True) if rate > 0]
    if not known:
        return None
    usual = median_low(part / rate for part, rate in known)
    most = USUAL_TIMES_MAX * usual if usual > 0 else math.inf
    total = sum(min(part, most * rate) for part, rate in known)
    return float(f"{total / sum(rate for _, rate in known):.{DIGITS}g}")


class Forecasts:
    """All that is forecast of `model`. `observe` each minute in order; `facts` are what is known then."""

    def __init__(self, model: Model, refit_every: int = REFIT_EVERY, fits_max: int | None = None) -> None:
        """`refit_every` is in minutes. With `fits_max` no more series than that are fitted in one call of `observe` or `fit_due`: the
        others wait, with what was fitted before."""
        self._names = series_of(model)
        self._batch = Batch(self._names, refit_every, fits_max)
        pools = (f"{s.name}@{region}" for s in model.services.values() if s.runs_always for region in model.regions)
        self._works = [_Work(pool) for pool in pools]

    @property
    def takes(self) -> tuple[str, ...]:
        """All series that it is made of."""
        return tuple(dict.fromkeys((*self._names, *(name for work in self._works for name in work.takes))))

    def load(self, history: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Take in minutes of before, in order; nothing is forecast for each of them."""
        told = tuple(history)
        minutes = np.array([minute for minute, _ in told], np.int64)
        for name, series in zip(self._names, self._batch.series, strict=True):
            series.load(minutes, np.array([values.get(name, math.nan) for _, values in told], np.float64))
        for work in self._works:
            work.load(told[-WORK_FROM:])

    def observe(self, minute: int, values: Mapping[str, float]) -> None:
        """Take in minute number `minute` (since the epoch), which has ended: the mean of every series that had one."""
        self._batch.observe(minute, [values.get(name) for name in self._names])
        for work in self._works:
            work.observe(minute, values)

    def fit_due(self) -> None:
        """Fit some of what waits for it, between two minutes."""
        self._batch.fit_due()

    def facts(self, now: float) -> tuple[ForecastSeen | WorkSeen, ...]:
        """What is known at `now` by the last minutes that were observed. What starts take stays true."""
        forecasts = (fact for fact in self._batch.facts if fact is not None and now - fact.seen_at <= TOLD_FOR_S)
        return (*forecasts, *(fact for work in self._works if (fact := work.fact()) is not None))


def series_of(model: Model) -> tuple[str, ...]:
    """The series that are forecast: of each service that may scale and asks for it, in each region."""
    return tuple(
        f"{service.name}@{region}{figure}"
        for service in model.services.values()
        if service.runs_always and service.scaling.forecast is not None
        for region in model.regions
        for figure in _figures(service)
    )


def _figures(service: Service) -> Iterable[str]:
    if service.http:
        yield ".requests_per_s"
    for trigger in service.scaling.triggers:
        if trigger.is_posted:
            yield f":{trigger.metric}"
