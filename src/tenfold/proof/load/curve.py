"""How many requests a second, or how many users, over time, and the moments at which requests are due.

Stage: a `RateCurve` is the plan of an open model; `arrivals` turns it into the intended send times that everything
later is measured from. Arrivals know nothing of answers: a slow server does not slow them down. A `UserCurve` is the
plan of a closed model: who is there acts, waits for the answer, pauses, and acts again.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from random import Random
from typing import Self

from tenfold.proof.load.errors import LoadError

USERS_MAX = 1_000_000
"""More than one machine has descriptors and memory for; a number above it is a slip of the pen."""
RATE_RPS_MAX = 100_000.0
"""No single process sends more (measured: a core is full at some 20,000 rps); a rate above it is a slip of the pen."""


class Spacing(StrEnum):
    """How arrivals lie within a rate: at random, as independent people come, or evenly, as a metronome beats."""

    POISSON = "poisson"
    EVEN = "even"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time at one rate."""

    duration_s: float
    rate_rps: float


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Segments of constant rate, one after another. A ramp is many short segments.

    Raises `LoadError` when there is no segment, a duration is not above zero, or a rate is not in 0..100,000 rps.
    """

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        if not self.segments:
            raise LoadError("the load has no duration: give at least one stretch of time with its rate")
        for segment in self.segments:
            if not (0 < segment.duration_s < math.inf):
                raise LoadError(f"a stretch of load lasts {segment.duration_s} s: give a time above zero")
            if not (0 <= segment.rate_rps <= RATE_RPS_MAX):
                raise LoadError(
                    f"a rate of {segment.rate_rps:g} requests/s is asked for: give one between 0 and {RATE_RPS_MAX:g}"
                )

    @classmethod
    def steps(cls, *steps: tuple[float, float]) -> Self:
        """A curve from pairs of (duration in seconds, rate in requests/s)."""
        return cls(tuple(Segment(duration_s, rate_rps) for duration_s, rate_rps in steps))

    @property
    def duration_s(self) -> float:
        """Length of the whole curve in seconds."""
        return math.fsum(segment.duration_s for segment in self.segments)

    @property
    def peak_rps(self) -> float:
        """The highest rate, in requests/s."""
        return max(segment.rate_rps for segment in self.segments)

    @property
    def expected(self) -> float:
        """How many arrivals the whole curve makes on average: its integral."""
        return math.fsum(segment.duration_s * segment.rate_rps for segment in self.segments)

    def limited(self, duration_s: float) -> "RateCurve":
        """The first `duration_s` seconds of this curve (all of it, if it is shorter)."""
        kept: list[Segment] = []
        left_s = duration_s
        for segment in self.segments:
            if left_s <= 0:
                break
            kept.append(Segment(min(segment.duration_s, left_s), segment.rate_rps))
            left_s -= segment.duration_s
        return RateCurve(tuple(kept))

    def ends_s(self) -> list[float]:
        """The moment at which each segment ends, in seconds from the start."""
        return list(accumulate(segment.duration_s for segment in self.segments))


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time in which the number of users goes evenly from one number to another."""

    duration_s: float
    users_from: int
    users_to: int


@dataclass(frozen=True, slots=True)
class UserCurve:
    """How many users are there, over time. Who is one too many leaves when its action is over.

    Raises `LoadError` when there is no stretch, a duration is not above zero, or a number is not in 0..1,000,000.
    """

    stretches: tuple[Stretch, ...]

    def __post_init__(self) -> None:
        if not self.stretches:
            raise LoadError("the load has no duration: give at least one stretch of time with its users")
        for stretch in self.stretches:
            if not (0 < stretch.duration_s < math.inf):
                raise LoadError(f"a stretch of load lasts {stretch.duration_s:g} s: give a time above zero")
            for users in (stretch.users_from, stretch.users_to):
                if not (0 <= users <= USERS_MAX):
                    raise LoadError(f"{users:,} users are asked for: give between 0 and {USERS_MAX:,}")

    @classmethod
    def steps(cls, *steps: tuple[float, int], ramp_s: float = 0.0) -> Self:
        """A curve from pairs of (duration in seconds, users). Within each step its number is reached evenly in the first
        `ramp_s` seconds (all of a shorter step); 0 brings all at once, and a server gets all their sign-ins at once."""
        stretches: list[Stretch] = []
        before = 0
        for duration_s, users in steps:
            rise_s = min(ramp_s, duration_s)
            if rise_s > 0:
                stretches.append(Stretch(rise_s, before, users))
            if duration_s > rise_s or duration_s <= 0:
                stretches.append(Stretch(duration_s - rise_s, users, users))
            before = users
        return cls(tuple(stretches))

    @classmethod
    def ramp(cls, users: int, over_s: float, hold_s: float) -> Self:
        """From none to `users` evenly in `over_s` seconds, who then stay for `hold_s`."""
        return cls.steps((over_s + hold_s, users), ramp_s=over_s)

    @property
    def duration_s(self) -> float:
        """Length of the whole curve in seconds."""
        return math.fsum(stretch.duration_s for stretch in self.stretches)

    @property
    def peak(self) -> int:
        """The most users there are at any time."""
        return max(max(stretch.users_from, stretch.users_to) for stretch in self.stretches)

    def at(self, elapsed_s: float) -> int:
        """How many there are to be at a moment, in seconds from the start; those of the last moment after the end."""
        for stretch in self.stretches:
            if elapsed_s < stretch.duration_s:
                share = max(elapsed_s, 0.0) / stretch.duration_s
                return stretch.users_from + int((stretch.users_to - stretch.users_from) * share)
            elapsed_s -= stretch.duration_s
        return self.stretches[-1].users_to


def arrivals(curve: RateCurve, spacing: Spacing, seed: int) -> Iterator[float]:
    """The moments, in seconds from the start, at which requests are due; the same seed gives the same moments.

    Time rescaling: points of a unit process (one expected arrival per unit u) are mapped through the inverse of the
    curve's integral L(t) = integral of the rate from 0 to t, so that arrival n is due at t with L(t) = u_n. With
    exponential gaps in u this is exactly a Poisson process of the curve's rate (Cinlar 1975, chapter 4, section 7).
    """
    random = Random(seed)
    poisson = spacing is Spacing.POISSON
    until_next = random.expovariate(1.0) if poisson else 0.5
    segment_start_s = 0.0
    for segment in curve.segments:
        mass = segment.duration_s * segment.rate_rps
        position = 0.0
        while position + until_next < mass:
            position += until_next
            yield segment_start_s + position / segment.rate_rps
            until_next = random.expovariate(1.0) if poisson else 1.0
        until_next -= mass - position
        segment_start_s += segment.duration_s
