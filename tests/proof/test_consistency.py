"""Histories of writes and reads, and what is said of them afterwards."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.proof.consistency import judge
from tenfold.proof.history import Do, Ending, HistoryError, Operation, read_history, write_history
from tenfold.proof.linearizable import check


def write(value: str, from_s: float, to_s: float | None, ending: Ending = Ending.OK, process: int = 0) -> Operation:
    """A write of a set or a register."""
    return Operation(process, Do.WRITE, "k", from_s, to_s, ending, value)


def read(saw: tuple[str, ...], from_s: float, to_s: float, process: int = 1) -> Operation:
    """A read that was answered."""
    return Operation(process, Do.READ, "k", from_s, to_s, Ending.OK, saw=saw)


def test_what_was_acknowledged_and_is_read_back_is_kept() -> None:
    """Two writes that a later read shows are neither lost nor doubled."""
    found = judge([write("a", 0, 1), write("b", 1, 2), read(("a", "b"), 3, 4)])
    assert (found.acknowledged, found.reads, found.holds) == (2, 1, True)


def test_an_acknowledged_write_that_the_last_read_misses_is_lost() -> None:
    """A value that was there once and is gone in the end is lost, and so is one that was never there."""
    found = judge([write("a", 0, 1), write("b", 1, 2), read(("a",), 3, 4), read((), 5, 6)])
    assert found.lost == ("a", "b")
    assert not found.holds


def test_a_read_that_began_before_the_acknowledgement_proves_nothing() -> None:
    """A read that began before a write was acknowledged may miss it; without a later one nothing is known of the write."""
    found = judge([write("a", 0, 5), read((), 4, 6)])
    assert (found.lost, found.unread) == ((), ("a",))


def test_a_stale_read_is_told_by_whose_it_is() -> None:
    """A read that misses what a later one shows is stale: the writer's own, or another's."""
    found = judge([write("a", 0, 1), read((), 2, 3, process=0), read((), 2, 3), read(("a",), 4, 5)])
    assert (found.stale_own, found.stale, found.lost) == (1, 1, ())


def test_a_write_with_an_unknown_end_counts_neither_way() -> None:
    """Whether it is there or not, a write that may have happened is neither lost nor a phantom."""
    unknown = write("a", 0, None, Ending.UNKNOWN)
    for saw in ((), ("a",)):
        found = judge([unknown, read(saw, 3, 4)])
        assert found.holds
        assert (found.acknowledged, found.unknown) == (0, 1)


def test_what_nobody_wrote_is_a_phantom() -> None:
    """A value that nobody wrote, that was written only later, or whose write had certainly failed, is a phantom."""
    history = [write("failed", 0, 1, Ending.FAILED), write("later", 9, 10), read(("failed", "later", "never"), 2, 3)]
    assert judge([*history, read(("later",), 11, 12)]).phantom == ("failed", "later", "never")


def test_what_is_there_twice_is_doubled() -> None:
    """A value that one read shows twice was done twice."""
    assert judge([write("a", 0, 1), read(("a", "a"), 2, 3)]).doubled == ("a",)


def test_keys_are_judged_by_themselves() -> None:
    """A value written under one key is not missed under another."""
    found = judge([write("a", 0, 1), read(("a",), 2, 3), replace(read((), 4, 5), key="other")])
    assert found.holds


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 5), st.sampled_from([*Ending])), min_size=1, max_size=30),
    st.data(),
)
@settings(max_examples=100, deadline=None)
def test_a_store_that_keeps_everything_is_never_blamed(
    asked: list[tuple[float, float, Ending]], data: st.DataObject
) -> None:
    """Whatever happens to the answers, a store that does at once and keeps what it is asked for loses, doubles and invents nothing."""
    history, kept = [], list[tuple[float, str]]()
    for number, (at_s, took_s, ending) in enumerate(asked):
        value = f"v{number}"
        if ending is not Ending.FAILED and (ending is Ending.OK or data.draw(st.booleans())):
            kept.append((at_s + took_s / 2, value))
        done_s = None if ending is Ending.UNKNOWN else at_s + took_s
        history.append(write(value, at_s, done_s, ending))
    for at_s in [*data.draw(st.lists(st.floats(0, 120), max_size=10)), 200.0]:
        history.append(read(tuple(value for done_s, value in kept if done_s <= at_s), at_s, at_s))
    found = judge(history)
    assert found.holds
    assert not found.unread
    assert found.stale == 0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20), st.data())
@settings(max_examples=100, deadline=None)
def test_every_loss_is_found(moments_s: list[float], data: st.DataObject) -> None:
    """Whichever acknowledged values are dropped, exactly those are told to be lost."""
    values = [f"v{number}" for number in range(len(moments_s))]
    lost = data.draw(st.sets(st.sampled_from(values)))
    history = [write(value, at_s, at_s + 1) for value, at_s in zip(values, moments_s, strict=True)]
    history.append(read(tuple(value for value in values if value not in lost), 200, 201))
    assert set(judge(history).lost) == lost


def test_a_history_is_the_same_when_it_is_read_back(tmp_path: Path) -> None:
    """What is written as JSON lines is read back as it was, in the order of its beginnings."""
    history = [read(("a", "b"), 3, 4), write("ä\n", 0, 1), write("b", 1, None, Ending.UNKNOWN)]
    write_history(tmp_path / "history.jsonl", history)
    assert list(read_history(tmp_path / "history.jsonl")) == sorted(history, key=lambda o: o.invoked_at)


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"process": 1, "op": "jump"}', '{"process": "x", "op": "read"}'])
def test_a_file_that_is_no_history_says_where(tmp_path: Path, line: str) -> None:
    """A line that is no operation is named, not passed over."""
    path = tmp_path / "history.jsonl"
    write_history(path, [write("a", 0, 1)])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(HistoryError, match="line 2"):
        list(read_history(path))


# --- registers ------------------------------------------------------------------------------------------------------------


def test_a_read_of_an_old_value_after_a_new_one_was_read_is_not_linearizable() -> None:
    """Once somebody has read the new value nobody may read the old one."""
    history = [write("a", 0, 1), write("b", 2, 9), read(("b",), 3, 4), read(("a",), 5, 6, process=2)]
    found = check(history)
    assert not found.holds
    assert found.broken[0][0] == "k"


def test_while_a_write_is_under_way_either_value_may_be_read() -> None:
    """A write takes effect at some moment of its own: before and after that different values are right."""
    assert check([write("a", 0, 1), write("b", 2, 9), read(("a",), 3, 4), read(("b",), 5, 6)]).holds


def test_a_write_with_an_unknown_end_may_happen_late_or_never() -> None:
    """It may show long after it was begun; and it need not ever."""
    unknown = write("b", 1, None, Ending.UNKNOWN)
    assert check([write("a", 0, 0.5), unknown, read(("a",), 2, 3), read(("b",), 90, 91)]).holds
    assert check([write("a", 0, 0.5), unknown, read(("a",), 90, 91)]).holds
    assert not check([write("a", 0, 0.5), unknown, read(("b",), 2, 3), read(("a",), 90, 91)]).holds


def test_a_write_that_failed_must_not_be_seen() -> None:
    """What certainly did not happen explains nothing."""
    assert not check([write("a", 0, 1, Ending.FAILED), read(("a",), 2, 3)]).holds


OPERATIONS = st.builds(
    lambda is_write, value, from_s, took_s, ending: (
        write(value, from_s, None if ending is Ending.UNKNOWN else from_s + took_s, ending)
        if is_write
        else read((value,) if value else (), from_s, from_s + took_s)
    ),
    st.booleans(),
    st.sampled_from(["", "a", "b"]),
    st.integers(0, 12),
    st.integers(0, 5),
    st.sampled_from([Ending.OK, Ending.OK, Ending.UNKNOWN]),
)


def by_brute_force(history: list[Operation]) -> bool:
    """Try every subset of the writes that may not have happened, in every order that their times allow."""
    must = [o for o in history if o.ending is Ending.OK]
    may = [o for o in history if o.ending is Ending.UNKNOWN]
    for bits in range(1 << len(may)):
        chosen = must + [o for n, o in enumerate(may) if bits >> n & 1]
        for order in permutations(chosen):
            ends = [float("inf") if o.ending is Ending.UNKNOWN else o.completed_at or 0.0 for o in order]
            in_time = all(ends[j] >= order[i].invoked_at for i in range(len(order)) for j in range(i + 1, len(order)))
            value, fits = "", True
            for o in order:
                if o.do is Do.WRITE:
                    value = o.value
                elif (o.saw[0] if o.saw else "") != value:
                    fits = False
                    break
            if in_time and fits:
                return True
    return False


@given(st.lists(OPERATIONS, max_size=6))
@settings(max_examples=300, deadline=None)
def test_the_search_agrees_with_trying_every_order(history: list[Operation]) -> None:
    """For every short history the answer is that of brute force."""
    assert check(history).holds == by_brute_force(history)


def test_a_long_history_of_one_register_is_judged_in_time() -> None:
    """A thousand operations by five clients, all of them in order, are explained without trying every order."""
    history = []
    for number in range(500):
        history.append(write(f"v{number}", number, number + 0.9, process=number % 5))
        history.append(read((f"v{number}",), number + 0.91, number + 0.99, process=number % 5))
    assert check(history).holds
