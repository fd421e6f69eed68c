"""`explain --replay` over the journal of a false world: whether a decision comes out equal, what it saw, and what would have been."""

import json
import re
import sqlite3
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tenfold.cli import explain, explainview
from tenfold.cli.here import Here
from tenfold.console.decisions import about
from tenfold.deciders import Decided, Memory, decide
from tenfold.drivers.project import Project
from tenfold.effects import Decision, Outcome, Receipt
from tenfold.effects.faults import Kill
from tenfold.facts import CapacitySeen, ForecastSeen, MetricSeen, RequestTrace, Snapshot, SpendSeen, UpRequest, WorkSeen
from tenfold.loop import Entry, Journal, JournalReader
from tenfold.model import Forecast, Model, Region, Release, Scaling, Service, Trigger
from tenfold.sim import Behaviour, Simulation, World
from tenfold.sim.rates import steps

POOL = "web@local"
SERIES = f"{POOL}.requests_per_s"
WEB = Service(
    "web", "serve", paths=("/",), scaling=Scaling(2, 3, (Trigger("concurrency", 20, 10),), forecast=Forecast())
)
MODEL = Model("shop", {"web": WEB}, {"local": Region("local")})
RISES_S = 120.0


class Told:
    """A project's folder whose journal is written, and `explain` called in it."""

    def __init__(self, root: Path) -> None:
        self.here = Here(root, "tenfold.yaml", None)
        self.journal = Project(root.resolve(), root.name).journal
        self.journal.parent.mkdir(parents=True)

    def call(self, *words: str) -> Result:
        """Call `explain`; a line is as long as it likes."""
        return CliRunner().invoke(explain.explain_command, words, obj=self.here, env={"COLUMNS": "500"})

    def decision(self, by: str, subject: str = "") -> Decision:
        """The first decision of `by`."""
        with JournalReader(self.journal) as reader:
            rows = reader.decisions(limit=1000)
        return next(r.decision for r in rows if r.decision.by == by and subject in r.decision.subject)


def seen(snapshot: Snapshot) -> Snapshot:
    """`snapshot` with everything that may be known of a pool."""
    minute = snapshot.taken_at // 60 * 60
    quantiles = ((90.0, 90.0, 90.0), (100.0, 110.0, 120.0), (120.0, 150.0, 140.0))
    forecast = ForecastSeen(
        SERIES, minute, 101.0, (60.0, 120.0, 600.0), (0.05, 0.5, 0.975), quantiles, 9 * 86_400.0, "days and weeks"
    )
    capacity = CapacitySeen("web", "all", "other", 80.0, 5.0, 0.0, 50.0, 90.0, 0.0, minute, limited_by="the processor")
    return replace(
        snapshot,
        forecasts={
            SERIES: forecast,
            "other@local.requests_per_s": replace(forecast, series="other@local.requests_per_s"),
        },
        works={POOL: WorkSeen("web", "local", minute, 0.06, 0.001, 21.0)},
        capacities={capacity.key: capacity},
        metrics={f"{POOL}:queue": MetricSeen("web", "local", "queue", 12.0, snapshot.taken_at)},
        spend={"month": SpendSeen("USD", 0.08, 3.1, 31.2, minute, 9000.0, "", minute)},
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A pool that would take four instances at first and may have three; later one of them dies."""
    made = Told(tmp_path_factory.mktemp("shop"))
    journal = Journal(made.journal)
    journal.open()

    def brain(model: Model, snapshot: Snapshot, memory: Memory) -> Decided:
        snapshot = journal.seen(seen(snapshot))
        decided = decide(model, snapshot, memory)
        receipts = [(Receipt(r.key, Outcome(r.outcome), r.at, r.note), "") for r in snapshot.receipts.values()]
        journal.append(Entry(model, snapshot, decided, receipts))
        return decided

    rates = {POOL: steps((0, 100.0), (RISES_S, 1200.0))}
    web = Behaviour(cpu_ms=1, wait_ms=60, start_s=20.0)
    world = World(MODEL, 1, rates=rates, behaviours={"web": web}, step_s=1.0)
    simulation = Simulation(world, brain)
    simulation.ask(UpRequest("up", world.clock.now(), Release("r1", MODEL.services, "source", 0.0)))
    simulation.run(RISES_S + 60.0)
    world.inflict(Kill("web-1"))
    simulation.run(60.0)
    journal.close()
    return made


def test_a_decision_comes_out_equal(told: Told) -> None:
    """It is said, with the facts that were seen of its subject alone, their ages, the memory, and what would have been."""
    made = told.decision("scale")
    done = told.call(made.id, "--replay")
    assert done.exit_code == 0, done.output
    text = done.output
    assert made.why in text
    assert "decided again from the journal: equal, to the last digit" in text
    assert re.search(r"instances: 2 ready  \(\d\.\d s old\)", text)
    assert f"forecast of {SERIES}: 101 now; in 10 min 120 (5%: 90, 97.5%: 140)" in text
    assert "(days and weeks, from 9 days of history)" in text
    assert "other@local" not in text
    assert "work web@local: busy s 0.06, cpu s 0.001, start s 21" in text
    assert "queue: 12" in text and "limited by the processor" in text and "per hour 0.08" in text
    assert "scale: wanted 2" in text
    assert "errors per s 0" in text and "refused at" not in text, "a zero was seen; what never was is not told"
    assert re.search(r"as decided: 3 instances, and .* above target \(concurrency 20 per instance\)", text)
    assert re.search(r"without the blueprint's maximum: 4 instances.*; 0\.\d+ USD more", text)
    assert "without the forecast" in text
    assert "an instance more serves after 21 s" in text


def test_programs_get_it_whole(told: Told) -> None:
    """Every fact with its kind and age, the memory, and each course with its seconds and its cost."""
    made = told.decision("scale")
    replay = json.loads(told.call(made.id, "--replay", "--json").output)["replay"]
    assert (replay["equal"], replay["differences"]) == (True, [])
    kinds = {fact["fact"] for fact in replay["saw"]}
    assert {"PoolSeen", "InstanceSeen", "ForecastSeen", "WorkSeen", "CapacitySeen", "MetricSeen", "SpendSeen"} <= kinds
    forecast = next(fact for fact in replay["saw"] if fact["fact"] == "ForecastSeen")
    assert len(forecast["quantiles"]) == 3 and forecast["age_s"] >= 0
    assert replay["remembered"]["scale"]["wanted"] == 2
    found = replay["counterfactual"]
    assert found["as_decided"]["wanted"] == 3
    maximum = found["without"]["the blueprint's maximum"]
    assert maximum["wanted"] == 4 and maximum["above_s"] < found["as_decided"]["above_s"]
    assert maximum["cost"] > found["as_decided"]["cost"] > 0
    assert found["until"] > found["since"] and found["ended_by"] in ("journal", "next")
    assert "replay" not in json.loads(told.call(made.id, "--json").output)


def test_every_decision_of_every_decider_can_be_replayed(told: Told) -> None:
    """All of them come out equal and say what they saw; only numbers of instances have a counterfactual."""
    with JournalReader(told.journal) as reader:
        rows = reader.decisions(limit=1000)
        assert len({row.decision.by for row in rows}) >= 4
        for row in rows:
            made = explainview.replayed(reader, row)
            assert made.again.is_equal, row.decision
            assert (made.what_if is not None) == (row.decision.by == "scale")
            json.dumps(explainview.as_data(made))
            tick = made.again.tick
            is_there = row.decision.subject.split("/")[0] in ("instance", "routes") or "@" in row.decision.subject
            assert not is_there or about(tick.snapshot, row.decision.subject) or row.decision.by == "heal"


def other_brain(why: str, model: Model, snapshot: Snapshot, memory: Memory) -> Decided:
    """A later program, which says something else."""
    decided = decide(model, snapshot, memory)
    return replace(decided, decisions=tuple(replace(d, why=why) for d in decided.decisions))


def test_one_that_comes_out_otherwise(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs is said, with both values, and the exit code is 1; for programs too."""
    made = told.decision("heal")
    monkeypatch.setattr(explainview, "decide", partial(other_brain, "because"))
    done = told.call(made.id, "--replay")
    assert done.exit_code == 1
    assert "it comes out otherwise" in done.output
    assert f'{made.id}.why: "{made.why}" became "because"' in done.output
    done = told.call(made.id, "--replay", "--json")
    assert done.exit_code == 1
    replay = json.loads(done.output)["replay"]
    assert not replay["equal"] and replay["differences"]


def test_what_is_no_decision_is_refused(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance, a person's request, a request to the edge: each names the decision behind it; what nobody knows is said as ever."""
    for name in ("web-1", "up"):
        done = told.call(name, "--replay")
        assert done.exit_code == 1
        behind = re.search(r"only decisions are decided again: `tenfold explain (d\d+) --replay`", done.output)
        assert behind and told.call(behind.group(1), "--replay").exit_code == 0
    routed = told.decision("route")
    trace = RequestTrace("req", 1.0, "GET", "/", 200, "web", "", "local", "/", 1, 150.0, decision=routed.id)
    monkeypatch.setattr(explain, "find_request", lambda project, id_: trace if id_ == "req" else None)
    done = told.call("req", "--replay")
    assert done.exit_code == 1 and f"`tenfold explain {routed.id} --replay`" in done.output
    assert "no decision, request or instance d99999 is kept" in told.call("d99999", "--replay").output


def test_a_journal_that_lacks_something(tmp_path: Path) -> None:
    """A tick, or the blueprint it was decided by, that is not kept any more is said in a sentence; what the decision itself
    tells, with its bounds, is there all the same."""
    made = Told(tmp_path / "shop")
    journal = Journal(made.journal)
    journal.open()
    decision = Decision("d1", "scale", POOL, (), "because", (), ("floor: 4 instead of 3", "at most 3"), 0.985)
    for at in (1000.0, 1001.0):
        journal.append(Entry(MODEL, Snapshot(at, epoch=1), Decided((decision,), (), Memory(decisions=1))))
    journal.close()
    with sqlite3.connect(made.journal) as db:
        db.execute("DELETE FROM models")
    done = made.call("d1", "--replay")
    assert done.exit_code == 1
    assert "d1 can't be decided again: the journal lacks the blueprint that tick 2 was decided by" in done.output
    with sqlite3.connect(made.journal) as db:
        db.execute("DELETE FROM ticks")
    done = made.call("d1", "--replay")
    assert done.exit_code == 1
    assert "d1 can't be decided again: tick 2 is not kept any more" in done.output
    text = made.call("d1").output
    assert "what each bound made of it\n  floor: 4 instead of 3\n  at most 3\n" in text
    assert "how sure it was\n  98.5% that it is needed" in text
