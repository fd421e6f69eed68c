"""A record of operations on the app's data, for a later judgement: who asked for what, when it began and ended, and how.

Stage: a drill's writers make it while harm is done; `tenfold.proof.consistency` and `tenfold.proof.linearizable` judge it afterwards,
and so can anybody who reads the file of JSON lines.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Do(StrEnum):
    """What was asked for."""

    WRITE = "write"
    READ = "read"


class Ending(StrEnum):
    """OK: it was acknowledged. FAILED: it certainly did not happen. UNKNOWN: it may have happened, then or later; it counts neither way."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of `process` (whoever does one thing after another) on `key`.

    `invoked_at` and `completed_at` are seconds since the epoch on one clock; None: it was never heard of again. A write stores `value`; a
    read `saw` what was there, each as often as it was there.
    """

    process: int
    do: Do
    key: str
    invoked_at: float
    completed_at: float | None
    ending: Ending
    value: str = ""
    saw: tuple[str, ...] = ()


class HistoryError(Exception):
    """A file is no history; the text says which line is wrong and how."""


def write_history(path: Path, history: Iterable[Operation]) -> None:
    """Write `history` as JSON lines, in the order in which the operations began."""
    with path.open("w", encoding="utf-8") as file:
        for operation in sorted(history, key=lambda o: o.invoked_at):
            file.write(json.dumps(_as_data(operation), separators=(",", ":")) + "\n")


def read_history(path: Path) -> Iterator[Operation]:
    """The operations of a file of JSON lines. Raises `HistoryError`."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield _from_data(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise HistoryError(f"line {number} of {path} is no operation: {error}") from error


def _as_data(operation: Operation) -> dict[str, object]:
    what = {"value": operation.value} if operation.do is Do.WRITE else {"saw": list(operation.saw)}
    return {
        "process": operation.process,
        "op": str(operation.do),
        "key": operation.key,
        **what,
        "invoked_at": operation.invoked_at,
        "completed_at": operation.completed_at,
        "outcome": str(operation.ending),
    }


def _from_data(data: dict[str, object]) -> Operation:
    completed_at, saw = data["completed_at"], data.get("saw", [])
    if not isinstance(saw, list):
        raise TypeError("`saw` is no list")
    return Operation(
        int(str(data["process"])),
        Do(str(data["op"])),
        str(data["key"]),
        float(str(data["invoked_at"])),
        None if completed_at is None else float(str(completed_at)),
        Ending(str(data["outcome"])),
        str(data.get("value", "")),
        tuple(str(value) for value in saw),
    )
