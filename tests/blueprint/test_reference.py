"""docs/blueprint.yaml is manual, test data and proof: it holds every key, it loads, and the defaults it tells are the coded ones."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blueprint import BlueprintError, load, schema
from tenfold.blueprint.parts import BLUEPRINT
from tenfold.blueprint.services import TRIGGERS
from tenfold.blueprint.shape import NO_DEFAULT, Either, Key, ListOf, MapOf, Section, default_of, written
from tenfold.blueprint.tree import Entries, Items, Node, compose
from tenfold.blueprint.units import Unit
from tenfold.model import KNOWN_TRIGGERS, Model, Scaling

HERE = Path(__file__).parent
EXAMPLE = (HERE.parents[1] / "docs" / "blueprint.yaml").read_text(encoding="utf-8")
LINES = EXAMPLE.splitlines()
SCHEMA: dict[str, Any] = schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@dataclass(frozen=True)
class Place:
    """One key of the example: what declares it, the dataclass it goes to, its line, and the comment there."""

    key: Key
    build: type[Any] | None
    node: Node

    @property
    def comment(self) -> str:
        return LINES[self.node.line - 1].partition(" # ")[2].strip()


def places(section: Section, around: type[Any] | None, node: Entries) -> Iterator[Place]:
    """Every key that the example gives, environments left out: they repeat the others."""
    for name, entry in node.entries.items():
        key = section.key(name)
        assert key is not None, name
        yield Place(key, section.build or around, entry)
        kind = key.kind
        if isinstance(kind, Section) and isinstance(entry, Entries):
            yield from places(kind, section.build or around, entry)
        elif isinstance(kind, Either) and isinstance(entry, Entries):
            yield from places(kind.whole, None, entry)
        elif isinstance(kind, ListOf) and isinstance(entry, Items):
            item = kind.item.whole if isinstance(kind.item, Either) else kind.item
            for item_node in entry.items:
                if isinstance(item, Section) and isinstance(item_node, Entries):
                    yield from places(item, None, item_node)
        elif isinstance(kind, MapOf) and isinstance(entry, Entries) and name != "environments":
            for each, inner in entry.entries.items():
                one = kind.known.get(each, kind.item)
                if isinstance(one, Section) and isinstance(inner, Entries):
                    yield from places(one, None, inner)


def declared(section: Section) -> Iterator[Key]:
    """Every key there is."""
    for key in section.keys:
        yield key
        kinds = [key.kind.item, *key.kind.known.values()] if isinstance(key.kind, MapOf) else [key.kind]
        kinds = [key.kind.item] if isinstance(key.kind, ListOf) else kinds
        for kind in kinds if key.name != "environments" else []:
            whole = kind.whole if isinstance(kind, Either) else kind
            if isinstance(whole, Section):
                yield from declared(whole)


PLACES = tuple(places(BLUEPRINT, None, compose(EXAMPLE, "docs/blueprint.yaml")[0]))


def model() -> Model:
    """The example, read."""
    return load(EXAMPLE, name="docs/blueprint.yaml", default_name="other")


def test_loads() -> None:
    """The annotated example is right, in each of its environments."""
    assert model().name == "crewboard"
    production = load(EXAMPLE, environment="production", default_name="other")
    assert production.environment.is_production
    assert production.domains == tuple(f"{name}.crewboard.example" for name in ("app", "eu", "acme"))
    assert (production.services["web"].scaling.instances_min, production.services["web"].scaling.instances_max) == (
        2,
        20,
    )


def test_holds_every_key() -> None:
    """Nothing that may be said is missing from the example."""
    assert {id(key) for key in declared(BLUEPRINT)} <= {id(place.key) for place in PLACES}
    assert (
        set(KNOWN_TRIGGERS)
        == set(TRIGGERS.known)
        < {trigger.metric for trigger in model().services["web"].scaling.triggers}
    )


def test_every_attribute_has_a_key() -> None:
    """Each key goes to an attribute that the model has, and each of the model's settings has a key."""
    made = {"name", "metric", "environment", "releases", "as_of", "source", "tier"}
    for build in {place.build for place in PLACES if place.build}:
        attributes = {place.key.to for place in PLACES if place.build is build and not _groups(place.key)}
        assert attributes - {"environments"} <= set(build.__dataclass_fields__) <= attributes | made


def _groups(key: Key) -> bool:
    return isinstance(key.kind, Section) and key.kind.build is None


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.node.path)
def test_tells_the_coded_default(place: Place) -> None:
    """Beside each key stands what it is when left out, or that it can't be, and the code agrees."""
    key, default = place.key, default_of(place.build, place.key)
    told = re.search(r"(?:^|[ ;])default: (.*)$", place.comment)
    if key.is_required:
        assert place.comment.endswith("required")
        assert told is None
    elif key.derived:
        assert told is not None and told[1] == key.derived
    elif isinstance(key.kind, Section):
        assert (told is not None and told[1] == "none") == (default is None)
    else:
        assert told is not None, f"{place.node.path} does not tell its default"
        if isinstance(key.kind, Unit) and told[1] != "none":
            assert key.kind.parse(told[1]) == default
        elif key.name != "environments":
            assert default is not NO_DEFAULT
            assert told[1] == written(key.kind, default if default != () or not isinstance(key.kind, ListOf) else ())


def test_tells_the_default_triggers() -> None:
    """The example's concurrency and cpu triggers are those of a service that names none."""
    by_metric = {trigger.metric: trigger for trigger in model().services["web"].scaling.triggers}
    assert tuple(by_metric[name] for name in ("concurrency", "cpu")) == Scaling().triggers


def test_schema_is_a_schema() -> None:
    """What editors get is a valid JSON Schema that describes every key."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    every = SCHEMA["properties"]["services"]["additionalProperties"]["properties"]["health"]["properties"]["every"]
    assert every["default"] == "5s"
    assert every["description"].startswith("Time between two questions")


@pytest.mark.parametrize(
    "path", [HERE.parents[1] / "docs" / "blueprint.yaml", *(HERE / "good").glob("*.yaml")], ids=lambda p: p.stem
)
def test_good_ones_fit_the_schema(path: Path) -> None:
    """What loads is right for an editor too."""
    text = path.read_text(encoding="utf-8")
    load(text, default_name="shop")
    VALIDATOR.validate(yaml.safe_load(text))


BY_SHAPE = (
    "units",
    "shapes",
    "names",
    "unknown-keys",
    "secret-values",
    "secret-mapping",
    "environments",
    "no-services",
    "blocks",
    "list",
)


@pytest.mark.parametrize("stem", BY_SHAPE)
def test_bad_ones_do_not_fit_the_schema(stem: str) -> None:
    """What is wrong by its shape, an editor marks while it is typed."""
    assert not VALIDATOR.is_valid(yaml.safe_load((HERE / "bad" / f"{stem}.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "key", [key for key in declared(BLUEPRINT) if isinstance(key.kind, Unit)], ids=lambda key: key.name
)
def test_examples_are_right(key: Key) -> None:
    """What a problem says to try can be read."""
    assert isinstance(key.kind, Unit)
    key.kind.parse(yaml.safe_load(key.kind.example) if key.kind.example.startswith('"') else key.kind.example)


SCALARS = [
    place
    for place in PLACES
    if isinstance(place.key.kind, Unit) and re.match(r" *[a-z_0-9]+: [^{\[]", LINES[place.node.line - 1])
]


@given(st.sets(st.sampled_from(range(len(SCALARS))), min_size=1))
def test_all_mistakes_at_once(chosen: set[int]) -> None:
    """However many mistakes are planted in the example, each is told, and nothing else is."""
    lines = list(LINES)
    for index in chosen:
        at = SCALARS[index].node.line - 1
        lines[at] = lines[at].partition(":")[0] + ": [oops]"
    with pytest.raises(BlueprintError) as caught:
        load("\n".join(lines), default_name="other")
    found = [(problem.line, problem.path) for problem in caught.value.problems]
    assert found == sorted(
        ((SCALARS[index].node.line, SCALARS[index].node.path) for index in chosen), key=lambda at: at[0]
    )
