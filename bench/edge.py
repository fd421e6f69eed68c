"""x."""

from bench.shop import Tell
from bench.table import Figure, Unmeasured


async def edge_cpu(tell: Tell) -> list[Figure]:
    raise Unmeasured("x")
