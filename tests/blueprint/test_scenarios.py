"""What a blueprint says of its users becomes scenarios, from the blueprint itself or from a file beside it."""

import pytest

from tenfold.blueprint import Beside, BlueprintError, load
from tenfold.model import Action, Check, Model, Scenario, Socket, Step

SERVICES = "services: {web: {command: run}}\n"
DAY = """
day:
  think: 2s
  users: [{name: ada, age: 010}, {name: ben, age: 7}]
  enter: ['POST /login {"name": "{name}", "age": {age}}']
  actions:
    look:
      share: 75%
      requests:
        - {request: GET /notes, headers: {accept: text/html}, keep: {note: notes.0.id}}
        - GET /notes/{note}?by={user}
    nod: {share: 25%, requests: [POST /nod]}
  socket: {path: /feed, share: 50%, send: '{"ping": 1}', every: 5s}
  check: {write: 'PUT /kept/{value}', read: GET /kept}
"""


def read(text: str, beside: str | None = None, environment: str | None = None) -> Model:
    """The model of a blueprint, and of a file beside it."""
    file = Beside("scenarios.yaml", beside) if beside is not None else None
    return load(text, default_name="shop", environment=environment, beside=file)


def problems(text: str, beside: str) -> list[str]:
    """The problems of both."""
    with pytest.raises(BlueprintError) as caught:
        read(text, beside)
    return [str(problem) for problem in caught.value.problems]


def inside(text: str) -> str:
    """The scenarios as a part of the blueprint."""
    return SERVICES + "scenarios:" + text.replace("\n", "\n  ")


def test_a_scenario_is_read_whole() -> None:
    """Requests said in short and whole, variables, pauses, the socket and the check all become nouns."""
    assert read(inside(DAY)).scenarios == {
        "day": Scenario(
            "day",
            (
                Action(
                    "look",
                    0.75,
                    (
                        Step("GET", "/notes", headers=(("accept", "text/html"),), keep={"note": "notes.0.id"}),
                        Step("GET", "/notes/{note}?by={user}"),
                    ),
                ),
                Action("nod", 0.25, (Step("POST", "/nod"),)),
            ),
            enter=(Step("POST", "/login", '{"name": "{name}", "age": {age}}'),),
            think_s=2.0,
            users=({"name": "ada", "age": "010"}, {"name": "ben", "age": "7"}),
            socket=Socket("/feed", 0.5, '{"ping": 1}', 5.0),
            check=Check(Step("PUT", "/kept/{value}"), Step("GET", "/kept")),
        )
    }


def test_a_file_beside_says_the_same() -> None:
    """Scenarios in a file of their own are those of the blueprint, in every environment, and join its own."""
    assert read(SERVICES, DAY).scenarios == read(inside(DAY)).scenarios
    text = SERVICES + "environments: {night: {scenarios: {late: {actions: {a: {share: 100%, requests: [GET /]}}}}}}"
    assert list(read(text, DAY, "night").scenarios) == ["day", "late"]


def test_a_file_beside_is_checked_with_its_own_lines() -> None:
    """What is wrong there is told with that file's name, after what is wrong in the blueprint."""
    found = problems("services: {web: {comand: run}}", DAY.replace("25%", "35%").replace("think", "thing"))
    assert [each.partition(": ")[0] for each in found] == [
        "tenfold.yaml:1 services.web.comand",
        "tenfold.yaml:1 services.web.command",
        "scenarios.yaml:3 day.thing",
    ]
    assert problems(SERVICES, DAY.replace("25%", "35%")) == [
        "scenarios.yaml:6 day.actions: have shares of 110% together; make them 100%"
    ]
    assert problems(SERVICES, "- day") == [
        "scenarios.yaml:1: expected keys and values at the top, found a list; try `name: myapp`"
    ]


def test_a_scenario_stands_in_one_place() -> None:
    """One name in both files is a problem, not a silent choice."""
    assert problems(inside(DAY), DAY) == ["scenarios.yaml:2 day: is in tenfold.yaml too; keep one of them"]


def test_without_a_scenario_users_ask_for_the_first_path() -> None:
    """A project that says nothing of its users has one scenario all the same, if anything of it can be asked for."""
    text = "services: {api: {command: run, paths: [/v1]}, bot: {command: run, http: false}}"
    assert read(text).scenarios["default"].actions[0].steps == (Step("GET", "/v1"),)
    assert read("services: {bot: {command: run, http: false}}").scenarios == {}
