"""What the loop writes, every command reads: whole ticks, decisions with their reasons, requests and their answers."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenfold.deciders import Decided, Memory
from tenfold.effects import AnswerRequest, Decision, Outcome, Receipt, Rejection, StopInstance
from tenfold.facts import DeployRequest, DownRequest, Snapshot
from tenfold.loop import Desk, Entry, Journal, JournalError, JournalMissing, JournalReader, Note, Retention, tidy
from tenfold.loop.journal import KEYFRAME_TICKS
from tenfold.loop.upkeep import SEGMENT_TICKS
from tenfold.model import Model, Release

Fill = Callable[..., None]
MODEL = Model("shop", {}, {})


@pytest.fixture
def journal(path: Path) -> Any:
    """An open journal, empty."""
    made = Journal(path)
    made.open()
    yield made
    made.close()


def test_every_tick_comes_back_whole(journal: Journal, path: Path, fill: Fill) -> None:
    """Ticks between keyframes are rebuilt from changes: each has its own snapshot, memory and decisions."""
    fill(journal, 2 * KEYFRAME_TICKS + 7, effects=lambda i: (StopInstance(f"web-{i}", 1.0),) if i % 10 == 0 else ())
    with JournalReader(path) as reader:
        ticks = list(reader.ticks(1, 10**9))
    assert [t.seq for t in ticks] == list(range(1, 2 * KEYFRAME_TICKS + 8))
    for i, tick in enumerate(ticks):
        assert tick.snapshot.taken_at == tick.at == 1000.0 + i
        assert tick.snapshot.instances["web-1"].seen_at == float(i)
        assert (tick.memory_before.decisions, tick.memory.decisions) == (i, i + 1)
        assert [d.why for d in tick.decisions] == ([f"tick {i}"] if i % 10 == 0 else [])


def test_any_tick_can_be_read_alone(journal: Journal, path: Path, fill: Fill) -> None:
    """A single tick, sealed or not, is the same as in a walk over all of them; the newest is found at once."""
    fill(journal, SEGMENT_TICKS + 3 * KEYFRAME_TICKS)
    assert tidy(path, Retention()).sealed == 1
    with JournalReader(path) as reader:
        assert reader.span() == (1, journal.seq)
        walk = {t.seq: t for t in reader.ticks(1, journal.seq)}
        for seq in (1, 59, 60, 61, 299, 300, 301, 360, 361, journal.seq):
            assert reader.tick(seq) == walk[seq]
        assert reader.latest() == walk[journal.seq]
        assert reader.tick(journal.seq + 1) is None
        assert reader.at(1000.0 + 100.5) == 101
        assert reader.at(1000.0 + 400.0) == 401
        assert reader.at(1e12) == journal.seq
        assert reader.at(999.0) is None


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_restart_goes_on_from_the_last_memory(
    tmp_path_factory: pytest.TempPathFactory, fill: Fill, data: st.DataObject
) -> None:
    """However many ticks were written before it was closed, a journal opened again has the last memory and goes on counting."""
    path = tmp_path_factory.mktemp("restart") / "journal.db"
    total = 0
    for _ in range(data.draw(st.integers(1, 3))):
        journal = Journal(path)
        journal.open()
        assert journal.memory == Memory(decisions=total)
        assert journal.seq == total
        ticks = data.draw(st.integers(0, 2 * KEYFRAME_TICKS))
        fill(journal, ticks)
        total += ticks
        journal.close()
    with JournalReader(path) as reader:
        assert [t.memory.decisions for t in reader.ticks(1, total)] == list(range(1, total + 1))


def test_decisions_receipts_notes_and_rejections(journal: Journal, path: Path) -> None:
    """A decision is found by its id, with how its orders ended; what was turned down stands beside it; notes are kept."""
    stop = StopInstance("web-1", 5.0)
    decided = Decided(
        (Decision("d1", "scale", "web@local", (stop,), "load fell"),), (Rejection(stop, "d2", "no"),), Memory()
    )
    journal.append(Entry(MODEL, journal.seen(Snapshot(5.0)), decided, notes=[Note(4.0, "the clock jumped")]))
    receipt = Receipt(stop.key, Outcome.UNKNOWN, 6.0, "no answer")
    journal.append(Entry(MODEL, journal.seen(Snapshot(6.0)), Decided((), (), Memory()), receipts=[(receipt, "d1")]))
    with JournalReader(path) as reader:
        found = reader.find_decision("d1")
        assert found is not None and (found.tick, found.at, found.decision) == (1, 5.0, decided.decisions[0])
        assert reader.find_decision("d9") is None
        assert [r.receipt for r in reader.receipts("d1")] == [receipt]
        assert [r.tick for r in reader.receipts_since(1)] == [2]
        assert [d.decision.id for d in reader.decisions()] == ["d1"]
        assert reader.decisions(after_tick=1) == []
        assert reader.notes() == [Note(4.0, "the clock jumped")]
        first = reader.tick(1)
        assert first is not None and first.rejected == decided.rejected
        assert reader.model(first.model) == MODEL


def test_a_request_waits_until_it_is_answered(journal: Journal, path: Path, release: Release) -> None:
    """Another process hands in a deploy; the loop sees it and its release, answers, and the other reads the answer."""
    desk = Desk(path)
    assert journal.requests() == {} and journal.releases() == {}
    request = DeployRequest("q1", 10.0, release)
    desk.append(request)
    assert journal.changed()
    assert journal.requests() == {"q1": request}
    assert not journal.changed()
    assert journal.releases() == {"r1": release}
    answer = AnswerRequest("q1", True, "r1 serves")
    decision = Decision("d1", "release", "release", (answer,), "it is ready")
    with JournalReader(path) as reader:
        assert reader.answer("q1") is None
        journal.append(Entry(MODEL, journal.seen(Snapshot(11.0)), Decided((decision,), (), Memory())))
        told = reader.answer("q1")
        assert told is not None and (told.ok, told.text, told.at) == (True, "r1 serves", 11.0)
        assert journal.requests() == {}
        assert [(r.request, r.answer) for r in reader.requests()] == [(request, told)]
        assert list(reader.releases()) == ["r1"]
        journal.append(Entry(MODEL, journal.seen(Snapshot(12.0)), Decided((), (), Memory()), removed=["r1"]))
        assert journal.releases() == {} and reader.releases() == {}
        assert list(reader.releases(with_removed=True)) == ["r1"]
    with pytest.raises(JournalError, match="made before"):
        desk.append(request)


def test_requests_stay_in_the_order_they_were_made(journal: Journal, path: Path) -> None:
    """A clock that was set back between two requests does not change which came first."""
    for number, at in enumerate((100.0, 50.0, 75.0)):
        Desk(path).append(DownRequest(f"q{number}", at))
    assert list(journal.requests()) == ["q0", "q1", "q2"]
    with JournalReader(path) as reader:
        assert [r.request.id for r in reader.requests(limit=2)] == ["q1", "q2"]


def test_a_request_nobody_takes_is_withdrawn(journal: Journal, path: Path) -> None:
    """A command that finds no loop takes its request back, once, and an answer that was given stays."""
    desk = Desk(path)
    desk.append(DownRequest("q1", 1.0))
    desk.withdraw("q1", 2.0, "nothing runs")
    desk.withdraw("q1", 3.0, "again")
    assert journal.requests() == {}
    with JournalReader(path) as reader:
        told = reader.answer("q1")
    assert told is not None and (told.ok, told.text) == (False, "nothing runs")


def test_minute_history_has_gaps_where_nothing_was_seen(journal: Journal, path: Path) -> None:
    """A window is a row of minutes; those without a figure are None, never zero."""
    minutes = {
        (100, "web@local.in_flight"): 2.5,
        (102, "web@local.in_flight"): 4.0,
        (101, "worker@local.in_flight"): 1.0,
    }
    journal.append(Entry(MODEL, journal.seen(Snapshot(1.0)), Decided((), (), Memory()), minutes=minutes))
    with JournalReader(path) as reader:
        window = reader.window(6000.0, 6240.0, "web@local.")
        assert (window.start, window.step_s) == (6000.0, 60.0)
        assert window.series == {"web@local.in_flight": (2.5, None, 4.0, None)}
        assert len(reader.window(6000.0, 6240.0).series) == 2


def test_age_and_size_bound_what_is_kept(journal: Journal, path: Path, fill: Fill) -> None:
    """Old segments go by age, oldest segments go by size, with their decisions; the newest tick and the memory always stay."""
    effects = lambda i: (StopInstance(f"web-{i}", 1.0),)  # noqa: E731
    fill(journal, 4 * SEGMENT_TICKS + KEYFRAME_TICKS + 1, effects=effects)
    assert tidy(path, Retention()).dropped == 0
    assert tidy(path, Retention(age_s=2.5 * SEGMENT_TICKS)).dropped == 1
    with JournalReader(path) as reader:
        span = reader.span()
        assert span == (SEGMENT_TICKS + 1, journal.seq)
        assert reader.decisions(limit=10**6)[0].tick == SEGMENT_TICKS + 1
    small = Retention(size_bytes=200_000)
    for _ in range(5):
        fill(journal, SEGMENT_TICKS, at=5000.0, effects=effects)
        tidied = tidy(path, small)
    assert tidied.dropped > 0
    with JournalReader(path) as reader:
        span = reader.span()
        assert span is not None and span[1] == journal.seq and span[0] > 4 * SEGMENT_TICKS
        latest = reader.latest()
        assert latest is not None and latest.memory == journal.memory
        ticks = list(reader.ticks(*span))
        assert [t.seq for t in ticks] == list(range(span[0], span[1] + 1))
    journal.close()
    reopened = Journal(path)
    reopened.open()
    assert reopened.memory == journal.memory
    reopened.close()


def test_what_forecasts_rest_on_is_kept_for_long(journal: Journal, path: Path, fill: Fill) -> None:
    """Traffic, what apps post and service levels stay for a month; what nobody looks back at goes with its week."""
    long = ("web@local.requests_per_s", "web@local:concurrent_users", "levels.requests")
    short = ("web@local.in_flight", "web@local.cpu_cores_each", "postgres/local.connections", "spend.per_hour")
    now = 60 * 86_400.0
    days = (40, 31, 29, 8, 6)
    minutes = {(int((now - day * 86_400) // 60), series): 1.0 for day in days for series in (*long, *short)}
    journal.append(Entry(MODEL, journal.seen(Snapshot(now - 8 * 86_400)), Decided((), (), Memory()), minutes=minutes))
    fill(journal, 2 * SEGMENT_TICKS, at=now - 8 * 86_400)
    fill(journal, SEGMENT_TICKS, at=now)
    assert tidy(path, Retention()).dropped > 0
    with JournalReader(path) as reader:
        kept = reader.minutes(0.0, now)
    ages = {
        series: [round((now / 60 - minute) / 1440) for minute, name, _ in kept if name == series]
        for series in (*long, *short)
    }
    assert ages == {**{series: [29, 8, 6] for series in long}, **{series: [6] for series in short}}


def test_the_file_stays_below_its_bound_however_long_it_runs(journal: Journal, path: Path, fill: Fill) -> None:
    """Written and tidied each minute for hours, the journal's files together never exceed the bound."""
    bound = Retention(size_bytes=3_000_000)
    see = lambda i: Snapshot(0.0, observed={f"source-{k}": hash((i, k)) / 7 for k in range(40)})  # noqa: E731
    sizes = []
    for minute in range(120):
        fill(journal, 60, at=60.0 * minute, see=see)
        tidy(path, bound)
        sizes.append(sum(f.stat().st_size for f in path.parent.glob("journal.db*") if not f.name.endswith("-shm")))
    assert max(sizes) <= bound.size_bytes
    with JournalReader(path) as reader:
        span = reader.span()
        assert span is not None and span[0] > 1


def test_a_model_is_kept_as_long_as_its_ticks(journal: Journal, path: Path, fill: Fill) -> None:
    """When the last tick that was decided by a model is dropped, the model goes too; the one in use stays."""
    old = replace(MODEL, name="old")
    journal.append(Entry(old, journal.seen(Snapshot(1.0)), Decided((), (), Memory())))
    fill(journal, 2 * SEGMENT_TICKS)
    with JournalReader(path) as reader:
        first, latest = reader.tick(1), reader.latest()
        assert first is not None and latest is not None and reader.model(first.model) == old
        assert tidy(path, Retention(age_s=SEGMENT_TICKS / 2)).dropped == 1
        assert reader.model(first.model) is None
        assert reader.model(latest.model) is not None


def test_no_journal_is_not_an_error_of_the_journal(path: Path) -> None:
    """Where nothing ran yet, the sentence says how to begin."""
    with pytest.raises(JournalMissing, match="tenfold up"):
        JournalReader(path)


def test_a_journal_that_is_about_to_be_made(path: Path) -> None:
    """Who looks while the first control plane makes the file finds nothing there yet, not a foreign file."""
    path.touch()
    with pytest.raises(JournalMissing, match="tenfold up"):
        JournalReader(path)
    begun = sqlite3.connect(path, isolation_level=None)
    begun.execute("PRAGMA journal_mode=WAL")
    with pytest.raises(JournalMissing, match="tenfold up"):
        JournalReader(path)
    begun.close()
