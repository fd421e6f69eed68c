"""Forecasts what the triggers of a whole project rest on, and tells what its requests and starts take. Minutes in, facts out.

Traffic is forecast as requests/s, since that is what people ask; what it keeps busy and costs follows from what a request takes now
(Little's law, and the utilisation law: Denning & Buzen, The operational analysis of queueing network models, 1978). A metric that the
app posts is forecast as it is.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tenfold.estimators.forecast.forecaster import HISTORY, MINUTE_S, REFIT_EVERY, Forecaster
from tenfold.facts import ForecastSeen, WorkSeen
from tenfold.model import Model, Service

WORK_MINUTES = 60
"""What a request takes is the mean over so many minutes with requests."""
WORK_FROM = 7 * 1440
"""What requests and starts took longer ago is not asked."""
REQUESTS_PER_S_MIN = 0.1
"""With fewer, the processor time of idling counts for more than that of requests."""
STARTS_KEPT = 50
START_RATIO = 0.95
TOLD_FOR_S = 600.0
"""What rests on minutes that ended longer ago is told no more."""
DIGITS = 4


@dataclass(slots=True)
class _Work:
    """The last minutes of a pool: (requests/s, requests at hand, cores in use), and how long the last starts took."""

    pool: str
    minutes: deque[tuple[float, float | None, float | None]] = field(default_factory=lambda: deque(maxlen=WORK_MINUTES))
    starts_s: deque[float] = field(default_factory=lambda: deque(maxlen=STARTS_KEPT))
    seen_at: float | None = None

    def observe(self, minute: int, values: Mapping[str, float]) -> None:
        started_s = values.get(f"{self.pool}.start_s")
        if started_s is not None:
            self.starts_s.append(started_s)
            self.seen_at = (minute + 1) * MINUTE_S
        rate = values.get(f"{self.pool}.requests_per_s")
        if rate is None or rate < REQUESTS_PER_S_MIN:
            return
        each, count = values.get(f"{self.pool}.cpu_cores_each"), values.get(f"{self.pool}.instances")
        cores = each * count if each is not None and count is not None else None
        self.minutes.append((rate, values.get(f"{self.pool}.in_flight"), cores))
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
            busy_s=_ratio((busy, rate) for rate, busy, _ in self.minutes),
            cpu_s=_ratio((cores, rate) for rate, _, cores in self.minutes),
            start_s=None if start_s is None else round(start_s, 3),
        )


def _ratio(pairs: Iterable[tuple[float | None, float]]) -> float | None:
    """The sum of the first over the sum of the second, where the first is known."""
    known = [(part, rate) for part, rate in pairs if part is not None]
    rates = sum(rate for _, rate in known)
    return float(f"{sum(part for part, _ in known) / rates:.{DIGITS}g}") if rates > 0 else None


class Forecasts:
    """All that is forecast of `model`. `observe` each minute in order; `facts` are what is known then."""

    def __init__(self, model: Model, refit_every: int = REFIT_EVERY) -> None:
        """`refit_every` is in minutes."""
        names = series_of(model)
        self._forecasters = {name: Forecaster(name, refit_every) for name in names}
        pools = [f"{s.name}@{region}" for s in model.services.values() if s.runs_always for region in model.regions]
        self._works = {pool: _Work(pool) for pool in pools}

    @property
    def takes(self) -> tuple[str, ...]:
        """All series that it is made of."""
        figures = ("requests_per_s", "in_flight", "cpu_cores_each", "instances", "start_s")
        return tuple(
            dict.fromkeys((*self._forecasters, *(f"{pool}.{name}" for pool in self._works for name in figures)))
        )

    def load(self, history: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Take in minutes of before, in order; nothing is forecast for each of them."""
        told = tuple(history)
        for name, forecaster in self._forecasters.items():
            row = [(minute, value) for minute, values in told if (value := values.get(name)) is not None]
            forecaster.load(row[-HISTORY:])
        for minute, values in told[-WORK_FROM:]:
            for work in self._works.values():
                work.observe(minute, values)

    def observe(self, minute: int, values: Mapping[str, float]) -> None:
        """Take in minute number `minute` (since the epoch), which has ended: the mean of every series that had one."""
        for name, forecaster in self._forecasters.items():
            forecaster.observe(minute, values.get(name))
        for work in self._works.values():
            work.observe(minute, values)

    def facts(self, now: float) -> tuple[ForecastSeen | WorkSeen, ...]:
        """What is known at `now` by the last minutes that were observed. What starts take stays true."""
        forecasts = [each.fact for each in self._forecasters.values() if each.fact is not None]
        works = [fact for work in self._works.values() if (fact := work.fact()) is not None]
        return (*(fact for fact in forecasts if now - fact.seen_at <= TOLD_FOR_S), *works)


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
