"""What the entry's log says of a region that was struck: when nobody was held up by it any more, when it answered as before, and how
evenly both went. Pure: lines of the log and seconds of a load go in."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.proof.load import Second
from tenfold.render.envoy_entry import origin_of

STEP_S = 0.5
HELD_RATIO_MAX = 0.1
"""Fewer requests of an origin than this are asked twice for other reasons, too."""
BACK_RATIO = 0.9
"""A region is back when it answers so much of what it answered before."""
CALM_S = 3.0
LAG_MS_MAX = 10.0
"""In a second in which the generator itself sent this late, times by the client's clock say nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request as the entry logged it: when it came (seconds since the epoch), from near which region, who answered after how
    many tries, and in which time."""

    at: float
    origin: str
    region: str
    code: int
    tries: int
    total_ms: float
    id: str = ""


def answers(lines: Iterable[Mapping[str, Any]]) -> list[Answer]:
    """The lines of the entry's log that are about a request to the app, oldest first."""
    found = [
        Answer(
            at=float(line["at"]),
            origin=origin_of(line["pool"])[0],
            region=line.get("region") or "",
            code=line.get("code") or 0,
            tries=line.get("attempts") or 0,
            total_ms=(line.get("total") or 0) / 1000,
            id=line.get("id") or "",
        )
        for line in lines
        if line.get("pool")
    ]
    return sorted(found, key=lambda answer: answer.at)


def moved_s(found: Sequence[Answer], region: str, struck_at: float, until: float) -> float | None:
    """Seconds from the blow until clients near `region` were not held up by it any more: neither answered by it, nor only at the
    second try. None when that lasted `until`, which is before it returns. What comes after a while of calm is not the blow's doing."""
    steps = _ratios(found, region, struck_at, until, lambda a: a.region == region or a.tries > 1)
    moved = 0.0
    for at, ratio in steps:
        if at >= moved + CALM_S:
            return moved
        if ratio > HELD_RATIO_MAX:
            moved = at + STEP_S
    return moved if steps and moved <= steps[-1][0] else None


def back_s(found: Sequence[Answer], region: str, mended_at: float, until: float, usual_ratio: float) -> float | None:
    """Seconds from the mend until `region` answers its own clients as before, and goes on so `until`; None when it never does."""
    steps = _ratios(found, region, mended_at, until, lambda a: a.region == region)
    away = [at for at, ratio in steps if ratio < BACK_RATIO * usual_ratio]
    if not steps or (away and away[-1] == steps[-1][0]):
        return None
    return away[-1] + STEP_S if away else 0.0


def share(found: Iterable[Answer], region: str, since: float, until: float) -> float:
    """The part of the requests of clients near `region` that it answered itself; 0 without any."""
    own = [a.region == region for a in found if a.origin == region and since <= a.at < until]
    return sum(own) / len(own) if own else 0.0


def shares(found: Iterable[Answer], since: float, until: float) -> Mapping[str, float]:
    """The part of all good answers that each region gave."""
    good = [a.region for a in found if since <= a.at < until and a.code == 200]
    return {region: good.count(region) / len(good) for region in sorted(set(good))}


def highest_p99_ms(seconds: Sequence[Second], since_s: float, until_s: float) -> float | None:
    """The highest p99 of the whole seconds between two moments of a run, but for those in which the generator was late."""
    p99s = [
        second.p99_ms
        for before, second in zip([None, *seconds], seconds, strict=False)
        if (before.at_s if before else 0.0) >= since_s
        and second.at_s <= until_s
        and second.p99_ms is not None
        and (second.lag_p99_ms or 0.0) <= LAG_MS_MAX
    ]
    return max(p99s, default=None)


def _ratios(
    found: Sequence[Answer], region: str, since: float, until: float, counts: Callable[[Answer], bool]
) -> list[tuple[float, float]]:
    """By steps from `since` on: which part of the requests of clients near `region` counts."""
    steps: dict[int, list[bool]] = {}
    for answer in found:
        if answer.origin == region and since <= answer.at < until:
            steps.setdefault(int((answer.at - since) / STEP_S), []).append(counts(answer))
    return [(step * STEP_S, sum(those) / len(those)) for step, those in sorted(steps.items())]
