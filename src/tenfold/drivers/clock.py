"""The machine's own clock, as the Clock port."""

import asyncio
import time


class WallClock:
    """Real time."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait; measured on the steady clock, so that a jump of the wall clock neither shortens nor lengthens it."""
        await asyncio.sleep(seconds)
