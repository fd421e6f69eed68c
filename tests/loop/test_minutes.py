"""Minutes of what stores do and what all costs, beside those of pools."""

from dataclasses import replace

from tenfold.estimators.minutes import Minutes
from tenfold.facts import Snapshot, SpendSeen, StoreSeen

START = 1_750_000_020.0 // 60 * 60


def minutes_of(*snapshots: Snapshot) -> dict[str, float]:
    """The series of the first minute."""
    minutes = Minutes()
    for snapshot in (*snapshots, Snapshot(START + 61)):
        minutes.add(snapshot)
    return {series: value for (minute, series), value in minutes.due.items() if minute == START // 60}


def test_stores_and_spend() -> None:
    """A minute has the means of what was seen; a store that did nothing has no mean time, one that is not seen nothing at all."""
    busy = StoreSeen("postgres", "local", START, 100.0, 3.0, 8)
    idle = replace(busy, seen_at=START + 1, transactions_per_s=0.0, busy_ms_mean=None)
    spend = {"month": SpendSeen("USD", 0.5, 1.0, 2.0, START, 60.0, "", START)}
    found = minutes_of(
        Snapshot(START, stores={busy.key: busy}, spend=spend),
        Snapshot(START + 1, stores={busy.key: idle}, spend=spend),
        Snapshot(START + 30, stores={busy.key: idle}, spend=spend),
    )
    assert found == {
        "postgres/local.transactions_per_s": 50.0,
        "postgres/local.busy_ms_mean": 3.0,
        "postgres/local.connections": 8.0,
        "spend.per_hour": 0.5,
    }
