"""What the console answers: the present, the past, decisions, and what people ask for."""

import asyncio
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from tenfold.console.history import POINTS_MAX, SECONDS_MAX, Span, history
from tenfold.console.openapi import document
from tenfold.console.routes import ROUTES
from tenfold.effects.faults import Kill
from tenfold.loop import JournalReader
from tests.console.conftest import BEARER, Here, Maker


async def test_one_look_tells_how_it_is(here: Here) -> None:
    """The state holds what runs, how fast it is and a sentence that sums it up."""
    status, state = await here.ask("/api/state")
    assert status == 200
    assert state["live"]
    assert state["health"]["is_well"], state["health"]
    assert state["health"]["sentence"].startswith("well: 2 of 2 instances serve")
    assert [i["state"] for i in state["instances"]] == ["ready", "ready"]
    assert state["regions"][0]["state"] == "serving"
    assert state["release"]["serving"] == "r-7f3a"
    assert 20 < state["summary"]["requests_per_s"] < 60
    targets = {t["name"]: t for t in state["targets"]}
    assert targets["latency p95"]["is_met"] is True
    assert targets["concurrent users"]["is_met"] is None


async def test_a_lost_region_is_told_with_who_serves_its_clients(spread: Here) -> None:
    """Not well, which region, why, and where its clients go; once it is back, well again."""
    spread.world.world.inflict(Kill("region/north", 20.0))
    spread.step(8)
    _, state = await spread.ask("/api/state")
    assert not state["health"]["is_well"]
    assert state["health"]["sentence"].startswith("not well: region north is out: its gateway ended")
    assert "its clients are served by west" in state["health"]["sentence"]
    north = next(r for r in state["regions"] if r["name"] == "north")
    assert (north["state"], [w["to"] for w in north["ways"]]) == ("out", ["west"])
    assert any(d["by"] == "failover" and d["subject"] == "region/north" for d in state["decisions"])
    spread.step(90)
    _, state = await spread.ask("/api/state")
    assert state["health"]["is_well"], state["health"]


async def test_the_past_is_as_it_was(here: Here) -> None:
    """A moment of the past gives the tick of that moment, from the journal; a moment before the first tick gives a sentence."""
    with JournalReader(here.journal.path) as reader:
        span = reader.span()
        assert span is not None
        tick = reader.tick(span[1] - 30)
    assert tick is not None
    status, state = await here.ask(f"/api/state?at={tick.at + 0.5}")
    assert (status, state["seq"], state["live"]) == (200, tick.seq, False)
    again = await here.ask(f"/api/state?at={tick.at + 0.5}")
    assert again == (status, state)
    status, trouble = await here.ask("/api/state?at=1")
    assert status == 404
    assert "/api/span" in trouble["error"]
    _, covered = await here.ask("/api/span")
    assert covered["first_at"] < tick.at < covered["last_at"]


async def test_the_past_and_the_present_tell_the_same(here: Here) -> None:
    """The newest tick from the journal is the state that was shown live, but for being live."""
    here.step(3)
    _, now = await here.ask("/api/state")
    _, then = await here.ask(f"/api/state?at={now['at']}")
    assert {**now, "live": False} == then


@pytest.mark.parametrize("at", ["", "nan", "inf", "-1", "1e400", "later", "1;drop", "1e12"])
async def test_what_is_no_moment_is_refused(here: Here, at: str) -> None:
    """Text, infinities and moments beyond all time get a sentence, not a trace."""
    status, trouble = await here.ask("/api/state", params={"at": at})
    assert status == 400
    assert trouble["error"].startswith("at: expected seconds since the epoch")


async def test_history_by_seconds_and_by_minutes(spread: Here) -> None:
    """The same figures for a few minutes by seconds and for a day by minutes, each region's beside the sum of all."""
    _, covered = await spread.ask("/api/span")
    end = covered["last_at"]
    _, seconds = await spread.ask(f"/api/history?from={end - 30}&to={end}&points=30")
    assert seconds["step_s"] == 1.0
    rates = [r for r in seconds["series"]["requests_per_s"] if r is not None]
    assert len(rates) > 20
    assert 80 < sum(rates) / len(rates) < 160
    parts = [seconds["series"][f"region:{name}:requests_per_s"][10] for name in ("west", "north", "south")]
    assert sum(parts) == pytest.approx(seconds["series"]["requests_per_s"][10], abs=0.1)
    spread.step(130)
    _, day = await spread.ask(f"/api/history?from={end - 86400}&to={end + 130}&points=1440")
    assert day["step_s"] % 60 == 0
    assert len(day["series"]["requests_per_s"]) <= 1441
    known = [r for r in day["series"]["requests_per_s"] if r is not None]
    assert known and all(80 < r < 160 for r in known[1:])
    assert {"p50_ms", "p95_ms", "users", "instances"} <= day["series"].keys()


@pytest.mark.parametrize(
    "query", ["from=5&to=4", "points=0", "points=100000", "points=1.5", "points=x", "from=nan", "to=-1", "points=٣"]
)
async def test_history_that_makes_no_sense_is_refused(here: Here, query: str) -> None:
    """No number of points and no span can make the console do more than it is made for."""
    assert (await here.ask(f"/api/history?{query}"))[0] == 400


async def test_all_time_at_once_is_bounded(here: Here) -> None:
    """From the beginning of the epoch to the end of time: an answer of so many points, quickly."""
    status, found = await here.ask(f"/api/history?from=0&to=99999999999&points={POINTS_MAX}")
    assert status == 200
    assert all(len(series) <= POINTS_MAX + 1 for series in found["series"].values())


@given(st.floats(0, 1e11), st.floats(0.001, 1e11), st.integers(1, POINTS_MAX))
def test_a_span_has_no_more_points_than_asked_for(start: float, length_s: float, points: int) -> None:
    """Whatever is asked for: whole steps, no more than asked (and one for the edges), the whole of the span covered."""
    span = Span.of(start, start + length_s, points)
    assert span.count <= points + 1
    assert span.start <= start
    assert span.start + span.count * span.step_s >= span.end - 1e-3
    assert math.fmod(span.step_s, 1.0 if length_s <= SECONDS_MAX else 60.0) == 0


def test_a_step_in_which_nothing_was_seen_is_none() -> None:
    """Means over each step; what is missing is null and never zero."""
    found = history(
        Span(100.0, 104.0, 1.0), [(100.2, {"a": 1.0}), (100.8, {"a": 3.0}), (103.0, {"b": 5.0}), (99.0, {"a": 9.0})]
    )
    assert found.series == {"a": [2.0, None, None, None], "b": [None, None, None, 5.0]}


async def test_a_decision_opens_into_all_that_is_kept(spread: Here) -> None:
    """Its reason, its effects with how they ended, what was turned down, and the figures of its subject at that tick."""
    spread.world.world.inflict(Kill("region/north", 20.0))
    spread.step(5)
    _, listed = await spread.ask("/api/decisions?limit=20")
    lost = next(d for d in listed if d["subject"] == "region/north")
    status, whole = await spread.ask(f"/api/decisions/{lost['id']}")
    assert status == 200
    assert whole["why"] == lost["why"]
    assert whole["facts"]
    assert whole["saw"]["engine"]["state"] == "exited"
    started = next(d for d in listed if any(e.startswith("start ") for e in d["effects"]))
    _, whole = await spread.ask(f"/api/decisions/{started['id']}")
    assert whole["effects"][0]["outcome"] in ("done", "pending")
    assert (await spread.ask("/api/decisions/d999999"))[0] == 404


async def test_older_decisions_page_by_page(here: Here) -> None:
    """Each page begins where the last one ended, until the first decision of all."""
    _, page = await here.ask("/api/decisions?limit=2")
    seen = [d["id"] for d in page]
    while page:
        _, page = await here.ask(f"/api/decisions?limit=2&before={seen[-1]}")
        seen += [d["id"] for d in page]
    assert seen == [f"d{n}" for n in range(len(seen), 0, -1)]
    assert (await here.ask("/api/decisions?before=d99999"))[0] == 404


async def test_a_person_drains_by_the_page(here: Here) -> None:
    """What was asked for is journalled with who asked, and its answer can be looked up; what can't be done is a sentence at once."""
    asked = asyncio.ensure_future(here.act("drain", {"subject": "web-9"}))
    await _stepped_until_done(here, asked)
    assert asked.result() == (409, {"error": "there is no instance web-9; there are: web-1, web-2"})
    asked = asyncio.ensure_future(here.act("drain", {"subject": "web-1"}))
    await _stepped_until_done(here, asked, seconds=1)
    status, body = asked.result()
    assert status == 202
    assert (await here.ask(f"/api/requests/{body['request']}"))[1]["answer"] is None
    here.step(40)
    _, found = await here.ask(f"/api/requests/{body['request']}")
    assert found["answer"]["text"] == "web-1 has ended"
    _, state = await here.ask("/api/state")
    assert any("as asked by console, from 127.0.0.1" in d["why"] for d in state["decisions"])
    assert (await here.ask("/api/requests/nobody"))[0] == 404


async def _stepped_until_done(here: Here, asked: "asyncio.Future[Any]", seconds: int = 30) -> None:
    """Let the loop tick while the console waits for the answer."""
    for _ in range(seconds):
        for _ in range(20):
            await asyncio.sleep(0.01)
            if asked.done():
                return
        here.step()
    await asked


async def test_there_is_nothing_to_purge_yet(here: Here) -> None:
    """An action that can't be done says so."""
    status, body = await here.act("purge", {"paths": ["/"]})
    assert (status, body["error"]) == (409, "the edge keeps no answers yet, so there is nothing to purge")


@pytest.mark.parametrize("body", [{}, {"subject": 5}, {"subject": "web-1", "force": True}, [], "web-1"])
async def test_a_body_that_is_none_is_refused(here: Here, body: object) -> None:
    """What is missing, of another type, or unknown is named."""
    status, trouble = await here.act("drain", body)
    assert status == 400
    assert trouble["error"].startswith("the body is not what is expected")


async def test_over_a_stopped_projects_journal_nothing_is_done(make: Maker) -> None:
    """The page shows its past, says that it is not live, and takes no wishes and no metrics."""
    here = await make(is_live=False)
    _, state = await here.ask("/api/state")
    assert not state["live"]
    assert state["summary"]["instances_ready"] == 2
    assert (await here.act("rollback", {}))[0] == 409
    assert (await here.send("POST", "/api/metrics", json={}))[0] == 409
    assert (await here.ask("/api/health"))[0] == 503
    assert (await here.ask("/api/metrics"))[0] == 503
    here.world.step()
    _, later = await here.ask("/api/state")
    assert later["seq"] == state["seq"] + 1


def test_the_document_is_openapi_and_holds_every_route() -> None:
    """OpenAPI 3.1 by its own validator; each route of the API is in it, and nothing else."""
    made = json.loads(json.dumps(document()))
    validate(made)
    listed = {(method.upper(), path) for path, methods in made["paths"].items() for method in methods}
    assert listed == {(route.method, route.path) for route in ROUTES if not route.is_page}


async def test_what_is_answered_is_what_the_document_says(spread: Here) -> None:
    """Every JSON answer fits the schema that the document gives for it."""
    import jsonschema

    _, made = await spread.ask("/openapi.json")
    _, listed = await spread.ask("/api/decisions")
    answers = {
        "/api/state": "/api/state",
        "/api/span": "/api/span",
        "/api/health": "/api/health",
        "/api/history": "/api/history?points=10",
        "/api/decisions": "/api/decisions",
        "/api/decisions/{id}": f"/api/decisions/{listed[0]['id']}",
    }
    for path, asked in answers.items():
        _, body = await spread.ask(asked)
        schema = made["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(body, {**schema, "components": made["components"]})


async def test_what_is_not_there_is_told(here: Here) -> None:
    """An unknown route of the API is a sentence, a wrong method too."""
    status, body = await here.ask("/api/nothing")
    assert (status, body["error"]) == (404, "there is no GET /api/nothing: see /openapi.json")
    assert (await here.send("DELETE", "/api/state", headers=BEARER))[0] == 405
