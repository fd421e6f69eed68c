"""Forecasts in the journal: what they cost, and that journals from before there were any are read as ever."""

import math
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from tenfold.deciders import Decided, Memory
from tenfold.effects import Decision
from tenfold.estimators.forecast.batch import LEVELS
from tenfold.estimators.forecast.fit import HORIZONS
from tenfold.facts import ForecastSeen, Snapshot, WorkSeen
from tenfold.loop import Entry, Journal, JournalReader, tidy
from tenfold.loop.codec import pack, unpack
from tenfold.loop.tick import NOTHING, State
from tenfold.model import Model, Region, Service

SEED = 5
MODEL = Model("shop", {"web": Service("web", "serve")}, {"local": Region("local")})
BEGUN = 29_000_000 * 60.0
HORIZONS_S = tuple(60.0 * minute for minute in HORIZONS)
FIGURES = (".requests_per_s", ":queue")
"""What is forecast of a pool with a posted metric; of most pools it is the first alone."""
DAY_S = 86_400.0


def foretold(random: Random, minute: int, pools: int) -> Mapping[str, Any]:
    """What is expected of so many pools in a minute, and what their requests take: every figure new, to the last digit."""
    forecasts, works = {}, {}
    for n in range(pools):
        works[f"svc{n}@local"] = WorkSeen(f"svc{n}", "local", minute * 60.0, random.random(), random.random(), 40.0)
        for figure in FIGURES:
            usual = 100 * (1.1 + math.sin(minute / 200 + n)) + random.random()
            rows = [sorted(usual * random.gauss(1, 0.1) for _ in LEVELS) for _ in HORIZONS_S]
            series = f"svc{n}@local{figure}"
            quantiles = tuple(tuple(row[i] for row in rows) for i in range(len(LEVELS)))
            forecasts[series] = ForecastSeen(
                series, minute * 60.0, usual, HORIZONS_S, LEVELS, quantiles, 9 * DAY_S, "days and weeks", usual
            )
    return {"forecasts": forecasts, "works": works}


def bytes_a_day(path: Path, pools: int, minutes: int) -> float:
    """By how much a journal grows each day that has only these forecasts in it, once it is sealed."""
    journal, random, used = Journal(path), Random(SEED), []
    journal.open()
    for second in range(minutes * 60):
        if second % 60 == 0:
            known = foretold(random, int(BEGUN // 60) + second // 60, pools)
        if second % 300 == 0:
            used.append(tidy(path).used_bytes)
        snapshot = journal.seen(Snapshot(BEGUN + second, epoch=1, **known))
        journal.append(Entry(MODEL, snapshot, Decided((), (), journal.memory)))
    journal.close()
    return (used[-1] - used[len(used) // 2]) / ((len(used) - 1 - len(used) // 2) * 300) * DAY_S


def test_twenty_pools_leave_room_in_the_journal(tmp_path: Path) -> None:
    """One pool costs less than 5 MB a day and twenty less than 45 MB, with two series each, all quantiles and all horizons."""
    # Measured: 3.3 and 34. In the seven days that are kept the latter is a quarter of the gigabyte.
    assert bytes_a_day(tmp_path / "one.db", 1, 40) < 5e6
    assert bytes_a_day(tmp_path / "twenty.db", 20, 40) < 45e6


def test_between_minutes_they_cost_nothing() -> None:
    """A tick in which no forecast changed is as short as one without any; one in which they all changed tells only figures."""
    before, after = (Snapshot(BEGUN + i, **foretold(Random(SEED + i), 1, 20)) for i in (0, 1))
    state = State(NOTHING.seen(before), Memory())
    same = state.seen(replace(before, taken_at=BEGUN + 1))
    assert len(state.body(same, Memory(), (), False)) <= len(
        State(Snapshot(BEGUN), Memory()).body(Snapshot(BEGUN + 1), Memory(), (), False)
    )
    figures = 20 * len(FIGURES) * len(LEVELS) * len(HORIZONS_S)
    changed = state.body(state.seen(after), Memory(), (), False)
    assert 9 * figures < len(changed) < 13 * figures, "nine bytes a figure, and where it stands"


def test_a_forecast_that_changes_in_part_is_told_in_part() -> None:
    """The newest value of a series costs no quantiles, and what goes or comes costs nothing of the others."""
    known = foretold(Random(SEED), 1, 20)
    state = State(NOTHING.seen(Snapshot(BEGUN, **known)), Memory())
    (name, first), *_ = known["forecasts"].items()
    newer = {**known["forecasts"], name: replace(first, value=7.0, seen_at=first.seen_at + 60.0)}
    fewer = {key: fact for key, fact in known["forecasts"].items() if key != name}
    for forecasts in (newer, fewer):
        snapshot = state.seen(replace(state.snapshot, forecasts=forecasts))
        assert snapshot.forecasts == forecasts
        assert len(state.body(snapshot, Memory(), (), False)) < 120


def test_a_journal_of_before_is_read(tmp_path: Path) -> None:
    """Ticks and decisions without forecasts, clamps and confidence have none, are as sure as what is seen, and can be gone on from."""
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.open()
    decided = Decided((Decision("d1", "scale", "web@local", (), "because", ("a fact",)),), (), Memory(decisions=1))
    journal.append(Entry(MODEL, Snapshot(BEGUN, epoch=1), decided))
    journal.close()
    with sqlite3.connect(path) as db:
        for seq, body in db.execute("SELECT seq, body FROM ticks").fetchall():
            plain = unpack(body)
            for name in ("forecasts", "works"):
                del plain["s"][name]
            db.execute("UPDATE ticks SET body = ? WHERE seq = ?", (pack(plain), seq))
        for n, body in db.execute("SELECT n, body FROM decisions").fetchall():
            plain = unpack(body)
            for name in ("clamps", "confidence_ratio"):
                del plain[name]
            db.execute("UPDATE decisions SET body = ? WHERE n = ?", (pack(plain), n))
    journal.open()
    known = foretold(Random(SEED), 1, 1)
    snapshot = journal.seen(Snapshot(BEGUN + 1, epoch=1, **known))
    sure = replace(decided.decisions[0], id="d2", clamps=("at most 3",), confidence_ratio=0.8)
    journal.append(Entry(MODEL, snapshot, Decided((sure,), (), journal.memory)))
    journal.close()
    with JournalReader(path) as reader:
        before, after = reader.ticks(1, 2)
        assert (before.snapshot.forecasts, before.snapshot.works, before.decisions) == ({}, {}, decided.decisions)
        assert before.decisions[0].confidence_ratio == 1.0
        assert after.snapshot.forecasts == known["forecasts"]
        assert after.decisions == (sure,)


def test_a_forecast_of_before_its_usual_was_told_is_read(tmp_path: Path) -> None:
    """A journal with forecasts of an older Tenfold is no damaged one."""
    path, known = tmp_path / "journal.db", foretold(Random(SEED), 1, 1)
    journal = Journal(path)
    journal.open()
    journal.append(Entry(MODEL, journal.seen(Snapshot(BEGUN, epoch=1, **known)), Decided((), (), Memory())))
    journal.close()
    with sqlite3.connect(path) as db:
        ((seq, body),) = db.execute("SELECT seq, body FROM ticks").fetchall()
        plain = unpack(body)
        for forecast in plain["s"]["forecasts"].values():
            del forecast["usual"]
        db.execute("UPDATE ticks SET body = ? WHERE seq = ?", (pack(plain), seq))
    with JournalReader(path) as reader:
        latest = reader.latest()
        assert latest is not None
        assert latest.snapshot.forecasts == {key: replace(fact, usual=0.0) for key, fact in known["forecasts"].items()}
