"""How busy a region's processors are: shared by those who tell a region that is ill from one that has too much to do, and those who lead
away what is too much."""

from tenfold.facts import Snapshot
from tenfold.model import Release

FACT_AGE_S_MAX = 5.0
"""Older figures say nothing."""
PRESSED_RATIO = 0.85
"""A region whose instances use this share of what they are sized for has no room beyond what it answers now."""
RELAXED_RATIO = 0.6
"""Below this share it has more room again; between the two it keeps what it has, or traffic would sway."""
OVERLOADED = ("unanswered", "slow", "tail")
"""What a region shows, by signal, when it is ill and also when it has too much to do."""


def processor_ratio(region: str, serving: Release, snapshot: Snapshot, *, may_grow: bool = False) -> float:
    """Which share of the processors that its instances are sized for the busiest pool of `region` uses, of those that the edge sends
    requests and that have as many instances as they may (with `may_grow` fewer); 0 where nothing tells it. What starts up is not counted.

    A pool that may grow will: were its load led away meanwhile it would not, and the load would stay away.
    """
    if not snapshot.fresh("process", FACT_AGE_S_MAX):
        return 0.0
    used: dict[str, list[float]] = {}
    for instance in snapshot.instances.values():
        service = serving.services.get(instance.service)
        if (
            service is not None
            and service.is_behind_edge
            and (instance.region, instance.release) == (region, serving.id)
            and instance.cpu_cores is not None
            and instance.is_warm(snapshot.taken_at)
        ):
            used.setdefault(service.name, []).append(instance.cpu_cores / service.instance.cpu_cores)
    asked = (
        sum(ratios) / len(ratios)
        for name, ratios in used.items()
        if (len(ratios) < serving.services[name].scaling.instances_max) is may_grow
    )
    return max(asked, default=0.0)
