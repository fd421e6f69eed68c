"""What each route of an app normally takes, from samples of answered requests. Samples in, RouteSeen facts out.

Routes are not named anywhere, so they are told by their paths: the leading segments up to the first one that looks like an id.
"""

import re
from collections.abc import Iterable, Mapping

from tenfold.facts import RouteSeen

SEGMENTS_MAX = 3
SAMPLES_MIN = 20
"""Fewer answers than this say little about the slowest percent."""
ID_LIKE = re.compile(r"\d+|[0-9a-fA-F]{8,}|[0-9a-fA-F-]{32,36}|.*\d.*.{12,}|.*[=%:@,;].*")


def route_of(path: str) -> str:
    """The prefix a path belongs to: `/api/projects/17/tasks?done=1` -> `/api/projects`."""
    segments = path.partition("?")[0].split("/")[1 : SEGMENTS_MAX + 1]
    kept = []
    for segment in segments:
        if not segment or ID_LIKE.fullmatch(segment):
            break
        kept.append(segment)
    return "/" + "/".join(kept)


def quantile(ordered: list[float], share: float) -> float:
    """The value that `share` (0..1) of `ordered` (ascending, not empty) do not exceed: nearest rank."""
    rank = max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))
    return ordered[rank]


def estimate_routes(
    samples_ms: Mapping[tuple[str, str, str], Iterable[float]], seen_at: float
) -> tuple[RouteSeen, ...]:
    """One RouteSeen for each (service, region, prefix) that has enough samples, in milliseconds."""
    routes = []
    for (service, region, prefix), samples in samples_ms.items():
        ordered = sorted(samples)
        if len(ordered) >= SAMPLES_MIN:
            p50, p99 = quantile(ordered, 0.5), quantile(ordered, 0.99)
            routes.append(RouteSeen(service, region, prefix, len(ordered), round(p50, 1), round(p99, 1), seen_at))
    return tuple(routes)
