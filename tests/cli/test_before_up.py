"""What `doctor`, `plan` and `up` say of a project with several regions before anything is started."""

import json
import os
import socket
from typing import Any

import pytest

Place = Any

REGIONS = "regions: {a: {at: [50.4, 3.8]}, b: {at: [41.3, -95.9]}}"
MAXMIND = b"tree and data\xab\xcd\xefMaxMind.com and metadata"


def findings(place: Place) -> dict[str, dict[str, str]]:
    """By what each is about."""
    return {each["about"]: each for each in json.loads(place.run("doctor", "--json").out)}


def blueprint(place: Place, edge: str) -> None:
    """A project with two regions."""
    place.app()
    place.blueprint(rest=f"{REGIONS}\nedge: {{{edge}}}", edge=False)


def test_what_several_regions_need(place: Place) -> None:
    """The regions are named, a free port is free, and with one region none of it is looked at."""
    blueprint(place, f"port: {place.port}")
    found = findings(place)
    assert found["regions"]["found"] == "2: a, b"
    assert found["port"]["mark"] == "ok"
    distance = found["distance"]
    assert (distance["mark"] == "ok") is (not distance["mend"])
    assert os.geteuid() == 0 or "not root" in distance["found"]
    assert "geoip" not in found
    place.blueprint()
    assert not {"regions", "port", "geoip", "distance"} & findings(place).keys()


def test_a_port_that_is_taken(place: Place) -> None:
    """It is said, and that the entry will do without it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        blueprint(place, f"port: {taken.getsockname()[1]}")
        port = findings(place)["port"]
    assert port["mark"] == "note" and "the entry will step over it" in port["found"]


@pytest.mark.parametrize(
    ("content", "word"), [(None, "can't be read"), (b"", "is no MaxMind"), (b"x" * 9, "is no MaxMind")]
)
def test_a_database_that_is_none(place: Place, content: bytes | None, word: str) -> None:
    """A GeoIP database that is missing or none is found before the start, and `up` says how to go on instead of starting."""
    blueprint(place, f"port: {place.port}, geoip: data/geo.mmdb")
    if content is not None:
        place.write("data/geo.mmdb", "").write_bytes(content)
    found = findings(place)["geoip"]
    assert found["mark"] == "missing" and word in found["found"] and "remove the key" in found["mend"]
    place.run("up").failed(1, "edge.geoip", "data/geo.mmdb", word, "remove the key")


def test_a_database_that_is_one(place: Place) -> None:
    """One that lies in the project's folder is found from wherever the command is called."""
    blueprint(place, f"port: {place.port}, geoip: geo.mmdb")
    place.write("geo.mmdb", "").write_bytes(MAXMIND)
    found = {each["about"]: each for each in json.loads(place.run("-C", str(place.root), "doctor", "--json").out)}
    assert found["geoip"] == {"about": "geoip", "mark": "ok", "found": str(place.root / "geo.mmdb"), "mend": ""}


def test_the_plan_tells_what_each_region_is_for(place: Place) -> None:
    """Place, entry, its part in the stores and the engines that would start there; one region is told as ever."""
    place.app()
    copies = "data: {region: b, replicas: 1, synchronous: true}"
    place.blueprint(rest=f"{REGIONS}\nedge: {{port: {place.port}, region: b}}\n{copies}", edge=False)
    planned = json.loads(place.run("plan", "--json").went_well().out)
    a, b = planned["regions"]["a"], planned["regions"]["b"]
    assert a["at"] == [50.4, 3.8] and not a["has_entry"] and b["has_entry"]
    assert a["stores"] == {"postgres": "standby that writes wait for", "valkey": "standby"}
    assert b["stores"] == {"postgres": "primary", "valkey": "primary"}
    assert "gateway" in a["starts"] and {"gateway", "entry", "postgres", "valkey"} <= set(b["starts"])
    said = place.run("plan").went_well("at 50.4,3.8", "the entry stands here", "postgres primary").out
    assert [line.split()[0] for line in said.splitlines()[1:3]] == ["a", "b"]
    place.blueprint()
    assert "regions" not in json.loads(place.run("plan", "--json").went_well().out)
