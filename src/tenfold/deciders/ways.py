"""Where the requests of each origin go: to the nearest region that is well and has room. Stage: decide, after regions are judged."""

from tenfold.deciders.memory import RegionsMemory
from tenfold.facts import Snapshot
from tenfold.model import Model, Release


def choose_ways(
    model: Model, serving: Release | None, snapshot: Snapshot, memory: RegionsMemory
) -> tuple[RegionsMemory, str]:
    """The ways of all origins now; why they changed, in words (empty: they did not)."""
    return memory, ""
