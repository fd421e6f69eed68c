"""How much an app holds: where throughput bends, what more instances will give, what users ask for. Measured points in, figures out.

Words: a rate is in requests per second; *concurrency* is the mean number of requests at hand, by Little's law (Little 1961) the rate
times the mean response time. Nothing here rounds, waits or looks at a clock.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np

PLATEAU_RATIO = 0.97
"""Less of the offered load than this is answered: then it is more than can be."""


@dataclass(frozen=True, slots=True)
class Usl:
    """The universal scalability law (Gunther, Guerrilla Capacity Planning, 2007, chapter 5):

        X(n) = one * n / (1 + contention * (n - 1) + coherency * n * (n - 1))

    `X(n)` is the throughput of `n` (instances, or requests at once), `one` that of one (requests/s), `contention` (sigma, 0..)
    the share of work that only one can do at a time, `coherency` (kappa, 0..) the share that each spends on every other.
    """

    one: float
    contention: float
    coherency: float

    def throughput(self, n: float) -> float:
        """In requests/s."""
        return self.one * n / (1 + self.contention * (n - 1) + self.coherency * n * (n - 1))

    @property
    def peak(self) -> float:
        """The number at which throughput is highest: n* = sqrt((1 - sigma) / kappa); infinite when more always gives more."""
        if self.coherency <= 0:
            return math.inf
        return math.sqrt(max(0.0, 1 - self.contention) / self.coherency) or 1.0


def fit_usl(points: Sequence[tuple[float, float]]) -> Usl:
    """The law that fits pairs of (n, throughput) best; with one point a straight line, with two no coherency.

    The law is a plane once turned over: n / X = 1/one + (n-1) * contention/one + n(n-1) * coherency/one. Least squares on it,
    each point weighted by X / n so that relative errors count, over every choice of terms that are not zero (none may be below
    zero). Raises `ValueError` without a point, or when one is not above zero.
    """
    if not points or any(n <= 0 or x <= 0 for n, x in points):
        raise ValueError("a fit needs points, each above zero")
    n, x = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    columns = np.stack((np.ones_like(n), n - 1, n * (n - 1)), axis=1) * (x / n)[:, None]
    others = (1, 2)[: max(0, len(set(n.tolist())) - 1)]
    best: tuple[float, tuple[float, float, float]] | None = None
    for chosen in chain.from_iterable(combinations(others, size) for size in range(len(others) + 1)):
        kept = [0, *chosen]
        found = np.linalg.lstsq(columns[:, kept], np.ones_like(n), rcond=None)[0]
        if found[0] <= 0 or (found < 0).any():
            continue
        error = float(((columns[:, kept] @ found - 1) ** 2).sum())
        if best is None or error < best[0] - 1e-12:
            terms = dict(zip(kept, found.tolist(), strict=True))
            best = (error, (terms[0], terms.get(1, 0.0), terms.get(2, 0.0)))
    assert best is not None, "the straight line alone is always allowed: its term is a mean of what is above zero"
    a, b, c = best[1]
    return Usl(1 / a, b / a, c / a)


@dataclass(frozen=True, slots=True)
class Bend:
    """Where more load no longer gives more answers: `rps` requests/s, reached with `concurrency` requests at hand."""

    rps: float
    concurrency: float


@dataclass(frozen=True, slots=True)
class Offered:
    """What came of a steady load: requests/s that were offered and answered, and the mean response time."""

    offered_rps: float
    answered_rps: float
    response_ms_mean: float

    @property
    def concurrency(self) -> float:
        """Requests at hand, by Little's law."""
        return self.answered_rps * self.response_ms_mean / 1000


def bend(points: Sequence[Offered]) -> Bend | None:
    """Where the asymptotes of throughput meet (Denning & Buzen, The operational analysis of queueing network models, 1978): the line of an
    app that nobody waits in, concurrency / unhindered response time, and the plateau, the most that was ever answered.

    None while no load was more than could be answered: then the bend lies above all that was offered.
    """
    answered = [point for point in points if point.answered_rps > 0]
    if not any(point.answered_rps < PLATEAU_RATIO * point.offered_rps for point in answered):
        return None
    plateau_rps = max(point.answered_rps for point in answered)
    unhindered_ms = min(point.response_ms_mean for point in answered)
    return Bend(plateau_rps, plateau_rps * unhindered_ms / 1000)


@dataclass(frozen=True, slots=True)
class Machine:
    """What one request costs the machine that everything shares, app, edge, stores and load generator together.

    `cores` are there, of which `taken_cores` are used by others. A request needs `cpu_ms` of processor time.
    """

    cores: float
    taken_cores: float
    cpu_ms: float

    def holds_rps(self, latency_ms: float) -> float:
        """The rate at which 95 of 100 answers still come within `latency_ms` as far as the processor goes.

        With m free cores, demand D per request and utilisation u = rate * D / m, the mean time is about D / (1 - u^m) (Gunther, Analyzing
        Computer System Performance with Perl::PDQ, 2005, section 2.7.3), and the 95th percentile of exponential times three times their
        mean (ln 20). Solved for the rate.
        """
        free = max(self.cores - self.taken_cores, 0.0)
        if free == 0 or self.cpu_ms <= 0:
            return 0.0 if free == 0 else math.inf
        slack = 1 - math.log(20) * self.cpu_ms / latency_ms
        return float(free * 1000 / self.cpu_ms * max(0.0, slack) ** (1 / free))


def predicted_rps(instances: int, one_rps: float, machine: Machine | None, latency_ms: float) -> float:
    """What so many instances hold when one holds `one_rps`: so many times that, as far as the machine they share can bear it."""
    linear_rps = instances * one_rps
    return linear_rps if machine is None else min(linear_rps, machine.holds_rps(latency_ms))


def users_held(actions_per_s: float, think_s: float, action_s: float) -> float:
    """How many users make so many actions a second, each pausing `think_s` after an action that takes `action_s`: the interactive response
    time law, N = X (Z + R) (Denning & Buzen 1978)."""
    return actions_per_s * (think_s + action_s)


def percentile_error(count: int, ratio: float = 0.95) -> float:
    """How far off (0..1, with 95% confidence) the rank of a percentile is that was taken from `count` independent values: 1.96 standard
    deviations of a binomial share. 400 values: 0.021, so a measured 95th is between the 92.9th and the 97.1st."""
    return 1.0 if count <= 0 else min(1.0, 1.96 * math.sqrt(ratio * (1 - ratio) / count))
