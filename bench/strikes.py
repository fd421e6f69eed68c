"""Harm to a project that runs, through the port that drills use: what is struck is mended when the row ends, however it ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.shop import Shop
from tenfold.drivers.harm import Harms, ProcessHarm, WanHarm
from tenfold.drivers.procs import Processes
from tenfold.drivers.wan.wan import Wan
from tenfold.ports import Harm


@asynccontextmanager
async def striking(shop: Shop) -> AsyncIterator[Harm]:
    """The port through which the shop is harmed; its networks are those that `tenfold up --wan` made."""
    harm = Harms(ProcessHarm(Processes(shop.project)), WanHarm(Wan(shop.project, {})))
    try:
        yield harm
    finally:
        await harm.undo()
