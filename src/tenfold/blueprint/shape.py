"""The words in which `parts` declares the blueprint: sections of keys, maps, lists and units.

Reading, hints, the JSON Schema and the proof of the annotated example all walk these declarations. A default is not
among them: it is that of the model's dataclass (`default_of`).
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from tenfold.blueprint.units import Unit


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of `item`, each at most once where it `is_set`; becomes a tuple."""

    what: str
    item: "Kind"
    is_set: bool = True


@dataclass(frozen=True, slots=True)
class TupleOf:
    """A list of exactly these items; becomes a tuple."""

    what: str
    items: tuple[Unit, ...]

    @property
    def example(self) -> str:
        """A right value, as a blueprint writes it."""
        return f"[{', '.join(item.example for item in self.items)}]"


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping whose keys the user chooses, each like `key`;
    those in `known` have a kind of their own, all others are `item`.

    Becomes a dict; or, with `named`, the items carry their key in the attribute of that name (a tuple of them with
    `is_tuple`).
    """

    what: str
    key: Unit
    item: "Kind"
    named: str | None = None
    is_tuple: bool = False
    known: "Mapping[str, Kind]" = field(default_factory=dict)

    @property
    def example(self) -> str:
        """A right value, as a blueprint writes it."""
        return f"{{{self.key.example}: {example_of(self.item)}}}"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section: what it is read as, and what it means.

    `attribute` is what it becomes in the section's dataclass (its own name unless said). Where it is `derived` from
    other keys when it is left out, that says how.
    """

    name: str
    kind: "Kind"
    doc: str
    attribute: str = ""
    is_required: bool = False
    derived: str | None = None

    @property
    def to(self) -> str:
        return self.attribute or self.name


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping of known keys that becomes a `build`. Without `build` it only groups keys: they become attributes of
    the section around it."""

    what: str
    keys: tuple[Key, ...]
    build: type[Any] | None = None

    @property
    def example(self) -> str:
        """A right value, as a blueprint writes it."""
        key = next((key for key in self.keys if key.is_required), self.keys[0])
        return f"{{{key.name}: {_in_flow(example_of(key.kind))}}}"

    def key(self, name: str) -> Key | None:
        """The key called `name`."""
        return next((key for key in self.keys if key.name == name), None)


@dataclass(frozen=True, slots=True)
class Either:
    """What may be said in short, as a scalar, or whole, as a mapping; `made` turns what the mapping becomes into what the scalar
    does."""

    short: Unit
    whole: Section
    made: Callable[[Any], Any]

    @property
    def example(self) -> str:
        """A right value, as a blueprint writes it."""
        return self.short.example


Kind = Unit | ListOf | TupleOf | MapOf | Section | Either

NO_DEFAULT: Any = object()
"""What `default_of` gives for what must be given, and for what has no value of its own."""


def example_of(kind: Kind) -> str:
    """A right value of `kind`, as a blueprint writes it."""
    return f"[{example_of(kind.item)}]" if isinstance(kind, ListOf) else kind.example


def _in_flow(example: str) -> str:
    """`example` as it must be written between braces: a command that holds some itself goes in quotes."""
    return f'"{example}"' if "{" in example and not example.startswith("{") else example


def default_of(build: type[Any] | None, key: Key) -> Any:
    """The value that `key` has when it is left out of a section that becomes `build`: the dataclass's own."""
    for known in fields(build) if build else ():
        if known.name == key.to:
            if known.default_factory is not MISSING:
                return known.default_factory()
            return NO_DEFAULT if known.default is MISSING else known.default
    return NO_DEFAULT


def written(kind: Kind, value: Any) -> str:
    """`value` as a blueprint writes it."""
    match kind:
        case _ if value is None:
            return "none"
        case Unit():
            return kind.write(value)
        case Either(short=short):
            return short.write(value)
        case ListOf():
            return f"[{', '.join(written(kind.item, each) for each in value)}]"
        case TupleOf():
            return f"[{', '.join(item.write(part) for item, part in zip(kind.items, value, strict=True))}]"
        case MapOf() | Section():
            return "{}" if not value else "given"
