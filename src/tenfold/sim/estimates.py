"""What is reckoned beside the ticks of a simulation, as `loop.estimates` does beside the real ones: forecasts, and what it costs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from tenfold.estimators.minutes import MINUTE_S, Minutes
from tenfold.estimators.spend import Spend
from tenfold.facts import CapacitySeen, ForecastSeen, Snapshot, WorkSeen
from tenfold.model import Model

CAPACITY = "capacity"

History = Mapping[int, Mapping[str, float]]
"""By minute since the epoch the value of each series (`web@local.requests_per_s`), in the order of time."""


class Forecaster(Protocol):
    """What `estimators.forecast.Forecasts` does."""

    def load(self, history: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """What was before, minute by minute."""

    def observe(self, minute: int, values: Mapping[str, float]) -> None:
        """A minute has ended."""

    def facts(self, now: float) -> Iterable[ForecastSeen | WorkSeen]:
        """What is known now."""


@dataclass(slots=True)
class Estimates:
    """Adds to a look what the estimators say, and tells them each minute that has ended.

    `history` is what was before the simulation: minutes that have not begun yet are taken from it when they end, in the place of what was
    seen (a simulation begins with nobody there). `capacities` are what `tenfold measure` found. Without a `forecaster` nothing is forecast.
    """

    model: Model
    forecaster: Forecaster | None = None
    history: History = field(default_factory=dict)
    capacities: tuple[CapacitySeen, ...] = ()
    _minutes: Minutes = field(default_factory=Minutes)
    _spend: Spend | None = field(init=False)
    _forecasts: Mapping[str, ForecastSeen] = field(default_factory=dict)
    _works: Mapping[str, WorkSeen] = field(default_factory=dict)
    _told: int | None = None

    def __post_init__(self) -> None:
        # Only a budget asks what was spent.
        self._spend = Spend(self.model) if self.model.budget is not None else None

    def look(self, snapshot: Snapshot) -> Snapshot:
        """`snapshot` with all that is reckoned; it is counted into its minute."""
        now = snapshot.taken_at
        if self.forecaster is not None:
            self._observe(self.forecaster, now)
            self._minutes.add(snapshot)
        spend = self._spend.look(snapshot) if self._spend is not None else None
        observed = {**snapshot.observed, CAPACITY: now} if self.capacities else snapshot.observed
        return replace(
            snapshot,
            observed=observed,
            capacities={seen.key: replace(seen, seen_at=now) for seen in self.capacities},
            forecasts=self._forecasts,
            works=self._works,
            spend={spend.key: spend} if spend is not None else {},
        )

    def _observe(self, forecaster: Forecaster, now: float) -> None:
        if self._told is None:
            self._told = int(now // MINUTE_S) - 1
            forecaster.load((minute, values) for minute, values in self.history.items() if minute <= self._told)
            self._take(forecaster.facts(now))
        if not self._minutes.due:
            return
        ended: dict[int, dict[str, float]] = {}
        for (minute, series), value in self._minutes.due.items():
            ended.setdefault(minute, {})[series] = value
        self._minutes.written()
        for minute in sorted(minute for minute in ended if minute > self._told):
            forecaster.observe(minute, {**ended[minute], **self.history.get(minute, {})})
            self._told = minute
        self._take(forecaster.facts(now))

    def _take(self, facts: Iterable[ForecastSeen | WorkSeen]) -> None:
        known = tuple(facts)
        self._forecasts = {fact.key: fact for fact in known if isinstance(fact, ForecastSeen)}
        self._works = {fact.key: fact for fact in known if isinstance(fact, WorkSeen)}
