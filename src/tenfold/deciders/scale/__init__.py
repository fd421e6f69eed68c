"""How many instances each pool needs, by what its triggers show and by what is to come. Stage: snapshot -> the wanted number of each.

Each pool chooses for itself; the hour's floor lifts what it chose, and the budget limits what is new in all of it.
"""

from tenfold.deciders.memory import ScaleMemory
from tenfold.deciders.scale import zero
from tenfold.deciders.scale.bounds import Choice, bound
from tenfold.deciders.scale.floors import least_at, starts_s
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
    chosen: list[Choice] = []
    ready = ready_by_pool(release.id, snapshot)
    for service in release.services.values():
        if not service.runs_always:
            continue
        holds = held_by_one(service, release, snapshot)
        for region in model.regions:
            key = f"{service.name}@{region}"
            there, before = ready.get(key, []), memory.pools.get(key)
            least = least_at(service.scaling, snapshot.taken_at, starts_s(service, region, snapshot))
            low = least.instances
            if zero.is_zeros(service, before, there, snapshot.taken_at):
                assert before is not None
                pool, decision = zero.wake(service, region, snapshot, before, least)
            elif service.may_sleep:
                first = before or zero.first(snapshot, low)
                scaled = scale_pool(service, region, there, snapshot, first, holds, max(1, low))
                pool, decision = zero.doze(service, region, there, snapshot, first, scaled, low)
            else:
                pool, decision = scale_pool(service, region, there, snapshot, before, holds, low)
            chosen.append(Choice(key, service, before, pool, decision, least))
    spend, settled = bound(model, release, snapshot, memory.spend, chosen)
    pools = {choice.key: pool for choice, (pool, _) in zip(chosen, settled, strict=True)}
    return ScaleMemory(pools, spend), tuple(decision for _, decision in settled if decision is not None)
