"""What each part of a project costs in processor time, from `/proc`, and what all else on the machine does meanwhile.

Stage: looks at the beginning and the end of a load -> cores used by `web`, `gateway`, `postgres`, `control`, and by others.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tenfold.drivers.procs import Processes, TreeKey
from tenfold.drivers.proctable import TICKS_PER_S, read_stat

CONTROL = "control plane"


@dataclass(frozen=True, slots=True)
class Look:
    """Processor seconds so far: by part of the project, and of the whole machine; `at_s` is on the monotonic clock."""

    at_s: float
    parts: Mapping[str, float]
    machine_s: float


@dataclass(frozen=True, slots=True)
class Used:
    """Cores that were in use between two looks: by part of the project, and by the whole machine."""

    parts: Mapping[str, float]
    machine_cores: float


def look(processes: Processes, control_plane: int | None) -> Look:
    """What was used until now. A process that ended takes its share with it: what is used is then a little too low."""
    parts: dict[str, float] = {}
    for key, tree in processes.look().items():
        part = _part(key)
        parts[part] = parts.get(part, 0.0) + sum(member.cpu_ticks for member in tree.members) / TICKS_PER_S
    stat = read_stat(control_plane) if control_plane is not None else None
    if stat is not None:
        parts[CONTROL] = stat.cpu_ticks / TICKS_PER_S
    return Look(time.monotonic(), parts, _machine_s())


def between(before: Look, after: Look) -> Used:
    """What was used from one look to the next."""
    took_s = max(after.at_s - before.at_s, 1e-3)
    parts = {name: max(0.0, used - before.parts.get(name, 0.0)) / took_s for name, used in after.parts.items()}
    return Used(parts, max(0.0, after.machine_s - before.machine_s) / took_s)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def _part(key: TreeKey) -> str:
    """`web` of the instance web-3, `postgres` of the engine postgres/local."""
    return key.id.rpartition("-")[0] if key.kind == "instance" else key.id.partition("/")[0]


def _machine_s() -> float:
    """Processor seconds that were spent on anything, time stolen by other machines of the host included (proc(5), /proc/stat)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(ticks) for ticks in fields[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S
