"""What may be wrong: each condition that an alert can be about, as it is now. Stage: facts and memory -> signs, for `deciders.alerts`.

A sign holds, does not, or can't be told (None): then whatever was said of it stands.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tenfold.deciders.failures import asked_text, try_text
from tenfold.deciders.memory import Failures, Memory, RegionState, Rung
from tenfold.facts import AnomalySeen, EngineState, ObjectiveSeen, Snapshot
from tenfold.model import Model

CRITICAL, WARNING = "critical", "warning"

FRESH_S = 15.0
"""Facts that are older tell nothing of now."""
BAD_MIN = 5
"""Fewer bad events than this in the long window fire no alert: with little traffic one failed request is a large share."""
STORES = ("postgres", "valkey")
STORE_LOST_S = 5.0
STORE_STARTS_S = 60.0
"""A store that starts for longer than this is lost too."""
STANDBY_MISSING_S = 60.0
ANOMALY_S = 180.0
ANOMALY_FRESH_S = 180.0
"""The fact is of the last minute that has ended."""
TELLING = {"errors_per_s": 1, "response_ms_p95": 1, "requests_per_s": 0, "memory_bytes_each": 1}
"""The figures whose anomalies are worth a person's time, and on which side (1: only above what was expected). What else is odd
follows from these, and is shown only."""
SPEND_SIGNS = {"budget": WARNING, "over": CRITICAL, "forecast": WARNING}
"""What is said of money, and how loud: that `budget.alert_at` of it is spent, that all of it is, and that it will be."""
FORECAST_SEEN_S = 3600.0
"""A forecast of a month from less than this is none."""
FORECAST_S = 600.0


@dataclass(frozen=True, slots=True)
class Burn:
    """A pair of windows, and how fast the budget must go in both for an alert."""

    severity: str
    long: str
    short: str
    burn_min: float


BURNS = (
    Burn(CRITICAL, "1h", "5m", 14.4),
    Burn(CRITICAL, "6h", "30m", 6.0),
    Burn(WARNING, "3d", "6h", 1.0),
)
"""Table 5-8 of Google's SRE workbook: 2% of the budget in an hour, 5% in six, 10% in three days. The short window ends the alert soon
after the trouble."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One condition. `holds` is None when it can't be told. It must hold for `after_s` to fire, and be gone for `clear_s` to be over.

    `subject` is what a decision that answers it is about (its beginning; empty: anything that changes what serves).
    """

    key: str
    severity: str
    holds: bool | None
    text: str = ""
    facts: tuple[str, ...] = ()
    after_s: float = 0.0
    clear_s: float = 60.0
    subject: str = ""


def signs(model: Model, snapshot: Snapshot, memory: Memory) -> dict[str, Sign]:
    """All signs by key. What is in none of them is not so."""
    found = (
        *_burns(snapshot),
        *_anomalies(snapshot),
        *_given_up(memory),
        *_stores(model, snapshot, memory),
        *_regions(memory),
        *_spend(model, snapshot),
        *_refused(memory),
    )
    return {sign.key: sign for sign in found}


# --- service levels ---------------------------------------------------------------------------------------------------


def _burns(snapshot: Snapshot) -> Iterator[Sign]:
    for objective in snapshot.objectives.values():
        is_fresh = -1.0 <= snapshot.taken_at - objective.seen_at <= FRESH_S
        found = {severity: _burn(objective, severity, is_fresh) for severity in (CRITICAL, WARNING)}
        yield found[CRITICAL]
        # One that is critical says the same, and more.
        if not found[CRITICAL].holds:
            yield found[WARNING]


def _burn(objective: ObjectiveSeen, severity: str, is_fresh: bool) -> Sign:
    key, burn = f"{objective.objective}/{severity}", objective.burn
    told = [pair for pair in BURNS if pair.severity == severity and pair.long in burn and pair.short in burn]
    if not is_fresh or not told:
        return Sign(key, severity, None)
    for pair in told:
        is_over = min(burn[pair.long], burn[pair.short]) >= pair.burn_min
        if is_over and objective.bad_by_window.get(pair.long, 0) >= BAD_MIN:
            return Sign(key, severity, True, _burn_text(objective, pair), _burn_facts(objective, pair))
    return Sign(key, severity, False)


def _burn_text(objective: ObjectiveSeen, pair: Burn) -> str:
    budget_ratio = 1 - objective.good_ratio
    what = "of the answers are late" if objective.objective == "latency" else "of the requests fail"
    return (
        f"{objective.burn[pair.short] * budget_ratio:.2%} {what} and {_percent(budget_ratio)} may: over {pair.long} the error budget of "
        f"{objective.window_days} days goes {objective.burn[pair.long]:.1f} times too fast"
    )


def _percent(ratio: float) -> str:
    """`0.01%`, `5%`."""
    return f"{ratio * 100:.4g}%"


def _burn_facts(objective: ObjectiveSeen, pair: Burn) -> tuple[str, ...]:
    windows = ", ".join(f"{name} {rate:.1f}" for name, rate in objective.burn.items())
    return (
        f"burn rate {pair.long} {objective.burn[pair.long]:.1f} and {pair.short} {objective.burn[pair.short]:.1f}, "
        f"{pair.severity} from {pair.burn_min:g}",
        f"burn rates: {windows}",
        f"error budget left: {objective.budget_left_ratio:.1%}, by the {objective.covered_s / 3600:.1f} h of "
        f"{objective.window_days} days that were seen",
    )


def _anomalies(snapshot: Snapshot) -> Iterator[Sign]:
    for seen in snapshot.anomalies.values():
        side = TELLING.get(seen.series.rpartition(".")[2])
        if side is None or (side > 0 and seen.value <= seen.expected):
            continue
        is_fresh = -1.0 <= snapshot.taken_at - seen.seen_at <= ANOMALY_FRESH_S
        lasts = snapshot.taken_at - seen.since >= ANOMALY_S
        yield Sign(
            f"anomaly/{seen.series}",
            WARNING,
            lasts if is_fresh else None,
            _anomaly_text(seen),
            (f"score {seen.score:.4f} of 1, since {snapshot.taken_at - seen.since:.0f} s",),
        )


def _anomaly_text(seen: AnomalySeen) -> str:
    return f"{seen.series} is odd: {seen.value:.4g} where {seen.expected:.4g} was expected"


# --- what does not heal -----------------------------------------------------------------------------------------------


def _given_up(memory: Memory) -> Iterator[Sign]:
    """The last rung of healing: a person is asked."""
    asked = [(line, f"line/{line}", failures) for line, failures in memory.heal.failures.items()]
    asked += [(k, f"engine/{k}", e.failures) for k, e in memory.heal.engines.items() if e.failures is not None]
    for what, subject, failures in asked:
        if _is_asked(failures):
            facts = tuple(try_text(tried) for tried in failures.tries)
            yield Sign(f"recovery/{what}", CRITICAL, True, asked_text(what, failures), facts, subject=subject)


def _is_asked(failures: Failures) -> bool:
    return failures.gave_up or failures.rung is Rung.ASK


def _stores(model: Model, snapshot: Snapshot, memory: Memory) -> Iterator[Sign]:
    if model.data is None or memory.release.serving is None:
        return  # At the first start somebody is looking on.
    now = snapshot.taken_at
    for kind in STORES:
        store = memory.stores.get(kind)
        primary = store.primary if store is not None else model.home
        seen, subject = snapshot.engines.get(f"{kind}/{primary}"), f"engine/{kind}/"
        if not snapshot.fresh(kind, FRESH_S) or seen is None:
            yield Sign(f"store/{kind}", CRITICAL, None)
            yield Sign(f"standby/{kind}", WARNING, None)
            continue
        for_s = now - seen.since
        lost = seen.state in (EngineState.EXITED, EngineState.UNHEALTHY) and for_s >= STORE_LOST_S
        lost = lost or (seen.state is EngineState.STARTING and for_s >= STORE_STARTS_S)
        why = f"{kind}/{primary} does not serve for {for_s:.0f} s: {seen.note or seen.state.value}"
        yield Sign(f"store/{kind}", CRITICAL, lost, why, clear_s=5.0, subject=subject)
        apart_since = store.apart_since if store is not None else None
        missing = apart_since is not None and now - apart_since >= STANDBY_MISSING_S
        why = f"{kind}/{primary} has had no standby for {STANDBY_MISSING_S:.0f} s: what it loses now is lost"
        yield Sign(f"standby/{kind}", WARNING, missing, why, clear_s=10.0, subject=subject)


def _regions(memory: Memory) -> Iterator[Sign]:
    for name, region in memory.regions.regions.items():
        if region.state is RegionState.OUT:
            yield Sign(f"region/{name}", WARNING, True, f"{name} takes no traffic: {region.why}")


# --- money ------------------------------------------------------------------------------------------------------------


def _spend(model: Model, snapshot: Snapshot) -> Iterator[Sign]:
    budget, seen = model.budget, snapshot.spend.get("month")
    if budget is None:
        return
    if seen is None or seen.currency != budget.monthly.currency:
        yield from (Sign(f"spend/{name}", severity, None) for name, severity in SPEND_SIGNS.items())
        return
    monthly = float(budget.monthly.amount)
    figures = (
        f"this month so far {seen.month_so_far:.2f} {seen.currency}, {seen.per_hour:.3f} an hour now, "
        f"{seen.month_forecast:.2f} by its end; the budget is {monthly:.2f}",
    )
    over = f"{seen.month_so_far / monthly:.0%} of the month's budget of {budget.monthly} is spent"
    yield Sign(
        "spend/budget", SPEND_SIGNS["budget"], seen.month_so_far >= budget.alert_at_ratio * monthly, over, figures
    )
    spent = f"the month's budget of {budget.monthly} is spent: {seen.month_so_far:.2f} {seen.currency} so far"
    yield Sign("spend/over", SPEND_SIGNS["over"], seen.month_so_far >= monthly, spent, figures)
    beyond = f"the month will cost {seen.month_forecast:.2f} {seen.currency} if it goes on like this, and {budget.monthly} is its budget"
    is_over = seen.month_forecast > monthly if seen.seen_s >= FORECAST_SEEN_S else False
    yield Sign("spend/forecast", SPEND_SIGNS["forecast"], is_over, beyond, figures, FORECAST_S, FORECAST_S)


def _refused(memory: Memory) -> Iterator[Sign]:
    """One for all pools: what helps one of them helps all."""
    refused = {key: pool.refused for key, pool in memory.scale.pools.items() if pool.refused}
    if refused:
        text = f"the budget refuses {', '.join(refused)} what is needed: {next(iter(refused.values()))}"
        yield Sign("spend/refused", WARNING, True, text, tuple(f"{key}: {why}" for key, why in refused.items()))


def gone(keys: Mapping[str, str], known: Mapping[str, Sign]) -> dict[str, Sign]:
    """Signs for alerts of before (severity by key) that nothing speaks of now: over, but for those of objectives, whose facts are
    missing."""
    found = {}
    for key, severity in keys.items():
        if key not in known:
            is_burn = key.partition("/")[2] == severity
            found[key] = Sign(key, severity, None if is_burn else False)
    return found
