"""Holds instances to their size by control groups, version 1 or 2, where this machine lets us. Stage: effects -> world.

Memory is a hard limit. CPU is a weight: an instance may use idle cores, and gets its share when all are busy.
Where groups can't be made, nothing is enforced and `why_not` says so, once and in words.
"""

import contextlib
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tenfold.drivers.procs import send
from tenfold.drivers.proctable import read_stat
from tenfold.drivers.project import Project
from tenfold.model import InstanceSize
from tenfold.ports import Retryable

_ROOT = Path("/sys/fs/cgroup")
_WEIGHT_PER_CORE = 100
_SHARES_PER_CORE = 1024


@dataclass(frozen=True, slots=True)
class _Bases:
    """Folders under which this project's groups are made; equal ones in version 2, where one tree has all controllers."""

    version: int
    memory: Path
    cpu: Path | None


class Limits:
    """Makes a group per instance, tells what the kernel killed for memory, and removes the group afterwards."""

    def __init__(self, project: Project) -> None:
        self._name = f"tenfold-{project.id}"
        self._left: set[str] = set()
        self.why_not = ""
        self._bases = self._find()
        if self._bases is not None and not _may_join(self._bases.memory / self._name):
            self._bases = None
        if self._bases is None:
            self.why_not = (
                "limits of memory and CPU are not enforced: this user may not make control groups here; "
                "run as root, or start with: systemd-run --user --scope tenfold up"
            )

    def make(self, instance: str, size: InstanceSize) -> tuple[Path, ...]:
        """The groups that `instance` must join, limits set; none where nothing can be enforced.

        Raises `Retryable` when the kernel refuses one of them.
        """
        if self._bases is None:
            return ()
        try:
            return self._make(self._bases, instance, size)
        except OSError as error:
            self.remove(instance)
            raise Retryable(f"{instance}'s limits can't be set: {error.strerror} ({error.filename})") from error

    def _make(self, bases: _Bases, instance: str, size: InstanceSize) -> tuple[Path, ...]:
        memory = bases.memory / self._name / instance
        memory.mkdir(parents=True, exist_ok=True)
        if bases.version == 2:
            _enable(bases.memory / self._name)
            (memory / "memory.max").write_text(str(size.memory_bytes))
            (memory / "memory.oom.group").write_text("1")
            if (memory / "cpu.weight").exists():
                (memory / "cpu.weight").write_text(str(_within(size.cpu_cores * _WEIGHT_PER_CORE, 1, 10_000)))
            return (memory,)
        (memory / "memory.limit_in_bytes").write_text(str(size.memory_bytes))
        if bases.cpu is None:
            return (memory,)
        cpu = bases.cpu / self._name / instance
        cpu.mkdir(parents=True, exist_ok=True)
        (cpu / "cpu.shares").write_text(str(_within(size.cpu_cores * _SHARES_PER_CORE, 2, 262_144)))
        return (memory, cpu)

    def was_out_of_memory(self, instance: str) -> bool:
        """True when the kernel has killed a process of `instance` because it used more than its memory."""
        if self._bases is None:
            return False
        name = "memory.events" if self._bases.version == 2 else "memory.oom_control"
        return _counts(self._bases.memory / self._name / instance / name).get("oom_kill", 0) > 0

    def remove(self, instance: str) -> None:
        """End whatever of an instance is still in its groups, and remove them; those still busy go with `remove_left`."""
        self._left.discard(instance)
        for base in self._folders():
            _remove(base / instance)
            if (base / instance).is_dir():
                self._left.add(instance)

    def remove_left(self) -> None:
        """Remove the groups that were busy before: only those, since others may be another control plane's by now."""
        for instance in tuple(self._left):
            self.remove(instance)

    def sweep(self, living: frozenset[str]) -> None:
        """Remove the groups of all instances but `living`, and the project's own when none is left."""
        for base in self._folders():
            if base.is_dir():
                for group in base.iterdir():
                    if group.is_dir() and group.name not in living:
                        _remove(group)
                if not living:
                    _remove(base)

    def _folders(self) -> set[Path]:
        if self._bases is None:
            return set()
        return {base / self._name for base in (self._bases.memory, self._bases.cpu) if base is not None}

    def _find(self) -> _Bases | None:
        own = _own_groups()
        if "memory" in own:
            memory = _ROOT / "memory" / own["memory"].lstrip("/")
            cpu = _ROOT / "cpu" / own.get("cpu", "/").lstrip("/")
            return _Bases(1, memory, cpu if (cpu / "cpu.shares").exists() else None) if memory.is_dir() else None
        # Version 2 forbids processes beside groups that hold limits, so ours is a sibling of our own group, not a child.
        here = _ROOT / own.get("", "/").lstrip("/")
        for base in (here.parent, here) if here != _ROOT else (_ROOT,):
            if base.is_relative_to(_ROOT) and _enable(base):
                return _Bases(2, base, base)
        return None


def _own_groups() -> dict[str, str]:
    """This process's group by controller; under the empty name the one of version 2."""
    groups: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path
    return groups


def _enable(base: Path) -> bool:
    """Hand the memory (and, if there is one, CPU) controller of version 2 down to the groups under `base`; False if it can't be."""
    try:
        offered = (base / "cgroup.controllers").read_text().split()
        wanted = [name for name in ("memory", "cpu") if name in offered]
        (base / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
    except OSError:
        return False
    return "memory" in wanted


def _may_join(base: Path) -> bool:
    """True when a process of ours can be put into a new group under `base`: permissions alone don't tell."""
    probe = base / "probe"
    try:
        probe.mkdir(parents=True, exist_ok=True)
        join = ["/bin/sh", "-c", 'echo $$ > "$1/cgroup.procs"', "sh", str(probe)]
        return subprocess.run(join, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            probe.rmdir()


def _remove(group: Path) -> None:
    """Kill what is in a group (a process may have shed every other sign of where it belongs), and remove the group."""
    with contextlib.suppress(OSError):
        for pid in (group / "cgroup.procs").read_text().split():
            stat = read_stat(int(pid))
            if stat is not None:
                send(stat.identity, signal.SIGKILL)
        group.rmdir()


def _counts(path: Path) -> Mapping[str, int]:
    """A file of `name number` lines; empty when it is gone."""
    try:
        pairs = (line.split() for line in path.read_text().splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
    except (OSError, ValueError):
        return {}


def _within(value: float, low: int, high: int) -> int:
    return max(low, min(high, round(value)))
