"""The address plan of a project's networks, and how far apart they lie: remembered in a file that the router reads too.

Stage: model -> world, below the drivers. A project has a block of 256 addresses. Of its node number n (from 0) the region has
address n + 1, and the point of presence near it 129 + n; this machine itself is 254.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tenfold.drivers.wan.distance import rtt_ms
from tenfold.model import Region

MACHINE = "machine/"
"""The node that stands for this machine: the console is there, at no distance from any region. No region has such a name."""

_PRESENCE = "entry/"
_PRESENCE_FROM = 129
_MACHINE_AT = 254
REGIONS_MAX = _MACHINE_AT - _PRESENCE_FROM


def presence(origin: str) -> str:
    """The node from which the global entry sends on what clients near `origin` ask."""
    return _PRESENCE + origin


@dataclass(frozen=True, slots=True)
class Node:
    """An address and whose it is. `namespace` is empty for what lies in this machine's own network."""

    name: str
    address: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """One direction between two nodes, and how long it takes there."""

    source: str
    target: str
    delay_ms: float


@dataclass(frozen=True, slots=True)
class Plan:
    """`block` is the first three bytes of all addresses (`198.18.7`), `device` the TUN of this machine's own network."""

    block: str
    device: str
    nodes: tuple[Node, ...]
    ways: tuple[Way, ...]

    def address(self, name: str) -> str | None:
        """The address of a node; None when there is no such node."""
        return next((node.address for node in self.nodes if node.name == name), None)

    @property
    def here(self) -> tuple[Node, ...]:
        """The nodes in this machine's own network."""
        return tuple(node for node in self.nodes if not node.namespace)

    @property
    def regions(self) -> tuple[Node, ...]:
        """The nodes in networks of their own."""
        return tuple(node for node in self.nodes if node.namespace)

    def around(self, region: str) -> tuple[str, ...]:
        """All nodes but the region itself."""
        return tuple(node.name for node in self.nodes if node.name != region)


def make_plan(project: str, block: str, order: Sequence[str], regions: Mapping[str, Region]) -> Plan:
    """The plan of the project with the id `project`; `order` are the regions by their number, which they keep for good."""
    nodes = [Node(name, f"{block}.{1 + n}", f"{prefix(project)}{name}") for n, name in enumerate(order)]
    nodes += [Node(presence(name), f"{block}.{_PRESENCE_FROM + n}") for n, name in enumerate(order)]
    nodes.append(Node(MACHINE, f"{block}.{_MACHINE_AT}"))
    ways: list[Way] = []
    for a in order:
        for b in order:
            one_way_ms = rtt_ms(regions, a, b) / 2
            if a != b:
                ways.append(Way(a, b, one_way_ms))
            ways += [Way(presence(a), b, one_way_ms), Way(b, presence(a), one_way_ms)]
        ways += [Way(MACHINE, a, 0.0), Way(a, MACHINE, 0.0)]
    return Plan(block, f"tf{project}", tuple(nodes), tuple(ways))


def prefix(project: str) -> str:
    """What the names of all namespaces of the project with the id `project` begin with."""
    return f"tenfold-{project}-"


def write_plan(path: Path, plan: Plan) -> None:
    """Remember the plan; a crash leaves the old one or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(plan), indent=1))
    fresh.replace(path)


def read_plan(path: Path) -> Plan | None:
    """The plan that is remembered; None when there is none, or it was damaged."""
    try:
        fields = json.loads(path.read_text())
        nodes = tuple(Node(**node) for node in fields["nodes"])
        ways = tuple(Way(**way) for way in fields["ways"])
        return Plan(fields["block"], fields["device"], nodes, ways)
    except (OSError, ValueError, KeyError, TypeError):
        return None
