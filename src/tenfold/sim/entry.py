"""The global entry of a false world: requests of clients near each region go the ways of its table, and elsewhere when a try fails or
is late. A fluid, as in `sim.pool`: a share of a step's requests fares as one request would.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import exp, log

from tenfold.facts import GatewaySeen, RegionSeen, ServedSeen
from tenfold.model import EntryTable, ServiceRoutes, Share, Way
from tenfold.sim.pool import Pool
from tenfold.sim.wan import RESENT_AFTER_MS, Wan

CHECKED_S = 1.0
"""The entry's own checks have found a region out, or well again, after this long: two of them, one each 0.5 s."""
OVERPROVISIONED = 1.4
"""Below 1/1.4 of its endpoints well, a priority gives some of its requests to the next (Envoy, overprovisioning_factor)."""
TRIES_MAX = 3
TRACE = 1e-6
"""A smaller part of a request than this is none."""


class Reach(StrEnum):
    """What becomes of a try at a region: it ANSWERS; nobody listens (GONE); nothing comes back (SILENT)."""

    ANSWERS = "answers"
    GONE = "gone"
    SILENT = "silent"


@dataclass(slots=True)
class Clients:
    """The truth since the world began, in requests, as clients count it. `refused` got a clear answer that no region may serve them;
    `failed_idempotent` are those of `failed` that could have been tried again. `extra_ms_max` is the most that any waited beyond
    the usual way from where it is."""

    offered: float = 0.0
    answered: float = 0.0
    failed: float = 0.0
    failed_idempotent: float = 0.0
    refused: float = 0.0
    extra_ms_max: float = 0.0


@dataclass(slots=True)
class Tries:
    """What was sent to one region in one step. `waits` are (requests, way in ms) of answered tries."""

    tried: float = 0.0
    errors: float = 0.0
    unanswered: float = 0.0
    demand: float = 0.0
    waits: list[tuple[float, float]] = field(default_factory=list)


@dataclass(slots=True)
class End:
    """A region as the entry finds it. `since_s` is since when its checks say the other of what `is_well` says."""

    reach: Reach = Reach.SILENT
    is_well: bool = True
    since_s: float | None = None

    def check(self, reach: Reach, now_s: float) -> None:
        """What the entry's checks of this step say."""
        self.reach = reach
        if (reach is Reach.ANSWERS) == self.is_well:
            self.since_s = None
            return
        since_s = self.since_s = now_s if self.since_s is None else self.since_s
        if now_s - since_s >= CHECKED_S:
            self.is_well, self.since_s = not self.is_well, None


class Entry:
    """The entry's table and what went through it. `residents` is by `origin|residency` the share of an origin's demand that is bound
    to that residency."""

    def __init__(self, regions: Sequence[str], residents: Mapping[str, float], wan: Wan) -> None:
        self.table: EntryTable | None = None
        self.table_digest, self.refused = "", ""
        self.clients = Clients()
        self.by_origin: dict[str, Clients] = {region: Clients() for region in regions}
        self.unseen = 0.0
        """What failed because no entry was there."""
        self.served: dict[tuple[str, str, str], float] = {}
        self.tries: dict[str, Tries] = {region: Tries() for region in regions}
        self.ends = {region: End() for region in regions}
        self.seconds = 1.0
        self._regions, self._wan = tuple(regions), wan
        self._bound: dict[str, list[tuple[str, float]]] = {region: [] for region in regions}
        for key, ratio in residents.items():
            origin, _, residency = key.partition("|")
            self._bound[origin].append((residency, ratio))
        self._ways: dict[tuple[str, str], Way] = {}
        self._routes: dict[str, ServiceRoutes] = {}

    def accept(self, table: EntryTable | None, table_digest: str) -> None:
        """Run `table` from now on."""
        self.table, self.table_digest, self.refused = table, table_digest, ""
        self._ways = {(way.origin, way.residency): way for way in table.ways} if table else {}
        self._routes = {routes.service: routes for routes in table.services} if table else {}

    def begin(self, seconds: float) -> None:
        """A step begins: its figures are counted anew."""
        self.seconds = seconds
        for region in self._regions:
            self.tries[region] = Tries()
        self.served.clear()

    def offer(self, pools: Mapping[str, Pool], service: str, demand: Mapping[str, int], known: str) -> dict[str, float]:
        """Share out one service's requests of this step (`demand`, by origin); gives back how many reach each region. `pools` are those
        that get them there, by the key of the service's own; the entry has `known` the service as that."""
        flow = _Flow(self, self._wan, pools, service, self._routes.get(known))
        for origin, count in demand.items():
            self.tries[origin].demand += count
            self.clients.offered += count
            self.by_origin[origin].offered += count
            if count <= 0:
                continue
            left = float(count)
            for residency, ratio in self._bound[origin]:
                left -= count * ratio
                self._send(flow, origin, residency, count * ratio)
            self._send(flow, origin, "", left)
        return flow.arrivals

    def unreachable(self, demand: Mapping[str, int], idempotent_ratio: float) -> None:
        """No entry is there: all requests of this step fail, and nobody inside sees them."""
        for origin, count in demand.items():
            self.unseen += count
            for clients in (self.clients, self.by_origin[origin]):
                clients.offered += count
                clients.failed += count
                clients.failed_idempotent += count * idempotent_ratio

    def fail(self, origin: str, count: float, is_idempotent: bool) -> None:
        """`count` requests of clients near `origin` failed for good."""
        for clients in (self.clients, self.by_origin[origin]):
            clients.failed += count
            if is_idempotent:
                clients.failed_idempotent += count

    def waited(self, origin: str, extra_ms: float) -> None:
        """Some of `origin` waited so much longer than the usual way takes."""
        for clients in (self.clients, self.by_origin[origin]):
            clients.extra_ms_max = max(clients.extra_ms_max, extra_ms)

    def shares(self, way: Way) -> list[tuple[str, float]]:
        """Where first tries of a way go now: regions that the entry's checks found out are passed over, as Envoy's priorities do."""
        if all(self.ends[share.region].is_well for share in way.shares):
            return [(share.region, share.ratio) for share in way.shares]
        well = [share for share in way.shares if self.ends[share.region].is_well]
        spare = next((region for region in way.spares if self.ends[region].is_well), None)
        if not well and spare is None:
            return [(share.region, share.ratio) for share in way.shares]
        kept = min(1.0, OVERPROVISIONED * len(well) / len(way.shares)) if spare is not None else 1.0
        found = _scaled(well, kept)
        return found if kept >= 1.0 or spare is None else [*found, (spare, 1.0 - kept)]

    def facts(
        self, at: float, connected: bool, pools: Mapping[str, Pool]
    ) -> tuple[GatewaySeen | ServedSeen | RegionSeen, ...]:
        """What the entry's observer would tell."""
        gateway = GatewaySeen("entry", self.table_digest, at, connected, self.refused)
        answered, failed = int(self.clients.answered), int(self.clients.failed - self.unseen)
        late = int(sum(pool.totals.late for pool in pools.values()))
        served = ServedSeen("entry", at, answered + failed, failed, answered, late)
        return (gateway, served, *(self._seen(region, at, pools) for region in self._regions))

    def _seen(self, region: str, at: float, pools: Mapping[str, Pool]) -> RegionSeen:
        tries, seconds = self.tries[region], self.seconds
        here = [pool for pool in pools.values() if pool.region == region]
        done = sum(pool.last.answered for pool in here)
        fixed_ms = sum(pool.last.fixed_s for pool in here) / done * 1000 if done > 0 else 0.0
        random_ms = sum(pool.last.random_s for pool in here) / done * 1000 if done > 0 else 0.0
        ways = sorted(tries.waits, key=_way_ms) if done > 0 else []
        p50, p99 = (_quantile(ways, at_ratio) for at_ratio in (0.5, 0.99))
        return RegionSeen(
            region,
            at,
            demand_per_s=tries.demand / seconds,
            tries_per_s=tries.tried / seconds,
            errors_per_s=tries.errors / seconds,
            unanswered_per_s=tries.unanswered / seconds,
            in_flight=sum(m.in_flight for pool in here for m in pool.members.values()),
            first_byte_ms_p50=None if p50 is None else p50 + fixed_ms + random_ms * log(2),
            first_byte_ms_p99=None if p99 is None else p99 + fixed_ms + random_ms * log(100),
            is_well=self.ends[region].is_well,
        )

    def _send(self, flow: "_Flow", origin: str, residency: str, count: float) -> None:
        if count < TRACE:
            return
        way = self._ways.get((origin, residency))
        if way is None or flow.routes is None:
            self.fail(origin, count * flow.idempotent_ratio, is_idempotent=True)
            self.fail(origin, count * (1 - flow.idempotent_ratio), is_idempotent=False)
        elif not way.shares:
            self.clients.refused += count
            self.by_origin[origin].refused += count
        else:
            for region, ratio in self.shares(way):
                flow.send(way, region, count * ratio)


def _scaled(shares: Sequence[Share], to_ratio: float) -> list[tuple[str, float]]:
    """The shares, so that they sum to `to_ratio`."""
    all_ratio = sum(share.ratio for share in shares)
    return [(share.region, share.ratio / all_ratio * to_ratio) for share in shares if all_ratio > 0]


def _way_ms(answered: tuple[float, float]) -> float:
    return answered[1]


def _quantile(waits: Sequence[tuple[float, float]], at_ratio: float) -> float | None:
    """The wait below which `at_ratio` of the requests are; None without any. `waits` are in the order of their length."""
    left = at_ratio * sum(count for count, _ in waits)
    for count, wait_ms in waits:
        left -= count
        if left <= 0:
            return wait_ms
    return None


def _default_ms(routes: ServiceRoutes | None) -> float | None:
    return routes.hedge_after_ms if routes else None


class _Flow:
    """One service's requests of one step on their way to regions."""

    def __init__(
        self, entry: Entry, wan: Wan, pools: Mapping[str, Pool], service: str, routes: ServiceRoutes | None
    ) -> None:
        self._entry, self._wan, self._service, self.routes = entry, wan, service, routes
        self.arrivals: dict[str, float] = {}
        self._hedge_ms = routes.rules[0].hedge_after_ms if routes and routes.rules else _default_ms(routes)
        # What a region's instances take, by the last step: fixed, and the mean of the rest, which is exponential.
        self._takes: dict[str, tuple[float, float]] = {}
        self.idempotent_ratio = 1.0
        self._able: dict[str, bool] = {}
        for region, end in entry.ends.items():
            pool = pools.get(f"{service}@{region}")
            self._able[region] = end.reach is Reach.ANSWERS and pool is not None and pool.is_able
            done = pool.last.answered if pool is not None else 0.0
            self._takes[region] = (0.0, 0.0)
            if pool is not None:
                self.idempotent_ratio = pool.idempotent_ratio
                if done > 0:
                    self._takes[region] = (pool.last.fixed_s / done * 1000, pool.last.random_s / done * 1000)

    def send(self, way: Way, region: str, count: float) -> None:
        """First tries at `region` of `count` requests of a way."""
        chain = [r for r in way.spares if r != region]
        chain += [s.region for s in way.shares if s.region != region and s.region not in chain]
        chain = [r for r in chain if self._entry.ends[r].is_well][: TRIES_MAX - 1]
        usual_ms = min(self._wan.usual_ms(way.origin, r) for r in (region, *chain))
        ratio = self.idempotent_ratio
        if count * ratio > TRACE:
            self._try(way, region, count * ratio, chain, 0.0, usual_ms, True)
        if count * (1 - ratio) > TRACE:
            self._try(way, region, count * (1 - ratio), chain, 0.0, usual_ms, False)

    def _try(
        self,
        way: Way,
        region: str,
        count: float,
        chain: Sequence[str],
        waited_ms: float,
        usual_ms: float,
        is_idempotent: bool,
    ) -> None:
        entry, wan, origin = self._entry, self._wan, way.origin
        tries, reach = entry.tries[region], entry.ends[region].reach
        tries.tried += count
        way_ms = wan.from_clients_ms(origin, region)
        if reach is not Reach.ANSWERS:
            tries.unanswered += count
            lost_ms = way_ms if reach is Reach.GONE else self._given_up_ms
            # What nobody took was never sent, so that it may go elsewhere whatever it is.
            if chain and (is_idempotent or reach is Reach.GONE):
                self._try(way, chain[0], count, chain[1:], waited_ms + lost_ms, usual_ms, is_idempotent)
            else:
                entry.fail(origin, count, is_idempotent)
            return
        self.arrivals[region] = self.arrivals.get(region, 0.0) + count
        if not self._able[region]:
            tries.errors += count
            if chain and is_idempotent:
                self._try(way, chain[0], count, chain[1:], waited_ms + way_ms, usual_ms, is_idempotent)
            else:
                entry.fail(origin, count, is_idempotent)
            return
        loss_ratio = 0.0 if wan.is_well(region) else wan.loss_ratio(region)
        late = 1 - (1 - loss_ratio) ** 2
        for part, part_ms in ((count * (1 - late), way_ms), (count * late, way_ms + RESENT_AFTER_MS)):
            if part > TRACE:
                self._answer(way, region, part, chain, waited_ms, usual_ms, part_ms, is_idempotent)

    def _answer(
        self,
        way: Way,
        region: str,
        count: float,
        chain: Sequence[str],
        waited_ms: float,
        usual_ms: float,
        way_ms: float,
        is_idempotent: bool,
    ) -> None:
        """These are answered, unless they are late and another region is sooner."""
        entry, (fixed_ms, random_ms) = self._entry, self._takes[region]
        tries, hedge_ms = entry.tries[region], self._hedge_ms
        if hedge_ms is not None and chain and is_idempotent:
            over_ms = hedge_ms - way_ms - fixed_ms
            hedged = 1.0 if over_ms <= 0 else exp(-over_ms / random_ms) if random_ms > 0 else 0.0
            if hedged > 1e-3 and self._able[chain[0]]:
                other = chain[0]
                # Both are under way then: the work is done twice, and the sooner answer counts.
                there_ms = hedge_ms + self._wan.from_clients_ms(way.origin, other) + sum(self._takes[other])
                if there_ms < max(way_ms + fixed_ms, hedge_ms) + random_ms:
                    tries.unanswered += count * hedged
                    self._try(way, other, count * hedged, chain[1:], waited_ms + hedge_ms, usual_ms, is_idempotent)
                    count *= 1 - hedged
                else:
                    self.arrivals[other] = self.arrivals.get(other, 0.0) + count * hedged
                    entry.tries[other].tried += count * hedged
        if count <= TRACE:
            return
        tries.waits.append((count, way_ms))
        entry.waited(way.origin, waited_ms + way_ms - usual_ms)
        key = (way.origin, way.residency, region)
        entry.served[key] = entry.served.get(key, 0.0) + count

    @property
    def _given_up_ms(self) -> float:
        """After how long a try that nothing comes back from is made elsewhere."""
        return CHECKED_S * 1000 if self._hedge_ms is None else self._hedge_ms
