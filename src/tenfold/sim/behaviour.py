"""What the programs of a false world are like: how long they take to start, what a request costs them, how they break."""

import math
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from tenfold.facts import CapacitySeen
from tenfold.model import InstanceSize
from tenfold.sim.queue import USE_MAX, station


class Breakage(StrEnum):
    """Ways in which a release is broken: it fails to build, in its release hook, exits at start, never gets healthy,
    or is well at first and then exits (CRASH_LATER) or fails its checks (SICK_LATER). One with ERRORS passes its checks, and answers
    everything else with an error."""

    BUILD = "build"
    RELEASE_HOOK = "release_hook"
    START = "start"
    HEALTH = "health"
    CRASH_LATER = "crash_later"
    SICK_LATER = "sick_later"
    ERRORS = "errors"


LATER_S = 30.0
"""When a release that breaks later does so, in seconds after it became ready."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The nature of one service.

    A request costs `cpu_ms` of one core and waits `wait_ms` for others. Starting takes `start_s` (uniform within
    `start_spread_ratio` of it either way) at `start_cpu_cores`, fails with chance `start_fails_ratio`; a ready instance crashes
    `crashes_per_hour`. A task runs `task_s` and fails with chance `task_fails_ratio`. SIGTERM is heeded after `stop_s`, or never
    (None). `idempotent_ratio` of requests may be tried again elsewhere when an instance dies under them; of those answered,
    `write_ratio` write to the database, and are answered with an error while it does not answer.
    """

    cpu_ms: float = 10.0
    wait_ms: float = 20.0
    start_s: float = 3.0
    start_spread_ratio: float = 0.3
    start_cpu_cores: float = 0.8
    start_fails_ratio: float = 0.0
    crashes_per_hour: float = 0.0
    idle_cpu_cores: float = 0.01
    memory_bytes: int = 80 * 1024 * 1024
    memory_bytes_per_request: int = 256 * 1024
    task_s: float = 4.0
    task_fails_ratio: float = 0.0
    stop_s: float | None = 0.3
    idempotent_ratio: float = 0.9
    write_ratio: float = 0.0

    def start_time_s(self, random: Random) -> float:
        """How long this start takes."""
        return self.start_s * random.uniform(1 - self.start_spread_ratio, 1 + self.start_spread_ratio)

    def stop_time_s(self, grace_s: float) -> float:
        """How long ending takes when SIGKILL follows SIGTERM after `grace_s`."""
        return grace_s if self.stop_s is None else min(self.stop_s, grace_s)


def costs_of(seen: CapacitySeen, size: InstanceSize) -> tuple[float, float]:
    """What a request costs and waits, in ms, so that an instance of that size does what was measured: `sim.queue` turned over.

    At X requests/s (`seen.requests_per_s`) the mean time is W = n/X (Little's law, n: `seen.concurrency`) and the 95th percentile L. With
    R = c + Wq, the part that is exponential, W = w + R and L = w + R ln 20; so R = (L - W) / (ln 20 - 1), w = W - R, and c is what gives R
    at X. Where n was not measured all of L is R.
    """
    per_s, late_s, tail = seen.requests_per_s, seen.latency_ms / 1000, math.log(20)
    mean_s = seen.concurrency / per_s
    random_s = (late_s - mean_s) / (tail - 1)
    wait_s = mean_s - random_s
    if mean_s <= 0 or random_s <= 0 or wait_s < 0:
        random_s, wait_s = late_s / tail, 0.0
    low_s, high_s = 0.0, USE_MAX * size.cpu_cores / per_s
    while high_s - low_s > 1e-6 * high_s:
        cpu_s = (low_s + high_s) / 2
        one = station(cpu_s * 1000, wait_s * 1000, size.cpu_cores, 10**9)
        is_more = cpu_s + one.queueing_s(per_s) > random_s
        low_s, high_s = (low_s, cpu_s) if is_more else (cpu_s, high_s)
    return low_s * 1000, wait_s * 1000
