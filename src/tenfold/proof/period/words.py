"""What a period says in sentences, the same at a terminal and on the page. Stage: report -> `page`, a terminal."""

from collections.abc import Iterable
from datetime import UTC, datetime

from tenfold.estimators.spend import prices_text
from tenfold.proof.period.facts import AlertTold, Event, PeriodReport, PoolReport
from tenfold.proof.words import budget_left, moment, percent, percent_at_least, seconds


def figures(report: PeriodReport) -> Iterable[tuple[str, str]]:
    """What there is to say in a line each, by name."""
    if report.users is not None:
        most, at, how = report.users
        yield "peak users", f"{most:.0f} at {moment(at)} ({how})"
    peak = (
        f", {report.peak_rps[0]:.1f}/s in the busiest minute ({moment(report.peak_rps[1])})" if report.peak_rps else ""
    )
    yield "requests", f"{report.requests}{peak}"
    good = report.availability_ratio
    if good is not None:
        failed = f"{report.failed} failed, in {report.failing_minutes} min" if report.failed else "none failed"
        yield (
            "uptime",
            f"{percent_at_least(good)} of the requests succeeded; {failed}",
        )
    if report.mean_ms is not None:
        p95 = report.p95_ms
        by_minute = (
            f"; p95 {p95[0]:.0f} ms in most minutes, {p95[1]:.0f} ms in the worst ({moment(p95[2])})" if p95 else ""
        )
        yield "response", f"mean {report.mean_ms:.0f} ms{by_minute}"
    if report.within is not None:
        bound_ms, timed, late = report.within
        yield "in time", f"{percent_at_least(1 - late / timed)} within {bound_ms:g} ms ({late} of {timed} late)"
    for seen in report.objectives:
        covered = seconds(seen.covered_s)
        yield (
            f"budget, {seen.objective}",
            f"{budget_left(seen.budget_left_ratio)} at {percent(seen.good_ratio)}, by the {covered} of {seen.window_days} days seen so far",
        )
    yield from _costs(report)


def _costs(report: PeriodReport) -> Iterable[tuple[str, str]]:
    spend = report.spend
    if spend is None:
        return
    spent = f"{report.cost:.2f} {spend.currency} in this time, " if report.cost is not None else ""
    budget = f"; the budget is {report.budget}" if report.budget else ""
    prices = prices_text(spend.prices_as_of, datetime.fromtimestamp(report.end, UTC).date())
    prices = f"; list {prices}" if prices else ""
    yield (
        "cost",
        f"{spent}{spend.per_hour:.3f} an hour now, {spend.month_so_far:.2f} so far this month, {spend.month_forecast:.2f} by its end"
        f"{budget}{prices}",
    )


def event_lists(report: PeriodReport) -> Iterable[tuple[str, tuple[Event, ...]]]:
    """The kinds of events that happened, by name."""
    kinds = (
        ("scaling", report.scalings),
        ("failures and healings", report.failures),
        ("failovers", report.failovers),
        ("deploys", report.deploys),
    )
    return ((name, events) for name, events in kinds if events)


def pool_text(pool: PoolReport) -> str:
    """How many instances it had, how long at its most, and how busy they were."""
    parts = [
        f"{pool.instances_mean:.1f} instances in the mean, {pool.instances_peak:.0f} of {pool.instances_max} at most"
    ]
    if pool.minutes_at_most:
        parts.append(f"for {seconds(pool.minutes_at_most * 60.0)} as many as it may")
    if pool.cpu_ratio is not None:
        parts.append(f"{pool.cpu_ratio:.0%} of its CPU")
    if pool.memory_ratio is not None:
        parts.append(f"{pool.memory_ratio:.0%} of its memory")
    if cold := cold_text(pool):
        parts.append(cold)
    return ", ".join(parts)


def cold_text(pool: PoolReport) -> str:
    """How often it was woken by requests, and how long these waited; empty where it never was."""
    if not pool.cold_starts:
        return ""
    waited = seconds((pool.cold_wait_ms_max or 0.0) / 1000)
    return (
        f"{pool.cold_starts} cold start{'s' * (pool.cold_starts != 1)}, for which requests waited {waited} at the most"
    )


def alert_text(alert: AlertTold) -> str:
    """What it was about, how long it lasted, and what answered it."""
    lasted = f"for {seconds(alert.ended_at - alert.at)}" if alert.ended_at is not None else "still fires"
    answers = f"; answered by {', '.join(alert.answered_by)}" if alert.answered_by else ""
    return f"{alert.text} ({lasted}{answers})"


def event_text(event: Event) -> str:
    """What happened, and how long it took until all was as before."""
    return event.what + (f" (as before after {event.took_s:.1f} s)" if event.took_s is not None else "")
