"""The life of a project, told on one that runs throughout: looked at, explained, loaded, shipped anew, taken back."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Place = Any

HEALTH = "health: {path: /health, starts_within: 30s, every: 1s}"
WATCH = "rollout: {watch: 2s}\nkeep: [counts.db]\nenv: {GREETING: hello}"


@pytest.fixture(scope="module")
def running(shop: Place) -> Iterator[Place]:
    """The shop, up behind the terminal; down again at the end, with nothing left."""
    shop.blueprint(f"{HEALTH}, drain: 2s", WATCH)
    said = shop.up()
    assert "r1 serves" not in said.out, "the answer is not told twice"
    assert "it runs behind this terminal" in said.out
    yield shop
    shop.run("down").went_well("everything is stopped")
    shop.nothing_runs()


async def ship(place: Place, version: str) -> None:
    """Deploy the app as `version` under load: it ends well, and nobody notices."""
    place.app(version)
    ended, answers = await place.run_under_load("deploy")
    ended.went_well("captured", "serves (")
    assert set(answers) <= {"one", "two", "three", "four", version}, [a for a in answers if " " in a]
    assert place.get() == version


def test_status_shows_what_runs(running: Place) -> None:
    """The table and its JSON name address, release, instance and engine; a reader that stops listening is no trouble."""
    status = running.status()
    assert status["up"] is True
    assert status["address"] == f"http://127.0.0.1:{running.port}"
    assert status["serving"] == "r1"
    assert [(i["id"], i["state"]) for i in status["instances"]] == [("web-1", "ready")]
    assert [(e["key"], e["state"]) for e in status["engines"]] == [("gateway/local", "ready")]
    table = running.run("status").went_well(status["address"], "serving r1", "web@local", "web-1", "gateway/local")
    assert all(len(line) <= 140 for line in table.out.splitlines())
    command = f"{running.prefix[0]} status | head -1"
    piped = subprocess.run(command, shell=True, cwd=running.root, capture_output=True, text=True, check=True)
    assert piped.stdout.startswith("shop (development)")
    assert piped.stderr == ""


def test_status_watch_goes_on_until_ctrl_c(running: Place) -> None:
    """`--watch` shows the page again and again, and Ctrl-C ends it without a word."""
    watching = running.popen("status", "--watch")
    running.say_until(watching, "gateway/local")
    watching.send_signal(signal.SIGINT)
    ended = running.end_of(watching, patience_s=60.0)
    assert ended.code == 0
    assert ended.err == ""


def test_a_request_is_explained_by_the_id_that_the_edge_returned(running: Place) -> None:
    """Route, instance, tries, times and the decisions behind them; the instance's life and each decision by their ids."""
    status, headers, _ = running.ask("/slow?s=0.2")
    assert status == 200
    id_ = headers["x-request-id"]
    explained = running.wait_for(lambda: (e := running.run("explain", id_)).code == 0 and e, "the access log")
    explained.went_well("GET /slow", "200", "service", "web in local", "tries", "at the instance", "limited by")
    trace = json.loads(running.run("explain", id_, "--json").went_well().out)
    assert trace["request"]["instance"] == "web-1"
    assert trace["request"]["total_ms"] >= 200
    start = trace["instance_started_by"]
    running.run("explain", start).went_well("web-1 is started for r1", "start:web-1", "done after")
    assert json.loads(running.run("explain", start, "--json").went_well().out)["receipts"]
    running.run("explain", "web-1").went_well("the life of web-1", start)
    running.run("explain", "d999999").failed(1, "no decision, request or instance d999999")


def test_logs_show_what_the_app_prints_and_follow_it(running: Place) -> None:
    """`logs` shows an instance's lines, `-F` what comes next, until Ctrl-C; an unknown name is told, with those that exist."""
    running.get("/before")
    running.wait_for(lambda: "asked for /before" in running.run("logs", "web-1").out, "the line")
    following = running.popen("logs", "-F", "-n", "1", "web")
    running.say_until(following, "asked for")
    running.get("/after")
    assert "asked for /before" not in running.say_until(following, "asked for /after")
    following.send_signal(signal.SIGINT)
    assert running.end_of(following).code == 0
    running.run("logs", "nothing").failed(1, "no log is named nothing", "web-1")


def test_run_gives_a_command_the_releases_environment(running: Place) -> None:
    """In its folder, with its variables; one word goes to the shell, several are arguments; the exit code is the command's."""
    folder = str(running.project.releases / "r1")
    running.run("run", "echo $GREETING $PWD $TENFOLD_RELEASE").went_well(f"hello {folder} r1")
    assert running.run("run", "printf", "%s|", "a b", "$PWD", "--json").out == "a b|$PWD|--json|"
    assert running.run("run", "exit 7").code == 7
    assert running.run("run", "kill -9 $$").code == -signal.SIGKILL
    assert running.run("run", "yes | head -1").went_well().out == "y\n"
    assert running.run("run", "cat", given="typed in").out == "typed in"
    running.run("run", "no-such-program", "x").failed(1, "there is no command no-such-program")
    running.run("run", "-s", "reports", "true").failed(1, "has no service reports")
    running.run("run", "-r", "r77", "true").failed(1, "there is no release r77", "r1")


def test_plan_says_what_a_deploy_would_do(running: Place) -> None:
    """Nothing when nothing has changed; after a change the steps with their reasons, and it is still not done."""
    running.run("plan").went_well("nothing to do: r1 serves")
    running.app("planned")
    running.run("plan").went_well("`tenfold deploy` would ship r2", "web-2 is started for r2: as many as r1 has")
    planned = json.loads(running.run("plan", "--json").went_well().out)
    assert planned["steps"][0]["by"] == "release"
    assert running.get() == "one"
    running.app("one")


def test_doctor_finds_this_machine_fit(running: Place) -> None:
    """Every engine that is needed is there; the project that runs is mentioned."""
    running.run("doctor").went_well("Envoy", "PostgreSQL", "Valkey", "runs this project", "all is well")
    marks = {f["about"]: f["mark"] for f in json.loads(running.run("doctor", "--json").went_well().out)}
    assert "missing" not in marks.values()


def test_load_measures_the_edge(running: Place, tmp_path: Path) -> None:
    """A steady rate, a trace from a file, and a generated day each end with figures; Ctrl-C ends one early, with what came of it."""
    ended = running.run("load", "--rate", "40", "--duration", "1", "--json")
    result = json.loads(ended.out)
    assert result["failed"] == 0
    assert result["answered"] == result["sent"] > 10
    assert "planned" in ended.err
    trace = tmp_path / "trace.csv"
    trace.write_text("timestamp,requests\n1995-07-01 00:00:00,1200\n1995-07-01 00:01:00,2400\n")
    assert "trace.csv from 1995-07-01" in running.run("load", "--trace", str(trace)).plain().out
    early = running.popen("load", "--peak", "30", "--duration", "50")
    running.say_until(early, "      1s")
    early.send_signal(signal.SIGINT)
    report = running.end_of(early, patience_s=60.0)
    assert "interrupted" in report.out
    assert "from due to answer" in report.out


async def test_a_change_is_shipped_and_taken_back_without_a_failed_request(running: Place) -> None:
    """The next release answers, the data of the app stays; `rollback` goes back to the first, under load both times."""
    assert running.get("/count") == "1"
    await ship(running, "two")
    assert running.get("/count") == "2"
    ended, answers = await running.run_under_load("rollback")
    ended.went_well("r1 serves")
    assert set(answers) <= {"one", "two"}, [a for a in answers if " " in a]
    assert running.get() == "one"
    assert running.get("/count") == "3"
    running.run("rollback", "r77").failed(1, "r77", "r2")


@pytest.mark.parametrize(
    ("web", "version", "words"),
    [
        ("build: 'echo no compiler; exit 4'", "", ["failed at build", "no compiler"]),
        ("release: 'echo no table; exit 4'", "", ["failed at hook", "no table"]),
        ("command: 'echo no config; exit 4'", "", ["failed at start", "no config"]),
        ("health: {path: /fail, starts_within: 2s}", "", ["failed at start", "500"]),
        ("", "doomed", ["failed at watch", "did not stay well", "exit code 5"]),
    ],
    ids=["build", "hook", "start", "health", "first minute"],
)
async def test_a_broken_release_leaves_the_old_one_serving(
    running: Place, web: str, version: str, words: list[str]
) -> None:
    """Whatever fails on the way: exit code 1, the reason in a sentence, and not one request notices."""
    serving, good = running.status()["serving"], (running.root / "tenfold.yaml").read_text()
    before = running.get()
    running.blueprint(", ".join(filter(None, (web, "" if "health" in web else HEALTH, "drain: 2s"))), WATCH)
    running.app(version or before)
    try:
        ended, answers = await running.run_under_load("deploy")
        ended.failed(1, *words, f"{serving} serves as before")
        assert ended.err.count("\n") == 1, ended.err
        lost = [answer for answer in answers if answer != before]
        # One that ends at each request takes that request with it, unless the edge can still ask another instance.
        assert len(lost) <= (3 if version == "doomed" else 0), lost
        assert running.get() == before
        assert running.status()["serving"] == serving
    finally:
        (running.root / "tenfold.yaml").write_text(good)
        running.app(before)


def test_what_a_deploy_does_not_carry_is_said(running: Place) -> None:
    """Parts of the blueprint that belong to the control plane are named; another environment than the one that runs is refused."""
    good = (running.root / "tenfold.yaml").read_text()
    running.blueprint("build: exit 1", WATCH.replace("2s", "9s") + "\nenvironments: {production: {}}")
    try:
        assert "rollout in the blueprint has changed and is not part of a release" in running.run("deploy").out
        running.run("-e", "production", "deploy").failed(2, "`tenfold -e development deploy`")
    finally:
        (running.root / "tenfold.yaml").write_text(good)


def test_two_deploys_at_once(running: Place) -> None:
    """The second is told to wait for the first, which goes on; a `rollback` stops that one, and it says so."""
    before = running.get()
    good = (running.root / "tenfold.yaml").read_text()
    running.blueprint("build: sleep 30", WATCH)
    try:
        first = running.popen("deploy")
        running.say_until(first, "asked to ship")
        running.run("deploy").failed(1, "is being shipped right now", "`tenfold rollback`")
        running.run("rollback").went_well("is stopped and undone")
        running.end_of(first).failed(1, "`tenfold rollback` stopped it")
    finally:
        (running.root / "tenfold.yaml").write_text(good)
    assert running.get() == before


def test_up_twice(running: Place) -> None:
    """The second `up` leaves the first alone and says who runs it and how to ship changes."""
    running.run("up").failed(1, f"run by process {running.control_plane()} already", "`tenfold deploy` ships changes")
    running.run("up", "--detach").failed(1, "already")
    assert running.ask()[0] == 200


def test_watching_a_deploy_can_be_interrupted(running: Place) -> None:
    """Ctrl-C only stops watching: the deploy goes on, and the command says so."""
    running.app("unwatched")
    deploying = running.popen("deploy")
    running.say_until(deploying, "asked to ship")
    deploying.send_signal(signal.SIGINT)
    running.end_of(deploying).failed(1, "stopped watching; the deploy goes on")
    running.wait_for(lambda: running.get() == "unwatched", "the release")
    running.wait_for(lambda: running.status()["operation"] is None, "the end of the deploy")


def test_a_journal_that_is_taken_away_is_noticed(running: Place) -> None:
    """A journal deleted under a running control plane: it says so and holds, the app goes on serving, and nothing is lost for long."""
    before = running.get()
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (running.root / ".tenfold" / name).rename(running.root / ".tenfold" / f"aside-{name}")
    try:
        # One that comes while there is none is refused; one that is slower finds the new one, which knows all that the old one did.
        deployed = running.run("deploy")
        assert deployed.code == 1 or "serves and is well" in deployed.out, deployed
        assert running.get() == before
    finally:
        for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
            (running.root / ".tenfold" / f"aside-{name}").rename(running.root / ".tenfold" / name)
    running.wait_for(lambda: running.status()["up"], "the control plane")
