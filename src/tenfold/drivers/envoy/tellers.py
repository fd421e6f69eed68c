"""Readings of one Envoy, look by look, become facts: of a gateway, pools and routes; of the entry, regions.
Stage: world -> facts."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tenfold.drivers.envoy.accesslog import Line, LogTail
from tenfold.drivers.envoy.routetimes import LoggedTimes
from tenfold.drivers.envoy.served import Served
from tenfold.drivers.envoy.stats import RATES_OVER_S, HostReading, PoolReading, Reading, at_hand, pools_seen
from tenfold.facts import Fact, PoolSeen, RegionSeen, RouteSeen


class PoolsTeller:
    """A gateway's traffic by pool, what it has served, and what its routes normally take."""

    def __init__(self, region: str, log: Path, served: Served) -> None:
        self._region = region
        self._served = served
        self._times = LoggedTimes(region, log)
        self._before: Reading | None = None
        self._pools: tuple[PoolSeen, ...] = ()
        self._routes: tuple[RouteSeen, ...] = ()

    def start_over(self) -> None:
        """Another process counts from nothing; what is known of routes stays true."""
        self._before, self._pools = None, ()
        self._served.start_over()

    def look(self, reading: Reading, now: float) -> tuple[Fact, ...]:
        """ServedSeen, PoolSeen and RouteSeen facts; none of pools at the first look."""
        if self._before is None:
            self._before = reading
        elif reading.at_s - self._before.at_s >= RATES_OVER_S:
            self._pools = pools_seen(self._before, reading, self._region, now)
            self._before = reading
            self._routes = self._times.look(now)
        else:
            self._pools = at_hand(self._pools, reading, now)
        return (self._served.look(reading, now), *self._pools, *self._routes)


class RegionsTeller:
    """The entry's traffic by region, and what it has served. `origin_of` tells of a pool's name whose requests it takes."""

    def __init__(self, log: Path, origin_of: Callable[[str], str], served: Served) -> None:
        self._tail = LogTail(log)
        self._served = served
        self._origin_of = origin_of
        self._before: Reading | None = None
        self._regions: tuple[RegionSeen, ...] = ()

    def start_over(self) -> None:
        """Another process counts from nothing."""
        self._before, self._regions = None, ()
        self._served.start_over()

    def look(self, reading: Reading, now: float) -> tuple[Fact, ...]:
        """A ServedSeen, and a RegionSeen for each region that is an origin or in a pool; none of these at the first look."""
        if self._before is None:
            self._before = reading
            self._tail.fresh()  # What was logged before this look is not of the time that it begins.
        elif reading.at_s - self._before.at_s >= RATES_OVER_S:
            logged = _logged(self._tail.fresh())
            self._regions = regions_seen(self._before, reading, logged, self._origin_of, now)
            self._before = reading
        else:
            hosts = _hosts(reading)
            self._regions = tuple(_now(seen, hosts.get(seen.region, ()), now) for seen in self._regions)
        return (self._served.look(reading, now), *self._regions)


@dataclass(frozen=True, slots=True)
class _Logged:
    """Of a region's logged answers: their first-byte times in milliseconds, ascending, and which share (0..1) were a 5xx."""

    first_ms: Sequence[float] = ()
    failed_ratio: float = 0.0

    def percentile(self, ratio: float) -> float | None:
        """The time that `ratio` (0..1) of the answers did not exceed; None when there was none."""
        return self.first_ms[min(len(self.first_ms) - 1, int(ratio * len(self.first_ms)))] if self.first_ms else None


def _logged(lines: Sequence[Line]) -> Mapping[str, _Logged]:
    """By region, of the lines whose request a region answered."""
    times_ms: dict[str, list[float]] = defaultdict(list)
    failed: Counter[str] = Counter()
    for line in lines:
        if line.region and line.first is not None and line.asked is not None:
            times_ms[line.region].append((line.first - line.asked) / 1000)
            failed[line.region] += (line.code or 0) >= 500
    return {region: _Logged(sorted(found), failed[region] / len(found)) for region, found in times_ms.items()}


def regions_seen(
    before: Reading, now: Reading, logged: Mapping[str, _Logged], origin_of: Callable[[str], str], seen_at: float
) -> tuple[RegionSeen, ...]:
    """The traffic of each region between two readings of the same entry."""
    hosts, demand = _hosts(now), _demand(before, now, origin_of)
    changes: dict[str, list[HostReading]] = defaultdict(list)
    for name, pool in now.pools.items():
        earlier = before.pools.get(name, PoolReading()).hosts
        for region, host in pool.hosts.items():
            changes[region].append(_change(earlier.get(region, HostReading()), host))
    seen = (
        _region_seen(region, changes[region], logged.get(region, _Logged()), now.at_s - before.at_s)
        for region in sorted({*hosts, *demand})
    )
    elapsed_s = now.at_s - before.at_s
    return tuple(
        _now(replace(fact, demand_per_s=demand[fact.region] / elapsed_s), hosts.get(fact.region, ()), seen_at)
        for fact in seen
    )


def _region_seen(region: str, changes: Sequence[HostReading], logged: _Logged, elapsed_s: float) -> RegionSeen:
    answered, failed = sum(c.answered for c in changes), sum(c.failed for c in changes)
    # The log comes up to a second late, the counters do not: of the failures that were counted now, it tells what share
    # were answers.
    errors = min(failed, round(logged.failed_ratio * (answered + failed)))
    return RegionSeen(
        region=region,
        seen_at=0.0,
        tries_per_s=sum(max(c.placed, c.answered + c.failed) for c in changes) / elapsed_s,
        errors_per_s=errors / elapsed_s,
        unanswered_per_s=(failed - errors + sum(_given_up(c) for c in changes)) / elapsed_s,
        first_byte_ms_p50=logged.percentile(0.50),
        first_byte_ms_p99=logged.percentile(0.99),
    )


def _now(seen: RegionSeen, hosts: Sequence[HostReading], now: float) -> RegionSeen:
    """The same traffic, with how the region is at this moment: well when the entry finds it so from any origin."""
    return replace(
        seen,
        seen_at=now,
        in_flight=float(sum(host.active for host in hosts)),
        is_well=not hosts or any(host.is_well for host in hosts),
    )


def _hosts(reading: Reading) -> dict[str, list[HostReading]]:
    """By region, what each pool tells of its gateway."""
    found: dict[str, list[HostReading]] = defaultdict(list)
    for pool in reading.pools.values():
        for region, host in pool.hosts.items():
            found[region].append(host)
    return found


def _demand(before: Reading, now: Reading, origin_of: Callable[[str], str]) -> Counter[str]:
    """By origin, how many requests came since: second tries are none."""
    demand: Counter[str] = Counter()
    for name, pool in now.pools.items():
        first = before.pools.get(name, PoolReading())
        if pool.attempts < first.attempts:
            first = PoolReading()
        requests = pool.attempts + pool.unsent - pool.retries - first.attempts - first.unsent + first.retries
        demand[origin_of(name)] += max(0, requests)
    return demand


def _change(before: HostReading, now: HostReading) -> HostReading:
    """What was counted since; `active` is how many more are at hand."""
    if now.placed < before.placed or now.answered < before.answered:
        before = HostReading()  # It was taken away and came again: it counts from nothing.
    return HostReading(
        placed=now.placed - before.placed,
        answered=now.answered - before.answered,
        failed=now.failed - before.failed,
        active=now.active - before.active,
    )


def _given_up(change: HostReading) -> int:
    """Tries that were given up since, for one elsewhere or by their client: they were placed, and neither answered nor failed.

    Those that may yet be answered are among the active. Long answers that ended are not: they make nothing given up.
    """
    return max(0, change.placed - change.answered - change.failed - max(0, change.active))
