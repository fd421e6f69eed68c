"""What only a world of several regions has: the global entry, the network between the regions, stores that follow one another,
voters. `World` holds one and moves it."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from random import Random
from typing import TYPE_CHECKING

from tenfold.facts import (
    ColdStartSeen,
    EngineSeen,
    EngineState,
    Fact,
    GatewaySeen,
    InstanceSeen,
    LinkSeen,
    PoolSeen,
    ReplicaSeen,
    RouteSeen,
)
from tenfold.model import Model, StoreEnd
from tenfold.sim.entry import Entry, Reach
from tenfold.sim.links import Links
from tenfold.sim.pool import Pool
from tenfold.sim.rates import poisson
from tenfold.sim.stores import Copy, Stores
from tenfold.sim.wan import Wan

if TYPE_CHECKING:
    from tenfold.sim.world import World

FOUND_S = 0.5
"""From the start of a voter without a lease to its first answer."""


class Spread:
    """The parts between the regions of `model`; see `World` for the arguments. `is_blind_across` is the harder world, in which the
    control plane sees and reaches nothing of a region that is cut off from its own."""

    def __init__(
        self,
        model: Model,
        seed: int | str,
        rtt_ms: Mapping[str, float],
        residents: Mapping[str, float],
        is_blind_across: bool,
    ) -> None:
        self.wan = Wan(model.regions, rtt_ms)
        self.entry = Entry(tuple(model.regions), residents, self.wan)
        self.stores = Stores()
        self.links = Links(tuple(model.regions), self.wan, Random(f"links/{seed}"))
        self.entry_key = f"entry/{model.entry_region}"
        self.is_blind_across = is_blind_across
        self._has_data = model.data is not None and model.data.url is None
        self.lease_until_s = 0.0
        self._answers = dict.fromkeys(model.regions, False)

    # --- time ---------------------------------------------------------------------------------------------------------

    def move(self, world: "World", seconds: float, now_s: float) -> None:
        """Let `seconds` pass: checks, requests, writes, replication, probes."""
        for region, end in self.entry.ends.items():
            end.check(self._reach(world, region), now_s)
            self._answers[region] = world.answers(f"gateway/{region}")
        following = [copy for copy in self.stores.copies.values() if copy.follows]
        # What a standby does not get is not acknowledged by a primary that waits for it: not even in this step.
        for copy in following:
            if self._upstream(world, copy) is None:
                copy.lag_s = None
        self._flow(world, seconds, now_s)
        for copy in following:
            rtt_ms = self.wan.rtt_ms(copy.follows, copy.region)
            self.stores.catch_up(copy, self._upstream(world, copy), rtt_ms)
        self.links.probe(seconds, now_s, self._answers)

    def _flow(self, world: "World", seconds: float, now_s: float) -> None:
        for copy in self.stores.copies.values():
            copy.per_s = 0.0
        self.entry.begin(seconds)
        is_up = world.answers(self.entry_key) and self.entry.table is not None
        by_service: dict[str, dict[str, int]] = {}
        for pool in world.pools.values():
            world.plan(pool, now_s)
            rate = world.rates.get(pool.key)
            if rate is not None:
                mean = rate(now_s) * seconds
                by_service.setdefault(pool.service, {})[pool.region] = poisson(world.arrivals_random, mean)
        arrivals: defaultdict[str, float] = defaultdict(float)
        takers = {key: world.taker(pool) for key, pool in world.pools.items()}
        for service, demand in by_service.items():
            if is_up:
                known = world.model.services[service].base
                for region, count in self.entry.offer(takers, service, demand, known).items():
                    arrivals[takers[f"{service}@{region}"].key] += count
            else:
                self.entry.unreachable(demand, world.behaviour(service).idempotent_ratio)
        for pool in world.pools.values():
            self._serve(world, pool, arrivals[pool.key], seconds, now_s)

    def _serve(self, world: "World", pool: Pool, arrivals: float, seconds: float, now_s: float) -> None:
        if not self._answers[pool.region]:
            # What was being answered there when its gateway went: its clients are answered elsewhere, or not.
            lost = pool.door.count
            pool.unreachable(0, seconds)
            self.entry.clients.failed += lost
            return
        arrivals, away = world.admit(pool, arrivals, now_s)
        self.entry.clients.failed += away
        write_ratio = world.behaviour(pool.service).write_ratio if arrivals > 0 and self._has_data else 0.0
        written = self._written_to(world, pool.region, "postgres", now_s) if write_ratio > 0 else {}
        error_ratio = 1 - (1 - (write_ratio if written is None else 0.0)) * (
            1 - (pool.error_ratio() if world.broken else 0.0)
        )
        sockets = int(world.sockets[pool.key](now_s)) if pool.key in world.sockets else 0
        pool.step(arrivals, sockets, seconds, now_s, error_ratio)
        step, clients = pool.last, self.entry.clients
        failed = step.failed - (arrivals if not pool.is_able else 0.0)
        clients.failed += failed
        clients.failed_idempotent += step.timed_out * pool.idempotent_ratio
        clients.answered += step.answered
        self.entry.tries[pool.region].errors += failed
        for copy in (written or {}).values():
            self.stores.write(copy, step.answered * write_ratio, seconds)

    def _written_to(self, world: "World", region: str, needed: str, now_s: float) -> dict[str, Copy] | None:
        """The primaries that the apps of `region` reach through its gateway, by kind; None when the one `needed` takes no writes."""
        found = {}
        for end in self.stores_reached(world, region):
            copy = self._at(world, end.port)
            assert copy is not None, "it answers"
            copy.full_until_s = world.engines[copy.key].full_until_s
            if self.stores.takes_writes(copy, now_s):
                found[end.kind] = copy
        return found if needed in found else None

    def stores_reached(self, world: "World", region: str) -> tuple[StoreEnd, ...]:
        """The stores to which the gateway of `region` leads, as far as they answer there."""
        return tuple(
            end
            for end in world.gateways[region].table.stores
            if (copy := self._at(world, end.port)) is not None
            and self.wan.passes(region, copy.region)
            and world.answers(copy.key)
        )

    def _at(self, world: "World", port: int) -> Copy | None:
        return next((c for c in self.stores.copies.values() if world.port_of(c.key) == port), None)

    def _upstream(self, world: "World", copy: Copy) -> Copy | None:
        """The primary whose writes get to a standby now; None when nothing gets there."""
        primary = self.stores.copies.get(f"{copy.kind}/{copy.follows}")
        if primary is None or not (world.answers(copy.key) and world.answers(primary.key)):
            return None
        return primary if self.wan.passes(copy.region, primary.region) else None

    def _reach(self, world: "World", region: str) -> Reach:
        if not self.wan.admits(region):
            return Reach.SILENT
        engine = world.engines.get(f"gateway/{region}")
        if engine is None or engine.state in (EngineState.EXITED, EngineState.STARTING):
            return Reach.GONE
        return Reach.ANSWERS if world.serves(engine) else Reach.SILENT

    # --- what is seen, and by whom ------------------------------------------------------------------------------------

    def facts(self, world: "World", source: str, at: float) -> tuple[Fact, ...]:
        """The true facts of a source that only several regions have, and of stores."""
        match source:
            case "entry":
                if self.entry_key not in world.engines:
                    return ()
                return self.entry.facts(at, world.answers(self.entry_key), world.pools)
            case "links":
                return self.links.facts(at, world.clock.elapsed_s, lambda r: world.runs(f"gateway/{r}"), self._answers)
            case "postgres" | "valkey":
                answering = (copy for copy in self.stores.of(source) if world.answers(copy.key))
                return tuple(self.stores.seen(copy, at) for copy in answering)
            case _:
                return ()

    def route_times(self, world: "World", up: Collection[str], at: float) -> tuple[RouteSeen, ...]:
        """What the gateways of the regions that are `up` know of how long each service takes."""
        known = (
            world.pools[f"{routes.service}@{region}"].route(routes.paths[0], at)
            for region in up
            for routes in world.gateways[region].table.services
            if routes.paths and f"{routes.service}@{region}" in world.pools
        )
        return tuple(sorted((fact for fact in known if fact is not None), key=lambda fact: fact.key))

    def has_majority(self, world: "World", region: str) -> bool:
        """Whether a control plane in `region` reaches more than half of the voters; before there are any it needs none."""
        voters = [engine for engine in world.engines.values() if engine.kind == "voter"]
        reached = sum(world.serves(engine) and self.wan.passes(region, engine.region) for engine in voters)
        return not voters or 2 * reached > len(voters)

    def found_voters(self, world: "World") -> None:
        """Who would lead and finds no majority starts the voters that have ended; that needs no lease."""
        for engine in world.engines.values():
            if engine.kind == "voter" and engine.state is EngineState.EXITED:
                engine.enter(EngineState.STARTING, world.clock.now())
                engine.ready_elapsed_s = world.clock.elapsed_s + FOUND_S

    def reaches(self, led_from: str, region: str) -> bool:
        """Whether the control plane in `led_from` sees and reaches what runs in `region`."""
        return not self.is_blind_across or not led_from or self.wan.passes(led_from, region)


def place_of(fact: Fact) -> str:
    """The region from which a fact is seen; empty for what is seen where the control plane is, or from outside of all regions."""
    match fact:
        case LinkSeen(origin=origin):
            return origin
        case EngineSeen(kind="entry"):
            return ""
        case EngineSeen() | GatewaySeen() | InstanceSeen() | PoolSeen() | ColdStartSeen() | ReplicaSeen() | RouteSeen():
            return fact.region
        case _:
            return ""
