"""Recorded loads to try forecasts and policies on: public traces beside the checkout, or made ones. Files or a seed in, `Load` out."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bench.nab_corpus import TRACES
from tenfold.facts import ForecastSeen
from tenfold.proof.load import LoadError
from tenfold.proof.load.trace import read_trace
from tenfold.sim.backtest import foretold

MINUTE_S, DAY = 60.0, 1440
DAYS_MIN = 8
PLAYED = 3 * DAY
"""The last three days are played; what was before may be learnt from."""
WARM = DAY // 2
"""For so long before, forecasts are made and corrected already."""
LEARNT = 14 * DAY
SUFFIXES = (".csv", ".gz", ".json", ".log", ".txt")
INSTANCES = 40.0
"""Instances that the load's 99th percentile needs."""


@dataclass(frozen=True)
class Load:
    """A load by minute, in instances; the first minute has number `first` since the epoch. The last `PLAYED` are to be played."""

    name: str
    first: int
    values: tuple[float, ...]

    @property
    def played(self) -> tuple[float, ...]:
        """What is played."""
        return self.values[-PLAYED:]

    @property
    def began_at(self) -> float:
        """When what is played begins, in seconds since the epoch."""
        return (self.first + len(self.values) - PLAYED) * MINUTE_S

    @property
    def forecasts(self) -> tuple[ForecastSeen | None, ...]:
        """What was forecast as each of the played minutes began."""
        return _forecasts(self)


@cache
def _forecasts(load: Load) -> tuple[ForecastSeen | None, ...]:
    begin = len(load.values) - PLAYED - WARM
    return tuple(foretold(load.values, load.first, begin))[WARM:]


@cache
def loads(folder: Path = TRACES) -> tuple[Load, ...]:
    """All traces in `folder` that hold at least eight days of minutes, by name, at the size of forty instances; made ones where there is
    none."""
    found = tuple(_read(folder)) if folder.is_dir() else ()
    return found or tuple(_made())


def _read(folder: Path) -> Iterator[Load]:
    for path in sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES):
        try:
            trace = read_trace(path)
        except LoadError:
            continue
        if trace.step_s == MINUTE_S and len(trace.requests) >= DAYS_MIN * DAY:
            first = int(trace.start.timestamp() // MINUTE_S)
            yield _sized(path.stem, first, np.array(trace.requests))


def _sized(name: str, first: int, requests: np.ndarray) -> Load:
    kept = requests[-(PLAYED + WARM + LEARNT) :]
    per_instance = float(np.quantile(requests[-PLAYED:], 0.99)) / INSTANCES
    return Load(name, first + len(requests) - len(kept), tuple((kept / per_instance).tolist()))


def _made() -> Iterator[Load]:
    """An office, a shop with noise, jobs by the clock, and bursts: eleven days each."""
    minutes = np.arange(11 * DAY)
    hour = (minutes % DAY) / 60
    week = np.where((minutes // DAY) % 7 < 5, 1.0, 0.5)
    for seed, name in enumerate(("office", "noisy", "jobs", "bursts")):
        random = np.random.default_rng(seed)
        base = (1.2 - np.cos(2 * math.pi * (hour - 2) / 24)) * week * 300
        if name == "jobs":
            base = base + np.where((hour % 4) < 0.5, 900.0, 0.0)
        if name == "bursts":
            begins = random.random(len(minutes)) < 0.002
            base = base + np.convolve(begins * 600.0, np.exp(-np.arange(40) / 12))[: len(minutes)]
        spread = 0.3 if name == "noisy" else 0.05
        yield _sized(
            f"made-{name}", 29_000_000, random.poisson(base * random.gamma(1 / spread**2, spread**2, len(base))) * 1.0
        )
