"""The table the global entry should have, published when it differs from what the entry runs. Stage: decide, after the ways."""

from tenfold.deciders.memory import RegionsMemory, RouteMemory
from tenfold.effects import Decision
from tenfold.facts import Snapshot
from tenfold.model import Model, Release


def publish_entry(
    model: Model, serving: Release | None, snapshot: Snapshot, regions: RegionsMemory, memory: RouteMemory, cause: str
) -> tuple[RouteMemory, tuple[Decision, ...]]:
    """The entry's table, when it must be published now."""
    return memory, ()
