"""How near a region is to the clients of an origin: shared by those who choose ways and those who tell the entry of them."""

from tenfold.deciders.memory import RegionsMemory
from tenfold.model import Model
from tenfold.model.places import rtt_ms_between

RTT_STEP_MS = 5.0
"""Differences below this are noise."""
UNKNOWN_RTT_MS = 100.0
"""Between regions whose places are not told, until it is measured."""


def cost_ms(memory: RegionsMemory, model: Model, origin: str, region: str) -> float:
    """What the way from a client near `origin` to `region` and back takes, in milliseconds.

    Ways are measured from gateway to gateway, and the client is not behind the gateway of its own region: where that one's
    network is slow, the client's way there is longer than the gateway's to itself, and its ways elsewhere are shorter.
    """
    detour_ms = _detour_ms(memory, model, origin)
    if origin == region:
        return memory.rtt_ms.get(f"{origin}>{region}", 1.0) + detour_ms
    measured_ms = memory.rtt_ms.get(f"{origin}>{region}")
    return _by_place(model, origin, region) if measured_ms is None else max(1.0, measured_ms - detour_ms)


def _detour_ms(memory: RegionsMemory, model: Model, region: str) -> float:
    """How much longer than usual *every* way to the region takes: its own network is slow then, for its own clients too.

    With one other region nobody can tell whose network it is.
    """
    more = [
        now_ms - memory.usual_ms[link]
        for other in model.regions
        if other != region
        and (now_ms := memory.rtt_ms.get(link := f"{other}>{region}")) is not None
        and link in memory.usual_ms
    ]
    least = min(more, default=0.0) if len(more) > 1 else 0.0
    return least if least > RTT_STEP_MS else 0.0


def _by_place(model: Model, origin: str, region: str) -> float:
    here, there = model.regions[origin].at, model.regions[region].at
    if here is None or there is None:
        return UNKNOWN_RTT_MS
    return rtt_ms_between(here, there)
