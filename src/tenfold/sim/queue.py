"""How long an answer takes: the fluid queue of one instance. Approximations, each with its symbols, units and source.

    S  = w + c             time of a request alone, s        (w: waits for others, c: CPU on one core)
    mu = min(k/c, n/S)     capacity, requests per s          (k: cores, n: requests at once)
    r  = rate / mu         use, without unit
    m                      servers: cores where CPU binds, else n
    Wq = r^(sqrt(2(m+1)) - 1) / (mu (1 - r))                 mean wait before being served, s
                           H. Sakasegawa, "An approximation formula L_q = a rho^b / (1 - rho)", Ann. Inst. Stat. Math. 29 (1977);
                           with Poisson arrivals and exponential service both squared coefficients of variation are 1
    B' = max(0, B + a - mu dt)                               requests behind (fluid): what arrived and could not be served
    W  = S + Wq + B/mu     mean response time, s
    L  = x W               in flight, by Little's law        (x: requests answered per s)

Quantiles take the wait for others and the backlog as fixed and the rest as exponential (exact for M/M/1's sojourn):
t_q = w + B/mu + (c + Wq) (-ln(1 - q)).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

USE_MAX = 0.99
"""The highest use for which the stationary formula is asked; above, the backlog grows and says the rest."""


@dataclass(frozen=True, slots=True)
class Station:
    """What one instance can do: `capacity_per_s` (mu), `exponent` (sqrt(2(m+1)) - 1), `cpu_s` (c), `wait_s` (w)."""

    capacity_per_s: float
    exponent: float
    cpu_s: float
    wait_s: float

    def queueing_s(self, rate_per_s: float) -> float:
        """Wq at this rate of arrivals, in seconds, without backlog."""
        use = min(rate_per_s / self.capacity_per_s, USE_MAX)
        return float(use**self.exponent) / (self.capacity_per_s * (1 - use))

    def response_s(self, rate_per_s: float, backlog: float) -> float:
        """W, the mean response time in seconds with `backlog` requests behind."""
        return self.wait_s + self.cpu_s + self.queueing_s(rate_per_s) + backlog / self.capacity_per_s

    def holds_per_s(self, latency_ms: float) -> float:
        """The highest rate at which 95 of 100 answers come within `latency_ms` and no backlog grows; 0 when even a lone one is too late."""
        low, high = 0.0, self.capacity_per_s * USE_MAX
        if quantile_ms(self.wait_s, self.cpu_s + self.queueing_s(high), 0.95) <= latency_ms:
            return high
        while high - low > 1e-6 * high:
            middle = (low + high) / 2
            is_late = quantile_ms(self.wait_s, self.cpu_s + self.queueing_s(middle), 0.95) > latency_ms
            low, high = (low, middle) if is_late else (middle, high)
        return low


@lru_cache(maxsize=1024)
def station(cpu_ms: float, wait_ms: float, cpu_cores: float, concurrency: int) -> Station:
    """The queue of an instance of this size whose requests cost this much. Equal ones are the same object."""
    cpu_s, wait_s = cpu_ms / 1000.0, wait_ms / 1000.0
    by_cpu = cpu_cores / cpu_s if cpu_s > 0 else math.inf
    by_slots = concurrency / (cpu_s + wait_s) if cpu_s + wait_s > 0 else math.inf
    capacity = min(by_cpu, by_slots, 1e6)
    servers = max(1.0, cpu_cores) if by_cpu <= by_slots else float(concurrency)
    return Station(capacity, math.sqrt(2 * (servers + 1)) - 1, cpu_s, wait_s)


def quantile_ms(fixed_s: float, random_s: float, at_ratio: float) -> float:
    """t_q in milliseconds for `at_ratio` (0.95: the 95th percentile)."""
    return (fixed_s - random_s * math.log(1 - at_ratio)) * 1000.0
