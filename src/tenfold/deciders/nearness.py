"""How near a region is to the clients of an origin: shared by those who choose ways and those who tell the entry of them."""

from tenfold.deciders.memory import RegionsMemory
from tenfold.model import Model
from tenfold.model.places import rtt_ms_between

RTT_STEP_MS = 5.0
"""Differences below this are noise."""
UNKNOWN_RTT_MS = 100.0
"""Between regions whose places are not told, until it is measured."""


class Nearness:
    """How near regions are by one memory. What is asked for each pair of regions is worked out once for each region."""

    def __init__(self, memory: RegionsMemory, model: Model) -> None:
        self._memory, self._model = memory, model
        self._detours_ms: dict[str, float] = {}

    def cost_ms(self, origin: str, region: str) -> float:
        """What the way from a client near `origin` to `region` and back takes, in milliseconds.

        Ways are measured from gateway to gateway, and the client is not behind the gateway of its own region: where that one's
        network is slow, the client's way there is longer than the gateway's to itself, and its ways elsewhere are shorter.
        """
        detour_ms = self._detours_ms.get(origin)
        if detour_ms is None:
            detour_ms = self._detours_ms[origin] = _detour_ms(self._memory, self._model, origin)
        measured_ms = self._memory.rtt_ms.get(f"{origin}>{region}")
        if origin == region:
            return (1.0 if measured_ms is None else measured_ms) + detour_ms
        return _by_place(self._model, origin, region) if measured_ms is None else max(1.0, measured_ms - detour_ms)


def cost_ms(memory: RegionsMemory, model: Model, origin: str, region: str) -> float:
    """As `Nearness.cost_ms`, for one pair."""
    return Nearness(memory, model).cost_ms(origin, region)


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
