"""Which processes a fault is about: an instance or engine by its name, or all of a region. Stage: proof -> world."""

from collections.abc import Callable

from tenfold.drivers.controlplane import find_leader
from tenfold.drivers.procs import Processes
from tenfold.drivers.proctable import Stat, Tree, read_stat
from tenfold.ports import Permanent
from tenfold.wire import environment

REGION = "region/"
CONTROL = "control"

_ENTRY = "entry"


def living(processes: Processes, subject: str) -> tuple[Stat, ...]:
    """Every living process of `subject` now: of a region also the control plane that leads from there, of `control` that alone.

    The global entry is in no region, since it stands for points of presence near all of them.
    """
    is_meant = _rule(subject)
    found = {member.identity: member for tree in processes.look().values() if is_meant(tree) for member in tree.members}
    if subject.startswith(REGION) or subject == CONTROL:
        leader = find_leader(processes.project)
        if leader is not None and (subject == CONTROL or leader.region == subject.removeprefix(REGION)):
            stat = read_stat(leader.pid)
            if stat is not None and stat.identity == leader.identity and stat.alive:
                found[stat.identity] = stat
    return tuple(found.values())


def some(processes: Processes, subject: str) -> tuple[Stat, ...]:
    """As `living`; raises `Permanent` when there is none."""
    found = living(processes, subject)
    if not found:
        what = (
            f"in {subject.removeprefix(REGION)} nothing" if subject.startswith(REGION) else f"nothing named {subject}"
        )
        raise Permanent(f"{what} runs; tenfold status lists what does")
    return found


def _rule(subject: str) -> Callable[[Tree], bool]:
    if not subject.startswith(REGION):
        return lambda tree: tree.key.id == subject
    region = subject.removeprefix(REGION)

    def is_there(tree: Tree) -> bool:
        kind, _, place = tree.key.id.partition("/")
        if tree.key.kind == "engine":
            return place == region and kind != _ENTRY
        return tree.tags.get(environment.REGION) == region

    return is_there
