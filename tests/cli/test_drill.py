"""Drills on a small app that runs: what is struck is answered, what was written is there, and what is harmed is mended."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenfold.cli.drill import refuse_production
from tenfold.cli.here import WrongCall
from tenfold.model import Environment, Model, Region
from tenfold.proof.history import read_history

Place = Any

SHELF = """
import http.server, os, sqlite3, signal

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/values"):
            return self.answer(200, "\\n".join(value for (value,) in db().execute("SELECT value FROM shelf")))
        self.answer(200, "shop")

    def do_POST(self):
        value = self.rfile.read(int(self.headers["content-length"])).decode()
        with db() as shelf:
            shelf.execute("INSERT OR IGNORE INTO shelf VALUES (?)", (value,))
        self.answer(201, "kept")

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def db():
    shelf = sqlite3.connect("shelf.db", timeout=5)
    shelf.execute("CREATE TABLE IF NOT EXISTS shelf (value TEXT PRIMARY KEY)")
    return shelf


db()
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
server.daemon_threads = True
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server.serve_forever()
"""
"""An app that keeps what it is given, once."""

REST = """data: {}
scenarios:
  shelf:
    think: 500ms
    actions:
      look: {share: 100%, requests: [GET /]}
    check:
      write: {request: "POST /values {value}", headers: {idempotency-key: "{value}"}}
      read: GET /values
"""
BRIEF = ("--users", "10", "--before", "2")
SAME_PHASES = ("steady", "struck", "detected", "recovered")


@pytest.fixture(scope="module")
def shelf(shop: Place) -> Iterator[Place]:
    """It runs, twice, with its stores; each test leaves it well."""
    shop.write("app.py", SHELF)
    shop.blueprint("health: {path: /, every: 1s}, scaling: {instances: {min: 2, max: 2}}", REST)
    shop.up()
    yield shop
    shop.run("down").went_well()
    shop.nothing_runs()


def drilled(place: Place, name: str, *words: str) -> dict[str, Any]:
    """The result of a drill that shows what it must."""
    ended = place.run("drill", name, "--json", *words)
    found = json.loads(ended.out)
    assert isinstance(found, dict)
    assert found["met"], (found["findings"], found["traffic"], found["writes"])
    ended.went_well()
    return found


def test_every_drill_is_listed_with_what_is_missing(shelf: Place) -> None:
    """Without a name all drills are told, and those that one region can't do say why."""
    said = shelf.run("drill").went_well("instance-kill", "bad-release", "it needs several regions").out
    assert said.count("not here:") == 5
    listed = json.loads(shelf.run("drill", "--json").went_well().out)
    assert [one["name"] for one in listed if not one["can"]] == [
        *("region-kill", "region-freeze", "region-partition", "slow-network", "disk-full")
    ]


@pytest.mark.parametrize("name", ["instance-kill", "database-kill"])
def test_what_is_killed_is_answered_as_in_the_simulator(shelf: Place, name: str) -> None:
    """An instance and PostgreSQL are killed under load: nothing that was acknowledged is lost, and the same decider answers in the same
    order of things as in the simulator."""
    real, sim = drilled(shelf, name, *BRIEF), drilled(shelf, name, "--sim")
    assert real["answered_by"] == sim["answered_by"] == "heal"
    for result in (real, sim):
        names = [phase["name"] for phase in sorted(result["phases"], key=lambda phase: phase["at_s"])]
        assert set(names) == set(SAME_PHASES)
        assert names[:2] == ["steady", "struck"]
    assert real["traffic"]["failed"] == 0
    assert real["writes"]["acknowledged"] > 10
    assert real["writes"]["lost"] == real["writes"]["doubled"] == real["writes"]["phantom"] == []
    history = list(read_history(Path(real["history"])))
    assert sum(o.value != "" for o in history) == real["writes"]["acknowledged"] + real["writes"]["unknown"]
    shelf.run("drill", real["history"]).went_well("0 lost, 0 done twice")
    shelf.run("explain", real["decision"]).went_well(real["subjects"][0])


def test_a_wrong_call_says_what_is_right(shelf: Place) -> None:
    """A name that is none, two loads at once, a region that is not there, a scenario nobody wrote: each is told in a sentence."""
    shelf.run("drill", "earthquake").failed(2, "there is no drill earthquake", "`tenfold drill` lists them")
    shelf.run("drill", "region-kill").failed(1, "it needs several regions")
    shelf.run("drill", "instance-kill", "--users", "5", "--rate", "5").failed(2, "give one")
    shelf.run("drill", "instance-kill", "--region", "mars").failed(2, "there is no region mars")
    shelf.run("drill", "instance-kill", "--scenario", "party").failed(2, "there is no scenario party", "shelf")
    shelf.write(
        "bad.json", json.dumps({"title": "x", "description": "y", "method": [{"provider": {"type": "process"}}]})
    )
    shelf.run("drill", "bad.json").failed(2, "runs a program, which Tenfold does not")


def test_nothing_is_harmed_where_nothing_runs(place: Place) -> None:
    """Without a control plane a drill has nothing to measure, and says how to go on."""
    place.app()
    place.blueprint()
    place.run("drill", "instance-kill").failed(1, "tenfold up")
    place.run("drill", "instance-kill", "--sim").went_well("struck", "met")


def test_production_is_refused_unless_told_twice() -> None:
    """Where people are, a drill is refused with how to do it all the same; elsewhere it is not."""
    model = Model("shop", {}, {"local": Region("local")}, Environment("production", is_production=True))
    with pytest.raises(WrongCall, match="--in-production --i-know"):
        refuse_production(model, is_sure=False)
    refuse_production(model, is_sure=True)
    refuse_production(Model("shop", {}, {"local": Region("local")}), is_sure=False)
