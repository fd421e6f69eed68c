"""The door of a pool that sleeps, as a fluid: requests wait at it for an instance, as they do at the real waker."""

import math
from collections import deque
from dataclasses import dataclass, field

from tenfold.facts import ColdStartSeen

HELD_MAX = 500.0
"""So many requests wait for one pool; the next are refused: as `drivers.envoy.waker` has it."""
WAITS_KEPT = 256
"""Of so many groups that waited, the newest, figures are told."""


@dataclass(slots=True)
class Door:
    """Who waits now, in groups that came in one step: when (elapsed seconds) and how many. The rest is counted since the world began:
    `starts` cold starts, `held` requests that waited for one (`wait_s` in all), `refused` that were turned away."""

    waiting: deque[tuple[float, float]] = field(default_factory=deque)
    arrived_at: float = 0.0
    starts: int = 0
    held: float = 0.0
    wait_s: float = 0.0
    refused: float = 0.0
    waits: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=WAITS_KEPT))

    @property
    def count(self) -> float:
        """How many wait."""
        return sum(count for _, count in self.waiting)

    def hold(self, arrivals: float, held_s: float, now_s: float, at: float) -> float:
        """Let `arrivals` wait, which come at `at` on the wall clock. How many are turned away: those for which there is no room, and
        those that have waited for `held_s`."""
        away = 0.0
        while self.waiting and now_s - self.waiting[0][0] >= held_s:
            away += self.waiting.popleft()[1]
        if arrivals > 0:
            self.arrived_at = at
            room = max(0.0, HELD_MAX - self.count)
            if (taken := min(room, arrivals)) > 0:
                self.waiting.append((now_s, taken))
            away += arrivals - taken
        self.refused += away
        return away

    def open(self, now_s: float) -> float:
        """An instance is there: how many go on."""
        through = self.count
        if through > 0:
            self.starts += 1
            self.held += through
            waits = [(now_s - since_s, count) for since_s, count in self.waiting]
            self.wait_s += sum(wait_s * count for wait_s, count in waits)
            self.waits.extend(waits)
            self.waiting.clear()
        return through

    def drop(self) -> float:
        """Nobody holds them any more: how many are lost."""
        lost = self.count
        self.refused += lost
        self.waiting.clear()
        return lost

    def seen(self, service: str, region: str, at: float) -> ColdStartSeen | None:
        """The fact that the waker would make of it; None where nobody ever waited."""
        if self.arrived_at <= 0:
            return None
        ordered, half = sorted(self.waits), sum(count for _, count in self.waits) / 2
        median_s = 0.0
        for wait_s, count in ordered:
            median_s, half = wait_s, half - count
            if half <= 0:
                break
        return ColdStartSeen(
            service=service,
            region=region,
            seen_at=at,
            waiting=math.ceil(self.count),
            arrived_at=self.arrived_at,
            starts=self.starts,
            held=round(self.held),
            refused=round(self.refused),
            wait_ms_p50=median_s * 1000 if ordered else None,
            wait_ms_max=ordered[-1][0] * 1000 if ordered else None,
        )
