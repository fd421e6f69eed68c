"""How the service level objectives stand. Counts of what was served in, `ObjectiveSeen` facts out.

By Google's SRE workbook, chapter 5. An objective says which share of what counts is to be good (`good_ratio`) over 30 days; the rest
is its error budget. The burn rate of a window is how fast the budget goes:

    burn = (bad / total) / (1 - good_ratio)        bad, total: counts of the window

1 spends it in exactly 30 days, 14.4 spends 2% of it in an hour.

- availability: of the requests that an edge answered (or could not), those without a 5xx are good. Its ratio is `targets.availability`, or
  1 - `targets.error_rate` where that is stricter.
- latency: of the answers whose time is known, those sooner than `targets.latency.p95` are good. Its ratio is 95%.

Counts are kept by minute. A window of n minutes is the minute that runs and the n - 1 before it. What was not seen counts for nothing,
neither good nor bad; how much of a window was seen is told.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tenfold.facts import ObjectiveSeen, ServedSeen
from tenfold.model import Slo, Targets

MINUTE_S = 60
DAY_MINUTES = 24 * 60
WINDOWS: Mapping[str, int] = {"5m": 5, "30m": 30, "1h": 60, "6h": 360, "3d": 3 * DAY_MINUTES}
"""The windows that alerts look at, in minutes."""
SEEN_S_MIN: Mapping[str, float] = {"5m": 60.0, "30m": 300.0, "1h": 300.0, "6h": 1800.0, "3d": 21_600.0}
"""For how long a window must have been seen to tell anything. For a long one it is the length of the short one that it is paired with: an
outage in the first hour of a project is told of in that hour."""
TOTAL_MIN = 20
"""Fewer events than this are no rate: with one bad one among them the budget would seem to burn."""
LATENCY_RATIO = 0.95
GAP_S_MAX = 5.0
"""Two looks further apart than this did not see what was between them."""
RATE_DIGITS = 3
RATIO_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted in a minute, or in many. `seen_s` is for how long anything was seen."""

    requests: int = 0
    failed: int = 0
    timed: int = 0
    late: int = 0
    seen_s: float = 0.0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.requests + other.requests,
            self.failed + other.failed,
            self.timed + other.timed,
            self.late + other.late,
            self.seen_s + other.seen_s,
        )

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(
            self.requests - other.requests,
            self.failed - other.failed,
            self.timed - other.timed,
            self.late - other.late,
            self.seen_s - other.seen_s,
        )


NOTHING = Counts()


def series_of(within_ms: float | None) -> dict[str, str]:
    """By field of `Counts`, the series of the journal's minutes. What is late has its target in its name: it does not count with
    another one."""
    names = {name: f"levels.{name}" for name in ("requests", "failed", "seen_s")}
    if within_ms is not None:
        names |= {"timed": f"levels.timed_{within_ms:g}ms", "late": f"levels.late_{within_ms:g}ms"}
    return names


def objectives_of(targets: Targets) -> dict[str, Slo]:
    """The objectives that the blueprint's targets make, by key."""
    found = {}
    ratios = [] if targets.availability_ratio is None else [targets.availability_ratio]
    if targets.error_ratio is not None:
        ratios.append(1 - targets.error_ratio)
    if ratios:
        found["availability"] = Slo(max(ratios))
    if targets.latency.p95_ms is not None:
        found["latency"] = Slo(LATENCY_RATIO)
    return found


class Tally:
    """Counts by minute, and their sums over windows, each in a few steps however long it is."""

    def __init__(self, minutes_max: int = 30 * DAY_MINUTES) -> None:
        """Keeps the last `minutes_max` minutes."""
        self._minutes_max = minutes_max
        self._minutes: list[int] = []
        self._sums: list[Counts] = [NOTHING]
        self.minute = 0
        self.current = NOTHING

    def load(self, minutes: Iterable[tuple[int, Counts]]) -> None:
        """Minutes of before, in order."""
        for minute, counts in minutes:
            self.turn(minute)
            self.current = counts

    def turn(self, minute: int) -> None:
        """It is `minute` now. A clock that was set back takes the minutes away that are still to come: they were of no time at all."""
        if minute in (self.minute, self.minute - 1):  # a clock that is set right by a second is not turned back
            return
        if minute > self.minute:
            if self.current != NOTHING:
                self._minutes.append(self.minute)
                self._sums.append(self._sums[-1] + self.current)
        else:
            kept = bisect_left(self._minutes, minute)
            is_known = kept < len(self._minutes) and self._minutes[kept] == minute
            again = self._sums[kept + 1] - self._sums[kept] if is_known else NOTHING
            del self._minutes[kept:], self._sums[kept + 1 :]
            self.minute, self.current = minute, again
            return
        self.minute, self.current = minute, NOTHING
        if len(self._minutes) > self._minutes_max + DAY_MINUTES:
            gone = bisect_left(self._minutes, minute - self._minutes_max)
            del self._minutes[:gone], self._sums[:gone]

    def add(self, counts: Counts) -> None:
        """Count in the minute that runs."""
        self.current = self.current + counts

    def over(self, minutes: int) -> Counts:
        """The sum of the minute that runs and the `minutes` - 1 before it."""
        first = bisect_left(self._minutes, self.minute - minutes + 1)
        return self._sums[-1] - self._sums[first] + self.current


class Levels:
    """Counts what an edge serves, and tells how the objectives stand."""

    def __init__(self, targets: Targets) -> None:
        self.objectives = objectives_of(targets)
        self.series = series_of(targets.latency.p95_ms)
        self.tally = Tally()
        self.due: dict[tuple[int, str], float] = {}
        """Minutes that have ended, by minute and series, until somebody takes them."""
        self._before: ServedSeen | None = None

    def take(self, now: float, served: ServedSeen | None) -> None:
        """Count what was served since the look before; `served` is None, or old, while nobody sees it."""
        ended, counts = self.tally.minute, self.tally.current
        self.tally.turn(int(now // MINUTE_S))
        if self.tally.minute != ended and counts != NOTHING:
            self.due |= {(ended, name): float(getattr(counts, of)) for of, name in self.series.items()}
        last = self._before
        if served is None or (last is not None and served.seen_at == last.seen_at):
            return
        self._before = served
        if last is None:
            return
        # A gap of which the counts are known counts, but not as time in which anything was seen.
        step_s = served.seen_at - last.seen_at
        if served.requests < last.requests or served.timed < last.timed:
            last = ServedSeen(served.edge, last.seen_at)  # another driver: it counts from nothing
        self.tally.add(
            Counts(
                served.requests - last.requests,
                min(served.failed - last.failed, served.requests - last.requests),
                served.timed - last.timed,
                served.late - last.late,
                step_s if 0 < step_s <= GAP_S_MAX else 0.0,
            )
        )

    @property
    def seen_at(self) -> float | None:
        """When the newest count was seen; None before the first."""
        return None if self._before is None else self._before.seen_at

    def facts(self) -> tuple[ObjectiveSeen, ...]:
        """How each objective stands, as of the newest count; one of which nothing was seen yet is left out."""
        seen_at = self.seen_at
        if not self.objectives or seen_at is None:
            return ()
        windows = {name: self.tally.over(minutes) for name, minutes in WINDOWS.items()}
        return tuple(
            fact for key, slo in self.objectives.items() if (fact := self._fact(key, slo, windows, seen_at)) is not None
        )

    def _fact(self, key: str, slo: Slo, windows: Mapping[str, Counts], seen_at: float) -> ObjectiveSeen | None:
        whole = self.tally.over(slo.window_days * DAY_MINUTES)
        total, bad = events(key, whole)
        if not total:
            return None
        burn, bad_by_window = {}, {}
        for name, counts in windows.items():
            rate = burn_rate(key, slo, counts, SEEN_S_MIN[name])
            if rate is not None:
                burn[name], bad_by_window[name] = round(rate, RATE_DIGITS), events(key, counts)[1]
        return ObjectiveSeen(
            objective=key,
            good_ratio=slo.good_ratio,
            window_days=slo.window_days,
            total=total,
            bad=bad,
            budget_left_ratio=budget_left(slo, total, bad),
            seen_at=seen_at,
            burn=burn,
            bad_by_window=bad_by_window,
            covered_s=round(whole.seen_s),
        )


def events(key: str, counts: Counts) -> tuple[int, int]:
    """What counts for the objective `key`, and what of it was bad."""
    return (counts.timed, counts.late) if key == "latency" else (counts.requests, counts.failed)


def burn_rate(key: str, slo: Slo, counts: Counts, seen_s_min: float) -> float | None:
    """How fast the budget goes; None when too little was seen to tell, or when there is no budget (a target of 100%)."""
    total, bad = events(key, counts)
    budget_ratio = 1 - slo.good_ratio
    if counts.seen_s < seen_s_min or total < TOTAL_MIN or budget_ratio <= 0:
        return None
    return bad / total / budget_ratio


def budget_left(slo: Slo, total: float, bad: float) -> float:
    """The share of the error budget of `total` events that is left (1: all; below 0: overspent)."""
    allowed = total * (1 - slo.good_ratio)
    if allowed <= 0:
        return 1.0 if not bad else 0.0
    return round(1 - bad / allowed, RATIO_DIGITS)
