"""Drills that take long, or need networks for the regions: whatever happens to a drill, what it harmed is mended."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tenfold.drivers.procs import read_stat

Place = Any
BRIEF = ("--rate", "20", "--before", "2")
REGIONS = """data: {replicas: 1, synchronous: true, rto: 20s}
regions:
  west:  {at: [0.0, 0.0]}
  east:  {at: [0.0, 47.4]}
  north: {at: [42.3, 23.7]}
"""


@pytest.fixture
def shelf(place: Place) -> Iterator[Place]:
    """The small app, twice, with stores."""
    place.app()
    place.blueprint("health: {path: /, every: 1s}, scaling: {instances: {min: 2, max: 2}}", "data: {}")
    place.up()
    yield place
    place.run("down").went_well()
    place.nothing_runs()


@pytest.fixture
def spread(place: Place) -> Iterator[Place]:
    """The small app in three regions with networks of their own, believed when it is told where a client is."""
    place.app()
    place.blueprint("health: {path: /, every: 1s}, scaling: {instances: {min: 2, max: 2}}", REGIONS, edge=False)
    place.write(
        "tenfold.yaml",
        (place.root / "tenfold.yaml").read_text() + f"edge: {{port: {place.port}, trust: [127.0.0.0/8]}}\n",
    )
    place.run("up", "--detach", "--wan").went_well()
    yield place
    place.run("down").went_well()
    place.nothing_runs()


def test_a_control_plane_comes_back_though_its_drill_was_killed(shelf: Place) -> None:
    """The drill that killed the control plane is itself killed with -9: somebody starts it again all the same."""
    before = shelf.control_plane()
    drill = shelf.popen("drill", "control-plane-kill", "--seconds", "300", *BRIEF)
    shelf.say_until(drill, "struck: control")
    shelf.wait_for(lambda: shelf.control_plane() is None, "the end of the control plane")
    os.kill(drill.pid, signal.SIGKILL)
    drill.wait()
    shelf.wait_for(lambda: shelf.control_plane() not in (None, before), "a new control plane", 60.0)
    assert shelf.get() == "one"


def test_a_drill_that_is_interrupted_mends_first(shelf: Place) -> None:
    """Ctrl-C in the middle of a freeze thaws at once, says what was measured so far, and ends with 130."""
    shelf.run("drill", "valkey-freeze.json").failed(2, "can't be read")
    data = json.loads(shelf.run("drill", "valkey-kill", "--export").went_well().out)
    data["method"][0]["provider"].update(func="freeze", arguments={"subject": "valkey/local", "seconds": 300})
    data["extensions"][0]["answered_by"] = []
    shelf.write("valkey-freeze.json", json.dumps(data))
    (pid, *_) = shelf.running()["valkey/local"]
    drill = shelf.popen("drill", "valkey-freeze.json", *BRIEF)
    shelf.say_until(drill, "struck: valkey/local")
    drill.send_signal(signal.SIGINT)
    ended = shelf.end_of(drill)
    assert ended.code == 130
    assert "interrupted" in ended.plain().out
    stat = read_stat(pid)
    assert stat is None or not stat.frozen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["region-partition", "region-kill"])
def test_a_lost_region_fails_nobody_and_is_answered_as_in_the_simulator(spread: Place, name: str) -> None:
    """A region is cut off, or killed, under load near all: failover answers there as in the simulator, and no request fails."""
    ended = spread.run("drill", name, "--json", "--seconds", "6", *BRIEF, patience_s=240.0)
    real = json.loads(ended.out)
    assert real["met"], (real["findings"], real["traffic"], real["phases"])
    ended.went_well()
    sim = json.loads(spread.run("drill", name, "--sim", "--json").went_well().out)
    assert real["answered_by"] == sim["answered_by"] == "failover"
    assert real["subjects"] == sim["subjects"] == ["region/north"]
    assert real["traffic"]["failed"] == 0
    assert {phase["name"] for phase in real["phases"]} == {phase["name"] for phase in sim["phases"]}
