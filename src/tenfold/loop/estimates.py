"""What is reckoned beside the ticks: how objectives stand, what is odd, what it costs. Stage: between seeing and deciding.

The estimators are pure; here they are fed, from the ticks and, at the start, from the journal, so that a restart forgets nothing. What
they say becomes facts of source `levels`, and is journalled with the snapshot: a replay runs no estimator.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tenfold.estimators.anomaly import ALERT_SCORE, Detector
from tenfold.estimators.forecast import Forecasts
from tenfold.estimators.levels import Counts, Levels
from tenfold.estimators.minutes import MINUTE_S, Minutes
from tenfold.estimators.oddities import Oddities, is_watched, minutes_of
from tenfold.estimators.spend import Spend
from tenfold.facts import ForecastSeen, ObjectiveSeen, Snapshot, WorkSeen
from tenfold.loop.reader import JournalReader
from tenfold.loop.store import JournalError
from tenfold.model import Model

SOURCE = "levels"
ENTRY = "entry"
KEPT_S = 30 * 86_400.0
"""Objectives reach back so far."""
FORESEEN_FROM_S = 14 * 86_400.0
"""Forecasts look back so far, at the few series they are made of."""
SET_BACK_S = 3600.0
"""A clock that is set back by more is believed: forecasts begin again from what was before it. By less, they wait until it is made up."""
LEARNT_S = 50 * 3600.0
"""Detectors learn from so much of what was before: two days and two hours, so that what comes daily is usual after a restart too."""
STAND_EVERY_S = 5.0
GRAIN_S = 0.001
"""Ticks are dated to the millisecond."""
FITS_A_TICK = 2
"""So many series are fitted in a tick, 7 ms each: after a start those of a hundred series are fitted before the first minute ends."""
LEARNT_A_TICK = 300
"""So many values of before are learnt from in a tick, 5 ms of work: ten series take two minutes, and nothing waits for it."""


class Estimates:
    """The estimators of one project, over the journal at `path`."""

    def __init__(self, model: Model, path: Path, say: Callable[[str], None]) -> None:
        """Nothing is read before the first look. `say` is told what a person should know."""
        self._model, self._path, self._say = model, path, say
        # What clients get is what the edge nearest to them gives: with several regions that is the global entry.
        self._edge = ENTRY if model.is_spread else model.home
        self._levels = Levels(model.targets)
        self._spend = Spend(model)
        self._oddities = Oddities(Detector, ALERT_SCORE)
        self._forecasts = Forecasts(model, fits_max=FITS_A_TICK)
        self._foreseen: tuple[ForecastSeen | WorkSeen, ...] = ()
        self._minutes = Minutes()
        self._to_learn: deque[tuple[int, dict[str, float]]] = deque()
        self._learnt = 0
        self._foreseen_to = 0
        self._has_begun = False
        self._objectives: dict[str, ObjectiveSeen] = {}
        self._stood_at = 0.0

    @property
    def due(self) -> dict[tuple[int, str], float]:
        """Finished minutes that are not written yet, by minute and series."""
        return self._minutes.due | self._levels.due

    def written(self) -> None:
        """`due` is in the journal now."""
        self._minutes.written()
        self._levels.due = {}

    def add(self, snapshot: Snapshot) -> None:
        """Count `snapshot`, which is in the journal now, into its minute."""
        self._minutes.add(snapshot)

    def look(self, snapshot: Snapshot) -> Snapshot:
        """`snapshot` with the facts that are reckoned from it and from all before."""
        if not self._has_begun:
            self._has_begun = True
            self._begin(snapshot.taken_at)
        now = snapshot.taken_at
        served = snapshot.served.get(self._edge)
        self._levels.take(now, served)
        self._learn(self._minutes.due)
        self._foresee(self._minutes.due, now)
        spend = self._spend.look(snapshot)
        return replace(
            snapshot,
            observed={**snapshot.observed, **({SOURCE: served.seen_at} if served is not None else {})},
            objectives=self._stand(),
            # What was odd in the minutes of before is no news.
            anomalies={} if self._to_learn else {fact.key: fact for fact in self._oddities.facts()},
            spend={spend.key: spend} if spend is not None else {},
            forecasts={fact.key: fact for fact in self._foreseen if isinstance(fact, ForecastSeen)},
            works={fact.key: fact for fact in self._foreseen if isinstance(fact, WorkSeen)},
        )

    def _foresee(self, finished: Mapping[tuple[int, str], float], now: float) -> None:
        """Forecast anew with each minute that has ended."""
        if now < self._foreseen_to * MINUTE_S - SET_BACK_S:
            self._foresee_again(now)
        ended = int(now // MINUTE_S)
        fresh = sorted(
            (minute, name, value) for (minute, name), value in finished.items() if self._foreseen_to < minute < ended
        )
        for minute, values in minutes_of(fresh):
            self._forecasts.observe(minute, values)
            self._foreseen_to = minute
        if fresh:
            self._foreseen = self._forecasts.facts(now)
        else:
            self._forecasts.fit_due()

    def _foresee_again(self, now: float) -> None:
        """Forget what came after `now`, where the clock was set back to; without a journal that can be read, what was before as well."""
        self._forecasts, self._foreseen, self._foreseen_to = Forecasts(self._model, fits_max=FITS_A_TICK), (), 0
        try:
            with JournalReader(self._path) as reader:
                self._load_forecasts(reader, now, now)
        except JournalError as error:
            self._say(f"forecasts begin anew, without what was before: {error}")

    def _load_forecasts(self, reader: JournalReader, now: float, until: float) -> None:
        before = minutes_of(reader.minutes(now - FORESEEN_FROM_S, min(until, now), self._forecasts.takes))
        self._forecasts.load(before)
        self._foreseen_to = before[-1][0] if before else 0

    def _stand(self) -> dict[str, ObjectiveSeen]:
        """How the objectives stand, thought over every few seconds: each change of a figure is written in the journal."""
        at = self._levels.seen_at
        if at is not None and not 0 <= at - self._stood_at < STAND_EVERY_S:
            self._stood_at = at
            self._objectives = {fact.key: fact for fact in self._levels.facts()}
        return self._objectives

    def _learn(self, finished: Mapping[tuple[int, str], float]) -> None:
        """Learn from the minutes that have ended, and from some of those of before."""
        fresh = sorted((minute, series, value) for (minute, series), value in finished.items() if minute > self._learnt)
        for minute, values in minutes_of(fresh):
            self._to_learn.append((minute, values))
            self._learnt = minute
        left = LEARNT_A_TICK
        while self._to_learn and left > 0:
            minute, values = self._to_learn.popleft()
            self._oddities.observe(minute * MINUTE_S, values)
            left -= len(values)

    def _begin(self, now: float) -> None:
        """Take up what the journal knows. One that can't be read costs the memory of levels, not the app its control plane."""
        try:
            with JournalReader(self._path) as reader:
                self._remember(reader, now)
        except JournalError as error:
            self._say(f"service levels begin anew, without what was before: {error}")

    def _remember(self, reader: JournalReader, now: float) -> None:
        span, latest = reader.span(), reader.latest()
        if span is None or latest is None:
            return
        self._spend = Spend(self._model, latest.snapshot.spend.get("month"))
        # The last minutes may not have been written yet: they are counted again, from their ticks.
        again_from = (latest.at // MINUTE_S - 1) * MINUTE_S
        # The tick before tells from where the first of them counts on.
        first = reader.at(again_from - GRAIN_S) or span[0]
        fields = {name: of for of, name in self._levels.series.items()}
        counts: dict[int, dict[str, float]] = {}
        for minute, series, value in reader.minutes(now - KEPT_S, again_from, tuple(fields)):
            counts.setdefault(minute, {})[fields[series]] = value
        self._levels.tally.load((minute, _counts(found)) for minute, found in sorted(counts.items()))
        rows = reader.minutes(now - LEARNT_S, again_from)
        self._to_learn.extend(minutes_of(row for row in rows if is_watched(row[1])))
        self._learnt = self._to_learn[-1][0] if self._to_learn else 0
        self._load_forecasts(reader, now, again_from)
        for tick in reader.ticks(first, span[1]):
            self._levels.take(tick.at, tick.snapshot.served.get(self._edge))
            if tick.at >= again_from:
                self._minutes.add(tick.snapshot)


def _counts(found: Mapping[str, float]) -> Counts:
    whole = {name: int(found.get(name, 0)) for name in ("requests", "failed", "timed", "late")}
    return Counts(**whole, seen_s=found.get("seen_s", 0.0))
