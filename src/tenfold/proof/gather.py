"""What a load and a drill tell, as evidence. Stage: `LoadResult`, `DrillResult` -> `Evidence`. Pure."""

from collections.abc import Iterable

from tenfold.model import Scenario
from tenfold.proof.drills.result import DrillResult
from tenfold.proof.evidence import Held, Recovered, Timed
from tenfold.proof.load import Latency, LoadResult, Part


def held_of(result: LoadResult, scenario: Scenario, wanted: float, warm_up_s: float, hold_s: float) -> Held:
    """What a load shows from the end of its warm-up on; `wanted` users, or requests a second, for `hold_s`."""
    lasted_s = max(min(result.duration_s - warm_up_s, hold_s), 0.0)
    # The first and the last second are whole ones no more.
    within = [s.users for s in result.seconds if warm_up_s + 1.0 < s.at_s <= warm_up_s + hold_s]
    bad = result.failed + result.refused
    sockets = result.sockets
    return Held(
        wanted=wanted,
        wanted_s=hold_s,
        lasted_s=lasted_s,
        users_min=min(within, default=0),
        requests=result.sent - result.unfinished,
        answered=result.answered,
        bad=bad,
        response=_timed(result.response),
        api=_api(result.steps),
        pages=_pages(result.actions, scenario),
        socket=_timed(sockets.round_trip) if sockets is not None else Timed(0),
        invalid=result.invalid,
    )


def _timed(latency: Latency, of: str = "") -> Timed:
    return Timed(latency.count, latency.mean_ms, latency.p95_ms, of)


def _api(steps: Iterable[Part]) -> Timed:
    """All steps below /api/ together; only their mean can be told."""
    parts = [
        p.response for p in steps if p.name.partition(" ")[2].startswith("/api/") and p.response.mean_ms is not None
    ]
    count = sum(p.count for p in parts)
    return Timed(count, sum(p.count * (p.mean_ms or 0.0) for p in parts) / count) if count else Timed(0)


def _pages(actions: Iterable[Part], scenario: Scenario) -> Timed:
    """The slowest kind of action that begins with a page."""
    pages = {
        action.name
        for action in scenario.actions
        if action.steps and action.steps[0].method == "GET" and not action.steps[0].path.startswith("/api/")
    }
    found = [p for p in actions if p.name in pages and p.response.p95_ms is not None]
    slowest = max(found, key=lambda p: p.response.p95_ms or 0.0, default=None)
    return _timed(slowest.response, slowest.name) if slowest is not None else Timed(0)


def ended_of(result: LoadResult) -> tuple[int, int]:
    """How many requests ended, and how many of these failed or were refused, the warm-up included."""
    sent = sum(second.due - second.unsent for second in result.seconds)
    return sent - result.unfinished, sum(second.failed + second.refused for second in result.seconds)


def recovered_of(result: DrillResult, replaced: float | None) -> Recovered:
    """What a drill tells of recovery; `replaced` is after how many seconds another instance was ready (None: never)."""
    return Recovered(
        subject=", ".join(result.subjects),
        detect_s=result.detect_s,
        replaced_s=replaced,
        as_before_s=result.recover_s,
        failed=result.traffic.failed,
        lost_writes=len(result.writes.lost) if result.writes is not None else None,
        trouble="the drill was stopped" if result.is_interrupted else "",
    )
