"""Minutes of what stores do and what all costs, beside those of pools."""

from dataclasses import replace

import pytest

from tenfold.estimators.minutes import Minutes
from tenfold.facts import ColdStartSeen, InstanceSeen, InstanceState, MetricSeen, Snapshot, SpendSeen, StoreSeen

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


def test_cold_starts_are_counted_where_they_happen() -> None:
    """A minute has how many cold starts there were in it, and the longest wait; one without has neither; who begins to count anew begins
    from nothing."""
    seen = ColdStartSeen("web", "local", START, waiting=3, arrived_at=START)
    first = replace(seen, waiting=0, starts=1, held=3, wait_ms_p50=900.0, wait_ms_max=1500.0)
    anew = replace(first, starts=2, wait_ms_max=700.0)
    steps = ((0, seen), (1, first), (2, first), (30, anew), (61, anew), (122, replace(anew, starts=1)), (200, anew))
    minutes = Minutes()
    for second, fact in steps:
        minutes.add(Snapshot(START + second, cold_starts={fact.key: fact}))
    found = {series: value for (minute, series), value in minutes.due.items() if minute == START // 60}
    assert found == {"web@local.cold_starts": 2.0, "web@local.cold_wait_ms_max": 700.0}
    assert not [minute for minute, _ in minutes.due if minute == START // 60 + 1]
    assert minutes.due[int(START // 60) + 2, "web@local.cold_starts"] == 1.0


def test_a_start_is_timed_where_it_is_seen_to_begin_and_to_end() -> None:
    """From its start until it is ready; of several in a minute the slowest counts, one that was there before or fails does not."""
    starting = InstanceSeen("web-1", "web", "local", "r1", InstanceState.STARTING, START - 8, START - 8, START)
    other = replace(starting, id="web-2", started_at=START - 20, since=START - 20)
    fails = replace(starting, id="web-3")
    there = replace(starting, id="web-4", state=InstanceState.READY, started_at=START - 500, since=START - 90)
    ready = replace(starting, state=InstanceState.READY, since=START + 3.5)
    found = minutes_of(
        processes(START, starting, other, fails, there),
        processes(START + 4, ready, other, fails, there),
        processes(
            START + 5,
            ready,
            replace(other, state=InstanceState.READY, since=START + 5),
            replace(fails, state=InstanceState.EXITED),
        ),
        processes(START + 6, ready, replace(other, state=InstanceState.READY, since=START + 5)),
    )
    assert found["web@local.start_s"] == 25.0
    assert "web@local.start_s" not in minutes_of(processes(START, there), processes(START + 1, there))


def test_processor_time_of_starting_up_is_not_load() -> None:
    """What an instance uses while it starts and within a quarter of a minute of being ready is in no mean."""
    hot = InstanceSeen("web-1", "web", "local", "r1", InstanceState.READY, START - 2, START - 9, START, cpu_cores=1.0)
    warm = replace(hot, id="web-2", since=START - 60, cpu_cores=0.2)
    starts = replace(hot, id="web-3", state=InstanceState.STARTING)
    found = minutes_of(processes(START, hot, warm, starts), processes(START + 12.9, hot, warm, starts))
    assert found["web@local.cpu_cores_each"] == pytest.approx(0.2)
    assert "web@local.cpu_cores_each" not in minutes_of(processes(START, hot, starts))
    later = minutes_of(processes(START + 13, hot))
    assert later["web@local.cpu_cores_each"] == 1.0


def processes(at: float, *instances: InstanceSeen) -> Snapshot:
    """A look at the processes."""
    return Snapshot(at, observed={"process": at}, instances={seen.id: seen for seen in instances})


def test_a_sum_that_lacks_a_share_is_left_out() -> None:
    """While one that serves has ceased to post its share, the minute has the seconds before; of one that ended nothing is missing."""
    serving = InstanceSeen("web-1", "web", "local", "r1", InstanceState.READY, START - 90, START - 80, START)
    whole = MetricSeen("web", "local", "queue", 300.0, START)
    seen = {serving.id: serving}
    steps = ((whole, seen), (replace(whole, value=200.0, silent=("web-1",)), seen))
    assert minutes_of(*(Snapshot(START + i, instances=i_, metrics={m.key: m}) for i, (m, i_) in enumerate(steps))) == {
        "web@local:queue": 300.0
    }
    ended = ((whole, seen), (replace(whole, value=200.0, silent=("web-9",)), seen))
    assert minutes_of(*(Snapshot(START + i, instances=i_, metrics={m.key: m}) for i, (m, i_) in enumerate(ended))) == {
        "web@local:queue": 250.0
    }
