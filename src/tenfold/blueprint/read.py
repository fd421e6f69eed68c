"""A tree becomes values, as `parts` declares them; what can't be read is noted with its line and left at its default,
so that all problems show."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from tenfold.blueprint.problem import Problem, below, quoted
from tenfold.blueprint.shape import Either, Kind, ListOf, MapOf, Section, TupleOf, example_of
from tenfold.blueprint.tree import Entries, Items, Node, Scalar, kind_of
from tenfold.blueprint.units import Unit

PROBLEMS_MAX = 500
_BAD: Any = object()
"""Stands for a value that could not be read."""


@dataclass(slots=True)
class Reading:
    """One reading of a tree: the `problems` met, and by dotted path the nodes that were given and which of these are
    `unsound`.

    A path here never names the environment whose words stand at it (a node's own `path` does), so that
    `sound("services.web.http")` holds for all.
    """

    file: str
    root: Entries
    problems: list[Problem] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    unsound: set[str] = field(default_factory=set)
    above_unsound: set[str] = field(default_factory=set)

    @property
    def is_full(self) -> bool:
        """True once there are more problems than anyone mends in one go."""
        return len(self.problems) > PROBLEMS_MAX

    def keys(self, section: Section, node: Entries, at: str = "") -> dict[str, Any]:
        """What `section` finds in `node`, by attribute; `at` is the node's path.
        Keys that are missing or unreadable are left out."""
        values: dict[str, Any] = {}
        for name, entry in node.entries.items():
            here = below(at, name)
            self.nodes[here] = entry
            key = section.key(name)
            if key is None:
                if not self.is_full:
                    self.note(here, _unknown(name, tuple(known.name for known in section.keys)))
                continue
            value = self._value(key.kind, entry, here)
            if value is not _BAD:
                if isinstance(key.kind, Section) and key.kind.build is None:
                    values |= value
                else:
                    values[key.to] = value
        for key in section.keys:
            if key.is_required and key.name not in node.entries:
                self.note(below(at, key.name), f"is missing; try {key.name}: {example_of(key.kind)}")
        return values

    def note(self, at: str, message: str) -> None:
        """Note a problem at a path; its line is that of the nearest node that was given."""
        if self.is_full:
            return
        self.unsound.add(at)
        self.above_unsound.update(_ancestors(at))
        if len(self.problems) == PROBLEMS_MAX:
            self.problems.append(Problem(self.file, 1, "", f"has more than {PROBLEMS_MAX} problems; mend these first"))
            return
        known = next((path for path in (at, *_ancestors(at)) if path in self.nodes), "")
        node = self.nodes.get(known, self.root)
        path = ".".join(filter(None, (node.path, at[len(known) :].lstrip("."))))
        self.problems.append(Problem(self.file, node.line, path, message))

    def given(self, at: str) -> bool:
        """True where the blueprint says something, readable or not."""
        return at in self.nodes

    def sound(self, *paths: str) -> bool:
        """True when nothing at these paths or below them was found wrong, so that a check may rely on them."""
        return not any(at in self.above_unsound or not self.unsound.isdisjoint((at, *_ancestors(at))) for at in paths)

    def _expected(self, at: str, node: Node, what: str, example: str, *, is_private: bool = False) -> Any:
        self.note(at, f"expected {what}, found {kind_of(node, is_private=is_private)}; try {example}")
        return _BAD

    def _value(self, kind: Kind, node: Node, at: str, **named: str) -> Any:
        match kind:
            case Unit():
                return self._scalar(kind, node, at)
            case ListOf():
                return self._list(kind, node, at)
            case TupleOf():
                return self._tuple(kind, node, at)
            case MapOf():
                return self._map(kind, node, at)
            case Section():
                return self._section(kind, node, at, named)
            case Either(short=short, whole=whole):
                if not isinstance(node, Entries):
                    return self._scalar(short, node, at)
                value = self._section(whole, node, at, {})
                return value if value is _BAD else kind.made(value)

    def _scalar(self, unit: Unit, node: Node, at: str) -> Any:
        if not isinstance(node, Scalar) or node.text is None:
            return self._expected(at, node, unit.what, unit.example)
        try:
            return unit.parse(node.text)
        except ValueError as error:
            found = kind_of(node, is_private=unit.is_private)
            self.note(at, f"{error}, found {found}; try {unit.example}")
            return _BAD

    def _list(self, kind: ListOf, node: Node, at: str) -> Any:
        if not isinstance(node, Items):
            is_private = isinstance(kind.item, Unit) and kind.item.is_private
            return self._expected(at, node, kind.what, example_of(kind), is_private=is_private)
        values: list[Any] = []
        known: set[Any] = set()
        for index, item in enumerate(node.items):
            here = f"{at}[{index}]"
            self.nodes[here] = item
            value = self._value(kind.item, item, here)
            if kind.is_set and value in known and self.sound(here):
                self.note(here, "is given twice; keep one of them")
            elif value is not _BAD:
                values.append(value)
                if kind.is_set:
                    known.add(value)
        return tuple(values)

    def _tuple(self, kind: TupleOf, node: Node, at: str) -> Any:
        if not isinstance(node, Items) or len(node.items) != len(kind.items):
            found = f"a list of {len(node.items)}" if isinstance(node, Items) else kind_of(node)
            self.note(at, f"expected {kind.what} in a list of {len(kind.items)}, found {found}; try {kind.example}")
            return _BAD
        values = []
        for index, (unit, item) in enumerate(zip(kind.items, node.items, strict=True)):
            self.nodes[f"{at}[{index}]"] = item
            values.append(self._scalar(unit, item, f"{at}[{index}]"))
        return _BAD if _BAD in values else tuple(values)

    def _map(self, kind: MapOf, node: Node, at: str) -> Any:
        if not isinstance(node, Entries):
            return self._expected(at, node, kind.what, kind.example, is_private=True)
        values: dict[str, Any] = {}
        for name, entry in node.entries.items():
            here = below(at, name)
            self.nodes[here] = entry
            is_own = name not in kind.known and not self.is_full
            like_known = get_close_matches(name[:60], [*kind.known], 1, 0.8) if is_own else []
            if like_known:
                self.note(
                    here, f'is much like "{like_known[0]}" but is not it; write {like_known[0]}, or choose another name'
                )
                continue
            try:
                kind.key.parse(name)
            except ValueError as error:
                self.note(here, f"{error}, found {quoted(name)}; try {kind.key.example}")
                continue
            value = self._value(
                kind.known.get(name, kind.item), entry, here, **({kind.named: name} if kind.named else {})
            )
            if value is not _BAD:
                values[name] = value
        return tuple(values.values()) if kind.is_tuple else values

    def _section(self, section: Section, node: Node, at: str, named: dict[str, str]) -> Any:
        if not isinstance(node, Entries):
            return self._expected(at, node, section.what, section.example)
        values = self.keys(section, node, at)
        if section.build is None:
            return values
        if any(key.is_required and key.to not in values for key in section.keys):
            return _BAD
        return section.build(**values, **named)


def _ancestors(path: str) -> Iterator[str]:
    """The paths that hold `path`, the nearest first: `a.b`, `a` for `a.b.c`."""
    while "." in path:
        path = path.rpartition(".")[0]
        yield path


def _unknown(name: str, known: tuple[str, ...]) -> str:
    """The sentence on an unknown key: the nearest known one, or all that are known here."""
    nearest = get_close_matches(name[:60].lower(), known, 1, 0.6)
    return (
        f'unknown key; did you mean "{nearest[0]}"?' if nearest else f"unknown key; known here are {', '.join(known)}"
    )
