"""What the load beside a drill found, in the drill's words. Pure."""

from collections.abc import Sequence

from tenfold.proof.drills.result import Traffic
from tenfold.proof.load import LoadResult

REASONS_MAX = 5


def traffic_of(results: Sequence[LoadResult], slow_ms: float | None, normal_p999_ms: float | None) -> Traffic:
    """The load's results together; an answer that took over `slow_ms` is a slow one."""
    p99_ms = [r.response.p99_ms for r in results if r.response.p99_ms is not None]
    max_ms = [r.response.max_ms for r in results if r.response.max_ms is not None]
    return Traffic(
        requests=sum(r.sent for r in results),
        failed=sum(r.failed for r in results),
        refused=sum(r.refused for r in results),
        slow=None if slow_ms is None else sum(r.slower_than(slow_ms) for r in results),
        slow_ms=slow_ms,
        p99_ms=max(p99_ms, default=None),
        max_ms=max(max_ms, default=None),
        normal_p999_ms=normal_p999_ms,
        # A drill's load goes on until it is told to end.
        invalid=tuple(reason for r in results for reason in r.invalid),
        reasons=_reasons(results),
    )


def _reasons(results: Sequence[LoadResult]) -> tuple[str, ...]:
    """The kinds of failures, each with an example that `tenfold explain` knows."""
    found = []
    for outcome in (o for r in results for o in r.outcomes if o.failed):
        example = outcome.examples[0] if outcome.examples else None
        told = f"{outcome.count} {outcome.kind}"
        if example is not None:
            where = f", tenfold explain {example.request_id}" if example.request_id else ""
            told += f" ({example.request} after {example.due_s:.1f} s: {example.detail or example.status}{where})"
        found.append(told)
    return tuple(found[:REASONS_MAX])
