"""Where the requests of each origin go: to the nearest region that is well and has room. Stage: decide, after regions are judged.

Nearness is the measured round trip between regions, settled so that noise moves nothing; where it was not measured yet, the
distance tells. Each region is filled, nearest origins first, up to `SPILL_RATIO` of its room; what is beyond goes to the next
nearest that has room, and what exceeds all rooms is shared out by capacity, so that regions are overloaded alike or not at all.

Demand does not depend on the ways, so nothing feeds back: a world that stands still has one answer, and it is reached in a few
seconds and kept. Traffic moves towards a region step by step; away from one that is out it moves at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tenfold.deciders.busy import OVERLOADED, PRESSED_RATIO, RELAXED_RATIO, processor_ratio
from tenfold.deciders.memory import RegionMemory, RegionsMemory, RegionState
from tenfold.deciders.nearness import RTT_STEP_MS, Nearness, cost_ms
from tenfold.facts import InstanceState, LinkSeen, Snapshot
from tenfold.model import Model, Release

FACT_AGE_S_MAX = 5.0
"""Older figures change nothing."""
SPILL_RATIO = 0.85
"""A region takes this much of its room; the next request goes elsewhere while another has room."""
RTT_STEP_RATIO = 0.1
"""A way is another length when it differs by this much, and by `RTT_STEP_MS`, from what it was taken for."""
USUAL_DRIFT_PER_S = 0.0001
"""What is usual for a way rises this much of the difference each second, and falls at once."""
DEMAND_SMOOTHING = 0.3
"""The weight of the last second in the smoothed demand."""
MOVE_PER_S = 0.34
"""So much of an origin's traffic may move in a second towards a region that is well."""
STEP_EVERY_S = 0.5
"""It moves in steps no closer than this: each step wakes the loop when it has arrived, and that is no reason for the next."""
DEADBAND_RATIO = 0.01
"""Smaller changes are not made: they would only be noise in the journal."""
DEMAND_MOVE_EVERY_S = 2.0
"""Changes of demand alone move traffic this often."""
SHARE_MIN = 0.005
"""A region takes at least this share or none."""
AT_WORK_RATIO = 0.3
"""Below this share of what its instances are sized for, a late answer is not for want of room."""
ROOM_RECOVERS_PER_S = 0.05
ROOM_TRIED_PER_S = 0.01
"""So much more is tried of a region whose busiest pool is not relaxed but may have more instances: it asks for them only when it has more
to do, and slowly enough to see what came of it before it is pressed again."""
TRIED_RATIO = 0.82
"""Up to this share, above which triggers ask for more (60% to 80%) and below which nothing is pressed."""
ROOM_LEAST_RATIO = 0.05
"""A region keeps room for this share of what is asked near it: what returns in proportion to itself would not return from nothing."""
ROOM_LEAST_PER_S = 1.0

Shares = dict[str, float]


def choose_ways(model: Model, serving: Release | None, snapshot: Snapshot, memory: RegionsMemory) -> RegionsMemory:
    """The memory with the ways of all origins now, and why they last changed. The entry's table tells people of it."""
    if not model.is_spread or serving is None:
        return memory
    now = snapshot.taken_at
    elapsed_s = min(2.0, max(0.0, now - memory.looked_at)) if memory.looked_at else 0.0
    memory = replace(
        memory,
        rtt_ms=_settled(model, snapshot, memory),
        usual_ms=_usual(snapshot, memory, elapsed_s),
        demand_per_s=_demand(model, snapshot, memory),
        room_per_s=_room(model, serving, snapshot, memory, elapsed_s),
        looked_at=now,
    )
    ways: dict[str, Mapping[str, float]] = {}
    quiet_s = now - memory.moved_at
    # The clock was set back: nothing is known of when they moved.
    quiet_s = quiet_s if quiet_s >= 0 else DEMAND_MOVE_EVERY_S
    for key, (target, allowed) in _targets(model, memory).items():
        before = memory.ways.get(key)
        ways[key] = target if before is None else _moved(before, target, allowed, quiet_s)
    if ways == memory.ways:
        return memory
    return replace(memory, ways=ways, moved_at=now, why=_why(model, memory, ways))


def _measured(snapshot: Snapshot) -> Iterable[LinkSeen]:
    for link in snapshot.links.values():
        if link.rtt_ms is not None and -1.0 <= snapshot.taken_at - link.seen_at <= FACT_AGE_S_MAX:
            yield link


def _settled(model: Model, snapshot: Snapshot, memory: RegionsMemory) -> Mapping[str, float]:
    settled = dict(memory.rtt_ms)
    for link in _measured(snapshot):
        assert link.rtt_ms is not None
        before = settled.get(link.key)
        if before is None or abs(link.rtt_ms - before) > max(RTT_STEP_MS, RTT_STEP_RATIO * before):
            settled[link.key] = round(link.rtt_ms, 1)
    return memory.rtt_ms if settled == memory.rtt_ms else settled


def _usual(snapshot: Snapshot, memory: RegionsMemory, elapsed_s: float) -> Mapping[str, float]:
    usual = dict(memory.usual_ms)
    for link in _measured(snapshot):
        assert link.rtt_ms is not None
        before = usual.get(link.key, link.rtt_ms)
        drifted = before + max(0.0, link.rtt_ms - before) * USUAL_DRIFT_PER_S * elapsed_s
        # Small drifts wait until they are worth a line in the journal.
        usual[link.key] = link.rtt_ms if link.rtt_ms < before else drifted if drifted - before > 0.01 else before
    return memory.usual_ms if usual == memory.usual_ms else usual


def _demand(model: Model, snapshot: Snapshot, memory: RegionsMemory) -> Mapping[str, float]:
    """Smoothed over a few sights; where the entry was not seen since the last look, as it was."""
    demand = dict(memory.demand_per_s)
    for name, seen in snapshot.regions.items():
        if (
            name in model.regions
            and seen.seen_at > memory.looked_at
            and -1.0 <= snapshot.taken_at - seen.seen_at <= FACT_AGE_S_MAX
        ):
            before = demand.get(name)
            smooth = seen.demand_per_s if before is None else before + DEMAND_SMOOTHING * (seen.demand_per_s - before)
            demand[name] = round(smooth, 2)
    return memory.demand_per_s if demand == memory.demand_per_s else demand


def _room(
    model: Model, serving: Release, snapshot: Snapshot, memory: RegionsMemory, elapsed_s: float
) -> Mapping[str, float]:
    """What each region could answer at the most, where its instances are so busy that it shows; requests per second."""
    room = dict(memory.room_per_s)
    used: dict[str, list[_Used]] = {}
    for one in _used(model, serving, snapshot, memory):
        used.setdefault(one.region, []).append(one)
    for region, shown in used.items():
        seen = snapshot.regions.get(region)
        if seen is None or not -1.0 <= snapshot.taken_at - seen.seen_at <= FACT_AGE_S_MAX:
            continue
        near_per_s = memory.demand_per_s.get(region, 0.0)
        most, least = max(one.ratio for one in shown), max(ROOM_LEAST_PER_S, ROOM_LEAST_RATIO * near_per_s)
        if most > PRESSED_RATIO and seen.tries_per_s > 0:
            holds = seen.tries_per_s * PRESSED_RATIO / most
            room[region] = round(max(least, min(room.get(region, holds), holds)), 3)
        elif region in room:
            more = room[region] * (1 + elapsed_s * min(one.recovers_per_s for one in shown))
            room[region] = round(max(least, more), 3)
            if more > 4 * max(1.0, seen.tries_per_s, near_per_s):
                del room[region]
    return memory.room_per_s if room == memory.room_per_s else room


@dataclass(frozen=True, slots=True)
class _Used:
    """Which share of what its instances are sized for is in use in `region`, by one sign of it; `may_grow` where these may become more."""

    region: str
    ratio: float
    may_grow: bool = False

    @property
    def recovers_per_s(self) -> float:
        """By how much of itself room may grow."""
        if self.ratio < RELAXED_RATIO:
            return ROOM_RECOVERS_PER_S
        return ROOM_TRIED_PER_S if self.may_grow and self.ratio < TRIED_RATIO else 0.0


def _used(model: Model, serving: Release, snapshot: Snapshot, memory: RegionsMemory) -> Iterable[_Used]:
    """Of the regions that may be short of room: which share of what its instances are sized for each pool has at hand, or uses of their
    processors.

    One that is at work and answers later than the blueprint's goal for it counts as pressed too.
    """
    yield from _full(serving, snapshot, memory)
    busy: dict[str, float] = {}
    late = _late(model, snapshot, memory)
    for key, pool in snapshot.pools.items():
        service = serving.services.get(pool.service)
        if service is None or not service.http or not -1.0 <= snapshot.taken_at - pool.seen_at <= FACT_AGE_S_MAX:
            continue
        # One instance at least is there, or nothing would be at hand.
        bound = (AT_WORK_RATIO if pool.region in late else PRESSED_RATIO) * service.instance.concurrency
        if pool.in_flight > bound or pool.region in memory.room_per_s:
            busy[key] = pool.in_flight / service.instance.concurrency
    if not busy:
        return
    ready: dict[str, int] = {}
    for instance in snapshot.instances.values():
        if instance.release == serving.id and instance.state is InstanceState.READY and not instance.frozen:
            pool_key = f"{instance.service}@{instance.region}"
            ready[pool_key] = ready.get(pool_key, 0) + 1
    for key, instances in busy.items():
        if key in ready:
            (service_name, _, region), mine = key.partition("@"), instances / ready[key]
            yield _Used(region, mine, ready[key] < serving.services[service_name].scaling.instances_max)
            if mine > AT_WORK_RATIO and region in late:
                # No trigger asks for more instances for that.
                yield _Used(region, PRESSED_RATIO * late[region])


def _full(serving: Release, snapshot: Snapshot, memory: RegionsMemory) -> Iterable[_Used]:
    """How busy the processors are of regions whose answers are late, or that are short of room.

    Without late answers busy ones are no reason to go elsewhere: it may be work that nobody waits for, and no less without requests.
    Nor are those of pools that may grow, but nothing comes back to them before they have.
    """
    for region, state in memory.regions.items():
        is_late = any(name in state.ailing_since for name in OVERLOADED)
        if is_late or region in memory.room_per_s:
            ratio = processor_ratio(region, serving, snapshot)
            if ratio > PRESSED_RATIO or region in memory.room_per_s:
                yield _Used(region, ratio if is_late else min(ratio, PRESSED_RATIO))
        if region in memory.room_per_s:
            growing = processor_ratio(region, serving, snapshot, may_grow=True)
            yield _Used(region, min(growing, PRESSED_RATIO), may_grow=True)


def _late(model: Model, snapshot: Snapshot, memory: RegionsMemory) -> Mapping[str, float]:
    """By region that has a goal for its answers: how its usual answer stands to it, without the way (1: as late as may be)."""
    late = {}
    for name, seen in snapshot.regions.items():
        region = model.regions.get(name)
        if region is None or region.latency_ms is None or seen.first_byte_ms_p50 is None:
            continue
        if -1.0 <= snapshot.taken_at - seen.seen_at <= FACT_AGE_S_MAX:
            late[name] = (seen.first_byte_ms_p50 - _way_ms(memory, name)) / region.latency_ms
    return {name: ratio for name, ratio in late.items() if ratio > RELAXED_RATIO}


def _way_ms(memory: RegionsMemory, region: str) -> float:
    """The way that a usual one of the requests sent to `region` takes: half of them take no longer one."""
    coming = sorted(
        (memory.rtt_ms.get(f"{origin}>{region}", 0.0), memory.demand_per_s.get(origin, 0.0) * shares[region])
        for origin in memory.demand_per_s
        if region in (shares := memory.ways.get(f"{origin}|", {}))
    )
    left_per_s = sum(per_s for _, per_s in coming) / 2
    for way_ms, per_s in coming:
        left_per_s -= per_s
        if left_per_s <= 0:
            return way_ms
    return 0.0


def _capacities(model: Model, memory: RegionsMemory) -> Mapping[str, float]:
    """Requests per second that each region may take; regions of which nothing is known are not among them.

    A user makes as many requests as the targets say: their throughput by their concurrent users.
    """
    targets, capacities = model.targets, {}
    per_user = None
    if targets.throughput_rps and targets.concurrent_users:
        per_user = targets.throughput_rps / targets.concurrent_users
    for name, region in model.regions.items():
        declared = region.capacity_users * per_user if region.capacity_users and per_user else None
        known = [rate for rate in (declared, memory.room_per_s.get(name)) if rate is not None]
        if known:
            capacities[name] = max(min(known), 1e-3)
    return capacities


def _targets(model: Model, memory: RegionsMemory) -> Mapping[str, tuple[Shares, Sequence[str]]]:
    """Where everything should go, whatever way it goes now, and where it may be meanwhile; by `origin|residency`."""
    states = memory.regions
    serving = [name for name in model.regions if _is(states.get(name), RegionState.SERVING)]
    returning = [name for name in model.regions if _is(states.get(name), RegionState.RETURNING)]
    # From a drained one traffic moves as it moves towards a region: step by step.
    leaving = [name for name in model.regions if _is(states.get(name), RegionState.DRAINED)]
    within = serving + returning or list(model.regions)
    targets, near = _blend(model, memory, within, serving, returning), Nearness(memory, model)
    ways: dict[str, tuple[Shares, Sequence[str]]] = {
        f"{origin}|": (shares, [*within, *leaving]) for origin, shares in targets.items()
    }
    for residency in model.residency:
        # A poor answer from where the law allows it is better than none; a region that can't answer is no answer at all.
        allowed = [
            name
            for name, region in model.regions.items()
            if region.residency == residency and not ((m := states.get(name)) is not None and m.is_hard)
        ]
        well = [name for name in allowed if name in within] or allowed
        for origin in model.regions:
            order = sorted(well, key=lambda name: (near.cost_ms(origin, name), name))
            may = [*well, *(name for name in leaving if name in allowed)]
            ways[f"{origin}|{residency}"] = ({order[0]: 1.0} if order else {}, may)
    return ways


def _is(region: RegionMemory | None, state: RegionState) -> bool:
    return region is not None and region.state is state


def _blend(
    model: Model, memory: RegionsMemory, within: Sequence[str], serving: Sequence[str], returning: Sequence[str]
) -> Mapping[str, Shares]:
    """Where all of `within` were well, but for what returning regions do not take yet."""
    full = _fill(model, memory, within)
    if not returning or not serving:
        return full
    without = _fill(model, memory, serving)
    ratio = min(memory.regions[name].share_ratio for name in returning)
    return {
        origin: _rounded(
            {
                name: ratio * full[origin].get(name, 0.0) + (1 - ratio) * without[origin].get(name, 0.0)
                for name in within
            }
        )
        for origin in full
    }


def _fill(model: Model, memory: RegionsMemory, within: Sequence[str]) -> Mapping[str, Shares]:
    """Fill the regions up to their room, nearest first; what exceeds all rooms is shared out by capacity."""
    # An origin without demand has a way too: its first request may come at any time.
    left = {origin: max(memory.demand_per_s.get(origin, 0.0), 1e-6) for origin in model.regions}
    demand = dict(left)
    capacities = _capacities(model, memory)
    room = {name: SPILL_RATIO * capacities.get(name, float("inf")) for name in within}
    given: dict[str, Shares] = {origin: {} for origin in model.regions}
    for _, origin, name in _nearest_first(model, memory, within):
        part = min(left[origin], room[name])
        if part > 0:
            given[origin][name] = given[origin].get(name, 0.0) + part
            left[origin] -= part
            room[name] -= part
    whole = sum(capacities[name] for name in within if name in capacities)
    for origin, rest in left.items():
        for name in within if rest > 0 else ():
            given[origin][name] = given[origin].get(name, 0.0) + rest * capacities[name] / whole
    return {
        origin: _rounded({name: part / demand[origin] for name, part in parts.items()})
        for origin, parts in given.items()
    }


def _nearest_first(model: Model, memory: RegionsMemory, within: Sequence[str]) -> list[tuple[float, str, str]]:
    """All (cost, origin, region), cheapest first. Where an origin's requests go now counts as a little nearer, so that two
    regions that are as near as each other do not take turns; its own region counts as nearer still, so that they come home."""
    pairs, near = [], Nearness(memory, model)
    for origin in model.regions:
        now = memory.ways.get(f"{origin}|", {})
        for name in within:
            cost = near.cost_ms(origin, name)
            # Only the one that takes most: a place where some spilled over to is no nearer for that.
            is_usual = bool(now) and now.get(name, 0.0) == max(now.values())
            favours = 2 if name == origin else 1 if is_usual else 0
            pairs.append((cost - favours * max(RTT_STEP_MS, RTT_STEP_RATIO * cost), origin, name))
    return sorted(pairs)


def _rounded(shares: Mapping[str, float]) -> Shares:
    """Three digits, nothing tiny, the sum exactly one."""
    kept = {name: ratio for name, ratio in shares.items() if ratio >= SHARE_MIN}
    whole = sum(kept.values())
    thousandths = {name: int(1000 * ratio / whole) for name, ratio in kept.items()}
    rest = 1000 - sum(thousandths.values())
    for name in sorted(kept, key=lambda n: (thousandths[n] - 1000 * kept[n] / whole, n))[:rest]:
        thousandths[name] += 1
    return {name: thousandths[name] / 1000 for name in sorted(thousandths)}


def _moved(before: Mapping[str, float], target: Shares, allowed: Sequence[str], quiet_s: float) -> Mapping[str, float]:
    """From `before`, which was reached `quiet_s` ago, a step towards `target`; what went to a region not `allowed` any more moves whole."""
    stranded = sum(ratio for name, ratio in before.items() if name not in allowed)
    base = {name: ratio for name, ratio in before.items() if name in allowed}
    if not target or not base:
        return target
    for name, ratio in target.items() if stranded else ():
        base[name] = base.get(name, 0.0) + stranded * ratio
    distance = sum(max(0.0, ratio - base.get(name, 0.0)) for name, ratio in target.items())
    wait_s = DEMAND_MOVE_EVERY_S if distance < MOVE_PER_S / 2 else STEP_EVERY_S
    if not stranded and (distance < DEADBAND_RATIO or quiet_s < wait_s):
        # A last crumb that should go nowhere any more goes home.
        return target if distance < DEADBAND_RATIO and base.keys() > target.keys() else before
    return target if distance < DEADBAND_RATIO else _stepped(base, target, distance, min(1.0, quiet_s))


def _stepped(before: Mapping[str, float], target: Shares, distance: float, since_s: float) -> Shares:
    step = min(1.0, MOVE_PER_S * max(since_s, 0.1) / distance)
    names = before.keys() | target.keys()
    return _rounded(
        {name: before.get(name, 0.0) + step * (target.get(name, 0.0) - before.get(name, 0.0)) for name in names}
    )


def _why(model: Model, memory: RegionsMemory, ways: Mapping[str, Mapping[str, float]]) -> str:
    """What moved, and why, for a person."""
    parts: list[str] = []
    for key, shares in ways.items():
        origin, _, residency = key.partition("|")
        if shares == memory.ways.get(key) or (residency and len(parts) > 3):
            continue
        who = f"clients near {origin}" + (f" that must stay in {residency}" if residency else "")
        where = ", ".join(
            f"{name} {ratio:.0%}" for name, ratio in sorted(shares.items(), key=lambda item: (-item[1], item[0]))
        )
        parts.append(f"{who} go to {where}{_cause(model, memory, origin, shares)}" if where else f"{who} are refused")
    more = f"; and {len(parts) - 4} more" if len(parts) > 4 else ""
    return "; ".join(parts[:4]) + more


def _cause(model: Model, memory: RegionsMemory, origin: str, shares: Mapping[str, float]) -> str:
    """Why an origin's requests do not all go to its own region."""
    own = memory.regions.get(origin)
    if shares.get(origin, 0.0) >= 0.995:
        return ""
    if own is not None and own.state is RegionState.OUT:
        return f" ({origin} is out: {own.why})"
    if own is not None and own.state is RegionState.DRAINED:
        return f" ({origin} is drained)"
    if own is not None and own.state is RegionState.RETURNING:
        return f" ({origin} takes {own.share_ratio:.0%} so far)"
    first = max(shares, key=lambda name: (shares[name], name))
    here, there = cost_ms(memory, model, origin, origin), cost_ms(memory, model, origin, first)
    if first != origin and there < here:
        return f" (a round trip of {there:.0f} ms there, {here:.0f} ms to {origin})"
    capacity = _capacities(model, memory).get(origin)
    return f" ({origin} has room for {capacity:.0f} requests/s)" if capacity is not None else ""
