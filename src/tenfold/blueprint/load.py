"""Text becomes a `Model`, or all its problems at once: the stages of this room in their order."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tenfold.blueprint.checks import check
from tenfold.blueprint.derive import derived
from tenfold.blueprint.parts import BLUEPRINT, ENVIRONMENT_NAME, OVERRIDES
from tenfold.blueprint.problem import BlueprintError, Problem, below, quoted
from tenfold.blueprint.read import PROBLEMS_MAX, Reading
from tenfold.blueprint.scenarios import BESIDE, check_scenarios, default_scenario
from tenfold.blueprint.shape import Section
from tenfold.blueprint.tiers import with_pools
from tenfold.blueprint.tree import Entries, Node, compose, kind_of, overlay
from tenfold.model import DEFAULT_REGION, Environment, Model, Region, Scenario

PRODUCTION = "production"
ENVIRONMENTS_MAX = 20


@dataclass(frozen=True, slots=True)
class Beside:
    """A file of scenarios beside the blueprint."""

    name: str
    text: str | bytes


def load(
    text: str | bytes,
    *,
    name: str = "tenfold.yaml",
    environment: str | None = None,
    default_name: str,
    beside: Beside | None = None,
) -> Model:
    """The model of `environment` that `text` describes.

    `name` is the file's, for messages. `default_name` (the folder's, say) names the app where the blueprint does not.
    Without an `environment` it is the one for development. All environments are checked, whichever is asked for. The
    scenarios of a file `beside` are those of every environment. Raises `BlueprintError` with every problem.
    """
    root, problems = compose(text, name)
    found = dict.fromkeys(problems)
    tree = replace(root, entries={key: node for key, node in root.entries.items() if key != "environments"})
    usual = Environment()
    models = {usual.name: _read(tree, BLUEPRINT, usual, name, default_name, found)}
    for each, override in _overrides(root, name, found).items():
        overlaid = overlay(tree, override)
        assert isinstance(overlaid, Entries), "a mapping over a mapping is a mapping"
        models[each] = _read(overlaid, OVERRIDES, Environment(each, each == PRODUCTION), name, default_name, found)
    asked = environment or usual.name
    if asked not in models:
        node = root.entries.get("environments", root)
        message = f"there is no environment {quoted(asked)}; known are {', '.join(models)}"
        found[Problem(name, node.line, "environments", message)] = None
    own = _beside(beside, found) if beside is not None else {}
    for model in models.values():
        for twice in own.keys() & model.scenarios.keys():
            assert beside is not None, "what is twice is there too"
            found[Problem(beside.name, _line(beside, twice), twice, f"is in {name} too; keep one of them")] = None
    if found:
        raise BlueprintError(_in_order(found, name))
    scenarios = own | dict(models[asked].scenarios)
    default = default_scenario(models[asked].services)
    if not scenarios and default is not None:
        scenarios = {default.name: default}
    return replace(models[asked], scenarios=scenarios)


def _beside(beside: Beside, found: dict[Problem, None]) -> dict[str, Scenario]:
    """The scenarios of the file beside; its problems join `found`."""
    try:
        root, problems = compose(beside.text, beside.name)
    except BlueprintError as error:
        found.update(dict.fromkeys(error.problems))
        return {}
    reading = Reading(beside.name, root)
    scenarios: dict[str, Scenario] = reading.keys(BESIDE, Entries(1, "", {"scenarios": root})).get("scenarios", {})
    check_scenarios(scenarios, reading)
    found.update(dict.fromkeys((*problems, *reading.problems)))
    return scenarios


def _line(beside: Beside, scenario: str) -> int:
    """Where a scenario stands in the file beside."""
    return compose(beside.text, beside.name)[0].entries[scenario].line


def _in_order(found: Iterable[Problem], file: str) -> tuple[Problem, ...]:
    """The problems by line; no more of them than anyone mends in one go."""
    problems = sorted(found, key=lambda problem: (problem.file != file, problem.line))
    shown = tuple(problems[:PROBLEMS_MAX])
    if len(problems) <= PROBLEMS_MAX:
        return shown
    return (*shown, Problem(file, shown[-1].line, "", f"has more than {PROBLEMS_MAX} problems; mend these first"))


def app_name(text: str) -> str:
    """A valid name for an app made from any text, such as a folder's name."""
    words = re.findall("[a-z0-9]+", text.lower())
    name = "-".join(words).lstrip("0123456789-")[:40].rstrip("-")
    return name or "app"


def _read(
    tree: Entries, section: Section, environment: Environment, file: str, default_name: str, found: dict[Problem, None]
) -> Model:
    """The model that `tree` says, as far as it can be read; its problems join `found`."""
    reading = Reading(file, tree)
    values = reading.keys(section, tree)
    model = Model(
        name=values.pop("name", app_name(default_name)),
        services=with_pools(derived(values.pop("services", {}), reading), values.get("tiers", {}), reading),
        regions=values.pop("regions", {}) or {DEFAULT_REGION: Region(DEFAULT_REGION)},
        environment=environment,
        **values,
    )
    if not reading.is_full:
        check(model, reading)
    if section is OVERRIDES:
        found.update(dict.fromkeys(_own(reading.problems, environment.name, found)))
    else:
        found.update(dict.fromkeys(reading.problems))
    return model


def _own(problems: Iterable[Problem], environment: str, said: Iterable[Problem]) -> Iterator[Problem]:
    """The problems that only this environment has: none for a place that something was said of, and it is named where the
    place does not tell."""
    places = {(each.line, each.path) for each in said}
    for each in problems:
        if (each.line, each.path) not in places:
            tells = each.path.startswith("environments.")
            yield each if tells else replace(each, message=f"{each.message} (in the environment {environment})")


def _overrides(root: Entries, file: str, found: dict[Problem, None]) -> dict[str, Node]:
    """What each environment says in its own way; what is wrong with their names or kind joins `found`."""

    def note(node: Node, path: str, message: str) -> None:
        found[Problem(file, node.line, path, message)] = None

    node = root.entries.get("environments")
    if node is None:
        return {}
    example = "{production: {domains: [app.example]}}"
    if not isinstance(node, Entries):
        note(node, node.path, f"expected a mapping of environments, found {kind_of(node)}; try {example}")
        return {}
    if len(node.entries) > ENVIRONMENTS_MAX:
        note(node, node.path, f"names {len(node.entries)} environments; {ENVIRONMENTS_MAX} are the most: remove some")
        return {}
    sound: dict[str, Node] = {}
    for name, override in node.entries.items():
        path = below(node.path, name)
        try:
            ENVIRONMENT_NAME.parse(name)
        except ValueError as error:
            note(override, path, f"{error}, found {quoted(name)}; try {ENVIRONMENT_NAME.example}")
            continue
        if isinstance(override, Entries):
            sound[name] = override
        else:
            note(override, path, f"expected {OVERRIDES.what}, found {kind_of(override)}; try {{}} if nothing differs")
    return sound
