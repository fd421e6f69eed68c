"""The console of a real project: its address and token, a drain, the next control plane at the same port, the past of one that is down."""

import json
import signal
import socket
import sqlite3
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Place = Any


@pytest.fixture(scope="module")
def running(shop: Place) -> Iterator[Place]:
    """The shop with two instances, up behind the terminal."""
    shop.blueprint("health: {path: /health, every: 1s}, drain: 2s, scaling: {instances: {min: 2, max: 3}}")
    shop.said = shop.up()
    yield shop
    shop.run("down").went_well("everything is stopped")


def address(place: Place) -> str:
    """Where `tenfold console` says it is."""
    said = place.run("console").went_well("console at http://127.0.0.1:").out
    return str(said.strip().removeprefix("console at ").rstrip("/"))


def ask(url: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """Ask the console: status and JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_up_prints_its_address(running: Place) -> None:
    """Beside the edge when that is free, and it shows what runs."""
    url = address(running)
    assert f"console at {url}/" in running.said.out
    status, state = ask(f"{url}/api/state")
    assert status == 200
    assert state["health"]["is_well"], state["health"]
    assert state["project"]["address"] == f"http://127.0.0.1:{running.port}"
    assert state["live"]
    with urllib.request.urlopen(f"{url}/", timeout=10) as page:
        assert b"<!doctype html>" in page.read()[:100].lower()


def test_the_token_is_for_its_owner_alone(running: Place) -> None:
    """`console --token` shows it, the file is closed to others, and an action without it is refused."""
    url, token = address(running), running.run("console", "--token").went_well().out.strip()
    file = running.project.run / "console-token"
    assert file.read_text().strip() == token
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ask(f"{url}/api/actions/drain", {"subject": "web-9"})[0] == 401
    status, trouble = ask(f"{url}/api/actions/drain", {"subject": "web-9"}, authorization=f"Bearer {token}")
    assert (status, trouble["error"][:27]) == (409, "there is no instance web-9;")


def test_an_instance_is_drained_under_load(running: Place) -> None:
    """`drain` ends once the instance has; another serves in its place, no request fails, and what can't be is refused."""
    first = running.status()["instances"][0]["id"]
    running.run("drain", first).went_well(f"{first} is drained", f"{first} has ended")
    assert first not in [i["id"] for i in running.status()["instances"]]
    running.run("drain", first).failed(1, f"there is no instance {first}")
    running.run("drain", "local").failed(1, "local is the only region")


async def test_nobody_notices_a_drain(running: Place) -> None:
    """Requests that come meanwhile are all answered."""
    running.wait_for(lambda: [i["state"] for i in running.status()["instances"]] == ["ready"] * 2, "two instances")
    ended, answers = await running.run_under_load("drain", running.status()["instances"][0]["id"])
    ended.went_well("has ended")
    assert set(answers) == {"one"}


def test_the_next_control_plane_is_at_the_same_port(running: Place) -> None:
    """Pages that were open find it again, and what apps post arrives."""
    url = address(running)
    running.kill(running.control_plane())
    running.run("up", "--detach").went_well(f"console at {url}/")
    assert address(running) == url
    _, state = ask(f"{url}/api/state")
    assert state["live"]
    assert any("drained" in d["why"] for d in state["decisions"])


def test_of_a_project_that_runs_only_the_blueprint_says_where(running: Place) -> None:
    """A second console beside it would not be the one that people know."""
    running.run("console", "--port", "9000").failed(2, "console: {port, host}")


def test_the_past_of_one_that_is_down(make_place: Any, running: Place, tmp_path: Path) -> None:
    """`console` serves what the journal holds until Ctrl-C; with another address it names it, a busy port is refused, and nothing is
    done there."""
    copy = make_place("past")
    copy.run("console").failed(1, "nothing has run here yet")
    copy.project.run.mkdir(parents=True)
    with_journal(running, copy)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        copy.run("console", "--port", str(busy.getsockname()[1])).failed(1, "is busy")
    serving = copy.popen("console", "--host", "0.0.0.0")
    said = copy.say_until(serving, "Ctrl-C")
    url = next(word for word in said.split() if word.startswith("http://127.0.0.1")).rstrip("/")
    assert "http://0.0.0.0:" in said
    assert ask(f"{url}/api/state")[0] == 401
    token = copy.run("console", "--token").out.strip()
    _, state = ask(f"{url}/api/state", authorization=f"Bearer {token}")
    assert not state["live"]
    assert state["project"]["name"] == "shop"
    assert ask(f"{url}/api/actions/rollback", {}, authorization=f"Bearer {token}")[0] == 409
    serving.send_signal(signal.SIGINT)
    ended = copy.end_of(serving, patience_s=10.0)
    assert (ended.code, ended.err) == (0, "")


def with_journal(running: Place, copy: Place) -> None:
    """Give `copy` the journal of `running`, as it is now."""
    with (
        sqlite3.connect(f"file:{running.project.journal}?mode=ro", uri=True) as source,
        sqlite3.connect(copy.project.journal) as target,
    ):
        source.backup(target)
        target.execute("PRAGMA journal_mode=WAL")
