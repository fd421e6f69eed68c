"""Decisions as the page shows them: a list, and one of them with all that is kept of it. Stage: journal -> contract."""

from collections.abc import Iterable

import msgspec

from tenfold.console.contract import DecisionNow, DecisionWhole, EffectNow, RejectionNow
from tenfold.console.timeline import effect_text, told
from tenfold.effects import Effect, Receipt
from tenfold.loop import DecisionRow, JournalReader, Tick


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
    """The facts about `subject` (`web@local`, `instance/web-3`, `region/west`, `engine/postgres/west`) in a tick, by what they tell."""
    snapshot = tick.snapshot
    key = subject if "@" in subject else subject.partition("/")[2]
    places = {
        "traffic": snapshot.pools, "instance": snapshot.instances, "engine": snapshot.engines, "replica": snapshot.replicas,
        "store": snapshot.stores, "seen from the entry": snapshot.regions, "gateway": snapshot.gateways, "task": snapshot.tasks,
        "objective": snapshot.objectives, "anomaly": snapshot.anomalies,
    }  # fmt: skip
    found: dict[str, object] = {
        name: msgspec.to_builtins(fact) for name, facts in places.items() if (fact := facts.get(key)) is not None
    }
    for metric in snapshot.metrics.values():
        if f"{metric.service}@{metric.region}" == key:
            found[metric.name] = metric.value
    if subject.startswith("region/") and (gateway := snapshot.engines.get(f"gateway/{key}")) is not None:
        found["engine"] = msgspec.to_builtins(gateway)
    return found
