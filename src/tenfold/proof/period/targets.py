"""The blueprint's targets beside what a period shows of them. Stage: report -> judgement, as far as its traffic goes."""

from collections.abc import Iterable

from tenfold.model import Model
from tenfold.proof.period.facts import PeriodReport, TargetTold
from tenfold.proof.words import percent, percent_at_least, percent_at_most

BY_PROVE = "not told apart here: `tenfold prove` measures it"


def targets_told(model: Model, report: PeriodReport) -> tuple[TargetTold, ...]:
    """One row for each target that the blueprint names."""
    return tuple(row for row in _rows(model, report) if row is not None)


def _rows(model: Model, report: PeriodReport) -> Iterable[TargetTold | None]:
    targets, latency = model.targets, model.targets.latency
    if targets.concurrent_users is not None:
        most = report.users[0] if report.users is not None else 0.0
        how = report.users[2] if report.users is not None else "no traffic"
        yield _reached("concurrent users", f"{targets.concurrent_users}", most, targets.concurrent_users, how)
    if targets.throughput_rps is not None:
        most = report.peak_rps[0] if report.peak_rps is not None else 0.0
        yield _reached("throughput", f"{targets.throughput_rps:g}/s", most, targets.throughput_rps, "busiest minute")
    if latency.p95_ms is not None:
        yield _p95(latency.p95_ms, report)
    if latency.database_mean_ms is not None:
        yield _mean("database mean", latency.database_mean_ms, report.database_ms, "PostgreSQL's own counters")
    for name, bound_ms in (
        ("api mean", latency.api_mean_ms),
        ("websocket", latency.websocket_ms),
        ("page", latency.page_ms),
    ):
        if bound_ms is not None:
            yield TargetTold(name, f"{bound_ms:g} ms", "-", None, BY_PROVE)
    good = report.availability_ratio
    if targets.availability_ratio is not None:
        yield _share("availability", targets.availability_ratio, good, report, at_least=True)
    if targets.error_ratio is not None:
        yield _share("error rate", targets.error_ratio, None if good is None else 1 - good, report, at_least=False)
    if targets.cache_hit_ratio is not None:
        yield TargetTold("cache hit", percent(targets.cache_hit_ratio), "-", None, "the edge keeps no answers yet")
    if targets.recovery_s is not None:
        yield _recovery(targets.recovery_s, report)


def _reached(name: str, target: str, most: float, bound: float, how: str) -> TargetTold:
    """What only as much traffic can show: less of it says nothing against it."""
    is_met = True if most >= bound else None
    return TargetTold(name, target, f"{most:,.0f} at most", is_met, how if is_met else f"{how}: not more came")


def _p95(bound_ms: float, report: PeriodReport) -> TargetTold:
    if report.within is None:
        return TargetTold("latency p95", f"{bound_ms:g} ms", "-", None, "no answers were timed")
    _, timed, late = report.within
    measured = f"{percent_at_least(1 - late / timed)} within it"
    return TargetTold(
        "latency p95", f"{bound_ms:g} ms", measured, late <= 0.05 * timed, f"{late} of {timed} answers were late"
    )


def _mean(name: str, bound_ms: float, measured_ms: float | None, how: str) -> TargetTold:
    if measured_ms is None:
        return TargetTold(name, f"{bound_ms:g} ms", "-", None, "nothing was measured")
    return TargetTold(name, f"{bound_ms:g} ms", f"{measured_ms:.3g} ms", measured_ms <= bound_ms, how)


def _share(name: str, bound: float, measured: float | None, report: PeriodReport, *, at_least: bool) -> TargetTold:
    if measured is None:
        return TargetTold(name, percent(bound), "-", None, "no requests came")
    is_met = measured >= bound if at_least else measured <= bound
    how = f"{report.failed} of {report.requests} requests failed"
    told = percent_at_least(measured) if at_least else percent_at_most(measured)
    return TargetTold(name, percent(bound), told, is_met, how)


def _recovery(bound_s: float, report: PeriodReport) -> TargetTold:
    took = [event.took_s for event in report.failures if event.took_s is not None]
    if not took:
        return TargetTold("recovery", f"{bound_s:g} s", "-", None, "no instance was lost")
    return TargetTold(
        "recovery", f"{bound_s:g} s", f"{max(took):.1f} s at most", max(took) <= bound_s, f"{len(took)} losses"
    )
