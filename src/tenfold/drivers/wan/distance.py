"""How long a packet should take between regions, from their places. Stage: model -> world, below the drivers."""

from collections.abc import Mapping

from tenfold.model import Region
from tenfold.model.places import AT_ENDS_MS, rtt_ms_between

UNPLACED_RTT_MS = 80.0
"""Between two regions of which one has no place (`at`) in the blueprint: about as far as the coasts of North America are."""


def rtt_ms(regions: Mapping[str, Region], a: str, b: str) -> float:
    """The round trip between regions `a` and `b` in milliseconds; within one region what hosts and routers at the ends take."""
    if a == b:
        return AT_ENDS_MS
    here, there = regions[a].at, regions[b].at
    return UNPLACED_RTT_MS if here is None or there is None else rtt_ms_between(here, there)
