"""x."""

from bench.shop import Tell
from bench.table import Figure, Unmeasured


async def control_plane_kill(tell: Tell) -> list[Figure]:
    raise Unmeasured("x")
