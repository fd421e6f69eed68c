"""Decisions as the page shows them: a list, and one of them with all that is kept of it. Stage: journal -> contract."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from tenfold.console.contract import DecisionNow, DecisionWhole, EffectNow, RejectionNow
from tenfold.console.timeline import effect_text, told
from tenfold.effects import Effect, Receipt
from tenfold.facts import ForecastSeen, Snapshot
from tenfold.facts.seen import Fact
from tenfold.loop import DecisionRow, JournalReader, Tick

MINUTE_S = 60.0
MIDDLE = 0.5
"""The quantile that is as often above as below."""
USUAL = 0.95
"""The bound that plans go by where the blueprint names none."""


def shown(reader: JournalReader, rows: Iterable[DecisionRow]) -> list[DecisionNow]:
    """Decisions of the journal as the page lists them, in their order."""
    rows = list(rows)
    ends, rejected = reader.outcomes([r.decision.id for r in rows]), reader.rejections(r.tick for r in rows)
    return [told(r.at, r.decision, ends.get(r.decision.id, {}), rejected.get(r.decision.id, 0)) for r in rows]


def whole(reader: JournalReader, id_: str) -> DecisionWhole | None:
    """A decision with all that is kept of it; None when it is not kept."""
    row = reader.find_decision(id_)
    if row is None:
        return None
    decision, tick = row.decision, reader.tick(row.tick)
    ends = {each.receipt.key: each.receipt for each in reader.receipts(id_)}
    return DecisionWhole(
        id=decision.id,
        at=row.at,
        by=decision.by,
        subject=decision.subject,
        why=decision.why,
        facts=list(decision.facts),
        clamps=list(decision.clamps),
        confidence_ratio=decision.confidence_ratio,
        effects=[_ended(effect, ends.get(effect.key)) for effect in decision.effects],
        rejected=[
            RejectionNow(effect_text(rejection.effect), rejection.why)
            for rejection in (tick.rejected if tick is not None else ())
            if rejection.decision == id_
        ],
        saw=saw(tick, decision.subject) if tick is not None else {},
    )


def _ended(effect: Effect, receipt: Receipt | None) -> EffectNow:
    if receipt is None:
        return EffectNow(effect_text(effect), "pending", "", None)
    return EffectNow(effect_text(effect), str(receipt.outcome), receipt.note, receipt.at)


def saw(tick: Tick, subject: str) -> dict[str, object]:
    """The figures about `subject` (`web@local`, `instance/web-3`, `region/west`, `engine/postgres/west`) in a tick, by what they tell."""
    snapshot = tick.snapshot
    key = subject if "@" in subject else subject.partition("/")[2]
    places = {
        "traffic": snapshot.pools, "instance": snapshot.instances, "engine": snapshot.engines, "replica": snapshot.replicas,
        "store": snapshot.stores, "seen from the entry": snapshot.regions, "gateway": snapshot.gateways, "task": snapshot.tasks,
        "objective": snapshot.objectives, "anomaly": snapshot.anomalies, "work": snapshot.works,
    }  # fmt: skip
    found: dict[str, object] = {
        name: msgspec.to_builtins(fact) for name, facts in places.items() if (fact := facts.get(key)) is not None
    }
    for metric in snapshot.metrics.values():
        if f"{metric.service}@{metric.region}" == key:
            found[metric.name] = metric.value
    if states := Counter(str(i.state) for i in snapshot.instances.values() if f"{i.service}@{i.region}" == key):
        found["instances"] = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    for fact in snapshot.forecasts.values():
        if is_of_pool(fact.series, key):
            found[f"expected {fact.series[len(key) + 1 :]}"] = expected(fact, mattered(fact, snapshot, key))
    if subject.startswith("region/") and (gateway := snapshot.engines.get(f"gateway/{key}")) is not None:
        found["engine"] = msgspec.to_builtins(gateway)
    return found


def is_of_pool(series: str, pool: str) -> bool:
    """True for a series of `pool`: a figure of its own (`web@local.requests_per_s`) or what its app posts (`web@local:users`)."""
    return series.startswith((f"{pool}.", f"{pool}:"))


def mattered(forecast: ForecastSeen, snapshot: Snapshot, pool: str) -> tuple[int, ...]:
    """Which horizons (by index) matter to a decision about `pool`: the first whole minute that an instance asked for now would serve, and
    of those from there on the one that may be the highest."""
    work = snapshot.works.get(pool)
    start_s = (work.start_s or 0.0) if work is not None else 0.0
    ready_s = snapshot.taken_at + start_s - forecast.seen_at + MINUTE_S
    there = [i for i, horizon_s in enumerate(forecast.horizons_s) if horizon_s >= ready_s]
    there = there or list(range(len(forecast.horizons_s)))[-1:]
    if not there or not forecast.quantiles:
        return ()
    return tuple(sorted({there[0], max(there, key=lambda i: (forecast.quantiles[-1][i], -i))}))


def expected(forecast: ForecastSeen, horizons: Iterable[int]) -> str:
    """A forecast in words: `212 now; in 2 min 240 (5%: 200, 95%: 300)`, at these horizons, by index. Of many bounds the outermost are told,
    and the one that plans go by."""
    bounds = dict(zip(forecast.levels, forecast.quantiles, strict=True))
    usual = min(bounds, key=lambda level: abs(level - USUAL))
    told = [level for level in sorted({min(bounds), usual, max(bounds)}) if level != MIDDLE]
    parts = [f"{forecast.value:.3g} now"]
    for i in horizons:
        others = ", ".join(f"{level * 100:.3g}%: {bounds[level][i]:.3g}" for level in told)
        parts.append(f"in {forecast.horizons_s[i] / 60:.3g} min {bounds[MIDDLE][i]:.3g} ({others})")
    return "; ".join(parts)


def about(snapshot: Snapshot, subject: str) -> tuple[Fact, ...]:
    """Every fact of `snapshot` that concerns `subject`, whatever its kind; most telling first."""
    if "@" in subject:
        return _about_pool(snapshot, subject)
    kind, _, key = subject.partition("/")
    match kind:
        case "instance":
            instance = snapshot.instances.get(key)
            pool = f"{instance.service}@{instance.region}" if instance is not None else ""
            return _of(key, snapshot.instances) + _of(pool, snapshot.pools)
        case "engine":
            return _of(key, snapshot.engines, snapshot.replicas, snapshot.stores)
        case "region":
            links = tuple(link for link in snapshot.links.values() if key in (link.origin, link.region))
            replicas = tuple(replica for replica in snapshot.replicas.values() if replica.region == key)
            gateway = _of(f"gateway/{key}", snapshot.engines)
            return _of(key, snapshot.regions, snapshot.gateways) + gateway + replicas + links
        case "routes":
            regions = tuple(snapshot.regions.values()) if key == "entry" else ()
            return _of(key, snapshot.gateways) + _of(f"gateway/{key}", snapshot.engines) + regions
        case "alert":
            name, _, rest = key.partition("/")
            return _of(name, snapshot.objectives) + _of(rest, snapshot.anomalies) + _of(key, snapshot.stores)
        case "release" | "releases":
            return tuple(snapshot.releases.values()) + tuple(snapshot.tasks.values())
        case _:
            tasks = tuple(task for task in snapshot.tasks.values() if task.service == subject)
            return _of(key, snapshot.tasks) or tasks


def _about_pool(snapshot: Snapshot, pool: str) -> tuple[Fact, ...]:
    mine = [fact for fact in snapshot.instances.values() if f"{fact.service}@{fact.region}" == pool]
    return (
        *_of(pool, snapshot.pools),
        *(fact for key, fact in snapshot.metrics.items() if is_of_pool(key, pool)),
        *mine,
        *_of(pool, snapshot.cold_starts),
        *(fact for fact in snapshot.forecasts.values() if is_of_pool(fact.series, pool)),
        *(fact for fact in snapshot.anomalies.values() if is_of_pool(fact.series, pool)),
        *_of(pool, snapshot.works),
        *(fact for fact in snapshot.capacities.values() if fact.service == pool.partition("@")[0]),
        *snapshot.spend.values(),
    )


def _of(key: str, *places: Mapping[str, Fact]) -> tuple[Fact, ...]:
    return tuple(place[key] for place in places if key in place)
