"""`explain` over the journal of a false world with several regions, one of which was lost: requests, and what was decided of them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tenfold.cli import explain, routing
from tenfold.cli.here import Here
from tenfold.deciders import Decided, Memory, decide, settled
from tenfold.drivers.project import Project
from tenfold.effects import Decision, PublishEntry
from tenfold.effects.faults import Kill
from tenfold.facts import RequestTrace, Snapshot, UpRequest
from tenfold.loop import Entry, Journal
from tenfold.model import EntryTable, Model, Region, Release, ResidencyRule, Service, Targets, Way
from tenfold.sim import Simulation, World, constant

WEB = Service("web", "serve {port}", paths=("/",))
MODEL = Model(
    "shop",
    {"web": WEB},
    {
        "eu": Region("eu", (50.4, 3.8), 3000, residency="eu"),
        "us": Region("us", (41.3, -95.9), 3000),
        "au": Region("au", (-37.8, 144.9), 4000),
    },
    targets=Targets(concurrent_users=10_000, throughput_rps=1000.0),
    residency={"eu": ResidencyRule("eu", tenants=("acme",))},
)
LOST_S = 30.0


class Told:
    """What was written down, and where: the decisions in order with when they were made."""

    def __init__(self, root: Path) -> None:
        self.here = Here(root, "tenfold.yaml", None)
        self.decisions: list[tuple[float, Decision]] = []
        self.lost_at = self.end_at = 0.0

    def entry_decision(self, is_it: Callable[[Decision], bool]) -> Decision:
        """The first one that gave the entry a table and is the one."""
        return next(d for _, d in self.decisions if any(isinstance(e, PublishEntry) for e in d.effects) and is_it(d))

    def call(self, *words: str) -> Result:
        """Call `explain`."""
        done = CliRunner().invoke(explain.explain_command, words, obj=self.here, env={"COLUMNS": "140"})
        assert done.exit_code == 0, done.output
        return done


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A run of a minute in which us is lost, all of it in a journal."""
    made = Told(tmp_path_factory.mktemp("shop"))
    project = Project(made.here.directory.resolve(), "shop")
    project.journal.parent.mkdir(parents=True)
    journal = Journal(project.journal)
    journal.open()

    def brain(model: Model, snapshot: Snapshot, memory: Memory) -> Decided:
        decided = decide(model, snapshot, memory)
        journal.append(Entry(model, snapshot, decided))
        made.decisions += [(snapshot.taken_at, decision) for decision in decided.decisions]
        return decided

    world = World(MODEL, 1, rates={f"web@{region}": constant(40.0) for region in MODEL.regions})
    simulation = Simulation(world, brain)
    simulation.ask(UpRequest("up", world.clock.now(), Release("r1", MODEL.services, "digest", 0.0)))
    simulation.run_until(lambda: "up" in simulation.answers and settled(simulation.memory), 120.0)
    simulation.run(10.0)
    made.lost_at = world.clock.now()
    world.inflict(Kill("region/us", LOST_S))
    simulation.run(10.0)
    made.end_at = world.clock.now()
    journal.close()
    return made


def trace(at: float, region: str, decision: str, **more: Any) -> RequestTrace:
    """A request of a client near us that `region` answered."""
    made = RequestTrace(
        "req", at, "GET", "/", 200, "web", "", region, "/", 1, 150.0,
        upstream_ms=20.0, origin="us", origin_by="place", entry_attempts=1, entry_decision=decision, network_ms=110.0,
    )  # fmt: skip
    return replace(made, **more)


def explained(told: Told, monkeypatch: pytest.MonkeyPatch, asked: RequestTrace) -> tuple[str, Any]:
    """What a person and a program are told of a request."""
    monkeypatch.setattr(explain, "find_request", lambda project, id_: asked)
    return told.call("req").output, json.loads(told.call("req", "--json").output)


def test_a_request_to_the_nearest(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the client is and how that is known, the region and why, the others, and where the time went."""
    first = told.entry_decision(lambda d: "clients near us go to us" in d.why)
    text, data = explained(told, monkeypatch, trace(told.lost_at - 1, "us", first.id))
    assert "near us: a trusted sender told where the client is" in text
    assert "us: it is the nearest that may serve it" in text
    assert "us (went there)" in text and "7,191 km" in text and "spare" in text
    assert "110.0 ms on the way to the region and back" in text and "20.0 ms at the edge" in text
    assert f"{first.id}: " in text
    assert data["why_there"] == "it is the nearest that may serve it"
    assert [each["region"] for each in data["regions"]] == ["us", "eu", "au"]
    assert data["way_by"] == first.why


def test_a_request_when_the_nearest_is_lost(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the entry knew, a spare answered at the second try; afterwards the way led elsewhere, and why is said."""
    first = told.entry_decision(lambda d: "clients near us go to us" in d.why)
    text, _ = explained(told, monkeypatch, trace(told.lost_at, "eu", first.id, entry_attempts=2))
    assert "eu: a try at us failed, and eu was the next that could serve it" in text
    assert "2 at regions; 1 at instances" in text
    away = told.entry_decision(lambda d: "us is out" in d.why)
    text, data = explained(told, monkeypatch, trace(told.end_at - 1, "eu", away.id))
    assert "us is nearer but was out: its gateway ended" in text
    assert next(each for each in data["regions"] if each["region"] == "us")["state"] == "out"


def test_a_request_bound_to_a_residency(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who must stay in eu are told so, and why no other region was asked."""
    first = told.entry_decision(lambda d: "clients near us go to us" in d.why)
    text, data = explained(told, monkeypatch, trace(told.lost_at - 1, "eu", first.id, residency="eu"))
    assert "eu: it must be served in eu; it is the nearest that may serve it" in text
    assert {each["why_not"] for each in data["regions"] if each["region"] != "eu"} == {"is not under eu"}


def test_a_request_that_nobody_may_serve(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resident who was refused is told why, and not that nothing is served at the path."""
    first = told.entry_decision(lambda d: "clients near us go to us" in d.why)
    refused = {"status": 503, "service": "", "residency": "us", "entry_attempts": 0, "attempts": 0, "network_ms": None}
    ways = EntryTable("eu", ways=(Way("us", "us", ()),))
    decision = replace(first, effects=(PublishEntry(ways, "digest"),))
    monkeypatch.setattr(routing, "entry_table", lambda decision_: ways if decision_ is not None else None)
    text, data = explained(told, monkeypatch, trace(told.lost_at - 1, "", decision.id, **refused))
    assert "none: it was refused: it must be served in us, and no region there could serve" in text
    assert "none: no gateway answered" in text and "0 at regions; 0 at instances" in text
    assert {each["why_not"] for each in data["regions"]} == {"is not under us"}


def test_a_request_whose_decision_is_not_kept(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways as they were remembered at its moment explain it; before all memory only the log's own words are left."""
    text, data = explained(told, monkeypatch, trace(told.lost_at - 1, "us", "d99999"))
    assert data["why_there"] == "it is the nearest that may serve it" and data["way_by"] is None
    text, data = explained(told, monkeypatch, trace(1.0, "us", "d99999"))
    assert "why_there" not in data and "near us" in text


def test_a_request_with_one_region_is_told_as_ever(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an entry nothing is said of clients, regions and ways."""
    alone = trace(told.lost_at - 1, "us", "", origin="", origin_by="", network_ms=None)
    text, data = explained(told, monkeypatch, alone)
    assert "tries       1" in text and "130.0 ms at the edge" in text
    assert not {"near", "nearest", "way"} & set(text.replace(",", " ").split())
    assert set(data) == {"request", "routed_by", "instance_started_by"}


def test_decisions_tell_what_they_moved(told: Told) -> None:
    """That a region is out, with the signal that showed it; and, of the entry's table, who goes where instead of where."""
    out = next(d for _, d in told.decisions if d.subject == "region/us" and "taken out" in d.why)
    assert "its gateway ended" in told.call(out.id).output
    away = told.entry_decision(lambda d: "us is out" in d.why)
    text = told.call(away.id).output
    assert "it moved" in text and "clients near us: us 100% -> " in text
    assert "clients near eu" not in text.partition("it moved")[2], "what stays is not told"
    assert any(
        each.startswith("clients near us: us 100% -> ")
        for each in json.loads(told.call(away.id, "--json").output)["moved"]
    )
    assert "moved" not in json.loads(told.call(out.id, "--json").output)
