"""`tenfold plan --users`: phases, dates, allocation and advice as a person or a program gets them."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.blueprint import load
from tenfold.cli.app import cli
from tenfold.cli.fragment import fragment
from tenfold.cli.levels import lines
from tenfold.cli.past import Past
from tenfold.cli.users import pace_of, residents_of
from tenfold.deciders import Decided, Memory
from tenfold.estimators.allocation import WORKS
from tenfold.estimators.database import CLASSES_CORES, COPY_USERS
from tenfold.estimators.growth import DAYS, Pace
from tenfold.estimators.minutes import SEEN_MINUTES_MIN
from tenfold.estimators.phases import PHASES, outlook
from tenfold.estimators.users import HEADROOM_RATIO, Question
from tenfold.facts import Snapshot, SpendSeen, Window
from tenfold.loop import Entry, Journal
from tenfold.model import Model, Scenario

BLUEPRINT = """
name: shop
services:
  web:
    command: 'serve --host {host} --port {port} --motto "it''s: #1"'
    instance: {memory: 512MiB}
    scaling: {instances: {min: 1, max: 8}, triggers: {response_time: {up_above: 200ms, down_below: 100ms},
      queue: {up_above: 10, down_below: 2.5}, memory: {up_above: 80%, down_below: 40%}}}
  api: {command: serve api, paths: [/api], health: {path: /health}}
  worker: {command: work}
scenarios:
  office: {think: 10s, actions: {look: {share: 100%, requests: [GET /, GET /api/me]}}}
data: {}
budget: {monthly: 400 USD}
"""

NOW = 1_795_000_000.0


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project's folder in which nothing ever ran."""
    (tmp_path / "tenfold.yaml").write_text(BLUEPRINT)
    (tmp_path / "app.py").write_text("")
    return tmp_path


def call(place: Path, *words: str) -> Any:
    """What the command says, and how it ends."""
    return CliRunner().invoke(cli, ["-C", str(place), "plan", *words], env={"COLUMNS": "140"})


def told(place: Path, *words: str) -> Any:
    """The same for programs."""
    ended = call(place, *words, "--json")
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.output)


def test_each_phase_with_all_that_it_takes(place: Path) -> None:
    """Every phase names instances, regions, database, cache, memory, money against the budget, and what breaks first in it."""
    before = datetime.now(UTC).date()
    text = call(place, "--users", "5000").output
    for users in ("1,000", "5,000", "50,000", "100,000"):
        assert f"up to {users} users" in text
    for word in ("web@local", "worker@local  1 instance", "regions", "database", "connections", "cache", "in all"):
        assert word in text
    assert "of the budget of 400 USD" in text and "breaks first" in text
    assert "more instances" in text and "twice the CPU each" in text
    assert "medium work" in text and "not measured" in text
    # It may have become another day meanwhile.
    ages = {(day - date(2026, 6, 17)).days for day in (before, datetime.now(UTC).date())}
    assert any(f"prices of 2026-06-17, {age} days old" in text for age in ages) or min(ages) < 0


def test_the_whole_of_it_for_programs(place: Path) -> None:
    """One object: phases in order, sums that agree, limits in order, and no number that JSON does not know."""
    ended = call(place, "--users", "3000", "--json")
    assert "Infinity" not in ended.output and "NaN" not in ended.output
    data = json.loads(ended.output)
    assert [phase["users"] for phase in data["phases"]] == sorted({*PHASES, 3000})
    for phase in data["phases"]:
        cost = phase["cost"]
        assert cost["monthly"] == pytest.approx(cost["instances"] + cost["database"] + cost["cache"])
        assert cost["budget_ratio"] == pytest.approx(cost["monthly"] / 400)
        assert phase["instances"] == sum(need["instances"] for need in phase["needs"])
        assert len(phase["ways"]) == 4
    assert [limit["users"] for limit in data["limits"]] == sorted(limit["users"] for limit in data["limits"])
    assert (data["growth"], data["prices"]["as_of"]) == (None, "2026-06-17")


def test_growth_tells_when(place: Path) -> None:
    """Dates follow from the pace and begin today; what is passed already is now."""
    data = told(place, "--users", "500", "--growth", "500/month")
    assert (data["growth"]["users_today"], data["growth"]["basis"]) == (500.0, "the number you gave")
    phases = {phase["users"]: phase["reached"] for phase in data["phases"]}
    first = datetime.now(UTC).date() + timedelta(days=DAYS["month"])
    assert abs((date.fromisoformat(phases[1000]) - first).days) <= 1
    assert phases[100_000] is None, "not within ten years"
    beyond = [limit for limit in data["limits"] if limit["users"] > 500]
    assert all(limit["when"] is None or limit["when"] > str(datetime.now(UTC).date()) for limit in beyond)
    text = call(place, "--users", "4000", "--growth", "10%/month").output
    assert "which is now" in text and "counted from 4,000 users today, the number you gave" in text


def lived(place: Path, minutes: dict[str, list[float]]) -> Model:
    """A journal with a first and a last tick, and these figures for the minutes between them."""
    (place / ".tenfold").mkdir()
    model = load((place / "tenfold.yaml").read_bytes(), default_name="shop")
    count = max(map(len, minutes.values()))
    first = int(NOW // 60) - count
    journal = Journal(place / ".tenfold/journal.db")
    journal.open()
    rows = {(first + n, name): value for name, values in minutes.items() for n, value in enumerate(values)}
    nothing = Decided((), (), Memory())
    journal.append(Entry(model, journal.seen(Snapshot(first * 60.0)), nothing))
    journal.append(Entry(model, journal.seen(Snapshot(NOW)), nothing, minutes=rows))
    journal.close()
    return model


def test_users_of_today_are_those_that_the_app_told(place: Path) -> None:
    """With a journal that knows how many there were, growth begins at the most of the last week, not at the number that is asked about."""
    lived(place, {"web@local:concurrent_users": [100.0, 420.0, 50.0], "api@local:concurrent_users": [0.0, 30.0, 0.0]})
    data = told(place, "--users", "5000", "--growth", "10%/month")
    assert data["growth"]["users_today"] == 450.0
    assert (
        "counted from 450 users today, the most at once that the app told"
        in call(place, "--users", "5000", "--growth", "10%/month").output
    )


def test_what_could_cost_less_is_in_the_plan_and_in_the_report(place: Path) -> None:
    """Both say the same of a day in which three instances ran and one was enough, with the saving and the risk."""
    text = (place / "tenfold.yaml").read_text().replace("{min: 1, max: 8}", "{min: 3, max: 8}").partition("triggers:")
    cut = text[0].rstrip(", ") + "}\n" + text[2][text[2].index("  api:") :]
    (place / "tenfold.yaml").write_text(cut)
    day = [1.0] * 1440
    lived(
        place,
        {
            "web@local.instances": [3.0] * 1440,
            "web@local.in_flight_max": day,
            "web@local.cpu_cores_each": [0.3] * 1440,
            "web@local.requests_per_s": day,
        },
    )
    sentence = "web@local never needed more than 2 of its at least 3 instances in 24 hours"
    for words in ((), ("--users", "100")):
        assert sentence in call(place, *words).output
    [advice] = [each for each in told(place)["advice"] if each["text"].startswith(sentence)]
    assert advice["saves_monthly"] == pytest.approx(730 * (0.04048 + 0.5 * 0.004445))
    report = CliRunner().invoke(cli, ["-C", str(place), "report", "--since", "25h", "--json"])
    assert any(each.startswith(sentence) for each in json.loads(report.output)["advice"]), report.output


@pytest.mark.parametrize("work", [None, *WORKS])
def test_what_is_to_be_pasted_loads(place: Path, work: str | None) -> None:
    """The piece of blueprint is one by itself, for every class of work, and holds what was reckoned."""
    words = ("--work", work) if work else ()
    data = told(place, "--users", "3000", *words)
    text = data["allocation"]["fragment"]
    model = load(text.encode(), default_name="shop")
    assert set(model.services) == {"web", "api"}
    for given_ in data["allocation"]["services"]:
        service = model.services[given_["service"]]
        assert service.instance.concurrency == given_["size"]["concurrency"]
        assert service.instance.memory_bytes == given_["size"]["memory_bytes"]
        assert service.scaling.instances_max == given_["instances_max"]
        assert service.drain_s == given_["timeout_s"]
        assert given_["work"] == (work or "medium")
    web = model.services["web"]
    assert web.command == load(BLUEPRINT.encode(), default_name="shop").services["web"].command
    assert {trigger.metric for trigger in web.scaling.triggers} == {"concurrency", "response_time", "queue", "memory"}
    assert text in call(place, "--users", "3000", *words).output


def test_a_scenario_that_asks_nothing_of_anybody(place: Path) -> None:
    """The services keep their least, and there is nothing to paste."""
    text = BLUEPRINT.replace("[GET /, GET /api/me]", "[GET /x]").replace(
        "command: 'serve", "paths: [/web], command: 'serve"
    )
    (place / "tenfold.yaml").write_text(
        text.replace("  web:\n    paths: [/web], command", "  web:\n    paths: [/web]\n    command")
    )
    data = told(place, "--users", "5000")
    assert data["allocation"] == {"services": [], "fragment": ""}
    assert {need["instances"] for need in data["needs"]} == {1}
    text = call(place, "--users", "5000").output
    assert "the scenario asks nothing of it" in text and "to paste" not in text and "more instances" not in text


@settings(max_examples=40)
@given(
    command=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=40).filter(
        lambda text: text.strip() and "{" not in text and "}" not in text
    ),
    users=st.integers(1, 10**9),
    work=st.sampled_from(list(WORKS)),
    promised=st.sampled_from(("99%", "99.99%")),
)
def test_whatever_a_command_holds_is_pasted_as_it_is(command: str, users: int, work: str, promised: str) -> None:
    """Quotes, hashes, colons and letters of any script come back as they were, and every number is one that a blueprint may hold."""
    text = f"services: {{web: {{command: x}}}}\ntargets: {{availability: {promised}}}\ndata: {{}}"
    model = load(text.encode(), default_name="shop")
    model = replace(model, services={"web": replace(model.services["web"], command=command)})
    scenario = next(iter(model.scenarios.values()))
    found = outlook(Question(model, scenario, {"web": 1.0}, {}, 200, WORKS[work]), users)
    assert load(fragment(model, found).encode(), default_name="shop").services["web"].command == command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--users", "0"), "--users 0: give a number of people from 1"),
        (("--users", "10", "--growth", "fast"), "--growth fast: expected a share or a number of users"),
        (("--users", "10", "--growth", "0%/month"), "nothing grows"),
        (("--users", "10", "--growth", "-5%/month"), "try 10%/month or 500/month"),
        (("--users", "10", "--work", "hard"), "'hard' is not one of"),
        (("--growth", "10%/month"), "--growth is about users: say how many there are with --users"),
        (("--work", "light"), "--work is about users"),
        (("--scenario", "office"), "--scenario is about users"),
        (("--users", "10", "--scenario", "x"), "there is no scenario x; there are: office"),
    ],
)
def test_wrong_calls(place: Path, words: tuple[str, ...], said: str) -> None:
    """What can't be asked is told in a sentence, with code 2."""
    ended = call(place, *words)
    assert (ended.exit_code, said in ended.output) == (2, True), ended.output


@pytest.mark.parametrize(
    ("text", "pace"),
    [
        ("10%/month", Pace("month", ratio=0.1)),
        ("5%/week", Pace("week", ratio=0.05)),
        ("500/month", Pace("month", users=500.0)),
        ("2.5 % / year", Pace("year", ratio=0.025)),
    ],
)
def test_how_growth_is_said(text: str, pace: Pace) -> None:
    """A share or a number, each day, week, month or year."""
    assert pace_of(text) == pace


def test_who_is_bound_by_the_scenarios_own_rows() -> None:
    """One of four users belongs to a tenant that must stay in the EU."""
    text = """
    services: {web: {command: x}}
    regions: {a: {at: [0, 0]}, b: {at: [1, 1], residency: eu}}
    residency: {eu: {tenants: [acme]}}
    """
    model = load(text.encode(), default_name="shop")
    rows = tuple({"company": name} for name in ("acme", "b", "c", "d"))
    assert residents_of(model, Scenario("s", (), users=rows)) == {"eu": 0.25}
    assert residents_of(model, Scenario("s", ())) == {}


def test_no_journal_knows_nothing() -> None:
    """Without minutes there are no users of today, and nothing is advised."""
    assert Past().users is None
    assert Past(Window(0.0, 60.0, {"web@local:concurrent_users": (None, 0.2)})).users is None


def test_the_page_has_the_figures_of_the_code() -> None:
    """Every class of work stands in docs/plan.md as it is reckoned with, and so do the sizes of a database."""
    page = " ".join((Path(__file__).parents[2] / "docs" / "plan.md").read_text(encoding="utf-8").split())
    mib = 1024**2
    for work in WORKS.values():
        sizes = (work.base_bytes, work.request_bytes, work.cache_bytes, work.data_bytes)
        cells = [
            work.name,
            *(f"{ms:g} ms" for ms in (work.cpu_ms, work.wait_ms, work.database_ms)),
            f"{work.cores:g}",
            *(f"{size / mib:g} MiB" for size in sizes),
            f"{work.timeout_s:g} s",
        ]
        assert f"| {' | '.join(cells)} |" in page
        assert work.why in page
    *most, last = CLASSES_CORES
    assert f"the smallest of {', '.join(map(str, most))} or {last} cores" in page
    assert f"from {COPY_USERS:,} users on" in page
    assert (
        f"at most {HEADROOM_RATIO:.0%} of the 42.7" in page
        and f"seen for less than {SEEN_MINUTES_MIN // 60} hours" in page
    )


def test_status_tells_how_old_the_prices_are(place: Path) -> None:
    """Beside what the month costs, by the time that is looked at."""
    (place / ".tenfold").mkdir()
    journal, model = Journal(place / ".tenfold/journal.db"), load(BLUEPRINT.encode(), default_name="shop")
    journal.open()
    spend = SpendSeen("USD", 0.5, 3.1, 31.2, NOW, 3600.0, "2026-06-17", NOW)
    snapshot = journal.seen(replace(Snapshot(NOW), spend={"month": spend}))
    tick = journal.append(Entry(model, snapshot, Decided((), (), Memory())))
    journal.close()
    [line] = [text.plain for text in lines(model, tick) if "cost" in text.plain]
    assert line.endswith("31.20 by its end; the budget is 400 USD; prices of 2026-06-17, 154 days old")


def test_what_is_pasted_takes_nothing_away(place: Path) -> None:
    """The piece holds less than a blueprint may, and says that the rest stays; a budget for nobody is told without a number of users."""
    (place / "tenfold.yaml").write_text((place / "tenfold.yaml").read_text().replace("400 USD", "1 USD"))
    text = call(place, "--users", "3000").output
    assert "leave what is not here (health, forecast, floors) as it is" in text
    assert "breaks first, from the first user on: the month costs more than its budget of 1 USD" in text
