"""How many instances each pool needs, by what its triggers show and by what is to come. Stage: snapshot -> the wanted number of each."""

from tenfold.deciders.memory import PoolScale, ScaleMemory
from tenfold.deciders.scale import zero
from tenfold.deciders.scale.pool import scale_pool
from tenfold.deciders.scale.triggers import held_by_one, ready_by_pool
from tenfold.effects import Decision
from tenfold.facts import Snapshot
from tenfold.model import Model, Release

__all__ = ["scale"]


def scale(
    model: Model, release: Release, snapshot: Snapshot, memory: ScaleMemory
) -> tuple[ScaleMemory, tuple[Decision, ...]]:
    """The wanted number of every pool of the serving `release`, in every region of `model`. The decisions have no effects yet:
    whoever keeps the fleet fills them."""
    pools: dict[str, PoolScale] = {}
    decisions: list[Decision] = []
    ready = ready_by_pool(release.id, snapshot)
    for service in release.services.values():
        if not service.runs_always:
            continue
        holds = held_by_one(service, release, snapshot)
        least = service.scaling.instances_min
        for region in model.regions:
            key = f"{service.name}@{region}"
            there, before = ready.get(key, []), memory.pools.get(key)
            if zero.is_zeros(service, before, there, snapshot.taken_at):
                assert before is not None
                pool, decision = zero.wake(service, region, snapshot, before, least)
            elif service.may_sleep:
                before = before or zero.first(snapshot, least)
                scaled = scale_pool(service, region, there, snapshot, before, holds, max(1, least))
                pool, decision = zero.doze(service, region, there, snapshot, before, scaled, least)
            else:
                pool, decision = scale_pool(service, region, there, snapshot, before, holds, least)
            pools[key] = pool
            if decision is not None:
                decisions.append(decision)
    return ScaleMemory(pools), tuple(decisions)
