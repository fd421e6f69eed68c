"""Composes the deciders: model + snapshot + memory become decisions with their reasons, and the next memory. No
clock, no randomness.

Order: what was asked for (release), how many (scale), make it so (heal), who gets traffic (route), what is due
(schedule); then `arbitrate`.
"""

from dataclasses import dataclass, replace

from tenfold.deciders.arbitrate import arbitrate
from tenfold.deciders.engines import keep_engines
from tenfold.deciders.heal import Line, heal
from tenfold.deciders.memory import Intent, MemberState, Memory, ReleaseMemory
from tenfold.deciders.release import answer_up, release, running
from tenfold.deciders.route import route
from tenfold.deciders.scale import scale
from tenfold.deciders.schedule import schedule
from tenfold.effects import Decision, Rejection
from tenfold.facts import EngineState, Snapshot
from tenfold.model import Model


@dataclass(frozen=True, slots=True)
class Decided:
    """What one tick decided: decisions with the effects to send, those turned down, and what to remember."""

    decisions: tuple[Decision, ...]
    rejected: tuple[Rejection, ...]
    memory: Memory


def decide(model: Model, snapshot: Snapshot, memory: Memory) -> Decided:
    """One decision over everything. Pure: equal arguments give equal results."""
    engines, stores = _engines(model, snapshot, memory)
    waiting_for = ", ".join(
        key for key in stores if (e := snapshot.engines.get(key)) is None or e.state is not EngineState.READY
    )
    made: list[Decision] = []
    wanted = {key: pool.wanted for key, pool in memory.scale.pools.items()}
    released, some = release(model, snapshot, memory.release, memory.heal, memory.route, wanted, waiting_for)
    made += some
    memory = replace(memory, release=released)
    serving = model.releases.get(released.serving or "")
    causes: dict[str, Decision] = {}
    if serving is not None and released.intent is Intent.UP:
        scaled, scaling = scale(serving.services, model.active_regions, serving.id, snapshot, memory.scale)
        memory = replace(memory, scale=scaled)
        causes = {d.subject: d for d in scaling}
    healed, some = heal(_lines(model, memory), model.releases, snapshot, memory.heal, causes, waiting_for)
    made += some
    idle = not healed.members and not snapshot.instances
    up = released.intent is Intent.UP
    stopping = engines if released.intent is Intent.DOWN and idle else ()
    healed, some = keep_engines(engines if up else (), _engines_last(stopping, snapshot), snapshot, healed)
    made += some
    memory = replace(memory, heal=healed)
    cause = _cause(released)
    if released.intent is not Intent.NONE and not stopping:
        routed, some = route(model, serving, snapshot, healed.members, _had_traffic(released), memory.route, cause)
        made += some
        released, some = answer_up(model, snapshot, released, wanted, routed)
        made += some
        memory = replace(memory, route=routed, release=released)
    if serving is not None and up:
        scheduled, some = schedule(serving, snapshot, memory.schedule)
        made += some
        memory = replace(memory, schedule=scheduled)
    numbered = tuple(replace(d, id=f"d{memory.decisions + i}") for i, d in enumerate(made, 1))
    settled, rejected, sent = arbitrate(model, snapshot, numbered, memory.sent)
    return Decided(settled, rejected, replace(memory, decisions=memory.decisions + len(numbered), sent=sent))


def _engines(model: Model, snapshot: Snapshot, memory: Memory) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The embedded engines that should run, by key; and the stores that instances need ready,
    the user's own included."""
    engines, stores = [], []
    # A deploy may bring the first service that listens. A gateway that is there stays: going back may need it again.
    runs = (model.releases[id_] for id_ in running(memory.release, memory.heal) if id_ in model.releases)
    has_edge = model.has_edge or any(s.http and s.runs_always for r in runs for s in r.services.values())
    for region in model.active_regions:
        if has_edge or f"gateway/{region}" in snapshot.engines:
            engines.append(f"gateway/{region}")
        if model.data is not None:
            stores += [f"postgres/{region}", f"valkey/{region}"]
            engines += [f"postgres/{region}"] if model.data.url is None else []
            engines += [f"valkey/{region}"] if model.data.valkey_url is None else []
    return tuple(engines), tuple(stores)


def _engines_last(stopping: tuple[str, ...], snapshot: Snapshot) -> tuple[str, ...]:
    """Gateways go before stores: while one is still up its requests may need the stores."""
    gateways = tuple(k for k in stopping if k.startswith("gateway/"))
    up = [k for k in gateways if (e := snapshot.engines.get(k)) is not None and e.state is not EngineState.EXITED]
    return gateways if up else stopping


def _lines(model: Model, memory: Memory) -> tuple[Line, ...]:
    lines = []
    for id_ in running(memory.release, memory.heal):
        release_ = model.releases.get(id_)
        for service in release_.services.values() if release_ else ():
            for region in model.active_regions if service.runs_always else ():
                pool = memory.scale.pools.get(f"{service.name}@{region}")
                low = service.scaling.instances_min
                wanted = service.scaling.clamp(pool.wanted) if pool else low
                beside = memory.release.serving not in (None, id_)
                why = pool.why if pool else f"{low} is the least the blueprint asks for"
                why = f"as many as {memory.release.serving} has" if beside else why
                lines.append(Line(service, region, id_, wanted, why))
    return tuple(lines)


def _had_traffic(memory: ReleaseMemory) -> tuple[str, ...]:
    """The releases whose instances may still have requests at hand; not one that is only about to serve (again)."""
    coming = memory.operation.release if memory.operation is not None and not memory.operation.undoing else None
    return tuple(r for r in memory.served if r != coming)


def _cause(memory: ReleaseMemory) -> str:
    """Why routes may have changed, when a release is on its way."""
    operation = memory.operation
    if operation is None or operation.step is None:
        return ""
    return operation.why if operation.undoing else f"{operation.release} at step {operation.step.name}"


def settled(memory: Memory) -> bool:
    """True when nothing is under way: no operation, and every remembered instance is simply wanted."""
    return memory.release.operation is None and all(m.state is MemberState.WANTED for m in memory.heal.members.values())
