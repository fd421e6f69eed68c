"""Text becomes a tree of nodes that know their line and path.
The first stage of reading: nothing here knows what a blueprint holds.

Only plain YAML gets through: mappings, lists and scalars whose text is kept as written. No object is ever made from a
tag, and what an alias (`*name`) repeats is copied within the same bounds as what is written out, so a small file can't
grow into a huge tree.
"""

import re
from dataclasses import dataclass, field, replace

import yaml

from tenfold.blueprint.problem import BlueprintError, Problem, below, quoted

BYTES_MAX = 1_000_000
VALUES_MAX = 20_000
DEPTH_MAX = 24
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOTHING = ("", "~", "null", "Null", "NULL")


@dataclass(slots=True)
class Scalar:
    """One value; `text` is None where the file says nothing or `null`."""

    line: int
    path: str
    text: str | None


@dataclass(slots=True)
class Items:
    """A list."""

    line: int
    path: str
    items: "list[Node]" = field(default_factory=list)


@dataclass(slots=True)
class Entries:
    """A mapping."""

    line: int
    path: str
    entries: "dict[str, Node]" = field(default_factory=dict)


Node = Scalar | Items | Entries


def compose(text: str | bytes, file: str) -> tuple[Entries, tuple[Problem, ...]]:
    """The tree of `text`, and what is wrong in it that does not stop the reading (a key given twice).

    Raises `BlueprintError` for a text that is no tree of mappings, lists and scalars, or that is beyond the bounds.
    """
    composer = _Composer(file)
    try:
        root = composer.compose(_decoded(text, file))
    except yaml.MarkedYAMLError as error:
        raise composer.stopped(*_syntax(error, text)) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = getattr(error, "reason", None) or "it holds a character that YAML does not allow"
        raise composer.stopped(1, f"is not valid YAML: {reason}; write plain text") from None
    if not isinstance(root, Entries):
        raise composer.stopped(1, f"expected keys and values at the top, found {kind_of(root)}; try `name: myapp`")
    return root, tuple(composer.problems)


def overlay(base: Node, over: Node) -> Node:
    """`base` with what `over` says in its place: mappings are merged key by key, anything else is replaced."""
    if not (isinstance(base, Entries) and isinstance(over, Entries)):
        return over
    merged = dict(base.entries)
    for key, node in over.entries.items():
        merged[key] = overlay(merged[key], node) if key in merged else node
    return replace(base, entries=merged)


def kind_of(node: Node, *, is_private: bool = False) -> str:
    """What `node` is, in words; the text of one that is private stays untold."""
    match node:
        case Entries():
            return "a mapping"
        case Items():
            return "a list"
        case Scalar(text=text):
            if text is None:
                return "nothing"
            return "another text" if is_private else quoted(text)


def _decoded(text: str | bytes, file: str) -> str:
    """The text, once it is known to be text and not too much of it."""

    def stop(message: str) -> BlueprintError:
        return BlueprintError((Problem(file, 1, "", message),))

    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > BYTES_MAX:
            raise stop(
                f"is {len(raw) / 1e6:.1f} MB; a blueprint is at most {BYTES_MAX // 1_000_000} MB; keep data elsewhere"
            )
        if b"\0" in raw:
            raise stop("is a binary file; a blueprint is text (YAML, UTF-8); name the right file")
        decoded = raw.decode("utf-8-sig")
    except UnicodeError:
        raise stop("is not UTF-8 text; save it again as UTF-8") from None
    if not decoded.strip():
        raise stop("is empty; write at least a name and services.web.command, or let `tenfold init` write it")
    return decoded


def _syntax(error: yaml.MarkedYAMLError, text: str | bytes) -> tuple[int, str]:
    """Line and message of a YAML syntax error."""
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    lines = (text if isinstance(text, str) else text.decode("utf-8-sig")).splitlines()
    here = lines[line] if line < len(lines) else ""
    if "\t" in here[: len(here) - len(here.lstrip())] or "\\t" in str(error.problem):
        return line + 1, "is indented with a tab; use spaces"
    if re.search(r"\{(?:port|host)\}", here):
        return (
            line + 1,
            "is not valid YAML: a command that holds {port} must stand in quotes here, as braces mean a mapping",
        )
    if re.search(r"/[^\s{]{0,200}\{\w{1,40}\}", here):
        return (
            line + 1,
            "is not valid YAML: a request that holds {name} must stand in quotes here, as braces mean a mapping",
        )
    what = error.problem or error.context or "it can't be read"
    if error.problem and error.context and error.context_mark and error.context_mark.line != line:
        what += f" {error.context} that begins in line {error.context_mark.line + 1}"
    return line + 1, f"is not valid YAML: {what}; check this line's indentation, colons and quotes"


@dataclass(slots=True)
class _Frame:
    """A mapping or list whose end has not been read yet; `key` is the mapping's key that waits for its value."""

    node: Items | Entries
    anchor: str | None
    merged: list[Entries] = field(default_factory=list)
    key: str | None = None
    key_line: int = 0


class _Composer:
    """Builds the tree from the parser's events with a stack of its own, so that depth is ours to bound."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node] = {}
        self.stack: list[_Frame] = []
        self.values = 0

    def stopped(self, line: int, message: str) -> BlueprintError:
        """The error that ends the reading here, with what was noted before."""
        return BlueprintError((*self.problems, Problem(self.file, line, "", message)))

    def compose(self, text: str) -> Node:
        root: Node | None = None
        done: Node | None
        for event in yaml.parse(text, Loader=_LOADER):
            assert event.start_mark is not None, "the parser marks every event"
            line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise self.stopped(line, "starts a second document; a blueprint is one: remove the `---`")
            if isinstance(event, yaml.CollectionEndEvent):
                done = self._close()
            elif isinstance(event, yaml.NodeEvent):
                done = self._open(event, line)
            else:
                continue
            if done is not None and not self.stack:
                root = done
        if root is None:
            raise self.stopped(1, "says nothing; write at least a name and services.web.command")
        return root

    def _open(self, event: yaml.NodeEvent, line: int) -> Node | None:
        """Take the next node in; returns it when it is complete (a scalar or an alias)."""
        frame = self.stack[-1] if self.stack else None
        if frame and isinstance(frame.node, Entries) and frame.key is None:
            self._take_key(frame, event, line)
            return None
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag not in (None, "!"):
            raise self.stopped(line, f"uses the tag {quoted(event.tag)}; a blueprint has none: remove it")
        line = frame.key_line if frame and frame.key is not None else line
        path = self._path(frame)
        match event:
            case yaml.AliasEvent():
                return self._put(self._repeated(event.anchor or "", line, path))
            case yaml.ScalarEvent():
                return self._put(self._scalar(event, line, path))
            case yaml.MappingStartEvent():
                self._begin(Entries(line, path), event.anchor)
            case yaml.SequenceStartEvent():
                self._begin(Items(line, path), event.anchor)
        return None

    def _begin(self, node: Items | Entries, anchor: str | None) -> None:
        if len(self.stack) >= DEPTH_MAX:
            message = f"is nested more than {DEPTH_MAX} deep; a blueprint needs 8: check the indentation"
            raise self.stopped(node.line, message)
        self._count(node.line)
        self.stack.append(_Frame(node, anchor))

    def _close(self) -> Node:
        frame = self.stack.pop()
        if isinstance(frame.node, Entries):
            for merged in frame.merged:
                for key, node in merged.entries.items():
                    frame.node.entries.setdefault(key, self._copied(node, below(frame.node.path, key)))
        if frame.anchor:
            self.anchors[frame.anchor] = frame.node
        return self._put(frame.node)

    def _put(self, node: Node) -> Node:
        """Hand a complete node to the mapping or list that is open."""
        if not self.stack:
            return node
        frame = self.stack[-1]
        if isinstance(frame.node, Items):
            frame.node.items.append(node)
        elif frame.key == "<<":
            frame.merged = self._to_merge(node)
        elif frame.key is not None and frame.key not in frame.node.entries:
            frame.node.entries[frame.key] = node
        frame.key = None
        return node

    def _take_key(self, frame: _Frame, event: yaml.NodeEvent, line: int) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise self.stopped(line, "has a key that is not a plain word; write `key: value`")
        assert isinstance(frame.node, Entries)
        frame.key, frame.key_line = event.value, line
        self._count(line)
        before = frame.node.entries.get(event.value)
        if before is not None:
            message = f"is given twice, first in line {before.line}; keep one of them"
            self.problems.append(Problem(self.file, line, below(frame.node.path, event.value), message))

    def _path(self, frame: _Frame | None) -> str:
        if frame is None:
            return ""
        if isinstance(frame.node, Items):
            return f"{frame.node.path}[{len(frame.node.items)}]"
        assert frame.key is not None
        return below(frame.node.path, frame.key)

    def _scalar(self, event: yaml.ScalarEvent, line: int, path: str) -> Scalar:
        self._count(line)
        scalar = Scalar(line, path, None if event.implicit[0] and event.value in _NOTHING else event.value)
        if event.anchor:
            self.anchors[event.anchor] = scalar
        return scalar

    def _repeated(self, anchor: str, line: int, path: str) -> Node:
        known = self.anchors.get(anchor)
        if known is None:
            message = f"repeats {quoted('*' + anchor)}, which nothing complete above is called; write &name first"
            raise self.stopped(line, message)
        return self._copied(known, path)

    def _copied(self, node: Node, path: str) -> Node:
        """A copy at another path; its lines stay those of the original, where its text stands."""
        self._count(node.line)
        match node:
            case Scalar():
                return replace(node, path=path)
            case Items():
                return replace(
                    node, path=path, items=[self._copied(item, f"{path}[{i}]") for i, item in enumerate(node.items)]
                )
            case Entries():
                copies = {key: self._copied(entry, below(path, key)) for key, entry in node.entries.items()}
                return replace(node, path=path, entries=copies)

    def _to_merge(self, node: Node) -> list[Entries]:
        """What `<<` brings in: a mapping or a list of them."""
        found = node.items if isinstance(node, Items) else [node]
        mappings = [item for item in found if isinstance(item, Entries)]
        if len(mappings) != len(found):
            raise self.stopped(node.line, "merges (`<<`) what is not a mapping; try `<<: *name` of a mapping")
        return mappings

    def _count(self, line: int) -> None:
        self.values += 1
        if self.values > VALUES_MAX:
            raise self.stopped(
                line, f"holds more than {VALUES_MAX} keys and values, aliases written out; make it smaller"
            )
