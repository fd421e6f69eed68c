"""When a table goes out: shared by those who give gateways and the entry their tables."""

from dataclasses import replace

from tenfold.deciders.memory import RouteMemory
from tenfold.facts import EngineState, Snapshot

REPUBLISH_S = 5.0
"""A table that was not taken up for this long is sent again."""
SEEN_AGE_S_MAX = 5.0
"""Older sights of a gateway are stale: nothing is given to it."""


def publish(
    name: str, digest: str, engine_key: str, snapshot: Snapshot, memory: RouteMemory
) -> tuple[RouteMemory, int | None]:
    """The memory after this tick, and the number under which the table `digest` of `name` (a region, or `entry`) goes out now;
    None when it need not or can't."""
    engine, seen = snapshot.engines.get(engine_key), snapshot.gateways.get(name)
    kind = engine_key.partition("/")[0]
    if engine is None or engine.state is not EngineState.READY or not snapshot.fresh(kind, SEEN_AGE_S_MAX):
        return memory, None
    if seen is not None and seen.table_digest == digest:
        if memory.digests.get(name) == digest:
            return memory, None
        return replace(memory, digests={**memory.digests, name: digest}), None
    if any(key.startswith(f"publish:{name}@") for key in snapshot.pending):
        # One table at a time: this one goes out as soon as the one under way has arrived, which wakes the loop.
        return memory, None
    now = snapshot.taken_at
    if memory.digests.get(name) == digest and 0 <= now - memory.published_at.get(name, 0.0) < REPUBLISH_S:
        return memory, None
    published = memory.published.get(name, 0) + 1
    memory = replace(
        memory,
        digests={**memory.digests, name: digest},
        published={**memory.published, name: published},
        published_at={**memory.published_at, name: now},
    )
    return memory, published
