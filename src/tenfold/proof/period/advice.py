"""What could be better: sentences that follow from figures of a report, each with the figure and what to do. Stage: report -> advice."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tenfold.estimators.advice import Advice
from tenfold.model import Model, Service
from tenfold.proof.period.facts import PeriodReport, PoolReport

AT_MOST_MINUTES = 5
FULL_RATIO = 0.9
SAVINGS_MAX = 5
"""So many are told, those that save most."""
SAME_FAILURES = 3
SLOW_S = 30.0
UNSEEN_RATIO = 0.05
MINUTE_S = 60.0
"""The newest minute is written down when it is over: that much is always unseen."""


def advise(model: Model, report: PeriodReport, savings: Sequence[Advice] = ()) -> Iterable[str]:
    """The most urgent first; `savings` are what would cost less, the most first."""
    yield from _levels(model, report)
    yield from _failures(report)
    for pool in report.pools:
        yield from _pool(model.services[pool.key.partition("@")[0]], pool)
    yield from _money(model, report)
    yield from (each.text for each in savings[:SAVINGS_MAX])
    yield from _setup(model, report)


def _levels(model: Model, report: PeriodReport) -> Iterable[str]:
    for seen in report.objectives:
        if seen.budget_left_ratio < 0:
            yield (
                f"{seen.objective}: {seen.bad:.0f} of {seen.total:.0f} were bad, {1 - seen.budget_left_ratio:.1f} times what "
                f"{seen.good_ratio * 100:.6g}% allows: ship nothing risky until the cause is found, or promise less"
            )
    if report.within is not None and report.within[2] > 0.05 * report.within[1] and report.p95_ms is not None:
        bound_ms, timed, late = report.within
        yield (
            f"{late / timed:.1%} of the answers took longer than {bound_ms:g} ms: `tenfold measure` tells what an instance holds, and a "
            "response_time trigger adds instances sooner"
        )


def _failures(report: PeriodReport) -> Iterable[str]:
    causes = Counter(_cause(event.what) for event in report.failures)
    for cause, count in causes.most_common(3):
        if count >= SAME_FAILURES:
            yield f"{cause}: {count} times; `tenfold logs` has their last words"
    timed = [event for event in report.failures if event.took_s is not None and event.took_s > SLOW_S]
    if timed:
        slowest = max(timed, key=lambda event: event.took_s or 0.0)
        yield (
            f"after a loss it took up to {slowest.took_s:.0f} s until as many instances were ready as before: `tenfold explain "
            f"{slowest.id}` begins the story"
        )


def _cause(what: str) -> str:
    """`web ended: killed by signal 9, SIGKILL` of a sentence that names one instance and says what comes next."""
    name, _, rest = what.partition(" ")
    return f"{name.rpartition('-')[0] or name} {rest.partition(';')[0].partition(': failure')[0]}"


def _pool(service: Service, pool: PoolReport) -> Iterable[str]:
    instance = f"services.{service.base}.instance"
    is_scaled = pool.instances_max > 1
    if is_scaled and pool.minutes_at_most >= AT_MOST_MINUTES:
        yield (
            f"{pool.key} ran at its most of {pool.instances_max} for {pool.minutes_at_most} min: raise "
            f"{service.scaling_at}.instances.max, or make its instances larger"
        )
    if pool.peak_memory_ratio is not None and pool.peak_memory_ratio >= FULL_RATIO:
        yield (
            f"{pool.key} used {pool.peak_memory_ratio:.0%} of its memory: raise {instance}.memory before the kernel ends an instance"
        )
    if pool.cpu_ratio is not None and pool.cpu_ratio >= FULL_RATIO:
        yield f"{pool.key} used {pool.cpu_ratio:.0%} of its CPU on average: add a cpu trigger, or raise {instance}.cpu"


def _money(model: Model, report: PeriodReport) -> Iterable[str]:
    spend, budget = report.spend, model.budget
    if spend is None or budget is None:
        return
    if spend.currency != budget.monthly.currency:
        yield (
            f"costs are in {spend.currency} and the budget in {budget.monthly.currency}: nothing is converted, so they are not compared; "
            f"write budget.prices in {budget.monthly.currency}"
        )
        return
    if spend.month_forecast > float(budget.monthly.amount):
        yield (
            f"the month will cost {spend.month_forecast:.2f} {spend.currency} and {budget.monthly} is its budget: lower instances.max or "
            "instance sizes, or raise budget.monthly"
        )


def _setup(model: Model, report: PeriodReport) -> Iterable[str]:
    span_s = report.end - report.start
    unseen_s = span_s - report.seen_s
    if unseen_s > max(MINUTE_S, UNSEEN_RATIO * span_s):
        yield (
            f"nothing was seen for {unseen_s / MINUTE_S:.0f} of {span_s / MINUTE_S:.0f} min: no control plane ran, or the edge did "
            "not; what happened then is in no figure here"
        )
    if not report.objectives and model.targets.availability_ratio is None:
        yield "the blueprint names no targets.availability: with one there is an error budget, and alerts when it goes too fast"
    if report.alerts and not model.alerts.escalation:
        yield f"{len(report.alerts)} alerts told nobody: name a webhook or a command in alerts.escalation"
