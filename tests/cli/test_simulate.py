"""`tenfold simulate` at a terminal, without one: what is played, what is refused, and what it leaves behind."""

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tenfold.cli import simulatedemand, simulateplay
from tenfold.cli.app import cli
from tenfold.cli.simulatedemand import minutes_of, of_users
from tenfold.estimators.users import Question
from tenfold.model import Action, Model, Region, Scaling, Scenario, Service, Step
from tenfold.proof.load import Trace
from tenfold.sim import compare
from tenfold.sim.compare import Setting
from tenfold.sim.tally import Outcome
from tests.processes import children

BLUEPRINT = """
name: shop
services:
  web:
    command: serve {port}
    scaling: {instances: {min: 2, max: 20}}
"""
THREE = """
regions:
  east: {at: [35.7, 139.7], capacity: 1000}
  west: {at: [41.3, -95.9], capacity: 3000}
"""
Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """Calls `tenfold simulate` in a folder with a blueprint and the trace of an hour and a half that rises after an hour."""
    rows = [f"2026-01-05T{9 + i // 60:02}:{i % 60:02},{6000 + 400 * max(0, i - 50)}" for i in range(90)]
    (tmp_path / "day.csv").write_text("timestamp,requests\n" + "\n".join(rows) + "\n")
    (tmp_path / "tenfold.yaml").write_text(BLUEPRINT)

    def made(*words: str, blueprint: str | None = None) -> Result:
        if blueprint is not None:
            (tmp_path / "tenfold.yaml").write_text(blueprint)
        words = tuple(
            str(tmp_path / word) if word.endswith((".csv", ".json", ".html", ".log")) else word for word in words
        )
        return CliRunner().invoke(cli, ["-C", str(tmp_path), "simulate", *words])

    return made


HOUR = ("--trace", "day.csv", "--from", "2026-01-05T09:45", "--to", "2026-01-05T10:15", "--start-time", "20s")


def test_policies_side_by_side(call: Call, tmp_path: Path) -> None:
    """A row for each policy, what was played and what was assumed, a page without a script, and all figures as JSON."""
    result = call(*HOUR, "--policy", "reactive,oracle", "--json", "out.json", "--html", "out.html")
    assert result.exit_code == 0, result.output
    rows = result.stdout.splitlines()
    assert rows[1].startswith("reactive") and rows[2].startswith("oracle")
    for said in (
        "2026-01-05 09:45 to 2026-01-05 10:15 UTC (0.5 h) are played",
        "has learnt from 0.75 h before",
        "NOT measured",
    ):
        assert said in result.stdout
    assert "a start takes 20 s, as asked" in result.stdout
    data = json.loads((tmp_path / "out.json").read_text())
    reactive, oracle = data["policies"]
    assert oracle["cost_over_oracle"] == 1.0 <= reactive["cost_over_oracle"]
    assert oracle["short_ratio"] == 0.0
    assert reactive["decisions"][0]["why"] and reactive["course"]["at_s"]
    page = (tmp_path / "out.html").read_text()
    assert page.count("<svg") >= 6 and "<script" not in page and "http://" not in page and "https://" not in page
    assert "demand and capacity" in page


def test_times_are_told_in_utc_whatever_zone_a_file_has(call: Call, tmp_path: Path) -> None:
    """Nine o'clock in Berlin is eight by UTC, in which faults and bounds are given too; one that has too little says what it has."""
    rows = [f"2026-01-05T{9 + i // 60:02}:{i % 60:02}+01:00,600" for i in range(70)]
    (tmp_path / "berlin.csv").write_text("timestamp,requests\n" + "\n".join(rows) + "\n")
    words = ("--trace", "berlin.csv", "--policy", "oracle")
    assert "2026-01-05 08:00 to 2026-01-05 09:10 UTC (1.17 h) are played" in call(*words).stdout
    part = call(*words, "--from", "2026-01-05T10:00+01:00")
    assert "2026-01-05 09:00 to 2026-01-05 09:10 UTC" in part.stdout, part.output
    little = call(*words, "--from", "2026-01-05T09:05")
    assert "only 5 minutes in the time asked for (it holds 2026-01-05 08:00 to 2026-01-05 09:10 UTC)" in little.output


def test_the_same_call_tells_the_same_story(call: Call) -> None:
    """Same seed, same output, to the last digit; another seed draws other requests."""
    words = (*HOUR, "--policy", "hpa", "--json", "-")
    first, again, other = call(*words), call(*words), call(*words, "--seed", "2")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["policies"] == json.loads(again.stdout)["policies"]
    assert json.loads(first.stdout)["policies"] != json.loads(other.stdout)["policies"]


def test_a_day_is_scaled_by_the_instances_it_needs(call: Call) -> None:
    """A trace of another site is made as large as one needs it, and a blueprint that does not allow as much is told so."""
    result = call(*HOUR, "--policy", "oracle", "--peak-instances", "30")
    assert "so that its 99th percentile needs 30 instances" in result.stdout
    assert "the blueprint allows 20: no policy can help that" in result.stdout


def test_one_decision_whole(call: Call) -> None:
    """Facts, clamps, reason and effects of any one decision of any policy; one that there is not names some that there are."""
    listed = json.loads(call(*HOUR, "--policy", "hpa,oracle", "--json", "-").stdout)
    made = next(d for d in listed["policies"][1]["decisions"] if d["by"] == "scale")
    result = call(*HOUR, "--policy", "hpa,oracle", "--decision", f"oracle:{made['id']}")
    assert f"oracle {made['id']}" in result.stdout and made["why"] in result.stdout
    assert made["effects"][0] in result.stdout and "sure       100%" in result.stdout
    wrong = call(*HOUR, "--policy", "hpa", "--decision", "d99999")
    assert wrong.exit_code == 2 and "made no decision d99999; about numbers there are d" in wrong.output


def test_a_fault_while_it_is_played(call: Call) -> None:
    """A region lost at the busiest minute: what failed, when clients had recovered, when all was whole."""
    result = call(*HOUR, "--policy", "reactive", "--fault", "region-kill:east@10:00+1m", blueprint=BLUEPRINT + THREE)
    assert result.exit_code == 0, result.output
    [line] = [
        line for line in result.stdout.splitlines() if line.startswith("region-kill:east@10:00+1m under reactive")
    ]
    assert "failed" in line and "all whole" in line
    assert "regions by their capacities: east 25%, west 75%" in result.stdout


def test_what_the_app_posts_is_left_out(call: Call) -> None:
    """Nobody posts a metric in the simulator, and one that is missing would hold the pool for ever: that is told, not played."""
    triggers = "triggers: {queue_length: {up_above: 10, down_below: 2}}"
    blueprint = BLUEPRINT.replace("max: 20}", "max: 20}, " + triggers)
    result = call(*HOUR, "--policy", "reactive,kpa", "--json", "out.json", blueprint=blueprint)
    assert result.exit_code == 0, result.output
    assert "its trigger queue_length is left out, and the usual ones stand in" in result.stdout
    assert "kpa aims at the 2.49 requests at hand that an instance of web has at 70% of what it holds" in result.stdout
    assert "2 / 2.0 / 2" not in result.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "give --trace FILE, or --users N"),
        (("--trace", "day.csv", "--users", "5"), "not both"),
        (("--users", "5", "--from", "2026-01-05"), "--from is for traces"),
        (("--users", "5", "--peak-instances", "4"), "leave --scale and --peak-instances out"),
        (("--trace", "day.csv", "--scale", "2", "--peak", "9"), "--scale and --peak are two different scales"),
        (("--trace", "day.csv", "--scale", "0"), "a scale of 0 can't be played"),
        (("--trace", "none.csv"), "can't be read"),
        (("--trace", "day.csv", "--from", "2026-01-05T10:25"), "only 5 minutes"),
        (
            ("--trace", "day.csv", "--from", "2026-01-05T10:00", "--to", "2026-01-05T09:30"),
            "--to must come after --from",
        ),
        (("--trace", "day.csv", "--policy", "hap"), "did you mean hpa"),
        (("--trace", "day.csv", "--policy", ","), "--policy names none"),
        (("--trace", "day.csv", "--step", "2m"), "give 1s to 30s"),
        (("--trace", "day.csv", "--scenario", "night"), "there is no scenario night"),
        (("--trace", "day.csv", "--fault", "region-kill"), "write it like region-kill@13:00"),
        (("--trace", "day.csv", "--fault", "flood@10:00"), "there is no drill flood; there are: instance-kill"),
        (("--trace", "day.csv", "--fault", "instance-kill@23:00"), "it lies outside of what is played"),
        (("--trace", "day.csv", "--fault", "instance-kill@noon"), "noon is no time"),
        (("--trace", "day.csv", "--fault", "instance-kill:mars@10:00"), "there is no region mars"),
        (("--trace", "day.csv", "--fault", "instance-freeze@10:00+soon"), "found soon"),
        (
            ("--trace", "day.csv", "--policy", "hpa", "--decision", "kpa:d1"),
            "kpa is not among the policies; there are hpa",
        ),
        (("--trace", "day.csv", "--fault", "bad-release@10:00"), "`tenfold drill bad-release --sim` plays it"),
    ],
)
def test_wrong_calls_are_sentences(call: Call, words: tuple[str, ...], says: str) -> None:
    """What can't be played is refused before anything is, with what to write instead."""
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert says in result.output and "Traceback" not in result.output


def test_a_fault_that_this_project_cannot_have(call: Call) -> None:
    """A region can't be lost where there is one."""
    result = call(*HOUR, "--fault", "region-kill@10:00")
    assert result.exit_code == 1 and "it needs several regions" in result.output


def test_a_large_trace_is_said_to_be_read(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes seconds where there is much, and silence looks like a hang."""
    assert "reading" not in call(*HOUR, "--policy", "oracle").stderr
    monkeypatch.setattr(simulatedemand, "LARGE_BYTES", 1000)
    assert "reading day.csv, 0 MB\n" in call(*HOUR, "--policy", "oracle").stderr


def test_a_page_that_cannot_be_written(call: Call) -> None:
    """It is found out before anything is played; and where it shows only then, as on a full disk, the figures are shown all the same."""
    result = call(*HOUR, "--policy", "oracle", "--html", "nowhere/out.html")
    assert result.exit_code == 1 and "can't be written" in result.output and "playing" not in result.output
    result = call(*HOUR, "--policy", "oracle", "--html", "/dev/full")
    assert result.exit_code == 1 and "No space left" in result.output and "\noracle" in result.output


def test_stopped_in_the_middle(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it cleanly: what was played to its end is shown, what was not is named, and no process is left."""
    real, here = compare.run, os.getpid()

    def stopped(setting: Setting, name: str, tell: Callable[[float], None]) -> Outcome:
        if name == "oracle":
            return real(setting, name, tell)
        if name == "kpa":
            # Two play at a time: this one has begun since the oracle is done.
            os.kill(here, signal.SIGINT)
        time.sleep(600)
        raise AssertionError("nobody ended it")

    monkeypatch.setattr(simulateplay, "run", stopped)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    before = children().keys()
    result = call(*HOUR, "--policy", "oracle,hpa,kpa")
    assert result.exit_code == 130
    assert "stopped: hpa, kpa were not played to their end" in result.output and "\noracle" in result.output
    result = call(*HOUR, "--policy", "kpa")
    assert result.exit_code == 130 and "stopped: kpa was not played to its end" in result.output
    assert children().keys() <= before


def test_one_that_dies_is_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed, as where memory is short, or that a bug ends is no result: it is said whose it was, and none is left."""

    def dies(setting: Setting, name: str, tell: Callable[[float], None]) -> Outcome:
        if name == "hpa":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "kpa":
            raise RuntimeError("no such pool")
        time.sleep(600)
        raise AssertionError("nobody ended it")

    monkeypatch.setattr(simulateplay, "run", dies)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    before = children().keys()
    for name, said in (("hpa", "that played hpa was ended from outside"), ("kpa", "a bug in Tenfold")):
        result = call(*HOUR, "--policy", f"oracle,{name}")
        assert result.exit_code == 1 and said in result.output
    assert children().keys() <= before


def globe() -> Question:
    """Users who act every ten seconds, near two places twelve hours apart, and one without a place."""
    web = Service("web", "serve", paths=("/",), scaling=Scaling(1, 10))
    regions = {
        "zero": Region("zero", (0.0, 0.0), 100),
        "far": Region("far", (0.0, 180.0), 100),
        "none": Region("none", None, 100),
    }
    scenario = Scenario("office", (Action("look", 1.0, (Step("GET", "/"),)),))
    return Question(Model("globe", {"web": web}, regions), scenario, {"web": 1.0}, {})


def test_a_day_of_users_follows_the_sun() -> None:
    """Each region is busiest at 14:00 of its own day; at the busiest moment of all there are as many as were asked for."""
    demand = of_users(globe(), 3000, seed=1)
    assert (demand.seconds, demand.began_at) == (86_400.0, datetime(2026, 1, 5, tzinfo=UTC).timestamp())

    def busiest_hour(region: str) -> float:
        rate = demand.by_pool[f"web@{region}"].rate
        by_hour = [sum(rate(3600.0 * hour + 60 * minute) for minute in range(60)) for hour in range(24)]
        return by_hour.index(max(by_hour))

    assert busiest_hour("zero") in (13, 14) and busiest_hour("none") in (13, 14) and busiest_hour("far") in (1, 2)
    # A request each ten seconds and 50 ms of each user.
    assert max(demand.whole()) == pytest.approx(3000 / 10.05)
    history = demand.history()
    assert len(history) == 14 * 1440 and max(history) * 60 == demand.began_at - 60
    assert demand.by_pool == of_users(globe(), 3000, seed=1).by_pool != of_users(globe(), 3000, seed=2).by_pool


def test_traces_of_any_step_become_minutes() -> None:
    """Quarters of a minute are meant over; hours are joined by lines, so that no minute jumps at the full hour."""
    start = datetime(2026, 1, 5, tzinfo=UTC)
    assert list(minutes_of(Trace(start, 15.0, (15, 30, 45, 30, 60, 60, 60, 60)))) == [2.0, 4.0]
    hours = minutes_of(Trace(start, 3600.0, (3600.0, 7200.0, 7200.0)))
    assert len(hours) == 180 and hours[0] == 1.0 and hours[-1] == 2.0
    assert max(abs(b - a) for a, b in pairwise(hours)) == pytest.approx(1 / 60)
    assert hours[60] == pytest.approx(1.5, abs=0.01)


def test_help_names_every_option_with_its_words() -> None:
    """Each option says what it does."""
    command = cli.get_command(click.Context(cli), "simulate")
    assert command is not None
    assert all(option.help for option in command.params if isinstance(option, click.Option))
