"""The blueprint's targets against what one tick shows. Stage: tick -> contract.

A look tells of some targets whether they are met now, of some only how near they are, and of some nothing: those are proved
(`tenfold prove`) and say so.
"""

from collections.abc import Iterator

from tenfold.console.contract import Summary, TargetNow
from tenfold.console.regions import is_fresh, mean_of
from tenfold.facts import ObjectiveSeen, PoolSeen
from tenfold.loop import Tick
from tenfold.model import Model

PROVED = "only a proof shows it: tenfold prove"


def targets_now(model: Model, tick: Tick, summary: Summary, pools: list[PoolSeen]) -> list[TargetNow]:
    """Every target that the blueprint names, in its order."""
    return list(_targets(model, tick, summary, pools))


def _targets(model: Model, tick: Tick, summary: Summary, pools: list[PoolSeen]) -> Iterator[TargetNow]:
    targets, latency = model.targets, model.targets.latency
    if targets.concurrent_users is not None:
        users = summary.users
        yield _at_least("concurrent users", targets.concurrent_users, users, "{:,.0f}", f"{summary.users_are}, now")
    if targets.throughput_rps is not None:
        yield _at_least("throughput", targets.throughput_rps, summary.requests_per_s, "{:,.0f}/s", "answered, now")
    if latency.p95_ms is not None:
        yield _at_most("latency p95", latency.p95_ms, summary.p95_ms, "{:,.0f} ms", "at the gateways, now")
    if latency.api_mean_ms is not None:
        mean_ms = mean_of(pools, "response_ms_mean")
        yield _at_most("latency API mean", latency.api_mean_ms, mean_ms, "{:,.0f} ms", "all requests, now")
    if latency.database_mean_ms is not None:
        how = "time it worked on a transaction, now"
        yield _at_most("latency database mean", latency.database_mean_ms, _database_ms(tick), "{:,.1f} ms", how)
    if latency.websocket_ms is not None:
        yield _at_most("latency WebSocket", latency.websocket_ms, None, "{:,.0f} ms", PROVED)
    if latency.page_ms is not None:
        yield _at_most("latency page", latency.page_ms, None, "{:,.0f} ms", PROVED)
    if targets.availability_ratio is not None:
        yield _availability(targets.availability_ratio, tick.snapshot.objectives.get("availability"))
    if targets.error_ratio is not None:
        yield _at_most("error rate", targets.error_ratio, _error_ratio(summary), "{:.2%}", "of all requests, now")
    if targets.cache_hit_ratio is not None:
        how = (
            "of the requests that could be cached, now"
            if summary.cache_hit_ratio is not None
            else "the edge keeps no answers yet"
        )
        yield _at_least("cache hits", targets.cache_hit_ratio, summary.cache_hit_ratio, "{:.0%}", how)
    if targets.recovery_s is not None:
        yield _at_most("recovery", targets.recovery_s, None, "{:,.0f} s", PROVED)


def _at_most(name: str, bound: float, measured: float | None, form: str, how: str) -> TargetNow:
    return TargetNow(
        name=name,
        target_text=f"at most {form.format(bound)}",
        measured_text=None if measured is None else form.format(measured),
        ratio_of_target=None if measured is None or bound <= 0 else round(measured / bound, 3),
        is_met=None if measured is None else measured <= bound,
        how=how,
    )


def _at_least(name: str, bound: float, measured: float | None, form: str, how: str) -> TargetNow:
    """What is below may only not have been asked for: fewer users than it should hold is no miss."""
    return TargetNow(
        name=name,
        target_text=f"at least {form.format(bound)}",
        measured_text=None if measured is None else form.format(measured),
        ratio_of_target=None if measured is None or bound <= 0 else round(measured / bound, 3),
        is_met=True if measured is not None and measured >= bound else None,
        how=how,
    )


def _availability(bound: float, seen: ObjectiveSeen | None) -> TargetNow:
    target = f"at least {_percent(bound)}"
    if seen is None or seen.total <= 0:
        return TargetNow("availability", target, None, None, None, "no request was counted yet")
    spent = round(1 - seen.budget_left_ratio, 3)
    measured = _percent(1 - seen.bad / seen.total)
    how = f"{seen.total:,.0f} requests of the last {seen.window_days} days; {spent:.0%} of the error budget is spent"
    return TargetNow("availability", target, measured, spent, spent <= 1, how)


def _percent(ratio: float) -> str:
    """`99.99%`: as many digits as it takes, four at the most."""
    return f"{round(100 * ratio, 4):g}%"


def _error_ratio(summary: Summary) -> float | None:
    if not summary.requests_per_s or summary.errors_per_s is None:
        return None
    return summary.errors_per_s / summary.requests_per_s


def _database_ms(tick: Tick) -> float | None:
    """Of the primary, which takes the writes."""
    memory = tick.memory.stores.get("postgres")
    stores = [s for s in tick.snapshot.stores.values() if s.kind == "postgres" and is_fresh(tick.snapshot, s.seen_at)]
    mine = [s for s in stores if memory is None or s.region == memory.primary]
    return next((s.busy_ms_mean for s in mine), None)
