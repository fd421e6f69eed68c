"""What an instance should be given, by how heavy its work is. Stage: a class of work -> size, concurrency, timeouts, connections, cache.

The table's figures are orders of magnitude, each class about four times the one before, for an app in Python, Ruby or JavaScript; a
compiled one takes less. They stand in until `tenfold measure` has found what this app takes. What follows from them is reckoned by laws
that are named.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

from tenfold.estimators.capacity import Machine
from tenfold.model import INSTANCES_MOST, InstanceSize

MIB = 1024**2
LATENCY_MS = 500.0
"""Within what 95 of 100 answers are to come where the blueprint names no target."""
TAIL = math.log(20)
"""The 95th percentile of exponential times over their mean."""
UNHINDERED = 5.0
"""No class is planned to answer within less than so many times what a request takes alone: with less even an idle instance is late."""
MEMORY_FILL_RATIO = 0.7
"""So much of its memory an instance should need: the usual trigger adds the next at 80%."""
POOL_SPARE = 2.0
"""So many times the connections that are busy in the mean: requests come in bursts."""
CONCURRENCY_MIN = 2
CAREFUL_RATIO = 0.999
"""Whoever promises as much keeps two instances: the loss of one must not be an outage."""
QUIET_RATIO = 0.25
"""So much of the busiest hour's instances always run: what business apps keep of their day's peak at night, and a surge finds
something."""
SURGE_TIMES = 1.5
"""So many times the instances of the busiest hour may run."""
CACHE_BYTES_MIN = 64 * MIB


@dataclass(frozen=True, slots=True)
class Work:
    """A class of work.

    A request needs `cpu_ms` of processor time and waits `wait_ms` for others, most of it for the database, which works `database_ms`
    (processor time) on it. An instance takes `base_bytes` when idle and `request_bytes` more for each request at hand; it should be given
    `cores`. A user who is there keeps `cache_bytes` in the cache and `data_bytes` of the database's rows in use. A request may take
    `timeout_s`. `why` says what work is meant, `timeout_why` where that bound comes from.
    """

    name: str
    cpu_ms: float
    wait_ms: float
    database_ms: float
    cores: float
    base_bytes: int
    request_bytes: int
    cache_bytes: int
    data_bytes: int
    timeout_s: float
    why: str
    timeout_why: str


# The database: PostgreSQL 18 answered 5,600 queries by key a second over one connection, 0.2 ms each. Light work is two of them, medium
# ten; heavier work reads many rows. Cache: light work keeps a session and two pages (18 KB of HTML, the median of the Web Almanac 2024).
# Memory: a worker of the usual servers (gunicorn, puma, node) takes 60 to 300 MB when idle, by framework.
WORKS = MappingProxyType(
    {
        work.name: work
        for work in (
            Work(
                "light", 5, 10, 0.4, 1.0, 128 * MIB, MIB // 2, MIB // 16, MIB // 4, 5.0,
                "a page or an API answer out of one or two queries",
                "who waits longer for a simple page asks again",
            ),
            Work(
                "medium", 20, 30, 2, 1.0, 256 * MIB, 2 * MIB, MIB // 4, MIB, 10.0,
                "a business page: several queries, a template or much JSON",
                "ten seconds keep a person's attention (Nielsen 1993, Usability Engineering, chapter 5)",
            ),
            Work(
                "heavy", 80, 120, 10, 2.0, 384 * MIB, 8 * MIB, MIB, 4 * MIB, 30.0,
                "search, reports, documents, pictures",
                "routers of hosted platforms give up after 30 s (Heroku, H12)",
            ),
            Work(
                "enterprise", 200, 300, 40, 2.0, 512 * MIB, 32 * MIB, 4 * MIB, 16 * MIB, 60.0,
                "analyses over a whole company's data, exports, imports",
                "proxies give up after 60 s unless told otherwise (nginx, proxy_read_timeout)",
            ),
        )
    }
)  # fmt: skip
"""The classes, lightest first."""
USUAL = WORKS["medium"]
"""What is assumed where nothing was measured and nobody said."""


@dataclass(frozen=True, slots=True)
class Holds:
    """What one instance holds: `requests_per_s`, at which 95 of 100 answers come within `latency_ms`, and what gives out first, in
    words."""

    requests_per_s: float
    latency_ms: float
    limited_by: str


@dataclass(frozen=True, slots=True)
class Allocation:
    """What to give one instance: `size`, `connections` to the database, and how long a request may take. `cache_bytes` is for all
    users."""

    size: InstanceSize
    connections: int
    timeout_s: float
    cache_bytes: int


def holds(work: Work, size: InstanceSize, target_ms: float | None) -> Holds:
    """What an instance of that size holds of such work.

    Three bounds, the least counts. Processor: `Machine.holds_rps`, within what is left of the bound when ln 20 times the waiting is
    taken off (waiting needs no core, so it grows with nothing); less than a core is a core that is so much slower. Concurrency and
    memory: n requests at once give at most n / (cpu + wait) answers (the asymptotic bounds of Denning and Buzen 1978), n being
    `size.concurrency`, or what fits beside the idle instance.
    """
    speed = min(1.0, size.cpu_cores)
    cpu_ms = work.cpu_ms / speed
    bound_ms = max(target_ms or LATENCY_MS, UNHINDERED * (cpu_ms + work.wait_ms))
    processor_rps = Machine(size.cpu_cores / speed, 0.0, cpu_ms).holds_rps(bound_ms - TAIL * work.wait_ms)
    alone_s = (cpu_ms + work.wait_ms) / 1000
    fits = max(1.0, (size.memory_bytes - work.base_bytes) / work.request_bytes)
    return min(
        (
            Holds(processor_rps, bound_ms, "CPU"),
            Holds(fits / alone_s, bound_ms, "memory"),
            Holds(size.concurrency / alone_s, bound_ms, "instance.concurrency"),
        ),
        key=lambda found: found.requests_per_s,
    )


def connections_of(work: Work, requests_per_s: float) -> int:
    """How many connections an instance needs that answers so many requests: twice those that are busy in the mean (Little 1961, rate
    times the time for which one is held), at least two."""
    return max(2, math.ceil(POOL_SPARE * requests_per_s * work.wait_ms / 1000))


def cache_bytes_of(work: Work, users: float) -> int:
    """How large the cache should be for so many users at once; at least 64 MiB."""
    return max(CACHE_BYTES_MIN, math.ceil(users * work.cache_bytes / MIB) * MIB)


def allocation_of(work: Work, users: float, target_ms: float | None) -> Allocation:
    """What to give an instance for such work, and the cache for so many users.

    `concurrency` is what is at hand when 95 of 100 answers just come in time (Little 1961: rate times mean time), so that the trigger on
    it adds instances before they are late. Memory is for as many, filled to 70%, in powers of two as platforms sell it.
    """
    plenty = InstanceSize(work.cores, 2**50, 10**6)
    found = holds(work, plenty, target_ms)
    at_once = max(CONCURRENCY_MIN, math.floor(found.requests_per_s * found.latency_ms / TAIL / 1000))
    wanted_bytes = (work.base_bytes + at_once * work.request_bytes) / MEMORY_FILL_RATIO
    memory_bytes = 2 ** math.ceil(math.log2(wanted_bytes))
    return Allocation(
        InstanceSize(work.cores, memory_bytes, at_once),
        connections_of(work, found.requests_per_s),
        work.timeout_s,
        cache_bytes_of(work, users),
    )


def bounds_of(needed: int, own_min: int, regions: int, is_careful: bool) -> tuple[int, int]:
    """The least and the most instances of a region that needs `needed` at its busiest: never less than the blueprint has, nor than two
    where the loss of one must not be an outage; the most carries a surge of half as much again, or the users of a lost region where there
    are others."""
    low = max(own_min, 2 if is_careful else 1, math.ceil(QUIET_RATIO * needed))
    times = max(SURGE_TIMES, regions / (regions - 1)) if regions > 1 else SURGE_TIMES
    low = min(low, INSTANCES_MOST)
    return low, min(max(low, math.ceil(times * needed)), INSTANCES_MOST)
