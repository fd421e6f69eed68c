"""`tenfold init` and the first steps that need nothing to run: what is recognised, what is refused, and in which words."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

Place = Any

FLASK = "from flask import Flask\napp = Flask(__name__)\n"
FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"
DJANGO = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")\n# django\n'


def services(place: Place) -> dict[str, Any]:
    """The services of the blueprint that was written."""
    found: dict[str, Any] = yaml.safe_load((place.root / "tenfold.yaml").read_text())["services"]
    return found


def test_a_command_is_taken_as_it_is(place: Place) -> None:
    """`init -- COMMAND` writes that command, commented, and `plan` accepts what was written without starting anything."""
    ended = place.run("init", "--", "python3", "-m", "http.server", "{port}")
    ended.went_well("made from the command that was given", "then `tenfold up`")
    assert services(place)["web"]["command"] == "python3 -m http.server {port}"
    place.run("plan").went_well("`tenfold up` would serve r1:", "web-1 is started for r1")
    assert {entry.name for entry in place.root.iterdir()} == {"tenfold.yaml"}, "a plan leaves nothing behind"


@pytest.mark.parametrize(
    ("files", "command", "reason"),
    [
        ({"index.html": "hello"}, "python3 -m http.server {port} --bind {host}", "static"),
        ({"app.py": FLASK}, "python3 -m flask --app app:app run --host {host} --port {port}", "Flask"),
        ({"main.py": FASTAPI}, "uvicorn main:app --host {host} --port {port}", "FastAPI"),
        ({"package.json": '{"scripts": {"start": "node x.js"}}'}, "npm start", "Node"),
        (
            {"manage.py": DJANGO, "site1/wsgi.py": ""},
            "python3 manage.py runserver --noreload {host}:{port}",
            "Django",
        ),
    ],
    ids=["static", "flask", "fastapi", "node", "django"],
)
def test_usual_projects_are_recognised_by_their_files(
    place: Place, files: dict[str, str], command: str, reason: str
) -> None:
    """A folder's files tell how its app is started; nothing of it is imported or run."""
    for name, text in files.items():
        place.write(name, text)
    place.run("init").went_well(reason, "tenfold.yaml is written")
    assert services(place)["web"]["command"] == command
    place.run("blueprint", "check").went_well("is well")


def test_what_is_there_already_is_not_overwritten(place: Place) -> None:
    """A second `init` leaves the blueprint alone and says how to insist; an unrecognised folder says what to type."""
    place.run("init").failed(2, "tenfold init -- python3 -m http.server {port}")
    place.write("tenfold.yaml", "name: mine\n")
    place.run("init", "--", "true").failed(2, "is there already", "tenfold init --force")
    assert (place.root / "tenfold.yaml").read_text() == "name: mine\n"
    place.run("init", "--force", "--", "serve {port}").went_well()
    assert services(place)["web"]["command"] == "serve {port}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["there is no tenfold.yaml in", "`tenfold init` writes one"]),
        (b"", ["is empty"]),
        (b"\x00\xff\xfe" * 1000, ["binary"]),
        (b"a" * 10_000_000, ["10.0 MB", "at most 1 MB"]),
        (b"name: [", ["is not valid YAML"]),
        (
            b"name: shop\nsevices: {}\nservices:\n  web: {command: x, instance: {memory: lots}, health: {every: 5}}\n",
            ["3 problems", 'did you mean "services"?', 'found "lots"; try 512MiB', "try 5s"],
        ),
    ],
    ids=["missing", "empty", "binary", "huge", "torn", "wrong"],
)
def test_a_blueprint_that_can_not_be_read_is_refused_whatever_is_asked_for(
    place: Place, content: bytes | None, words: list[str]
) -> None:
    """Exit code 2, every problem at once with its line and a way out, and nothing is made in the folder."""
    if content is not None:
        (place.root / "tenfold.yaml").write_bytes(content)
    place.run("up").failed(2, *words)
    assert {entry.name for entry in place.root.iterdir()} <= {"tenfold.yaml"}


def test_commands_that_need_something_to_run_say_what_to_do_first(place: Place) -> None:
    """Before the first `up` each says so, in one sentence; `down` has nothing to do and that is no failure."""
    place.write("tenfold.yaml", "services: {web: {command: 'serve {port}'}}\n")
    calls = (("deploy",), ("rollback",), ("status",), ("logs",), ("run", "true"), ("explain", "d1"), ("load",))
    for ended in place.run_all(*calls):
        ended.failed(1, "`tenfold up`")
        assert ended.err.count("\n") == 1, ended.err
    place.run("down").went_well("nothing of this project runs")
    assert {entry.name for entry in place.root.iterdir()} == {"tenfold.yaml"}


def test_wrong_calls_are_told_apart_from_failures(place: Place) -> None:
    """Unknown commands, options and environments, folders that are not there: exit code 2, with what would be right."""
    place.write("tenfold.yaml", "services: {web: {command: 'serve {port}'}}\n")
    cases = {
        ("statsu",): "did you mean `tenfold status`?",
        ("up", "--detatch"): "No such option",
        ("-C", "nowhere", "up"): "there is no folder nowhere",
        ("-C", "nowhere", "status"): "there is no folder nowhere",
        ("-e", "prod", "plan"): 'no environment "prod"; known are development',
        ("load", "--rate", "0"): "is no load",
        ("load", "--trace", "nothing.csv"): "nothing.csv",
        ("load", "--users", "5", "--rate", "3"): "--users and --rate are two different loads",
        ("load", "--rate", "3", "--scale", "2"): "--rate and --scale are two different loads",
        ("load", "--users", "5", "--mix", "GET / 100%"): "play no scenario",
        ("load", "--rate", "3", "--http", "2"): "--http is for scenarios",
        ("load", "--rate", "3", "--ramp", "3s"): "--ramp is for --users",
        ("load", "--users", "5", "--ramp", "2m"): "less than --duration",
        ("load", "--users", "5", "--ramp", "soon"): "write 30s",
        ("load", "--rate", "5", "--target", "http://192.0.2.1"): "--i-own-this",
        ("load", "--users", "5", "--scenario", "no", "--target", "http://127.0.0.1:9"): "known are default",
    }
    for ended, words in zip(place.run_all(*cases), cases.values(), strict=True):
        assert ended.code == 2, ended
        assert words in ended.plain().err


def test_help_fits_a_small_terminal(make_place: Callable[..., Place]) -> None:
    """Help fits 80 columns, begins with what to do first, and names every command in a line."""
    place = make_place(columns=80)
    texts = [place.run(*words, "--help").went_well("Usage: tenfold").out for words in ([], ["up"], ["load"])]
    names = {line.split()[0] for line in texts[0].partition("Commands:")[2].splitlines() if line.strip()}
    assert {"init", "up", "down", "deploy", "rollback", "status", "plan", "explain", "logs", "run", "secrets"} <= names
    assert "Begin with `tenfold init`" in texts[0]
    assert all(len(line) <= 80 for text in texts for line in text.splitlines())
