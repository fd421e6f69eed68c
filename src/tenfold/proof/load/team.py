"""Plays a scenario with processes of their own, one a core, and merges what they measured.

Stage: `UserPlan` in, `Progress` each second, `LoadResult` out.
"""

import asyncio
from collections.abc import Callable

from tenfold.proof.load.plan import UserPlan
from tenfold.proof.load.result import LoadResult, Progress


async def run_users(
    plan: UserPlan,
    on_progress: Callable[[Progress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> LoadResult:
    """Play the plan's scenario, and wait for the last answers.

    `on_progress` is called each second. When `stop` is set the run ends within a second and returns what it has, marked
    `interrupted`; cancelling ends its processes. Raises `LoadError`, also when one of the processes died.
    """
    raise NotImplementedError
