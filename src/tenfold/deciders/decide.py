"""Composes the deciders: model + snapshot + memory become decisions with their reasons, and the next memory. No
clock, no randomness.

Order: what people take out of service (drain), which regions are well (regions), where data are written (stores), what was asked for
(release), how many (scale), make it so (heal, engines), who gets traffic (route, ways, entry), what is due (schedule); then
`arbitrate`, and last who is told of what is wrong (alerts).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from tenfold.deciders.alerts import alert
from tenfold.deciders.arbitrate import arbitrate
from tenfold.deciders.drain import answer_drains, take_up_drains
from tenfold.deciders.engines import keep_engines
from tenfold.deciders.entry import publish_entry
from tenfold.deciders.heal import Around, Line, heal
from tenfold.deciders.memory import (
    HealMemory,
    Intent,
    MemberState,
    Memory,
    RegionsMemory,
    RegionState,
    ReleaseMemory,
    ScaleMemory,
)
from tenfold.deciders.regions import TAKING, judge
from tenfold.deciders.release import answer_up, release, running, way_to
from tenfold.deciders.route import route
from tenfold.deciders.scale import scale
from tenfold.deciders.schedule import schedule
from tenfold.deciders.standby import standby_engines, stray_engines
from tenfold.deciders.stores import Starts, keep_stores
from tenfold.deciders.ways import choose_ways
from tenfold.effects import Decision, Rejection, StartEngine
from tenfold.facts import EngineState, Snapshot
from tenfold.model import Model, Release

NOT_THERE = (RegionState.OUT, RegionState.RETURNING)
STORES = ("postgres", "valkey")
STAGES = {
    "build": "is being built",
    "hook": "runs its release hook",
    "start": "starts",
    "shift": "takes the traffic",
    "watch": "is watched",
    "retire": "has taken over",
}
"""The steps of a deploy or a rollback, as the reason why routes change meanwhile."""

AWAY = {"cut": "no other region reaches it", "gateway": "its gateway does not answer"}
"""The signals of a region that is away as a whole, in words."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What one tick decided: decisions with the effects to send, those turned down, and what to remember."""

    decisions: tuple[Decision, ...]
    rejected: tuple[Rejection, ...]
    memory: Memory


Scaler = Callable[[Model, Release, Snapshot, ScaleMemory], tuple[ScaleMemory, tuple[Decision, ...]]]
"""What chooses the number of every pool of the release that serves, in all regions of the model: `deciders.scale`, or in the simulator
another that it is compared with."""


def decide(model: Model, snapshot: Snapshot, memory: Memory, scaler: Scaler = scale) -> Decided:
    """One decision over everything. Pure: equal arguments give equal results, as long as `scaler` is."""
    made: list[Decision] = []
    serving = model.releases.get(memory.release.serving or "")
    is_up = memory.release.intent is Intent.UP
    is_data_away = bool(_away(_primaries(model, memory), snapshot))
    if not is_up:
        # What was stopped was not lost: every region begins anew with the next start, and finds its ways to the stores anew.
        memory = replace(memory, regions=RegionsMemory(), route=replace(memory.route, stores={}))
    memory, some = take_up_drains(model, snapshot, memory)
    made += some
    judged, some = judge(
        model, serving if is_up else None, snapshot, memory.regions, is_data_away, memory.drain.regions
    )
    made += some
    kept, starts, some = keep_stores(model, snapshot, judged, memory.stores, is_up=is_up)
    made += some
    memory = replace(memory, regions=judged, stores=kept)
    engines = _engines(model, snapshot, memory, starts)
    waiting_for = ", ".join(_away(_primaries(model, memory), snapshot) or _ways_to_stores(model, memory))
    wanted = {key: pool.wanted for key, pool in memory.scale.pools.items()}
    released, some = release(
        _answering(model, memory), snapshot, memory.release, memory.heal, memory.route, wanted, waiting_for
    )
    made += some
    memory = replace(memory, release=released)
    serving = model.releases.get(released.serving or "")
    causes: dict[str, Decision] = {}
    if serving is not None and released.intent is Intent.UP:
        scaled, scaling = _scaled(scaler(model, serving, snapshot, memory.scale), memory)
        memory = replace(memory, scale=scaled)
        causes = {d.subject: d for d in scaling}
    healed, some = heal(_lines(model, memory), _around(model, memory, waiting_for), snapshot, memory.heal, causes)
    made += some
    idle = not healed.members and not snapshot.instances
    up = released.intent is Intent.UP
    strays = stray_engines(snapshot, engines)
    stopping = _to_stop((*engines, *strays), snapshot) if released.intent is Intent.DOWN and idle else ()
    healed, some = keep_engines(engines if up else {}, strays if up else stopping, snapshot, healed)
    made += some
    memory = replace(memory, heal=healed)
    cause = _cause(released)
    if released.intent is not Intent.NONE and not stopping:
        primaries = {kind: store.primary for kind, store in memory.stores.items()}
        given_up = _given_up(released, healed)
        routed, some = route(
            model, serving, snapshot, healed.members, _had_traffic(released), memory.route, primaries, cause, given_up
        )
        made += some
        if up:
            memory = replace(memory, regions=choose_ways(model, serving, snapshot, memory.regions))
            routed, some = publish_entry(model, serving, snapshot, memory.regions, routed, cause)
            made += some
        released, some = answer_up(_answering(model, memory), snapshot, released, wanted, routed)
        made += some
        memory = replace(memory, route=routed, release=released)
    memory, some = answer_drains(snapshot, memory)
    made += some
    if serving is not None and up:
        scheduled, some = schedule(serving, snapshot, memory.schedule)
        made += some
        memory = replace(memory, schedule=scheduled)
    numbered = _numbered(made, memory)
    settled, rejected, sent = arbitrate(model, snapshot, numbered, memory.sent)
    memory = replace(memory, decisions=memory.decisions + len(numbered), sent=sent)
    alerts, some = alert(model, snapshot, memory, settled, is_up=released.intent is Intent.UP)
    numbered = _numbered(some, memory)
    told, unsaid, sent = arbitrate(model, snapshot, numbered, memory.sent)
    memory = replace(memory, alerts=alerts, decisions=memory.decisions + len(numbered), sent=sent)
    return Decided((*settled, *told), (*rejected, *unsaid), memory)


def _scaled(
    chosen: tuple[ScaleMemory, tuple[Decision, ...]], memory: Memory
) -> tuple[ScaleMemory, tuple[Decision, ...]]:
    """What was chosen, but that a region which is out, or only coming back, keeps what it had: its clients have gone, and will return
    sooner than instances could start."""
    scaled, scaling = chosen
    away = {name for name, region in memory.regions.regions.items() if region.state in NOT_THERE}
    if not away:
        return chosen
    kept = {
        key: before
        for key, before in memory.scale.pools.items()
        if key.partition("@")[2] in away and key in scaled.pools and scaled.pools[key].wanted < before.wanted
    }
    return replace(scaled, pools={**scaled.pools, **kept}), tuple(d for d in scaling if d.subject not in kept)


def _numbered(made: Iterable[Decision], memory: Memory) -> tuple[Decision, ...]:
    return tuple(replace(d, id=f"d{memory.decisions + i}") for i, d in enumerate(made, 1))


def _engines(model: Model, snapshot: Snapshot, memory: Memory, stores: Mapping[str, StartEngine]) -> Starts:
    """The embedded engines that should run, and how each is to be started, by key."""
    # A deploy may bring the first service that listens. A gateway that is there stays: going back may need it again.
    runs = (model.releases[id_] for id_ in running(memory.release, memory.heal) if id_ in model.releases)
    has_edge = model.has_edge or any(s.http and s.runs_always for r in runs for s in r.services.values())
    keys = [f"gateway/{r}" for r in model.regions if has_edge or model.is_spread or f"gateway/{r}" in snapshot.engines]
    if model.is_spread and has_edge:
        keys.append(f"entry/{model.entry_region}")
    keys += standby_engines(model, snapshot, memory.regions)
    engines = {key: StartEngine(kind, region) for key in keys for kind, _, region in (key.partition("/"),)}
    return {**engines, **stores}


def _answering(model: Model, memory: Memory) -> Model:
    """The model without the regions that can't answer: a release waits for none of them."""
    lost = [name for name, region in memory.regions.regions.items() if region.is_hard]
    if not lost or len(lost) == len(model.regions):
        return model
    return replace(model, regions={name: region for name, region in model.regions.items() if name not in lost})


def _primaries(model: Model, memory: Memory) -> tuple[str, ...]:
    """The stores that instances need ready, by key, the user's own included."""
    if model.data is None:
        return ()
    where = {kind: memory.stores[kind].primary if kind in memory.stores else model.home for kind in STORES}
    return tuple(f"{kind}/{region}" for kind, region in where.items())


def _away(keys: tuple[str, ...], snapshot: Snapshot) -> list[str]:
    """Those of these engines that do not serve now."""
    return [k for k in keys if (e := snapshot.engines.get(k)) is None or e.state is not EngineState.READY]


def _ways_to_stores(model: Model, memory: Memory) -> list[str]:
    """The ways to stores by which none has answered yet: with several regions, apps reach them through their gateways."""
    if not model.is_spread or model.data is None:
        return []
    return [
        way_to(kind, region)
        for region in _answering(model, memory).regions
        for kind in sorted(memory.stores.keys() - set(memory.route.stores.get(region, ())))
    ]


def _to_stop(engines: Collection[str], snapshot: Snapshot) -> tuple[str, ...]:
    """What of the engines goes now. Gateways go before stores: while one is still up its requests may need the stores. Voters
    go last, since whoever acts holds its lease by them."""
    for kinds in (("entry", "gateway"), (*STORES, "control")):
        of_kind = tuple(key for key in engines if key.partition("/")[0] in kinds)
        if any((e := snapshot.engines.get(k)) is not None and e.state is not EngineState.EXITED for k in of_kind):
            return of_kind
    return tuple(engines)


def _lines(model: Model, memory: Memory) -> tuple[Line, ...]:
    lines = []
    operation = memory.release.operation
    shipped = operation.release if operation is not None and not operation.undoing else None
    for id_ in running(memory.release, memory.heal):
        release_ = model.releases.get(id_)
        for service in release_.services.values() if release_ else ():
            for region in model.regions if service.runs_always else ():
                pool = memory.scale.pools.get(f"{service.name}@{region}")
                low = service.scaling.instances_min
                wanted = service.scaling.clamp(pool.wanted) if pool else low
                beside = memory.release.serving not in (None, id_)
                why = pool.why if pool else f"{low} is the least the blueprint asks for"
                why = f"as many as {memory.release.serving} has" if beside else why
                if wanted == 0 and id_ == shipped:
                    # Also of what sleeps: a release that does not start is not to be found out by who comes first.
                    wanted, why = 1, f"one shows whether {id_} starts"
                lines.append(Line(service, region, id_, wanted, why))
    return tuple(lines)


def _around(model: Model, memory: Memory, waiting_for: str) -> Around:
    """What healing goes by beside instances."""
    operation, judged = memory.release.operation, memory.regions.regions
    is_shipping = operation is not None and not operation.undoing
    shipped = operation.release if operation is not None and is_shipping else ""
    can_go_back = bool(memory.release.served) or memory.release.serving not in (None, shipped)
    takes = tuple(name for name in model.regions if name not in judged or judged[name].state in TAKING)
    return Around(
        model.releases, model.regions, waiting_for, takes, _regions_away(memory), shipped if can_go_back else ""
    )


def _regions_away(memory: Memory) -> Mapping[str, str]:
    """The regions of which nothing can be reached now, with the reason: what runs there is not ill for a fault of its own."""
    away = {}
    for name, region in memory.regions.regions.items():
        shown = [AWAY[signal] for signal in AWAY if signal in region.ailing_since]
        if shown and region.state is RegionState.OUT:
            away[name] = shown[0]
    return away


def _had_traffic(memory: ReleaseMemory) -> tuple[str, ...]:
    """The releases whose instances may still have requests at hand; not one that is only about to serve (again)."""
    coming = memory.operation.release if memory.operation is not None and not memory.operation.undoing else None
    return tuple(r for r in memory.served if r != coming)


def _given_up(released: ReleaseMemory, healed: HealMemory) -> tuple[str, ...]:
    """The pools of what serves whose instances do not start."""
    lines = (line.rpartition("/") for line, failures in healed.failures.items() if failures.gave_up)
    return tuple(pool for pool, _, release_ in lines if release_ == released.serving)


def _cause(memory: ReleaseMemory) -> str:
    """Why routes may have changed, when a release is on its way."""
    operation = memory.operation
    if operation is None or operation.step is None:
        return ""
    return operation.why if operation.undoing else f"{operation.release} {STAGES[operation.step.name]}"


def settled(memory: Memory) -> bool:
    """True when nothing is under way: no operation, and every remembered instance is simply wanted."""
    return memory.release.operation is None and all(m.state is MemberState.WANTED for m in memory.heal.members.values())
