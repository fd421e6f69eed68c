"""Whatever the journal writes comes back equal, and a change of a value makes the new value of the old one."""

import types
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.deciders import Memory
from tenfold.effects import Decision, Effect, Operation, Rejection, StartEngine
from tenfold.facts import EngineSeen, EngineState, Fact, PersonRequest, Snapshot, Window
from tenfold.loop.codec import SAME, Codec, CodecError, pack, unpack
from tenfold.model import Budget, Model, Money

FLOATS = st.floats(allow_nan=False) | st.integers(0, 3).map(float)
LEAVES = {
    str: st.sampled_from(["a", "b", "web@local", "é\n\0"]),
    bool: st.booleans(),
    int: st.integers(-3, 3) | st.integers(-(2**62), 2**62),
    float: FLOATS,
    type(None): st.none(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=0, max_value=10**6),
}


def any_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of an annotation, small and often alike, so that two of them differ in parts."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in LEAVES:
        return LEAVES[hint]
    if origin in (types.UnionType, Union):
        return st.one_of([any_of(arg) for arg in args])
    if origin is tuple and args[-1] is not Ellipsis:
        return st.tuples(*[any_of(arg) for arg in args])
    if origin is tuple:
        return st.lists(any_of(args[0]), max_size=4).map(tuple)
    if origin is not None:
        return st.dictionaries(any_of(args[0]), any_of(args[1]), max_size=3)
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    assert is_dataclass(hint), hint
    hints = get_type_hints(hint)
    return st.deferred(lambda: st.builds(hint, **{f.name: any_of(hints[f.name]) for f in fields(hint)}))


ROOTS = (Snapshot, Memory, Decision, Rejection, Operation, Model, PersonRequest, Effect, Fact, Window)


@pytest.mark.parametrize("hint", ROOTS, ids=str)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_round_trip(hint: Any, data: st.DataObject) -> None:
    """Every fact, effect, decision, model and memory is read back equal, through bytes."""
    codec: Codec[Any] = Codec(hint)
    value = data.draw(any_of(hint))
    again = codec.decode(codec.encode(value))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("hint", (Snapshot, Memory, Operation, Effect), ids=str)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_diff_and_patch(hint: Any, data: st.DataObject) -> None:
    """A value patched by its difference from another becomes that other, exactly and also when read back from bytes."""
    codec: Codec[Any] = Codec(hint)
    old, new = data.draw(any_of(hint)), data.draw(any_of(hint))
    assert codec.diff(old, old) is SAME
    delta = codec.diff(old, new)
    patched = codec.patch(old, delta if delta is SAME else unpack(pack(delta)))
    assert patched == new
    assert codec.diff(patched, new) is SAME


def test_what_did_not_change_is_the_same_object() -> None:
    """Patching one fact leaves the others as they were, so that unchanged facts cost nothing."""
    a, b = (EngineSeen(kind, "local", EngineState.READY, 1.0, 2.0) for kind in ("valkey", "gateway"))
    old = Snapshot(1.0, engines={a.key: a, b.key: b})
    new = Snapshot(2.0, engines={a.key: a, b.key: EngineSeen("gateway", "local", EngineState.EXITED, 1.0, 2.0)})
    codec = Codec(Snapshot)
    patched = codec.patch(old, codec.diff(old, new))
    assert patched.engines[a.key] is a
    assert codec.diff(old, new) == {"taken_at": 2.0, "engines": [{"gateway/local": {"state": "exited"}}]}


def test_long_histories_slide() -> None:
    """A tuple that loses its first items and gains some at its end is told by those alone."""
    codec: Codec[tuple[float, ...]] = Codec(tuple[float, ...])
    old = tuple(float(i) for i in range(60))
    delta = codec.diff(old, (*old[1:], 99.0))
    assert delta == [1, [99.0]]
    assert codec.patch(old, delta) == (*old[1:], 99.0)


def test_kinds_in_a_union_are_told_apart_by_type() -> None:
    """An effect is written under its class's name, beside its own `kind`."""
    assert Codec(Effect).dump(StartEngine("gateway", "local")) == {
        "type": "StartEngine",
        "kind": "gateway",
        "region": "local",
        "attempt": 1,
        "expected_generation": 0,
        "follow": "",
        "is_synchronous": False,
    }


@dataclass(frozen=True)
class Before:
    """A record as an older program wrote it."""

    name: str
    dropped: int


@dataclass(frozen=True)
class After:
    """The same record in a newer program."""

    name: str
    added: float = 0.5


def test_a_newer_program_reads_older_records() -> None:
    """A field that is new takes its default; one that is gone is passed over."""
    assert Codec(After).decode(Codec(Before).encode(Before("x", 3))) == After("x", 0.5)


def test_a_record_that_lacks_a_field_is_refused_by_name() -> None:
    """What can't be understood is said to be so, with the class and the field."""
    with pytest.raises(CodecError, match="Before lacks its dropped"):
        Codec(Before).decode(Codec(After).encode(After("x")))


@pytest.mark.parametrize(
    "body", (b"", b"\xc1", b"\x93\x01", pack([1, 2]), pack("text"), pack({"name": 3, "dropped": 1}))
)
def test_damaged_bytes_are_refused(body: bytes) -> None:
    """Damaged bytes never become a value."""
    with pytest.raises(CodecError):
        Codec(Before).decode(body)


@pytest.mark.parametrize("hint", (object, set, str | EngineState, tuple[int, ...] | list[int]), ids=str)
def test_types_that_can_not_be_written_are_refused_at_once(hint: Any) -> None:
    """A type that could not be read back is refused when its codec is made, not when a journal is read."""
    with pytest.raises(TypeError):
        Codec(hint)


def test_money_keeps_its_digits() -> None:
    """An amount of money is written as text: no digit is lost."""
    budget = Budget(Money(Decimal("300.10"), "USD"))
    assert Codec(Budget).decode(Codec(Budget).encode(budget)).monthly.amount == Decimal("300.10")
