"""`tenfold measure` and `tenfold plan --users` as a person calls them: wrong calls, a database of one's own."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenfold.blueprint import load
from tenfold.drivers.capacity import keep_capacities
from tenfold.drivers.releases import source_digest
from tenfold.facts import CapacitySeen
from tenfold.proof.measure import stores_of_ones_own

Place = Any

SCENARIOS = """
scenarios:
  browse: {think: 5s, actions: {look: {share: 100%, requests: [GET /, 'GET /env?name=PATH']}}}
"""


@pytest.fixture
def elsewhere(place: Place) -> Iterator[Path]:
    """Where copies are made: nothing may be left in it."""
    with tempfile.TemporaryDirectory(prefix="tf-") as name:
        place.env["TMPDIR"] = name
        yield Path(name)


def test_wrong_calls_say_what_to_change(place: Place, elsewhere: Path) -> None:
    """A scenario, service, latency or number that is none ends at once with what there is."""
    place.app()
    worker = "{command: sleep 1000, http: false}"
    place.write(
        "tenfold.yaml", f"name: shop\nservices:\n  web: {{command: python3 app.py}}\n  worker: {worker}\n{SCENARIOS}"
    )
    calls = (
        (("--scenario", "office"), "there is no scenario office; there are: browse"),
        (("--service", "api"), "there is no service api; there are: web, worker"),
        (("--service", "worker"), "the scenario browse asks nothing of worker: choose among web"),
        (("--latency", "fast"), "--latency fast: expected a duration"),
        (("--instances", "1,x"), "--instances 1,x: write numbers from 1 to 64 with commas between them, as in 1,2,4"),
        (("--instances", "0"), "--instances 0: write numbers"),
    )
    for ended, (_, said) in zip(place.run_all(*(("measure", *words) for words, _ in calls)), calls, strict=True):
        ended.failed(2, said)
    assert not list(elsewhere.glob("tenfold-measure-*"))


def test_a_database_of_ones_own_is_not_filled_by_a_load(place: Place, elsewhere: Path) -> None:
    """However a copy would be led to it, every way is named; the command refuses and says how to go on."""
    place.app()
    place.write(".env", "COLOUR=red\nexport DATABASE_URL='postgres://db.example/shop'\n")
    place.write(".env.example", "OTHER_URL=postgres://db.example/shop\n")
    place.blueprint("", "env: {MONGO: 'mongodb://db.example/shop', PLAIN: 'http://db.example'}\nsecrets: [STORE]")
    environ = {"STORE": "rediss://db.example", "DATABASE_URL": "postgresql://db.example", "HTTP_URL": "http://x"}
    place.env.update(environ)
    ways = "env.MONGO, $DATABASE_URL, secret STORE, .env: DATABASE_URL"
    place.run("measure").failed(1, f"{ways} leads to a database of your own", "--with-own-database")
    assert not list(elsewhere.glob("tenfold-measure-*"))
    ours = load(
        b"name: shop\nservices: {web: {command: x}}\ndata: {url: 'postgres://db.example'}", name="", default_name=""
    )
    assert "data.url" in stores_of_ones_own(ours, place.project, {})
    embedded = load(b"name: shop\nservices: {web: {command: x}}\ndata: {}", name="", default_name="")
    assert stores_of_ones_own(embedded, place.project, environ) == (), "Tenfold sets what leads to its own"


def test_plan_for_users_tells_what_it_rests_on(place: Place) -> None:
    """First by a class of work, then by what was measured, and when the source has changed since, that is said."""
    place.app()
    place.blueprint("", SCENARIOS)
    place.run("plan", "--users", "1000").went_well("1,000 users under the scenario browse", "medium work (not measured")
    digest = source_digest(place.project, (), False)
    held = CapacitySeen("web", "browse", digest, 50.0, 9.0, 130.0, 500.0, 60.0, 1.0, 1.0, 2, {}, "python3 app.py")
    keep_capacities(place.project, [held])
    ended = place.run("plan", "--users", "1000").went_well(
        "10 instances, but 4 are allowed", "breaks first, at 416 users", "was measured to hold within 500 ms"
    )
    assert "measured with another" not in ended.text
    data = json.loads(place.run("plan", "--users", "100", "--json").went_well().out)
    assert (data["needs"][0]["instances"], data["breaks"], data["work"]) == (1, [], None)
    place.blueprint("scaling: {instances: {max: 12}}", SCENARIOS)
    place.run("plan", "--users", "1000").went_well("10 instances, of at most 12")
    place.app("two")
    place.run("plan", "--users", "1000").went_well("web was measured with another source or command")


def test_a_damaged_measurement_is_said_and_ignored(place: Place) -> None:
    """The plan goes on by the blueprint's word."""
    place.app()
    place.blueprint("", SCENARIOS)
    place.write(".tenfold/capacity.json", "{")
    place.run("plan", "--users", "10").went_well("capacity.json is damaged: it is ignored until", "not measured")
