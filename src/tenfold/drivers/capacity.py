"""Keeps what `tenfold measure` found, and shows it to the loop. Stage: measurement -> file -> facts.

The file lies beside the journal and outlives runs: capacity is a property of the app. It is written whole or not at all.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from tenfold.drivers.enginehome import write_file
from tenfold.drivers.project import Project
from tenfold.drivers.secrets import locked
from tenfold.facts import CapacitySeen
from tenfold.ports import Permanent, Retryable

_BYTES_MAX = 1_000_000
_VERSION = 1


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file's content."""

    version: int
    capacities: tuple[CapacitySeen, ...]


def capacity_file(project: Project) -> Path:
    """Where a project's measurements are kept."""
    return project.state / "capacity.json"


def read_capacities(project: Project) -> tuple[CapacitySeen, ...]:
    """What was measured; nothing without a file. Raises `Permanent` for a file that is damaged or can't be read."""
    path = capacity_file(project)
    advice = "it is ignored until `tenfold measure` writes it anew"
    try:
        with path.open("rb") as file:
            text = file.read(_BYTES_MAX + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise Permanent(f"what was measured can't be read ({path}: {error.strerror}): {advice}") from error
    try:
        kept = msgspec.json.decode(text, type=_Kept)
    except msgspec.DecodeError as error:
        raise Permanent(f"{path} is damaged: {advice}") from error
    if kept.version != _VERSION or not all(_is_sound(each) for each in kept.capacities):
        raise Permanent(f"{path} holds figures that no measurement gives: {advice}")
    return kept.capacities


def keep_capacities(project: Project, fresh: Iterable[CapacitySeen]) -> None:
    """Keep these, in the place of older ones of the same service and scenario. Raises `Retryable` when they can't be written."""
    path = capacity_file(project)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path.parent):
            try:
                known = {each.key: each for each in read_capacities(project)}
            except Permanent:
                known = {}
            known |= {each.key: each for each in fresh}
            content = msgspec.json.encode(_Kept(_VERSION, tuple(known.values())))
            write_file(path, msgspec.json.format(content, indent=1) + b"\n")
    except OSError as error:
        raise Retryable(f"what was measured can't be kept in {path}: {error.strerror}") from error


class CapacityObserver:
    """Sees what was measured; the file is read again when it has changed."""

    source = "capacity"

    def __init__(self, project: Project) -> None:
        self._project = project
        self._stamp: tuple[int, int, int] | None = None
        self._facts: tuple[CapacitySeen, ...] = ()

    async def observe(self) -> tuple[CapacitySeen, ...]:
        """The measurements; none without any. Raises `Permanent` for a damaged file, each time: nothing is concluded from it."""
        stamp = _stamp(capacity_file(self._project))
        if stamp is None or stamp != self._stamp:
            self._facts, self._stamp = (), None
            seen_at = time.time()
            self._facts = tuple(replace(each, seen_at=seen_at) for each in read_capacities(self._project))
            self._stamp = stamp
        return self._facts

    def subscribe(self, wake: Callable[[], None]) -> None:
        """A measurement can wait for the next tick."""


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What differs when the file does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_sound(seen: CapacitySeen) -> bool:
    """True when every figure is one that a measurement can give."""
    above_zero = (seen.requests_per_s, seen.latency_ms, *seen.scaled.values())
    figures = (
        seen.concurrency,
        seen.users,
        seen.bends_at_rps,
        seen.measured_at,
        seen.connections,
        *seen.cpu_ms.values(),
    )
    return all(0 < value < math.inf for value in above_zero) and all(0 <= value < math.inf for value in figures)
