"""Carries out a load plan in the caller's own process.

Stage: `LoadPlan` in, `Progress` each second, `LoadResult` out. `team` does the same in processes of their own.
"""

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from tenfold.proof.load.crowd import Crowd
from tenfold.proof.load.merge import Merger
from tenfold.proof.load.result import LoadResult, Progress
from tenfold.proof.load.shares import Plan, address_of, outline_of, share_of


async def run(
    plan: Plan,
    on_progress: Callable[[Progress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> LoadResult:
    """Make the load, and wait for the last answers.

    `on_progress` is called each second, in this loop: it must not block. When `stop` is set the run ends within 0.1 s
    and returns what it has, marked `interrupted`; when the task is cancelled instead, it closes its connections and
    nothing is returned. Raises `LoadError` if the target's name can't be found or the scenario can't be played.

    Python's collector is off meanwhile (its pauses would be in the figures), so give a long run a process of its own
    (`team.run_apart`).
    """
    merger = Merger(outline_of(plan, processes=1), on_progress)
    address = await address_of(plan.target)
    with collector_off():
        crowd = Crowd(share_of(plan, address, perf_counter()))
        tally = await crowd.run(lambda piece: merger.take(0, piece), stop)
    merger.ended(0)
    return merger.result([tally], interrupted=stop is not None and stop.is_set())


@contextmanager
def collector_off() -> Iterator[None]:
    """Switch Python's cyclic garbage collector off, and leave it as it was."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
