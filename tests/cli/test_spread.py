"""A project with two regions, up on this machine: where requests go by the place they tell, and what status and explain say of it."""

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tenfold.loop import JournalReader

Place = Any

REGIONS = """
regions:
  eu: {at: [50.4, 3.8], residency: eu}
  us: {at: [41.3, -95.9]}
residency: {eu: {tenants: [acme]}}
"""
PARIS, DENVER = "48.9,2.4", "39.7,-105.0"


@pytest.fixture(scope="module")
def running(shop: Place) -> Iterator[Place]:
    """The shop in two regions, up behind the terminal; down again at the end, with nothing left."""
    rest = f"{REGIONS}\nedge: {{port: {shop.port}, trust: [127.0.0.0/8]}}"
    shop.blueprint("health: {path: /health, every: 1s}", rest, edge=False)
    said = shop.up()
    assert said.out.count("serves at") == 1, "the entry is the one address"
    shop.wait_for(lambda: {r["state"] for r in shop.status()["regions"].values()} == {"serving"}, "both regions")
    yield shop
    shop.run("down").went_well("everything is stopped")
    shop.nothing_runs()


def ask(place: Place, /, **headers: str) -> tuple[str, str]:
    """A request with headers of a trusted sender: the region that answered, and the request's id."""
    named = {f"x-tenfold-{name}": value for name, value in headers.items()}
    request = urllib.request.Request(f"http://127.0.0.1:{place.port}/env?name=TENFOLD_REGION", headers=named)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode(), answer.headers["x-request-id"]


def explained(place: Place, id_: str) -> tuple[str, Any]:
    """What a person and a program are told of a request, once it is in the logs."""
    place.wait_for(lambda: place.run("explain", id_).code == 0, "the access log")
    return place.run("explain", id_).went_well().out, json.loads(place.run("explain", id_, "--json").went_well().out)


def test_requests_go_to_the_nearest_region_and_explain_says_why(running: Place) -> None:
    """By the place that a trusted sender tells; with distance, the other region, and the time on the way."""
    region, id_ = ask(running, place=DENVER)
    assert region == "us"
    text, data = explained(running, id_)
    assert "near us: a trusted sender told where the client is" in text
    assert "us: it is the nearest that may serve it" in text and "7,191 km" in text
    assert data["request"]["region"] == data["request"]["origin"] == "us"
    assert data["request"]["entry_attempts"] == 1 and data["request"]["network_ms"] is not None
    assert ask(running, place=PARIS)[0] == "eu"
    assert ask(running)[0] == "eu", "who tells nothing is near the entry"


def test_residents_stay(running: Place) -> None:
    """A tenant bound to eu is answered there wherever it asks from, and explain names the residency."""
    region, id_ = ask(running, place=DENVER, tenant="acme")
    assert region == "eu"
    text, data = explained(running, id_)
    assert "eu: it must be served in eu" in text
    assert data["request"]["residency"] == "eu"


def test_without_a_secret_nothing_is_started(place: Place) -> None:
    """Not even what votes on who leads; the message names the environment in which to set it."""
    place.app()
    place.blueprint("health: {path: /health}", f"{REGIONS}\nsecrets: [TOKEN]\nenvironments: {{far: {{}}}}")
    place.run("-e", "far", "up").failed(1, "secret TOKEN not set; run: tenfold -e far secrets set TOKEN")
    place.nothing_runs()


def test_ctrl_c_before_anything_is_decided_leaves_nothing_running(place: Place) -> None:
    """Between the first voter and the first decision nobody is there yet who could be asked to go down."""
    place.app()
    place.blueprint("health: {path: /health}", REGIONS)
    voters = place.project.state / "data"
    for step in ("voter-*", "voter-entry"):
        process = place.popen("up")
        place.wait_for(lambda step=step: list(voters.glob(step)), "the voters")
        process.send_signal(signal.SIGINT)
        assert place.end_of(process).code in (0, 1, 130, -signal.SIGINT)
        place.nothing_runs()


def test_status_and_plan_show_the_regions(running: Place) -> None:
    """Each region with its parts and the round trips between them; of the plan, that nothing is left to do."""
    running.wait_for(lambda: len(running.status()["links"]) >= 2, "round trips")
    status = running.status()
    assert status["address"] == f"http://127.0.0.1:{running.port}"
    assert {r: each["instances"]["web"] for r, each in status["regions"].items()} == {
        "eu": {"ready": 1, "wanted": 1},
        "us": {"ready": 1, "wanted": 1},
    }
    assert status["led_from"] == "eu" and status["regions"]["eu"]["serves"] == {"eu": 1.0}
    running.run("status").went_well("round trip, ms", "serves clients near", "leads", "gateway/us", "entry/eu")
    plan = json.loads(running.run("plan", "--json").went_well().out)
    assert plan["steps"] == [] and plan["regions"]["eu"]["has_entry"]


def test_a_region_is_lost(running: Place) -> None:
    """Its gateway killed: requests near it are answered by the other one, status says why it is out, explain who was moved."""
    (pid,) = running.running()["gateway/us"][:1]
    with JournalReader(running.project.journal) as reader:

        def decided(words: str) -> str:
            found = (row.decision for row in reader.decisions() if words in row.decision.why)
            return next((decision.id for decision in found), "")

        os.kill(pid, signal.SIGKILL)
        assert ask(running, place=DENVER)[0] == "eu", "the entry itself tries the next region at once"
        moved = running.wait_for(lambda: decided("(us is out"), "the way round")
        running.wait_for(lambda: reader.receipts(moved), "the entry to take it up")
        region, id_ = ask(running, place=DENVER)
        out = decided("us is taken out")
    assert region == "eu"
    running.run("explain", out).went_well("us is taken out", "its gateway", "by failover")
    running.run("explain", moved).went_well("it moved", "clients near us: us 100% -> eu 100%")
    assert "us is nearer but was out" in explained(running, id_)[0]
