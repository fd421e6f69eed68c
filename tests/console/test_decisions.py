"""What the console tells of one decision, from a tick of the journal."""

from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.console.decisions import about, expected, mattered, saw, whole
from tenfold.deciders import Decided, Memory
from tenfold.effects import Decision
from tenfold.facts import (
    EngineSeen,
    EngineState,
    ForecastSeen,
    GatewaySeen,
    InstanceSeen,
    InstanceState,
    LinkSeen,
    PoolSeen,
    RegionSeen,
    ReplicaRole,
    ReplicaSeen,
    Snapshot,
    TaskSeen,
    TaskState,
    WorkSeen,
)
from tenfold.loop import Entry, Journal, JournalReader
from tenfold.model import Model, Region, Service

MODEL = Model("shop", {"web": Service("web", "serve")}, {"local": Region("local")})
POOL = "web@local"
NOW = 6_000.0
QUANTILES = ((90.0, 90.0, 90.0, 90.0), (100.0, 110.0, 120.0, 100.0), (120.0, 150.0, 140.0, 130.0))
FORECAST = ForecastSeen(
    f"{POOL}.requests_per_s", NOW - 30, 101.0, (60.0, 120.0, 300.0, 600.0), (0.05, 0.5, 0.975), QUANTILES
)
WEB = InstanceSeen("web-1", "web", "local", "r1", InstanceState.READY, NOW, NOW, NOW)
SNAPSHOT = Snapshot(
    NOW,
    instances={
        "web-1": WEB,
        "web-2": replace(WEB, id="web-2", state=InstanceState.STARTING),
        "job-1": replace(WEB, id="job-1", service="job"),
    },
    engines={
        "gateway/local": EngineSeen("gateway", "local", EngineState.READY, NOW, NOW),
        "postgres/local": EngineSeen("postgres", "local", EngineState.READY, NOW, NOW),
    },
    gateways={"local": GatewaySeen("local", "digest", NOW), "entry": GatewaySeen("entry", "digest", NOW)},
    pools={POOL: PoolSeen("web", "local", NOW, 100.0)},
    regions={"local": RegionSeen("local", NOW)},
    links={"local>other": LinkSeen("local", "other", NOW), "a>b": LinkSeen("a", "b", NOW)},
    replicas={"postgres/local": ReplicaSeen("postgres", "local", ReplicaRole.PRIMARY, NOW)},
    tasks={"r1-nightly": TaskSeen("r1-nightly", "schedule", "nightly", "r1", TaskState.RUNNING, NOW, NOW)},
    forecasts={
        FORECAST.key: FORECAST,
        "web@local2.requests_per_s": replace(FORECAST, series="web@local2.requests_per_s"),
    },
    works={POOL: WorkSeen("web", "local", NOW - 30, start_s=100.0)},
)


@pytest.mark.parametrize(
    ("subject", "keys"),
    [
        (POOL, [POOL, "web-1", "web-2", FORECAST.key, POOL]),
        ("instance/web-1", ["web-1", POOL]),
        ("instance/web-9", []),
        ("engine/postgres/local", ["postgres/local", "postgres/local"]),
        ("region/local", ["local", "local", "gateway/local", "postgres/local", "local>other"]),
        ("routes/local", ["local", "gateway/local"]),
        ("routes/entry", ["entry", "local"]),
        ("task/r1-nightly", ["r1-nightly"]),
        ("nightly", ["r1-nightly"]),
        ("alert/availability/critical", []),
        ("", []),
    ],
)
def test_the_facts_about_a_subject(subject: str, keys: list[str]) -> None:
    """All that concerns it, whatever its kind, and nothing of its neighbours."""
    assert [fact.key for fact in about(SNAPSHOT, subject)] == keys


def test_the_horizons_that_mattered() -> None:
    """From when an instance that is asked for now would serve: the first one, and the highest from there on; beyond them the last."""
    assert mattered(FORECAST, SNAPSHOT, POOL) == (2,)
    assert mattered(FORECAST, replace(SNAPSHOT, works={}), POOL) == (1,)
    assert mattered(FORECAST, replace(SNAPSHOT, works={}, taken_at=NOW - 30), POOL) == (0, 1)
    assert mattered(FORECAST, replace(SNAPSHOT, taken_at=NOW + 9999), POOL) == (3,)
    assert mattered(replace(FORECAST, horizons_s=(), quantiles=((), (), ())), SNAPSHOT, POOL) == ()


def test_a_forecast_in_words() -> None:
    """What is now, and at each horizon the middle with the other bounds."""
    assert expected(FORECAST, (1,)) == "101 now; in 2 min 110 (5%: 90, 97.5%: 150)"
    assert expected(FORECAST, ()) == "101 now"
    many = replace(FORECAST, levels=(0.05, 0.5, 0.9, 0.95, 0.998), quantiles=(*QUANTILES, *QUANTILES[1:]))
    assert expected(many, (1,)) == "101 now; in 2 min 110 (5%: 90, 95%: 110, 99.8%: 150)"


def test_a_decision_with_its_clamps(tmp_path: Path) -> None:
    """Its clamps in their order, how sure it was, and what was expected at the horizons that mattered."""
    journal = Journal(tmp_path / "journal.db")
    journal.open()
    made = Decision("d1", "scale", POOL, (), "because", ("fact",), ("floor: 4 instead of 3", "at most 3"), 0.9)
    journal.append(Entry(MODEL, SNAPSHOT, Decided((made,), (), Memory(decisions=1))))
    journal.close()
    with JournalReader(tmp_path / "journal.db") as reader:
        found = whole(reader, "d1")
        tick = reader.tick(1)
    assert found is not None and tick is not None
    assert (found.clamps, found.confidence_ratio) == (["floor: 4 instead of 3", "at most 3"], 0.9)
    assert found.saw["expected requests_per_s"] == "101 now; in 5 min 120 (5%: 90, 97.5%: 140)"
    assert found.saw["instances"] == "1 ready, 1 starting"
    assert saw(tick, "region/local")["engine"] != {}
