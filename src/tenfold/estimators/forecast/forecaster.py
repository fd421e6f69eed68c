"""Forecasts one series, a minute at a time: a batch of one."""

from tenfold.estimators.forecast.batch import Batch
from tenfold.facts import ForecastSeen

REFIT_EVERY = 30
"""In minutes."""


class Forecaster:
    """The series `name`. `observe` its minutes in order; `fact` is what is expected by the newest."""

    def __init__(self, name: str, refit_every: int = REFIT_EVERY) -> None:
        """`refit_every` is in minutes, at most eleven hours: a fit tells nothing of more than a day after it."""
        self._batch = Batch((name,), refit_every)

    @property
    def fact(self) -> ForecastSeen | None:
        return self._batch.facts[0]

    def load(self, rows: list[tuple[int, float]]) -> None:
        """Take in what was before, as (minute, value) in order, without a forecast for each of them."""
        self._batch.load(0, rows)

    def observe(self, minute: int, value: float | None) -> None:
        """Take in minute number `minute` (since the epoch) once it has ended; None where nothing was seen. One that is not newer than the
        last changes nothing: the clock went back, or it was told before."""
        self._batch.observe(minute, (value,))
