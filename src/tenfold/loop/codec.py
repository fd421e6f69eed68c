"""How facts, effects, decisions and memory become plain data and come back. Stage: between the loop and its journal.

A codec is made once per type from its annotations. It can `dump` a value to plain data (maps, lists, numbers, text),
`load` it back as an equal value, tell the `diff` of two values as plain data, and `patch` an old value by a diff.
Members of a union of dataclasses carry their class's name under `type` (not `kind`: several effects have a field of
that name). A field that is missing takes its default and one that is not known is passed over, so that a journal
outlives the program that wrote it.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, Generic, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")

Plain = Any
"""What msgspec writes and reads without help: None, bool, int, float, str, list, dict."""


class _Same:
    """The type of `SAME`."""

    def __repr__(self) -> str:
        return "SAME"


SAME: Final = _Same()
"""What `diff` gives for two equal values."""

TAG = "type"
SLIDE_MAX = 4
"""How many items may leave the front of a tuple for its diff to be told as a slide."""


class CodecError(ValueError):
    """Plain data that is not what its type says: the sentence names the type."""


class _Shape(Protocol):
    """What every kind of codec can do; `plain_types` are the plain types that `dump` may give."""

    plain_types: tuple[type, ...]

    def dump(self, value: Any) -> Plain: ...
    def load(self, plain: Plain) -> Any: ...
    def diff(self, old: Any, new: Any) -> Plain: ...
    def patch(self, old: Any, delta: Plain) -> Any: ...


class Codec(Generic[T]):
    """Plain data and back for the type `hint`. Raises `TypeError` for a type that can't be written."""

    def __init__(self, hint: Any) -> None:
        self._shape = _shape_of(hint)

    def dump(self, value: T) -> Plain:
        """`value` as plain data."""
        return self._shape.dump(value)

    def load(self, plain: Plain) -> T:
        """The value that `dump` made `plain` from. Raises `CodecError` when `plain` does not fit."""
        try:
            return cast(T, self._shape.load(plain))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
            raise CodecError(f"what was written does not fit ({type(error).__name__}: {error})") from error

    def diff(self, old: T, new: T) -> Plain:
        """What makes `new` of `old`, as plain data; `SAME` when they are equal."""
        return self._shape.diff(old, new)

    def patch(self, old: T, delta: Plain) -> T:
        """`old` changed by a `diff`; parts that did not change stay the same objects. Raises `CodecError` when `delta` does not fit."""
        if delta is SAME:
            return old
        try:
            return cast(T, self._shape.patch(old, delta))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
            raise CodecError(f"a change that was written does not fit ({type(error).__name__}: {error})") from error

    def encode(self, value: T) -> bytes:
        """`value` as bytes."""
        return pack(self.dump(value))

    def decode(self, body: bytes) -> T:
        """The value that `encode` wrote. Raises `CodecError`."""
        return self.load(unpack(body))


def pack(plain: Plain) -> bytes:
    """Plain data as bytes (MessagePack: floats and infinities come back exactly)."""
    return msgspec.msgpack.encode(plain)


def unpack(body: bytes) -> Plain:
    """What `pack` wrote. Raises `CodecError` when `body` is damaged."""
    try:
        return msgspec.msgpack.decode(body)
    except msgspec.DecodeError as error:
        raise CodecError(f"what was written is damaged ({error})") from error


class _Leaf:
    """Text, numbers, booleans and None: written as they are."""

    def __init__(self, *plain_types: type) -> None:
        self.plain_types = plain_types

    def dump(self, value: Any) -> Plain:
        return value

    def load(self, plain: Plain) -> Any:
        if not isinstance(plain, self.plain_types):
            raise CodecError(f"expected {self.plain_types[0].__name__}, found {type(plain).__name__}")
        return plain

    def diff(self, old: Any, new: Any) -> Plain:
        return SAME if old == new else new

    def patch(self, old: Any, delta: Plain) -> Any:
        return self.load(delta)


class _Text:
    """Values of a class that has a text form: enums by value, decimals by digits."""

    plain_types: tuple[type, ...] = (str,)

    def __init__(self, write: Callable[[Any], str], read: Callable[[Any], Any]) -> None:
        self._write = write
        self._read = read

    def dump(self, value: Any) -> Plain:
        return self._write(value)

    def load(self, plain: Plain) -> Any:
        return self._read(plain)

    def diff(self, old: Any, new: Any) -> Plain:
        return SAME if old == new else self._write(new)

    def patch(self, old: Any, delta: Plain) -> Any:
        return self._read(delta)


@dataclass(frozen=True)
class _Field:
    name: str
    shape: _Shape
    required: bool


class _Record:
    """A dataclass: a map of its fields; its diff is a map of the fields that changed."""

    plain_types: tuple[type, ...] = (dict,)

    def __init__(self, cls: type) -> None:
        self.cls: Any = cls
        self.fields: tuple[_Field, ...] = ()

    def complete(self) -> None:
        """Find the fields' codecs: a second step, because a dataclass may hold itself."""
        hints = get_type_hints(self.cls)
        self.fields = tuple(
            _Field(f.name, _shape_of(hints[f.name]), f.default is MISSING and f.default_factory is MISSING)
            for f in fields(self.cls)
        )

    def dump(self, value: Any) -> Plain:
        return {f.name: f.shape.dump(getattr(value, f.name)) for f in self.fields}

    def load(self, plain: Plain) -> Any:
        given = {}
        for f in self.fields:
            if f.name in plain:
                given[f.name] = f.shape.load(plain[f.name])
            elif f.required:
                raise CodecError(f"{self.cls.__name__} lacks its {f.name}")
        return self.cls(**given)

    def diff(self, old: Any, new: Any) -> Plain:
        changed = {}
        for f in self.fields:
            before, after = getattr(old, f.name), getattr(new, f.name)
            if before is not after and (delta := f.shape.diff(before, after)) is not SAME:
                changed[f.name] = delta
        return changed or SAME

    def patch(self, old: Any, delta: Plain) -> Any:
        given = {}
        for f in self.fields:
            before = getattr(old, f.name)
            given[f.name] = f.shape.patch(before, delta[f.name]) if f.name in delta else before
        return self.cls(**given)


class _Union:
    """Several types in one place: told apart by their plain type, dataclasses by `type`. The diff is `[whole]` or `[0, change]`."""

    def __init__(self, hint: Any) -> None:
        members = [(member, _shape_of(member)) for member in get_args(hint)]
        records = [m for m in members if isinstance(m[1], _Record)]
        self._tagged = {cls.__name__: shape for cls, shape in records} if len(records) > 1 else {}
        self._by_class: dict[type, _Shape] = {get_origin(member) or member: shape for member, shape in members}
        self._by_plain: dict[type, _Shape] = {}
        for member, shape in members:
            if isinstance(shape, _Record) and self._tagged:
                if any(f.name == TAG for f in fields(shape.cls)):
                    raise TypeError(f"{member.__name__} has a field named {TAG!r}, which names classes in a union")
                continue
            for plain_type in shape.plain_types:
                if plain_type in self._by_plain and plain_type is not int:
                    raise TypeError(f"{hint} can't be written: two of its members become {plain_type.__name__}")
                self._by_plain.setdefault(plain_type, shape)
        self.plain_types = (*self._by_plain, *((dict,) if self._tagged else ()))

    def _shape(self, value: Any) -> _Shape:
        found = self._by_class.get(type(value))
        if found is None:
            found = next((shape for cls, shape in self._by_class.items() if isinstance(value, cls)), None)
        if found is None and isinstance(value, int):
            found = self._by_class.get(float)
        if found is None:
            raise CodecError(f"{type(value).__name__} is none of {', '.join(c.__name__ for c in self._by_class)}")
        return found

    def dump(self, value: Any) -> Plain:
        plain = self._shape(value).dump(value)
        return {TAG: type(value).__name__, **plain} if type(value).__name__ in self._tagged else plain

    def load(self, plain: Plain) -> Any:
        if self._tagged and isinstance(plain, dict):
            return self._tagged[plain[TAG]].load(plain)
        return self._by_plain[type(plain)].load(plain)

    def diff(self, old: Any, new: Any) -> Plain:
        if type(old) is not type(new):
            return [self.dump(new)]
        shape = self._shape(new)
        delta = shape.diff(old, new)
        if delta is SAME:
            return SAME
        return [new] if isinstance(shape, _Leaf) else [0, delta]

    def patch(self, old: Any, delta: Plain) -> Any:
        return self.load(delta[0]) if len(delta) == 1 else self._shape(old).patch(old, delta[1])


class _Map:
    """A mapping. The diff is `[changes by key, new ones by key, keys that went]`, without what is empty at its end."""

    def __init__(self, key: _Shape, value: _Shape) -> None:
        self._key = key
        self._value = value
        self._has_text_keys = key.plain_types == (str,)
        self.plain_types: tuple[type, ...] = (dict,) if self._has_text_keys else (list,)

    def _pairs(self, pairs: list[tuple[Plain, Plain]]) -> Plain:
        return dict(pairs) if self._has_text_keys else pairs

    def _items(self, plain: Plain) -> Any:
        return plain.items() if self._has_text_keys else plain

    def dump(self, value: Any) -> Plain:
        return self._pairs([(self._key.dump(k), self._value.dump(v)) for k, v in value.items()])

    def load(self, plain: Plain) -> Any:
        return {self._key.load(k): self._value.load(v) for k, v in self._items(plain)}

    def diff(self, old: Any, new: Any) -> Plain:
        changed, added = [], []
        for key, after in new.items():
            if key not in old:
                added.append((self._key.dump(key), self._value.dump(after)))
                continue
            before = old[key]
            if before is not after and (delta := self._value.diff(before, after)) is not SAME:
                changed.append((self._key.dump(key), delta))
        gone = [self._key.dump(key) for key in old if key not in new]
        if gone:
            return [self._pairs(changed), self._pairs(added), gone]
        if added:
            return [self._pairs(changed), self._pairs(added)]
        return [self._pairs(changed)] if changed else SAME

    def patch(self, old: Any, delta: Plain) -> Any:
        new = dict(old)
        for plain_key in delta[2] if len(delta) > 2 else ():
            del new[self._key.load(plain_key)]
        for plain_key, change in self._items(delta[0]):
            key = self._key.load(plain_key)
            new[key] = self._value.patch(new[key], change)
        for plain_key, plain in self._items(delta[1]) if len(delta) > 1 else ():
            new[self._key.load(plain_key)] = self._value.load(plain)
        return new


class _Sequence:
    """`tuple[T, ...]`, `list[T]`, `frozenset[T]`. The diff of an ordered one is `[n, tail]` (n left at the front, `tail` came at the
    end), `[changes by index]` when as long as before, or `[whole, 0, 0]`."""

    plain_types: tuple[type, ...] = (list,)

    def __init__(self, cls: Callable[[Any], Any], item: _Shape) -> None:
        self._cls = cls
        self._item = item

    def dump(self, value: Any) -> Plain:
        items = sorted(value) if self._cls is frozenset else value
        return [self._item.dump(item) for item in items]

    def load(self, plain: Plain) -> Any:
        return self._cls([self._item.load(item) for item in plain])

    def diff(self, old: Any, new: Any) -> Plain:
        if old == new:
            return SAME
        if self._cls is frozenset:
            return [self.dump(new), 0, 0]
        for gone in range(min(SLIDE_MAX, len(old)) + 1):
            kept = len(old) - gone
            if kept and kept <= len(new) and old[gone:] == new[:kept]:
                return [gone, [self._item.dump(item) for item in new[kept:]]]
        if len(old) != len(new):
            return [self.dump(new), 0, 0]
        deltas = [self._item.diff(before, after) for before, after in zip(old, new, strict=True)]
        return [{i: delta for i, delta in enumerate(deltas) if delta is not SAME}]

    def patch(self, old: Any, delta: Plain) -> Any:
        if len(delta) == 3:
            return self.load(delta[0])
        if len(delta) == 2:
            return self._cls([*old[delta[0] :], *(self._item.load(item) for item in delta[1])])
        items = list(old)
        for index, change in delta[0].items():
            items[index] = self._item.patch(items[index], change)
        return self._cls(items)


class _Row:
    """`tuple[A, B]`: so many items, each of its own type; written whole."""

    plain_types: tuple[type, ...] = (list,)

    def __init__(self, items: tuple[_Shape, ...]) -> None:
        self._items = items

    def dump(self, value: Any) -> Plain:
        return [shape.dump(item) for shape, item in zip(self._items, value, strict=True)]

    def load(self, plain: Plain) -> Any:
        return tuple(shape.load(item) for shape, item in zip(self._items, plain, strict=True))

    def diff(self, old: Any, new: Any) -> Plain:
        return SAME if old == new else self.dump(new)

    def patch(self, old: Any, delta: Plain) -> Any:
        return self.load(delta)


_LEAVES: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (float, int),
    NoneType: (NoneType,),
}
_shapes: dict[Any, _Shape] = {}


def _shape_of(hint: Any) -> _Shape:
    if hint not in _shapes:
        shape = _make(hint)
        _shapes[hint] = shape
        if isinstance(shape, _Record):
            shape.complete()
    return _shapes[hint]


def _make(hint: Any) -> _Shape:
    origin, args = get_origin(hint), get_args(hint)
    if hint in _LEAVES:
        return _Leaf(*_LEAVES[hint])
    if origin in (UnionType, Union):
        return _Union(hint)
    if origin is tuple and args[-1] is not Ellipsis:
        return _Row(tuple(_shape_of(arg) for arg in args))
    if origin in (tuple, list, frozenset):
        return _Sequence(origin, _shape_of(args[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _Map(_shape_of(args[0]), _shape_of(args[1]))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _Text(lambda member: member.value, hint)
    if hint is Decimal:
        return _Text(str, Decimal)
    if is_dataclass(hint) and isinstance(hint, type):
        return _Record(hint)
    raise TypeError(
        f"{hint} can't be written to the journal; use dataclasses, enums, tuples, mappings, text and numbers"
    )
