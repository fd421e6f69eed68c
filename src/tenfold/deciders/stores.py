"""Where each store's primary is, and who follows it. Stage: decide, before the engines are kept.

The primary begins where the blueprint says.
"""

from collections.abc import Mapping

from tenfold.deciders.memory import RegionsMemory, StoreMemory
from tenfold.effects import Decision, StartEngine
from tenfold.facts import Snapshot
from tenfold.model import Model

Starts = Mapping[str, StartEngine]
"""By key (`postgres/local`): how each embedded store that should run is to be started."""


def keep_stores(
    model: Model, snapshot: Snapshot, regions: RegionsMemory, memory: Mapping[str, StoreMemory]
) -> tuple[Mapping[str, StoreMemory], Starts, tuple[Decision, ...]]:
    """The embedded stores that should run, and what must be done to keep a primary of each."""
    if model.data is None:
        return memory, {}, ()
    kinds = [kind for kind, url in (("postgres", model.data.url), ("valkey", model.data.valkey_url)) if url is None]
    memory = {kind: memory.get(kind) or StoreMemory(model.store_regions[0]) for kind in kinds}
    starts: dict[str, StartEngine] = {}
    for kind, store in memory.items():
        starts[f"{kind}/{store.primary}"] = StartEngine(kind, store.primary)
    return memory, starts, ()
