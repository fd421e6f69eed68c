"""Reads a period from the journal: minutes, decisions, and a few ticks. Stage: journal -> report."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median

from tenfold.deciders.alerts import firing
from tenfold.effects import Decision
from tenfold.estimators.advice import Advice, advise_spend
from tenfold.estimators.levels import series_of
from tenfold.facts import InstanceState, Window
from tenfold.loop import DecisionRow, JournalReader, Tick
from tenfold.model import Model, Service
from tenfold.proof.period.advice import advise
from tenfold.proof.period.facts import AlertTold, Event, PeriodReport, PoolReport, Series
from tenfold.proof.period.targets import targets_told

DECISIONS_MAX = 100_000
RECOVERIES_MAX = 20
"""So many recoveries are timed, the newest ones: each takes a look at the ticks that follow."""
RECOVERS_WITHIN_TICKS = 400
AT_MOST_RATIO = 0.98
"""A minute in which the mean number of instances was this near to the most counts as one at the most."""


def gather(reader: JournalReader, since_s: float, is_live: bool) -> PeriodReport | None:
    """The last `since_s` seconds that the journal has, up to its newest tick; None where it has none."""
    tick = reader.latest()
    model = reader.model(tick.model) if tick is not None else None
    if tick is None or model is None:
        return None
    first_tick = reader.at(tick.at - since_s) or 0
    begun = reader.tick(first_tick) if first_tick else None
    span = reader.span()
    oldest = begun or (reader.tick(span[0]) if span else None)
    start = max(tick.at - since_s, oldest.at if oldest is not None else tick.at)
    window = reader.window(start, tick.at + 60.0)
    made = reader.decisions(first_tick, limit=DECISIONS_MAX)
    series = window.series
    names = series_of(model.targets.latency.p95_ms)
    timed = _sum(series.get(names["timed"])) if "timed" in names else 0
    seen_s = _sum(series.get(names["seen_s"]))
    report = PeriodReport(
        name=model.name,
        environment=model.environment.name,
        start=start,
        end=tick.at,
        is_live=is_live,
        seen_s=seen_s,
        requests=int(_sum(series.get(names["requests"]))),
        failed=int(_sum(series.get(names["failed"]))),
        peak_rps=_peak(_rates(series, "requests_per_s"), window),
        users=_users(model, window),
        mean_ms=_weighted(series, "response_ms_mean", "requests_per_s", "@"),
        p95_ms=_p95(series, window),
        within=(model.targets.latency.p95_ms or 0.0, int(timed), int(_sum(series.get(names["late"]))))
        if timed
        else None,
        database_ms=_weighted(series, "busy_ms_mean", "transactions_per_s", "postgres/"),
        failing_minutes=sum(1 for value in series.get(names["failed"], ()) if value),
        pools=tuple(_pools(model, series)),
        scalings=tuple(_events(made, "scale")),
        failures=_timed(reader, tuple(_failures(made))),
        failovers=tuple(_events(made, "failover")),
        deploys=tuple(_deploys(made)),
        alerts=tuple(_alerts(made, tick)),
        objectives=tuple(tick.snapshot.objectives.values()),
        spend=tick.snapshot.spend.get("month"),
        budget=str(model.budget.monthly) if model.budget is not None else "",
        cost=_cost(series),
        rates=_rates(series, "requests_per_s"),
        percentiles=_highest(series, "response_ms_p95"),
    )
    report = replace(report, targets=targets_told(model, report))
    return replace(report, advice=tuple(advise(model, report, _savings(model, tick, window))))


def _savings(model: Model, tick: Tick, window: Window) -> tuple[Advice, ...]:
    """What would have cost less in the period."""
    held_rps: dict[str, float] = {}
    for seen in tick.snapshot.capacities.values():
        # Of several scenarios the one of which an instance holds least counts, as it does for scaling.
        held_rps[seen.service] = min(seen.requests_per_s, held_rps.get(seen.service, seen.requests_per_s))
    starts_s = {key: seen.start_s for key, seen in tick.snapshot.works.items() if seen.start_s is not None}
    return advise_spend(model, window, held_rps, starts_s)


# --- minutes ----------------------------------------------------------------------------------------------------------


def _sum(values: Sequence[float | None] | None) -> float:
    return sum(value for value in values or () if value is not None)


def _of(series: Series, figure: str, among: str = "@") -> list[tuple[float | None, ...]]:
    """The series of that figure, of pools (or of what else has `among` in its name)."""
    return [values for name, values in series.items() if name.rpartition(".")[2] == figure and among in name]


def _rates(series: Series, figure: str) -> tuple[float | None, ...]:
    """By minute, the sum of a figure over all pools; None where no pool was seen."""
    return tuple(_total(values) for values in zip(*_of(series, figure), strict=True))


def _total(values: Iterable[float | None]) -> float | None:
    seen = [value for value in values if value is not None]
    return sum(seen) if seen else None


def _highest(series: Series, figure: str) -> tuple[float | None, ...]:
    found = zip(*_of(series, figure), strict=True)
    return tuple(max((v for v in values if v is not None), default=None) for values in found)


def _peak(values: Sequence[float | None], window: Window) -> tuple[float, float] | None:
    """The highest minute and when it was."""
    seen = [(value, window.start + i * window.step_s) for i, value in enumerate(values) if value is not None]
    return max(seen, key=lambda found: found[0]) if seen else None


def _weighted(series: Series, figure: str, weight: str, among: str) -> float | None:
    """The mean of a figure over all minutes, each weighted by how much there was of it."""
    total = heavy = 0.0
    for name, values in series.items():
        if name.rpartition(".")[2] != figure or among not in name:
            continue
        weights = series.get(f"{name.rpartition('.')[0]}.{weight}", ())
        for value, much in zip(values, weights, strict=True):
            if value is not None and much:
                total, heavy = total + value * much, heavy + much
    return total / heavy if heavy else None


def _p95(series: Series, window: Window) -> tuple[float, float, float] | None:
    highest = _highest(series, "response_ms_p95")
    worst, seen = _peak(highest, window), [value for value in highest if value is not None]
    return (median(seen), worst[0], worst[1]) if worst is not None else None


def _users(model: Model, window: Window) -> tuple[float, float, str] | None:
    """The most users, when, and how that is known: the app told it, it held so many sockets, or it had so many requests at hand."""
    told = [values for name, values in window.series.items() if name.endswith(":concurrent_users")]
    for values, how in (
        (tuple(_total(minute) for minute in zip(*told, strict=True)), "told by the app"),
        (_rates(window.series, "sockets"), "open WebSockets"),
        (_rates(window.series, "in_flight_max"), "requests at hand at once: there may be more users"),
    ):
        peak = _peak(values, window)
        if peak is not None and peak[0] > 0:
            return (*peak, how)
    return None


def _cost(series: Series) -> float | None:
    values = [value for value in series.get("spend.per_hour", ()) if value is not None]
    return sum(values) / 60 if values else None


def _pools(model: Model, series: Series) -> Iterable[PoolReport]:
    for name, service in model.services.items():
        for region in model.regions if service.runs_always else ():
            key = f"{name}@{region}"
            counts = _counts(series, key, service)
            if not counts:
                continue
            waits = [v for v in series.get(f"{key}.cold_wait_ms_max", ()) if v is not None]
            cpu = [v for v in series.get(f"{key}.cpu_cores_each", ()) if v is not None]
            memory = [v for v in series.get(f"{key}.memory_bytes_each", ()) if v is not None]
            size, most = service.instance, service.scaling.instances_max
            yield PoolReport(
                key=key,
                instances_max=most,
                instances_peak=max(counts),
                instances_mean=sum(counts) / len(counts),
                minutes_at_most=sum(value >= most * AT_MOST_RATIO for value in counts),
                cpu_ratio=sum(cpu) / len(cpu) / size.cpu_cores if cpu else None,
                memory_ratio=sum(memory) / len(memory) / size.memory_bytes if memory else None,
                peak_memory_ratio=max(memory) / size.memory_bytes if memory else None,
                cost_per_hour=float(model.prices.per_hour(size.cpu_cores, size.memory_bytes)),
                cold_starts=int(_sum(series.get(f"{key}.cold_starts"))),
                cold_wait_ms_max=max(waits, default=None),
            )


def _counts(series: Series, key: str, service: Service) -> list[float]:
    """Its instances by minute. Of what may sleep, minutes in which its gateway was seen and no instance are minutes without any."""
    counts = series.get(f"{key}.instances", ())
    traffic = series.get(f"{key}.requests_per_s", ()) if service.may_sleep else ()
    asleep = [0.0 for count, rate in zip(counts, traffic, strict=False) if count is None and rate is not None]
    return [*(count for count in counts if count is not None), *asleep]


# --- decisions --------------------------------------------------------------------------------------------------------


def _events(made: Iterable[DecisionRow], by: str) -> Iterable[Event]:
    return (Event(row.at, row.decision.id, row.decision.why) for row in made if row.decision.by == by)


def _failures(made: Iterable[DecisionRow]) -> Iterable[Event]:
    """What ended or fell silent by itself: not what was let go."""
    return (Event(row.at, row.decision.id, row.decision.why) for row in made if _is_failure(row.decision))


def _is_failure(decision: Decision) -> bool:
    why, subject = decision.why, decision.subject
    if decision.by != "heal":
        return False
    if subject.startswith("instance/"):
        # Its end was told when it was seen; that it is restarted later, or can't be, is no second one.
        is_remedy = why.partition(" ")[2].startswith(("is restarted in its place", "can't be restarted"))
        return not (is_remedy or why.endswith((": it ends", "is taken over")) or "told to end" in why)
    signs = ("does not run", "is started again", "has not answered")
    return subject.startswith("engine/") and any(sign in why for sign in signs)


def _timed(reader: JournalReader, failures: tuple[Event, ...]) -> tuple[Event, ...]:
    """The same, with how long it took until as many instances were ready as before, for the newest ones."""
    first = len(failures) - RECOVERIES_MAX
    return tuple(
        replace(event, took_s=_recovered(reader, event)) if i >= first else event for i, event in enumerate(failures)
    )


def _recovered(reader: JournalReader, event: Event) -> float | None:
    seq = reader.at(event.at)
    if seq is None:
        return None
    lost = event.what.partition(" ")[0]
    pool, before = "", 0
    for tick in reader.ticks(seq - 1, seq + RECOVERS_WITHIN_TICKS):
        if not pool:
            member = tick.memory_before.heal.members.get(lost)
            if member is None:
                return None
            pool = member.pool
            before = max(_ready(tick, pool), 1)
            if lost in tick.snapshot.instances and tick.snapshot.instances[lost].state is not InstanceState.READY:
                before = _ready(tick, pool) + 1
        elif tick.at > event.at and _ready(tick, pool, lost, event.at) >= before:
            return tick.at - event.at
    return None


def _ready(tick: Tick, pool: str, lost: str = "", lost_at: float = 0.0) -> int:
    """How many of a pool are ready; the one that was lost only when it has become ready since, started again in its place."""
    return sum(
        f"{i.service}@{i.region}" == pool and i.state is InstanceState.READY and (i.id != lost or i.since > lost_at)
        for i in tick.snapshot.instances.values()
    )


def _deploys(made: Iterable[DecisionRow]) -> Iterable[Event]:
    """How releases were asked for and how it ended."""
    for row in made:
        decision = row.decision
        answers = any(effect.key.startswith("answer:") for effect in decision.effects)
        is_start = decision.why.startswith("asked to") and decision.subject.startswith("release/")
        is_end = answers and not decision.why.startswith("everything is stopped")
        if decision.by == "release" and (is_start or is_end or "it is undone" in decision.why):
            yield Event(row.at, decision.id, decision.why)


def _alerts(made: Iterable[DecisionRow], tick: Tick) -> Iterable[AlertTold]:
    """Each time an alert fired, by the decisions of `deciders.alerts`; one that still fires is as the memory has it."""
    found: list[AlertTold] = []
    now = firing(tick.memory.alerts.alerts)
    for row in made:
        if row.decision.by != "alert":
            continue
        key, why = row.decision.subject.removeprefix("alert/"), row.decision.why
        severity = why.partition(":")[0]
        if severity in ("critical", "warning"):
            found.append(AlertTold(key, severity, row.at, why.partition(": ")[2]))
        elif why.startswith("resolved"):
            ended = next(
                (i for i in reversed(range(len(found))) if found[i].key == key and found[i].ended_at is None), None
            )
            if ended is not None:
                answers = tuple(filter(None, why.partition("; answered by ")[2].split(", ")))
                found[ended] = replace(found[ended], ended_at=row.at, answered_by=answers)
    return (
        replace(alert, answered_by=now[alert.key].answered_by) if alert.ended_at is None and alert.key in now else alert
        for alert in found
    )
