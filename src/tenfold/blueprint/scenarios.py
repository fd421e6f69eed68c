"""What a blueprint may say of its users: scenarios, each a mix of actions. A part of the declaration that `parts` makes whole,
the checks of it, and what is played where nothing is said."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tenfold.blueprint import units
from tenfold.blueprint.problem import below
from tenfold.blueprint.read import Reading
from tenfold.blueprint.services import NAME
from tenfold.blueprint.shape import Either, Key, ListOf, MapOf, Section
from tenfold.model import Action, Check, Scenario, Service, Socket, Step
from tenfold.model.scenario import VARIABLE

DEFAULT_SCENARIO = "default"
"""The scenario of a project that has none: the first page, over and over."""
_SHARES_OFF_MAX = 1e-4
"""How far shares may be from 100% together, so that three times 33.33% will do."""
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_OWN_HEADERS = ("content-length", "transfer-encoding", "connection")


def _read_request(text: units.Written) -> Step:
    method, _, rest = text.partition(" ")
    path, _, body = rest.strip().partition(" ")
    body = body.strip()
    if body[:1] in ("{", "["):
        try:
            # Whatever stands in its place later, a variable alone is no JSON.
            json.loads(VARIABLE.sub("0", body))
        except ValueError:
            raise ValueError("expected JSON after the path") from None
    return Step(method, path, body)


def _write_request(step: Step) -> units.Written:
    return " ".join(filter(None, (step.method, step.path, step.body)))


REQUEST = units.Unit(
    "a request: METHOD /path, and JSON if it has a body",
    "GET /api/projects",
    r"(?!CONNECT\b)[A-Z]{2,20} +/(?:(?!#)[\x21-\x7e])*(?: +\S[\s\S]*)?",
    _read_request,
    _write_request,
)
_VARIABLE_NAME = units.text(
    "a variable's name (letters, digits and underscores)", "project", pattern=VARIABLE.pattern[3:-3]
)
_FIELD = units.text(
    "the dotted path of a field in the answer's JSON", "projects.0.id", pattern=r"[^\s.]+(?:\.[^\s.]+)*"
)
_HEADER_NAME = units.text(
    "a header's name (not content-length, transfer-encoding or connection)",
    "accept-language",
    pattern=rf"(?i:(?!(?:{'|'.join(_OWN_HEADERS)})$)){_TOKEN}",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a mapping says it."""

    request: Step
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, str] = field(default_factory=dict)

    def step(self) -> Step:
        """The step that it is."""
        return replace(self.request, headers=tuple(self.headers.items()), keep=self.keep)


STEP = Either(
    REQUEST,
    Section(
        "a request, or a mapping of it with its headers and what it keeps",
        (
            Key("request", REQUEST, "Its method, its path, and its body where it has one.", is_required=True),
            Key(
                "headers",
                MapOf(
                    "a mapping of headers", _HEADER_NAME, units.text("a header's value", "en", pattern=r"[\x20-\x7e]*")
                ),
                "What goes with it.",
            ),
            Key(
                "keep",
                MapOf("a mapping of variables", _VARIABLE_NAME, _FIELD),
                "What is taken out of the answer, for later requests of the same user.",
            ),
        ),
        Asked,
    ),
    Asked.step,
)
STEPS = ListOf("a list of requests", STEP, is_set=False)

ACTION = Section(
    "a mapping of an action",
    (
        Key(
            "share",
            units.percent("60%"),
            "How many of all actions are this one; together they are 100%.",
            is_required=True,
        ),
        Key("requests", STEPS, "What it asks for, one after another.", "steps", is_required=True),
    ),
    Action,
)

SOCKET = Section(
    "a mapping of a WebSocket",
    (
        Key(
            "path",
            units.text("a path", "/feed", pattern=r"/(?:(?!#)[\x21-\x7e])*"),
            "Where it is opened.",
            is_required=True,
        ),
        Key("share", units.percent("100%"), "How many of the users hold one."),
        Key(
            "send",
            units.text("a message", '{"ping": 1}'),
            "What a user says; the next message that comes answers it.",
            derived="a user says nothing",
        ),
        Key("every", units.duration("30s", low_s=0.1), "How often.", "every_s"),
    ),
    Socket,
)

CHECK = Section(
    "a mapping of a write and how it is read back",
    (
        Key("write", STEP, "Stores a {value} that was never used before.", is_required=True),
        Key("read", STEP, "Its answer holds every value that was stored.", is_required=True),
        Key("enter", STEPS, "What is done once before them."),
    ),
    Check,
)

SCENARIO = Section(
    "a mapping of a scenario",
    (
        Key("think", units.duration("10s", low_s=0.0), "The mean pause between two actions of a user.", "think_s"),
        Key(
            "users",
            ListOf(
                "a list of mappings",
                MapOf("a mapping of variables", _VARIABLE_NAME, units.value("a value", "ada")),
                is_set=False,
            ),
            "The variables of each user, used over and over in turn.",
        ),
        Key("enter", STEPS, "What a user does first, once: it signs in."),
        Key(
            "actions",
            MapOf("a mapping of actions", NAME.like("dashboard"), ACTION, named="name", is_tuple=True),
            "What users do.",
            is_required=True,
        ),
        Key("socket", SOCKET, "A WebSocket that users hold."),
        Key("check", CHECK, "How drills see that what was acknowledged is kept."),
    ),
    Scenario,
)

SCENARIOS = MapOf("a mapping of scenarios", NAME.like("workday"), SCENARIO, named="name")

BESIDE = Section("a mapping of scenarios", (Key("scenarios", SCENARIOS, "What users do."),))
"""What a file of scenarios beside the blueprint holds, under the key that it stands for."""


def check_scenarios(scenarios: Mapping[str, Scenario], reading: Reading) -> None:
    """Note in `reading` what does not fit together in `scenarios`."""
    for name, scenario in scenarios.items():
        at = f"scenarios.{name}"
        if not reading.sound(at):
            continue
        if not scenario.actions:
            reading.note(f"{at}.actions", "names no action; try {browse: {share: 100%, requests: [GET /]}}")
            continue
        total = sum(action.share for action in scenario.actions)
        if abs(total - 1) > _SHARES_OFF_MAX:
            reading.note(f"{at}.actions", f"have shares of {total * 100:g}% together; make them 100%")
        for action in scenario.actions:
            if not action.steps:
                reading.note(f"{at}.actions.{action.name}.requests", "names no request; try [GET /]")
        for where, variable in scenario.unknown_variables():
            reading.note(
                below(at, where),
                f"names {{{variable}}}, which neither every user has nor an earlier request keeps; "
                f"add it to users, or try keep: {{{variable}: id}} there",
            )


def default_scenario(services: Mapping[str, Service]) -> Scenario | None:
    """What is played where no scenario is named: the first path of the first service that has one; None without such."""
    path = next((service.paths[0] for service in services.values() if service.http and service.paths), None)
    return Scenario(DEFAULT_SCENARIO, (Action("browse", 1.0, (Step("GET", path),)),)) if path is not None else None
